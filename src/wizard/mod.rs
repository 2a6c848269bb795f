//! Questions → settings. Asks what neither a flag nor the environment has answered. Each question has a help line and a
//! default on Enter, and shows why it refuses an answer. Changes nothing: it returns what was chosen.

mod look;
pub mod prompt;
mod questions;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use self::prompt::Line;
pub use self::prompt::Prompt;
use crate::{
    appliance::{PackageChoice, Provider},
    engine::About,
    error::Result,
    observed::PortState,
    secrets::Secret,
    settings::{Egress, ImageSource, Memory, Mount, PackageName, Port, RestartPolicy, Settings},
};

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Built here.
    Build,
    /// Pulled from a registry.
    Pull(String),
    /// Loaded from a file; `None` when it was loaded before.
    Load(Option<PathBuf>),
}

/// Which password the page asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordChoice {
    /// The one that is already set.
    Keep,
    /// A new random one.
    Generated,
    /// The user's own.
    Own(Secret),
}

/// What flags and environment have answered; what is `Some` is not asked.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Index in [`Surroundings::engines`].
    pub engine: Option<usize>,
    /// `--port`
    pub port: Option<Port>,
    /// `--build`, `--image`, `--image-file`
    pub source: Option<Source>,
    /// `--extra-package`
    pub extra_packages: Option<Vec<PackageName>>,
    /// `--memory`
    pub memory: Option<Memory>,
    /// `--mount`
    pub mounts: Option<Vec<Mount>>,
    /// `--egress`
    pub egress: Option<Egress>,
    /// `--restart`
    pub restart: Option<RestartPolicy>,
    /// `--autostart`, `--no-autostart`
    pub autostart: Option<bool>,
    /// `--password-file`
    pub password: Option<PasswordChoice>,
    /// `--secret-file`, which skips the question for keys.
    pub keys: Option<BTreeMap<String, Secret>>,
    /// `--open`
    pub open: Option<bool>,
}

/// An engine that answers.
#[derive(Debug, Clone)]
pub struct EngineChoice {
    /// What it says of itself.
    pub about: About,
    /// Memory of its machine in bytes; 0 where it does not say.
    pub memory: u64,
}

/// What the questions depend on.
pub struct Surroundings<'a> {
    /// The engines that answer, best first; at least one.
    pub engines: &'a [EngineChoice],
    /// Whether a port can be had.
    pub port_state: &'a dyn Fn(Port) -> PortState,
    /// Ready-made choices of packages.
    pub packages: &'a [PackageChoice],
    /// Providers of models.
    pub providers: &'a [Provider],
    /// Their keys in the user's own environment, by the secret's name.
    pub keys_at_hand: &'a BTreeMap<String, Secret>,
    /// Names of the secrets that are set already.
    pub secrets: &'a [String],
    /// Why a folder cannot be mounted; `None` where it can.
    pub refuses_source: &'a dyn Fn(&Path) -> Option<String>,
    /// The user's home folder, for `~`.
    pub home: Option<PathBuf>,
    /// Whether a password is set already.
    pub has_password: bool,
    /// Whether a browser can be opened here.
    pub can_open: bool,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The settings. With an image to load, `image.reference` is as before: the archive says its
    /// name.
    pub settings: Settings,
    /// Index in [`Surroundings::engines`].
    pub engine: usize,
    /// The archive to load.
    pub image_file: Option<PathBuf>,
    /// The password.
    pub password: PasswordChoice,
    /// Keys of providers, by the secret's name.
    pub keys: BTreeMap<String, Secret>,
    /// Whether to open the page in the browser once it answers.
    pub open: bool,
}

