//! `docker/appliance.toml`, parsed once into valid types, and the embedded build context with its
//! hash. All that docklet knows about opencode comes from here.

use std::{borrow::Cow, collections::BTreeMap, io::Write as _, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, Result},
    units::{Bytes, Version},
};

/// The files of `docker/`, embedded at compile time: name, mode in the build context, content.
const CONTEXT: &[(&str, u32, &[u8])] = &[
    ("Dockerfile", 0o644, include_bytes!("../docker/Dockerfile")),
    ("entrypoint", 0o755, include_bytes!("../docker/entrypoint")),
    ("healthcheck", 0o755, include_bytes!("../docker/healthcheck")),
    ("network-rules", 0o755, include_bytes!("../docker/network-rules")),
    ("package.json", 0o644, include_bytes!("../docker/package.json")),
    ("package-lock.json", 0o644, include_bytes!("../docker/package-lock.json")),
];

/// The seccomp profile that the container runs under, in the engine's own format.
pub const SECCOMP_PROFILE: &str = include_str!("../docker/seccomp.json");

const LOCK: &[u8] = include_bytes!("../docker/package-lock.json");

/// Name of the host's CA bundle in the build context; empty when there is none.
const CA_BUNDLE: &str = "ca-bundle.crt";

/// What is installed: `appliance.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appliance {
    /// Version of this file's format.
    pub schema: u32,
    /// Container name, volume prefix and image repository.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Version of the program inside.
    pub version: String,
    /// The container.
    pub container: ContainerDefaults,
    /// The named volumes.
    pub volumes: Vec<VolumeDefinition>,
    /// What tells that the data is there.
    #[serde(default)]
    pub records: Records,
    /// How to look for other releases.
    pub releases: Releases,
    /// How to sign in.
    pub login: Login,
    /// How to tell that it works.
    pub health: Health,
    /// Environment set on the container; no secrets.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Its own client for a terminal.
    pub client: Client,
    /// How it is built.
    pub build: BuildDefaults,
    /// Ready-made choices of extra packages.
    #[serde(default)]
    pub packages: Vec<PackageChoice>,
    /// Model providers whose keys are asked for.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// The release that is built in place of the embedded one.
    #[serde(skip)]
    pub release: Option<Release>,
}

/// The program's own client, which runs inside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The flag before the folder to work in.
    pub folder_flag: String,
}

/// What tells that the data is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// Paths that answer with a list of things, each with an id.
    pub paths: Vec<String>,
}

/// How to look for other releases.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Releases {
    /// The Dockerfile's target that prints them.
    pub target: String,
    /// The first word of each line that names one; package, version and digest come behind it.
    pub mark: String,
    /// The package for each architecture, in Go's words.
    pub packages: BTreeMap<String, String>,
}

/// A release of the program: its version, and what its binaries must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Version of the program.
    pub version: String,
    /// Package name → its digest in the form of `package-lock.json`'s `integrity`.
    pub integrity: BTreeMap<String, String>,
}

/// Fixed properties of the container.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerDefaults {
    /// Port inside the container.
    pub port: u16,
    /// Working directory inside.
    pub working_dir: String,
    /// Name of the user that the program runs as.
    pub user: String,
    /// That user's id, where the image was not built for another.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
    /// That user's home folder.
    pub home: String,
    /// What runs a command in the same environment as the program's, where the image has it.
    pub enter: String,
    /// Where the secrets are mounted.
    pub secrets_dir: String,
    /// Name of the host's CA bundle among the secrets, when there is one.
    pub ca_bundle: String,
    /// What loads the network rules, in the image.
    pub network_rules: String,
    /// Most processes and threads.
    pub pids_limit: i64,
    /// Default memory limit.
    pub memory: Bytes,
    /// Its part of busy processors, where a group of processes that asks for nothing has 1024.
    pub cpu_shares: i64,
    /// How much sooner the kernel ends it than others when memory runs out, from -1000 to 1000.
    pub oom_score_adj: i64,
    /// Signal that asks it to end.
    pub stop_signal: String,
}

/// A named volume.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeDefinition {
    /// Its role, the last part of its name.
    pub role: String,
    /// Where it is mounted.
    pub mount: String,
}

/// How to sign in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Name of the secret that holds the password.
    pub password_secret: String,
    /// Path whose answer takes its time: a browser can sign in there without leaving where it is.
    #[serde(default)]
    pub hold: Option<String>,
}

