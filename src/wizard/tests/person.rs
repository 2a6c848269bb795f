//! The user in a test of the wizard: types into the pseudo-terminal and reads its screen.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    process::Command,
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use expectrl::{Session, session::OsSession};
use rustix::termios::{LocalModes, tcgetattr};

use super::child::{HOME, OUTCOME, RUN};

/// Long enough for a busy machine; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Person {
    session: OsSession,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    pub(super) folder: tempfile::TempDir,
}

impl Person {
    pub(super) fn at(run: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("my app")).unwrap();
        std::fs::create_dir(folder.path().join("refused")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "wizard::tests::child::wizard_child", "--nocapture", "--test-threads=1"]);
        command.env(RUN, run).env(OUTCOME, folder.path().join("outcome")).env(HOME, folder.path());
        let mut session = Session::spawn(command).unwrap();
        session.get_process_mut().set_window_size(80, 24).unwrap();
        let mut from = File::from(session.get_stream().as_fd().try_clone_to_owned().unwrap());
        let (to, bytes) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A pseudo-terminal whose other side has gone ends with an error.
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if to.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Person { session, bytes, screen: vt100::Parser::new(24, 80, 0), folder }
    }

    pub(super) fn seen(&self) -> String {
        let text = self.screen.screen().contents();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n").replace(&self.folder.path().display().to_string(), "/home/me").trim().to_owned()
    }

    /// Waits until the screen shows a text.
    pub(super) fn sees(&mut self, text: &str) -> &mut Self {
        self.until(text, |seen| seen.contains(text))
    }

    /// Waits until the screen shows a line that is just this.
    pub(super) fn sees_line(&mut self, line: &str) -> &mut Self {
        self.until(line, |seen| seen.lines().any(|shown| shown == line))
    }

    fn until(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> &mut Self {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.seen()) {
            let left = end.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("never saw {what:?} on\n{}", self.seen()),
            }
        }
        self
    }

    pub(super) fn types(&mut self, keys: &str) -> &mut Self {
        self.session.write_all(keys.as_bytes()).unwrap();
        self.session.flush().unwrap();
        self
    }

    /// Waits for the end; what came of it.
    pub(super) fn ends(mut self) -> (String, String) {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.bytes.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it never ended:\n{}", self.seen()),
            }
        }
        assert!(!self.screen.screen().hide_cursor(), "the cursor is visible again");
        let modes = tcgetattr(self.session.get_stream().as_fd()).unwrap().local_modes;
        let usual = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        assert!(modes.contains(usual), "the terminal is as it was: {modes:?}");
        let seen = self.seen();
        let seen = seen.split("\nok\n").next().unwrap_or(&seen).split("\n\ntest result").next().unwrap_or(&seen);
        let outcome = std::fs::read_to_string(self.folder.path().join("outcome")).unwrap();
        (seen.to_owned(), outcome.replace(&self.folder.path().display().to_string(), "/home/me"))
    }
}
