//! What settings mean beyond the container.

use crate::settings::Settings;

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
