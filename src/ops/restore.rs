//! Restore: checks everything, puts the data of a backup in place of what is there, behind a backup of that, and
//! lets it prove itself.

mod brought;
pub(crate) mod contained_secrets;
mod damaged;
mod job;
mod only;
pub(crate) mod pending;
mod preview;

pub use self::preview::preview;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    contained_secrets::identities,
    damaged::{Checked, Salvaged, check},
    job::RestoreJob,
};
use super::{
    Instance, backup,
    backup_contents::{appliance_for, belongs_here, known_records},
    guarded, lost_undo, mounts, recovery,
};
use crate::{
    clock::Zone,
    data::{
        archive::read::Contents,
        data_check::{self},
        encrypted_file::Unlock,
        restore,
        volumes::Named,
    },
    engine::Engine,
    error::{Error, Result},
    present::data as text,
    report::data::{DamageReport, RestoreReport},
    secrets::Secret,
    settings::{ImageSource, Settings},
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
    let question = question(instance, options, &contents, salvaged.as_ref());
    let snapshot = instance.snapshot(&engine).await?;
    let there = instance.own_volumes(&snapshot)?;
    can_be_undone(&file, &contents, salvaged.is_some(), options, &there)?;
    let asked = salvaged.is_some() || !there.is_empty();
    if asked {
        instance.confirm(&question)?;
    }
    let known = settings_before(instance, options).await?;
    let chosen = brought::chosen(instance, options.settings, &snapshot, &file, &contents, known.as_ref())?;
    let _lock = instance.lock("restore")?;
    if options.no_backup {
        lost_undo::give_up(instance, &engine).await?;
    }
    let snapshot = recovery::recover(instance, &engine, known.as_ref()).await?;
    // What a killed command had committed may have brought other settings and volumes.
    let before = settings_before(instance, options).await?;
    let there = instance.own_volumes(&snapshot)?;
    can_be_undone(&file, &contents, salvaged.is_some(), options, &there)?;
    if !there.is_empty() && !asked {
        instance.confirm(&question)?;
    }
    let mut settings = match before == known {
        true => chosen,
        false => brought::chosen(instance, options.settings, &snapshot, &file, &contents, before.as_ref())?,
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
    let job =
        RestoreJob { instance, engine, file: source, contents: &contents, settings: &settings, appliance, timeout };
    let own = instance.own_container(&snapshot).cloned();
    let done = job.run(options, &snapshot, own.as_ref(), &there, before.as_ref()).await;
    let saved_before = match done {
        Ok(saved) => saved,
        Err(error) => {
            return Err(job.undo(before.as_ref(), own.as_ref(), &there, error).await);
        }
    };
    pending::take_over(instance)?;
    if new_password {
        instance.note(format!("it has a new password: docklet{} password", instance.name.flag()));
    }
    // One that was stopped stays stopped.
    let running = match &own {
        Some(container) => guarded::shall_run(instance, container.is_running())?,
        None => starts,
    };
    if let Err(error) = guarded::settle(instance, engine, &settings, running, timeout).await {
        if let Some(saved) = &saved_before {
            let (flag, saved) = (instance.name.flag(), text::quoted(&saved.display().to_string()));
            instance.warn(format!("the data is restored; what was there before: docklet{flag} restore {saved}"));
        }
        return Err(error);
    }
    let (now, then) = (&job.appliance.version, &instance.appliance.version);
    if settings.image.source == ImageSource::Build && now != then {
        instance
            .note(format!("it is {} {now} now, the release of the backup (before: {then})", instance.appliance.title));
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

/// What is asked before data is replaced.
fn question(instance: &Instance, options: &Restore, contents: &Contents, salvaged: Option<&Salvaged>) -> String {
    let others = only::others(instance, &options.only);
    let (what, rest) = match others.is_empty() {
        true => ("the data".to_owned(), String::new()),
        false => (format!("only {}", options.only.join(", ")), format!("; {} stay as they are", others.join(", "))),
    };
    let without = text::without_excluded(&backup::excluded(&contents.header));
    let without = without.map(|text| format!(", {text}")).unwrap_or_default();
    let (name, created) = (&instance.name, Zone::here().with_name(&contents.header.created));
    let damage = salvaged.map(|salvaged| text::damaged(&salvaged.report).join("; "));
    let damage = damage.map(|damage| format!("the backup is damaged: {damage}; ")).unwrap_or_default();
    format!("{damage}replace {what} of instance {name} with that of {created}{without}{rest}?")
}

/// Without a backup of what is there, an interrupted restore is reverted with the archive itself: all of it, by a
/// command that has no key.
fn can_be_undone(file: &Path, contents: &Contents, damaged: bool, options: &Restore, there: &[Named]) -> Result<()> {
    if !options.no_backup || there.is_empty() {
        return Ok(());
    }
    let refuse = |what: &str, hint: String| {
        let message = format!("{what} is restored only behind a backup of what is there");
        Err(Error::Usage { message, hint: Some(hint) })
    };
    let flags = "leave out --no-backup".to_owned();
    if !options.only.is_empty() {
        return refuse("a part of a backup", flags);
    }
    if damaged {
        return refuse("a damaged backup", flags);
    }
    if contents.key.is_none() {
        return Ok(());
    }
    let decrypt = text::decrypt_command(&file.display().to_string());
    refuse("an encrypted backup", format!("{flags}, or decrypt it first: {decrypt}"))
}

/// The ids of the records in a backup that the program does not have.
async fn missing_records(instance: &Instance, settings: &Settings, contents: &Contents) -> Result<Vec<String>> {
    let expected = known_records(instance, contents);
    let there = data_check::there(&instance.probe(settings)?, &expected).await;
    let is_there = |path: &String, id: &String| there.get(path).is_some_and(|found| found.contains(id));
    Ok(expected.iter().flat_map(|(path, ids)| ids.iter().filter(|id| !is_there(path, id)).cloned()).collect())
}
