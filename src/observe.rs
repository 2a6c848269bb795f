//! Looks at the engine and the host and fills [`Observed`]. Decides nothing and changes nothing.
//! One call, or three that go out together; a few more only when something is not as wanted.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use crate::{
    appliance::Appliance,
    desired::{Desired, ImagePlan, Publish, VolumeSpec, label},
    engine::{
        Engine, Host,
        container::{Listed, PublishedPort},
        image::Image,
        storage::Labelled,
    },
    error::Result,
    host::ports,
    instance_name::InstanceName,
    observed::{Container, Observed, Ownership, PortState, Volume, VolumeUser},
};

/// The engine's answers that do not depend on what is wanted.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The containers with the instance's names, at least.
    pub containers: Vec<Listed>,
    /// Volumes whose name begins with the appliance's; `None`: not asked.
    pub volumes: Option<Vec<Labelled>>,
    /// The engine's machine.
    pub host: Host,
}

/// Asks the engine for the instance's own containers. The cost does not grow with what else is on the engine.
///
/// # Errors
/// When the engine does not answer within the deadline or refuses.
pub async fn look_at_own(engine: &Engine, appliance: &Appliance, instance: &InstanceName) -> Result<Snapshot> {
    let names = instance.containers(&appliance.name);
    let host = async {
        match &engine.known_host {
            Some(host) => Ok(host.clone()),
            None => engine.host().await,
        }
    };
    let (containers, host) = tokio::try_join!(engine.containers_named(&names), host)?;
    Ok(Snapshot { containers, volumes: None, host })
}

/// Asks the engine for all that there is, other people's containers too.
///
/// # Errors
/// When the engine does not answer within the deadline or refuses.
pub async fn look(engine: &Engine, appliance: &Appliance) -> Result<Snapshot> {
    let (containers, volumes, host) =
        tokio::try_join!(engine.containers(false), engine.volumes(&appliance.name), engine.host())?;
    Ok(Snapshot { containers, volumes: Some(volumes), host })
}

/// Completes the look with what matters for what is wanted.
///
/// # Errors
/// When the engine does not answer within the deadline or refuses.
pub async fn observe(engine: &Engine, look: &Snapshot, desired: &Desired) -> Result<Observed> {
    let labels = &desired.container.labels;
    let find = |name: &str| look.containers.iter().find(|c| c.name == name);
    let container = |listed: &Listed| Container {
        id: listed.id.clone(),
        name: listed.name.clone(),
        ownership: Ownership::of(&listed.labels, labels),
        spec_hash: listed.labels.get(label::SPEC).cloned(),
        running: listed.is_running(),
        paused: listed.state == "paused",
        // Podman does not say it of one that does not run.
        connected: (engine.about.is_podman() && !listed.is_running())
            || listed.networks.as_ref().is_none_or(|networks| networks.contains_key(&desired.container.network)),
        undo: listed.labels.get(label::UNDO).map(PathBuf::from),
        image_id: listed.image_id.clone(),
        live: None,
    };
    let mut main = find(&desired.container.name).map(container);
    let mut previous = find(&desired.previous_name).map(container);
    let as_wanted = main.as_ref().is_some_and(|c| c.is_as(desired));
    let mut listed = look.volumes.clone();
    let mut image_present = true;
    let mut image_is_foreign = false;
    let mut network = Some(Ownership::Ours);
    let runs = main.as_ref().is_some_and(|c| c.running);
    let others = others(engine, look, desired, as_wanted && runs);
    let others = if as_wanted && runs {
        others.await?
    } else if as_wanted {
        let (found, others) = tokio::try_join!(engine.network(&desired.container.network), others)?;
        if let (Some((id, _)), Some(main)) = (&found, &mut main) {
            // One that was made anew under the same name is another one for the engine.
            let known = find(&main.name).and_then(|listed| listed.networks.as_ref()?.get(&desired.container.network));
            // Podman, whose lists have names for ids, looks for it by its name.
            main.connected &= engine.about.is_podman() || known.is_none_or(|known| known.is_empty() || known == id);
        }
        network = found.map(|(_, found)| Ownership::of(&found, labels));
        others
    } else {
        // Only now are more calls worth it: whether image and network are there, and what is different.
        let replaced = main.as_mut().or(previous.as_mut());
        let inspect = async {
            match &replaced {
                Some(old) if old.ownership == Ownership::Ours => engine.container(&old.id).await,
                _ => Ok(None),
            }
        };
        let volumes = async {
            match listed.take() {
                Some(volumes) => Ok(volumes),
                None => engine.volumes(&desired.container.name).await,
            }
        };
        let (image, found, detail, volumes, others) = tokio::try_join!(
            engine.image(desired.image.reference()),
            engine.network(&desired.container.network),
            inspect,
            volumes,
            others
        )?;
        listed = Some(volumes);
        image_present = image.is_some();
        let built = matches!(desired.image, ImagePlan::Build { .. });
        // Built images are shared between instances: whose label it is does not matter.
        let same = |image: &Image, key| image.labels.get(key).is_some_and(|value| labels.get(key) == Some(value));
        let ours = |image: &Image| same(image, label::MANAGED) && same(image, label::APPLIANCE);
        image_is_foreign = built && image.as_ref().is_some_and(|image| !ours(image));
        network = found.map(|(_, found)| Ownership::of(&found, labels));
        if let (Some(old), Some(detail)) = (replaced, detail) {
            old.live = Some(Box::new(detail.live));
        }
        others
    };
    // Those of a container that is as wanted are there and were looked at before it was made: no engine removes a volume
    // that a container has.
    let whose = |name: &str| match &listed {
        Some(volumes) => volumes.iter().find(|v| v.name == name).map(|v| Ownership::of(&v.labels, labels)),
        None => Some(Ownership::Ours),
    };
    let volume = |v: &VolumeSpec| Some(Volume { name: v.name.clone(), ownership: whose(&v.name)? });
    Ok(Observed {
        main,
        previous,
        task: find(&desired.task_name).map(container),
        helper: find(&desired.helper_name).filter(|helper| !is_being_removed(helper)).map(container),
        volumes: desired.volumes.iter().filter_map(volume).collect(),
        secrets: whose(&desired.container.secrets.volume),
        network,
        image_present,
        image_is_foreign,
        port: port_state(engine, &look.containers, desired).await?,
        others,
    })
}

