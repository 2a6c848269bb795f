//! Gives volumes to the user that the container runs as, and makes and removes the places in them where folders of the
//! host are mounted. Helper containers do it while none of the agent's programs run; no link in a volume is followed.

use crate::{
    appliance::Ids,
    desired::VolumeSpec,
    engine::{Engine, task::TaskSpec},
    error::{Error, Result},
};

/// Root with CHOWN, and DAC_READ_SEARCH for folders that only their owner may enter. `-P` and `chown -h` follow no link.
const GIVE: &str = r#"exec /usr/bin/find -P "$@" \( ! -uid "$DOCKLET_UID" -o ! -gid "$DOCKLET_GID" \) -exec /usr/bin/chown -h "$DOCKLET_UID:$DOCKLET_GID" {} +"#;

/// Runs as the user, without any capability. A place that leads through a link, or is of the other kind, is refused.
const PLACES: &str = r#"
for place in "$@"; do
    kind=${place%% *} path=${place#* } at=
    rest=${path#/}
    while [ -n "$rest" ]; do
        part=${rest%%/*}
        case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
        at=$at/$part
        if [ -L "$at" ]; then echo "$at is a symbolic link in the volume"; exit 3; fi
        if [ "$kind" = remove ]; then [ -e "$at" ] || break; continue; fi
        if [ -n "$rest" ] || [ "$kind" = folder ]; then
            [ -d "$at" ] || /usr/bin/mkdir "$at" || exit 3
        else
            [ -f "$at" ] || { [ ! -e "$at" ] && : >"$at"; } || { echo "$at is in the way"; exit 3; }
        fi
    done
    # Only what is empty was made for a mount.
    if [ "$kind" = remove ] && [ "$at" = "$path" ]; then /usr/bin/find -P "$path" -maxdepth 0 -empty -delete || :; fi
done
"#;

/// Gives all that is in the volumes to the user.
///
/// # Errors
/// What the engine says, and [`Error::HelperFailed`].
pub async fn give(engine: &Engine, mut helper: TaskSpec, volumes: &[VolumeSpec], ids: Ids) -> Result<()> {
    let script = GIVE.replace("$DOCKLET_UID", &ids.uid.to_string()).replace("$DOCKLET_GID", &ids.gid.to_string());
    helper.command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script, "give".to_owned()];
    for (index, volume) in volumes.iter().enumerate() {
        let at = format!("/volumes/{index}");
        helper.command.push(at.clone());
        helper.volumes.push((volume.name.clone(), at, false));
    }
    helper.capabilities = ["CHOWN", "DAC_READ_SEARCH"].map(str::to_owned).to_vec();
    let (ended, _) = engine.run_task(&helper, None).await?;
    match ended.code {
        0 => Ok(()),
        _ => Err(Error::HelperFailed {
            what: "giving the volumes to the agent's user".to_owned(),
            reason: ended.reason(),
        }),
    }
}

/// A place in a volume where something of the host is mounted, or no longer is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "path")]
pub enum Place {
    /// A folder has to be there.
    Folder(String),
    /// A file has to be there.
    File(String),
    /// Nothing needs to be there any more; what is empty goes.
    Remove(String),
}

impl Place {
    /// The path inside.
    pub fn path(&self) -> &str {
        let (Place::Folder(path) | Place::File(path) | Place::Remove(path)) = self;
        path
    }

    fn argument(&self) -> String {
        match self {
            Place::Folder(path) => format!("folder {path}"),
            Place::File(path) => format!("file {path}"),
            Place::Remove(path) => format!("remove {path}"),
        }
    }
}

/// Makes and removes places. `volumes` are mounted where the container has them.
///
/// # Errors
/// [`Error::MountRefused`] when a place leads through a link or is taken, and what the engine says.
pub async fn prepare(
    engine: &Engine,
    mut helper: TaskSpec,
    volumes: &[VolumeSpec],
    places: &[Place],
    ids: Ids,
) -> Result<()> {
    helper.user = ids.to_string();
    helper.volumes = volumes.iter().map(|v| (v.name.clone(), v.mount.clone(), false)).collect();
    helper.command = ["/bin/sh", "-c", PLACES, "places"].map(str::to_owned).to_vec();
    helper.command.extend(places.iter().map(Place::argument));
    let (ended, said) = engine.run_task(&helper, None).await?;
    match ended.code {
        0 => Ok(()),
        3 => Err(Error::MountRefused { reason: String::from_utf8_lossy(&said).trim().to_owned() + &ended.complaints }),
        _ => Err(Error::HelperFailed { what: "preparing the places of mounts".to_owned(), reason: ended.reason() }),
    }
}
