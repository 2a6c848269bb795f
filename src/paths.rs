//! Where docklet keeps its files (contract, section 8), and how it writes them: through a
//! temporary file and a rename. Knows nothing of what is in them.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    instance_name::InstanceName,
};

/// The three base folders.
#[derive(Debug, Clone)]
pub struct Paths {
    config: PathBuf,
    state: PathBuf,
    data: PathBuf,
}

/// The files of one instance.
#[derive(Debug, Clone)]
pub struct InstancePaths {
    /// Settings and secrets.
    pub config: PathBuf,
    /// State, lock and logs.
    pub state: PathBuf,
    /// Backups.
    pub data: PathBuf,
}

impl Paths {
    /// All three below one folder (`DOCKLET_HOME`), or where the platform puts them.
    ///
    /// # Errors
    /// When there is no home folder.
    pub fn find(docklet_home: Option<&Path>) -> Result<Self> {
        if let Some(home) = docklet_home {
            let home = std::path::absolute(home).map_err(|e| Error::file("find", home, &e))?;
            return Ok(Paths { config: home.join("config"), state: home.join("state"), data: home.join("data") });
        }
        let places = directories::ProjectDirs::from("", "", "docklet");
        // A relative HOME means another folder in each working directory, and none to the engine.
        let places = places.filter(|places| places.config_dir().is_absolute()).ok_or_else(|| Error::Usage {
            message: "there is no home folder to keep settings in".to_owned(),
            hint: Some("set HOME to an absolute path, or DOCKLET_HOME to a folder of your choice".to_owned()),
        })?;
        Ok(Paths {
            config: places.config_dir().to_owned(),
            // macOS and Windows have no state folder.
            state: places.state_dir().map_or_else(|| places.data_local_dir().join("state"), Path::to_owned),
            data: places.data_dir().to_owned(),
        })
    }

    /// The folders of one instance; they need not exist.
    pub fn instance(&self, instance: &InstanceName) -> InstancePaths {
        InstancePaths {
            config: self.config.join(instance.as_str()),
            state: self.state.join(instance.as_str()),
            data: self.data.join(instance.as_str()),
        }
    }

