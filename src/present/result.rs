//! The texts of what setup, start, stop, restart and uninstall came to. Pure, ASCII only.

use super::style::Style;
use crate::{
    instance_name,
    report::{
        AutostartReport, Kept, MoveReport, SetupReport, StartReport, StopReport, Thing, TunnelReport, UninstallReport,
    },
    units::Bytes,
};

/// The end of `docklet setup`. `password` is `Some` only when it is new: it is shown once.
pub fn setup(report: &SetupReport, password: Option<&str>, style: Style) -> String {
    let flag = instance_name::flag(&report.instance);
    if !report.changed && password.is_none() {
        return format!("nothing to do: {} is set up at {}", report.name, style.strong(&report.url));
    }
    if !report.running {
        return format!("{} is set up and not started\n{} docklet{flag} start", report.name, style.hint("next:"));
    }
    let mut text = format!("{} answers at\n\n    {}\n\n", report.name, style.strong(&report.url));
    text.push_str(&format!("  user       {}\n", report.user));
    match password {
        Some(password) => text.push_str(&format!(
            "  password   {}\n             docklet{flag} password shows it again\n",
            style.strong(password)
        )),
        None => text.push_str(&format!("  password   docklet{flag} password shows it\n")),
    }
    let mut label = "secrets";
    for name in &report.secrets {
        text.push_str(&format!("  {label:<9}  {name}\n"));
        label = "";
    }
    let mut label = "data";
    for volume in &report.volumes {
        text.push_str(&format!("  {label:<9}  volume {} on {}\n", volume.name, volume.mount));
        label = "";
    }
    text.push_str(&format!("  settings   {}\n\n", report.settings_file));
    let next = [
        ("open", "open the page in the browser, signed in"),
        ("status", "show the state"),
        ("stop", "stop it; your data is kept"),
        ("uninstall", "remove it; your data is kept (add --volumes to delete it)"),
    ];
    for (command, what) in next {
        let command = format!("docklet{flag} {command}");
        text.push_str(&format!("  {command:<width$}  {what}\n", width = 17 + flag.len()));
    }
    text.trim_end().to_owned()
}

/// `docklet start`
pub fn start(report: &StartReport, style: Style) -> String {
    let container = &report.container;
    match (container.changed, container.running) {
        (true, true) => format!("{} is running at {}", container.name, style.strong(&report.url)),
        (false, true) => format!("{} is already running at {}", container.name, style.strong(&report.url)),
        (_, false) => format!("{} is {}", container.name, container.state),
    }
}

/// `docklet stop`
pub fn stop(report: &StopReport, style: Style) -> String {
    if !report.container.changed {
        return format!("{} is already stopped", report.container.name);
    }
    format!("{} is stopped{}", report.container.name, ending(report, style))
}

/// `docklet restart`
pub fn restart(report: &StopReport, url: &str, style: Style) -> String {
    format!("{} was restarted{} and is running at {}", report.container.name, ending(report, style), style.strong(url))
}

/// How the process ended.
fn ending(report: &StopReport, style: Style) -> String {
    let code = report.exit_code.map(|code| format!("exit code {code}")).unwrap_or_default();
    if report.oom_killed == Some(true) {
        format!(" ({}: out of memory)", style.warning(&code))
    } else if report.killed == Some(true) {
        format!(" ({}: it did not exit in time and was killed)", style.warning(&code))
    } else if report.graceful_shutdown == Some(true) || code.is_empty() {
        String::new()
    } else {
        format!(" ({})", style.warning(&code))
    }
}

/// `docklet autostart`
pub fn autostart(report: &AutostartReport, style: Style) -> String {
    let flag = instance_name::flag(&report.instance);
    let mut text = if report.enabled {
        let manager = report.manager.map_or("unknown service manager", |kind| kind.name());
        format!("autostart is {} ({manager})", style.ok("on"))
    } else {
        format!("autostart is {}", style.strong("off"))
    };
    if let Some(file) = &report.file {
        text.push_str(&format!("\n  file     {file}"));
    }
    if let Some(reason) = &report.reason {
        text.push_str(&format!("\n  reboot   {}: {reason}", style.warning("does not start after a reboot")));
    } else if report.survives_reboot {
        text.push_str("\n  reboot   starts after a reboot");
    }
    if !report.enabled && report.manager.is_some() {
        text.push_str(&format!("\n{} docklet{flag} autostart enable", style.hint("to change that:")));
    }
    text
}

