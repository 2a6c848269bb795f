//! What an image build gets from the host: the certificates of its CA bundle, and its proxies.

use std::{collections::BTreeMap, path::Path};

use super::Instance;
use crate::{apply::BuildSurroundings, error::Result, host::pem, paths, secrets, settings::Settings};

/// Proxy variables of the host that serve the build and the appliance. They can hold a password,
/// so they are kept and handed over like secrets.
pub(crate) const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Copies the certificates of the host's CA bundle: the original may be gone when they are needed again.
///
/// # Errors
/// When neither the bundle nor an earlier copy can be read.
pub fn prepare_ca_bundle(instance: &Instance, settings: &Settings) -> Result<()> {
    let copy = instance.files.ca_bundle();
    let bundle = match read_ca_bundle(settings) {
        Ok(Some(bundle)) => bundle,
        Ok(None) => return Ok(()),
        Err(error) if copy.exists() => {
            // What runs is not stopped from running because a file moved.
            instance.warn(format!("{error}; the copy from before is used"));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if std::fs::read(&copy).is_ok_and(|old| old == bundle) {
        return Ok(());
    }
    paths::create_folder(&instance.files.state, 0o700)?;
    paths::write_file(&copy, &bundle, 0o600)
}

/// The certificates that the settings name.
///
/// # Errors
/// When the file cannot be read, or holds no certificate or a broken one.
pub fn read_ca_bundle(settings: &Settings) -> Result<Option<Vec<u8>>> {
    if settings.trust.ca_file.is_empty() {
        return Ok(None);
    }
    pem::read_certificates(Path::new(&settings.trust.ca_file)).map(Some)
}

/// What a build gets from the host.
///
/// # Errors
/// When the CA bundle or a proxy cannot be read.
pub fn build_surroundings(instance: &Instance, settings: &Settings) -> Result<BuildSurroundings> {
    let mut proxies = BTreeMap::new();
    for name in PROXIES {
        if let Some(value) = secrets::read(&instance.files.secrets(), name)? {
            proxies.insert(name.to_owned(), value.reveal().to_owned());
        }
    }
    Ok(BuildSurroundings {
        ca_bundle: match std::fs::read(instance.files.ca_bundle()) {
            _ if settings.trust.ca_file.is_empty() => vec![],
            Ok(copy) => copy,
            // No setup was here yet that made a copy: a backup is restored on a bare machine.
            Err(_) => read_ca_bundle(settings)?.unwrap_or_default(),
        },
        proxies,
        log_file: instance.files.build_log(),
        work_folder: instance.files.state.clone(),
        may_install: instance.options.may_install,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Options;

    #[test]
    fn a_build_gets_the_certificates_also_where_no_setup_has_copied_them() {
        let home = tempfile::tempdir().unwrap();
        let options = Options { folder: Some(home.path().to_owned()), ..Options::default() };
        let instance = Instance::open("x".parse().unwrap(), options).unwrap();
        let mut settings = Settings::default();
        let bundle = |settings: &Settings| build_surroundings(&instance, settings).map(|s| s.ca_bundle);
        assert!(bundle(&settings).unwrap().is_empty());
        settings.trust.ca_file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/cert.pem").to_owned();
        assert!(bundle(&settings).unwrap().starts_with(b"-----BEGIN CERTIFICATE-----"));
        paths::create_folder(&instance.files.state, 0o700).unwrap();
        paths::write_file(&instance.files.ca_bundle(), b"the copy", 0o600).unwrap();
        assert_eq!(bundle(&settings).unwrap(), b"the copy");
    }
}
