//! The checks of our container and its volumes.

use super::{Answer, docklet, engine, finding, ok, ours, problem, renamed, warning};
use crate::{
    desired_state::DesiredState,
    doctor::{
        Finding, Level,
        facts::{ContainerFacts, DoctorFacts, Drift},
    },
    error::{Error, ObjectKind},
    observed::Ownership,
    plan::lost::kept_nowhere,
    probe::Seen,
    units::Version,
};

/// Most paths that are named.
const MOST_PATHS: usize = 5;

pub(super) fn volumes(facts: &DoctorFacts) -> Answer {
    let engine = engine(facts)?;
    let volumes = engine.volumes.as_ref()?;
    let names = |wanted: fn(&Option<Ownership>) -> bool| -> Vec<&str> {
        volumes.iter().filter(|(_, owner)| wanted(owner)).map(|(name, _)| name.as_str()).collect()
    };
    let foreign = names(|owner| *owner == Some(Ownership::Foreign));
    if let Some(name) = foreign.first() {
        let error = Error::Foreign { kind: ObjectKind::Volume, name: (*name).to_owned() };
        let message = format!("volume {} was not made by docklet", foreign.join(", "));
        return Ok(problem(message, error.hint().unwrap_or_default()));
    }
    let missing = names(Option::is_none);
    if missing.is_empty() {
        return Ok(ok(format!("all {} volumes exist and were made by docklet", volumes.len())));
    }
    if !matches!(engine.container, Ok(Some(_))) && missing.len() == volumes.len() {
        return Err("there is no container".to_owned());
    }
    let message = format!("volume {} is missing, and so is its data", missing.join(", "));
    Ok(problem(message, format!("to continue with an empty volume: {}", docklet(facts, "start"))))
}

pub(super) fn drift(facts: &DoctorFacts) -> Answer {
    let start = docklet(facts, "start");
    Ok(match engine(facts)?.drift.as_ref()? {
        Drift::None => ok("the container matches the settings"),
        Drift::BrokenOff(left) => warning(format!("a docklet command was interrupted; remaining steps: {left}"), start),
        Drift::Settings(reason) => warning(format!("the container does not match the settings: {reason}"), start),
        Drift::Outside(differences) => {
            let message = format!("the container was changed outside docklet (now → desired): {differences}");
            warning(message, format!("docker rm --force {}\n{start}", facts.about.container))
        }
        Drift::Refused(error) => finding(Level::Problem, error.to_string(), error.hint()),
    })
}

pub(super) fn state(facts: &DoctorFacts) -> Answer {
    let name = &facts.about.container;
    Ok(match engine(facts)?.container.as_ref()? {
        Some(container) if container.ownership == Ownership::Ours => state_of_ours(facts, container),
        Some(_) => {
            let error = Error::Foreign { kind: ObjectKind::Container, name: name.clone() };
            problem(error.to_string(), error.hint().unwrap_or_default())
        }
        None if renamed(facts) => return Err("the container has another name".to_owned()),
        None => match (facts.settings.valid(), facts.desired) {
            (Some(_), DesiredState::Running) => problem(format!("container {name} is gone"), docklet(facts, "start")),
            (Some(_), DesiredState::Stopped) => ok("there is no container, and the desired state is stopped"),
            (None, _) => return Err("there is no container".to_owned()),
        },
    })
}

fn state_of_ours(facts: &DoctorFacts, container: &ContainerFacts) -> Finding {
    let detail = &container.detail;
    let name = &detail.name;
    if detail.paused {
        return problem(format!("{name} is paused"), docklet(facts, "start"));
    }
    match (detail.running, facts.desired) {
        (true, _) => ok(format!("{name} runs")),
        (false, DesiredState::Stopped) => ok(format!("{name} is stopped, as desired")),
        (false, DesiredState::Running) => {
            let cause = match (detail.oom_killed, detail.exit_code, &detail.error) {
                (true, ..) => " (it ran out of memory)".to_owned(),
                (_, _, Some(error)) => format!(" ({error})"),
                (_, Some(code), _) => format!(" (it ended with exit code {code})"),
                _ => String::new(),
            };
            problem(format!("{name} does not run{cause}"), docklet(facts, "start"))
        }
    }
}

