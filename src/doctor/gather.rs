//! Sees the facts: everything independent at once, each under a deadline. Never fails as a whole;
//! what cannot be seen is noted in its place. Evaluates nothing, changes nothing.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::time::timeout;

use crate::{
    appliance::{Appliance, Ids},
    desired::{Desired, labels},
    disk,
    doctor::{
        egress,
        evaluate::needs_registry,
        facts::{
            ContainerFacts, Drift, EngineFacts, Facts, Inside, MountFacts, RegistryFault, SettingsFact, Subject,
            SupervisorFacts, TrustFacts, Unseen,
        },
    },
    engine::{
        Engine,
        checkup::Machine,
        connect::{self, Selection},
        credentials,
        docker::Detail,
        reference::Reference,
    },
    error::{Error, Result, io_reason},
    event::Silent,
    host::{checkup, connectivity::Way, ports, system},
    instance_name::InstanceName,
    mounts::{self, Users},
    observe,
    observed::{Observed, Ownership, PortState},
    paths::InstancePaths,
    plan::{self, Action, Plan, guarded},
    probe::{Probe, Seen},
    report::Wanted,
    sandbox,
    secrets::{self, Secret},
    settings::{Mount, Settings},
};

/// Longest time for what goes beyond this machine. Short calls to the engine have their own deadline.
const PATIENCE: Duration = Duration::from_secs(6);

/// Most reasons of a plan that are told.
const MOST_REASONS: usize = 2;

/// Exit code of the command inside when the image has no curl; curl has none above 96.
const NO_CURL: i64 = 120;

/// Runs inside as the container's user, with an empty environment and absolute paths: the appliance's own proxies and
/// certificates, and a request of nothing. `-q` skips curlrc, which the agent can write.
const REACH: &str = r#"
for name in HTTPS_PROXY ALL_PROXY NO_PROXY; do
    if [ -r "$0/$name" ]; then value=$(/usr/bin/cat "$0/$name"); export "$name=$value"; fi
done
if [ -s "$1" ]; then export CURL_CA_BUNDLE="$1"; fi
[ -x /usr/bin/curl ] || exit 120
exec /usr/bin/curl -q --silent --show-error --output /dev/null --max-time 5 "$2"
"#;

/// What the facts are about, and what only the caller can know: environment and flags.
pub struct Surroundings<'a> {
    /// What is installed.
    pub appliance: &'a Appliance,
    /// Whose.
    pub instance: &'a InstanceName,
    /// The instance's files.
    pub files: &'a InstancePaths,
    /// Which engine the user means.
    pub selection: Selection,
    /// The host's proxy variables, under their upper-case names.
    pub proxies: &'a BTreeMap<String, String>,
    /// Names of the variables that are kept for the appliance.
    pub proxy_names: &'a [&'a str],
    /// The host's own CA bundle.
    pub ca_file: Option<&'a Path>,
    /// Docker's configuration folder.
    pub docker_config: &'a Path,
    /// Who restarts it; `None` where this docklet has nobody for it.
    pub supervisor: Option<SupervisorFacts>,
}