    /// The instances that have a folder for settings, by name. One that cannot be read has none.
    pub fn instances(&self) -> Vec<InstanceName> {
        let entries = std::fs::read_dir(&self.config).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// The one folder above all three (`DOCKLET_HOME`), where there is one.
    pub fn shared_home(&self) -> Option<&Path> {
        self.config.parent().filter(|home| self.state.parent() == Some(home) && self.data.parent() == Some(home))
    }

    /// The base folders.
    pub fn bases(&self) -> [&Path; 3] {
        [&self.config, &self.state, &self.data]
    }

    /// Removes the base folders that are empty, and those above them that docklet may have made.
    pub fn remove_empty(&self) {
        let home = directories::BaseDirs::new().map(|folders| folders.home_dir().to_owned());
        self.remove_empty_below(home.as_deref());
    }

    fn remove_empty_below(&self, home: Option<&Path>) {
        let shared = self.shared_home();
        // A new account has no `.config` and no `.local/state`. A folder that the user named is the user's.
        let hidden = |folder: &&Path| {
            let below = home.and_then(|home| folder.strip_prefix(home).ok());
            shared.is_none() && below.is_some_and(|below| below.to_string_lossy().starts_with('.'))
        };
        for base in self.bases() {
            // Ends at the first that is not empty.
            let _ = base
                .ancestors()
                .take_while(|folder| *folder == base || hidden(folder))
                .try_for_each(std::fs::remove_dir);
        }
        if let Some(shared) = shared {
            let _ = std::fs::remove_dir(shared);
        }
    }
}

/// End of the name of a file that keeps what came from standard input.
pub const RECEIVED: &str = ".received";

/// The name of a file for people: of what came from standard input, not where it is kept meanwhile.
pub fn shown(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let received = name == "-" || name.starts_with(".docklet-") && name.ends_with(RECEIVED);
    if received { "standard input".to_owned() } else { file.display().to_string() }
}

impl InstancePaths {
    /// The instance's name.
    pub fn name(&self) -> String {
        self.state.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
    /// The images that docklet pulled or loaded, for all instances.
    pub fn images(&self) -> PathBuf {
        self.state.with_file_name("images.json")
    }
    /// The settings file.
    pub fn settings(&self) -> PathBuf {
        self.config.join("settings.toml")
    }
    /// The release of the program that an update or a rollback chose.
    pub fn release(&self) -> PathBuf {
        self.config.join("release.json")
    }
    /// The container whose release and image were written down when its change was committed.
    pub fn committed(&self) -> PathBuf {
        self.state.join("committed")
    }
    /// How the last scheduled backup went.
    pub fn backup_state(&self) -> PathBuf {
        self.state.join("backup.json")
    }
    /// How the last scheduled look for a newer release went.
    pub fn update_state(&self) -> PathBuf {
        self.state.join("update.json")
    }
    /// How the last copies of `backup.copy` went.
    pub fn copies(&self) -> PathBuf {
        self.state.join("copies.json")
    }
    /// How the last test of a backup went.
    pub fn backup_test(&self) -> PathBuf {
        self.state.join("backup-test.json")
    }
    /// Held while a backup is tested, and removed when nothing of that is left on the engine.
    pub fn backup_test_lock(&self) -> PathBuf {
        self.state.join("backup-test.lock")
    }
    /// There once the user was told of caches in a backup.
    pub fn caches_told(&self) -> PathBuf {
        self.state.join("caches-told")
    }
    /// Held while `backup.copy` runs.
    pub fn copy_lock(&self) -> PathBuf {
        self.state.join("copy.lock")
    }
    /// The settings and secrets of a restore, until its data counts.
    pub fn restored(&self) -> PathBuf {
        self.config.join("restored")
    }
    /// The folder of secrets; the container gets a copy of them.
    pub fn secrets(&self) -> PathBuf {
        self.config.join("secrets")
    }
    /// Whether the user wants it running or stopped.
    pub fn desired(&self) -> PathBuf {
        self.state.join("desired.json")
    }
    /// What the mounted folders and files were when they were accepted.
    pub fn mounts(&self) -> PathBuf {
        self.state.join("mounts.json")
    }
    /// The answers of a wizard that was not finished, without secrets.
    pub fn answers(&self) -> PathBuf {
        self.state.join("answers.json")
    }
    /// The lock that one writing command holds.
    pub fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }
    /// The lock that the one supervisor holds.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.state.join("supervisor.lock")
    }
    /// What the supervisor remembers.
    pub fn supervisor_state(&self) -> PathBuf {
        self.state.join("supervisor.json")
    }
    /// What the engine said of itself and of its machine.
    pub fn engine(&self) -> PathBuf {
        self.state.join("engine.json")
    }
    /// What the supervisor decided, one line each.
    pub fn supervisor_log(&self) -> PathBuf {
        self.state.join("supervisor.log")
    }
    /// How the last notice to `notify.command` went.
    pub fn notices(&self) -> PathBuf {
        self.state.join("notify.json")
    }
    /// The full log of the last build.
    pub fn build_log(&self) -> PathBuf {
        self.state.join("build.log")
    }
    /// The key of the hash that tells whether secrets changed.
    pub fn secrets_key(&self) -> PathBuf {
        self.state.join("secrets.key")
    }
    /// Which network rules were loaded last, and what they refused.
    pub fn network_rules(&self) -> PathBuf {
        self.state.join("network-rules.json")
    }
    /// The copy of the certificates of the host's CA bundle that the appliance gets.
    pub fn ca_bundle(&self) -> PathBuf {
        self.state.join("ca-bundle.crt")
    }
    /// The folder in the container through which it reaches the host's ssh agent.
    pub fn ssh_agent(&self) -> PathBuf {
        self.state.join("ssh-agent")
    }
    /// Where the host's ssh agent listened when a command was run last.
    pub fn host_ssh_agent(&self) -> PathBuf {
        self.state.join("ssh-agent.path")
    }
    /// There while a move to another engine has not come to its end.
    pub fn unfinished_move(&self) -> PathBuf {
        self.state.join("move.json")
    }
    /// There once the generated password was shown to the user.
    pub fn password_shown(&self) -> PathBuf {
        self.state.join("password-shown")
    }
    /// The backups.
    pub fn backups(&self) -> PathBuf {
        self.data.join("backups")
    }
}

