//! Why a place has no engine for us, as an error with the exact next step for this system.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    engine::{
        endpoints::{Candidate, DEFAULT_SOCKET, Endpoint, EngineKind},
        error,
        identify::{self, Unusable},
    },
    error::Error,
    host::system::{self, Init, System},
};

/// Why a place gave no engine.
#[derive(Debug, Clone)]
pub(in crate::engine) enum Unreachable {
    /// There is no socket.
    Missing,
    /// Whether there is a socket may not be seen.
    Hidden,
    /// There is a socket, or a host, and nothing listens.
    Refused(String),
    /// The socket may not be used.
    Denied,
    /// Something is there, accepts, and says nothing.
    Hangs,
    /// What is there is no engine that can be used.
    Unusable(Unusable),
    /// The engine answered with an error, or broke off.
    Broken(Error),
}

impl Unreachable {
    /// Whether the next place may be tried. An engine that is there and hangs or fails is not
    /// passed over: on another one the same appliance would be set up a second time.
    pub(in crate::engine) fn may_go_on(&self) -> bool {
        !matches!(self, Unreachable::Hangs | Unreachable::Broken(_))
    }
}

/// The error for a place that the user chose.
pub(in crate::engine) fn explain(place: &Candidate, failure: Unreachable, system: System) -> Error {
    let endpoint = place.endpoint.to_string();
    let not_running = |reason: String| Error::EngineNotRunning {
        endpoint: endpoint.clone(),
        reason,
        start_command: start_command(place, system),
    };
    match failure {
        Unreachable::Missing => not_running("the socket does not exist".to_owned()),
        Unreachable::Refused(reason) => not_running(reason),
        Unreachable::Hidden => Error::EnginePermissionDenied {
            endpoint,
            group_command: "its folder belongs to another user: run docklet as that user, or use another engine: docklet --host URL".to_owned(),
        },
        Unreachable::Denied => Error::EnginePermissionDenied { endpoint, group_command: group_command(place, system) },
        Unreachable::Hangs => error::timeout(&format!("say its version, at {endpoint} from {}", place.origin)),
        Unreachable::Unusable(Unusable { reason, hint }) => Error::EngineUnsupported { endpoint, reason, hint },
        Unreachable::Broken(error) => error,
    }
}

/// The most useful error when no place has an engine: no permission, then unusable, then not
/// running, then not installed. `installed` tells whether the engine of a place is installed.
pub(in crate::engine) fn most_useful(
    tried: Vec<(Candidate, Unreachable)>,
    installed: impl Fn(EngineKind) -> bool,
    system: System,
) -> Error {
    let rank = |place: &Candidate, failure: &Unreachable| match failure {
        Unreachable::Hangs | Unreachable::Broken(_) => 5,
        Unreachable::Denied => 4,
        Unreachable::Unusable(_) => 3,
        Unreachable::Refused(_) => 2,
        Unreachable::Missing if installed(place.kind) => 1,
        Unreachable::Missing | Unreachable::Hidden => 0,
    };
    let looked_at: Vec<String> = tried.iter().map(|(place, failure)| looked_at(place, failure)).collect();
    let mut best: Option<(u8, Candidate, Unreachable)> = None;
    for (place, failure) in tried {
        let rank = rank(&place, &failure);
        // Of equals the first: the order of the places is the order of preference.
        if rank > best.as_ref().map_or(0, |(best, ..)| *best) {
            best = Some((rank, place, failure));
        }
    }
    match best {
        Some((_, place, failure)) => explain(&place, failure, system),
        None => Error::EngineNotInstalled { tried: looked_at },
    }
}

fn looked_at(place: &Candidate, failure: &Unreachable) -> String {
    let what = match failure {
        Unreachable::Hidden => "cannot be read by your user",
        _ => "is not there",
    };
    format!("{} {what} ({})", place.origin, place.endpoint)
}

