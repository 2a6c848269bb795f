//! Asks one thing on a terminal: a choice, several, yes or no, a line, a hidden line. Lists are
//! dialoguer's. The line is our own, on the same terminal library: dialoguer's knows no Esc, loses
//! what was typed when it is refused, garbles lines longer than the terminal is wide, and leaves
//! the terminal without echo when a password is interrupted.
//!
//! Knows nothing of settings.

use std::io;

use console::{Key, Term};
use dialoguer::{Confirm, MultiSelect, Select};

use super::look::Look;
use crate::{
    clean,
    error::{Error, Result},
    instance_name::InstanceName,
    present::{
        Style,
        style::{columns, wrap},
    },
};

/// A terminal to ask on.
pub struct Prompt {
    term: Term,
    look: Look,
    /// The hint after Esc or Ctrl-C.
    interrupted: String,
    /// The instance that commands in its texts name.
    instance: InstanceName,
}

/// How a line is asked for.
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
}

impl Prompt {
    /// `interrupted` is the hint after Esc or Ctrl-C, such as `nothing was changed; docklet setup begins again`.
    pub fn new(term: Term, style: Style, interrupted: impl Into<String>) -> Self {
        swallow_interrupts();
        Prompt { term, look: Look(style), interrupted: interrupted.into(), instance: InstanceName::default() }
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
        self.look.0
    }

    /// Writes text above the next question.
    pub(super) fn say(&self, text: &str) -> Result<()> {
        self.term.write_line(&clean::text(text, self.style().color)).map_err(|e| self.failed(&e))
    }

    fn interruption(&self) -> Error {
        Error::Interrupted { next: self.interrupted.clone() }
    }

