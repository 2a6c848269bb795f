//! The text of `docklet status` and `docklet list`. Pure: the time is handed in.

use time::OffsetDateTime;

use super::style::{Style, columns};
use crate::{
    clock::{self, Zone},
    desired_state::DesiredState,
    instance_name,
    report::{
        ContainerStatus, DiskStatus, EgressStatus, FolderStatus, LimitsStatus, ListReport, State, StatusReport,
        TunnelStatus, UpdateStatus,
    },
    units::{Bytes, Elapsed},
};

/// How many of the supervisor's last decisions are shown.
const DECISIONS: usize = 3;

/// `docklet` alone: one line that says how it is, and one with the next step where there is one.
pub fn short(report: &StatusReport, style: Style) -> String {
    let name = &instance_name::container(&report.appliance, &report.instance);
    let flag = instance_name::flag(&report.instance);
    let at = report.url.as_deref().map(|url| format!(" at {url}")).unwrap_or_default();
    let (line, next) = match report.state {
        State::Running => (format!("{name} is {}{at}", style.ok("running")), format!("docklet{flag} open")),
        State::Starting => (format!("{name} is {}, soon{at}", style.warning("starting")), String::new()),
        State::Unhealthy if report.container.as_ref().is_some_and(|c| c.paused) => (
            format!("{name} is {}; a backup pauses it while reading the data", style.warning("paused")),
            format!("docklet{flag} start, if it stays paused"),
        ),
        State::Unhealthy => {
            (format!("{name} {}{at}", style.error("runs but does not answer")), format!("docklet{flag} logs"))
        }
        State::Stopped => (format!("{name} is {}", style.strong("stopped")), format!("docklet{flag} start")),
        State::Failed if let Some(taken) = &report.supervisor.port_taken => {
            let port = taken.free_port.map_or("PORT".to_owned(), |port| port.to_string());
            (
                format!("{name} {}: {taken}; docklet retries until it is free", style.error("does not run")),
                format!("docklet{flag} setup --port {port}"),
            )
        }
        State::Failed => {
            let cause = report.supervisor.cause.as_ref().map(|cause| format!(" {cause};")).unwrap_or_default();
            let (why, next) = match report.supervisor.gave_up {
                true => (format!(":{cause} the restarts did not help"), "logs"),
                false => (String::new(), "start"),
            };
            (format!("{name} {}{why}", style.error("has failed")), format!("docklet{flag} {next}"))
        }
        State::NotSetUp => (format!("{name} is {}", style.strong("not set up")), format!("docklet{flag} setup")),
        State::EngineUnreachable => (
            format!("{name}: {}", style.error("the container engine cannot be reached")),
            format!("docklet{flag} doctor"),
        ),
    };
    match &report.command {
        // What it comes to is not known yet, and any other command would have to wait.
        Some(command) if !matches!(report.state, State::Running | State::Starting) => {
            return format!("{line}\n{} {command}", style.hint("at work:"));
        }
        _ => {}
    }
    if next.is_empty() { line } else { format!("{line}\n{} {next}", style.hint("next:")) }
}

fn tunnel_text(tunnel: TunnelStatus, flag: &str, style: Style) -> String {
    match tunnel {
        TunnelStatus { open: true, .. } => "open".to_owned(),
        TunnelStatus { closed_by_user: true, .. } => format!("closed by you; to open it: docklet{flag} tunnel"),
        TunnelStatus { .. } => {
            format!("{}; the supervisor opens it again, or: docklet{flag} tunnel", style.warning("not open"))
        }
    }
}

