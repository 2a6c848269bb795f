//! Runs a plan's steps in order, and has no choice left. It can be killed anywhere: the next run
//! observes again and plans what is left. Plans nothing and shows nothing.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    appliance::{Appliance, Ids},
    data::{
        archive::read::Contents,
        encrypted_file::Unlock,
        restore,
        volumes::{HelperOf, Named},
    },
    desired::{BindMount, Publish, VolumeSpec},
    engine::{Engine, build::BuildRequest, credentials, helper::HelperSpec, reference::Reference},
    error::{Error, ImageFault, ObjectKind, Result},
    event::{Event, Reporter},
    host::{base_image, ports, system},
    interrupt::Interrupt,
    mounts, observe,
    observed::PortState,
    own_images,
    paths::InstancePaths,
    plan::{Action, Made, Plan, Step},
    probe::Probe,
    ready,
    sandbox::{
        network_rules::{self, Loaded, Rules},
        ownership::{self, MountPlace},
        secret_files::SecretFiles,
    },
    settings::Mount,
};

/// Grace for a container that is replaced.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// All that the steps need besides what they carry.
pub struct Tools<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// What is installed.
    pub appliance: &'a Appliance,
    /// What keeps the agent inside.
    pub sandbox: &'a Sandbox,
    /// Looks at the page.
    pub probe: &'a Probe,
    /// The user's docker configuration folder, which says who we are to registries.
    pub docker_config: &'a Path,
    /// What the build gets besides the embedded files.
    pub build: BuildSurroundings,
    /// How long the page may take to answer.
    pub ready_timeout: Duration,
    /// A backup that was read whole already, with what is in it.
    pub verified: Option<(&'a Path, &'a Contents)>,
    /// Shows what happens.
    pub reporter: &'a dyn Reporter,
    /// Whether the user wants to stop.
    pub interrupt: &'a Interrupt,
}

/// What the container is given from outside, and by whom.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Name of the helper containers.
    pub helper: String,
    /// The instance's labels.
    pub labels: BTreeMap<String, String>,
    /// Whom everything in the container runs as.
    pub ids: Ids,
    /// What the secrets volume holds.
    pub secrets: SecretFiles,
    /// The network rules.
    pub rules: Rules,
    /// What is mounted of the host.
    pub mounts: Vec<Mount>,
    /// The instance's files.
    pub files: InstancePaths,
}

impl Sandbox {
    fn helper(&self, image: &str, what: &str, network: Option<&str>) -> HelperSpec {
        network_rules::helper(&self.helper, image, &self.labels, what, network)
    }
}

/// What a build gets from the host.
#[derive(Debug, Clone, Default)]
pub struct BuildSurroundings {
    /// The host's CA bundle (PEM); empty for none.
    pub ca_bundle: Vec<u8>,
    /// The host's proxy variables.
    pub proxies: BTreeMap<String, String>,
    /// Where the full log goes.
    pub log_file: PathBuf,
    /// A folder for large temporary files.
    pub work_folder: PathBuf,
    /// Whether a missing mmdebstrap may be installed.
    pub may_install: bool,
}

/// Runs the plan.
///
/// # Errors
/// The first step's that failed. When the plan replaces a container, the old one is put back
/// first.
pub async fn apply(plan: &Plan, tools: &Tools<'_>) -> Result<()> {
    apply_part(plan, 0..plan.steps.len(), tools).await
}

