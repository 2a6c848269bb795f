//! `backup.copy`: which backups are still to be copied elsewhere, and how the last copies went. Remembered in the state
//! folder. Also puts a file's name into the user's command.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::store::{Reason, StoredBackup};
use crate::{clock, error::Result, state_file};

/// After the first failure it is tried again this soon, after each further one twice as late.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// The longest time between two attempts.
const LAST_RETRY: Duration = Duration::from_secs(3600);

/// How the last copies went. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Copies {
    /// When one was tried last.
    pub attempt: Option<String>,
    /// When one was made last.
    pub success: Option<String>,
    /// The backup that was copied then.
    pub file: Option<String>,
    /// When the newest backup was made that was copied, and all before it.
    pub up_to: Option<String>,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<String>,
    /// How many failed in a row.
    pub failures: u32,
}

impl Copies {
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

    /// After an attempt that is over now. `up_to`: when the backup was made, if nothing older waits.
    pub fn after(mut self, file: &Path, up_to: Option<String>, outcome: &std::result::Result<(), String>) -> Self {
        let now = clock::now_rfc3339();
        self.attempt = Some(now.clone());
        match outcome {
            Ok(()) => {
                self.success = Some(now);
                self.file = Some(file.display().to_string());
                self.up_to = up_to.or(self.up_to);
                (self.error, self.failures) = (None, 0);
            }
            Err(why) => (self.error, self.failures) = (Some(why.clone()), self.failures.saturating_add(1)),
        }
        self
    }

    /// Those of an instance's backups, newest first, that are still to be copied, oldest first. Before the first copy that is
    /// only the newest. Those made before a change belong to this machine.
    pub fn pending<'a>(&self, backups: &'a [StoredBackup]) -> Vec<&'a StoredBackup> {
        let copied = backups.iter().filter(|b| b.is_for(Reason::Manual) || b.is_for(Reason::Scheduled));
        let created = |b: &StoredBackup| b.header.as_ref().ok().and_then(|header| clock::parse(&header.created));
        let mut pending: Vec<&StoredBackup> = match self.up_to.as_deref().and_then(clock::parse) {
            Some(up_to) => copied.filter(|b| created(b).is_some_and(|at| at > up_to)).collect(),
            None => copied.take(1).collect(),
        };
        pending.reverse();
        pending
    }

    /// When the next attempt may be made.
    pub fn next(&self) -> OffsetDateTime {
        let attempt = self.attempt.as_deref().and_then(clock::parse_past).filter(|_| self.failures > 0);
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(16)).min(LAST_RETRY);
        attempt.map_or(OffsetDateTime::UNIX_EPOCH, |at| at + wait)
    }
}

/// The user's command as a script for the shell whose first argument is the file and whose second is its name. The values
/// are never part of the script, so nothing in them is a command; quotes around `{file}` and `{name}` are allowed.
pub fn script(command: &str) -> String {
    let mut script = String::with_capacity(command.len());
    let (mut quote, mut rest) = (None, command);
    while let Some(next) = rest.chars().next() {
        let found = [("{file}", 1), ("{name}", 2)].into_iter().find(|(placeholder, _)| rest.starts_with(placeholder));
        if let Some((placeholder, number)) = found {
            script.push_str(&match quote {
                None => format!("\"${number}\""),
                Some('"') => format!("${{{number}}}"),
                Some(_) => format!("'\"${number}\"'"),
            });
            rest = &rest[placeholder.len()..];
            continue;
        }
        let mut length = next.len_utf8();
        match (next, quote) {
            ('\\', None | Some('"')) => length += rest[1..].chars().next().map_or(0, char::len_utf8),
            ('"' | '\'', None) => quote = Some(next),
            ('"' | '\'', Some(open)) if open == next => quote = None,
            _ => {}
        }
        script.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    script
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What the command gets as its words, by the shell itself.
    fn words(command: &str, file: &str, name: &str) -> Vec<String> {
        let script = format!("set -- {}; printf '%s\\n' \"$@\"", script(command));
        let output = std::process::Command::new("sh").args(["-c", &script, "sh", file, name]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn names_are_words_whatever_is_in_them_and_around_them() {
        let (file, name) = ("/a b/$(touch x)'\"\\ *", "n m;rm");
        for command in [
            "{file} remote:docklet/{name}",
            "\"{file}\" \"remote:docklet/{name}\"",
            "'{file}' 'remote:docklet/{name}'",
            "'{file}' remote:\"docklet\"/'{name}'",
        ] {
            assert_eq!(words(command, file, name), [file, "remote:docklet/n m;rm"], "{command}");
        }
        assert_eq!(words("\\\"{file}\\\" \"\\\"{name}\"", "a b", "c"), ["\"a b\"", "\"c"]);
        assert_eq!(script("cp {other} ä{file}"), "cp {other} ä\"$1\"");
        assert_eq!(script("echo \\"), "echo \\");
    }

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let at = clock::parse("2026-11-26T12:00:00Z").unwrap();
        let after = |failures| Copies { attempt: Some(clock::rfc3339(at)), failures, ..Copies::default() }.next() - at;
        let minutes = [1, 2, 3, 4, 5, 6, 7, 8, 1000].map(|failures| after(failures).whole_minutes());
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(Copies::default().next(), OffsetDateTime::UNIX_EPOCH);
        let failed = Copies::default().after(Path::new("/a"), None, &Err("no network".to_owned()));
        assert_eq!((failed.failures, failed.error.as_deref()), (1, Some("no network")));
        let done = failed.after(Path::new("/a"), Some("2026-11-26T12:00:00Z".to_owned()), &Ok(()));
        assert_eq!((done.failures, &done.error, done.file.as_deref()), (0, &None, Some("/a")));
        let again = done.clone().after(Path::new("/b"), None, &Err("no network".to_owned()));
        assert_eq!((again.file, again.up_to), (done.file, done.up_to), "the last success stays known");
    }
}
