//! Many files and large ones come back, and the memory that docklet needs for it does not grow with them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;
use crate::sweep::every;

/// What docklet may need, in KiB.
const MOST: u64 = 64 * 1024;

/// Runs docklet to its end; the most memory that it had at once, in KiB.
fn peak(world: &World, args: &[&str]) -> u64 {
    let mut child = world.docklet().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let ended = loop {
        // The kernel keeps the highest value itself, so looking now and then is enough.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0).max(most);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(ended.success(), "docklet {}: {ended}", args.join(" "));
    assert!(most > 1000, "{most} KiB?");
    most
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn many_files_and_a_large_one_with_little_memory() {
    let world = World::new();
    publish(&world, &stand_in(), &[]);
    setup_pulled(&world);
    let [_, projects, _] = world.volumes();
    let number = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    // 150 bytes kept for each file, or a fiftieth of the large one, would already be too much.
    let (many, much) = if every() { ("100000", "2048") } else { ("30000", "512") };
    let (files, megabytes) = (number("DOCKLET_TEST_FILES", many), number("DOCKLET_TEST_MEGABYTES", much));
    let timed = |what: &str, work: &mut dyn FnMut()| {
        let began = Instant::now();
        work();
        println!("{what}: {:.1} s", began.elapsed().as_secs_f64());
    };
    let measured = |what: &str, args: &[&str]| {
        let mut most = 0;
        timed(what, &mut || most = peak(&world, args));
        println!("{what}: {most} KiB");
        assert!(most <= MOST, "{what} needs {most} KiB");
    };
    let (mut before, mut after) = (vec![], vec![]);
    timed("make", &mut || drop(tree(&projects, &["many", &files, &megabytes])));
    timed("list", &mut || before = listing(&world));
    let file = world.folder().join("large.tar.zst");
    let file = file.to_str().unwrap();
    measured("backup", &["backup", file]);
    measured("verify", &["backup", "verify", file]);
    world.ok(&["uninstall", "--yes", "--volumes", "--no-backup"]);
    measured("restore", &["restore", file, "--yes"]);
    timed("list again", &mut || after = listing(&world));
    assert_same(&before, &after, "restored");
    assert_whole(&world, "restored");
}
