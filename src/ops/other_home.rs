//! One appliance, one home: an engine may be shared by several users, or by one with and without
//! sudo. A container with our labels whose settings lie in another home's folder is not ours to change:
//! that home's supervisor and commands do not know our lock.

use std::{io::ErrorKind, path::Path};

use super::Instance;
use crate::{
    desired::label,
    engine::container::Listed,
    error::{Error, Result},
};

/// Refuses when one of this instance's containers belongs to another home. One whose folder is gone (a home
/// that was moved, a machine that was set up anew) is taken over.
///
/// # Errors
/// [`Error::SetUpElsewhere`].
pub fn refuse(instance: &Instance, containers: &[Listed]) -> Result<()> {
    let appliance = &instance.appliance;
    let ours = &instance.files.config;
    let names = instance.name.containers(&appliance.name);
    let own = containers.iter().filter(|c| names.contains(&c.name));
    for container in own.filter(|c| instance.owns(&c.labels)) {
        // Docklet 0.1 mounted the secrets from there.
        let mounted = || container.binds.get(&appliance.container.secrets_dir)?.parent().map(Path::to_owned);
        let folder = container.labels.get(label::FOLDER).map(Into::into).or_else(mounted);
        if let Some(folder) = folder.filter(|folder| is_another(folder, ours)) {
            return Err(Error::SetUpElsewhere { name: container.name.clone(), folder: folder.display().to_string() });
        }
    }
    Ok(())
}

/// Whether a folder is there and not ours. One that we may not look at is there.
fn is_another(folder: &Path, ours: &Path) -> bool {
    if folder == ours {
        return false;
    }
    match std::fs::canonicalize(folder) {
        Ok(real) => std::fs::canonicalize(ours).map_or(true, |ours| ours != real),
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn another_home_is_one_that_is_there() {
        let base = tempfile::tempdir().unwrap();
        let (mine, theirs) = (base.path().join("mine"), base.path().join("theirs"));
        std::fs::create_dir(&mine).unwrap();
        assert!(!is_another(&mine, &mine));
        assert!(!is_another(&theirs, &mine), "a home that is gone leaves an heir");
        std::fs::create_dir(&theirs).unwrap();
        assert!(is_another(&theirs, &mine));
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&mine, &link).unwrap();
        assert!(!is_another(&link, &mine), "the same folder by another way");
    }
}