/// The command that starts the engine of a place.
fn start_command(place: &Candidate, system: System) -> String {
    let sudo = system.sudo();
    let path = match &place.endpoint {
        Endpoint::Tcp(_) | Endpoint::Tls(..) => {
            return format!(
                "see whether an engine listens there and may be reached from here: docker --host {} version",
                place.endpoint
            );
        }
        Endpoint::Ssh(url) => {
            return format!("see whether this works without a question: ssh {url} docker version");
        }
        Endpoint::Unix(path) => path,
    };
    let systemd = system.init == Init::Systemd;
    match place.kind {
        EngineKind::Colima => "colima start".to_owned(),
        EngineKind::OrbStack => "orbctl start".to_owned(),
        EngineKind::PodmanMachine => "podman machine start".to_owned(),
        EngineKind::Rancher if system.macos => "open -a 'Rancher Desktop'".to_owned(),
        EngineKind::Rancher => "rdctl start".to_owned(),
        EngineKind::Docker | EngineKind::Desktop if system.macos => {
            "open -a Docker (or colima start, or orbctl start)".to_owned()
        }
        EngineKind::Desktop => "systemctl --user start docker-desktop".to_owned(),
        EngineKind::RootlessDocker if systemd => "systemctl --user start docker".to_owned(),
        EngineKind::RootlessDocker => "dockerd-rootless.sh &".to_owned(),
        EngineKind::Podman if systemd => "systemctl --user start podman.socket".to_owned(),
        EngineKind::Podman => format!("podman system service --time=0 unix://{} &", path.display()),
        EngineKind::RootfulPodman if systemd => format!("{sudo}systemctl start podman.socket"),
        EngineKind::RootfulPodman => format!("{sudo}podman system service --time=0 &"),
        EngineKind::Docker if path != Path::new(DEFAULT_SOCKET) && path != Path::new("/run/docker.sock") => {
            format!("start the engine that listens there, or use another one: docklet --host unix://{DEFAULT_SOCKET}")
        }
        EngineKind::Docker => match system.init {
            Init::Systemd => format!("{sudo}systemctl start docker"),
            Init::OpenRc => format!("{sudo}rc-service docker start"),
            Init::Scripts => format!("{sudo}service docker start"),
            Init::Nobody => format!("{sudo}service docker start, or where that fails: {sudo}dockerd &"),
        },
    }
}

/// The command that gives the user permission to use the socket of a place.
fn group_command(place: &Candidate, system: System) -> String {
    let Endpoint::Unix(path) = &place.endpoint else {
        return identify::other_engine();
    };
    if place.kind == EngineKind::RootfulPodman {
        let own = if system.init == Init::Systemd {
            "systemctl --user enable --now podman.socket"
        } else {
            "podman system service --time=0 &"
        };
        return format!("it is root's Podman; use your own: {own}");
    }
    let Ok(socket) = path.metadata() else { return identify::other_engine() };
    let group = system::group(socket.gid()).filter(|_| socket.gid() != 0 && socket.mode() & 0o060 == 0o060);
    grant(group, system::name_of_user(socket.uid()), system::user_name())
}

/// From the group that may use a socket (name, members), its owner and our user.
fn grant(group: Option<(String, Vec<String>)>, owner: Option<String>, user: Option<String>) -> String {
    match group {
        // In the group, but this session began before.
        Some((name, members)) if user.is_some_and(|u| members.contains(&u)) => format!(
            "log out and log in again: you are in the group {name}, but this session does not know yet (or now, in this terminal only: newgrp {name})"
        ),
        Some((name, _)) => format!(
            "sudo usermod -aG {name} $USER, then log out and log in again (or now, in this terminal only: newgrp {name})"
        ),
        None => match owner.filter(|o| o != "root") {
            Some(owner) => format!("it belongs to the user {owner} alone: run docklet as {owner}"),
            None => "sudo groupadd -f docker && sudo usermod -aG docker $USER, then restart the engine, log out and log in again".to_owned(),
        },
    }
}

