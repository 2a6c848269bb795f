//! The secrets of an instance: one file each, 0600 in a folder of 0700, mounted read-only into the
//! container. Values never leave this file but into files and to the one who asked.

use std::path::Path;

use crate::{
    error::{Error, Result},
    paths,
};

/// A secret value. Printing it for debugging shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that came from a user or a file.
    pub fn new(value: impl Into<String>) -> Self {
        Secret(value.into())
    }

    /// The value itself. Call it only where the value is needed, never for a message.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Letters and digits without those that look alike (0 O, 1 l I): 57 of them.
const ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Length of a generated password: 32 of 57 letters are 186 bits.
const PASSWORD_LENGTH: usize = 32;

/// A new random password from the operating system's generator.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn generate_password() -> Result<Secret> {
    // Bytes at or above the largest multiple of the alphabet's size are thrown away: each letter is
    // equally likely.
    let limit = 256 - 256 % ALPHABET.len();
    let mut password = String::with_capacity(PASSWORD_LENGTH);
    while password.len() < PASSWORD_LENGTH {
        let mut random = [0u8; 64];
        getrandom::fill(&mut random).map_err(|e| Error::bug(format!("no randomness: {e}")))?;
        let letters =
            random.iter().map(|b| usize::from(*b)).filter(|b| *b < limit).map(|b| ALPHABET[b % ALPHABET.len()]);
        password.extend(letters.take(PASSWORD_LENGTH - password.len()).map(char::from));
    }
    Ok(Secret(password))
}

/// Least length of a password that the user brings.
pub const LEAST_PASSWORD_LENGTH: usize = 8;

/// Checks a password that the user brings.
///
/// # Errors
/// The reason, for showing beside the field.
pub fn check_password(text: &str) -> Result<Secret, String> {
    if text.chars().count() < LEAST_PASSWORD_LENGTH {
        return Err(format!("a password has at least {LEAST_PASSWORD_LENGTH} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("a password has no line breaks or control characters".to_owned());
    }
    Ok(Secret(text.to_owned()))
}

/// Checks a secret's name: `^[A-Z][A-Z0-9_]{0,63}$`.
///
/// # Errors
/// The reason, for showing beside the field.
pub fn check_name(name: &str) -> Result<(), String> {
    let valid = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if valid { Ok(()) } else { Err(format!("`{name}` is no name for a secret; write it like ANTHROPIC_API_KEY")) }
}

/// Reads a secret; `None` when there is none.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(folder: &Path, name: &str) -> Result<Option<Secret>> {
    Ok(paths::read_text(&folder.join(name))?.map(|text| Secret(text.strip_suffix('\n').unwrap_or(&text).to_owned())))
}

/// Writes a secret; says whether it was different before.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn write(folder: &Path, name: &str, value: &Secret) -> Result<bool> {
    check_name(name).map_err(Error::usage)?;
    if read(folder, name)?.as_ref() == Some(value) {
        return Ok(false);
    }
    paths::create_folder(folder, 0o700)?;
    paths::write_file(&folder.join(name), value.0.as_bytes(), 0o600)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn generated_passwords_are_long_and_different() {
        let all: std::collections::BTreeSet<String> =
            (0..100).map(|_| generate_password().unwrap().reveal().to_owned()).collect();
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|p| p.len() >= 24 && p.bytes().all(|b| ALPHABET.contains(&b))));
    }

    #[cfg(unix)]
    #[test]
    fn files_are_private_and_read_back() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("a b/secrets");
        let value = Secret::new("s3cret value");
        assert!(write(&secrets, "API_KEY", &value).unwrap());
        assert!(!write(&secrets, "API_KEY", &value).unwrap());
        assert_eq!(read(&secrets, "API_KEY").unwrap().unwrap(), value);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&secrets), mode(&secrets.join("API_KEY"))), (0o700, 0o600));
        assert!(write(&secrets, "../API_KEY", &value).is_err());
        assert!(!format!("{value:?}").contains("s3cret"));
    }
}
