//! What a running container uses, as one stream that stays open: the engine measures once a second.

use std::future;

use futures_util::{Stream, StreamExt as _};
use serde_json::Value;

use super::{Engine, error::translate};
use crate::error::Result;

/// What a container used at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processors in use since the moment before, such as 1.5; `None` in the first second.
    pub cpus: Option<f64>,
    /// Processors of the engine's machine; 0 where it does not say.
    pub cpus_there: u32,
    /// Memory in bytes, without what the kernel can take back at once.
    pub memory: u64,
    /// Memory limit in bytes: the container's, else the machine's; 0 where the engine does not say.
    pub memory_limit: u64,
}

impl Engine {
    /// What a container uses, about once a second. Ends when it does not run any more, and says nothing where the engine
    /// cannot measure: it tells empty moments then.
    pub fn usage(&self, id: &str) -> impl Stream<Item = Result<Usage>> + Send + use<> {
        let call = format!("measure {id}");
        let moments = self.transport.get_stream(&format!("/containers/{id}/stats?stream=1"));
        moments.filter_map(move |moment| {
            let moment = moment.map_err(|e| translate(&call, e));
            future::ready(moment.map(|moment| usage(&moment)).transpose())
        })
    }
}

/// `None` where nothing was measured.
fn usage(stats: &Value) -> Option<Usage> {
    let memory = &stats["memory_stats"];
    let used = memory["usage"].as_u64()?;
    // Pages of files that were read once count as used and are given back on demand; v1 and v2 of
    // cgroups name them differently. `docker stats` takes them away, too.
    let names = ["total_inactive_file", "inactive_file"];
    let cache = names.iter().find_map(|name| memory["stats"][*name].as_u64()).unwrap_or(0);
    let processors = stats["cpu_stats"]["online_cpus"].as_u64().and_then(|n| u32::try_from(n).ok());
    Some(Usage {
        cpus: cpus(&stats["precpu_stats"], &stats["cpu_stats"]),
        cpus_there: processors.unwrap_or(0),
        memory: used.saturating_sub(cache),
        memory_limit: memory["limit"].as_u64().unwrap_or(0),
    })
}

/// Processors in use between two moments: the container's share of the machine's time.
fn cpus(before: &Value, now: &Value) -> Option<f64> {
    let total = |cpu: &Value| cpu["cpu_usage"]["total_usage"].as_u64();
    let system = |cpu: &Value| cpu["system_cpu_usage"].as_u64();
    let used = total(now)?.checked_sub(total(before)?)?;
    let passed = system(now)?.checked_sub(system(before)?)?;
    #[allow(clippy::cast_precision_loss)] // nanoseconds of a second or so
    let share = used as f64 / passed as f64;
    #[allow(clippy::cast_precision_loss)]
    let processors = now["online_cpus"].as_u64().unwrap_or(1).max(1) as f64;
    (passed > 0).then_some(share * processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_measure_is_understood() {
        // Both generations of cgroups; in a second of two processors, half of one was used.
        for cache in ["total_inactive_file", "inactive_file"] {
            let stats = serde_json::json!({
                "read": "2026-11-21T08:00:01.000000001Z", "preread": "2026-11-21T08:00:00Z",
                "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000u64}, "system_cpu_usage": 12_000_000_000u64, "online_cpus": 2},
                "precpu_stats": {"cpu_usage": {"total_usage": 1_000_000_000u64}, "system_cpu_usage": 10_000_000_000u64},
                "memory_stats": {"usage": 1000, "limit": 4000, "stats": {cache: 300}}});
            let wanted = Usage { cpus: Some(0.5), cpus_there: 2, memory: 700, memory_limit: 4000 };
            assert_eq!(usage(&stats), Some(wanted));
        }
    }

    #[test]
    fn a_first_moment_has_no_load_and_an_empty_one_is_none() {
        let first = serde_json::json!({
            "read": "2026-11-21T08:00:01Z", "preread": "0001-01-01T00:00:00Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 5}, "system_cpu_usage": 7, "online_cpus": 1},
            "precpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {"usage": 7}});
        assert_eq!(usage(&first), Some(Usage { cpus_there: 1, memory: 7, ..Usage::default() }));
        let nothing = serde_json::json!({
            "read": "0001-01-01T00:00:00Z", "preread": "0001-01-01T00:00:00Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}});
        assert_eq!(usage(&nothing), None);
        assert_eq!(usage(&serde_json::json!({})), None);
    }
}
