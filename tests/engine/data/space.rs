//! Disks that are full: nothing is lost, nothing is left over, and it is said.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::proxy::{Action, At, Fault, Proxy};

/// A small file system of its own, until it is dropped.
struct Small(PathBuf);

impl Small {
    fn mount(folder: PathBuf, kilobytes: u32) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let size = format!("size={kilobytes}k,mode=0777");
        Self::run(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", folder.to_str().unwrap()]);
        Self(folder)
    }

    /// As root, or as somebody who may become root.
    fn run(command: &[&str]) {
        let sudo = ["sudo", "-n"];
        let prefix: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &sudo };
        let words = [prefix, command].concat();
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{words:?}\n{}", shown(&output));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Self::run(&["umount", self.0.to_str().unwrap()]);
    }
}

/// What does not compress, in the projects.
fn fill(world: &World, megabytes: u32) {
    let script = format!("head -c {megabytes}M /dev/urandom > /workspace/large");
    docker(&["exec", &world.container(), "sh", "-c", &script]);
}

fn files(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_backup_that_does_not_fit_leaves_no_file_and_no_pause() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    fill(&world, 8);
    let before = listing(&world);
    for kilobytes in [16, 2048] {
        let small = Small::mount(world.folder().join(format!("small-{kilobytes}")), kilobytes);
        let file = small.0.join("backup.tar.zst");
        let full = error(&world, &["backup", file.to_str().unwrap()], 7, "NO_SPACE");
        assert!(full.to_string().contains(small.0.to_str().unwrap()), "where is said: {full}");
        assert_eq!(files(&small.0), Vec::<String>::new());
        assert_whole(&world, "after a backup that did not fit");
        assert_session(&world, &id, "kept", "after a backup that did not fit");
    }
    assert_same(&before, &listing(&world), "after backups that did not fit");
}

/// Lets new staged volumes come into being on small file systems: the engine takes one that is there already.
fn small_volumes(world: &World, proxy: &Proxy, sizes: [(&'static str, u32); 3]) {
    let (container, instance) = (world.container(), world.name.clone());
    let make = move |call: &crate::proxy::Call| {
        if call.route() == "/volumes/create" {
            for (role, megabytes) in sizes {
                let (name, size) = (format!("{container}-{role}.staged"), format!("o=size={megabytes}m"));
                if docker_try(&["volume", "inspect", &name]).status.success() {
                    continue;
                }
                let instance = format!("docklet.instance={instance}");
                let labels = ["docklet.managed=true", "docklet.appliance=opencode-cloud", &instance];
                let labels = labels.iter().flat_map(|label| ["--label", label]);
                let options = ["type=tmpfs", "device=tmpfs", &size];
                let options = options.iter().flat_map(|option| ["--opt", option]);
                let words: Vec<&str> = ["volume", "create"].into_iter().chain(labels).chain(options).collect();
                docker(&[&words[..], &[&name]].concat());
            }
        }
        false
    };
    proxy.fault(Fault { at: At::Every(Arc::new(make)), action: Action::Hang });
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn data_that_does_not_fit_on_the_engine_leaves_what_is_there() {
    let world = World::new();
    publish(&world, &stand_in(), &[]);
    setup_pulled(&world);
    let id = session(&world, "kept");
    fill(&world, 24);
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let image = runs(&world, "before");
    let before = listing(&world);
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let whole = |when: &str| {
        assert_whole(&world, when);
        assert_session(&world, &id, "kept", when);
        assert_same(&before, &listing(&world), when);
    };
    // Too small from the start, which is seen before a byte is written; and full in the middle.
    for (when, first, measured) in [("too small", 4, true), ("full in the middle", 200, false)] {
        proxy.reset();
        small_volumes(&world, &proxy, [("session", first), ("projects", 4), ("config", 4)]);
        let full = error(&world, &["restore", file, "--yes", "--no-backup"], 7, "NO_SPACE");
        assert!(full["hint"].is_string(), "{when}: {full}");
        let attached = proxy.calls().iter().filter(|call| call.route().ends_with(".task/attach")).count();
        assert_eq!(attached, if measured { 1 } else { 2 }, "{when}\n{}", proxy.report());
        whole(when);
    }
    publish(&world, &stand_in_2(), &[]);
    proxy.reset();
    small_volumes(&world, &proxy, [("session", 4), ("projects", 4), ("config", 4)]);
    let full = error(&world, &["update"], 11, "UPDATE_ROLLED_BACK");
    assert!(full.to_string().contains("not enough space"), "{full}");
    assert_eq!(runs(&world, "after an update that did not fit"), image);
    whole("after an update that did not fit");
}
