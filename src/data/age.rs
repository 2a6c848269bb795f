//! The format of the `age` tool (c2sp.org/age), for files under a passphrase: streams in constant memory.
//!
//! ```text
//! age-encryption.org/v1
//! -> scrypt SALT WORK        key that wraps = scrypt(passphrase, "age-encryption.org/v1/scrypt" || SALT)
//! BODY                       ChaCha20-Poly1305(key that wraps, file key)
//! --- MAC                    HMAC-SHA-256(HKDF(file key, "header"), all of the above up to ---)
//! NONCE CHUNK CHUNK …        ChaCha20-Poly1305(HKDF(file key, NONCE, "payload"), 64 KiB each)
//! ```
//!
//! ring and scrypt do the cryptography; this file puts their results in order.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac,
};

#[cfg(test)]
mod tests;

const VERSION: &str = "age-encryption.org/v1";
const SALT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
/// Plain bytes in every chunk but the last.
const CHUNK: usize = 64 * 1024;
/// Bytes by which an encrypted chunk is longer than a plain one.
const TAG: usize = 16;
/// A longer line is not part of such a header.
const LONGEST_LINE: u64 = 80;

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The passphrase is another one, or the wrapped key is damaged: nobody can tell which.
    #[error("it is another passphrase")]
    Passphrase,
    /// The header is not that of a file under a passphrase, or was changed.
    #[error("{0}")]
    Header(&'static str),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Begins a file. `work` is the base-two logarithm of scrypt's work factor; each step doubles time and memory
/// (18: 256 MiB).
///
/// # Errors
/// When the output cannot be written or the system has no randomness.
pub fn encrypt<W: Write>(mut output: W, passphrase: &str, work: u8) -> io::Result<Encrypt<W>> {
    let (file_key, salt, nonce) = (random()?, random()?, random()?);
    let wrapping = wrapping_key(passphrase, &salt, work).ok_or_else(|| damaged("the work factor is out of range"))?;
    let mut body = file_key.to_vec();
    seal(&wrapping, Nonce::assume_unique_for_key([0; 12]), &mut body)?;
    let (salt, body) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(body));
    let header = format!("{VERSION}\n-> scrypt {salt} {work}\n{body}\n---");
    let mac = hmac::sign(&mac_key(&file_key)?, header.as_bytes());
    writeln!(output, "{header} {}", STANDARD_NO_PAD.encode(mac))?;
    output.write_all(&nonce)?;
    Ok(Encrypt { output, chunks: Chunks::new(&file_key, &nonce)?, plain: vec![] })
}

/// Opens a file. More `work` than this is refused before it is done.
///
/// # Errors
/// [`OpenError`].
pub fn decrypt<R: Read>(input: R, passphrase: &str, most_work: u8) -> Result<Decrypt<R>, OpenError> {
    let mut input = BufReader::new(input);
    let mut header = String::new();
    for _ in 0..4 {
        (&mut input).take(LONGEST_LINE).read_line(&mut header)?;
    }
    let parsed = Header::parse(&header).ok_or(OpenError::Header("it is no age file that a passphrase opens"))?;
    if parsed.work > most_work {
        return Err(OpenError::Header("its passphrase was made too expensive to try"));
    }
    let file_key = parsed.unwrap(passphrase).ok_or(OpenError::Passphrase)?;
    hmac::verify(&mac_key(&file_key)?, parsed.covered.as_bytes(), &parsed.mac)
        .map_err(|_| OpenError::Header("its header was changed"))?;
    let mut nonce = [0; 16];
    input.read_exact(&mut nonce)?;
    Ok(Decrypt { input, chunks: Chunks::new(&file_key, &nonce)?, plain: vec![], at: 0, state: State::Open })
}

/// A header in its one valid spelling. A passphrase must stand alone, so there are always four lines.
struct Header<'a> {
    salt: [u8; 16],
    work: u8,
    body: [u8; 32],
    /// What the MAC covers.
    covered: &'a str,
    mac: [u8; 32],
}

impl<'a> Header<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let (covered, mac) = header.strip_suffix('\n')?.rsplit_once(' ')?;
        let rest = covered.strip_prefix(VERSION)?.strip_prefix("\n-> scrypt ")?.strip_suffix("\n---")?;
        let (arguments, body) = rest.split_once('\n')?;
        let (salt, work) = arguments.split_once(' ')?;
        let canonical = !work.starts_with('0') && work.bytes().all(|b| b.is_ascii_digit());
        Some(Header {
            salt: decode(salt)?,
            work: work.parse().ok().filter(|_| canonical)?,
            body: decode(body)?,
            covered,
            mac: decode(mac)?,
        })
    }

    /// The file's key; `None` with another passphrase.
    fn unwrap(&self, passphrase: &str) -> Option<[u8; 16]> {
        let wrapping = wrapping_key(passphrase, &self.salt, self.work)?;
        let mut body = self.body;
        let plain = wrapping.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body).ok()?;
        (&*plain).try_into().ok()
    }
}

