//! The secrets in a backup: opens them with a passphrase or a private key.

use std::{collections::BTreeMap, path::Path};

use super::Restore;
use crate::{
    age_key::Identity,
    data::{
        archive::read::Contents,
        encryption::{self, AgeLock, Opener, Unopened},
    },
    error::{Error, Result},
    ops::{Instance, backup},
    paths::shown,
    secrets::{self, Secret},
};

/// The secrets in the backup, where there are some and what opens them is known.
///
/// # Errors
/// When they are damaged, or something else opens them.
pub fn opened(
    instance: &Instance,
    options: &Restore,
    file: &Path,
    contents: &Contents,
) -> Result<BTreeMap<String, Secret>> {
    let Some(sealed) = &contents.secrets else {
        if options.passphrase.is_some() {
            instance.note("the backup contains no secrets; the current ones are kept");
        }
        return Ok(BTreeMap::new());
    };
    let (passphrase, keys);
    let (opener, flag) = match encryption::lock(sealed) {
        AgeLock::Passphrase => {
            passphrase = match &options.passphrase {
                Some(given) => Some(backup::not_empty(given.clone())?),
                None => instance.questions.passphrase()?.filter(|typed| !typed.reveal().is_empty()),
            };
            (passphrase.as_ref().map(Opener::Passphrase), "--passphrase-file")
        }
        AgeLock::Keys => {
            keys = identities(options.identity.as_ref())?;
            (Some(Opener::Identities(&keys)).filter(|_| !keys.is_empty()), "--identity")
        }
    };
    let Some(opener) = opener else {
        instance.warn(format!("the secrets in the backup are not restored; to restore them, add {flag} FILE"));
        return Ok(BTreeMap::new());
    };
    let hint = format!("try another {flag}; without it, the secrets are not restored and the current ones are kept");
    open(sealed, &opener, file, hint)
}

/// How many secrets are in the backup, where what opens them was given; nobody is asked for it.
///
/// # Errors
/// When they are damaged, or something else opens them.
pub fn tried(
    passphrase: Option<&Secret>,
    identity: Option<&Secret>,
    file: &Path,
    contents: &Contents,
) -> Result<Option<usize>> {
    let Some(sealed) = &contents.secrets else { return Ok(None) };
    let keys = identities(identity)?;
    let opener = match encryption::lock(sealed) {
        AgeLock::Passphrase => passphrase.map(Opener::Passphrase),
        AgeLock::Keys => Some(Opener::Identities(&keys)).filter(|_| !keys.is_empty()),
    };
    let hint = "give what opens them, or nothing: then only the rest is tested".to_owned();
    opener.map(|opener| open(sealed, &opener, file, hint).map(|all| all.len())).transpose()
}

fn open(sealed: &[u8], opener: &Opener<'_>, file: &Path, hint: String) -> Result<BTreeMap<String, Secret>> {
    let all = encryption::open(sealed, opener).map_err(|unopened| match unopened {
        Unopened::Wrong(reason) => Error::NotDecrypted {
            what: format!("the part of {} with the secrets", shown(file)),
            reason: reason.to_owned(),
            hint,
        },
        Unopened::Damaged(reason) => Error::BackupInvalid { path: shown(file), reason },
    })?;
    for (name, value) in &all {
        let checked = secrets::check_name(name).and_then(|()| secrets::check_value(name, value.reveal()));
        checked.map_err(|reason| Error::BackupInvalid { path: shown(file), reason })?;
    }
    Ok(all)
}

/// The private keys in a file of `age-keygen`; none without one.
///
/// # Errors
/// A usage error when it has none.
pub fn identities(file: Option<&Secret>) -> Result<Vec<Identity>> {
    let Some(file) = file else { return Ok(vec![]) };
    Identity::all_in(file.reveal()).map_err(|reason| Error::Usage {
        message: format!("the file given with --identity has no private key: {reason}"),
        hint: Some("docklet backup key makes a key; age-keygen does, too".to_owned()),
    })
}

/// Adds a password for the page where there is none; whether there was none.
///
/// # Errors
/// When the secrets that are there cannot be read.
pub fn add_password(instance: &Instance, given: &mut BTreeMap<String, Secret>) -> Result<bool> {
    let password = &instance.appliance.login.password_secret;
    if given.contains_key(password) || secrets::read(&instance.files.secrets(), password)?.is_some() {
        return Ok(false);
    }
    given.insert(password.clone(), secrets::generate_password()?);
    Ok(true)
}
