//! What only Podman's own API tells, beside its Docker-compatible one, and what it does not tell at all.

use std::{collections::HashMap, os::unix::fs::MetadataExt as _, time::Duration};

use bollard::models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{DEADLINE, Engine};

/// For what is asked while something is about to be decided: better no answer than a late one.
const PATIENCE: Duration = Duration::from_secs(3);

impl Engine {
    /// Whether a command stopped this container, `podman kill` included. `None` where it does not say: before Podman 5,
    /// behind TLS, and for a container that is gone.
    pub async fn stopped_by_user(&self, name: &str) -> Option<bool> {
        let container: Value = self.ask(&format!("/v4.0.0/libpod/containers/{name}/json"), PATIENCE).await?;
        container["State"]["StoppedByUser"].as_bool()
    }

    /// The containers, where bollard cannot read the list: see [`in_dockers_words`].
    pub(super) async fn podmans_containers(
        &self,
        filters: &HashMap<String, Vec<String>>,
    ) -> Option<Vec<ContainerSummary>> {
        let filters: String = serde_json::to_string(filters).ok()?.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let mut list: Vec<Value> = self.ask(&format!("/containers/json?all=true&filters={filters}"), DEADLINE).await?;
        list.iter_mut().filter_map(|container| container.get_mut("State")).for_each(in_dockers_words);
        serde_json::from_value(Value::Array(list)).ok()
    }

    /// The same for one container.
    pub(super) async fn podmans_container(&self, name: &str) -> Option<ContainerInspectResponse> {
        let mut container: Value = self.ask(&format!("/containers/{name}/json"), DEADLINE).await?;
        // An answer may be anything.
        if let Some(status) = container.pointer_mut("/State/Status") {
            in_dockers_words(status);
        }
        serde_json::from_value(container).ok()
    }

    /// On the heap: it is large, and a part of nearly every operation.
    async fn ask<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Option<T> {
        let answer = tokio::time::timeout(limit, Box::pin(self.get(path))).await.ok()?.ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Whether the engine runs without root, from its security options. Podman 4.3 does not have it there; but its socket
    /// is its user's.
    pub(super) fn is_rootless(&self, security_options: &[String]) -> bool {
        let socket = || self.about.endpoint.strip_prefix("unix://").and_then(|path| std::fs::metadata(path).ok());
        let of_a_user = || cfg!(target_os = "linux") && socket().is_some_and(|found| found.uid() != 0);
        security_options.iter().any(|option| option.contains("rootless")) || self.about.is_podman() && of_a_user()
    }
}

/// Podman has states that Docker does not know, while a container starts or ends.
fn in_dockers_words(state: &mut Value) {
    match state.as_str() {
        Some("initialized" | "configured") => *state = "created".into(),
        Some("stopped") => *state = "exited".into(),
        Some(word) if word.parse::<ContainerSummaryStateEnum>().is_err() => *state = "".into(),
        _ => {}
    }
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
        let options = ["name=seccomp,profile=default".to_owned()];
        assert!(!scripted.engine.is_rootless(&options), "Docker says it");
        assert!(scripted.engine.is_rootless(&["name=rootless".to_owned()]));
        "Podman".clone_into(&mut scripted.engine.about.name);
        let socket = scripted.engine.about.endpoint.strip_prefix("unix://").unwrap().to_owned();
        if rustix::process::geteuid().is_root() {
            assert!(!scripted.engine.is_rootless(&options), "root's");
            std::os::unix::fs::chown(&socket, Some(1000), None).unwrap();
        }
        assert_eq!(scripted.engine.is_rootless(&options), cfg!(target_os = "linux"));
    }

    /// While any container starts or ends, the whole list has a word that bollard does not know.
    #[tokio::test]
    async fn states_of_podmans_own_are_understood() {
        for (word, known) in [("initialized", "created"), ("stopped", "exited"), ("stopping", "stopping"), ("odd", "")]
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
            let filtered = |request: &String| request.contains("filters=%7b%22%6e%61%6d%65%22");
            assert_eq!(scripted.asked().iter().any(filtered), word != "stopping", "{:?}", scripted.asked());
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
