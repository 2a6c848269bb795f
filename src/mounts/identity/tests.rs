//! What was swapped, and what was only replaced.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use super::*;

/// A folder with `code`, and a place for the file.
fn start() -> (tempfile::TempDir, Mount, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("code");
    fs::create_dir(&host).unwrap();
    let file = folder.path().join("state/mounts.json");
    (folder, Mount { host, container: "/workspace/code".to_owned(), read_only: false }, file)
}

fn verify(mount: &Mount, file: &Path) -> Result<()> {
    AcceptedMounts::load(file).unwrap().verify(mount)
}

#[test]
fn a_folder_that_was_swapped_is_refused_until_it_is_accepted() {
    let (folder, mount, file) = start();
    assert!(verify(&mount, &file).is_ok(), "nothing is known of it yet");
    remember(std::slice::from_ref(&mount), &file).unwrap();
    verify(&mount, &file).unwrap();
    fs::rename(&mount.host, folder.path().join("away")).unwrap();
    assert!(matches!(verify(&mount, &file), Err(Error::Missing { .. })));
    for target in ["/", "away"] {
        symlink(folder.path().join(target), &mount.host).unwrap();
        let error = verify(&mount, &file).unwrap_err();
        let causes = error.causes().join("\n");
        assert!(causes.contains("code (inode"), "{causes}");
        assert!(error.hint().unwrap().contains("docklet mount remove /workspace/code"), "{error:?}");
        fs::remove_file(&mount.host).unwrap();
    }
    fs::create_dir(&mount.host).unwrap();
    assert!(matches!(verify(&mount, &file), Err(Error::MountChanged { .. })), "another folder of the same name");
    accept(&mount, &file).unwrap();
    verify(&mount, &file).unwrap();
    let places = |place: &'static str| AcceptedMounts::load(&file).unwrap().verify_places([place].into_iter());
    fs::remove_dir(&mount.host).unwrap();
    assert!(places("/workspace/code").is_err());
    places("/run/secrets").unwrap();
}

#[test]
fn a_file_may_be_replaced_but_not_by_a_link_or_a_folder() {
    let (folder, mut mount, file) = start();
    mount.host = folder.path().join("key");
    fs::write(&mount.host, "1").unwrap();
    remember(std::slice::from_ref(&mount), &file).unwrap();
    let new = folder.path().join("key.new");
    fs::write(&new, "2").unwrap();
    fs::rename(&new, &mount.host).unwrap();
    verify(&mount, &file).unwrap();
    fs::remove_file(&mount.host).unwrap();
    symlink("/etc/passwd", &mount.host).unwrap();
    assert!(matches!(verify(&mount, &file), Err(Error::MountChanged { .. })));
    fs::remove_file(&mount.host).unwrap();
    fs::create_dir(&mount.host).unwrap();
    assert!(matches!(verify(&mount, &file), Err(Error::MountChanged { .. })));
}

#[test]
fn the_device_counts_only_within_one_boot() {
    let folder = |device, inode, boot: Option<&str>| Folder { device, inode, boot: boot.map(str::to_owned) };
    let before = folder(1, 2, Some("monday"));
    assert!(before.is(&folder(1, 2, Some("monday"))));
    assert!(!before.is(&folder(9, 2, Some("monday"))));
    assert!(before.is(&folder(9, 2, Some("tuesday"))));
    assert!(!before.is(&folder(1, 3, Some("tuesday"))));
    assert!(folder(1, 2, None).is(&folder(9, 2, None)));
}

#[test]
fn only_changes_are_written_and_what_is_not_mounted_is_forgotten() {
    let (folder, mount, file) = start();
    let one = std::slice::from_ref(&mount);
    remember(&[], &file).unwrap();
    assert!(!file.exists(), "without mounts there is no file");
    remember(one, &file).unwrap();
    let written = fs::metadata(&file).unwrap().ino();
    remember(one, &file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().ino(), written);
    let other = Mount { host: folder.path().to_owned(), container: "/workspace/o".to_owned(), read_only: true };
    remember(&[other], &file).unwrap();
    assert!(!AcceptedMounts::load(&file).unwrap().has(&mount));
    fs::write(&file, "{").unwrap();
    assert!(
        AcceptedMounts::load(&file).unwrap_err().hint().unwrap().starts_with("to accept all"),
        "never taken for empty"
    );
}
