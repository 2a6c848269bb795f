//! What is written comes back; what was altered does not.
#![allow(clippy::unwrap_used)]

use std::io::{Cursor, Write as _};

use proptest::prelude::*;

use super::{read, read::Refused, tar::BLOCK, *};

/// A folder with all kinds of files, packed by the same GNU tar and with the same options as in the container.
fn volumes() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        mkdir -p volumes/session/empty volumes/projects/app
        printf 'hello' > volumes/session/a
        ln volumes/session/a volumes/session/b
        ln -s /usr/bin/python3 volumes/projects/app/python
        mkfifo volumes/session/pipe
        truncate -s 3M volumes/session/sparse && printf x >> volumes/session/sparse
        printf 'latin' > "volumes/projects/$(printf 'n\351')"
        printf 'two' > "volumes/projects/$(printf 'two\nlines')"
        head -c 100000 /dev/zero | tr '\0' 'x' > volumes/projects/app/large
        long=$(printf 'd%.0s' $(seq 1 200)); mkdir volumes/projects/$long; echo deep > volumes/projects/$long/$long
        chmod 2775 volumes/projects/app; touch -d '2001-02-03 04:05:06.789' volumes/session/a
        tar --create --format=posix --sparse --numeric-owner --file=- volumes/session volumes/projects
    "#;
    let made = std::process::Command::new("bash").args(["-ec", script]).current_dir(&folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

fn header() -> Header {
    let volume = |role: &str| VolumeIn { role: role.into(), mount: format!("/{role}") };
    Header {
        format: FORMAT,
        created: "2026-11-21T05:06:07Z".into(),
        reason: "manual".into(),
        docklet: "0.1.0".into(),
        appliance: "opencode-cloud".into(),
        appliance_version: Some("1.18.33".into()),
        release: None,
        image: None,
        instance: "default".into(),
        volumes: vec![volume("session"), volume("projects")],
        exclude: vec![],
        records: BTreeMap::new(),
    }
}

fn archive(volumes: &[u8]) -> (Vec<u8>, Manifest) {
    let header = header();
    let around = write::Around { header: &header, settings: Some(b"version = 1\n"), secrets: Some(b"age") };
    let mut out = vec![];
    let spool = tempfile::tempfile().unwrap();
    let manifest =
        write::write(&mut out, &around, vec![write::ArchivePart::whole(volumes)], spool, 2, &mut |_, _| {}, |_| {})
            .unwrap();
    (out, manifest)
}

fn read_back(archive: &[u8]) -> Result<(Contents, Vec<u8>), Refused> {
    let mut volumes = vec![];
    let spools = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
    let mut to = receive::AsTar::new(&mut volumes, ["session", "projects"]);
    read::read(Cursor::new(archive), spools, &mut to).map(|contents| (contents, volumes))
}

use super::read::Contents;

fn why(archive: &[u8]) -> String {
    match read_back(archive) {
        Err(Refused::Invalid(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => "taken".to_owned(),
    }
}

/// The tar in an archive, and an archive from a tar.
fn unpacked(archive: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(archive).unwrap()
}

fn packed(tar: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(tar, 1).unwrap()
}

#[test]
fn every_byte_of_the_volumes_comes_back() {
    let tar = volumes();
    let (archive, manifest) = archive(&tar);
    let (contents, back) = read_back(&archive).unwrap();
    assert_eq!(contents.header, header());
    assert_eq!(contents.manifest, manifest);
    assert_eq!(contents.settings.as_deref(), Some(&b"version = 1\n"[..]));
    assert_eq!(contents.secrets.as_deref(), Some(&b"age"[..]));
    assert!(back.len() >= 1024 && tar.starts_with(&back), "{} of {}", back.len(), tar.len());
    assert!(tar[back.len()..].iter().all(|b| *b == 0));
    let counts: Vec<_> = manifest.volumes.iter().map(|v| (v.role.as_str(), v.entries, v.files)).collect();
    assert_eq!(counts, [("session", 6, 2), ("projects", 8, 4)]);
}

#[test]
fn the_usual_tools_read_it() {
    let (archive, _) = archive(&volumes());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("unpacked.tar"), unpacked(&archive)).unwrap();
    // Without the sparse file, whose digest is not that of its holes.
    let script = "tar -xf unpacked.tar && grep -v sparse SHA256SUMS | sha256sum --check --strict --quiet";
    let run = std::process::Command::new("bash").args(["-ec", script]).current_dir(&folder).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn what_is_wrong_is_said() {
    let (good, _) = archive(&volumes());
    assert!(why(b"").contains("does not begin like"));
    assert!(why(b"PK\x03\x04something").contains("does not begin like"));
    assert!(why(&packed(b"")).contains("too early"));
    assert!(why(&good[..good.len() / 2]).contains("it ends too early"));
    let tar = unpacked(&good);
    let replace = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut tar = tar.clone();
        let at = tar.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        tar[at..at + to.len()].copy_from_slice(to.as_bytes());
        packed(&tar)
    };
    assert!(
        why(&replace("\"format\": 1", "\"format\": 9")).contains("newer docklet"),
        "{}",
        why(&replace("\"format\": 1", "\"format\": 9"))
    );
    assert!(why(&replace("hello", "jello")).contains("is not what it was"));
    assert!(why(&replace("version = 1", "version = 2")).contains("settings.toml is not what it was"));
    let mut behind = good.clone();
    behind.extend(packed(&[0; 512]));
    assert!(why(&behind).contains("behind its end"));
}

/// Made by docklet 0.1.0. Later ones must go on reading it.
#[test]
fn an_archive_of_format_1_is_read() {
    let archive = include_bytes!("../../../tests/fixtures/backups/format-1.tar.zst");
    let (contents, volumes) = read_back(archive).unwrap();
    assert_eq!((contents.header.format, contents.header.reason.as_str()), (1, "manual"));
    assert_eq!(contents.header.appliance_version.as_deref(), Some("1.0.1"));
    assert_eq!((contents.manifest.files, contents.manifest.bytes), (1, 184));
    assert!(volumes.windows(11).any(|w| w == b"\"title\":\"on"));
}

/// What a terminal would obey never gets into a message.
#[test]
fn an_archive_says_nothing_to_the_terminal() {
    let (good, _) = archive(&volumes());
    let mut tar = unpacked(&good);
    let at = tar.windows(8).position(|w| w == b"projects").unwrap();
    tar[at..at + 8].copy_from_slice(b"\\u001b[m");
    assert!(why(&packed(&tar)).contains("control characters"), "{}", why(&packed(&tar)));
    assert_eq!(printable(b"a\x1b[2Jb\n"), "a?[2Jb?");
}

/// A tar header's owner changed, and its checksum made right again.
#[test]
fn an_altered_owner_is_noticed() {
    let (good, _) = archive(&volumes());
    let mut tar = unpacked(&good);
    let at = tar.windows(18).position(|w| w == b"volumes/session/a\0").unwrap();
    let block = &mut tar[at..at + BLOCK];
    let mut header = ::tar::Header::from_byte_slice(block).clone();
    header.set_uid(4321);
    header.set_cksum();
    block.copy_from_slice(header.as_bytes());
    assert!(why(&packed(&tar)).contains("owners"));
}

/// A tar with these entries: type byte, path, content.
fn tar_of(entries: &[(u8, &str, &[u8])]) -> Vec<u8> {
    let mut tar = vec![];
    for (kind, path, content) in entries {
        let mut header = ::tar::Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(::tar::EntryType::new(*kind));
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let length = (1..12).map(|digits| rest.len() + digits).find(|n| n.to_string().len() + rest.len() == *n).unwrap();
    [length.to_string().as_bytes(), &rest].concat()
}

/// Entries that two readers may take differently, put where volumes are.
#[test]
fn headers_that_contradict_each_other_are_refused() {
    let (good, _) = archive(&volumes());
    let tar = unpacked(&good);
    let at = tar.windows(11).position(|w| w == b"SHA256SUMS\0").unwrap();
    let with = |entries: &[(u8, &str, &[u8])]| {
        let more = tar_of(entries);
        why(&packed(&[&tar[..at], &more[..more.len() - 2 * BLOCK], &tar[at..]].concat()))
    };
    let named = pax("path", b"volumes/session/a");
    let file: (u8, &str, &[u8]) = (b'0', "volumes/session/x", b"");
    assert!(with(&[(b'x', "h", &named), (b'L', "l", b"../../etc/passwd\0"), file]).contains("two kinds"));
    assert!(with(&[(b'L', "l", b"../../etc/passwd\0"), (b'x', "h", &named), file]).contains("two kinds"));
    assert!(with(&[(b'x', "h", &named), (b'x', "h", &named), file]).contains("two kinds"));
    assert!(
        with(&[(b'L', "l", b"volumes/session/x\0"), (b'K', "k", b"volumes/session/a\0"), file]).contains("what it was")
    );
    assert!(with(&[(b'5', "volumes/session/d/", &[7; 512])]).contains("has content"));
    assert!(with(&[(b'2', "volumes/session/l", &[7; 512])]).contains("has content"));
}

/// What no restore takes is not in a backup either, and is told; the rest is there.
#[test]
fn what_cannot_be_restored_is_left_out_and_told() {
    let deep = pax("path", format!("volumes/session/{}y", "x/".repeat(3000)).as_bytes());
    let huge = [pax("path", b"volumes/session/huge"), pax("SCHILY.xattr.user.x", &vec![b'x'; 5 << 20])].concat();
    let tar = tar_of(&[
        (b'5', "volumes/session/", b""),
        (b'3', "volumes/session/\x1b]0;x\x07", b""),
        (b'1', "volumes/session/twin", b""),
        (b'x', "h", &deep),
        (b'0', "deep", b"deep"),
        (b'x', "h", &huge),
        (b'0', "huge", b"huge"),
        (b'S', "volumes/session/old", b"sparse"),
        (b'0', "volumes/session/kept", b"kept"),
    ]);
    // A hard link to the device before it.
    let mut tar = tar;
    let at = tar.windows(20).position(|w| w == b"volumes/session/twin").unwrap();
    let mut header = ::tar::Header::from_byte_slice(&tar[at..at + BLOCK]).clone();
    header.set_link_name_literal("volumes/session/\x1b]0;x\x07").unwrap();
    header.set_cksum();
    tar[at..at + BLOCK].copy_from_slice(header.as_bytes());
    let (archive, manifest) = archive(&tar);
    let reasons: Vec<_> = manifest.left_out.iter().map(|one| (one.path.as_str(), one.reason.as_str())).collect();
    assert_eq!(manifest.left_out_count, 5, "{reasons:?}");
    assert_eq!(reasons[0], ("volumes/session/?]0;x?", "it is a device"));
    assert_eq!(reasons[1], ("volumes/session/twin", "it is a hard link to what cannot be restored"));
    assert_eq!(reasons[2].1, rules::TOO_LONG);
    assert_eq!(reasons[3], ("volumes/session/huge", "its extended attributes are too large"));
    assert_eq!(reasons[4].0, "volumes/session/old");
    let (contents, back) = read_back(&archive).unwrap();
    assert_eq!(contents.manifest, manifest);
    assert!(back.windows(4).any(|w| w == b"kept") && !back.windows(4).any(|w| w == b"huge"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 700, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes of the file changed, cut, doubled, put in.
    #[test]
    fn an_altered_file_is_refused_or_the_same(seed in 0..4usize, at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), byte in 1..=255u8) {
        static GOOD: std::sync::OnceLock<(Vec<u8>, Vec<u8>)> = std::sync::OnceLock::new();
        let (good, volumes) = GOOD.get_or_init(|| {
            let tar = volumes();
            let (good, _) = archive(&tar);
            let (_, volumes) = read_back(&good).unwrap();
            (good, volumes)
        });
        check(good, volumes, seed, at, to, byte, |bytes| bytes)?;
    }

    /// The same to the tar inside, so that zstd's own checksum does not help.
    #[test]
    fn an_altered_tar_is_refused_or_the_same(seed in 0..4usize, at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), byte in 1..=255u8) {
        static GOOD: std::sync::OnceLock<(Vec<u8>, Vec<u8>)> = std::sync::OnceLock::new();
        let (good, volumes) = GOOD.get_or_init(|| {
            let tar = volumes();
            let (good, _) = archive(&tar);
            let (_, volumes) = read_back(&good).unwrap();
            (unpacked(&good), volumes)
        });
        check(good, volumes, seed, at, to, byte, |bytes| packed(&bytes))?;
    }
}

fn check(
    good: &[u8],
    volumes: &[u8],
    seed: usize,
    at: prop::sample::Index,
    to: prop::sample::Index,
    byte: u8,
    pack: fn(Vec<u8>) -> Vec<u8>,
) -> Result<(), TestCaseError> {
    let (at, to) = (at.index(good.len()), to.index(good.len()));
    let mut bytes = good.to_vec();
    match seed {
        0 => bytes[at] ^= byte,
        1 => bytes.truncate(at),
        2 => {
            let piece = good[at.min(to)..at.max(to).min(at.min(to) + 2048)].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => (&mut bytes[at..]).write_all(&[byte; 16][..16.min(good.len() - at)]).unwrap(),
    }
    // What is taken all the same (a byte that means nothing, such as in a block's padding) must be what it was.
    if let Ok((contents, back)) = read_back(&pack(bytes)) {
        prop_assert_eq!(contents.header, header());
        prop_assert_eq!(back.len(), volumes.len());
        prop_assert!(back == volumes);
    }
    Ok(())
}
