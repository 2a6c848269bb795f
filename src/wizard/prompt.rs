//! Asks one thing on a terminal: a choice, several, yes or no, a line, a hidden line. With keys and a cursor where the
//! terminal can show that, else with plain lines (`plain`). Knows nothing of settings.

use std::{cell::Cell, io};

use console::Term;

use super::{
    edit::Field,
    list::List,
    mode::{Mode, TerminalMode},
    theme::Theme,
};
use crate::{
    clean,
    error::{Error, Result},
    instance_name::InstanceName,
    present::{
        Style,
        style::{columns, wrap},
    },
};

/// Fewest columns and rows in which lists and a line editor are of use.
const LEAST_COLUMNS: u16 = 40;
const LEAST_ROWS: u16 = 10;

/// Columns that are left for a line that is typed, and for one key. A longer question gets lines of its own.
const ROOM_FOR_LINE: usize = 20;
const ROOM_FOR_KEY: usize = 2;

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
pub(super) enum Given<T> {
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
    pub(super) fn reply<T>(&self, given: io::Result<Given<T>>) -> Reply<T> {
        match given.map_err(|e| self.failed(&e))? {
            Given::Answer(answer) => Ok(answer),
            Given::Escape if self.escape() == Escape::Back => Err(Leave::Back),
            Given::Escape | Given::Quit | Given::Resized => Err(Leave::Failed(self.interruption())),
        }
    }

    /// Shows help, asks with keys, and leaves only the question with its answer; nothing when the user goes back.
    /// `ask` gets the line that the question begins with, and how many lines stand above that. It is asked again, on an
    /// empty screen, when the terminal was resized.
    fn with_keys<T>(
        &self,
        (question, help, default): (&str, &str, Option<&str>),
        room: usize,
        mut ask: impl FnMut(&str, usize) -> io::Result<Given<T>>,
        answer: impl Fn(&T) -> String,
    ) -> Reply<T> {
        let mode = TerminalMode::enter(&self.term, Mode::Keys);
        let (above, size, given) = loop {
            let size = self.term.size();
            let (head, above) = self.show_question(question, help, default, room)?;
            let given = ask(&head, above);
            if !matches!(given, Ok(Given::Resized)) {
                break (above, size, given);
            }
            self.term.clear_screen().map_err(|e| self.failed(&e))?;
        };
        let forget = || match self.term.size() == size {
            true => self.forget(above),
            false => self.term.clear_screen().map_err(|e| self.failed(&e)),
        };
        match self.reply(given) {
            Ok(given) => {
                forget()?;
                let answer = self.theme.answered(question, &answer(&given));
                self.say(&self.style().fit(&answer, self.width()))?;
                Ok(given)
            }
            Err(Leave::Back) => {
                forget()?;
                Err(Leave::Back)
            }
            Err(error) => {
                self.term.write_line("").map_err(|e| self.failed(&e))?;
                drop(mode);
                Err(error)
            }
        }
    }

    /// Writes what stands above an answer; the line that it begins with, and how many lines stand above that.
    fn show_question(&self, question: &str, help: &str, default: Option<&str>, room: usize) -> Result<(String, usize)> {
        let mut above = self.say_wrapped(help, 2)?;
        let mut head = self.theme.question(question, default);
        if columns(&head) + room > self.width() {
            let lines = self.theme.long_question(&wrap(question, self.width() - 2));
            lines.iter().try_for_each(|line| self.say(line))?;
            above += lines.len();
            head = self.theme.input(default);
        }
        Ok((head, above))
    }

    /// One of several. `items` are names and descriptions.
    pub(super) fn select(
        &self,
        question: &str,
        help: &str,
        items: &[(String, String)],
        default: usize,
    ) -> Reply<usize> {
        let default = default.min(items.len().saturating_sub(1));
        if self.is_plain() {
            return self.plain_select(question, help, items, default);
        }
        let mut list = List { rows: vec![], at: default, marks: None };
        let ask = |head: &str, above| {
            list.rows = self.table(items, 2);
            self.pick(head, above, &mut list)
        };
        let name = |list: &List| items.get(list.at).map(|i| i.0.clone()).unwrap_or_default();
        Ok(self.with_keys((question, help, None), 0, ask, name)?.at)
    }

