//! Calls and faults as a test speaks of them: which call, and what is to happen to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One call that a client made.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number since the start or the last [`Proxy::reset`], from 1.
    pub seq: usize,
    /// `GET`, `POST`, …
    pub method: String,
    /// As sent, with version prefix and query.
    pub path: String,
    /// It changes something on the engine, see [`writes`].
    pub writes: bool,
    /// It reached the engine.
    pub forwarded: bool,
    /// What the client was answered, once it was; `None` for none.
    pub status: Option<u16>,
}

impl Call {
    /// The path without version prefix and query: `/containers/create`.
    pub fn route(&self) -> &str {
        route(&self.path)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.writes { "w" } else { "r" };
        write!(f, "{:>3} {mark} {} {}", self.seq, self.method, self.path)?;
        match self.status {
            Some(status) => write!(f, " → {status}"),
            None => write!(f, " → –"),
        }
    }
}

/// What to do with a call.
#[derive(Clone, Debug)]
pub enum Action {
    /// SIGKILL to the process group of [`Proxy::kill_target`]; the engine never sees the call.
    KillBefore,
    /// The same after the engine answered; the client never sees the answer.
    KillAfter,
    /// Close the connection; the engine never sees the call.
    CutBefore,
    /// Forward it, and close the connection in the middle of the answer.
    Cut,
    /// Forward it at once, hold the answer back for so long.
    Delay(Duration),
    /// Answer this status and JSON body; the engine never sees the call.
    Status(u16, String),
    /// Never answer; the engine never sees the call.
    Hang,
    /// Put the second text in the first one's place in the answer. They are equally long.
    Rewrite(&'static str, &'static str),
}

impl Action {
    /// An engine's own error answer: `{"message":…}`.
    pub fn error(status: u16, message: &str) -> Self {
        Self::Status(status, serde_json::json!({ "message": message }).to_string())
    }
}

/// Tells whether a call is meant.
pub type Predicate = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// Which call.
#[derive(Clone)]
pub enum At {
    /// The n-th call of all, from 1. Once.
    Nth(usize),
    /// The n-th call of those meant, from 1, counted from when the fault was set. Once.
    NthOf(usize, Predicate),
    /// Every call that is meant.
    Every(Predicate),
}

impl At {
    /// The n-th call that changes something on the engine.
    pub fn writing(n: usize) -> Self {
        Self::NthOf(n, Arc::new(|call| call.writes))
    }

    /// The n-th call that [`works`].
    pub fn work(n: usize) -> Self {
        Self::NthOf(n, Arc::new(works))
    }

    /// The first call of this method and route, `*` standing for any one part: `("POST", "/containers/*/start")`.
    pub fn first(method: &str, pattern: &str) -> Self {
        Self::NthOf(1, is(method, pattern))
    }

    /// Every call of this method and route.
    pub fn every(method: &str, pattern: &str) -> Self {
        Self::Every(is(method, pattern))
    }

    /// Every call.
    pub fn all() -> Self {
        Self::Every(Arc::new(|_| true))
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nth(n) => write!(f, "Nth({n})"),
            Self::NthOf(n, _) => write!(f, "NthOf({n}, …)"),
            Self::Every(_) => write!(f, "Every(…)"),
        }
    }
}

/// An action and the call it happens to.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which call.
    pub at: At,
    /// What happens to it.
    pub action: Action,
}

/// A predicate for method and route, `*` standing for any one part of the path, a method `*` for any.
pub fn is(method: &str, pattern: &str) -> Predicate {
    let method = method.to_owned();
    let pattern = pattern.to_owned();
    Arc::new(move |call| {
        let parts: Vec<&str> = call.route().split('/').collect();
        let wanted: Vec<&str> = pattern.split('/').collect();
        (method == "*" || method == call.method)
            && parts.len() == wanted.len()
            && wanted.iter().zip(&parts).all(|(w, p)| *w == "*" || w == p)
    })
}

/// Whether a call changes something on the engine. A POST that only watches, checks or carries another call's
/// data does not: wait, attach, resize, auth, BuildKit's session.
pub fn writes(method: &str, path: &str) -> bool {
    let route = route(path);
    match method {
        "PUT" | "DELETE" | "PATCH" => true,
        "POST" => {
            let last = route.rsplit('/').next().unwrap_or_default();
            let watching = route.starts_with("/containers/") && matches!(last, "wait" | "attach" | "resize");
            let resizing = route.starts_with("/exec/") && last == "resize";
            !(watching || resizing || matches!(route, "/auth" | "/session" | "/grpc"))
        }
        _ => false,
    }
}

/// A call that counts when docklet is killed: it changes something, or a stream hangs on it. For the engine a kill after one of
/// them is the same as a kill at any look that follows, up to just before the next.
pub fn works(call: &Call) -> bool {
    let streams = || matches!(call.route().rsplit('/').next(), Some("attach" | "wait"));
    call.writes || (call.method == "POST" && streams())
}

fn route(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or_default();
    match path.strip_prefix("/v") {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            rest.find('/').map_or("", |slash| &rest[slash..])
        }
        _ => path,
    }
}
