//! Containers on the engine: a dozen verbs in the domain's words. "Already so" is
//! success everywhere (HTTP 304), and a missing thing is `None` where one asks for it.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::{ContainerCreateBody, ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum},
    query_parameters::{
        CreateContainerOptions, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
        StopContainerOptionsBuilder,
    },
};
use serde_json::Value;

use super::{
    DEADLINE, Engine,
    answer::filters,
    call::{ask, deadline, message_of, none_if_missing},
    container::{Detail, Effect, Listed},
    error::{name_taken, port_conflict, start_refused, status_of, translate},
    translate,
};
use crate::{
    desired::{ContainerSpec, VolumeSpec, label},
    error::{Error, ObjectKind, Result},
};

/// Time for calls that make the engine work or write: starting a container takes seconds on a busy machine, and so does
/// a rename when its disk is.
pub(super) const WORK_DEADLINE: Duration = Duration::from_secs(60);

/// How long an engine may take to let a paused container go on before it is asked again: what runs inside stands still
/// meanwhile, and an engine that works needs milliseconds.
const RESUME_DEADLINE: Duration = Duration::from_secs(5);

/// How often it is asked.
const RESUME_ATTEMPTS: usize = 3;

/// How long a start may be without an answer before docklet looks for itself whether the container runs. Podman carries
/// out a start and leaves it without an answer now and then when the machine is busy.
const UNANSWERED_START: Duration = Duration::from_secs(10);

/// What the engine may need beyond the grace for stopping: it sends SIGKILL and waits for the end.
const STOP_MARGIN: Duration = Duration::from_secs(20);

