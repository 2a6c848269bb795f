//! `--dry-run`: what is shown, and that nothing is changed.

use crate::support::*;

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_dry_run_names_what_is_lost_and_changes_nothing() {
    let world = World::new();
    world.setup();
    // The engine makes the folders that lead to a mount.
    let folder = world.folder().join("app");
    std::fs::create_dir(&folder).unwrap();
    world.ok(&["mount", "add", "--yes", &format!("{}:/opt/deep/app", folder.display())]);
    world.ok(&["start"]);
    let before = world.inspect().unwrap();
    assert_eq!(world.ok(&["start", "--dry-run"]).trim(), "nothing to do");
    let restart = json(&world.run(&["restart", "--dry-run", "--json"]));
    let actions: Vec<&str> =
        restart["plan"]["steps"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["stop_container", "start_container", "wait_until_ready"]);
    world.ok(&["exec", "--", "sh", "-c", "echo x >/home/opencode/notes.txt"]);
    world.ok(&["config", "set", "resources.pids", "500"]);
    for command in ["start", "restart", "setup"] {
        let plan = world.ok(&[command, "--dry-run"]);
        assert!(plan.contains("pids 4096") && plan.contains("remove container"), "{plan}");
        let lost = "will be lost with the old container: 1 file outside the volumes: /home/opencode (1)";
        assert!(plan.contains(lost), "{plan}");
        let report = json(&world.run(&[command, "--dry-run", "--json"]));
        assert!(report["lost"].as_str().unwrap().contains("/home/opencode (1)"), "{command}: {report}");
        assert_eq!(
            (&report["dry_run"], &report["secrets"]),
            (&true.into(), &serde_json::json!([])),
            "{command}: {report}"
        );
    }
    let file = world.folder().join("b.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let plan = world.ok(&["restore", file, "--dry-run"]);
    assert!(plan.contains("replace the data in the volumes") && plan.contains("/home/opencode (1)"), "{plan}");
    // What opens the secrets is tried, and the settings that would come are shown.
    let phrase = |name: &str, text: &str| {
        let path = world.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (phrase("right", "correct horse\n"), phrase("wrong", "battery staple\n"));
    let with_secrets = world.folder().join("s.tar.zst");
    let with_secrets = with_secrets.to_str().unwrap();
    world.ok(&["backup", with_secrets, "--passphrase-file", &right]);
    world.ok(&["config", "set", "resources.pids", "600"]);
    let restore = ["restore", with_secrets, "--dry-run", "--settings", "--passphrase-file"];
    let plan = world.ok(&[&restore[..], &[&right]].concat());
    assert!(plan.contains("settings of the backup: resources.pids = 500"), "{plan}");
    assert!(plan.contains("take over the secret of the backup, which was opened"), "{plan}");
    let refused = world.fails(&[&restore[..], &[&wrong, "--json"]].concat(), 11);
    assert_eq!(json(&refused)["error"]["code"], "BACKUP_INVALID", "{}", shown(&refused));
    let plan = world.ok(&["restore", with_secrets, "--dry-run"]);
    assert!(plan.contains("if their passphrase or key is given") && !plan.contains("settings of"), "{plan}");
    world.ok(&["config", "set", "resources.pids", "500"]);
    let after = world.inspect().unwrap();
    assert_eq!(after["Id"], before["Id"]);
    assert_eq!(after["State"]["StartedAt"], before["State"]["StartedAt"]);
    let output = world.run(&["start"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.contains("lost with the old one: 1 file"), "{told}");
}
