//! What kind of system the host is: who starts its services, who we are, what is installed.
//! Looks, changes nothing.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where programs are looked for. Not the search path of the environment: on Debian that of an
/// ordinary user lacks `/usr/sbin`, where the engine is.
const PROGRAM_FOLDERS: [&str; 8] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/homebrew/bin", "/snap/bin"];

/// The path of the program that runs.
///
/// # Errors
/// A bug: the system always knows it.
pub fn this_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::bug(format!("cannot find the path of the running program: {e}")))
}

/// Who starts and stops services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// systemd is process 1.
    Systemd,
    /// OpenRC, as on Alpine.
    OpenRc,
    /// Scripts in `/etc/init.d`, run by a System V init at boot.
    Scripts,
    /// Nobody: a container, WSL2 without systemd, macOS.
    Nobody,
}

/// The kind of system that this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct System {
    /// Whether it is macOS.
    pub macos: bool,
    /// Who starts services.
    pub init: Init,
    /// Whether we are root.
    pub root: bool,
}

impl System {
    /// Looks at this system.
    pub fn current() -> Self {
        let exists = |path: &str| Path::new(path).exists();
        let first_process = || std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
        let init = if exists("/run/systemd/system") {
            Init::Systemd
        } else if exists("/run/openrc") {
            Init::OpenRc
        } else if exists("/etc/inittab") && first_process().trim() == "init" {
            Init::Scripts
        } else {
            Init::Nobody
        };
        System { macos: cfg!(target_os = "macos"), init, root: is_root() }
    }

    /// `sudo ` where root is needed and we are not root.
    pub fn sudo(self) -> &'static str {
        if self.root { "" } else { "sudo " }
    }
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Finds an installed program in the usual folders.
pub fn which(program: &str) -> Option<PathBuf> {
    PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Whether a process of this name runs, whoever's it is.
pub fn runs(program: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let is = |process: std::fs::DirEntry| {
        std::fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name.trim() == program)
    };
    processes.flatten().any(is)
}

/// Asks a process to end (SIGTERM); `false` when there is none or it is not ours.
#[cfg(test)]
pub fn terminate(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok())
}

/// Whether a process is there and has not ended. Where there is no `/proc`, nobody knows: yes.
pub fn is_alive(pid: u32) -> bool {
    // One that ended stays as a zombie until its parent looks: the `Z` behind its name.
    let state = |stat: String| Some(stat.rsplit_once(')')?.1.trim_start().starts_with('Z'));
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => state(stat) != Some(true),
        Err(_) => !Path::new("/proc/self").exists(),
    }
}

/// The name of the user that this process acts for.
pub fn user_name() -> Option<String> {
    name_of_user(rustix::process::getuid().as_raw())
}

/// A user's name.
pub fn name_of_user(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    entry(&users, uid).map(|fields| fields[0].to_owned())
}

/// A group's name and its members.
pub fn group(gid: u32) -> Option<(String, Vec<String>)> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let fields = entry(&groups, gid)?;
    let members = fields.get(3).map(|m| m.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect());
    Some((fields[0].to_owned(), members.unwrap_or_default()))
}

/// The line of `/etc/passwd` or `/etc/group` with this number in its third field.
fn entry(text: &str, number: u32) -> Option<Vec<&str>> {
    let number = number.to_string();
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.get(2) == Some(&number.as_str()))
}

/// Whether fewer programs wanted a processor in the last minute than there are processors. A system that does not say so
/// in a file counts as idle.
pub fn is_idle() -> bool {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0);
    load < processors as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_number() {
        let text = "root:x:0:\ndocker:x:104:me,you\nbroken\n";
        assert_eq!(entry(text, 104).unwrap(), ["docker", "x", "104", "me,you"]);
        assert_eq!(entry(text, 0).unwrap()[0], "root");
        assert_eq!(entry(text, 10), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_ended_is_not_alive() {
        assert!(is_alive(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        while is_alive(child.id()) {
            std::thread::yield_now();
        }
        assert!(Path::new("/proc").join(child.id().to_string()).exists(), "a zombie");
        let pid = child.id();
        child.wait().unwrap();
        assert!(!is_alive(pid));
    }

    #[test]
    fn programs_are_found_where_they_are() {
        assert!(which("sh").is_some());
        assert_eq!(which("docklet-has-no-such-program"), None);
        assert_eq!(which("systemd"), which("systemd").filter(|p| p.is_file()), "a folder is no program");
    }
}
