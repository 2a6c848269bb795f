//! How a container ended, and that in words.

use serde::Serialize;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExitReport {
    /// Exit code as the engine reports it.
    pub exit_code: i64,
    /// The engine's own out-of-memory flag.
    pub oom_killed: bool,
    /// The engine's own error text, when the process could not even begin.
    pub engine_error: Option<String>,
    /// The memory limit in bytes, for the message.
    pub memory_limit: Option<u64>,
    /// The last lines that it logged, oldest first.
    pub log_tail: Vec<String>,
}

impl ExitReport {
    /// The cause in words, such as "killed: out of memory at 4 GiB".
    pub fn cause(&self) -> String {
        if let Some(text) = &self.engine_error {
            return text.clone();
        }
        if self.oom_killed {
            return match self.memory_limit {
                Some(limit) => format!("killed: out of memory at {}", crate::units::Bytes(limit)),
                None => "killed: out of memory".to_owned(),
            };
        }
        match self.exit_code {
            137 => "killed by SIGKILL (exit code 137)".to_owned(),
            143 => "ended by SIGTERM (exit code 143)".to_owned(),
            139 => "crashed: segmentation fault (exit code 139)".to_owned(),
            134 => "crashed: aborted (exit code 134)".to_owned(),
            code => format!("exited with code {code}"),
        }
    }
}