    /// One of several values, each with a name and a description; the cursor begins at `default`.
    pub(super) fn choose<T: Clone + PartialEq>(
        &self,
        question: &str,
        help: &str,
        choices: &[(T, &str, &str)],
        default: &T,
    ) -> Reply<T> {
        let items: Vec<_> = choices.iter().map(|(_, name, said)| ((*name).to_owned(), (*said).to_owned())).collect();
        let at = choices.iter().position(|(value, ..)| value == default).unwrap_or_default();
        let chosen = choices.get(self.select(question, help, &items, at)?);
        Ok(chosen.map(|(value, ..)| value.clone()).ok_or_else(|| Error::bug("a choice that was not offered"))?)
    }

    /// Any of several, by index. `none` is how no choice at all is shown.
    pub(super) fn many(
        &self,
        question: &str,
        help: &str,
        items: &[(String, String)],
        chosen: &[bool],
        none: &str,
    ) -> Reply<Vec<usize>> {
        if self.is_plain() {
            return self.plain_many(question, help, items, chosen);
        }
        let help = format!("{help} Space selects, Enter continues.");
        let mut list = List { rows: vec![], at: 0, marks: Some(chosen.to_vec()) };
        let ask = |head: &str, above| {
            list.rows = self.table(items, 6);
            self.pick(head, above, &mut list)
        };
        let names = |list: &List| {
            let names: Vec<&str> = list.marked().filter_map(|i| items.get(i)).map(|i| i.0.as_str()).collect();
            if names.is_empty() { none.to_owned() } else { names.join(", ") }
        };
        let list = self.with_keys((question, &help, None), 0, ask, names)?;
        Ok(list.marked().collect())
    }

    /// Yes or no.
    pub(super) fn yes_no(&self, question: &str, help: &str, default: bool) -> Reply<bool> {
        if self.is_plain() {
            return self.plain_yes_no(question, help, default);
        }
        let choice = if default { "Y/n" } else { "y/N" };
        let ask = |head: &str, _| self.decide(head, default);
        let answer = |yes: &bool| if *yes { "yes".to_owned() } else { "no".to_owned() };
        self.with_keys((question, help, Some(choice)), ROOM_FOR_KEY, ask, answer)
    }

    /// A line. `check` is given what was typed (empty for Enter alone) and returns what it means,
    /// or the reason why it cannot be taken, which is shown below the field until the next key.
    pub(super) fn line<T>(&self, line: &Line<'_>, check: impl Fn(&str) -> Result<T, String>) -> Reply<T> {
        if self.is_plain() {
            return self.plain_line(line, check);
        }
        let answer = |(typed, _): &(String, T)| match (line.hidden, typed.is_empty(), line.default) {
            (_, true, Some(default)) => default.to_owned(),
            (_, true, None) => "none".to_owned(),
            (true, false, _) => "hidden".to_owned(),
            (false, false, _) => typed.clone(),
        };
        let mut field = Field::new(line.initial);
        let ask = |head: &str, _| self.edit(head, line, &mut field, &check);
        let tab = if line.complete.is_some() { " Tab completes." } else { "" };
        let help = format!("{}{tab}", line.help);
        Ok(self.with_keys((line.question, &help, line.default), ROOM_FOR_LINE, ask, answer)?.1)
    }

    /// Items in two columns, each shorter than the terminal is wide.
    fn table(&self, items: &[(String, String)], prefix: usize) -> Vec<String> {
        let names = items.iter().map(|(name, _)| columns(name)).max().unwrap_or_default();
        let room = self.width().saturating_sub(prefix);
        let row = |(name, said): &(String, String)| {
            let gap = " ".repeat(names - columns(name) + 3);
            self.style().fit(clean::line(&format!("{name}{gap}{said}"), false).trim_end(), room)
        };
        items.iter().map(row).collect()
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
