//! Secrets under a passphrase or for public keys, in age's format: `age --decrypt` opens them, too.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

pub use super::age::AgeLock;
use super::age::{self, AgeUnlock, For, OpenError};
use crate::{
    age_key::{Identity, Recipient},
    error::{Error, Result},
    secrets::Secret,
};

/// The work factor when sealing, as a power of two: the one of the `age` tool, about a second on a laptop. What is built for
/// tests seals often, and nothing that has to stay secret.
const WORK: u8 = if cfg!(debug_assertions) { 10 } else { 18 };

/// Largest work factor that is accepted when opening: about a minute on a laptop.
const MOST_WORK: u8 = 22;

/// Who can open what is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readers {
    /// Who knows this passphrase.
    Passphrase(Secret),
    /// Whoever has the private half of any of these keys.
    Recipients(Vec<Recipient>),
}

/// What somebody has to open it with.
pub enum Opener<'a> {
    /// A passphrase.
    Passphrase(&'a Secret),
    /// Private keys.
    Identities(&'a [Identity]),
}

/// Why sealed secrets cannot be opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Unopened {
    /// With something else they could be.
    Wrong(&'static str),
    /// They are damaged.
    Damaged(String),
}

/// Encrypts secrets by name.
///
/// # Errors
/// Only for a bug.
pub fn seal(secrets: &BTreeMap<String, Secret>, readers: &Readers) -> Result<Vec<u8>> {
    let plain: BTreeMap<&str, &str> = secrets.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    let failed = |e: &dyn std::fmt::Display| Error::bug(format!("cannot encrypt the secrets: {e}"));
    let plain = serde_json::to_vec(&plain).map_err(|e| failed(&e))?;
    let to = match readers {
        Readers::Passphrase(passphrase) => For::Passphrase(passphrase.reveal(), WORK),
        Readers::Recipients(all) => For::Recipients(all),
    };
    let (mut file, _) = age::encrypt(vec![], to).map_err(|e| failed(&e))?;
    file.write_all(&plain).map_err(|e| failed(&e))?;
    file.finish().map_err(|e| failed(&e))
}

/// What opens sealed secrets; damaged ones are taken for some under a passphrase.
pub fn lock(sealed: &[u8]) -> AgeLock {
    age::lock(sealed).unwrap_or(AgeLock::Passphrase)
}

/// Decrypts what [`seal`] made.
///
/// # Errors
/// [`Unopened`].
pub fn open(sealed: &[u8], opener: &Opener<'_>) -> Result<BTreeMap<String, Secret>, Unopened> {
    let key = match opener {
        Opener::Passphrase(passphrase) => AgeUnlock::Passphrase(passphrase.reveal(), MOST_WORK),
        Opener::Identities(all) => AgeUnlock::Identities(all),
    };
    let (mut file, _) = age::decrypt(sealed, key).map_err(|e| match e {
        OpenError::Passphrase => Unopened::Wrong("the passphrase is not the right one"),
        OpenError::Keys => Unopened::Wrong("it is encrypted for other keys"),
        other => Unopened::Damaged(other.to_string()),
    })?;
    let damaged = |e: &dyn std::fmt::Display| Unopened::Damaged(e.to_string());
    let mut plain = vec![];
    file.read_to_end(&mut plain).map_err(|e| damaged(&e))?;
    let plain: BTreeMap<String, String> = serde_json::from_slice(&plain).map_err(|e| damaged(&e))?;
    Ok(plain.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_passphrase_or_the_key_opens_it() {
        let secrets = BTreeMap::from([("ANTHROPIC_API_KEY".to_owned(), Secret::new("sk-1"))]);
        let (passphrase, wrong) = (Secret::new("correct horse"), Secret::new("wrong"));
        let (mine, yours, other) =
            (Identity::generate().unwrap(), Identity::generate().unwrap(), Identity::generate().unwrap());
        let keys = Readers::Recipients(vec![mine.recipient(), yours.recipient()]);
        let wrong_key = [other.clone()];
        for (readers, right, wrong, is) in [
            (
                Readers::Passphrase(passphrase.clone()),
                Opener::Passphrase(&passphrase),
                Opener::Passphrase(&wrong),
                AgeLock::Passphrase,
            ),
            (keys, Opener::Identities(&[other, yours]), Opener::Identities(&wrong_key), AgeLock::Keys),
        ] {
            let sealed = seal(&secrets, &readers).unwrap();
            assert!(sealed.starts_with(age::BEGINS));
            assert!(!sealed.windows(4).any(|w| w == b"sk-1"));
            assert_eq!(lock(&sealed), is);
            assert_eq!(open(&sealed, &right).unwrap(), secrets);
            assert!(matches!(open(&sealed, &wrong), Err(Unopened::Wrong(_))));
            assert!(matches!(open(&sealed[..sealed.len() - 1], &right), Err(Unopened::Damaged(_))));
        }
        assert!(matches!(open(b"nonsense", &Opener::Passphrase(&passphrase)), Err(Unopened::Damaged(_))));
    }
}
