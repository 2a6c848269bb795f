//! What lies in the secrets volume: a file for each secret, and the host's certificate authorities. A helper container
//! fills the volume; a keyed hash in the container's label tells whether the content is still what is wanted.

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{
    appliance::{Appliance, Ids, hex},
    engine::{Engine, task::TaskSpec},
    error::{Error, Result},
    host::pem,
    paths::{self, InstancePaths},
    secrets::{self, Secret},
    settings::Settings,
};

/// Length of the key in bytes.
const KEY_LENGTH: usize = 32;

/// Runs as root in the helper, with CHOWN alone: the volume's folder is root's, the files are the user's.
const FILL: &str = "set -e; /usr/bin/find /secrets -mindepth 1 -delete; \
    /usr/bin/tar --extract --file=- --directory=/secrets --numeric-owner --same-owner --same-permissions";

/// The content of the secrets volume: file name → content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretFiles(BTreeMap<String, Vec<u8>>);

impl std::fmt::Debug for SecretFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl SecretFiles {
    /// Reads the secrets of an instance, with `new` ones that are about to be written, and the certificates that the
    /// settings name: from the file, else from the copy that docklet keeps.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(
        appliance: &Appliance,
        settings: &Settings,
        files: &InstancePaths,
        new: &BTreeMap<String, Secret>,
    ) -> Result<Self> {
        let folder = files.secrets();
        let mut content = BTreeMap::new();
        for name in secrets::names(&folder)? {
            if let Some(secret) = secrets::read(&folder, &name)? {
                content.insert(name, secret.reveal().as_bytes().to_vec());
            }
        }
        content.extend(new.iter().map(|(name, secret)| (name.clone(), secret.reveal().as_bytes().to_vec())));
        if let Some(bundle) = certificates(settings, files)? {
            content.insert(appliance.container.ca_bundle.clone(), bundle);
        }
        Ok(SecretFiles(content))
    }

    /// A hash of all of it that tells nothing to whoever lacks the key, which stays on this machine.
    ///
    /// # Errors
    /// When the key is there and cannot be read, or none can be made.
    pub fn hash(&self, files: &InstancePaths) -> Result<String> {
        let key = match std::fs::read(files.secrets_key()) {
            Ok(key) if key.len() == KEY_LENGTH => key,
            Ok(_) => new_key()?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => new_key()?,
            Err(e) => return Err(Error::file("read", &files.secrets_key(), &e)),
        };
        let mut inner = Sha256::new();
        for (name, content) in &self.0 {
            for part in [name.as_bytes(), content] {
                inner.update((part.len() as u64).to_le_bytes());
                inner.update(part);
            }
        }
        // Key, then hash: no more of the content can be appended, and equal secrets differ between machines.
        let mut outer = Sha256::new();
        outer.update(&key);
        outer.update(inner.finalize());
        Ok(hex(&outer.finalize())[..32].to_owned())
    }

    /// Replaces what is in the volume.
    ///
    /// # Errors
    /// What the engine says, and [`Error::HelperFailed`].
    pub async fn fill(&self, engine: &Engine, mut helper: TaskSpec, volume: &str, ids: Ids) -> Result<()> {
        helper.volumes = vec![(volume.to_owned(), "/secrets".to_owned(), false)];
        helper.command = ["/bin/sh", "-c", FILL].map(str::to_owned).to_vec();
        helper.capabilities = vec!["CHOWN".to_owned()];
        let (ended, _) = engine.run_task(&helper, Some(&self.archive(ids)?)).await?;
        match ended.code {
            0 => Ok(()),
            _ => Err(Error::HelperFailed { what: format!("filling volume {volume}"), reason: ended.reason() }),
        }
    }

    /// The files as a tar archive, each for the user alone.
    fn archive(&self, ids: Ids) -> Result<Vec<u8>> {
        let failed = |e: std::io::Error| Error::bug(format!("cannot pack the secrets: {e}"));
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o400);
            header.set_uid(ids.uid.into());
            header.set_gid(ids.gid.into());
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append_data(&mut header, name, content.as_slice()).map_err(failed)?;
        }
        archive.into_inner().map_err(failed)
    }
}

/// Makes sure that the key of [`SecretFiles::hash`] is on disk before a container carries a hash with it.
///
/// # Errors
/// When it cannot be written.
pub fn keep_key(files: &InstancePaths) -> Result<()> {
    if std::fs::metadata(files.secrets_key()).is_ok_and(|found| found.len() == KEY_LENGTH as u64) {
        return Ok(());
    }
    paths::create_folder(&files.state, 0o700)?;
    paths::write_file(&files.secrets_key(), &new_key()?, 0o600)
}

fn new_key() -> Result<Vec<u8>> {
    let mut key = vec![0; KEY_LENGTH];
    getrandom::fill(&mut key).map_err(|e| Error::bug(format!("no randomness: {e}")))?;
    Ok(key)
}

/// The certificates of the file that the settings name. The file may be gone since: then those of docklet's copy.
fn certificates(settings: &Settings, files: &InstancePaths) -> Result<Option<Vec<u8>>> {
    if settings.trust.ca_file.is_empty() {
        return Ok(None);
    }
    match pem::read_certificates(Path::new(&settings.trust.ca_file)) {
        Ok(bundle) => Ok(Some(bundle)),
        Err(error) => std::fs::read(files.ca_bundle()).map(Some).map_err(|_| error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::paths::Paths;

    #[test]
    fn the_hash_tells_every_change_and_depends_on_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let files = |name: &str| Paths::find(Some(&folder.path().join(name))).unwrap().instance(&"x".parse().unwrap());
        let (here, there) = (files("a"), files("b"));
        keep_key(&here).unwrap();
        keep_key(&there).unwrap();
        let of = |pairs: &[(&str, &str)]| {
            SecretFiles(pairs.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect())
        };
        let hash = |pairs: &[(&str, &str)]| of(pairs).hash(&here).unwrap();
        let first = hash(&[("A", "1"), ("B", "2")]);
        assert_eq!(first, hash(&[("A", "1"), ("B", "2")]));
        for other in [&[("A", "1")][..], &[("A", "1"), ("B", "3")], &[("A", "1B"), ("C", "2")], &[("AB", "12")]] {
            assert_ne!(first, hash(other));
        }
        assert_ne!(first, of(&[("A", "1"), ("B", "2")]).hash(&there).unwrap());
        assert!(!format!("{:?}", of(&[("A", "s3cret")])).contains("s3cret"));
    }

    #[test]
    fn files_are_for_the_user_alone() {
        let files = SecretFiles([("A".to_owned(), b"1".to_vec())].into());
        let packed = files.archive(Ids { uid: 1001, gid: 100 }).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        let header = entry.header();
        assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0o400, 1001, 100));
    }
}
