//! Secrets under a passphrase, in age's format: `age --decrypt` opens them, too.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use super::age::{self, OpenError};
use crate::{
    error::{Error, Result},
    secrets::Secret,
};

/// The work factor when sealing, as a power of two: the one of the `age` tool, about a second on a laptop.
const WORK: u8 = 18;

/// Largest work factor that is accepted when opening: about a minute on a laptop.
const MOST_WORK: u8 = 22;

/// What [`open`] says of another passphrase than the one it was sealed with.
pub const WRONG_PASSPHRASE: &str = "the passphrase is not the right one";

/// Encrypts secrets by name.
///
/// # Errors
/// Only for a bug.
pub fn seal(secrets: &BTreeMap<String, Secret>, passphrase: &Secret) -> Result<Vec<u8>> {
    let plain: BTreeMap<&str, &str> = secrets.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    let failed = |e: &dyn std::fmt::Display| Error::bug(format!("cannot encrypt the secrets: {e}"));
    let plain = serde_json::to_vec(&plain).map_err(|e| failed(&e))?;
    let mut file = age::encrypt(vec![], passphrase.reveal(), WORK).map_err(|e| failed(&e))?;
    file.write_all(&plain).map_err(|e| failed(&e))?;
    file.finish().map_err(|e| failed(&e))
}

/// Decrypts what [`seal`] made.
///
/// # Errors
/// What is wrong, in words: most often [`WRONG_PASSPHRASE`].
pub fn open(sealed: &[u8], passphrase: &Secret) -> Result<BTreeMap<String, Secret>, String> {
    let mut file = age::decrypt(sealed, passphrase.reveal(), MOST_WORK).map_err(|e| match e {
        OpenError::Passphrase => WRONG_PASSPHRASE.to_owned(),
        other => other.to_string(),
    })?;
    let mut plain = vec![];
    file.read_to_end(&mut plain).map_err(|e| e.to_string())?;
    let plain: BTreeMap<String, String> = serde_json::from_slice(&plain).map_err(|e| e.to_string())?;
    Ok(plain.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_passphrase_opens_it() {
        let secrets = BTreeMap::from([("ANTHROPIC_API_KEY".to_owned(), Secret::new("sk-1"))]);
        let sealed = seal(&secrets, &Secret::new("correct horse")).unwrap();
        assert!(sealed.starts_with(b"age-encryption.org/v1"));
        assert!(!sealed.windows(4).any(|w| w == b"sk-1"));
        assert_eq!(open(&sealed, &Secret::new("correct horse")).unwrap(), secrets);
        assert_eq!(open(&sealed, &Secret::new("wrong")).unwrap_err(), WRONG_PASSPHRASE);
        assert!(open(b"nonsense", &Secret::new("x")).is_err());
    }
}