    fn failed(&self, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => self.interruption(),
            _ => Error::Usage {
                message: "cannot ask on this terminal".to_owned(),
                hint: Some(format!("{error}; use flags instead: docklet setup --help")),
            },
        }
    }

    /// Columns that may be written to.
    fn width(&self) -> usize {
        usize::from(self.term.size().1).max(20) - 1
    }

    /// Shows help, asks, and leaves only the question with its answer.
    fn ask<T>(
        &self,
        question: &str,
        help: &str,
        ask: impl FnOnce() -> Result<Option<T>>,
        answer: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let quiet = QuietTerminal::enter(&self.term);
        let help = wrap(help, self.width().saturating_sub(2));
        for line in &help {
            self.say(&format!("  {}", self.style().dim(line)))?;
        }
        let given = ask();
        let tidy = |e: io::Error| self.failed(&e);
        match given {
            Ok(Some(given)) => {
                self.term.clear_last_lines(help.len()).map_err(tidy)?;
                let answer = self.look.answered(question, &answer(&given));
                self.say(&self.style().fit(&answer, self.width()))?;
                Ok(given)
            }
            Ok(None) => {
                drop(quiet);
                Err(self.interruption())
            }
            Err(error) => {
                // Lists hide the cursor, and are left where they were.
                self.term.write_line("").map_err(tidy)?;
                drop(quiet);
                Err(error)
            }
        }
    }

    /// One of several. `items` are names and descriptions.
    pub(super) fn select(
        &self,
        question: &str,
        help: &str,
        items: &[(String, String)],
        default: usize,
    ) -> Result<usize> {
        let ask = || {
            let select = Select::with_theme(&self.look).with_prompt(question).items(self.table(items, 2));
            let select = select.default(default.min(items.len().saturating_sub(1))).report(false);
            select.interact_on_opt(&self.term).map_err(|e| self.dialoguer(e))
        };
        self.ask(question, help, ask, |index| items.get(*index).map(|i| i.0.clone()).unwrap_or_default())
    }

    /// One of several values, each with a name and a description; the cursor begins at `default`.
    pub(super) fn choose<T: Clone + PartialEq>(
        &self,
        question: &str,
        help: &str,
        choices: &[(T, &str, &str)],
        default: &T,
    ) -> Result<T> {
        let items: Vec<_> = choices.iter().map(|(_, name, said)| ((*name).to_owned(), (*said).to_owned())).collect();
        let at = choices.iter().position(|(value, ..)| value == default).unwrap_or_default();
        let chosen = choices.get(self.select(question, help, &items, at)?);
        chosen.map(|(value, ..)| value.clone()).ok_or_else(|| Error::bug("a choice that was not offered"))
    }

    /// Any of several, by index.
    pub(super) fn many(
        &self,
        question: &str,
        help: &str,
        items: &[(String, String)],
        chosen: &[bool],
    ) -> Result<Vec<usize>> {
        let ask = || {
            let entries = self.table(items, 6).into_iter().zip(chosen.iter().copied());
            let select = MultiSelect::with_theme(&self.look).with_prompt(question).items_checked(entries);
            select.report(false).interact_on_opt(&self.term).map_err(|e| self.dialoguer(e))
        };
        let names = |indexes: &Vec<usize>| {
            let names: Vec<&str> = indexes.iter().filter_map(|i| items.get(*i)).map(|i| i.0.as_str()).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        self.ask(question, help, ask, names)
    }

    /// Yes or no.
    pub(super) fn yes_no(&self, question: &str, help: &str, default: bool) -> Result<bool> {
        let ask = || {
            let confirm = Confirm::with_theme(&self.look).with_prompt(question).default(default).report(false);
            confirm.interact_on_opt(&self.term).map_err(|e| self.dialoguer(e))
        };
        self.ask(question, help, ask, |yes| if *yes { "yes".to_owned() } else { "no".to_owned() })
    }

    /// A line. `check` is given what was typed (empty for Enter alone) and returns what it means,
    /// or the reason why it cannot be taken, which is shown below the field until the next key.
    pub(super) fn line<T>(&self, line: &Line<'_>, check: impl Fn(&str) -> Result<T, String>) -> Result<T> {
        let ask = || self.edit(line, &check).map_err(|e| self.failed(&e));
        let answer = |(typed, _): &(String, T)| match (line.hidden, typed.is_empty(), line.default) {
            (_, true, Some(default)) => default.to_owned(),
            (_, true, None) => "none".to_owned(),
            (true, false, _) => "hidden".to_owned(),
            (false, false, _) => typed.clone(),
        };
        Ok(self.ask(line.question, line.help, ask, answer)?.1)
    }

    /// Edits a line until it is taken; `None` after Esc, Ctrl-C or Ctrl-D. What is on the screen
    /// is gone afterwards.
    fn edit<T>(&self, line: &Line<'_>, check: &impl Fn(&str) -> Result<T, String>) -> io::Result<Option<(String, T)>> {
        let mut typed: Vec<char> = clean::one_line(line.initial).chars().collect();
        let mut at = typed.len();
        let mut refused: Option<String> = None;
        loop {
            self.show(line, &typed, at, refused.take().as_deref())?;
            match self.term.read_key_raw()? {
                Key::Enter => {
                    let text: String = typed.iter().collect();
                    let text = if line.hidden { text.as_str() } else { text.trim() };
                    match check(text) {
                        Ok(value) => {
                            self.term.write_str("\r\u{1b}[J")?;
                            return Ok(Some((text.to_owned(), value)));
                        }
                        Err(reason) => refused = Some(reason),
                    }
                }
                Key::Escape | Key::CtrlC | Key::Char('\u{3}' | '\u{4}') => {
                    self.show(line, &typed, typed.len(), None)?;
                    self.term.write_line("")?;
                    return Ok(None);
                }
                Key::Backspace if at > 0 => {
                    at -= 1;
                    typed.remove(at);
                }
                Key::Del if at < typed.len() => {
                    typed.remove(at);
                }
                Key::ArrowLeft => at = at.saturating_sub(1),
                Key::ArrowRight => at = (at + 1).min(typed.len()),
                Key::Home => at = 0,
                Key::End => at = typed.len(),
                // Ctrl-U and Ctrl-W, as in a shell.
                Key::Char('\u{15}') => {
                    typed.drain(..at);
                    at = 0;
                }
                Key::Char('\u{17}') => {
                    let word = typed[..at].iter().rposition(|c| !c.is_whitespace()).unwrap_or(0);
                    let start = typed[..word].iter().rposition(|c| c.is_whitespace()).map_or(0, |space| space + 1);
                    typed.drain(start..at);
                    at = start;
                }
                Key::Char(c) if !c.is_control() => {
                    typed.insert(at, c);
                    at += 1;
                }
                _ => {}
            }
        }
    }

    /// Draws the line and what is wrong with it, and leaves the cursor where the next key goes.
    fn show(&self, line: &Line<'_>, typed: &[char], at: usize, refused: Option<&str>) -> io::Result<()> {
        let width = self.width();
        let question = self.look.question(line.question, line.default);
        let indent = columns(&question);
        let room = width.saturating_sub(indent).max(1);
        let shown: Vec<char> = if line.hidden { vec!['*'; typed.len()] } else { typed.to_vec() };
        // A long line is shown from where the cursor still fits in.
        let mut start = 0;
        let text = |from: usize, to: usize| shown[from..to].iter().collect::<String>();
        while start < at && columns(&text(start, at)) >= room {
            start += 1;
        }
        let mut end = shown.len();
        while end > at && columns(&text(start, end)) > room {
            end -= 1;
        }
        let mut screen = format!("\r\u{1b}[J{question}{}", text(start, end));
        let reasons = refused.map(|reason| wrap(reason, width.saturating_sub(4))).unwrap_or_default();
        for reason in &reasons {
            screen.push_str(&format!("\n  {}", self.look.refused(reason)));
        }
        self.term.write_str(&screen)?;
        if !reasons.is_empty() {
            self.term.move_cursor_up(reasons.len())?;
        }
        self.term.write_str("\r")?;
        self.term.move_cursor_right(indent + columns(&text(start, at)))?;
        self.term.flush()
    }

    /// Items in two columns, each shorter than the terminal is wide.
    fn table(&self, items: &[(String, String)], prefix: usize) -> Vec<String> {
        let names = items.iter().map(|(name, _)| columns(name)).max().unwrap_or_default();
        let room = self.width().saturating_sub(prefix);
        let row = |(name, said): &(String, String)| {
            let gap = " ".repeat(names - columns(name) + 3);
            self.style().fit(format!("{name}{gap}{said}").trim_end(), room)
        };
        items.iter().map(row).collect()
    }

    fn dialoguer(&self, error: dialoguer::Error) -> Error {
        let dialoguer::Error::IO(error) = error;
        self.failed(&error)
    }
}

