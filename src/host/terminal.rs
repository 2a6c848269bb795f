//! This process's own terminal: its size, what is typed, a mode in which every key goes to whoever
//! reads, and a screen of one's own. The terminal is as it was afterwards, also after an error or a
//! panic.

use std::{
    io::Read as _,
    sync::{Mutex, Once, PoisonError},
};

use bytes::Bytes;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use crate::error::{Error, Result, io_reason};

/// How the terminal was before it became raw.
static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

struct Before {
    termios: Termios,
    /// Whether another screen is shown.
    screen: bool,
}

/// The other screen, empty, without cursor; lines that are too long are cut.
const ENTER_SCREEN: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";

/// The screen from before, with its cursor.
const LEAVE_SCREEN: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Switches to the other screen, and back from it.
const OTHER_SCREEN: (&[u8], &[u8]) = (b"\x1b[?1049h", b"\x1b[?1049l");

/// What a program on the other screen switches on and cannot switch off any more: mouse, pasting in brackets, focus.
const LEAVE_MODES: &[u8] = b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l";

/// Whether a program that writes to this terminal shows the other screen.
#[derive(Debug, Default)]
pub struct OtherScreen {
    shown: bool,
    /// The end of what was seen: a sequence may come in two pieces.
    end: Vec<u8>,
}

impl OtherScreen {
    /// Takes note of what the program writes.
    pub fn see(&mut self, bytes: &[u8]) {
        self.end.extend_from_slice(bytes);
        for window in self.end.windows(OTHER_SCREEN.0.len()) {
            self.shown = window == OTHER_SCREEN.0 || self.shown && window != OTHER_SCREEN.1;
        }
        self.end.drain(..self.end.len().saturating_sub(OTHER_SCREEN.0.len() - 1));
    }

    /// Leaves it, should the program have been killed in it.
    pub fn leave(self) {
        if self.shown {
            write(LEAVE_MODES);
            write(LEAVE_SCREEN);
        }
    }
}

/// A raw terminal; as it was before when dropped.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Makes the terminal at standard input raw: no echo, no lines, no signals by keys.
    ///
    /// # Errors
    /// When standard input is no terminal.
    pub fn enter() -> Result<Self> {
        Raw::begin(false)
    }

    /// The same, and shows an empty screen, which is gone afterwards.
    ///
    /// # Errors
    /// As [`Raw::enter`].
    pub fn enter_screen() -> Result<Self> {
        Raw::begin(true)
    }

    fn begin(screen: bool) -> Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let next = std::panic::take_hook();
            // A release aborts on panic, and drops nothing.
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                next(panic);
            }));
        });
        let failed = |e: rustix::io::Errno| Error::Usage {
            message: format!("standard input isn't a terminal: {}", io_reason(&e.into())),
            hint: Some("without a terminal: docklet exec -- COMMAND".to_owned()),
        };
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Before { termios: before, screen });
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        if screen {
            write(ENTER_SCREEN);
        }
        Ok(Raw(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was, if it was made raw.
pub fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        if before.screen {
            write(LEAVE_SCREEN);
        }
        // Where the terminal has gone, nothing can be done.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before.termios);
    }
}

/// Past the standard library's lock, which whoever panicked may hold.
fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(std::io::stdout(), bytes) {
            Ok(count @ 1..) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            // Where the terminal has gone, nothing can be done.
            _ => return,
        }
    }
}

/// Standard input, piece by piece. A thread of its own, which nobody waits for: a read of a terminal
/// cannot be broken off.
pub fn input() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0u8; 16 * 1024];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&buffer[..length])).is_err() {
                        return;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

/// Columns and rows of the terminal at standard input; `None` without one.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdin()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Columns of a terminal, where it is one.
pub fn columns(terminal: &console::Term) -> Option<usize> {
    terminal.size_checked().map(|(_, columns)| usize::from(columns))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::{io::Read as _, os::fd::AsFd as _, process::Command};

    use expectrl::{Session, session::OsSession};
    use rustix::termios::LocalModes;

    use super::*;

    #[test]
    fn the_other_screen_is_followed_over_pieces() {
        let shown = |pieces: &[&str]| {
            let mut screen = OtherScreen::default();
            pieces.iter().for_each(|piece| screen.see(piece.as_bytes()));
            screen.shown
        };
        assert!(shown(&["text\x1b[?1049htext"]));
        assert!(shown(&["\x1b[?10", "4", "9h"]));
        assert!(!shown(&["\x1b[?1049h", "text\x1b[?1049", "l"]));
        assert!(!shown(&["\x1b[?1049", "x", "h"]));
    }

    const CHILD: &str = "DOCKLET_TEST_PANIC";

    /// The one that panics, when the test below runs it; nothing otherwise.
    #[test]
    fn panicking_child() {
        if std::env::var_os(CHILD).is_some() {
            // As in a release, where nothing is dropped.
            std::mem::forget(Raw::enter_screen().unwrap());
            panic!("on purpose");
        }
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "host::terminal::tests::panicking_child", "--nocapture"]).env(CHILD, "yes");
        let session: OsSession = Session::spawn(command).unwrap();
        let mut from = std::fs::File::from(session.get_stream().as_fd().try_clone_to_owned().unwrap());
        let (mut seen, mut buffer) = (vec![], [0; 4096]);
        // A pseudo-terminal whose other side has gone ends with an error.
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..count]);
        }
        let at = |bytes: &[u8]| seen.windows(bytes.len()).position(|part| part == bytes);
        let (entered, left) = (at(ENTER_SCREEN).unwrap(), at(LEAVE_SCREEN).unwrap());
        let said = at(b"on purpose").unwrap();
        assert!(entered < left && left < said, "the message is seen on the screen from before");
        assert!(tcgetattr(&from).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ISIG));
    }
}
