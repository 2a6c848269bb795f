//! Gives volumes to the user that the container runs as, and makes and removes the places in them where folders of the
//! host are mounted. Helper containers do it while none of the agent's programs run; no link in a volume is followed.

use crate::{
    appliance::Ids,
    desired::{BindMount, ContainerSpec, VolumeSpec},
    engine::{Engine, helper::HelperSpec},
    error::{Error, Result},
};

/// Root with CHOWN; DAC_READ_SEARCH for folders that only their owner may enter; FOWNER, without which the kernel refuses
/// to change the owner of a set-user-id file. A volume whose top folder is the user's is left as it is; the top goes
/// last, so that one that was broken off is taken up again. `-P` and `chown -h` follow no link.
const GIVE: &str = r#"
ids=$1; shift
for volume in "$@"; do
    [ "$(/usr/bin/stat -c %u:%g "$volume")" != "$ids" ] || continue
    /usr/bin/find -P "$volume" -mindepth 1 \( ! -uid "${ids%:*}" -o ! -gid "${ids#*:}" \) -exec /usr/bin/chown -h "$ids" {} + || exit 1
    /usr/bin/chown -h "$ids" "$volume" || exit 1
done
"#;

/// Runs as the user, without any capability. A place that leads through a link, or is of the other kind, is refused.
const PLACES: &str = r#"
for place in "$@"; do
    kind=${place%% *} path=${place#* } at=
    rest=${path#/}
    while [ -n "$rest" ]; do
        part=${rest%%/*}
        case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
        at=$at/$part
        if [ -L "$at" ]; then [ "$kind" != remove ] || break; echo "$at is a symbolic link in the volume"; exit 3; fi
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
pub async fn give(engine: &Engine, mut helper: HelperSpec, volumes: &[VolumeSpec], ids: Ids) -> Result<()> {
    helper.command = ["/bin/sh", "-c", GIVE, "give", &ids.to_string()].map(str::to_owned).to_vec();
    for (index, volume) in volumes.iter().enumerate() {
        let at = format!("/volumes/{index}");
        helper.command.push(at.clone());
        helper.volumes.push((volume.name.clone(), at, false));
    }
    helper.capabilities = ["CHOWN", "DAC_READ_SEARCH", "FOWNER"].map(str::to_owned).to_vec();
    let (ended, _) = engine.run_helper(&helper, None).await?;
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
pub enum MountPlace {
    /// A folder has to be there.
    Folder(String),
    /// A file has to be there.
    File(String),
    /// Nothing needs to be there any more; what is empty goes.
    Remove(String),
}

impl MountPlace {
    /// Of a folder or a file of the host. One that this machine does not show, because the engine runs on another one, counts
    /// as a folder.
    pub fn of(bind: &BindMount) -> Self {
        let place = bind.container.clone();
        let is_file = std::fs::metadata(&bind.host).is_ok_and(|found| !found.is_dir());
        if is_file { MountPlace::File(place) } else { MountPlace::Folder(place) }
    }

    fn argument(&self) -> String {
        match self {
            MountPlace::Folder(path) => format!("folder {path}"),
            MountPlace::File(path) => format!("file {path}"),
            MountPlace::Remove(path) => format!("remove {path}"),
        }
    }
}

/// Prepares the places of a container that was made before, right before it starts: while it did not run, whoever ran on its
/// volumes, or was put into them, could lead a place elsewhere.
///
/// # Errors
/// As [`prepare`].
pub async fn prepare_again(engine: &Engine, helper: HelperSpec, made: &ContainerSpec) -> Result<()> {
    let places: Vec<MountPlace> =
        made.binds.iter().filter(|bind| made.is_in_volume(bind)).map(MountPlace::of).collect();
    if places.is_empty() {
        return Ok(());
    }
    let volume = |(name, mount): (&String, &String)| VolumeSpec {
        name: name.clone(),
        mount: mount.clone(),
        labels: made.labels.clone(),
    };
    let volumes: Vec<VolumeSpec> = made.volumes.iter().map(volume).collect();
    prepare_as(engine, helper, &volumes, &places, made.user.clone()).await
}

/// Makes and removes places. `volumes` are mounted where the container has them.
///
/// # Errors
/// [`Error::MountRefused`] when a place leads through a link or is taken, and what the engine says.
pub async fn prepare(
    engine: &Engine,
    helper: HelperSpec,
    volumes: &[VolumeSpec],
    places: &[MountPlace],
    ids: Ids,
) -> Result<()> {
    prepare_as(engine, helper, volumes, places, ids.to_string()).await
}

async fn prepare_as(
    engine: &Engine,
    mut helper: HelperSpec,
    volumes: &[VolumeSpec],
    places: &[MountPlace],
    user: String,
) -> Result<()> {
    helper.user = user;
    helper.as_in_image = true;
    helper.volumes = volumes.iter().map(|v| (v.name.clone(), v.mount.clone(), false)).collect();
    helper.command = ["/bin/sh", "-c", PLACES, "places"].map(str::to_owned).to_vec();
    helper.command.extend(places.iter().map(MountPlace::argument));
    let (ended, output) = engine.run_helper(&helper, None).await?;
    match ended.code {
        0 => Ok(()),
        3 => {
            Err(Error::MountRefused { reason: String::from_utf8_lossy(&output).trim().to_owned() + &ended.complaints })
        }
        _ => Err(Error::HelperFailed { what: "preparing the places of mounts".to_owned(), reason: ended.reason() }),
    }
}
