//! The questions for the page's password, and a secret that is typed a second time.

use super::{
    PasswordChoice,
    flow::Wizard,
    prompt::{Leave, Line, Prompt, Reply},
};
use crate::secrets::{LEAST_PASSWORD_LENGTH, Secret, check_password};

impl Wizard<'_> {
    /// Which password.
    pub(super) fn password(&mut self) -> Reply<()> {
        let own = match &self.answers.password {
            Some(PasswordChoice::Own(own)) => own.clone(),
            _ => Secret::new(""),
        };
        let mut choices = vec![
            (PasswordChoice::Generated, "generate one", "32 letters and digits, shown at the end"),
            (PasswordChoice::Own(own), "choose my own", "you enter it twice"),
        ];
        if self.around.has_password {
            choices.insert(0, (PasswordChoice::Keep, "keep it", "the current password"));
        }
        let help = "The page asks for this password. It keeps other programs and web pages out.";
        let first = self.answers.password.clone().unwrap_or_else(|| choices[0].0.clone());
        self.answers.password = Some(self.prompt.choose("Password", help, &choices, &first)?);
        Ok(())
    }

    /// The user's own.
    pub(super) fn own_password(&mut self) -> Reply<()> {
        let help = format!("At least {LEAST_PASSWORD_LENGTH} characters. Your input is hidden.");
        let line = Line { question: "Your password", help: &help, hidden: true, ..Line::default() };
        self.answers.password = Some(PasswordChoice::Own(self.prompt.line(&line, check_password)?));
        Ok(())
    }

    /// The same again; nothing goes back to the first one.
    pub(super) fn repeat_password(&mut self) -> Reply<()> {
        let Some(PasswordChoice::Own(first)) = &self.answers.password else { return Ok(()) };
        if repeat(self.prompt, "password", first)? { Ok(()) } else { Err(Leave::Back) }
    }
}

/// Asks for a secret a second time; false when the user wants to begin again. `what` is its kind.
pub(super) fn repeat(prompt: &Prompt, what: &str, first: &Secret) -> Reply<bool> {
    let help = format!("Leave empty to re-enter the {what}.");
    let line = Line { question: "Repeat it", help: &help, hidden: true, ..Line::default() };
    prompt.line(&line, |text| match text {
        "" => Ok(false),
        text if text == first.reveal() => Ok(true),
        _ => Err(format!("the {what}s don't match; try again, or leave it empty (Ctrl-U) to re-enter both")),
    })
}
