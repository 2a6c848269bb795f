//! The header of an age file in its one valid spelling: a line for the version, a stanza for each way to the file's key,
//! and the MAC.

use std::io::{self, BufRead, Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// The first line, which no other file begins with.
pub const VERSION: &str = "age-encryption.org/v1";

/// Longest header that is read: some hundred recipients.
const LONGEST: u64 = 64 * 1024;

/// Letters in every full line of a stanza's body.
const LINE: usize = 64;

/// A header.
pub struct AgeHeader {
    /// Ways to the file's key.
    pub stanzas: Vec<Stanza>,
    /// What the MAC covers.
    pub covered: Vec<u8>,
    /// The MAC.
    pub mac: [u8; 32],
}

/// One way to the file's key.
pub struct Stanza {
    /// Its type, and what that needs.
    pub arguments: Vec<String>,
    /// Most often the file's key, encrypted.
    pub body: Vec<u8>,
}

impl Stanza {
    /// What it needs, where it is of this type.
    pub fn of(&self, kind: &str) -> Option<&[String]> {
        self.arguments.split_first().filter(|(first, _)| *first == kind).map(|(_, rest)| rest)
    }

    fn write(&self, text: &mut String) {
        text.push_str(&format!("-> {}\n", self.arguments.join(" ")));
        let body = STANDARD_NO_PAD.encode(&self.body);
        let mut rest = body.as_str();
        while rest.len() >= LINE {
            let (line, behind) = rest.split_at(LINE);
            text.push_str(&format!("{line}\n"));
            rest = behind;
        }
        text.push_str(&format!("{rest}\n"));
    }
}

/// What the MAC of a header with these stanzas covers.
pub fn covered(stanzas: &[Stanza]) -> String {
    let mut text = format!("{VERSION}\n");
    stanzas.iter().for_each(|stanza| stanza.write(&mut text));
    text.push_str("---");
    text
}

impl AgeHeader {
    /// Reads one; `None` where it is none. The input is then behind it.
    pub fn read(input: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut input = input.take(LONGEST);
        let mut all = String::new();
        let mut stanzas: Vec<Stanza> = vec![];
        if line(&mut input, &mut all)?.is_none_or(|from| all[from..] != *VERSION) {
            return Ok(None);
        }
        // Whether the last line was the last one of a stanza's body.
        let mut whole = true;
        loop {
            all.push('\n');
            let Some(from) = line(&mut input, &mut all)? else { return Ok(None) };
            let text = &all[from..];
            if !whole && let Some(stanza) = stanzas.last_mut() {
                let Some(bytes) = body_line(text) else { return Ok(None) };
                stanza.body.extend(bytes);
                whole = text.len() < LINE;
            } else if let Some(arguments) = text.strip_prefix("-> ") {
                let Some(arguments) = words(arguments) else { return Ok(None) };
                stanzas.push(Stanza { arguments, body: vec![] });
                whole = false;
            } else {
                let mac = text.strip_prefix("--- ").and_then(decode).filter(|_| !stanzas.is_empty());
                let covered = all.as_bytes()[..from + "---".len().min(text.len())].to_vec();
                return Ok(mac.map(|mac| AgeHeader { stanzas, covered, mac }));
            }
        }
    }
}

/// Appends the next line without its end; where it begins. `None` at the end, and for what is not ASCII.
fn line(input: &mut impl BufRead, all: &mut String) -> io::Result<Option<usize>> {
    let mut bytes = vec![];
    input.read_until(b'\n', &mut bytes)?;
    let from = all.len();
    match bytes.strip_suffix(b"\n").map(std::str::from_utf8) {
        Some(Ok(text)) if text.is_ascii() => {
            all.push_str(text);
            Ok(Some(from))
        }
        _ => Ok(None),
    }
}

fn words(text: &str) -> Option<Vec<String>> {
    let words = text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic())).then_some(words)
}

fn body_line(text: &str) -> Option<Vec<u8>> {
    if text.len() > LINE { None } else { STANDARD_NO_PAD.decode(text).ok() }
}

/// Base64 without padding, in its one valid spelling, of exactly so many bytes.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The other way.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}
