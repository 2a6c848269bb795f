//! The embedded build context and its hash: what an image is built from, and which release of the program is in it.

use std::{borrow::Cow, collections::BTreeMap, io::Write as _};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Appliance, Ids, hex};
use crate::{
    error::{Error, Result},
    units::Version,
};

/// The files of `docker/`, embedded at compile time: name, mode in the build context, content.
const CONTEXT: &[(&str, u32, &[u8])] = &[
    ("Dockerfile", 0o644, include_bytes!("../../docker/Dockerfile")),
    ("entrypoint", 0o755, include_bytes!("../../docker/entrypoint")),
    ("git-credential-docklet", 0o755, include_bytes!("../../docker/git-credential-docklet")),
    ("healthcheck", 0o755, include_bytes!("../../docker/healthcheck")),
    ("network-rules", 0o755, include_bytes!("../../docker/network-rules")),
    (LOCK_FILE, 0o644, LOCK),
    ("unpack-backup", 0o755, include_bytes!("../../docker/unpack-backup")),
];

/// The seccomp profile that the container runs under, in the engine's own format.
pub const SECCOMP_PROFILE: &str = include_str!("../../docker/seccomp.json");

const LOCK_FILE: &str = "package-lock.json";
const LOCK: &[u8] = include_bytes!("../../docker/package-lock.json");

/// Name of the host's CA bundle in the build context; empty when there is none.
const CA_BUNDLE: &str = "ca-bundle.crt";

/// A release of the program: its version, and what its binaries must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Version of the program.
    pub version: String,
    /// Package name → its digest in the form of `package-lock.json`'s `integrity`.
    pub integrity: BTreeMap<String, String>,
}

/// What goes into a build besides the embedded files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInputs {
    /// Base image reference.
    pub base: String,
    /// Extra packages, sorted and without doubles.
    pub extra_packages: Vec<String>,
    /// User and group that everything in the container runs as.
    pub ids: Ids,
}

impl Appliance {
    /// Takes another release of the program in place of the embedded one.
    pub fn adopt(&mut self, release: Release) {
        self.version.clone_from(&release.version);
        // The embedded one needs no pin of its own: its image has the same name however it came about.
        let embedded = pinned();
        let same = release.version == embedded.version
            && release.integrity.iter().all(|(package, digest)| embedded.integrity.get(package) == Some(digest));
        self.release = Some(release).filter(|_| !same);
    }

    /// Whether a release from elsewhere is one of this program: a version, and digests of packages that are known.
    pub fn knows(&self, release: &Release) -> bool {
        let known = |(package, digest): (&String, &String)| {
            self.releases.packages.values().any(|p| p == package) && digest.starts_with("sha512-")
        };
        Version::is_exact(&release.version) && !release.integrity.is_empty() && release.integrity.iter().all(known)
    }

    /// The release that is built: the one that was taken, or the embedded one.
    pub fn built_release(&self) -> Release {
        self.release.clone().unwrap_or_else(pinned)
    }

    /// The files of the build context, with the pin of the release that was taken.
    fn files(&self) -> Vec<(&'static str, u32, Cow<'static, [u8]>)> {
        let content = |name: &str, content: &'static [u8]| match &self.release {
            Some(release) if name == LOCK_FILE => Cow::Owned(lock(release)),
            _ => Cow::Borrowed(content),
        };
        CONTEXT.iter().map(|&(name, mode, bytes)| (name, mode, content(name, bytes))).collect()
    }

    /// The reference of an image built from these inputs: the version, and the first 12 hex digits
    /// of a hash over everything that goes into it. The host's CA bundle is left out: it is used
    /// while building and is not part of the result.
    pub fn built_reference(&self, inputs: &BuildInputs) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for (name, mode, content) in self.files() {
            part(name.as_bytes());
            part(&mode.to_le_bytes());
            part(&content);
        }
        part(inputs.base.as_bytes());
        inputs.extra_packages.iter().for_each(|package| part(package.as_bytes()));
        part(inputs.ids.to_string().as_bytes());
        format!("{}:{}-{}", self.name, self.version, &hex(&hash.finalize())[..12])
    }

    /// The build context as an uncompressed tar archive.
    ///
    /// # Errors
    /// Only when memory cannot be written to, which is a bug.
    pub fn build_context(&self, ca_bundle: &[u8]) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        let files = self.files();
        let files = files.iter().map(|(name, mode, content)| (*name, *mode, content.as_ref()));
        for (name, mode, content) in files.chain([(CA_BUNDLE, 0o644, ca_bundle)]) {
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            // A fixed time keeps the builder's cache: the same content is the same file.
            header.set_mtime(0);
            header.set_cksum();
            archive
                .append_data(&mut header, name, content)
                .map_err(|e| Error::bug(format!("cannot pack the build context: {e}")))?;
        }
        let mut bytes = archive.into_inner().map_err(|e| Error::bug(format!("cannot pack the build context: {e}")))?;
        bytes.flush().map_err(|e| Error::bug(e.to_string()))?;
        Ok(bytes)
    }
}

