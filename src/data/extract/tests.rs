//! What is wanted arrives as it was; nothing is written outside, whoever made the archive.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use std::os::unix::fs::FileExt as _;

use super::*;
use crate::data::archive::tar::{BLOCK, Reader};

/// Hands a tar's entries on, as reading an archive does.
fn feed(tar: &[u8], to: &mut dyn Receiver) -> io::Result<()> {
    let mut reader = Reader::new(tar);
    while let Some(entry) = reader.next_entry().unwrap() {
        to.entry(&entry)?;
        let mut piece = [0; 700];
        loop {
            let read = reader.content(&mut piece).unwrap();
            if read == 0 {
                break;
            }
            to.content(&piece[..read])?;
        }
        to.padding(&reader.padding().unwrap())?;
    }
    to.finish()
}

/// What came of a path.
struct Outcome {
    left_out: Vec<LeftOut>,
    counts: (u64, u64, u64),
}

/// What comes of a path, and the folder that it was written into.
fn extracted(tar: &[u8], path: &str) -> (tempfile::TempDir, Outcome) {
    let into = tempfile::tempdir().unwrap();
    let mut wanted = Wanted::new(path.as_bytes().to_vec());
    feed(tar, &mut wanted).unwrap();
    assert!(wanted.found, "{path}");
    let mut extract = Extract::begin(wanted, into.path()).unwrap();
    feed(tar, &mut extract).unwrap();
    extract.settle(into.path()).unwrap();
    let counts = (extract.files, extract.bytes, extract.left_out_count);
    (into, Outcome { left_out: extract.left_out.clone(), counts })
}

fn packed(script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let tar = "tar --create --format=posix --sparse --numeric-owner --file=- volumes";
    let made =
        std::process::Command::new("bash").args(["-ec", &format!("{script}\n{tar}")]).current_dir(&folder).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

fn entry(kind: ::tar::EntryType, path: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = ::tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o6755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let padding = content.len().next_multiple_of(BLOCK) - content.len();
    [header.as_bytes(), content, &vec![0; padding]].concat()
}

fn hostile(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 2 * BLOCK]].concat()
}

#[test]
fn a_folder_arrives_as_it_was() {
    let tar = packed(
        r#"
        mkdir -p volumes/projects/app/bin volumes/projects/application volumes/session
        printf 'outside' > volumes/projects/a-first
        ln volumes/projects/a-first volumes/projects/app/linked
        ln volumes/projects/a-first volumes/projects/app/linked-too
        printf '#!/bin/sh' > volumes/projects/app/bin/run; chmod 755 volumes/projects/app/bin/run
        touch -d '2001-02-03 04:05:06Z' volumes/projects/app/bin/run
        ln volumes/projects/app/bin/run volumes/projects/app/bin/same
        ln -s ../bin/run volumes/projects/app/bin/up; ln -s bin/run volumes/projects/app/down
        ln -s /etc/passwd volumes/projects/app/absolute; ln -s ../a-first volumes/projects/app/beside
        mkfifo volumes/projects/app/pipe
        truncate -s 3M volumes/projects/app/sparse; printf x >> volumes/projects/app/sparse
        truncate -s 5M volumes/projects/app/sparse; printf 'begin' | dd conv=notrunc of=volumes/projects/app/sparse 2>/dev/null
        truncate -s 1M volumes/projects/app/hole
        printf 'latin' > "volumes/projects/app/$(printf 'n\351')"
        printf no > volumes/projects/application/x; printf no > volumes/session/x
        chmod 700 volumes/projects/app/bin
        "#,
    );
    let (into, extract) = extracted(&tar, "volumes/projects/app");
    let app = into.path().join("app");
    let names = |folder: &Path| fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(into.path()), ["app"], "and nothing else");
    assert_eq!(fs::read_to_string(app.join("linked")).unwrap(), "outside");
    assert_eq!(fs::metadata(app.join("linked")).unwrap().ino(), fs::metadata(app.join("linked-too")).unwrap().ino());
    let run = fs::metadata(app.join("bin/run")).unwrap();
    assert_eq!((run.permissions().mode() & 0o7777, run.mtime()), (0o755, 981_173_106));
    assert_eq!(run.ino(), fs::metadata(app.join("bin/same")).unwrap().ino());
    assert_eq!(fs::read_to_string(app.join("bin/up")).unwrap(), "#!/bin/sh");
    assert_eq!(fs::read_to_string(app.join("down")).unwrap(), "#!/bin/sh");
    let sparse = fs::read(app.join("sparse")).unwrap();
    assert_eq!((sparse.len(), &sparse[..5], sparse[3 << 20]), (5 << 20, &b"begin"[..], b'x'));
    assert_eq!(sparse.iter().filter(|b| **b != 0).count(), 6);
    assert!(fs::metadata(app.join("sparse")).unwrap().blocks() < 1000, "its holes are holes");
    assert_eq!(fs::metadata(app.join("hole")).unwrap().len(), 1 << 20);
    assert_eq!(fs::read_to_string(app.join(OsStr::from_bytes(b"n\xe9"))).unwrap(), "latin");
    let mut left: Vec<&str> = extract.left_out.iter().map(|one| one.path.as_str()).collect();
    left.sort_unstable();
    let outside = ["absolute", "beside", "pipe"].map(|name| format!("volumes/projects/app/{name}"));
    assert_eq!(left, outside);
    assert!(names(&app).len() == 7, "{:?}", names(&app));

    let (into, extract) = extracted(&tar, "volumes/projects/app/bin/run");
    assert_eq!(fs::read_to_string(into.path().join("run")).unwrap(), "#!/bin/sh");
    assert_eq!(extract.counts, (1, 9, 0));
}

