//! The instance's lock: who waits for it, and who is told to.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};

use crate::support::Home;

/// Holds the lock as somebody else would.
fn held(home: &Home, file: &str, holder: &str) -> File {
    let mut lock = File::create(home.path("docklet/state/default").join(file)).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    write!(lock, "{holder} since 2026-11-21T08:00:00Z").unwrap();
    lock
}

#[test]
fn another_command_is_not_waited_for() {
    let home = Home::set_up();
    let _lock = held(&home, "lock", "docklet update (pid 4711)");
    let error = home.fails(&["stop"], 9, "LOCKED");
    assert!(error["causes"][0].as_str().unwrap().contains("docklet update (pid 4711)"), "{error}");
}

#[test]
fn what_the_supervisor_is_finishing_is_waited_for() {
    let home = Home::set_up();
    let test = ["backup", "test", "/nowhere.tar.zst"];
    for (file, holder, command) in [
        ("lock", "docklet supervise (pid 4711)", &["stop"][..]),
        ("lock", "docklet supervise recovery (pid 4711)", &["stop"]),
        // What a test that was killed has left is removed.
        ("backup-test.lock", "docklet supervise recovery (pid 4711)", &test),
    ] {
        let lock = held(&home, file, holder);
        let mut stop = home.docklet().args(command).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(stop.stderr.take().unwrap()).lines();
        let waiting = said.next().unwrap().unwrap();
        assert!(waiting.contains(&format!("waiting for {holder}")), "{waiting}");
        assert!(stop.try_wait().unwrap().is_none(), "{holder}: it still waits");
        drop(lock);
        // It has gone on as far as the engine, which is not there.
        assert_eq!(stop.wait().unwrap().code(), Some(5), "{holder}");
    }
}
