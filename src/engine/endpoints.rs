//! Where an engine may listen, in the order of the contract's section 5. Pure but for the docker
//! context files; connects to nothing.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    engine::context::{self, DockerContext},
    error::{Error, Result, is_ssh},
};

/// Docker's own socket.
pub(crate) const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// What the user said about which engine to use. The caller fills it from flags and environment;
/// an empty text counts as not said.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `--host`.
    pub host: Option<String>,
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `--context`.
    pub context: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// The engine that the user chose in `docklet setup`.
    pub remembered: Option<String>,
    /// Whether `DOCKER_TLS_VERIFY` is set: `tcp://` is spoken with TLS.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`: the folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub cert_path: Option<PathBuf>,
    /// Docker's configuration folder: `DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: PathBuf,
    /// The user's home folder.
    pub home: PathBuf,
    /// `XDG_CONFIG_HOME`, where Colima may live.
    pub config_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, where rootless engines listen.
    pub runtime_dir: Option<PathBuf>,
    /// The file that keeps what the engine said of itself; `None`: it is asked each time.
    pub memory: Option<PathBuf>,
}

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Endpoint {
    /// A socket in the file system.
    Unix(PathBuf),
    /// `host:port`, in the clear.
    Tcp(String),
    /// `host:port` with TLS, and the folder with the three certificate files.
    Tls(String, PathBuf),
    /// `ssh://[user@]host[:port]`; `docker` must be installed there.
    Ssh(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp(host) | Endpoint::Tls(host, _) => write!(f, "tcp://{host}"),
            Endpoint::Ssh(url) => f.write_str(url),
        }
    }
}

/// Whose place it is, which decides how to start what should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum EngineKind {
    /// Docker's own socket, and every place that is nobody else's.
    Docker,
    /// Docker Desktop's.
    Desktop,
    /// Rootless Docker's.
    RootlessDocker,
    /// The user's own Podman's.
    Podman,
    /// Root's Podman's.
    RootfulPodman,
    /// That of Podman's virtual machine.
    PodmanMachine,
    /// Colima's.
    Colima,
    /// OrbStack's.
    OrbStack,
    /// Rancher Desktop's.
    Rancher,
}

impl EngineKind {
    /// Tells from a socket's path whose it is.
    pub(in crate::engine) fn of(path: &Path) -> Self {
        let text = path.to_string_lossy();
        if text.contains("/.orbstack/") {
            EngineKind::OrbStack
        } else if text.contains("/.colima/") || text.contains("/colima/") {
            EngineKind::Colima
        } else if text.contains("/.rd/") {
            EngineKind::Rancher
        } else if text.contains("podman") {
            match text.as_ref() {
                "/run/podman/podman.sock" | "/var/run/podman/podman.sock" => EngineKind::RootfulPodman,
                t if t.contains("machine") => EngineKind::PodmanMachine,
                _ => EngineKind::Podman,
            }
        } else if text.contains("/.docker/") {
            EngineKind::Desktop
        } else if text.starts_with("/run/user/") {
            EngineKind::RootlessDocker
        } else {
            EngineKind::Docker
        }
    }
}

/// One place to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Candidate {
    /// How it is reached.
    pub(in crate::engine) endpoint: Endpoint,
    /// Why it is looked at, such as "DOCKER_HOST" or "the default socket".
    pub(in crate::engine) origin: String,
    /// Whose it is.
    pub(in crate::engine) kind: EngineKind,
}

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Candidates {
    /// The user chose; there is no second choice.
    Chosen(Candidate),
    /// Nobody chose: the first that answers.
    FirstOf(Vec<Candidate>),
}

