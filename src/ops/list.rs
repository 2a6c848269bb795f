//! All instances on an engine.

use super::Instance;
use crate::{
    desired::label,
    error::Result,
    instance_name::InstanceName,
    report::{ListEntry, ListReport},
};

impl Instance {
    /// All instances of the appliance on this instance's engine, by their labels.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn list(&self) -> Result<ListReport> {
        let engine = self.engine().await?;
        let appliance = &self.appliance.name;
        let containers = engine.containers(true).await?.into_iter().filter_map(|container| {
            let instance: InstanceName = container.labels.get(label::INSTANCE)?.parse().ok()?;
            // One that waits for its successor to answer is no instance of its own, nor is a helper. One that was renamed is.
            let [_, others @ ..] = instance.containers(appliance);
            let is_it = container.labels.get(label::APPLIANCE) == Some(appliance)
                && !container.labels.contains_key(label::TASK)
                && !others.contains(&container.name);
            is_it.then(|| ListEntry {
                instance: instance.to_string(),
                name: container.name,
                id: container.id,
                state: container.state,
                status: container.status,
                port: container.ports.first().map(|p| p.port),
            })
        });
        let mut instances: Vec<ListEntry> = containers.collect();
        instances.sort_by(|a, b| a.instance.cmp(&b.instance));
        Ok(ListReport { instances })
    }
}
