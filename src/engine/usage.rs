//! How large volumes are. bollard 0.21 reads only the newest API's shape of this answer, so this
//! one call goes past it.

use std::{collections::BTreeMap, time::Duration};

use super::{Engine, call::ask};
use crate::error::Result;

/// The engine walks through all of its volumes, which can take long.
const DEADLINE: Duration = Duration::from_secs(60);

impl Engine {
    /// Sizes of volumes in bytes, by name; those that the engine does not know are left out. Slow:
    /// the engine walks through all of its volumes.
    ///
    /// # Errors
    /// When the engine does not answer within a minute, refuses, or is reached in a way that this
    /// does not support (TLS).
    pub async fn volume_sizes(&self) -> Result<BTreeMap<String, u64>> {
        let answer = self.transport.get("/system/df?type=volume");
        let usage = ask("measure the volumes", DEADLINE, answer).await?;
        Ok(sizes(&usage))
    }
}

/// Sizes by name, from the shape of either API generation. A size of -1 means: not known.
pub(super) fn sizes(usage: &serde_json::Value) -> BTreeMap<String, u64> {
    let lists = [&usage["Volumes"], &usage["VolumeUsage"]["Items"]];
    lists
        .into_iter()
        .filter_map(serde_json::Value::as_array)
        .flatten()
        .filter_map(|v| Some((v["Name"].as_str()?.to_owned(), v["UsageData"]["Size"].as_u64()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_either_api_generation_are_read() {
        let old = serde_json::json!({"Volumes": [
            {"Name": "a", "UsageData": {"Size": 5, "RefCount": 1}}, {"Name": "b", "UsageData": {"Size": -1}}, {"Name": "c"}]});
        let new = serde_json::json!({"VolumeUsage": {"Items": [{"Name": "a", "UsageData": {"Size": 5}}]}});
        for usage in [old, new] {
            assert_eq!(sizes(&usage), BTreeMap::from([("a".to_owned(), 5)]));
        }
    }
}
