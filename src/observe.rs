//! Looks at the engine and the host and fills [`Observed`]. Decides nothing and changes nothing.
//! Three calls that go out together; a few more only when something is not as wanted.

use std::{net::IpAddr, path::PathBuf};

use crate::{
    appliance::Appliance,
    desired::{Desired, ImagePlan, VolumeSpec, label},
    engine::{Engine, Host, docker::Listed, image::Image, storage::Labelled},
    error::Result,
    host::ports,
    observed::{Container, Observed, Ownership, PortState, Volume},
};

/// The engine's answers that do not depend on what is wanted.
#[derive(Debug, Clone)]
pub struct Look {
    /// All containers, other people's too: one of them may hold our port.
    pub containers: Vec<Listed>,
    /// Volumes whose name begins with the appliance's.
    pub volumes: Vec<Labelled>,
    /// The engine's machine.
    pub host: Host,
}

/// Asks the engine what there is.
///
/// # Errors
/// When the engine does not answer within the deadline or refuses.
pub async fn look(engine: &Engine, appliance: &Appliance) -> Result<Look> {
    let (containers, volumes, host) =
        tokio::try_join!(engine.containers(false), engine.volumes(&appliance.name), engine.host())?;
    Ok(Look { containers, volumes, host })
}

/// Completes the look with what matters for what is wanted.
///
/// # Errors
/// When the engine does not answer within the deadline or refuses.
pub async fn observe(engine: &Engine, look: &Look, desired: &Desired) -> Result<Observed> {
    let labels = &desired.container.labels;
    let find = |name: &str| look.containers.iter().find(|c| c.name == name);
    let wanted_hash = desired.container.hash();
    let container = |listed: &Listed| Container {
        id: listed.id.clone(),
        name: listed.name.clone(),
        ownership: Ownership::of(&listed.labels, labels),
        spec_hash: listed.labels.get(label::SPEC).cloned(),
        running: listed.is_running(),
        paused: listed.state == "paused",
        undo: listed.labels.get(label::UNDO).map(PathBuf::from),
        image_id: listed.image_id.clone(),
        live: None,
    };
    let mut main = find(&desired.container.name).map(container);
    let mut previous = find(&desired.previous_name).map(container);
    let as_wanted = |c: &Option<Container>| c.as_ref().is_some_and(|c| c.spec_hash.as_ref() == Some(&wanted_hash));
    let mut image_present = true;
    let mut image_is_foreign = false;
    let mut network = Some(Ownership::Ours);
    if !as_wanted(&main) {
        // Only now are more calls worth it: whether image and network are there, and what is different.
        let replaced = main.as_mut().or(previous.as_mut());
        let inspect = async {
            match &replaced {
                Some(old) if old.ownership == Ownership::Ours => engine.container(&old.id).await,
                _ => Ok(None),
            }
        };
        let (image, found, detail) = tokio::try_join!(
            engine.image(desired.image.reference()),
            engine.network_labels(&desired.container.network),
            inspect
        )?;
        image_present = image.is_some();
        let built = matches!(desired.image, ImagePlan::Build { .. });
        // Built images are shared between instances: whose label it is does not matter.
        let same = |image: &Image, key| image.labels.get(key).is_some_and(|value| labels.get(key) == Some(value));
        let ours = |image: &Image| same(image, label::MANAGED) && same(image, label::APPLIANCE);
        image_is_foreign = built && image.as_ref().is_some_and(|image| !ours(image));
        network = found.map(|found| Ownership::of(&found, labels));
        if let (Some(old), Some(detail)) = (replaced, detail) {
            old.live = Some(Box::new(detail.live));
        }
    }
    let among = |wanted: &[VolumeSpec]| {
        let found = look.volumes.iter().filter(|v| wanted.iter().any(|wanted| wanted.name == v.name));
        found.map(|v| Volume { name: v.name.clone(), ownership: Ownership::of(&v.labels, labels) }).collect()
    };
    Ok(Observed {
        main,
        previous,
        task: find(&desired.task_name).map(container),
        helper: find(&desired.helper_name).map(container),
        volumes: among(&desired.volumes),
        secrets: look
            .volumes
            .iter()
            .find(|v| v.name == desired.container.secrets.volume)
            .map(|v| Ownership::of(&v.labels, labels)),
        network,
        image_present,
        image_is_foreign,
        port: port_state(&look.containers, desired),
    })
}

/// Whether the wanted port can be had: no other container publishes it, and nobody else on this
/// machine listens on it. A port that our own running container holds can be had.
fn port_state(containers: &[Listed], desired: &Desired) -> PortState {
    let wanted = &desired.container.publish;
    let holds = |c: &&Listed| {
        c.is_running() && c.ports.iter().any(|p| p.port == wanted.port && overlap(p.address, wanted.address))
    };
    let holder = containers.iter().find(holds);
    match holder {
        Some(c) if c.name == desired.container.name || c.name == desired.previous_name => PortState::Available,
        Some(c) => {
            let holder = Some(match c.labels.get(label::INSTANCE) {
                Some(instance) => format!("container {} (docklet instance {instance})", c.name),
                None => format!("container {}", c.name),
            });
            PortState::Taken { holder, free_port: ports::next_free(wanted.address, wanted.port) }
        }
        None => ports::state(wanted.address, wanted.port),
    }
}

fn overlap(held: Option<IpAddr>, wanted: IpAddr) -> bool {
    held.is_none_or(|held| held == wanted || held.is_unspecified() || wanted.is_unspecified())
}
