//! Folders and files of the host inside the container.
//!
//! - `rules`: what can be mounted where, what is refused, and what is asked about first
//! - `identity`: what a source was when it was accepted, compared before each start
//! - `advice`: whether the agent can use it, and what changes that
//!
//! Looks at the host; changes nothing there, and gives no folder to anybody.

mod advice;
mod identity;
mod rules;

use std::path::{Component, Path};

pub use self::{
    advice::{Advice, Users, advice},
    rules::{Surroundings, check, question, refusal},
};
use crate::{
    error::{Error, Result},
    settings::Mount,
};
use identity::AcceptedMounts;

/// A mount with an absolute host path without `..`; `~` is `home`.
///
/// # Errors
/// When there is no current folder, or nothing at a path with `..`, which only the system knows to follow.
pub fn absolute(mount: &Mount, home: &Path) -> Result<Mount> {
    let host = match mount.host.strip_prefix("~") {
        Ok(below) => home.join(below),
        Err(_) => std::path::absolute(&mount.host).map_err(|e| Error::file("find", &mount.host, &e))?,
    };
    let host = match host.components().any(|part| part == Component::ParentDir) {
        true => fs_err::canonicalize(&host).map_err(|e| Error::file("find", &host, &e))?,
        false => host,
    };
    Ok(Mount { host, ..mount.clone() })
}

/// Before anything is stopped or started: each source must be there, and be what was accepted. `known` is the
/// instance's file of accepted mounts ([`crate::paths::InstancePaths::mounts`]); what is not in it passes when it is
/// there.
///
/// # Errors
/// [`Error::Missing`] and [`Error::MountChanged`], for the first that is not.
pub fn verify(mounts: &[Mount], known: &Path) -> Result<()> {
    let known = AcceptedMounts::load(known)?;
    mounts.iter().try_for_each(|mount| known.verify(mount))
}

/// The same for a container that exists already, by the places inside that it has.
///
/// # Errors
/// As [`verify`].
pub fn verify_places<'a>(places: impl Iterator<Item = &'a str>, known: &Path) -> Result<()> {
    AcceptedMounts::load(known)?.verify_places(places)
}

/// The mounts that were not accepted yet.
///
/// # Errors
/// When the file of accepted mounts cannot be read.
pub fn new<'a>(mounts: &'a [Mount], known: &Path) -> Result<Vec<&'a Mount>> {
    let known = AcceptedMounts::load(known)?;
    Ok(mounts.iter().filter(|mount| !known.has(mount)).collect())
}

/// Accepts all mounts as they are now; call [`verify`] before.
///
/// # Errors
/// When one is not there, or the file cannot be written.
pub fn remember(mounts: &[Mount], known: &Path) -> Result<()> {
    identity::remember(mounts, known)
}

/// Accepts one mount as it is now, whatever it was before.
///
/// # Errors
/// As [`remember`].
pub fn accept(mount: &Mount, known: &Path) -> Result<()> {
    identity::accept(mount, known)
}

/// What a mount means, in a sentence; `None` where the agent can only read.
pub fn meaning(mount: &Mount) -> Option<String> {
    (!mount.read_only).then(|| {
        format!(
            "the agent can change everything in {}, also hooks and scripts that later run with your rights",
            mount.host.display()
        )
    })
}

/// A path as a word of a shell's command.
fn quoted(path: &Path) -> String {
    shell_words::quote(&path.to_string_lossy()).into_owned()
}
