//! `docklet restore`: checks everything, puts the data of a backup in place of what is there, behind a backup of that, and
//! lets it prove itself.

mod brought;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    args, backup,
    context::Context,
    guarded::{self, Guarded, Missing},
    mount,
    setup::read_secret,
};
use crate::{
    appliance::Appliance,
    clean,
    data::{
        archive::{Header, read::Contents},
        records::{self, Records},
        restore, sealed,
        shelf::Reason,
        volumes::Named,
    },
    desired::Desired,
    engine::{Engine, docker::Listed},
    error::{Error, Result},
    event::Event,
    observe::{self, Look},
    plan::{self, guarded::prepare},
    present::data as text,
    report::{Schema, data::RestoreReport},
    secrets::{self, Secret},
    settings::{ImageSource, Settings},
    units::Version,
    wizard,
};

/// Restores a backup.
pub async fn run(context: &Context, args: &args::Restore) -> Result<()> {
    let file = backup::absolute(&args.file)?;
    let header = restore::header(&file)?;
    belongs_here(context, &file, &header)?;
    let engine = context.engine().await?;
    let contents = check(context, &file).await?;
    // Asked before the lock is taken: while somebody thinks, the supervisor goes on with its work.
    let given = opened(context, args, &file, &contents)?;
    let question =
        format!("replace the data of instance {} with that of {}?", context.instance, contents.header.created);
    let look = observe::look(&engine, &context.appliance).await?;
    let asked = !backup::existing(context, &look)?.is_empty();
    if asked {
        context.confirm(&question)?;
    }
    let _lock = context.lock("restore")?;
    let before = Settings::load(&context.files.settings())?;
    let look = guarded::recovered(context, &engine, before.as_ref()).await?;
    // What a killed command had committed may name another image.
    let before = Settings::load(&context.files.settings())?;
    let there = backup::existing(context, &look)?;
    if !there.is_empty() && !asked {
        context.confirm(&question)?;
    }
    let settings = match &before {
        Some(before) if !args.settings => before.clone(),
        _ => brought::settings(context, &look, &file, &contents, before.as_ref())?,
    };
    if before.is_none() || args.settings {
        brought::confirm(context, &settings, before.as_ref())?;
    }
    mount::admit(context, &settings.mounts)?;
    let appliance = appliance_for(context, &settings, &contents.header);
    let fresh = before.is_none();
    if fresh {
        // Only what the trial needs: until the data counts, the instance is not set up.
        save_secrets(context, &given)?;
    }
    let job = Job { context, engine: &engine, file: &file, contents: &contents, settings: &settings, appliance };
    let own = backup::own_container(context, &look).cloned();
    let done = job.run(args, &look, own.as_ref(), &there, before.as_ref()).await;
    let saved_before = match done {
        Ok(saved) => saved,
        Err(error) => return Err(job.taken_back(before.as_ref(), own.is_none(), &there, error).await),
    };
    settings.save(&context.files.settings())?;
    save_secrets(context, &given)?;
    // One that was stopped stays stopped; where nothing was, it shall run.
    let running = match &own {
        Some(container) => guarded::shall_run(context, container.is_running())?,
        None => true,
    };
    if let Err(error) = guarded::settle(context, &engine, &settings, running, Duration::from_secs(args.timeout)).await {
        if let Some(saved) = &saved_before {
            let (flag, saved) = (context.instance.flag(), text::quoted(&saved.display().to_string()));
            let text = format!("the data is restored; what was there before: docklet{flag} restore {saved}");
            context.reporter.report(&Event::Warning { text });
        }
        return Err(error);
    }
    let (now, then) = (&job.appliance.version, &context.appliance.version);
    if settings.image.source == ImageSource::Build && now != then {
        let text = format!("it is {} {now} now, the release of the backup (before: {then})", context.appliance.title);
        context.reporter.report(&Event::Note { text });
    }
    let report = RestoreReport {
        schema: Schema,
        instance: context.instance.to_string(),
        file: file.display().to_string(),
        created: contents.header.created.clone(),
        from_instance: contents.header.instance.clone(),
        files: contents.manifest.files,
        bytes: contents.manifest.bytes,
        settings: fresh || args.settings,
        secrets: !given.is_empty(),
        missing_volumes: backup::missing_volumes(context, &contents.header),
        left_out_count: contents.manifest.left_out_count,
        before: saved_before.map(|path| path.display().to_string()),
        appliance_version: Some(job.appliance.version.clone()).filter(|_| settings.image.source == ImageSource::Build),
        running,
        url: crate::desired::page_url(settings.network.bind.0, settings.network.port.0),
    };
    context.output.result(&report, |style| text::restored(&report, style));
    Ok(())
}

