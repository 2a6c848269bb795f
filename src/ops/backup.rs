//! Backups: what `backup` makes, and what other operations make first.
//!
//! - `stored`: which ones there are, and what is in them; `prune`: which ones go
//! - `stream`: to standard output; `receive`: from standard input

pub mod prune;
pub mod receive;
mod stored;
mod stream;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::stored::{check, excluded, list, missing_volumes, verify, verify_stream};
use super::{Instance, copy, guarded, release};
use crate::{
    age_key::Recipient,
    appliance::Appliance,
    clean, clock,
    data::{
        archive::{FORMAT, Header, ImageUsed, Manifest, VolumeIn},
        backup::{self, Made, Recorded, Request},
        data_check::Records,
        encryption::{self, Readers},
        schedule::Last,
        store::{self, Reason},
        volumes::{self, HelperOf, Named},
    },
    desired::{VERSION, labels},
    engine::{Engine, docker::Listed},
    error::{Error, Result},
    event::Event,
    observe::{self, Snapshot},
    observed::Ownership,
    paths,
    present::data as text,
    report::data::BackupReport,
    secrets::{self, Secret},
    settings::{Glob, Settings},
};

/// Longest name of a file, in bytes; as on all usual file systems.
const LONGEST_NAME: usize = 255;

/// What to back up, and where to.
#[derive(Debug, Clone, Default)]
pub struct Backup {
    /// The file, or the folder for it; `None`: among this instance's own backups.
    pub file: Option<PathBuf>,
    /// Where the archive goes instead of into a file, once it has been read back.
    pub output: Option<Arc<File>>,
    /// What is left out in addition to `backup.exclude`.
    pub exclude: Vec<Glob>,
    /// The passphrase that the secrets are encrypted with; `None`: they are encrypted for `backup.recipients` of the
    /// settings, and left out where there are none.
    pub passphrase: Option<Secret>,
    /// Whether all of the file is encrypted for `backup.recipients`, as `backup.encrypt` of the settings has it always.
    pub encrypt: bool,
    /// Whether the schedule made it: then older scheduled ones are removed, and its result is kept for `status`.
    pub scheduled: bool,
}

impl Instance {
    /// Makes a backup of the volumes, the settings and, with a passphrase or recipients, the secrets. A container that runs
    /// is paused while what changed meanwhile is read. The file gets its name when it has been read back.
    ///
    /// # Errors
    /// NOT_FOUND when there are no volumes, NO_SPACE, and what the engine says.
    pub async fn backup(&self, options: &Backup) -> Result<BackupReport> {
        let options = &Backup { passphrase: options.passphrase.clone().map(not_empty).transpose()?, ..options.clone() };
        let reason = if options.scheduled { Reason::Scheduled } else { Reason::Manual };
        let lock = self.lock("backup")?;
        let engine = self.engine().await?;
        let settings = Settings::load(&self.files.settings())?;
        let look = guarded::recovered(self, &engine, settings.as_ref()).await?;
        let made = take(self, &engine, &look, reason, options, None).await;
        if options.scheduled {
            let outcome = made
                .as_ref()
                .map(|taken| taken.made.file.display().to_string())
                .map_err(|error| error.with_causes(": "));
            let path = self.files.backup_state();
            Last::load(&path).after(outcome).save(&path)?;
        }
        let Taken { made, created, readers, encrypted, exclude } = made?;
        if options.scheduled {
            prune::by_settings(self, settings.as_ref().unwrap_or(&Settings::default()), Some(&made.file), None)?;
        }
        // Whoever takes it may be slow, and the supervisor does nothing while the lock is held.
        drop(lock);
        let mut copied = false;
        let file = match (&options.output, &made.nameless) {
            (Some(output), Some(archive)) => {
                if settings.as_ref().is_some_and(|settings| !settings.backup.copy.is_empty()) {
                    let text = "backup.copy does not run: this backup is no file here".to_owned();
                    self.reporter.report(&Event::Note { text });
                }
                stream::send(self, archive, output).await?;
                "-".to_owned()
            }
            _ => {
                // The supervisor copies what it has made, beside its other work.
                if let Some(settings) = settings.as_ref().filter(|_| !options.scheduled) {
                    copied = copy::just_made(self, settings, &made.file).await?;
                }
                made.file.display().to_string()
            }
        };
        let shown = |keys: &[Recipient]| keys.iter().map(ToString::to_string).collect();
        Ok(BackupReport {
            instance: self.name.to_string(),
            file,
            created,
            size: made.size,
            files: made.manifest.files,
            bytes: made.manifest.bytes,
            volumes: made.manifest.volumes.clone(),
            paused_seconds: made.paused.map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0),
            read_again: made.read_again,
            secrets: readers.is_some(),
            secrets_for: match readers {
                Some(Readers::Recipients(all)) => shown(&all),
                _ => vec![],
            },
            encrypted_for: shown(&encrypted),
            verified: true,
            left_out: made.manifest.left_out.clone(),
            left_out_count: made.manifest.left_out_count,
            exclude: exclude.iter().map(ToString::to_string).collect(),
            mounts_not_included: stored::mounts_not_included(settings.as_ref()),
            caches: made.caches,
            copied,
        })
    }
}

