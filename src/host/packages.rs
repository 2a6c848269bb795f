//! The host's package manager: which one it is, and how it installs without asking. Knows no
//! package of docklet's own needs; see `engine_install` and `base_image`.

use crate::{
    event::Reporter,
    host::{
        command::{Program, ProgramFailure},
        system::which,
    },
};

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian, Ubuntu and their kin.
    Apt,
    /// Fedora, and Red Hat's.
    Dnf,
    /// openSUSE.
    Zypper,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
}

impl PackageManager {
    const ALL: [PackageManager; 5] =
        [PackageManager::Apt, PackageManager::Dnf, PackageManager::Zypper, PackageManager::Pacman, PackageManager::Apk];

    /// The host's own.
    pub fn find() -> Option<Self> {
        Self::choose(|program| which(program).is_some())
    }

    fn choose(installed: impl Fn(&str) -> bool) -> Option<Self> {
        Self::ALL.into_iter().find(|manager| installed(manager.program()))
    }

    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            PackageManager::Apt => "apt-get",
            PackageManager::Dnf => "dnf",
            PackageManager::Zypper => "zypper",
            PackageManager::Pacman => "pacman",
            PackageManager::Apk => "apk",
        }
    }

    /// What must be run before an installation, each with its arguments.
    fn preparations(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            PackageManager::Apt => &[
                // Finishes what a killed installation left behind; else nothing can be installed.
                ("dpkg", &["--configure", "-a"]),
                // A bare machine has no list of packages, and an old one names files that are gone.
                ("apt-get", &["-q", "-o", "DPkg::Lock::Timeout=120", "update"]),
            ],
            _ => &[],
        }
    }

    /// The arguments that install without asking.
    fn install(self) -> &'static [&'static str] {
        match self {
            PackageManager::Apt => &[
                "-q",
                "-y",
                "-o",
                "DPkg::Lock::Timeout=120",
                "-o",
                "Dpkg::Use-Pty=0",
                "--no-install-recommends",
                "install",
            ],
            PackageManager::Dnf => &["-y", "install"],
            PackageManager::Zypper => &["--non-interactive", "install", "--no-recommends"],
            PackageManager::Pacman => &["-S", "--noconfirm", "--needed"],
            PackageManager::Apk => &["add", "--no-progress"],
        }
    }

    /// Installs packages, as root.
    ///
    /// # Errors
    /// When the package manager fails, with its last lines.
    pub async fn install_packages(self, packages: &[&str], reporter: &dyn Reporter) -> Result<(), ProgramFailure> {
        let what = format!("install {}", packages.join(" "));
        let commands = self.preparations().iter().map(|(name, arguments)| (*name, arguments.to_vec(), &[][..]));
        for (name, arguments, packages) in commands.chain([(self.program(), self.install().to_vec(), packages)]) {
            Program::new(&what, name)
                .arguments(arguments)
                .arguments(packages)
                .variable("DEBIAN_FRONTEND", "noninteractive")
                .variable("LC_ALL", "C")
                .privileged()
                .run(reporter)
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_package_manager_is_known_by_its_program() {
        for (program, wanted) in [
            ("apt-get", PackageManager::Apt),
            ("dnf", PackageManager::Dnf),
            ("zypper", PackageManager::Zypper),
            ("pacman", PackageManager::Pacman),
            ("apk", PackageManager::Apk),
        ] {
            assert_eq!(PackageManager::choose(|p| p == program), Some(wanted));
        }
        assert_eq!(PackageManager::choose(|p| p == "brew"), None);
    }
}
