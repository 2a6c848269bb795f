//! What only `docklet doctor` asks the host: room on disks, who owns our files and who may read
//! them, what `localhost` means, who starts services. Looks, changes nothing.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    error::io_reason,
    host::system::{self, Init, System},
};

/// Most files that are looked at; of our own there are a dozen.
const MOST_FILES: usize = 2000;

/// How deep below our folders is looked.
const DEPTH: usize = 3;

/// Room on the disk of a folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What an ordinary user may still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// The room on the disk that holds `path`, or will hold it: the nearest folder above that exists.
pub fn space(path: &Path) -> Option<Space> {
    let there = path.ancestors().find(|p| p.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    Some(Space {
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
        total: disk.f_blocks.saturating_mul(disk.f_frsize),
    })
}

/// A file or folder of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFact {
    /// Where it is.
    pub path: PathBuf,
    /// Its owner's number.
    pub owner: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Whether it is a folder.
    pub folder: bool,
}

/// The files and folders at and below these, as far as they can be seen. Links are not followed.
pub fn files(roots: &[&Path]) -> Vec<FileFact> {
    let mut found = vec![];
    let mut open: Vec<(PathBuf, usize)> = roots.iter().map(|root| (root.to_path_buf(), 0)).collect();
    while let Some((path, depth)) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if found.len() >= MOST_FILES || metadata.is_symlink() {
            continue;
        }
        if metadata.is_dir() && depth < DEPTH {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| (entry.path(), depth + 1)));
        }
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        found.push(FileFact { path, owner, mode, folder: metadata.is_dir() });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A folder that docklet needs and cannot write into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// The folder that docklet needs.
    pub wanted: PathBuf,
    /// The nearest one that is there: itself, or one above it.
    pub there: PathBuf,
    /// Whose that is.
    pub owner: u32,
    /// Why it cannot be written into.
    pub reason: String,
}

/// The first of these folders that nothing can be written into. Tries it, with a file that has no name.
pub fn unwritable(folders: &[&Path]) -> Option<Unwritable> {
    folders.iter().find_map(|wanted| {
        let there = wanted.ancestors().find(|above| fs::symlink_metadata(above).is_ok())?;
        let error = tempfile::tempfile_in(there).err()?;
        let owner = fs::symlink_metadata(there).map(|found| found.uid()).unwrap_or_default();
        Some(Unwritable { wanted: wanted.to_path_buf(), there: there.to_owned(), owner, reason: io_reason(&error) })
    })
}

/// What `localhost` means here; empty when nobody knows within `limit`.
pub async fn localhost(limit: Duration) -> Vec<IpAddr> {
    resolve("localhost", 0, limit).await.unwrap_or_default().into_iter().map(|address| address.ip()).collect()
}

/// The addresses of a name, in the order in which programs try them.
///
/// # Errors
/// Why there are none, in a few words.
pub async fn resolve(name: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, String> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let host = name.to_owned();
    // A thread of its own, which is left alone: name servers that do not answer hold it for long,
    // and the runtime would wait for one of its own threads at the end.
    std::thread::spawn(move || answer.send((host.as_str(), port).to_socket_addrs().map(Vec::from_iter)));
    match tokio::time::timeout(limit, answered).await {
        Ok(Ok(Ok(mut found))) => {
            found.dedup();
            Ok(found)
        }
        Ok(Ok(Err(_))) => Err(format!("the name {name} is not known")),
        Ok(Err(_)) | Err(_) => Err(format!("no name server resolved {name} within {} s", limit.as_secs())),
    }
}

/// Whether somebody listens on this port of `::1`.
pub fn taken_on_ipv6(port: u16) -> bool {
    let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
    TcpListener::bind(address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

/// Who starts programs after a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceSupport {
    /// Whether there is a service manager for the user's own services.
    pub manager: bool,
    /// Whether the user's services go on without a session (systemd's linger); `None` where that
    /// means nothing.
    pub linger: Option<bool>,
}

/// Looks who starts programs after a reboot.
pub fn services() -> ServiceSupport {
    let system = System::current();
    let linger = || system::user_name().is_some_and(|user| Path::new("/var/lib/systemd/linger").join(user).exists());
    match system.init {
        // launchd
        _ if system.macos => ServiceSupport { manager: true, linger: None },
        Init::Systemd => ServiceSupport { manager: true, linger: Some(linger()) },
        Init::OpenRc | Init::Scripts | Init::Nobody => ServiceSupport { manager: false, linger: None },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_found_with_owner_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("secrets")).unwrap();
        fs::write(root.join("secrets/KEY"), "x").unwrap();
        fs::set_permissions(root.join("secrets/KEY"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        let found = files(&[&root, Path::new("/nowhere")]);
        let names: Vec<_> = found.iter().map(|f| f.path.strip_prefix(&root).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["", "secrets", "secrets/KEY"], "no link, and nothing that is not there");
        assert_eq!((found[2].mode, found[2].folder), (0o640, false));
        assert_eq!(found[2].owner, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn room_is_that_of_the_nearest_folder() {
        let folder = tempfile::tempdir().unwrap();
        let here = space(folder.path()).unwrap();
        assert!(here.total >= here.free && here.total > 0);
        assert_eq!(space(&folder.path().join("not/yet/there")).unwrap().total, here.total);
    }

    #[test]
    fn folders_are_tried_and_the_nearest_that_is_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(unwritable(&[folder.path(), &folder.path().join("not/yet")]), None);
        let found = unwritable(&[folder.path(), &file.join("docklet/default")]).unwrap();
        assert_eq!((found.there, found.owner), (file, rustix::process::geteuid().as_raw()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left");
    }

    #[tokio::test]
    async fn localhost_is_known() {
        assert!(localhost(Duration::from_secs(5)).await.iter().all(IpAddr::is_loopback));
        let unknown = resolve("docklet.invalid", 1, Duration::from_secs(20)).await.unwrap_err();
        assert!(unknown.contains("docklet.invalid"), "{unknown}");
    }

    #[test]
    fn a_listener_on_ipv6_is_seen() {
        // A machine without IPv6 has nothing to test.
        let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
        let port = listener.local_addr().unwrap().port();
        assert!(taken_on_ipv6(port));
        drop(listener);
        assert!(!taken_on_ipv6(port));
    }
}
