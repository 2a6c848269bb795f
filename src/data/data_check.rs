//! What the program itself says that it holds, such as its sessions: asked before data is moved, and
//! again afterwards. A page that answers over an empty database proves nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::probe::Probe;

/// Ids of records, by the path that lists them.
pub type Records = BTreeMap<String, Vec<String>>;

/// Most records of a path that are looked for: each takes a call.
const MOST: usize = 200;

/// Longest id that is looked for, in bytes.
const LONGEST_ID: usize = 128;

/// Time that asking for single records may take in all. What has not answered then does not count as there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time that a backup waits for the answers: they only say what is looked for after a restore.
const BRIEFLY: Duration = Duration::from_secs(5);

/// What a list and a single record have in common.
#[derive(Deserialize)]
struct Record {
    id: String,
}

/// Asks for the lists. A path that does not answer with a list of things that have an id is left out.
pub async fn list(probe: &Probe, paths: &[String]) -> Records {
    let mut records = Records::new();
    for path in paths {
        if let Some(list) = probe.json::<Vec<Record>>(path).await {
            records.insert(path.clone(), list.into_iter().map(|record| record.id).collect());
        }
    }
    sane(records)
}

/// Those ids that can be asked for. What runs inside may answer with anything.
pub fn sane(mut records: Records) -> Records {
    let plain = |id: &String| {
        (1..=LONGEST_ID).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    for ids in records.values_mut() {
        ids.retain(plain);
        ids.truncate(MOST);
    }
    records
}

/// Which of them are there now. A list may have only the newest, so what is not in it is asked for by its id.
pub async fn there(probe: &Probe, before: &Records) -> Records {
    let paths: Vec<String> = before.keys().cloned().collect();
    let (listed, began) = (list(probe, &paths).await, Instant::now());
    let mut there = Records::new();
    for (path, ids) in before {
        let found = there.entry(path.clone()).or_default();
        for id in ids {
            let mut is_there = listed.get(path).is_some_and(|now| now.contains(id));
            if !is_there && began.elapsed() < PATIENCE {
                let record = probe.json::<Record>(&format!("{path}/{id}")).await;
                is_there = record.is_some_and(|record| record.id == *id);
            }
            if is_there {
                found.push(id.clone());
            }
        }
    }
    there
}

/// What comes of asking if it comes soon. From a page that hangs, nothing is learnt, and nobody waits for it.
pub async fn briefly(asking: impl Future<Output = Records>) -> Records {
    tokio::time::timeout(BRIEFLY, asking).await.unwrap_or_default()
}

/// Which of them are not there any more.
pub async fn missing(probe: &Probe, before: &Records) -> Records {
    let there = there(probe, before).await;
    let mut missing = before.clone();
    for (path, ids) in &mut missing {
        ids.retain(|id| !there[path].contains(id));
    }
    missing.retain(|_, ids| !ids.is_empty());
    missing
}

/// What is said of ids that are not there, of so many in all.
pub fn lacking(path: &str, ids: &[String], all: usize) -> String {
    let named = ids.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    match (ids.len(), all) {
        (_, 1) => format!("the only record of {path} is missing: {named}"),
        (1, all) => format!("1 of {all} records of {path} is missing: {named}"),
        (number, all) if number == all => format!("all {all} records of {path} are missing: {named}"),
        (number, all) => format!("{number} of {all} records of {path} are missing: {named}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_the_right_number() {
        let ids: Vec<String> = (1..=4).map(|n| format!("ses_{n}")).collect();
        let said = [(1, 1), (1, 5), (4, 4), (4, 9)].map(|(lost, all)| lacking("/session", &ids[..lost], all));
        insta::assert_snapshot!(said.join("\n"), @r"
        the only record of /session is missing: ses_1
        1 of 5 records of /session is missing: ses_1
        all 4 records of /session are missing: ses_1, ses_2, ses_3
        4 of 9 records of /session are missing: ses_1, ses_2, ses_3
        ");
    }

    #[test]
    fn only_what_can_be_asked_for_is_looked_for() {
        let ids = ["ses_1", "ses\u{1b}]0;x\u{7}", "a/../b", "", "ses 2", &"x".repeat(129)].map(str::to_owned);
        let kept = sane(Records::from([("/session".to_owned(), ids.to_vec())]));
        assert_eq!(kept["/session"], ["ses_1"]);
        let many = (0..500).map(|n| format!("ses_{n}")).collect();
        assert_eq!(sane(Records::from([("/session".to_owned(), many)]))["/session"].len(), MOST);
    }
}
