//! The support archive: a tar of texts, each without secrets. Puts together what it is handed;
//! looks nothing up but the tails of our own logs.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    doctor::redact::Redactor,
    error::{Error, Result},
};

/// The folder in the archive.
const FOLDER: &str = "docklet-doctor";

/// How the archive's name ends.
const SUFFIX: &str = ".tar.zst";

/// Most of a log file of ours that goes in.
const TAIL: u64 = 256 << 10;

/// How many lines of the appliance's log go in.
pub const LOG_LINES: usize = 500;

/// What goes in.
#[derive(Debug, Default)]
pub struct BundleContents {
    /// `doctor --json`
    pub doctor: Value,
    /// `status --json`, or its error.
    pub status: Value,
    /// What the engine says of itself and its machine.
    pub engine: Value,
    /// The container, without the values of its environment.
    pub container: Option<Value>,
    /// `settings.toml` as it is.
    pub settings: Option<String>,
    /// The last lines of the appliance's log.
    pub log: Vec<String>,
    /// The end of the last build's log.
    pub build_log: Option<String>,
    /// The end of the supervisor's log.
    pub supervisor_log: Option<String>,
}

/// The archive's bytes. `now` is its files' time, in seconds since 1970.
///
/// # Errors
/// Only a bug can make it fail: it is put together in memory.
pub fn pack(contents: &BundleContents, redactor: &Redactor, now: u64) -> Result<Vec<u8>> {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    let free = |text: Option<String>| match redactor.is_blind() {
        true => text.map(|_| "left out: one of the secrets is so short that it cannot be found in a text\n".to_owned()),
        false => text,
    };
    let log = (!contents.log.is_empty()).then(|| contents.log.join("\n") + "\n");
    let files = [
        ("doctor.json", Some(pretty(&contents.doctor))),
        ("status.json", Some(pretty(&contents.status))),
        ("engine.json", Some(pretty(&contents.engine))),
        ("container.json", contents.container.as_ref().map(pretty)),
        ("settings.toml", contents.settings.clone()),
        ("appliance.log", free(log)),
        ("build.log", free(contents.build_log.clone())),
        ("supervisor.log", free(contents.supervisor_log.clone())),
    ];
    let mut archive = tar::Builder::new(vec![]);
    let failed = |e: std::io::Error| Error::bug(format!("the archive cannot be put together: {e}"));
    for (name, text) in files {
        let Some(text) = text else { continue };
        let text = redactor.clean(&text);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now);
        archive.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes()).map_err(failed)?;
    }
    archive.into_inner().map_err(failed)
}

/// The archive as its name says: compressed, unless it is a plain `.tar`.
///
/// # Errors
/// Only a bug can make it fail.
pub fn compressed(archive: Vec<u8>, file: &Path) -> Result<Vec<u8>> {
    if !file.as_os_str().to_string_lossy().ends_with(SUFFIX) {
        return Ok(archive);
    }
    zstd::encode_all(archive.as_slice(), 0).map_err(|e| Error::bug(format!("the archive cannot be compressed: {e}")))
}

/// The archive's name for the one that was asked for: it says what the file is.
pub fn named(file: &Path) -> PathBuf {
    let name = file.as_os_str().to_string_lossy();
    if name.ends_with(SUFFIX) || name.ends_with(".tar") {
        return file.to_owned();
    }
    let mut name = file.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// The end of a log file, beginning with a whole line; `None` when there is none.
pub fn tail(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = vec![];
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let whole = if length > TAIL { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    Some(whole.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_holds_the_texts_without_secrets() {
        let contents = BundleContents {
            doctor: serde_json::json!({"schema": 1, "said": "hunter2\"x"}),
            settings: Some("# hunter2\"x\n".to_owned()),
            log: vec!["one hunter2\"x".to_owned(), "two".to_owned()],
            ..BundleContents::default()
        };
        let archive = pack(&contents, &Redactor::new("opencode", ["hunter2\"x"]), 5).unwrap();
        assert!(!String::from_utf8_lossy(&archive).contains("hunter2"));
        let mut found = vec![];
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!((entry.header().mode().unwrap(), entry.header().mtime().unwrap()), (0o600, 5));
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push(format!("{}: {}", entry.path().unwrap().display(), text.replace('\n', "|")));
        }
        insta::assert_snapshot!(found.join("\n"), @r#"
        docklet-doctor/doctor.json: {|  "schema": 1,|  "said": "***"|}
        docklet-doctor/status.json: null
        docklet-doctor/engine.json: null
        docklet-doctor/settings.toml: # ***|
        docklet-doctor/appliance.log: one ***|two|
        "#);
        let blind = pack(&contents, &Redactor::new("opencode", ["x"]), 5).unwrap();
        assert!(!String::from_utf8_lossy(&blind).contains("two"), "a log that cannot be cleaned stays out");
    }

    #[test]
    fn its_name_says_what_it_is() {
        for (asked, given) in
            [("report", "report.tar.zst"), ("a/report.tar", "a/report.tar"), ("r.tar.zst", "r.tar.zst")]
        {
            assert_eq!(named(Path::new(asked)), Path::new(given));
        }
        let small = compressed(vec![7; 10_000], Path::new("r.tar.zst")).unwrap();
        assert!(small.len() < 100 && zstd::decode_all(small.as_slice()).unwrap() == vec![7; 10_000]);
        assert_eq!(compressed(vec![7; 100], Path::new("r.tar")).unwrap(), vec![7; 100]);
    }

    #[test]
    fn a_long_log_is_cut_at_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = "x".repeat(99) + "\n";
        std::fs::write(file.path(), line.repeat(5000)).unwrap();
        let text = tail(file.path()).unwrap();
        assert!(text.len() as u64 <= TAIL && text.len().is_multiple_of(100), "{}", text.len());
        assert_eq!(tail(Path::new("/nowhere")), None);
    }
}
