//! Update and rollback: another release proves itself behind a backup; should it fail, release and data are as before.

mod change;
mod preview;
pub mod scheduled;

use std::time::Duration;

use self::change::{ReleaseChange, Target};
use super::{Instance, guarded, recovery, release, releases};
use crate::{
    appliance::Release,
    clock::Zone,
    data::{
        archive::Header,
        store::{self, Reason, StoredBackup},
    },
    desired_state::{self, DesiredState},
    engine::{Engine, container::Listed, credentials, reference::Reference},
    error::{Error, ObjectKind, Result},
    event::begin_step,
    observe::Snapshot,
    own_images,
    present::data as text,
    report::data::{UpdateCheckReport, UpdateReport},
    settings::{ImageSource, Settings},
};

/// Time that a registry may take to answer.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(30);

/// How to update.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// The release, or the tag of the image; `None`: the newest of the same major version.
    pub to: Option<String>,
    /// How long the page may take to answer; `None`: as long as the appliance usually may.
    pub timeout: Option<Duration>,
}

/// How to go back to the release before the last update.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rollback {
    /// Whether the data of before comes back, too.
    pub data: bool,
    /// How long the page may take to answer; `None`: as long as the appliance usually may.
    pub timeout: Option<Duration>,
}

impl Instance {
    /// Replaces the release by a newer one, behind a backup.
    ///
    /// # Errors
    /// UPDATE_ROLLED_BACK when release and data are as before, and what comes before anything is stopped.
    pub async fn update(&self, options: &Update) -> Result<UpdateReport> {
        let settings = can_update(self).await?;
        let _lock = self.lock("update")?;
        let engine = self.engine().await?;
        let snapshot = with_container(self, &engine, &settings).await?;
        // What a killed command had committed may name another image.
        let settings = self.settings().await?;
        let (main, current) = now(self, &engine, &snapshot).await?;
        let timeout = options.timeout.unwrap_or(self.appliance.health.ready_timeout());
        let to = options.to.as_deref();
        let target = match settings.image.source {
            ImageSource::Build => {
                let release = releases::chosen(self, &engine, &settings, current.as_deref(), to).await?;
                build(self, &engine, &settings, release, &snapshot)
            }
            _ => pull(self, &engine, &settings, &main, to).await?,
        };
        let same = match &target.release {
            Some(release) => current.as_ref() == Some(&release.version),
            None => target.image == main.image_id,
        };
        if same {
            return nothing_to_do(self, &engine, &settings, &main, current, timeout).await;
        }
        let change =
            ReleaseChange { instance: self, engine: &engine, settings: &settings, main: &main, current, timeout };
        let report = change.make(&snapshot, target, Reason::Update, None).await?;
        scheduled::LastUpdateCheck::taken(&self.files.update_state());
        Ok(report)
    }

    /// Whether there is something to update to. Changes nothing.
    ///
    /// # Errors
    /// NOT_FOUND, and what the engine and the registry say.
    pub async fn check_for_update(&self) -> Result<UpdateCheckReport> {
        check(self, &can_update(self).await?).await
    }

    /// Goes back to the release before the last update, behind a backup.
    ///
    /// # Errors
    /// NOT_FOUND when there is nothing to go back to; UPDATE_ROLLED_BACK when release and data are as before.
    pub async fn rollback(&self, options: &Rollback) -> Result<UpdateReport> {
        let settings = self.settings().await?;
        let _lock = self.lock("rollback")?;
        let engine = self.engine().await?;
        // A rollback that was killed right after its commit.
        let counted = release::committed(self, &self.snapshot(&engine).await?).container.is_some();
        let snapshot = with_container(self, &engine, &settings).await?;
        // What a killed command had committed may name another image.
        let settings = self.settings().await?;
        let (main, current) = now(self, &engine, &snapshot).await?;
        let timeout = options.timeout.unwrap_or(self.appliance.health.ready_timeout());
        let (stored, header) = match last_update(self, current.as_deref(), &main)? {
            LastUpdate::Update(stored, header) => (*stored, *header),
            // The same answer again, also after a kill at a moment when the old release counted already.
            LastUpdate::TakenBack(_) if counted || !options.data => {
                return nothing_to_do(self, &engine, &settings, &main, current, timeout).await;
            }
            LastUpdate::TakenBack(backup) => return Err(nothing_to_go_back_to(self, backup)),
        };
        let question = if options.data {
            let before = Zone::here().with_name(&header.created);
            format!("go back to the release and the data of {before}? Data since then will be kept only in a backup")
        } else {
            format!("go back to release {}? the data stays", before_text(&header))
        };
        self.confirm(&question)?;
        let target = before(self, &engine, &settings, &snapshot, &header).await?;
        let change =
            ReleaseChange { instance: self, engine: &engine, settings: &settings, main: &main, current, timeout };
        let from = options.data.then_some(&stored);
        change.make(&snapshot, target, Reason::Rollback, from).await
    }
}

