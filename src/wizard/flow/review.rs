//! The review: every choice with its value, before anything is planned; each that was asked can be changed.

use std::path::Path;

use super::{Escape, KeyKind, Leave, PasswordChoice, Wizard, WizardStep};
use crate::{
    error::{Error, Result},
    present::style::columns,
    settings::{Egress, Git, ImageSource, RestartPolicy, Settings},
    wizard::prompt::fold,
};

impl Wizard<'_> {
    /// Shows the choices, in place of the answers that are on the screen, and asks whether they are right. False:
    /// something may have changed.
    pub(super) fn review(&mut self) -> Result<bool> {
        self.prompt.forget(std::mem::take(&mut self.shown))?;
        let shown = self.show_choices()?;
        // The plan comes next, and has the question whether it is to be done.
        let question = "Is this right?";
        let items = [("yes", "show the plan"), ("change an answer", ""), ("quit", "without changes")];
        let items = items.map(|(name, explanation)| (name.to_owned(), explanation.to_owned()));
        self.prompt.drop_what_is_typed();
        self.prompt.on_escape(Escape::Back);
        match self.prompt.select(question, "", &items, 0) {
            Ok(0) => Ok(true),
            Ok(1) => {
                self.prompt.forget(shown + 1)?;
                self.change()?;
                Ok(false)
            }
            Ok(_) => Err(Error::Cancelled),
            Err(Leave::Back) => {
                self.prompt.forget(shown)?;
                if let Some(before) = self.step_back()? {
                    self.walk(before, true)?;
                }
                Ok(false)
            }
            Err(Leave::Failed(error)) => Err(error),
        }
    }

    /// Lets the user choose a question, and asks it again.
    fn change(&mut self) -> Result<()> {
        let all = self.rows();
        let can_change = all.into_iter().filter(|(step, ..)| self.applies(*step));
        let rows: Vec<(WizardStep, &str, String)> = can_change.collect();
        let items: Vec<_> = rows.iter().map(|(_, name, value)| ((*name).to_owned(), value.clone())).collect();
        self.prompt.on_escape(Escape::Back);
        let chosen = match self.prompt.select("Which answer?", "", &items, 0) {
            Ok(chosen) => chosen,
            Err(Leave::Back) => return Ok(()),
            Err(Leave::Failed(error)) => return Err(error),
        };
        self.prompt.forget(1)?;
        let step = rows.get(chosen).map(|row| row.0);
        let Some(at) = self.order.iter().position(|other| Some(*other) == step) else { return Ok(()) };
        let (before, answered) = (self.answers.clone(), self.trail.len());
        if !self.walk(at, false)? {
            self.answers = before;
            (self.around.keep)(&self.answers);
        }
        // Back from the choices leads to the last question of all, not to this one.
        self.trail.truncate(answered);
        Ok(())
    }

    /// Writes the choices; how many lines that are.
    fn show_choices(&self) -> Result<usize> {
        let rows = self.rows();
        let names = rows.iter().map(|(_, name, _)| columns(name)).max().unwrap_or_default();
        let indent = names + 4;
        if self.prompt.is_plain() {
            self.prompt.say("")?;
        }
        let mut count = 0;
        for (_, name, value) in rows {
            let label = format!("{name}:");
            if self.prompt.is_plain() {
                let lines = fold(&format!("{label} {value}"), 2, self.prompt.width());
                lines.iter().try_for_each(|line| self.prompt.say(line))?;
                continue;
            }
            let values = fold(&value, 0, self.prompt.width().saturating_sub(indent));
            for (index, line) in values.iter().enumerate() {
                let label = if index == 0 { label.as_str() } else { "" };
                let gap = " ".repeat(indent.saturating_sub(columns(label) + 2));
                self.prompt.say(&format!("  {}{gap}{line}", self.prompt.style().dim(label)))?;
                count += 1;
            }
        }
        // Where all of it fits on the screen, with a gap.
        if self.prompt.is_plain() || usize::from(self.prompt.term.size().0) < count + 6 {
            return Ok(count);
        }
        self.prompt.say("")?;
        Ok(count + 1)
    }

    /// Each choice: its question, a name, and the value.
    fn rows(&self) -> Vec<(WizardStep, &'static str, String)> {
        let settings = self.settings();
        let mut rows = vec![];
        if let [_, _, ..] = self.around.engines {
            let engine = self.around.engines.get(self.answers.engine.unwrap_or_default());
            let engine = engine.map(|e| format!("{} {} ({})", e.about.name, e.about.version, e.about.endpoint));
            rows.push((WizardStep::Engine, "Container engine", engine.unwrap_or_default()));
        }
        rows.push((WizardStep::Port, "Port", settings.network.port.to_string()));
        rows.push((WizardStep::Image, "Image", self.image_value(&settings)));
        if settings.image.source == ImageSource::Build {
            let languages = if self.around.packages.is_empty() { WizardStep::Packages } else { WizardStep::Languages };
            rows.push((languages, "Packages", list(settings.image.extra_packages.iter().map(ToString::to_string))));
        }
        rows.push((WizardStep::Memory, "Memory", settings.resources.memory.0.to_string()));
        let mounts = settings.mounts.iter().map(|mount| {
            let read_only = if mount.read_only { ", read-only" } else { "" };
            format!("{} at {}{read_only}", self.around.shown(&mount.host), mount.container)
        });
        rows.push((WizardStep::Folder, "Project folder", list(mounts)));
        rows.push((WizardStep::Git, "Commits as", author(&settings.git).unwrap_or_else(|| "no identity".to_owned())));
        if settings.git.ssh_agent {
            rows.push((WizardStep::Git, "SSH agent", "its keys can be used".to_owned()));
        }
        let reaches = std::iter::once(egress(settings.network.egress).to_owned());
        rows.push((
            WizardStep::Egress,
            "Network",
            list(reaches.chain(settings.network.allow.iter().map(ToString::to_string))),
        ));
        if !settings.trust.ca_file.is_empty() {
            // As what else is allowed and the ssh agent, a flag or the environment has said it.
            rows.push((WizardStep::Egress, "Certificates", self.around.shown(Path::new(&settings.trust.ca_file))));
        }
        rows.push((WizardStep::Restart, "Restart", restart(settings.restart.policy).to_owned()));
        if self.around.can_autostart || settings.restart.autostart {
            rows.push((WizardStep::Autostart, "Start at login", yes_no(settings.restart.autostart)));
        }
        let password = match &self.answers.password {
            Some(PasswordChoice::Own(_)) => "your own",
            Some(PasswordChoice::Generated) if self.around.has_password => "a new generated one",
            None if self.around.has_password => "the current one",
            Some(PasswordChoice::Keep) => "the current one",
            _ => "a generated one",
        };
        rows.push((WizardStep::Password, "Password", password.to_owned()));
        for (kind, name) in [(KeyKind::Model, "Model keys"), (KeyKind::Push, "Push tokens")] {
            if self.around.keys.iter().any(|key| key.0 == kind) {
                rows.push((WizardStep::Keys(kind), name, self.keys_value(kind, true)));
            }
        }
        if self.around.can_open {
            rows.push((WizardStep::Open, "Open the page", yes_no(self.answers.open.unwrap_or(true))));
        }
        rows
    }

    fn image_value(&self, settings: &Settings) -> String {
        match settings.image.source {
            ImageSource::Build => "built here".to_owned(),
            ImageSource::Pull => format!("pulled: {}", settings.image.reference),
            ImageSource::Load => match &self.answers.image_file {
                Some(file) if !file.as_os_str().is_empty() => format!("loaded from {}", self.around.shown(file)),
                _ => format!("loaded before: {}", settings.image.reference),
            },
        }
    }
}

/// `Name <mail>`, or the one of the two that there is.
pub(in crate::wizard) fn author(git: &Git) -> Option<String> {
    let (name, email) = (git.name.to_string(), git.email.to_string());
    match (name.is_empty(), email.is_empty()) {
        (true, true) => None,
        (false, true) => Some(name),
        (true, false) => Some(format!("<{email}>")),
        (false, false) => Some(format!("{name} <{email}>")),
    }
}

fn list(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    if values.is_empty() { "none".to_owned() } else { values.join(", ") }
}

fn yes_no(yes: bool) -> String {
    if yes { "yes".to_owned() } else { "no".to_owned() }
}

fn egress(egress: Egress) -> &'static str {
    match egress {
        Egress::Internet => "the Internet",
        Egress::Listed => "listed hosts only",
        Egress::All => "everything",
    }
}

fn restart(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on failure",
        RestartPolicy::Never => "never",
    }
}
