//! What a failure while bringing an image means: the engine's words and bollard's errors →
//! [`ImageFault`], and whether trying again can help. Pure; decides nothing else.
//!
//! The words come from the engine, from the registry, or from a program in a build step, and have
//! no codes behind them. The tables hold what Docker 20.10 was seen to say, and, from memory and not
//! seen here, the words of later Dockers, of Podman, of registries and of package managers.

use bollard::errors::Error as BollardError;

use super::error::broken;
use crate::error::{Error, ImageAction, ImageFault};

/// A failure, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) fault: ImageFault,
    /// One line in the engine's words, without credentials.
    pub(super) reason: String,
    /// Whether the same thing can work a moment later.
    pub(super) transient: bool,
}

impl Failure {
    /// A failure that trying again does not cure.
    pub(super) fn lasting(fault: ImageFault, reason: impl Into<String>) -> Self {
        Failure { fault, reason: reason.into(), transient: false }
    }

    /// From the engine's words.
    pub(super) fn from_words(action: ImageAction, words: &str) -> Self {
        let reason = tidy(words);
        let (fault, transient) = classify(action, &reason.to_lowercase());
        Failure { fault, reason, transient }
    }

    /// From what bollard makes of it.
    pub(super) fn from_bollard(action: ImageAction, error: &BollardError) -> Self {
        match error {
            BollardError::DockerStreamError { error } => Failure::from_words(action, error),
            BollardError::DockerResponseServerError { status_code, message } => {
                let mut failure = Failure::from_words(action, message);
                if failure.fault == ImageFault::Other {
                    failure.fault = match status_code {
                        401 | 403 => ImageFault::Unauthorized,
                        404 => ImageFault::NotFound,
                        429 => ImageFault::RateLimited,
                        _ => ImageFault::Other,
                    };
                }
                if failure.reason.is_empty() {
                    failure.reason = format!("the engine answered with status {status_code}");
                }
                failure
            }
            BollardError::RequestTimeoutError => {
                Failure::lasting(ImageFault::Truncated, "the engine did not begin to answer in time")
            }
            // Everything else is about the connection to the engine or about half a message.
            other => Failure::lasting(
                ImageFault::Truncated,
                format!(
                    "the engine's answer broke off: {}",
                    broken(other).unwrap_or_else(|| "it is not what an engine says".to_owned())
                ),
            ),
        }
    }

    /// The error that the user sees.
    pub(super) fn into_error(self, action: ImageAction, reference: &str) -> Error {
        Error::Image {
            action,
            reference: reference.to_owned(),
            fault: self.fault,
            reason: self.reason,
            log: vec![],
            log_file: None,
        }
    }
}

const NO_SPACE: &[&str] = &["no space left on device", "disk quota exceeded", "not enough free space"];
const RATE_LIMITED: &[&str] = &["toomanyrequests", "too many requests", "rate limit", "status: 429", "status code 429"];
const ARCHITECTURE: &[&str] = &[
    "no matching manifest for",
    "no image found in manifest list for architecture",
    "no image found in image index for architecture",
    "no match for platform in manifest",
    "does not match the specified platform",
    "exec format error",
];
/// Docker Hub says "denied" to everybody for what does not exist, so as not to tell what does.
const NOT_FOUND: &[&str] = &[
    "manifest unknown",
    "name unknown",
    "repository name not known to registry",
    "repository does not exist",
    "requested access to the resource is denied",
    "status: 404",
    "404 not found",
    "no such image",
];
/// The registry asks for a password. With the image store of containerd, the engine says beside that, as of every
/// refusal, that the repository may not exist.
const NO_CREDENTIALS: &str = "no basic auth credentials";
const UNAUTHORIZED: &[&str] = &[
    "unauthorized",
    NO_CREDENTIALS,
    "authentication required",
    "incorrect username or password",
    "access denied",
    "access forbidden",
    "403 forbidden",
    "status: 401",
    "status: 403",
    "denied: ",
];
/// The other side cannot be reached, and will not be a second later.
const UNREACHABLE: &[&str] = &[
    "no such host",
    "server misbehaving",
    "temporary failure in name resolution",
    "connection refused",
    "network is unreachable",
    "no route to host",
    "x509:",
    "tls: failed to verify",
    "certificate signed by unknown authority",
    "proxyconnect",
    "http response to https client",
];
const TRANSIENT: &[&str] = &[
    "unexpected eof",
    "connection reset",
    "broken pipe",
    "tls handshake timeout",
    "i/o timeout",
    "timeout exceeded",
    "context deadline exceeded",
    "request canceled",
    "use of closed network connection",
    "server closed",
    "http2:",
    "stream error",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "gateway time",
    "status: 500",
    "status: 502",
    "status: 503",
    "status: 504",
    "status code 500",
    "status code 502",
    "status code 503",
    "status code 504",
];
const BUILD_STEP: &[&str] =
    &["executor failed running", "did not complete successfully", "returned a non-zero code", "while running runtime"];
