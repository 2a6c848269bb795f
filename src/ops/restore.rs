//! Restore: checks everything, puts the data of a backup in place of what is there, behind a backup of that, and
//! lets it prove itself.

mod brought;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Instance, backup, converge,
    guarded::{self, Guarded, Missing},
    mounts,
};
use crate::{
    appliance::Appliance,
    clean,
    data::{
        archive::{Header, read::Contents},
        data_check::{self, Records},
        encryption, restore,
        store::Reason,
        volumes::Named,
    },
    desired::Desired,
    engine::{Engine, docker::Listed},
    error::{Error, Result},
    event::Event,
    observe::{self, Look},
    plan::{self, guarded::prepare},
    present::data as text,
    report::data::{ChangePreview, RestoreReport},
    secrets::{self, Secret},
    settings::{ImageSource, Settings},
    units::Version,
};

/// What to restore.
#[derive(Debug, Clone, Default)]
pub struct Restore {
    /// The backup.
    pub file: PathBuf,
    /// The passphrase of its secrets; `None`: asked for.
    pub passphrase: Option<Secret>,
    /// Whether the settings in it replace those that are there.
    pub settings: bool,
    /// Whether what is there now is not backed up first.
    pub no_backup: bool,
    /// Whether it counts although sessions are missing afterwards.
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
        restore_with(self, options).await
    }
}

/// What a restore would do. Reads the whole backup; changes nothing.
///
/// # Errors
/// BACKUP_INVALID.
pub async fn preview(instance: &Instance, options: &Restore) -> Result<ChangePreview> {
    let file = backup::absolute(&options.file)?;
    let header = restore::header(&file)?;
    belongs_here(instance, &file, &header)?;
    let engine = instance.engine().await?;
    let contents = check(instance, &file).await?;
    let there = backup::existing(instance, &observe::look(&engine, &instance.appliance).await?)?;
    let is_set_up = Settings::load(&instance.files.settings())?.is_some();
    let mut steps = vec![];
    if !there.is_empty() && !options.no_backup {
        let folder = instance.files.backups();
        steps.push(format!("stop {} and back up its volumes into {}", instance.container_name(), folder.display()));
    }
    let from = format!("that of instance {} of {}", contents.header.instance, contents.header.created);
    steps.push(match there.is_empty() {
        true => format!("create the volumes with the data of the backup: {from}"),
        false => format!("replace the data in the volumes by {from}"),
    });
    if let Some(without) = text::without_excluded(&backup::excluded(&contents.header)) {
        steps.push(format!("the data is {without}"));
    }
    if options.settings || !is_set_up {
        steps.push("take over the settings of the backup".to_owned());
    }
    if contents.secrets.is_some() {
        steps.push("take over the secrets of the backup, if the passphrase is given".to_owned());
    }
    steps.push("start it and check page and data; if they do not work, put the data back".to_owned());
    let lost = converge::lost(&engine, &instance.appliance, &instance.container_name()).await;
    Ok(ChangePreview { instance: instance.name.to_string(), steps, lost })
}

