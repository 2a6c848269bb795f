//! Restore: checks everything, puts the data of a backup in place of what is there, behind a backup of that, and
//! lets it prove itself.

mod brought;
mod contained_secrets;
mod damaged;
mod only;
pub(crate) mod pending;
mod preview;

pub use self::{
    contained_secrets::{identities, tried as secrets_in},
    preview::preview,
};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use self::damaged::{Checked, Salvaged, check};
use super::{
    Instance, backup,
    guarded::{self, Asked, Guarded, Missing},
    lost_undo, mounts, other_home,
};
use crate::{
    appliance::Appliance,
    clean,
    clock::Zone,
    data::{
        archive::{Header, read::Contents},
        data_check::{self, Records},
        encrypted_file::Unlock,
        restore,
        store::Reason,
        volumes::Named,
    },
    desired::Desired,
    engine::{Engine, docker::Listed},
    error::{Error, Result},
    event::Event,
    observe::{self, Snapshot},
    paths,
    plan::{self, guarded::prepare},
    present::data as text,
    report::data::{DamageReport, RestoreReport},
    secrets::Secret,
    settings::{Bind, Image, ImageSource, Port, Settings},
    units::Version,
};

/// What to restore.
#[derive(Debug, Clone, Default)]
pub struct Restore {
    /// The backup.
    pub file: PathBuf,
    /// The passphrase of its secrets; `None`: asked for.
    pub passphrase: Option<Secret>,
    /// The private keys for its secrets, or for all of it, as in a file of `age-keygen`.
    pub identity: Option<Secret>,
    /// Roles of the volumes to restore, the others and the secrets staying as they are; empty: all of it.
    pub only: Vec<String>,
    /// Whether the settings in it replace those that are there.
    pub settings: bool,
    /// Whether what is there now is not backed up first.
    pub no_backup: bool,
    /// Whether what can be read of a damaged backup is restored, and whether it counts although sessions are missing
    /// afterwards.
    pub force: bool,
    /// How long the page may take to answer; `None`: as long as the appliance usually may.
    pub timeout: Option<Duration>,
}

impl Instance {
    /// Puts the data of a backup in place of what is there.
    ///
    /// # Errors
    /// BACKUP_INVALID before anything is touched; RESTORE_FAILED when everything is as it was.
    pub async fn restore(&self, options: &Restore) -> Result<RestoreReport> {
        restore_with(self, options, true).await
    }
}

/// Whether a file is a backup that this instance can take; reads its beginning.
///
/// # Errors
/// [`Error::BackupInvalid`], and when it cannot be read.
pub fn check_header(instance: &Instance, options: &Restore) -> Result<()> {
    let file = backup::absolute(&options.file)?;
    let unlock = Unlock::Identities(identities(options.identity.as_ref())?);
    belongs_here(instance, &file, &restore::header(&file, &unlock)?)
}

/// The backup, all of it read, and the engine that it is to be restored on.
async fn open(instance: &Instance, options: &Restore) -> Result<(PathBuf, Engine, Checked)> {
    let file = backup::absolute(&options.file)?;
    let unlock = Unlock::Identities(identities(options.identity.as_ref())?);
    let header = restore::header(&file, &unlock)?;
    belongs_here(instance, &file, &header)?;
    only::check(instance, &file, &header, &options.only)?;
    let engine = instance.engine().await?;
    let checked = check(instance, &file, &unlock, &header, options.force).await?;
    Ok((file, engine, checked))
}

/// The settings that are there. A part is restored only where there are some.
async fn settings_before(instance: &Instance, options: &Restore) -> Result<Option<Settings>> {
    match options.only.is_empty() {
        true => Settings::load(&instance.files.settings()),
        false => instance.settings().await.map(Some),
    }
}

