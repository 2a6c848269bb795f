//! Volumes and networks on the engine. "Already so" is success, and a missing thing is `None` where
//! one asks for it.

use std::collections::{BTreeMap, HashMap};

use bollard::{
    models::{NetworkConnectRequest, NetworkCreateRequest},
    query_parameters::RemoveVolumeOptions,
};
use serde_json::{Value, json};

use super::{
    DEADLINE, Engine,
    answer::{filters, items, named_texts, text},
    call::{ask, deadline, message_of, none_if_missing},
    container::Effect,
    docker::{WORK_DEADLINE, managed_filter},
    error::{start_refused, status_of, translate},
};
use crate::{
    desired::VolumeSpec,
    error::{Error, ObjectKind, Result},
    units::Version,
};

/// A volume or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// The id and the labels of a network; `None` when there is none of that name.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn network(&self, name: &str) -> Result<Option<(String, BTreeMap<String, String>)>> {
        let call = format!("inspect network {name}");
        let path = format!("/networks/{name}");
        let network = none_if_missing(&call, DEADLINE, self.transport.get_one(&path)).await?;
        // The engine also takes the beginning of an id for a name.
        let network = network.filter(|network| network["Name"] == name);
        Ok(network.map(|network| (text(&network["Id"]), named_texts(&network["Labels"]))))
    }

    /// Creates a network; one of the same name that came into being meanwhile is left as it is.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses, for example because all of
    /// its address ranges are in use.
    pub async fn create_network(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<()> {
        let call = format!("create network {name}");
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        match deadline(&call, WORK_DEADLINE, self.docker.create_network(request)).await? {
            Ok(created) => self.keep_oldest_network(name, &created.id).await,
            Err(e) if status_of(&e) == Some(409) => Ok(()),
            Err(e) => Err(start_refused(name, &call, e)),
        }
    }

    /// An engine before API 1.44 lets two networks have one name, and finds neither by it then. Of those who create one at the same
    /// time, whoever came later removes theirs.
    async fn keep_oldest_network(&self, name: &str, created: &str) -> Result<()> {
        if self.about.is_podman() || Version::of(&self.about.api_version) >= Version::of("1.44") {
            return Ok(());
        }
        let list = self.list_networks(&HashMap::from([("name".to_owned(), vec![name.to_owned()])])).await?;
        let same = list.iter().filter(|network| network["Name"] == name);
        let created_at = |network: &Value| network["Created"].as_str().and_then(crate::clock::parse);
        let oldest = same.min_by_key(|network| (created_at(network), text(&network["Id"])));
        if oldest.is_none_or(|oldest| oldest["Id"] == created) {
            return Ok(());
        }
        self.remove_network(created).await.map(drop)
    }

    /// Connects a container to a network. One that is in it already is left as it is.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn connect_network(&self, network: &str, container: &str) -> Result<()> {
        let call = format!("connect container {container} to network {network}");
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: None };
        match deadline(&call, WORK_DEADLINE, self.docker.connect_network(network, request)).await? {
            Err(e) if status_of(&e) != Some(409) => Err(start_refused(container, &call, e)),
            _ => Ok(()),
        }
    }

    /// Removes a network.
    ///
    /// # Errors
    /// [`Error::InUse`] when a container is still in it.
    pub async fn remove_network(&self, name: &str) -> Result<Effect> {
        let call = format!("remove network {name}");
        match deadline(&call, WORK_DEADLINE, self.docker.remove_network(name)).await? {
            Ok(()) => Ok(Effect::Changed),
            Err(e) => match status_of(&e) {
                Some(404) => Ok(Effect::Unchanged),
                Some(403 | 409) => {
                    Err(Error::InUse { kind: ObjectKind::Network, name: name.to_owned(), by: "a container".to_owned() })
                }
                _ => Err(translate(&call, e)),
            },
        }
    }

    /// Names and labels of all networks of docklet's.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn managed_networks(&self) -> Result<Vec<Labelled>> {
        Ok(self.list_networks(&managed_filter()).await?.iter().map(labelled).collect())
    }

    async fn list_networks(&self, wanted: &HashMap<String, Vec<String>>) -> Result<Vec<Value>> {
        ask("list networks", DEADLINE, self.transport.get_list(&format!("/networks?{}", filters(wanted)))).await
    }

    /// All volumes whose name begins with `prefix`.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn volumes(&self, prefix: &str) -> Result<Vec<Labelled>> {
        let filters = HashMap::from([("name".to_owned(), vec![prefix.to_owned()])]);
        let found = self.list_volumes(filters).await?;
        // The engine's filter matches anywhere in the name.
        Ok(found.into_iter().filter(|v| v.name.starts_with(prefix)).collect())
    }

    /// All volumes of docklet's.
    ///
    /// # Errors
    /// As [`Engine::volumes`].
    pub async fn managed_volumes(&self) -> Result<Vec<Labelled>> {
        self.list_volumes(managed_filter()).await
    }

    async fn list_volumes(&self, wanted: HashMap<String, Vec<String>>) -> Result<Vec<Labelled>> {
        let path = format!("/volumes?{}", filters(&wanted));
        // Docker lists no volume while one is being removed or written down, so this may have to wait for its disk.
        let answer = ask("list volumes", WORK_DEADLINE, self.transport.get_one(&path)).await?;
        Ok(items(&answer["Volumes"]).iter().map(labelled).collect())
    }

    /// Creates a volume; one with the same name is left as it is.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn create_volume(&self, spec: &VolumeSpec) -> Result<()> {
        let call = format!("create volume {}", spec.name);
        let request = json!({"Name": spec.name, "Labels": spec.labels});
        let created = deadline(&call, WORK_DEADLINE, self.transport.post("/volumes/create", &request)).await?;
        created.map_err(|e| start_refused(&spec.name, &call, e))
    }

    /// Creates the volumes that a container is about to bring into being, where the engine would give them no labels then:
    /// Podman's compatible API.
    ///
    /// # Errors
    /// As [`Engine::create_volume`].
    pub async fn label_first(&self, volumes: &[VolumeSpec]) -> Result<()> {
        for volume in volumes.iter().filter(|_| self.about.is_podman()) {
            self.create_volume(volume).await?;
        }
        Ok(())
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// [`Error::InUse`] when a container still has it.
    pub async fn remove_volume(&self, name: &str) -> Result<Effect> {
        let call = format!("remove volume {name}");
        match deadline(&call, WORK_DEADLINE, self.docker.remove_volume(name, None::<RemoveVolumeOptions>)).await? {
            Ok(()) => Ok(Effect::Changed),
            Err(e) => match status_of(&e) {
                Some(404) => Ok(Effect::Unchanged),
                Some(409) => {
                    Err(Error::InUse { kind: ObjectKind::Volume, name: name.to_owned(), by: user_of(&message_of(&e)) })
                }
                _ => Err(translate(&call, e)),
            },
        }
    }
}

