//! One writer an instance: an advisory lock on a file that says who holds it. The kernel lets go
//! of it when the process ends, however it ends, so a lock can never be stale.

use std::{fs::File, io::Read as _, os::unix::fs::FileExt as _, path::Path, time::Duration};

use time::OffsetDateTime;

use rustix::fs::{FlockOperation, flock};

use crate::{
    clock,
    error::{Error, Result, is_full},
    instance_name::InstanceName,
    paths,
    units::Elapsed,
};

/// What is said of a holder that has not written down yet who it is.
pub const JUST_BEGUN: &str = "it has only just begun";

/// Held while a command changes an instance; let go when dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or says at once who holds it.
    ///
    /// # Errors
    /// [`Error::Locked`] when another command holds it; a file error when it cannot be created.
    pub fn take(path: &Path, instance: &InstanceName, command: &str) -> Result<Self> {
        if let Some(folder) = path.parent() {
            paths::create_folder(folder, 0o700)?;
        }
        loop {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(|e| Error::file("open the lock", path, &e))?;
            if !try_lock(&file) {
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(|e| Error::file("read the lock", path, &e))?;
                return Err(Error::Locked { instance: instance.to_string(), holder: shown(first_line(&text)) });
            }
            // Between opening and locking, an `uninstall --purge` may have removed the file: a lock
            // on a file that nobody else can open guards nothing.
            if !same_file(&file, path) {
                continue;
            }
            let since = clock::now_rfc3339();
            let text = format!("docklet {command} (pid {}) since {since}\n", std::process::id());
            // Over what is there: whoever reads meanwhile finds a whole line, and a full disk has room for it.
            let written = file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
            return match written {
                // A full disk keeps nobody from removing something: who holds the lock is only for people.
                Err(e) if !is_full(&e) => Err(Error::file("write the lock", path, &e)),
                _ => Ok(Lock { file }),
            };
        }
    }

    /// The same lock once more. It is held until all are dropped.
    ///
    /// # Errors
    /// When no more files can be open.
    pub fn again(&self) -> Result<Self> {
        let file = self.file.try_clone().map_err(|e| Error::bug(format!("a lock cannot be shared: {e}")))?;
        Ok(Lock { file })
    }

    /// Whether the lock's file is still the one that others find under its name.
    pub fn is_named(&self, path: &Path) -> bool {
        same_file(&self.file, path)
    }

    /// What the holder wrote about itself; `None` when nobody holds the lock.
    pub fn holder(path: &Path) -> Option<String> {
        if !Lock::is_held(path) {
            return None;
        }
        let text = paths::read_text(path).ok().flatten()?;
        Some(first_line(&text).to_owned())
    }

    /// The process id in what a holder wrote about itself.
    pub fn pid_of(holder: &str) -> Option<u32> {
        let (_, rest) = holder.split_once("(pid ")?;
        rest.split_once(')')?.0.parse().ok()
    }

    /// Whether a command holds the lock now. Does not take it.
    pub fn is_held(path: &Path) -> bool {
        File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }
}

/// A longer line of an earlier holder may still have its end behind it.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What a holder wrote about itself, for people: how long it has been at work, whatever their time zone is.
pub fn shown(holder: &str) -> String {
    if holder.is_empty() {
        return JUST_BEGUN.to_owned();
    }
    let Some((who, since)) = holder.split_once(" since ") else { return holder.to_owned() };
    match clock::parse(since).map(|since| Duration::try_from(OffsetDateTime::now_utc() - since)) {
        Some(Ok(time)) => format!("{who}, for {}", Elapsed(time)),
        // Since a time that is still to come: the clock was set back.
        Some(Err(_)) => who.to_owned(),
        None => holder.to_owned(),
    }
}

/// Somebody who only asks ([`Lock::is_held`]) shares the lock for an instant, longer where the processors are busy; that is no
/// holder.
fn try_lock(file: &File) -> bool {
    for _ in 0..2500 {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if flock(file, FlockOperation::NonBlockingLockShared).is_err() {
            return false;
        }
        let _ = flock(file, FlockOperation::Unlock);
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/lock");
        let instance: InstanceName = "default".parse().unwrap();
        let held = Lock::take(&path, &instance, "setup").unwrap();
        assert!(Lock::is_held(&path));
        match Lock::take(&path, &instance, "stop") {
            Err(Error::Locked { holder, .. }) => {
                assert_eq!(holder.split(", for").next(), Some(&*format!("docklet setup (pid {})", std::process::id())));
                assert!(holder.ends_with('s') && !holder.contains('Z'), "no time of another zone: {holder}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(Lock::holder(&path).as_deref().and_then(Lock::pid_of), Some(std::process::id()));
        drop(held);
        assert!(!Lock::is_held(&path) && Lock::holder(&path).is_none());
        Lock::take(&path, &instance, "stop").unwrap();
    }

    #[test]
    fn asking_is_not_holding_and_the_holder_is_always_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let instance: InstanceName = "default".parse().unwrap();
        // Of an earlier holder, and longer.
        let us = std::process::id();
        std::fs::write(&path, format!("docklet supervise (pid {us}) since 2026-11-21T01:19:58Z, and more\n")).unwrap();
        let asking = std::sync::atomic::AtomicBool::new(true);
        std::thread::scope(|threads| {
            let asker = threads.spawn(|| {
                while asking.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Some(holder) = Lock::holder(&path) {
                        assert!(Lock::pid_of(&holder) == Some(us), "{holder:?}");
                    }
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
            });
            let taken = (0..2000).all(|_| Lock::take(&path, &instance, "start").is_ok());
            asking.store(false, std::sync::atomic::Ordering::Relaxed);
            asker.join().unwrap();
            assert!(taken, "somebody who asked was taken for a holder");
        });
    }

    #[test]
    fn a_removed_lock_file_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let instance: InstanceName = "default".parse().unwrap();
        let old = Lock::take(&path, &instance, "uninstall").unwrap();
        std::fs::remove_file(&path).unwrap();
        let new = Lock::take(&path, &instance, "setup").unwrap();
        assert!(!old.is_named(&path) && new.is_named(&path));
        drop(old);
        assert!(Lock::is_held(&path));
    }
}
