//! How the short-lived containers that read and write volumes look: the image that they are made
//! from, their command, their capabilities; and what their complaints mean. GNU tar does the
//! work, because it keeps what the engine's own archive calls lose: extended attributes, times
//! below a second, holes.

use std::collections::BTreeMap;

use super::archive::{
    Manifest,
    rules::{LONGEST_PATH, TOO_LONG},
};
use crate::{
    desired::label,
    engine::{
        Engine,
        helper::{Ended, HelperSpec},
    },
    error::{Error, Result},
    settings::Glob,
};

/// The folder in the container that volumes are mounted below, and in the archive.
const VOLUMES: &str = "/volumes";

/// Reads everything, whoever owns it, and can write nothing.
const READS: &[&str] = &["DAC_READ_SEARCH"];

/// Gives everything back as it was: owners, modes, set-user-id bits and file capabilities included.
const WRITES: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP"];

/// A volume and its role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its role.
    pub role: String,
    /// Its name on the engine.
    pub volume: String,
}

/// What a task has of the instance that it works for.
#[derive(Debug, Clone)]
pub struct HelperOf {
    /// The container's name.
    pub name: String,
    /// An image that has GNU tar.
    pub image: String,
    /// The instance's labels.
    pub labels: BTreeMap<String, String>,
}

impl HelperOf {
    fn spec(&self, what: &str, command: &[&str], capabilities: &[&str]) -> HelperSpec {
        let mut labels = self.labels.clone();
        labels.insert(label::TASK.to_owned(), what.to_owned());
        HelperSpec {
            name: self.name.clone(),
            image: self.image.clone(),
            labels,
            volumes: vec![],
            command: command.iter().map(|&word| word.to_owned()).collect(),
            capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
            ..HelperSpec::default()
        }
    }

    /// Packs volumes into one tar on standard output, `volumes/ROLE/…`, and lists on standard error what cannot be
    /// restored: see [`left_out`]. What matches `exclude` is not in it; see [`Glob`].
    pub fn pack(&self, volumes: &[Named], exclude: &[Glob]) -> HelperSpec {
        // Tar never sees what is left out: it would store the content under a first name that is too long, and
        // only a link under the second. What find cannot read must not be missing without a word.
        // POSIX format: names of any length, times to the nanosecond, files of any size.
        // SELinux gives labels of its own to a new place.
        let script = "export LC_ALL=C; too_long=$1; exclude=$2; shift 2; { /usr/bin/find \"$@\" \
             -regextype posix-extended -path 'volumes/*/*' -regex \"$exclude\" -prune -o \
             \\( -type s -o -type b -o -type c -o -path \"$too_long\" \\) -prune -fprintf /dev/stderr '%y %p\\0' \
             -o -print0 || printf 'a part of the list is missing\\0'; } | \
             /usr/bin/tar --create --file=- --format=posix --null --no-recursion --files-from=- --numeric-owner \
             --sparse --xattrs '--xattrs-include=*' --xattrs-exclude=security.selinux";
        let too_long = format!("{}*", "?".repeat(LONGEST_PATH + 1));
        let folders: Vec<String> = volumes.iter().map(|v| format!("volumes/{}", v.role)).collect();
        // A volume itself is always there. Without patterns, the empty expression matches no path.
        let patterns: Vec<String> = exclude.iter().map(|glob| format!("volumes/{}", glob.regex())).collect();
        let patterns = format!("({})", patterns.join("|"));
        let mut command = vec!["/bin/sh", "-c", script, "pack", &too_long, &patterns];
        command.extend(folders.iter().map(String::as_str));
        let mut spec = self.spec("backup", &command, READS);
        spec.volumes = volumes.iter().map(|v| (v.volume.clone(), format!("{VOLUMES}/{}", v.role), true)).collect();
        spec
    }

    /// Empties volumes, and unpacks such a tar from standard input.
    pub fn unpack(&self, volumes: &[Named]) -> HelperSpec {
        // Flushed to disk before anybody is told that it is done.
        let script = "set -e; /usr/bin/find \"$@\" -mindepth 1 -delete; \
             /usr/bin/tar --extract --file=- --directory=/ --numeric-owner --same-owner --same-permissions \
             --xattrs '--xattrs-include=*' --xattrs-exclude=security.selinux; /usr/bin/sync";
        let folders: Vec<String> = volumes.iter().map(|v| format!("{VOLUMES}/{}", v.role)).collect();
        let mut command = vec!["/bin/sh", "-c", script, "unpack"];
        command.extend(folders.iter().map(String::as_str));
        let mut spec = self.spec("restore", &command, WRITES);
        spec.volumes = volumes.iter().map(|v| (v.volume.clone(), format!("{VOLUMES}/{}", v.role), false)).collect();
        spec.input = true;
        spec
    }

    /// Says how many bytes are free where a volume is.
    pub fn measure(&self, volume: &Named) -> HelperSpec {
        let mut spec = self.spec("measure", &["/usr/bin/df", "--output=avail", "--block-size=1", "/volume"], &[]);
        spec.volumes = vec![(volume.volume.clone(), "/volume".to_owned(), true)];
        spec
    }
}

/// An image that tasks can be made from: the first of `wanted` that is on the engine.
///
/// # Errors
/// [`Error::Missing`] when there is none.
pub async fn image(engine: &Engine, wanted: &[&str]) -> Result<String> {
    for reference in wanted.iter().filter(|reference| !reference.is_empty()) {
        if engine.image(reference).await?.is_some() {
            return Ok((*reference).to_owned());
        }
    }
    Err(Error::Missing {
        what: "image to read the volumes with".to_owned(),
        reason: Some(format!("none of these is on the engine: {}", wanted.join(", "))),
        hint: "docklet start gets the image again".to_owned(),
    })
}

/// Takes note of what [`HelperOf::pack`] left out, as it listed it.
pub fn left_out(ended: &Ended, manifest: &mut Manifest) {
    // One that is cut off is counted, and not named.
    let (whole, _) = ended.complaints.rsplit_once('\0').unwrap_or_default();
    for (kind, path) in whole.split('\0').filter_map(|line| line.split_once(" volumes/")) {
        let reason = match kind.chars().next_back() {
            Some('s') => "it is a socket",
            Some('b' | 'c') => "it is a device",
            _ => TOO_LONG,
        };
        manifest.leave_out(format!("volumes/{path}").as_bytes(), reason);
    }
    manifest.left_out_count = manifest.left_out_count.max(ended.listed);
}

/// The error for a task that ended badly; `what` it was to do.
pub fn complaint(what: &str, ended: &Ended) -> Error {
    // GNU tar says only how much it could write when a part of a block still fitted.
    if crate::engine::no_space(&ended.complaints) || ended.complaints.contains(": Wrote only ") {
        return Error::NoSpace { place: "the engine's disk".to_owned(), needed: None, available: None };
    }
    // Without the list of what was left out.
    let all = ended.complaints.split(['\0', '\n']);
    let lines: Vec<&str> = all.filter(|line| !matches!(line.as_bytes(), [] | [_, b' ', ..])).take(5).collect();
    let reason = if lines.is_empty() { format!("it ended with code {}", ended.code) } else { lines.join("; ") };
    Error::VolumesFailed { what: what.to_owned(), reason }
}
