//! The values of settings: ports, addresses, sizes, times, mounts. A settings file and a flag accept the same
//! spellings. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{Allow, Glob};
use crate::{
    age_key::Recipient,
    units::{self, Bytes},
};

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

/// Shown as the value in it.
macro_rules! as_value {
    ($($type:ty),+) => {
        $(impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        })+
    };
}
as_value!(Bind, Port, PackageName, Cpus, Every, Age);

/// The file format's version: always 1 so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
            newer @ 2.. => Err(serde::de::Error::custom(format!(
                "version {newer} is from a newer docklet; this one reads version 1"
            ))),
            other => Err(serde::de::Error::custom(format!("there is no version {other}; write version = 1"))),
        }
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
        bare.parse().map(Bind).map_err(|_| format!("`{text}` isn't a valid IP address; write it like 127.0.0.1"))
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
            _ => Err(format!("`{text}` isn't a valid port; ports are 1 to 65535")),
        }
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

as_text!(Bind);

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
            Err(format!(
                "`{text}` isn't a valid Debian package name; they are lower case, like python3 or build-essential"
            ))
        }
    }
}
as_text!(PackageName);

/// A memory limit.
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
            return Err(format!("{bytes} is too little memory: an idle opencode takes 300 MiB; write it like 4GiB"));
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

/// What the volumes may take before that is worth a warning; empty for no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskLimit(Option<Bytes>);

/// Less is a mistake: a forgotten unit.
const LEAST_DISK: Bytes = Bytes(1 << 20);

impl DiskLimit {
    /// The limit in bytes.
    pub fn bytes(self) -> Option<u64> {
        self.0.map(|bytes| bytes.0)
    }
}

impl FromStr for DiskLimit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(DiskLimit(None));
        }
        let bytes: Bytes = text.parse().map_err(|_| format!("`{text}` isn't a valid size; write it like 50GiB"))?;
        if bytes < LEAST_DISK {
            return Err(format!("{bytes} is too little for the volumes. Did you mean {}GiB?", bytes.0.max(1)));
        }
        Ok(DiskLimit(Some(bytes)))
    }
}

impl fmt::Display for DiskLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(Bytes::exact).unwrap_or_default())
    }
}
as_text!(DiskLimit);

/// A number of processors; 0 means all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Cpus(pub f64);

impl FromStr for Cpus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<f64>() {
            Ok(n) if n == 0.0 || (0.01..=4096.0).contains(&n) => Ok(Cpus(n)),
            _ => Err(format!("`{text}` isn't a valid number of processors; write it like 2 or 1.5, or 0 for all")),
        }
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer)?.to_string().parse().map_err(serde::de::Error::custom)
    }
}

/// When docklet starts the appliance again.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Whenever it is not running and the user wants it running.
    #[default]
    Always,
    /// When it ended with another code than 0, or hangs.
    OnFailure,
    /// Never.
    Never,
}

/// Least time between two scheduled backups.
const LEAST_BETWEEN_BACKUPS: std::time::Duration = std::time::Duration::from_secs(3600);

/// Time between two backups, as written; empty for never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Every(pub(super) String);

impl Every {
    /// The time, or `None` for never.
    pub fn duration(&self) -> Option<std::time::Duration> {
        units::parse_duration(&self.0).ok()
    }
}

impl FromStr for Every {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && units::parse_duration_with_unit(text)? < LEAST_BETWEEN_BACKUPS {
            return Err("it can be done every hour at most; leave it empty for never".to_owned());
        }
        Ok(Every(text.to_owned()))
    }
}
as_text!(Every);
as_text!(Allow);
as_text!(Glob);
as_text!(Recipient);

/// A name or an e-mail address as git takes it: one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitText(String);

/// Longest of them, in bytes.
const LONGEST_GIT_TEXT: usize = 200;

impl FromStr for GitText {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.chars().any(|c| c.is_control() || c == '<' || c == '>') || text.len() > LONGEST_GIT_TEXT {
            return Err(format!("`{text}` can't be a part of a commit's author; write one line without < and >"));
        }
        // git leaves these out at both ends, and commits with no name that is nothing else.
        if !text.is_empty() && text.chars().all(|c| c.is_whitespace() || ".,:;\"\\'".contains(c)) {
            return Err(format!("git takes no author named `{text}`: there is no letter or number in it"));
        }
        Ok(GitText(text.to_owned()))
    }
}

impl fmt::Display for GitText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
as_text!(GitText);

/// How old a release must be before `update` takes it, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Age(pub(super) String);

impl Age {
    /// The time; zero for releases of any age.
    pub fn duration(&self) -> std::time::Duration {
        units::parse_duration(&self.0).unwrap_or_default()
    }
}

impl FromStr for Age {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        units::parse_duration_with_unit(text)?;
        Ok(Age(text.to_owned()))
    }
}
as_text!(Age);

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
            format!(
                "`{text}` isn't a valid mount; write it like /home/me/app:/workspace/app, with :ro behind it for read-only"
            )
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
            return Err(format!("`{container}` can't be used as a mount path in the container"));
        }
        Ok(Mount { host: PathBuf::from(host), container: trimmed.to_owned(), read_only })
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.host.display(), self.container, if self.read_only { ":ro" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_author_is_one_that_git_takes() {
        for good in ["", "Ada Lovelace", "Ada \"the first\" Lovelace", "-x", "J.", "李"] {
            assert_eq!(good.parse::<GitText>().unwrap().to_string(), good);
        }
        for bad in ["\"", "\\", "'", "..,,", "A <b>", "two\nlines", &"x".repeat(201)] {
            assert!(bad.parse::<GitText>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_disk_limit_has_a_unit_or_is_empty() {
        let limit = |text: &str| text.parse::<DiskLimit>();
        assert_eq!(limit("50GiB").unwrap().bytes(), Some(50 << 30));
        assert_eq!(limit("50g").unwrap().to_string(), "50GiB");
        assert_eq!((limit("").unwrap().bytes(), limit(" ").unwrap().to_string().as_str()), (None, ""));
        assert_eq!(limit("50").unwrap_err(), "50 B is too little for the volumes. Did you mean 50GiB?");
        assert_eq!(limit("much").unwrap_err(), "`much` isn't a valid size; write it like 50GiB");
    }

    #[test]
    fn every_spelling_of_loopback_is_an_address() {
        for text in ["127.0.0.1", "localhost", "LOCALHOST", " localhost "] {
            assert_eq!(text.parse::<Bind>().unwrap().to_string(), "127.0.0.1", "{text}");
        }
        assert_eq!("[::1]".parse::<Bind>().unwrap().to_string(), "::1");
    }
}
