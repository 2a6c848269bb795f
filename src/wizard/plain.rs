//! Questions as plain lines: numbered choices, no cursor movement, nothing redrawn. For `TERM=dumb`, screen readers and
//! terminals that are too small for lists. The terminal itself edits the line.

use std::io;

use super::{
    mode::{CTRL_C, InputMode, TerminalMode},
    prompt::{Escape, Leave, Line, Prompt, PromptInput, Reply, fold},
};
use crate::{clean::one_line, error::Result, present::style::wrap};

/// Columns that are left for a short answer.
const ROOM: usize = 10;
/// Goes to the question before.
const BACK: &str = "<";
/// Empties a text that Enter would keep.
const NONE: &str = "-";

impl Prompt {
    /// Asks until a line is taken.
    fn plain<T>(
        &self,
        question: &str,
        default: &str,
        hidden: bool,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Reply<T> {
        let default = if default.is_empty() { String::new() } else { format!(" ({})", one_line(default)) };
        let mut head = wrap(&format!("{question}{default}:"), self.width().saturating_sub(ROOM));
        let last = head.pop().unwrap_or_default();
        head.iter().try_for_each(|line| self.say(line))?;
        loop {
            // Before the question is seen, so that nothing of the answer is echoed where it must not be.
            let mode = TerminalMode::enter(&self.term, InputMode::Line { hidden });
            self.term.write_str(&format!("{last} ")).map_err(|e| self.failed(&e))?;
            let text = self.reply(read_line())?;
            drop(mode);
            if hidden {
                self.say("")?;
            }
            let text = if hidden { text.as_str() } else { text.trim() };
            match (text, self.escape()) {
                (BACK, Escape::Back) => return Err(Leave::Back),
                (BACK, Escape::Ignored) => self.refuse("this is the first question")?,
                _ => match check(text) {
                    Ok(value) => return Ok(value),
                    Err(reason) => self.refuse(&reason)?,
                },
            }
        }
    }

    fn refuse(&self, reason: &str) -> Result<()> {
        let lines = wrap(&one_line(reason), self.width().saturating_sub(2));
        lines.iter().try_for_each(|line| self.say(&self.theme.refused(line)))
    }

    fn numbered(&self, question: &str, help: &str, items: &[(String, String)]) -> Result<()> {
        self.say("")?;
        self.say_wrapped(help, 0)?;
        let colon = if question.ends_with('?') { "" } else { ":" };
        self.say(&format!("{question}{colon}"))?;
        for (index, (name, explanation)) in items.iter().enumerate() {
            let number = format!("{}. ", index + 1);
            let explanation = if explanation.is_empty() { String::new() } else { format!(": {explanation}") };
            let lines = fold(&one_line(&format!("{number}{name}{explanation}")), number.len(), self.width());
            lines.iter().try_for_each(|line| self.say(line))?;
        }
        Ok(())
    }

    pub(super) fn plain_select(
        &self,
        question: &str,
        help: &str,
        items: &[(String, String)],
        default: usize,
    ) -> Reply<usize> {
        self.numbered(question, help, items)?;
        let count = items.len();
        self.plain("Number", &(default + 1).to_string(), false, |text| match text {
            "" => Ok(default),
            text => number(text, count),
        })
    }

    pub(super) fn plain_many(
        &self,
        question: &str,
        help: &str,
        items: &[(String, String)],
        chosen: &[bool],
    ) -> Reply<Vec<usize>> {
        self.numbered(question, help, items)?;
        let before: Vec<usize> = (0..items.len()).filter(|i| chosen.get(*i) == Some(&true)).collect();
        let numbers: Vec<String> = before.iter().map(|index| (index + 1).to_string()).collect();
        let default = if before.is_empty() { "none".to_owned() } else { format!("{}; 0 for none", numbers.join(" ")) };
        self.plain("Numbers, such as 1 2", &default, false, |text| match text {
            "" => Ok(before.clone()),
            "0" => Ok(vec![]),
            text => {
                text.split([' ', ',']).filter(|word| !word.is_empty()).map(|word| number(word, items.len())).collect()
            }
        })
    }

    pub(super) fn plain_yes_no(&self, question: &str, help: &str, default: bool) -> Reply<bool> {
        self.say("")?;
        self.say_wrapped(help, 0)?;
        let shown = if default { "y" } else { "n" };
        let check = |text: &str| match text.to_ascii_lowercase().as_str() {
            "" => Ok(default),
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err("enter y or n".to_owned()),
        };
        self.plain(&format!("{question} y or n"), shown, false, check)
    }

    pub(super) fn plain_line<T>(&self, line: &Line<'_>, check: impl Fn(&str) -> Result<T, String>) -> Reply<T> {
        self.say("")?;
        self.say_wrapped(line.help, 0)?;
        let initial = line.initial;
        let default = match line.default {
            Some(default) => default.to_owned(),
            None if initial.is_empty() => String::new(),
            None => format!("{initial}; {NONE} for none"),
        };
        self.plain(line.question, &default, line.hidden, |text| match text {
            "" => check(initial),
            NONE if !initial.is_empty() => check(""),
            text => check(text),
        })
    }
}

/// A line of standard input without its end.
fn read_line() -> io::Result<PromptInput<String>> {
    let mut line = vec![];
    let mut buffer = [0; 1024];
    while !matches!(line.last(), Some(b'\n' | &CTRL_C)) {
        match rustix::io::read(io::stdin(), &mut buffer) {
            // The end of the input, such as Ctrl-D.
            Ok(0) => line.push(CTRL_C),
            Ok(count) => line.extend_from_slice(&buffer[..count]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if line.last() == Some(&CTRL_C) {
        return Ok(PromptInput::Quit);
    }
    Ok(PromptInput::Answer(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

/// An index from a number that counts from 1.
fn number(text: &str, count: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if (1..=count).contains(&number) => Ok(number - 1),
        _ => Err(format!("enter a number from 1 to {count}")),
    }
}
