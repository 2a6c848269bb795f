//! `settings.toml`: reads it strictly, checks it, and writes it so that comments, order and spelling survive.
//! `values`: the types of its values; `keys`: changes to its text, key by key.

mod egress;
mod environment;
mod glob;
mod keep;
pub mod keys;
mod values;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use serde::{Deserialize, Serialize};

pub use self::egress::{Allow, Egress};
pub use self::environment::{LONGEST_VALUE, Variable, VariableName, VariableValue};
pub use self::glob::Glob;
pub use self::keep::{Keep, Period};
pub use self::values::{
    Age, Bind, Cpus, DiskLimit, Every, FormatVersion, GitText, ImageSource, Memory, Mount, PackageName, Port,
    RestartPolicy,
};
use crate::{
    age_key::Recipient,
    error::{Error, Result},
    paths,
    units::Bytes,
};

/// What a new settings file looks like: every key with its default and a comment.
const TEMPLATE: &str = r#"# docklet's settings. `docklet start` applies a change.
version = 1

[network]
bind = "127.0.0.1"               # any other address gives other machines access
port = 3000
egress = "internet"              # internet | listed | all: where the appliance may connect to
allow = []                       # in addition: "host:11434", "192.168.1.20", "10.8.0.0/16", "git.example.org:22"

[engine]
endpoint = ""                    # such as unix:///run/user/1000/docker.sock; empty = the first that answers

[image]
source = "build"                 # build | pull | load
reference = ""                   # what to pull
base = "debian:trixie-slim"      # what to build on
extra_packages = []              # Debian packages for the agent

[resources]
memory = "4GiB"                  # or three quarters of the engine's memory, if less
cpus = 0.0                       # 0 = all
pids = 4096
disk = ""                        # "50GiB": status warns above it; empty = only when the engine's disk is nearly full

[restart]
policy = "always"                # always | on-failure | never
autostart = false

[trust]
ca_file = ""                     # a company's own certificate authorities

[environment]                    # variables of the container, such as LOG_LEVEL = "debug"; not for secrets

[git]
name = ""                        # who the agent commits as, where a repository does not say
email = ""
ssh_agent = false                # true: the agent can sign in with the keys of your ssh agent, and not read them

[update]
min_age = "24h"                  # how old a release must be before docklet update takes it; 0 = any
check_every = ""                 # "24h": look for a newer release, and say so in status; empty = never

[backup]
every = ""                       # "24h"; empty = never
keep = 7                         # scheduled ones; or "7d 4w 6m": the newest of each day, week and month
keep_changes = 3                 # those made before update, rollback and restore
recipients = []                  # age public keys: the secrets go in, encrypted for them; docklet backup key makes one
encrypt = false                  # encrypt whole backups for these keys
exclude = []                     # "**/node_modules": what scheduled and manual ones leave out
copy = ""                        # run after each backup, such as "rclone copyto {file} remote:docklet/{name}"
test_every = ""                  # "30d": restore the newest into a throwaway instance and see that it works; empty = never

[notify]
command = ""                     # gets one JSON object on standard input: gave up, backup failed, update available
"#;

/// All settings of one instance.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Version of the file's format.
    pub version: FormatVersion,
    /// Where the page is published.
    pub network: Network,
    /// Which container engine.
    pub engine: EngineSetting,
    /// Where the image comes from.
    pub image: Image,
    /// Limits.
    pub resources: Resources,
    /// When docklet starts it again.
    pub restart: Restart,
    /// Certificates.
    pub trust: Trust,
    /// Variables of the container that are not secret: NAME = "value".
    pub environment: BTreeMap<VariableName, VariableValue>,
    /// Who the agent commits as.
    pub git: Git,
    /// Which releases an update takes.
    pub update: Update,
    /// Scheduled backups.
    pub backup: Backup,
    /// Who is told of what went wrong.
    pub notify: Notify,
    /// Folders of the host inside the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
}