/// `starts`: whether it runs in the end where there was nothing before.
///
/// # Errors
/// As [`Instance::restore`].
pub async fn restore_with(instance: &Instance, options: &Restore, starts: bool) -> Result<RestoreReport> {
    let (file, engine, Checked { contents, salvaged }) = open(instance, options).await?;
    // Asked before the lock is taken: while somebody thinks, the supervisor goes on with its work.
    let mut given = match options.only.is_empty() {
        true => contained_secrets::opened(instance, options, &file, &contents)?,
        false => BTreeMap::new(),
    };
    let others = only::others(instance, &options.only);
    let (what, rest) = match others.is_empty() {
        true => ("the data".to_owned(), String::new()),
        false => (format!("only {}", options.only.join(", ")), format!("; {} stay as they are", others.join(", "))),
    };
    let without = text::without_excluded(&backup::excluded(&contents.header));
    let without = without.map(|text| format!(", {text}")).unwrap_or_default();
    let (name, created) = (&instance.name, Zone::here().with_name(&contents.header.created));
    let damage = salvaged.as_ref().map(|salvaged| text::damaged(&salvaged.report).join("; "));
    let damage = damage.map(|damage| format!("the backup is damaged: {damage}; ")).unwrap_or_default();
    let question = format!("{damage}replace {what} of instance {name} with that of {created}{without}{rest}?");
    let look = observe::look(&engine, &instance.appliance).await?;
    let there = backup::existing(instance, &look)?;
    can_be_undone(&file, &contents, salvaged.is_some(), options, &there)?;
    let asked = salvaged.is_some() || !there.is_empty();
    if asked {
        instance.confirm(&question)?;
    }
    let known = settings_before(instance, options).await?;
    let chosen = brought::chosen(instance, options.settings, &look, &file, &contents, known.as_ref())?;
    let _lock = instance.lock("restore")?;
    if options.no_backup {
        lost_undo::give_up(instance, &engine).await?;
    }
    let look = guarded::recovered(instance, &engine, known.as_ref()).await?;
    // What a killed command had committed may have brought other settings and volumes.
    let before = settings_before(instance, options).await?;
    let there = backup::existing(instance, &look)?;
    can_be_undone(&file, &contents, salvaged.is_some(), options, &there)?;
    if !there.is_empty() && !asked {
        instance.confirm(&question)?;
    }
    let mut settings = match before == known {
        true => chosen,
        false => brought::chosen(instance, options.settings, &look, &file, &contents, before.as_ref())?,
    };
    mounts::admit(instance, &settings.mounts)?;
    let appliance = appliance_for(instance, &settings, &contents.header);
    let fresh = before.is_none();
    let secrets = !given.is_empty();
    let mut new_password = false;
    if fresh {
        brought::add_machine(instance, &mut settings, &mut given);
        new_password = contained_secrets::add_password(instance, &mut given)?;
    }
    pending::keep(instance, Some(&settings).filter(|_| fresh || options.settings), &given, fresh)?;
    let source = salvaged.as_ref().map_or(file.as_path(), Salvaged::path);
    let timeout = options.timeout.unwrap_or(instance.appliance.health.ready_timeout());
    let engine = &engine;
    let job = Job { instance, engine, file: source, contents: &contents, settings: &settings, appliance, timeout };
    let own = backup::own_container(instance, &look).cloned();
    let done = job.run(options, &look, own.as_ref(), &there, before.as_ref()).await;
    let saved_before = match done {
        Ok(saved) => saved,
        Err(error) => {
            return Err(job.taken_back(before.as_ref(), own.as_ref(), &there, error).await);
        }
    };
    pending::take_over(instance)?;
    if new_password {
        let text = format!("it has a new password: docklet{} password", instance.name.flag());
        instance.reporter.report(&Event::Note { text });
    }
    // One that was stopped stays stopped.
    let running = match &own {
        Some(container) => guarded::shall_run(instance, container.is_running())?,
        None => starts,
    };
    if let Err(error) = guarded::settle(instance, engine, &settings, running, timeout).await {
        if let Some(saved) = &saved_before {
            let (flag, saved) = (instance.name.flag(), text::quoted(&saved.display().to_string()));
            let text = format!("the data is restored; what was there before: docklet{flag} restore {saved}");
            instance.reporter.report(&Event::Warning { text });
        }
        return Err(error);
    }
    let (now, then) = (&job.appliance.version, &instance.appliance.version);
    if settings.image.source == ImageSource::Build && now != then {
        let text = format!("it is {} {now} now, the release of the backup (before: {then})", instance.appliance.title);
        instance.reporter.report(&Event::Note { text });
    }
    let restored = only::totals(&contents, &options.only);
    let mut damage = salvaged.as_ref().map(|salvaged| salvaged.report.clone());
    if options.force && running && only::holds_records(&options.only) {
        let missing_records = missing_records(instance, &settings, &contents).await?;
        if !missing_records.is_empty() {
            damage = Some(DamageReport { missing_records, ..damage.unwrap_or_default() });
        }
    }
    Ok(RestoreReport {
        instance: instance.name.to_string(),
        file: file.display().to_string(),
        created: contents.header.created.clone(),
        from_instance: contents.header.instance.clone(),
        only: options.only.clone(),
        files: restored.iter().map(|total| total.files).sum(),
        bytes: restored.iter().map(|total| total.bytes).sum(),
        settings: fresh || options.settings,
        secrets,
        missing_volumes: backup::missing_volumes(instance, &contents.header),
        left_out_count: contents.manifest.left_out_count,
        exclude: backup::excluded(&contents.header),
        damage,
        before: saved_before.map(|path| path.display().to_string()),
        appliance_version: Some(job.appliance.version.clone()).filter(|_| settings.image.source == ImageSource::Build),
        running,
        url: crate::desired::page_url(settings.network.bind.0, settings.network.port.0),
    })
}

