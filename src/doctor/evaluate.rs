//! Facts → findings. Pure: one function for each check, all of them always. What a check says is one
//! line; what mends it is a command, and where it can be without one, none.

use std::{net::IpAddr, time::Duration};

use crate::{
    doctor::{
        Check, Finding, Level,
        facts::{ContainerFacts, Drift, EngineFacts, Facts, Inside, RegistryFault, SettingsFact, SupervisorFacts},
    },
    engine::DEADLINE,
    error::{Code, Error, ImageFault},
    host::{
        checkup::{FileFact, Space},
        reach::Stage,
    },
    observed::{Ownership, PortState},
    probe::Seen,
    report::Wanted,
    settings::{ImageSource, RestartPolicy},
    units::{Bytes, Elapsed},
};

/// An engine that takes longer for a short call is too busy to be relied on.
const SLOW: Duration = Duration::from_secs(2);

/// Clocks that differ by more make times in logs and backups wrong, …
const CLOCK_WARNING: i64 = 10;
/// … and by more than this signatures and certificates.
const CLOCK_PROBLEM: i64 = 300;

/// An image, its build steps and the next image beside it.
const ENGINE_SPACE_WARNING: u64 = 3 << 30;
/// Below this no image can be built, and a database may break.
const ENGINE_SPACE_PROBLEM: u64 = 512 << 20;
/// A backup and some logs.
const HOST_SPACE_WARNING: u64 = 1 << 30;
/// Below this settings may not be written.
const HOST_SPACE_PROBLEM: u64 = 50 << 20;

/// opencode idles at 230 to 330 MB and needs room to work.
const LEAST_MEMORY: u64 = 1 << 30;

/// The Docker that keeps ports on 127.0.0.1 from the machines of the same network.
const SAFE_LOOPBACK: (u32, u32) = (28, 0);

/// The engine goes its own ways: this machine's variables are not the engine's.
const ENGINE_NETWORK: &str = "check the engine's own name server and proxy: docker info --format '{{.HTTPSProxy}}'";

/// Most paths that are named.
const MOST_PATHS: usize = 5;

/// All findings, in the order of [`Check`].
pub fn evaluate(facts: &Facts) -> Vec<Finding> {
    let engine = engine_checks(facts);
    let mut all = vec![settings(facts), files(facts), host_space(facts)];
    all.extend(engine);
    all.extend([port(facts), localhost(facts), host_network(facts), trust(facts), supervisor(facts), reboot(facts)]);
    all.sort_by_key(|finding| finding.id);
    all
}

/// Those that need the engine.
fn engine_checks(facts: &Facts) -> Vec<Finding> {
    let engine = match &facts.engine {
        Ok(engine) => engine,
        Err(error) => return without_engine(error),
    };
    let mut all = vec![
        found(engine),
        ok(Check::Permission, "you may talk to the engine"),
        ok(Check::Api, format!("the engine speaks API {}", engine.about.api_version)),
        answer_time(engine),
        snap(engine),
        storage(engine),
        engine_space(engine),
        memory(facts, engine),
        architecture(facts, engine),
        clock(engine),
        neighbours(facts, engine),
        registry(facts, engine),
        volumes(facts, engine),
        drift(facts, engine),
    ];
    all.extend(container_checks(facts, engine));
    all
}

/// Every check that needs a container.
const OF_CONTAINER: [Check; 5] =
    [Check::Page, Check::RestartPolicy, Check::Image, Check::OutsideWrites, Check::ContainerNetwork];

fn container_checks(facts: &Facts, engine: &EngineFacts) -> Vec<Finding> {
    let container = match &engine.container {
        Ok(Some(container)) if container.ownership == Ownership::Ours => container,
        other => {
            let reason = match other {
                Ok(None) => "there is no container",
                Ok(Some(_)) => "the container is not ours",
                Err(reason) => reason,
            };
            let mut all = vec![existence(facts, other)];
            all.extend(OF_CONTAINER.map(|check| skipped(check, reason)));
            return all;
        }
    };
    vec![
        state(facts, container),
        page(facts, container),
        restart_policy(facts, container),
        image(facts, container),
        outside_writes(facts, container),
        container_network(facts, container),
    ]
}

// --- settings and files --------------------------------------------------------------------------

