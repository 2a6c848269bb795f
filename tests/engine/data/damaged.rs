//! `restore --force`: what can be read of a damaged backup comes back, with a list of what does not; the way back stays.

use super::*;

/// Files that no compression makes smaller, so that a cut is somewhere among them.
fn noise(world: &World) {
    let script = "for i in 1 2 3 4 5 6; do head -c 300000 /dev/urandom >/workspace/noise$i; done";
    docker(&["exec", &world.container(), "sh", "-c", script]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_can_be_read_of_a_damaged_backup_is_restored_with_force() {
    let world = World::new();
    world.setup();
    let kept = session(&world, "kept");
    noise(&world);
    let good = world.folder().join("good.tar.zst");
    world.ok(&["backup", good.to_str().unwrap()]);
    let bytes = std::fs::read(&good).unwrap();
    let bad = world.folder().join("bad.tar.zst");
    let bad = bad.to_str().unwrap();
    std::fs::write(bad, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let later = session(&world, "later");
    let before = listing(&world);

    let refused = error(&world, &["restore", bad, "--yes"], 11, "BACKUP_INVALID");
    assert!(refused["hint"].as_str().unwrap().contains("--force"), "{refused}");
    let question = error(&world, &["restore", bad, "--force"], 6, "CONFIRMATION_REQUIRED");
    assert!(question.to_string().contains("the backup is damaged: it is cut off"), "{question}");
    error(&world, &["restore", bad, "--force", "--no-backup", "--yes"], 2, "USAGE");
    let steps = world.ok(&["restore", bad, "--force", "--dry-run"]);
    assert!(steps.contains("what was behind that is lost"), "{steps}");
    assert_same(&before, &listing(&world), "nothing was done so far");
    assert_eq!(unfinished(&world), Vec::<PathBuf>::new());

    let report = json(&world.run(&["restore", bad, "--force", "--yes", "--json"]));
    let damage = &report["damage"];
    assert!(damage["read_up_to"].as_str().unwrap().starts_with("volumes/projects/"), "{report}");
    assert_eq!(damage["missing"].as_array().unwrap().len(), 1, "the one in the middle: {report}");
    assert_eq!(
        (&damage["missing_count"], &damage["altered_count"]),
        (&Value::Null, &0.into()),
        "nobody knows how many were behind it: {report}"
    );
    assert_session(&world, &kept, "kept", "after a restore of a cut backup");
    assert!(!world.http_get("/session", Some(&world.password())).1.contains(&later));
    let names = docker(&["exec", &world.container(), "sh", "-c", "cat /workspace/noise* | wc -c"]);
    let read: usize = names.parse().unwrap();
    assert!((300_000..1_800_000).contains(&read) && read.is_multiple_of(300_000), "whole files: {read}");
    assert_whole(&world, "after a restore of a cut backup");
    world.ok(&["restore", report["before"].as_str().unwrap(), "--yes"]);
    assert_same(&before, &listing(&world), "and back");
    assert_session(&world, &later, "later", "and back");

    // Content that was altered is restored, and named.
    let mut tar = zstd::stream::decode_all(bytes.as_slice()).unwrap();
    let title = b"\"title\":\"kept\"";
    let at = tar.windows(title.len()).position(|w| w == title).unwrap();
    tar[at + 9..at + 13].copy_from_slice(b"lost");
    std::fs::write(bad, zstd::stream::encode_all(tar.as_slice(), 1).unwrap()).unwrap();
    error(&world, &["restore", bad, "--yes"], 11, "BACKUP_INVALID");
    let text = world.ok(&["restore", bad, "--force", "--yes"]);
    assert!(
        text.contains("1 file altered: volumes/session/stand-in/ses_") && text.contains("is not what it was"),
        "{text}"
    );
    let (_, sessions) = world.http_get("/session", Some(&world.password()));
    assert!(sessions.contains("\"title\":\"lost\""), "{sessions}");
    assert_whole(&world, "after a restore of an altered backup");
}
