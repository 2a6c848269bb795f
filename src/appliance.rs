//! `docker/appliance.toml`, parsed once into valid types. All that docklet knows about opencode comes from here.

mod build;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::build::{BuildInputs, Release, SECCOMP_PROFILE};
use crate::{
    error::{Error, Result},
    units::Bytes,
};

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
    /// Tokens for pushing to git servers, which are asked for.
    #[serde(default)]
    pub tokens: Vec<Token>,
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
    /// What in it are links into a volume.
    pub home_links: Vec<String>,
    /// What runs a command in the same environment as the program's, where the image has it.
    pub enter: String,
    /// Where the secrets are mounted.
    pub secrets_dir: String,
    /// Name of the host's CA bundle among the secrets, when there is one.
    pub ca_bundle: String,
    /// What loads the network rules, in the image.
    pub network_rules: String,
    /// What fills volumes from a backup where docklet is not, in the image.
    pub unpack_backup: String,
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

/// A token for a git server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Name of the secret that holds it.
    pub name: String,
    /// The server's name for people.
    pub title: String,
    /// Variables of the user's own environment that may hold it, the first one first.
    pub env: Vec<String>,
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
    fn keys_and_tokens_are_secrets_that_can_be_set() {
        let appliance = Appliance::embedded().unwrap();
        let keys = appliance.providers.iter().map(|p| p.secret.as_str());
        let names: std::collections::BTreeSet<_> =
            keys.chain(appliance.tokens.iter().map(|t| t.name.as_str())).collect();
        assert_eq!(names.len(), appliance.providers.len() + appliance.tokens.len());
        assert!(appliance.providers.len() >= 8 && appliance.tokens.len() >= 2);
        assert!(appliance.tokens.iter().all(|token| token.env.contains(&token.name)));
        for name in names {
            assert_eq!(crate::secrets::check_name(name), Ok(()));
            assert_ne!(name, appliance.login.password_secret);
        }
    }
}
