//! The files of the program: the one that runs, the one of before beside it, and a new one that is not in place yet. Each
//! step leaves a whole program in place, so that a kill at any moment does.

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempPath;

use crate::{
    error::{Error, Result},
    report::SelfUpdateFinished,
};

/// How names of files begin that are not in place yet.
const UNFINISHED: &str = ".docklet-new-";

/// How long a program may take to say its version, and to restart supervisors.
const VERSION_DEADLINE: Duration = Duration::from_secs(30);
const FINISH_DEADLINE: Duration = Duration::from_secs(120);

/// A program and the folder that it is in.
#[derive(Debug)]
pub struct ProgramFile {
    path: PathBuf,
    folder: PathBuf,
}

impl ProgramFile {
    /// The one that runs; where a link leads to it, the file itself.
    pub fn running() -> Result<ProgramFile> {
        let path = std::env::current_exe().and_then(std::fs::canonicalize);
        let path = path.map_err(|e| Error::bug(format!("cannot find the path of the running program: {e}")))?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(ProgramFile { path, folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the one of before is.
    pub fn previous(&self) -> PathBuf {
        self.folder.join("docklet.previous")
    }

    /// A new program in the same folder, not in place yet; removed when it is dropped.
    pub fn write_beside(&self, content: &[u8]) -> Result<TempPath> {
        self.remove_unfinished();
        let written = || {
            let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.folder)?;
            file.write_all(content)?;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o755))?;
            file.as_file().sync_all()?;
            Ok(file.into_temp_path())
        };
        written().map_err(|e: std::io::Error| Error::file("write into", &self.folder, &e))
    }

    /// Puts a new program in place, and keeps the one that was there.
    pub fn replace_by(&self, fresh: TempPath) -> Result<()> {
        let kept = self.second_name()?;
        kept.persist(self.previous()).map_err(|e| Error::file("write", &self.previous(), &e.error))?;
        fresh.persist(&self.path).map_err(|e| Error::file("replace", &self.path, &e.error))
    }

    /// Puts the one of before in place, and keeps the one that was there.
    pub fn swap_with_previous(&self) -> Result<()> {
        let kept = self.second_name()?;
        fs_err::rename(self.previous(), &self.path).map_err(|e| Error::file("replace", &self.path, &e))?;
        kept.persist(self.previous()).map_err(|e| Error::file("write", &self.previous(), &e.error))
    }

    /// Another name for the file that is in place.
    fn second_name(&self) -> Result<TempPath> {
        let linked = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .make_in(&self.folder, |name| std::fs::hard_link(&self.path, name));
        linked.map(tempfile::NamedTempFile::into_temp_path).map_err(|e| Error::file("write into", &self.folder, &e))
    }

    /// What an update that was killed has left.
    fn remove_unfinished(&self) {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The version that a program says it is.
///
/// # Errors
/// Why it says none.
pub async fn version(program: &Path) -> Result<String, String> {
    let output_text = run(program, &["--version"], None, VERSION_DEADLINE).await?;
    output_text.split_whitespace().nth(1).map(str::to_owned).ok_or_else(|| "it says no version".to_owned())
}

/// Has a program finish an update whose files are in place.
///
/// # Errors
/// Why it does not.
pub async fn finish(program: &Path, home: Option<&Path>) -> Result<SelfUpdateFinished, String> {
    let output_text = run(program, &["--json", "self-update", "--finish"], home, FINISH_DEADLINE).await?;
    serde_json::from_str(&output_text).map_err(|e| e.to_string())
}

async fn run(program: &Path, arguments: &[&str], home: Option<&Path>, limit: Duration) -> Result<String, String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    if let Some(home) = home {
        command.env("DOCKLET_HOME", home);
    }
    let output = tokio::time::timeout(limit, command.output()).await.map_err(|_| "it does not end".to_owned())?;
    let output = output.map_err(|e| crate::error::io_reason(&e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let output_text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", output.status, output_text.lines().last().unwrap_or_default()))
}
