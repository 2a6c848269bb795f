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

use super::child::{HOME, OUTCOME, PLAIN, RUN, SIZE};

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
        Person::before(run, 80, 24, &[])
    }

    /// Before a terminal of this size, and with these variables.
    pub(super) fn before(run: &str, columns: u16, rows: u16, variables: &[(&str, &str)]) -> Self {
        Person::again(run, columns, rows, variables, tempfile::tempdir().unwrap())
    }

    /// In a folder in which the wizard ran before.
    pub(super) fn again(
        run: &str,
        columns: u16,
        rows: u16,
        variables: &[(&str, &str)],
        folder: tempfile::TempDir,
    ) -> Self {
        for name in ["my app", "refused", "code/app", "code/apple"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "wizard::tests::child::wizard_child", "--nocapture", "--test-threads=1"]);
        command.env(RUN, run).env(OUTCOME, folder.path().join("outcome")).env(HOME, folder.path());
        command.env(SIZE, format!("{columns} {rows}")).envs(variables.iter().copied());
        let mut session = Session::spawn(command).unwrap();
        session.get_process_mut().set_window_size(columns, rows).unwrap();
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
        // Plain lines move no cursor: a long screen shows all of them.
        let plain = columns < 40 || rows < 10 || variables.iter().any(|(name, _)| *name == PLAIN);
        let shown = if plain { 2000 } else { rows };
        Person { session, bytes, screen: vt100::Parser::new(shown, columns, 0), folder }
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
        self.until_screen(what, |seen, _| holds(seen))
    }

    fn until_screen(&mut self, what: &str, holds: impl Fn(&str, &vt100::Screen) -> bool) -> &mut Self {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.seen(), self.screen.screen()) {
            let left = end.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("never saw {what:?} on\n{}", self.seen()),
            }
        }
        self
    }

    /// Waits until a plain question is the last one and waits for its answer.
    pub(super) fn is_asked(&mut self, text: &str) -> &mut Self {
        self.until_screen(text, |seen, screen| {
            let lines: Vec<&str> = seen.rsplit("\n\n").next().unwrap_or_default().lines().collect();
            // At the beginning of a line: the rows of a list name other questions.
            let is_asked = (0..lines.len()).any(|line| lines[line..].join(" ").starts_with(text));
            is_asked && seen.ends_with(':') && screen.cursor_position().1 > 0
        })
    }

    /// Waits until a question is drawn as a whole: the cursor is where the next key goes, in lists before the question.
    pub(super) fn waits(&mut self) -> &mut Self {
        self.until_screen("a question", |_, screen| {
            let (row, column) = screen.cursor_position();
            let line = screen.rows(0, screen.size().1).nth(row.into()).unwrap_or_default();
            let (line, column) = (line.trim_end(), usize::from(column));
            let at_end_of_question = (line.ends_with('›') || line.ends_with(" >")) && column == line.chars().count();
            // In the middle of a drawing it stands behind what was drawn last, which may be the first row of a long question.
            match column {
                0 => line.starts_with('?'),
                _ => (line.contains('›') || line.contains(" >")) && !at_end_of_question,
            }
        })
    }

    /// Waits until the screen is just this.
    pub(super) fn sees_all(&mut self, screen: &str) -> &mut Self {
        self.until(screen, |seen| seen == screen)
    }

    /// Takes all choices as they are.
    pub(super) fn accepts(&mut self) -> &mut Self {
        self.sees("right?").types("\r")
    }

    /// Gives the terminal another size. Nothing that it showed is left.
    pub(super) fn resizes(&mut self, columns: u16, rows: u16) -> &mut Self {
        self.screen = vt100::Parser::new(rows, columns, 0);
        self.session.get_process_mut().set_window_size(columns, rows).unwrap();
        self
    }

    pub(super) fn types(&mut self, keys: &str) -> &mut Self {
        self.session.write_all(keys.as_bytes()).unwrap();
        self.session.flush().unwrap();
        self
    }

    /// Waits for the end; the folder for the next run.
    pub(super) fn leaves(mut self) -> tempfile::TempDir {
        let next = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        self.waits_for_end();
        next
    }

    /// Waits for the end; what came of it.
    pub(super) fn ends(mut self) -> (String, String) {
        self.waits_for_end();
        let seen = self.seen();
        let seen = seen.split("\nok\n").next().unwrap_or(&seen).split("\n\ntest result").next().unwrap_or(&seen);
        let outcome = std::fs::read_to_string(self.folder.path().join("outcome")).unwrap();
        (seen.to_owned(), outcome.replace(&self.folder.path().display().to_string(), "/home/me"))
    }

    fn waits_for_end(&mut self) {
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
    }
}
