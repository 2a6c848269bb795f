//! `docklet backup test`: restores a backup into a throwaway instance without network, waits for the page and the sessions in
//! it, and removes everything. The user's own container, volumes and settings are not touched, so the instance's lock is not
//! needed; a lock of its own sees to it that only one runs. `throwaway`: what is on the engine meanwhile.

mod throwaway;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use self::throwaway::Throwaway;
use super::{
    Instance, backup,
    backup_contents::{belongs_here, known_records},
    restore::contained_secrets::{self, identities},
    supervisor::{self, process},
};
use crate::{
    clean,
    data::{
        archive::read::Contents,
        data_check::{self, Records},
        encrypted_file::Unlock,
        read_back,
        restore::{read_into, room_for},
        schedule::LastRun,
        store,
    },
    engine::Engine,
    error::{Error, Result},
    event::begin_step,
    lock::{self, Lock},
    paths::InstancePaths,
    report::data::{BackupTestReport, RecordsReport},
    secrets::Secret,
    settings::Settings,
};

/// What the lock's holder is called.
const NAME: &str = "backup test";

/// The steps of a test.
const STEPS: usize = 4;

/// What to test.
#[derive(Debug, Clone, Default)]
pub struct BackupTest {
    /// The backup; `None`: the newest of the instance's own.
    pub file: Option<PathBuf>,
    /// The passphrase of its secrets; `None`: it is not tried whether they can be opened.
    pub passphrase: Option<Secret>,
    /// The private keys for its secrets, or for all of it, as in a file of `age-keygen`.
    pub identity: Option<Secret>,
    /// How long the page may take to answer; `None`: as long as the appliance usually may.
    pub timeout: Option<Duration>,
}

impl Instance {
    /// Proves that a backup can be restored: into a throwaway instance, which is removed again. What runs goes on as it does.
    ///
    /// # Errors
    /// BACKUP_INVALID when it is damaged or does not work, LOCKED when another one is tested, NO_SPACE, and what the engine
    /// says. Nothing is left in any case, or the next test removes it.
    pub async fn test_backup(&self, options: &BackupTest) -> Result<BackupTestReport> {
        let settings = self.settings().await?;
        let file = match &options.file {
            Some(file) => backup::absolute(file)?,
            None => newest(self)?,
        };
        let path = self.files.backup_test_lock();
        let lock = self.lock_at(&path, NAME)?;
        let engine = self.engine().await?;
        let throwaway = Throwaway::afresh(self, &engine).await?;
        let tested = Test { instance: self, engine: &engine, settings: &settings, throwaway: &throwaway, file: &file };
        let done = tested.run(options).await.map_err(|error| match self.interrupt.is_raised() {
            true => throwaway::interrupted(),
            false => failed(&file, error),
        });
        let removed = tested.step(STEPS, "remove the throwaway instance", throwaway.remove()).await;
        match &removed {
            // The lock's file is what tells that something is left.
            Ok(()) => drop(std::fs::remove_file(&path)),
            Err(error) if done.is_err() => {
                self.warn(format!("{}; the next docklet backup test removes it", error.with_causes(": ")));
            }
            Err(_) => {}
        }
        drop(lock);
        let done = done.and_then(|report| removed.map(|()| report));
        // A user who interrupts it, or gives a wrong key, says nothing about the backup.
        let told = !matches!(
            done,
            Err(Error::Interrupted { .. } | Error::ConfirmationRequired { .. } | Error::NotDecrypted { .. })
        );
        if told && file.starts_with(self.files.backups()) {
            remember(self, &file, &done)?;
        }
        done
    }
}

/// Which of these records are in a backup of the instance's: asks the program that wrote it, by its image, in the throwaway
/// instance. What runs goes on as it does.
///
/// # Errors
/// As [`Instance::test_backup`].
pub async fn records_in(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    file: &Path,
    image: &str,
    records: &Records,
) -> Result<Records> {
    let path = instance.files.backup_test_lock();
    let _lock = instance.lock_at(&path, NAME)?;
    let throwaway = Throwaway::afresh(instance, engine).await?;
    let tested = Test { instance, engine, settings, throwaway: &throwaway, file };
    let asked = tested.ask(image, records).await;
    throwaway.remove().await?;
    let _ = std::fs::remove_file(&path);
    asked
}

/// Whether a test that was killed left something on the engine. Asks no engine.
pub fn is_left(files: &InstancePaths) -> bool {
    let path = files.backup_test_lock();
    path.exists() && !Lock::is_held(&path)
}

