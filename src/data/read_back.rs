//! Whether volumes hold what a backup says. Both are read as a tar and come to the same numbers, in whatever order their
//! entries are, whichever name of a file comes first, and wherever its holes are. Takes no memory that grows with them.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use sha2::{Digest as _, Sha256};

use super::{
    archive::{
        receive::Receiver,
        rules::VOLUMES,
        tar::{BLOCK, Damage, Entry, EntryKind, Reader},
    },
    extract::sparse::Holes,
    pipe,
    volumes::{HelperOf, Named, complaint},
};
use crate::{
    engine::Engine,
    error::{Error, Result},
    interrupt::Interrupt,
};

/// What is compared at a time, in bytes: a block without anything in it is the same as a hole.
const PAGE: usize = 4096;

/// What is in one volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// Names of all kinds.
    pub names: u64,
    /// Over each name with type, owner, permissions, time, and where a link leads.
    named: u128,
    /// Files with content.
    pub files: u64,
    /// Over the content of each file, with owner, permissions and time.
    contents: u128,
}

/// Adds up what is in volumes, by their roles.
#[derive(Debug, Default)]
pub struct VolumeChecksums {
    volumes: BTreeMap<Vec<u8>, Sum>,
    current: Option<CurrentFile>,
}

/// A file that is being read.
struct CurrentFile {
    role: Vec<u8>,
    content: FileDigest,
    holes: Option<Holes>,
    at: u64,
}

impl std::fmt::Debug for CurrentFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("at", &self.at).finish_non_exhaustive()
    }
}

/// A digest of what is not empty in a file.
struct FileDigest {
    digest: Sha256,
    page: u64,
    bytes: Box<[u8; PAGE]>,
}

impl FileDigest {
    fn write(&mut self, mut at: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (page, start) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            if page != self.page {
                self.end_page();
                self.page = page;
            }
            let now = bytes.len().min(PAGE - start);
            self.bytes[start..start + now].copy_from_slice(&bytes[..now]);
            (at, bytes) = (at + now as u64, &bytes[now..]);
        }
    }

    fn end_page(&mut self) {
        if self.bytes.iter().any(|byte| *byte != 0) {
            self.digest.update(self.page.to_le_bytes());
            self.digest.update(&self.bytes[..]);
            self.bytes.fill(0);
        }
    }
}

impl VolumeChecksums {
    /// Of these volumes.
    pub fn of(&self, role: &str) -> Sum {
        self.volumes.get(role.as_bytes()).cloned().unwrap_or_default()
    }
}

impl Receiver for VolumeChecksums {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let path = entry.path.strip_suffix(b"/").unwrap_or(&entry.path);
        let Some(below) = path.strip_prefix(VOLUMES) else { return Ok(()) };
        let role = below.split(|b| *b == b'/').next().unwrap_or_default().to_vec();
        let sum = self.volumes.entry(role.clone()).or_default();
        // Another name of a file is a file: which of them comes first is chance, and so is where the others lead.
        let is_file = matches!(entry.kind, EntryKind::File | EntryKind::HardLink);
        let kind = if is_file { EntryKind::File } else { entry.kind };
        let link = if is_file { &[][..] } else { &entry.link };
        let mut name = Sha256::new();
        for part in [format!("{kind:?}").as_bytes(), path, link, &owned(entry)] {
            name.update((part.len() as u64).to_le_bytes());
            name.update(part);
        }
        sum.names += 1;
        sum.named = sum.named.wrapping_add(number(name));
        if entry.kind == EntryKind::File {
            let digest = Sha256::new_with_prefix(owned(entry)).chain_update(entry.length().to_le_bytes());
            let content = FileDigest { digest, page: 0, bytes: Box::new([0; PAGE]) };
            self.current = Some(CurrentFile { role, content, holes: entry.sparse.map(Holes::new), at: 0 });
        }
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(CurrentFile { content, holes, at, .. }) = &mut self.current else { return Ok(()) };
        if let Some(holes) = holes {
            let write = |at, part: &[u8]| {
                content.write(at, part);
                Ok(())
            };
            // A map that is damaged, or too long for memory, is so on both sides, and then counts for nothing.
            let _ = holes.write(write, bytes);
            return Ok(());
        }
        content.write(*at, bytes);
        *at += bytes.len() as u64;
        Ok(())
    }

    fn padding(&mut self, _: &[u8]) -> io::Result<()> {
        let Some(CurrentFile { role, mut content, .. }) = self.current.take() else { return Ok(()) };
        content.end_page();
        let sum = self.volumes.entry(role).or_default();
        sum.files += 1;
        sum.contents = sum.contents.wrapping_add(number(content.digest));
        Ok(())
    }
}

