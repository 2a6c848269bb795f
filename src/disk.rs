//! Room on the engine's disk and the size of the volumes: how both are measured, and when they are worth a warning. The
//! supervisor measures; `status` and `doctor` warn, from the same function.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    engine::Engine,
    host::checkup::{self, Space},
    units::Bytes,
};

/// Less than one part in so many free is worth a warning.
const NEARLY_FULL: u64 = 20;

/// How long `du` may walk through the volumes, in seconds: about a million files on a slow disk.
pub const DU_SECONDS: u64 = 300;

/// Runs `du` with an empty environment and by absolute paths, behind everything else, and without its complaints about
/// folders that it may not read.
const DU: &str = "exec /usr/bin/timeout 300 /usr/bin/nice /usr/bin/du --summarize --total --one-file-system \
                  --block-size=1 \"$@\" 2>/dev/null";

/// What was measured last. Sizes are bytes, times RFC 3339 in UTC; `None` for unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskUse {
    /// What the volumes take; measured only with `resources.disk`.
    pub volumes: Option<u64>,
    /// When that was measured.
    pub volumes_at: Option<String>,
    /// What is free on the engine's disk.
    pub free: Option<u64>,
    /// The size of that disk.
    pub total: Option<u64>,
    /// When that was measured.
    pub at: Option<String>,
}

/// What is worth a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// The engine's disk is nearly full.
    NearlyFull {
        /// Bytes that are free.
        free: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The volumes take more than `resources.disk`.
    OverLimit {
        /// Bytes in the volumes.
        volumes: u64,
        /// The setting.
        limit: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Warning::NearlyFull { free, total } => write!(
                f,
                "the engine's disk is nearly full: {} of {} are free, less than {}%",
                Bytes(free),
                Bytes(total),
                100 / NEARLY_FULL
            ),
            Warning::OverLimit { volumes, limit } => {
                write!(f, "the volumes take {}, more than the {} of resources.disk", Bytes(volumes), Bytes(limit))
            }
        }
    }
}

impl Warning {
    /// The command that helps; `flag` names the instance.
    pub fn fix(&self, flag: &str) -> String {
        match self {
            Warning::NearlyFull { .. } => "docker system df".to_owned(),
            Warning::OverLimit { .. } => format!("docklet{flag} exec -- du -xhd2 /workspace"),
        }
    }
}

/// Whether what was measured is worth a warning; `limit` is `resources.disk`. A disk that is nearly full comes first: it
/// stops everything else on the engine, too.
pub fn warning(disk: &DiskUse, limit: Option<u64>) -> Option<Warning> {
    match (disk.free, disk.total) {
        (Some(free), Some(total)) if free < total / NEARLY_FULL => return Some(Warning::NearlyFull { free, total }),
        _ => {}
    }
    let (volumes, limit) = (disk.volumes?, limit?);
    (volumes > limit).then_some(Warning::OverLimit { volumes, limit })
}

/// Room on the disk of the engine's data folder, where that is a folder of this machine. Asks the kernel, not the engine.
///
/// # Errors
/// Why it is not known, in a few words.
pub fn room(engine: &Engine, data_folder: &str) -> Result<Space, String> {
    if data_folder.is_empty() {
        return Err("the engine does not say where its data is".to_owned());
    }
    let in_a_machine = cfg!(target_os = "macos")
        || !matches!(engine.about.name.as_str(), "Docker" | "rootless Docker" | "Podman")
        || !engine.is_local();
    if in_a_machine {
        return Err("the engine's disk is not one of this machine's".to_owned());
    }
    let folder = Path::new(data_folder);
    // Through a socket that is passed on, an engine of another machine looks like one of ours.
    if folder.exists() { checkup::space(folder) } else { None }
        .ok_or_else(|| format!("the engine's data folder {} is not to be seen from here", folder.display()))
}