/// A backup that was made, and when it was begun.
pub struct Taken {
    /// What came of it.
    pub made: Made,
    /// When it was begun.
    pub created: String,
    /// Who can open the secrets in it; `None`: they were left out.
    pub readers: Option<Readers>,
    /// Whom all of it is encrypted for; none: it is not.
    pub encrypted: Vec<Recipient>,
    /// What was left out.
    pub exclude: Vec<Glob>,
}

/// Backs the instance up as it is. Call it with the lock held. What undoes a change is not encrypted: the next command
/// must be able to read it; and nothing is left out of it: undoing empties the volumes first. `listed` are the program's
/// records, where they were asked for already.
///
/// # Errors
/// [`Error::Missing`] when there are no volumes, and what [`backup::make`] finds.
pub async fn take(
    instance: &Instance,
    engine: &Engine,
    look: &Snapshot,
    reason: Reason,
    options: &Backup,
    listed: Option<Records>,
) -> Result<Taken> {
    let volumes = existing(instance, look)?;
    if volumes.is_empty() {
        return Err(Error::Missing {
            what: format!("data of instance {} to back up", instance.name),
            reason: Some("it has no volumes".to_owned()),
            hint: format!("docklet{} setup", instance.name.flag()),
        });
    }
    let created = clock::now_rfc3339();
    let settings = Settings::load(&instance.files.settings())?;
    let recipients = settings.as_ref().map(|s| s.backup.recipients.clone()).unwrap_or_default();
    let encrypts = options.encrypt || settings.as_ref().is_some_and(|s| s.backup.encrypt);
    let encrypted = match reason {
        Reason::Manual | Reason::Scheduled | Reason::Uninstall if encrypts => recipients.clone(),
        _ => vec![],
    };
    if options.encrypt && encrypted.is_empty() {
        return Err(no_recipients(instance));
    }
    let file = place(instance, options.file.as_deref(), &created, reason, !encrypted.is_empty())?;
    let main = own_container(instance, look);
    let task = helper_of(instance, engine, look, settings.as_ref()).await?;
    let mut header = header(instance, engine, look, settings.as_ref(), &volumes, reason, &created).await?;
    let mut exclude = vec![];
    if matches!(reason, Reason::Manual | Reason::Scheduled) {
        exclude.extend(settings.iter().flat_map(|s| s.backup.exclude.clone()));
        exclude.extend(options.exclude.iter().cloned());
    }
    header.exclude = exclude.iter().map(ToString::to_string).collect();
    let running = main.filter(|c| c.state == "running");
    let probe = settings
        .as_ref()
        // Settings that do not hold yet may name a port that is somebody else's.
        .filter(|settings| running.is_some() && main.is_some_and(|c| c.publishes(settings.network.port.0)))
        .and_then(|settings| instance.probe(settings).ok());
    let records = match (listed, probe) {
        (None, Some(probe)) => Recorded::Asked(Box::new(probe), instance.appliance.records.paths.clone()),
        (listed, _) => Recorded::Known(listed.unwrap_or_default()),
    };
    let has_keys = !recipients.is_empty();
    let readers = match &options.passphrase {
        Some(passphrase) => Some(Readers::Passphrase(passphrase.clone())),
        None => Some(Readers::Recipients(recipients)).filter(|_| has_keys),
    };
    let sealed = match &readers {
        Some(readers) => Some(encryption::seal(&all_secrets(instance)?, readers)?),
        None => None,
    };
    let sizes = engine.volume_sizes().await.unwrap_or_default();
    let mut expected = backup::total(&sizes, &volumes);
    if backup::free_space(&file).is_some_and(|free| free < expected) {
        // The engine counts holes in files, too. Where it cannot be measured, the warning says too much.
        expected = volumes::on_disk(engine, &task, &volumes).await.map_or(expected, |measured| measured.used);
    }
    if let Some(free) = backup::free_space(&file).filter(|free| *free < expected) {
        let text = format!(
            "the volumes contain {}, and {} is free for the backup; a compressed backup is usually smaller",
            crate::units::Bytes(expected),
            crate::units::Bytes(free)
        );
        instance.reporter.report(&Event::Warning { text });
    }
    let request = Request {
        header,
        volumes,
        exclude: exclude.clone(),
        task,
        pause: running.map(|c| c.name.clone()),
        settings: std::fs::read(instance.files.settings()).ok(),
        secrets: sealed,
        recipients: encrypted.clone(),
        file: &file,
        nameless: options.output.is_some(),
        expected,
        records,
    };
    let made = backup::make(engine, request, instance.reporter.as_ref(), &instance.interrupt).await?;
    if let Some(text) = text::left_out(&made.manifest) {
        instance.reporter.report(&Event::Warning { text });
    }
    Ok(Taken { made, created, readers, encrypted, exclude })
}

