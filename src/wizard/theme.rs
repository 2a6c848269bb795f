//! How questions look, with the colours of `present` and an ASCII form. Which entry is chosen shows without colour.

use crate::{
    clean::{self, one_line},
    present::Style,
};

/// Style and glyphs.
pub(super) struct Theme(pub Style);

impl Theme {
    fn sign<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.0.unicode { unicode } else { ascii }
    }

    /// `? Port (3000) > `, to be followed by what is typed.
    pub fn question(&self, question: &str, default: Option<&str>) -> String {
        let question = self.0.strong(&clean::text(question, false));
        format!("{} {question} {}", self.0.hint("?"), self.input(default).trim_start())
    }

    /// A question of several lines, to be followed by the line of input.
    pub fn long_question(&self, lines: &[String]) -> Vec<String> {
        let sign = |index| if index == 0 { self.0.hint("?") } else { " ".to_owned() };
        lines.iter().enumerate().map(|(index, line)| format!("{} {}", sign(index), self.0.strong(line))).collect()
    }

    /// `  (3000) > `
    pub fn input(&self, default: Option<&str>) -> String {
        let default = default.map(|d| self.0.dim(&format!("({}) ", one_line(d)))).unwrap_or_default();
        format!("  {default}{} ", self.sign("›", ">"))
    }

    /// What stays of an answered question.
    pub fn answered(&self, question: &str, answer: &str) -> String {
        let (question, answer) = (one_line(question), one_line(answer));
        format!("{} {question} {} {answer}", self.0.ok(self.sign("✔", "+")), self.0.dim(self.sign("·", "-")))
    }

    /// Why an answer is not taken.
    pub fn refused(&self, reason: &str) -> String {
        format!("{} {}", self.0.error(self.sign("✘", "!")), self.0.error(&one_line(reason)))
    }

    /// An entry of a list; `mark`: whether it is chosen, where several can be.
    pub fn entry(&self, text: &str, mark: Option<bool>, active: bool) -> String {
        let mark = mark.map(|chosen| if chosen { "[x] " } else { "[ ] " }).unwrap_or_default();
        if active { self.0.hint(&format!("> {mark}{text}")) } else { format!("  {mark}{text}") }
    }
}
