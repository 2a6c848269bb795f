//! `settings.toml`: the only file that says what is wanted. Reads it strictly, checks it, and
//! writes it so that comments, order and unknown formatting survive. Asks nobody and prints
//! nothing. `keys`: single keys by their dotted paths.

#[cfg(test)]
mod fuzz;
pub mod keys;
#[cfg(test)]
mod schema;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Item, Table, TableLike};

use crate::{
    error::{Error, Result},
    paths,
    units::{self, Bytes},
};

/// What a new settings file looks like: every key with its default and a comment.
const TEMPLATE: &str = r#"# docklet's settings. `docklet start` applies a change.
version = 1

[network]
bind = "127.0.0.1"               # anything else lets other machines in
port = 3000

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

[restart]
policy = "always"                # always | on-failure | never
autostart = false

[trust]
ca_file = ""                     # a company's own certificate authorities

[backup]
every = ""                       # "24h"; empty = never
keep = 7
"#;

/// All settings of one instance.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What happens when it dies.
    pub restart: Restart,
    /// Whom it trusts.
    pub trust: Trust,
    /// Scheduled backups.
    pub backup: Backup,
    /// Folders of the host inside the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            version: FormatVersion,
            network: Network::default(),
            engine: EngineSetting::default(),
            image: Image::default(),
            resources: Resources::default(),
            restart: Restart::default(),
            trust: Trust::default(),
            backup: Backup::default(),
            mounts: vec![],
        }
    }
}

/// The file format's version: always 1 so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatVersion;

impl Serialize for FormatVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(1)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            1 => Ok(FormatVersion),
            other => Err(serde::de::Error::custom(format!(
                "version {other} is from a newer docklet; this one reads version 1"
            ))),
        }
    }
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
}

impl Default for Network {
    fn default() -> Self {
        Network { bind: Bind(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: Port(3000) }
    }
}

/// An address to publish on. `localhost` is read as 127.0.0.1: a name can resolve to more than
/// one address, and an engine that is handed a name publishes on all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind(pub IpAddr);

impl Bind {
    /// Whether only this machine can reach it.
    pub fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }

    /// The address to talk to from this machine: loopback where it is published on all addresses.
    pub fn reachable(self) -> IpAddr {
        if self.0.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { self.0 }
    }
}

impl FromStr for Bind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("localhost") {
            return Ok(Bind(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        let bare = trimmed.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(trimmed);
        bare.parse().map(Bind).map_err(|_| format!("`{text}` is no IP address; write it like 127.0.0.1"))
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A port on the host: 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(pub u16);

impl FromStr for Port {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<u16>() {
            Ok(port) if port > 0 => Ok(Port(port)),
            _ => Err(format!("`{text}` is no port; ports are 1 to 65535")),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Port {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        number.to_string().parse().map_err(serde::de::Error::custom)
    }
}

/// Serialises through `Display` and `FromStr`, so that a settings file and a flag accept the same.
macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(Bind);

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

/// How the image gets to the engine.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageSource {
    /// Built here.
    Build,
    /// Pulled from a registry.
    Pull,
    /// Loaded from a file.
    Load,
}

/// A Debian package's name (Debian policy, section 5.6.1): it goes into a build argument, so
/// nothing else is let through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageName(pub String);

impl FromStr for PackageName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        if text.len() >= 2 && starts_well && text.chars().all(allowed) {
            Ok(PackageName(text.to_owned()))
        } else {
            Err(format!("`{text}` is no Debian package name; they are lower case, like python3 or build-essential"))
        }
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
as_text!(PackageName);

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
}

impl Default for Resources {
    fn default() -> Self {
        Resources { memory: Memory(Bytes(4 << 30)), cpus: Cpus(0.0), pids: 4096 }
    }
}

/// A memory limit: at least 256 MiB, below which the appliance cannot start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub Bytes);

/// opencode idles at 230–330 MB; the stand-in of the tests needs far less. Below this no start can
/// succeed, so it is a mistake (a forgotten unit, most often).
const LEAST_MEMORY: Bytes = Bytes(64 << 20);

impl FromStr for Memory {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Bytes = text.parse()?;
        if bytes < LEAST_MEMORY {
            return Err(format!("{bytes} is too little memory to start with; write it like 4GiB"));
        }
        if bytes.0 > i64::MAX as u64 {
            return Err(format!("{bytes} is more than an engine can count; write it like 4GiB"));
        }
        Ok(Memory(bytes))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.exact())
    }
}
as_text!(Memory);

/// A number of processors; 0 means all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Cpus(pub f64);

