//! What a backup holds, held against this instance: whether it is one of this appliance's, the release that its data needs,
//! and the records that this release lists.

use std::path::Path;

use super::Instance;
use crate::{
    appliance::Appliance,
    clean,
    data::{
        archive::{Header, read::Contents},
        data_check::{self, Records},
    },
    error::{Error, Result},
    paths,
    settings::{ImageSource, Settings},
    units::Version,
};

/// A backup of something else is none for us.
///
/// # Errors
/// [`Error::BackupInvalid`].
pub fn belongs_here(instance: &Instance, file: &Path, header: &Header) -> Result<()> {
    let invalid = |reason: String| Error::BackupInvalid { path: paths::shown(file), reason };
    let appliance = &instance.appliance;
    let shown = |text: &str| clean::line(text, false);
    if header.appliance != appliance.name {
        return Err(invalid(format!("it is a backup of {}, but this is {}", shown(&header.appliance), appliance.name)));
    }
    for volume in &header.volumes {
        if !appliance.volumes.iter().any(|v| v.role == volume.role) {
            let (role, name) = (shown(&volume.role), &appliance.name);
            return Err(invalid(format!("it holds a volume {role}, which {name} does not have")));
        }
    }
    Ok(())
}

/// What is installed then: data of a later release needs that release.
pub fn appliance_for(instance: &Instance, settings: &Settings, header: &Header) -> Appliance {
    let mut appliance = instance.appliance.clone();
    if settings.image.source == ImageSource::Build
        && let Some(release) = header.release.as_ref().filter(|release| appliance.knows(release))
        && Version::of(&release.version) > Version::of(&appliance.version)
    {
        appliance.adopt(release.clone());
    }
    appliance
}

/// The records in a backup that this appliance lists.
pub fn known_records(instance: &Instance, contents: &Contents) -> Records {
    let mut records = contents.manifest.records.clone();
    records.retain(|path, _| instance.appliance.records.paths.contains(path));
    data_check::sane(records)
}