/// Permissions, owner and time of an entry, whatever fills up their numbers.
fn owned(entry: &Entry) -> Vec<u8> {
    let block = &entry.raw[entry.raw.len().saturating_sub(BLOCK)..];
    let field = |at: std::ops::Range<usize>| {
        let bytes = block.get(at).unwrap_or_default();
        let filling = |byte: &&u8| matches!(byte, 0 | b' ' | b'0');
        let digits = bytes.len() - bytes.iter().take_while(filling).count();
        let digits = &bytes[bytes.len() - digits..];
        digits[..digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len())].to_vec()
    };
    [field(100..108), field(108..116), field(116..124), field(136..148)].join(&b',')
}

fn number(digest: Sha256) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&digest.finalize()[..16]);
    u128::from_le_bytes(half)
}

/// Reads volumes and adds up what is in them.
///
/// # Errors
/// [`Error::Interrupted`], [`Error::VolumesFailed`], and what the engine says.
pub async fn checksums(
    engine: &Engine,
    task: &HelperOf,
    volumes: &[Named],
    interrupt: &Interrupt,
) -> Result<VolumeChecksums> {
    let spec = task.pack(volumes, &[]);
    engine.create_helper(&spec).await?;
    let work = async {
        let (sender, source) = pipe::source();
        let reading = tokio::task::spawn_blocking(move || add_up(source));
        let mut task = engine.start_helper(&spec).await?;
        while let Some(piece) = task.next().await? {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        let ended = task.end().await?;
        if ended.code != 0 {
            return Err(complaint("reading the volumes back", &ended));
        }
        reading.await.map_err(|e| Error::bug(format!("reading back: {e}")))?.map_err(|damage| Error::VolumesFailed {
            what: "reading the volumes back".to_owned(),
            reason: match damage {
                Damage::Io(e) => e.to_string(),
                Damage::Malformed(what) => what,
            },
        })
    };
    let done = interrupt.or(Error::Interrupted { next: "nothing was changed".to_owned() }, work).await;
    let removed = engine.remove_container(&spec.name).await;
    let done = done?;
    removed.map(|_| done)
}

fn add_up(source: impl Read) -> Result<VolumeChecksums, Damage> {
    let mut reader = Reader::new(source);
    let mut checksums = VolumeChecksums::default();
    while let Some(entry) = reader.next_entry()? {
        checksums.entry(&entry)?;
        reader.pass_content(|piece| checksums.content(piece).map_err(Damage::Io))?;
        checksums.padding(&reader.padding()?)?;
    }
    // A source that is not read out blocks its writer.
    io::copy(&mut reader.into_source(), &mut io::sink())?;
    Ok(checksums)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    /// What a tar of this folder's `volumes` comes to, its names in this order.
    fn of(folder: &std::path::Path, names: &[&str], flags: &[&str]) -> Sum {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--format=posix", "--no-recursion", "--numeric-owner"]).args(flags).args(names);
        let output = tar.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        add_up(output.stdout.as_slice()).unwrap().of("p")
    }

    #[test]
    fn the_same_files_are_the_same_in_any_order_and_a_byte_is_a_difference() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("volumes/p").join(name);
        std::fs::create_dir_all(at("")).unwrap();
        std::fs::write(at("a"), "one").unwrap();
        std::fs::hard_link(at("a"), at("b")).unwrap();
        std::os::unix::fs::symlink("a", at("l")).unwrap();
        let big = std::fs::File::create(at("s")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&big, b"end", 3 << 20).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        for name in ["a", "s"] {
            std::fs::File::options().write(true).open(at(name)).unwrap().set_modified(time).unwrap();
        }
        let names = ["volumes/p/a", "volumes/p/b", "volumes/p/l", "volumes/p/s"];
        let first = of(folder.path(), &names, &["--sparse"]);
        assert_eq!((first.names, first.files), (4, 2));
        let turned = ["volumes/p/s", "volumes/p/l", "volumes/p/b", "volumes/p/a"];
        assert_eq!(first, of(folder.path(), &turned, &["--sparse"]), "another order, another first name");
        assert_eq!(first, of(folder.path(), &names, &[]), "holes that are written out");

        let again = |what: &str| {
            for name in ["a", "s"] {
                std::fs::File::options().write(true).open(at(name)).unwrap().set_modified(time).unwrap();
            }
            let now = of(folder.path(), &names, &["--sparse"]);
            assert_ne!(first, now, "{what}");
            now
        };
        std::fs::write(at("a"), "onf").unwrap();
        let altered = again("a byte");
        assert_eq!((altered.named, altered.files), (first.named, 2), "only the content");
        std::fs::write(at("a"), "one").unwrap();
        std::os::unix::fs::FileExt::write_all_at(&big, b"x", 1 << 20).unwrap();
        again("a byte in a hole");
        std::os::unix::fs::FileExt::write_all_at(&big, b"\0", 1 << 20).unwrap();
        assert_eq!(first, {
            std::fs::File::options().write(true).open(at("s")).unwrap().set_modified(time).unwrap();
            of(folder.path(), &names, &["--sparse"])
        });
        std::fs::set_permissions(at("a"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        again("permissions");
    }
}
