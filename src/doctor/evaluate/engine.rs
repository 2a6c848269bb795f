//! The checks of the engine: whether it can be used, and whether its machine has what is needed.

use std::time::Duration;

use super::{Answer, docklet, engine, finding, ok, ours, problem, room, warning};
use crate::{
    disk::{self, DiskUse},
    doctor::{
        Finding, Level,
        facts::{DoctorFacts, EngineFacts, Unseen},
    },
    engine::{DEADLINE, checkup::Machine},
    error::{Code, Error, ImageFault},
    units::{Bytes, Elapsed, Version},
};

/// An engine that takes longer for a short call is overloaded.
pub(super) const SLOW: Duration = Duration::from_secs(2);

/// Seconds. A larger difference makes times in logs and backups wrong.
pub(super) const CLOCK_WARNING: i64 = 10;

/// Seconds. A larger difference makes signatures and certificates invalid.
const CLOCK_PROBLEM: i64 = 300;

/// An image, its build steps and the next image beside it.
const ENGINE_SPACE_WARNING: u64 = 3 << 30;

/// Below this no image can be built, and a database may break.
const ENGINE_SPACE_PROBLEM: u64 = 512 << 20;

/// opencode idles at 230 to 330 MB and needs room to work.
const LEAST_MEMORY: u64 = 1 << 30;

/// The first Docker that keeps ports on 127.0.0.1 from the machines of the same network.
const SAFE_LOOPBACK: &str = "28.0";

/// The engine has its own network settings: this machine's variables do not apply to it.
const ENGINE_NETWORK: &str = "check the engine's own name server and proxy: docker info --format '{{.HTTPSProxy}}'";

/// The finding for an engine that cannot be used, with the id of the check that fails.
pub(super) fn unusable(error: &Error) -> Finding {
    let id = match error.code() {
        Code::EnginePermissionDenied => "permission",
        Code::EngineUnsupported => "api",
        _ if matches!(error, Error::EngineTimeout { .. }) => "answer_time",
        _ => "engine",
    };
    let causes = error.causes();
    // Where nothing was found there is a cause for each place; those are for `--verbose` of other commands.
    let cause = if causes.len() == 1 { format!(": {}", causes[0]) } else { String::new() };
    let fix = match error {
        // The rest of that hint is for commands that continue where they stopped.
        Error::EngineTimeout { .. } | Error::EngineGone { .. } | Error::EngineRefused { .. } => {
            Some("docker version".to_owned())
        }
        _ => error.hint(),
    };
    Finding { id, ..finding(Level::Problem, format!("{error}{cause}"), fix) }
}

fn machine(facts: &DoctorFacts) -> Result<&Machine, Unseen> {
    engine(facts)?.machine.as_ref().map_err(|_| "the engine does not describe its machine".to_owned())
}

pub(super) fn found(facts: &DoctorFacts) -> Answer {
    let about = &engine(facts)?.about;
    let rootless = machine(facts).is_ok_and(|m| m.rootless) && !about.name.contains("rootless");
    let rootless = if rootless { ", without root" } else { "" };
    Ok(ok(format!("{} {}{rootless} at {}, because of {}", about.name, about.version, about.endpoint, about.origin)))
}

pub(super) fn permission(facts: &DoctorFacts) -> Answer {
    engine(facts)?;
    Ok(ok("you have permission to use the engine"))
}

pub(super) fn api(facts: &DoctorFacts) -> Answer {
    Ok(ok(format!("the engine speaks API {}", engine(facts)?.about.api_version)))
}

pub(super) fn answer_time(facts: &DoctorFacts) -> Answer {
    let engine = engine(facts)?;
    let slowest = engine.answer_time.max(engine.slowest);
    let message = format!("the engine answers within {}; {} s are allowed", Elapsed(slowest), DEADLINE.as_secs());
    Ok(match &engine.machine {
        Err(reason) => problem(reason, "docker info"),
        Ok(_) if slowest >= SLOW => warning(message, "docker stats --no-stream"),
        Ok(_) => ok(message),
    })
}

pub(super) fn snap(facts: &DoctorFacts) -> Answer {
    if machine(facts)?.data_folder.starts_with("/var/snap/") {
        let message = "Docker is installed as a snap: it can't access hidden folders or folders outside your home";
        return Ok(warning(message, "sudo snap remove docker\nthen: docklet setup --install-engine"));
    }
    Ok(ok("Docker isn't installed as a snap"))
}

pub(super) fn storage(facts: &DoctorFacts) -> Answer {
    let machine = machine(facts)?;
    if machine.storage_driver != "vfs" {
        return Ok(ok(format!("the storage driver is {}", machine.storage_driver)));
    }
    let fix = if machine.rootless {
        "install fuse-overlayfs, then restart the engine"
    } else {
        "the engine's own log says why it could not use overlay2"
    };
    Ok(warning("the storage driver vfs copies every layer as a whole: slow, and large on disk", fix))
}

pub(super) fn engine_space(facts: &DoctorFacts) -> Answer {
    let space = &engine(facts)?.space;
    let limits = (ENGINE_SPACE_WARNING, ENGINE_SPACE_PROBLEM);
    let on_disk = space.as_ref().map(|s| room(*s, "for images and volumes", limits, "docker builder prune"));
    // What the supervisor measured of the volumes, and what is free now.
    let measured = facts.supervisor.as_ref().map(|supervisor| supervisor.disk.clone()).unwrap_or_default();
    let space = space.as_ref().ok();
    let used = DiskUse { free: space.map(|s| s.free), total: space.map(|s| s.total), ..measured };
    let limit = facts.settings.valid().and_then(|settings| settings.resources.disk.bytes());
    match disk::warning(&used, limit) {
        Some(found) if !on_disk.as_ref().is_ok_and(|finding| finding.level == Level::Problem) => {
            Ok(warning(found.to_string(), found.fix(&facts.about.flag)))
        }
        _ => Ok(on_disk?),
    }
}

