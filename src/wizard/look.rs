//! How questions look: one theme for dialoguer's lists and for our own line of input, with the
//! colours of `present` and an ASCII form. Which entry is chosen shows without colour.

use std::fmt::{self, Write};

use dialoguer::theme::Theme;

use crate::{
    clean::{self, one_line},
    present::Style,
};

/// The theme.
pub(super) struct Look(pub Style);

impl Look {
    fn sign<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.0.unicode { unicode } else { ascii }
    }

    /// `? Port of the page (3000) > `, to be followed by what is typed.
    pub fn question(&self, question: &str, default: Option<&str>) -> String {
        let default = default.map(|d| self.0.dim(&format!("({}) ", one_line(d)))).unwrap_or_default();
        format!(
            "{} {} {default}{} ",
            self.0.hint("?"),
            self.0.strong(&clean::text(question, false)),
            self.sign("›", ">")
        )
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
}

impl Theme for Look {
    fn format_select_prompt(&self, f: &mut dyn Write, prompt: &str) -> fmt::Result {
        write!(f, "{}", self.question(prompt, None))
    }

    fn format_multi_select_prompt(&self, f: &mut dyn Write, prompt: &str) -> fmt::Result {
        write!(f, "{}", self.question(prompt, None))
    }

    fn format_confirm_prompt(&self, f: &mut dyn Write, prompt: &str, default: Option<bool>) -> fmt::Result {
        let choice = match default {
            None => "y/n",
            Some(true) => "Y/n",
            Some(false) => "y/N",
        };
        write!(f, "{}", self.question(prompt, Some(choice)))
    }

    fn format_select_prompt_item(&self, f: &mut dyn Write, text: &str, active: bool) -> fmt::Result {
        let text = clean::line(text, false);
        if active { write!(f, "{}", self.0.hint(&format!("> {text}"))) } else { write!(f, "  {text}") }
    }

    fn format_multi_select_prompt_item(
        &self,
        f: &mut dyn Write,
        text: &str,
        checked: bool,
        active: bool,
    ) -> fmt::Result {
        let mark = if checked { "[x]" } else { "[ ]" };
        self.format_select_prompt_item(f, &format!("{mark} {text}"), active)
    }
}
