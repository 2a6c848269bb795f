//! `restore --only`: some of the volumes come back, the others stay as they are.

use std::path::Path;

use crate::{
    data::archive::{Header, VolumeTotals, read::Contents},
    error::{Error, Result},
    ops::Instance,
    paths::shown,
};

/// The volume that the program keeps its records in.
const HOLDS_RECORDS: &str = "session";

/// Checks that there are such volumes, here and in the backup.
///
/// # Errors
/// When one of them is missing.
pub fn check(instance: &Instance, file: &Path, header: &Header, only: &[String]) -> Result<()> {
    let roles: Vec<&str> = instance.appliance.volumes.iter().map(|volume| volume.role.as_str()).collect();
    if let Some(unknown) = only.iter().find(|role| !roles.contains(&role.as_str())) {
        return Err(Error::usage(format!("there is no volume {unknown}; the volumes are {}", roles.join(", "))));
    }
    match only.iter().find(|role| header.volumes.iter().all(|there| there.role != **role)) {
        None => Ok(()),
        Some(role) => Err(Error::BackupInvalid { path: shown(file), reason: format!("it has no {role} volume") }),
    }
}

/// The volumes that stay as they are; none where all are restored.
pub fn others(instance: &Instance, only: &[String]) -> Vec<String> {
    let roles = instance.appliance.volumes.iter().map(|volume| volume.role.clone());
    roles.filter(|role| !only.is_empty() && !only.contains(role)).collect()
}

/// How much there is of what is restored.
pub fn totals<'a>(contents: &'a Contents, only: &[String]) -> Vec<&'a VolumeTotals> {
    contents.manifest.volumes.iter().filter(|total| only.is_empty() || only.contains(&total.role)).collect()
}

/// Whether the program's records are among what is restored.
pub fn holds_records(only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|role| role == HOLDS_RECORDS)
}
