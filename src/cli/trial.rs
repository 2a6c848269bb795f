//! What restore, update and rollback share: lead out of what a killed command left, let new data or
//! a new release prove itself on staged volumes, then make it count, or take it back.

use std::time::Duration;

use super::{
    backup,
    context::Context,
    converge::{self, How},
    elsewhere,
};
use crate::{
    appliance::{Appliance, Release},
    apply::{self, Sandbox, Tools},
    data::records::{self, Records},
    desired::{Desired, Publish, labels},
    engine::{Engine, connect},
    error::{Error, Result},
    event::Event,
    interrupt::{self, Interrupt},
    mounts,
    observe::{self, Look},
    observed::Observed,
    plan::{
        Plan,
        trial::{self, Fill},
    },
    probe::Probe,
    sandbox,
    secrets::Secret,
    settings::Settings,
    wish::{self, Wish},
};

/// Looks, leads out of what a killed command left behind, and looks again. Call it with the lock
/// held. `settings` are `None` where the instance is not set up.
///
/// # Errors
/// What looking, planning and the steps find.
pub async fn recovered(context: &Context, engine: &Engine, settings: Option<&Settings>) -> Result<Look> {
    let look = backup::look(context, engine).await?;
    elsewhere::refuse(context, &look.containers)?;
    let default = Settings::default();
    let wanted = desired(context, engine, &context.appliance, settings.unwrap_or(&default), &look);
    let observed = observe::observe(engine, &look, &wanted).await?;
    let (plan, then) = trial::recover(&wanted, &observed)?;
    let wants_it = settings.is_some() && wish::read(&context.files.desired())? == Wish::Running;
    // A start that was killed before the rules were there: the entrypoint waits for them.
    let without_rules = match settings {
        Some(settings) if wants_it && observed.main.as_ref().is_some_and(|c| c.running) => {
            !converge::rules(context, settings, &Default::default())?.are_loaded(&context.files)
        }
        _ => false,
    };
    if plan.is_empty() && !without_rules {
        return Ok(look);
    }
    context
        .reporter
        .report(&Event::Note { text: "a command was broken off; first its work is finished or undone".to_owned() });
    let lost_its_container = observed.main.is_some() && then.main.is_none();
    match settings {
        // Its container is made anew.
        Some(settings) if wants_it || lost_its_container => {
            let how = How { running: wants_it, ..How::default() };
            let planned = converge::plan_with(context, engine, &look, settings, &how).await?;
            let timeout = context.appliance.health.ready_timeout();
            converge::apply(context, engine, settings, &planned, &how, timeout).await?;
        }
        _ => {
            run(context, engine, settings.unwrap_or(&default), &context.appliance, &plan, Duration::ZERO, None).await?
        }
    }
    backup::look(context, engine).await
}

/// Only leads out of what a killed command left behind; a container that was needed for that stays
/// away. For who removes everything anyway.
///
/// # Errors
/// As [`recovered`].
pub async fn tidy(context: &Context, engine: &Engine, settings: Option<&Settings>) -> Result<()> {
    let look = backup::look(context, engine).await?;
    let default = Settings::default();
    let held = settings.unwrap_or(&default);
    let wanted = desired(context, engine, &context.appliance, held, &look);
    let observed = observe::observe(engine, &look, &wanted).await?;
    let (plan, _) = match trial::recover(&wanted, &observed) {
        // What is not ours stays as it is, and is no reason to keep what is.
        Err(Error::Foreign { .. }) => return Ok(()),
        found => found?,
    };
    run(context, engine, held, &context.appliance, &plan, Duration::ZERO, None).await
}

/// What shall prove itself.
pub struct Trial<'a> {
    /// What is installed then.
    pub appliance: &'a Appliance,
    /// The settings that hold then.
    pub settings: &'a Settings,
    /// Where the data comes from.
    pub fill: Fill,
    /// The image: its name, or its id.
    pub image: String,
    /// The release that the instance has then; `None` where docklet does not build the image.
    pub release: Option<Release>,
    /// What must still be there.
    pub records: Records,
    /// What it means when some of that is missing.
    pub missing: Missing,
    /// How long the page may take to answer.
    pub timeout: Duration,
}

/// What missing records mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The change fails.
    Fails,
    /// The change fails, and the user may override that with `--force`.
    FailsUnlessForced,
    /// The user said `--force`: they are told.
    IsTold,
}

/// Lets it prove itself. Nothing counts yet when this returns: [`commit`] follows, or [`undo`].
///
/// # Errors
/// The first step's that failed, and [`crate::error::Error::Unhealthy`] when data is missing.
pub async fn prove(context: &Context, engine: &Engine, look: &Look, trial: &Trial<'_>) -> Result<()> {
    mounts::verify(&trial.settings.mounts, &context.files.mounts())?;
    let wanted = desired(context, engine, trial.appliance, trial.settings, look);
    let observed = observe::observe(engine, look, &wanted).await?;
    let plan = trial::trial(&wanted, &observed, trial.fill, &trial.image, trial.release.as_ref());
    converge::prepare_ca_bundle(context, trial.settings)?;
    run(context, engine, trial.settings, trial.appliance, &plan, trial.timeout, None).await?;
    let probe = probe(context, trial.settings);
    let Err(mut reason) = records::still_there(&probe, &trial.records).await else { return Ok(()) };
    match trial.missing {
        Missing::IsTold => {
            context.reporter.report(&Event::Warning { text: reason });
            return Ok(());
        }
        Missing::FailsUnlessForced => reason.push_str("; restore --force takes the data all the same"),
        Missing::Fails => {}
    }
    Err(Error::Unhealthy { name: context.container_name(), reason, log: vec![] })
}

