//! What can be mounted where: what is refused, and what is asked about first. Looks at the host by real paths, so that
//! links evade nothing; changes nothing.

use std::path::{Component, Path, PathBuf};

use super::identity::Identity;
use crate::{
    appliance::Appliance,
    error::{Error, Result},
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

/// Folders in which nothing can be mounted at all.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What the rules depend on.
pub struct Surroundings<'a> {
    /// What is installed.
    pub appliance: &'a Appliance,
    /// docklet's own folders.
    pub own: [&'a Path; 3],
    /// The user's home folder.
    pub home: &'a Path,
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
        .or_else(|| others(mount, around))
}

/// Why a folder or file of the host cannot be mounted anywhere.
pub fn source(host: &Path, around: &Surroundings<'_>) -> Option<String> {
    if let Err(reason) = Identity::of(host) {
        return Some(reason);
    }
    let real = real(host);
    if is_system(&real) {
        return Some(format!("{} belongs to this machine's system", real.display()));
    }
    if around.own.into_iter().map(self::real).any(|own| overlap(&real, &own)) {
        return Some("docklet keeps its own files, with the password, there".to_owned());
    }
    let socket = socket_in(&real, &around.sockets)?;
    Some(format!("whoever has the container engine's socket {} has this machine", socket.display()))
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
    let known = sockets.iter().map(|socket| self::real(socket)).filter(|socket| socket.starts_with(real));
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
        || inside == Path::new(&fixed.ca_bundle)
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
    let below = others.find(|other| !other.read_only && real(&mount.host).starts_with(real(&other.host)))?;
    Some(format!("the agent can change {}, and so what is mounted from there", below.host.display()))
}

/// Why it cannot be beside what other instances have.
fn others(mount: &Mount, around: &Surroundings<'_>) -> Option<String> {
    let shared =
        |other: &Mount| overlap(&real(&mount.host), &real(&other.host)) && !(mount.read_only && other.read_only);
    let (instance, other) = around.others.iter().find(|(_, other)| shared(other))?;
    Some(format!(
        "instance {instance} has {}, and one of the two could change what the other has",
        other.host.display()
    ))
}

/// What to ask before this is mounted: it is a home folder, or hidden in one, where keys, sign-ins and the settings of
/// programs are. `None` for all else.
pub fn question(mount: &Mount, home: &Path) -> Option<String> {
    let real = real(&mount.host);
    let homes = [self::real(home), PathBuf::from(ROOTS_HOME)];
    let shown = mount.host.display();
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

/// Where a path leads through its links; itself where it leads nowhere.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with some others in it.
    struct World {
        root: PathBuf,
        others: Vec<(String, Mount)>,
        _folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().canonicalize().unwrap();
            for name in ["code/app", "me/docklet", "me/.ssh", "me/src/.git", "other", "engine/run"] {
                std::fs::create_dir_all(root.join(name)).unwrap();
            }
            std::fs::write(root.join("file"), "").unwrap();
            for (target, link) in [("me/docklet", "link"), ("me/.ssh", "keys"), ("code", "to-code")] {
                symlink(root.join(target), root.join(link)).unwrap();
            }
            symlink("/etc", root.join("to-etc")).unwrap();
            World { root, others: vec![], _folder: folder }
        }

        /// `HOST:INSIDE` with the host's path in this world, unless it is absolute.
        fn mount(&self, text: &str) -> Mount {
            let mount: Mount = text.parse().unwrap();
            Mount { host: self.root.join(&mount.host), ..mount }
        }

        fn refuses(&self, mounts: &[&str]) -> Option<String> {
            let own = self.root.join("me/docklet");
            let appliance = Appliance::embedded().unwrap();
            let around = Surroundings {
                appliance: &appliance,
                own: [&own; 3],
                home: &self.root.join("me"),
                sockets: vec![self.root.join("engine/run/own.name")],
                others: self.others.clone(),
            };
            let mounts: Vec<Mount> = mounts.iter().map(|m| self.mount(m)).collect();
            check(&mounts, &around).err().map(|e| e.to_string())
        }

        #[track_caller]
        fn refused(&self, mounts: &[&str], reason: &str) {
            let said = self.refuses(mounts).unwrap_or_else(|| panic!("{mounts:?} is not refused"));
            assert!(said.contains(reason), "{mounts:?}: {said}");
        }

        fn question(&self, host: &str) -> bool {
            question(&self.mount(&format!("{host}:/workspace/x")), &self.root.join("me")).is_some()
        }
    }

    #[test]
    fn folders_and_files_at_free_places_are_taken() {
        let world = World::new();
        assert_eq!(world.refuses(&["code/app:/workspace/app", "other:/workspace/app/deeper"]), None);
        assert_eq!(world.refuses(&["file:/home/opencode/.ssh/id_ed25519:ro", "other:/home/opencode/.ssh"]), None);
        assert_eq!(world.refuses(&["other:/run/secretsandmore", "file:/etc/gitconfig:ro"]), None);
        for (mount, reason) in [
            ("missing:/workspace/a", "no such file"),
            ("me/docklet:/workspace/a", "its own files"),
            ("link:/workspace/a", "its own files"),
            ("code/app/../..:/workspace/a", "its own files"),
            ("me:/workspace/home", "its own files"),
            ("other:/workspace", "taken"),
            ("other:/home/opencode", "taken"),
            ("other:/run/secrets/x", "taken"),
            ("other:/proc/x", "taken"),
            ("other:/usr", "taken"),
            ("other:/usr/local", "taken"),
            ("other:/usr/bin/x", "taken"),
            ("file:/etc/passwd", "read-only"),
            ("other:/workspace/./x", "plain"),
            ("other:/workspace//x", "plain"),
            ("other:/workspace/a\u{1b}[31m", "plain"),
        ] {
            world.refused(&[mount], reason);
        }
        world.refused(&["code:/workspace/a", "other:/workspace/a"], "taken");
        // A settings file is not parsed like a flag.
        let climbs = Mount { container: "/workspace/../etc".to_owned(), ..world.mount("other:/workspace/x") };
        assert!(target(&climbs, &Appliance::embedded().unwrap()).unwrap().contains("plain"));
    }

    #[test]
    fn what_is_neither_folder_nor_file_is_refused() {
        let world = World::new();
        let _socket = std::os::unix::net::UnixListener::bind(world.root.join("other/socket")).unwrap();
        world.refused(&["other/socket:/workspace/a"], "neither a folder nor a file");
        world.refused(&["/dev/null:/workspace/a"], "neither a folder nor a file");
    }

    #[test]
    fn the_hosts_system_is_refused_also_behind_a_link() {
        let world = World::new();
        for host in ["/", "/etc", "/etc/passwd", "/usr/bin", "/proc", "/dev", "/var", "/var/lib", "/tmp"] {
            if Path::new(host).exists() {
                world.refused(&[&format!("{host}:/workspace/a:ro")], "system");
            }
        }
        world.refused(&["to-etc:/workspace/a"], "/etc belongs");
        world.refused(&["code/../to-etc/passwd:/workspace/a:ro"], "/etc/passwd belongs");
        for (path, system) in [
            ("/run/user/1000", true),
            ("/run/media", true),
            ("/run/media/me", true),
            ("/run/media/me/disk", false),
            ("/var/lib/docker/volumes", true),
            ("/var/tmp", true),
            ("/var/tmp/x", false),
            ("/var/home/me/code", false),
            ("/private", true),
            ("/private/var/folders/x", false),
            ("/srv", false),
            ("/opt/x", false),
            ("/home", false),
            ("/root/code", false),
            ("/etcetera", false),
        ] {
            assert_eq!(is_system(Path::new(path)), system, "{path}");
        }
    }

    #[test]
    fn an_engines_socket_is_refused_and_every_folder_above_it() {
        let world = World::new();
        assert_eq!(world.refuses(&["engine:/workspace/a"]), None, "nobody listens there yet");
        let _own = std::os::unix::net::UnixListener::bind(world.root.join("engine/run/own.name")).unwrap();
        world.refused(&["engine:/workspace/a:ro"], "own.name");
        world.refused(&["engine/run:/workspace/a"], "own.name");
        let _usual = std::os::unix::net::UnixListener::bind(world.root.join("other/podman.sock")).unwrap();
        world.refused(&["other:/workspace/a"], "podman.sock");
    }

    #[test]
    fn what_the_agent_can_swap_is_not_mounted() {
        let mut world = World::new();
        let below = "the agent can change";
        world.refused(&["code:/workspace/a", "code/app:/workspace/b:ro"], below);
        world.refused(&["code/app:/workspace/b:ro", "to-code:/workspace/a"], below);
        world.refused(&["code:/workspace/a", "code:/workspace/b:ro"], below);
        assert_eq!(world.refuses(&["code:/workspace/a:ro", "code/app:/workspace/b"]), None, "what holds it is fixed");
        assert_eq!(world.refuses(&["code:/workspace/a:ro", "code:/workspace/b:ro"]), None);
        world.others = vec![("two".to_owned(), world.mount("code:/workspace/x"))];
        for mount in ["code:/workspace/a:ro", "code/app:/workspace/a:ro", "to-code:/workspace/a"] {
            world.refused(&[mount], "instance two has");
        }
        assert_eq!(world.refuses(&["other:/workspace/a"]), None);
        world.others = vec![("two".to_owned(), world.mount("code:/workspace/x:ro"))];
        assert_eq!(world.refuses(&["code/app:/workspace/a:ro"]), None, "nobody changes it");
        world.refused(&["code/app:/workspace/a"], "instance two has");
    }

    #[test]
    fn homes_and_what_is_hidden_in_them_is_asked_about() {
        let world = World::new();
        for host in
            ["me", "me/.ssh", "me/.ssh/id_ed25519", "keys", ".", "/root/.aws", "/root", "/home", "/home/you/.kube"]
        {
            std::fs::write(world.root.join("me/.ssh/id_ed25519"), "").unwrap();
            assert!(world.question(host), "{host}");
        }
        for host in ["me/src", "me/src/.git", "other", "/root/code", "/home/you/code", "/home/you", "/srv/.x"] {
            assert!(!world.question(host), "{host}");
        }
        let ssh = question(&world.mount("me/.ssh:/workspace/x:ro"), &world.root.join("me")).unwrap();
        assert!(ssh.ends_with("then read"), "{ssh}");
    }
}