/// The settings of an instance whose image can be updated.
async fn can_update(instance: &Instance) -> Result<Settings> {
    let settings = instance.settings().await?;
    if settings.image.source == ImageSource::Load {
        return Err(Error::Usage {
            message: "the image was loaded from a file, so docklet can't check for a newer one".to_owned(),
            hint: Some(format!("load a newer one: docklet{} setup --image-file TAR", instance.name.flag())),
        });
    }
    Ok(settings)
}

/// Says so, of what runs if it shall.
async fn nothing_to_do(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    main: &Listed,
    current: Option<String>,
    timeout: Duration,
) -> Result<UpdateReport> {
    let running = guarded::shall_run(instance, main.is_running())?;
    if running && !main.is_running() {
        // A command was killed just before the last start.
        guarded::settle(instance, engine, settings, running, timeout).await?;
    }
    Ok(UpdateReport {
        instance: instance.name.to_string(),
        changed: false,
        from: current.clone(),
        to: current,
        data: false,
        backup: None,
        running,
        url: crate::desired::page_url(settings.network.bind.0, settings.network.port.0),
    })
}

/// Looks, with what a killed command left behind led out of. One that was killed while the container
/// had another name, or was just being made anew, left none: it comes back first.
async fn with_container(instance: &Instance, engine: &Engine, settings: &Settings) -> Result<Snapshot> {
    let snapshot = recovery::recover(instance, engine, Some(settings)).await?;
    if instance.own_container(&snapshot).is_some()
        || desired_state::read(&instance.files.desired())? != DesiredState::Running
    {
        return Ok(snapshot);
    }
    guarded::settle(instance, engine, settings, true, instance.appliance.health.ready_timeout()).await?;
    instance.snapshot(engine).await
}

/// The container, and the version in it.
async fn now(instance: &Instance, engine: &Engine, snapshot: &Snapshot) -> Result<(Listed, Option<String>)> {
    let main = instance.own_container(snapshot).cloned().ok_or_else(|| Error::Missing {
        what: format!("container {}", instance.container_name()),
        reason: Some("there is nothing that a release could take the place of".to_owned()),
        hint: format!("docklet{} start makes it", instance.name.flag()),
    })?;
    let version = engine.image(&main.image_id).await?.and_then(|image| image.appliance_version);
    Ok((main, version))
}

/// The release that a backup was made of, in words.
fn before_text(header: &Header) -> &str {
    header.appliance_version.as_deref().unwrap_or("before")
}

/// What became of the last update.
enum LastUpdate {
    /// It counts; the backup from before it.
    Update(Box<StoredBackup>, Box<Header>),
    /// It was taken back, or there was none; the backup from before it.
    TakenBack(Option<Box<(StoredBackup, Header)>>),
}

/// Looks for the last update. A backup that was made of what runs now belongs to a change that was
/// taken back on its own.
fn last_update(instance: &Instance, current: Option<&str>, main: &Listed) -> Result<LastUpdate> {
    let another = |h: &Header| match (&h.release, &h.image) {
        (Some(release), _) => Some(release.version.as_str()) != current,
        (None, Some(image)) => image.id != main.image_id,
        (None, None) => false,
    };
    let changes: Vec<_> = store::list(&instance.files.backups())?
        .into_iter()
        .filter(|b| b.is_for(Reason::Update) || b.is_for(Reason::Rollback))
        .filter_map(|b| b.header.clone().ok().map(|header| (b, header)))
        .collect();
    match changes.iter().find(|(_, header)| another(header)) {
        Some((backup, header)) if backup.is_for(Reason::Update) => {
            Ok(LastUpdate::Update(Box::new(backup.clone()), Box::new(header.clone())))
        }
        Some(_) => {
            let of_now = |(b, header): &(StoredBackup, Header)| b.is_for(Reason::Update) && !another(header);
            Ok(LastUpdate::TakenBack(changes.into_iter().find(of_now).map(Box::new)))
        }
        None => Err(nothing_to_go_back_to(instance, None)),
    }
}

/// `taken_back`: the backup from before the last update, which was taken back.
fn nothing_to_go_back_to(instance: &Instance, taken_back: Option<Box<(StoredBackup, Header)>>) -> Error {
    let flag = instance.name.flag();
    let any = format!("docklet{flag} update --to VERSION goes to any release");
    let (reason, hint) = match taken_back {
        None => ("there is no backup from before one".to_owned(), any),
        Some(taken_back) => (
            "the last update was already rolled back".to_owned(),
            format!(
                "the data of {}: docklet{flag} restore {}\n{any}",
                Zone::here().with_name(&taken_back.1.created),
                text::quoted(&taken_back.0.file.display().to_string())
            ),
        ),
    };
    Error::Missing { what: "update to take back".to_owned(), reason: Some(reason), hint }
}