/// Runs some of the plan's steps, by their indices; those before them were run already.
///
/// # Errors
/// As [`apply`].
pub async fn apply_part(plan: &Plan, part: Range<usize>, tools: &Tools<'_>) -> Result<()> {
    let steps = plan.steps.iter().enumerate();
    for (index, step) in steps.filter(|(index, _)| part.contains(index)) {
        let stopped = Error::Interrupted { next: "run the same command again to continue".to_owned() };
        let result = if tools.interrupt.is_raised() {
            Err(stopped)
        } else if takes_long(&step.action) {
            tools.interrupt.or(stopped, run_step(step, index + 1, plan.steps.len(), tools)).await
        } else {
            Box::pin(run_step(step, index + 1, plan.steps.len(), tools)).await
        };
        if let Err(error) = result {
            let last = index + 1 == plan.steps.len();
            // When only removing the old container failed, the new one works: nothing to put back.
            let replaced = last && matches!(step.action, Action::RemoveContainer { .. });
            if !plan.put_back.is_empty() && index >= plan.guarded_from && !replaced {
                put_back(&plan.put_back, tools, matches!(error, Error::Interrupted { .. })).await;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Whether a step may be left in the middle. The others are single calls, which the engine finishes
/// whether somebody waits for the answer or not: whoever takes them back must not come too early.
/// Unpacking looks after itself.
fn takes_long(action: &Action) -> bool {
    matches!(
        action,
        Action::BuildImage { .. } | Action::PullImage { .. } | Action::LoadImage { .. } | Action::WaitUntilReady { .. }
    )
}

/// Puts the old container back. What fails here is told as a warning: the first error is the one
/// that the user has to know.
async fn put_back(steps: &[Step], tools: &Tools<'_>, in_a_hurry: bool) {
    for (index, step) in steps.iter().enumerate() {
        if in_a_hurry && matches!(step.action, Action::WaitUntilReady { .. }) {
            break;
        }
        if let Err(error) = run_step(step, index + 1, steps.len(), tools).await {
            tools.reporter.warn(format!("putting the previous container back failed at `{}`: {error}", step.action));
            return;
        }
    }
    tools.reporter.note("the previous container was put back");
}

async fn run_step(step: &Step, number: usize, total: usize, tools: &Tools<'_>) -> Result<()> {
    let began = Instant::now();
    tools.reporter.report(&Event::StepStarted { number, total, step: step.to_string() });
    run(&step.action, tools).await?;
    tools.reporter.report(&Event::StepDone { number, total, step: step.action.to_string(), elapsed: began.elapsed() });
    Ok(())
}

async fn run(action: &Action, tools: &Tools<'_>) -> Result<()> {
    let engine = tools.engine;
    match action {
        Action::BuildImage { reference, base, extra_packages, labels } => {
            build(reference, base, extra_packages, labels, tools).await
        }
        Action::PullImage { reference } => {
            let name = reference;
            let reference: Reference = reference.parse()?;
            let who = credentials::find(tools.docker_config, reference.registry(), tools.reporter).await;
            engine.pull(&reference, who.as_ref(), tools.reporter).await?;
            own_images::remember(&tools.sandbox.files, name);
            Ok(())
        }
        Action::LoadImage { reference, file } => {
            engine.load(file, reference, tools.reporter).await?;
            own_images::remember(&tools.sandbox.files, reference);
            Ok(())
        }
        Action::CreateVolume { volume } => engine.create_volume(volume).await,
        Action::UnpackBackup { file, volumes, only, image, task } => {
            unpack(file, (volumes, only), image, task, tools).await
        }
        Action::TagImage { image, reference } => engine.tag_image(image, reference).await,
        Action::CreateNetwork { name, labels } => engine.create_network(name, labels).await,
        Action::CreateContainer { spec, new_volumes } => engine.create_container(spec, new_volumes).await.map(drop),
        Action::FillSecrets { volume, image } => {
            tools.sandbox.secrets.keep_key(&tools.sandbox.files)?;
            engine.label_first(std::slice::from_ref(volume)).await?;
            let helper = tools.sandbox.helper(image, "secrets", None);
            tools.sandbox.secrets.fill(engine, helper, &volume.name, tools.sandbox.ids).await
        }
        Action::GiveVolumes { volumes, image } => {
            let helper = tools.sandbox.helper(image, "ownership", None);
            ownership::give(engine, helper, volumes, tools.sandbox.ids).await
        }
        Action::PreparePlaces { volumes, binds, gone, image } => {
            engine.label_first(volumes).await?;
            let helper = tools.sandbox.helper(image, "mounts", None);
            ownership::prepare(engine, helper, volumes, &places(binds, gone), tools.sandbox.ids).await
        }
        Action::StartContainer { name, made } => start(name, made.as_ref(), tools).await,
        Action::LoadRules { name, made } => load_rules(name, made, tools).await,
        Action::WaitUntilReady { name, url } => {
            ready::wait(engine, name, url, tools.probe, tools.ready_timeout, tools.reporter).await
        }
        Action::UnpauseContainer { name } => engine.unpause_container(name).await,
        Action::StopContainer { name } => match engine.stop_container(name, STOP_GRACE).await {
            Err(Error::NoSuchObject { .. }) => Ok(()),
            other => other.map(drop),
        },
        Action::RenameContainer { from, to } => engine.rename_container(from, to).await,
        Action::RemoveContainer { name } => engine.remove_container(name).await.map(drop),
    }
}

/// Empties the volumes that a backup holds, or only some of them, and fills them from it. Run again after a kill it begins anew.
async fn unpack(
    file: &Path,
    (volumes, only): (&[VolumeSpec], &[String]),
    image: &str,
    task: &str,
    tools: &Tools<'_>,
) -> Result<()> {
    let verified = match tools.verified {
        Some((path, contents)) if path == file => contents,
        _ => &restore::verify(file, &Unlock::Identities(vec![]), tools.reporter, tools.interrupt).await?,
    };
    let holds = |role: &str| {
        verified.header.volumes.iter().any(|v| v.role == role) && (only.is_empty() || only.iter().any(|o| o == role))
    };
    let roles = tools.appliance.volumes.iter().zip(volumes).filter(|(definition, _)| holds(&definition.role));
    let named: Vec<Named> =
        roles.map(|(v, there)| Named { role: v.role.clone(), volume: there.name.clone() }).collect();
    let task = HelperOf { name: task.to_owned(), image: image.to_owned(), labels: tools.sandbox.labels.clone() };
    restore::fill(tools.engine, file, verified, &task, &named, tools.reporter, tools.interrupt).await
}

/// Starts a container. What would run without its network rules is stopped again: its entrypoint waits for them.
async fn start(name: &str, made: Option<&Made>, tools: &Tools<'_>) -> Result<()> {
    let engine = tools.engine;
    let known = tools.sandbox.files.mounts();
    // Once more, now that no program of the agent's runs: until then it could swap what is mounted.
    let made = match made {
        Some(made) => {
            mounts::verify(&tools.sandbox.mounts, &known)?;
            made.clone()
        }
        None => {
            let found = engine.container(name).await?;
            let found =
                found.ok_or_else(|| Error::NoSuchObject { kind: ObjectKind::Container, name: name.to_owned() })?;
            mounts::verify_places(found.live.binds.iter().map(|bind| bind.container.as_str()), &known)?;
            let helper = tools.sandbox.helper(&found.image_id, "mounts", None);
            ownership::prepare_again(engine, helper, &found.live).await?;
            Made { image: found.image_id, egress: found.live.egress }
        }
    };
    // Should this command be killed now, the next one sees that they are missing.
    Loaded::forget(&tools.sandbox.files);
    if let Err(error) = engine.start_container(name).await {
        return Err(name_holder(engine, error).await);
    }
    let loaded = load_rules(name, &made, tools).await;
    if loaded.is_err() {
        let _ = engine.stop_container(name, Duration::from_secs(1)).await;
    }
    loaded
}

/// Loads the network rules of a running container.
///
/// # Errors
/// [`Error::RulesNotLoaded`], and what the engine says.
pub async fn load_rules(name: &str, made: &Made, tools: &Tools<'_>) -> Result<()> {
    let rules = tools.sandbox.rules.for_mode(made.egress);
    if !rules.exist() {
        return Ok(());
    }
    let helper = tools.sandbox.helper(&made.image, "network-rules", Some(name));
    if let Err(error) = network_rules::load(tools.engine, helper, &rules, tools.appliance).await {
        // One that has ended has no network to load rules into; whoever waits for it tells why it ended.
        let ended = matches!(tools.engine.container(name).await, Ok(Some(found)) if !found.running);
        return if ended { Ok(()) } else { Err(error) };
    }
    Loaded::keep(&tools.sandbox.files, &rules, None);
    Ok(())
}

/// What has to be there for mounts, and what no longer.
fn places(binds: &[BindMount], gone: &[BindMount]) -> Vec<MountPlace> {
    let removed = gone.iter().map(|bind| MountPlace::Remove(bind.container.clone()));
    removed.chain(binds.iter().map(MountPlace::of)).collect()
}

/// The engine's own word that a port is taken does not say by whom; its list of containers or the host may know.
async fn name_holder(engine: &Engine, error: Error) -> Error {
    match error {
        Error::PortInUse { address, port, holder: None, .. } if port > 0 => {
            let ip = address.parse().unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
            let container = observe::port_holder(engine, &Publish { address: ip, port, container_port: 0 }).await;
            let (holder, free_port) = match ports::state(ip, port) {
                PortState::Taken { holder, free_port } => (holder, free_port),
                PortState::Available => (None, ports::next_free(ip, port)),
            };
            Error::PortInUse { address, port, holder: container.ok().flatten().or(holder), free_port }
        }
        other => other,
    }
}

async fn build(
    reference: &str,
    base: &str,
    extra_packages: &[String],
    labels: &BTreeMap<String, String>,
    tools: &Tools<'_>,
) -> Result<()> {
    let surroundings = &tools.build;
    ensure_base(base, tools).await?;
    let mut arguments = surroundings.proxies.clone();
    arguments.insert("BASE_IMAGE".to_owned(), base.to_owned());
    arguments.insert("EXTRA_PACKAGES".to_owned(), extra_packages.join(" "));
    arguments.insert("APPLIANCE_VERSION".to_owned(), tools.appliance.version.clone());
    arguments.insert("UID".to_owned(), tools.sandbox.ids.uid.to_string());
    arguments.insert("GID".to_owned(), tools.sandbox.ids.gid.to_string());
    let request = BuildRequest {
        reference: reference.to_owned(),
        context: tools.appliance.build_context(&surroundings.ca_bundle)?,
        arguments,
        labels: labels.clone(),
        log_file: surroundings.log_file.clone(),
        target: None,
    };
    tools.engine.build(request, tools.reporter).await
}

/// Brings the base image to the engine: it is there, or is pulled, or, where the registry cannot
/// be reached, is built from the distribution's signed packages.
pub async fn ensure_base(base: &str, tools: &Tools<'_>) -> Result<()> {
    let reference: Reference = base.parse()?;
    let who = credentials::find(tools.docker_config, reference.registry(), tools.reporter).await;
    let Err(error) = tools.engine.ensure_base(&reference, who.as_ref(), tools.reporter).await else { return Ok(()) };
    let unreachable = matches!(
        error,
        Error::Image { fault: ImageFault::Network | ImageFault::RateLimited | ImageFault::Truncated, .. }
    );
    if !unreachable || !base_image::can_build(base) || !tools.engine.is_local() {
        return Err(error);
    }
    if system::which("mmdebstrap").is_none() && !tools.build.may_install {
        return Err(Error::ConfirmationRequired {
            question: format!("{base} cannot be pulled; building it here installs mmdebstrap"),
            flag: "--install-engine".to_owned(),
        });
    }
    tools.reporter.note(format!(
        "the registry of {base} cannot be reached, so the base is built here from Debian's signed packages"
    ));
    let architecture = &tools.engine.about.architecture;
    let archive = base_image::build_base(base, architecture, &tools.build.work_folder, tools.reporter).await?;
    tools.engine.import_base(&archive, base).await
}