/// Whether the engine that would listen at such a place is installed here.
pub(in crate::engine) fn is_installed(kind: EngineKind) -> bool {
    let program = |name| system::which(name).is_some();
    let app = |name: &str| Path::new("/Applications").join(name).exists();
    match kind {
        EngineKind::Docker => program("dockerd"),
        EngineKind::Desktop => app("Docker.app") || Path::new("/opt/docker-desktop").exists(),
        // Packages of Docker bring its script along; only who has a socket has set it up.
        EngineKind::RootlessDocker => false,
        EngineKind::Podman => cfg!(not(target_os = "macos")) && program("podman"),
        EngineKind::RootfulPodman => false,
        EngineKind::PodmanMachine => cfg!(target_os = "macos") && program("podman"),
        EngineKind::Colima => program("colima"),
        EngineKind::OrbStack => app("OrbStack.app") || program("orbctl"),
        EngineKind::Rancher => app("Rancher Desktop.app") || program("rdctl"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const USER: System = System { macos: false, init: Init::Systemd, root: false };

    fn place(path: &str) -> Candidate {
        let kind = EngineKind::of(Path::new(path));
        Candidate { endpoint: Endpoint::Unix(path.into()), origin: format!("{kind:?}"), kind }
    }

    #[test]
    fn each_engine_is_started_in_its_own_way() {
        let nobody = System { init: Init::Nobody, ..USER };
        let root = System { root: true, ..nobody };
        let mac = System { macos: true, ..nobody };
        let table: Vec<String> = [
            ("/var/run/docker.sock", USER),
            ("/var/run/docker.sock", System { init: Init::OpenRc, ..USER }),
            ("/var/run/docker.sock", System { init: Init::Scripts, ..USER }),
            ("/var/run/docker.sock", nobody),
            ("/var/run/docker.sock", root),
            ("/var/run/docker.sock", mac),
            ("/tmp/mine.sock", USER),
            ("/home/me/.docker/desktop/docker.sock", USER),
            ("/run/user/1000/docker.sock", USER),
            ("/run/user/1000/docker.sock", nobody),
            ("/run/user/1000/podman/podman.sock", USER),
            ("/run/user/1000/podman/podman.sock", nobody),
            ("/run/podman/podman.sock", USER),
            ("/Users/me/.colima/default/docker.sock", mac),
            ("/Users/me/.orbstack/run/docker.sock", mac),
            ("/Users/me/.rd/docker.sock", mac),
        ]
        .map(|(path, system)| start_command(&place(path), system))
        .into();
        insta::assert_snapshot!(table.join("\n"), @r"
        sudo systemctl start docker
        sudo rc-service docker start
        sudo service docker start
        sudo service docker start, or where that fails: sudo dockerd &
        service docker start, or where that fails: dockerd &
        open -a Docker (or colima start, or orbctl start)
        start the engine that listens there, or use another one: docklet --host unix:///var/run/docker.sock
        systemctl --user start docker-desktop
        systemctl --user start docker
        dockerd-rootless.sh &
        systemctl --user start podman.socket
        podman system service --time=0 unix:///run/user/1000/podman/podman.sock &
        sudo systemctl start podman.socket
        colima start
        orbctl start
        open -a 'Rancher Desktop'
        ");
    }

    #[test]
    fn permission_is_given_by_the_group_that_the_socket_has() {
        let docker = |members: &[&str]| Some(("docker".to_owned(), members.iter().map(|m| (*m).to_owned()).collect()));
        let me = || Some("me".to_owned());
        let root = || Some("root".to_owned());
        assert!(
            grant(docker(&[]), root(), me())
                .starts_with("sudo usermod -aG docker $USER, then log out and log in again")
        );
        assert!(
            grant(docker(&["me"]), root(), me()).starts_with("log out and log in again: you are in the group docker")
        );
        assert_eq!(grant(None, Some("you".to_owned()), me()), "it belongs to the user you alone: run docklet as you");
        assert!(grant(None, root(), me()).contains("groupadd"));
    }

    #[test]
    fn the_most_useful_error_wins() {
        let docker = || (place("/var/run/docker.sock"), Unreachable::Missing);
        let podman = |failure| (place("/run/user/1000/podman/podman.sock"), failure);
        let refused = || Unreachable::Refused("connection refused".to_owned());
        let nothing = |_| false;
        let kind = |tried, installed: fn(EngineKind) -> bool| most_useful(tried, installed, USER);

        match kind(vec![docker(), podman(Unreachable::Hidden)], nothing) {
            Error::EngineNotInstalled { tried } => assert_eq!(
                tried,
                [
                    "Docker is not there (unix:///var/run/docker.sock)",
                    "Podman cannot be read by your user (unix:///run/user/1000/podman/podman.sock)"
                ]
            ),
            other => panic!("{other:?}"),
        }
        match kind(vec![docker(), podman(Unreachable::Missing)], |kind| kind == EngineKind::Podman) {
            Error::EngineNotRunning { start_command, .. } => {
                assert_eq!(start_command, "systemctl --user start podman.socket")
            }
            other => panic!("{other:?}"),
        }
        match kind(vec![docker(), podman(refused())], |kind| kind == EngineKind::Docker) {
            Error::EngineNotRunning { endpoint, .. } => {
                assert!(endpoint.contains("podman"), "a socket beats a program")
            }
            other => panic!("{other:?}"),
        }
        let unusable = Unreachable::Unusable(Unusable { reason: "old".to_owned(), hint: "new".to_owned() });
        let tried = vec![(place("/var/run/docker.sock"), refused()), podman(unusable)];
        assert!(matches!(kind(tried, nothing), Error::EngineUnsupported { .. }));
        let tried = vec![(place("/var/run/docker.sock"), refused()), podman(Unreachable::Denied)];
        assert!(matches!(kind(tried, nothing), Error::EnginePermissionDenied { .. }));
        assert!(matches!(kind(vec![], nothing), Error::EngineNotInstalled { .. }));
    }
}
