//! The secrets in a backup: opens them with a passphrase or a private key, and takes them over.

use std::{collections::BTreeMap, path::Path};

use super::Restore;
use crate::{
    age_key::Identity,
    data::{
        archive::read::Contents,
        encryption::{self, Lock, Opener, Unopened},
    },
    error::{Error, Result},
    event::Event,
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
            let text = "the backup contains no secrets; the current ones are kept".to_owned();
            instance.reporter.report(&Event::Note { text });
        }
        return Ok(BTreeMap::new());
    };
    let (passphrase, keys);
    let (opener, flag) = match encryption::lock(sealed) {
        Lock::Passphrase => {
            passphrase = match &options.passphrase {
                Some(given) => Some(backup::not_empty(given.clone())?),
                None => instance.questions.passphrase()?.filter(|typed| !typed.reveal().is_empty()),
            };
            (passphrase.as_ref().map(Opener::Passphrase), "--passphrase-file")
        }
        Lock::Keys => {
            keys = identities(options.identity.as_ref())?;
            (Some(Opener::Identities(&keys)).filter(|_| !keys.is_empty()), "--identity")
        }
    };
    let Some(opener) = opener else {
        let text = format!("the secrets in the backup are not restored; to restore them, add {flag} FILE");
        instance.reporter.report(&Event::Warning { text });
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
        Lock::Passphrase => passphrase.map(Opener::Passphrase),
        Lock::Keys => Some(Opener::Identities(&keys)).filter(|_| !keys.is_empty()),
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

/// What [`save`] wrote over: each secret as it was before, `None` where there was none.
#[derive(Default)]
pub struct Saved {
    before: Vec<(String, Option<Secret>)>,
    /// Whether a password was made.
    pub new_password: bool,
}

/// Writes the secrets; a password is made where there is none.
///
/// # Errors
/// When they cannot be written; then they are as before.
pub fn save(instance: &Instance, given: &BTreeMap<String, Secret>) -> Result<Saved> {
    let mut saved = Saved::default();
    match write(instance, given, &mut saved) {
        Ok(()) => Ok(saved),
        Err(error) => {
            saved.take_back(instance);
            Err(error)
        }
    }
}

fn write(instance: &Instance, given: &BTreeMap<String, Secret>, saved: &mut Saved) -> Result<()> {
    let folder = instance.files.secrets();
    let mut all = given.clone();
    let password = &instance.appliance.login.password_secret;
    if !all.contains_key(password) && secrets::read(&folder, password)?.is_none() {
        all.insert(password.clone(), secrets::generate_password()?);
        saved.new_password = true;
    }
    for (name, value) in &all {
        saved.before.push((name.clone(), secrets::read(&folder, name)?));
        secrets::write(&folder, name, value)?;
    }
    Ok(())
}

impl Saved {
    /// Puts back what was there before; folders that are empty then go. What cannot be put back is told.
    pub fn take_back(&self, instance: &Instance) {
        let folder = instance.files.secrets();
        for (name, before) in &self.before {
            let done = match before {
                Some(value) => secrets::write(&folder, name, value),
                None => secrets::remove(&folder, name),
            };
            if let Err(error) = done {
                let text = format!("secret {name} is not as it was before: {}", error.with_causes(": "));
                instance.reporter.report(&Event::Warning { text });
            }
        }
        for folder in [&folder, &instance.files.config] {
            let _ = std::fs::remove_dir(folder);
        }
    }
}