/// Refuses while another process than the supervisor, which ends its own test when it is told to end, tests a backup.
///
/// # Errors
/// [`Error::Locked`].
pub fn refuse_running(instance: &Instance) -> Result<()> {
    match Lock::holder(&instance.files.backup_test_lock()) {
        Some(holder) if Lock::pid_of(&holder) != process::running(&instance.files) => {
            Err(Error::Locked { instance: instance.name.to_string(), holder: lock::shown(&holder) })
        }
        _ => Ok(()),
    }
}

/// Removes what a test that was killed left on the engine.
///
/// # Errors
/// LOCKED while another one is tested, and what the engine says.
pub async fn remove_left(instance: &Instance, engine: &Engine) -> Result<()> {
    let path = instance.files.backup_test_lock();
    if !path.exists() {
        return Ok(());
    }
    // Whoever wants to test a backup meanwhile waits for it.
    let _lock = Lock::take(&path, &instance.name, supervisor::RECOVERY)?;
    Throwaway::afresh(instance, engine).await?;
    let _ = std::fs::remove_file(&path);
    Ok(())
}

/// The newest backup among the instance's own, whyever it was made.
fn newest(instance: &Instance) -> Result<PathBuf> {
    let backups = store::list(&instance.files.backups())?;
    backups.into_iter().next().map(|backup| backup.file).ok_or_else(|| Error::Missing {
        what: "backup to test".to_owned(),
        reason: Some(format!("{} has none", instance.files.backups().display())),
        hint: format!("docklet{} backup", instance.name.flag()),
    })
}

/// Whether there is a newer backup than the one that was tested last.
pub fn has_new(instance: &Instance, last: &LastRun) -> bool {
    newest(instance).is_ok_and(|file| Some(file.display().to_string()) != last.file)
}

fn remember(instance: &Instance, file: &Path, done: &Result<BackupTestReport>) -> Result<()> {
    let path = instance.files.backup_test();
    let shown = file.display().to_string();
    let outcome = done.as_ref().map(|_| shown.clone()).map_err(|error| error.with_causes(": "));
    // Also of one that failed it is told which it was.
    LastRun { file: Some(shown), ..LastRun::load(&path).after(outcome) }.save(&path)
}

/// An error that says something about the backup, as one.
fn failed(file: &Path, error: Error) -> Error {
    let (reason, log) = match error {
        Error::Unhealthy { reason, log, .. } | Error::StartFailed { reason, log, .. } => (reason, log),
        Error::NotReady { seconds, last, log, .. } => {
            (format!("the page did not answer within {seconds} s: {last}"), log)
        }
        Error::Exited { report, .. } => (report.cause(), report.log_tail),
        other => return other,
    };
    Error::BackupFailsTest { path: file.display().to_string(), reason, log }
}

/// One test.
struct Test<'a> {
    instance: &'a Instance,
    engine: &'a Engine,
    settings: &'a Settings,
    throwaway: &'a Throwaway<'a>,
    file: &'a Path,
}

