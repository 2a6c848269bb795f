//! The secrets in a backup: opens them with a passphrase or a private key, and takes them over, or back.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

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
    paths::{self, shown},
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

/// What [`save`] writes over: each secret as it was before, `None` where there was none. It is in a file meanwhile, so that
/// whoever comes after a killed restore can put it back.
#[derive(Default, Serialize, Deserialize)]
struct Before(Vec<(String, Option<String>)>);

/// Writes the secrets; a password is made where there is none, and whether it was is returned. [`keep`] or [`put_back`]
/// follows.
///
/// # Errors
/// When they cannot be written; then they are as before.
pub fn save(instance: &Instance, given: &BTreeMap<String, Secret>) -> Result<bool> {
    let folder = instance.files.secrets();
    let mut all = given.clone();
    let password = &instance.appliance.login.password_secret;
    let new_password = !all.contains_key(password) && secrets::read(&folder, password)?.is_none();
    if new_password {
        all.insert(password.clone(), secrets::generate_password()?);
    }
    let mut before = Before::default();
    for name in all.keys() {
        let value = secrets::read(&folder, name)?.map(|value| value.reveal().to_owned());
        before.0.push((name.clone(), value));
    }
    let text = serde_json::to_vec(&before).map_err(|e| Error::bug(format!("secrets do not serialise: {e}")))?;
    paths::create_folder(&instance.files.config, 0o700)?;
    paths::write_file(&instance.files.secrets_before(), &text, 0o600)?;
    for (name, value) in &all {
        if let Err(error) = secrets::write(&folder, name, value) {
            put_back(instance);
            return Err(error);
        }
    }
    Ok(new_password)
}

/// What was saved counts. If the file cannot be removed, the next command does it.
pub fn keep(instance: &Instance) {
    let _ = std::fs::remove_file(instance.files.secrets_before());
}

/// Puts back what was there before [`save`]; folders that are empty then go. What cannot be put back is told.
pub fn put_back(instance: &Instance) {
    let (folder, file) = (instance.files.secrets(), instance.files.secrets_before());
    let Ok(Some(text)) = paths::read_text(&file) else { return };
    let Before(all) = serde_json::from_str(&text).unwrap_or_default();
    let mut whole = true;
    for (name, before) in all {
        let done = match before {
            Some(value) => secrets::write(&folder, &name, &Secret::new(value)),
            None => secrets::remove(&folder, &name),
        };
        if let Err(error) = done {
            whole = false;
            let text = format!("secret {name} is not as it was before: {}", error.with_causes(": "));
            instance.reporter.report(&Event::Warning { text });
        }
    }
    if whole {
        keep(instance);
    }
    for folder in [&folder, &instance.files.config] {
        let _ = std::fs::remove_dir(folder);
    }
}

/// After a restore that was killed: until there are settings, what it brought does not count. Call it with the lock held.
pub fn after_a_kill(instance: &Instance) {
    if instance.files.settings().exists() { keep(instance) } else { put_back(instance) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{instance_name::InstanceName, ops::Options};

    #[test]
    fn secrets_of_a_restore_that_was_killed_count_only_with_its_settings() {
        for counts in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let options = Options { folder: Some(home.path().to_owned()), ..Options::default() };
            let open = || Instance::open(InstanceName::default(), options.clone()).unwrap();
            let killed = open();
            let folder = killed.files.secrets();
            secrets::write(&folder, "API_KEY", &Secret::new("mine")).unwrap();
            let given = [("API_KEY", "brought"), ("OTHER_KEY", "brought")];
            let given = given.map(|(name, value)| (name.to_owned(), Secret::new(value)));
            assert!(save(&killed, &BTreeMap::from(given)).unwrap());
            if counts {
                std::fs::write(killed.files.settings(), "").unwrap();
            }
            let next = open();
            drop(next.lock("start").unwrap());
            let now = |name: &str| secrets::read(&folder, name).unwrap().map(|value| value.reveal().to_owned());
            let expected = if counts { ("brought", Some("brought")) } else { ("mine", None) };
            assert_eq!((now("API_KEY").as_deref(), now("OTHER_KEY").as_deref()), (Some(expected.0), expected.1));
            assert_eq!(next.password().is_ok(), counts, "nor does the password that was made");
            assert!(!next.files.secrets_before().exists());
        }
    }
}