/// How to tell that it works.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Path that answers 200 with the password.
    pub path: String,
    /// Path of the page itself.
    pub page: String,
    /// Command of the engine's health check, inside.
    pub command: Vec<String>,
    /// Time between two checks.
    pub interval_seconds: u32,
    /// Time that one check may take.
    pub timeout_seconds: u32,
    /// Time after a start in which failures do not count.
    pub start_period_seconds: u32,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// How long a start may take until the page answers.
    pub ready_timeout_seconds: u64,
}

impl Health {
    /// How long a start may take until the page answers.
    pub fn ready_timeout(&self) -> Duration {
        Duration::from_secs(self.ready_timeout_seconds)
    }
}

/// How it is built.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildDefaults {
    /// Base image.
    pub base: String,
}

/// A ready-made choice of extra packages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageChoice {
    /// Name for people.
    pub title: String,
    /// The base image's distribution's package names.
    pub names: Vec<String>,
}

/// A provider of models, which wants a key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Name for people.
    pub title: String,
    /// Name of the secret that holds its key.
    pub secret: String,
    /// Host of its API, reached over HTTPS.
    #[serde(default)]
    pub host: String,
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

/// A user's and a group's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Default for Ids {
    /// The first user of most Linux hosts.
    fn default() -> Self {
        Ids { uid: 1000, gid: 1000 }
    }
}

impl std::fmt::Display for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl ContainerDefaults {
    /// The ids of the user inside, where nothing else is known.
    pub fn ids(&self) -> Ids {
        Ids { uid: self.uid, gid: self.gid }
    }
}

impl Appliance {
    /// Parses the embedded `appliance.toml`.
    pub fn embedded() -> Result<Self> {
        toml::from_str(include_str!("../docker/appliance.toml"))
            .map_err(|e| Error::bug(format!("docker/appliance.toml does not parse: {e}")))
    }

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
            Some(release) if name.starts_with("package") => Cow::Owned(with_release(content, release)),
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

/// `package.json` or `package-lock.json` with another release in it.
fn with_release(content: &[u8], release: &Release) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_slice(content).unwrap_or_default();
    // A release need not have every architecture's package; what it does not have cannot be asked for.
    for package in pinned().integrity.keys().filter(|package| !release.integrity.contains_key(*package)) {
        for list in ["/optionalDependencies", "/packages//optionalDependencies"] {
            if let Some(list) = json.pointer_mut(list).and_then(serde_json::Value::as_object_mut) {
                list.shift_remove(package);
            }
        }
        if let Some(packages) = json.get_mut("packages").and_then(serde_json::Value::as_object_mut) {
            packages.shift_remove(&format!("node_modules/{package}"));
        }
    }
    for (package, integrity) in &release.integrity {
        let version = serde_json::Value::from(release.version.as_str());
        for list in ["/optionalDependencies", "/packages//optionalDependencies"] {
            if let Some(list) = json.pointer_mut(list).and_then(serde_json::Value::as_object_mut) {
                list.insert(package.clone(), version.clone());
            }
        }
        if let Some(locked) = json["packages"].get_mut(format!("node_modules/{package}")) {
            locked["version"] = version;
            locked["integrity"] = integrity.as_str().into();
        }
    }
    serde_json::to_vec_pretty(&json).unwrap_or_default()
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_embedded_appliance_is_valid() {
        let appliance = Appliance::embedded().unwrap();
        assert_eq!(appliance.schema, 1);
        let roles: Vec<_> = appliance.volumes.iter().map(|v| (v.role.as_str(), v.mount.as_str())).collect();
        assert_eq!(
            roles,
            [("session", "/home/opencode/.opencode"), ("projects", "/workspace"), ("config", "/home/opencode/.config")]
        );
    }

    #[test]
    fn another_release_is_pinned_in_both_files() {
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
        for (name, _, content) in appliance.files().iter().filter(|(name, ..)| name.starts_with("package")) {
            let text = String::from_utf8_lossy(content);
            assert!(!text.contains(&own.version), "{name}: {text}");
            assert_eq!(text.matches("sha512-opencode-linux-").count(), if *name == "package.json" { 0 } else { 2 });
        }
    }

    #[test]
    fn keys_of_providers_are_secrets_that_can_be_set() {
        let appliance = Appliance::embedded().unwrap();
        let names: std::collections::BTreeSet<_> = appliance.providers.iter().map(|p| p.secret.as_str()).collect();
        assert_eq!(names.len(), appliance.providers.len());
        assert!(names.len() >= 8);
        for name in names {
            assert_eq!(crate::secrets::check_name(name), Ok(()));
            assert_ne!(name, appliance.login.password_secret);
        }
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
