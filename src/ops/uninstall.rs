//! Uninstall: lists what goes and what stays, asks, removes, and looks again. What the second look finds is the proof.

mod inventory;
mod last_backup;

use self::inventory::{Inventory, files, supervisor, take_inventory, will_be_kept, will_be_removed};
use super::{Instance, autostart, backup_test, lost_undo, recovery, stop, supervisor::process};
use crate::{
    desired_state::{self, DesiredState},
    engine::{
        Engine,
        container::Effect,
        image::{Image, Removal},
    },
    error::{Error, Result},
    event::begin_step,
    host::tunnel,
    own_images,
    report::{Kept, Thing, ThingKind, UninstallReport},
    settings::Settings,
};

/// What to remove besides the container, its network, its image and its secrets volume.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uninstall {
    /// The data volumes, too.
    pub volumes: bool,
    /// The data volumes, settings, secrets and backups, too.
    pub purge: bool,
    /// No last backup before data goes.
    pub no_backup: bool,
    /// Only says what would go.
    pub dry_run: bool,
}

impl Instance {
    /// Removes the instance, and looks again: what still carries its labels is in the report.
    ///
    /// # Errors
    /// What the engine says; nothing is removed when the last backup fails or the question is not answered with yes.
    pub async fn uninstall(&self, options: &Uninstall) -> Result<UninstallReport> {
        uninstall(self, options).await
    }

    /// Removes the container and its network; data, settings and image stay.
    ///
    /// # Errors
    /// NOT_FOUND, FOREIGN_OBJECT, and what the engine says.
    pub async fn remove(&self) -> Result<()> {
        let _lock = self.lock("remove")?;
        let engine = self.engine().await?;
        let settings = Settings::load(&self.files.settings())?;
        recovery::recover_without_start(self, &engine, settings.as_ref()).await?;
        let container = stop::find(self, &engine).await?;
        // Written before it is stopped, so that nothing starts it again in between.
        desired_state::write(&self.files.desired(), DesiredState::Stopped)?;
        tunnel::close_all(&self.files.state).await;
        stop_gently(&engine, &container.name).await;
        engine.remove_container(&container.name).await?;
        engine.remove_network(&container.name).await.map(drop)
    }
}

async fn uninstall(instance: &Instance, args: &Uninstall) -> Result<UninstallReport> {
    let has_files = instance.files.config.exists() || instance.files.state.exists() || instance.files.data.exists();
    // Without files of ours there is nobody to lock out, and taking the lock would make some.
    let lock = if args.dry_run || !has_files { None } else { Some(instance.lock("uninstall")?) };
    let engine = instance.engine().await?;
    let inventory = take_inventory(instance, &engine, args).await?;
    let removed = will_be_removed(instance, &inventory);
    if removed.iter().all(|thing| thing.kind == ThingKind::State) {
        // "Nothing left" would be no answer to who sees a container of that name.
        stop::refuse_foreign(instance, &engine).await?;
    }
    let sizes =
        if inventory.volumes.is_empty() { Default::default() } else { engine.volume_sizes().await.unwrap_or_default() };
    let mut report = UninstallReport {
        instance: instance.name.to_string(),
        dry_run: args.dry_run,
        backup: None,
        backup_missing_volumes: vec![],
        whole_backup: None,
        removed,
        kept: will_be_kept(instance, &inventory, &sizes),
        left: vec![],
    };
    if args.dry_run {
        return Ok(report);
    }
    backup_test::refuse_running(instance)?;
    if !report.removed.is_empty() {
        let data = inventory.remove_volumes && !inventory.volumes.is_empty();
        instance.questions.confirm_removal(&report, data.then_some(!inventory.purge && !args.no_backup))?;
    }
    let settings = Settings::load(&instance.files.settings()).ok().flatten();
    let inventory = if has_files {
        if inventory.purge || inventory.remove_volumes && args.no_backup {
            lost_undo::give_up(instance, &engine).await?;
        }
        recovery::recover_without_start(instance, &engine, settings.as_ref()).await?;
        take_inventory(instance, &engine, args).await?
    } else {
        inventory
    };
    if inventory.remove_volumes && !inventory.purge && !args.no_backup && !inventory.volumes.is_empty() {
        let last_backup::LastBackup { file, missing_volumes, whole } =
            last_backup::make(instance, &engine, settings.as_ref()).await?;
        report.kept.retain(|kept| kept.kind != ThingKind::Backups);
        report
            .kept
            .extend(will_be_kept(instance, &inventory, &sizes).into_iter().filter(|k| k.kind == ThingKind::Backups));
        report.backup = Some(file);
        report.backup_missing_volumes = missing_volumes;
        report.whole_backup = whole;
    }
    // First who would start it again.
    let autostart = autostart::remove(instance).await?;
    report.removed = remove(instance, &engine, &inventory, &mut report.kept).await?;
    report.removed.extend(autostart);
    if inventory.purge {
        remove_files(instance, &mut report.removed)?;
    }
    drop(lock);
    remove_empty_folders(instance);
    report.left = left(instance, &engine, &inventory).await?;
    Ok(report)
}

