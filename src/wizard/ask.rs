//! Asks one thing on a terminal: a choice, several, yes or no, a line, a hidden line. With keys and a cursor where the
//! terminal can show that, else with plain lines (`plain`).

use std::io;

use super::{
    edit::Field,
    list::List,
    mode::{InputMode, TerminalMode},
    prompt::{Leave, Line, Prompt, PromptInput, Reply},
};
use crate::{
    clean,
    error::{Error, Result},
    present::style::{columns, wrap},
};

/// Columns that are left for a line that is typed, and for one key. A longer question gets lines of its own.
const ROOM_FOR_LINE: usize = 20;
const ROOM_FOR_KEY: usize = 2;

impl Prompt {
    /// Shows help, asks with keys, and leaves only the question with its answer; nothing when the user goes back.
    /// `ask` gets the line that the question begins with, and how many lines stand above that. It is asked again, on an
    /// empty screen, when the terminal was resized.
    fn with_keys<T>(
        &self,
        (question, help, default): (&str, &str, Option<&str>),
        room: usize,
        mut ask: impl FnMut(&str, usize) -> io::Result<PromptInput<T>>,
        answer: impl Fn(&T) -> String,
    ) -> Reply<T> {
        let mode = TerminalMode::enter(&self.term, InputMode::Keys);
        let (above, size, given) = loop {
            let size = self.term.size();
            let (head, above) = self.show_question(question, help, default, room)?;
            let given = ask(&head, above);
            if !matches!(given, Ok(PromptInput::Resized)) {
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
        let items: Vec<_> =
            choices.iter().map(|(_, name, explanation)| ((*name).to_owned(), (*explanation).to_owned())).collect();
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
        let row = |(name, explanation): &(String, String)| {
            let gap = " ".repeat(names - columns(name) + 3);
            self.style().fit(clean::line(&format!("{name}{gap}{explanation}"), false).trim_end(), room)
        };
        items.iter().map(row).collect()
    }
}
