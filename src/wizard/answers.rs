//! What the wizard's questions can be answered with, by flags and by the user. All but secrets is kept in a small file
//! until a setup succeeds, so that a wizard that was left or killed goes on where it was.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    secrets::Secret,
    settings::{Egress, Git, ImageSource, Memory, Mount, PackageName, Port, RestartPolicy, Settings},
    state_file,
};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A provider of models.
    Model,
    /// A git host to push to.
    Push,
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

/// Answers; `None`: not answered yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answers {
    /// Index in [`super::Surroundings::engines`].
    #[serde(skip)]
    pub engine: Option<usize>,
    /// `--port`
    pub port: Option<Port>,
    /// `--build`, `--image`, `--image-file`
    pub source: Option<ImageSource>,
    /// `--image`
    pub reference: Option<String>,
    /// `--image-file`; an empty path keeps what was loaded before
    pub image_file: Option<PathBuf>,
    /// `--extra-package`
    pub extra_packages: Option<Vec<PackageName>>,
    /// `--memory`
    pub memory: Option<Memory>,
    /// `--mount`: all of them
    #[serde(skip)]
    pub mounts: Option<Vec<Mount>>,
    /// A folder to mount besides those of the settings
    pub folder: Option<Mount>,
    /// Whether its place inside was said with it
    #[serde(skip)]
    pub place_is_said: bool,
    /// `--git-name`, `--git-email`
    pub git: Option<Git>,
    /// `--egress`
    pub egress: Option<Egress>,
    /// `--restart`
    pub restart: Option<RestartPolicy>,
    /// `--autostart`, `--no-autostart`
    pub autostart: Option<bool>,
    /// `--password-file`
    #[serde(skip)]
    pub password: Option<PasswordChoice>,
    /// Which providers' keys to add, by the secret's name
    pub providers: Option<Vec<String>>,
    /// Which tokens to add, by the secret's name
    pub tokens: Option<Vec<String>>,
    /// `--secret-file`, which skips the questions for keys and tokens
    #[serde(skip)]
    pub keys: Option<BTreeMap<String, Secret>>,
    /// `--open`
    pub open: Option<bool>,
}

impl Answers {
    /// The answers that were kept; none where the file is missing or not readable, or where the settings were changed
    /// since: what was said last counts.
    pub fn kept(file: &Path, settings: &Path) -> Option<Self> {
        let written = |path: &Path| std::fs::metadata(path).and_then(|found| found.modified()).ok();
        if written(settings) > written(file) {
            return None;
        }
        state_file::load(file)
    }

    /// Keeps them, without any secret.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, file: &Path) -> Result<()> {
        state_file::save(file, self)
    }

    /// These, and where they say nothing, others.
    pub(super) fn or(self, other: Answers) -> Answers {
        Answers {
            engine: self.engine.or(other.engine),
            port: self.port.or(other.port),
            source: self.source.or(other.source),
            reference: self.reference.or(other.reference),
            image_file: self.image_file.or(other.image_file),
            extra_packages: self.extra_packages.or(other.extra_packages),
            memory: self.memory.or(other.memory),
            folder: self.folder.or(other.folder).filter(|_| self.mounts.is_none()),
            mounts: self.mounts.or(other.mounts),
            place_is_said: self.place_is_said || other.place_is_said,
            git: self.git.or(other.git),
            egress: self.egress.or(other.egress),
            restart: self.restart.or(other.restart),
            autostart: self.autostart.or(other.autostart),
            password: self.password.or(other.password),
            providers: self.providers.or(other.providers),
            tokens: self.tokens.or(other.tokens),
            keys: self.keys.or(other.keys),
            open: self.open.or(other.open),
        }
    }

    /// The settings with these answers in them.
    pub(super) fn settings(&self, current: &Settings) -> Settings {
        let mut settings = current.clone();
        set(&mut settings.network.port, &self.port);
        set(&mut settings.network.egress, &self.egress);
        set(&mut settings.image.source, &self.source);
        if settings.image.source == ImageSource::Pull {
            set(&mut settings.image.reference, &self.reference);
        }
        set(&mut settings.image.extra_packages, &self.extra_packages);
        set(&mut settings.resources.memory, &self.memory);
        set(&mut settings.mounts, &self.mounts);
        settings.mounts.extend(self.folder.iter().filter(|new| !current.mounts.contains(new)).cloned());
        if let Some(git) = &self.git {
            let ssh_agent = settings.git.ssh_agent;
            settings.git = Git { ssh_agent, ..git.clone() };
        }
        set(&mut settings.restart.policy, &self.restart);
        set(&mut settings.restart.autostart, &self.autostart);
        settings
    }
}

fn set<T: Clone>(setting: &mut T, answer: &Option<T>) {
    if let Some(value) = answer {
        setting.clone_from(value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn settings_that_were_changed_since_count() {
        let folder = tempfile::tempdir().unwrap();
        let (file, settings) = (folder.path().join("answers.json"), folder.path().join("settings.toml"));
        let answers = Answers { port: Some(Port(3333)), ..Answers::default() };
        answers.keep(&file).unwrap();
        assert_eq!(Answers::kept(&file, &settings), Some(answers.clone()), "before the first setup");
        std::fs::write(&settings, "version = 1").unwrap();
        let set = |age: u64| {
            let settings = std::fs::File::options().append(true).open(&settings).unwrap();
            settings.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        set(60);
        assert_eq!(Answers::kept(&file, &settings), Some(answers));
        std::fs::File::options()
            .append(true)
            .open(&file)
            .unwrap()
            .set_modified(SystemTime::now() - Duration::from_secs(90))
            .unwrap();
        assert_eq!(Answers::kept(&file, &settings), None);
    }
}