fn settings(facts: &Facts) -> Finding {
    match &facts.settings {
        SettingsFact::Valid(_) => ok(Check::Settings, "the settings are valid"),
        SettingsFact::NotSetUp => warning(Check::Settings, "nothing is set up yet", docklet(facts, "setup")),
        SettingsFact::Broken(error) => {
            let message = [error.to_string()].into_iter().chain(error.causes()).collect::<Vec<_>>().join(": ");
            problem(Check::Settings, message, error.hint().unwrap_or_else(|| docklet(facts, "config edit")))
        }
    }
}

fn files(facts: &Facts) -> Finding {
    if facts.files.is_empty() {
        return skipped(Check::Files, "there are no files yet");
    }
    let about = &facts.about;
    // Root may do everything; whose files it looks at is not its business.
    let strange: Vec<&FileFact> = facts.files.iter().filter(|file| about.uid != 0 && file.owner != about.uid).collect();
    if let Some(first) = strange.first() {
        let owner = if first.owner == 0 { "root".to_owned() } else { format!("user {}", first.owner) };
        let message = format!("{} belongs to {owner}{}, not to you", shown(first), more(strange.len()));
        // A folder takes what is in it along.
        let inside =
            |file: &FileFact| strange.iter().any(|f| f.folder && f.path != file.path && file.path.starts_with(&f.path));
        let tops = strange.iter().filter(|file| !inside(file)).map(|file| quoted(file)).collect::<Vec<_>>();
        return problem(Check::Files, message, format!("sudo chown -R {} {}", about.user, tops.join(" ")));
    }
    // What lies in a folder that nobody else may enter is safe, whatever its own mode.
    let guarded = |file: &FileFact| {
        facts
            .files
            .iter()
            .any(|f| f.folder && f.mode & 0o011 == 0 && f.path != file.path && file.path.starts_with(&f.path))
    };
    let too_open: Vec<(&FileFact, u32)> = facts
        .files
        .iter()
        .filter(|file| file.path.starts_with(&about.secrets) || !guarded(file))
        .filter_map(|file| {
            let secret = file.path.starts_with(&about.secrets);
            let wanted = match (secret, file.folder) {
                (true, true) => 0o700,
                (true, false) => 0o600,
                (false, _) => file.mode & !0o022,
            };
            (file.mode & !wanted & 0o077 != 0).then_some((file, wanted))
        })
        .collect();
    match too_open.first() {
        None => ok(Check::Files, "our files are yours, and nobody else can read the secrets"),
        Some((first, _)) => {
            let secret = too_open.iter().any(|(file, _)| file.path.starts_with(&about.secrets));
            let what = if secret { "can be read" } else { "can be changed" };
            let message =
                format!("{} has mode {:04o}{}: it {what} by others", shown(first), first.mode, more(too_open.len()));
            let fixes = too_open.iter().map(|(file, wanted)| format!("chmod {wanted:o} {}", quoted(file)));
            problem(Check::Files, message, fixes.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn shown(file: &FileFact) -> String {
    file.path.display().to_string()
}

/// For a shell.
fn quoted(file: &FileFact) -> String {
    shell_words::quote(&shown(file)).into_owned()
}

fn more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

fn host_space(facts: &Facts) -> Finding {
    match facts.host_space {
        None => skipped(Check::HostSpace, "the disk does not say how much room it has"),
        Some(space) => room(
            Check::HostSpace,
            space,
            "for settings and logs",
            (HOST_SPACE_WARNING, HOST_SPACE_PROBLEM),
            "make room on the disk of your home folder",
        ),
    }
}

fn room(check: Check, space: Space, what: &str, (low, least): (u64, u64), fix: &str) -> Finding {
    let message = format!("{} of {} are free {what}", Bytes(space.free), Bytes(space.total));
    match space.free {
        free if free < least => problem(check, message, fix),
        free if free < low => warning(check, message, fix),
        _ => ok(check, message),
    }
}

// --- the engine ----------------------------------------------------------------------------------

/// Which check an engine that cannot be used fails; the others are skipped.
fn without_engine(error: &Error) -> Vec<Finding> {
    let failed = match error.code() {
        Code::EnginePermissionDenied => Check::Permission,
        Code::EngineUnsupported => Check::Api,
        _ if matches!(error, Error::EngineTimeout { .. }) => Check::AnswerTime,
        _ => Check::Engine,
    };
    let causes = error.causes();
    // Where nothing was found there is a cause for each place; those are for `--verbose` of other commands.
    let cause = if causes.len() == 1 { format!(": {}", causes[0]) } else { String::new() };
    let fix = match error {
        // The rest of that hint is for commands that go on where they stopped.
        Error::EngineTimeout { .. } | Error::EngineGone { .. } | Error::EngineRefused { .. } => {
            Some("docker version".to_owned())
        }
        _ => error.hint(),
    };
    let mut all = vec![Finding { id: failed, level: Level::Problem, message: format!("{error}{cause}"), fix }];
    let others = [
        Check::Engine,
        Check::Permission,
        Check::Api,
        Check::AnswerTime,
        Check::Snap,
        Check::Storage,
        Check::EngineSpace,
        Check::Memory,
        Check::Architecture,
        Check::Clock,
        Check::Neighbours,
        Check::Container,
        Check::Drift,
        Check::Volumes,
        Check::Registry,
    ];
    let others = others.into_iter().chain(OF_CONTAINER).filter(|check| *check != failed);
    all.extend(others.map(|check| skipped(check, "no engine can be asked")));
    all
}

fn found(engine: &EngineFacts) -> Finding {
    let about = &engine.about;
    let rootless = engine.machine.as_ref().is_ok_and(|m| m.rootless) && !about.name.contains("rootless");
    let rootless = if rootless { ", without root" } else { "" };
    ok(
        Check::Engine,
        format!("{} {}{rootless} at {}, because of {}", about.name, about.version, about.endpoint, about.origin),
    )
}

fn answer_time(engine: &EngineFacts) -> Finding {
    let slowest = engine.answer_time.max(engine.slowest);
    let message = format!("the engine answers within {}; {} s are allowed", Elapsed(slowest), DEADLINE.as_secs());
    match &engine.machine {
        Err(reason) => problem(Check::AnswerTime, reason.clone(), "docker info"),
        Ok(_) if slowest >= SLOW => warning(Check::AnswerTime, message, "docker stats --no-stream"),
        Ok(_) => ok(Check::AnswerTime, message),
    }
}

fn snap(engine: &EngineFacts) -> Finding {
    match &engine.machine {
        Err(_) => skipped(Check::Snap, "the engine does not describe its machine"),
        Ok(machine) if machine.data_folder.starts_with("/var/snap/") => warning(
            Check::Snap,
            "the engine is a snap: it sees no folders outside your home, hidden ones neither",
            "sudo snap remove docker\nthen: docklet setup --install-engine",
        ),
        Ok(_) => ok(Check::Snap, "the engine is no snap"),
    }
}

fn storage(engine: &EngineFacts) -> Finding {
    match &engine.machine {
        Err(_) => skipped(Check::Storage, "the engine does not describe its machine"),
        Ok(machine) if machine.storage_driver == "vfs" => warning(
            Check::Storage,
            "the storage driver vfs copies every layer as a whole: slow, and large on disk",
            if machine.rootless {
                "install fuse-overlayfs, then restart the engine"
            } else {
                "the engine's own log says why it could not use overlay2"
            },
        ),
        Ok(machine) => ok(Check::Storage, format!("the storage driver is {}", machine.storage_driver)),
    }
}

fn engine_space(engine: &EngineFacts) -> Finding {
    match &engine.space {
        Err(reason) => skipped(Check::EngineSpace, reason),
        Ok(space) => room(
            Check::EngineSpace,
            *space,
            "for images and volumes",
            (ENGINE_SPACE_WARNING, ENGINE_SPACE_PROBLEM),
            "docker builder prune",
        ),
    }
}

fn memory(facts: &Facts, engine: &EngineFacts) -> Finding {
    let Ok(machine) = &engine.machine else {
        return skipped(Check::Memory, "the engine does not describe its machine");
    };
    if machine.memory == 0 {
        return skipped(Check::Memory, "the engine does not say how much memory it has");
    }
    let has = Bytes(machine.memory);
    if machine.memory < LEAST_MEMORY {
        let message = format!("the engine has {has}; {} are the least to work with", Bytes(LEAST_MEMORY));
        return problem(Check::Memory, message, "give the engine's machine more memory");
    }
    // The default is a wish: it gives way to three quarters of what there is.
    let wished = facts.settings.valid().map(|s| s.resources.memory.0).filter(|m| *m != facts.about.default_memory);
    if machine.limits_memory == Some(false) {
        let message = "the engine cannot hold a container to a memory limit".to_owned();
        return warning(Check::Memory, message, "docker info --format '{{.Warnings}}'");
    }
    match wished {
        Some(limit) if limit > has => {
            let message = format!("the limit of {limit} is more than the engine has ({has})");
            let enough = Bytes(((machine.memory / 4 * 3) >> 20) << 20).exact();
            warning(Check::Memory, message, docklet(facts, &format!("setup --memory {enough}")))
        }
        Some(limit) => ok(Check::Memory, format!("the engine has {has}, the limit is {limit}")),
        None => {
            let limit = facts.about.default_memory.min(Bytes(machine.memory / 4 * 3));
            ok(Check::Memory, format!("the engine has {has}, the limit is {limit}"))
        }
    }
}

fn architecture(facts: &Facts, engine: &EngineFacts) -> Finding {
    let theirs = engine.about.architecture.as_str();
    if !["amd64", "arm64"].contains(&theirs) {
        let message = format!("the engine runs on {theirs}; there is no opencode for it");
        return problem(Check::Architecture, message, "docklet --host URL doctor");
    }
    let image = engine.container.as_ref().ok().and_then(Option::as_ref).and_then(|c| c.image.as_ref());
    if let Some(image) = image.filter(|image| !image.architecture.is_empty() && image.architecture != theirs) {
        let message = format!("the image is for {}, the engine runs on {theirs}: slow at best", image.architecture);
        return warning(Check::Architecture, message, docklet(facts, "setup --build"));
    }
    let ours = &facts.about.architecture;
    let elsewhere = if ours == theirs { String::new() } else { format!(", this machine is {ours}") };
    ok(Check::Architecture, format!("the engine runs on {theirs}{elsewhere}"))
}

fn clock(engine: &EngineFacts) -> Finding {
    let Some(ahead) = engine.clock_ahead else {
        return skipped(Check::Clock, "the engine does not say what time it is");
    };
    let off = ahead.abs();
    let way = if ahead > 0 { "ahead" } else { "behind" };
    let message = format!("the engine's clock is {} {way}", Elapsed(Duration::from_secs(off.unsigned_abs())));
    match off {
        0..=CLOCK_WARNING => ok(Check::Clock, "the engine's clock agrees with this machine's"),
        _ if off <= CLOCK_PROBLEM => warning(Check::Clock, message, "restart the engine's machine"),
        _ => problem(Check::Clock, message, "restart the engine's machine"),
    }
}

fn neighbours(facts: &Facts, engine: &EngineFacts) -> Finding {
    let about = &engine.about;
    if let Some(settings) = facts.settings.valid().filter(|s| !s.network.bind.is_loopback()) {
        let message =
            format!("the page is published on {}: other machines reach it, with the password", settings.network.bind);
        return warning(Check::Neighbours, message, docklet(facts, "setup --bind 127.0.0.1"));
    }
    let plain_docker = about.name == "Docker" && engine.machine.as_ref().is_ok_and(|machine| !machine.rootless);
    match numbers(&about.version) {
        Some(version) if plain_docker && version < SAFE_LOOPBACK => warning(
            Check::Neighbours,
            format!(
                "Docker {} lets machines of the same network reach ports on 127.0.0.1; only the password stops them",
                about.version
            ),
            "update the engine to Docker 28.0 or newer",
        ),
        _ => ok(Check::Neighbours, "only this machine reaches the page"),
    }
}

/// The first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn registry(facts: &Facts, engine: &EngineFacts) -> Finding {
    let registry = &facts.about.registry;
    let error = match &engine.registry {
        Ok(()) => return ok(Check::Registry, format!("the engine reaches the registry {registry}")),
        Err(RegistryFault::Unseen(reason)) => return skipped(Check::Registry, reason),
        Err(RegistryFault::Failed(error)) => error,
    };
    let message = |what: String| format!("the engine does not reach the registry {registry}: {what}");
    match &**error {
        // It answered, and that is what was asked.
        Error::Image { fault: ImageFault::NotFound | ImageFault::Unauthorized, .. } => {
            ok(Check::Registry, format!("the engine reaches the registry {registry}"))
        }
        Error::Image { fault: ImageFault::RateLimited, reason, .. } => {
            warning(Check::Registry, format!("the registry {registry} wants a pause: {reason}"), "docker login")
        }
        Error::Image { reason, .. } if reason.contains("x509") => {
            let fix = "give the engine your company's certificates (/etc/docker/certs.d), then restart it";
            warning(Check::Registry, message(reason.clone()), fix)
        }
        Error::Image { reason, .. } => warning(Check::Registry, message(reason.clone()), ENGINE_NETWORK),
        Error::EngineTimeout { .. } => {
            warning(Check::Registry, message("no answer in time".to_owned()), ENGINE_NETWORK)
        }
        other => {
            let why = other.causes().join(": ");
            skipped(Check::Registry, if why.is_empty() { other.to_string() } else { why })
        }
    }
}

fn volumes(facts: &Facts, engine: &EngineFacts) -> Finding {
    let volumes = match &engine.volumes {
        Ok(volumes) => volumes,
        Err(reason) => return skipped(Check::Volumes, reason),
    };
    let names = |wanted: fn(&Option<Ownership>) -> bool| -> Vec<&str> {
        volumes.iter().filter(|(_, whose)| wanted(whose)).map(|(name, _)| name.as_str()).collect()
    };
    let foreign = names(|whose| *whose == Some(Ownership::Foreign));
    if let Some(name) = foreign.first() {
        let error = Error::Foreign { kind: crate::error::ObjectKind::Volume, name: (*name).to_owned() };
        return problem(
            Check::Volumes,
            format!("volume {} was not made by docklet", foreign.join(", ")),
            error.hint().unwrap_or_default(),
        );
    }
    let missing = names(Option::is_none);
    if missing.is_empty() {
        return ok(Check::Volumes, format!("all {} volumes are there and ours", volumes.len()));
    }
    if !matches!(engine.container, Ok(Some(_))) && missing.len() == volumes.len() {
        return skipped(Check::Volumes, "there is no container");
    }
    problem(
        Check::Volumes,
        format!("volume {} is missing: what was in it is not on this engine", missing.join(", ")),
        format!("to go on with nothing in it: {}", docklet(facts, "start")),
    )
}

fn drift(facts: &Facts, engine: &EngineFacts) -> Finding {
    let list = |reasons: &[String]| reasons.join("; ");
    match &engine.drift {
        Drift::None => ok(Check::Drift, "the container is as the settings say"),
        Drift::Unseen(reason) => skipped(Check::Drift, reason),
        Drift::Settings(reasons) => {
            let message = format!("the container is not as the settings say: {}", list(reasons));
            warning(Check::Drift, message, docklet(facts, "start"))
        }
        Drift::Outside(differences) => {
            let message = format!("the container was changed from outside (now → wanted): {}", list(differences));
            let fix = format!("docker rm --force {}\n{}", facts.about.container, docklet(facts, "start"));
            warning(Check::Drift, message, fix)
        }
        Drift::Refused(message, hint) => {
            Finding { id: Check::Drift, level: Level::Problem, message: message.clone(), fix: hint.clone() }
        }
    }
}

// --- the container -------------------------------------------------------------------------------

/// No container of ours: whether that is as it should be.
fn existence(facts: &Facts, container: &Result<Option<ContainerFacts>, String>) -> Finding {
    let name = &facts.about.container;
    match container {
        Err(reason) => skipped(Check::Container, reason),
        Ok(Some(_)) => {
            let error = Error::Foreign { kind: crate::error::ObjectKind::Container, name: name.clone() };
            problem(Check::Container, error.to_string(), error.hint().unwrap_or_default())
        }
        Ok(None) => match (facts.settings.valid(), facts.wanted) {
            (Some(_), Wanted::Running) => {
                problem(Check::Container, format!("container {name} is gone"), docklet(facts, "start"))
            }
            (Some(_), Wanted::Stopped) => ok(Check::Container, "there is no container, and you want it stopped"),
            (None, _) => skipped(Check::Container, "there is no container"),
        },
    }
}

fn state(facts: &Facts, container: &ContainerFacts) -> Finding {
    let detail = &container.detail;
    let name = &detail.name;
    if detail.paused {
        return problem(Check::Container, format!("{name} is paused"), docklet(facts, "start"));
    }
    match (detail.running, facts.wanted) {
        (true, _) => ok(Check::Container, format!("{name} runs")),
        (false, Wanted::Stopped) => ok(Check::Container, format!("{name} is stopped, as you want it")),
        (false, Wanted::Running) => {
            let how = match (detail.oom_killed, detail.exit_code, &detail.error) {
                (true, ..) => " (it ran out of memory)".to_owned(),
                (_, _, Some(error)) => format!(" ({error})"),
                (_, Some(code), _) => format!(" (it ended with exit code {code})"),
                _ => String::new(),
            };
            problem(Check::Container, format!("{name} does not run{how}"), docklet(facts, "start"))
        }
    }
}

fn page(facts: &Facts, container: &ContainerFacts) -> Finding {
    if facts.password_missing {
        return problem(Check::Page, "the password of the page is gone", docklet(facts, "password --rotate"));
    }
    let seen = match &container.page {
        Ok(seen) => seen,
        Err(reason) => return skipped(Check::Page, reason),
    };
    let young = container.age.is_some_and(|age| age < facts.about.ready_timeout);
    match seen {
        Seen::Works => ok(Check::Page, "the page answers with our password"),
        Seen::Unauthorized => problem(Check::Page, seen.to_string(), docklet(facts, "restart")),
        Seen::Silent { reason } if young => {
            warning(Check::Page, format!("it is still starting: {reason}"), docklet(facts, "status"))
        }
        Seen::Silent { reason } => {
            problem(Check::Page, format!("the page does not answer: {reason}"), docklet(facts, "restart"))
        }
        Seen::Wrong { .. } => problem(Check::Page, seen.to_string(), docklet(facts, "restart")),
    }
}

fn restart_policy(facts: &Facts, container: &ContainerFacts) -> Finding {
    match container.detail.restart_policy.as_str() {
        "no" => ok(Check::RestartPolicy, "the engine leaves restarts to docklet"),
        other => problem(
            Check::RestartPolicy,
            format!("the engine restarts it, too (policy {other}): it would bring back what you stopped"),
            format!("docker update --restart no {}", facts.about.container),
        ),
    }
}

fn image(facts: &Facts, container: &ContainerFacts) -> Finding {
    let ours = &facts.about.appliance_version;
    let Some(theirs) = container.image.as_ref().and_then(|image| image.appliance_version.as_ref()) else {
        return skipped(Check::Image, "the image does not say which version it holds");
    };
    if version(theirs) < version(ours) {
        let message = format!("the image holds version {theirs}, this docklet brings {ours}");
        return warning(Check::Image, message, docklet(facts, "setup --build"));
    }
    ok(Check::Image, format!("the image holds version {theirs}"))
}

fn version(text: &str) -> Vec<u64> {
    text.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn outside_writes(facts: &Facts, container: &ContainerFacts) -> Finding {
    let changed = match &container.changed {
        Ok(changed) => kept_nowhere(changed, &facts.about.scratch),
        Err(reason) => return skipped(Check::OutsideWrites, reason),
    };
    if changed.is_empty() {
        return ok(Check::OutsideWrites, "the appliance writes only where its data is kept");
    }
    let named = changed.iter().take(MOST_PATHS).map(|path| path.as_str()).collect::<Vec<_>>().join(", ");
    let rest = changed.len().saturating_sub(MOST_PATHS);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let copy = format!("exec -- cp -a {} {}/", shell_words::quote(changed[0]), facts.about.keep_in);
    let message = format!("lost with the next update, being outside the volumes: {named}{rest}");
    warning(Check::OutsideWrites, message, docklet(facts, &copy))
}

/// Of the changed paths those that somebody may miss: no folders above others, nothing scratch.
fn kept_nowhere<'a>(changed: &'a [String], scratch: &[String]) -> Vec<&'a String> {
    let below = |path: &str, folder: &str| {
        path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut sorted: Vec<&String> = changed.iter().collect();
    // With a slash behind it, a folder comes directly before what is in it.
    sorted.sort_by_cached_key(|path| format!("{path}/"));
    sorted.dedup();
    let is_above = |index: usize| sorted.get(index + 1).is_some_and(|next| below(next, sorted[index]));
    let scratch_below = |path: &str| scratch.iter().any(|place| below(place, path));
    let is_scratch = |path: &str| scratch.iter().any(|place| below(path, place));
    let indexed = sorted.iter().enumerate();
    indexed
        .filter(|(index, path)| !is_above(*index) && !is_scratch(path) && !scratch_below(path))
        .map(|(_, path)| *path)
        .collect()
}

fn container_network(facts: &Facts, container: &ContainerFacts) -> Finding {
    let registry = &facts.about.registry;
    match &container.network {
        Ok(()) => ok(Check::ContainerNetwork, format!("the appliance reaches {registry}")),
        Err(Inside::Unseen(reason)) => skipped(Check::ContainerNetwork, reason),
        Err(Inside::Failed(reason)) => {
            let certificate = reason.to_lowercase().contains("certificate");
            let fix = if certificate { "setup --ca-file FILE" } else { "exec -- curl -sSI https://REGISTRY/v2/" };
            let fix = docklet(facts, &fix.replace("REGISTRY", registry));
            warning(Check::ContainerNetwork, format!("the appliance does not reach {registry}: {reason}"), fix)
        }
    }
}

// --- the host ------------------------------------------------------------------------------------

fn port(facts: &Facts) -> Finding {
    if let SettingsFact::Broken(_) = facts.settings {
        return skipped(Check::Port, "the settings are not valid");
    }
    let (address, port) = wanted_port(facts);
    let ours = || ours(facts).is_some_and(|c| c.detail.running && c.detail.live.publish.port == port);
    let state = facts.engine.as_ref().ok().and_then(|engine| engine.port.as_ref()).unwrap_or(&facts.port);
    match state {
        PortState::Available if ours() => ok(Check::Port, format!("port {port} on {address} is ours")),
        PortState::Available => ok(Check::Port, format!("port {port} on {address} is free")),
        PortState::Taken { .. } if ours() => ok(Check::Port, format!("port {port} on {address} is ours")),
        PortState::Taken { holder, free_port } => {
            let holder = holder.as_deref().unwrap_or("another program");
            let message = format!("port {port} on {address} is taken: {holder} is listening on it");
            let fix = free_port.map_or("PORT".to_owned(), |port| port.to_string());
            let fix = docklet(facts, &format!("setup --port {fix}"));
            // Our own container may be what listens.
            let unknown = !matches!(&facts.engine, Ok(engine) if engine.container.is_ok());
            let engines = ["another container", "a process of", "another program"];
            match (unknown, &facts.settings) {
                (true, _) if engines.iter().any(|words| holder.starts_with(words)) => {
                    skipped(Check::Port, "without an engine nobody knows whose container listens on the port")
                }
                (_, SettingsFact::NotSetUp) => warning(Check::Port, message, fix),
                _ => problem(Check::Port, message, fix),
            }
        }
    }
}

/// Where the page is to be published.
fn wanted_port(facts: &Facts) -> (IpAddr, u16) {
    let network = facts.settings.valid().map(|s| s.network.clone()).unwrap_or_default();
    (network.bind.0, network.port.0)
}

/// Our container, where there is one.
fn ours(facts: &Facts) -> Option<&ContainerFacts> {
    let container = facts.engine.as_ref().ok()?.container.as_ref().ok()?.as_ref()?;
    (container.ownership == Ownership::Ours).then_some(container)
}

fn localhost(facts: &Facts) -> Finding {
    if let SettingsFact::Broken(_) = facts.settings {
        return skipped(Check::Localhost, "the settings are not valid");
    }
    let (address, port) = wanted_port(facts);
    let page = crate::desired::page_url(address, port);
    let Some(first) = facts.localhost.first() else {
        return warning(
            Check::Localhost,
            format!("the name localhost is not known here; the page is at {page}"),
            "add this line to /etc/hosts: 127.0.0.1 localhost",
        );
    };
    let on_ipv4 = address == IpAddr::from([127, 0, 0, 1]);
    let other_first = on_ipv4 && first.is_ipv6();
    if on_ipv4 && facts.taken_on_ipv6 && facts.localhost.iter().any(IpAddr::is_ipv6) {
        let message = format!("another program listens on port {port} of ::1: `localhost` leads there, not to {page}");
        return warning(Check::Localhost, message, docklet(facts, "open"));
    }
    if other_first {
        let message = format!("localhost means {first} first, where nobody listens; {page} always works");
        return ok(Check::Localhost, message);
    }
    ok(Check::Localhost, format!("localhost means {first}"))
}

fn host_network(facts: &Facts) -> Finding {
    let registry = &facts.about.registry;
    let unreached = match &facts.host_network {
        Ok(()) => return ok(Check::HostNetwork, format!("this machine reaches {registry}")),
        Err(unreached) => unreached,
    };
    let fix = match unreached.stage {
        Stage::Name => "check the network, and the name server in /etc/resolv.conf".to_owned(),
        Stage::Connection => "behind a company proxy: set HTTPS_PROXY, then docklet setup".to_owned(),
        Stage::Proxy => "check HTTPS_PROXY, then run docklet setup again".to_owned(),
        Stage::Certificate => docklet(facts, "setup --ca-file FILE"),
    };
    warning(Check::HostNetwork, format!("this machine does not reach {registry}: {unreached}"), fix)
}

fn trust(facts: &Facts) -> Finding {
    if facts.settings.valid().is_none() {
        return skipped(Check::Trust, "nothing is set up");
    }
    let trust = &facts.trust;
    if let Some(reason) = &trust.unusable {
        return warning(Check::Trust, reason.clone(), docklet(facts, "setup --ca-file FILE"));
    }
    if trust.copy_differs {
        let message = "the appliance has an older copy of your certificates";
        return warning(Check::Trust, message, docklet(facts, "restart"));
    }
    if let Some(bundle) = &trust.unknown_bundle {
        let message = format!("this machine trusts {bundle}, and the appliance does not know it");
        return warning(
            Check::Trust,
            message,
            docklet(facts, &format!("setup --ca-file {}", shell_words::quote(bundle))),
        );
    }
    if !trust.proxies_differ.is_empty() {
        let message = format!("{} is not the same here as in the appliance", trust.proxies_differ.join(", "));
        return warning(Check::Trust, message, docklet(facts, "setup"));
    }
    ok(Check::Trust, "the appliance has this machine's proxies and certificates")
}

fn supervisor(facts: &Facts) -> Finding {
    let Some(supervisor) = &facts.supervisor else {
        return skipped(Check::Supervisor, "you said that docklet shall start no supervisor");
    };
    let Some(settings) = facts.settings.valid() else {
        return skipped(Check::Supervisor, "nothing is set up");
    };
    match supervisor {
        SupervisorFacts { gave_up: Some(reason), .. } => {
            problem(Check::Supervisor, format!("the restarts did not help: {reason}"), docklet(facts, "logs -n 200"))
        }
        SupervisorFacts { pid: Some(pid), .. } => ok(Check::Supervisor, format!("the supervisor runs (pid {pid})")),
        _ if settings.restart.policy == RestartPolicy::Never => {
            ok(Check::Supervisor, "nobody restarts it, as you want it")
        }
        _ if facts.wanted == Wanted::Stopped => ok(Check::Supervisor, "it is to stay stopped, so nobody restarts it"),
        _ => problem(Check::Supervisor, "nobody restarts it when it dies", docklet(facts, "start")),
    }
}

fn reboot(facts: &Facts) -> Finding {
    let Some(settings) = facts.settings.valid() else {
        return skipped(Check::Reboot, "nothing is set up");
    };
    let start = || docklet(facts, "start");
    if !facts.services.manager {
        let message = "no service manager runs here: after a reboot it has to be started by hand";
        return warning(Check::Reboot, message, start());
    }
    if !settings.restart.autostart {
        return ok(Check::Reboot, "after a reboot it stays stopped until `docklet start`, as you want it");
    }
    if facts.supervisor.as_ref().is_some_and(|supervisor| !supervisor.autostart_entry) {
        let message = "it is to start with your session, and the entry for that is missing";
        return problem(Check::Reboot, message, docklet(facts, "autostart enable"));
    }
    if facts.services.linger == Some(false) {
        let message = "it starts when you log in and ends when you log out";
        return warning(Check::Reboot, message, format!("sudo loginctl enable-linger {}", facts.about.user));
    }
    ok(Check::Reboot, "it comes back after a reboot")
}

/// Whether the engine has to be asked for a registry at all.
pub fn needs_registry(source: ImageSource) -> bool {
    source != ImageSource::Load
}

// --- words ---------------------------------------------------------------------------------------

fn docklet(facts: &Facts, command: &str) -> String {
    format!("docklet{} {command}", facts.about.flag)
}

fn ok(id: Check, message: impl Into<String>) -> Finding {
    Finding { id, level: Level::Ok, message: message.into(), fix: None }
}

fn skipped(id: Check, reason: impl Into<String>) -> Finding {
    Finding { id, level: Level::Skipped, message: reason.into(), fix: None }
}

fn warning(id: Check, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { id, level: Level::Warning, message: message.into(), fix: Some(fix.into()) }
}

fn problem(id: Check, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { id, level: Level::Problem, message: message.into(), fix: Some(fix.into()) }
}

#[cfg(test)]
mod tests;
