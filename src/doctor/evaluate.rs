//! Facts → findings. Pure: one function for each check, all of them always. What a check says is one
//! line; what mends it is a command, and where it can be without one, none. Here the settings' checks; `engine`,
//! `container` and `host` have the others.

mod container;
mod engine;
mod host;

use crate::{
    doctor::{
        Check, Finding, Level,
        facts::{ContainerFacts, EngineFacts, Facts, MountFacts, SettingsFact},
    },
    host::checkup::{FileFact, Space},
    observed::Ownership,
    settings::ImageSource,
    units::Bytes,
};

/// The engine goes its own ways: this machine's variables are not the engine's.
const ENGINE_NETWORK: &str = "check the engine's own name server and proxy: docker info --format '{{.HTTPSProxy}}'";

/// All findings, in the order of [`Check`].
pub fn evaluate(facts: &Facts) -> Vec<Finding> {
    let engine = engine_checks(facts);
    let mut all = vec![settings(facts), mounts(facts), files(facts), host::host_space(facts)];
    all.extend(engine);
    all.extend([
        host::port(facts),
        host::localhost(facts),
        host::host_network(facts),
        host::trust(facts),
        host::supervisor(facts),
        host::reboot(facts),
    ]);
    all.sort_by_key(|finding| finding.id);
    all
}

/// Those that need the engine.
fn engine_checks(facts: &Facts) -> Vec<Finding> {
    let engine = match &facts.engine {
        Ok(engine) => engine,
        Err(error) => return engine::without_engine(error),
    };
    let mut all = vec![
        engine::found(engine),
        ok(Check::Permission, "you have permission to use the engine"),
        ok(Check::Api, format!("the engine speaks API {}", engine.about.api_version)),
        engine::answer_time(engine),
        engine::snap(engine),
        engine::storage(engine),
        engine::engine_space(facts, engine),
        engine::memory(facts, engine),
        engine::architecture(facts, engine),
        engine::clock(engine),
        engine::neighbours(facts, engine),
        engine::registry(facts, engine),
        container::volumes(facts, engine),
        container::drift(facts, engine),
    ];
    all.extend(container_checks(facts, engine));
    all
}

/// Every check that needs a container.
const OF_CONTAINER: [Check; 6] =
    [Check::Page, Check::RestartPolicy, Check::Image, Check::OutsideWrites, Check::ContainerNetwork, Check::Egress];

fn container_checks(facts: &Facts, engine: &EngineFacts) -> Vec<Finding> {
    let container = match &engine.container {
        Ok(Some(container)) if container.ownership == Ownership::Ours => container,
        other => {
            let reason = match other {
                Ok(None) => "there is no container",
                Ok(Some(_)) => "the container is not ours",
                Err(reason) => reason,
            };
            let mut all = vec![container::existence(facts, other)];
            all.extend(OF_CONTAINER.map(|check| skipped(check, reason)));
            return all;
        }
    };
    vec![
        container::state(facts, container),
        container::page(facts, container),
        container::restart_policy(facts, container),
        container::image(facts, container),
        container::outside_writes(facts, container),
        container::container_network(facts, container),
        container::egress(facts, container),
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

fn mounts(facts: &Facts) -> Finding {
    let MountFacts { number, refused, advice } = &facts.mounts;
    if let Some(error) = refused {
        let message = std::iter::once(error.to_string()).chain(error.causes()).collect::<Vec<_>>().join(": ");
        let hint = error.hint().unwrap_or_default();
        return problem(Check::Mounts, message, hint.replace("docklet mount", &docklet(facts, "mount")));
    }
    match (advice.first(), number) {
        (Some(first), _) => {
            let message = format!("{}{}", first.what, more(advice.len()));
            Finding { fix: first.command.clone(), ..warning(Check::Mounts, message, String::new()) }
        }
        (None, 0) => ok(Check::Mounts, "no folders of this machine are mounted"),
        (None, _) => ok(Check::Mounts, "all mounted folders exist and are unchanged"),
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
        None => ok(Check::Files, "docklet's files belong to you, and only you can read the secrets"),
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

fn room(check: Check, space: Space, what: &str, (low, least): (u64, u64), fix: &str) -> Finding {
    let message = format!("{} of {} are free {what}", Bytes(space.free), Bytes(space.total));
    match space.free {
        free if free < least => problem(check, message, fix),
        free if free < low => warning(check, message, fix),
        _ => ok(check, message),
    }
}

/// Our container, where there is one.
fn ours(facts: &Facts) -> Option<&ContainerFacts> {
    let container = facts.engine.as_ref().ok()?.container.as_ref().ok()?.as_ref()?;
    (container.ownership == Ownership::Ours).then_some(container)
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
