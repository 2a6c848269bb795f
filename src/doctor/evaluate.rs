//! Facts → findings. Pure. [`CHECKS`] lists all checks in the order in which they are shown; each is one function, which
//! returns the reason where it cannot be made. The checks of settings and files are here; `engine`, `container` and `host`
//! have the others.

mod container;
mod engine;
mod host;

use std::path::Path;

use crate::{
    doctor::{
        Finding, Level,
        facts::{ContainerFacts, DoctorFacts, Drift, EngineFacts, MountFacts, SettingsFact, Unseen},
    },
    error::Error,
    host::checkup::{FileFact, Space, Unwritable},
    observed::Ownership,
    settings::{ImageSource, Settings},
    units::Bytes,
};

/// What a check found, or why it was not made.
type Answer = Result<Finding, Unseen>;

type Check = fn(&DoctorFacts) -> Answer;

const CHECKS: [(&str, Check); 33] = [
    ("settings", settings),
    ("mounts", mounts),
    ("files", files),
    ("host_space", host::host_space),
    ("engine", engine::found),
    ("permission", engine::permission),
    ("api", engine::api),
    ("answer_time", engine::answer_time),
    ("snap", engine::snap),
    ("storage", engine::storage),
    ("engine_space", engine::engine_space),
    ("memory", engine::memory),
    ("architecture", engine::architecture),
    ("clock", engine::clock),
    ("neighbours", engine::neighbours),
    ("container", container::state),
    ("page", container::page),
    ("port", host::port),
    ("localhost", host::localhost),
    ("drift", container::drift),
    ("restart_policy", container::restart_policy),
    ("image", container::image),
    ("volumes", container::volumes),
    ("outside_writes", container::outside_writes),
    ("registry", engine::registry),
    ("host_network", host::host_network),
    ("container_network", container::container_network),
    ("egress", container::egress),
    ("trust", host::trust),
    ("supervisor", host::supervisor),
    ("backups", host::backups),
    ("notices", host::notices),
    ("reboot", host::reboot),
];

/// A finding for each check, in the order of [`CHECKS`].
pub fn evaluate(facts: &DoctorFacts) -> Vec<Finding> {
    let unusable = facts.engine.as_ref().err().map(engine::unusable);
    let find = |(id, check): (&'static str, Check)| match &unusable {
        Some(finding) if finding.id == id => finding.clone(),
        _ => Finding { id, ..check(facts).unwrap_or_else(|reason| finding(Level::Skipped, reason, None)) },
    };
    CHECKS.map(find).into()
}

/// The engine, where one answers.
fn engine(facts: &DoctorFacts) -> Result<&EngineFacts, Unseen> {
    facts.engine.as_ref().map_err(|_| "no engine is available".to_owned())
}

/// Our container, where there is one.
fn ours(facts: &DoctorFacts) -> Result<&ContainerFacts, Unseen> {
    match engine(facts)?.container.as_ref()? {
        None if renamed(facts) => Err("the container has another name".to_owned()),
        None => Err("there is no container".to_owned()),
        Some(container) if container.ownership == Ownership::Ours => Ok(container),
        Some(_) => Err("the container is not ours".to_owned()),
    }
}

/// Whether our container was given another name, which is told as such: what follows from it is no problem of its own.
fn renamed(facts: &DoctorFacts) -> bool {
    matches!(&facts.engine, Ok(engine) if matches!(engine.drift, Ok(Drift::Refused(Error::Renamed { .. }))))
}

/// The settings, where there are valid ones.
fn set_up(facts: &DoctorFacts) -> Result<&Settings, Unseen> {
    match &facts.settings {
        SettingsFact::Valid(settings) => Ok(settings),
        SettingsFact::NotSetUp => Err("nothing is set up".to_owned()),
        SettingsFact::Broken(_) => Err("the settings are not valid".to_owned()),
    }
}

fn settings(facts: &DoctorFacts) -> Answer {
    Ok(match &facts.settings {
        SettingsFact::Valid(_) => ok("the settings are valid"),
        SettingsFact::NotSetUp => warning("nothing is set up yet", docklet(facts, "setup")),
        SettingsFact::Broken(error) => {
            problem(with_causes(error), error.hint().unwrap_or_else(|| docklet(facts, "config edit")))
        }
    })
}