/// All facts, and the engine, for those who go on asking it.
pub async fn gather(around: Surroundings<'_>) -> (Facts, Option<Engine>) {
    let settings = match Settings::load(&around.files.settings()) {
        Ok(Some(settings)) => SettingsFact::Valid(Box::new(settings)),
        Ok(None) => SettingsFact::NotSetUp,
        Err(error) => SettingsFact::Broken(error),
    };
    // Without settings, what the first setup would do.
    let assumed = settings.valid().cloned().unwrap_or_default();
    let reference = registry_reference(&assumed);
    let about = subject(&around, &reference);
    let wanted = match (settings.valid(), crate::desired_state::read(&around.files.desired())) {
        (Some(_), Ok(crate::desired_state::DesiredState::Running)) => Wanted::Running,
        _ => Wanted::Stopped,
    };
    let password = secrets::read(&around.files.secrets(), &around.appliance.login.password_secret).ok().flatten();
    let port = assumed.network.port.0;
    let way = Way::new(&about.registry, |name| around.proxies.get(name).cloned(), around.ca_file);
    let inquiry = Inquiry {
        around: &around,
        settings: &settings,
        assumed: &assumed,
        reference: reference.as_ref(),
        registry: &about.registry,
        password: password.as_ref(),
    };
    let (engine, localhost, host_network) =
        tokio::join!(inquiry.engine(), checkup::localhost(PATIENCE), way.go(PATIENCE));
    let (engine, handle) = match engine {
        Ok((facts, engine)) => (Ok(facts), Some(engine)),
        Err(error) => (Err(error), None),
    };
    let default = around.appliance.container.ids();
    let ids = handle.as_ref().map_or(default, |engine| sandbox::ids::of(engine, &assumed, default));
    let facts = Facts {
        mounts: mount_facts(&around, &assumed.mounts, &engine, ids),
        wanted,
        files: checkup::files(&[&around.files.config, &around.files.state, &around.files.data]),
        host_space: checkup::space(&around.files.config),
        port: ports::state(assumed.network.bind.0, port),
        taken_on_ipv6: checkup::taken_on_ipv6(port),
        trust: trust(&around, &settings),
        services: checkup::services(),
        password_missing: settings.valid().is_some() && password.is_none(),
        supervisor: around.supervisor.clone(),
        about,
        settings,
        engine,
        localhost,
        host_network,
    };
    (facts, handle)
}

/// How the mounted folders and files are, with the engine's users as far as it tells.
fn mount_facts(around: &Surroundings<'_>, mounts: &[Mount], engine: &Result<EngineFacts>, ids: Ids) -> MountFacts {
    let machine = engine.as_ref().ok().and_then(|engine| Some((engine, engine.machine.as_ref().ok()?)));
    let users = machine
        .map_or(Users::Unknown, |(engine, machine)| Users::of(&engine.about, machine.rootless, &machine.data_folder));
    let advice = mounts.iter().flat_map(|mount| mounts::advice(mount, ids, users)).collect();
    MountFacts { number: mounts.len(), refused: mounts::verify(mounts, &around.files.mounts()).err(), advice }
}

/// The image whose registry matters: what is pulled, or what is built on.
fn registry_reference(settings: &Settings) -> Option<Reference> {
    use crate::settings::ImageSource::{Build, Load, Pull};
    let text = match settings.image.source {
        Pull => &settings.image.reference,
        Build | Load => &settings.image.base,
    };
    text.parse().ok()
}

fn subject(around: &Surroundings<'_>, reference: &Option<Reference>) -> Subject {
    let appliance = around.appliance;
    let fixed = &appliance.container;
    let mounted = appliance.volumes.iter().map(|v| v.mount.clone());
    let scratch = ["/tmp", "/var/tmp", "/run", "/var/run", "/dev", "/proc", "/sys", "/.dockerenv"];
    // The engine's own, which it writes into every container.
    let engines = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/run/.containerenv"];
    let ours = [format!("{}/.cache", fixed.home), fixed.secrets_dir.clone()];
    Subject {
        flag: around.instance.flag(),
        container: around.instance.container(&appliance.name),
        scratch: scratch.into_iter().chain(engines).map(str::to_owned).chain(ours).chain(mounted).collect(),
        keep_in: fixed.working_dir.clone(),
        appliance_version: appliance.version.clone(),
        default_memory: fixed.memory,
        ready_timeout: appliance.health.ready_timeout(),
        secrets: around.files.secrets(),
        registry: reference.as_ref().map_or(crate::engine::reference::DEFAULT_REGISTRY, Reference::registry).to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        user: system::user_name().unwrap_or_else(|| rustix::process::getuid().as_raw().to_string()),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned(),
    }
}

