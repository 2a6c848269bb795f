//! The terminal's mode while a question is asked; on drop everything is as it was and the cursor is visible.

use std::io;

use console::Term;

/// What the terminal does with what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputMode {
    /// Each key is read as it is typed and not echoed; Ctrl-C is no signal.
    Keys,
    /// The terminal edits a line; Ctrl-C ends the line in place of being a signal. Hidden: without echo.
    Line { hidden: bool },
}

/// A terminal in such a mode.
pub(super) struct TerminalMode {
    term: Term,
    mode: InputMode,
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

/// Whether the terminal echoed before the first question. Some editors' terminals do that themselves.
#[cfg(unix)]
static ECHOES: std::sync::OnceLock<bool> = std::sync::OnceLock::new();

/// Has the terminal put what is pasted between two marks, and no longer do so.
const MARK_PASTED: &str = "\u{1b}[?2004h";
const LEAVE_PASTED: &str = "\u{1b}[?2004l";

/// What Ctrl-C types.
pub(super) const CTRL_C: u8 = 3;

impl TerminalMode {
    #[cfg(unix)]
    pub fn enter(term: &Term, mode: InputMode) -> Self {
        use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut changed) = before.clone() {
            let echoes = *ECHOES.get_or_init(|| changed.local_modes.contains(LocalModes::ECHO));
            changed.local_modes.remove(LocalModes::ISIG | LocalModes::ECHO);
            match mode {
                InputMode::Keys => changed.local_modes.remove(LocalModes::ICANON),
                InputMode::Line { hidden } => {
                    changed.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
                    changed.local_modes.insert(LocalModes::ICANON);
                    changed.local_modes.set(LocalModes::ECHO, echoes && !hidden);
                }
            }
            // Where this cannot be had, asking works without it, only less tidily.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &changed);
        }
        if mode == InputMode::Keys {
            let _ = term.write_str(MARK_PASTED);
        }
        TerminalMode { term: term.clone(), mode, before }
    }

    #[cfg(not(unix))]
    pub fn enter(term: &Term, mode: InputMode) -> Self {
        TerminalMode { term: term.clone(), mode }
    }
}

impl Drop for TerminalMode {
    fn drop(&mut self) {
        // Nothing can be done where the terminal has gone.
        #[cfg(unix)]
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Drain, before);
        }
        if self.mode == InputMode::Keys {
            let _ = self.term.write_str(LEAVE_PASTED);
            let _ = self.term.show_cursor();
        }
    }
}
