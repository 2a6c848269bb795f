//! `docklet update` and `docklet rollback`: another release proves itself on a copy of the data,
//! behind a backup; should it fail, release and data are as before.

use std::time::Duration;

use super::{
    args, backup,
    context::Context,
    releases,
    trial::{self, Trial},
};
use crate::{
    appliance::{Appliance, Release},
    data::{
        archive::Header,
        backup::total,
        records::{self, Records},
        restore,
        shelf::{self, Reason, Shelved},
        volumes::Named,
    },
    engine::{Engine, credentials, docker::Listed, reference::Reference},
    error::{Error, ObjectKind, Result},
    event::Event,
    observe::{self, Look},
    plan::{
        Action, Plan,
        trial::{Fill, prepare},
    },
    present::data as text,
    report::{
        Schema,
        data::{UpdateCheckReport, UpdateReport},
    },
    settings::{ImageSource, Settings},
    wish::{self, Wish},
};

/// Grace for the old container.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Time that a registry may take to answer.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(30);

/// What to go to.
struct Target {
    /// What is installed then.
    appliance: Appliance,
    /// The settings that hold then.
    settings: Settings,
    /// The image: its name, or its id.
    image: String,
    /// Its version, for people.
    version: Option<String>,
    /// The release, where docklet builds the image.
    release: Option<Release>,
}

/// Updates, or says whether there is something to update to.
pub async fn run(context: &Context, args: &args::Update) -> Result<()> {
    let settings = context.settings()?;
    if settings.image.source == ImageSource::Load {
        return Err(Error::Usage {
            message: "the image was loaded from a file, so there is nowhere to look for a newer one".to_owned(),
            hint: Some(format!("load a newer one: docklet{} setup --image-file TAR", context.instance.flag())),
        });
    }
    if args.check {
        return check(context, &settings).await;
    }
    let _lock = context.lock("update")?;
    let engine = context.engine().await?;
    let look = with_container(context, &engine, &settings).await?;
    // What a killed command had committed may name another image.
    let settings = context.settings()?;
    let (main, current) = now(context, &engine, &look).await?;
    let timeout = Duration::from_secs(args.timeout);
    let target = match settings.image.source {
        ImageSource::Build => {
            let release = releases::chosen(context, &engine, &settings, current.as_deref(), args.to.as_deref()).await?;
            build(context, &settings, release, &look)
        }
        _ => pull(context, &engine, &settings, &main, args.to.as_deref()).await?,
    };
    let same = match &target.release {
        Some(release) => current.as_ref() == Some(&release.version),
        None => target.image == main.image_id,
    };
    if same {
        let url = crate::desired::page_url(settings.network.bind.0, settings.network.port.0);
        let report = UpdateReport {
            schema: Schema,
            instance: context.instance.to_string(),
            changed: false,
            from: current.clone(),
            to: current,
            data: false,
            backup: None,
            url,
        };
        context.output.result(&report, |style| text::updated(&report, "update", style));
        return Ok(());
    }
    let change = Change { context, engine: &engine, settings: &settings, main: &main, current, timeout };
    let report = change.make(&look, target, Reason::Update, None).await?;
    context.output.result(&report, |style| text::updated(&report, "update", style));
    Ok(())
}

