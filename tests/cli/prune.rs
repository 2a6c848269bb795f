//! `docklet backup prune`: which files of the folder it counts, without an engine.

use std::{fs, path::Path};

use crate::support::{Home, json, shown};

#[test]
fn only_backups_of_this_instance_that_can_be_read_count() {
    let home = Home::new();
    let folder = home.path("docklet/data/work/backups");
    fs::create_dir_all(&folder).unwrap();
    let encrypted = |container: &str, day: u32| {
        let name = format!("{container}-202611{day:02}T120000Z-scheduled.tar.zst.age");
        fs::write(folder.join(&name), "age-encryption.org/v1\n").unwrap();
        name
    };
    let (new, old) = (encrypted("opencode-cloud-work", 20), encrypted("opencode-cloud-work", 10));
    let other = encrypted("opencode-cloud", 21);
    fs::write(folder.join("broken.tar.zst"), "nonsense").unwrap();
    // Another instance's, and readable.
    let stranger = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backups/format-1.tar.zst");
    fs::copy(stranger, folder.join("stranger.tar.zst")).unwrap();
    let dry = home.ok(&["--instance", "work", "backup", "prune", "--keep", "1", "--dry-run"]);
    assert!(dry.contains("not looked at, and kept:"), "{dry}");
    let output = home.run(&["--instance", "work", "backup", "prune", "--keep", "1", "--json"]);
    assert!(output.status.success(), "{}", shown(&output));
    let report = json(&output);
    let names = |list: &serde_json::Value| {
        let file = |one: &serde_json::Value| one["file"].as_str().or(one.as_str()).unwrap().to_owned();
        let mut names: Vec<String> = list.as_array().unwrap().iter().map(file).collect();
        names.iter_mut().for_each(|name| *name = name.rsplit('/').next().unwrap().to_owned());
        names.sort();
        names
    };
    assert_eq!((names(&report["removed"]), names(&report["kept"])), (vec![old], vec![new]), "{report}");
    let skipped = &report["not_looked_at"];
    assert_eq!(names(skipped), ["broken.tar.zst".to_owned(), other, "stranger.tar.zst".to_owned()], "{report}");
    for reason in
        ["it cannot be read", "it is a backup of container opencode-cloud\"", "it is a backup of instance default"]
    {
        assert!(skipped.to_string().contains(reason), "{reason}: {skipped}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4);
}
