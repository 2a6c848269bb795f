//! The supervisor as a process: is one running, start one of its own, end it. Which one runs is
//! told by who holds the supervisor's lock, never by a process id in a file alone.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    error::{Error, Result},
    lock::Lock,
    paths::{self, InstancePaths},
};

/// Has glibc give the memory of a backup back to the machine when it is made; other C libraries take no notice. Without
/// it, 5 MiB stay (measured after one of 300 MB).
pub const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

/// How long a new one may take until it holds its lock.
const BEGIN: Duration = Duration::from_secs(5);

/// How long one may take to end after SIGTERM.
const END: Duration = Duration::from_secs(10);

/// How often to look meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// The process id of the running supervisor; `None` when none runs.
pub fn running(files: &InstancePaths) -> Option<u32> {
    Lock::holder(&files.supervisor_lock()).map(|holder| Lock::pid_of(&holder).unwrap_or(0))
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; no secrets, every user of the machine can list them.
    pub arguments: Vec<OsString>,
    /// Variables that are not as in this process.
    pub environment: Vec<(String, OsString)>,
}

/// Starts a supervisor that goes on when this process and its terminal are gone, and waits until
/// it is there; its process id.
///
/// # Errors
/// When it cannot be started, or ends at once.
pub async fn start_detached(files: &InstancePaths, launch: &Launch) -> Result<u32> {
    paths::create_folder(&files.state, 0o700)?;
    let log_path = files.supervisor_log();
    let failed = |e: std::io::Error| Error::file("start the supervisor", &launch.program, &e);
    let log = std::fs::File::options().append(true).create(true).open(&log_path).map_err(failed)?;
    // What whoever started us has open (a lock, a pipe) is not the supervisor's to hold.
    close_fds::set_fds_cloexec(3, &[]);
    let mut child = Command::new(&launch.program)
        .args(&launch.arguments)
        .envs(launch.environment.iter().map(|(key, value)| (key, value)))
        // Whoever wants to unmount or remove the folder we are in must not find us there.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let began = Instant::now();
    loop {
        if let Some(pid) = running(files).filter(|pid| *pid != 0) {
            return Ok(pid);
        }
        let ended = child.try_wait().map_err(failed)?;
        if ended.is_some() || began.elapsed() >= BEGIN {
            let how = ended.map_or_else(|| "it did not start".to_owned(), |status| status.to_string());
            return Err(Error::Usage {
                message: format!("the supervisor did not start: {how}"),
                hint: Some(format!("see why: docklet supervise, or the end of {}", log_path.display())),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Leaves the terminal and its session, so that their end is not ours.
pub fn leave_terminal() {
    // Fails only for the leader of a process group, which nobody starts us as.
    let _ = rustix::process::setsid();
}

/// Ends the running supervisor and waits until it is gone; its process id, or `None` when none ran.
///
/// # Errors
/// When it cannot be ended.
pub async fn end(files: &InstancePaths) -> Result<Option<u32>> {
    let lock = files.supervisor_lock();
    let mut ended = None;
    let began = Instant::now();
    let mut killed = false;
    while let Some(pid) = running(files) {
        let signal = if began.elapsed() < END { Signal::TERM } else { Signal::KILL };
        let again = ended != Some(pid) || (signal == Signal::KILL && !killed);
        if pid != 0 && again {
            send(&lock, pid, signal)?;
            killed = signal == Signal::KILL;
            ended = Some(pid);
        }
        if began.elapsed() >= END + BEGIN {
            return Err(refused(&lock, "it did not exit"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(ended)
}

fn send(lock: &Path, pid: u32, signal: Signal) -> Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(refused(lock, &crate::error::io_reason(&e.into()))),
    }
}

fn refused(lock: &Path, reason: &str) -> Error {
    Error::File {
        action: "end the supervisor that holds",
        path: lock.display().to_string(),
        reason: reason.to_owned(),
        hint: Some("check whether another user started it: ps -ef | grep 'docklet.*supervise'".to_owned()),
    }
}
