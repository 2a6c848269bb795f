//! What of an instance is on an engine: its container, its volumes, and the helper that reads and writes those.

use std::collections::BTreeMap;

use super::Instance;
use crate::{
    appliance::Appliance,
    data::volumes::{self, HelperOf, Named},
    desired::{Desired, labels},
    engine::{Engine, container::Listed},
    error::{Error, ObjectKind, Result},
    observe::{self, Snapshot},
    observed::Ownership,
    sandbox,
    settings::Settings,
};

impl Instance {
    /// Whether these labels are those of this instance's objects.
    pub(crate) fn owns(&self, labels_found: &BTreeMap<String, String>) -> bool {
        Ownership::of(labels_found, &labels(&self.appliance, &self.name)) == Ownership::Ours
    }

    /// The name of the volume with this role.
    pub(crate) fn volume_name(&self, role: &str) -> String {
        self.name.volume(&self.appliance.name, role)
    }

    /// The name that the container of before has while a change is not committed.
    pub(crate) fn previous_name(&self) -> String {
        self.name.previous_container(&self.appliance.name)
    }

    /// Asks the engine for all that there is.
    pub(crate) async fn snapshot(&self, engine: &Engine) -> Result<Snapshot> {
        observe::look(engine, &self.appliance).await
    }

    /// This instance's container.
    pub(crate) fn own_container<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Listed> {
        let name = self.container_name();
        snapshot.containers.iter().find(|c| c.name == name && self.owns(&c.labels))
    }

    /// The volumes of this instance that are there. Refuses one that has our name and not our labels.
    pub(crate) fn own_volumes(&self, snapshot: &Snapshot) -> Result<Vec<Named>> {
        let mut found = vec![];
        let volumes =
            snapshot.volumes.as_ref().ok_or_else(|| Error::bug("the engine was not asked for its volumes"))?;
        for definition in &self.appliance.volumes {
            let name = self.volume_name(&definition.role);
            if let Some(there) = volumes.iter().find(|v| v.name == name) {
                if !self.owns(&there.labels) {
                    return Err(Error::Foreign { kind: ObjectKind::Volume, name });
                }
                found.push(Named { role: definition.role.clone(), volume: name });
            }
        }
        Ok(found)
    }

    /// The desired container with this appliance and these settings.
    pub(crate) fn desired(
        &self,
        engine: &Engine,
        appliance: &Appliance,
        settings: &Settings,
        snapshot: &Snapshot,
    ) -> Desired {
        let (given, _) = sandbox::given_at_least(engine, appliance, settings, &self.files, snapshot.host.memory);
        Desired::new(appliance, settings, &self.name, &self.files, &given, None)
    }

    /// Who reads and writes this instance's volumes; [`Error::Missing`] when there is no image for it.
    pub(crate) async fn volume_helper(
        &self,
        engine: &Engine,
        snapshot: &Snapshot,
        settings: Option<&Settings>,
    ) -> Result<HelperOf> {
        let used = self.own_container(snapshot).map(|c| c.image_id.clone()).unwrap_or_default();
        let default = Settings::default();
        let settings = settings.unwrap_or(&default);
        let desired = self.desired(engine, &self.appliance, settings, snapshot);
        // The base has the same programs; it is there where an image was built and removed again.
        let image = volumes::image(engine, &[&used, desired.image.reference(), &settings.image.base]).await?;
        let name = self.name.task_container(&self.appliance.name);
        Ok(HelperOf { name, image, labels: desired.container.labels })
    }
}