fn mounts(facts: &DoctorFacts) -> Answer {
    if matches!(facts.settings, SettingsFact::Broken(_)) {
        return Err("the settings are not valid".to_owned());
    }
    let MountFacts { number, refused, advice } = &facts.mounts;
    if let Some(error) = refused {
        let hint = error.hint().unwrap_or_default();
        return Ok(problem(with_causes(error), hint.replace("docklet mount", &docklet(facts, "mount"))));
    }
    Ok(match (advice.first(), number) {
        (Some(first), _) => {
            finding(Level::Warning, format!("{}{}", first.what, more(advice.len())), first.command.clone())
        }
        (None, 0) => ok("no folders of this machine are mounted"),
        (None, _) => ok("all mounted folders exist and are unchanged"),
    })
}

fn files(facts: &DoctorFacts) -> Answer {
    if let Some(unwritable) = &facts.unwritable {
        return Ok(cannot_write(facts, unwritable));
    }
    if facts.files.is_empty() {
        return Err("there are no files yet".to_owned());
    }
    let about = &facts.about;
    // Root may do everything, so the owner does not matter.
    let strange: Vec<&FileFact> = facts.files.iter().filter(|file| about.uid != 0 && file.owner != about.uid).collect();
    if let Some(first) = strange.first() {
        let owner = owner(first.owner);
        let message = format!("{} belongs to {owner}{}, not to you", shown(first), more(strange.len()));
        // The command is recursive.
        let inside =
            |file: &FileFact| strange.iter().any(|f| f.folder && f.path != file.path && file.path.starts_with(&f.path));
        let tops = strange.iter().filter(|file| !inside(file)).map(|file| quoted(file)).collect::<Vec<_>>();
        return Ok(problem(message, format!("sudo chown -R {} {}", about.user, tops.join(" "))));
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
    Ok(match too_open.first() {
        None => ok("docklet's files belong to you, and only you can read the secrets"),
        Some((first, _)) => {
            let secret = too_open.iter().any(|(file, _)| file.path.starts_with(&about.secrets));
            let what = if secret { "can be read" } else { "can be changed" };
            let message =
                format!("{} has mode {:04o}{}: it {what} by others", shown(first), first.mode, more(too_open.len()));
            let fixes = too_open.iter().map(|(file, wanted)| format!("chmod {wanted:o} {}", quoted(file)));
            problem(message, fixes.collect::<Vec<_>>().join("\n"))
        }
    })
}

/// One of our folders, or one above it, cannot be written into.
fn cannot_write(facts: &DoctorFacts, unwritable: &Unwritable) -> Finding {
    let Unwritable { wanted, there, owner: uid, reason } = unwritable;
    let (user, quoted) =
        (&facts.about.user, |path: &Path| shell_words::quote(&path.display().to_string()).into_owned());
    let whose = if *uid == facts.about.uid { "you".to_owned() } else { owner(*uid) };
    let message = format!("docklet cannot write into {}: {reason}; it belongs to {whose}", there.display());
    // The folder of all instances.
    let base = wanted.parent().unwrap_or(wanted);
    let fix = match (*uid == facts.about.uid, there.starts_with(base)) {
        (true, _) => format!("ls -ld {0}; df {0}", quoted(there)),
        (false, true) => format!("sudo chown -R {user} {}", quoted(there)),
        // Others may need what is above as it is.
        (false, false) => format!("sudo install -d -o {user} {}", quoted(base)),
    };
    problem(message, fix)
}

fn owner(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("user {uid}") }
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

fn room(space: Space, what: &str, (low, least): (u64, u64), fix: &str) -> Finding {
    let message = format!("{} of {} are free {what}", Bytes(space.free), Bytes(space.total));
    match space.free {
        free if free < least => problem(message, fix),
        free if free < low => warning(message, fix),
        _ => ok(message),
    }
}

/// Whether the engine needs a registry at all.
pub fn needs_registry(source: ImageSource) -> bool {
    source != ImageSource::Load
}

fn docklet(facts: &DoctorFacts, command: &str) -> String {
    format!("docklet{} {command}", facts.about.flag)
}

fn with_causes(error: &Error) -> String {
    error.with_causes(": ")
}

/// A finding without its id, which [`evaluate`] adds.
fn finding(level: Level, message: impl Into<String>, fix: Option<String>) -> Finding {
    Finding { id: "", level, message: message.into(), fix }
}

fn ok(message: impl Into<String>) -> Finding {
    finding(Level::Ok, message, None)
}

fn warning(message: impl Into<String>, fix: impl Into<String>) -> Finding {
    finding(Level::Warning, message, Some(fix.into()))
}

fn problem(message: impl Into<String>, fix: impl Into<String>) -> Finding {
    finding(Level::Problem, message, Some(fix.into()))
}

#[cfg(test)]
mod tests;