fn trust(around: &Surroundings<'_>, settings: &SettingsFact) -> TrustFacts {
    let Some(settings) = settings.valid() else { return TrustFacts::default() };
    let mut trust = TrustFacts::default();
    let file = Path::new(&settings.trust.ca_file);
    if settings.trust.ca_file.is_empty() {
        trust.unknown_bundle = around.ca_file.filter(|f| f.is_file()).map(|f| f.display().to_string());
    } else {
        match std::fs::read(file) {
            Ok(bundle) if String::from_utf8_lossy(&bundle).contains("-----BEGIN CERTIFICATE-----") => {
                trust.copy_differs = std::fs::read(around.files.ca_bundle()).is_ok_and(|copy| copy != bundle);
            }
            Ok(_) => trust.unusable = Some(format!("{} holds no certificate in PEM form", file.display())),
            Err(e) => {
                trust.unusable = Some(format!("the CA file {} cannot be read: {}", file.display(), io_reason(&e)))
            }
        }
    }
    let stored = |name: &str| secrets::read(&around.files.secrets(), name).ok().flatten();
    let differs = |name: &&str| {
        let here = around.proxies.get(*name).map(String::as_str).unwrap_or_default();
        stored(name).as_ref().map(Secret::reveal).unwrap_or_default() != here
    };
    trust.proxies_differ = around.proxy_names.iter().copied().filter(differs).map(str::to_owned).collect();
    trust
}

/// What is asked of the engine.
struct Inquiry<'a> {
    around: &'a Surroundings<'a>,
    settings: &'a SettingsFact,
    /// The settings, or the defaults.
    assumed: &'a Settings,
    reference: Option<&'a Reference>,
    registry: &'a str,
    password: Option<&'a Secret>,
}