/// A backup of something else is none for us.
///
/// # Errors
/// [`Error::BackupInvalid`].
pub fn belongs_here(instance: &Instance, file: &Path, header: &Header) -> Result<()> {
    let invalid = |reason: String| Error::BackupInvalid { path: paths::shown(file), reason };
    let appliance = &instance.appliance;
    let shown = |text: &str| clean::line(text, false);
    if header.appliance != appliance.name {
        return Err(invalid(format!("it is a backup of {}, but this is {}", shown(&header.appliance), appliance.name)));
    }
    for volume in &header.volumes {
        if !appliance.volumes.iter().any(|v| v.role == volume.role) {
            let (role, name) = (shown(&volume.role), &appliance.name);
            return Err(invalid(format!("it holds a volume {role}, which {name} does not have")));
        }
    }
    Ok(())
}

/// Without a backup of what is there, an interrupted restore is reverted with the archive itself: all of it, by a
/// command that has no key.
fn can_be_undone(file: &Path, contents: &Contents, damaged: bool, options: &Restore, there: &[Named]) -> Result<()> {
    if !options.no_backup || there.is_empty() {
        return Ok(());
    }
    let flags = "leave out --no-backup".to_owned();
    if !options.only.is_empty() {
        let message = "a part of a backup is restored only behind a backup of what is there".to_owned();
        return Err(Error::Usage { message, hint: Some(flags) });
    }
    if damaged {
        let message = "a damaged backup is restored only behind a backup of what is there".to_owned();
        return Err(Error::Usage { message, hint: Some(flags) });
    }
    if contents.key.is_none() {
        return Ok(());
    }
    let decrypt = text::decrypt_command(&file.display().to_string());
    Err(Error::Usage {
        message: "an encrypted backup is restored only behind a backup of what is there".to_owned(),
        hint: Some(format!("{flags}, or decrypt it first: {decrypt}")),
    })
}

/// The ids of the records in a backup that the program does not have.
async fn missing_records(instance: &Instance, settings: &Settings, contents: &Contents) -> Result<Vec<String>> {
    let expected = known_records(instance, contents);
    let there = data_check::there(&instance.probe(settings)?, &expected).await;
    let is_there = |path: &String, id: &String| there.get(path).is_some_and(|found| found.contains(id));
    Ok(expected.iter().flat_map(|(path, ids)| ids.iter().filter(|id| !is_there(path, id)).cloned()).collect())
}

/// What is installed then: data of a later release needs that release.
pub fn appliance_for(instance: &Instance, settings: &Settings, header: &Header) -> Appliance {
    let mut appliance = instance.appliance.clone();
    if settings.image.source == ImageSource::Build
        && let Some(release) = header.release.as_ref().filter(|release| appliance.knows(release))
        && Version::of(&release.version) > Version::of(&appliance.version)
    {
        appliance.adopt(release.clone());
    }
    appliance
}

/// The records in a backup that this appliance lists.
pub fn known_records(instance: &Instance, contents: &Contents) -> Records {
    let mut records = contents.manifest.records.clone();
    records.retain(|path, _| instance.appliance.records.paths.contains(path));
    data_check::sane(records)
}

/// One restore.
struct Job<'a> {
    instance: &'a Instance,
    engine: &'a Engine,
    file: &'a Path,
    contents: &'a Contents,
    settings: &'a Settings,
    appliance: Appliance,
    /// How long the page may take to answer, also on the way back.
    timeout: Duration,
}

