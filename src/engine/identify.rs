//! From an engine's own words to what it is, and whether docklet can use it. Pure.

use std::path::Path;

use bollard::models::SystemVersion;

use crate::engine::{
    About,
    endpoints::{Candidate, Endpoint, EngineKind},
};

/// The oldest API that has what docklet needs: that of Docker 20.10, and of Podman since 4.3.
const OLDEST_API: (u32, u32) = (1, 41);

/// The oldest Podman whose imitation of that API is good enough.
const OLDEST_PODMAN: (u32, u32) = (4, 3);

/// Why an engine that answered cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Unusable {
    /// What is wrong with it.
    pub(in crate::engine) reason: String,
    /// What to do.
    pub(in crate::engine) hint: String,
}

/// What answered at `place`. `socket` is the place's real path, behind symbolic links.
///
/// # Errors
/// When it cannot be used.
pub(in crate::engine) fn identify(
    version: SystemVersion,
    place: &Candidate,
    socket: Option<&Path>,
) -> Result<About, Unusable> {
    let name = name(&version, place, socket);
    let Some(api_version) = version.api_version.filter(|v| numbers(v).is_some()) else {
        return Err(Unusable {
            reason: "the program that answers there isn't a container engine".to_owned(),
            hint: other_engine(),
        });
    };
    let release = version.version.unwrap_or_default();
    if version.os.as_deref().is_some_and(|os| os != "linux") {
        return Err(Unusable {
            reason: format!("{name} {release} runs {} containers", version.os.unwrap_or_default()),
            hint: "switch it to Linux containers (in Docker Desktop's menu), then run this again".to_owned(),
        });
    }
    let podman = name == "Podman";
    let too_old = numbers(&api_version) < Some(OLDEST_API) || (podman && numbers(&release) < Some(OLDEST_PODMAN));
    if too_old {
        return Err(Unusable {
            reason: format!("{name} {release} is too old (it speaks API {api_version})"),
            hint: if podman {
                "install Podman 4.3 or newer, or Docker 20.10 or newer".to_owned()
            } else {
                "install Docker 20.10 or newer, with your package manager or from https://docs.docker.com/engine/install/"
                    .to_owned()
            },
        });
    }
    Ok(About {
        endpoint: place.endpoint.to_string(),
        origin: place.origin.clone(),
        name,
        version: release,
        api_version,
        architecture: version.arch.unwrap_or_default(),
    })
}

/// What to do about a place that is none.
pub(in crate::engine) fn other_engine() -> String {
    "say where the engine is: docklet --host unix:///var/run/docker.sock".to_owned()
}

fn name(version: &SystemVersion, place: &Candidate, socket: Option<&Path>) -> String {
    let components = version.components.as_deref().unwrap_or_default();
    let has = |name: &str| components.iter().any(|c| c.name.eq_ignore_ascii_case(name));
    let platform = version.platform.as_ref().map(|p| p.name.as_str()).unwrap_or_default();
    let kernel = version.kernel_version.as_deref().unwrap_or_default();
    let kinds = [Some(place.kind), socket.map(EngineKind::of)];
    let at = |kind| matches!(place.endpoint, Endpoint::Unix(_)) && kinds.contains(&Some(kind));
    let name = if has("Podman Engine") {
        "Podman"
    } else if platform.contains("Docker Desktop") {
        "Docker Desktop"
    } else if at(EngineKind::OrbStack) || kernel.contains("orbstack") {
        "OrbStack"
    } else if at(EngineKind::Colima) {
        "Colima"
    } else if at(EngineKind::Rancher) {
        "Rancher Desktop"
    } else if has("rootlesskit") || at(EngineKind::RootlessDocker) {
        "rootless Docker"
    } else {
        "Docker"
    };
    name.to_owned()
}

