//! `docklet list`

use super::context::Context;
use crate::{
    desired::label,
    error::Result,
    instance::Instance,
    present::status,
    report::{ListEntry, ListReport, Schema},
};

/// Lists all instances on this engine, by label.
pub async fn run(context: &Context) -> Result<()> {
    let engine = context.engine().await?;
    let appliance = &context.appliance.name;
    let containers = engine.containers(true).await?.into_iter().filter_map(|container| {
        let instance: Instance = container.labels.get(label::INSTANCE)?.parse().ok()?;
        // One that waits for its successor to answer is no instance of its own.
        let is_it = container.labels.get(label::APPLIANCE) == Some(appliance)
            && container.name == instance.container(appliance);
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
    let report = ListReport { schema: Schema, instances };
    context.output.result(&report, |style| status::list(&report, style));
    Ok(())
}
