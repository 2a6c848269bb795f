//! `backup -` and `restore -`: a backup that goes through a pipe, also a slow one, one that breaks, and one that brings
//! nonsense.

use std::fs::File;
use std::path::Path;
use std::process::{Output, Stdio};

use super::*;

/// Runs with a file as standard input.
fn fed(world: &World, args: &[&str], file: &Path) -> Output {
    world.docklet().args(args).stdin(File::open(file).unwrap()).output().unwrap()
}

fn code_of(output: &Output) -> (i32, String) {
    let error: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(output)));
    (output.status.code().unwrap(), error["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_backup_goes_through_a_pipe_and_back() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    as_root(&world, "head -c 2000000 /dev/urandom >/workspace/noise");
    let made = world.run(&["backup", "-", "--json"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let told = String::from_utf8(made.stderr).unwrap();
    let result: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!((&result["file"], &result["verified"], &result["schema"]), (&"-".into(), &true.into(), &1.into()));
    assert_eq!(result["size"].as_u64(), Some(made.stdout.len() as u64));
    let folder = backups(&world);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing of it stays here");
    let file = world.folder().join("elsewhere");
    std::fs::write(&file, &made.stdout).unwrap();
    let verified = fed(&world, &["backup", "verify", "-", "--json"], &file);
    assert_eq!(json(&verified)["valid"], true);

    // What is no whole backup of ours changes nothing, and questions have no answer there.
    let before = world.inspect().unwrap()["Id"].clone();
    let (cut, text) = (world.folder().join("cut"), world.folder().join("text"));
    std::fs::write(&cut, &made.stdout[..made.stdout.len() - 9]).unwrap();
    std::fs::write(&text, "no archive").unwrap();
    for (file, error) in [(&cut, (11, "BACKUP_INVALID")), (&text, (11, "BACKUP_INVALID"))] {
        for args in [&["restore", "-", "--yes", "--json"][..], &["backup", "verify", "-", "--json"]] {
            let output = fed(&world, args, file);
            let (code, name) = code_of(&output);
            assert_eq!((code, name.as_str()), error, "{args:?} {}", file.display());
            let said = shown(&output);
            assert!(said.contains("standard input") && !said.contains(".docklet-"), "{said}");
        }
    }
    let refused = fed(&world, &["restore", "-", "--json"], &file);
    assert_eq!(code_of(&refused), (6, "CONFIRMATION_REQUIRED".to_owned()));
    assert_eq!(world.inspect().unwrap()["Id"], before);

    as_root(&world, "rm -rf /workspace/*");
    let output = fed(&world, &["restore", "-", "--yes", "--json"], &file);
    let (restored, said) = (json(&output), shown(&output));
    assert_eq!(restored["file"], "-");
    assert!(said.contains("unpack standard input into the volumes") && !said.contains(".docklet-"), "{said}");
    assert_session(&world, &id, "kept", "restored from a pipe");
    assert_whole(&world, "what was stored for it is gone");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn whoever_takes_a_backup_slowly_or_not_at_all_freezes_nothing() {
    let world = World::new();
    world.setup();
    as_root(&world, "head -c 2000000 /dev/urandom >/workspace/noise");
    let mut slow = world.docklet().args(["backup", "-"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = slow.stdout.take().unwrap();
    // Its first byte goes out when everything was read and checked.
    std::io::Read::read_exact(&mut out, &mut [0]).unwrap();
    assert_eq!(world.inspect().unwrap()["State"]["Paused"], false);
    world.ok(&["backup"]);
    drop(out);
    let failed = slow.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && told.contains("standard output"), "{told}");

    let full = File::options().write(true).open("/dev/full").unwrap();
    let failed = world.docklet().args(["backup", "-", "--json"]).stdout(full).output().unwrap();
    assert_eq!(failed.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("NO_SPACE"), "{}", shown(&failed));
}
