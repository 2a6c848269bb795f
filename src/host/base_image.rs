//! Makes a Debian base image without a container registry, from the distribution's signed
//! packages. Writes a tar; bringing it to the engine is `engine::import`'s.

use std::path::Path;

use tempfile::TempPath;

use crate::{
    error::{Error, ImageAction, ImageFault, Result},
    event::Reporter,
    host::{
        command::{Program, ProgramFailure},
        packages::PackageManager,
        system::which,
    },
};

/// Debian's releases: version and name.
const RELEASES: [(&str, &str); 4] = [("11", "bullseye"), ("12", "bookworm"), ("13", "trixie"), ("14", "forky")];

/// What the slim images leave out, as rules of dpkg. Copyright files stay: the licences ask for it.
const LEFT_OUT: [&str; 10] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/groff/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/linda/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/doc/*/changelog*",
];

/// Whether this host can make the image that `reference` names.
pub fn can_build(reference: &str) -> bool {
    let has_tool = which("mmdebstrap").is_some() || PackageManager::find() == Some(PackageManager::Apt);
    release(reference).is_some() && has_tool
}

/// Makes the file system of `reference`, such as `debian:trixie-slim`, for a processor in Go's
/// words (`amd64`), as a tar in `work_dir`. The tar is removed when what is returned is dropped.
///
/// # Errors
/// [`Error::Image`] when this host cannot, or a step failed.
pub async fn build_base(
    reference: &str,
    architecture: &str,
    work_dir: &Path,
    reporter: &dyn Reporter,
) -> Result<TempPath> {
    let failed = |failure: ProgramFailure| Error::Image {
        action: ImageAction::Build,
        reference: reference.to_owned(),
        fault: fault(&failure),
        reason: format!("{}: {}", failure.step, failure.reason),
        log: failure.log,
        log_file: None,
    };
    let step = format!("make {reference} from Debian's packages");
    let refused = |reason: &str| failed(ProgramFailure { step: step.clone(), reason: reason.to_owned(), log: vec![] });
    let release = release(reference).ok_or_else(|| refused("only Debian's own images can be made here"))?;
    let architecture = debian_architecture(architecture);
    if architecture != debian_architecture(std::env::consts::ARCH) {
        return Err(refused(&format!("this machine cannot run programs for {architecture}")));
    }
    if which("mmdebstrap").is_none() {
        match PackageManager::find() {
            Some(PackageManager::Apt) => PackageManager::Apt
                // The keyring too: that of an older release does not know the keys of a newer one.
                .install_packages(&["mmdebstrap", "debian-archive-keyring"], reporter)
                .await
                .map_err(failed)?,
            _ => return Err(refused("this needs mmdebstrap, which this distribution does not have")),
        }
    }
    let (file, path) = tempfile::Builder::new()
        .prefix(".docklet-base-")
        .suffix(".tar")
        .tempfile_in(work_dir)
        .map_err(|e| Error::file("write a file in", work_dir, &e))?
        .into_parts();
    Program::new(&step, "mmdebstrap")
        .arguments(["--variant=minbase", "--format=tar"])
        .arguments([format!("--architectures={architecture}")])
        .arguments(LEFT_OUT.map(|rule| format!("--dpkgopt={rule}")))
        .arguments([release, "-"])
        // /tmp is often without devices, and too small.
        .variable("TMPDIR", "/var/tmp")
        .variable("LC_ALL", "C")
        .output(file)
        .privileged()
        .run(reporter)
        .await
        .map_err(failed)?;
    Ok(path)
}

/// The release that a reference to one of Debian's own images names. A dated tag or a digest asks
/// for something that cannot be made again.
fn release(reference: &str) -> Option<&'static str> {
    let known = ["docker.io/library/debian", "docker.io/debian", "library/debian", "debian"];
    let tag = match known.iter().find_map(|name| reference.strip_prefix(name))? {
        // What registries serve under that name is the stable release.
        "" => "latest",
        rest => rest.strip_prefix(':')?,
    };
    match tag.strip_suffix("-slim").unwrap_or(tag) {
        "latest" | "stable" => Some("stable"),
        "testing" => Some("testing"),
        "sid" | "unstable" => Some("unstable"),
        tag => {
            let version = tag.split_once('.').map_or(tag, |(major, _)| major);
            let same = |(number, name): &&(&str, &str)| *number == version || *name == tag;
            RELEASES.iter().find(same).map(|(_, name)| *name)
        }
    }
}

/// Debian's word for a processor, from Go's or Rust's.
fn debian_architecture(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "386" | "x86" => "i386",
        "powerpc64" | "ppc64le" => "ppc64el",
        other => other,
    }
}

fn fault(failure: &ProgramFailure) -> ImageFault {
    let log = failure.log.join("\n").to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| log.contains(part));
    if says(&["no space left on device"]) {
        ImageFault::NoSpace
    } else if says(&["could not resolve", "temporary failure resolving", "unable to connect", "could not connect"]) {
        ImageFault::Network
    } else {
        ImageFault::Other
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_debians_own_images_can_be_made() {
        for (reference, wanted) in [
            ("debian:trixie-slim", Some("trixie")),
            ("debian:bookworm", Some("bookworm")),
            ("debian:13-slim", Some("trixie")),
            ("debian:12.11-slim", Some("bookworm")),
            ("docker.io/library/debian:trixie-slim", Some("trixie")),
            ("debian", Some("stable")),
            ("debian:stable-slim", Some("stable")),
            ("debian:sid-slim", Some("unstable")),
            ("debian:trixie-20261103-slim", None),
            ("debian:trixie-slim@sha256:0123", None),
            ("debian@sha256:0123", None),
            ("debian:trixie.1", None),
            ("debianish:trixie", None),
            ("registry.test/debian:trixie", None),
            ("ubuntu:24.04", None),
            ("", None),
        ] {
            assert_eq!(release(reference), wanted, "{reference}");
        }
    }

    #[test]
    fn what_the_log_says_decides_the_fault() {
        let with = |line: &str| {
            fault(&ProgramFailure { step: String::new(), reason: String::new(), log: vec![line.to_owned()] })
        };
        assert_eq!(with("W: Temporary failure resolving 'mirror'"), ImageFault::Network);
        assert_eq!(with("tar: x: No space left on device"), ImageFault::NoSpace);
        assert_eq!(with("E: run_chroot failed"), ImageFault::Other);
    }

    #[tokio::test]
    async fn what_cannot_be_made_is_refused_before_anything_is_run() {
        let folder = tempfile::tempdir().unwrap();
        for (reference, architecture) in [("ubuntu:24.04", "amd64"), ("debian:trixie-slim", "s390x")] {
            let refused = build_base(reference, architecture, folder.path(), &crate::event::Silent).await;
            assert!(matches!(refused, Err(Error::Image { fault: ImageFault::Other, .. })), "{refused:?}");
        }
    }
}
