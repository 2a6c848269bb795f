//! The results of `uninstall`.

use std::fmt;

use serde::Serialize;

/// What an uninstall can find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ThingKind {
    /// The container.
    Container,
    /// The image.
    Image,
    /// The container's network.
    Network,
    /// A volume.
    Volume,
    /// The autostart entry.
    Autostart,
    /// The running supervisor.
    Supervisor,
    /// The settings file.
    Settings,
    /// The release that an update chose.
    Release,
    /// The folder of secrets.
    Secrets,
    /// State, lock and logs.
    State,
    /// The backups.
    Backups,
}

impl fmt::Display for ThingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Something that an uninstall removes, or that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Thing {
    /// What it is.
    pub kind: ThingKind,
    /// Its name, or its path.
    pub name: String,
}

/// Something that an uninstall keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What it is.
    pub kind: ThingKind,
    /// Its name, or its path.
    pub name: String,
    /// Size in bytes; `None` when the engine does not say.
    pub size: Option<u64>,
    /// The command that removes it.
    pub how_to_remove: String,
}

/// `docklet uninstall`
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct UninstallReport {
    /// Whose.
    pub instance: String,
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// The last backup, made before volumes were removed; `None` when none was made.
    pub backup: Option<String>,
    /// Roles of the volumes that are not in it: they were gone before.
    pub backup_missing_volumes: Vec<String>,
    /// The newest backup with all volumes, where the last one lacks some.
    pub whole_backup: Option<String>,
    /// What went, or would go.
    pub removed: Vec<Thing>,
    /// What stays on purpose.
    pub kept: Vec<Kept>,
    /// What still carries our labels and was not kept on purpose: empty when all went well.
    pub left: Vec<Thing>,
}