/// Asks everything that has no answer yet, beginning with the settings as they are.
///
/// # Errors
/// [`Error::Interrupted`] after Esc or Ctrl-C.
pub fn ask(prompt: &Prompt, current: &Settings, answered: &Answers, around: &Surroundings<'_>) -> Result<Choice> {
    let mut settings = current.clone();
    prompt.say(&prompt.style().dim("Press Enter to accept the default. Esc or Ctrl-C quits without changes.\n"))?;
    let engine = answered.engine.map_or_else(|| questions::engine(prompt, around.engines), Ok)?;
    settings.network.port = or_ask(&answered.port, || questions::port(prompt, current, around.port_state))?;
    let source = or_ask(&answered.source, || questions::source(prompt, current, around))?;
    let mut image_file = None;
    match source {
        Source::Build => settings.image.source = ImageSource::Build,
        Source::Pull(reference) => {
            settings.image.source = ImageSource::Pull;
            settings.image.reference = reference;
        }
        Source::Load(file) => {
            settings.image.source = ImageSource::Load;
            image_file = file;
        }
    }
    match &answered.extra_packages {
        Some(packages) => settings.image.extra_packages.clone_from(packages),
        None if settings.image.source == ImageSource::Build => {
            settings.image.extra_packages = questions::packages(prompt, current, around.packages)?;
        }
        None => {}
    }
    let engine_memory = around.engines.get(engine).map_or(0, |e| e.memory);
    settings.resources.memory = or_ask(&answered.memory, || questions::memory(prompt, current, engine_memory))?;
    match &answered.mounts {
        Some(mounts) => settings.mounts.clone_from(mounts),
        None => settings.mounts.extend(questions::mount(prompt, current, around)?),
    }
    settings.network.egress = or_ask(&answered.egress, || questions::egress(prompt, current))?;
    settings.restart.policy = or_ask(&answered.restart, || questions::restart(prompt, current))?;
    settings.restart.autostart = or_ask(&answered.autostart, || {
        let help =
            format!("This installs a service for your user. To change it later: {}", prompt.command("autostart"));
        prompt.yes_no("Start opencode when you log in?", &help, current.restart.autostart)
    })?;
    let password = or_ask(&answered.password, || questions::password(prompt, around.has_password))?;
    let keys = or_ask(&answered.keys, || questions::keys(prompt, around))?;
    let open = or_ask(&answered.open, || match around.can_open {
        true => prompt.yes_no("Open the page in the browser when it is ready?", "You will be signed in.", true),
        false => Ok(false),
    })?;
    Ok(Choice { settings, engine, image_file, password, keys, open })
}

/// What a flag has answered, or else what the user answers.
fn or_ask<T: Clone>(answer: &Option<T>, ask: impl FnOnce() -> Result<T>) -> Result<T> {
    answer.clone().map_or_else(ask, Ok)
}

/// Asks whether to install a container engine; `how` says what that does, such as `installs the package docker.io with
/// apt, through sudo, and starts it`.
///
/// # Errors
/// [`Error::Interrupted`] after Esc or Ctrl-C.
pub fn ask_install_engine(prompt: &Prompt, how: &str) -> Result<bool> {
    let help = format!("opencode needs a container engine, and none answers on this machine. docklet {how}.");
    prompt.yes_no("Install a container engine?", &help, true)
}

/// Shows a plan and asks once.
///
/// # Errors
/// [`Error::Interrupted`] after Esc or Ctrl-C.
pub fn confirm_plan(prompt: &Prompt, plan: &str) -> Result<bool> {
    prompt.say(&format!("\n{}\n{plan}\n", prompt.style().strong("This will be done:")))?;
    prompt.yes_no("Go ahead?", "", true)
}

/// Asks yes or no.
///
/// # Errors
/// [`Error::Interrupted`] after Esc or Ctrl-C.
pub fn confirm(prompt: &Prompt, question: &str, default: bool) -> Result<bool> {
    prompt.yes_no(question, "", default)
}

/// Asks for a secret value; what is typed is not shown.
///
/// # Errors
/// [`Error::Interrupted`] after Esc or Ctrl-C.
pub fn ask_secret(prompt: &Prompt, question: &str, check: impl Fn(&str) -> Result<Secret, String>) -> Result<Secret> {
    let help = "Your input is hidden. Press Enter when done.";
    let line = Line { question, help, default: None, initial: "", hidden: true };
    prompt.line(&line, check)
}

/// Asks for a word to be typed, for what cannot be undone; `warning` says what that is. Enter alone
/// is a no.
///
/// # Errors
/// [`Error::Interrupted`] after Esc or Ctrl-C.
pub fn typed_confirmation(prompt: &Prompt, warning: &str, word: &str) -> Result<bool> {
    let question = format!("Type {word} to confirm");
    let line = Line { question: &question, help: warning, default: None, initial: "", hidden: false };
    prompt.line(&line, |text| match text {
        "" => Ok(false),
        text if text == word => Ok(true),
        _ => Err(format!("type {word} to confirm, or leave empty to cancel")),
    })
}

/// Asks for a passphrase that opens something; empty for none.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn passphrase(prompt: &Prompt) -> Result<Secret> {
    let help = "The backup contains secrets that are encrypted with a passphrase. Leave empty to skip them.";
    let line = Line { question: "Passphrase", help, default: None, initial: "", hidden: true };
    prompt.line(&line, |text| Ok(Secret::new(text)))
}

/// Asks for a new passphrase, twice.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn new_passphrase(prompt: &Prompt) -> Result<Secret> {
    let help = "This passphrase encrypts the secrets in the backup. They can't be recovered without it.";
    questions::twice(prompt, "Passphrase for the secrets", help, "passphrase", |text| match text {
        "" => Err("the passphrase must not be empty".to_owned()),
        text => Ok(Secret::new(text)),
    })
}

#[cfg(test)]
mod tests;