impl FromStr for Cpus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<f64>() {
            Ok(n) if n == 0.0 || (0.01..=4096.0).contains(&n) => Ok(Cpus(n)),
            _ => Err(format!("`{text}` is no number of processors; write it like 2 or 1.5, or 0 for all")),
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer)?.to_string().parse().map_err(serde::de::Error::custom)
    }
}

/// `[restart]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// When docklet brings it back.
    pub policy: RestartPolicy,
    /// Whether it starts with the user's session.
    pub autostart: bool,
}

impl Default for Restart {
    fn default() -> Self {
        Restart { policy: RestartPolicy::Always, autostart: false }
    }
}

/// When docklet brings the appliance back.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Whenever it is not running and the user wants it running.
    Always,
    /// When it ended with another code than 0, or hangs.
    OnFailure,
    /// Never.
    Never,
}

/// `[trust]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// A file of certificate authorities (PEM), for the build and the running appliance; empty: none.
    pub ca_file: String,
}

/// `[backup]`
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// Time between two backups; empty: never.
    pub every: Every,
    /// How many to keep.
    pub keep: u32,
}

impl Default for Backup {
    fn default() -> Self {
        Backup { every: Every(String::new()), keep: 7 }
    }
}

/// Time between two backups, as written; empty for never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Every(String);

impl Every {
    /// The time, or `None` for never.
    pub fn duration(&self) -> Option<std::time::Duration> {
        units::parse_duration(&self.0).ok()
    }
}

impl FromStr for Every {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && units::parse_duration(text)?.is_zero() {
            return Err("a backup every 0 s would never end; leave it empty for none".to_owned());
        }
        Ok(Every(text.to_owned()))
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
as_text!(Every);

/// `[[mounts]]`: a folder of the host inside the container.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Absolute path on the host.
    pub host: PathBuf,
    /// Absolute path in the container.
    pub container: String,
    /// Whether the appliance may only read it.
    #[serde(default)]
    pub read_only: bool,
}

impl FromStr for Mount {
    type Err = String;

    /// Reads `HOST:CONTAINER[:ro]`. Relative host paths and `~` are for the shell and the caller.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!("`{text}` is no mount; write it like /home/me/app:/workspace/app, with :ro behind it for read-only")
        };
        let (rest, read_only) = match text.strip_suffix(":ro") {
            Some(rest) => (rest, true),
            None => (text.strip_suffix(":rw").unwrap_or(text), false),
        };
        let (host, container) = rest.rsplit_once(':').ok_or_else(wanted)?;
        if host.is_empty() || host.contains('\0') || !container.starts_with('/') || container.contains('\0') {
            return Err(wanted());
        }
        let trimmed = container.trim_end_matches('/');
        if trimmed.is_empty() || trimmed.split('/').any(|part| part == "..") {
            return Err(format!("`{container}` is no place for a mount inside the container"));
        }
        Ok(Mount { host: PathBuf::from(host), container: trimmed.to_owned(), read_only })
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.host.display(), self.container, if self.read_only { ":ro" } else { "" })
    }
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
        if self.resources.pids < 64 {
            return Err("resources.pids must be at least 64, or nothing can start".to_owned());
        }
        Ok(())
    }

    /// Writes the settings file, changing only what differs: comments and order survive.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let before = paths::read_text(path)?;
        let after = self.edit(before.as_deref().unwrap_or(TEMPLATE))?;
        if before.as_deref() == Some(after.as_str()) {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            paths::create_folder(folder, 0o700)?;
        }
        paths::write_file(path, after.as_bytes(), 0o600)
    }

    /// The text of a settings file with these settings in it, made from another text.
    fn edit(&self, text: &str) -> Result<String> {
        let mut document: DocumentMut = text.parse().map_err(|e| Error::bug(format!("settings do not parse: {e}")))?;
        let mut wanted =
            toml_edit::ser::to_document(self).map_err(|e| Error::bug(format!("settings do not serialise: {e}")))?;
        // The same folders in other words, such as without `read_only`, stay as they are written.
        if toml::from_str::<Settings>(text).is_ok_and(|before| before.mounts == self.mounts) {
            wanted.remove("mounts");
        }
        merge(document.as_table_mut(), wanted.as_table());
        if self.mounts.is_empty() {
            document.remove("mounts");
        }
        Ok(document.to_string())
    }
}

