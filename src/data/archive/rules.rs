//! Which entries a backup may hold: nothing that could be written outside of the volume that it
//! belongs to. Pure.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use super::tar::{Entry, EntryKind};

/// The folder above the volumes in an archive; each is below it under its role.
pub const VOLUMES: &[u8] = b"volumes/";

/// Longest path in bytes, the slash behind a folder's not counted: Linux takes 4095 (PATH_MAX without the NUL).
pub const LONGEST_PATH: usize = 4094;

/// Why a path is refused that is longer.
pub const TOO_LONG: &str = "its path is too long for Linux to open it";

/// Most files, folders and links in one archive. A monorepo with all its dependencies has half a million; each takes up to 50
/// bytes of memory while a damaged archive is read, and 18 otherwise.
const MOST_ENTRIES: usize = 5_000_000;

/// Watches over the entries of one archive.
pub struct EntryRules {
    /// How many may still come.
    left: usize,
    roles: Vec<String>,
    /// Hashes of the paths of symbolic links: eight bytes each, however long the paths are.
    symlinks: HashSet<u64>,
    /// The same of what was refused.
    refused: HashSet<u64>,
    hasher: RandomState,
}

impl EntryRules {
    /// For an archive with these volumes.
    pub fn new(roles: impl IntoIterator<Item = String>) -> Self {
        EntryRules {
            left: MOST_ENTRIES,
            roles: roles.into_iter().collect(),
            symlinks: HashSet::new(),
            refused: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// The position of the volume that an entry belongs to.
    ///
    /// A symbolic link may lead anywhere: it is data, a virtual environment's `python3` for one.
    /// But nothing may be written through it.
    ///
    /// # Errors
    /// What is wrong with it, in words. What is a hard link to it is then refused, too.
    pub fn check(&mut self, entry: &Entry) -> Result<usize, String> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            // Without taking note of it: what is a hard link to it comes later still.
            format!("a backup has at most {MOST_ENTRIES} files, folders and links")
        })?;
        let checked = self.judge(entry);
        if checked.is_err() {
            self.refused.insert(self.hash(&entry.path));
        }
        checked
    }

    fn judge(&mut self, entry: &Entry) -> Result<usize, String> {
        let role = self.volume_of(&entry.path)?;
        if trimmed(&entry.path).len() > LONGEST_PATH {
            return Err(TOO_LONG.to_owned());
        }
        if entry.oversized {
            return Err("its extended attributes are too large".to_owned());
        }
        match entry.kind {
            EntryKind::File | EntryKind::Folder | EntryKind::Fifo => {}
            EntryKind::Symlink => {
                if trimmed(&entry.path).len() == VOLUMES.len() + self.roles[role].len() {
                    return Err("a volume cannot be a symbolic link".to_owned());
                }
                self.symlinks.insert(self.hash(&entry.path));
            }
            EntryKind::HardLink => {
                match self.volume_of(&entry.link) {
                    Ok(target) if target == role => {}
                    Ok(_) => return Err("a hard link leads into another volume".to_owned()),
                    Err(why) => return Err(format!("a hard link leads outside: {why}")),
                }
                let target = self.hash(&entry.link);
                if self.refused.contains(&target) {
                    return Err("it is a hard link to what cannot be restored".to_owned());
                }
                // Another name of a symbolic link is one.
                if self.symlinks.contains(&target) {
                    self.symlinks.insert(self.hash(&entry.path));
                }
            }
            EntryKind::Device => return Err("it is a device".to_owned()),
            EntryKind::Other(kind) => return Err(format!("entries of type {kind:#04x} are not known")),
        }
        Ok(role)
    }

    fn hash(&self, path: &[u8]) -> u64 {
        self.hasher.hash_one(trimmed(path))
    }

    fn volume_of(&self, path: &[u8]) -> Result<usize, String> {
        if path.starts_with(b"/") {
            return Err("the path is absolute".to_owned());
        }
        if path.contains(&0) {
            return Err("the path has a NUL in it".to_owned());
        }
        let path = trimmed(path);
        if path.split(|b| *b == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
            return Err("the path has empty parts, `.` or `..` in it".to_owned());
        }
        let inside = path.strip_prefix(VOLUMES).ok_or("it is in no volume")?;
        let role = inside.split(|b| *b == b'/').next().unwrap_or_default();
        let position = self.roles.iter().position(|r| r.as_bytes() == role).ok_or("there is no such volume")?;
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for above in slashes {
            if self.symlinks.contains(&self.hash(&path[..above])) {
                return Err("it would be written through a symbolic link".to_owned());
            }
        }
        Ok(position)
    }
}