/// A backup of something else is none for us.
fn belongs_here(context: &Context, file: &Path, header: &Header) -> Result<()> {
    let invalid = |reason: String| Error::BackupInvalid { path: file.display().to_string(), reason };
    let appliance = &context.appliance;
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
async fn check(context: &Context, file: &Path) -> Result<Contents> {
    let step = format!("check {}", file.display());
    let began = std::time::Instant::now();
    context.reporter.report(&Event::StepStarted { number: 1, total: 1, step: step.clone() });
    let contents = restore::verify(file, context.reporter.as_ref(), &context.interrupt).await?;
    context.reporter.report(&Event::StepDone { number: 1, total: 1, step, elapsed: began.elapsed() });
    Ok(contents)
}

/// The secrets in the backup, where there are some and the passphrase is known.
fn opened(
    context: &Context,
    args: &args::Restore,
    file: &Path,
    contents: &Contents,
) -> Result<BTreeMap<String, Secret>> {
    let Some(sealed) = &contents.secrets else {
        if args.passphrase_file.is_some() {
            let text = "the backup contains no secrets; the current ones are kept".to_owned();
            context.reporter.report(&Event::Note { text });
        }
        return Ok(BTreeMap::new());
    };
    let passphrase = match &args.passphrase_file {
        Some(path) => backup::not_empty(Secret::new(read_secret(path)?))?,
        None if context.environment.interactive && !context.global.yes => {
            wizard::passphrase(&context.prompt("nothing was changed"))?
        }
        None => Secret::new(""),
    };
    if passphrase.reveal().is_empty() {
        let text = "the secrets in the backup are not restored; to restore them, add --passphrase-file FILE".to_owned();
        context.reporter.report(&Event::Warning { text });
        return Ok(BTreeMap::new());
    }
    let all = sealed::open(sealed, &passphrase).map_err(|reason| match reason.as_str() {
        sealed::WRONG_PASSPHRASE => Error::WrongPassphrase { path: file.display().to_string() },
        _ => Error::BackupInvalid { path: file.display().to_string(), reason },
    })?;
    for (name, value) in &all {
        let checked = secrets::check_name(name).and_then(|()| secrets::check_value(name, value.reveal()));
        checked.map_err(|reason| Error::BackupInvalid { path: file.display().to_string(), reason })?;
    }
    Ok(all)
}

/// What is installed then: data of a later release needs that release.
fn appliance_for(context: &Context, settings: &Settings, header: &Header) -> Appliance {
    let mut appliance = context.appliance.clone();
    if settings.image.source == ImageSource::Build
        && let Some(release) = header.release.as_ref().filter(|release| appliance.knows(release))
        && Version::of(&release.version) > Version::of(&appliance.version)
    {
        appliance.adopt(release.clone());
    }
    appliance
}

/// The records in a backup that this appliance lists.
fn known_records(context: &Context, contents: &Contents) -> Records {
    let mut records = contents.manifest.records.clone();
    records.retain(|path, _| context.appliance.records.paths.contains(path));
    records::sane(records)
}

/// Writes the secrets; a password is made where there is none.
fn save_secrets(context: &Context, given: &BTreeMap<String, Secret>) -> Result<()> {
    let folder = context.files.secrets();
    for (name, value) in given {
        secrets::write(&folder, name, value)?;
    }
    let password = &context.appliance.login.password_secret;
    if secrets::read(&folder, password)?.is_none() {
        secrets::write(&folder, password, &secrets::generate_password()?)?;
        let text = format!("it has a new password: docklet{} password", context.instance.flag());
        context.reporter.report(&Event::Note { text });
    }
    Ok(())
}

/// One restore.
struct Job<'a> {
    context: &'a Context,
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
        args: &args::Restore,
        look: &Look,
        own: Option<&Listed>,
        there: &[Named],
        before: Option<&Settings>,
    ) -> Result<Option<PathBuf>> {
        let Job { context, engine, settings, .. } = *self;
        let mut wanted = guarded::desired(context, engine, &self.appliance, settings, look);
        let observed = observe::observe(engine, look, &wanted).await?;
        let plan = prepare(&wanted, &observed)?;
        guarded::run(context, engine, settings, &self.appliance, &plan, None).await?;
        if own.is_none() {
            // One that never runs: what a change is undone to.
            wanted.running = false;
            let look = backup::look(context, engine).await?;
            let plan = plan::converge(&wanted, &observe::observe(engine, &look, &wanted).await?)?;
            guarded::run(context, engine, settings, &self.appliance, &plan, None).await?;
        }
        self.room(look, &wanted).await?;
        let no_backup = there.is_empty() || args.no_backup;
        let now = match own {
            Some(main) if !no_backup => guarded::records_now(context, main, before.unwrap_or(settings)).await?,
            _ => None,
        };
        let change = Guarded {
            appliance: &self.appliance,
            settings,
            image: wanted.image.reference(),
            release: self.appliance.release.as_ref(),
            archive: Some((self.file, self.contents)),
            backup: (!no_backup).then_some(Reason::Restore),
            records: known_records(context, self.contents),
            missing: if args.force { Missing::IsTold } else { Missing::FailsUnlessForced },
            timeout: Duration::from_secs(args.timeout),
        };
        change.make(context, engine, now).await
    }

    /// Whether the data fits in place of what is there now, before anything is stopped for it.
    async fn room(&self, look: &Look, wanted: &Desired) -> Result<()> {
        let Job { context, engine, contents, .. } = *self;
        let Some(volume) = wanted.volumes.first() else { return Ok(()) };
        let mut task = backup::task_of(context, engine, look, Some(self.settings)).await?;
        wanted.image.reference().clone_into(&mut task.image);
        let sizes = engine.volume_sizes().await.unwrap_or_default();
        let now: u64 = wanted.volumes.iter().filter_map(|v| sizes.get(&v.name)).sum();
        let first = Named { role: String::new(), volume: volume.name.clone() };
        restore::room_for(engine, contents.manifest.bytes.saturating_sub(now), &task, &first).await
    }

    /// Puts everything back after a failure; the error to end with. `alone`: there was no container, and of the volumes
    /// only `there`.
    async fn taken_back(&self, before: Option<&Settings>, alone: bool, there: &[Named], error: Error) -> Error {
        let Job { context, engine, .. } = *self;
        if let Err(second) = guarded::undo(context, engine, before.filter(|_| !alone)).await {
            let text = format!("reverting failed: {second}; to continue: docklet{} start", context.instance.flag());
            context.reporter.report(&Event::Warning { text });
            return error;
        }
        if alone {
            let _ = engine.remove_container(&context.container_name()).await;
            let _ = engine.remove_network(&context.container_name()).await;
            let _ = engine.remove_volume(&context.instance.secrets_volume(&context.appliance.name)).await;
            for volume in &context.appliance.volumes {
                let name = context.instance.volume(&context.appliance.name, &volume.role);
                if !there.iter().any(|kept| kept.volume == name) {
                    let _ = engine.remove_volume(&name).await;
                }
            }
        }
        if before.is_none() {
            let _ = std::fs::remove_dir_all(context.files.secrets());
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
