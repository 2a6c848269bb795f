//! The texts of what backup, restore, update and rollback came to. Pure, ASCII only.

use super::{status::instance_flag, style::Style};
use crate::{
    report::data::{
        BackupListReport, BackupReport, PruneReport, RestoreReport, UpdateCheckReport, UpdateReport, VerifyReport,
    },
    units::Bytes,
};

/// `docklet backup`
pub fn backup(report: &BackupReport, style: Style) -> String {
    let flag = instance_flag(&report.instance);
    let mut text = format!("backed up into\n\n    {}\n\n", style.strong(&report.file));
    text.push_str(&format!("  size       {}\n", Bytes(report.size)));
    text.push_str(&format!("  holds      {} in {}", Bytes(report.bytes), files(report.files)));
    if let Some(seconds) = report.paused_seconds {
        text.push_str(&format!("\n  paused     {seconds:.1} s, while the volumes were read"));
    }
    let secrets = if report.secrets {
        "in it, under your passphrase".to_owned()
    } else {
        "not in it; --secrets puts them in, under a passphrase".to_owned()
    };
    text.push_str(&format!("\n  secrets    {secrets}"));
    text.push_str(&format!("\n  restore    docklet{flag} restore {}", quoted(&report.file)));
    text
}

/// `docklet backup list`
pub fn backup_list(report: &BackupListReport, style: Style) -> String {
    let flag = instance_flag(&report.instance);
    if report.backups.is_empty() {
        return format!("no backups in {}\n{} docklet{flag} backup", report.folder, style.hint("make one:"));
    }
    let mut text = String::new();
    for backup in &report.backups {
        let line = match &backup.error {
            Some(error) => format!("{} {error}", style.warning("unreadable:")),
            None => format!(
                "{}  {:<9}  {:>10}  {}",
                backup.created.as_deref().unwrap_or("-"),
                backup.reason.as_deref().unwrap_or("-"),
                Bytes(backup.size).to_string(),
                backup.appliance_version.as_deref().unwrap_or("-"),
            ),
        };
        text.push_str(&format!("{line}\n    {}\n", backup.file));
    }
    text.trim_end().to_owned()
}

/// `docklet backup verify`
pub fn verified(report: &VerifyReport, style: Style) -> String {
    let version = report.appliance_version.as_deref().map(|v| format!(", version {v}")).unwrap_or_default();
    format!(
        "{} is {}: {} in {}{}\n  made at {} of instance {}{version}",
        report.file,
        style.ok("whole"),
        Bytes(report.bytes),
        files(report.files),
        if report.secrets { ", and secrets" } else { "" },
        report.created,
        report.instance,
    )
}

/// `docklet backup prune`
pub fn pruned(report: &PruneReport, _style: Style) -> String {
    let kept = format!("{} kept", count(report.kept.len(), "backup"));
    if report.removed.is_empty() {
        return format!("nothing to remove, {kept}");
    }
    let verb = if report.dry_run { "would be removed" } else { "removed" };
    let list: Vec<String> = report.removed.iter().map(|file| format!("  {file}")).collect();
    format!("{verb}:\n{}\n{kept}", list.join("\n"))
}

/// `docklet restore`
pub fn restored(report: &RestoreReport, style: Style) -> String {
    let flag = instance_flag(&report.instance);
    let now = if report.running {
        format!("it answers at {}", style.strong(&report.url))
    } else {
        format!("it is stopped, as it was: docklet{flag} start")
    };
    let mut text =
        format!("restored {} in {} from {}; {now}", Bytes(report.bytes), files(report.files), report.created);
    if let Some(before) = &report.before {
        text.push_str(&format!("\nwhat was there before: docklet{flag} restore {}", quoted(before)));
    }
    text
}

/// `docklet update --check`
pub fn update_check(report: &UpdateCheckReport, style: Style) -> String {
    let flag = instance_flag(&report.instance);
    let current = report.current.as_deref().unwrap_or("unknown");
    if !report.update_available {
        return format!("{} is the newest", style.strong(current));
    }
    let latest = report.latest.as_deref().unwrap_or("another image");
    format!("{current} is here, {} is there\n{} docklet{flag} update", style.strong(latest), style.hint("next:"))
}

/// `docklet update` and `docklet rollback`
pub fn updated(report: &UpdateReport, command: &str, style: Style) -> String {
    let flag = instance_flag(&report.instance);
    let version = |version: &Option<String>| version.as_deref().unwrap_or("another image").to_owned();
    if !report.changed {
        return format!("nothing to do: {} is there", version(&report.to));
    }
    let data = if report.data { " with the data of then" } else { "" };
    let (to, from) = (style.strong(&version(&report.to)), version(&report.from));
    let mut text = if report.running {
        format!("{to} is running{data} at {} (before: {from})", report.url)
    } else {
        format!("{to} is there{data} (before: {from}), and stopped, as it was: docklet{flag} start")
    };
    if let Some(backup) = &report.backup {
        text.push_str(&format!("\n  backup     {backup}"));
    }
    if command == "update" {
        text.push_str(&format!("\n  way back   docklet{flag} rollback"));
    }
    text
}

/// A path as a shell takes it.
pub fn quoted(path: &str) -> String {
    shell_words::quote(path).into_owned()
}

fn files(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "file")
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