/// There is nobody to encrypt a backup for.
fn no_recipients(instance: &Instance) -> Error {
    let flag = instance.name.flag();
    Error::Usage {
        message: "a backup can be encrypted only for keys, and there are none in backup.recipients".to_owned(),
        hint: Some(format!(
            "make one: docklet{flag} backup key -o key.txt\nset the public keys that you have: docklet{flag} config set \
             backup.recipients age1…\na FILE behind --encrypt is where the backup goes"
        )),
    }
}

/// Before data goes of which the last backup, just made, could not take all: asks.
///
/// # Errors
/// When the answer is no, or nobody is there to give one.
pub fn confirm_left_out(instance: &Instance, last: &Manifest) -> Result<()> {
    match text::left_out(last) {
        Some(text) => instance.confirm(&format!("{text}; continue?")),
        None => Ok(()),
    }
}

async fn header(
    instance: &Instance,
    engine: &Engine,
    look: &Snapshot,
    settings: Option<&Settings>,
    volumes: &[Named],
    reason: Reason,
    created: &str,
) -> Result<Header> {
    let main = own_container(instance, look);
    let image = match main {
        Some(main) => engine.image(&main.image_id).await?,
        None => None,
    };
    let builds = settings.is_none_or(|s| s.image.source == crate::settings::ImageSource::Build);
    // From the file: what a killed command had committed was written down only just now.
    let release = release::read(&instance.files)?.unwrap_or(Appliance::embedded()?.built_release());
    let version = match image {
        // From a label, which may hold anything: a header with control characters in it is refused.
        Some(image) => image.appliance_version.map(|version| clean::line(&version, false).replace('\t', " ")),
        // Without a container, the release that was chosen is the one that wrote the data.
        None => builds.then(|| release.version.clone()),
    };
    let release = Some(release).filter(|r| builds && version.as_ref() == Some(&r.version));
    let mount = |role: &str| {
        let definition = instance.appliance.volumes.iter().find(|v| v.role == role);
        definition.map(|v| v.mount.clone()).unwrap_or_default()
    };
    Ok(Header {
        format: FORMAT,
        created: created.to_owned(),
        reason: reason.word().to_owned(),
        docklet: VERSION.to_owned(),
        appliance: instance.appliance.name.clone(),
        appliance_version: version,
        release,
        image: main.map(|c| ImageUsed { reference: c.image.clone(), id: c.image_id.clone() }),
        instance: instance.name.to_string(),
        volumes: volumes.iter().map(|v| VolumeIn { role: v.role.clone(), mount: mount(&v.role) }).collect(),
        exclude: vec![],
        records: Records::new(),
    })
}

/// This instance's container.
pub fn own_container<'a>(instance: &Instance, look: &'a Snapshot) -> Option<&'a Listed> {
    let ours = labels(&instance.appliance, &instance.name);
    let name = instance.container_name();
    look.containers.iter().find(|c| c.name == name && Ownership::of(&c.labels, &ours) == Ownership::Ours)
}

