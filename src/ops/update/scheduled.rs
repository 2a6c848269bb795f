//! The supervisor's look for a newer release, with `update.check_every`: what it found last, for `status`, and what is new
//! to tell.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Instance, can_update, check};
use crate::{data::schedule::LastRun, error::Result, report::data::UpdateCheckReport, state_file};

/// How the last looks went, and what they found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastUpdateCheck {
    /// When.
    #[serde(flatten)]
    pub last: LastRun,
    /// What there is to update to, such as `release 1.18.40`; `None`: nothing.
    pub available: Option<String>,
}

impl LastUpdateCheck {
    /// Reads it; one that does not parse counts as none.
    pub fn load(path: &Path) -> Self {
        state_file::load(path).unwrap_or_default()
    }

    fn save(&self, path: &Path) -> Result<()> {
        state_file::save(path, self)
    }

    /// Whatever was available is not any more: it is there.
    pub(super) fn taken(path: &Path) {
        let before = LastUpdateCheck::load(path);
        if before.available.is_some() {
            // What `status` says then is late by one look, and no more.
            let _ = LastUpdateCheck { available: None, ..before }.save(path);
        }
    }

    /// After a look, and what of it is new.
    fn after(self, found: &Result<UpdateCheckReport>) -> (Self, Option<String>) {
        let available = match found {
            Ok(report) if report.update_available => Some(match &report.latest {
                Some(latest) => format!("release {latest}"),
                None => "another image of the same name".to_owned(),
            }),
            Ok(_) => None,
            // Nobody took it back.
            Err(_) => self.available.clone(),
        };
        let new = available.clone().filter(|_| available != self.available);
        let outcome = found.as_ref().map(|_| String::new()).map_err(|error| error.with_causes("; "));
        (LastUpdateCheck { last: self.last.after(outcome), available }, new)
    }
}

impl Instance {
    /// Looks for a newer release, and remembers what there is. What was not there at the last look. Changes nothing else.
    ///
    /// # Errors
    /// As [`Instance::check_for_update`].
    pub(crate) async fn run_update_check(&self) -> Result<Option<String>> {
        let found = async { check(self, &can_update(self).await?).await }.await;
        let path = self.files.update_state();
        let (looked, new) = LastUpdateCheck::load(&path).after(&found);
        looked.save(&path)?;
        found.map(|_| new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::Error;

    fn report(latest: Option<&str>, update_available: bool) -> Result<UpdateCheckReport> {
        let latest = latest.map(str::to_owned);
        Ok(UpdateCheckReport { instance: "default".to_owned(), current: None, latest, update_available })
    }

    #[test]
    fn what_is_available_is_told_once() {
        let (first, new) = LastUpdateCheck::default().after(&report(Some("1.0.2"), true));
        assert_eq!(new.as_deref(), Some("release 1.0.2"));
        let (again, new) = first.after(&report(Some("1.0.2"), true));
        assert_eq!((again.available.as_deref(), new), (Some("release 1.0.2"), None));
        let (failed, new) = again.after(&Err(Error::Cancelled));
        assert_eq!((failed.available.as_deref(), new), (Some("release 1.0.2"), None));
        assert!(failed.last.error.is_some());
        let (newer, new) = failed.after(&report(Some("1.0.3"), true));
        assert_eq!((new.as_deref(), &newer.last.error), (Some("release 1.0.3"), &None));
        let (none, new) = newer.after(&report(Some("1.0.3"), false));
        assert_eq!((none.available, new), (None, None));
        assert!(LastUpdateCheck::default().after(&report(None, true)).1.unwrap().contains("another image"));
    }

    #[test]
    fn what_was_taken_is_not_available() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update.json");
        LastUpdateCheck::default().after(&report(Some("1.0.2"), true)).0.save(&path).unwrap();
        assert!(LastUpdateCheck::load(&path).available.is_some());
        LastUpdateCheck::taken(&path);
        let looked = LastUpdateCheck::load(&path);
        assert!(looked.available.is_none() && looked.last.attempt.is_some());
    }
}