/// Goes back to the release before the last update, with its data if that is wanted.
pub async fn rollback(context: &Context, args: &args::Rollback) -> Result<()> {
    let settings = context.settings()?;
    let _lock = context.lock("rollback")?;
    let engine = context.engine().await?;
    let look = with_container(context, &engine, &settings).await?;
    // What a killed command had committed may name another image.
    let settings = context.settings()?;
    let (main, current) = now(context, &engine, &look).await?;
    let (shelved, header) = last_update(context, current.as_deref(), &main)?;
    let question = if args.data {
        let before = &header.created;
        format!("go back to the release and the data of {before}? what came since then will only be in a backup")
    } else {
        format!("go back to release {}? the data stays", header.appliance_version.as_deref().unwrap_or("before"))
    };
    context.confirm(&question)?;
    let target = match (&header.release, &header.image) {
        (Some(release), _) if settings.image.source == ImageSource::Build => {
            build(context, &settings, release.clone(), &look)
        }
        (_, Some(image)) => {
            let there = engine.image(&image.id).await?;
            let there = there.ok_or_else(|| Error::NoSuchObject { kind: ObjectKind::Image, name: image.id.clone() })?;
            let mut settings = settings.clone();
            if image.reference.parse::<Reference>().is_ok() && !image.reference.starts_with("sha256:") {
                settings.image.reference.clone_from(&image.reference);
            }
            Target {
                appliance: context.appliance.clone(),
                settings,
                image: there.id,
                version: header.appliance_version.clone(),
                release: None,
            }
        }
        (_, None) => return Err(nothing_to_go_back_to(context)),
    };
    let timeout = Duration::from_secs(args.timeout);
    let change = Change { context, engine: &engine, settings: &settings, main: &main, current, timeout };
    let from = args.data.then_some(&shelved);
    let report = change.make(&look, target, Reason::Rollback, from).await?;
    context.output.result(&report, |style| text::updated(&report, "rollback", style));
    Ok(())
}

/// Looks, with what a killed command left behind led out of. One that was killed while the container
/// had another name, or was just being made anew, left none: it comes back first.
async fn with_container(context: &Context, engine: &Engine, settings: &Settings) -> Result<Look> {
    let look = trial::recovered(context, engine, Some(settings)).await?;
    if backup::own_container(context, &look).is_some() || wish::read(&context.files.desired())? != Wish::Running {
        return Ok(look);
    }
    trial::settle(context, engine, settings, context.appliance.health.ready_timeout()).await?;
    backup::look(context, engine).await
}

/// The container, and the version in it.
async fn now(context: &Context, engine: &Engine, look: &Look) -> Result<(Listed, Option<String>)> {
    let main = backup::own_container(context, look)
        .cloned()
        .ok_or_else(|| Error::NoSuchObject { kind: ObjectKind::Container, name: context.container_name() })?;
    let version = engine.image(&main.image_id).await?.and_then(|image| image.appliance_version);
    Ok((main, version))
}

/// The newest backup that was made before an update of another release than the one that runs.
fn last_update(context: &Context, current: Option<&str>, main: &Listed) -> Result<(Shelved, Header)> {
    let another = |h: &Header| match (&h.release, &h.image) {
        (Some(release), _) => Some(release.version.as_str()) != current,
        (None, Some(image)) => image.id != main.image_id,
        (None, None) => false,
    };
    shelf::list(&context.files.backups())?
        .into_iter()
        .filter(|b| b.is_for(Reason::Update))
        .find_map(|b| b.header.clone().ok().filter(another).map(|header| (b, header)))
        .ok_or_else(|| nothing_to_go_back_to(context))
}

fn nothing_to_go_back_to(context: &Context) -> Error {
    Error::Missing {
        what: "update to take back".to_owned(),
        reason: Some("there is no backup from before one".to_owned()),
        hint: format!("docklet{0} update --to VERSION goes to any release", context.instance.flag()),
    }
}

async fn check(context: &Context, settings: &Settings) -> Result<()> {
    let engine = context.engine().await?;
    let look = backup::look(context, &engine).await?;
    let (main, current) = now(context, &engine, &look).await?;
    let (latest, update_available) = match settings.image.source {
        ImageSource::Build => {
            let newest = releases::chosen(context, &engine, settings, current.as_deref(), None).await?;
            let other = current.as_ref() != Some(&newest.version);
            (Some(newest.version), other)
        }
        _ => {
            let reference: Reference = settings.image.reference.parse()?;
            let who =
                credentials::find(&context.environment.docker_config, reference.registry(), context.reporter.as_ref())
                    .await;
            let digest = engine.ask_registry(&reference, who.as_ref(), REGISTRY_DEADLINE).await?;
            let image = engine.image(&main.image_id).await?;
            let here = image.is_some_and(|image| image.references.iter().any(|r| r.ends_with(&digest)));
            (None, !here)
        }
    };
    let report =
        UpdateCheckReport { schema: Schema, instance: context.instance.to_string(), current, latest, update_available };
    context.output.result(&report, |style| text::update_check(&report, style));
    Ok(())
}

