//! Who installed a program: a package manager, whose command updates it then, or nobody but the user.

use std::path::Path;

/// The command that updates a program which a package manager installed; `None` where none did. `root` is `/`.
pub fn update_command(program: &Path, root: &Path) -> Option<&'static str> {
    let below = |folder: &str| program.starts_with(root.join(folder));
    let has = |file: &str| root.join(file).exists();
    let text = program.to_string_lossy();
    if below("nix/store") {
        return Some("nix profile upgrade docklet");
    }
    if text.contains("/Cellar/docklet/") {
        return Some("brew upgrade docklet");
    }
    // Cargo keeps a list of what it installed beside `bin`.
    let list = program.parent().and_then(Path::parent).map(|folder| folder.join(".crates.toml"));
    let list = list.and_then(|list| std::fs::read_to_string(list).ok()).unwrap_or_default();
    if let Some(line) = list.lines().find(|line| line.starts_with("\"docklet ")) {
        let from_source = line.contains("(path+") || line.contains("(git+");
        return Some(if from_source {
            "git pull && cargo install --path . --locked"
        } else {
            "cargo install docklet --locked"
        });
    }
    if !below("usr/bin") {
        return None;
    }
    // dpkg's own list is not for others to read; every Debian package has this file.
    if has("etc/debian_version") && has("usr/share/doc/docklet/copyright") {
        return Some("sudo apt-get install ./docklet_VERSION_ARCHITECTURE.deb");
    }
    if has("var/lib/pacman/local") {
        return Some("makepkg --syncdeps --install");
    }
    let rpm = ["var/lib/rpm", "usr/lib/sysimage/rpm"].into_iter().any(has);
    rpm.then_some("sudo dnf install ./docklet-VERSION.ARCHITECTURE.rpm")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_package_manager_is_known_by_where_it_puts_things() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let command = |program: &str| update_command(&root.join(program), root);
        let write = |file: &str, text: &str| {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), text).unwrap();
        };
        assert_eq!(command("usr/bin/docklet"), None, "copied there by hand");
        assert_eq!(command("home/me/.local/bin/docklet"), None);
        assert!(command("nix/store/abc-docklet/bin/docklet").unwrap().starts_with("nix "));
        assert!(command("opt/homebrew/Cellar/docklet/1.0.0/bin/docklet").unwrap().starts_with("brew "));
        write("home/me/.cargo/.crates.toml", "[v1]\n\"ripgrep 1.0.0 (registry+x)\" = []\n");
        assert_eq!(command("home/me/.cargo/bin/docklet"), None, "cargo installed something else");
        write("home/me/.cargo/.crates.toml", "[v1]\n\"docklet 1.0.0 (registry+x)\" = []\n");
        assert_eq!(command("home/me/.cargo/bin/docklet"), Some("cargo install docklet --locked"));
        write("home/me/.cargo/.crates.toml", "[v1]\n\"docklet 1.0.0 (path+file:///x)\" = []\n");
        assert!(command("home/me/.cargo/bin/docklet").unwrap().starts_with("git pull"));
        write("usr/lib/sysimage/rpm/x", "");
        assert!(command("usr/bin/docklet").unwrap().contains("dnf"));
        write("etc/debian_version", "13");
        write("usr/share/doc/docklet/copyright", "");
        assert!(command("usr/bin/docklet").unwrap().contains("apt-get"));
        assert_eq!(command("usr/local/bin/docklet"), None, "beside the package");
    }
}
