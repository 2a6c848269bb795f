//! Folders of the host inside the container: what makes one acceptable, and whether the appliance's
//! user can write there. Looks at the host; changes nothing, and gives no folder to anybody.

use std::path::{Path, PathBuf};

use crate::{
    appliance::Appliance,
    error::{Error, Result, io_reason},
    settings::Mount,
};

/// Folders that the container's own system needs as they are; below them there may be a mount.
const SYSTEM: [&str; 4] = ["/etc", "/home", "/run", "/var"];

/// Folders with its programs, of which none may be hidden.
const PROGRAMS: [&str; 10] =
    ["/bin", "/boot", "/lib", "/lib64", "/sbin", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local/bin", "/usr/sbin"];

/// Folders in which nothing can be mounted at all.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// A mount with an absolute host path; `~` is `home`.
///
/// # Errors
/// When a relative path cannot be made absolute, because there is no current folder.
pub fn absolute(mount: &Mount, home: &Path) -> Result<Mount> {
    let host = match mount.host.strip_prefix("~") {
        Ok(below) => home.join(below),
        Err(_) => std::path::absolute(&mount.host).map_err(|e| Error::file("find", &mount.host, &e))?,
    };
    Ok(Mount { host, ..mount.clone() })
}

/// The mounts whose folder of the host is not there.
pub fn gone(mounts: &[Mount]) -> impl Iterator<Item = &Mount> {
    mounts.iter().filter(|mount| !mount.host.exists())
}

/// Before a container is stopped or started: the engine refuses to start one whose folder is gone.
///
/// # Errors
/// The first folder that is not there any more, and how to do without it.
pub fn still_there(mounts: &[Mount]) -> Result<()> {
    match gone(mounts).next() {
        None => Ok(()),
        Some(gone) => Err(Error::Missing {
            what: format!("folder {}", gone.host.display()),
            reason: Some(format!("it is to be mounted at {}", gone.container)),
            hint: format!("make it again, or do without it: docklet mount remove {}", gone.container),
        }),
    }
}

/// Checks all mounts of an instance against the host, docklet's own folders (`bases`), the
/// appliance and each other.
///
/// # Errors
/// The first that cannot be, and why.
pub fn check(mounts: &[Mount], appliance: &Appliance, bases: [&Path; 3]) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        let refuse = |reason: &str| {
            Err(Error::Usage {
                message: format!("{} cannot be mounted: {reason}", mount.host.display()),
                hint: Some(
                    "name a folder of this machine and a place inside, such as ~/code/app:/workspace/app".to_owned(),
                ),
            })
        };
        match std::fs::metadata(&mount.host) {
            Err(e) => return refuse(&io_reason(&e)),
            Ok(found) if !found.is_dir() => return refuse("it is no folder"),
            Ok(_) => {}
        }
        let real = real(&mount.host);
        let own = bases.into_iter().map(self::real).any(|base| real.starts_with(&base) || base.starts_with(&real));
        if own {
            return refuse("docklet keeps its own files, with the password, there");
        }
        let inside = Path::new(&mount.container);
        let fixed = &appliance.container;
        let taken = appliance.volumes.iter().any(|v| Path::new(&v.mount).starts_with(inside))
            || inside.starts_with(&fixed.secrets_dir)
            || SYSTEM.iter().any(|folder| inside == Path::new(folder))
            || PROGRAMS.iter().any(|folder| inside.starts_with(folder) || Path::new(folder).starts_with(inside))
            || KERNEL.iter().any(|folder| inside.starts_with(folder));
        if taken {
            return refuse(&format!("{} is taken inside the container", mount.container));
        }
        if let Some(other) = mounts[..index].iter().find(|other| other.container == mount.container) {
            return refuse(&format!("{} is taken by {}", mount.container, other.host.display()));
        }
    }
    Ok(())
}

/// Where a path leads through its links; itself where it leads nowhere.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What the user should know of a mounted folder: that the appliance's user cannot write there, or
/// that SELinux keeps it out. Each is one sentence with the command that changes it. docklet changes
/// nothing of it by itself: the folder is the user's.
pub fn advice(mount: &Mount, uid: u32) -> Vec<String> {
    // Engines in a virtual machine map owners by themselves.
    if !cfg!(target_os = "linux") {
        return vec![];
    }
    let mut advice = vec![];
    let folder = shell_words::quote(&mount.host.to_string_lossy()).into_owned();
    let us = rustix::process::getuid().as_raw();
    if let Some(owner) = owner_if_closed(mount, uid) {
        let sudo = if us == owner || us == 0 { "" } else { "sudo " };
        // New files of either side are for both.
        let users = if us == 0 { String::new() } else { format!(" -m d:u:{us}:rwX") };
        advice.push(format!(
            "the appliance (uid {uid}) cannot write in {}, which belongs to uid {owner}; to let it: {sudo}setfacl -R -m u:{uid}:rwX -m d:u:{uid}:rwX{users} {folder}",
            mount.host.display()
        ));
    }
    let enforcing = std::fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1");
    if enforcing && !labelled_for_containers(&mount.host) {
        advice.push(format!(
            "SELinux keeps containers out of {}; to let them in: chcon -R -t container_file_t {folder}",
            mount.host.display()
        ));
    }
    advice
}

