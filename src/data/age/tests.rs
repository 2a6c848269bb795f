#![allow(clippy::unwrap_used)]
use std::io::{Read as _, Write as _};

use super::{chunks::*, *};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// Made by `age --passphrase` 1.1.1 with the passphrase "correct horse".
const MADE_BY_AGE: &str = "\
    YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCA5MUthRTFyNThMTjdrUkRQYUpxREJBIDE4ClBPdU9HUUhIakRob0pXTTAvcUY2Z2J6Rkt\
    IY1YrYWhiUzJEWkpYSWo5bmMKLS0tIGhIcTdzSEpkamtldDhabmRRVmlmN2NOU2hRRk0zcnhxSFBzZ2hXeHpGL1UK64xcbNleGPdhr90vKll2AR\
    d0QRAzWIwRMkCo/GSg1wHSCFDpyb2XswZd4qzQr74pooBX7Q";

fn sealed(plain: &[u8]) -> Vec<u8> {
    let mut file = encrypt(vec![], For::Passphrase("p", 1)).unwrap().0;
    // In pieces that do not fit chunks.
    plain.chunks(50_021).for_each(|piece| file.write_all(piece).unwrap());
    file.finish().unwrap()
}

/// What comes out before the end or the first error, and the error.
fn opened(file: &[u8]) -> (Vec<u8>, Result<(), String>) {
    let mut plain = vec![];
    let mut from = match decrypt(file, AgeUnlock::Passphrase("p", 10)).map(|opened| opened.0) {
        Ok(from) => from,
        Err(error) => return (plain, Err(error.to_string())),
    };
    let result = from.read_to_end(&mut plain).map(drop).map_err(|e| e.to_string());
    assert_eq!(from.read(&mut [0; 9]).is_err(), result.is_err(), "nothing comes behind an error");
    (plain, result)
}

fn some(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Bytes before the first chunk.
fn start(file: &[u8]) -> usize {
    let mac = file.windows(4).position(|bytes| bytes == b"\n---").unwrap();
    mac + "\n--- ".len() + 43 + "\n".len() + 16
}

#[test]
fn a_file_of_the_age_tool_is_opened() {
    let file = STANDARD_NO_PAD.decode(MADE_BY_AGE).unwrap();
    let mut plain = String::new();
    decrypt(&file[..], AgeUnlock::Passphrase("correct horse", 18)).unwrap().0.read_to_string(&mut plain).unwrap();
    assert_eq!(plain, "secrets of a laptop\n");
    assert!(matches!(decrypt(&file[..], AgeUnlock::Passphrase("correct horses", 18)), Err(OpenError::Passphrase)));
}

#[test]
fn every_length_comes_back() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
        let plain = some(length);
        let file = sealed(&plain);
        let chunks = length.div_ceil(CHUNK).max(1);
        assert_eq!(file.len() - start(&file), length + chunks * TAG, "{length}");
        assert!(opened(&file) == (plain.clone(), Ok(())), "{length}");
        assert_ne!(file, sealed(&plain), "keys are new for each file");
    }
}

#[test]
fn no_changed_byte_goes_unseen() {
    let file = sealed(b"secret");
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let (plain, result) = opened(&changed);
        assert!(plain.is_empty() && result.is_err(), "byte {at} of {}", String::from_utf8_lossy(&file));
        assert!(opened(&file[..at]).1.is_err(), "cut at {at}");
    }
}