impl Job<'_> {
    /// Up to the commit; the backup of what was there. `own`: the container that is there.
    async fn run(
        &self,
        options: &Restore,
        look: &Snapshot,
        own: Option<&Listed>,
        there: &[Named],
        before: Option<&Settings>,
    ) -> Result<Option<PathBuf>> {
        let Job { instance, engine, settings, .. } = *self;
        let mut wanted = guarded::desired(instance, engine, &self.appliance, settings, look);
        let observed = observe::observe(engine, look, &wanted).await?;
        let plan = prepare(&wanted, &observed)?;
        guarded::run(instance, engine, settings, &self.appliance, &plan, None).await?;
        if own.is_none() {
            // One that never runs: what a change is undone to.
            wanted.running = false;
            let look = backup::look(instance, engine).await?;
            // Getting the image takes time; whoever was quicker has the volumes.
            other_home::refuse(instance, &look.containers)?;
            let plan = plan::converge(&wanted, &observe::observe(engine, &look, &wanted).await?)?;
            guarded::run(instance, engine, settings, &self.appliance, &plan, None).await?;
        }
        self.room(options, look, &wanted).await?;
        let no_backup = there.is_empty() || options.no_backup;
        if options.no_backup && !there.is_empty() {
            let text = "the current data is not backed up first: it will be lost".to_owned();
            instance.reporter.report(&Event::Warning { text });
        }
        let now = match own {
            Some(main) if !no_backup => guarded::records_now(instance, main, before.unwrap_or(settings)).await?,
            _ => None,
        };
        let change = Guarded {
            appliance: &self.appliance,
            settings,
            image: wanted.image.reference(),
            release: self.appliance.release.as_ref(),
            archive: Some((self.file, self.contents)),
            only: &options.only,
            backup: (!no_backup).then_some(Reason::Restore),
            fresh: there.is_empty(),
            records: match only::holds_records(&options.only) {
                true => known_records(instance, self.contents),
                false => now.clone().unwrap_or_default(),
            },
            asked: if only::holds_records(&options.only) { Asked::OfTheBackup } else { Asked::BeforeTheStop },
            missing: if options.force { Missing::IsTold } else { Missing::FailsUnlessForced },
            timeout: self.timeout,
        };
        change.make(instance, engine, now).await
    }

    /// Whether the data fits in place of what is there now, before anything is stopped for it.
    async fn room(&self, options: &Restore, look: &Snapshot, wanted: &Desired) -> Result<()> {
        let Job { instance, engine, contents, .. } = *self;
        let mut task = backup::helper_of(instance, engine, look, Some(self.settings)).await?;
        wanted.image.reference().clone_into(&mut task.image);
        let appliance = &instance.appliance.name;
        let totals = only::totals(contents, &options.only);
        let named = |role: &String| Named { role: role.clone(), volume: instance.name.volume(appliance, role) };
        let volumes: Vec<Named> = totals.iter().map(|total| named(&total.role)).collect();
        if volumes.is_empty() {
            return Ok(());
        }
        restore::room_for(engine, totals.iter().map(|total| total.bytes).sum(), &task, &volumes).await
    }

    /// Puts everything back after a failure; the error to end with. There were the container `own` and the volumes `there`.
    async fn taken_back(
        &self,
        before: Option<&Settings>,
        own: Option<&Listed>,
        there: &[Named],
        error: Error,
    ) -> Error {
        let Job { instance, engine, .. } = *self;
        let alone = own.is_none();
        // First: what runs again is given the secrets of before.
        pending::discard(instance);
        // Another home may have been quicker: what is there is its, then.
        let elsewhere = async || match engine.containers(false).await {
            Ok(all) => other_home::refuse(instance, &all).err(),
            Err(_) => None,
        };
        if let Some(elsewhere) = elsewhere().await {
            return elsewhere;
        }
        let held = before.cloned().unwrap_or_else(|| self.settings_of(own));
        // Without settings, nobody knows what the user wants but for what was there.
        let again = own.is_some_and(|own| match before {
            Some(_) => guarded::shall_run(instance, own.is_running()).unwrap_or(true),
            None => own.is_running(),
        });
        if let Err(second) = guarded::undo(instance, engine, &held, again).await {
            let text = format!("reverting failed: {second}; to continue: docklet{} start", instance.name.flag());
            instance.reporter.report(&Event::Warning { text });
            return error;
        }
        if alone && elsewhere().await.is_none() {
            let _ = engine.remove_container(&instance.container_name()).await;
            let _ = engine.remove_network(&instance.container_name()).await;
            let _ = engine.remove_volume(&instance.name.secrets_volume(&instance.appliance.name)).await;
            for volume in &instance.appliance.volumes {
                let name = instance.name.volume(&instance.appliance.name, &volume.role);
                if !there.iter().any(|kept| kept.volume == name) {
                    let _ = engine.remove_volume(&name).await;
                }
            }
        }
        match error {
            error @ (Error::NoSpace { .. }
            | Error::BackupInvalid { .. }
            | Error::Interrupted { .. }
            | Error::Image { .. }
            | Error::Missing { .. }
            | Error::PortInUse { .. }) => error,
            other => Error::RestoreFailed { reason: [vec![other.to_string()], other.causes()].concat().join(": ") },
        }
    }

    /// The settings that a container without any is put back with: those of the backup, but its own image and address.
    fn settings_of(&self, own: Option<&Listed>) -> Settings {
        let mut settings = Settings { image: Image::default(), ..self.settings.clone() };
        if let Some(published) = own.and_then(|own| own.ports.first()) {
            settings.network.port = Port(published.port);
            if let Some(address) = published.address {
                settings.network.bind = Bind(address);
            }
        }
        settings
    }
}