/// Where a path leads through its links; itself where it leads nowhere.
pub fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Creates a folder and those above it; the folder itself gets `mode` (unix).
pub fn create_folder(path: &Path, mode: u32) -> Result<()> {
    fs_err::create_dir_all(path).map_err(|e| Error::file("create the folder", path, &e))?;
    set_mode(path, mode)
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let now = fs_err::metadata(path).map_err(|e| Error::file("read", path, &e))?.permissions().mode() & 0o7777;
    if now == mode {
        return Ok(());
    }
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|e| Error::file("change the mode of", path, &e))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> Result<()> {
    Ok(())
}

/// How the names of temporary files begin.
const TEMPORARY: &str = ".docklet-";

/// Removes temporary files of [`write_file`] that a killed command left in a folder. Call it where nobody writes there now.
pub fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            // One that stays is removed the next time.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Writes a file whole or not at all: a temporary file beside it with `mode`, flushed to disk,
/// then a rename.
pub fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let failed = |e: std::io::Error| Error::file("write", path, &e);
    let folder = path.parent().ok_or_else(|| Error::bug(format!("{} has no folder", path.display())))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    // The umask may have taken bits away.
    set_mode(file.path(), mode)?;
    file.write_all(content).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Reads a text file; `None` when there is none.
pub fn read_text(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file("read", path, &e)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_came_from_standard_input_is_called_so() {
        for (file, name) in [
            ("-", "standard input"),
            ("/a/.docklet-backup-x.received", "standard input"),
            ("/a/x.received", "/a/x.received"),
            ("/a/-/x", "/a/-/x"),
        ] {
            assert_eq!(shown(Path::new(file)), name);
        }
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".docklet-aB3xYz", "KEY", ".hidden"] {
            std::fs::write(folder.path().join(name), "value").unwrap();
        }
        std::fs::create_dir(folder.path().join(".docklet-folder")).unwrap();
        remove_leftovers(folder.path());
        remove_leftovers(&folder.path().join("none"));
        let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".docklet-folder", ".hidden", "KEY"]);
    }
    #[test]
    fn empty_folders_go_up_to_the_home_and_those_that_the_user_named_stay() {
        let home = tempfile::tempdir().unwrap();
        let at = |folder: &str| home.path().join(folder);
        let paths = Paths {
            config: at("mine/config/docklet"),
            state: at(".local/state/docklet"),
            data: at(".local/share/docklet"),
        };
        for folder in paths.bases() {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(at(".local/share/other"), "").unwrap();
        paths.remove_empty_below(Some(home.path()));
        assert!(at(".local/share/other").exists() && !at(".local/share/docklet").exists());
        assert!(!at(".local/state").exists());
        assert!(at("mine/config").exists() && !at("mine/config/docklet").exists());

        std::fs::remove_file(at(".local/share/other")).unwrap();
        std::fs::create_dir(at(".local/share/docklet")).unwrap();
        paths.remove_empty_below(Some(home.path()));
        assert!(home.path().exists() && !at(".local").exists());

        // DOCKLET_HOME is one folder, whatever is above it.
        let shared = at(".own/docklet");
        std::fs::create_dir_all(shared.join("config")).unwrap();
        Paths::find(Some(&shared)).unwrap().remove_empty_below(Some(home.path()));
        assert!(at(".own").exists() && !shared.exists());
    }
}
