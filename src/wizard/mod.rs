//! Questions → settings. Asks what neither a flag nor the environment has answered. Each question has a help line and a
//! default on Enter, and shows why it refuses an answer. Changes nothing: it returns what was chosen.
//!
//! - `answers`: what can be answered, and what is kept of it for the next run
//! - `flow`: the order of the questions, back and forth, and the review at the end
//! - `questions`, `image`, `folder`, `keys`, `password`: one function for each question
//! - `prompt`: the terminal; `ask`: asks one thing, with `list` and `edit` (keys and a cursor; `paste`: pasted text) or `plain` (lines)

mod answers;
mod ask;
mod complete;
mod edit;
mod flow;
mod folder;
mod image;
mod keys;
mod list;
mod mode;
mod password;
mod paste;
mod plain;
pub mod prompt;
mod questions;
mod theme;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use self::prompt::{Escape, Leave, Line, Reply};
pub use self::{
    answers::KeyKind,
    answers::{Answers, PasswordChoice},
    flow::{FlowStart, ask},
    prompt::Prompt,
};
use crate::{
    appliance::PackageChoice,
    engine::About,
    error::Result,
    observed::PortState,
    present::style,
    secrets::Secret,
    settings::{Mount, Port, Settings},
};

/// An engine that answers.
#[derive(Debug, Clone)]
pub struct EngineChoice {
    /// What it says of itself.
    pub about: About,
    /// Memory of its machine in bytes; 0 where it does not say.
    pub memory: u64,
}

/// What the questions depend on.
pub struct WizardInput<'a> {
    /// The engines that answer, best first; at least one.
    pub engines: &'a [EngineChoice],
    /// Whether a port can be had.
    pub port_state: &'a dyn Fn(Port) -> PortState,
    /// Ready-made choices of packages.
    pub packages: &'a [PackageChoice],
    /// Keys and tokens that can be given: title and the secret's name.
    pub keys: &'a [(KeyKind, String, String)],
    /// Those in the user's own environment, by the secret's name.
    pub keys_at_hand: &'a BTreeMap<String, Secret>,
    /// Names of the secrets that are set already.
    pub secrets: &'a [String],
    /// Why the last of these mounts cannot be; `None` where it can.
    pub refuses: &'a dyn Fn(&[Mount]) -> Option<String>,
    /// The user's home folder, for `~`.
    pub home: Option<PathBuf>,
    /// Whether a password is set already.
    pub has_password: bool,
    /// Whether a service manager can start it when the user logs in.
    pub can_autostart: bool,
    /// Whether a browser can be opened here.
    pub can_open: bool,
    /// Called after each answer, to keep it for the next run.
    pub keep: &'a dyn Fn(&Answers),
}

impl WizardInput<'_> {
    /// A path as the user would write it.
    fn shown(&self, path: &Path) -> String {
        match self.home.as_deref().and_then(|home| path.strip_prefix(home).ok()) {
            Some(below) if below.as_os_str().is_empty() => "~".to_owned(),
            Some(below) => format!("~/{}", below.display()),
            None => path.display().to_string(),
        }
    }
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The settings. With an image to load, `image.reference` is as before: the archive says its
    /// name.
    pub settings: Settings,
    /// Index in [`WizardInput::engines`].
    pub engine: usize,
    /// The archive to load.
    pub image_file: Option<PathBuf>,
    /// The password.
    pub password: PasswordChoice,
    /// New keys and tokens, by the secret's name.
    pub keys: BTreeMap<String, Secret>,
    /// Whether to open the page in the browser once it answers.
    pub open: bool,
    /// All answers, to begin with the review once more.
    pub answers: Answers,
}

/// What the user says to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// It is done.
    Yes,
    /// Nothing is done.
    No,
    /// Back to the questions.
    Back,
}

/// The answer to a question that stands alone.
fn alone<T>(prompt: &Prompt, reply: Reply<T>) -> Result<T> {
    reply.map_err(|leave| match leave {
        Leave::Failed(error) => error,
        // Esc quits there.
        Leave::Back => prompt.interruption(),
    })
}

