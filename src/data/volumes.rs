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
        helper::{HelperResult, HelperSpec},
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

/// `members FORMAT FILE FOLDER…` lists what belongs into a backup, and in FILE what cannot be restored.
///
/// Tar never sees what is left out: it would store the content under a first name that is too long, and only a link
/// under the second. `pack`: POSIX format, for names of any length, times to the nanosecond, files of any size. SELinux
/// gives labels of its own to a new place.
const MEMBERS: &str = r#"export LC_ALL=C; too_long=$1; exclude=$2; shift 2
members() {
    format=$1; told=$2; shift 2
    /usr/bin/find "$@" -regextype posix-extended -path 'volumes/*/*' -regex "$exclude" -prune -o \
        \( -type s -o -type b -o -type c -o -path "$too_long" \) -prune -fprintf "$told" '%y %p\0' -o -printf "$format"
}
pack() {
    /usr/bin/tar --create --file=- --format=posix --blocking-factor=20 --null --no-recursion --files-from=- \
        --numeric-owner --sparse --xattrs '--xattrs-include=*' --xattrs-exclude=security.selinux
}
"#;

/// What find cannot read must not be missing without a word.
const PACK: &str = r#"{ members '%p\0' /dev/stderr "$@" || printf 'a part of the list is missing\0'; } | pack"#;

/// Prints `once` where a file system cannot promise what the second pass relies on: that the time of a change (ctime)
/// tells of writes to memory that a file is mapped into, once `sync` has written what was there. Else the clocks, the
/// tar of the first pass, and `clean` if tar had no other complaint than that files changed or went. Then, after a line
/// of input, the clocks and the list of what is there, and the tar of what is named on standard input.
const PACK_TWICE: &str = r#"clocks() { read -r up rest </proc/uptime; now="$(/usr/bin/date +%s.%N) $up"; }
for type in $(/usr/bin/stat --file-system --format=%T "$@" || echo unknown); do
    case $type in ext2/ext3 | xfs | btrfs) ;; *) printf 'once\0'; exit 0 ;; esac
done
clocks
/usr/bin/sync --file-system "$@" 2>/dev/null || { printf 'once\0'; exit 0; }
printf '%s\0' "$now"
{
    members '%p\0' /dev/null "$@" 2>/dev/null | pack 2>&1 >&3 | {
        clean=clean
        while IFS= read -r line; do
            case $line in
                *': file changed as we read it' | *': File removed before we read it' | \
                *': No such file or directory' | *': Not a directory' | *': No data available' | \
                *': Too many levels of symbolic links' | *': Cannot readlink: Invalid argument' | *': File shrank by '*' padding with zeros' | *': socket ignored' | \
                *': Exiting with failure status due to previous errors') ;;
                *) clean=unclear ;;
            esac
        done
        printf '%s\0' "$clean" >&3
    }
} 3>&1
read -r go || exit 1
clocks
printf '%s\0' "$now"
members '%T@ %C@ %n %D:%i %y %p\0' /dev/stderr "$@" || exit 2
printf '\0'
pack"#;

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
        self.reads(PACK, volumes, exclude)
    }

    /// The same in two passes, the second of which waits for a line on standard input. What it prints is for
    /// `backup::twice`.
    pub fn pack_twice(&self, volumes: &[Named], exclude: &[Glob]) -> HelperSpec {
        HelperSpec { input: true, ..self.reads(PACK_TWICE, volumes, exclude) }
    }

    fn reads(&self, script: &str, volumes: &[Named], exclude: &[Glob]) -> HelperSpec {
        let script = format!("{MEMBERS}{script}");
        let too_long = format!("{}*", "?".repeat(LONGEST_PATH + 1));
        let folders: Vec<String> = volumes.iter().map(|v| format!("volumes/{}", v.role)).collect();
        // A volume itself is always there. Without patterns, the empty expression matches no path.
        let patterns: Vec<String> = exclude.iter().map(|glob| format!("volumes/{}", glob.regex())).collect();
        let patterns = format!("({})", patterns.join("|"));
        let mut command = vec!["/bin/sh", "-c", &script, "pack", &too_long, &patterns];
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

    /// Says how many bytes are free where the first of these volumes is, and how many each of them takes there.
    fn measure(&self, volumes: &[Named]) -> HelperSpec {
        // A file that has gone meanwhile takes nothing.
        let script = "/usr/bin/df --output=avail --block-size=1 \"$1\" && \
                      { /usr/bin/du --summarize --one-file-system --block-size=1 \"$@\" 2>/dev/null || true; }";
        let folders: Vec<String> = volumes.iter().map(|v| format!("{VOLUMES}/{}", v.role)).collect();
        let mut command = vec!["/bin/sh", "-c", script, "measure"];
        command.extend(folders.iter().map(String::as_str));
        let mut spec = self.spec("measure", &command, READS);
        spec.volumes = volumes.iter().map(|v| (v.volume.clone(), format!("{VOLUMES}/{}", v.role), true)).collect();
        spec
    }
}

/// What is on the disk of volumes, in bytes. A file with holes takes only what is between them; the engine's own sizes count
/// the holes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// What is free; `None` where it was not said.
    pub free: Option<u64>,
    /// What the volumes take.
    pub used: u64,
}

/// Measures volumes, of which there must be one.
///
/// # Errors
/// What the engine says, and [`Error::VolumesFailed`].
pub async fn on_disk(engine: &Engine, task: &HelperOf, volumes: &[Named]) -> Result<OnDisk> {
    let spec = task.measure(volumes);
    engine.create_helper(&spec).await?;
    let work = async {
        let mut task = engine.start_helper(&spec).await?;
        let mut output = vec![];
        while let Some(piece) = task.next().await? {
            output.extend_from_slice(&piece);
        }
        let ended = task.end().await?;
        if ended.code != 0 {
            return Err(complaint("measuring the volumes", &ended));
        }
        Ok(measured(&String::from_utf8_lossy(&output)))
    };
    let measured = work.await;
    engine.remove_container(&spec.name).await?;
    measured
}

/// A heading and a number, and then a number and a folder a line.
fn measured(output: &str) -> OnDisk {
    let mut numbers =
        output.lines().skip(1).map(|line| line.split_whitespace().next().and_then(|word| word.parse().ok()));
    OnDisk { free: numbers.next().flatten(), used: numbers.flatten().sum() }
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
pub fn left_out(ended: &HelperResult, manifest: &mut Manifest) {
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
pub fn complaint(what: &str, ended: &HelperResult) -> Error {
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