async fn remove(
    instance: &Instance,
    engine: &Engine,
    inventory: &Inventory,
    kept: &mut Vec<Kept>,
) -> Result<Vec<Thing>> {
    let mut removed = vec![];
    if let Some(pid) = process::end(&instance.files).await? {
        removed.push(supervisor(pid));
    }
    tunnel::close_all(&instance.files.state).await;
    // Its container may have the image that is to go.
    backup_test::remove_left(instance, engine).await?;
    if !inventory.containers.is_empty() {
        // Writes the desired state first, so that nobody starts it again in between. A full disk keeps nothing from being
        // removed: the supervisor has ended.
        let _ = desired_state::write(&instance.files.desired(), DesiredState::Stopped);
    }
    let data: &[String] = if inventory.remove_volumes { &inventory.volumes } else { &[] };
    let volumes: Vec<&String> = inventory.secrets.iter().chain(data).collect();
    let total = inventory.containers.len() + inventory.networks.len() + inventory.images.len() + volumes.len();
    let mut number = 0;
    let mut step = |kind: ThingKind, name: &str| {
        number += 1;
        begin_step(instance.reporter.as_ref(), number, total, format!("remove {kind} {name}"))
    };
    for name in &inventory.containers {
        let running = step(ThingKind::Container, name);
        stop_gently(engine, name).await;
        if engine.remove_container(name).await? == Effect::Changed {
            removed.push(Thing { kind: ThingKind::Container, name: name.clone() });
        }
        running();
    }
    for name in &inventory.networks {
        let running = step(ThingKind::Network, name);
        if engine.remove_network(name).await? == Effect::Changed {
            removed.push(Thing { kind: ThingKind::Network, name: name.clone() });
        }
        running();
    }
    for name in &inventory.images {
        let running = step(ThingKind::Image, name);
        match engine.remove_image(name).await? {
            Removal::Removed => removed.push(Thing { kind: ThingKind::Image, name: name.clone() }),
            Removal::WasMissing => {}
            Removal::InUse { by } => kept.push(Kept {
                kind: ThingKind::Image,
                name: name.clone(),
                size: None,
                how_to_remove: format!("{by} must be removed first"),
            }),
        }
        running();
    }
    let brought = own_images::load(&instance.files);
    let is_kept = |name: &&str| kept.iter().any(|kept| kept.kind == ThingKind::Image && kept.name == **name);
    let is_gone = |name: &&str| removed.iter().any(|gone| gone.kind == ThingKind::Image && gone.name == **name);
    let names = brought.keys().map(String::as_str).filter(|name| !is_kept(name));
    let gone = names.filter(|name| is_gone(name) || own_images::is_of(&brought, name, &instance.name));
    own_images::forget(&instance.files, gone);
    let built_here = |thing: &Thing| {
        thing.kind == ThingKind::Image
            && thing.name.strip_prefix(&instance.appliance.name).is_some_and(|r| r.starts_with(':'))
    };
    if removed.iter().any(built_here) {
        instance.note(
            "build steps stay in the engine's cache, which other builds use too; to remove them: docker builder prune",
        );
    }
    for name in volumes {
        let running = step(ThingKind::Volume, name);
        if engine.remove_volume(name).await? == Effect::Changed {
            removed.push(Thing { kind: ThingKind::Volume, name: name.clone() });
        }
        running();
    }
    Ok(removed)
}

/// The data stays, so the program gets its time to write it down.
async fn stop_gently(engine: &Engine, name: &str) {
    // A container that cannot be stopped is removed by force right after.
    let _ = engine.stop_container(name, std::time::Duration::from_secs(10)).await;
}

fn remove_files(instance: &Instance, removed: &mut Vec<Thing>) -> Result<()> {
    for (kind, path) in files(instance) {
        let result = if path.is_dir() { fs_err::remove_dir_all(&path) } else { fs_err::remove_file(&path) };
        result.map_err(|e| Error::file("remove", &path, &e))?;
        removed.push(Thing { kind, name: path.display().to_string() });
    }
    Ok(())
}

/// Removes our folders that are empty now, and those above them that are only ours.
fn remove_empty_folders(instance: &Instance) {
    let files = &instance.files;
    if !files.settings().exists() && !files.secrets().exists() {
        // Nothing is set up any more: a lock and logs are no reason to stay.
        let _ = std::fs::remove_dir_all(&files.state);
    }
    for folder in [&files.config, &files.state, &files.data] {
        let _ = std::fs::remove_dir(folder);
    }
    instance.paths.remove_empty();
}

/// Looks again: what still carries our labels and was not kept on purpose.
async fn left(instance: &Instance, engine: &Engine, inventory: &Inventory) -> Result<Vec<Thing>> {
    let (containers, volumes, images, networks) = tokio::try_join!(
        engine.containers(true),
        engine.managed_volumes(),
        engine.images_labelled(&instance.appliance.name),
        engine.managed_networks()
    )?;
    let mut left: Vec<Thing> = containers
        .iter()
        .filter(|c| instance.owns(&c.labels))
        .map(|c| Thing { kind: ThingKind::Container, name: c.name.clone() })
        .collect();
    let networks = networks.into_iter().filter(|n| instance.owns(&n.labels));
    left.extend(networks.map(|n| Thing { kind: ThingKind::Network, name: n.name }));
    let secrets = instance.name.secrets_volume(&instance.appliance.name);
    let volumes =
        volumes.into_iter().filter(|v| instance.owns(&v.labels) && (inventory.remove_volumes || v.name == secrets));
    left.extend(volumes.map(|v| Thing { kind: ThingKind::Volume, name: v.name }));
    // Images are shared: one that another instance's container uses was kept on purpose.
    let used = |id: &str| containers.iter().any(|c| c.image_id == id);
    let kept = |i: &&Image| inventory.images_of_others.iter().any(|(name, _)| i.references.contains(name));
    let unused = images.iter().filter(|i| instance.owns(&i.labels) && !used(&i.id) && !kept(i));
    left.extend(unused.map(|i| Thing { kind: ThingKind::Image, name: i.references.first().unwrap_or(&i.id).clone() }));
    left.extend(autostart::things(instance));
    left.extend(process::running(&instance.files).map(supervisor));
    if inventory.purge {
        left.extend(files(instance).into_iter().map(|(kind, path)| Thing { kind, name: path.display().to_string() }));
    }
    Ok(left)
}