#[test]
fn nothing_is_written_outside() {
    use ::tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};
    let at = |name: &str| format!("volumes/projects/app/{name}");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("mine"), "mine").unwrap();
    let out = outside.path().to_str().unwrap();
    let mine = format!("{out}/mine");
    let tar = hostile(&[
        entry(Directory, &at(""), "", b""),
        // A folder that is a link, first inside, then replaced.
        entry(Symlink, &at("way"), out, b""),
        entry(Regular, &at("way/mine"), "", b"theirs"),
        entry(Directory, &at("real/"), "", b""),
        entry(Symlink, &at("real"), out, b""),
        entry(Regular, &at("real/kept"), "", b"kept"),
        entry(Symlink, &at("inside"), "real", b""),
        entry(Regular, &at("inside/mine"), "", b"theirs"),
        // Up by a link that stays inside where it is.
        entry(Directory, &at("a/b/c/"), "", b""),
        entry(Symlink, &at("a/b/c/top"), "../../..", b""),
        entry(Symlink, &at("out"), "a/b/c/top/../..", b""),
        entry(Link, &at("moved"), &at("a/b/c/top"), b""),
        entry(Symlink, &at("a/b/far"), "../../../..", b""),
        entry(Link, &at("linked"), &mine, b""),
        entry(Link, &at("linked-first"), "volumes/projects/none", b""),
        entry(Fifo, "volumes/projects/none", "", b""),
        // A file through its own link, and set-user-id.
        entry(Symlink, &at("file"), &mine, b""),
        entry(Regular, &at("file"), "", b"theirs"),
        entry(Regular, &at("../../../../mine"), "", b"theirs"),
        entry(Regular, &at("fifo"), "", b"x"),
        entry(Fifo, &at("fifo"), "", b""),
    ]);
    let (into, extract) = extracted(&tar, "volumes/projects/app");
    let app = into.path().join("app");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::metadata(&mine).unwrap().nlink(), 1);
    assert_eq!(fs::read_to_string(app.join("real/kept")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(app.join("file")).unwrap(), "theirs");
    assert!(fs::symlink_metadata(app.join("file")).unwrap().is_file());
    assert_eq!(fs::metadata(app.join("file")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 1);
    // Every link that was made leads to where it is inside.
    let mut folders = vec![app.clone()];
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            let kind = fs::symlink_metadata(&found).unwrap().file_type();
            if kind.is_symlink() {
                let leads = fs::canonicalize(&found).unwrap();
                assert!(
                    leads.starts_with(fs::canonicalize(&app).unwrap()),
                    "{} -> {}",
                    found.display(),
                    leads.display()
                );
            } else if kind.is_dir() {
                folders.push(found);
            }
        }
    }
    let left: Vec<String> = extract.left_out.iter().map(|one| format!("{} ({})", one.path, one.reason)).collect();
    for name in ["real ", "out ", "moved ", "a/b/far ", "linked ", "linked-first ", "inside/mine ", "fifo "] {
        assert!(left.iter().any(|one| one.starts_with(&at(name))), "{name}: {left:#?}");
    }
}

#[test]
fn what_is_there_is_never_replaced() {
    let tar = hostile(&[entry(::tar::EntryType::Regular, "volumes/projects/app", "", b"new")]);
    let into = tempfile::tempdir().unwrap();
    fs::write(into.path().join("app"), "mine").unwrap();
    let mut wanted = Wanted::new(b"volumes/projects/app".to_vec());
    feed(&tar, &mut wanted).unwrap();
    let mut extract = Extract::begin(wanted, into.path()).unwrap();
    feed(&tar, &mut extract).unwrap();
    assert_eq!(extract.settle(into.path()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    drop(extract);
    assert_eq!(fs::read_to_string(into.path().join("app")).unwrap(), "mine");
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 1, "and nothing unfinished stays");
}

#[test]
fn what_a_killed_run_left_is_removed_and_what_is_being_written_is_not() {
    let into = tempfile::tempdir().unwrap();
    fs::create_dir_all(into.path().join(format!("{UNFINISHED}old/app"))).unwrap();
    fs::create_dir(into.path().join("mine")).unwrap();
    let extract = Extract::begin(Wanted::new(b"volumes/projects/app".to_vec()), into.path()).unwrap();
    tidy(into.path()).unwrap();
    assert!(extract.folder.path().is_dir() && into.path().join("mine").is_dir());
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 2);
}

#[test]
fn damaged_maps_of_holes_are_refused() {
    for (map, size) in [
        ("", 5),
        ("1\n0\n", 5),
        ("x\n", 5),
        ("1\n4\n2\n", 5),
        ("1\n18446744073709551615\n2\n", 5),
        ("1\n0\n9\n", 9),
        ("18446744073709551615\n", 9),
    ] {
        let file = tempfile::tempfile().unwrap();
        let mut holes = Holes::new(size);
        let mut bytes = map.as_bytes().to_vec();
        bytes.resize(BLOCK, 0);
        bytes.extend_from_slice(b"ab");
        let written = holes.write(|at, part| file.write_all_at(part, at), &bytes).and_then(|()| holes.finish(&file));
        assert!(written.is_err(), "{map:?}");
    }
}