/// Whether the engine is about to remove it: no command that was killed has left it.
fn is_being_removed(helper: &Listed) -> bool {
    helper.labels.contains_key(label::AUTO_REMOVE) && !helper.is_running() && helper.state != "created"
}

/// Other containers with the volumes. One that runs as wanted is not started, so nobody is asked for its sake.
async fn others(engine: &Engine, look: &Snapshot, desired: &Desired, settled: bool) -> Result<Vec<VolumeUser>> {
    let own = [&desired.container.name, &desired.previous_name, &desired.task_name, &desired.helper_name];
    let own = own.map(String::as_str);
    let volumes: Vec<String> = desired.volumes.iter().map(|v| v.name.clone()).collect();
    let labels = &desired.container.labels;
    match (&look.volumes, settled) {
        // All containers were listed.
        (Some(_), _) => Ok(users(&look.containers, &own, &volumes, labels)),
        (None, true) => Ok(vec![]),
        (None, false) => volume_users(engine, &own, &volumes, labels).await,
    }
}

/// The containers under other names than these that have one of these volumes.
///
/// # Errors
/// When the engine does not answer within the deadline or refuses.
pub async fn volume_users(
    engine: &Engine,
    own: &[&str],
    volumes: &[String],
    labels: &BTreeMap<String, String>,
) -> Result<Vec<VolumeUser>> {
    Ok(users(&engine.containers_with(volumes).await?, own, volumes, labels))
}

fn users(
    containers: &[Listed],
    own: &[&str],
    volumes: &[String],
    labels: &BTreeMap<String, String>,
) -> Vec<VolumeUser> {
    let user = |c: &Listed| {
        Some(VolumeUser {
            name: c.name.clone(),
            ownership: Ownership::of(&c.labels, labels),
            running: c.is_running(),
            volume: c.volumes.iter().find(|volume| volumes.contains(volume))?.clone(),
        })
    };
    containers.iter().filter(|c| !own.contains(&c.name.as_str())).filter_map(user).collect()
}

/// Whether the wanted port can be had. One that our own running container holds can. The engine is asked who holds it
/// only when it is taken, or when this machine cannot tell that for an engine elsewhere.
async fn port_state(engine: &Engine, containers: &[Listed], desired: &Desired) -> Result<PortState> {
    let wanted = &desired.container.publish;
    let own = [&desired.container.name, &desired.previous_name];
    if containers.iter().any(|c| own.contains(&&c.name) && holds(c, wanted)) {
        return Ok(PortState::Available);
    }
    let here = ports::state(wanted.address, wanted.port);
    if here == PortState::Available && engine.is_local() {
        return Ok(here);
    }
    let containers = engine.containers(false).await?;
    let Some(holder) = containers.iter().find(|c| holds(c, wanted)) else { return Ok(here) };
    // Our own was started after it was looked at: whoever looks again sees that.
    let holder = Some(holder).filter(|c| !own.contains(&&c.name)).map(in_words);
    Ok(PortState::Taken { holder, free_port: ports::next_free(wanted.address, wanted.port) })
}

/// The container that holds a port, in words.
///
/// # Errors
/// When the engine does not answer within the deadline or refuses.
pub async fn port_holder(engine: &Engine, wanted: &Publish) -> Result<Option<String>> {
    let containers = engine.containers(false).await?;
    Ok(containers.iter().find(|c| holds(c, wanted)).map(in_words))
}

fn in_words(container: &Listed) -> String {
    match container.labels.get(label::INSTANCE) {
        Some(instance) => format!("container {} (docklet instance {instance})", container.name),
        None => format!("container {}", container.name),
    }
}

fn holds(container: &Listed, wanted: &Publish) -> bool {
    let is_it = |p: &PublishedPort| p.port == wanted.port && overlap(p.address, wanted.address);
    container.is_running() && container.ports.iter().any(is_it)
}

fn overlap(held: Option<IpAddr>, wanted: IpAddr) -> bool {
    held.is_none_or(|held| held == wanted || held.is_unspecified() || wanted.is_unspecified())
}