/// Base64 without padding, in its one valid spelling, of exactly so many bytes.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The key that wraps the file's key. Its nonce is always zero: the salt makes it new for each file.
fn wrapping_key(passphrase: &str, salt: &[u8; 16], work: u8) -> Option<LessSafeKey> {
    let parameters = scrypt::Params::new(work, 8, 1, 32).ok()?;
    let mut key = [0; 32];
    scrypt::scrypt(passphrase.as_bytes(), &[SALT_LABEL, salt].concat(), &parameters, &mut key).ok()?;
    UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
}

/// A key that HKDF makes from the file's key.
fn derived<T, K>(file_key: &[u8; 16], salt: &[u8], info: &str, kind: T) -> io::Result<K>
where
    T: hkdf::KeyType,
    K: for<'a> From<hkdf::Okm<'a, T>>,
{
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(file_key);
    let expanded = extracted.expand(&[info.as_bytes()], kind).map(K::from);
    expanded.map_err(|_| damaged("HKDF does not give keys of this length"))
}

fn mac_key(file_key: &[u8; 16]) -> io::Result<hmac::Key> {
    derived(file_key, &[], "header", hmac::HMAC_SHA256)
}

fn seal(key: &LessSafeKey, nonce: Nonce, bytes: &mut Vec<u8>) -> io::Result<()> {
    key.seal_in_place_append_tag(nonce, Aad::empty(), bytes).map_err(|_| damaged("it is too large to encrypt"))
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The key of the chunks, and how many there were.
struct Chunks {
    key: LessSafeKey,
    count: u64,
}

impl Chunks {
    fn new(file_key: &[u8; 16], nonce: &[u8; 16]) -> io::Result<Self> {
        derived(file_key, nonce, "payload", &CHACHA20_POLY1305)
            .map(|key| Chunks { key: LessSafeKey::new(key), count: 0 })
    }

    /// The next chunk's nonce. Counts before anything can fail, so that none is used twice.
    fn nonce(&mut self, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.count.to_be_bytes());
        nonce[11] = u8::from(last);
        self.count += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Encrypts what is written to it. The file is whole only after [`Encrypt::finish`].
pub struct Encrypt<W> {
    output: W,
    chunks: Chunks,
    plain: Vec<u8>,
}

impl<W: Write> Encrypt<W> {
    /// Writes the last chunk, without which nobody accepts the file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(true)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn put(&mut self, last: bool) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.plain);
        let nonce = self.chunks.nonce(last);
        seal(&self.chunks.key, nonce, &mut chunk)?;
        self.output.write_all(&chunk)?;
        chunk.clear();
        self.plain = chunk;
        Ok(())
    }
}

impl<W: Write> Write for Encrypt<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only when more follows: a full chunk may be the last.
        if self.plain.len() == CHUNK && !bytes.is_empty() {
            self.put(false)?;
        }
        let count = bytes.len().min(CHUNK - self.plain.len());
        self.plain.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Gives the plain bytes, none before its chunk is proved genuine. A file that was cut is an error, not an end.
pub struct Decrypt<R> {
    input: BufReader<R>,
    chunks: Chunks,
    plain: Vec<u8>,
    at: usize,
    state: State,
}

enum State {
    Open,
    Ended,
    /// A chunk could not be read or is not genuine: nothing behind it counts.
    Broken,
}

impl<R: Read> Decrypt<R> {
    fn next(&mut self) -> io::Result<()> {
        if matches!(std::mem::replace(&mut self.state, State::Broken), State::Broken) {
            return Err(damaged("the encrypted data could not be read before"));
        }
        // Nothing of it is visible before it is proved genuine.
        let mut chunk = std::mem::take(&mut self.plain);
        self.at = 0;
        chunk.clear();
        (&mut self.input).take((CHUNK + TAG) as u64).read_to_end(&mut chunk)?;
        let last = self.input.fill_buf()?.is_empty();
        let first = self.chunks.count == 0;
        let nonce = self.chunks.nonce(last);
        let opened = self.chunks.key.open_in_place(nonce, Aad::empty(), &mut chunk);
        let count = opened.map_err(|_| damaged("the encrypted data was cut or changed"))?.len();
        if count == 0 && !first {
            return Err(damaged("the encrypted data ends with an empty chunk"));
        }
        chunk.truncate(count);
        self.plain = chunk;
        self.state = if last { State::Ended } else { State::Open };
        Ok(())
    }
}

impl<R: Read> Read for Decrypt<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at == self.plain.len() && !matches!(self.state, State::Ended) && !to.is_empty() {
            self.next()?;
        }
        let count = (&self.plain[self.at..]).read(to)?;
        self.at += count;
        Ok(count)
    }
}
