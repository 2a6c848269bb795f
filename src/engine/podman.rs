//! What only Podman's own API tells, beside its Docker-compatible one, and what it does not tell at all.

use std::{os::unix::fs::MetadataExt as _, time::Duration};

use super::Engine;

/// Asked while something is about to be decided: better no answer than a late one.
const PATIENCE: Duration = Duration::from_secs(3);

impl Engine {
    /// Whether a command stopped this container, `podman kill` included. `None` where it does not say: before Podman 5,
    /// behind ssh or TLS, and for a container that is gone.
    pub async fn stopped_by_user(&self, name: &str) -> Option<bool> {
        let path = format!("/v4.0.0/libpod/containers/{name}/json");
        let answer = tokio::time::timeout(PATIENCE, self.get(&path)).await.ok()?.ok()?;
        let container: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        container["State"]["StoppedByUser"].as_bool()
    }

    /// Whether the engine runs without root, from its security options. Podman 4.3 does not have it there; but its socket
    /// is its user's.
    pub(super) fn is_rootless(&self, security_options: &[String]) -> bool {
        let socket = || self.about.endpoint.strip_prefix("unix://").and_then(|path| std::fs::metadata(path).ok());
        let of_a_user = || cfg!(target_os = "linux") && socket().is_some_and(|found| found.uid() != 0);
        security_options.iter().any(|option| option.contains("rootless")) || self.about.is_podman() && of_a_user()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::engine::fake::{Fake, Reply};

    /// The states are those of Podman 5.8.6 after `podman stop` and of 4.3.1.
    #[tokio::test]
    async fn who_stopped_it_is_read_where_it_is_told() {
        for (body, told) in [
            (r#"{"State":{"Status":"exited","ExitCode":0,"StoppedByUser":true}}"#, Some(true)),
            (r#"{"State":{"Status":"exited","ExitCode":0}}"#, None),
            ("Not Found", None),
        ] {
            let routes = [("GET /v4.0.0/libpod/containers/x/json", vec![Reply::Status(200, body.to_owned())])];
            assert_eq!(Fake::new(&routes).engine.stopped_by_user("x").await, told, "{body}");
        }
    }

    #[tokio::test]
    async fn podman_without_root_is_told_by_its_socket() {
        let mut fake = Fake::new(&[]);
        let options = ["name=seccomp,profile=default".to_owned()];
        assert!(!fake.engine.is_rootless(&options), "Docker says it");
        assert!(fake.engine.is_rootless(&["name=rootless".to_owned()]));
        "Podman".clone_into(&mut fake.engine.about.name);
        let socket = fake.engine.about.endpoint.strip_prefix("unix://").unwrap().to_owned();
        if rustix::process::geteuid().is_root() {
            assert!(!fake.engine.is_rootless(&options), "root's");
            std::os::unix::fs::chown(&socket, Some(1000), None).unwrap();
        }
        assert_eq!(fake.engine.is_rootless(&options), cfg!(target_os = "linux"));
    }
}
