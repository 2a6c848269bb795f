//! The release of the program that an update or a rollback chose, remembered beside the settings.
//! Without one, the release that this docklet carries counts.

use super::Instance;
use crate::{
    appliance::{Appliance, Release},
    desired::label,
    error::{Error, Result},
    observe::Snapshot,
    paths::{self, InstancePaths},
    settings::Settings,
};

/// The release that was chosen; `None` when none was.
///
/// # Errors
/// When the file cannot be read.
pub fn read(files: &InstancePaths) -> Result<Option<Release>> {
    let path = files.release();
    let Some(text) = paths::read_text(&path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|e| Error::SettingsInvalid {
        path: path.display().to_string(),
        line: e.line(),
        column: e.column(),
        reason: "it names no release".to_owned(),
        suggestion: Some("remove the file, then: docklet update".to_owned()),
    })
}

/// Remembers a release; the one that this docklet carries is not worth a file.
///
/// # Errors
/// When the file cannot be written.
fn write(instance: &Instance, release: &Release) -> Result<()> {
    let path = instance.files.release();
    if Appliance::embedded()?.built_release() == *release {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &path, &e)),
            _ => Ok(()),
        };
    }
    paths::create_folder(&instance.files.config, 0o700)?;
    let text = serde_json::to_string_pretty(release).map_err(|e| Error::bug(e.to_string()))?;
    paths::write_file(&path, text.as_bytes(), 0o600)
}

/// What holds from the commit of a guarded change on, and is not written down yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The container that the change made.
    pub container: Option<String>,
    /// The release; `None` where docklet does not build the image, or where it stays.
    pub release: Option<Release>,
    /// The image's name in the settings; `None` where docklet builds the image.
    pub reference: Option<String>,
}

/// What was committed by a command that was killed before it wrote it down: the container says it.
pub fn committed(instance: &Instance, snapshot: &Snapshot) -> Committed {
    let main = instance.own_container(snapshot);
    let previous = instance.previous_name();
    let previous = snapshot.containers.iter().find(|c| c.name == previous);
    let written = paths::read_text(&instance.files.committed()).ok().flatten();
    match main {
        Some(main)
            if previous.is_none() && main.labels.contains_key(label::UNDO) && written.as_ref() != Some(&main.id) =>
        {
            Committed {
                container: Some(main.id.clone()),
                release: main.labels.get(label::RELEASE).and_then(|text| serde_json::from_str(text).ok()),
                reference: main.labels.get(label::REFERENCE).cloned(),
            }
        }
        _ => Committed::default(),
    }
}

/// Writes down what was committed.
///
/// # Errors
/// When a file cannot be written.
pub fn write_down(instance: &Instance, committed: &Committed) -> Result<()> {
    let Some(container) = &committed.container else { return Ok(()) };
    if let Some(release) = &committed.release {
        write(instance, release)?;
    }
    let path = instance.files.settings();
    if let (Some(reference), Some(mut settings)) = (&committed.reference, Settings::load(&path)?)
        && settings.image.reference != *reference
    {
        settings.image.reference.clone_from(reference);
        settings.save(&path)?;
    }
    paths::create_folder(&instance.files.state, 0o700)?;
    paths::write_file(&instance.files.committed(), container.as_bytes(), 0o600)
}
