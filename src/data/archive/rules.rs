//! Which entries a backup may hold: nothing that could be written outside of the volume that it
//! belongs to. Pure.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use super::{
    printable,
    tar::{Entry, Kind},
};

/// The folder above the volumes in an archive; each is below it under its role.
pub const VOLUMES: &[u8] = b"volumes/";

/// Watches over the entries of one archive.
pub struct Rules {
    roles: Vec<String>,
    /// Hashes of the paths of symbolic links: eight bytes each, however long the paths are.
    symlinks: HashSet<u64>,
    hasher: RandomState,
}

impl Rules {
    /// For an archive with these volumes.
    pub fn new(roles: impl IntoIterator<Item = String>) -> Self {
        Rules { roles: roles.into_iter().collect(), symlinks: HashSet::new(), hasher: RandomState::new() }
    }

    /// The position of the volume that an entry belongs to.
    ///
    /// A symbolic link may lead anywhere: it is data, a virtual environment's `python3` for one.
    /// But nothing may be written through it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&mut self, entry: &Entry) -> Result<usize, String> {
        let shown = printable(&entry.path);
        let role = self.volume_of(&entry.path).map_err(|why| format!("{shown}: {why}"))?;
        match entry.kind {
            Kind::File | Kind::Folder | Kind::Fifo => {}
            Kind::Symlink => {
                if trimmed(&entry.path).len() == VOLUMES.len() + self.roles[role].len() {
                    return Err(format!("{shown}: a volume cannot be a symbolic link"));
                }
                let hash = self.hasher.hash_one(trimmed(&entry.path));
                self.symlinks.insert(hash);
            }
            Kind::HardLink => match self.volume_of(&entry.link) {
                Ok(target) if target == role => {}
                Ok(_) => return Err(format!("{shown}: a hard link leads into another volume")),
                Err(why) => return Err(format!("{shown}: a hard link leads outside: {why}")),
            },
            Kind::Device => return Err(format!("{shown}: it is a device")),
            Kind::Other(kind) => return Err(format!("{shown}: entries of type {kind:#04x} are not known")),
        }
        Ok(role)
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
            return Err("the path has empty parts, «.» or «..» in it".to_owned());
        }
        let inside = path.strip_prefix(VOLUMES).ok_or("it is in no volume")?;
        let role = inside.split(|b| *b == b'/').next().unwrap_or_default();
        let position = self.roles.iter().position(|r| r.as_bytes() == role).ok_or("there is no such volume")?;
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for above in slashes {
            if self.symlinks.contains(&self.hasher.hash_one(&path[..above])) {
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
    use super::*;

    fn entry(kind: Kind, path: &str, link: &str) -> Entry {
        Entry { raw: vec![], kind, path: path.into(), link: link.into(), size: 0 }
    }

    fn refused(entries: &[Entry]) -> Option<String> {
        let mut rules = Rules::new(["session".to_owned(), "projects".to_owned()]);
        entries.iter().find_map(|e| rules.check(e).err())
    }

    #[test]
    fn what_leads_outside_is_refused() {
        let bad = [
            entry(Kind::File, "/etc/passwd", ""),
            entry(Kind::File, "volumes/session/../../etc/passwd", ""),
            entry(Kind::File, "volumes/session/..", ""),
            entry(Kind::File, "volumes/other/a", ""),
            entry(Kind::File, "volumes", ""),
            entry(Kind::File, "volumes//session/a", ""),
            entry(Kind::File, "volumes/session/a\0b", ""),
            entry(Kind::Device, "volumes/session/sda", ""),
            entry(Kind::Other(b'g'), "volumes/session/x", ""),
            entry(Kind::HardLink, "volumes/session/a", "/etc/passwd"),
            entry(Kind::HardLink, "volumes/session/a", "volumes/projects/a"),
            entry(Kind::HardLink, "volumes/session/a", "volumes/session/../../x"),
            entry(Kind::Symlink, "volumes/session", "/etc"),
        ];
        for entry in bad {
            assert!(refused(std::slice::from_ref(&entry)).is_some(), "{entry:?}");
        }
    }

    #[test]
    fn a_symbolic_link_is_data_and_no_way() {
        let link = entry(Kind::Symlink, "volumes/projects/venv/bin/python3", "/usr/bin/python3");
        assert_eq!(refused(std::slice::from_ref(&link)), None);
        let beside = entry(Kind::File, "volumes/projects/venv/bin/python3.txt", "");
        assert_eq!(refused(&[link.clone(), beside]), None);
        let through = entry(Kind::File, "volumes/projects/venv/bin/python3/x", "");
        assert!(refused(&[link.clone(), through]).is_some());
        let through = entry(Kind::HardLink, "volumes/projects/y", "volumes/projects/venv/bin/python3/x");
        assert!(refused(&[link, through]).is_some());
    }
}
