#![allow(clippy::unwrap_used)]
use std::io::Cursor;

use super::*;

/// When the first pass began, and a time long before.
const BEGAN: i64 = 1_000_000;
const OLD: &str = "900000.5";
const NEW: &str = "1000003.25";

fn clocks(day: i64, up: i64) -> Clocks {
    Clocks { day: (day, 0), up: (up, 0) }
}

fn entry(kind: EntryKind, path: &str, link: &str, modified: &str, changed: &str) -> Entry {
    let records: Vec<String> = [("mtime", modified), ("ctime", changed)]
        .iter()
        .map(|(key, value)| format!("{} {key}={value}\n", key.len() + value.len() + 5))
        .collect();
    let records = records.concat();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(records.len() as u64);
    let mut raw = header.as_bytes().to_vec();
    raw.extend_from_slice(records.as_bytes());
    raw.resize(2 * 512, 0);
    raw.extend_from_slice(tar::Header::new_ustar().as_bytes());
    Entry { raw, kind, path: path.into(), link: link.into(), size: 0, sparse: None, oversized: false }
}

fn file(path: &str, changed: &str) -> Entry {
    entry(EntryKind::File, path, "", OLD, changed)
}

fn link(path: &str, to: &str) -> Entry {
    entry(EntryKind::HardLink, path, to, OLD, OLD)
}

/// A first pass over these, a list of what is there now; which of the first are right, and what is read again.
fn compared(first: &[Entry], list: &[&str], clean: bool, now: Clocks) -> (Vec<String>, Vec<String>, u64) {
    let mut members = Members::new(clocks(BEGAN, 50));
    first.iter().for_each(|entry| members.add(entry));
    let list: String = list.iter().map(|line| format!("{line}\0")).chain(["\0".to_owned()]).collect();
    let spools = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
    let mut changed = members.compare(&mut Cursor::new(list), clean, now, spools).unwrap();
    let kept = first.iter().filter(|entry| changed.keep.take(entry));
    let kept = kept.map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect();
    let mut names = String::new();
    io::Read::read_to_string(&mut changed.names, &mut names).unwrap();
    (kept, names.split_terminator('\0').map(str::to_owned).collect(), changed.count)
}

fn usual(first: &[Entry], list: &[&str]) -> (Vec<String>, Vec<String>, u64) {
    compared(first, list, true, clocks(BEGAN + 9, 59))
}

#[test]
fn only_what_did_not_change_is_right() {
    let first = [
        entry(EntryKind::Folder, "v/a/", "", OLD, OLD),
        file("v/a/same", OLD),
        file("v/a/appended", OLD),
        file("v/a/gone", OLD),
        file("v/a/just before", "999999.1"),
        file("v/a/in the future", "2000000.0"),
        file("v/a/as whole second", "900000"),
        entry(EntryKind::Folder, "v/quiet/", "", OLD, OLD),
        file("v/quiet/same", OLD),
    ];
    let list = [
        "900000.5000000000 900000.5000000000 2 1:1 d v/a",
        "900000.5000000000 900000.5000000000 1 1:2 f v/a/same",
        "1000003.2500000000 1000003.2500000000 1 1:3 f v/a/appended",
        "900000.5000000000 999999.1000000000 1 1:4 f v/a/just before",
        "900000.5000000000 2000000.0000000000 1 1:5 f v/a/in the future",
        "900000.5000000000 900000.0000000000 1 1:6 f v/a/as whole second",
        "900000.5000000000 900000.5000000001 1 1:7 f v/a/new",
        "900000.5000000000 900000.5000000000 2 1:8 d v/quiet",
        "900000.5000000000 900000.5000000000 1 1:9 f v/quiet/same",
    ];
    let (kept, again, count) = usual(&first, &list);
    assert_eq!(kept, ["v/a/same", "v/a/as whole second", "v/quiet/", "v/quiet/same"]);
    // The folder comes before what is in it, once.
    assert_eq!(again, ["v/a", "v/a/appended", "v/a/just before", "v/a/in the future", "v/a/new"]);
    assert_eq!(count, 4);
    for (clean, now) in [(false, clocks(BEGAN + 9, 59)), (true, clocks(BEGAN - 3600, 59))] {
        let (kept, again, _) = compared(&first, &list, clean, now);
        assert_eq!((kept.len(), again.len()), (0, list.len()), "nothing counts");
    }
}

#[test]
fn names_of_one_file_stay_together() {
    let first = [
        file("v/one/a", OLD),
        link("v/two/b", "v/one/a"),
        file("v/c", OLD),
        link("v/d", "v/c"),
        // Seen under two names of its folder.
        file("v/was/e", OLD),
        link("v/is/e", "v/was/e"),
    ];
    let list = [
        &format!("{OLD} {OLD} 2 1:2 f v/two/b"),
        // Its folder was renamed, which the file knows nothing of.
        &format!("{OLD} {OLD} 2 1:2 f v/renamed/a"),
        &format!("{OLD} {OLD} 2 1:3 f v/c"),
        &format!("{OLD} {OLD} 2 1:3 f v/d"),
        &format!("{OLD} {OLD} 1 1:4 f v/is/e"),
    ];
    let list: Vec<&str> = list.iter().map(|line| line.as_str()).collect();
    let (kept, again, count) = usual(&first, &list);
    assert_eq!(kept, ["v/c", "v/d"]);
    assert_eq!((again, count), (vec!["v/two/b".into(), "v/renamed/a".into(), "v/is/e".into()], 3));
}

/// Two folders changed places while the first pass read one of them, and changed back.
#[test]
fn what_is_in_a_folder_that_was_moved_is_read_again() {
    let first = [file("v/a/x", OLD), file("v/b/x", OLD), file("v/b/x", OLD)];
    let list = [
        &format!("{OLD} {NEW} 2 1:1 d v/a"),
        &format!("{OLD} {OLD} 1 1:2 f v/a/x"),
        &format!("{OLD} {OLD} 2 1:3 d v/a/below"),
        &format!("{NEW} {NEW} 2 1:4 d v/b"),
        &format!("{OLD} {OLD} 1 1:5 f v/b/x"),
    ];
    let list: Vec<&str> = list.iter().map(|line| line.as_str()).collect();
    let (kept, again, _) = usual(&first, &list);
    assert_eq!(kept, ["v/b/x"], "once, though it was read twice");
    assert_eq!(again, ["v/a", "v/a/x", "v/a/below", "v/b"]);
}

#[test]
fn a_clock_that_was_set_back_is_noticed() {
    let began = Clocks::parse(b"1700000000.999 12.50").unwrap();
    let after = |text: &str| began.was_set_back_until(Clocks::parse(text.as_bytes()).unwrap());
    assert!(!after("1700000010.100 22.40") && !after("1700003610.1 22.40"), "not, or forwards");
    assert!(after("1700000008.100 22.40") && after("1699990000 22.40"));
    assert_eq!(Clocks::parse(b"1700000000"), None);
}

#[test]
fn a_list_that_is_cut_off_is_none() {
    let list = |text: &str| {
        let members = Members::new(clocks(BEGAN, 50));
        let spools = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        members.compare(&mut Cursor::new(text.to_owned()), true, clocks(BEGAN, 50), spools).is_err()
    };
    assert!(list(""));
    assert!(list("1.0 1.0 1 1:1 f v/a\0"));
    assert!(list("1.0 1.0 1 1:1 f v/a\0 \0\0"));
    assert!(!list("1.0 1.0 1 1:1 f v/a\0\0"));
}
