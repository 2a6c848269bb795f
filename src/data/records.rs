//! What the program itself says that it holds, such as its sessions: asked before data is moved, and
//! again afterwards. A page that answers over an empty database proves nothing.

use std::collections::BTreeMap;

use crate::probe::Probe;

/// Ids of records, by the path that lists them.
pub type Records = BTreeMap<String, Vec<String>>;

/// Asks. A path that does not answer with a list of things that have an id is left out.
pub async fn list(probe: &Probe, paths: &[String]) -> Records {
    let mut records = Records::new();
    for path in paths {
        if let Some(ids) = probe.json(path).await.as_ref().and_then(ids) {
            records.insert(path.clone(), ids);
        }
    }
    records
}

/// Asks again; `Err` says in words what is not there any more.
///
/// # Errors
/// The first path that does not answer or lacks records.
pub async fn still_there(probe: &Probe, before: &Records) -> Result<(), String> {
    for (path, ids_before) in before {
        let answer = probe.json(path).await;
        let Some(now) = answer.as_ref().and_then(ids) else {
            return Err(format!("{path} does not answer any more with what is there"));
        };
        let missing = ids_before.iter().filter(|id| !now.contains(id)).count();
        if missing > 0 {
            return Err(format!("{missing} of {} records of {path} are not there any more", ids_before.len()));
        }
    }
    Ok(())
}

fn ids(answer: &serde_json::Value) -> Option<Vec<String>> {
    answer.as_array()?.iter().map(|record| record.get("id")?.as_str().map(str::to_owned)).collect()
}
