//! A terminal that is asked on: what it can show, what is written to it, and what leaving a question means. Knows nothing of
//! settings.

use std::{cell::Cell, io};

use console::Term;

use super::theme::Theme;
use crate::{
    clean,
    error::{Error, Result},
    instance_name::InstanceName,
    present::{Style, style::columns},
};

/// Fewest columns and rows in which lists and a line editor are of use.
const LEAST_COLUMNS: u16 = 40;
const LEAST_ROWS: u16 = 10;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Leave {
    /// The user wants the question before.
    Back,
    /// The user quits, or the terminal fails.
    Failed(Error),
}

impl From<Error> for Leave {
    fn from(error: Error) -> Self {
        Leave::Failed(error)
    }
}

/// An answer, or why there is none.
pub(super) type Reply<T> = Result<T, Leave>;

/// What Esc does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// As Ctrl-C: there is only this question.
    Quits,
    /// Nothing: this is the first question.
    Ignored,
    /// Goes to the question before.
    Back,
}

/// What the user did.
pub(super) enum PromptInput<T> {
    Answer(T),
    Escape,
    Quit,
    /// Nothing yet; the terminal has another size, and what it shows is undefined.
    Resized,
}

/// A terminal to ask on.
pub struct Prompt {
    pub(super) term: Term,
    pub(super) theme: Theme,
    /// Plain lines in any terminal.
    plain: bool,
    /// The hint after Ctrl-C.
    interrupted: String,
    /// The instance that commands in its texts name.
    instance: InstanceName,
    escape: Cell<Escape>,
}

/// How a line is asked for.
#[derive(Default)]
pub(super) struct Line<'a> {
    /// The question, a few words.
    pub question: &'a str,
    /// Help above it, one or two sentences.
    pub help: &'a str,
    /// What Enter alone means, as it is shown.
    pub default: Option<&'a str>,
    /// What is there to be changed at first.
    pub initial: &'a str,
    /// Whether what is typed is a secret.
    pub hidden: bool,
    /// What Tab makes of the text before the cursor.
    pub complete: Option<&'a dyn Fn(&str) -> super::complete::Completed>,
}

impl Prompt {
    /// `interrupted` is the hint after Ctrl-C, such as `nothing was changed; docklet setup begins again`. `plain`: no
    /// keys and no cursor, whatever the terminal can do.
    pub fn new(term: Term, style: Style, plain: bool, interrupted: impl Into<String>) -> Self {
        Prompt {
            term,
            theme: Theme(style),
            plain,
            interrupted: interrupted.into(),
            instance: InstanceName::default(),
            escape: Cell::new(Escape::Quits),
        }
    }

    /// Commands in its texts name this instance.
    pub fn about(self, instance: &InstanceName) -> Self {
        Prompt { instance: instance.clone(), ..self }
    }

    /// A command as its texts show it.
    pub(super) fn command(&self, arguments: &str) -> String {
        format!("docklet{} {arguments}", self.instance.flag())
    }

    pub(super) fn style(&self) -> Style {
        self.theme.0
    }

    /// What Esc does from now on.
    pub(super) fn on_escape(&self, escape: Escape) {
        self.escape.set(escape);
    }

    /// Forgets what was typed or pasted ahead: it is no answer to the next question.
    pub(super) fn drop_what_is_typed(&self) {
        if !self.is_plain() {
            // What cannot be dropped is read.
            let _ = rustix::termios::tcflush(io::stdin(), rustix::termios::QueueSelector::IFlush);
        }
    }

    pub(super) fn escape(&self) -> Escape {
        self.escape.get()
    }

    /// Whether it asks with plain lines. Looked up for each question: a terminal can be resized.
    pub(super) fn is_plain(&self) -> bool {
        let (rows, columns) = self.term.size();
        self.plain || columns < LEAST_COLUMNS || rows < LEAST_ROWS
    }

    /// Columns that may be written to.
    pub(super) fn width(&self) -> usize {
        usize::from(self.term.size().1).max(20) - 1
    }

    /// Writes text above the next question.
    pub(super) fn say(&self, text: &str) -> Result<()> {
        self.term.write_line(&clean::text(text, self.style().color)).map_err(|e| self.failed(&e))
    }

    /// Writes text, broken between words; how many lines that were.
    pub(super) fn say_wrapped(&self, text: &str, indent: usize) -> Result<usize> {
        let lines = fold(text, 0, self.width().saturating_sub(indent));
        lines.iter().try_for_each(|line| self.say(&format!("{}{}", " ".repeat(indent), self.style().dim(line))))?;
        Ok(lines.len())
    }

    /// Removes the last lines from the screen; plain lines stay.
    pub(super) fn forget(&self, lines: usize) -> Result<()> {
        if self.is_plain() {
            return Ok(());
        }
        self.term.clear_last_lines(lines).map_err(|e| self.failed(&e))
    }

    pub(super) fn interruption(&self) -> Error {
        Error::Interrupted { next: self.interrupted.clone() }
    }

    pub(super) fn failed(&self, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => self.interruption(),
            _ => Error::Usage {
                message: "cannot ask on this terminal".to_owned(),
                hint: Some(format!("{error}; use flags instead: docklet setup --help")),
            },
        }
    }

    /// What the user did, as a reply.
    pub(super) fn reply<T>(&self, given: io::Result<PromptInput<T>>) -> Reply<T> {
        match given.map_err(|e| self.failed(&e))? {
            PromptInput::Answer(answer) => Ok(answer),
            PromptInput::Escape if self.escape() == Escape::Back => Err(Leave::Back),
            PromptInput::Escape | PromptInput::Quit | PromptInput::Resized => Err(Leave::Failed(self.interruption())),
        }
    }
}

/// Breaks a text between words. Lines after the first are indented as far as their words leave room; a word that is
/// longer than a line is broken where the line ends.
pub(super) fn fold(text: &str, indent: usize, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        let mut rest = match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= width => format!("{} {word}", std::mem::take(line)),
            Some(_) => {
                lines.push(String::new());
                format!("{}{word}", " ".repeat(indent.min(width.saturating_sub(columns(word)))))
            }
            None => {
                lines.push(String::new());
                word.to_owned()
            }
        };
        while columns(&rest) > width {
            let fits = rest.char_indices().map(|(at, _)| at).take_while(|at| columns(&rest[..*at]) <= width).last();
            let after = rest.split_off(fits.filter(|at| *at > 0).unwrap_or(rest.len()));
            if let Some(line) = lines.last_mut() {
                *line = std::mem::replace(&mut rest, after);
            }
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            *line = rest;
        }
    }
    lines
}