/// A path without the slash that ends the name of a folder.
fn trimmed(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(kind: EntryKind, path: &str, link: &str) -> Entry {
        Entry { raw: vec![], kind, path: path.into(), link: link.into(), size: 0, sparse: None, oversized: false }
    }

    fn refused(entries: &[Entry]) -> Option<String> {
        let mut rules = EntryRules::new(["session".to_owned(), "projects".to_owned()]);
        entries.iter().find_map(|e| rules.check(e).err())
    }

    #[test]
    fn what_leads_outside_is_refused() {
        let bad = [
            entry(EntryKind::File, "/etc/passwd", ""),
            entry(EntryKind::File, "volumes/session/../../etc/passwd", ""),
            entry(EntryKind::File, "volumes/session/..", ""),
            entry(EntryKind::File, "volumes/other/a", ""),
            entry(EntryKind::File, "volumes", ""),
            entry(EntryKind::File, "volumes//session/a", ""),
            entry(EntryKind::File, "volumes/session/a\0b", ""),
            entry(EntryKind::Device, "volumes/session/sda", ""),
            entry(EntryKind::Other(b'g'), "volumes/session/x", ""),
            entry(EntryKind::HardLink, "volumes/session/a", "/etc/passwd"),
            entry(EntryKind::HardLink, "volumes/session/a", "volumes/projects/a"),
            entry(EntryKind::HardLink, "volumes/session/a", "volumes/session/../../x"),
            entry(EntryKind::Symlink, "volumes/session", "/etc"),
            entry(EntryKind::File, &format!("volumes/session/{}", "x".repeat(4079)), ""),
            Entry { oversized: true, ..entry(EntryKind::File, "volumes/session/a", "") },
        ];
        for entry in bad {
            assert!(refused(std::slice::from_ref(&entry)).is_some(), "{entry:?}");
        }
    }

    #[test]
    fn the_longest_path_and_what_hangs_on_what_was_refused() {
        let longest = entry(EntryKind::Folder, &format!("volumes/session/{}/", "x".repeat(4078)), "");
        assert_eq!(refused(&[longest]), None);
        let mut rules = EntryRules::new(["session".to_owned()]);
        assert!(rules.check(&entry(EntryKind::Device, "volumes/session/d", "")).is_err());
        let twin = entry(EntryKind::HardLink, "volumes/session/e", "volumes/session/d");
        assert!(rules.check(&twin).unwrap_err().contains("hard link to what cannot be restored"));
    }

    #[test]
    fn an_archive_has_so_many_entries_and_no_more() {
        let mut rules = EntryRules { left: 2, ..EntryRules::new(["session".to_owned()]) };
        for name in ["a", "b"] {
            rules.check(&entry(EntryKind::File, &format!("volumes/session/{name}"), "")).unwrap();
        }
        for name in ["c", "d"] {
            let refused = rules.check(&entry(EntryKind::Symlink, &format!("volumes/session/{name}"), "/")).unwrap_err();
            assert!(refused.contains("at most 5000000 files, folders and links"), "{refused}");
        }
        assert_eq!((rules.symlinks.len(), rules.refused.len()), (0, 0), "nothing is remembered of them");
    }

    #[test]
    fn a_symbolic_link_is_data_and_no_way() {
        let link = entry(EntryKind::Symlink, "volumes/projects/venv/bin/python3", "/usr/bin/python3");
        assert_eq!(refused(std::slice::from_ref(&link)), None);
        let beside = entry(EntryKind::File, "volumes/projects/venv/bin/python3.txt", "");
        assert_eq!(refused(&[link.clone(), beside]), None);
        let through = entry(EntryKind::File, "volumes/projects/venv/bin/python3/x", "");
        assert!(refused(&[link.clone(), through]).is_some());
        let through = entry(EntryKind::HardLink, "volumes/projects/y", "volumes/projects/venv/bin/python3/x");
        assert!(refused(&[link.clone(), through]).is_some());
        let twin = entry(EntryKind::HardLink, "volumes/projects/twin", "volumes/projects/venv/bin/python3");
        assert_eq!(refused(&[link.clone(), twin.clone()]), None);
        assert!(refused(&[link, twin, entry(EntryKind::File, "volumes/projects/twin/x", "")]).is_some());
    }
}