pub(super) fn page(facts: &DoctorFacts) -> Answer {
    let container = ours(facts)?;
    if facts.password_missing {
        return Ok(problem("the password of the page is gone", docklet(facts, "password --rotate")));
    }
    let young = container.age.is_some_and(|age| age < facts.about.ready_timeout);
    Ok(match container.page.as_ref()? {
        Seen::Works => ok("the page answers with docklet's password"),
        Seen::Silent { reason } if young => {
            warning(format!("it is still starting: {reason}"), docklet(facts, "status"))
        }
        Seen::Silent { reason } => problem(format!("the page does not answer: {reason}"), docklet(facts, "restart")),
        seen @ (Seen::Unauthorized | Seen::Wrong { .. }) => problem(seen.to_string(), docklet(facts, "restart")),
    })
}

pub(super) fn restart_policy(facts: &DoctorFacts) -> Answer {
    Ok(match ours(facts)?.detail.restart_policy.as_str() {
        "no" => ok("the engine leaves restarts to docklet"),
        other => problem(
            format!("the engine restarts the container too (policy {other}), even after you stop it"),
            format!("docker update --restart no {}", facts.about.container),
        ),
    })
}

pub(super) fn image(facts: &DoctorFacts) -> Answer {
    let ours_is = &facts.about.appliance_version;
    let image = ours(facts)?.image.as_ref();
    let theirs = image.and_then(|image| image.appliance_version.as_ref());
    let theirs = theirs.ok_or_else(|| "the image does not state its version".to_owned())?;
    if Version::of(theirs) < Version::of(ours_is) {
        let message = format!("the image contains version {theirs}; this docklet installs {ours_is}");
        return Ok(warning(message, docklet(facts, "setup --build")));
    }
    Ok(ok(format!("the image contains version {theirs}")))
}

pub(super) fn outside_writes(facts: &DoctorFacts) -> Answer {
    let changed = kept_nowhere(ours(facts)?.changed.as_ref()?, &facts.about.scratch);
    if changed.is_empty() {
        return Ok(ok("opencode writes only to its volumes"));
    }
    let named = changed.iter().take(MOST_PATHS).map(|path| path.as_str()).collect::<Vec<_>>().join(", ");
    let rest = changed.len().saturating_sub(MOST_PATHS);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let copy = format!("exec -- cp -a {} {}/", shell_words::quote(changed[0]), facts.about.keep_in);
    let message = format!("will be lost when the container is replaced (not in a volume): {named}{rest}");
    Ok(warning(message, docklet(facts, &copy)))
}

pub(super) fn container_network(facts: &DoctorFacts) -> Answer {
    let registry = &facts.about.registry;
    Ok(match ours(facts)?.network.as_ref()? {
        Ok(()) => ok(format!("the appliance reaches {registry}")),
        Err(reason) => {
            let certificate = reason.to_lowercase().contains("certificate");
            let fix = if certificate { "setup --ca-file FILE" } else { "exec -- curl -sSI https://REGISTRY/v2/" };
            let fix = docklet(facts, &fix.replace("REGISTRY", registry));
            warning(format!("the appliance does not reach {registry}: {reason}"), fix)
        }
    })
}

pub(super) fn egress(facts: &DoctorFacts) -> Answer {
    let seen = ours(facts)?.egress.as_ref()?;
    let mode = seen.mode;
    Ok(if !mode.has_rules() {
        let message = "the agent may connect to everything, this machine and its network included";
        warning(message, docklet(facts, "config set network.egress internet"))
    } else if !seen.loaded {
        problem(format!("the network rules ({mode}) are not loaded"), docklet(facts, "restart"))
    } else {
        match seen.reaches_host {
            Some(Some(address)) => {
                let message = format!("the agent reaches this machine at {address} in spite of the network rules");
                problem(message, docklet(facts, "restart"))
            }
            Some(None) => ok(format!("the network rules ({mode}) hold: this machine can't be reached")),
            None => ok(format!("the network rules ({mode}) are loaded")),
        }
    })
}