/// The command that measures folders inside the container, without those that are mounted from the host.
pub fn du<'a>(folders: impl Iterator<Item = &'a str>, mounted: &[String]) -> Vec<String> {
    let words = ["/usr/bin/env", "-i", "/bin/sh", "-c", DU, "du"].map(str::to_owned);
    let excluded = mounted.iter().map(|path| format!("--exclude={}", literal(path)));
    let folders = folders.map(str::to_owned);
    words.into_iter().chain(excluded).chain(std::iter::once("--".to_owned())).chain(folders).collect()
}

/// A path as a pattern that matches nothing else.
fn literal(path: &str) -> String {
    path.chars().flat_map(|c| "*?[\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// The sum in what `du --total` printed: its last line.
pub fn sum(output: &str) -> Option<u64> {
    let (number, name) = output.lines().next_back()?.split_once('\t')?;
    if name == "total" { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(free: Option<u64>, volumes: Option<u64>) -> DiskUse {
        DiskUse { free, total: free.map(|_| 100 * GIB), volumes, ..DiskUse::default() }
    }

    #[test]
    fn below_a_twentieth_free_or_above_the_limit_is_worth_a_warning() {
        let limit = Some(50 * GIB);
        assert_eq!(warning(&DiskUse::default(), limit), None, "nothing is known");
        assert_eq!(warning(&disk(Some(5 * GIB), Some(50 * GIB)), limit), None, "at both limits");
        assert_eq!(warning(&disk(Some(5 * GIB), Some(99 * GIB)), None), None, "no limit is set");
        let full = warning(&disk(Some(5 * GIB - 1), Some(51 * GIB)), limit).unwrap();
        assert_eq!(full.to_string(), "the engine's disk is nearly full: 5 GiB of 100 GiB are free, less than 5%");
        assert_eq!(full.fix(" --instance work"), "docker system df");
        let over = warning(&disk(None, Some(51 * GIB)), limit).unwrap();
        assert_eq!(over.to_string(), "the volumes take 51 GiB, more than the 50 GiB of resources.disk");
        assert_eq!(over.fix(" --instance work"), "docklet --instance work exec -- du -xhd2 /workspace");
    }

    #[test]
    fn du_is_run_by_absolute_paths_and_leaves_out_what_is_mounted() {
        let command = du(["/workspace", "/home"].into_iter(), &["/workspace/a [1]*".to_owned()]);
        assert_eq!(&command[..4], ["/usr/bin/env", "-i", "/bin/sh", "-c"]);
        assert!(command[4].contains(&format!("timeout {DU_SECONDS} ")), "{}", command[4]);
        assert_eq!(&command[6..], [r"--exclude=/workspace/a \[1]\*", "--", "/workspace", "/home"]);
    }

    #[test]
    fn du_is_right_about_real_folders() {
        let folder = tempfile::tempdir().unwrap();
        let (data, mounted) = (folder.path().join("data"), folder.path().join("data/a [1]*"));
        std::fs::create_dir_all(&mounted).unwrap();
        std::fs::write(data.join("kept"), vec![1; 300 << 10]).unwrap();
        std::fs::write(mounted.join("left out"), vec![1; 900 << 10]).unwrap();
        let measure = |mounted: &[String]| {
            let command = du([data.to_str().unwrap()].into_iter(), mounted);
            let output = std::process::Command::new(&command[0]).args(&command[1..]).output().unwrap();
            sum(&String::from_utf8(output.stdout).unwrap()).unwrap()
        };
        let mounts = [mounted.to_str().unwrap().to_owned()];
        assert!((300 << 10..500 << 10).contains(&measure(&mounts)), "{}", measure(&mounts));
        assert!(measure(&[]) > 1200 << 10);
    }

    #[test]
    fn only_a_sum_is_read() {
        assert_eq!(sum("4096\t/a\n8192\ttotal\n"), Some(8192));
        for text in ["", "8192", "8192\t/a", "total", "x\ttotal", "timed out"] {
            assert_eq!(sum(text), None, "{text}");
        }
    }
}
