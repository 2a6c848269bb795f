//! The format of the `age` tool (c2sp.org/age), under a passphrase or for public keys: streams in constant memory.
//!
//! ```text
//! age-encryption.org/v1
//! -> scrypt SALT WORK        key that wraps = scrypt(passphrase, "age-encryption.org/v1/scrypt" || SALT)
//! -> X25519 SHARE            or HKDF(X25519(once, recipient), SHARE || recipient, "age-encryption.org/v1/X25519")
//! BODY                       ChaCha20-Poly1305(key that wraps, file key)
//! --- MAC                    HMAC-SHA-256(HKDF(file key, "header"), all of the above up to ---)
//! NONCE CHUNK CHUNK …        ChaCha20-Poly1305(HKDF(file key, NONCE, "payload"), 64 KiB each)
//! ```
//!
//! ring, scrypt and curve25519-dalek do the cryptography; this puts their results in order. `header`: the text;
//! `chunks`: the data behind it.

mod chunks;
mod header;
#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Read, Write};

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac,
};

pub use self::chunks::{Decrypt, Encrypt};
use self::header::{AgeHeader, Stanza, decode, encode};
use crate::age_key::{self, Identity, Recipient};

const SCRYPT: &str = "scrypt";
const SCRYPT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
const X25519: &str = "X25519";
const X25519_LABEL: &str = "age-encryption.org/v1/X25519";

/// How every age file begins.
pub const BEGINS: &[u8] = header::VERSION.as_bytes();

/// What opens a file.
#[derive(Clone, Copy)]
pub enum AgeUnlock<'a> {
    /// A passphrase. More work than this is refused before it is done.
    Passphrase(&'a str, u8),
    /// Any of these private keys.
    Identities(&'a [Identity]),
    /// The key of this very file.
    File(&'a FileKey),
}

/// What a file is encrypted for.
#[derive(Clone, Copy)]
pub enum For<'a> {
    /// Who knows this passphrase. The number is the base-two logarithm of scrypt's work factor; each step doubles time
    /// and memory (18: 256 MiB).
    Passphrase(&'a str, u8),
    /// Whoever has the private half of any of these.
    Recipients(&'a [Recipient]),
}

/// The key that a single file is encrypted with. Printing it for debugging shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey([u8; 16]);

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey(…)")
    }
}

/// How a file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeLock {
    /// With a passphrase.
    Passphrase,
    /// For keys.
    Keys,
}

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The passphrase is another one, or the wrapped key is damaged: nobody can tell which.
    #[error("it is another passphrase")]
    Passphrase,
    /// None of the keys opens it.
    #[error("it is encrypted for other keys")]
    Keys,
    /// The header is not valid, or was changed.
    #[error("{0}")]
    Header(&'static str),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Begins a file; its key as well.
///
/// # Errors
/// When the output cannot be written or the system has no randomness.
pub fn encrypt<W: Write>(mut output: W, to: For<'_>) -> io::Result<(Encrypt<W>, FileKey)> {
    let file_key = FileKey(random()?);
    let stanzas = match to {
        For::Passphrase(passphrase, work) => vec![under_passphrase(&file_key, passphrase, work)?],
        For::Recipients(all) => all.iter().map(|one| for_recipient(&file_key, one)).collect::<io::Result<_>>()?,
    };
    let covered = header::covered(&stanzas);
    let mac = hmac::sign(&mac_key(&file_key)?, covered.as_bytes());
    writeln!(output, "{covered} {}", encode(mac.as_ref()))?;
    Ok((Encrypt::new(output, &file_key, &random()?)?, file_key))
}

/// Opens a file; its key as well.
///
/// # Errors
/// [`OpenError`].
pub fn decrypt<R: Read>(input: R, key: AgeUnlock<'_>) -> Result<(Decrypt<R>, FileKey), OpenError> {
    let mut input = BufReader::new(input);
    let header = read_header(&mut input)?;
    let file_key = match key {
        AgeUnlock::File(key) => key.clone(),
        AgeUnlock::Passphrase(passphrase, most_work) => with_passphrase(&header, passphrase, most_work)?,
        AgeUnlock::Identities(all) => with_identities(&header, all)?,
    };
    hmac::verify(&mac_key(&file_key)?, &header.covered, &header.mac)
        .map_err(|_| OpenError::Header("its header was changed"))?;
    Ok((Decrypt::new(input, &file_key)?, file_key))
}

/// How a file is locked: reads its header alone.
///
/// # Errors
/// [`OpenError`].
pub fn lock(input: impl Read) -> Result<AgeLock, OpenError> {
    let header = read_header(&mut BufReader::new(input))?;
    Ok(if header.stanzas.iter().any(|s| s.of(SCRYPT).is_some()) { AgeLock::Passphrase } else { AgeLock::Keys })
}

fn read_header(input: &mut BufReader<impl Read>) -> Result<AgeHeader, OpenError> {
    let header = AgeHeader::read(input)?.ok_or(OpenError::Header("it is no valid age file"))?;
    // A passphrase must stand alone: whoever knows it could not tell who else can read the file.
    if header.stanzas.len() > 1 && header.stanzas.iter().any(|s| s.of(SCRYPT).is_some()) {
        return Err(OpenError::Header("it is under a passphrase and for keys"));
    }
    Ok(header)
}

fn under_passphrase(file_key: &FileKey, passphrase: &str, work: u8) -> io::Result<Stanza> {
    let salt: [u8; 16] = random()?;
    let key = passphrase_key(passphrase, &salt, work).ok_or_else(|| damaged("the work factor is out of range"))?;
    let arguments = vec![SCRYPT.to_owned(), encode(&salt), work.to_string()];
    Ok(Stanza { arguments, body: wrapped(&key, file_key)? })
}

fn for_recipient(file_key: &FileKey, recipient: &Recipient) -> io::Result<Stanza> {
    let once: [u8; 32] = random()?;
    let share = age_key::public(&once);
    let agreed = age_key::agreed(&once, recipient.bytes()).ok_or_else(|| damaged("nothing can be encrypted for it"))?;
    let key = agreed_key(&agreed, &share, recipient)?;
    Ok(Stanza { arguments: vec![X25519.to_owned(), encode(&share)], body: wrapped(&key, file_key)? })
}

fn with_passphrase(header: &AgeHeader, passphrase: &str, most_work: u8) -> Result<FileKey, OpenError> {
    const NOT_VALID: OpenError = OpenError::Header("it is no age file that a passphrase opens");
    let [stanza] = &header.stanzas[..] else { return Err(OpenError::Keys) };
    let Some(arguments) = stanza.of(SCRYPT) else { return Err(OpenError::Keys) };
    let [salt, work] = arguments else { return Err(NOT_VALID) };
    let canonical = !work.starts_with('0') && work.bytes().all(|b| b.is_ascii_digit());
    let work: u8 = work.parse().ok().filter(|_| canonical).ok_or(NOT_VALID)?;
    let salt = decode(salt).ok_or(NOT_VALID)?;
    if stanza.body.len() != WRAPPED {
        return Err(NOT_VALID);
    }
    if work > most_work {
        return Err(OpenError::Header("its passphrase was made too expensive to try"));
    }
    let key = passphrase_key(passphrase, &salt, work).ok_or(OpenError::Passphrase)?;
    unwrapped(&key, &stanza.body).ok_or(OpenError::Passphrase)
}

fn with_identities(header: &AgeHeader, all: &[Identity]) -> Result<FileKey, OpenError> {
    const NOT_VALID: OpenError = OpenError::Header("one of its keys is not valid");
    for (stanza, arguments) in header.stanzas.iter().filter_map(|s| Some((s, s.of(X25519)?))) {
        let [share] = arguments else { return Err(NOT_VALID) };
        let share: [u8; 32] = decode(share).ok_or(NOT_VALID)?;
        if stanza.body.len() != WRAPPED {
            return Err(NOT_VALID);
        }
        for identity in all {
            let agreed = age_key::agreed(identity.bytes(), &share).ok_or(NOT_VALID)?;
            let key = agreed_key(&agreed, &share, &identity.recipient())?;
            if let Some(file_key) = unwrapped(&key, &stanza.body) {
                return Ok(file_key);
            }
        }
    }
    Err(OpenError::Keys)
}

/// Length of a file's key in a stanza.
const WRAPPED: usize = 16 + chunks::TAG;

/// The nonce is always zero: each key wraps once.
fn wrapped(key: &LessSafeKey, file_key: &FileKey) -> io::Result<Vec<u8>> {
    let mut body = file_key.0.to_vec();
    seal(key, Nonce::assume_unique_for_key([0; 12]), &mut body)?;
    Ok(body)
}

fn unwrapped(key: &LessSafeKey, body: &[u8]) -> Option<FileKey> {
    let mut body = body.to_vec();
    let plain = key.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body).ok()?;
    (&*plain).try_into().ok().map(FileKey)
}

