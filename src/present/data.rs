//! The texts of what backup, restore, update and rollback came to. Pure, ASCII only.

use super::{clean, style::Style};
use crate::{
    clock::Zone,
    data::{
        archive::{LeftOut, Manifest},
        caches::CacheFolder,
    },
    instance_name,
    report::data::{
        BackupListReport, BackupReport, BackupTestReport, ChangePreview, DamageReport, KeptBackup, PruneReport,
        RestoreReport, UpdateCheckReport, UpdateReport, VerifyReport,
    },
    units::Bytes,
};

/// `docklet backup`
pub fn backup(report: &BackupReport, style: Style) -> String {
    let flag = instance_name::flag(&report.instance);
    let to_file = report.file != "-";
    let place =
        if to_file { format!("into\n\n    {}", style.strong(&report.file)) } else { "to standard output".to_owned() };
    let mut text = format!("backed up {place}\n\n");
    text.push_str(&format!("  size       {}\n", Bytes(report.size)));
    text.push_str(&format!("  holds      {} in {}", Bytes(report.bytes), count(report.files, "file")));
    if report.left_out_count > 0 {
        text.push_str(&format!(", without {}", count(report.left_out_count, "path")));
    }
    if let Some(without) = without_excluded(&report.exclude) {
        text.push_str(&format!("\n             {without}"));
    }
    if !report.mounts_not_included.is_empty() {
        let mounted = report.mounts_not_included.join(", ");
        text.push_str(&format!("\n             without mounted folders: {mounted}"));
    }
    text.push_str("\n  checked    every file was read back");
    if let Some(seconds) = report.paused_seconds {
        let what = match report.read_again {
            Some(again) => format!("{} that had changed meanwhile", count(again, "file")),
            None => "the volumes".to_owned(),
        };
        text.push_str(&format!("\n  paused     {seconds:.1} s, to read {what}"));
    }
    let secrets = match (report.secrets, report.secrets_for.len() as u64) {
        (true, 0) => "included, encrypted with your passphrase".to_owned(),
        (true, keys) => format!("included, encrypted for {}", count(keys, "key")),
        (false, _) => "not included; add --secrets to include them, encrypted".to_owned(),
    };
    text.push_str(&format!("\n  secrets    {secrets}"));
    if report.copied {
        text.push_str("\n  copy       made by backup.copy");
    }
    let identity = if report.encrypted_for.is_empty() { "" } else { " --identity KEYFILE" };
    if !report.encrypted_for.is_empty() {
        text.push_str(&format!("\n  encrypted  for {}", count(report.encrypted_for.len() as u64, "key")));
    }
    let restored = if to_file { quoted(&report.file) } else { "- --yes < FILE".to_owned() };
    text.push_str(&format!("\n  restore    docklet{flag} restore {restored}{identity}"));
    text
}

/// What the user may want to leave out of the next backups.
pub fn caches(report: &BackupReport) -> Option<String> {
    let shown = |cache: &CacheFolder| format!("{} ({})", cache.path, Bytes(cache.bytes));
    let largest: Vec<String> = report.caches.iter().map(shown).collect();
    let first = report.caches.first()?.path.rsplit('/').next()?;
    let flag = instance_name::flag(&report.instance);
    Some(format!(
        "the largest folders in the backup that look like caches: {}; to leave such folders out: \
         docklet{flag} config set backup.exclude '**/{first}'",
        largest.join(", ")
    ))
}

/// `docklet backup list`
pub fn backup_list(report: &BackupListReport, style: Style, zone: &Zone) -> String {
    let flag = instance_name::flag(&report.instance);
    if report.backups.is_empty() {
        return format!("no backups in {}\n{} docklet{flag} backup", report.folder, style.hint("create one:"));
    }
    let mut text = String::new();
    for backup in &report.backups {
        let line = match &backup.error {
            Some(error) => format!("{} {error}", style.warning("unreadable:")),
            None => format!(
                "{}  {:<9}  {:>10}  {}",
                backup.created.as_deref().map_or_else(|| format!("{:<19}", "-"), |at| zone.show(at)),
                backup.reason.as_deref().unwrap_or("-"),
                Bytes(backup.size).to_string(),
                backup.appliance_version.as_deref().unwrap_or(if backup.encrypted { "encrypted" } else { "-" }),
            ),
        };
        text.push_str(&format!("{line}\n    {}\n", backup.file));
        if !backup.missing_volumes.is_empty() {
            let missing = without_volumes(&backup.missing_volumes);
            text.push_str(&format!("    {} {missing}\n", style.warning("incomplete:")));
        }
        if let Some(without) = without_excluded(&backup.exclude) {
            text.push_str(&format!("    {without}\n"));
        }
    }
    let newest = report.backups.iter().find_map(|backup| crate::clock::parse(backup.created.as_deref()?));
    text.push_str(&newest.map(|at| format!("times in {}\n", zone.name(at))).unwrap_or_default());
    let number = |rule: Option<&str>| report.backups.iter().filter(|backup| backup.kept_by == rule).count() as u64;
    let (keep, changes) = (number(Some("backup.keep")), number(Some("backup.keep_changes")));
    if keep > 0 {
        text.push_str(&format!("{keep} scheduled: backup.keep = {}\n", report.keep));
    }
    if changes > 0 {
        let rule = report.keep_changes;
        text.push_str(&format!("{changes} from before update, rollback or restore: backup.keep_changes = {rule}\n"));
    }
    if !report.mounts_not_included.is_empty() {
        let mounted = report.mounts_not_included.join(", ");
        text.push_str(&format!("backups do not contain mounted folders: {mounted}\n"));
    }
    text.trim_end().to_owned()
}