/// What package managers and download programs print when they reach nobody.
const STEP_NETWORK: &[&str] = &[
    "temporary failure resolving",
    "temporary failure in name resolution",
    "could not resolve",
    "could not connect to",
    "cannot initiate the connection",
    "unable to connect to",
    "network is unreachable",
    "connection timed out",
    "failed to fetch",
    "failed to connect to",
    "self-signed certificate",
    "unable to get local issuer certificate",
    "certificate verification failed",
    "curl: (28)",
    "curl: (35)",
    "curl: (56)",
];
const BAD_ARCHIVE: &[&str] = &[
    "archive/tar",
    "invalid tar header",
    "no such file or directory",
    "unexpected eof",
    "invalid manifest",
    "invalid argument",
    "gzip:",
    "magic number mismatch",
    "invalid checksum",
    "unrecognized image format",
    "does not match any of the supported image formats",
    "payload does not match",
    "wrong diff id",
    "digest mismatch",
    "mismatched",
    "cannot load",
    "invalid character",
    "must contain at least",
    "unknown media type",
    "error processing tar file",
];

fn says(text: &str, words: &[&str]) -> bool {
    words.iter().any(|w| text.contains(w))
}

/// `text` in lower case → fault, and whether trying again can help.
fn classify(action: ImageAction, text: &str) -> (ImageFault, bool) {
    if says(text, NO_SPACE) {
        return (ImageFault::NoSpace, false);
    }
    if says(text, ARCHITECTURE) {
        return (ImageFault::Architecture, false);
    }
    match action {
        ImageAction::Load if says(text, BAD_ARCHIVE) => return (ImageFault::BadArchive, false),
        ImageAction::Load => return (ImageFault::Other, false),
        ImageAction::Build if says(text, BUILD_STEP) => return (ImageFault::BuildStep, false),
        ImageAction::Build | ImageAction::Pull => {}
    }
    let image_is_missing = says(text, NOT_FOUND) || (text.contains("not found") && !text.contains("dockerfile"));
    // A name server that does not answer costs half a minute each time and mends itself rarely.
    let unresolved = text.contains("lookup ") && text.contains("timeout");
    if says(text, RATE_LIMITED) {
        (ImageFault::RateLimited, false)
    } else if says(text, UNREACHABLE) || unresolved {
        (ImageFault::Network, false)
    } else if image_is_missing && !text.contains(NO_CREDENTIALS) {
        (ImageFault::NotFound, false)
    } else if says(text, UNAUTHORIZED) && !text.contains("permission denied") {
        (ImageFault::Unauthorized, false)
    } else if says(text, TRANSIENT) || text.ends_with(": eof") {
        (ImageFault::Network, true)
    } else {
        (ImageFault::Other, false)
    }
}

/// Why a build step failed, as far as its own last lines tell.
pub(super) fn of_step(log: &[String]) -> ImageFault {
    let text = log.join("\n").to_lowercase();
    if says(&text, NO_SPACE) {
        ImageFault::NoSpace
    } else if text.contains("exec format error") {
        ImageFault::Architecture
    } else if says(&text, STEP_NETWORK) {
        ImageFault::Network
    } else {
        ImageFault::BuildStep
    }
}