/// Decides where to look.
///
/// # Errors
/// When what the user chose cannot be understood or does not exist.
pub(in crate::engine) fn choose(selection: &Selection) -> Result<Candidates> {
    let given = |value: &Option<String>| value.as_deref().map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned);
    let by_host = |host: &str, origin: &str| place(host, origin.to_owned(), tls(selection));
    // The order of the contract.
    if let Some(host) = given(&selection.host) {
        return by_host(&host, "--host").map(Candidates::Chosen);
    }
    let by_name = |name: &str, origin: &str| {
        if name == context::DEFAULT {
            return by_host(&format!("unix://{DEFAULT_SOCKET}"), &format!("{origin} default")).map(Candidates::Chosen);
        }
        let context = context::named(&selection.docker_config, name)?;
        by_context(context, &format!("{origin} {name}")).map(Candidates::Chosen)
    };
    if let Some(name) = given(&selection.context) {
        return by_name(&name, "--context");
    }
    if let Some(host) = given(&selection.docker_host) {
        return by_host(&host, "DOCKER_HOST").map(Candidates::Chosen);
    }
    if let Some(name) = given(&selection.docker_context) {
        return by_name(&name, "DOCKER_CONTEXT");
    }
    if let Some(host) = given(&selection.remembered) {
        return by_host(&host, "settings.toml").map(Candidates::Chosen);
    }
    if let Some(context) = context::current(&selection.docker_config)? {
        let origin = format!("the current docker context {}", context.name);
        return by_context(context, &origin).map(Candidates::Chosen);
    }
    Ok(Candidates::FirstOf(usual(selection)))
}

/// The engine that the user chose: where it listens, and why this one. `None` where the first that
/// answers is taken, or what was chosen cannot be understood. Asks nobody.
pub fn chosen(selection: &Selection) -> Option<(String, String)> {
    match choose(selection) {
        Ok(Candidates::Chosen(place)) => Some((place.endpoint.to_string(), place.origin)),
        _ => None,
    }
}

/// The address of the engine that the user chose, where it is behind ssh. Asks nobody.
pub fn chosen_behind_ssh(selection: &Selection) -> Option<String> {
    chosen(selection).map(|(endpoint, _)| endpoint).filter(|endpoint| is_ssh(endpoint))
}

/// The sockets of this machine where engines may listen: of the chosen one, and the usual ones. Asks nobody.
pub fn sockets(selection: &Selection) -> Vec<PathBuf> {
    let chosen = match choose(selection) {
        Ok(Candidates::Chosen(place)) => Some(place),
        _ => None,
    };
    let socket = |place: Candidate| match place.endpoint {
        Endpoint::Unix(path) => Some(path),
        _ => None,
    };
    chosen.into_iter().chain(usual(selection)).filter_map(socket).collect()
}

/// The user whose engine was chosen: the owner of its socket, where it has one.
pub fn owner(selection: &Selection) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    match choose(selection) {
        Ok(Candidates::Chosen(Candidate { endpoint: Endpoint::Unix(path), .. })) => {
            Some(std::fs::metadata(path).ok()?.uid())
        }
        _ => None,
    }
}

/// The places where engines listen when nobody says anything.
fn usual(selection: &Selection) -> Vec<Candidate> {
    let home = &selection.home;
    let config_home = selection.config_home.clone().unwrap_or_else(|| home.join(".config"));
    let machine = home.join(".local/share/containers/podman/machine");
    let in_runtime_dir = |path: &str| selection.runtime_dir.as_ref().map(|dir| dir.join(path));
    [
        (Some(DEFAULT_SOCKET.into()), EngineKind::Docker, "the default socket"),
        (Some(home.join(".docker/run/docker.sock")), EngineKind::Desktop, "Docker Desktop's socket"),
        (Some(home.join(".docker/desktop/docker.sock")), EngineKind::Desktop, "Docker Desktop's socket"),
        (in_runtime_dir("docker.sock"), EngineKind::RootlessDocker, "the rootless socket"),
        (in_runtime_dir("podman/podman.sock"), EngineKind::Podman, "Podman's socket"),
        (Some("/run/podman/podman.sock".into()), EngineKind::RootfulPodman, "root's Podman's socket"),
        (Some(machine.join("podman.sock")), EngineKind::PodmanMachine, "Podman machine's socket"),
        (Some(machine.join("qemu/podman.sock")), EngineKind::PodmanMachine, "Podman machine's socket"),
        (Some(home.join(".colima/default/docker.sock")), EngineKind::Colima, "Colima's socket"),
        (Some(config_home.join("colima/default/docker.sock")), EngineKind::Colima, "Colima's socket"),
        (Some(home.join(".orbstack/run/docker.sock")), EngineKind::OrbStack, "OrbStack's socket"),
        (Some(home.join(".rd/docker.sock")), EngineKind::Rancher, "Rancher Desktop's socket"),
    ]
    .into_iter()
    .filter_map(|(path, kind, origin)| {
        Some(Candidate { endpoint: Endpoint::Unix(path?), origin: origin.to_owned(), kind })
    })
    .collect()
}

