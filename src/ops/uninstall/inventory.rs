//! What there is of an instance, on the engine and in files; which of it an uninstall removes, and what it keeps.

use std::path::Path;

use super::Uninstall;
use crate::{
    data::store,
    engine::Engine,
    error::Result,
    ops::{Instance, autostart, other_home, supervisor::process},
    own_images,
    report::{Kept, Thing, ThingKind},
    settings::{ImageSource, Settings},
};

/// What there is, and what shall happen to it.
pub struct Inventory {
    pub containers: Vec<String>,
    pub images: Vec<String>,
    /// Images that stay, and the container of somebody else that has each.
    pub images_in_use: Vec<(String, String)>,
    /// Images that docklet neither built nor pulled nor loaded, and their sizes: the user's own, which stay.
    pub images_of_others: Vec<(String, u64)>,
    pub networks: Vec<String>,
    pub volumes: Vec<String>,
    /// The volume with the container's copy of the secrets; it always goes.
    pub secrets: Option<String>,
    pub remove_volumes: bool,
    pub purge: bool,
}

/// The images that this instance ran before updates, as its backups tell, while their names still mean them.
async fn used_before(instance: &Instance, engine: &Engine) -> Result<Vec<String>> {
    let headers = store::list(&instance.files.backups()).unwrap_or_default().into_iter().filter_map(|b| b.header.ok());
    let own = headers.filter(|header| header.instance == instance.name.as_str());
    let mut references = vec![];
    for image in own.filter_map(|header| header.image).filter(|image| !image.reference.starts_with("sha256:")) {
        if engine.image(&image.reference).await?.is_some_and(|there| there.id == image.id) {
            references.push(image.reference);
        }
    }
    Ok(references)
}

pub async fn take_inventory(instance: &Instance, engine: &Engine, args: &Uninstall) -> Result<Inventory> {
    let appliance = &instance.appliance.name;
    let (containers, volumes, images, networks) = tokio::try_join!(
        engine.containers(false),
        engine.volumes(appliance),
        engine.images_labelled(appliance),
        engine.managed_networks()
    )?;
    other_home::refuse(instance, &containers)?;
    let names = [instance.container_name(), instance.name.previous_container(appliance)];
    let (own, others): (Vec<_>, Vec<_>) = containers.iter().partition(|c| instance.owns(&c.labels));
    let (named, stray): (Vec<_>, Vec<_>) = own.into_iter().partition(|c| names.contains(&c.name));
    // Built for this instance, also by an earlier version; and whatever its container runs.
    let built = images.iter().filter(|i| instance.owns(&i.labels));
    let mut references: Vec<String> = built.flat_map(|i| i.references.clone()).collect();
    references.extend(named.iter().map(|c| c.image.clone()));
    let previous_image = instance.name.previous_image(appliance);
    references.push(previous_image.clone());
    references.extend(used_before(instance, engine).await?);
    if let Ok(Some(settings)) = Settings::load(&instance.files.settings())
        && settings.image.source != ImageSource::Build
    {
        references.push(settings.image.reference);
    }
    // Also those of before, when the settings named another one.
    let brought = own_images::load(&instance.files);
    references.extend(brought.keys().filter(|name| own_images::is_of(&brought, name, &instance.name)).cloned());
    references.sort();
    references.dedup();
    let named_by_docklet = |name: &str| {
        let name = name.trim_start_matches("localhost/");
        name.starts_with(&format!("{appliance}:")) || name == previous_image
    };
    let (mut images, mut images_in_use, mut images_of_others) = (vec![], vec![], vec![]);
    for reference in references {
        let Some(image) = engine.image(&reference).await? else { continue };
        // A container names its image by its id when the name means another one now. Removing that would take
        // the names with it that somebody else gave it.
        let by_id = image.id.trim_start_matches("sha256:").starts_with(reference.trim_start_matches("sha256:"));
        if by_id && !image.references.iter().all(|name| name.contains('@')) {
            continue;
        }
        if !by_id && !named_by_docklet(&reference) && !brought.contains_key(&reference) {
            // A digest is no name that somebody gave.
            if !reference.contains('@') {
                images_of_others.push((reference, image.size));
            }
            continue;
        }
        match others.iter().find(|other| other.image_id == image.id) {
            Some(user) => images_in_use.push((reference, user.name.clone())),
            None => images.push(reference),
        }
    }
    let is_ours = |name: &String| volumes.iter().any(|v| v.name == *name && instance.owns(&v.labels));
    let wanted = instance.appliance.volumes.iter().map(|v| instance.name.volume(appliance, &v.role));
    let volumes = wanted.filter(is_ours).collect();
    let secrets = Some(instance.name.secrets_volume(appliance)).filter(is_ours);
    Ok(Inventory {
        containers: named.into_iter().chain(stray).map(|c| c.name.clone()).collect(),
        images,
        images_in_use,
        images_of_others,
        networks: networks.into_iter().filter(|n| instance.owns(&n.labels)).map(|n| n.name).collect(),
        volumes,
        secrets,
        remove_volumes: args.volumes || args.purge,
        purge: args.purge,
    })
}

