//! The question for the project folder, and where it is seen inside.

use std::path::{Path, PathBuf};

use super::{
    complete,
    flow::Wizard,
    prompt::{Line, Reply},
};
use crate::settings::Mount;

impl Wizard<'_> {
    /// A folder of the host besides those that are mounted already, or none; `HOST:PLACE` as the flag takes it.
    pub(super) fn folder(&mut self) -> Reply<()> {
        let current = &self.current.mounts;
        let before = self.answers.folder.clone().filter(|folder| !current.contains(folder));
        let mut help = "Your project, such as ~/code/app: the agent can read and change everything in it.".to_owned();
        help.push_str(if current.is_empty() { " Leave empty for none." } else { " Leave empty to add no other." });
        let kept = current.iter().map(|m| self.around.shown(&m.host)).collect::<Vec<_>>().join(", ");
        let kept = (!kept.is_empty()).then(|| format!("keep {kept}"));
        let initial = before.as_ref().map(|mount| self.spelled(mount)).unwrap_or_default();
        let home = self.around.home.clone();
        let complete = |text: &str| complete::path(text, home.as_deref(), false);
        let line = Line {
            question: "Project folder",
            help: &help,
            default: kept.as_deref().filter(|_| initial.is_empty()),
            initial: &initial,
            complete: Some(&complete),
            ..Line::default()
        };
        let (folder, place_is_said) = self.prompt.line(&line, |text| match text {
            "" => Ok((None, false)),
            text => {
                let (mount, said) = self.read(text)?;
                match self.refusal(&mount) {
                    None => Ok((Some(mount), said)),
                    Some(reason) => Err(reason),
                }
            }
        })?;
        // The place that was chosen before stays proposed for the same folder.
        let same = before.filter(|old| !place_is_said && folder.as_ref().is_some_and(|new| new.host == old.host));
        self.answers.folder = same.or(folder);
        self.answers.place_is_said = place_is_said;
        Ok(())
    }

    /// Where the folder is seen inside.
    pub(super) fn place(&mut self) -> Reply<()> {
        let Some(folder) = self.answers.folder.clone() else { return Ok(()) };
        let help = format!(
            "The agent can read and change everything in {}, also hooks and scripts that later run with your rights. \
             Where should it be in the container?",
            self.around.shown(&folder.host)
        );
        let proposed = folder.container.as_str();
        let line = Line { question: "Path inside", help: &help, default: Some(proposed), ..Line::default() };
        let mount = self.prompt.line(&line, |text| {
            let container = if text.is_empty() { proposed } else { text };
            if !container.starts_with('/') || container.contains(':') {
                return Err(format!("`{container}` isn't a valid path in the container; write it like {proposed}"));
            }
            // Read as the flag would be, so that both take the same.
            let container = format!("/host:{container}").parse::<Mount>()?.container;
            let mount = Mount { container, ..folder.clone() };
            self.refusal(&mount).map_or(Ok(mount), Err)
        })?;
        self.answers.folder = Some(mount);
        Ok(())
    }

    /// A mount as typed; whether its place inside was said.
    fn read(&self, text: &str) -> Result<(Mount, bool), String> {
        let said = text.parse::<Mount>().ok();
        let host = match &said {
            Some(mount) => expand(&mount.host.to_string_lossy(), self.around.home.as_deref())?,
            None => expand(text, self.around.home.as_deref())?,
        };
        if !host.is_dir() && !host.is_file() {
            return Err(what_is_wrong(&host, "folder"));
        }
        let Some(name) = host.file_name() else {
            return Err("this is the whole disk; choose a folder in it".to_owned());
        };
        Ok(match said {
            Some(mount) => (Mount { host, ..mount }, true),
            None => {
                let container = self.free_place(&name.to_string_lossy());
                (Mount { host, container, read_only: false }, false)
            }
        })
    }

    /// A place in the projects folder that no other mount has.
    fn free_place(&self, name: &str) -> String {
        let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let name: String = name.chars().map(plain).collect();
        let taken = |place: &String| self.current.mounts.iter().any(|mount| mount.container == *place);
        let numbered = (2..100).map(|number| format!("/workspace/{name}-{number}"));
        let first = format!("/workspace/{name}");
        std::iter::once(first.clone()).chain(numbered).find(|place| !taken(place)).unwrap_or(first)
    }

    /// Why it cannot be mounted beside the others; the same rules as `docklet mount add` has.
    fn refusal(&self, mount: &Mount) -> Option<String> {
        let mut mounts = self.current.mounts.clone();
        mounts.push(mount.clone());
        (self.around.refuses)(&mounts)
    }

    /// A mount as the user would type it.
    fn spelled(&self, mount: &Mount) -> String {
        let host = self.around.shown(&mount.host);
        match (self.answers.place_is_said, mount.read_only) {
            (false, false) => host,
            (_, false) => format!("{host}:{}", mount.container),
            (_, true) => format!("{host}:{}:ro", mount.container),
        }
    }
}

/// A path as typed: absolute, or below the home folder.
pub(super) fn expand(text: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    let path = match (text.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(text),
    };
    if !path.is_absolute() {
        let example = home.map_or_else(|| "/home/me/code".to_owned(), |home| home.join("code").display().to_string());
        return Err(format!("enter an absolute path, such as {example}, or one that begins with ~/"));
    }
    Ok(path.components().collect())
}

/// Why a path is not what it should be.
pub(super) fn what_is_wrong(path: &Path, wanted: &str) -> String {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(_) => format!("{shown} isn't a {wanted}"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => format!("{shown} does not exist"),
        Err(e) => format!("cannot read {shown}: {}", crate::error::io_reason(&e)),
    }
}