impl Inquiry<'_> {
    async fn engine(&self) -> Result<(EngineFacts, Engine)> {
        let began = Instant::now();
        let engine = connect::connect(&self.around.selection).await?;
        let answer_time = began.elapsed();
        let (machine, look, container, registry) = tokio::join!(
            machine(&engine),
            observe::look(&engine, self.around.appliance),
            self.container(&engine),
            self.registry(&engine)
        );
        let observed = match &look {
            Ok(look) => self.observe(&engine, look).await,
            Err(error) => Err(in_a_line(error)),
        };
        let detail = container.as_ref().ok().and_then(Option::as_ref).map(|c| &*c.detail);
        let (slowest, clock_ahead) = machine.as_ref().map_or((answer_time, None), |(_, time, ahead)| (*time, *ahead));
        let machine = machine.map(|(machine, ..)| machine);
        let facts = EngineFacts {
            about: engine.about.clone(),
            answer_time,
            slowest,
            clock_ahead,
            space: disk::room(&engine, machine.as_ref().map_or("", |m| m.data_folder.as_str())),
            port: observed.as_ref().ok().map(|(_, observed)| observed.port.clone()),
            drift: match &observed {
                Ok((desired, observed)) => self.drift(desired, observed, detail),
                Err(reason) => Drift::Unseen(reason.clone()),
            },
            volumes: match (&observed, &look) {
                (Ok((desired, observed)), _) => Ok(volumes(desired, observed)),
                (Err(reason), _) => Err(reason.clone()),
            },
            machine,
            container,
            registry,
        };
        Ok((facts, engine))
    }

    async fn observe(&self, engine: &Engine, look: &observe::Look) -> Result<(Desired, Observed), Unseen> {
        let around = self.around;
        let (given, _) =
            sandbox::given_at_least(engine, around.appliance, self.assumed, around.files, look.host.memory);
        let desired = Desired::new(around.appliance, self.assumed, around.instance, around.files, &given, None);
        let observed = observe::observe(engine, look, &desired).await.map_err(|error| in_a_line(&error))?;
        Ok((desired, observed))
    }

    fn drift(&self, desired: &Desired, observed: &Observed, detail: Option<&Detail>) -> Drift {
        if self.settings.valid().is_none() {
            return Drift::Unseen("there are no settings to compare with".to_owned());
        }
        // Whether the port can be had is a check of its own.
        let observed = Observed { port: PortState::Available, ..observed.clone() };
        let foreign = observed.volumes.iter().any(|v| v.ownership == Ownership::Foreign);
        match guarded::recover(desired, &observed) {
            Ok((recovery, _)) if !recovery.is_empty() => {
                return Drift::BrokenOff(recovery.steps.iter().map(|step| step.action.to_string()).collect());
            }
            _ => {}
        }
        match plan::converge(desired, &observed) {
            _ if foreign => Drift::Unseen("a volume is not ours".to_owned()),
            Err(error) => Drift::Refused(error.to_string(), error.hint()),
            Ok(_) if observed.main.is_none() && observed.previous.is_none() => {
                Drift::Unseen("there is no container".to_owned())
            }
            Ok(plan) => match reasons(&plan) {
                reasons if !reasons.is_empty() => Drift::Settings(reasons),
                _ if observed.previous.is_some() => {
                    Drift::Settings(vec!["the container that was replaced is still there".to_owned()])
                }
                _ => match detail.map(|detail| from_outside(detail, desired)) {
                    Some(differences) if !differences.is_empty() => Drift::Outside(differences),
                    _ => Drift::None,
                },
            },
        }
    }

    async fn container(&self, engine: &Engine) -> Result<Option<ContainerFacts>, Unseen> {
        let around = self.around;
        let name = around.instance.container(&around.appliance.name);
        let Some(detail) = engine.container(&name).await.map_err(|error| in_a_line(&error))? else { return Ok(None) };
        let ownership = Ownership::of(&detail.labels, &labels(around.appliance, around.instance));
        let age = detail.started_at.as_deref().and_then(crate::clock::parse).map(|at| OffsetDateTime::now_utc() - at);
        let ours = ownership == Ownership::Ours;
        let (image, page, changed, network, egress) = tokio::join!(
            engine.image(&detail.image_id),
            self.page(&detail, ours),
            engine.changed_paths(&name),
            self.inside(engine, &detail, ours),
            async {
                if !ours {
                    return Err("the container is not ours".to_owned());
                }
                egress::look(engine, &detail, self.assumed).await
            }
        );
        Ok(Some(ContainerFacts {
            ownership,
            age: age.and_then(|age| Duration::try_from(age).ok()).filter(|_| detail.running),
            image: image.ok().flatten(),
            page,
            changed: changed.map_err(|error| in_a_line(&error)),
            network,
            egress,
            detail: Box::new(detail),
        }))
    }

    async fn page(&self, detail: &Detail, ours: bool) -> Result<Seen, Unseen> {
        match self.password {
            _ if !ours => Err("the container is not ours".to_owned()),
            _ if !detail.running => Err("it does not run".to_owned()),
            _ if detail.paused => Err("it is paused".to_owned()),
            None => Err("there is no password to ask with".to_owned()),
            Some(password) => {
                let owner = connect::owner(&self.around.selection);
                let probe = Probe::new(self.around.appliance, &detail.live.publish, password);
                Ok(probe.with_engine_user(owner).look().await)
            }
        }
    }

    /// Whether the appliance itself reaches the registry.
    async fn inside(&self, engine: &Engine, detail: &Detail, ours: bool) -> Result<(), Inside> {
        let unseen = |reason: &str| Err(Inside::Unseen(reason.to_owned()));
        let host = self.registry.split(':').next().unwrap_or_default();
        if !ours || !detail.running || detail.paused {
            return unseen("it does not run");
        }
        if host == "localhost" || host.starts_with("127.") {
            return unseen("the registry is on this machine");
        }
        let fixed = &self.around.appliance.container;
        let url = format!("https://{}/v2/", self.registry);
        let bundle = format!("{}/{}", fixed.secrets_dir, fixed.ca_bundle);
        let command = ["/usr/bin/env", "-i", "/bin/sh", "-c", REACH, &fixed.secrets_dir, &bundle, &url];
        match engine.run_inside(&detail.name, &command, PATIENCE).await {
            Err(error) => Err(Inside::Unseen(in_a_line(&error))),
            Ok(ended) => match ended.code {
                0 => Ok(()),
                NO_CURL => unseen("the image has no curl to try it with"),
                126 | 127 => unseen("the image has no shell to try it with"),
                code => Err(Inside::Failed(in_words(&ended.output, code))),
            },
        }
    }

    /// Whether the engine reaches the registry.
    async fn registry(&self, engine: &Engine) -> Result<(), RegistryFault> {
        let unseen = |reason: &str| Err(RegistryFault::Unseen(reason.to_owned()));
        if !needs_registry(self.assumed.image.source) {
            return unseen("the image was loaded from a file");
        }
        let Some(reference) = self.reference else { return unseen("the image's name is not valid") };
        let asked = async {
            let who = credentials::find(self.around.docker_config, reference.registry(), &Silent).await;
            engine.ask_registry(reference, who.as_ref(), PATIENCE).await
        };
        match timeout(PATIENCE, asked).await {
            Ok(answer) => answer.map(drop).map_err(|error| RegistryFault::Failed(Box::new(error))),
            Err(_) => Err(RegistryFault::Failed(Box::new(Error::EngineTimeout {
                call: format!("ask the registry for {reference}"),
                seconds: PATIENCE.as_secs(),
            }))),
        }
    }
}

