//! Makes one backup of an instance as it is, for every operation that needs one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Backup, absolute};
use crate::{
    age_key::Recipient,
    appliance::Appliance,
    clean, clock,
    data::{
        archive::{FORMAT, Header, ImageUsed, VolumeIn},
        backup::{self, MadeBackup, Recorded, Request},
        data_check::Records,
        encryption::{self, Readers},
        store::{self, Reason},
        volumes::{self, Named},
    },
    desired::VERSION,
    engine::Engine,
    error::{Error, Result},
    observe::Snapshot,
    ops::{Instance, release},
    paths,
    present::data as text,
    secrets::{self, Secret},
    settings::{Glob, ImageSource, Settings},
    units::Bytes,
};

/// Longest name of a file, in bytes; as on all usual file systems.
const LONGEST_NAME: usize = 255;

/// A backup that was made, and when it was begun.
pub struct Taken {
    /// What came of it.
    pub made: MadeBackup,
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
    snapshot: &Snapshot,
    reason: Reason,
    options: &Backup,
    listed: Option<Records>,
) -> Result<Taken> {
    let volumes = instance.own_volumes(snapshot)?;
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
    let main = instance.own_container(snapshot);
    let task = instance.volume_helper(engine, snapshot, settings.as_ref()).await?;
    let mut header = header(instance, engine, snapshot, settings.as_ref(), &volumes, reason, &created).await?;
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
        instance.warn(format!(
            "the volumes contain {}, and {} is free for the backup; a compressed backup is usually smaller",
            Bytes(expected),
            Bytes(free)
        ));
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
        instance.warn(text);
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

async fn header(
    instance: &Instance,
    engine: &Engine,
    snapshot: &Snapshot,
    settings: Option<&Settings>,
    volumes: &[Named],
    reason: Reason,
    created: &str,
) -> Result<Header> {
    let main = instance.own_container(snapshot);
    let image = match main {
        Some(main) => engine.image(&main.image_id).await?,
        None => None,
    };
    let builds = settings.is_none_or(|s| s.image.source == ImageSource::Build);
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
