//! The secrets of an instance: one file each, 0600 in a folder of 0700, mounted read-only into the
//! container. Values never leave this file but into files and to the one who asked.

use std::path::Path;

use crate::{
    error::{Error, Result},
    paths, variables,
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
        return Err(format!("the password is too short: use at least {LEAST_PASSWORD_LENGTH} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("a password has no line breaks or control characters".to_owned());
    }
    Ok(Secret(text.to_owned()))
}

/// Whether a text has the form of a secret's name.
pub fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Checks a secret's name: `^[A-Z][A-Z0-9_]{0,63}$`.
///
/// # Errors
/// The reason, for showing beside the field.
pub fn check_name(name: &str) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!("`{name}` isn't a valid name for a secret; write it like ANTHROPIC_API_KEY"));
    }
    match variables::reserved(name) {
        Some(reason) => Err(format!("the name {name} is reserved: {reason}")),
        None => Ok(()),
    }
}

/// Longest value in bytes.
pub const LONGEST: usize = crate::settings::LONGEST_VALUE;

/// Checks a secret's value.
///
/// # Errors
/// The reason, for showing beside the field. It says nothing of the value.
pub fn check_value(name: &str, value: &str) -> Result<(), String> {
    if value.is_empty() {
        Err(format!("the value of {name} is empty"))
    } else if value.contains('\0') {
        Err(format!("the value of {name} has a NUL byte in it, which no variable can"))
    } else if value.len() > LONGEST {
        Err(format!("the value of {name} is longer than {LONGEST} bytes, which no variable may be"))
    } else {
        Ok(())
    }
}

/// Checks a provider's key as it was typed or pasted: without the space around it.
///
/// # Errors
/// The reason, for showing beside the field. It says nothing of the key.
pub fn check_key(name: &str, text: &str) -> Result<Secret, String> {
    let key = text.trim();
    if key.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a key is one word, without spaces or line breaks".to_owned());
    }
    check_value(name, key).map(|()| Secret::new(key))
}

/// The names of all secrets, sorted.
///
/// # Errors
/// When the folder is there and cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries.map_err(|e| Error::file("read", folder, &e))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| check_name(name).is_ok()).collect();
    names.sort();
    Ok(names)
}

/// Removes a secret; says whether it was there.
///
/// # Errors
/// When the file cannot be removed.
pub fn remove(folder: &Path, name: &str) -> Result<bool> {
    check_name(name).map_err(Error::usage)?;
    let path = folder.join(name);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true).map_err(|e| Error::file("remove", &path, &e)),
    }
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

    #[test]
    fn names_are_checked() {
        for good in ["ANTHROPIC_API_KEY", "HTTPS_PROXY", "HOMEPAGE", "OPENCODE_SERVER_PASSWORD"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        assert!(check_name("lower").unwrap_err().contains("isn't a valid name"));
        assert!(check_name("XDG_DATA_HOME").unwrap_err().contains("reserved"));
    }

    #[test]
    fn values_that_no_variable_can_hold_are_refused() {
        assert_eq!(check_value("A", "x"), Ok(()));
        for bad in ["", "a\0b", &"x".repeat(LONGEST + 1)] {
            let reason = check_value("A", bad).unwrap_err();
            assert!(!reason.contains("a\0b"), "{reason}");
        }
    }

    #[test]
    fn a_key_is_one_word() {
        assert_eq!(check_key("A", " sk-1 \n").unwrap().reveal(), "sk-1");
        for bad in ["", "  ", "sk 1", "sk\u{7}1", &"x".repeat(LONGEST + 1)] {
            let reason = check_key("A", bad).unwrap_err();
            assert!(!reason.contains("sk"), "{reason}");
        }
    }

    #[test]
    fn only_secrets_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets");
        assert_eq!(names(&secrets).unwrap(), Vec::<String>::new());
        write(&secrets, "B", &Secret::new("2")).unwrap();
        write(&secrets, "A", &Secret::new("1")).unwrap();
        std::fs::write(secrets.join(".docklet-x"), "").unwrap();
        assert_eq!(names(&secrets).unwrap(), ["A", "B"]);
        assert!(remove(&secrets, "A").unwrap());
        assert!(!remove(&secrets, "A").unwrap());
        assert_eq!(names(&secrets).unwrap(), ["B"]);
    }
}
