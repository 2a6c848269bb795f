//! bollard's errors → ours, and what an engine's message is about. Pure. Decides nothing about the user's next step: that is
//! `crate::error`'s.

use std::{error::Error as _, io};

use bollard::errors::Error as Theirs;

use crate::{
    engine::{DEADLINE, connector::tls_failure},
    error::{Error, ObjectKind, io_reason},
};

/// Longest reason that is shown; some proxies answer with a whole page.
const LONGEST_REASON: usize = 400;

/// The error of a call that met the deadline.
pub(in crate::engine) fn timeout(call: &str) -> Error {
    Error::EngineTimeout { call: call.to_owned(), seconds: DEADLINE.as_secs() }
}

/// Turns bollard's error into ours. `call` as in [`super::call::ask`].
pub(in crate::engine) fn translate(call: &str, error: Theirs) -> Error {
    let gone = |reason: String| Error::EngineGone { call: call.to_owned(), reason };
    let refused = |status, reason: &str| match no_space(reason) {
        true => Error::NoSpace { place: "the engine's disk".to_owned(), needed: None, available: None },
        false => Error::EngineRefused { call: call.to_owned(), status, reason: clean(reason) },
    };
    match &error {
        Theirs::DockerResponseServerError { status_code, message } => refused(*status_code, message),
        // An error inside a stream comes after HTTP 200; what it means is a failure of the engine.
        Theirs::DockerStreamError { error } | Theirs::DockerContainerWaitError { error, .. } => refused(500, error),
        Theirs::RequestTimeoutError => timeout(call),
        Theirs::JsonDataError { .. } | Theirs::JsonSerdeError { .. } | Theirs::StrParseError { .. } => {
            gone("its answer was cut off, or is not what an engine says".to_owned())
        }
        other => match broken(other) {
            Some(_) if io_error(other).is_some_and(|e| e.kind() == io::ErrorKind::TimedOut) => timeout(call),
            Some(reason) => gone(reason),
            None => Error::bug(format!("{call}: {error}")),
        },
    }
}

/// Why the connection broke, where that is the error.
pub(in crate::engine) fn broken(error: &Theirs) -> Option<String> {
    let is_broken =
        matches!(error, Theirs::IOError { .. } | Theirs::HyperResponseError { .. } | Theirs::HyperLegacyError { .. });
    let reason = || match io_error(error) {
        Some(e) => tls_failure(e).map_or_else(|| io_reason(e), |(reason, _)| reason),
        None if not_http(error) => "it answers with something that isn't HTTP".to_owned(),
        None => "it closed the connection before its answer was complete".to_owned(),
    };
    is_broken.then(reason)
}

/// The same for a call that a start needs, such as one that creates a container: what the engine refuses is why `name` does
/// not start.
pub(in crate::engine) fn start_refused(name: &str, call: &str, error: Theirs) -> Error {
    match translate(call, error) {
        Error::EngineRefused { call, status, reason } => Error::StartFailed {
            name: name.to_owned(),
            reason: format!("the engine refused to {call}: {reason} (HTTP {status})"),
            log: vec![],
        },
        other => other,
    }
}

/// The HTTP status of an error that the engine answered with. Podman answers 500 for a container that goes while it is
/// looked at.
pub(in crate::engine) fn status_of(error: &Theirs) -> Option<u16> {
    match error {
        Theirs::DockerResponseServerError { status_code: 500, message } if message.ends_with(": no such container") => {
            Some(404)
        }
        Theirs::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The error for a name that another container has, where it is that. Podman answers 500, with the reason in words.
pub(in crate::engine) fn name_taken(error: &Theirs, name: &str) -> Option<Error> {
    let taken = match error {
        Theirs::DockerResponseServerError { status_code: 409, .. } => true,
        Theirs::DockerResponseServerError { status_code: 500, message } => {
            message.contains(" name ") && message.contains("is already in use")
        }
        _ => false,
    };
    taken.then(|| Error::AlreadyExists { kind: ObjectKind::Container, name: name.to_owned() })
}

/// The operating system's error below bollard's, however deep.
pub(in crate::engine) fn io_error(error: &Theirs) -> Option<&io::Error> {
    // A transparent variant hides its own error from the chain of sources.
    let mut next: Option<&(dyn std::error::Error + 'static)> = match error {
        Theirs::IOError { err } => return Some(deepest(err)),
        Theirs::HyperResponseError { err } => Some(err),
        other => other.source(),
    };
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(deepest(io));
        }
        next = error.source();
    }
    None
}

/// An I/O error may wrap another one that has the real kind.
fn deepest(error: &io::Error) -> &io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        Some(inner) => deepest(inner),
        None => error,
    }
}

/// Whether the other side spoke, but not HTTP.
pub(in crate::engine) fn not_http(error: &Theirs) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = match error {
        Theirs::HyperResponseError { err } => Some(err),
        other => other.source(),
    };
    while let Some(error) = next {
        if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            return hyper.is_parse();
        }
        next = error.source();
    }
    false
}