/// `[network]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Address to publish on.
    pub bind: Bind,
    /// Port on the host.
    pub port: Port,
    /// Where the appliance may connect to.
    pub egress: Egress,
    /// Hosts, addresses and ranges that are allowed in addition; `host` is this machine.
    pub allow: Vec<Allow>,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            bind: Bind(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: Port(3000),
            egress: Egress::default(),
            allow: vec![],
        }
    }
}

/// `[engine]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSetting {
    /// Where it listens; empty: the first that answers. What the user chose where several did.
    pub endpoint: String,
}

/// `[image]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Image {
    /// How it gets to the engine.
    pub source: ImageSource,
    /// What to pull, or what was loaded.
    pub reference: String,
    /// What to build on.
    pub base: String,
    /// Packages to build in.
    pub extra_packages: Vec<PackageName>,
}

impl Default for Image {
    fn default() -> Self {
        Image {
            source: ImageSource::Build,
            reference: String::new(),
            base: "debian:trixie-slim".to_owned(),
            extra_packages: vec![],
        }
    }
}

/// `[resources]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Memory limit.
    pub memory: Memory,
    /// Processors, 0 for all.
    pub cpus: Cpus,
    /// Most processes and threads.
    pub pids: i64,
    /// What the volumes may take before `status` warns; empty: it warns only when the engine's disk is nearly full.
    pub disk: DiskLimit,
}

impl Default for Resources {
    fn default() -> Self {
        Resources { memory: Memory(Bytes(4 << 30)), cpus: Cpus(0.0), pids: 4096, disk: DiskLimit::default() }
    }
}

/// `[restart]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// When docklet brings it back.
    pub policy: RestartPolicy,
    /// Whether it starts with the user's session.
    pub autostart: bool,
}

/// `[trust]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// A file of certificate authorities (PEM), for the build and the running appliance; empty: none.
    pub ca_file: String,
}

/// `[git]`: who the agent commits as, where a repository's own configuration does not say, and whose keys ssh uses.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Git {
    /// Name; empty: none.
    pub name: GitText,
    /// E-mail address; empty: none.
    pub email: GitText,
    /// Whether ssh inside can use the keys of the host's ssh agent.
    pub ssh_agent: bool,
}

/// `[update]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Update {
    /// How old a release must be. Most releases that turn out to be malicious are withdrawn within a day.
    pub min_age: Age,
    /// Time between two looks for a newer release; empty: never.
    pub check_every: Every,
}

impl Default for Update {
    fn default() -> Self {
        Update { min_age: Age("24h".to_owned()), check_every: Every(String::new()) }
    }
}

/// `[backup]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// Time between two backups; empty: never.
    pub every: Every,
    /// Which scheduled ones to keep: a number of the newest, or the newest of each hour, day, week, month or year.
    pub keep: Keep,
    /// How many to keep of those made before update, rollback and restore.
    pub keep_changes: u32,
    /// Public keys of age: the secrets go into every backup, encrypted for them; empty: scheduled ones leave them out.
    pub recipients: Vec<Recipient>,
    /// Whether all of a backup is encrypted for these keys. Those that undo a change here are not.
    pub encrypt: bool,
    /// What scheduled and manual backups leave out: patterns of paths below `volumes/` in the archive.
    pub exclude: Vec<Glob>,
    /// A command of the shell that takes each backup elsewhere, with {file} and {name} in it; empty: none.
    pub copy: String,
    /// Time between two tests of the newest backup in a throwaway instance; empty: never.
    pub test_every: Every,
}

impl Default for Backup {
    fn default() -> Self {
        Backup {
            every: Every(String::new()),
            keep: Keep::Newest(7),
            keep_changes: 3,
            recipients: vec![],
            encrypt: false,
            exclude: vec![],
            copy: String::new(),
            test_every: Every(String::new()),
        }
    }
}

/// `[notify]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// A command of the shell that gets each event as one JSON object on standard input; empty: none.
    pub command: String,
}

