//! What only Podman's own API tells, beside its Docker-compatible one, and what it does not tell at all.

use std::{os::unix::fs::MetadataExt as _, time::Duration};

use serde_json::Value;

use super::{Engine, answer::texts};

/// For what is asked while something is about to be decided: better no answer than a late one.
const PATIENCE: Duration = Duration::from_secs(3);

impl Engine {
    /// Whether a command stopped this container, `podman kill` included. `None` where it does not say: before Podman 5,
    /// and for a container that is gone.
    pub async fn stopped_by_user(&self, name: &str) -> Option<bool> {
        let path = format!("/v4.0.0/libpod/containers/{name}/json");
        // On the heap: it is large, and a part of nearly every operation.
        let answer = tokio::time::timeout(PATIENCE, Box::pin(self.transport.get::<Value>(&path))).await.ok()?.ok()?;
        answer["State"]["StoppedByUser"].as_bool()
    }

    /// Whether the engine runs without root, from its security options. Podman 4.3 does not have it there; but its socket
    /// is its user's.
    pub(super) fn is_rootless(&self, info: &Value) -> bool {
        let socket = || self.about.endpoint.strip_prefix("unix://").and_then(|path| std::fs::metadata(path).ok());
        let of_a_user = || cfg!(target_os = "linux") && socket().is_some_and(|found| found.uid() != 0);
        texts(&info["SecurityOptions"]).iter().any(|option| option.contains("rootless"))
            || self.about.is_podman() && of_a_user()
    }
}

/// A container's state in Docker's words: Podman has some of its own for one that starts or ends.
pub(super) fn in_dockers_words(state: &Value) -> String {
    match state.as_str().unwrap_or_default() {
        "initialized" | "configured" => "created",
        "stopped" => "exited",
        state => state,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::engine::scripted::{Reply, ScriptedEngine};

    /// The states are those of Podman 5.8.6 after `podman stop` and of 4.3.1.
    #[tokio::test]
    async fn who_stopped_it_is_read_where_it_is_told() {
        for (body, told) in [
            (r#"{"State":{"Status":"exited","ExitCode":0,"StoppedByUser":true}}"#, Some(true)),
            (r#"{"State":{"Status":"exited","ExitCode":0}}"#, None),
            ("Not Found", None),
        ] {
            let routes = [("GET /v4.0.0/libpod/containers/x/json", vec![Reply::Status(200, body.to_owned())])];
            assert_eq!(ScriptedEngine::new(&routes).engine.stopped_by_user("x").await, told, "{body}");
        }
    }

    #[tokio::test]
    async fn podman_without_root_is_told_by_its_socket() {
        let mut scripted = ScriptedEngine::new(&[]);
        let options = |options: &str| serde_json::json!({ "SecurityOptions": [options] });
        let no_words = options("name=seccomp,profile=default");
        assert!(!scripted.engine.is_rootless(&no_words), "Docker says it");
        assert!(scripted.engine.is_rootless(&options("name=rootless")));
        "Podman".clone_into(&mut scripted.engine.about.name);
        let socket = scripted.engine.about.endpoint.strip_prefix("unix://").unwrap().to_owned();
        if rustix::process::geteuid().is_root() {
            assert!(!scripted.engine.is_rootless(&no_words), "root's");
            std::os::unix::fs::chown(&socket, Some(1000), None).unwrap();
        }
        assert_eq!(scripted.engine.is_rootless(&no_words), cfg!(target_os = "linux"));
    }

    #[tokio::test]
    async fn states_of_podmans_own_are_understood() {
        for (word, known) in
            [("initialized", "created"), ("stopped", "exited"), ("stopping", "stopping"), ("odd", "odd")]
        {
            let listed = format!(r#"[{{"Id":"a","Names":["/x"],"State":"{word}"}}]"#);
            let inspected = format!(r#"{{"Id":"a","Name":"/x","State":{{"Status":"{word}"}}}}"#);
            let scripted = ScriptedEngine::new(&[
                ("GET /containers/json", vec![Reply::Status(200, listed)]),
                ("GET /containers/x/json", vec![Reply::Status(200, inspected)]),
            ]);
            let listed = scripted.engine.containers_named(&["x".to_owned()]).await.unwrap();
            assert_eq!(listed[0].state, known);
            assert_eq!(scripted.engine.container("x").await.unwrap().unwrap().status, known);
            let filtered = |request: &String| request.contains("filters=%7B%22name%22");
            assert!(scripted.asked().iter().any(filtered), "{:?}", scripted.asked());
        }
    }

    /// The words are those of 4.3.1 and of 5.8.6 while `podman rm` is at work.
    #[tokio::test]
    async fn a_container_that_goes_while_podman_looks_is_gone() {
        for reason in ["container 1d does not exist in database", "no container with ID 1d found in database"] {
            let body =
                format!(r#"{{"cause":"no such container","message":"{reason}: no such container","response":500}}"#);
            let scripted = ScriptedEngine::new(&[("GET /containers/x/json", vec![Reply::Status(500, body)])]);
            assert_eq!(scripted.engine.container("x").await.unwrap(), None, "{reason}");
        }
    }
}
