//! Takes the certificates out of a PEM file, and nothing else: a file of certificate authorities may also hold a
//! private key, which must not reach the agent.

use std::path::Path;

use base64::Engine as _;

use crate::error::{Error, Result};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The CERTIFICATE blocks of a file.
///
/// # Errors
/// When it cannot be read, holds no certificate, or a block of it is broken.
pub fn read_certificates(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs_err::read(path).map_err(|e| Error::file("read the CA file", path, &e))?;
    certificates(&String::from_utf8_lossy(&bytes)).map_err(|reason| Error::Usage {
        message: format!("{} can't be used as a CA file: {reason}", path.display()),
        hint: Some("name a file with whole certificates in PEM form: --ca-file FILE".to_owned()),
    })
}

fn certificates(text: &str) -> Result<Vec<u8>, String> {
    let mut out = String::new();
    let mut block: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        match (&mut block, line) {
            (Some((from, _)), _) if line.starts_with("-----") && line != END => {
                return Err(format!("the certificate that begins on line {from} has no end"));
            }
            (Some((from, content)), END) => {
                match base64::engine::general_purpose::STANDARD.decode(&*content) {
                    Ok(der) if is_whole_sequence(&der) => {}
                    _ => return Err(format!("the certificate that begins on line {from} is damaged")),
                }
                let lines = content.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>();
                out.push_str(&format!("{BEGIN}\n{}\n{END}\n", lines.join("\n")));
                block = None;
            }
            (Some((_, content)), _) => content.push_str(line),
            (None, BEGIN) => block = Some((index + 1, String::new())),
            (None, _) => {}
        }
    }
    match block {
        Some((from, _)) => Err(format!("the certificate that begins on line {from} has no end")),
        None if out.is_empty() => Err("it holds no certificate in PEM form".to_owned()),
        None => Ok(out.into_bytes()),
    }
}

/// Whether these are one DER value as long as it says, a list that begins with a list: the outside of every certificate.
fn is_whole_sequence(der: &[u8]) -> bool {
    const LIST: u8 = 0x30;
    let Some((&[LIST, short], rest)) = der.split_first_chunk() else { return false };
    let (length, content) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x83 if rest.len() >= usize::from(short & 0x7f) => {
            let (length, content) = rest.split_at(usize::from(short & 0x7f));
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), content)
        }
        _ => return false,
    };
    content.len() == length && content.first() == Some(&LIST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_whole_certificates_are_taken() {
        // A list of one empty list.
        let certificate = format!("{BEGIN}\nMAIwAA==\n{END}\n");
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let mixed = format!("# a comment\n{key}{certificate}{certificate}{key}");
        assert_eq!(certificates(&mixed).unwrap(), certificate.repeat(2).into_bytes());
        let broken = |text: &str| certificates(text).unwrap_err();
        assert_eq!(broken(key), "it holds no certificate in PEM form");
        assert!(broken(&format!("x\n{BEGIN}\nTUlJQg==\n")).contains("line 2 has no end"));
        assert!(broken(&format!("{BEGIN}\nTUlJQg==\n{key}{END}\n")).contains("line 1 has no end"));
        for damaged in ["T!lJQg==", "", "c2VjcmV0", "MAI=", "MAMwAA==", "MIIBAA=="] {
            assert!(broken(&format!("{BEGIN}\n{damaged}\n{END}\n")).contains("line 1 is damaged"), "{damaged}");
        }
        let real = include_str!("../../tests/fixtures/tls/cert.pem");
        assert!(certificates(real).is_ok());
        let lines: Vec<&str> = real.lines().collect();
        let cut = [&lines[..2], &lines[lines.len() - 1..]].concat().join("\n");
        assert!(broken(&cut).contains("line 1 is damaged"), "{cut}");
    }
}