#[test]
fn no_chunk_is_lost_moved_or_added() {
    let plain = some(2 * CHUNK + 10);
    let file = sealed(&plain);
    let (first, rest) = file.split_at(start(&file));
    let chunks: Vec<&[u8]> = rest.chunks(CHUNK + TAG).collect();
    let none: &[u8] = &[];
    // Which chunks are there, and how many plain ones come out before it is seen.
    for (there, genuine) in [
        (vec![], 0),
        (vec![chunks[0]], 0),
        (vec![chunks[0], chunks[1]], 1),
        (vec![chunks[1], chunks[0], chunks[2]], 0),
        (vec![chunks[0], chunks[0], chunks[1], chunks[2]], 1),
        (vec![chunks[0], chunks[2]], 1),
        (vec![chunks[0], chunks[0], chunks[2]], 1),
        (vec![chunks[0], chunks[1], chunks[2], none, b"x"], 2),
        (vec![chunks[0], chunks[1], chunks[2], chunks[2]], 2),
        (vec![chunks[0], chunks[1], &chunks[2][..20]], 2),
    ] {
        let (out, result) = opened(&[&[first], &there[..]].concat().concat());
        assert!(result.is_err(), "{} chunks", there.len());
        assert!(out == plain[..genuine * CHUNK], "{} bytes of {} chunks", out.len(), there.len());
    }
}

#[test]
fn the_last_chunk_of_several_is_not_empty() {
    let mut file = encrypt(vec![], For::Passphrase("p", 1)).unwrap().0;
    file.write_all(&some(CHUNK)).unwrap();
    file.put(false).unwrap();
    let (plain, result) = opened(&file.finish().unwrap());
    assert_eq!((plain.len(), result.unwrap_err().as_str()), (CHUNK, "the encrypted data ends with an empty chunk"));
}

#[test]
fn a_header_has_one_spelling() {
    let file = sealed(b"");
    let header = String::from_utf8_lossy(&file[..start(&file) - 16]).into_owned();
    let lines: Vec<&str> = header.lines().collect();
    let [version, stanza, body, mac] = lines[..] else { panic!("{header}") };
    let salt = stanza.split(' ').nth(2).unwrap();
    let (cut, last) = body.split_at(42);
    // The two lowest bits of the last letter say nothing.
    let other_last = char::from_u32(last.bytes().next().unwrap() as u32 + 1).unwrap();
    for changed in [
        header.replace('\n', "\r\n"),
        header.replace("/v1", "/v2"),
        header.replace("-> scrypt", "-> Scrypt"),
        header.replace("-> scrypt", "->  scrypt"),
        header.replace(" 1\n", "\n"),
        header.replace(" 1\n", " \n"),
        header.replace(" 1\n", " 01\n"),
        header.replace(" 1\n", " +1\n"),
        header.replace(" 1\n", " 0x1\n"),
        header.replace(" 1\n", " 1 \n"),
        header.replace(" 1\n", " 1 1\n"),
        header.replace(" 1\n", " 257\n"),
        header.replace(salt, &salt[..21]),
        header.replace(salt, &format!("{salt}==")),
        header.replace(body, cut),
        header.replace(body, &format!("{body}=")),
        header.replace(body, &format!("{cut}{other_last}")),
        header.replace(body, &format!("{body}\n{body}")),
        header.replace("--- ", "---"),
        header.replace("--- ", "---  "),
        header.replace(mac, &mac[..46]),
        format!("{version}\n{stanza}\n{body}\n{stanza}\n{body}\n{mac}\n"),
        format!("{version}\n-> X25519 {body}\n{body}\n{mac}\n"),
        format!("{version}\n{mac}\n"),
        format!("{}{}", "a".repeat(100_000), header),
    ] {
        let file = [changed.as_bytes(), &file[start(&file) - 16..]].concat();
        let refused = opened(&file).1.unwrap_err();
        let reasons = [
            "it is no valid age file",
            "it is no age file that a passphrase opens",
            "it is under a passphrase and for keys",
            "it is encrypted for other keys",
        ];
        assert!(reasons.contains(&refused.as_str()), "{refused}: {changed:.200}");
    }
}

#[test]
fn too_much_work_is_refused_before_it_is_done() {
    let file = sealed(b"");
    let file = String::from_utf8_lossy(&file).replace(" 1\n", " 63\n");
    assert_eq!(opened(file.as_bytes()).1.unwrap_err(), "its passphrase was made too expensive to try");
}