/// `docklet backup verify`
pub fn verified(report: &VerifyReport, style: Style, zone: &Zone) -> String {
    let version = report.appliance_version.as_deref().map(|v| format!(", version {v}")).unwrap_or_default();
    let mut text = format!(
        "{} is {}: {} in {}{}\n  created at {} from instance {}{version}",
        report.file,
        style.ok("whole"),
        Bytes(report.bytes),
        count(report.files, "file"),
        if report.secrets { ", and secrets" } else { "" },
        zone.with_name(&report.created),
        report.instance,
    );
    lacks(&mut text, &report.missing_volumes, report.left_out_count, &report.exclude);
    text
}

/// `docklet backup test`
pub fn tested(report: &BackupTestReport, style: Style, zone: &Zone) -> String {
    let mut text = format!(
        "{} {}: it was restored into a throwaway instance without network, and the page answered\n",
        report.file,
        style.ok("works")
    );
    let (bytes, files) = (Bytes(report.bytes), count(report.files, "file"));
    let created = zone.with_name(&report.created);
    text.push_str(&format!("  backup     of {created}, from instance {}\n", report.from_instance));
    text.push_str(&format!("  compared   {bytes} in {files}, all as in the backup\n"));
    for records in &report.records {
        let what = records.path.trim_start_matches('/');
        let there = match records.expected {
            0 => "the backup names none".to_owned(),
            1 => "the one in the backup is there".to_owned(),
            all => format!("all {all} in the backup are there"),
        };
        text.push_str(&format!("  {what:<9}  {} listed; {there}\n", count(records.listed.len() as u64, what)));
    }
    let secrets = match (report.secrets_in_it, report.secrets) {
        (true, true) => "opened",
        (true, false) => "not opened: add --passphrase-file or --identity to test that, too",
        (false, _) => "not in it",
    };
    text.push_str(&format!("  secrets    {secrets}\n  took       {:.1} s\n", report.seconds));
    text.push_str("  left       nothing: the throwaway instance was removed");
    lacks(&mut text, &report.missing_volumes, report.left_out_count, &report.exclude);
    text
}

/// What a backup lacks, in lines of their own.
fn lacks(text: &mut String, missing_volumes: &[String], left_out: u64, exclude: &[String]) {
    if !missing_volumes.is_empty() {
        text.push_str(&format!("\n  {}", without_volumes(missing_volumes)));
    }
    if left_out > 0 {
        text.push_str(&format!("\n  without {}, which could not be backed up", count(left_out, "path")));
    }
    if let Some(without) = without_excluded(exclude) {
        text.push_str(&format!("\n  {without}"));
    }
}

/// What was left out of a backup because somebody said so.
pub fn without_excluded(patterns: &[String]) -> Option<String> {
    (!patterns.is_empty()).then(|| format!("without what matched {} (backup.exclude)", patterns.join(", ")))
}

pub(super) fn without_volumes(missing: &[String]) -> String {
    format!("the backup has no {} volume", missing.join(" and no "))
}

/// What a backup that was just made could not take: how much, and some of it.
pub fn left_out(made: &Manifest) -> Option<String> {
    left_out_list(&made.left_out, made.left_out_count, "in the backup")
}

/// How much is not at a place, and some of it.
pub(super) fn left_out_list(named: &[LeftOut], all: u64, place: &str) -> Option<String> {
    const NAMED: usize = 3;
    const LONGEST: usize = 120;
    let shown = |one: &LeftOut| {
        let path = clean::line(&one.path, false);
        let short: String = path.chars().take(LONGEST).collect();
        format!("{short}{} ({})", if short == path { "" } else { "..." }, one.reason)
    };
    let named: Vec<String> = named.iter().take(NAMED).map(shown).collect();
    let more = all.saturating_sub(named.len() as u64);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let are = if all == 1 { "is" } else { "are" };
    (all > 0).then(|| format!("{} {are} not {place}: {}{more}", count(all, "path"), named.join(", ")))
}

/// `docklet backup prune`
pub fn pruned(report: &PruneReport, _style: Style) -> String {
    let list = |all: &[KeptBackup]| {
        let lines = all.iter().map(|one| format!("  {}\n      {}", one.file, one.reason));
        lines.collect::<Vec<_>>().join("\n")
    };
    let mut kept = format!("{} kept", count(report.kept.len() as u64, "backup"));
    if report.dry_run && !report.kept.is_empty() {
        kept = format!("would be kept:\n{}", list(&report.kept));
    }
    if !report.not_looked_at.is_empty() {
        kept.push_str(&format!("\nnot looked at, and kept:\n{}", list(&report.not_looked_at)));
    }
    if report.removed.is_empty() {
        return if report.dry_run {
            format!("nothing to remove\n{kept}")
        } else {
            format!("nothing to remove, {kept}")
        };
    }
    let verb = if report.dry_run { "would be removed" } else { "removed" };
    let list: Vec<String> = report.removed.iter().map(|file| format!("  {file}")).collect();
    format!("{verb}:\n{}\n{kept}", list.join("\n"))
}

