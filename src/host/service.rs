//! The user's own service manager, which starts the supervisor at login or boot: systemd (user
//! units) on Linux, launchd (agents) on macOS. Writes one file (and systemd's link to it) and takes
//! both away again. Asks nobody.

#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

pub use text::{launchd_agent, systemd_unit};
use tokio::process::Command;

use super::system::{self, Init, System, which};
use crate::{
    error::{Error, Result, io_reason},
    instance_name::InstanceName,
    paths,
};

/// The target that a user's session and a lingering user reach.
const TARGET: &str = "default.target.wants";

/// What a service is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Whose supervisor.
    pub instance: InstanceName,
    /// What it supervises, for people.
    pub title: String,
    /// This program, as an absolute path.
    pub program: PathBuf,
    /// What the supervisor must know of the user's environment. No secrets.
    pub environment: BTreeMap<String, String>,
}

/// The kinds of service managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceManager {
    /// User units.
    Systemd,
    /// Agents.
    Launchd,
}

impl ServiceManager {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            ServiceManager::Systemd => "systemd",
            ServiceManager::Launchd => "launchd",
        }
    }
}

/// A user's services.
#[derive(Debug, Clone)]
pub struct Services {
    kind: ServiceManager,
    folder: PathBuf,
    /// `systemctl` or `launchctl`, where the manager runs; else why it does not.
    tool: Result<PathBuf, String>,
}

impl Services {
    /// Looks for the service manager of this system and says where its files are. `config_home` is
    /// `XDG_CONFIG_HOME`.
    pub fn find(home: &Path, config_home: Option<&Path>) -> Self {
        let system = System::current();
        if system.macos {
            let tool = which("launchctl").ok_or_else(|| "there is no launchctl".to_owned());
            return Services { kind: ServiceManager::Launchd, folder: home.join("Library/LaunchAgents"), tool };
        }
        let config = config_home.map_or_else(|| home.join(".config"), Path::to_owned);
        let tool = match system.init {
            Init::Systemd => which("systemctl").ok_or_else(|| "there is no systemctl".to_owned()),
            _ => Err("systemd does not run here".to_owned()),
        };
        Services { kind: ServiceManager::Systemd, folder: config.join("systemd/user"), tool }
    }

    /// Which one.
    pub fn kind(&self) -> ServiceManager {
        self.kind
    }

    /// Whether the manager runs.
    ///
    /// # Errors
    /// Why it does not.
    pub fn available(&self) -> Result<(), String> {
        self.tool.as_ref().map(drop).map_err(Clone::clone)
    }

    /// The file of an instance's service.
    pub fn file(&self, instance: &InstanceName) -> PathBuf {
        self.folder.join(file_name(self.kind, instance))
    }

    /// systemd's link that makes the service start by itself.
    fn link(&self, instance: &InstanceName) -> Option<PathBuf> {
        (self.kind == ServiceManager::Systemd).then(|| self.folder.join(TARGET).join(file_name(self.kind, instance)))
    }

    /// What is there of an instance's service, whole or not.
    pub fn traces(&self, instance: &InstanceName) -> Vec<PathBuf> {
        // A link whose file is gone does not "exist".
        let there = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok();
        [Some(self.file(instance)), self.link(instance)].into_iter().flatten().filter(there).collect()
    }

    /// Whether an instance's service starts by itself.
    pub fn is_enabled(&self, instance: &InstanceName) -> bool {
        self.file(instance).is_file() && self.link(instance).is_none_or(|link| std::fs::symlink_metadata(link).is_ok())
    }

    /// Makes a service start by itself from the next login (or boot) on; says whether it did not
    /// before.
    ///
    /// # Errors
    /// When something in it cannot be written in the manager's language, or a file cannot be
    /// written; then nothing of it is left.
    pub async fn enable(&self, service: &Service) -> Result<bool> {
        let text = match self.kind {
            ServiceManager::Systemd => systemd_unit(service)?,
            ServiceManager::Launchd => launchd_agent(service)?,
        };
        let file = self.file(&service.instance);
        let link = self.link(&service.instance);
        if paths::read_text(&file).ok().flatten().as_deref() == Some(&text) && self.is_enabled(&service.instance) {
            return Ok(false);
        }
        make_folder(&self.folder)?;
        paths::write_file(&file, text.as_bytes(), 0o644)?;
        if let Some(link) = link
            && let Err(error) = self.make_link(&file, &link)
        {
            // Half a service would be one that nobody starts and nobody misses.
            let _ = std::fs::remove_file(&file);
            return Err(error);
        }
        self.reload().await;
        Ok(true)
    }