/// The certificates for `tcp://`, where TLS is wanted; for `https://` always.
fn tls(selection: &Selection) -> Tls<'_> {
    Tls { wanted: selection.tls_verify, folder: selection.cert_path.as_ref().unwrap_or(&selection.docker_config) }
}

#[derive(Clone, Copy)]
struct Tls<'a> {
    wanted: bool,
    folder: &'a Path,
}

fn by_context(context: DockerContext, origin: &str) -> Result<Candidate> {
    let none = PathBuf::new();
    let folder = context.certificates.as_ref().unwrap_or(&none);
    place(&context.host, origin.to_owned(), Tls { wanted: context.certificates.is_some(), folder })
}

/// Understands what docker understands as a host.
fn place(host: &str, origin: String, tls: Tls<'_>) -> Result<Candidate> {
    let with = |endpoint, kind| Ok(Candidate { endpoint, origin: origin.clone(), kind });
    if host.starts_with('/') {
        return place(&format!("unix://{host}"), origin, tls);
    }
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    let unsupported = |reason: String, hint: &str| {
        Err(Error::EngineUnsupported { endpoint: host.to_owned(), reason, hint: hint.to_owned() })
    };
    let example = "write it like unix:///var/run/docker.sock, tcp://HOST:2375 or ssh://USER@HOST";
    if rest.trim_matches('/').is_empty() {
        return unsupported(format!("{origin} names no place"), example);
    }
    match scheme {
        "unix" => {
            let path = PathBuf::from(rest.trim_end_matches('/'));
            if !path.is_absolute() {
                return unsupported("the path of the socket must begin with /".to_owned(), example);
            }
            let kind = EngineKind::of(&path);
            with(Endpoint::Unix(path), kind)
        }
        "tcp" | "http" | "https" => {
            let host = rest.trim_end_matches('/');
            if host.contains('/') {
                return unsupported("a path behind the host is not supported".to_owned(), example);
            }
            if let Some((_, after)) = host.rsplit_once('@') {
                // What stands before it may be a password.
                return Err(Error::EngineUnsupported {
                    endpoint: format!("{scheme}://***@{after}"),
                    reason: "an engine knows no users and passwords".to_owned(),
                    hint: "leave them out, or use ssh://USER@HOST; with TLS, certificates say who you are".to_owned(),
                });
            }
            if !is_authority(host) {
                return unsupported("it isn't a valid host and port".to_owned(), example);
            }
            if tls.wanted || scheme == "https" {
                with(Endpoint::Tls(with_port(host, 2376), tls.folder.to_owned()), EngineKind::Docker)
            } else {
                with(Endpoint::Tcp(with_port(host, 2375)), EngineKind::Docker)
            }
        }
        "ssh" => {
            let host = rest.trim_end_matches('/');
            // ssh takes what begins with - for an option, and passes names on to other programs.
            let is_name = |part: &str| !part.is_empty() && !part.starts_with('-');
            if !is_authority(host) || !host.split('@').all(is_name) || host.matches('@').count() > 1 {
                return unsupported("it isn't a valid user and host".to_owned(), example);
            }
            with(Endpoint::Ssh(format!("ssh://{host}")), EngineKind::Docker)
        }
        "npipe" => unsupported(
            "it is a pipe of Windows".to_owned(),
            "run docklet inside WSL2, with Docker Desktop's WSL integration for that distribution",
        ),
        other => unsupported(format!("docklet cannot speak {other}://"), example),
    }
}

/// Whether a text is `[user@]host[:port]`.
fn is_authority(text: &str) -> bool {
    let parsed = text.parse::<hyper::http::uri::Authority>();
    parsed.is_ok_and(|authority| {
        let after = text.rsplit(['@', ']']).next().unwrap_or_default();
        !authority.host().is_empty() && (!after.contains(':') || authority.port_u16().is_some())
    })
}

/// `host` with docker's port where it has none.
fn with_port(host: &str, port: u16) -> String {
    let after_address = host.rfind(']').map_or(host, |end| &host[end..]);
    if after_address.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests;
