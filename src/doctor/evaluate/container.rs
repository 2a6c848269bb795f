//! What the facts of our container and its volumes mean.

use super::{docklet, ok, problem, skipped, warning};
use crate::{
    doctor::{
        Check, Finding, Level,
        facts::{ContainerFacts, Drift, EngineFacts, Facts, Inside},
    },
    error::Error,
    observed::Ownership,
    probe::Seen,
    report::Wanted,
};

/// Most paths that are named.
const MOST_PATHS: usize = 5;

pub(super) fn volumes(facts: &Facts, engine: &EngineFacts) -> Finding {
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
        return ok(Check::Volumes, format!("all {} volumes exist and were made by docklet", volumes.len()));
    }
    if !matches!(engine.container, Ok(Some(_))) && missing.len() == volumes.len() {
        return skipped(Check::Volumes, "there is no container");
    }
    problem(
        Check::Volumes,
        format!("volume {} is missing, and so is its data", missing.join(", ")),
        format!("to continue with an empty volume: {}", docklet(facts, "start")),
    )
}

pub(super) fn drift(facts: &Facts, engine: &EngineFacts) -> Finding {
    let list = |reasons: &[String]| reasons.join("; ");
    match &engine.drift {
        Drift::None => ok(Check::Drift, "the container matches the settings"),
        Drift::Unseen(reason) => skipped(Check::Drift, reason),
        Drift::BrokenOff(left) => {
            let message = format!("a docklet command was interrupted; remaining steps: {}", list(left));
            warning(Check::Drift, message, docklet(facts, "start"))
        }
        Drift::Settings(reasons) => {
            let message = format!("the container does not match the settings: {}", list(reasons));
            warning(Check::Drift, message, docklet(facts, "start"))
        }
        Drift::Outside(differences) => {
            let message = format!("the container was changed outside docklet (now → desired): {}", list(differences));
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
pub(super) fn existence(facts: &Facts, container: &Result<Option<ContainerFacts>, String>) -> Finding {
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
            (Some(_), Wanted::Stopped) => {
                ok(Check::Container, "there is no container, and desired state is now stopped")
            }
            (None, _) => skipped(Check::Container, "there is no container"),
        },
    }
}

pub(super) fn state(facts: &Facts, container: &ContainerFacts) -> Finding {
    let detail = &container.detail;
    let name = &detail.name;
    if detail.paused {
        return problem(Check::Container, format!("{name} is paused"), docklet(facts, "start"));
    }
    match (detail.running, facts.wanted) {
        (true, _) => ok(Check::Container, format!("{name} runs")),
        (false, Wanted::Stopped) => ok(Check::Container, format!("{name} is stopped, as desired")),
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

pub(super) fn page(facts: &Facts, container: &ContainerFacts) -> Finding {
    if facts.password_missing {
        return problem(Check::Page, "the password of the page is gone", docklet(facts, "password --rotate"));
    }
    let seen = match &container.page {
        Ok(seen) => seen,
        Err(reason) => return skipped(Check::Page, reason),
    };
    let young = container.age.is_some_and(|age| age < facts.about.ready_timeout);
    match seen {
        Seen::Works => ok(Check::Page, "the page answers with docklet's password"),
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

pub(super) fn restart_policy(facts: &Facts, container: &ContainerFacts) -> Finding {
    match container.detail.restart_policy.as_str() {
        "no" => ok(Check::RestartPolicy, "the engine leaves restarts to docklet"),
        other => problem(
            Check::RestartPolicy,
            format!("the engine restarts the container too (policy {other}), even after you stop it"),
            format!("docker update --restart no {}", facts.about.container),
        ),
    }
}

pub(super) fn image(facts: &Facts, container: &ContainerFacts) -> Finding {
    let ours = &facts.about.appliance_version;
    let Some(theirs) = container.image.as_ref().and_then(|image| image.appliance_version.as_ref()) else {
        return skipped(Check::Image, "the image does not state its version");
    };
    if version(theirs) < version(ours) {
        let message = format!("the image contains version {theirs}; this docklet installs {ours}");
        return warning(Check::Image, message, docklet(facts, "setup --build"));
    }
    ok(Check::Image, format!("the image contains version {theirs}"))
}

pub(super) fn version(text: &str) -> Vec<u64> {
    text.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

pub(super) fn outside_writes(facts: &Facts, container: &ContainerFacts) -> Finding {
    let changed = match &container.changed {
        Ok(changed) => kept_nowhere(changed, &facts.about.scratch),
        Err(reason) => return skipped(Check::OutsideWrites, reason),
    };
    if changed.is_empty() {
        return ok(Check::OutsideWrites, "opencode writes only to its volumes");
    }
    let named = changed.iter().take(MOST_PATHS).map(|path| path.as_str()).collect::<Vec<_>>().join(", ");
    let rest = changed.len().saturating_sub(MOST_PATHS);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let copy = format!("exec -- cp -a {} {}/", shell_words::quote(changed[0]), facts.about.keep_in);
    let message = format!("will be lost when the container is replaced (not in a volume): {named}{rest}");
    warning(Check::OutsideWrites, message, docklet(facts, &copy))
}

/// Of the changed paths those that somebody may miss: no folders above others, nothing scratch.
pub(super) fn kept_nowhere<'a>(changed: &'a [String], scratch: &[String]) -> Vec<&'a String> {
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

pub(super) fn container_network(facts: &Facts, container: &ContainerFacts) -> Finding {
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

pub(super) fn egress(facts: &Facts, container: &ContainerFacts) -> Finding {
    let seen = match &container.egress {
        Ok(seen) => seen,
        Err(reason) => return skipped(Check::Egress, reason),
    };
    if !seen.mode.has_rules() {
        let message = "the agent may connect to everything, this machine and its network included";
        return warning(Check::Egress, message, docklet(facts, "config set network.egress internet"));
    }
    if !seen.loaded {
        let message = format!("the network rules ({}) are not loaded", seen.mode);
        return problem(Check::Egress, message, docklet(facts, "restart"));
    }
    match seen.reaches_host {
        Some(true) => problem(
            Check::Egress,
            "the agent reaches a service of this machine in spite of the network rules",
            docklet(facts, "restart"),
        ),
        Some(false) => ok(
            Check::Egress,
            format!("the network rules ({}) hold: this machine can't be reached by its private addresses", seen.mode),
        ),
        None => ok(Check::Egress, format!("the network rules ({}) are loaded", seen.mode)),
    }
}