/// Asks whether to install a container engine; `how` says what that does, such as `installs the package docker.io with
/// apt, through sudo, and starts it`.
///
/// # Errors
/// [`crate::error::Error::Interrupted`] after Esc or Ctrl-C.
pub fn ask_install_engine(prompt: &Prompt, how: &str) -> Result<bool> {
    let help = format!("opencode needs a container engine, and none answers on this machine. docklet {how}.");
    alone(prompt, prompt.yes_no("Install a container engine?", &help, true))
}

/// Shows a plan and asks once. Esc goes back to the questions.
///
/// # Errors
/// [`crate::error::Error::Interrupted`] after Ctrl-C.
pub fn confirm_plan(prompt: &Prompt, plan: &str) -> Result<Confirmation> {
    let plan = style::fold(plan, prompt.width());
    prompt.say(&format!("\n{}\n{plan}\n", prompt.style().strong("This will be done:")))?;
    // Lines that were pasted into an answer are no yes.
    prompt.drop_what_is_typed();
    prompt.on_escape(Escape::Back);
    match prompt.yes_no("Go ahead?", "", true) {
        Ok(true) => Ok(Confirmation::Yes),
        Ok(false) => Ok(Confirmation::No),
        Err(Leave::Back) => Ok(Confirmation::Back),
        Err(Leave::Failed(error)) => Err(error),
    }
}

/// Asks yes or no.
///
/// # Errors
/// [`crate::error::Error::Interrupted`] after Esc or Ctrl-C.
pub fn confirm(prompt: &Prompt, question: &str, default: bool) -> Result<bool> {
    alone(prompt, prompt.yes_no(question, "", default))
}

/// Asks for a secret value; what is typed is not shown.
///
/// # Errors
/// [`crate::error::Error::Interrupted`] after Esc or Ctrl-C.
pub fn ask_secret(prompt: &Prompt, question: &str, check: impl Fn(&str) -> Result<Secret, String>) -> Result<Secret> {
    let help = "Your input is hidden. Press Enter when done.";
    let line = Line { question, help, hidden: true, ..Line::default() };
    alone(prompt, prompt.line(&line, check))
}

/// Asks for a word to be typed, for what cannot be undone; `warning` says what that is. Enter alone
/// is a no.
///
/// # Errors
/// [`crate::error::Error::Interrupted`] after Esc or Ctrl-C.
pub fn typed_confirmation(prompt: &Prompt, warning: &str, word: &str) -> Result<bool> {
    let question = format!("Type {word} to confirm");
    let line = Line { question: &question, help: warning, ..Line::default() };
    let check = |text: &str| match text {
        "" => Ok(false),
        text if text == word => Ok(true),
        _ => Err(format!("type {word} to confirm, or leave empty to cancel")),
    };
    alone(prompt, prompt.line(&line, check))
}

/// Asks for a passphrase that opens something; empty for none.
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub fn passphrase(prompt: &Prompt) -> Result<Secret> {
    let help = "The backup contains secrets that are encrypted with a passphrase. Leave empty to skip them.";
    let line = Line { question: "Passphrase", help, hidden: true, ..Line::default() };
    alone(prompt, prompt.line(&line, |text| Ok(Secret::new(text))))
}

/// Asks for a new passphrase, twice.
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub fn new_passphrase(prompt: &Prompt) -> Result<Secret> {
    let mut help = "This passphrase encrypts the secrets in the backup. They can't be recovered without it.";
    loop {
        let line = Line { question: "Passphrase for the secrets", help, hidden: true, ..Line::default() };
        let check = |text: &str| match text {
            "" => Err("the passphrase must not be empty".to_owned()),
            text => Ok(Secret::new(text)),
        };
        let first = alone(prompt, prompt.line(&line, check))?;
        if alone(prompt, password::repeat(prompt, "passphrase", &first))? {
            return Ok(first);
        }
        help = "Enter the passphrase again.";
    }
}

#[cfg(test)]
mod tests;
