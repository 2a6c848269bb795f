//! Where the watch is shown: on the whole terminal, or without one as a line for each change.

use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::Receiver,
};

use super::exec::changed;
use crate::{
    clean,
    error::Result,
    host::terminal::{self, Raw},
    present::{
        Output,
        watch::{Changes, Now, paint, screen},
    },
    watch::{Watch, model},
};

/// For a terminal that does not tell its size.
const USUAL_SIZE: (u16, u16) = (80, 24);

pub(super) enum Surface {
    /// The whole terminal.
    Screen(Box<Screen>),
    /// A line for each change.
    Lines(Changes),
}

pub(super) struct Screen {
    _raw: Raw,
    keys: Option<Receiver<Bytes>>,
    resized: Option<Signal>,
    hangup: Option<Signal>,
    shown: Vec<String>,
}

impl Surface {
    pub fn open() -> Result<Self> {
        let (resized, hangup) = (signal(SignalKind::window_change()).ok(), signal(SignalKind::hangup()).ok());
        let raw = Raw::enter_screen()?;
        let keys = Some(terminal::input());
        Ok(Surface::Screen(Box::new(Screen { _raw: raw, keys, resized, hangup, shown: vec![] })))
    }

    /// The next input from the terminal.
    pub async fn next(&mut self) -> TerminalInput {
        let Surface::Screen(screen) = self else { return std::future::pending().await };
        let Screen { keys, resized, hangup, .. } = screen.as_mut();
        let read = async {
            match keys {
                Some(keys) => keys.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            bytes = read => match bytes {
                Some(bytes) => TerminalInput::Bytes(bytes),
                None => {
                    *keys = None;
                    TerminalInput::Gone
                }
            },
            () = changed(resized) => TerminalInput::Resized,
            () = changed(hangup) => TerminalInput::Gone,
        }
    }

    /// Clears a terminal that was resized: its content is undefined then.
    pub fn clear(&mut self, output: &Output) {
        if let Surface::Screen(screen) = self {
            screen.shown.clear();
            output.raw("\u{1b}[2J");
        }
    }

    /// Shows what has changed. `false` when the output is closed.
    pub fn show(&mut self, watch: &Watch, since_begin: Duration, output: &Output) -> bool {
        let wall = OffsetDateTime::now_utc();
        match self {
            Surface::Screen(shown) => {
                let size = terminal::size().unwrap_or(USUAL_SIZE);
                let lines = screen(watch, size, output.style(), Now { since_begin, wall });
                let before = std::mem::replace(&mut shown.shown, lines);
                let text = paint(&before, &shown.shown);
                text.is_empty() || output.raw(&text)
            }
            Surface::Lines(changes) => {
                changes.since(watch, wall).iter().all(|line| output.raw(&format!("{}\n", one_line(line))))
            }
        }
    }
}

/// What comes from the terminal.
pub(super) enum TerminalInput {
    Bytes(Bytes),
    Resized,
    Gone,
}

/// Text from elsewhere as one line without control characters.
pub(super) fn one_line(text: &str) -> String {
    let start: String = text.chars().take(4 * model::LOG_COLUMNS).collect();
    clean::one_line(&start)
}
