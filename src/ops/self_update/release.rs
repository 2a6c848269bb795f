//! What the server of releases offers: the signed list of files, and the program for this system.

use std::time::Duration;

use minisign_verify::{PublicKey, Signature};
use sha2::{Digest as _, Sha256};

use super::ReleaseSource;
use crate::{
    appliance::hex,
    error::{Error, Result},
    host::{connectivity::Way, fetch::fetch},
    ops::Options,
    units::Version,
};

/// How large the list, its signature and a program may be.
const LIST: usize = 64 * 1024;
const PROGRAM: usize = 64 * 1024 * 1024;

/// How long each may take.
const LIST_DEADLINE: Duration = Duration::from_secs(30);
const PROGRAM_DEADLINE: Duration = Duration::from_secs(600);

/// The newest release, as its signed list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its version.
    pub version: String,
    file: String,
    sha256: String,
}

impl Offer {
    /// Asks for the newest release, and verifies the list of its files.
    pub async fn newest(source: &ReleaseSource, options: &Options) -> Result<Offer> {
        let key = key(&source.key)?;
        let latest = |file: &str| format!("{}/releases/latest/download/{file}", source.repository);
        let list = read(&latest("SHA256SUMS"), options, LIST, LIST_DEADLINE).await?;
        let signature = read(&latest("SHA256SUMS.minisig"), options, LIST, LIST_DEADLINE).await?;
        let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        Offer::verified(&key, &list, &signature, &target)
    }

    fn verified(key: &PublicKey, list: &[u8], signature: &[u8], target: &str) -> Result<Offer> {
        let signature = String::from_utf8_lossy(signature);
        let signature = Signature::decode(&signature).map_err(|_| refused("its signature is damaged"))?;
        key.verify(list, &signature, false)
            .map_err(|_| refused("its signature isn't docklet's, or its list was altered"))?;
        let list = std::str::from_utf8(list).map_err(|_| refused("its list is no text"))?;
        let offers = list.lines().filter_map(|line| {
            let (sha256, file) = line.split_once("  ")?;
            let version =
                file.strip_prefix("docklet-")?.strip_suffix(".zst")?.strip_suffix(target)?.strip_suffix('-')?;
            let (version, file, sha256) = (version.to_owned(), file.to_owned(), sha256.to_owned());
            Version::is_exact(&version).then_some(Offer { version, file, sha256 })
        });
        offers
            .max_by_key(|offer| Version::of(&offer.version))
            .ok_or_else(|| refused(&format!("it has no file for {target}")))
    }

    /// The program itself.
    pub async fn fetch(&self, source: &ReleaseSource, options: &Options) -> Result<Vec<u8>> {
        let address = format!("{}/releases/download/v{}/{}", source.repository, self.version, self.file);
        self.unpacked(&read(&address, options, PROGRAM, PROGRAM_DEADLINE).await?)
    }

    fn unpacked(&self, file: &[u8]) -> Result<Vec<u8>> {
        if hex(&Sha256::digest(file)) != self.sha256 {
            return Err(refused(&format!("{} is damaged or altered (SHA-256)", self.file)));
        }
        zstd::decode_all(file).map_err(|e| refused(&format!("{} is damaged: {e}", self.file)))
    }
}

/// The key is what `minisign -G` writes: a comment and a line in base64, of which the second counts.
fn key(text: &str) -> Result<PublicKey> {
    let line = text.lines().find(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
    let key = line.and_then(|line| PublicKey::from_base64(line.trim()).ok());
    key.ok_or_else(|| Error::Usage {
        message: "this docklet was built without the key that releases are signed with".to_owned(),
        hint: Some("update it from its source: git pull && cargo install --path . --locked".to_owned()),
    })
}

async fn read(address: &str, options: &Options, limit: usize, deadline: Duration) -> Result<bytes::Bytes> {
    let way = |host: &str| Way::new(host, |name| options.proxies.get(name).cloned(), options.ca_file.as_deref());
    fetch(address, way, limit, deadline).await.map_err(|reason| Error::ReleaseUnreachable { reason })
}

fn refused(reason: &str) -> Error {
    Error::ReleaseRefused { reason: reason.to_owned() }
}
