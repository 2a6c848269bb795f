//! When scheduled backups were made, and when the next one is due. Remembered in the state folder.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{clock, error::Result, state_file};

/// After a failure it is tried again this soon, where the schedule itself is slower.
const RETRY: Duration = Duration::from_secs(3600);

/// How the last scheduled backups went. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastRun {
    /// When one was tried last.
    pub attempt: Option<String>,
    /// When one was made last.
    pub success: Option<String>,
    /// That backup.
    pub file: Option<String>,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<String>,
}

impl LastRun {
    /// Reads it; one that does not parse (a disk that was full once) counts as none.
    pub fn load(path: &Path) -> Self {
        state_file::load(path).unwrap_or_default()
    }

    /// Remembers it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        state_file::save(path, self)
    }

    /// After an attempt that is over now.
    pub fn after(mut self, outcome: std::result::Result<String, String>) -> Self {
        let now = clock::now_rfc3339();
        self.attempt = Some(now.clone());
        match outcome {
            Ok(file) => {
                self.success = Some(now);
                self.file = Some(file);
                self.error = None;
            }
            Err(why) => self.error = Some(why),
        }
        self
    }

    /// When the next one is due; the first one is due at once, and so is one after a time that is still to come.
    pub fn next(&self, every: Duration) -> OffsetDateTime {
        let Some(attempt) = self.attempt.as_deref().and_then(clock::parse_past) else {
            return OffsetDateTime::UNIX_EPOCH;
        };
        let wait = if self.error.is_some() { every.min(RETRY) } else { every };
        // Whoever writes a time that leads out of the calendar gets never.
        let wait = time::Duration::try_from(wait).unwrap_or(time::Duration::MAX);
        attempt.checked_add(wait).unwrap_or(time::PrimitiveDateTime::MAX.assume_utc())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_next_one_is_due_when_its_time_has_come() {
        let day = Duration::from_secs(86_400);
        assert_eq!(LastRun::default().next(day), OffsetDateTime::UNIX_EPOCH);
        // The clock was ahead once: no backup until then would be none for years.
        let ahead = LastRun { attempt: Some("2999-01-01T00:00:00Z".to_owned()), ..LastRun::default() };
        assert_eq!(ahead.next(day), OffsetDateTime::UNIX_EPOCH);
        let good = LastRun { attempt: Some("2026-11-21T05:00:00Z".to_owned()), ..LastRun::default() };
        assert_eq!(clock::rfc3339(good.next(day)), "2026-11-22T05:00:00Z");
        let bad = LastRun { error: Some("no space".to_owned()), ..good.clone() };
        assert_eq!(clock::rfc3339(bad.next(day)), "2026-11-21T06:00:00Z");
        assert_eq!(clock::rfc3339(bad.next(Duration::from_secs(60))), "2026-11-21T05:01:00Z");
    }

    #[test]
    fn a_failure_keeps_what_is_known_of_the_last_success() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup.json");
        assert_eq!(LastRun::load(&path), LastRun::default());
        let last = LastRun::default().after(Ok("a.tar.zst".to_owned())).after(Err("no space".to_owned()));
        last.save(&path).unwrap();
        let last = LastRun::load(&path);
        assert_eq!((last.file.as_deref(), last.error.as_deref()), (Some("a.tar.zst"), Some("no space")));
        assert!(last.success.is_some());
        assert_eq!(last.after(Ok("b".to_owned())).error, None);
    }
}