fn labelled(found: &Value) -> Labelled {
    Labelled { name: text(&found["Name"]), labels: named_texts(&found["Labels"]) }
}

/// From "volume is in use - [0123…, 4567…]", who uses it.
fn user_of(message: &str) -> String {
    match (message.find('['), message.rfind(']')) {
        (Some(start), Some(end)) if start < end => {
            let ids = message[start + 1..end].split(',').map(|id| id.trim().chars().take(12).collect::<String>());
            format!("container {}", ids.collect::<Vec<_>>().join(", "))
        }
        _ => "a container".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::engine::scripted::{Reply, ScriptedEngine};

    #[tokio::test]
    async fn podman_gets_labelled_volumes_before_a_container_makes_them() {
        let volume = VolumeSpec { name: "v".into(), mount: "/v".into(), labels: BTreeMap::new() };
        let answer = Reply::Status(
            201,
            r#"{"Name":"v","Driver":"local","Mountpoint":"/v","Labels":{},"Scope":"local","Options":{}}"#.into(),
        );
        for (engine, calls) in [("Docker", 0), ("Podman", 1)] {
            let mut scripted = ScriptedEngine::new(&[("POST /volumes/create", vec![answer.clone()])]);
            engine.clone_into(&mut scripted.engine.about.name);
            scripted.engine.label_first(std::slice::from_ref(&volume)).await.unwrap();
            assert_eq!(scripted.count("POST /volumes/create"), calls, "{engine}");
        }
    }

    #[test]
    fn users_of_a_volume_are_named() {
        assert_eq!(
            user_of("remove x: volume is in use - [0123456789abcdef0123, fedcba9876543210]"),
            "container 0123456789ab, fedcba987654"
        );
        assert_eq!(user_of("in use"), "a container");
    }
}