impl Settings {
    /// Reads the settings file; `None` when there is none, which means: not set up.
    ///
    /// # Errors
    /// [`Error::SettingsInvalid`] with line, column, reason and the nearest known key.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        paths::read_text(path)?.map(|text| Settings::parse(&text, path)).transpose()
    }

    /// Parses and checks a settings file's text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let settings: Settings = toml::from_str(text).map_err(|e| {
            let (line, column) = position(text, e.span().map_or(0, |span| span.start));
            let reason = e.message().trim().replace('\n', ", ");
            let suggestion = nearest_key(&reason);
            Error::SettingsInvalid { path: path.display().to_string(), line, column, reason, suggestion }
        })?;
        settings.check().map_err(|reason| Error::SettingsInvalid {
            path: path.display().to_string(),
            line: 1,
            column: 1,
            reason,
            suggestion: None,
        })?;
        Ok(settings)
    }

    /// Rules that concern more than one key.
    fn check(&self) -> Result<(), String> {
        if self.image.source != ImageSource::Build && self.image.reference.is_empty() {
            return Err("image.source is not \"build\", so image.reference must say which image".to_owned());
        }
        if self.git.ssh_agent && self.restart.policy == RestartPolicy::Never {
            return Err(
                "git.ssh_agent needs docklet's supervisor, which does not run with restart.policy never".to_owned()
            );
        }
        if self.resources.pids < 64 {
            return Err("resources.pids must be at least 64, or nothing can start".to_owned());
        }
        if self.backup.keep_changes == 0 {
            return Err("backup.keep_changes must be at least 1: docklet rollback needs that backup".to_owned());
        }
        if let Some(unknown) = unknown_placeholder(&self.backup.copy) {
            return Err(format!(
                "backup.copy has {unknown} in it, which docklet does not know; it knows {{file}} and {{name}}"
            ));
        }
        if self.backup.encrypt && self.backup.recipients.is_empty() {
            return Err("backup.encrypt is true, so backup.recipients must say for which keys".to_owned());
        }
        if self.backup.encrypt && self.backup.test_every.duration().is_some() {
            return Err(
                "backup.test_every cannot open what backup.encrypt encrypts, for the private key is not here; \
                 docklet backup test --identity FILE tests it"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Writes the settings file, changing only what differs: comments, order and spelling survive.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not valid.
    pub fn save(&self, path: &Path) -> Result<()> {
        let before = paths::read_text(path)?;
        let after = self.edit(before.as_deref().unwrap_or(TEMPLATE), path)?;
        if before.as_deref() == Some(after.as_str()) {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            paths::create_folder(folder, 0o700)?;
        }
        paths::write_file(path, after.as_bytes(), 0o600)
    }

    /// The text of a settings file with these settings in it, made from another text.
    fn edit(&self, text: &str, path: &Path) -> Result<String> {
        keys::change(text, &Settings::parse(text, path)?, self)
    }
}

/// The first word in braces of a command that is neither `{file}` nor `{name}`. `${NAME}` is the shell's, and braces with
/// anything else in them mean something to other programs.
fn unknown_placeholder(command: &str) -> Option<&str> {
    let word = |at: usize| {
        let end = at + command[at..].find('}')? + 1;
        let name = &command[at + 1..end - 1];
        let is_word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let known = matches!(name, "file" | "name") || command[..at].ends_with('$');
        (is_word && !known).then_some(&command[at..end])
    };
    command.match_indices('{').find_map(|(at, _)| word(at))
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The nearest known key, from serde's "unknown field `prot`, expected one of `bind`, `port`".
fn nearest_key(reason: &str) -> Option<String> {
    let quoted: Vec<&str> = reason.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = quoted.split_first()?;
    if !reason.starts_with("unknown") {
        return None;
    }
    let distance = |key: &str| strsim::damerau_levenshtein(unknown, key);
    let likely = known.iter().filter(|key| distance(key) <= most_differences(unknown, key));
    let near = likely.min_by_key(|key| distance(key));
    let all = known.join(", ");
    Some(match near {
        Some(nearest) => format!("did you mean `{nearest}`? Known here: {all}"),
        None => format!("known here: {all}"),
    })
}

/// How many letters may differ where one is likely meant for the other: a third of them, and three at most.
fn most_differences(typed: &str, known: &str) -> usize {
    (typed.chars().count().max(known.chars().count()) / 3).min(3)
}

#[cfg(test)]
mod tests;
