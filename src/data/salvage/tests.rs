//! What is salvaged is a whole archive, and holds nothing that was not read whole.
#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command, sync::Arc};

use super::{super::archive::tar::BLOCK, *};
use crate::data::archive::{FORMAT, VolumeIn, read, receive::Receiver};

/// Names of files; of folders, with their owners.
#[derive(Default)]
struct Names(Vec<String>, Vec<(String, (u64, u64))>);

impl Receiver for Names {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind == EntryKind::File {
            self.0.push(printable(&entry.path));
        }
        if entry.kind == EntryKind::Folder {
            self.1.push((printable(&entry.path), entry.owner()));
        }
        Ok(())
    }
}

fn header() -> Header {
    Header {
        format: FORMAT,
        created: "2026-11-26T12:00:00Z".to_owned(),
        volumes: vec![VolumeIn { role: "p".to_owned(), mount: "/p".to_owned() }],
        ..Header::default()
    }
}

/// An archive with ten files that no compression makes smaller.
fn archive(folder: &Path) -> Vec<u8> {
    std::fs::create_dir_all(folder.join("volumes/p")).unwrap();
    let mut state = 1_u32;
    for name in 0..10 {
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let content: Vec<u8> = noise.take(200_000).collect();
        std::fs::write(folder.join(format!("volumes/p/{name}")), content).unwrap();
    }
    packed(folder, &["--sort=name", "volumes/p"])
}

/// An archive of what tar packs.
fn packed(folder: &Path, what: &[&str]) -> Vec<u8> {
    let mut tar = Command::new("tar");
    let tar = tar.args(["--create", "--format=posix"]).args(what).current_dir(folder);
    let volumes = tar.output().unwrap().stdout;
    let around = Around { header: &header(), settings: Some(b"version = 1\n"), secrets: None };
    let mut out = vec![];
    let records = |manifest: &mut Manifest| {
        manifest.records.insert("/session".to_owned(), vec!["ses_1".to_owned()]);
    };
    let spool = tempfile::tempfile().unwrap();
    write::write(
        &mut out,
        &around,
        vec![write::ArchivePart::whole(volumes.as_slice())],
        spool,
        1,
        &mut |_, _| {},
        records,
    )
    .unwrap();
    out
}

/// What is salvaged of these bytes: the files in it, whether settings are, and what is lost.
fn salvaged(folder: &Path, bytes: &[u8]) -> (Vec<String>, read::Contents, Lost) {
    let (names, contents, lost) = all_salvaged(folder, bytes);
    (names.0, contents, lost)
}

fn all_salvaged(folder: &Path, bytes: &[u8]) -> (Names, read::Contents, Lost) {
    let path = folder.join("damaged");
    std::fs::write(&path, bytes).unwrap();
    let source = || Ok(Watched::new(File::open(&path)?, Arc::default()));
    let out = tempfile::NamedTempFile::new_in(folder).unwrap();
    let unlock = Unlock::Identities(vec![]);
    let lost = salvage(source, &header(), &unlock, out.as_file(), tempfile::tempfile().unwrap()).unwrap();
    let mut names = Names::default();
    let spools = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
    let contents = read::read(File::open(out.path()).unwrap(), spools, &mut names).unwrap();
    (names, contents, lost)
}