fn build(context: &Context, settings: &Settings, release: Release, look: &Look) -> Target {
    let mut appliance = context.appliance.clone();
    appliance.adopt(release.clone());
    let image = trial::desired(context, &appliance, settings, look).image.reference().to_owned();
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
    context: &Context,
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
    let began = std::time::Instant::now();
    context.reporter.report(&Event::StepStarted { number: 1, total: 1, step: step.clone() });
    let who =
        credentials::find(&context.environment.docker_config, reference.registry(), context.reporter.as_ref()).await;
    let pulled = tokio::select! {
        biased;
        () = context.interrupt.wait() => Err(Error::Interrupted { next: "nothing was changed".to_owned() }),
        pulled = engine.pull(&reference, who.as_ref(), context.reporter.as_ref()) => pulled,
    };
    // Also when it was interrupted: it may have been complete right then.
    let image = engine.image(&settings.image.reference).await?;
    if to.is_none() && image.as_ref().is_some_and(|image| image.id != main.image_id) {
        engine.tag_image(&main.image_id, &settings.image.reference).await?;
    }
    pulled?;
    context.reporter.report(&Event::StepDone { number: 1, total: 1, step, elapsed: began.elapsed() });
    let missing = || Error::NoSuchObject { kind: ObjectKind::Image, name: settings.image.reference.clone() };
    let image = image.ok_or_else(missing)?;
    Ok(Target {
        appliance: context.appliance.clone(),
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

/// One change of the release.
struct Change<'a> {
    context: &'a Context,
    engine: &'a Engine,
    settings: &'a Settings,
    main: &'a Listed,
    current: Option<String>,
    timeout: Duration,
}

impl Change<'_> {
    /// Makes it. With `data`, the volumes are filled from that backup, else with what is there.
    async fn make(&self, look: &Look, target: Target, reason: Reason, data: Option<&Shelved>) -> Result<UpdateReport> {
        let Change { context, engine, .. } = *self;
        let ran = self.main.is_running();
        if target.release.is_some() {
            self.prepare(look, &target).await?;
        }
        self.room(look).await?;
        let records = match data {
            Some(shelved) => shelved.header.as_ref().map(|h| h.records.clone()).unwrap_or_default(),
            None if ran => self.records().await?,
            None => Records::new(),
        };
        let saved = match self.prove(look, &target, reason, data, records).await {
            Ok(saved) => saved,
            Err(error) => return Err(self.taken_back(&target, error).await),
        };
        if target.settings != *self.settings {
            target.settings.save(&context.files.settings())?;
        }
        // For a way back: nothing else names the image any more.
        if target.release.is_none() {
            engine.tag_image(&self.main.image_id, &context.instance.previous_image(&context.appliance.name)).await?;
        }
        wish::write(&context.files.desired(), Wish::Running)?;
        trial::settle(context, engine, &target.settings, self.timeout).await?;
        Ok(UpdateReport {
            schema: Schema,
            instance: context.instance.to_string(),
            changed: true,
            from: self.current.clone(),
            to: target.version,
            data: data.is_some(),
            backup: Some(saved),
            url: crate::desired::page_url(target.settings.network.bind.0, target.settings.network.port.0),
        })
    }

    /// Whether the data fits beside itself, before anything is stopped for it.
    async fn room(&self, look: &Look) -> Result<()> {
        let Change { context, engine, .. } = *self;
        let volumes = backup::existing(context, look)?;
        let sizes = engine.volume_sizes().await.unwrap_or_default();
        let needed = total(&sizes, &volumes);
        let task = backup::task_of(context, engine, look, Some(self.settings)).await?;
        match volumes.first() {
            Some(first) if needed > 0 => restore::room_for(engine, needed, &task, first).await,
            _ => Ok(()),
        }
    }

    /// Builds the image while the old one runs.
    async fn prepare(&self, look: &Look, target: &Target) -> Result<()> {
        let wanted = trial::desired(self.context, &target.appliance, &target.settings, look);
        let mut observed = observe::observe(self.engine, look, &wanted).await?;
        observed.image_present = self.engine.image(&target.image).await?.is_some();
        let plan = prepare(&wanted, &observed)?;
        trial::run(self.context, self.engine, &target.settings, &target.appliance, &plan, self.timeout, None).await
    }

    async fn records(&self) -> Result<Records> {
        let probe = self.context.probe(self.settings)?;
        Ok(records::list(&probe, &self.context.appliance.records.paths).await)
    }

    /// Up to the commit; the backup that was made.
    async fn prove(
        &self,
        look: &Look,
        target: &Target,
        reason: Reason,
        data: Option<&Shelved>,
        records: Records,
    ) -> Result<String> {
        let Change { context, engine, .. } = *self;
        let mut plan = Plan::default();
        if self.main.state == "paused" {
            plan.add(Action::UnpauseContainer { name: self.main.name.clone() });
        }
        plan.add(Action::StopContainer { name: self.main.name.clone() });
        trial::run(context, engine, self.settings, &context.appliance, &plan, STOP_GRACE, None).await?;
        // Stopped, so that nothing is written behind the backup.
        let stopped = backup::look(context, engine).await?;
        let taken = backup::take(context, engine, &stopped, reason, None, None, Some(records.clone())).await?;
        let fill = match data {
            Some(shelved) => {
                self.fill(look, target, shelved).await?;
                Fill::Done
            }
            None => Fill::Copy,
        };
        let trial = Trial {
            appliance: &target.appliance,
            settings: &target.settings,
            fill,
            image: target.image.clone(),
            release: target.release.clone(),
            records,
            timeout: self.timeout,
        };
        let stopped = backup::look(context, engine).await?;
        trial::prove(context, engine, &stopped, &trial).await?;
        let proved = backup::look(context, engine).await?;
        trial::commit(context, engine, &proved, &trial).await?;
        Ok(taken.made.file.display().to_string())
    }

    /// Fills staged volumes from a backup.
    async fn fill(&self, look: &Look, target: &Target, shelved: &Shelved) -> Result<()> {
        let Change { context, engine, .. } = *self;
        let (reporter, interrupt) = (context.reporter.as_ref(), &context.interrupt);
        let contents = restore::verify(&shelved.file, reporter, interrupt).await?;
        let wanted = trial::desired(context, &target.appliance, &target.settings, look);
        let staged = wanted.staged_volumes();
        for volume in &staged {
            engine.create_volume(volume).await?;
        }
        let roles = context.appliance.volumes.iter().map(|v| v.role.clone());
        let in_it = |role: &String| contents.header.volumes.iter().any(|v| v.role == *role);
        let named: Vec<Named> = roles
            .zip(staged)
            .filter(|(role, _)| in_it(role))
            .map(|(role, volume)| Named { role, volume: volume.name })
            .collect();
        let task = backup::task_of(context, engine, look, Some(self.settings)).await?;
        restore::fill(engine, &shelved.file, &contents, &task, &named, reporter, interrupt).await
    }

    /// Puts everything back after a failure; the error to end with.
    async fn taken_back(&self, target: &Target, error: Error) -> Error {
        let context = self.context;
        if let Err(second) = trial::undo(context, self.engine, Some(self.settings)).await {
            let text = format!("taking it back stopped: {second}; docklet{} start goes on", context.instance.flag());
            context.reporter.report(&Event::Warning { text });
            return error;
        }
        let unknown = || "the one before".to_owned();
        let log = match &error {
            Error::NotReady { log, .. } | Error::Unhealthy { log, .. } | Error::StartFailed { log, .. } => log.clone(),
            Error::Exited { report, .. } => report.log_tail.clone(),
            _ => vec![],
        };
        let mut reason = vec![error.to_string()];
        reason.extend(error.causes().into_iter().filter(|cause| !cause.starts_with("the last log lines")));
        Error::UpdateRolledBack {
            version: target.version.clone().unwrap_or_else(|| target.image.clone()),
            previous: self.current.clone().unwrap_or_else(unknown),
            reason: reason.join(": "),
            log,
        }
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
