//! The part of `docker/entrypoint` that runs the server again, with this machine's own bash.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A server that ends with this code in its first two runs, and on SIGTERM with 143 in its third.
fn server(folder: &Path, code: i32) -> PathBuf {
    let program = folder.join("opencode");
    let script = format!(
        "#!/bin/bash\necho run >>{0}/runs\n(($(wc -l <{0}/runs) < 3)) && exit {code}\ntrap 'exit 143' TERM\n\
         while :; do sleep 0.05; done\n",
        folder.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// The function of the entrypoint at work.
fn keep_running(server: &Path, policy: &str) -> Child {
    let entrypoint = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docker/entrypoint")).unwrap();
    let begin = entrypoint.find("keep_running() {").unwrap();
    let end = begin + entrypoint[begin..].find("\n}\n").unwrap() + 2;
    let script = format!("set -euo pipefail\nsay() {{ :; }}\n{}\nkeep_running \"$@\"", &entrypoint[begin..end]);
    let mut bash = Command::new("bash");
    bash.args(["-c", &script, "bash"]).arg(server).arg("serve").env("DOCKLET_RESTART", policy);
    bash.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

fn runs(folder: &Path) -> usize {
    fs::read_to_string(folder.join("runs")).map_or(0, |text| text.lines().count())
}

#[test]
fn a_server_that_ends_is_started_again_until_it_is_told_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut bash = keep_running(&server(folder.path(), 1), "always");
    let began = Instant::now();
    while runs(folder.path()) < 3 {
        assert!(began.elapsed() < Duration::from_secs(20), "{} runs", runs(folder.path()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&bash);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!((bash.wait().unwrap().code(), runs(folder.path())), (Some(143), 3));
}

#[test]
fn wrong_settings_and_a_clean_end_are_left_alone() {
    for (code, policy) in [(78, "always"), (0, "on-failure")] {
        let folder = tempfile::tempdir().unwrap();
        let ended = keep_running(&server(folder.path(), code), policy).wait().unwrap();
        assert_eq!((ended.code(), runs(folder.path())), (Some(code), 1), "{policy}");
    }
}
