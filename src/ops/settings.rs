//! What settings mean beyond the container.

use crate::{
    appliance::Appliance,
    error::{Error, Result},
    settings::Settings,
};

/// Refuses a key or a token among the variables: whoever can ask the engine can read those.
///
/// # Errors
/// [`Error::Usage`] with the command that keeps it secret.
pub fn check_variables(appliance: &Appliance, settings: &Settings) -> Result<()> {
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