/// The folder's owner, when this user cannot make files in it. An access control list decides
/// together with the group's bits, which show its mask: with one, it is open when they are.
fn owner_if_closed(mount: &Mount, uid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(&mount.host).ok()?;
    let wanted = if mount.read_only { 0o5 } else { 0o3 };
    let bits = match found.uid() {
        owner if owner == uid => found.mode() >> 6,
        // The appliance's group has the number of its user.
        _ if found.gid() == uid || has_list(&mount.host) => found.mode() >> 3,
        _ => found.mode(),
    };
    (bits & wanted != wanted).then(|| found.uid())
}

fn has_list(path: &Path) -> bool {
    attribute(path, "system.posix_acl_access").is_some()
}

fn labelled_for_containers(path: &Path) -> bool {
    attribute(path, "security.selinux")
        .is_some_and(|label| String::from_utf8_lossy(&label).contains("container_file_t"))
}

#[cfg(target_os = "linux")]
fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0u8; 1024];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[cfg(not(target_os = "linux"))]
fn attribute(_path: &Path, _name: &str) -> Option<Vec<u8>> {
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn refusal(mounts: &[&str], base: &Path) -> Option<String> {
        let mounts: Vec<Mount> = mounts.iter().map(|m| m.parse().unwrap()).collect();
        let result = check(&mounts, &Appliance::embedded().unwrap(), [base; 3]);
        result.err().map(|e| e.to_string())
    }

    #[test]
    fn only_folders_at_free_places_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["code/app", "home/docklet", "other"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink(root.join("home/docklet"), root.join("link")).unwrap();
        let base = root.join("home/docklet");
        let at = |host: &str, inside: &str| format!("{}:{inside}", root.join(host).display());
        let said = |mounts: &[String]| refusal(&mounts.iter().map(String::as_str).collect::<Vec<_>>(), &base);
        assert_eq!(said(&[at("code/app", "/workspace/app"), at("other", "/workspace/app/deeper")]), None);
        for (host, inside, reason) in [
            ("missing", "/workspace/a", "no such file"),
            ("file", "/workspace/a", "it is no folder"),
            ("home/docklet", "/workspace/a", "its own files"),
            ("link", "/workspace/a", "its own files"),
            ("code/app/../..", "/workspace/a", "its own files"),
            ("home", "/workspace/home", "its own files"),
            ("other", "/workspace", "taken"),
            ("other", "/home/opencode", "taken"),
            ("other", "/run/secrets/x", "taken"),
            ("other", "/proc/x", "taken"),
            ("other", "/usr", "taken"),
            ("other", "/usr/local", "taken"),
            ("other", "/usr/bin/x", "taken"),
        ] {
            let text = said(&[at(host, inside)]).unwrap_or_else(|| panic!("{host} at {inside}"));
            assert!(text.contains(reason), "{host} at {inside}: {text}");
        }
        assert!(said(&[at("code", "/workspace/a"), at("other", "/workspace/a")]).unwrap().contains("taken"));
        assert_eq!(said(&[at("other", "/run/secretsandmore")]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_the_appliance_cannot_write_in_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a 'b'");
        std::fs::create_dir(&path).unwrap();
        let mut mount = Mount { host: path.clone(), container: "/workspace/a".to_owned(), read_only: false };
        let us = rustix::process::getuid().as_raw();
        let stranger = us + 4321;
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o755);
        assert_eq!(advice(&mount, us), Vec::<String>::new());
        let said = advice(&mount, stranger).join("\n");
        assert!(said.contains(&format!("setfacl -R -m u:{stranger}:rwX")), "{said}");
        assert!(said.ends_with(&*shell_words::quote(&path.to_string_lossy())), "{said}");
        assert!(!said.contains("chown"), "the folder stays its owner's: {said}");
        mount.read_only = true;
        assert_eq!(advice(&mount, stranger), Vec::<String>::new(), "for reading it is enough");
        mode(0o700);
        assert_eq!(advice(&mount, stranger).len(), 1);
        mount.read_only = false;
        mode(0o777);
        assert_eq!(advice(&mount, stranger), Vec::<String>::new());
    }
}