/// Makes what has proved itself count, and gives its data the volumes' own names. `settings` are the
/// ones that hold from now on.
///
/// # Errors
/// What the steps find. From the first step on, every later command goes on with this.
pub async fn commit(context: &Context, engine: &Engine, look: &Look, trial: &Trial<'_>) -> Result<()> {
    let wanted = desired(context, engine, trial.appliance, trial.settings, look);
    let observed = observe::observe(engine, look, &wanted).await?;
    let plan = trial::commit(&wanted, &observed);
    // It counts or it does not: a Ctrl-C in between waits.
    let (_raise, patient) = interrupt::pair();
    run(context, engine, trial.settings, trial.appliance, &plan, Duration::ZERO, Some(&patient)).await
}

/// Gives committed data the volumes' own names, and starts it there if it shall be `running`. It
/// counts already, so a Ctrl-C waits.
///
/// # Errors
/// What planning and the steps find.
pub async fn settle(
    context: &Context,
    engine: &Engine,
    settings: &Settings,
    running: bool,
    timeout: Duration,
) -> Result<()> {
    let how = How { running, uninterrupted: true, ..How::default() };
    let planned = converge::plan(context, engine, settings, &how).await?;
    let work = std::pin::pin!(converge::apply(context, engine, settings, &planned, &how, timeout));
    let told = async {
        context.interrupt.wait().await;
        let text = "it has proved itself and counts already: this is finished first".to_owned();
        context.reporter.report(&Event::Note { text });
        std::future::pending().await
    };
    tokio::select! {
        done = work => done,
        never = told => never,
    }
}

/// Whether it shall run in the end: as it is now, or as the user wants it.
///
/// # Errors
/// When what the user wants cannot be read.
pub fn shall_run(context: &Context, ran: bool) -> Result<bool> {
    Ok(ran || wish::read(&context.files.desired())? == Wish::Running)
}

/// Takes everything back that has not been committed; what ran before runs again. A Ctrl-C waits.
///
/// # Errors
/// What the steps find; then the next command goes on with it.
pub async fn undo(context: &Context, engine: &Engine, settings: Option<&Settings>) -> Result<()> {
    context.reporter.report(&Event::Note { text: "taking it back".to_owned() });
    let (_raise, patient) = interrupt::pair();
    let default = Settings::default();
    let held = settings.unwrap_or(&default);
    let timeout = context.appliance.health.ready_timeout();
    let look = backup::look(context, engine).await?;
    let wanted = desired(context, engine, &context.appliance, held, &look);
    let observed = observe::observe(engine, &look, &wanted).await?;
    let (recovery, then) = trial::undo(&wanted, &observed)?;
    run(context, engine, held, &context.appliance, &recovery, timeout, Some(&patient)).await?;
    if settings.is_some() && then.main.is_some() && wish::read(&context.files.desired())? == Wish::Running {
        let plan = again(&wanted, &then);
        run(context, engine, held, &context.appliance, &plan, timeout, Some(&patient)).await?;
    }
    Ok(())
}

/// Starts what ran before, as it was: no new settings now.
fn again(wanted: &Desired, then: &Observed) -> Plan {
    let mut plan = Plan::default();
    if then.main.as_ref().is_some_and(|c| !c.running || c.paused) {
        plan.add(crate::plan::Action::StartContainer { name: wanted.container.name.clone(), made: None });
        plan.add(crate::plan::Action::WaitUntilReady { name: wanted.container.name.clone(), url: wanted.url() });
    }
    plan
}

/// Runs a plan.
///
/// # Errors
/// The first step's that failed.
pub async fn run(
    context: &Context,
    engine: &Engine,
    settings: &Settings,
    appliance: &Appliance,
    plan: &Plan,
    timeout: Duration,
    interrupt: Option<&Interrupt>,
) -> Result<()> {
    if plan.is_empty() {
        return Ok(());
    }
    let probe = probe(context, settings);
    let sandbox = sandbox(context, engine, appliance, settings)?;
    let tools = Tools {
        engine,
        appliance,
        sandbox: &sandbox,
        probe: &probe,
        docker_config: &context.environment.docker_config,
        build: converge::build_surroundings(context, settings, &How::default())?,
        ready_timeout: timeout,
        reporter: context.reporter.as_ref(),
        interrupt: interrupt.unwrap_or(&context.interrupt),
    };
    apply::apply(plan, &tools).await
}

/// A probe; of an instance without a password, one that is refused.
fn probe(context: &Context, settings: &Settings) -> Probe {
    let password = context.password().unwrap_or_else(|_| Secret::new(""));
    let container_port = context.appliance.container.port;
    let publish = Publish { address: settings.network.bind.0, port: settings.network.port.0, container_port };
    let owner = connect::owner(&context.selection());
    Probe::new(&context.appliance, &publish, &password).with_engine_user(owner)
}

/// What is wanted with this appliance and these settings.
pub fn desired(context: &Context, engine: &Engine, appliance: &Appliance, settings: &Settings, look: &Look) -> Desired {
    let (given, _) = sandbox::given_at_least(engine, appliance, settings, &context.files, look.host.memory);
    Desired::new(appliance, settings, &context.instance, &context.files, &given, None)
}

fn sandbox(context: &Context, engine: &Engine, appliance: &Appliance, settings: &Settings) -> Result<Sandbox> {
    let (given, secrets) = sandbox::given_at_least(engine, appliance, settings, &context.files, 0);
    Ok(Sandbox {
        helper: context.instance.helper_container(&appliance.name),
        labels: labels(appliance, &context.instance),
        ids: given.ids,
        secrets,
        rules: converge::rules(context, settings, &Default::default())?,
        files: context.files.clone(),
        mounts: settings.mounts.clone(),
    })
}
