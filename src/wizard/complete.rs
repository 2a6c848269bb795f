//! What Tab makes of a path that is being typed: the part that all candidates share, as a shell does.

use std::path::Path;

/// A longer text, and how it could go on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Completed {
    /// The text, completed as far as it is certain.
    pub text: String,
    /// Names that it could become.
    pub candidates: Vec<String>,
}

/// Completes a path; `~` is `home`. Folders end with a slash; files only where `files` is set.
pub(super) fn path(text: &str, home: Option<&Path>, files: bool) -> Completed {
    if text == "~" {
        return Completed { text: "~/".to_owned(), candidates: vec![] };
    }
    let (folder, begun) = text.rsplit_once('/').map_or(("", text), |(folder, begun)| (&text[..=folder.len()], begun));
    let real = match (folder.strip_prefix("~/"), home) {
        (Some(below), Some(home)) => home.join(below),
        _ => Path::new(folder).to_owned(),
    };
    // What is typed must be absolute; the current folder is no part of it.
    let entries = real.is_absolute().then(|| std::fs::read_dir(&real).ok()).flatten();
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let hidden = name.starts_with('.') && !begun.starts_with('.');
            let is_folder = entry.path().is_dir();
            let fits = name.starts_with(begun) && !hidden && (is_folder || files);
            fits.then(|| if is_folder { format!("{name}/") } else { name })
        })
        .collect();
    names.sort();
    let shared = names.iter().skip(1).fold(names.first().cloned(), |shared, name| shared.map(|s| common(&s, name)));
    Completed { text: format!("{folder}{}", shared.unwrap_or_else(|| begun.to_owned())), candidates: names }
}

/// What two texts begin with.
fn common(a: &str, b: &str) -> String {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_completed_as_far_as_they_are_certain() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        for name in ["code/app", "code/apple", ".ssh", "my app"] {
            std::fs::create_dir_all(home.join(name)).unwrap();
        }
        std::fs::write(home.join("code/notes.txt"), "").unwrap();
        let tab = |text: &str, files| path(text, Some(home), files);
        let certain = |text: &str| Completed { text: text.to_owned(), candidates: vec![] };
        assert_eq!(tab("~", false), certain("~/"));
        assert_eq!(tab("~/c", false).text, "~/code/");
        assert_eq!(tab("~/m", false).text, "~/my app/");
        assert_eq!(tab(&format!("{}/c", home.display()), false).text, format!("{}/code/", home.display()));
        let several = tab("~/code/a", false);
        assert_eq!((several.text.as_str(), several.candidates), ("~/code/app", vec!["app/".into(), "apple/".into()]));
        assert_eq!(tab("~/", false).candidates, ["code/", "my app/"], "hidden ones are not offered");
        assert_eq!(tab("~/.s", false).text, "~/.ssh/");
        assert_eq!(tab("~/code/n", false), certain("~/code/n"));
        assert_eq!(tab("~/code/n", true).text, "~/code/notes.txt");
        for nothing in ["", "co", "~/nowhere/x", "/nowhere/x"] {
            assert_eq!(tab(nothing, true), certain(nothing));
        }
    }
}
