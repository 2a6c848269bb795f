//! `docklet backup ls` and `restore --path`: without an engine, and without an instance.

use std::{fs, path::Path};

use crate::support::{Home, json, shown};

fn backup() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backups/format-1.tar.zst");
    file.to_str().unwrap().to_owned()
}

#[test]
fn what_is_in_a_backup_is_listed_folder_by_folder() {
    let home = Home::new();
    let backup = backup();
    let list = |path: &str| {
        let output = home.run(&["backup", "ls", &backup, path, "--json"]);
        assert!(output.status.success(), "{}", shown(&output));
        let report = json(&output);
        let names = |entry: &serde_json::Value| format!("{} {} {}", entry["kind"], entry["path"], entry["files"]);
        report["entries"].as_array().unwrap().iter().map(names).collect::<Vec<_>>().join("\n").replace('"', "")
    };
    assert_eq!(list(""), "folder config 0\nfolder projects 0\nfolder session 1");
    assert_eq!(list("session/"), "folder session/stand-in 1");
    assert_eq!(list("/home/opencode/.opencode"), "folder session/stand-in 1");
    let session = "session/stand-in/ses_006b0132830000a000";
    assert_eq!(list(session), format!("file {session}/info 1"));
    assert_eq!(list(&format!("{session}/info")), format!("file {session}/info 1"));
    assert_eq!(list("config"), "");
    let text = home.ok(&["backup", "ls", &backup, session]);
    assert!(text.contains("184 B") && text.contains("2026-11-21") && text.contains("/info"), "{text}");
    let error = home.fails(&["backup", "ls", &backup, "session/stand"], 4, "NOT_FOUND");
    assert!(error["hint"].as_str().unwrap().contains("backup ls"), "{error}");
    home.fails(&["backup", "ls", &backup, "session/../config"], 2, "USAGE");
    home.fails(&["backup", "ls", "/etc/passwd"], 11, "BACKUP_INVALID");
}

#[test]
fn a_part_of_a_backup_is_written_to_a_folder_where_it_replaces_nothing() {
    let home = Home::new();
    let backup = backup();
    let restore = ["restore", &backup, "--path", "session/stand-in", "--into", "some/where"];
    let planned = json(&home.run(&[&restore[..], &["--dry-run", "--json"]].concat()));
    let to = home.path("some/where/stand-in");
    assert_eq!((&planned["to"], &planned["files"]), (&to.to_str().unwrap().into(), &1.into()));
    assert!(!home.path("some").exists(), "nothing was written");
    let text = home.ok(&restore);
    assert!(text.contains("wrote 184 B in 1 file to"), "{text}");
    let session = to.join("ses_006b0132830000a000/info");
    assert_eq!(fs::metadata(&session).unwrap().len(), 184);
    fs::write(&session, "mine").unwrap();
    home.fails(&restore, 8, "ALREADY_EXISTS");
    assert_eq!(fs::read_to_string(&session).unwrap(), "mine");
    home.fails(&["restore", &backup, "--path", "session/none", "--into", "other"], 4, "NOT_FOUND");
    assert!(!home.path("other").exists());
    for args in [
        &["--path", "session"][..],
        &["--into", "x"],
        &["--path", "", "--into", "x"],
        &["--path", "/etc", "--into", "x"],
        &["--path", "session", "--into", "x", "--only", "session"],
        &["--only", "session", "--no-backup"],
    ] {
        home.fails(&[&["restore", &backup], args].concat(), 2, "USAGE");
    }
    // What was altered is refused whole.
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(home.path("bad.tar.zst"), bytes).unwrap();
    home.fails(&["restore", "bad.tar.zst", "--path", "session", "--into", "bad"], 11, "BACKUP_INVALID");
    assert!(!home.path("bad").exists());
    fs::write(home.path("file"), "").unwrap();
    let error = home.fails(&["restore", &backup, "--path", "session", "--into", "file"], 2, "USAGE");
    assert!(error["message"].as_str().unwrap().contains("file"), "{error}");
}
