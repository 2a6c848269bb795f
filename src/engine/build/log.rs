//! The log of a build: the whole of it in a file, its end in memory for the error. Without credentials.

use std::{collections::VecDeque, io::Write as _};

use super::BuildRequest;
use crate::{
    engine::stream_error::mask_urls,
    error::{Error, Result},
};

/// Lines of the log that an error shows.
const TAIL: usize = 20;

/// The whole log in a file, written line by line, and its end in memory.
pub(super) struct BuildLog {
    file: fs_err::File,
    /// Name of the step that the last line was of.
    step: String,
    pub(super) tail: VecDeque<String>,
}

impl BuildLog {
    pub(super) fn create(request: &BuildRequest) -> Result<Self> {
        let path = request.log_file.as_path();
        let file = fs_err::File::create(path).map_err(|e| Error::file("write", path, &e))?;
        let mut log = BuildLog { file, step: String::new(), tail: VecDeque::new() };
        log.write(&format!("building {}", request.reference)).map_err(|e| Error::file("write", path, &e))?;
        for (name, value) in &request.arguments {
            let _ = log.write(&format!("  {name}={}", mask_urls(value)));
        }
        Ok(log)
    }

    pub(super) fn line(&mut self, step: &str, line: &str) {
        // A full disk is no reason to stop a build on the engine; the error of the build counts.
        if self.step != step && !step.is_empty() {
            let _ = self.write(&format!("\n{step}"));
            self.step = step.to_owned();
        }
        let _ = self.write(&format!("  {line}"));
        self.tail.push_back(line.to_owned());
        if self.tail.len() > TAIL {
            self.tail.pop_front();
        }
    }

    pub(super) fn write(&mut self, line: &str) -> std::io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}
