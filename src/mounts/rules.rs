//! What can be mounted where: what is refused, and what is asked about first. Looks at the host by real paths, so that
//! links evade nothing; changes nothing.

use std::{
    ffi::OsString,
    path::{Component, Path, PathBuf},
};

use super::identity::SourceIdentity;
use crate::{
    appliance::Appliance,
    error::{Error, Result},
    paths::{self, real},
    settings::Mount,
};

/// Folders of the host that are its system's, with everything in them. Those that begin with `/private`, and the ones
/// with a capital letter, are macOS's.
const HOST_SYSTEM: [&str; 28] = [
    "/bin",
    "/boot",
    "/dev",
    "/efi",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/backups",
    "/var/cache",
    "/var/db",
    "/var/lib",
    "/var/lock",
    "/var/log",
    "/var/mail",
    "/var/run",
    "/var/spool",
    "/Library",
    "/System",
    "/private/etc",
    "/private/var/db",
    "/private/var/run",
];

/// Folders in which all users and their programs meet: only what is in them can be mounted.
const HOST_SHARED: [&str; 3] = ["/tmp", "/var/tmp", "/private/tmp"];

/// Where desktops put disks that are plugged in: `/run/media/USER/DISK`.
const HOST_MEDIA: &str = "/run/media";

/// Folders of users' homes, and root's home.
const HOMES: [&str; 3] = ["/home", "/Users", "/var/home"];
const ROOTS_HOME: &str = "/root";

/// What sockets of engines are called.
const SOCKETS: [&str; 4] = ["docker.sock", "podman.sock", "containerd.sock", "crio.sock"];

/// Folders that the container's own system needs as they are; below them there may be a mount.
const SYSTEM: [&str; 4] = ["/etc", "/home", "/run", "/var"];

/// Folders with its programs, of which none may be hidden.
const PROGRAMS: [&str; 10] =
    ["/bin", "/boot", "/lib", "/lib64", "/sbin", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local/bin", "/usr/sbin"];

/// Folders in which everybody can write.
const SCRATCH: [&str; 2] = ["/tmp", "/var/tmp"];

/// Folders in which nothing can be mounted at all.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What the rules depend on.
pub struct Surroundings<'a> {
    /// What is installed.
    pub appliance: &'a Appliance,
    /// docklet's own folders.
    pub own: [&'a Path; 3],
    /// Where engines may listen.
    pub sockets: Vec<PathBuf>,
    /// The mounts of the other instances, by the instance's name.
    pub others: Vec<(String, Mount)>,
}

/// Checks all mounts of an instance.
///
/// # Errors
/// The first that cannot be, and why.
pub fn check(mounts: &[Mount], around: &Surroundings<'_>) -> Result<()> {
    // The last one is the new one.
    for (index, mount) in mounts.iter().enumerate().rev() {
        if let Some(reason) = refusal(mounts, index, around) {
            return Err(Error::Usage {
                message: format!("{} cannot be mounted: {reason}", mount.host.display()),
                hint: Some(
                    "name a folder or file of yours and a place inside, such as ~/code/app:/workspace/app".to_owned(),
                ),
            });
        }
    }
    Ok(())
}

/// Why one of an instance's mounts cannot be.
pub fn refusal(mounts: &[Mount], index: usize, around: &Surroundings<'_>) -> Option<String> {
    let mount = mounts.get(index)?;
    source(&mount.host, around)
        .or_else(|| target(mount, around.appliance))
        .or_else(|| taken(mounts, index))
        .or_else(|| redirected(mount, around.appliance))
        .or_else(|| movable(mounts, index, around.appliance))
        .or_else(|| others(mount, around))
}

/// Why a folder or file of the host cannot be mounted anywhere.
fn source(host: &Path, around: &Surroundings<'_>) -> Option<String> {
    if let Err(reason) = SourceIdentity::of(host) {
        return Some(reason);
    }
    let real = paths::real(host);
    if is_system(&real) {
        return Some(format!("{} belongs to this machine's system", real.display()));
    }
    if around.own.into_iter().map(self::real).any(|own| overlap(&real, &own)) {
        return Some("docklet keeps its own files, with the password, there".to_owned());
    }
    let socket = socket_in(&real, &around.sockets)?;
    Some(format!("the container engine's socket {} gives full control of this machine", socket.display()))
}

/// Whether one lies in the other, or is it.
fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn is_system(real: &Path) -> bool {
    let media = real.parent().is_some_and(|parent| parent.parent().is_some_and(|p| p.starts_with(HOST_MEDIA)));
    let system = HOST_SYSTEM.iter().any(|folder| overlap(real, Path::new(folder)));
    (system && !media) || HOST_SHARED.iter().any(|folder| real == Path::new(folder))
}

/// An engine's socket that is there: one of these, or any with a usual name directly in the folder.
fn socket_in(real: &Path, sockets: &[PathBuf]) -> Option<PathBuf> {
    let known = sockets.iter().map(|socket| paths::real(socket)).filter(|socket| socket.starts_with(real));
    let usual = SOCKETS.iter().map(|name| real.join(name));
    known.chain(usual).find(|socket| socket.exists())
}

/// Why nothing can be mounted at this place inside.
fn target(mount: &Mount, appliance: &Appliance) -> Option<String> {
    let text = &mount.container;
    let inside = Path::new(text);
    let normal = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    if !text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(normal)) {
        return Some(format!("{text:?} is not a plain absolute path inside the container"));
    }
    let fixed = &appliance.container;
    let taken = appliance.volumes.iter().any(|v| Path::new(&v.mount).starts_with(inside))
        || inside.starts_with(&fixed.secrets_dir)
        || SYSTEM.iter().any(|folder| inside == Path::new(folder))
        || PROGRAMS.iter().any(|folder| overlap(inside, Path::new(folder)))
        || KERNEL.iter().any(|folder| inside.starts_with(folder));
    if taken {
        return Some(format!("{text} is taken inside the container"));
    }
    // Users and libraries are looked up there.
    let changes_system = inside.starts_with("/etc") && !mount.read_only;
    changes_system.then(|| format!("at {text} it can only be mounted read-only (:ro)"))
}

