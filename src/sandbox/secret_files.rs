//! What lies in the secrets volume: a file for each secret, and the host's certificate authorities. A helper container
//! fills the volume; a keyed hash in the container's label tells whether the content is still what is wanted.

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{
    appliance::{Appliance, Ids, hex},
    engine::{Engine, helper::HelperSpec},
    error::{Error, Result},
    host::pem,
    paths::{self, InstancePaths},
    secrets::{self, Secret},
    settings::Settings,
};

/// Length of the key in bytes.
const KEY_LENGTH: usize = 32;

/// Runs as root in the helper, with CHOWN alone: the volume's folder is root's, the files are the user's.
///
/// What is there stays until all of the new is: a docklet that was killed sends nothing, or a part, and a container
/// that is put back needs the old ones.
const FILL: &str = "set -e; cd /secrets; /usr/bin/rm -rf .new; /usr/bin/mkdir -m 0700 .new; \
    /usr/bin/tar --extract --file=- --directory=.new --numeric-owner --same-owner --same-permissions; \
    /usr/bin/rm .new/.complete; /usr/bin/find . -mindepth 1 -maxdepth 1 ! -name .new -delete; \
    /usr/bin/find .new -mindepth 1 -exec /usr/bin/mv -t . {} +; /usr/bin/rmdir .new";

/// The last of the files that are sent.
const COMPLETE: &str = ".complete";

/// The content of the secrets volume, and the key of its hash.
#[derive(Clone, Default)]
pub struct SecretFiles {
    /// File name → content.
    files: BTreeMap<String, Vec<u8>>,
    key: Vec<u8>,
}

impl std::fmt::Debug for SecretFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.files.keys()).finish()
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
        Ok(SecretFiles { files: content, key: key(files)? })
    }

    /// One secret alone, for a container that is never compared with what is wanted.
    pub fn one(name: &str, secret: &Secret) -> Self {
        SecretFiles { files: [(name.to_owned(), secret.reveal().as_bytes().to_vec())].into(), key: vec![] }
    }

    /// The files: name → content.
    pub fn contents(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// A hash of all of it that tells nothing to whoever lacks the key, which stays on this machine.
    pub fn hash(&self) -> String {
        let mut inner = Sha256::new();
        for (name, content) in &self.files {
            for part in [name.as_bytes(), content] {
                inner.update((part.len() as u64).to_le_bytes());
                inner.update(part);
            }
        }
        // Key, then hash: no more of the content can be appended, and equal secrets differ between machines.
        let mut outer = Sha256::new();
        outer.update(&self.key);
        outer.update(inner.finalize());
        hex(&outer.finalize())[..32].to_owned()
    }

    /// Makes sure that the key is on disk before a container carries a hash that was made with it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_key(&self, files: &InstancePaths) -> Result<()> {
        if std::fs::read(files.secrets_key()).is_ok_and(|key| key == self.key) {
            return Ok(());
        }
        paths::create_folder(&files.state, 0o700)?;
        paths::write_file(&files.secrets_key(), &self.key, 0o600)
    }

    /// Replaces what is in the volume.
    ///
    /// # Errors
    /// What the engine says, and [`Error::HelperFailed`].
    pub async fn fill(&self, engine: &Engine, mut helper: HelperSpec, volume: &str, ids: Ids) -> Result<()> {
        helper.volumes = vec![(volume.to_owned(), "/secrets".to_owned(), false)];
        helper.command = ["/bin/sh", "-c", FILL].map(str::to_owned).to_vec();
        helper.capabilities = vec!["CHOWN".to_owned()];
        let (ended, _) = engine.run_helper(&helper, Some(&self.archive(ids)?)).await?;
        match ended.code {
            0 => Ok(()),
            _ => Err(Error::HelperFailed { what: format!("filling volume {volume}"), reason: ended.reason() }),
        }
    }

    /// The files as a tar archive, each for the user alone.
    fn archive(&self, ids: Ids) -> Result<Vec<u8>> {
        let failed = |e: std::io::Error| Error::bug(format!("cannot pack the secrets: {e}"));
        let mut archive = tar::Builder::new(Vec::new());
        let complete = (&COMPLETE.to_owned(), &vec![]);
        for (name, content) in self.files.iter().chain([complete]) {
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

/// The key that is on disk; a new one where there is none.
fn key(files: &InstancePaths) -> Result<Vec<u8>> {
    match std::fs::read(files.secrets_key()) {
        Ok(key) if key.len() == KEY_LENGTH => return Ok(key),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::file("read", &files.secrets_key(), &e));
        }
        _ => {}
    }
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
        let of = |key: u8, pairs: &[(&str, &str)]| SecretFiles {
            files: pairs.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
            key: vec![key; KEY_LENGTH],
        };
        let hash = |pairs: &[(&str, &str)]| of(1, pairs).hash();
        let first = hash(&[("A", "1"), ("B", "2")]);
        assert_eq!(first, hash(&[("A", "1"), ("B", "2")]));
        for other in [&[("A", "1")][..], &[("A", "1"), ("B", "3")], &[("A", "1B"), ("C", "2")], &[("AB", "12")]] {
            assert_ne!(first, hash(other));
        }
        assert_ne!(first, of(2, &[("A", "1"), ("B", "2")]).hash());
        assert!(!format!("{:?}", of(1, &[("A", "s3cret")])).contains("s3cret"));
    }

    #[test]
    fn the_key_that_was_hashed_with_is_the_one_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let files = Paths::find(Some(folder.path())).unwrap().instance(&"x".parse().unwrap());
        let read = || {
            let appliance = Appliance::embedded().unwrap();
            SecretFiles::read(&appliance, &Settings::default(), &files, &BTreeMap::new()).unwrap()
        };
        let first = read();
        first.keep_key(&files).unwrap();
        assert_eq!(read().hash(), first.hash());
    }

    #[test]
    fn files_are_for_the_user_alone() {
        let files = SecretFiles { files: [("A".to_owned(), b"1".to_vec())].into(), key: vec![] };
        let packed = files.archive(Ids { uid: 1001, gid: 100 }).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        let header = entry.header();
        assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0o400, 1001, 100));
    }
}