/// The engine's message without its wrapping: one line, no JSON around it, no "Error response
/// from daemon".
pub(in crate::engine) fn clean(message: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Wrapped {
        #[serde(alias = "error", alias = "cause")]
        message: String,
    }
    let unwrapped = serde_json::from_str::<Wrapped>(message).map(|w| w.message);
    let mut text = unwrapped.as_deref().unwrap_or(message).trim();
    for noise in ["Error response from daemon: ", "Error: "] {
        text = text.strip_prefix(noise).unwrap_or(text);
    }
    let line = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(", ");
    match line.char_indices().nth(LONGEST_REASON) {
        _ if line.is_empty() => "it gave no reason".to_owned(),
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

/// Whether an engine's message says that a port to be published is taken.
pub(in crate::engine) fn port_conflict(message: &str) -> bool {
    contains_any(
        message,
        &[
            // Docker's own book-keeping
            "port is already allocated",
            // Docker's proxy, Podman's rootlessport, pasta and conmon
            "address already in use",
            "failed to bind port",
            "failed to bind host port",
            // Docker Desktop
            "ports are not available",
            // slirp4netns, through Podman and rootless Docker
            "proxy already running",
        ],
    )
}

/// Whether an engine's message says that its disk is full.
pub(in crate::engine) fn no_space(message: &str) -> bool {
    contains_any(message, &["no space left on device", "disk quota exceeded", "not enough free space"])
}

fn contains_any(message: &str, parts: &[&str]) -> bool {
    let message = message.to_lowercase();
    parts.iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn server(status_code: u16, message: &str) -> Theirs {
        Theirs::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn what_the_engine_refuses_keeps_status_and_loses_its_wrapping() {
        for (message, wanted) in [
            ("No such container: x\n", "No such container: x"),
            ("{\"message\":\"No such container: x\"}", "No such container: x"),
            ("{\"cause\":\"no such container\",\"response\":404}", "no such container"),
            ("Error response from daemon: conflict", "conflict"),
            ("", "it gave no reason"),
        ] {
            match translate("look", server(404, message)) {
                Error::EngineRefused { call, status: 404, reason } => {
                    assert_eq!((call.as_str(), reason.as_str()), ("look", wanted))
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(clean(&"x".repeat(5000)).chars().count(), LONGEST_REASON + 2);
        assert_eq!(status_of(&server(409, "")), Some(409));
        assert_eq!(status_of(&Theirs::RequestTimeoutError), None);
    }

    #[test]
    fn a_broken_connection_is_gone_and_a_slow_one_timed_out() {
        let io = |kind| Theirs::IOError { err: io::Error::from(kind) };
        for error in [
            io(io::ErrorKind::ConnectionReset),
            io(io::ErrorKind::ConnectionRefused),
            io(io::ErrorKind::BrokenPipe),
            Theirs::IOError { err: io::Error::other(io::Error::from(io::ErrorKind::UnexpectedEof)) },
            Theirs::JsonDataError { message: "expected value".to_owned(), column: 1 },
            Theirs::JsonSerdeError { err: serde_json::from_str::<u8>("").unwrap_err() },
        ] {
            let shown = format!("{error:?}");
            assert!(matches!(translate("look", error), Error::EngineGone { .. }), "{shown}");
        }
        for error in [Theirs::RequestTimeoutError, io(io::ErrorKind::TimedOut)] {
            assert!(matches!(translate("look", error), Error::EngineTimeout { seconds: 6, .. }));
        }
        assert!(matches!(translate("look", Theirs::MissingSessionBuildkitError {}), Error::Bug { .. }));
    }

    #[test]
    fn the_kind_is_found_below_wrapped_io_errors() {
        let inner = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Theirs::IOError { err: io::Error::other(io::Error::other(inner)) };
        assert_eq!(io_error(&error).unwrap().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_taken_name_is_known_on_every_engine() {
        let said = |status_code, message: &str| {
            name_taken(&Theirs::DockerResponseServerError { status_code, message: message.to_owned() }, "x").is_some()
        };
        assert!(said(409, "Conflict. The container name \"/x\" is already in use by container \"y\"."));
        // Podman 5.8.6
        assert!(said(
            500,
            "container create: creating container storage: the container name \"x\" is already in use by y. You have to remove that container to be able to reuse that name: that name is already in use"
        ));
        assert!(!said(500, "listen tcp4 127.0.0.1:3000: bind: address already in use"));
    }

    #[test]
    fn bind_errors_of_every_engine_are_known() {
        for message in [
            "driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:3000 failed: port is already allocated",
            "Error starting userland proxy: listen tcp4 127.0.0.1:3000: bind: address already in use",
            "failed to set up container networking: driver failed: failed to bind host port for 127.0.0.1:3000:172.17.0.2:3000/tcp: address already in use",
            "rootlessport listen tcp 127.0.0.1:3000: bind: address already in use",
            "Ports are not available: exposing port TCP 127.0.0.1:3000 -> 0.0.0.0:0: listen tcp 127.0.0.1:3000: bind: address already in use",
            "cannot listen on the TCP port: listen tcp4 127.0.0.1:3000: bind: Address already in use",
            "Failed to bind port 3000 (Address already in use) for option '-t 127.0.0.1/3000-3000:3000-3000'",
        ] {
            assert!(port_conflict(message), "{message}");
        }
        assert!(!port_conflict("Conflict. The container name \"/x\" is already in use by container \"y\""));
        assert!(no_space("write /var/lib/docker/tmp/x: No space left on device"));
        assert!(!no_space("no such image"));
    }
}
