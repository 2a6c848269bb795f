//! Shows results on standard output, progress and messages on standard error. The only code that writes to either; what
//! the streams can do is a parameter, so that tests can show to a string.
//!
//! - `progress`: for people at a terminal (indicatif lives there and nowhere else); `plain`: without
//!   a terminal; `json`: for programs
//! - `error`, `result`, `data`, `contents`, `status`, `doctor`: texts of errors and results, pure; `style`: colours and marks
//! - `watch`: the screen of `status --watch`, pure
//!
//! Text from elsewhere is cleaned here, once, right before it is written: errors and events before they are coloured,
//! results as a whole.

pub mod contents;
pub mod data;
pub mod doctor;
pub mod error;
mod json;
mod numbering;
mod plain;
mod progress;
pub mod result;
pub mod status;
pub mod style;
#[cfg(test)]
mod tests;
pub mod watch;

use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use serde::Serialize;

pub use self::style::Style;
use crate::{
    clean,
    error::{Error, Result, is_full},
    event::{Event, Reporter, Silent},
};

/// The time; tests have their own.
type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// When colours are used: `--color`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What is known of the streams and what the user asked for. Everything else follows from it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Streams {
    /// Standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Standard output carries data, as with `backup -`: results and errors go to standard error.
    pub stdout_is_data: bool,
    /// `--json`
    pub json: bool,
    /// `--quiet`
    pub quiet: bool,
    /// `--color`
    pub color: ColorChoice,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `TERM` is `dumb`.
    pub term_dumb: bool,
    /// Columns of the terminal at standard output.
    pub stdout_columns: Option<usize>,
    /// Columns of the terminal at standard error.
    pub stderr_columns: Option<usize>,
    /// The locale is UTF-8; see [`style::locale_is_utf8`].
    pub unicode: bool,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// Bars and lines that change.
    Human,
    /// Lines.
    Plain,
    /// JSON lines.
    Json,
    /// Not at all.
    Quiet,
}

impl ProgressMode {
    /// Decides how progress is shown. `--quiet` wins over `--json`: the result is JSON then and
    /// there is no progress.
    pub fn of(streams: &Streams) -> Self {
        if streams.quiet {
            ProgressMode::Quiet
        } else if streams.json {
            ProgressMode::Json
        } else if streams.stderr_is_terminal && !streams.term_dumb {
            ProgressMode::Human
        } else {
            ProgressMode::Plain
        }
    }
}

impl Streams {
    fn style(&self, is_terminal: bool) -> Style {
        let color = match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !self.no_color && !self.term_dumb,
        };
        Style { color, unicode: self.unicode }
    }

    /// What may be used on standard output.
    pub fn stdout_style(&self) -> Style {
        self.style(self.stdout_is_terminal)
    }

    /// What may be used on standard error.
    pub fn stderr_style(&self) -> Style {
        self.style(self.stderr_is_terminal)
    }
}

/// A stream with several writers of whole lines. After a failed write, as when its reader is gone, it ignores the rest:
/// output never stops an operation.
#[derive(Clone)]
struct SharedWriter {
    to: Arc<Mutex<Box<dyn Write + Send>>>,
    /// Why it does not take more.
    failed: Arc<OnceLock<io::Error>>,
}

impl SharedWriter {
    fn new(to: Box<dyn Write + Send>) -> Self {
        SharedWriter { to: Arc::new(Mutex::new(to)), failed: Arc::default() }
    }

    fn write(&self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&self, bytes: &[u8]) {
        let mut to = self.to.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.is_closed() {
            return;
        }
        if let Err(error) = to.write_all(bytes).and_then(|()| to.flush()) {
            let _ = self.failed.set(error); // under the lock, so it is the first
        }
    }

    fn line(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    fn is_closed(&self) -> bool {
        self.failed.get().is_some()
    }
}

/// What it means that standard output could not be written; a reader that went away had enough.
///
/// # Errors
/// When it was anything else, such as a full disk.
pub fn unwritten(error: &io::Error) -> Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ if is_full(error) => {
            Err(Error::NoSpace { place: "standard output".to_owned(), needed: None, available: None })
        }
        _ => Err(Error::file("write to", Path::new("standard output"), error)),
    }
}

/// Text for a terminal of so many columns, where it is one.
fn folded(text: &str, columns: Option<usize>) -> String {
    columns.map_or_else(|| text.to_owned(), |columns| style::fold(text, columns))
}

/// An object of the JSON form, with its version.
#[derive(Serialize)]
pub struct Versioned<'a, T> {
    schema: u32,
    #[serde(flatten)]
    object: &'a T,
}

impl<'a, T: Serialize> Versioned<'a, T> {
    /// The current version.
    pub fn of(object: &'a T) -> Self {
        Versioned { schema: 1, object }
    }

