//! What is refused and asked about, on folders that are really there.
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
fn what_the_agent_could_move_is_no_place_for_a_mount() {
    let world = World::new();
    world.refused(&["other:/workspace/a/b"], "could move /workspace/a");
    world.refused(&["other:/home/opencode/.config/git/hooks:ro"], "could move /home/opencode/.config/git");
    world.refused(&["code/app:/workspace/app", "other:/workspace/app/a/b"], "could move /workspace/app/a");
    world.refused(&["other:/home/opencode/tools/bin"], "could move /home/opencode/tools");
    world.refused(&["file:/home/opencode/.ssh/id_ed25519:ro"], "could move /home/opencode/.ssh");
    world.refused(&["other:/tmp/a/b"], "could move /tmp/a");
    for place in [".local/bin", ".local", "go:ro", ".bashrc", ".cargo/registry"] {
        world.refused(&[&format!("other:/home/opencode/{place}")], "is a link into a volume");
    }
    assert_eq!(world.refuses(&["other:/home/opencode/tools", "file:/home/opencode/tools/bin", "code:/opt/a/b"]), None);
    assert_eq!(world.refuses(&["code/app:/workspace/app:ro", "other:/workspace/app/a/b"]), None);
    assert_eq!(world.refuses(&["code/app:/workspace/app", "other:/workspace/app/a", "file:/workspace/app/a/b"]), None);
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
    // What the agent puts there leads it to nothing else, directly, halfway, or by a link of the user's.
    symlink(world.root.join("other"), world.root.join("code/app/docs")).unwrap();
    symlink("../../me", world.root.join("code/app/up")).unwrap();
    symlink("code/app/docs", world.root.join("to-docs")).unwrap();
    for led in ["code/app/docs", "code/app/up/src", "to-docs", "to-code/app/docs"] {
        world.refused(&["code/app:/workspace/a", &format!("{led}:/workspace/b:ro")], below);
        assert_eq!(world.refuses(&["code/app:/workspace/a:ro", &format!("{led}:/workspace/b")]), None, "{led}");
    }
    let mut other = world.mount("code/app:/workspace/a");
    world.others = vec![("two".to_owned(), other.clone())];
    world.refused(&["code/app/docs:/workspace/b:ro"], "instance two has");
    other.read_only = true;
    world.others = vec![("two".to_owned(), other)];
    assert_eq!(world.refuses(&["code/app/docs:/workspace/b:ro"]), None);
    world.others.clear();
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
    for host in ["me", "me/.ssh", "me/.ssh/id_ed25519", "keys", ".", "/root/.aws", "/root", "/home", "/home/you/.kube"]
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