/// What a backup was made of.
async fn before(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    snapshot: &Snapshot,
    header: &Header,
) -> Result<Target> {
    match (&header.release, &header.image) {
        (Some(release), _) if settings.image.source == ImageSource::Build => {
            Ok(build(instance, engine, settings, release.clone(), snapshot))
        }
        (_, Some(image)) => {
            let there = engine.image(&image.id).await?;
            let there = there.ok_or_else(|| Error::NoSuchObject { kind: ObjectKind::Image, name: image.id.clone() })?;
            let mut settings = settings.clone();
            if image.reference.parse::<Reference>().is_ok() && !image.reference.starts_with("sha256:") {
                settings.image.reference.clone_from(&image.reference);
            }
            Ok(Target {
                appliance: instance.appliance.clone(),
                settings,
                image: there.id,
                version: header.appliance_version.clone(),
                release: None,
            })
        }
        (_, None) => Err(nothing_to_go_back_to(instance, None)),
    }
}

async fn check(instance: &Instance, settings: &Settings) -> Result<UpdateCheckReport> {
    let engine = instance.engine().await?;
    let snapshot = instance.snapshot(&engine).await?;
    let (main, current) = now(instance, &engine, &snapshot).await?;
    let (latest, update_available) = match settings.image.source {
        ImageSource::Build => {
            let newest = releases::chosen(instance, &engine, settings, current.as_deref(), None).await?;
            let other = current.as_ref() != Some(&newest.version);
            (Some(newest.version), other)
        }
        _ => {
            let reference: Reference = settings.image.reference.parse()?;
            let who =
                credentials::find(&instance.options.docker_config, reference.registry(), instance.reporter.as_ref())
                    .await;
            let digest = engine.ask_registry(&reference, who.as_ref(), REGISTRY_DEADLINE).await?;
            let image = engine.image(&main.image_id).await?;
            let here = image.is_some_and(|image| image.references.iter().any(|r| r.ends_with(&digest)));
            (None, !here)
        }
    };
    Ok(UpdateCheckReport { instance: instance.name.to_string(), current, latest, update_available })
}

fn build(instance: &Instance, engine: &Engine, settings: &Settings, release: Release, snapshot: &Snapshot) -> Target {
    let mut appliance = instance.appliance.clone();
    appliance.adopt(release.clone());
    let image = instance.desired(engine, &appliance, settings, snapshot).image.reference().to_owned();
    Target {
        appliance,
        settings: settings.clone(),
        image,
        version: Some(release.version.clone()),
        release: Some(release),
    }
}

/// Pulls beside what runs: the name keeps meaning the image that counts until another one does.
async fn pull(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    main: &Listed,
    to: Option<&str>,
) -> Result<Target> {
    let mut settings = settings.clone();
    if let Some(to) = to {
        settings.image.reference = with_tag(&settings.image.reference, to);
    }
    let reference: Reference = settings.image.reference.parse()?;
    let step = format!("pull image {reference}");
    let done = begin_step(instance.reporter.as_ref(), 1, 1, step);
    let who =
        credentials::find(&instance.options.docker_config, reference.registry(), instance.reporter.as_ref()).await;
    let stopped = Error::Interrupted { next: "nothing was changed".to_owned() };
    let pulling = engine.pull(&reference, who.as_ref(), instance.reporter.as_ref());
    let pulled = instance.interrupt.or(stopped, pulling).await;
    // Also when it was interrupted: it may have been complete right then.
    let image = engine.image(&settings.image.reference).await?;
    if to.is_none() && image.as_ref().is_some_and(|image| image.id != main.image_id) {
        engine.tag_image(&main.image_id, &settings.image.reference).await?;
    }
    pulled?;
    done();
    own_images::remember(&instance.files, &settings.image.reference);
    let missing = || Error::NoSuchObject { kind: ObjectKind::Image, name: settings.image.reference.clone() };
    let image = image.ok_or_else(missing)?;
    Ok(Target {
        appliance: instance.appliance.clone(),
        image: image.id,
        version: image.appliance_version,
        release: None,
        settings,
    })
}

/// A reference with another tag.
fn with_tag(reference: &str, tag: &str) -> String {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((name, old)) if !old.contains('/') => format!("{name}:{tag}"),
        _ => format!("{name}:{tag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_replaced_and_a_port_is_none() {
        assert_eq!(with_tag("127.0.0.1:5000/a:1", "2"), "127.0.0.1:5000/a:2");
        assert_eq!(with_tag("127.0.0.1:5000/a", "2"), "127.0.0.1:5000/a:2");
        assert_eq!(with_tag("a:1@sha256:0", "2"), "a:2");
    }
}
