#![allow(clippy::unwrap_used)]
use super::*;

/// Made by `age --passphrase` 1.1.1 with the passphrase "correct horse".
const MADE_BY_AGE: &str = "\
    YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCA5MUthRTFyNThMTjdrUkRQYUpxREJBIDE4ClBPdU9HUUhIakRob0pXTTAvcUY2Z2J6Rkt\
    IY1YrYWhiUzJEWkpYSWo5bmMKLS0tIGhIcTdzSEpkamtldDhabmRRVmlmN2NOU2hRRk0zcnhxSFBzZ2hXeHpGL1UK64xcbNleGPdhr90vKll2AR\
    d0QRAzWIwRMkCo/GSg1wHSCFDpyb2XswZd4qzQr74pooBX7Q";

fn sealed(plain: &[u8]) -> Vec<u8> {
    let mut file = encrypt(vec![], "p", 1).unwrap();
    // In pieces that do not fit chunks.
    plain.chunks(50_021).for_each(|piece| file.write_all(piece).unwrap());
    file.finish().unwrap()
}

/// What comes out before the end or the first error, and the error.
fn opened(file: &[u8]) -> (Vec<u8>, Result<(), String>) {
    let mut plain = vec![];
    let mut from = match decrypt(file, "p", 10) {
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
    decrypt(&file[..], "correct horse", 18).unwrap().read_to_string(&mut plain).unwrap();
    assert_eq!(plain, "secrets of a laptop\n");
    assert!(matches!(decrypt(&file[..], "correct horses", 18), Err(OpenError::Passphrase)));
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
    let mut file = encrypt(vec![], "p", 1).unwrap();
    file.write_all(&some(CHUNK)).unwrap();
    file.put(false).unwrap();
    let (plain, result) = opened(&file.finish().unwrap());
    assert_eq!((plain.len(), result.unwrap_err().as_str()), (CHUNK, "the encrypted data ends with an empty chunk"));
}

#[test]
fn a_header_has_one_spelling() {
    let file = sealed(b"");
    let header = String::from_utf8_lossy(&file[..start(&file) - 16]).into_owned();
    assert!(Header::parse(&header).is_some());
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
        format!("{}{}", "a".repeat(100_000), header),
    ] {
        let file = [changed.as_bytes(), &file[start(&file) - 16..]].concat();
        assert_eq!(opened(&file).1.unwrap_err(), "it is no age file that a passphrase opens", "{changed:.200}");
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
    let mut file = encrypt(Once(vec![], false), "p", 1).unwrap();
    file.write_all(&plain).unwrap();
    assert_eq!(file.write(b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_all(b"x").unwrap();
    let written = file.finish().unwrap().0;
    assert!(!written.windows(16).any(|bytes| bytes == &plain[..16]));
    assert!(opened(&written).1.is_err());
}
