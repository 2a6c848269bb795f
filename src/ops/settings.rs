//! What settings mean beyond the container.

use std::path::Path;

use crate::{
    appliance::Appliance,
    engine::reference::Reference,
    error::{Error, Result},
    host::pem,
    settings::{Settings, keys},
};

/// Rules for settings that need more than the settings: names of images can be names of images, there are certificates in a
/// CA file, and no key or token is among the variables, which whoever can ask the engine can read. What is as it was `before`
/// is in nobody's way here.
///
/// # Errors
/// [`Error::SettingRefused`], [`Error::File`], and [`Error::Usage`] with the command that keeps a key secret.
pub fn check_settings(appliance: &Appliance, before: Option<&Settings>, after: &Settings) -> Result<()> {
    let image = |settings: &Settings| {
        [("image.base", settings.image.base.clone()), ("image.reference", settings.image.reference.clone())]
    };
    let file = &after.trust.ca_file;
    if !file.is_empty() && before.is_none_or(|before| before.trust.ca_file != *file) {
        if !Path::new(file).is_absolute() {
            return Err(Error::SettingRefused {
                key: "trust.ca_file".to_owned(),
                value: file.clone(),
                reason: "the path does not begin with /".to_owned(),
                hint: "commands are run in other folders, too: write the whole path".to_owned(),
            });
        }
        pem::read_certificates(Path::new(file))?;
    }
    let before = before.map(image);
    for (key, name) in image(after) {
        let is_new = before.as_ref().is_none_or(|before| !before.contains(&(key, name.clone())));
        if is_new && (key, name.as_str()) != ("image.reference", "") {
            check_image(key, &name)?;
        }
    }
    check_variables(appliance, after)
}

fn check_image(key: &str, name: &str) -> Result<()> {
    name.parse::<Reference>().map(drop).map_err(|error| Error::SettingRefused {
        key: key.to_owned(),
        value: if name.is_empty() { "empty".to_owned() } else { name.to_owned() },
        reason: error.to_string(),
        hint: format!("allowed: {}", keys::allowed(key)),
    })
}

fn check_variables(appliance: &Appliance, settings: &Settings) -> Result<()> {
    let keys = appliance.providers.iter().map(|provider| &provider.secret);
    let mut secrets = keys.chain(appliance.tokens.iter().flat_map(|token| &token.env));
    let is_set = |name: &&String| settings.environment.keys().any(|variable| variable.to_string() == **name);
    match secrets.find(is_set) {
        None => Ok(()),
        Some(name) => Err(Error::Usage {
            message: format!("{name} is a secret, and variables are not kept secret"),
            hint: Some(format!("docklet secret set {name}")),
        }),
    }
}

/// What publishing on another address than loopback means, in a sentence.
pub fn exposure(settings: &Settings) -> Option<String> {
    let bind = settings.network.bind;
    (!bind.is_loopback()).then(|| {
        format!(
            "the page will be reachable from other machines at {bind}:{}, protected only by its password, over unencrypted HTTP",
            settings.network.port
        )
    })
}
