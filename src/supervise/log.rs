//! The supervisor's log: one line for each decision, in a file that is set aside when it has grown.
//! A log that cannot be written is no reason to stop supervising.

use std::{io::Write as _, path::PathBuf};

use crate::clean;

/// The size at which a file is set aside; some three thousand lines.
const LARGEST: u64 = 256 << 10;

/// The log.
#[derive(Debug, Clone)]
pub struct SupervisorLog {
    path: PathBuf,
    largest: u64,
}

impl SupervisorLog {
    /// The log at `path`; older ones have `.1` and `.2` behind it.
    pub fn new(path: PathBuf) -> Self {
        SupervisorLog { path, largest: LARGEST }
    }

    /// Adds a line.
    pub fn line(&self, text: &str) {
        if std::fs::metadata(&self.path).is_ok_and(|found| found.len() >= self.largest) {
            let _ = std::fs::rename(self.older(1), self.older(2));
            let _ = std::fs::rename(&self.path, self.older(1));
        }
        // Opened for each line: a line is rare, and an open file would pin what was set aside.
        let mut options = std::fs::File::options();
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        if let Ok(mut file) = options.open(&self.path) {
            let _ = file.write_all(format!("{}\n", clean::one_line(text)).as_bytes());
        }
    }

    fn older(&self, number: u8) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_keeps_two_older_ones_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let log = SupervisorLog { path: folder.path().join("supervisor.log"), largest: 100 };
        for n in 0..200 {
            log.line(&format!("line {n}\nof two"));
        }
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["supervisor.log", "supervisor.log.1", "supervisor.log.2"]);
        let text = std::fs::read_to_string(folder.path().join("supervisor.log")).unwrap();
        assert!(text.ends_with("line 199 of two\n") && text.len() <= 120, "{text}");
        assert!(std::fs::read_to_string(folder.path().join("supervisor.log.2")).unwrap().len() <= 120);
    }
}
