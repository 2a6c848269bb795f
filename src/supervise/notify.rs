//! `notify.command`: hands an event, as one JSON object, to a command of the user's, so that any chat or mail program
//! can pass it on. What comes of it is remembered for `doctor`.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{clock, error::Result, host::shell, state_file};

/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The decisions of the supervisor that are told; the event is called the same.
const TOLD: [&str; 5] = ["gave_up", "backup_failed", "copy_failed", "backup_test_failed", "update_available"];

/// What the command gets on its standard input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notice {
    schema: u32,
    event: &'static str,
    instance: String,
    /// RFC 3339 in UTC.
    time: String,
    message: String,
    details: serde_json::Value,
}

impl Notice {
    /// The notice of a decision; `None` for one that nobody asked to be told.
    pub fn of(decision: &str, instance: &str, time: &str, message: &str, container: &str) -> Option<Self> {
        let event = TOLD.into_iter().find(|told| *told == decision)?;
        Some(Notice {
            schema: 1,
            event,
            instance: instance.to_owned(),
            time: time.to_owned(),
            message: message.to_owned(),
            details: json!({"container": container}),
        })
    }
}

/// How the last notice went; see `docklet doctor`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastNotice {
    /// Which event.
    pub event: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Why it could not be handed over; `None` when it was.
    pub error: Option<String>,
}

impl LastNotice {
    /// Reads it; one that is not there, or does not parse, is none.
    pub fn load(path: &Path) -> Option<Self> {
        state_file::load(path)
    }

    fn save(&self, path: &Path) -> Result<()> {
        state_file::save(path, self)
    }
}

/// Hands a notice to the command, remembers in `file` what came of it, and returns the line for the log.
pub async fn deliver(command: &str, notice: &Notice, file: &Path) -> String {
    let input = format!("{}\n", serde_json::to_string(notice).unwrap_or_default());
    let done = shell::run(command, &[], input, DEADLINE).await;
    let last =
        LastNotice { event: notice.event.to_owned(), at: clock::now_rfc3339(), error: done.as_ref().err().cloned() };
    // A notice that cannot be remembered was still handed over.
    let _ = last.save(file);
    match done {
        Ok(answer) if answer.is_empty() => format!("told notify.command of {}", notice.event),
        Ok(answer) => format!("told notify.command of {}: {answer}", notice.event),
        Err(why) => format!("notify.command failed for {}: {why}", notice.event),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn notice() -> Notice {
        Notice::of("gave_up", "work", "2026-11-26T12:00:00Z", "it \"failed\"", "opencode-cloud-work").unwrap()
    }

    #[tokio::test]
    async fn the_command_gets_one_object() {
        let folder = tempfile::tempdir().unwrap();
        let (told, file) = (folder.path().join("told"), folder.path().join("notify.json"));
        let line = deliver(&format!("cat >'{}'; echo sent", told.display()), &notice(), &file).await;
        assert_eq!(line, "told notify.command of gave_up: sent");
        let text = std::fs::read_to_string(told).unwrap();
        assert_eq!(text.lines().count(), 1);
        insta::assert_snapshot!(text.trim(), @r#"{"schema":1,"event":"gave_up","instance":"work","time":"2026-11-26T12:00:00Z","message":"it \"failed\"","details":{"container":"opencode-cloud-work"}}"#);
        assert_eq!(LastNotice::load(&file).unwrap().error, None);
    }

    #[tokio::test]
    async fn a_command_that_fails_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notify.json");
        let line = deliver("echo no such webhook >&2; exit 3", &notice(), &file).await;
        assert_eq!(line, "notify.command failed for gave_up: exit status: 3: no such webhook");
        assert!(LastNotice::load(&file).unwrap().error.unwrap().contains("no such webhook"));
    }

    #[test]
    fn only_what_was_asked_for_is_told() {
        assert_eq!(Notice::of("restarted", "work", "", "", ""), None);
    }
}