impl Test<'_> {
    async fn run(&self, options: &BackupTest) -> Result<BackupTestReport> {
        let Test { instance, throwaway, file, .. } = *self;
        let began = Instant::now();
        let unlock = Unlock::Identities(identities(options.identity.as_ref())?);
        belongs_here(instance, file, &crate::data::restore::header(file, &unlock)?)?;
        let reading = read_into(
            file,
            &unlock,
            read_back::VolumeChecksums::default(),
            None,
            instance.reporter.as_ref(),
            &instance.interrupt,
        );
        let (contents, checksums) = self.step(1, &format!("check {}", file.display()), reading).await?;
        let secrets =
            contained_secrets::tried(options.passphrase.as_ref(), options.identity.as_ref(), file, &contents)?;
        let shape = throwaway.shape(self.settings, &contents.header, None).await?;
        let filling = self.fill(&shape, &contents, &checksums);
        self.step(2, "restore it into a throwaway instance, and compare every file", filling).await?;
        let timeout = options.timeout.unwrap_or(instance.appliance.health.ready_timeout());
        let starting = self.records(&shape, &contents, timeout);
        let records = self.step(3, "start that without network, and wait for the page", starting).await?;
        let manifest = &contents.manifest;
        Ok(BackupTestReport {
            instance: instance.name.to_string(),
            file: file.display().to_string(),
            works: true,
            created: contents.header.created.clone(),
            from_instance: clean::line(&contents.header.instance, false),
            appliance_version: contents.header.appliance_version.as_ref().map(|version| clean::line(version, false)),
            files: manifest.files,
            bytes: manifest.bytes,
            records,
            secrets: secrets.is_some(),
            secrets_in_it: contents.secrets.is_some(),
            missing_volumes: backup::missing_volumes(instance, &contents.header),
            left_out_count: manifest.left_out_count,
            exclude: backup::excluded(&contents.header),
            seconds: (began.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            left: vec![],
        })
    }

    /// Which of these records the program has when it is started from the backup with this image.
    async fn ask(&self, image: &str, records: &Records) -> Result<Records> {
        let Test { instance, throwaway, file, .. } = *self;
        let unlock = Unlock::Identities(vec![]);
        let (reporter, interrupt) = (instance.reporter.as_ref(), &instance.interrupt);
        let checksums = read_back::VolumeChecksums::default();
        let (contents, checksums) = read_into(file, &unlock, checksums, None, reporter, interrupt).await?;
        let shape = throwaway.shape(self.settings, &contents.header, Some(image)).await?;
        self.fill(&shape, &contents, &checksums).await?;
        let probe = throwaway.start(&shape, instance.appliance.health.ready_timeout()).await?;
        let asking = async { Ok(data_check::there(&probe, records).await) };
        instance.interrupt.or(throwaway::interrupted(), asking).await
    }

    /// Volumes with the data of the backup, each compared with what that says.
    async fn fill(
        &self,
        shape: &throwaway::Shape,
        contents: &Contents,
        checksums: &read_back::VolumeChecksums,
    ) -> Result<()> {
        let Test { instance, engine, throwaway, file, .. } = *self;
        let volumes = throwaway.create_volumes(shape).await?;
        let task = throwaway.task(shape);
        room_for(engine, contents.manifest.bytes, &task, &volumes).await?;
        let (reporter, interrupt) = (instance.reporter.as_ref(), &instance.interrupt);
        let held = |role: &str| contents.header.volumes.iter().any(|there| there.role == role);
        let volumes: Vec<_> = volumes.into_iter().filter(|volume| held(&volume.role)).collect();
        crate::data::restore::fill(engine, file, contents, &task, &volumes, reporter, interrupt).await?;
        let there = read_back::checksums(engine, &task, &volumes, interrupt).await?;
        for volume in &volumes {
            let (then, now) = (checksums.of(&volume.role), there.of(&volume.role));
            if then != now {
                let numbers =
                    format!("{} names and {} files of {} and {}", now.names, now.files, then.names, then.files);
                let reason = format!(
                    "volume {} does not hold what the backup has after it was restored ({numbers})",
                    volume.role
                );
                return Err(Error::BackupFailsTest { path: file.display().to_string(), reason, log: vec![] });
            }
        }
        Ok(())
    }

    /// What the program has, once its page answers.
    async fn records(
        &self,
        shape: &throwaway::Shape,
        contents: &Contents,
        timeout: Duration,
    ) -> Result<Vec<RecordsReport>> {
        let Test { instance, throwaway, file, .. } = *self;
        let probe = throwaway.start(shape, timeout).await?;
        let expected = known_records(instance, contents);
        let asking = async {
            let there = data_check::there(&probe, &expected).await;
            Ok((data_check::list(&probe, &instance.appliance.records.paths).await, there))
        };
        let (listed, there): (Records, Records) = instance.interrupt.or(throwaway::interrupted(), asking).await?;
        let mut reports = vec![];
        for path in &instance.appliance.records.paths {
            let of = |records: &Records| records.get(path).cloned().unwrap_or_default();
            let (found, wanted) = (of(&there), of(&expected));
            let missing: Vec<String> = wanted.iter().filter(|id| !found.contains(id)).cloned().collect();
            if !missing.is_empty() || !listed.contains_key(path) {
                let reason = match missing.len() {
                    0 => format!("{path} does not answer with a list"),
                    _ => data_check::lacking(path, &missing, wanted.len()),
                };
                return Err(Error::BackupFailsTest { path: file.display().to_string(), reason, log: vec![] });
            }
            reports.push(RecordsReport { path: path.clone(), expected: wanted.len() as u64, listed: of(&listed) });
        }
        Ok(reports)
    }

    async fn step<T>(&self, number: usize, step: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = begin_step(self.instance.reporter.as_ref(), number, STEPS, step.to_owned());
        work.await.inspect(|_| done())
    }
}