/// `docklet status`: the short form and what lies behind it.
pub fn long(report: &StatusReport, style: Style, now: OffsetDateTime, zone: &Zone) -> String {
    let mut rows: Vec<(&str, String)> = vec![];
    if report.instance != crate::instance_name::DEFAULT {
        rows.push(("instance", report.instance.clone()));
    }
    let as_wanted = matches!(
        (report.state, report.desired),
        (State::Running | State::Starting, DesiredState::Running)
            | (State::Stopped, DesiredState::Stopped)
            | (State::NotSetUp | State::EngineUnreachable, _)
    );
    if !as_wanted {
        rows.push(("wanted", report.desired.to_string()));
    }
    if let Some(container) = &report.container {
        rows.push(("container", container_text(container, report.state, now)));
    }
    if let Some(image) = &report.image {
        let mut text = image.reference.clone();
        let details: Vec<String> = [
            image.appliance_version.as_ref().map(|v| format!("version {v}")),
            image.size.map(|size| format!("{}{}", Bytes(size), if image.compressed { " compressed" } else { "" })),
            image.id.is_none().then(|| "not on this engine".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !details.is_empty() {
            text.push_str(&format!(" ({})", details.join(", ")));
        }
        rows.push(("image", text));
    }
    // Of what is not set up, only what is left is worth a line.
    let set_up = report.state != State::NotSetUp;
    for volume in report.volumes.iter().filter(|volume| set_up || volume.exists) {
        let missing = if volume.exists { "" } else { " (missing)" };
        rows.push(("volume", format!("{} on {}{missing}", volume.name, volume.mount)));
    }
    rows.extend(report.folders.iter().map(|folder| ("folders", folder_text(folder))));
    if report.ssh_agent {
        rows.push(("ssh agent", "its keys can be used inside".to_owned()));
    }
    if let Some(limits) = &report.limits {
        rows.push(("limits", limits_text(limits)));
    }
    if let Some(egress) = report.egress.as_ref().filter(|_| set_up) {
        rows.push(("network", egress_text(egress)));
    }
    for (label, names) in [("secrets", &report.secrets), ("variables", &report.environment)] {
        if set_up && !names.is_empty() {
            rows.push((label, names.join(", ")));
        }
    }
    if report.state != State::NotSetUp {
        rows.push(("restarts", supervisor_text(report, zone)));
        if report.supervisor.running && !report.supervisor.survives_reboot {
            let flag = instance_name::flag(&report.instance);
            rows.push((
                "reboot",
                format!("does not start after a reboot; to change that: docklet{flag} autostart enable"),
            ));
        }
    }
    if let Some(text) = disk_text(&report.disk, style, now) {
        rows.push(("disk", text));
    }
    if let Some(backup) = &report.backup {
        let last = backup.last.as_ref().map_or("none yet".to_owned(), |at| format!("the last at {}", zone.show(at)));
        let next = backup.next.as_ref().map(|at| match clock::parse(at).is_some_and(|at| at > now) {
            true => format!(", the next at {}", zone.show(at)),
            false => ", the next is due".to_owned(),
        });
        let mut text = format!("every {}, {last}{}", backup.every, next.unwrap_or_default());
        if let Some(error) = &backup.error {
            text.push_str(&format!("; {}: {error}", style.error("the last attempt failed")));
        }
        rows.push(("backups", text));
    }
    if let Some(update) = &report.update {
        rows.push(("update", update_text(update, &report.instance, style, zone)));
    }
    let tries = |last: &Option<String>, attempt: &Option<String>, error: &Option<String>| {
        let mut text = last.as_ref().map_or("none yet".to_owned(), |at| format!("the last at {}", zone.show(at)));
        if let Some(error) = error {
            let at = attempt.as_ref().map(|at| format!(" at {}", zone.show(at))).unwrap_or_default();
            text.push_str(&format!("; {}{at}: {error}", style.error("the last attempt failed")));
        }
        text
    };
    if let Some(copy) = &report.copy {
        rows.push(("copies", tries(&copy.last, &copy.attempt, &copy.error)));
    }
    if let Some(test) = &report.backup_test {
        rows.push(("tests", format!("every {}, {}", test.every, tries(&test.last, &test.attempt, &test.error))));
    }
    rows.extend(events(report, zone).map(|event| ("events", event)));
    let engine = &report.engine;
    if let Some(endpoint) = &engine.endpoint {
        let what = match (&engine.name, &engine.version) {
            (Some(name), Some(version)) => format!("{name} {version} at {endpoint}"),
            _ => endpoint.clone(),
        };
        let origin = engine.origin.as_ref().map(|o| format!(" ({o})")).unwrap_or_default();
        rows.push(("engine", format!("{what}{origin}")));
    }
    if let Some(tunnel) = report.tunnel {
        rows.push(("tunnel", tunnel_text(tunnel, &instance_name::flag(&report.instance), style)));
    }
    if shows_times(report) {
        rows.push(("times", format!("in {}", zone.name(now))));
    }
    let mut text = short(report, style);
    if !rows.is_empty() {
        text.push('\n');
    }
    let mut before = "";
    for (label, value) in rows {
        let shown = if label == before { "" } else { label };
        text.push_str(&format!("\n  {}  {value}", style.dim(&format!("{shown:<9}"))));
        before = label;
    }
    text
}

/// Whether there is a row with a time of day.
fn update_text(update: &UpdateStatus, instance: &str, style: Style, zone: &Zone) -> String {
    let mut text = match (&update.available, &update.last) {
        (Some(what), _) => format!("{what} is available: docklet{} update", instance_name::flag(instance)),
        (None, Some(at)) => format!("none, checked at {}", zone.show(at)),
        (None, None) => format!("checked every {}, not yet", update.every),
    };
    if let Some(error) = &update.error {
        text.push_str(&format!("; {}: {error}", style.error("the last look failed")));
    }
    text
}

fn shows_times(report: &StatusReport) -> bool {
    let supervisor = &report.supervisor;
    let backup = report.backup.as_ref().is_some_and(|backup| backup.last.is_some() || backup.next.is_some());
    let copy = report.copy.as_ref().is_some_and(|copy| copy.attempt.is_some());
    copy || backup || supervisor.last_restart.is_some() || !supervisor.decisions.is_empty()
}

/// A mounted folder in a line.
fn folder_text(folder: &FolderStatus) -> String {
    let read_only = if folder.read_only { " (read-only)" } else { "" };
    format!("{} on {}{read_only}", folder.host, folder.container)
}

/// What the container may use, in a line.
fn limits_text(limits: &LimitsStatus) -> String {
    let cpus = match limits.cpus {
        0.0 => "all processors".to_owned(),
        1.0 => "1 processor".to_owned(),
        cpus => format!("{cpus} processors"),
    };
    // Where the engine cannot limit, it says 0.
    let memory =
        if limits.memory > 0 { format!("{} memory", Bytes(limits.memory)) } else { "no memory limit".to_owned() };
    let pids =
        if limits.pids > 0 { format!("{} processes", limits.pids) } else { "any number of processes".to_owned() };
    format!("{memory}, {cpus}, {pids}")
}

/// The supervisor's last decisions.
pub(super) fn events(report: &StatusReport, zone: &Zone) -> impl Iterator<Item = String> {
    let decisions = &report.supervisor.decisions;
    decisions.iter().skip(decisions.len().saturating_sub(DECISIONS)).map(|d| format!("{} {}", zone.show(&d.at), d.text))
}

/// How many destinations of refused connections are shown.
const DESTINATIONS: usize = 3;

/// Where the agent may connect to, and what was refused.
fn egress_text(egress: &EgressStatus) -> String {
    let mut text = match egress.mode.as_str() {
        "internet" => "the Internet, but not this machine or its local network".to_owned(),
        "listed" => "only what network.allow lists".to_owned(),
        _ => return "everything, this machine and its network included (network.egress all)".to_owned(),
    };
    if !egress.allow.is_empty() {
        text.push_str(&format!("; allowed: {}", egress.allow.join(", ")));
    }
    if let Some(refused) = egress.refused {
        let shown: Vec<String> = egress.destinations.iter().take(DESTINATIONS).map(ToString::to_string).collect();
        let more = egress.destinations.len().saturating_sub(DESTINATIONS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let to = if shown.is_empty() { String::new() } else { format!(" to {}{more}", shown.join(", ")) };
        text.push_str(&format!("; refused: {refused}{to}"));
    }
    if !egress.unresolved.is_empty() {
        text.push_str(&format!("; no address for {}", egress.unresolved.join(", ")));
    }
    text
}

/// The container in a line.
pub(super) fn container_text(container: &ContainerStatus, seen: State, now: OffsetDateTime) -> String {
    let since = |at: &Option<String>| {
        let at = at.as_deref().and_then(clock::parse)?;
        Some(Elapsed(std::time::Duration::try_from(now - at).unwrap_or_default()).to_string())
    };
    let state = container.state.as_str();
    let mut details = vec![];
    if container.running {
        let up = since(&container.started_at);
        details.push(match up {
            Some(time) if container.paused => format!("paused, started {time} ago"),
            Some(time) => format!("{state} for {time}"),
            None => state.to_owned(),
        });
        // The engine looks every 30 s, and some call it unhealthy after a pause until they look again: a page that
        // answers says more.
        let outdated = |health: &str| health == "starting" || health == "unhealthy" && seen == State::Running;
        details.extend(container.health.clone().filter(|health| !outdated(health)));
    } else {
        details.push(since(&container.finished_at).map_or(state.to_owned(), |time| format!("{state} {time} ago")));
        details.extend(container.exit_code.map(|code| format!("exit code {code}")));
        if container.oom_killed {
            details.push("out of memory".to_owned());
        }
    }
    format!("{} ({})", container.name, details.join(", "))
}

/// The disk in a line; `None` when nothing is known of it.
fn disk_text(disk: &DiskStatus, style: Style, now: OffsetDateTime) -> Option<String> {
    let used = &disk.used;
    let room = used.free.zip(used.total).map(|(free, total)| {
        let age = used.at.as_deref().and_then(clock::parse).and_then(|at| std::time::Duration::try_from(now - at).ok());
        let ago = age.map(|age| format!(", {} ago", Elapsed(age))).unwrap_or_default();
        format!("{} of {} free{ago}", Bytes(free), Bytes(total))
    });
    let volumes = used.volumes.map(|size| format!("{} in the volumes", Bytes(size)));
    let warning = disk.warning.as_ref().map(|warning| {
        let fix = disk.fix.as_ref().map(|fix| format!("; look: {fix}")).unwrap_or_default();
        format!("{}{fix}", style.warning(warning))
    });
    let parts: Vec<String> = [room, volumes, warning].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The supervisor in a line.
pub(super) fn supervisor_text(report: &StatusReport, zone: &Zone) -> String {
    let supervisor = &report.supervisor;
    let count = match supervisor.restarts {
        0 if supervisor.last_restart.is_some() => "none since the last start".to_owned(),
        0 => "none".to_owned(),
        n => n.to_string(),
    };
    let last = supervisor.last_restart.as_ref().map(|l| format!(", the last: {} ({})", l.reason, zone.show(&l.at)));
    let state = match (supervisor.gave_up, supervisor.running, supervisor.pid) {
        (true, ..) => "; gave up".to_owned(),
        (_, true, Some(pid)) => format!("; supervisor runs (pid {pid})"),
        (_, true, None) => "; supervisor runs".to_owned(),
        (_, false, _) => "; no supervisor runs".to_owned(),
    };
    format!("{count}{}{state}", last.unwrap_or_default())
}

/// `docklet list`: an aligned table.
pub fn list(report: &ListReport, style: Style) -> String {
    if report.instances.is_empty() {
        return format!("no instances on this engine\n{} docklet setup", style.hint("next:"));
    }
    let mut rows = vec![["INSTANCE", "CONTAINER", "STATE", "PORT", "STATUS"].map(str::to_owned)];
    rows.extend(report.instances.iter().map(|entry| {
        let port = entry.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
        [entry.instance.clone(), entry.name.clone(), entry.state.clone(), port, entry.status.clone()]
    }));
    table(&rows, style)
}

/// Rows in aligned columns; the first row is the head.
fn table<const N: usize>(rows: &[[String; N]], style: Style) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns(cell).max(*width);
        }
    }
    let lines = rows.iter().enumerate().map(|(index, row)| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - columns(cell))));
        let line = cells.collect::<Vec<_>>().join("  ").trim_end().to_owned();
        if index == 0 { style.dim(&line) } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}
