//! Disks that are full: nothing is lost, nothing is left over, and it is said.

use std::path::Path;
use std::process::Command;

use super::*;

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
        // Lazily: after a test that failed, a supervisor may still have files there.
        Self::run(&["umount", "--lazy", self.0.to_str().unwrap()]);
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
fn docklets_own_full_disk_keeps_nobody_from_stopping_and_removing() {
    use std::io::Write as _;
    let world = World::supervised();
    let small = Small::mount(world.home.clone(), 512);
    world.setup();
    let mut fill = std::fs::File::create(small.0.join("fill")).unwrap();
    while fill.write_all(&[7; 512]).is_ok() {}
    world.ok(&["restart"]);
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200);
    world.ok(&["stop"]);
    assert_eq!(world.inspect().unwrap()["State"]["Running"], false);
    let status = world.status();
    assert_eq!((&status["desired"], &status["state"]), (&"stopped".into(), &"stopped".into()), "{status}");
    docker(&["start", &world.container()]);
    world.ok(&["uninstall", "--yes"]);
    assert!(world.inspect().is_none());
    // The file that says what the user wants can't be written at all.
    drop(fill);
    std::fs::remove_file(small.0.join("fill")).unwrap();
    world.setup();
    let desired = small.0.join("state").join(&world.name).join("desired.json");
    std::fs::remove_file(&desired).unwrap();
    let mut fill = std::fs::File::create(small.0.join("fill")).unwrap();
    while fill.write_all(&[7; 512]).is_ok() {}
    let output = world.run(&["stop"]);
    assert!(output.status.success(), "{}", shown(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not be written down"), "{}", shown(&output));
    assert_eq!(world.inspect().unwrap()["State"]["Running"], false);
    assert_eq!(world.status()["supervisor"]["running"], false, "it would start it again");
    world.ok(&["uninstall", "--yes"]);
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

/// What is small may hold much: that it does not fit is seen before anything is written.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_small_archive_of_much_data_fills_no_disk() {
    let world = World::new();
    world.setup();
    docker(&["exec", &world.container(), "sh", "-c", "head -c 64M /dev/zero > /workspace/zeros"]);
    let file = world.folder().join("bomb.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    assert!(std::fs::metadata(file).unwrap().len() < 1 << 20);
    let small = Small::mount(world.folder().join("small"), 32 * 1024);
    let into = small.0.join("new");
    let args = ["restore", file, "--path", "projects/zeros", "--into", into.to_str().unwrap()];
    let full = error(&world, &args, 7, "NO_SPACE");
    assert!(full["causes"].to_string().contains("needed"), "it was measured: {full}");
    assert_eq!(files(&small.0), Vec::<String>::new());
}

/// An instance whose volumes are on small file systems of these sizes, in megabytes.
fn on_small_disks(world: &World, sizes: [u32; 3]) -> Vec<Small> {
    let instance = format!("docklet.instance={}", world.name);
    let labels = ["docklet.managed=true", "docklet.appliance=opencode-cloud", &instance];
    let labels: Vec<&str> = labels.into_iter().flat_map(|label| ["--label", label]).collect();
    let disks = world.volumes().into_iter().zip(sizes).map(|(volume, megabytes)| {
        let small = Small::mount(world.folder().join(&volume), megabytes * 1024);
        let device = format!("device={}", small.0.display());
        let options = ["--opt", "type=none", "--opt", "o=bind", "--opt", &device];
        docker(&[&["volume", "create"], &labels[..], &options, &[&volume]].concat());
        small
    });
    disks.collect()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn data_that_does_not_fit_on_the_engine_leaves_what_is_there() {
    let large = World::new();
    large.setup();
    fill(&large, 24);
    let file = large.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    large.ok(&["backup", file]);
    // Too small from the start, which is seen before anything is stopped; and full in the middle.
    for (when, first, measured) in [("too small", 4, true), ("full in the middle", 200, false)] {
        let world = World::new();
        let disks = on_small_disks(&world, [first, 4, 4]);
        world.setup();
        let id = session(&world, "kept");
        docker(&["exec", &world.container(), "sh", "-c", "echo mine > /workspace/notes"]);
        let before = listing(&world);
        let started = world.inspect().unwrap()["State"]["StartedAt"].clone();
        let full = error(&world, &["restore", file, "--yes"], 7, "NO_SPACE");
        assert!(full["hint"].is_string(), "{when}: {full}");
        assert_whole(&world, when);
        assert_session(&world, &id, "kept", when);
        assert_same(&before, &listing(&world), when);
        assert_eq!(world.inspect().unwrap()["State"]["StartedAt"] == started, measured, "{when}: it was not stopped");
        world.ok(&["uninstall", "--purge", "--volumes", "--yes", "--no-backup"]);
        drop(disks);
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn holes_in_files_take_no_room() {
    let world = World::new();
    world.setup();
    // More than any disk here has.
    docker(&["exec", &world.container(), "sh", "-c", "truncate -s 8T /workspace/disk.img && echo x >/workspace/notes"]);
    let file = world.folder().join("backup.tar.zst");
    let made = world.run(&["backup", file.to_str().unwrap()]);
    assert!(made.status.success() && !shown(&made).contains("is free for the backup"), "{}", shown(&made));
    let restored = world.run(&["restore", file.to_str().unwrap(), "--yes"]);
    assert!(restored.status.success() && !shown(&restored).contains("TiB"), "{}", shown(&restored));
    let size = docker(&["exec", &world.container(), "stat", "-c", "%s %b", "/workspace/disk.img"]);
    assert_eq!(size, format!("{} 0", 8_u64 << 40));

    // What is there takes only what is on the disk, so another backup does not fit in its place.
    let large = World::new();
    large.setup();
    fill(&large, 24);
    let file = large.folder().join("backup.tar.zst");
    large.ok(&["backup", file.to_str().unwrap()]);
    let world = World::new();
    let disks = on_small_disks(&world, [16, 4, 4]);
    world.setup();
    docker(&["exec", &world.container(), "sh", "-c", "truncate -s 100M /workspace/disk.img"]);
    let full = error(&world, &["restore", file.to_str().unwrap(), "--yes"], 7, "NO_SPACE");
    assert!(full["causes"].to_string().contains("needed"), "{full}");
    world.ok(&["uninstall", "--purge", "--volumes", "--yes", "--no-backup"]);
    drop(disks);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_update_whose_backup_does_not_fit_changes_nothing() {
    let world = World::new();
    publish(&world, &stand_in(), &[]);
    setup_pulled(&world);
    let id = session(&world, "kept");
    fill(&world, 8);
    let image = runs(&world, "before");
    let before = listing(&world);
    let folder = backups(&world);
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let small = Small::mount(folder, 2048);
    publish(&world, &stand_in_2(), &[]);
    let full = error(&world, &["update"], 11, "UPDATE_ROLLED_BACK");
    assert!(full.to_string().contains("not enough space"), "{full}");
    assert_eq!(runs(&world, "after an update whose backup did not fit"), image);
    assert_whole(&world, "after an update whose backup did not fit");
    assert_session(&world, &id, "kept", "after an update whose backup did not fit");
    assert_same(&before, &listing(&world), "after an update whose backup did not fit");
    drop(small);
}