/// The first two numbers of a version: `20.10.24+dfsg1` → (20, 10).
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As Docker 20.10 of Debian 12 answered.
    const DOCKER_20: &str = r#"{"Platform":{"Name":""},"Components":[{"Name":"Engine","Version":"20.10.24+dfsg1","Details":{"ApiVersion":"1.41","Arch":"amd64","BuildTime":"2026-05-07T21:09:36.000000000+00:00","Experimental":"false","GitCommit":"5d6db84","GoVersion":"go1.19.8","KernelVersion":"6.1.0","MinAPIVersion":"1.12","Os":"linux"}},{"Name":"containerd","Version":"1.6.20~ds1","Details":{"GitCommit":"1.6.20~ds1-1+deb12u3"}}],"Version":"20.10.24+dfsg1","ApiVersion":"1.41","MinAPIVersion":"1.12","GitCommit":"5d6db84","GoVersion":"go1.19.8","Os":"linux","Arch":"amd64","KernelVersion":"6.1.0","BuildTime":"2026-05-07T21:09:36.000000000+00:00"}"#;
    /// In the form of docker-ce 28, rootless.
    const ROOTLESS_28: &str = r#"{"Platform":{"Name":"Docker Engine - Community"},"Components":[{"Name":"Engine","Version":"28.5.2","Details":{"ApiVersion":"1.51"}},{"Name":"rootlesskit","Version":"2.3.4","Details":{"ApiVersion":"1.1.1","NetworkDriver":"slirp4netns"}}],"Version":"28.5.2","ApiVersion":"1.51","MinAPIVersion":"1.24","Os":"linux","Arch":"arm64","KernelVersion":"6.12.0"}"#;
    /// In the form of Docker Desktop.
    const DESKTOP: &str = r#"{"Platform":{"Name":"Docker Desktop 4.48.0 (207573)"},"Components":[{"Name":"Engine","Version":"28.5.1"}],"Version":"28.5.1","ApiVersion":"1.51","MinAPIVersion":"1.24","Os":"linux","Arch":"arm64","KernelVersion":"6.10.14-linuxkit"}"#;
    /// In the form of Podman 4.3.
    const PODMAN_4: &str = r#"{"Platform":{"Name":"linux/amd64/debian-12"},"Components":[{"Name":"Podman Engine","Version":"4.3.1","Details":{"APIVersion":"4.3.1","Arch":"amd64","BuildTime":"1970-01-01T00:00:00Z","Experimental":"false","GitCommit":"","GoVersion":"go1.19.8","KernelVersion":"6.1.0","MinAPIVersion":"4.0.0","Os":"linux"}},{"Name":"Conmon","Version":"conmon version 2.1.6, commit: unknown","Details":{"Package":"conmon_2.1.6+ds1-1_amd64"}}],"Version":"4.3.1","ApiVersion":"1.41","MinAPIVersion":"1.24","GitCommit":"","GoVersion":"go1.19.8","Os":"linux","Arch":"amd64","KernelVersion":"6.1.0","BuildTime":"1970-01-01T00:00:00Z"}"#;

    fn at(json: &str, path: &str) -> Result<About, Unusable> {
        let place = Candidate {
            endpoint: Endpoint::Unix(path.into()),
            origin: "the default socket".to_owned(),
            kind: EngineKind::of(Path::new(path)),
        };
        identify(serde_json::from_str(json).unwrap(), &place, Some(Path::new(path)))
    }

    #[test]
    fn each_engine_is_known_by_its_name() {
        for (json, path, wanted) in [
            (DOCKER_20, "/var/run/docker.sock", "Docker 20.10.24+dfsg1, API 1.41, amd64"),
            (DOCKER_20, "/run/user/1000/docker.sock", "rootless Docker 20.10.24+dfsg1, API 1.41, amd64"),
            (ROOTLESS_28, "/srv/docker.sock", "rootless Docker 28.5.2, API 1.51, arm64"),
            (DESKTOP, "/var/run/docker.sock", "Docker Desktop 28.5.1, API 1.51, arm64"),
            (PODMAN_4, "/var/run/docker.sock", "Podman 4.3.1, API 1.41, amd64"),
            (DOCKER_20, "/Users/me/.colima/default/docker.sock", "Colima 20.10.24+dfsg1, API 1.41, amd64"),
            (DOCKER_20, "/Users/me/.orbstack/run/docker.sock", "OrbStack 20.10.24+dfsg1, API 1.41, amd64"),
            (DOCKER_20, "/Users/me/.rd/docker.sock", "Rancher Desktop 20.10.24+dfsg1, API 1.41, amd64"),
        ] {
            let about = at(json, path).unwrap();
            let shown = format!("{} {}, API {}, {}", about.name, about.version, about.api_version, about.architecture);
            assert_eq!(shown, wanted);
        }
    }

    #[test]
    fn a_symbolic_link_gives_away_whose_engine_it_is() {
        let place = Candidate {
            endpoint: Endpoint::Unix("/var/run/docker.sock".into()),
            origin: String::new(),
            kind: EngineKind::Docker,
        };
        let real = Path::new("/Users/me/.colima/default/docker.sock");
        let about = identify(serde_json::from_str(DOCKER_20).unwrap(), &place, Some(real)).unwrap();
        assert_eq!(about.name, "Colima");
    }

    #[test]
    fn what_cannot_be_used_says_why_and_what_to_install() {
        let reason = |json: &str| {
            let unusable = at(json, "/var/run/docker.sock").unwrap_err();
            assert!(!unusable.hint.is_empty());
            unusable.reason
        };
        let old = DOCKER_20.replace("20.10.24+dfsg1", "19.03.15").replace("1.41", "1.40");
        assert_eq!(reason(&old), "Docker 19.03.15 is too old (it speaks API 1.40)");
        assert_eq!(reason(&PODMAN_4.replace("4.3.1", "4.2.0")), "Podman 4.2.0 is too old (it speaks API 1.41)");
        assert_eq!(reason(&PODMAN_4.replace("1.41", "1.40")), "Podman 4.3.1 is too old (it speaks API 1.40)");
        assert_eq!(
            reason(&DOCKER_20.replace("\"Os\":\"linux\"", "\"Os\":\"windows\"")),
            "Docker 20.10.24+dfsg1 runs windows containers"
        );
        assert_eq!(reason("{}"), "the program that answers there isn't a container engine");
        assert_eq!(
            reason(r#"{"Version":"1","ApiVersion":"new"}"#),
            "the program that answers there isn't a container engine"
        );
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(numbers("20.10.24+dfsg1"), Some((20, 10)));
        assert_eq!(numbers("5.4.0-dev"), Some((5, 4)));
        assert!(numbers("1.5") < numbers("1.41"));
        assert_eq!(numbers("x"), None);
        assert_eq!(numbers(""), None);
    }
}