/// Why it cannot be beside the instance's other mounts: what the agent can write in, it can put links into.
fn taken(mounts: &[Mount], index: usize) -> Option<String> {
    let mount = mounts.get(index)?;
    if let Some(other) = mounts[..index].iter().find(|other| other.container == mount.container) {
        return Some(format!("{} is taken by {}", mount.container, other.host.display()));
    }
    let mut others = mounts.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, other)| other);
    let entries = entries(&mount.host);
    let below = others.find(|other| !other.read_only && lead_through(&entries, &other.host))?;
    Some(format!("the agent can change {}, and so what is mounted from there", below.host.display()))
}

/// Why it would not appear where it is wanted, but where a link leads: the agent can change that before the next start.
fn redirected(mount: &Mount, appliance: &Appliance) -> Option<String> {
    let below = Path::new(&mount.container).strip_prefix(&appliance.container.home).ok()?;
    let first = below.components().next()?;
    appliance.container.home_links.iter().any(|link| first.as_os_str() == link.as_str()).then(|| {
        let link = Path::new(&appliance.container.home).join(first);
        format!("{} is a link into a volume, which the agent could lead elsewhere; name another place", link.display())
    })
}

/// Why the agent could move it: each folder between the target and the volume, mount, home or scratch folder that holds it can be
/// moved, and a link be put there, which the engine follows at the next start. A mount point itself cannot be moved while it
/// is in use.
fn movable(mounts: &[Mount], index: usize, appliance: &Appliance) -> Option<String> {
    let target = Path::new(&mounts.get(index)?.container);
    let parent = target.parent()?;
    let volumes = appliance.volumes.iter().map(|volume| (Path::new(&volume.mount), true));
    let mounted = mounts.iter().map(|mount| (Path::new(&mount.container), !mount.read_only));
    let own = [appliance.container.home.as_str()].into_iter().chain(SCRATCH).map(|folder| (Path::new(folder), true));
    let around = volumes.chain(mounted).chain(own).filter(|(root, _)| parent.starts_with(root));
    let (root, writable) = around.max_by_key(|(root, _)| root.components().count())?;
    (writable && root != parent).then(|| {
        let (target, parent, root) = (target.display(), parent.display(), root.display());
        format!("the agent could move {parent}, and {target} with it; only a place directly in {root} is safe")
    })
}