/// The machine, how long it took to describe it, and how far ahead its clock is.
async fn machine(engine: &Engine) -> Result<(Machine, Duration, Option<i64>), Unseen> {
    let (began, asked) = (Instant::now(), OffsetDateTime::now_utc());
    let machine = engine.machine().await.map_err(|error| in_a_line(&error))?;
    let took = began.elapsed();
    // It looked at its clock somewhere between question and answer.
    let ahead = machine.time.map(|theirs| match theirs {
        theirs if theirs < asked => (theirs - asked).whole_seconds(),
        theirs => (theirs - asked - took).whole_seconds().max(0),
    });
    Ok((machine, took, ahead))
}

/// Each wanted volume, and whose the one of that name is.
fn volumes(desired: &Desired, observed: &Observed) -> Vec<(String, Option<Ownership>)> {
    let whose = |name: &str| observed.volumes.iter().find(|v| v.name == name).map(|v| v.ownership);
    desired.volumes.iter().map(|v| (v.name.clone(), whose(&v.name))).collect()
}

/// Why a start would do more than start, in the planner's words.
fn reasons(plan: &Plan) -> Vec<String> {
    use Action::{
        BuildImage, CreateContainer, CreateNetwork, CreateVolume, FillSecrets, GiveVolumes, LoadImage, LoadRules,
        PreparePlaces, PullImage, RemoveContainer, RenameContainer, StartContainer, StopContainer, TagImage,
        UnpackBackup, UnpauseContainer, WaitUntilReady,
    };
    let mut found: Vec<String> = vec![];
    for step in &plan.steps {
        match step.action {
            // What every start does, and what another check tells.
            StartContainer { .. } | WaitUntilReady { .. } | UnpauseContainer { .. } | CreateVolume { .. } => {}
            // What the others need, and what follows from them.
            BuildImage { .. } | PullImage { .. } | LoadImage { .. } | CreateNetwork { .. } => {}
            StopContainer { .. } | RemoveContainer { .. } => {}
            FillSecrets { .. } | GiveVolumes { .. } | PreparePlaces { .. } | LoadRules { .. } => {}
            // What a command left that was broken off.
            UnpackBackup { .. } | TagImage { .. } => {}
            CreateContainer { .. } | RenameContainer { .. } => {
                let reason = step.reason.strip_prefix("settings changed: ").unwrap_or(&step.reason);
                if !reason.is_empty() && !found.iter().any(|f| f == reason) && found.len() < MOST_REASONS {
                    found.push(reason.to_owned());
                }
            }
        }
    }
    found
}

/// What `docker update` can change and our label does not tell. An engine that cannot limit
/// something says 0.
fn from_outside(detail: &Detail, desired: &Desired) -> Vec<String> {
    let mut live = detail.live.clone();
    let wanted = &desired.container;
    live.memory = if live.memory == 0 { wanted.memory } else { live.memory };
    live.pids = if live.pids <= 0 { wanted.pids } else { live.pids };
    let updatable = |text: &String| ["memory ", "processors ", "pids "].iter().any(|word| text.starts_with(word));
    live.differences(wanted).into_iter().filter(updatable).collect()
}

/// An error and why, in one line.
fn in_a_line(error: &Error) -> String {
    match error.causes().first().and_then(|cause| cause.lines().next()) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// curl's words without its number.
fn in_words(output: &str, code: i64) -> String {
    let line = output.lines().last().unwrap_or_default();
    match line.split_once(") ") {
        Some((number, words)) if number.starts_with("curl: (") => words.to_owned(),
        _ if line.is_empty() => format!("curl ended with exit code {code}"),
        _ => line.to_owned(),
    }
}