async fn restore_with(instance: &Instance, options: &Restore) -> Result<RestoreReport> {
    let file = backup::absolute(&options.file)?;
    let header = restore::header(&file)?;
    belongs_here(instance, &file, &header)?;
    let engine = instance.engine().await?;
    let contents = check(instance, &file).await?;
    // Asked before the lock is taken: while somebody thinks, the supervisor goes on with its work.
    let given = opened(instance, options, &file, &contents)?;
    let mut question =
        format!("replace the data of instance {} with that of {}?", instance.name, contents.header.created);
    if let Some(without) = text::without_excluded(&backup::excluded(&contents.header)) {
        question.insert_str(question.len() - 1, &format!(", {without}"));
    }
    let look = observe::look(&engine, &instance.appliance).await?;
    let asked = !backup::existing(instance, &look)?.is_empty();
    if asked {
        instance.confirm(&question)?;
    }
    let _lock = instance.lock("restore")?;
    let before = Settings::load(&instance.files.settings())?;
    let look = guarded::recovered(instance, &engine, before.as_ref()).await?;
    // What a killed command had committed may name another image.
    let before = Settings::load(&instance.files.settings())?;
    let there = backup::existing(instance, &look)?;
    if !there.is_empty() && !asked {
        instance.confirm(&question)?;
    }
    let settings = match &before {
        Some(before) if !options.settings => before.clone(),
        _ => brought::settings(instance, &look, &file, &contents, before.as_ref())?,
    };
    if before.is_none() || options.settings {
        brought::confirm(instance, &settings, before.as_ref())?;
    }
    mounts::admit(instance, &settings.mounts)?;
    let appliance = appliance_for(instance, &settings, &contents.header);
    let fresh = before.is_none();
    if fresh {
        // Only what the new container needs: until the data counts, the instance is not set up.
        save_secrets(instance, &given)?;
    }
    let job = Job { instance, engine: &engine, file: &file, contents: &contents, settings: &settings, appliance };
    let own = backup::own_container(instance, &look).cloned();
    let done = job.run(options, &look, own.as_ref(), &there, before.as_ref()).await;
    let saved_before = match done {
        Ok(saved) => saved,
        Err(error) => return Err(job.taken_back(before.as_ref(), own.is_none(), &there, error).await),
    };
    settings.save(&instance.files.settings())?;
    save_secrets(instance, &given)?;
    // One that was stopped stays stopped; where nothing was, it shall run.
    let running = match &own {
        Some(container) => guarded::shall_run(instance, container.is_running())?,
        None => true,
    };
    if let Err(error) = guarded::settle(instance, &engine, &settings, running, timeout(instance, options)).await {
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
    Ok(RestoreReport {
        instance: instance.name.to_string(),
        file: file.display().to_string(),
        created: contents.header.created.clone(),
        from_instance: contents.header.instance.clone(),
        files: contents.manifest.files,
        bytes: contents.manifest.bytes,
        settings: fresh || options.settings,
        secrets: !given.is_empty(),
        missing_volumes: backup::missing_volumes(instance, &contents.header),
        left_out_count: contents.manifest.left_out_count,
        exclude: backup::excluded(&contents.header),
        before: saved_before.map(|path| path.display().to_string()),
        appliance_version: Some(job.appliance.version.clone()).filter(|_| settings.image.source == ImageSource::Build),
        running,
        url: crate::desired::page_url(settings.network.bind.0, settings.network.port.0),
    })
}

fn timeout(instance: &Instance, options: &Restore) -> Duration {
    options.timeout.unwrap_or(instance.appliance.health.ready_timeout())
}

/// A backup of something else is none for us.
fn belongs_here(instance: &Instance, file: &Path, header: &Header) -> Result<()> {
    let invalid = |reason: String| Error::BackupInvalid { path: file.display().to_string(), reason };
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

/// Reads all of it.
async fn check(instance: &Instance, file: &Path) -> Result<Contents> {
    let step = format!("check {}", file.display());
    let began = std::time::Instant::now();
    instance.reporter.report(&Event::StepStarted { number: 1, total: 1, step: step.clone() });
    let contents = restore::verify(file, instance.reporter.as_ref(), &instance.interrupt).await?;
    instance.reporter.report(&Event::StepDone { number: 1, total: 1, step, elapsed: began.elapsed() });
    Ok(contents)
}

/// The secrets in the backup, where there are some and the passphrase is known.
fn opened(
    instance: &Instance,
    options: &Restore,
    file: &Path,
    contents: &Contents,
) -> Result<BTreeMap<String, Secret>> {
    let Some(sealed) = &contents.secrets else {
        if options.passphrase.is_some() {
            let text = "the backup contains no secrets; the current ones are kept".to_owned();
            instance.reporter.report(&Event::Note { text });
        }
        return Ok(BTreeMap::new());
    };
    let passphrase = match &options.passphrase {
        Some(given) => Some(backup::not_empty(given.clone())?),
        None => instance.questions.passphrase()?.filter(|typed| !typed.reveal().is_empty()),
    };
    let Some(passphrase) = passphrase else {
        let text = "the secrets in the backup are not restored; to restore them, add --passphrase-file FILE".to_owned();
        instance.reporter.report(&Event::Warning { text });
        return Ok(BTreeMap::new());
    };
    let all = encryption::open(sealed, &passphrase).map_err(|reason| match reason.as_str() {
        encryption::WRONG_PASSPHRASE => Error::WrongPassphrase { path: file.display().to_string() },
        _ => Error::BackupInvalid { path: file.display().to_string(), reason },
    })?;
    for (name, value) in &all {
        let checked = secrets::check_name(name).and_then(|()| secrets::check_value(name, value.reveal()));
        checked.map_err(|reason| Error::BackupInvalid { path: file.display().to_string(), reason })?;
    }
    Ok(all)
}

/// What is installed then: data of a later release needs that release.
fn appliance_for(instance: &Instance, settings: &Settings, header: &Header) -> Appliance {
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
fn known_records(instance: &Instance, contents: &Contents) -> Records {
    let mut records = contents.manifest.records.clone();
    records.retain(|path, _| instance.appliance.records.paths.contains(path));
    data_check::sane(records)
}

/// Writes the secrets; a password is made where there is none.
fn save_secrets(instance: &Instance, given: &BTreeMap<String, Secret>) -> Result<()> {
    let folder = instance.files.secrets();
    for (name, value) in given {
        secrets::write(&folder, name, value)?;
    }
    let password = &instance.appliance.login.password_secret;
    if secrets::read(&folder, password)?.is_none() {
        secrets::write(&folder, password, &secrets::generate_password()?)?;
        let text = format!("it has a new password: docklet{} password", instance.name.flag());
        instance.reporter.report(&Event::Note { text });
    }
    Ok(())
}

/// One restore.
struct Job<'a> {
    instance: &'a Instance,
    engine: &'a Engine,
    file: &'a Path,
    contents: &'a Contents,
    settings: &'a Settings,
    appliance: Appliance,
}

impl Job<'_> {
    /// Up to the commit; the backup of what was there. `own`: the container that is there.
    async fn run(
        &self,
        options: &Restore,
        look: &Look,
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
            let plan = plan::converge(&wanted, &observe::observe(engine, &look, &wanted).await?)?;
            guarded::run(instance, engine, settings, &self.appliance, &plan, None).await?;
        }
        self.room(look, &wanted).await?;
        let no_backup = there.is_empty() || options.no_backup;
        if options.no_backup && !there.is_empty() {
            let text = "the data of now is not backed up: nothing can bring it back".to_owned();
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
            backup: (!no_backup).then_some(Reason::Restore),
            records: known_records(instance, self.contents),
            missing: if options.force { Missing::IsTold } else { Missing::FailsUnlessForced },
            timeout: timeout(self.instance, options),
        };
        change.make(instance, engine, now).await
    }

    /// Whether the data fits in place of what is there now, before anything is stopped for it.
    async fn room(&self, look: &Look, wanted: &Desired) -> Result<()> {
        let Job { instance, engine, contents, .. } = *self;
        let Some(volume) = wanted.volumes.first() else { return Ok(()) };
        let mut task = backup::helper_of(instance, engine, look, Some(self.settings)).await?;
        wanted.image.reference().clone_into(&mut task.image);
        let sizes = engine.volume_sizes().await.unwrap_or_default();
        let now: u64 = wanted.volumes.iter().filter_map(|v| sizes.get(&v.name)).sum();
        let first = Named { role: String::new(), volume: volume.name.clone() };
        restore::room_for(engine, contents.manifest.bytes.saturating_sub(now), &task, &first).await
    }

    /// Puts everything back after a failure; the error to end with. `alone`: there was no container, and of the volumes
    /// only `there`.
    async fn taken_back(&self, before: Option<&Settings>, alone: bool, there: &[Named], error: Error) -> Error {
        let Job { instance, engine, .. } = *self;
        if let Err(second) = guarded::undo(instance, engine, before.filter(|_| !alone)).await {
            let text = format!("reverting failed: {second}; to continue: docklet{} start", instance.name.flag());
            instance.reporter.report(&Event::Warning { text });
            return error;
        }
        if alone {
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
        if before.is_none() {
            let _ = std::fs::remove_dir_all(instance.files.secrets());
        }
        match error {
            error @ (Error::NoSpace { .. }
            | Error::BackupInvalid { .. }
            | Error::Interrupted { .. }
            | Error::Image { .. }
            | Error::PortInUse { .. }) => error,
            other => Error::RestoreFailed { reason: [vec![other.to_string()], other.causes()].concat().join(": ") },
        }
    }
}