impl Engine {
    /// All containers, running or not. Only those of docklet's with `managed`.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn containers(&self, managed: bool) -> Result<Vec<Listed>> {
        let filters = if managed { managed_filter() } else { HashMap::new() };
        self.list_containers("list containers", filters).await
    }

    async fn list_containers(&self, call: &str, wanted: HashMap<String, Vec<String>>) -> Result<Vec<Listed>> {
        let path = format!("/containers/json?all=true&{}", filters(&wanted));
        Ok(ask(call, DEADLINE, self.transport.get_list(&path)).await?.iter().map(translate::listed).collect())
    }

    /// The containers of these names, running or not. What else is on the engine costs next to nothing.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn containers_named(&self, names: &[String]) -> Result<Vec<Listed>> {
        // The filter is an expression that matches anywhere in a name, which some engines begin with a slash.
        let patterns = names.iter().map(|name| format!("^/?{}$", name.replace('.', "\\."))).collect();
        let filters = HashMap::from([("name".to_owned(), patterns)]);
        let listed = self.list_containers("look for containers by name", filters).await?;
        Ok(listed.into_iter().filter(|container| names.contains(&container.name)).collect())
    }

    /// The containers that have one of these volumes, running or not. What else is on the engine costs next to nothing.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn containers_with(&self, volumes: &[String]) -> Result<Vec<Listed>> {
        let filters = HashMap::from([("volume".to_owned(), volumes.to_vec())]);
        self.list_containers("look for containers by volume", filters).await
    }

    /// One container by name or id; `None` when there is none.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn container(&self, name: &str) -> Result<Option<Detail>> {
        Ok(self.inspect(name).await?.as_ref().map(translate::detail))
    }

    /// All that the engine says of a container.
    pub(super) async fn inspect(&self, name: &str) -> Result<Option<Value>> {
        let call = format!("inspect container {name}");
        let path = format!("/containers/{name}/json");
        none_if_missing(&call, DEADLINE, self.transport.get_one(&path)).await
    }

    /// Creates a container, and with it those of its volumes that are not there yet; its id.
    /// `new_volumes` are those.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when the name is taken, [`Error::NoSuchObject`] when the image is
    /// missing, [`Error::StartFailed`] when the engine refuses the specification.
    pub async fn create_container(&self, spec: &ContainerSpec, new_volumes: &[VolumeSpec]) -> Result<String> {
        self.label_first(new_volumes).await?;
        self.create(&spec.name, &spec.image, translate::create_body(spec, &self.about)).await
    }

    /// Creates a container of this name from this image.
    ///
    /// # Errors
    /// As [`Engine::create_container`].
    pub(super) async fn create(&self, name: &str, image: &str, body: ContainerCreateBody) -> Result<String> {
        let call = format!("create container {name}");
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..CreateContainerOptions::default() };
        let answer = self.docker.create_container(Some(options), body);
        let refused = match deadline(&call, WORK_DEADLINE, answer).await? {
            Ok(created) => return Ok(created.id),
            Err(refused) => refused,
        };
        Err(match (name_taken(&refused, name), status_of(&refused)) {
            (Some(taken), _) => taken,
            (None, Some(404)) => Error::NoSuchObject { kind: ObjectKind::Image, name: image.to_owned() },
            (None, _) => start_refused(name, &call, refused),
        })
    }

    /// Starts a container.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`], [`Error::PortInUse`] when the engine cannot publish the port, and
    /// [`Error::StartFailed`] with the engine's words otherwise.
    pub async fn start_container(&self, name: &str) -> Result<Effect> {
        let call = format!("start container {name}");
        match self.post_start(&call, name, |found| found.is_some_and(|container| container.running)).await? {
            Ok(()) => Ok(Effect::Changed),
            Err(e) => match status_of(&e) {
                Some(304) => Ok(Effect::Unchanged),
                Some(404) if !mentions_other_object(&message_of(&e)) => {
                    Err(Error::NoSuchObject { kind: ObjectKind::Container, name: name.to_owned() })
                }
                Some(_) => Err(start_failed(name, &message_of(&e))),
                None => Err(translate(&call, e)),
            },
        }
    }

    /// Posts a start. Without an answer for long, `is_started` tells whether the engine has carried it out.
    pub(super) async fn post_start(
        &self,
        call: &str,
        name: &str,
        is_started: fn(Option<Detail>) -> bool,
    ) -> Result<std::result::Result<(), bollard::errors::Error>> {
        let answer = self.docker.start_container(name, None::<StartContainerOptions>);
        let started = async {
            loop {
                tokio::time::sleep(UNANSWERED_START).await;
                if self.container(name).await.is_ok_and(is_started) {
                    return;
                }
            }
        };
        tokio::select! {
            answer = deadline(call, WORK_DEADLINE, answer) => answer,
            () = started => Ok(Ok(())),
        }
    }

    /// Asks a container to end, and kills it when it has not after `grace`.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`], and [`Error::StopFailed`] when the engine could not end it.
    pub async fn stop_container(&self, name: &str, grace: Duration) -> Result<Effect> {
        let call = format!("stop container {name}");
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let limit = grace + STOP_MARGIN;
        let docker = self.docker.clone().with_timeout(limit);
        match deadline(&call, limit, docker.stop_container(name, Some(options))).await? {
            Ok(()) => Ok(Effect::Changed),
            Err(e) => match status_of(&e) {
                Some(304) => Ok(Effect::Unchanged),
                Some(404) => Err(Error::NoSuchObject { kind: ObjectKind::Container, name: name.to_owned() }),
                Some(_) => Err(Error::StopFailed { name: name.to_owned(), reason: message_of(&e) }),
                None => Err(translate(&call, e)),
            },
        }
    }

    /// Sets the engine's restart policy to `no`: docklet restarts it, and two owners would fight.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`], and what the engine says otherwise.
    pub async fn set_policy_back(&self, name: &str) -> Result<()> {
        let call = format!("set the restart policy of {name}");
        let policy = RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None };
        let body = ContainerUpdateBody { restart_policy: Some(policy), ..ContainerUpdateBody::default() };
        match deadline(&call, WORK_DEADLINE, self.docker.update_container(name, body)).await? {
            Ok(()) => Ok(()),
            Err(e) => Err(match status_of(&e) {
                Some(404) => Error::NoSuchObject { kind: ObjectKind::Container, name: name.to_owned() },
                _ => translate(&call, e),
            }),
        }
    }

    /// Lets a paused container go on. A call without an answer is given up soon, with its connection, and made again.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`], and what the engine says otherwise.
    pub async fn unpause_container(&self, name: &str) -> Result<()> {
        let call = format!("unpause container {name}");
        let mut answer = self.resume(&call, name).await;
        for _ in 1..RESUME_ATTEMPTS {
            if !matches!(answer, Err(Error::EngineTimeout { .. })) {
                return answer;
            }
            answer = self.resume(&call, name).await;
            // The call before may have been carried out: then there is nothing to do, which is no failure.
            if matches!(answer, Err(Error::EngineRefused { .. })) && !self.is_paused(name).await? {
                return Ok(());
            }
        }
        answer
    }

    async fn resume(&self, call: &str, name: &str) -> Result<()> {
        match deadline(call, RESUME_DEADLINE, self.docker.unpause_container(name)).await? {
            Ok(()) => Ok(()),
            Err(e) => Err(match status_of(&e) {
                Some(404) => Error::NoSuchObject { kind: ObjectKind::Container, name: name.to_owned() },
                _ => translate(call, e),
            }),
        }
    }

    async fn is_paused(&self, name: &str) -> Result<bool> {
        Ok(self.container(name).await?.is_some_and(|container| container.paused))
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`] and [`Error::AlreadyExists`].
    pub async fn rename_container(&self, from: &str, to: &str) -> Result<()> {
        let call = format!("rename container {from} to {to}");
        let options = RenameContainerOptionsBuilder::default().name(to).build();
        match deadline(&call, WORK_DEADLINE, self.docker.rename_container(from, options)).await? {
            Ok(()) => Ok(()),
            Err(e) => Err(match (name_taken(&e, to), status_of(&e)) {
                (Some(taken), _) => taken,
                (None, Some(404)) => Error::NoSuchObject { kind: ObjectKind::Container, name: from.to_owned() },
                (None, _) => translate(&call, e),
            }),
        }
    }

    /// Removes a container, killing it first when it runs. Named volumes stay.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn remove_container(&self, name: &str) -> Result<Effect> {
        let call = format!("remove container {name}");
        // `v` removes only anonymous volumes, which an image may declare; ours have names.
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match deadline(&call, WORK_DEADLINE, self.docker.remove_container(name, Some(options))).await? {
            Ok(()) => Ok(Effect::Changed),
            Err(e) => match status_of(&e) {
                Some(404) => Ok(Effect::Unchanged),
                // Somebody else's removal of the same container is under way.
                Some(409) if message_of(&e).contains("already in progress") => Ok(Effect::Unchanged),
                _ => Err(translate(&call, e)),
            },
        }
    }
}

pub(super) fn managed_filter() -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{}=true", label::MANAGED)])])
}

/// An engine answers 404 to a start also when something that the container needs is missing.
fn mentions_other_object(message: &str) -> bool {
    let message = message.to_lowercase();
    ["network", "volume", "mount", "exec", "executable", "oci runtime", "bind source"]
        .iter()
        .any(|word| message.contains(word))
}

fn start_failed(name: &str, message: &str) -> Error {
    if port_conflict(message) {
        let (address, port) = address_in(message).unwrap_or(("127.0.0.1".to_owned(), 0));
        return Error::PortInUse { address, port, holder: None, free_port: None };
    }
    Error::StartFailed { name: name.to_owned(), reason: message.to_owned(), log: vec![] }
}

/// The first `ADDRESS:PORT` with a real port in an engine's message.
fn address_in(message: &str) -> Option<(String, u16)> {
    message
        .split(|c: char| c.is_whitespace() || c == '(' || c == ')' || c == ',')
        .map(|word| word.trim_end_matches([':', '.']))
        .filter_map(|word| word.parse::<std::net::SocketAddr>().ok())
        .find(|address| address.port() > 0)
        .map(|address| (address.ip().to_string(), address.port()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn port_conflicts_of_every_engine_are_read() {
        let messages = [
            "driver failed programming external connectivity on endpoint x (0d): Bind for 127.0.0.1:3000 failed: port is already allocated",
            "driver failed programming external connectivity on endpoint x: Error starting userland proxy: listen tcp4 127.0.0.1:3000: bind: address already in use",
            "rootlessport listen tcp 127.0.0.1:3000: bind: address already in use",
        ];
        for message in messages {
            match start_failed("x", message) {
                Error::PortInUse { address, port, .. } => {
                    assert_eq!((address.as_str(), port), ("127.0.0.1", 3000), "{message}")
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(start_failed("x", "OCI runtime create failed"), Error::StartFailed { .. }));
    }
}
