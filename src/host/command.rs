//! Runs a program of the host: its output goes to the reporter line by line, its last lines into
//! the error. Asks nothing, except that sudo may ask for a password.

use std::{collections::VecDeque, fs::File, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

pub use crate::host::system::which;
use crate::{
    error::io_reason,
    event::{Event, Reporter},
    host::system::is_root,
};

/// How many lines are kept for an error.
const TAIL: usize = 20;

/// How long the output of an ended program may go on: a service that it started can hold it open.
const AFTERGLOW: Duration = Duration::from_millis(500);

/// A program to run.
#[derive(Debug)]
pub struct Program<'a> {
    what: &'a str,
    name: &'a str,
    arguments: Vec<String>,
    environment: Vec<(&'a str, &'a str)>,
    as_root: bool,
    output: Option<File>,
}

/// Why a program failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFailure {
    /// What it was for.
    pub step: String,
    /// What happened.
    pub reason: String,
    /// Its last lines, oldest first.
    pub log: Vec<String>,
}

impl<'a> Program<'a> {
    /// A program and what it is for, such as "install docker.io".
    pub fn new(what: &'a str, name: &'a str) -> Self {
        Program { what, name, arguments: vec![], environment: vec![], as_root: false, output: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<T: AsRef<str>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &'a str, value: &'a str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Runs it as root: through sudo when we are not.
    #[must_use]
    pub fn privileged(mut self) -> Self {
        self.as_root = true;
        self
    }

    /// Sends its standard output into a file; only its standard error is reported.
    #[must_use]
    pub fn output(mut self, file: File) -> Self {
        self.output = Some(file);
        self
    }

    /// Runs it to its end. When this future is dropped, the program is killed.
    ///
    /// # Errors
    /// When it cannot be started, or ends with another code than 0.
    pub async fn run(self, reporter: &dyn Reporter) -> Result<(), ProgramFailure> {
        let Program { what, name, output, .. } = &self;
        let failed = |reason: String, log| ProgramFailure { step: (*what).to_owned(), reason, log };
        let sudo = self.as_root && !is_root();
        if sudo && which("sudo").is_none() {
            return Err(failed("this needs root, and there is no sudo: run it as root".to_owned(), vec![]));
        }
        let stdout = match output {
            Some(file) => Stdio::from(file.try_clone().map_err(|e| failed(io_reason(&e), vec![]))?),
            None => Stdio::piped(),
        };
        let mut command = self.command(sudo);
        // sudo asks at the terminal; everything else has nobody to ask.
        command.stdin(if sudo { Stdio::inherit() } else { Stdio::null() });
        let spawned = command.stdout(stdout).stderr(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = spawned.map_err(|e| failed(format!("cannot start {name}: {}", io_reason(&e)), vec![]))?;

        let mut lines = lines(&mut child);
        let mut tail = VecDeque::with_capacity(TAIL);
        let mut take = |line: String| {
            reporter.report(&Event::Host { what: (*what).to_owned(), line: line.clone() });
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line);
        };
        let status = loop {
            tokio::select! {
                Some(line) = lines.recv() => take(line),
                status = child.wait() => break status,
            }
        };
        while let Ok(Some(line)) = tokio::time::timeout(AFTERGLOW, lines.recv()).await {
            take(line);
        }
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(format!("{name} ended with {}", in_words(status)), tail.into())),
            Err(e) => Err(failed(format!("{name} was lost: {}", io_reason(&e)), tail.into())),
        }
    }

    fn command(&self, sudo: bool) -> Command {
        // The path is known where the program is in a folder that users do not search.
        let program = which(self.name).map_or_else(|| self.name.into(), |path| path.into_os_string());
        if !sudo {
            let mut command = Command::new(program);
            command.args(&self.arguments).envs(self.environment.iter().copied());
            return command;
        }
        // sudo drops the environment, so it is set behind it.
        let mut command = Command::new("sudo");
        command.arg("env").args(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(program).args(&self.arguments);
        command
    }
}

/// The lines of both outputs, as they come. Ends when both are closed.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(64);
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(forward(stdout, sender.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(forward(stderr, sender));
    }
    receiver
}

/// Sends on each line, and each part of a line that a carriage return ends: progress.
async fn forward(output: impl AsyncRead + Unpin, sender: mpsc::Sender<String>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line);
        // Of a line that was drawn over, the last state counts.
        let shown = text.trim_end().rsplit('\r').next().unwrap_or_default();
        let shown = crate::clean::one_line(shown).trim().to_owned();
        if !shown.is_empty() && sender.send(shown).await.is_err() {
            return;
        }
        line.clear();
    }
}

fn in_words(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;

    /// Keeps the lines.
    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl Reporter for Kept {
        fn report(&self, event: &Event) {
            if let Event::Host { what, line } = event {
                self.0.lock().unwrap().push(format!("{what}: {line}"));
            }
        }
    }

    async fn sh(script: &str) -> (Result<(), ProgramFailure>, Vec<String>) {
        let kept = Kept::default();
        let result = Program::new("test", "sh").arguments(["-c", script]).variable("X", "y").run(&kept).await;
        (result, kept.0.into_inner().unwrap())
    }

    #[tokio::test]
    async fn output_is_reported_line_by_line() {
        let (result, lines) =
            sh(r#"echo a; printf '10%%\r20%%\r\n'; printf '\033[1mbold\033[0m %s\n' $X; cat; printf end"#).await;
        assert_eq!(result, Ok(()));
        assert_eq!(lines, ["test: a", "test: 20%", "test: bold y", "test: end"]);
    }

    #[tokio::test]
    async fn a_failure_has_the_last_lines() {
        let (result, _) = sh("seq 1 50; echo bad >&2; exit 3").await;
        let failed = result.unwrap_err();
        assert_eq!(failed.reason, "sh ended with exit code 3");
        assert_eq!(failed.log.len(), TAIL);
        assert!(failed.log.contains(&"bad".to_owned()) && failed.log.contains(&"50".to_owned()), "{:?}", failed.log);
        assert_eq!(sh("kill -9 $$").await.0.unwrap_err().reason, "sh ended with signal 9");
        let missing = Program::new("test", "docklet-has-no-such-program").run(&Kept::default()).await.unwrap_err();
        assert!(missing.reason.starts_with("cannot start docklet-has-no-such-program: no such file"), "{missing:?}");
    }

    #[tokio::test]
    async fn a_service_that_holds_the_output_open_does_not_hold_us() {
        let began = std::time::Instant::now();
        let (result, lines) = sh("echo started; sleep 30 & echo $!").await;
        assert_eq!(result, Ok(()));
        assert!(began.elapsed() < Duration::from_secs(20));
        let pid = lines[1].strip_prefix("test: ").unwrap();
        assert!(crate::host::system::terminate(pid.parse().unwrap()));
    }

    #[tokio::test]
    async fn output_can_go_to_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let kept = Kept::default();
        let program = Program::new("test", "sh").arguments(["-c", "echo data; echo note >&2"]);
        program.output(File::create(&path).unwrap()).run(&kept).await.unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "data\n");
        assert_eq!(kept.0.into_inner().unwrap(), ["test: note"]);
    }
}