/// `docklet restore`
pub fn restored(report: &RestoreReport, style: Style, zone: &Zone) -> String {
    let flag = instance_name::flag(&report.instance);
    let now = if report.running {
        format!("it answers at {}", style.strong(&report.url))
    } else {
        format!("it is stopped, as before; to start it: docklet{flag} start")
    };
    let only = if report.only.is_empty() { String::new() } else { format!(" into only {}", report.only.join(", ")) };
    let mut text = format!(
        "restored {} in {} from {}{only}; {now}",
        Bytes(report.bytes),
        count(report.files, "file"),
        zone.with_name(&report.created)
    );
    if let Some(before) = &report.before {
        text.push_str(&format!("\nto get the previous data back: docklet{flag} restore {}", quoted(before)));
    }
    lacks(&mut text, &report.missing_volumes, report.left_out_count, &report.exclude);
    if let Some(damage) = &report.damage {
        let what = if damage.reason.is_empty() { "not all is as it was" } else { "the backup is damaged" };
        text.push_str(&format!("\n{}", style.warning(&format!("{what}:"))));
        damaged(damage).iter().for_each(|line| text.push_str(&format!("\n  {line}")));
    }
    text
}

/// What is missing or altered in a damaged backup, in lines.
pub fn damaged(report: &DamageReport) -> Vec<String> {
    let mut lines = vec![];
    if !report.reason.is_empty() {
        lines.push(clean::line(&report.reason, false));
    }
    if let Some(last) = &report.read_up_to {
        let last = if last.is_empty() { "its beginning" } else { last };
        lines.push(format!("it could be read up to {}; what was behind that is lost", clean::line(last, false)));
    }
    lines.extend(left_out_list(
        &report.missing,
        report.missing_count.unwrap_or(report.missing.len() as u64),
        "restored",
    ));
    if report.altered_count > 0 {
        let named: Vec<String> = report.altered.iter().take(3).map(|path| clean::line(path, false)).collect();
        let more = report.altered_count.saturating_sub(named.len() as u64);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        lines.push(format!("{} altered: {}{more}", count(report.altered_count, "file"), named.join(", ")));
    }
    if !report.missing_records.is_empty() {
        let number = count(report.missing_records.len() as u64, "record");
        lines.push(format!("{number} missing: {}", report.missing_records.join(", ")));
    }
    lines
}

/// `docklet update --check`
pub fn update_check(report: &UpdateCheckReport, style: Style) -> String {
    let flag = instance_name::flag(&report.instance);
    let current = report.current.as_deref().unwrap_or("unknown");
    if !report.update_available {
        return format!("{} is the newest release", style.strong(current));
    }
    let latest = report.latest.as_deref().unwrap_or("another image");
    format!("update available: {current} → {}\n{} docklet{flag} update", style.strong(latest), style.hint("next:"))
}

/// `docklet update` and `docklet rollback`
pub fn updated(report: &UpdateReport, command: &str, style: Style) -> String {
    let flag = instance_name::flag(&report.instance);
    let version = |version: &Option<String>| version.as_deref().unwrap_or("another image").to_owned();
    if !report.changed {
        return format!("nothing to do: {} is installed", version(&report.to));
    }
    let data = if report.data { " with its data from that time" } else { "" };
    let (to, from) = (style.strong(&version(&report.to)), version(&report.from));
    let mut text = if report.running {
        format!("{to} is running{data} at {} (before: {from})", report.url)
    } else {
        format!("{to} is installed{data} (before: {from}) and stopped, as before; to start it: docklet{flag} start")
    };
    if let Some(backup) = &report.backup {
        text.push_str(&format!("\n  backup     {backup}"));
    }
    if command == "update" {
        text.push_str(&format!("\n  way back   docklet{flag} rollback"));
    }
    text
}

/// `--dry-run` of update, rollback and restore.
pub fn preview(report: &ChangePreview, style: Style) -> String {
    if report.steps.is_empty() {
        return "nothing to do".to_owned();
    }
    let steps = report.steps.iter().enumerate().map(|(index, step)| format!("{:>3}. {step}", index + 1));
    let mut lines: Vec<String> = steps.collect();
    lines.extend(report.lost.as_ref().map(|lost| format!("     will be lost with the old container: {lost}")));
    let text = lines.join("\n");
    if style.unicode { text } else { text.replace('→', "->") }
}

/// A path as a shell takes it.
pub fn quoted(path: &str) -> String {
    shell_words::quote(path).into_owned()
}

/// The command that decrypts a backup.
pub fn decrypt_command(file: &str) -> String {
    format!("age --decrypt -i KEYFILE -o FILE {}", quoted(file))
}

/// `1 file`, `2 files`.
pub(super) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
