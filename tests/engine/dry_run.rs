//! `--dry-run`: what is shown, and that nothing is changed.

use crate::support::*;

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_dry_run_names_what_is_lost_and_changes_nothing() {
    let world = World::new();
    world.setup();
    let before = world.inspect().unwrap();
    assert_eq!(world.ok(&["start", "--dry-run"]).trim(), "nothing to do");
    world.ok(&["exec", "--", "sh", "-c", "echo x >/home/opencode/notes.txt"]);
    world.ok(&["config", "set", "resources.pids", "500"]);
    for command in ["start", "restart", "setup"] {
        let plan = world.ok(&[command, "--dry-run"]);
        assert!(plan.contains("pids 4096") && plan.contains("remove container"), "{plan}");
        let lost = "will be lost with the old container: 1 file outside the volumes: /home/opencode (1)";
        assert!(plan.contains(lost), "{plan}");
    }
    let file = world.folder().join("b.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let plan = world.ok(&["restore", file, "--dry-run"]);
    assert!(plan.contains("replace the data in the volumes") && plan.contains("/home/opencode (1)"), "{plan}");
    let after = world.inspect().unwrap();
    assert_eq!(after["Id"], before["Id"]);
    assert_eq!(after["State"]["StartedAt"], before["State"]["StartedAt"]);
    let output = world.run(&["start"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.contains("lost with the old one: 1 file"), "{told}");
}
