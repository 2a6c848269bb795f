//! Hands commit and date to `docklet --version`, in builds from a git checkout. Without git, as from a packed crate,
//! there is only the version.

use std::{path::Path, process::Command};

/// Letters of the commit. A fixed number: git's own abbreviation differs from clone to clone.
const LETTERS: usize = 7;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit = commit().map(|text| format!(" ({text})")).unwrap_or_default();
    println!("cargo::rustc-env=DOCKLET_COMMIT={commit}");
}

/// Such as `3fd3d21 2026-11-26`.
fn commit() -> Option<String> {
    // A crate unpacked below a repository that is not docklet's must not take that one's commit.
    if !Path::new(".git").exists() {
        return None;
    }
    // Both change when another commit is checked out. Cargo takes a path that is missing for one that always changed.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["log", "-1", "--format=%H"])?;
    let date = git(&["log", "-1", "--format=%cs"])?;
    Some(format!("{} {date}", commit.get(..LETTERS)?))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
    Some(text.trim().to_owned())
}