#[test]
fn a_write_that_fails_and_is_tried_again_reveals_nothing() {
    /// Refuses one write, as a full disk does.
    struct Once(Vec<u8>, bool);
    impl Write for Once {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() >= CHUNK && !std::mem::replace(&mut self.1, true) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let plain = vec![0x55; CHUNK];
    let mut file = encrypt(Once(vec![], false), For::Passphrase("p", 1)).unwrap().0;
    file.write_all(&plain).unwrap();
    assert_eq!(file.write(b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_all(b"x").unwrap();
    let written = file.finish().unwrap().0;
    assert!(!written.windows(16).any(|bytes| bytes == &plain[..16]));
    assert!(opened(&written).1.is_err());
}

/// A pair that every call makes new.
fn pair() -> (Identity, Recipient) {
    let identity = Identity::generate().unwrap();
    let recipient = identity.recipient();
    (identity, recipient)
}

#[test]
fn each_recipient_opens_a_file_and_nobody_else() {
    let ((mine, to_me), (yours, to_you), (other, _)) = (pair(), pair(), pair());
    let plain = some(CHUNK + 7);
    let (mut file, file_key) = encrypt(vec![], For::Recipients(&[to_me, to_you])).unwrap();
    file.write_all(&plain).unwrap();
    let file = file.finish().unwrap();
    let read = |key: AgeUnlock<'_>| {
        let mut back = vec![];
        let (mut from, key) = decrypt(&file[..], key).map_err(|e| e.to_string())?;
        from.read_to_end(&mut back).map_err(|e| e.to_string())?;
        assert!(key == file_key && back == plain);
        Ok::<(), String>(())
    };
    read(AgeUnlock::Identities(std::slice::from_ref(&mine))).unwrap();
    read(AgeUnlock::Identities(&[other.clone(), yours])).unwrap();
    read(AgeUnlock::File(&file_key)).unwrap();
    assert_eq!(read(AgeUnlock::Identities(&[other])).unwrap_err(), "it is encrypted for other keys");
    assert_eq!(read(AgeUnlock::Identities(&[])).unwrap_err(), "it is encrypted for other keys");
    assert_eq!(read(AgeUnlock::File(&FileKey([0; 16]))).unwrap_err(), "its header was changed");
    assert_eq!(read(AgeUnlock::Passphrase("p", 10)).unwrap_err(), "it is encrypted for other keys");
    assert_eq!(lock(&file[..]).unwrap(), AgeLock::Keys);
    assert_eq!(lock(&sealed(b"")[..]).unwrap(), AgeLock::Passphrase);
    for at in 0..start(&file) + 20 {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let opened = decrypt(&changed[..], AgeUnlock::Identities(std::slice::from_ref(&mine)));
        let back = opened
            .map_err(|e| e.to_string())
            .and_then(|(mut from, _)| from.read_to_end(&mut vec![]).map_err(|e| e.to_string()));
        assert!(back.is_err(), "byte {at}");
    }
}

/// Both ways: what we write, the age tool reads, and what it writes, we read.
#[test]
#[ignore = "needs the age tool: tests/run brings it"]
fn the_age_tool_reads_what_we_write_and_we_what_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let age = |arguments: &[&str], input: &[u8]| {
        let mut child = std::process::Command::new("age")
            .args(arguments)
            .current_dir(&folder)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(to.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success(), "age {arguments:?}");
        output.stdout
    };
    let ((mine, to_me), (_, to_you)) = (pair(), pair());
    std::fs::write(folder.path().join("key"), mine.file("2026-11-26T17:00:00Z")).unwrap();
    for length in [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let plain = some(length);
        let (mut file, _) = encrypt(vec![], For::Recipients(&[to_you.clone(), to_me.clone()])).unwrap();
        file.write_all(&plain).unwrap();
        assert!(age(&["--decrypt", "--identity", "key"], &file.finish().unwrap()) == plain, "{length}");
        let file = age(&["--recipient", &to_me.to_string(), "--recipient", &to_you.to_string()], &plain);
        let mut back = vec![];
        let (mut from, _) = decrypt(&file[..], AgeUnlock::Identities(std::slice::from_ref(&mine))).unwrap();
        from.read_to_end(&mut back).unwrap();
        assert!(back == plain, "{length}");
    }
}