/// A terminal that neither echoes what is typed between two keys nor turns Ctrl-C into a signal;
/// on drop everything is as it was and the cursor is visible.
struct QuietTerminal {
    term: Term,
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl QuietTerminal {
    #[cfg(unix)]
    fn enter(term: &Term) -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
            // Where this cannot be had, asking works without it, only less tidily.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &quiet);
        }
        QuietTerminal { term: term.clone(), before }
    }

    #[cfg(not(unix))]
    fn enter(term: &Term) -> Self {
        QuietTerminal { term: term.clone() }
    }
}

impl Drop for QuietTerminal {
    fn drop(&mut self) {
        // Nothing can be done where the terminal has gone.
        let _ = self.term.show_cursor();
        #[cfg(unix)]
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Drain, before);
        }
    }
}

/// dialoguer's lists raise SIGINT against this process when they read Ctrl-C. With a listener for that signal the process
/// is not killed, and the list ends with the error `interrupted`. tokio keeps the listener for the rest of the process.
fn swallow_interrupts() {
    #[cfg(unix)]
    {
        use tokio::{runtime, signal::unix};
        if let Ok(runtime) = runtime::Builder::new_current_thread().enable_io().build() {
            {
                let _inside = runtime.enter();
                drop(unix::signal(unix::SignalKind::interrupt()));
            }
            // Dropping it would not be allowed inside another runtime.
            runtime.shutdown_background();
        }
    }
}
