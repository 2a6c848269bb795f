//! What an engine's facts mean: whether it can be used, and whether it does well.

use std::time::Duration;

use super::{ENGINE_NETWORK, OF_CONTAINER, docklet, ok, problem, room, skipped, warning};
use crate::{
    disk::{self, DiskUse},
    doctor::{
        Check, Finding, Level,
        facts::{EngineFacts, Facts, RegistryFault},
    },
    engine::DEADLINE,
    error::{Code, Error, ImageFault},
    units::{Bytes, Elapsed},
};

/// An engine that takes longer for a short call is too busy to be relied on.
pub(super) const SLOW: Duration = Duration::from_secs(2);

/// Clocks that differ by more make times in logs and backups wrong, …
pub(super) const CLOCK_WARNING: i64 = 10;

/// … and by more than this signatures and certificates.
const CLOCK_PROBLEM: i64 = 300;

/// An image, its build steps and the next image beside it.
const ENGINE_SPACE_WARNING: u64 = 3 << 30;

/// Below this no image can be built, and a database may break.
const ENGINE_SPACE_PROBLEM: u64 = 512 << 20;

/// opencode idles at 230 to 330 MB and needs room to work.
const LEAST_MEMORY: u64 = 1 << 30;

/// The Docker that keeps ports on 127.0.0.1 from the machines of the same network.
const SAFE_LOOPBACK: (u32, u32) = (28, 0);

// --- the engine ----------------------------------------------------------------------------------

/// Which check an engine that cannot be used fails; the others are skipped.
pub(super) fn without_engine(error: &Error) -> Vec<Finding> {
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
    all.extend(others.map(|check| skipped(check, "no engine is available")));
    all
}

pub(super) fn found(engine: &EngineFacts) -> Finding {
    let about = &engine.about;
    let rootless = engine.machine.as_ref().is_ok_and(|m| m.rootless) && !about.name.contains("rootless");
    let rootless = if rootless { ", without root" } else { "" };
    ok(
        Check::Engine,
        format!("{} {}{rootless} at {}, because of {}", about.name, about.version, about.endpoint, about.origin),
    )
}

pub(super) fn answer_time(engine: &EngineFacts) -> Finding {
    let slowest = engine.answer_time.max(engine.slowest);
    let message = format!("the engine answers within {}; {} s are allowed", Elapsed(slowest), DEADLINE.as_secs());
    match &engine.machine {
        Err(reason) => problem(Check::AnswerTime, reason.clone(), "docker info"),
        Ok(_) if slowest >= SLOW => warning(Check::AnswerTime, message, "docker stats --no-stream"),
        Ok(_) => ok(Check::AnswerTime, message),
    }
}

pub(super) fn snap(engine: &EngineFacts) -> Finding {
    match &engine.machine {
        Err(_) => skipped(Check::Snap, "the engine does not describe its machine"),
        Ok(machine) if machine.data_folder.starts_with("/var/snap/") => warning(
            Check::Snap,
            "Docker is installed as a snap: it can't access hidden folders or folders outside your home",
            "sudo snap remove docker\nthen: docklet setup --install-engine",
        ),
        Ok(_) => ok(Check::Snap, "Docker isn't installed as a snap"),
    }
}

pub(super) fn storage(engine: &EngineFacts) -> Finding {
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

pub(super) fn engine_space(facts: &Facts, engine: &EngineFacts) -> Finding {
    let room = room_on_disk(engine);
    // What the supervisor measured of the volumes, and what is free now.
    let measured = facts.supervisor.as_ref().map(|supervisor| supervisor.disk.clone()).unwrap_or_default();
    let space = engine.space.as_ref().ok();
    let used = DiskUse { free: space.map(|s| s.free), total: space.map(|s| s.total), ..measured };
    let limit = facts.settings.valid().and_then(|settings| settings.resources.disk.bytes());
    match disk::warning(&used, limit) {
        Some(found) if room.level < Level::Problem => {
            warning(Check::EngineSpace, found.to_string(), found.fix(&facts.about.flag))
        }
        _ => room,
    }
}

fn room_on_disk(engine: &EngineFacts) -> Finding {
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

pub(super) fn memory(facts: &Facts, engine: &EngineFacts) -> Finding {
    let Ok(machine) = &engine.machine else {
        return skipped(Check::Memory, "the engine does not describe its machine");
    };
    if machine.memory == 0 {
        return skipped(Check::Memory, "the engine does not say how much memory it has");
    }
    let has = Bytes(machine.memory);
    if machine.memory < LEAST_MEMORY {
        let message = format!("the engine has {has}; at least {} is needed", Bytes(LEAST_MEMORY));
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

pub(super) fn architecture(facts: &Facts, engine: &EngineFacts) -> Finding {
    let theirs = engine.about.architecture.as_str();
    if !["amd64", "arm64"].contains(&theirs) {
        let message = format!("the engine runs on {theirs}, for which there is no opencode release");
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

pub(super) fn clock(engine: &EngineFacts) -> Finding {
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

pub(super) fn neighbours(facts: &Facts, engine: &EngineFacts) -> Finding {
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
pub(super) fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(super) fn registry(facts: &Facts, engine: &EngineFacts) -> Finding {
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
            warning(Check::Registry, format!("the registry {registry} limits requests: {reason}"), "docker login")
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
