//! What `packaging/` ships is what the program makes now. `DOCKLET_UPDATE_PACKAGING=1` writes it anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn generated_files_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let files = docklet::cli::generated().unwrap();
    let update = std::env::var_os("DOCKLET_UPDATE_PACKAGING").is_some();
    for (name, text) in &files {
        let path = folder.join(name);
        if update {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
        let shipped = fs::read_to_string(&path).unwrap_or_default();
        assert!(&shipped == text, "packaging/{name} is not current: DOCKLET_UPDATE_PACKAGING=1 cargo test");
    }
    let wanted: BTreeSet<String> = files.into_iter().map(|(name, _)| name).collect();
    for below in ["completions", "man", "systemd", "launchd"] {
        for entry in fs::read_dir(folder.join(below)).unwrap() {
            let name = format!("{below}/{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(wanted.contains(&name), "packaging/{name} is made by nobody");
        }
    }
}

/// The installer is one file: it has the address and the key that the program has, from the places where they are named.
#[test]
fn the_installer_has_the_address_and_the_key_of_the_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let path = folder.join("install.sh");
    let shipped = fs::read_to_string(&path).unwrap();
    let key = fs::read_to_string(folder.join("minisign.pub")).unwrap();
    assert_eq!(env!("CARGO_PKG_HOMEPAGE"), env!("CARGO_PKG_REPOSITORY"), "Cargo.toml names two addresses");
    let key = key.lines().find(|line| !line.starts_with("untrusted comment:")).unwrap_or_default();
    let wanted = |line: &str| match line.split_once('=') {
        Some(("repository", _)) => format!("repository={}", env!("CARGO_PKG_REPOSITORY")),
        Some(("key", _)) => format!("key={key}"),
        _ => line.to_owned(),
    };
    let current: String = shipped.lines().map(|line| wanted(line) + "\n").collect();
    if std::env::var_os("DOCKLET_UPDATE_PACKAGING").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let shipped = fs::read_to_string(&path).unwrap();
    assert!(shipped == current, "packaging/install.sh is not current: DOCKLET_UPDATE_PACKAGING=1 cargo test");
}
