//! `docklet attach`: the appliance's own client inside, in this terminal, attached to the running server.

use std::{
    path::{Component, Path, PathBuf},
    process::ExitCode,
};

use super::{args, context::Context, exec};
use crate::{
    error::{Error, Result},
    settings::Mount,
};

/// Runs the client until the user leaves it.
pub async fn run(context: &Context, args: &args::Attach) -> Result<ExitCode> {
    let mounts = context.settings().await?.mounts;
    let client = &context.appliance.client;
    let here = std::env::current_dir().ok();
    let folder = match &args.folder {
        Some(folder) => inside(folder, here.as_deref(), &mounts, &context.appliance.container.working_dir)?,
        None => here.as_deref().and_then(|here| mounted(here, &mounts)).unwrap_or_default(),
    };
    let mut command: Vec<&str> = client.command.iter().map(String::as_str).collect();
    if !folder.is_empty() {
        command.extend([client.folder_flag.as_str(), &folder]);
    }
    exec::on_terminal(context, "the client", command).await
}

/// The path in the container of what the user named: where a folder of this machine is mounted, else the path itself,
/// from the projects folder on.
fn inside(named: &Path, here: Option<&Path>, mounts: &[Mount], projects: &str) -> Result<String> {
    let on_this_machine = here.map_or_else(|| named.to_owned(), |here| here.join(named));
    if let Some(place) = mounted(&on_this_machine, mounts) {
        return Ok(place);
    }
    if named.components().any(|part| matches!(part, Component::ParentDir | Component::CurDir)) {
        return Err(Error::Usage {
            message: format!("{} is not mounted in the container", named.display()),
            hint: Some("docklet mount list shows what is".to_owned()),
        });
    }
    Ok(Path::new(projects).join(named).to_string_lossy().into_owned())
}

/// Where a folder of this machine is mounted, itself or one above it.
fn mounted(folder: &Path, mounts: &[Mount]) -> Option<String> {
    let folder = std::fs::canonicalize(folder).ok()?;
    let below = |mount: &Mount| {
        let rest: PathBuf = folder.strip_prefix(std::fs::canonicalize(&mount.host).ok()?).ok()?.to_owned();
        let place = Path::new(&mount.container).join(rest);
        Some(place.to_string_lossy().trim_end_matches('/').to_owned())
    };
    mounts.iter().filter_map(below).max_by_key(String::len)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn folders_are_found_inside() {
        let home = tempfile::tempdir().unwrap();
        let host = home.path().join("my app");
        std::fs::create_dir_all(host.join("src")).unwrap();
        let mounts = [Mount { host: host.clone(), container: "/workspace/app".to_owned(), read_only: false }];
        let find = |named: &str, here: &Path| inside(Path::new(named), Some(here), &mounts, "/workspace");
        assert_eq!(find("my app/src", home.path()).unwrap(), "/workspace/app/src");
        assert_eq!(find(".", &host).unwrap(), "/workspace/app");
        assert_eq!(find("other", home.path()).unwrap(), "/workspace/other", "a folder in the container");
        assert_eq!(find("/srv/x", home.path()).unwrap(), "/srv/x");
        assert!(find(".", home.path()).is_err(), "this folder is not mounted");
        assert_eq!(mounted(home.path(), &mounts), None);
    }
}