/// The volumes of this instance that are there.
///
/// # Errors
/// [`Error::Foreign`] when one has our name and not our labels.
pub fn existing(instance: &Instance, look: &Snapshot) -> Result<Vec<Named>> {
    let ours = labels(&instance.appliance, &instance.name);
    let mut found = vec![];
    let volumes = look.volumes.as_ref().ok_or_else(|| Error::bug("the engine was not asked for its volumes"))?;
    for volume in &instance.appliance.volumes {
        let name = instance.name.volume(&instance.appliance.name, &volume.role);
        if let Some(there) = volumes.iter().find(|v| v.name == name) {
            if Ownership::of(&there.labels, &ours) == Ownership::Foreign {
                return Err(Error::Foreign { kind: crate::error::ObjectKind::Volume, name });
            }
            found.push(Named { role: volume.role.clone(), volume: name });
        }
    }
    Ok(found)
}

/// Who reads and writes this instance's volumes.
///
/// # Errors
/// [`Error::Missing`] when there is no image for it.
pub async fn helper_of(
    instance: &Instance,
    engine: &Engine,
    look: &Snapshot,
    settings: Option<&Settings>,
) -> Result<HelperOf> {
    let used = own_container(instance, look).map(|c| c.image_id.clone()).unwrap_or_default();
    let default = Settings::default();
    let settings = settings.unwrap_or(&default);
    let wanted = guarded::desired(instance, engine, &instance.appliance, settings, look);
    // The base has the same programs; it is there where an image was built and removed again.
    let image = volumes::image(engine, &[&used, wanted.image.reference(), &settings.image.base]).await?;
    Ok(HelperOf {
        name: instance.name.task_container(&instance.appliance.name),
        image,
        labels: wanted.container.labels,
    })
}

/// Where a new backup goes: the file that was named, a name in the folder that was named, or one
/// among this instance's own backups.
fn place(instance: &Instance, file: Option<&Path>, created: &str, reason: Reason, encrypted: bool) -> Result<PathBuf> {
    let container = instance.container_name();
    let folder = match file {
        Some(file) if !file.is_dir() => {
            // Before anything is paused.
            let named = file.file_name().is_some_and(|name| name.len() <= LONGEST_NAME);
            if !named || file.as_os_str().to_string_lossy().ends_with('/') {
                return Err(Error::Usage {
                    message: format!("no file can be made at {}", file.display()),
                    hint: Some("name a file with at most 255 bytes, or a folder that exists".to_owned()),
                });
            }
            return absolute(file);
        }
        Some(folder) => absolute(folder)?,
        None => {
            paths::create_folder(&instance.files.data, 0o700)?;
            paths::create_folder(&instance.files.backups(), 0o700)?;
            instance.files.backups()
        }
    };
    Ok(store::free_path(&folder, &container, created, reason, encrypted))
}

fn all_secrets(instance: &Instance) -> Result<BTreeMap<String, Secret>> {
    let folder = instance.files.secrets();
    let mut all = BTreeMap::new();
    for name in secrets::names(&folder)? {
        if let Some(value) = secrets::read(&folder, &name)? {
            all.insert(name, value);
        }
    }
    Ok(all)
}

/// A passphrase that somebody gave.
///
/// # Errors
/// When there is nothing in it.
pub fn not_empty(passphrase: Secret) -> Result<Secret> {
    if passphrase.reveal().is_empty() {
        return Err(Error::Usage {
            message: "the passphrase is empty".to_owned(),
            hint: Some(
                "write a passphrase to the file given with --passphrase-file, or leave the secrets out".to_owned(),
            ),
        });
    }
    Ok(passphrase)
}

/// Whether backups can be written where they are kept, before anything is stopped for one.
///
/// # Errors
/// When they cannot.
pub fn store_can_be_written(instance: &Instance) -> Result<()> {
    let folder = instance.files.backups();
    paths::create_folder(&instance.files.data, 0o700)?;
    paths::create_folder(&folder, 0o700)?;
    tempfile::tempfile_in(&folder).map(drop).map_err(|e| Error::file("write into", &folder, &e))
}

/// The whole path of a backup's file. It is written beside its place and read more than once, so
/// standard input and output cannot stand in for it.
///
/// # Errors
/// A usage error for `-`.
pub fn absolute(file: &Path) -> Result<PathBuf> {
    if file == Path::new("-") {
        return Err(Error::Usage {
            message: "a backup is a file, not standard input or output".to_owned(),
            hint: Some("give a file name; for a file named -, use ./-".to_owned()),
        });
    }
    std::path::absolute(file).map_err(|e| Error::file("find", file, &e))
}

/// Looks at the engine.
///
/// # Errors
/// As [`observe::look`].
pub async fn look(instance: &Instance, engine: &Engine) -> Result<Snapshot> {
    observe::look(engine, &instance.appliance).await
}