#[test]
fn a_folder_that_is_cut_off_behind_what_is_in_it_belongs_to_the_same_user() {
    let folder = tempfile::tempdir().unwrap();
    let deep = format!("volumes/p/new/{}", "long".repeat(60));
    archive(folder.path());
    std::fs::create_dir_all(folder.path().join(&deep)).unwrap();
    std::fs::write(folder.path().join(&deep).join("file"), "content").unwrap();
    let file = format!("{deep}/file");
    let owner = ["--owner=:1234", "--group=:5678", "--no-recursion"];
    let good =
        packed(folder.path(), &[&owner[..], &["volumes/p", &file, &deep, "volumes/p/new", "volumes/p/1"]].concat());
    let folders = |bytes: &[u8]| {
        let mut folders = all_salvaged(folder.path(), bytes).0.1;
        folders.iter_mut().for_each(|(path, _)| path.truncate(path.trim_end_matches('/').len()));
        folders.sort();
        folders
    };
    let whole = folders(&good);
    let owner = (1234, 5678);
    assert_eq!(whole, [("volumes/p".to_owned(), owner), ("volumes/p/new".to_owned(), owner), (deep.clone(), owner)]);
    let tar = zstd::stream::decode_all(good.as_slice()).unwrap();
    let behind = tar.windows(7).position(|w| w == b"content").unwrap() / BLOCK * BLOCK + BLOCK;
    let cut = zstd::stream::encode_all(&tar[..behind], 1).unwrap();
    assert_eq!(folders(&cut), whole, "all of them, though two stand behind the cut");
}

#[test]
fn a_cut_archive_gives_the_files_before_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let good = archive(folder.path());
    let (all, contents, lost) = salvaged(folder.path(), &good);
    assert_eq!((all.len(), lost.cut, lost.missing_count, lost.altered_count), (10, None, 0, 0));
    assert_eq!(contents.manifest.records["/session"], ["ses_1"]);
    let mut most = 0;
    for tenth in 2..10 {
        let (names, contents, lost) = salvaged(folder.path(), &good[..good.len() * tenth / 10]);
        assert_eq!(names, all[..names.len()], "at {tenth}");
        assert!(names.len() >= most && names.len() < 10, "{names:?} at {tenth}");
        assert!(contents.settings.is_some() && lost.cut.is_some() && lost.missing_count <= 1);
        assert!(lost.last.ends_with(names.last().unwrap_or(&"volumes/p/".to_owned()).as_str()), "{}", lost.last);
        most = names.len();
    }
    assert!(most >= 7);
}

#[test]
fn what_was_altered_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = archive(folder.path());
    let tar = zstd::stream::decode_all(good.as_slice()).unwrap();
    let content = std::fs::read(folder.path().join("volumes/p/4")).unwrap();
    let at = tar.windows(64).position(|w| w == &content[..64]).unwrap();
    let mut altered = tar.clone();
    altered[at] ^= 1;
    let (names, _, lost) = salvaged(folder.path(), &zstd::stream::encode_all(altered.as_slice(), 1).unwrap());
    assert_eq!((names.len(), lost.altered, lost.cut), (10, vec!["volumes/p/4".to_owned()], None));

    let settings = tar.windows(12).position(|w| w == b"version = 1\n").unwrap();
    let mut altered = tar.clone();
    altered[settings] = b'V';
    let (_, contents, lost) = salvaged(folder.path(), &zstd::stream::encode_all(altered.as_slice(), 1).unwrap());
    assert!(contents.settings.is_none(), "settings that were altered are not for use");
    assert_eq!(lost.missing[0].path, SETTINGS);

    // A file taken out of it: its name is in the list of digests.
    let block = tar.windows(12).position(|w| w == b"volumes/p/4\0").unwrap();
    let next = tar.windows(12).position(|w| w == b"volumes/p/5\0").unwrap();
    let without = [&tar[..extended(&tar, block)], &tar[extended(&tar, next)..]].concat();
    let (names, _, lost) = salvaged(folder.path(), &zstd::stream::encode_all(without.as_slice(), 1).unwrap());
    assert_eq!((names.len(), lost.missing_count, lost.missing[0].path.as_str()), (9, 1, "volumes/p/4"));
}

/// Where the extended header in front of a header begins: two blocks before it.
fn extended(tar: &[u8], at: usize) -> usize {
    let at = at / BLOCK * BLOCK;
    if at >= 2 * BLOCK && tar[at - 2 * BLOCK + 156] == b'x' { at - 2 * BLOCK } else { at }
}