/// Sets in `document` what is different in `wanted`, keeping the comments around each value. A
/// section stays as it is written: as a table, inline, or dotted.
fn merge(document: &mut dyn TableLike, wanted: &dyn TableLike) {
    for (key, new) in wanted.iter() {
        if let Some(new) = new.as_table_like() {
            let below = document.entry(key).or_insert_with(|| Item::Table(Table::new()));
            if let Some(below) = below.as_table_like_mut() {
                merge(below, new);
            }
            continue;
        }
        if let Item::Value(toml_edit::Value::Array(list)) = new
            && list.iter().any(toml_edit::Value::is_inline_table)
        {
            let tables: toml_edit::ArrayOfTables =
                list.iter().filter_map(|v| v.as_inline_table()).map(|t| t.clone().into_table()).collect();
            let same = document.get(key).is_some_and(|old| plain(old) == plain(&Item::ArrayOfTables(tables.clone())));
            if !same {
                document.insert(key, Item::ArrayOfTables(tables));
            }
            continue;
        }
        match (document.get_mut(key), new) {
            (Some(old), new) if plain(old) == plain(new) => {}
            (Some(Item::Value(old)), Item::Value(new)) => {
                let decor = old.decor().clone();
                *old = new.clone();
                *old.decor_mut() = decor;
            }
            _ => {
                document.insert(key, new.clone());
            }
        }
    }
}

/// An item's value without comments and white space, for comparing.
fn plain(item: &Item) -> Option<toml::Value> {
    let mut document = DocumentMut::new();
    document.insert("x", item.clone());
    toml::from_str::<toml::Table>(&document.to_string()).ok()?.remove("x")
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// From serde's «unknown field `prot`, expected one of `bind`, `port`», the nearest known key.
fn nearest_key(reason: &str) -> Option<String> {
    let quoted: Vec<&str> = reason.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = quoted.split_first()?;
    if !reason.starts_with("unknown") {
        return None;
    }
    let distance = |key: &&&str| strsim::damerau_levenshtein(unknown, key);
    let nearest = known.iter().min_by_key(distance)?;
    let all = known.join(", ");
    Some(if distance(&nearest) <= 3 {
        format!("did you mean `{nearest}`? Known here: {all}")
    } else {
        format!("known here: {all}")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<Settings> {
        Settings::parse(text, Path::new("settings.toml"))
    }

    #[test]
    fn the_template_is_the_default() {
        assert_eq!(parse(TEMPLATE).unwrap(), Settings::default());
        assert_eq!(parse("").unwrap(), Settings::default());
        assert_eq!(Settings::default().edit(TEMPLATE).unwrap(), TEMPLATE);
    }

    #[test]
    fn comments_survive_a_change() {
        let mut settings = Settings::default();
        settings.network.port = Port(3001);
        settings.mounts = vec!["/home/me/app:/workspace/app:ro".parse().unwrap()];
        let text = settings.edit(TEMPLATE).unwrap();
        assert_eq!(parse(&text).unwrap(), settings);
        for comment in TEMPLATE.lines().filter_map(|l| l.split_once('#')).map(|(_, c)| c) {
            assert!(text.contains(comment), "{comment}\n{text}");
        }
        assert_eq!(settings.edit(&text).unwrap(), text, "a second save changes nothing");
        let back = Settings::default().edit(&text).unwrap();
        assert_eq!(back.trim_end(), TEMPLATE.trim_end());
    }

    #[test]
    fn a_wrong_key_is_refused_with_place_and_nearest_key() {
        match parse("version = 1\n[network]\n  prot = 1\n") {
            Err(Error::SettingsInvalid { line, column, suggestion, .. }) => {
                assert_eq!((line, column), (3, 3));
                assert_eq!(suggestion.unwrap(), "did you mean `port`? Known here: bind, port");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for text in [
            "version = 2",
            "[network]\nport = 0",
            "[network]\nport = 70000",
            "[network]\nbind = \"example.org\"",
            "[resources]\nmemory = \"4 potatoes\"",
            "[resources]\nmemory = \"1MiB\"",
            "[resources]\ncpus = -1",
            "[resources]\npids = 1",
            "[restart]\npolicy = \"engine\"",
            "[image]\nsource = \"pull\"",
            "[image]\nextra_packages = [\"$(reboot)\"]",
            "[backup]\nevery = \"soon\"",
            "[[mounts]]\nhost = \"/x\"",
            "not toml",
        ] {
            assert!(matches!(parse(text), Err(Error::SettingsInvalid { .. })), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_loopback_is_an_address() {
        for text in ["127.0.0.1", "localhost", "LOCALHOST", " localhost "] {
            assert_eq!(text.parse::<Bind>().unwrap().to_string(), "127.0.0.1", "{text}");
        }
        assert_eq!("[::1]".parse::<Bind>().unwrap().to_string(), "::1");
    }
}