/// The key that wraps the file's key under a passphrase. The salt makes it new for each file.
fn passphrase_key(passphrase: &str, salt: &[u8; 16], work: u8) -> Option<LessSafeKey> {
    let parameters = scrypt::Params::new(work, 8, 1, 32).ok()?;
    let mut key = [0; 32];
    scrypt::scrypt(passphrase.as_bytes(), &[SCRYPT_LABEL, salt].concat(), &parameters, &mut key).ok()?;
    UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
}

/// The key that wraps the file's key for a recipient. What was drawn for the share makes it new for each file.
fn agreed_key(agreed: &[u8; 32], share: &[u8; 32], recipient: &Recipient) -> io::Result<LessSafeKey> {
    let salt = [&share[..], recipient.bytes()].concat();
    derived(agreed, &salt, X25519_LABEL, &CHACHA20_POLY1305).map(LessSafeKey::new)
}

/// A key that HKDF makes from a secret.
fn derived<T, K>(secret: &[u8], salt: &[u8], info: &str, kind: T) -> io::Result<K>
where
    T: hkdf::KeyType,
    K: for<'a> From<hkdf::Okm<'a, T>>,
{
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let expanded = extracted.expand(&[info.as_bytes()], kind).map(K::from);
    expanded.map_err(|_| damaged("HKDF does not give keys of this length"))
}

fn mac_key(file_key: &FileKey) -> io::Result<hmac::Key> {
    derived(&file_key.0, &[], "header", hmac::HMAC_SHA256)
}

fn seal(key: &LessSafeKey, nonce: Nonce, bytes: &mut Vec<u8>) -> io::Result<()> {
    key.seal_in_place_append_tag(nonce, Aad::empty(), bytes).map_err(|_| damaged("it is too large to encrypt"))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
