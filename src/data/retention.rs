//! Which stored backups stay, and why. Those from before an update, a rollback or a restore have a rule of their own:
//! they are the way back from that change. Pure.

use std::path::PathBuf;

use time::OffsetDateTime;

use super::store::{Reason, StoredBackup};
use crate::{
    clock,
    settings::{Keep, Period},
};

/// What stays.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Of the scheduled ones.
    pub keep: Keep,
    /// Whether that rule holds for those that somebody asked for, too; else all of them stay.
    pub manual_too: bool,
    /// How many of those that were made before a change.
    pub changes: u32,
    /// Files that stay in any case, with the reason.
    pub spared: Vec<(PathBuf, &'static str)>,
    /// The volumes that a whole backup has, by their roles.
    pub roles: Vec<String>,
    /// What time it is.
    pub now: OffsetDateTime,
}

/// The rule that holds for a backup, by the name of its setting.
pub fn rule_of(backup: &StoredBackup) -> Option<&'static str> {
    let of = |reasons: &[Reason]| reasons.iter().any(|reason| backup.is_for(*reason));
    match () {
        () if of(&[Reason::Scheduled]) => Some("backup.keep"),
        () if of(&[Reason::Update, Reason::Rollback, Reason::Restore]) => Some("backup.keep_changes"),
        () => None,
    }
}

/// For each of these backups of an instance, which can be read and are sorted from the newest to the oldest, why it stays; `None`: it goes.
pub fn judge(backups: &[StoredBackup], retention: &Retention) -> Vec<Option<String>> {
    let mut kept: Vec<Option<String>> = backups.iter().map(|backup| always(backup, retention)).collect();
    let of = |wanted: &dyn Fn(&StoredBackup) -> bool| -> Vec<usize> {
        let counts = |backup: &StoredBackup| !is_to_come(backup, retention) && wanted(backup);
        backups.iter().enumerate().filter(|(_, backup)| counts(backup)).map(|(at, _)| at).collect()
    };
    let is_change = |backup: &StoredBackup| rule_of(backup) == Some("backup.keep_changes");
    let under_keep =
        |backup: &StoredBackup| !is_change(backup) && (retention.manual_too || rule_of(backup) == Some("backup.keep"));
    let changes = Keep::Newest(retention.changes);
    let groups = [
        (of(&under_keep), &retention.keep, ""),
        (of(&is_change), &changes, " from before an update, rollback or restore"),
    ];
    for (members, rule, what) in groups {
        let (whole, rest): (Vec<usize>, Vec<usize>) =
            members.into_iter().partition(|at| has_all(&backups[*at], &retention.roles));
        // Where none is whole, the others are the best there is.
        let (counted, rest) = if whole.is_empty() { (rest, whole) } else { (whole, rest) };
        let times: Vec<OffsetDateTime> = counted.iter().filter_map(|at| created(&backups[*at])).collect();
        let mut oldest = 0;
        for (at, reason) in counted.into_iter().zip(reasons(&times, rule, what)) {
            oldest = if reason.is_some() { at } else { oldest };
            kept[at] = kept[at].take().or(reason);
        }
        for at in rest.into_iter().filter(|at| *at < oldest) {
            kept[at] = kept[at].take().or_else(|| Some(LACKS.to_owned()));
        }
    }
    kept
}

/// Why a backup stays that does not count: it goes with the oldest whole one that stays.
const LACKS: &str = "it lacks a volume, so it takes no place of a whole one";

/// Whether a backup has all these volumes. The name of an encrypted one does not say.
fn has_all(backup: &StoredBackup, roles: &[String]) -> bool {
    let has = |role: &String| backup.header.as_ref().is_ok_and(|h| h.volumes.iter().any(|v| v.role == *role));
    backup.encrypted || roles.iter().all(has)
}

/// What stays whatever the numbers say.
fn always(backup: &StoredBackup, retention: &Retention) -> Option<String> {
    if let Some((_, reason)) = retention.spared.iter().find(|(file, _)| *file == backup.file) {
        return Some((*reason).to_owned());
    }
    if is_to_come(backup, retention) {
        return Some("its time is still to come, so it takes no place of another".to_owned());
    }
    (rule_of(backup).is_none() && !retention.manual_too).then(|| "not made by the schedule".to_owned())
}

/// Whether a clock that was ahead has dated it.
fn is_to_come(backup: &StoredBackup, retention: &Retention) -> bool {
    created(backup).is_some_and(|created| created > retention.now + clock::TOLERANCE)
}

