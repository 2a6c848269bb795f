//! Keys of the `age` tool as people write them: `age1…` is the public half, `AGE-SECRET-KEY-1…` the private one
//! (X25519, c2sp.org/age). Pure, but for a new key's randomness.

mod bech32;

use std::{fmt, str::FromStr};

use curve25519_dalek::montgomery::MontgomeryPoint;

use crate::error::{Error, Result};

/// What public keys begin with.
const PUBLIC: &str = "age";

/// What private keys begin with.
const PRIVATE: &str = "AGE-SECRET-KEY-";

/// How a private key begins, to know one in any text.
pub const PRIVATE_BEGINS: &str = "AGE-SECRET-KEY-1";

/// The public half of a key: what is encrypted to it opens with the private half alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// The private half of a key. Printing it for debugging shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity([u8; 32]);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Recipient {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = String;

    /// The reason never repeats the text: it may be a private key.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let is = |begin: &str| text.get(..begin.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(begin));
        if is(PRIVATE) {
            return Err("this is a private key; the public key of the pair begins with age1".to_owned());
        }
        if is("ssh-") {
            return Err("ssh keys can't be used; docklet backup key makes an age key".to_owned());
        }
        let bytes = decoded(text, PUBLIC).map_err(|wrong| match wrong {
            Wrong::Begin => "an age public key begins with age1; docklet backup key makes one".to_owned(),
            Wrong::Spelling => "it isn't an age public key as a whole: a letter is wrong or missing".to_owned(),
        })?;
        // With such a point everybody would know what comes of it.
        if agreed(&[1; 32], &bytes).is_none() {
            return Err("nothing can be encrypted to this key".to_owned());
        }
        Ok(Recipient(bytes))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encoded(PUBLIC, &self.0))
    }
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|e| Error::bug(format!("no randomness: {e}")))?;
        Ok(Identity(bytes))
    }

    /// The public half.
    pub fn recipient(&self) -> Recipient {
        Recipient(public(&self.0))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The lines of a file of `age-keygen`, made at this time.
    pub fn file(&self, created: &str) -> String {
        let secret = bech32::encoded(PRIVATE, &self.0);
        format!("# created: {created}\n# public key: {}\n{secret}\n", self.recipient())
    }

    /// The keys in a file of `age-keygen`: one a line, lines that are empty or begin with `#` left out.
    ///
    /// # Errors
    /// What is wrong, with the number of the line and nothing of what is in it.
    pub fn all_in(file: &str) -> Result<Vec<Self>, String> {
        if file.starts_with("age-encryption.org/") || file.starts_with("-----BEGIN AGE ENCRYPTED FILE") {
            return Err("it is encrypted with a passphrase; decrypt it first: age --decrypt".to_owned());
        }
        if file.contains("PRIVATE KEY-----") {
            return Err("it is an ssh or TLS key; docklet backup key makes an age key".to_owned());
        }
        let mut all = vec![];
        for (number, line) in (1..).zip(file.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = decoded(line, PRIVATE).map_err(|wrong| match wrong {
                Wrong::Begin if line.starts_with("age1") => {
                    format!("line {number} is a public key; the private key begins with {PRIVATE_BEGINS}")
                }
                Wrong::Begin => format!("line {number} doesn't begin with {PRIVATE_BEGINS}"),
                Wrong::Spelling => format!("in line {number}, a letter of the key is wrong or missing"),
            })?;
            all.push(Identity(key));
        }
        if all.is_empty() { Err(format!("no line begins with {PRIVATE_BEGINS}")) } else { Ok(all) }
    }
}

/// The public half of a private key, or of one that is used once.
pub fn public(secret: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*secret).to_bytes()
}

/// What the owners of two pairs of keys both know (X25519, RFC 7748); `None` where everybody would know it.
pub fn agreed(secret: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]> {
    let shared = MontgomeryPoint(*public).mul_clamped(*secret).to_bytes();
    (shared != [0; 32]).then_some(shared)
}

enum Wrong {
    /// It is something else.
    Begin,
    /// It begins well.
    Spelling,
}

fn decoded(text: &str, begin: &str) -> Result<[u8; 32], Wrong> {
    match bech32::decoded(begin, text) {
        Some(bytes) => Ok(bytes),
        None if text.strip_prefix(begin).is_some_and(|rest| rest.starts_with('1')) => Err(Wrong::Spelling),
        None => Err(Wrong::Begin),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Made by `age-keygen` 1.1.1.
    const FILE: &str = "# created: 2026-11-26T16:50:00Z\n\
        # public key: age1dw2n70lww7wsfev8wf0459rcvd95nnh75zk7364jl2xfatd8q92sgx5amu\n\
        AGE-SECRET-KEY-18ARC5QWJ75R2ZM9UZV5ZWAEX3U6ZHMLLR7EWSQSJKUFGUV0LTGES2ZVWAF\n";

    #[test]
    fn a_file_of_age_keygen_is_read_and_written_the_same() {
        let [key] = &Identity::all_in(FILE).unwrap()[..] else { panic!() };
        assert_eq!(key.file("2026-11-26T16:50:00Z"), FILE);
        let public = key.recipient().to_string();
        assert_eq!(public.parse::<Recipient>().unwrap(), key.recipient());
        assert_eq!(format!("{key:?}"), "Identity(…)");
        assert_ne!(Identity::generate().unwrap(), Identity::generate().unwrap());
        let two = format!("\u{20}\n{}\r\n\n# second\n{}", FILE.lines().nth(2).unwrap(), FILE);
        assert_eq!(Identity::all_in(&two).unwrap(), [key.clone(), key.clone()]);
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_its_reason_and_not_repeated() {
        let secret = FILE.lines().nth(2).unwrap();
        let good = Identity::all_in(FILE).unwrap()[0].recipient().to_string();
        let other = good.replace(good.chars().last().unwrap(), "q");
        for (bad, reason) in [
            (secret, "private key"),
            (&secret.to_lowercase(), "private key"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA", "ssh keys"),
            ("", "begins with age1"),
            ("me@example.org", "begins with age1"),
            ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "letter is wrong"),
            (&other, "letter is wrong"),
            (&good[..good.len() - 1], "letter is wrong"),
            (&good.to_uppercase(), "begins with age1"),
            (&bech32::encoded(PUBLIC, &[0; 32]), "nothing can be encrypted"),
        ] {
            let refused = bad.parse::<Recipient>().unwrap_err();
            assert!(refused.contains(reason), "{bad}: {refused}");
            assert!(bad.len() < 8 || !refused.contains(&bad[bad.len() - 8..]), "{refused}");
        }
    }

    #[test]
    fn what_is_no_file_of_keys_is_refused_with_its_line() {
        let secret = FILE.lines().nth(2).unwrap();
        for (bad, reason) in [
            ("", "no line begins with AGE-SECRET-KEY-1"),
            ("# only a comment\n", "no line begins with"),
            (&format!("\n{}\n", secret.to_lowercase()), "line 2 doesn't begin"),
            (&secret[..70], "in line 1, a letter"),
            (&Identity::all_in(FILE).unwrap()[0].recipient().to_string(), "line 1 is a public key"),
            ("age-encryption.org/v1\n-> scrypt", "passphrase"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "ssh or TLS"),
        ] {
            let refused = Identity::all_in(bad).unwrap_err();
            assert!(refused.contains(reason), "{bad}: {refused}");
            assert!(!refused.contains(&secret[20..40]), "{refused}");
        }
    }
}