/// The release in `package-lock.json`.
fn pinned() -> Release {
    let lock: serde_json::Value = serde_json::from_slice(LOCK).unwrap_or_default();
    let packages = lock["packages"].as_object().into_iter().flatten();
    let pin = |(path, package): (&String, &serde_json::Value)| {
        Some((path.strip_prefix("node_modules/")?.to_owned(), package["integrity"].as_str()?.to_owned()))
    };
    let version = packages.clone().find_map(|(_, package)| package["version"].as_str()).unwrap_or_default();
    Release { version: version.to_owned(), integrity: packages.filter_map(pin).collect() }
}

/// A `package-lock.json` for another release. A release need not have every architecture's package.
fn lock(release: &Release) -> Vec<u8> {
    let pin = |(package, integrity): (&String, &String)| {
        (format!("node_modules/{package}"), json!({ "version": release.version, "integrity": integrity }))
    };
    let packages: serde_json::Map<_, _> = release.integrity.iter().map(pin).collect();
    json!({ "packages": packages }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn another_release_is_pinned() {
        let mut appliance = Appliance::embedded().unwrap();
        let own = appliance.built_release();
        assert_eq!(own.integrity.keys().collect::<Vec<_>>(), ["opencode-linux-arm64", "opencode-linux-x64"]);
        let inputs = BuildInputs {
            base: "debian:trixie-slim".into(),
            extra_packages: vec![],
            ids: Ids { uid: 1000, gid: 1000 },
        };
        let before = appliance.built_reference(&inputs);
        let integrity = own.integrity.keys().map(|k| (k.clone(), format!("sha512-{k}"))).collect();
        appliance.adopt(Release { version: "9.8.7".into(), integrity });
        let after = appliance.built_reference(&inputs);
        assert!(after.starts_with("opencode-cloud:9.8.7-"), "{after}");
        assert_ne!(before.rsplit('-').next(), after.rsplit('-').next());
        let files = appliance.files();
        let (.., content) = files.iter().find(|(name, ..)| *name == LOCK_FILE).unwrap();
        let pinned: serde_json::Value = serde_json::from_slice(content).unwrap();
        let package = &pinned["packages"]["node_modules/opencode-linux-x64"];
        assert_eq!(
            (&package["version"], &package["integrity"]),
            (&json!("9.8.7"), &json!("sha512-opencode-linux-x64"))
        );
    }

    /// With two, a build on Podman 4.3 never ends.
    #[test]
    fn no_step_locks_two_caches() {
        let dockerfile = include_str!("../../docker/Dockerfile").replace("\\\n", " ");
        let steps: Vec<&str> = dockerfile.lines().filter(|line| line.starts_with("RUN")).collect();
        assert!(steps.len() > 3);
        for step in steps {
            assert!(step.matches("sharing=locked").count() <= 1, "{step}");
        }
    }

    #[test]
    fn the_links_in_the_home_are_those_of_the_image() {
        let dockerfile = include_str!("../../docker/Dockerfile").replace("\\\n", " ");
        let (_, names) = dockerfile.split_once("for name in ").unwrap();
        let (names, made) = names.split_once("; do").unwrap();
        assert!(made.trim_start().starts_with("ln -s"), "{made:.40}");
        let links = Appliance::embedded().unwrap().container.home_links;
        assert_eq!(names.split_whitespace().collect::<Vec<_>>(), links);
    }

    #[test]
    fn the_reference_changes_with_every_input() {
        let appliance = Appliance::embedded().unwrap();
        let plain = BuildInputs {
            base: "debian:trixie-slim".into(),
            extra_packages: vec![],
            ids: Ids { uid: 1000, gid: 1000 },
        };
        let other_base = BuildInputs { base: "debian:sid-slim".into(), ..plain.clone() };
        let other_user = BuildInputs { ids: Ids { uid: 1001, gid: 100 }, ..plain.clone() };
        let joined = BuildInputs { extra_packages: vec!["ab".into()], ..plain.clone() };
        let apart = BuildInputs { extra_packages: vec!["a".into(), "b".into()], ..plain.clone() };
        let all: std::collections::BTreeSet<_> =
            [&plain, &other_base, &other_user, &joined, &apart].map(|i| appliance.built_reference(i)).into();
        assert_eq!(all.len(), 5);
        assert_eq!(appliance.built_reference(&plain), appliance.built_reference(&plain.clone()));
    }
}
