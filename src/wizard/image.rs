//! The questions about the image: where it comes from, and what is built into it.

use std::path::{Path, PathBuf};

use super::{
    complete,
    flow::Wizard,
    folder::{expand, what_is_wrong},
    prompt::{Line, Reply},
};
use crate::{
    appliance::PackageChoice,
    settings::{ImageSource, PackageName},
};

impl Wizard<'_> {
    /// Where the image comes from.
    pub(super) fn image(&mut self) -> Reply<()> {
        let sources = [
            (ImageSource::Build, "build it here", "recommended; takes a few minutes"),
            (ImageSource::Pull, "pull it", "from a registry"),
            (ImageSource::Load, "load it", "from a file made with docker save"),
        ];
        let help = "The image contains opencode and its tools. Where should it come from?";
        self.answers.source = Some(self.prompt.choose("Image", help, &sources, &self.source())?);
        Ok(())
    }

    /// Which image to pull.
    pub(super) fn reference(&mut self) -> Reply<()> {
        let known = self.answers.reference.as_deref().unwrap_or(&self.current.image.reference);
        let known = Some(known).filter(|reference| !reference.is_empty());
        let help = "Name of the image, such as registry.example.org/opencode-cloud:1.18.33.";
        let line = Line { question: "Image to pull", help, default: known, ..Line::default() };
        let reference = self.prompt.line(&line, |text| match (text, known) {
            ("", Some(known)) => Ok(known.to_owned()),
            ("", None) => Err("enter an image name, such as registry.example.org/name:tag".to_owned()),
            (text, _) => check_reference(text),
        })?;
        self.answers.reference = Some(reference);
        Ok(())
    }

    /// Which file to load. An empty path keeps the image that was loaded before.
    pub(super) fn image_file(&mut self) -> Reply<()> {
        let before = &self.current.image;
        let loaded = Some(before.reference.as_str())
            .filter(|reference| before.source == ImageSource::Load && !reference.is_empty());
        let help = match loaded {
            Some(_) => "Path of the file. Leave empty to keep the image that was loaded before.",
            None => "Path of the file, such as ~/opencode-cloud.tar.",
        };
        let home = self.around.home.as_deref();
        let initial = self.answers.image_file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        let complete = |text: &str| complete::path(text, home, true);
        let line = Line {
            question: "File to load",
            help,
            default: loaded.filter(|_| initial.is_empty()),
            initial: &initial,
            complete: Some(&complete),
            ..Line::default()
        };
        let file = self.prompt.line(&line, |text| match text {
            "" if loaded.is_some() => Ok(PathBuf::new()),
            "" => Err("enter the path of a file".to_owned()),
            text => existing_file(text, home),
        })?;
        self.answers.image_file = Some(file);
        Ok(())
    }

    /// Ready-made choices of packages.
    pub(super) fn languages(&mut self) -> Reply<()> {
        let choices = self.around.packages;
        let before = self.extra_packages();
        let items: Vec<_> = choices.iter().map(|c| (c.title.clone(), c.names.join(" "))).collect();
        let marks: Vec<bool> = choices.iter().map(|choice| has_all(&before, choice)).collect();
        let chosen = self.prompt.many("Languages", "Languages to install.", &items, &marks, "none")?;
        let mut packages: Vec<PackageName> = chosen
            .iter()
            .filter_map(|index| choices.get(*index))
            .flat_map(|choice| choice.names.iter().map(|name| PackageName(name.clone())))
            .collect();
        packages.extend(self.others(&before));
        self.answers.extra_packages = Some(packages);
        Ok(())
    }

    /// Any other packages.
    pub(super) fn packages(&mut self) -> Reply<()> {
        let before = self.extra_packages();
        let others = self.others(&before);
        let initial = others.iter().map(|p| p.0.as_str()).collect::<Vec<_>>().join(" ");
        let help =
            "More Debian packages to install, separated by spaces, such as: ffmpeg sqlite3. Leave empty for none.";
        let line = Line { question: "Other packages", help, initial: &initial, ..Line::default() };
        let more = self.prompt.line(&line, |text| {
            let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
            words.map(str::parse).collect::<Result<Vec<PackageName>, String>>()
        })?;
        let mut packages: Vec<PackageName> = before.into_iter().filter(|p| !others.contains(p)).collect();
        for package in more {
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
        self.answers.extra_packages = Some(packages);
        Ok(())
    }

    fn extra_packages(&self) -> Vec<PackageName> {
        self.answers.extra_packages.clone().unwrap_or_else(|| self.current.image.extra_packages.clone())
    }

    /// Those that belong to no ready-made choice that is there as a whole.
    fn others(&self, packages: &[PackageName]) -> Vec<PackageName> {
        let whole: Vec<&PackageChoice> = self.around.packages.iter().filter(|c| has_all(packages, c)).collect();
        let others = packages.iter().filter(|p| !whole.iter().any(|choice| choice.names.contains(&p.0)));
        others.cloned().collect()
    }
}

fn has_all(packages: &[PackageName], choice: &PackageChoice) -> bool {
    choice.names.iter().all(|name| packages.iter().any(|p| p.0 == *name))
}

/// A rough check of an image's name; the registry does the rest.
fn check_reference(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "./:_-@".contains(c);
    if text.chars().all(allowed) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` isn't a valid image name; write it like registry.example.org/name:tag"))
    }
}

fn existing_file(text: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    let path = expand(text, home)?;
    if path.is_file() { Ok(path) } else { Err(what_is_wrong(&path, "file")) }
}