/// A header is read only with a time in it that parses.
fn created(backup: &StoredBackup) -> Option<OffsetDateTime> {
    clock::parse(&backup.header.as_ref().ok()?.created)
}

/// Why each of these stays under a rule.
fn reasons(times: &[OffsetDateTime], rule: &Keep, what: &str) -> Vec<Option<String>> {
    match rule {
        Keep::Newest(number) => {
            let number = usize::try_from(*number).unwrap_or(usize::MAX);
            let reason =
                if number == 1 { format!("the newest{what}") } else { format!("one of the {number} newest{what}") };
            (0..times.len()).map(|at| (at < number).then(|| reason.clone())).collect()
        }
        Keep::NewestOf(periods) => {
            let mut all: Vec<Vec<String>> = vec![vec![]; times.len()];
            for (number, period) in periods {
                let mut seen: Vec<String> = vec![];
                for (at, time) in times.iter().enumerate() {
                    let name = name(*period, *time);
                    if seen.last() != Some(&name) && seen.len() < usize::try_from(*number).unwrap_or(usize::MAX) {
                        all[at].push(name.clone());
                        seen.push(name);
                    }
                }
            }
            let told =
                |names: Vec<String>| (!names.is_empty()).then(|| format!("the newest of {}{what}", names.join(", ")));
            all.into_iter().map(told).collect()
        }
    }
}

