//! Runs a command of the user's through the shell, with a time limit: `notify.command`, `backup.copy`. However it ends, its
//! children end with it.

use std::{
    ffi::OsStr,
    process::{Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};

use crate::units::Elapsed;

/// Most that is kept of what it prints.
const SAID: u64 = 500;

/// What it printed, or why it failed. `arguments` are `$1`, `$2` and so on in the command.
///
/// # Errors
/// In words: it cannot be run, takes longer than `deadline`, or ends with another code than 0.
pub async fn run(command: &str, arguments: &[&OsStr], input: String, deadline: Duration) -> Result<String, String> {
    let mut child = Command::new("sh")
        .args(["-c", command, "sh"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("sh cannot be run: {e}"))?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let Ok(output) = tokio::time::timeout(deadline, talk(&mut child, input)).await else {
        return Err(format!("it did not end within {}", Elapsed(deadline)));
    };
    // It has ended by itself: what it left in the background may go on.
    std::mem::forget(group);
    let output = output.map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().replace('\n', "; ");
    match (output.status.success(), text.is_empty()) {
        (true, _) => Ok(text),
        (false, true) => Err(output.status.to_string()),
        (false, false) => Err(format!("{}: {text}", output.status)),
    }
}

/// The command's process group, which is killed when it is dropped: a hanging curl is a child of the shell.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Writes the input, reads what it prints, and waits for its end.
async fn talk(child: &mut Child, input: String) -> std::io::Result<Output> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A command need not read it.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), stdout, stderr, status) = tokio::join!(write, beginning(stdout), beginning(stderr), child.wait());
    Ok(Output { status: status?, stdout, stderr })
}

/// The beginning of what a stream has; the rest is read and dropped, so that nobody waits to write it.
async fn beginning(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = vec![];
    if let Some(mut stream) = stream {
        let _ = (&mut stream).take(SAID).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    async fn sh(command: &str, deadline: Duration) -> Result<String, String> {
        run(command, &[OsStr::new("a b"), OsStr::new("$(id)")], String::new(), deadline).await
    }

    #[tokio::test]
    async fn a_command_that_hangs_ends_with_its_children() {
        let begun = std::time::Instant::now();
        let hung = sh("sleep 100 & wait", Duration::from_millis(200)).await;
        assert!(hung.unwrap_err().contains("did not end") && begun.elapsed() < Duration::from_secs(20));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let command = format!("sleep 100 & echo $! >'{0}.new'; mv '{0}.new' '{0}'; wait", file.display());
        // Dropped, as when somebody interrupts it.
        tokio::select! {
            _ = sh(&command, DEADLINE) => unreachable!("it sleeps"),
            () = async { while !file.exists() { tokio::time::sleep(Duration::from_millis(5)).await; } } => {}
        }
        let pid: u32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        for _ in 0..2000 {
            if state().is_empty() || state().contains(") Z") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(state().is_empty(), "the child goes on: {}", state());
    }

    #[tokio::test]
    async fn what_it_prints_is_kept_up_to_a_limit_and_arguments_stay_words() {
        assert_eq!(sh("yes | head -c 1000000", DEADLINE).await.unwrap().len(), 748);
        assert_eq!(sh("printf '[%s]' \"$1\" \"$2\"", DEADLINE).await.unwrap(), "[a b][$(id)]");
        assert_eq!(sh("echo no; exit 3", DEADLINE).await.unwrap_err(), "exit status: 3: no");
    }
}
