//! `network.egress` and `network.allow`: where the appliance may connect to. Pure.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where the appliance may connect to.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Egress {
    /// The Internet, but no private, link-local or metadata address and not this machine
    #[default]
    Internet,
    /// Only what network.allow lists
    Listed,
    /// Everything, this machine and its local network included
    All,
}

impl Egress {
    /// Whether rules have to be loaded for it.
    pub fn has_rules(self) -> bool {
        self != Egress::All
    }
}

impl fmt::Display for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FromStr for Egress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, false)
            .map_err(|_| format!("`{text}` isn't an egress mode; use internet, listed or all"))
    }
}

/// One entry of `network.allow`: a host name, an address or a CIDR range, and a port where only one is meant.
/// `host` is the machine that docklet runs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allow {
    /// The host as written: a name, an address, a range, or [`Allow::HOST`].
    pub host: String,
    /// The only port, TCP and UDP; `None` for all ports and protocols.
    pub port: Option<u16>,
}

impl Allow {
    /// What stands for the machine that docklet runs on.
    pub const HOST: &str = "host";
}

impl FromStr for Allow {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "`{text}` isn't a host; write a name, an address or a range, with a port where you mean one: \
                 host:11434, 192.168.1.20, 10.8.0.0/16, [fd00::1]:22"
            )
        };
        let text = text.trim();
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(invalid)?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(invalid)?) })
            }
            // More than one colon without brackets: an IPv6 address.
            None => match text.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            },
        };
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return Err(invalid()),
        };
        // Whoever writes it at this machine means this machine; inside, it is the container.
        let host = if ["localhost", "127.0.0.1", "::1"].contains(&host) { Allow::HOST } else { host };
        if host.ends_with("/0") && is_range(host) {
            return Err(format!(
                "{host} is every address, this machine's and a cloud's metadata too; if you mean that, set network.egress \
                 to all"
            ));
        }
        if is_range(host) || is_name(host) {
            Ok(Allow { host: host.to_ascii_lowercase(), port })
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// An address, or a range of them.
fn is_range(text: &str) -> bool {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    length.is_none_or(|length| {
        length.parse::<u8>().is_ok_and(|n| n <= bits) && length.bytes().all(|b| b.is_ascii_digit())
    })
}

/// A host name (RFC 1123), which a number alone is not.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label) && text.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn entries_are_read_and_written_the_same() {
        for (text, host, port) in [
            ("host:11434", "host", Some(11434)),
            ("host", "host", None),
            ("Git.Example.org:22", "git.example.org", Some(22)),
            ("192.168.1.20", "192.168.1.20", None),
            ("10.8.0.0/16", "10.8.0.0/16", None),
            ("10.8.0.0/16:443", "10.8.0.0/16", Some(443)),
            ("fd00::1", "fd00::1", None),
            ("fd00::/8", "fd00::/8", None),
            ("[fd00::1]:22", "fd00::1", Some(22)),
            ("localhost:7777", "host", Some(7777)),
            ("127.0.0.1", "host", None),
            ("[::1]:22", "host", Some(22)),
        ] {
            let entry: Allow = text.parse().unwrap();
            assert_eq!((entry.host.as_str(), entry.port), (host, port), "{text}");
            assert_eq!(entry.to_string().parse::<Allow>().unwrap(), entry, "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "*",
            "a b",
            "a;b",
            "$(id)",
            "http://x",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "host:0",
            "host:65536",
            "host:",
            "-x",
            "1.2.3",
            "300.1.1.1",
            "[fd00::1",
            "x/8",
            "0.0.0.0/0",
            "::/0",
            "a\nb",
        ] {
            assert!(text.parse::<Allow>().is_err(), "{text:?}");
        }
    }
}