/// The period that a time lies in.
fn name(period: Period, time: OffsetDateTime) -> String {
    let date = time.to_offset(time::UtcOffset::UTC).date();
    match period {
        Period::Hour => format!("{date} {:02}h", time.to_offset(time::UtcOffset::UTC).hour()),
        Period::Day => date.to_string(),
        Period::Week => {
            let (year, week, _) = date.to_iso_week_date();
            format!("week {year}-W{week:02}")
        }
        Period::Month => format!("{}-{:02}", date.year(), u8::from(date.month())),
        Period::Year => date.year().to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::data::archive::{FORMAT, Header, VolumeIn};

    fn backup(created: &str, reason: Reason) -> StoredBackup {
        let header = Header {
            format: FORMAT,
            created: created.to_owned(),
            reason: reason.word().to_owned(),
            docklet: "0.1.0".to_owned(),
            appliance: "opencode-cloud".to_owned(),
            appliance_version: None,
            release: None,
            image: None,
            instance: "default".to_owned(),
            volumes: vec![],
            exclude: vec![],
            records: Default::default(),
        };
        StoredBackup { file: Path::new(created).to_owned(), size: 1, encrypted: false, header: Ok(header) }
    }

    fn rule(keep: &str) -> Retention {
        Retention {
            keep: keep.parse().unwrap(),
            manual_too: false,
            changes: 3,
            spared: vec![],
            roles: vec![],
            now: clock::parse("2026-12-31T00:00:00Z").unwrap(),
        }
    }

    fn shown(backups: &[StoredBackup], retention: &Retention) -> String {
        let kept = judge(backups, retention).into_iter().zip(backups);
        let lines = kept.map(|(kept, b)| format!("{}: {}", b.file.display(), kept.unwrap_or("-".to_owned())));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_newest_of_each_day_week_and_month_stays() {
        let times = [
            "2026-11-26T18:00:00Z", // Thursday
            "2026-11-26T06:00:00Z",
            "2026-11-25T23:59:59Z",
            "2026-11-23T00:00:00Z", // Monday
            "2026-11-22T12:00:00Z", // Sunday: the week before
            "2026-11-15T12:00:00Z",
            "2026-10-31T12:00:00Z",
            "2026-10-01T12:00:00Z",
            "2025-12-31T12:00:00Z",
        ];
        let backups: Vec<StoredBackup> = times.iter().map(|time| backup(time, Reason::Scheduled)).collect();
        insta::assert_snapshot!(shown(&backups, &rule("2d 2w 3m")), @r"
        2026-11-26T18:00:00Z: the newest of 2026-11-26, week 2026-W48, 2026-11
        2026-11-26T06:00:00Z: -
        2026-11-25T23:59:59Z: the newest of 2026-11-25
        2026-11-23T00:00:00Z: -
        2026-11-22T12:00:00Z: the newest of week 2026-W47
        2026-11-15T12:00:00Z: -
        2026-10-31T12:00:00Z: the newest of 2026-10
        2026-10-01T12:00:00Z: -
        2025-12-31T12:00:00Z: the newest of 2025-12
        ");
        assert_eq!(judge(&backups, &rule("2")).iter().flatten().count(), 2);
    }

    #[test]
    fn one_that_lacks_a_volume_takes_no_place_of_a_whole_one() {
        let volume = |role: &str| VolumeIn { role: role.to_owned(), mount: String::new() };
        let of = |created: &str, roles: &[&str]| {
            let mut made = backup(created, Reason::Scheduled);
            made.header.as_mut().unwrap().volumes = roles.iter().map(|role| volume(role)).collect();
            made
        };
        let mut backups = vec![
            of("2026-11-09T00:00:00Z", &["session"]),
            of("2026-11-08T00:00:00Z", &["session", "projects"]),
            of("2026-11-07T00:00:00Z", &["projects"]),
            of("2026-11-06T00:00:00Z", &["session", "projects"]),
            of("2026-11-05T00:00:00Z", &["session", "projects"]),
            of("2026-11-04T00:00:00Z", &["session"]),
        ];
        let retention = Retention { roles: vec!["session".to_owned(), "projects".to_owned()], ..rule("2") };
        insta::assert_snapshot!(shown(&backups, &retention), @r"
        2026-11-09T00:00:00Z: it lacks a volume, so it takes no place of a whole one
        2026-11-08T00:00:00Z: one of the 2 newest
        2026-11-07T00:00:00Z: it lacks a volume, so it takes no place of a whole one
        2026-11-06T00:00:00Z: one of the 2 newest
        2026-11-05T00:00:00Z: -
        2026-11-04T00:00:00Z: -
        ");
        backups[0].encrypted = true;
        assert_eq!(judge(&backups, &retention)[3], None, "of an encrypted one it is not known");
        assert!(judge(&backups, &Retention { keep: Keep::Newest(0), ..retention.clone() }).iter().all(Option::is_none));
        let poor = [backups[2].clone(), backups[5].clone()];
        assert_eq!(judge(&poor, &Retention { keep: Keep::Newest(1), ..retention }).iter().flatten().count(), 1);
    }

    #[test]
    fn each_kind_has_its_rule_and_what_is_spared_stays() {
        let backups = vec![
            backup("2026-11-09T00:00:00Z", Reason::Restore),
            backup("2026-11-08T00:00:00Z", Reason::Scheduled),
            backup("2026-11-07T00:00:00Z", Reason::Manual),
            backup("2026-11-06T00:00:00Z", Reason::Rollback),
            backup("2026-11-05T00:00:00Z", Reason::Update),
            backup("2026-11-04T00:00:00Z", Reason::Scheduled),
            backup("2026-11-03T00:00:00Z", Reason::Update),
            backup("2026-11-02T00:00:00Z", Reason::Uninstall),
        ];
        let mut retention = Retention { changes: 2, ..rule("1") };
        retention.spared = vec![(backups[6].file.clone(), "docklet rollback needs it")];
        insta::assert_snapshot!(shown(&backups, &retention), @"
        2026-11-09T00:00:00Z: one of the 2 newest from before an update, rollback or restore
        2026-11-08T00:00:00Z: the newest
        2026-11-07T00:00:00Z: not made by the schedule
        2026-11-06T00:00:00Z: one of the 2 newest from before an update, rollback or restore
        2026-11-05T00:00:00Z: -
        2026-11-04T00:00:00Z: -
        2026-11-03T00:00:00Z: docklet rollback needs it
        2026-11-02T00:00:00Z: not made by the schedule
        ");
        retention.manual_too = true;
        let kept = judge(&backups, &retention);
        assert!(kept[2].is_none() && kept[7].is_none(), "{kept:?}");
    }

    #[test]
    fn what_is_dated_ahead_takes_no_place_of_another() {
        let backups = ["2036-01-01T00:00:00Z", "2026-11-09T00:00:00Z", "2026-11-08T00:00:00Z"];
        let backups: Vec<_> = backups.iter().map(|created| backup(created, Reason::Restore)).collect();
        insta::assert_snapshot!(shown(&backups, &Retention { changes: 1, ..rule("1") }), @"
        2036-01-01T00:00:00Z: its time is still to come, so it takes no place of another
        2026-11-09T00:00:00Z: the newest from before an update, rollback or restore
        2026-11-08T00:00:00Z: -
        ");
    }
}
