//! A pseudo-terminal with a person before it: types, and looks at the screen as a terminal would show it. For tests of
//! the real binary.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    process::Command,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use expectrl::{Session, process::unix::WaitStatus, session::OsSession};

/// The arrow key down.
pub const DOWN: &str = "\u{1b}[B";
/// Ctrl-C.
pub const CTRL_C: &str = "\u{3}";

/// The one who types and looks.
pub struct Person {
    session: OsSession,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    patience: Duration,
}

impl Person {
    /// Before a terminal of 24 lines and 100 columns in which a command runs.
    pub fn at(command: Command, patience: Duration) -> Self {
        let mut session = Session::spawn(command).expect("a pseudo-terminal");
        session.get_process_mut().set_window_size(100, 24).expect("a window size");
        let mut from =
            File::from(session.get_stream().as_fd().try_clone_to_owned().expect("the terminal's other side"));
        let (to, bytes) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match from.read(&mut buffer) {
                    Ok(count @ 1..) if to.send(buffer[..count].to_vec()).is_ok() => {}
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    // A pseudo-terminal whose other side has gone ends with an error.
                    _ => break,
                }
            }
        });
        Person { session, bytes, screen: vt100::Parser::new(24, 100, 1000), patience }
    }

    /// What the screen shows.
    pub fn seen(&self) -> String {
        let text = self.screen.screen().contents();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned()
    }

    /// Waits until the screen shows a text.
    pub fn sees(&mut self, text: &str) -> &mut Self {
        let end = Instant::now() + self.patience;
        while !self.seen().contains(text) {
            match self.bytes.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("never saw {text:?} on\n{}", self.seen()),
            }
        }
        self
    }

    /// Waits until the screen is as it should be.
    pub fn waits_until(&mut self, what: &str, mut holds: impl FnMut(&vt100::Screen) -> bool) -> &mut Self {
        let end = Instant::now() + self.patience;
        while !holds(self.screen.screen()) {
            match self.bytes.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("never saw this: {what}, but\n{}", self.seen()),
            }
        }
        self
    }

    /// Makes the terminal larger or smaller.
    pub fn resizes(&mut self, columns: u16, rows: u16) -> &mut Self {
        self.screen.screen_mut().set_size(rows, columns);
        self.session.get_process_mut().set_window_size(columns, rows).expect("a window size");
        self
    }

    /// Types.
    pub fn types(&mut self, keys: &str) -> &mut Self {
        self.session.write_all(keys.as_bytes()).expect("to type");
        self.session.flush().expect("to type");
        self
    }

    /// Waits for the command's end; its exit code, and what the screen shows then.
    pub fn ends(mut self) -> (i32, String) {
        let end = Instant::now() + self.patience;
        loop {
            match self.bytes.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it never ended:\n{}", self.seen()),
            }
        }
        assert!(!self.screen.screen().hide_cursor(), "the cursor is visible again");
        let code = match self.session.get_process().wait().expect("its end") {
            WaitStatus::Exited(_, code) => code,
            other => panic!("{other:?}"),
        };
        (code, self.seen())
    }
}