/// Why it cannot be beside what other instances have.
fn others(mount: &Mount, around: &Surroundings<'_>) -> Option<String> {
    let entries = entries(&mount.host);
    let shared = |other: &Mount| {
        let same = overlap(&real(&mount.host), &real(&other.host)) && !(mount.read_only && other.read_only);
        same || !other.read_only && lead_through(&entries, &other.host)
    };
    let (instance, other) = around.others.iter().find(|(_, other)| shared(other))?;
    Some(format!(
        "instance {instance} has {}, and one of the two could change what the other has",
        other.host.display()
    ))
}

/// What to ask before this is mounted: it is a home folder, or hidden in one, where keys, sign-ins and the settings of
/// programs are. `None` for all else.
pub fn question(mount: &Mount, home: &Path) -> Option<String> {
    let real = paths::real(&mount.host);
    let homes = [paths::real(home), PathBuf::from(ROOTS_HOME)];
    let shown = real.display();
    let may = if mount.read_only { "read" } else { "read and change" };
    if homes.iter().any(|home| home.starts_with(&real)) || is_somebodys_home(&real) {
        return Some(format!(
            "{shown} holds a whole home folder, with keys and sign-ins that the agent can then {may}"
        ));
    }
    let inside = homes.iter().find_map(|home| real.strip_prefix(home).ok()).or_else(|| in_somebodys_home(&real))?;
    let Some(Component::Normal(first)) = inside.components().next() else { return None };
    let first = first.to_string_lossy();
    (first.starts_with('.') || first == "Library").then(|| {
        format!("{shown} can hold keys, sign-ins or settings of other programs, which the agent can then {may}")
    })
}

/// Whether it is another user's home folder, or all of them: docklet may be run by root for somebody.
fn is_somebodys_home(real: &Path) -> bool {
    let lived_in = || [".bashrc", ".config", ".profile", ".ssh"].iter().any(|name| real.join(name).exists());
    let homes = |path: &Path| HOMES.iter().any(|homes| path == Path::new(homes));
    homes(real) || (real.parent().is_some_and(homes) && lived_in())
}

/// The path in a home folder, whoever's it is.
fn in_somebodys_home(real: &Path) -> Option<&Path> {
    let below = HOMES.iter().find_map(|homes| real.strip_prefix(homes).ok())?;
    let user = below.components().next()?;
    below.strip_prefix(user).ok()
}

/// Most links that a path may lead through, as on Linux.
const MOST_LINKS: usize = 40;

/// All that an absolute path leads through, each by its real folder and its name: whoever can change one of them decides
/// where the path leads.
fn entries(path: &Path) -> Vec<PathBuf> {
    let mut left: Vec<OsString> = path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
    let (mut at, mut found, mut links) = (PathBuf::from("/"), vec![], 0);
    while let Some(part) = left.pop() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::Normal(name)) => {
                let entry = at.join(name);
                match std::fs::read_link(&entry) {
                    Ok(target) if links < MOST_LINKS => {
                        links += 1;
                        left.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
                    }
                    _ => at.clone_from(&entry),
                }
                found.push(entry);
            }
            Some(Component::RootDir) => at = PathBuf::from("/"),
            _ => {}
        }
    }
    found
}

/// Whether one of these is in a folder, or is it.
fn lead_through(entries: &[PathBuf], folder: &Path) -> bool {
    let folder = real(folder);
    entries.iter().any(|entry| entry.starts_with(&folder))
}

#[cfg(test)]
mod tests;
