//! Names of images, such as `debian:trixie-slim` or `127.0.0.1:5000/team/app@sha256:…`: parsed and
//! checked before anything is asked of an engine. Pure; looks nothing up.

use std::{fmt, str::FromStr};

use crate::error::Error;

/// The registry of a name that has none.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// A valid name of an image. Prints as it was written, with `:latest` where it said neither tag nor
/// digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Registry and repository as written, such as `debian`.
    name: String,
    registry: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// The registry's host and, where it has one, port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Registry and repository as written, without tag and digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What to ask the registry for: the digest, which is exact, else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The name that the engine knows it by after a pull: a pull by digest leaves no tag.
    pub fn on_engine(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.name),
            None => format!("{}:{}", self.name, self.version()),
        }
    }

    /// Repository and tag, for giving an image this name; `None` for a digest, which cannot be given.
    pub fn as_tag(&self) -> Option<(&str, &str)> {
        match self.digest {
            Some(_) => None,
            None => Some((&self.name, self.version())),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None if self.tag.is_none() => f.write_str(":latest"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|reason| Error::Usage {
            message: format!("`{text}` isn't a valid image name: {reason}"),
            hint: Some("write it like debian:trixie-slim or registry.example.org/team/app:1.0".to_owned()),
        })
    }
}

/// The rules of the distribution project, by which every engine reads a name.
fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|d| !is_digest(d)) {
        return Err("what follows the @ must be a digest like sha256: and 64 hex digits");
    }
    // A colon behind the last slash begins the tag; one before it belongs to a port.
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        None => (rest, None),
    };
    if tag.is_some_and(|t| !is_tag(t)) {
        return Err("the tag is at most 128 letters, digits and _.-, and begins with none of .-");
    }
    let (registry, repository) = match name.split_once('/') {
        Some((host, rest)) if is_host_like(host) => (host, rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    if registry != DEFAULT_REGISTRY && !is_host(registry) {
        return Err("what precedes the first slash is no host name");
    }
    if repository.len() > 255 || !repository.split('/').all(is_component) {
        return Err("the repository is lower-case letters and digits, with single .-_ between them");
    }
    let is_id = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id {
        return Err("it is the id of an image, not a name");
    }
    // `index.docker.io` is an old name of the same registry.
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    Ok(Reference {
        name: name.to_owned(),
        registry: registry.to_owned(),
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

fn is_host_like(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_host(text: &str) -> bool {
    let port = |p: &str| !p.is_empty() && p.parse::<u16>().is_ok() && p.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, rest)| {
            address.parse::<std::net::Ipv6Addr>().is_ok()
                && (rest.is_empty() || rest.strip_prefix(':').is_some_and(port))
        });
    }
    let (host, port_is_valid) = match text.split_once(':') {
        Some((host, p)) => (host, port(p)),
        None => (text, true),
    };
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    port_is_valid && host.split('.').all(label)
}

/// Groups of letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |s: &str| matches!(s, "." | "_" | "__") || (!s.is_empty() && s.bytes().all(|b| b == b'-'));
    let mut rest = text;
    loop {
        let group = rest.find(|c| !plain(c)).unwrap_or(rest.len());
        if group == 0 {
            return false;
        }
        rest = &rest[group..];
        if rest.is_empty() {
            return true;
        }
        let next = rest.find(plain).unwrap_or(rest.len());
        if !separator(&rest[..next]) {
            return false;
        }
        rest = &rest[next..];
    }
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_digest(text: &str) -> bool {
    let hex = |h: &str| h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match text.split_once(':') {
        Some(("sha256", digits)) => digits.len() == 64 && hex(digits),
        Some(("sha384", digits)) => digits.len() == 96 && hex(digits),
        Some(("sha512", digits)) => digits.len() == 128 && hex(digits),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:7c7f8ab7442e807f72a1424857fe5d0e8cfeb5e6e108d3178273c0bae7661b46";

    fn read(text: &str) -> (String, String, String, String) {
        let r: Reference = text.parse().unwrap();
        (r.registry().to_owned(), r.name().to_owned(), r.version().to_owned(), r.to_string())
    }

    fn row(registry: &str, name: &str, version: &str, printed: &str) -> (String, String, String, String) {
        (registry.to_owned(), name.to_owned(), version.to_owned(), printed.to_owned())
    }

    #[test]
    fn every_spelling_is_taken_apart() {
        assert_eq!(read("debian"), row("docker.io", "debian", "latest", "debian:latest"));
        assert_eq!(read("debian:trixie-slim"), row("docker.io", "debian", "trixie-slim", "debian:trixie-slim"));
        assert_eq!(read("team/app"), row("docker.io", "team/app", "latest", "team/app:latest"));
        assert_eq!(read("localhost/app:1"), row("localhost", "localhost/app", "1", "localhost/app:1"));
        assert_eq!(
            read("127.0.0.1:5000/a/b"),
            row("127.0.0.1:5000", "127.0.0.1:5000/a/b", "latest", "127.0.0.1:5000/a/b:latest")
        );
        assert_eq!(read("[::1]:5000/a:x").0, "[::1]:5000");
        assert_eq!(read("index.docker.io/library/debian:1").0, "docker.io");
        let exact = format!("ghcr.io/a/b:1.0@{DIGEST}");
        assert_eq!(read(&exact), row("ghcr.io", "ghcr.io/a/b", DIGEST, &exact));
        let r: Reference = exact.parse().unwrap();
        assert_eq!((r.on_engine(), r.as_tag()), (format!("ghcr.io/a/b@{DIGEST}"), None));
        let r: Reference = "debian".parse().unwrap();
        assert_eq!((r.on_engine(), r.as_tag()), ("debian:latest".to_owned(), Some(("debian", "latest"))));
    }

    #[test]
    fn garbage_is_a_usage_error() {
        let long = format!("a/{}", "b".repeat(256));
        for text in [
            "",
            " ",
            "a b",
            "Debian",
            "debian:",
            "debian:-x",
            ":tag",
            "/x",
            "x/",
            "a//b",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "debian@sha256:12",
            "debian@md5:00",
            "a@b@c",
            "https://example.org/x",
            "exa mple.org/x",
            "x:y:z",
            "host:99999999/x",
            "host:/x",
            "-bad.org/x",
            "a\n",
            "a:b\u{e9}",
            "--force",
            "$(reboot)",
            &long,
            &DIGEST[7..],
        ] {
            match text.parse::<Reference>() {
                Err(Error::Usage { hint: Some(_), .. }) => {}
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(text in "([a-z]{1,5}\\.org(:[0-9]{1,4})?/)?[a-z]{1,4}([._-][a-z0-9]{1,3}){0,2}(:[A-Za-z0-9_][a-z.-]{0,5})?") {
            let reference: Reference = text.parse().unwrap();
            let again: Reference = reference.to_string().parse().unwrap();
            prop_assert_eq!(again.to_string(), reference.to_string());
            prop_assert!(reference.to_string().starts_with(&text));
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Reference>();
        }
    }
}