/// One line without the wrappings that help nobody and without credentials.
fn tidy(words: &str) -> String {
    let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text = one_line.as_str();
    for wrapping in [
        "failed to solve with frontend dockerfile.v0: ",
        "failed to create LLB definition: ",
        "failed to solve: ",
        "rpc error: code = Unknown desc = ",
        "failed to do request: ",
        "Error response from daemon: ",
    ] {
        text = text.strip_prefix(wrapping).unwrap_or(text);
    }
    mask_urls(text)
}

/// The text with user name and password in each address replaced by `***`.
pub(super) fn mask_urls(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'`<>,;".contains(c)).unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(sign) => {
                masked.push_str("***");
                rest = &after[sign..];
            }
            None => rest = after,
        }
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those with "127.0.0.1:547", "no such host", "tar file", "executor failed" were captured from Docker
    /// 20.10; the others are from memory.
    #[test]
    fn the_words_are_understood() {
        use ImageAction::{Build, Load, Pull};
        let said = [
            (
                Pull,
                "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating",
            ),
            (Pull, "error pulling image configuration: received unexpected HTTP status: 429 Too Many Requests"),
            (Pull, "failed to register layer: write /usr/lib/x: no space left on device"),
            (Pull, "manifest for 127.0.0.1:5477/x:1 not found: manifest unknown: manifest unknown"),
            (
                Pull,
                "pull access denied for nope, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            ),
            (Pull, "Head \"http://127.0.0.1:5478/v2/x/manifests/2\": no basic auth credentials"),
            (Pull, "unauthorized: authentication required"),
            (
                Pull,
                "failed to resolve reference: pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
            ),
            (
                Pull,
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            ),
            (Pull, "no matching manifest for linux/arm64/v8 in the manifest list entries"),
            (
                Pull,
                "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: no such host",
            ),
            (
                Pull,
                "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: read udp 10.0.0.2:1->10.0.0.53:53: i/o timeout",
            ),
            (Pull, "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"),
            (Pull, "Get \"https://x:5000/v2/\": x509: certificate signed by unknown authority"),
            (Pull, "unexpected EOF"),
            (Pull, "read tcp 10.0.0.2:1->10.0.0.3:443: read: connection reset by peer"),
            (Pull, "net/http: TLS handshake timeout"),
            (Pull, "dial tcp 10.0.0.3:443: i/o timeout"),
            (Pull, "received unexpected HTTP status: 503 Service Unavailable"),
            (Pull, "Get \"https://x/v2/\": EOF"),
            (Pull, "failed to register layer: mkdir /x: permission denied"),
            (Pull, "something new"),
            (Build, "executor failed running [/bin/sh -c echo not found; exit 3]: exit code: 3"),
            (Build, "failed to solve: process \"/bin/sh -c false\" did not complete successfully: exit code: 1"),
            (
                Build,
                "failed to solve with frontend dockerfile.v0: failed to create LLB definition: failed to do request: Head \"https://registry-1.docker.io/v2/library/debian/manifests/x\": dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: no such host",
            ),
            (Build, "failed to solve: debian:nothere: docker.io/library/debian:nothere: not found"),
            (Build, "failed to copy files: copy file range failed: no space left on device"),
            (Load, "Error processing tar file(exit status 1): unexpected EOF"),
            (Load, "Error processing tar file(exit status 1): archive/tar: invalid tar header"),
            (Load, "Error processing tar file(flate: corrupt input before offset 1): "),
            (Load, "open /var/lib/docker/tmp/docker-import-1/repositories: no such file or directory"),
            (Load, "Error processing tar file(exit status 1): write /layer.tar: no space left on device"),
        ];
        let table: Vec<String> = said
            .iter()
            .map(|(action, words)| {
                let f = Failure::from_words(*action, words);
                let again = if f.transient { " again" } else { "" };
                format!("{action:?} {:?}{again}: {:.60}", f.fault, f.reason)
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r#"
        Pull RateLimited: toomanyrequests: You have reached your pull rate limit. You 
        Pull RateLimited: error pulling image configuration: received unexpected HTTP 
        Pull NoSpace: failed to register layer: write /usr/lib/x: no space left on
        Pull NotFound: manifest for 127.0.0.1:5477/x:1 not found: manifest unknown:
        Pull NotFound: pull access denied for nope, repository does not exist or ma
        Pull Unauthorized: Head "http://127.0.0.1:5478/v2/x/manifests/2": no basic auth
        Pull Unauthorized: unauthorized: authentication required
        Pull Unauthorized: failed to resolve reference: pull access denied, repository 
        Pull NotFound: pull access denied, repository does not exist or may require
        Pull Architecture: no matching manifest for linux/arm64/v8 in the manifest list
        Pull Network: Get "https://registry-1.docker.io/v2/": dial tcp: lookup reg
        Pull Network: Get "https://registry-1.docker.io/v2/": dial tcp: lookup reg
        Pull Network: Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect:
        Pull Network: Get "https://x:5000/v2/": x509: certificate signed by unknow
        Pull Network again: unexpected EOF
        Pull Network again: read tcp 10.0.0.2:1->10.0.0.3:443: read: connection reset by
        Pull Network again: net/http: TLS handshake timeout
        Pull Network again: dial tcp 10.0.0.3:443: i/o timeout
        Pull Network again: received unexpected HTTP status: 503 Service Unavailable
        Pull Network again: Get "https://x/v2/": EOF
        Pull Other: failed to register layer: mkdir /x: permission denied
        Pull Other: something new
        Build BuildStep: executor failed running [/bin/sh -c echo not found; exit 3]:
        Build BuildStep: process "/bin/sh -c false" did not complete successfully: ex
        Build Network: Head "https://registry-1.docker.io/v2/library/debian/manifes
        Build NotFound: debian:nothere: docker.io/library/debian:nothere: not found
        Build NoSpace: failed to copy files: copy file range failed: no space left 
        Load BadArchive: Error processing tar file(exit status 1): unexpected EOF
        Load BadArchive: Error processing tar file(exit status 1): archive/tar: inval
        Load BadArchive: Error processing tar file(flate: corrupt input before offset
        Load BadArchive: open /var/lib/docker/tmp/docker-import-1/repositories: no su
        Load NoSpace: Error processing tar file(exit status 1): write /layer.tar:
        "#);
    }

    #[test]
    fn a_failed_step_tells_by_its_last_lines() {
        let of = |line: &str| of_step(&["Get:1 x".to_owned(), line.to_owned()]);
        assert_eq!(of("E: Temporary failure resolving 'mirror.example'"), ImageFault::Network);
        assert_eq!(of("curl: (60) SSL certificate problem: self-signed certificate in chain"), ImageFault::Network);
        assert_eq!(of("curl: (7) Failed to connect to r.example port 443 after 3 ms"), ImageFault::Network);
        assert_eq!(of("curl: (22) The requested URL returned error: 404"), ImageFault::BuildStep);
        assert_eq!(of("dpkg: error: cannot copy: No space left on device"), ImageFault::NoSpace);
        assert_eq!(of("exec /bin/sh: exec format error"), ImageFault::Architecture);
        assert_eq!(of("E: Unable to locate package nope"), ImageFault::BuildStep);
    }

    #[test]
    fn addresses_lose_their_credentials() {
        for (text, masked) in [
            ("proxy http://me:secret@proxy:3128/ failed", "proxy http://***@proxy:3128/ failed"),
            ("http://me:p@ss@proxy", "http://***@proxy"),
            ("\"https://t@a.b/x\" and https://c.d/e@f", "\"https://***@a.b/x\" and https://c.d/e@f"),
            ("nothing: here", "nothing: here"),
            ("://", "://"),
        ] {
            assert_eq!(mask_urls(text), masked);
        }
    }
}