    /// The object on one line. Terminals obey the control characters from U+007F to U+009F, too, which JSON would let stand.
    ///
    /// # Errors
    /// When the object cannot be JSON.
    pub fn line(object: &'a T) -> serde_json::Result<String> {
        let text = serde_json::to_string(&Versioned::of(object))?;
        let is_control = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
        if !text.contains(is_control) {
            return Ok(text);
        }
        let shown = |c: char| if is_control(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
        Ok(text.chars().map(shown).collect())
    }

    /// The object as a value.
    pub fn value(object: &'a T) -> serde_json::Value {
        serde_json::to_value(Versioned::of(object)).unwrap_or_default()
    }
}

/// Hands on events whose texts are single lines without control characters.
struct Clean<R>(R);

impl<R: Reporter> Reporter for Clean<R> {
    fn report(&self, event: &Event) {
        self.0.report(&event.with_texts(clean::one_line));
    }
}

/// Both streams, and how they are written to.
pub struct Output {
    stdout: SharedWriter,
    stderr: SharedWriter,
    streams: Streams,
}

impl Output {
    /// The process's own streams.
    pub fn new(streams: Streams) -> Self {
        if streams.stdout_is_data {
            let (stdout_is_terminal, stdout_columns) = (streams.stderr_is_terminal, streams.stderr_columns);
            let streams = Streams { stdout_is_terminal, stdout_columns, ..streams };
            return Output::to(streams, Box::new(io::stderr()), Box::new(io::stderr()));
        }
        Output::to(streams, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Any two streams.
    pub fn to(streams: Streams, stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        Output { stdout: SharedWriter::new(stdout), stderr: SharedWriter::new(stderr), streams }
    }

    /// What is known of the streams.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// What may be used on standard output.
    pub fn style(&self) -> Style {
        self.streams.stdout_style()
    }

    /// Writes a result: with `--json` the report as one line, else what `text` makes of it. An
    /// empty text writes nothing.
    pub fn result<R: Serialize>(&self, report: &R, text: impl FnOnce(Style) -> String) {
        if self.streams.json {
            match Versioned::line(report) {
                Ok(json) => self.stdout.line(&json),
                Err(e) => self.error(&Error::bug(format!("a result does not serialise: {e}")), None),
            }
            return;
        }
        // What brings escape sequences of its own is shown without colours, so that it cannot borrow ours.
        let foreign = serde_json::to_string(report).is_ok_and(|json| json.contains("\\u001b"));
        let style = Style { color: self.style().color && !foreign, ..self.style() };
        let text = clean::text(&text(style), style.color);
        if !text.is_empty() {
            self.stdout.line(&folded(text.trim_end_matches('\n'), self.streams.stdout_columns));
        }
    }

    /// Writes text to standard output as it is, without a line break: cleaned lines of a log, a man page, a screen.
    /// `false` once the reader has gone, so that a follower can end.
    pub fn raw(&self, text: &str) -> bool {
        self.stdout.write(text);
        !self.stdout.is_closed()
    }

    /// Passes a command's own output on as it is. `false` once the reader has gone.
    pub fn bytes(&self, bytes: &[u8], error_stream: bool) -> bool {
        let to = if error_stream { &self.stderr } else { &self.stdout };
        to.bytes(bytes);
        !to.is_closed()
    }

    /// Whether all of the result was written. A reader that went away, as `head` does, had enough.
    ///
    /// # Errors
    /// When standard output could not be written, as to a full disk.
    pub fn written(&self) -> Result<()> {
        self.stdout.failed.get().map_or(Ok(()), unwritten)
    }

    /// Writes a message for people to standard error; nothing with `--json` or `--quiet`.
    pub fn message(&self, text: &str) {
        if !self.streams.json && !self.streams.quiet {
            let text = clean::text(text, self.streams.stderr_style().color);
            self.stderr.line(&folded(&text, self.streams.stderr_columns));
        }
    }

    /// Writes an error: as text to standard error; with `--json` as the one object on standard
    /// output, and as text only where that cannot be written. Drop the reporter first, so that no bar is in the way.
    pub fn error(&self, error: &Error, instance: Option<&str>) {
        if self.streams.json {
            let json = Versioned::line(&error::json(error, instance)).unwrap_or_default();
            self.stdout.line(&json);
            if self.written().is_ok() {
                return;
            }
        }
        let text = error::text(error, instance, self.streams.stderr_style());
        self.stderr.line(&folded(&text, self.streams.stderr_columns));
    }

    /// Shows events on standard error. Dropping it cleans up the terminal and marks a running step as not done.
    pub fn reporter(&self) -> Box<dyn Reporter> {
        let style = self.streams.stderr_style();
        let to = self.stderr.clone();
        let clock: Clock = Arc::new(Instant::now);
        match ProgressMode::of(&self.streams) {
            ProgressMode::Quiet => Box::new(Silent),
            ProgressMode::Json => Box::new(json::Json::new(to, clock)),
            ProgressMode::Plain => Box::new(Clean(plain::Plain::new(to, style, clock))),
            ProgressMode::Human => Box::new(Clean(progress::Human::on_stderr(style, clock))),
        }
    }
}