pub(super) fn memory(facts: &DoctorFacts) -> Answer {
    let machine = machine(facts)?;
    if machine.memory == 0 {
        return Err("the engine does not say how much memory it has".to_owned());
    }
    let has = Bytes(machine.memory);
    if machine.memory < LEAST_MEMORY {
        let message = format!("the engine has {has}; at least {} is needed", Bytes(LEAST_MEMORY));
        return Ok(problem(message, "give the engine's machine more memory"));
    }
    if machine.limits_memory == Some(false) {
        let message = "the engine cannot hold a container to a memory limit";
        return Ok(warning(message, "docker info --format '{{.Warnings}}'"));
    }
    // An engine that says it can, and does not.
    if ours(facts).is_ok_and(|container| !container.detail.live.holds_limits()) {
        let message = "the engine does not hold the container to its limits (memory, processors, processes)";
        return Ok(warning(message, crate::desired::LIMITS_FIX));
    }
    // The default gives way to three quarters of what there is.
    let default = facts.about.default_memory;
    let most = Bytes(machine.memory / 4 * 3);
    let limit = match facts.settings.valid().map(|s| s.resources.memory.0) {
        Some(limit) if limit != default => limit,
        _ => default.min(most),
    };
    if limit > has {
        let message = format!("the limit of {limit} is more than the engine has ({has})");
        let enough = Bytes((most.0 >> 20) << 20).exact();
        return Ok(warning(message, docklet(facts, &format!("setup --memory {enough}"))));
    }
    Ok(ok(format!("the engine has {has}, the limit is {limit}")))
}

pub(super) fn architecture(facts: &DoctorFacts) -> Answer {
    let engine = engine(facts)?;
    let theirs = engine.about.architecture.as_str();
    if !["amd64", "arm64"].contains(&theirs) {
        let message = format!("the engine runs on {theirs}, for which there is no opencode release");
        return Ok(problem(message, "docklet --host URL doctor"));
    }
    let image = engine.container.as_ref().ok().and_then(Option::as_ref).and_then(|c| c.image.as_ref());
    if let Some(image) = image.filter(|image| !image.architecture.is_empty() && image.architecture != theirs) {
        let message = format!("the image is for {}, the engine runs on {theirs}: slow at best", image.architecture);
        return Ok(warning(message, docklet(facts, "setup --build")));
    }
    let ours = &facts.about.architecture;
    let elsewhere = if ours == theirs { String::new() } else { format!(", this machine is {ours}") };
    Ok(ok(format!("the engine runs on {theirs}{elsewhere}")))
}

pub(super) fn clock(facts: &DoctorFacts) -> Answer {
    let ahead = engine(facts)?.clock_ahead.ok_or_else(|| "the engine does not say what time it is".to_owned())?;
    let off = ahead.abs();
    let direction = if ahead > 0 { "ahead" } else { "behind" };
    let message = format!("the engine's clock is {} {direction}", Elapsed(Duration::from_secs(off.unsigned_abs())));
    Ok(match off {
        0..=CLOCK_WARNING => ok("the engine's clock agrees with this machine's"),
        _ if off <= CLOCK_PROBLEM => warning(message, "restart the engine's machine"),
        _ => problem(message, "restart the engine's machine"),
    })
}

pub(super) fn neighbours(facts: &DoctorFacts) -> Answer {
    let EngineFacts { about, machine, .. } = engine(facts)?;
    if let Some(settings) = facts.settings.valid().filter(|s| !s.network.bind.is_loopback()) {
        let bind = settings.network.bind;
        let message = format!("the page is published on {bind}: other machines reach it, with the password");
        return Ok(warning(message, docklet(facts, "setup --bind 127.0.0.1")));
    }
    let plain_docker = about.name == "Docker" && machine.as_ref().is_ok_and(|machine| !machine.rootless);
    if plain_docker && Version::of(&about.version) < Version::of(SAFE_LOOPBACK) {
        let message = format!(
            "Docker {} lets machines of the same network reach ports on 127.0.0.1; only the password stops them",
            about.version
        );
        return Ok(warning(message, "update the engine to Docker 28.0 or newer"));
    }
    // No more is known: an engine whose firewall is off (`iptables: false`) does not say so.
    Ok(ok("the page is published on this machine's loopback address only"))
}

pub(super) fn registry(facts: &DoctorFacts) -> Answer {
    let registry = &facts.about.registry;
    let Err(error) = engine(facts)?.registry.as_ref()? else {
        return Ok(ok(format!("the engine reaches the registry {registry}")));
    };
    let message = |what: &str| format!("the engine does not reach the registry {registry}: {what}");
    Ok(match error {
        // It answered, and that is the question.
        Error::Image { fault: ImageFault::NotFound | ImageFault::Unauthorized, .. } => {
            ok(format!("the engine reaches the registry {registry}"))
        }
        Error::Image { fault: ImageFault::RateLimited, reason, .. } => {
            warning(format!("the registry {registry} limits requests: {reason}"), "docker login")
        }
        Error::Image { reason, .. } if reason.contains("x509") => {
            let fix = "give the engine your company's certificates (/etc/docker/certs.d), then restart it";
            warning(message(reason), fix)
        }
        Error::Image { reason, .. } => warning(message(reason), ENGINE_NETWORK),
        Error::EngineTimeout { .. } => warning(message("no answer in time"), ENGINE_NETWORK),
        other => {
            let causes = other.causes().join(": ");
            return Err(if causes.is_empty() { other.to_string() } else { causes });
        }
    })
}
