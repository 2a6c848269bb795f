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
                if base64::engine::general_purpose::STANDARD.decode(&*content).is_err() || content.is_empty() {
                    return Err(format!("the certificate that begins on line {from} is damaged"));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_whole_certificates_are_taken() {
        let certificate = format!("{BEGIN}\nTUlJQg==\n{END}\n");
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let mixed = format!("# a comment\n{key}{certificate}{certificate}{key}");
        assert_eq!(certificates(&mixed).unwrap(), certificate.repeat(2).into_bytes());
        let broken = |text: &str| certificates(text).unwrap_err();
        assert_eq!(broken(key), "it holds no certificate in PEM form");
        assert!(broken(&format!("x\n{BEGIN}\nTUlJQg==\n")).contains("line 2 has no end"));
        assert!(broken(&format!("{BEGIN}\nTUlJQg==\n{key}{END}\n")).contains("line 1 has no end"));
        assert!(broken(&format!("{BEGIN}\nT!lJQg==\n{END}\n")).contains("line 1 is damaged"));
    }
}