    fn make_link(&self, file: &Path, link: &Path) -> Result<()> {
        if let Some(folder) = link.parent() {
            make_folder(folder)?;
        }
        match std::os::unix::fs::symlink(file, link) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                // It may lead elsewhere: a folder that was moved.
                std::fs::remove_file(link)
                    .and_then(|()| std::os::unix::fs::symlink(file, link))
                    .map_err(|e| Error::file("replace the link", link, &e))
            }
            other => other.map_err(|e| Error::file("create the link", link, &e)),
        }
    }

    /// Stops the service and removes every trace of it; what was removed.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn disable(&self, instance: &InstanceName) -> Result<Vec<PathBuf>> {
        let traces = self.traces(instance);
        if traces.is_empty() {
            return Ok(vec![]);
        }
        // Best effort: where the manager does not run there is nothing to stop.
        let _ = self.stop(instance).await;
        for path in &traces {
            std::fs::remove_file(path).map_err(|e| Error::file("remove", path, &e))?;
        }
        // Folders that are empty now may have been ours.
        if let Some(folder) = self.link(instance).as_deref().and_then(Path::parent) {
            let _ = std::fs::remove_dir(folder);
        }
        self.reload().await;
        Ok(traces)
    }

    /// Starts the service now, under its manager.
    ///
    /// # Errors
    /// What the manager says.
    pub async fn start(&self, instance: &InstanceName) -> Result<(), String> {
        let name = file_name(self.kind, instance);
        match self.kind {
            ServiceManager::Systemd => self.call(&["--user", "start", &name]).await.map(drop),
            ServiceManager::Launchd => {
                let file = self.file(instance).display().to_string();
                self.call(&["bootstrap", &launchd_domain(), &file]).await.map(drop)
            }
        }
    }

    /// Stops the service now.
    ///
    /// # Errors
    /// What the manager says.
    pub async fn stop(&self, instance: &InstanceName) -> Result<(), String> {
        match self.kind {
            ServiceManager::Systemd => self.call(&["--user", "stop", &file_name(self.kind, instance)]).await.map(drop),
            ServiceManager::Launchd => {
                self.call(&["bootout", &format!("{}/{}", launchd_domain(), label(instance))]).await.map(drop)
            }
        }
    }

    /// Whether the manager runs the service now.
    pub async fn is_active(&self, instance: &InstanceName) -> bool {
        match self.kind {
            ServiceManager::Systemd => {
                self.call(&["--user", "is-active", &file_name(self.kind, instance)]).await.is_ok()
            }
            ServiceManager::Launchd => {
                self.call(&["print", &format!("{}/{}", launchd_domain(), label(instance))]).await.is_ok()
            }
        }
    }

    /// Tells systemd that files changed. It also reads them when it starts, so where it cannot be
    /// reached now (a session without its bus), nothing is lost.
    async fn reload(&self) {
        if self.kind == ServiceManager::Systemd {
            let _ = self.call(&["--user", "daemon-reload"]).await;
        }
    }

    async fn call(&self, arguments: &[&str]) -> Result<String, String> {
        let tool = self.tool.as_ref().map_err(Clone::clone)?;
        run(tool, arguments).await
    }
}

/// Whether a user's services go on without a session and start at boot.
pub async fn lingers(user: &str) -> bool {
    if let Some(loginctl) = which("loginctl")
        && let Ok(answer) = run(&loginctl, &["show-user", user, "--property=Linger"]).await
    {
        return answer.trim() == "Linger=yes";
    }
    // loginctl knows only users who are logged in.
    Path::new("/var/lib/systemd/linger").join(user).exists()
}

/// Lets a user's services go on without a session.
///
/// # Errors
/// What loginctl says.
pub async fn enable_linger(user: &str) -> Result<(), String> {
    let loginctl = which("loginctl").ok_or("there is no loginctl")?;
    run(&loginctl, &["enable-linger", user]).await.map(drop)
}

/// The user whose services these are.
pub fn user() -> String {
    system::user_name().unwrap_or_else(|| rustix::process::getuid().as_raw().to_string())
}

async fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let command = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(20), command).await;
    let Output { status, stdout, stderr } =
        output.map_err(|_| "it did not answer within 20 s".to_owned())?.map_err(|e| io_reason(&e))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&stderr);
    Err(text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it gave no reason").to_owned())
}

/// Creates a folder that is not ours alone, so its mode is the user's choice.
fn make_folder(path: &Path) -> Result<()> {
    fs_err::create_dir_all(path).map_err(|e| Error::file("create the folder", path, &e))
}

fn label(instance: &InstanceName) -> String {
    format!("docklet.{instance}")
}

fn file_name(kind: ServiceManager, instance: &InstanceName) -> String {
    match kind {
        ServiceManager::Systemd => format!("docklet-{instance}.service"),
        ServiceManager::Launchd => format!("{}.plist", label(instance)),
    }
}

fn launchd_domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}
