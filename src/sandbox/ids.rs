//! Whom everything in the container runs as: the host's user where docklet builds the image for an engine that shares
//! this machine's users, so that mounted folders belong to the agent; else the appliance's own user.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    appliance::Ids,
    engine::Engine,
    settings::{ImageSource, Settings},
};

/// Below this, ids belong to the image's own system users.
const FIRST_USER: u32 = 1000;

/// The ids to run as on this engine.
pub fn of(engine: &Engine, settings: &Settings, default: Ids) -> Ids {
    let host = Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    choose(settings.image.source == ImageSource::Build && shares_users(engine), host, default)
}

fn choose(shared: bool, host: Ids, default: Ids) -> Ids {
    if shared && host.uid >= FIRST_USER && host.gid > 0 { host } else { default }
}

/// Whether a number means the same user here and in a container: an engine of this machine that runs as root. One
/// in a virtual machine, or without root, maps them.
fn shares_users(engine: &Engine) -> bool {
    let socket = engine.about.endpoint.strip_prefix("unix://").unwrap_or_default();
    cfg!(target_os = "linux")
        && matches!(engine.about.name.as_str(), "Docker" | "Podman")
        && std::fs::metadata(Path::new(socket)).is_ok_and(|found| found.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_user_counts_where_ids_are_shared() {
        let default = Ids { uid: 1000, gid: 1000 };
        let me = Ids { uid: 1001, gid: 100 };
        assert_eq!(choose(true, me, default), me);
        assert_eq!(choose(false, me, default), default);
        assert_eq!(choose(true, Ids { uid: 0, gid: 0 }, default), default, "never root");
        assert_eq!(choose(true, Ids { uid: 501, gid: 20 }, default), default, "a system user's number in the image");
    }
}