/// The instance's files that are there: what they are, and where.
pub fn files(instance: &Instance) -> Vec<(ThingKind, std::path::PathBuf)> {
    let files = &instance.files;
    [
        (ThingKind::Settings, files.settings()),
        (ThingKind::Release, files.release()),
        (ThingKind::Secrets, files.secrets()),
        (ThingKind::Backups, files.backups()),
        (ThingKind::State, files.state.clone()),
    ]
    .into_iter()
    .filter(|(_, path)| path.exists())
    .collect()
}

pub fn will_be_removed(instance: &Instance, inventory: &Inventory) -> Vec<Thing> {
    let thing = |kind| move |name: &String| Thing { kind, name: name.clone() };
    let mut things: Vec<Thing> = process::running(&instance.files).map(supervisor).into_iter().collect();
    things.extend(inventory.containers.iter().map(thing(ThingKind::Container)));
    things.extend(inventory.networks.iter().map(thing(ThingKind::Network)));
    things.extend(inventory.images.iter().map(thing(ThingKind::Image)));
    things.extend(autostart::things(instance));
    things.extend(inventory.secrets.iter().map(thing(ThingKind::Volume)));
    if inventory.remove_volumes {
        things.extend(inventory.volumes.iter().map(thing(ThingKind::Volume)));
    }
    if inventory.purge {
        things.extend(files(instance).into_iter().map(|(kind, path)| Thing { kind, name: path.display().to_string() }));
    }
    things
}

pub fn will_be_kept(
    instance: &Instance,
    inventory: &Inventory,
    sizes: &std::collections::BTreeMap<String, u64>,
) -> Vec<Kept> {
    let flag = instance.name.flag();
    let in_use = |(image, container): &(String, String)| Kept {
        kind: ThingKind::Image,
        name: image.clone(),
        size: None,
        how_to_remove: format!("container {container} must be removed first"),
    };
    let mut kept: Vec<Kept> = inventory.images_in_use.iter().map(in_use).collect();
    kept.extend(inventory.images_of_others.iter().map(|(image, size)| Kept {
        kind: ThingKind::Image,
        name: image.clone(),
        size: Some(*size),
        how_to_remove: format!("docker image rm {image}"),
    }));
    if !inventory.remove_volumes {
        kept.extend(inventory.volumes.iter().map(|name| Kept {
            kind: ThingKind::Volume,
            name: name.clone(),
            size: sizes.get(name).copied(),
            how_to_remove: format!("docklet{flag} uninstall --volumes"),
        }));
    }
    if !inventory.purge {
        // Of the state, only logs and the lock would be left: nothing that anybody misses or wants.
        kept.extend(files(instance).into_iter().filter(|(kind, _)| *kind != ThingKind::State).map(|(kind, path)| {
            Kept {
                kind,
                size: Some(folder_size(&path)),
                name: path.display().to_string(),
                how_to_remove: format!("docklet{flag} uninstall --purge"),
            }
        }));
    }
    kept
}

pub fn supervisor(pid: u32) -> Thing {
    Thing { kind: ThingKind::Supervisor, name: format!("pid {pid}") }
}

fn folder_size(path: &Path) -> u64 {
    let Ok(found) = std::fs::symlink_metadata(path) else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| folder_size(&entry.path())).sum()
}