/// `docklet move`.
pub fn moved(report: &MoveReport, style: Style) -> String {
    let MoveReport { from, to, .. } = report;
    let secrets = match report.secrets.is_empty() {
        true => String::new(),
        false => format!("\n  secrets   {}", report.secrets.join(", ")),
    };
    if report.dry_run {
        return format!("would be stopped at {from}, backed up, and restored at {to}{secrets}");
    }
    let mut text = match report.kept {
        true => format!("a copy is at {to}, stopped; the one at {from} is still used{secrets}"),
        false => format!("moved to {to}{secrets}"),
    };
    if let Some(url) = &report.url {
        text.push_str(&format!("\n  page      {}", style.strong(url)));
    }
    if let Some(backup) = &report.backup {
        text.push_str(&format!("\n  backup    {backup}"));
    }
    if !report.running {
        text.push_str("\n  state     stopped, as before");
    }
    if !report.kept {
        text.push_str(&format!(
            "\n  way back  the one at {from} is kept as it was, stopped\n{} {}",
            style.hint("to go back:"),
            report.back
        ));
    }
    text
}

/// `docklet tunnel`.
pub fn tunnel(report: &TunnelReport, style: Style) -> String {
    let endpoint = &report.endpoint;
    match &report.url {
        Some(url) => format!("the tunnel to {endpoint} is {}: {url}", style.ok("open")),
        None => format!("the tunnel to {endpoint} is {}", style.strong("closed")),
    }
}

/// What `docklet uninstall` will do: shown before the question, and all of `--dry-run`.
pub fn uninstall_plan(report: &UninstallReport, style: Style) -> String {
    uninstall_lists(report, ("will be removed", "will be kept"), false, style).trim_end().to_owned()
}

/// What goes and what stays, below their headings; with `how`, the commands that remove the latter.
fn uninstall_lists(report: &UninstallReport, (removed, stays): (&str, &str), how: bool, style: Style) -> String {
    let mut text = match report.removed.is_empty() {
        true => "nothing to remove\n".to_owned(),
        false => format!("{}\n{}", style.strong(removed), things(&report.removed)),
    };
    if !report.kept.is_empty() {
        text.push_str(&format!("{}\n{}", style.strong(stays), kept(&report.kept, how)));
    }
    text
}

/// The end of `docklet uninstall`, with its proof.
pub fn uninstalled(report: &UninstallReport, style: Style) -> String {
    if report.dry_run {
        return uninstall_plan(report, style);
    }
    let mut text = uninstall_lists(report, ("removed", "kept"), true, style);
    if let Some(file) = &report.backup {
        let flag = instance_name::flag(&report.instance);
        let restore = |file: &str| format!("docklet{flag} restore {}\n", super::data::quoted(file));
        if report.backup_missing_volumes.is_empty() {
            text.push_str(&format!("last backup; to restore it: {}", restore(file)));
        } else {
            let missing = super::data::without_volumes(&report.backup_missing_volumes);
            text.push_str(&format!("last backup, {} {missing}\n", style.warning("incomplete:")));
            text.push_str(&format!("to restore what is in it: {}", restore(file)));
            match &report.whole_backup {
                Some(whole) => text.push_str(&format!("the last one with all volumes: {}", restore(whole))),
                None => text.push_str("no backup with all volumes is known\n"),
            }
        }
    }
    if report.left.is_empty() {
        let rest = if report.kept.is_empty() { "nothing left" } else { "nothing else left" };
        text.push_str(&format!("{} {rest} that docklet made for instance {}", style.ok("checked:"), report.instance));
    } else {
        text.push_str(&format!("{}\n", style.warning("still there")));
        text.push_str(things(&report.left).trim_end());
    }
    text
}

fn things(things: &[Thing]) -> String {
    things.iter().map(|thing| format!("  {:<10}  {}\n", thing.kind, thing.name)).collect()
}

/// What is kept; with `how`, the command that removes it below those that it removes.
fn kept(kept: &[Kept], how: bool) -> String {
    let mut text = String::new();
    for (index, thing) in kept.iter().enumerate() {
        let size = thing.size.map(|size| format!(" ({})", Bytes(size))).unwrap_or_default();
        text.push_str(&format!("  {:<10}  {}{size}\n", thing.kind, thing.name));
        let last_of_its_kind = kept.get(index + 1).is_none_or(|next| next.how_to_remove != thing.how_to_remove);
        if how && last_of_its_kind {
            text.push_str(&format!("  {:<10}  to remove: {}\n", "", thing.how_to_remove));
        }
    }
    text
}
