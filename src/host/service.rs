//! The user's own service manager, which starts the supervisor at login or boot: systemd (user
//! units) on Linux, launchd (agents) on macOS. Writes one file (and systemd's link to it) and takes
//! both away again. The texts are pure. Asks nobody.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::process::Command;

use super::system::{self, Init, System, which};
use crate::{
    error::{Error, Result, io_reason},
    instance::Instance,
    paths,
};

/// The target that a user's session and a lingering user reach.
const TARGET: &str = "default.target.wants";

/// What a service is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Whose supervisor.
    pub instance: Instance,
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
pub enum Kind {
    /// User units.
    Systemd,
    /// Agents.
    Launchd,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Systemd => "systemd",
            Kind::Launchd => "launchd",
        }
    }
}

/// A user's services.
#[derive(Debug, Clone)]
pub struct Services {
    kind: Kind,
    folder: PathBuf,
    /// `systemctl` or `launchctl`, where the manager runs; else why it does not.
    tool: Result<PathBuf, String>,
}

impl Services {
    /// Looks for the service manager of this system and says where its files are. `config_home` is
    /// `XDG_CONFIG_HOME`.
    pub fn find(home: &Path, config_home: Option<&Path>) -> Self {
        let system = System::look();
        if system.macos {
            let tool = which("launchctl").ok_or_else(|| "there is no launchctl".to_owned());
            return Services { kind: Kind::Launchd, folder: home.join("Library/LaunchAgents"), tool };
        }
        let config = config_home.map_or_else(|| home.join(".config"), Path::to_owned);
        let tool = match system.init {
            Init::Systemd => which("systemctl").ok_or_else(|| "there is no systemctl".to_owned()),
            _ => Err("systemd does not run here".to_owned()),
        };
        Services { kind: Kind::Systemd, folder: config.join("systemd/user"), tool }
    }

    /// Which one.
    pub fn kind(&self) -> Kind {
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
    pub fn file(&self, instance: &Instance) -> PathBuf {
        self.folder.join(file_name(self.kind, instance))
    }

    /// systemd's link that makes the service start by itself.
    fn link(&self, instance: &Instance) -> Option<PathBuf> {
        (self.kind == Kind::Systemd).then(|| self.folder.join(TARGET).join(file_name(self.kind, instance)))
    }

    /// What is there of an instance's service, whole or not.
    pub fn traces(&self, instance: &Instance) -> Vec<PathBuf> {
        // A link whose file is gone does not «exist».
        let there = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok();
        [Some(self.file(instance)), self.link(instance)].into_iter().flatten().filter(there).collect()
    }

    /// Whether an instance's service starts by itself.
    pub fn is_enabled(&self, instance: &Instance) -> bool {
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
            Kind::Systemd => systemd_unit(service)?,
            Kind::Launchd => launchd_agent(service)?,
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
    pub async fn disable(&self, instance: &Instance) -> Result<Vec<PathBuf>> {
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
    pub async fn start(&self, instance: &Instance) -> Result<(), String> {
        let name = file_name(self.kind, instance);
        match self.kind {
            Kind::Systemd => self.call(&["--user", "start", &name]).await.map(drop),
            Kind::Launchd => {
                let file = self.file(instance).display().to_string();
                self.call(&["bootstrap", &launchd_domain(), &file]).await.map(drop)
            }
        }
    }

    /// Stops the service now.
    ///
    /// # Errors
    /// What the manager says.
    pub async fn stop(&self, instance: &Instance) -> Result<(), String> {
        match self.kind {
            Kind::Systemd => self.call(&["--user", "stop", &file_name(self.kind, instance)]).await.map(drop),
            Kind::Launchd => {
                self.call(&["bootout", &format!("{}/{}", launchd_domain(), label(instance))]).await.map(drop)
            }
        }
    }

    /// Whether the manager runs the service now.
    pub async fn is_active(&self, instance: &Instance) -> bool {
        match self.kind {
            Kind::Systemd => self.call(&["--user", "is-active", &file_name(self.kind, instance)]).await.is_ok(),
            Kind::Launchd => self.call(&["print", &format!("{}/{}", launchd_domain(), label(instance))]).await.is_ok(),
        }
    }

    /// Tells systemd that files changed. It also reads them when it starts, so where it cannot be
    /// reached now (a session without its bus), nothing is lost.
    async fn reload(&self) {
        if self.kind == Kind::Systemd {
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
    let said = String::from_utf8_lossy(&stderr);
    Err(said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it gave no reason").to_owned())
}

/// Creates a folder that is not ours alone, so its mode is the user's choice.
fn make_folder(path: &Path) -> Result<()> {
    fs_err::create_dir_all(path).map_err(|e| Error::file("create the folder", path, &e))
}

fn label(instance: &Instance) -> String {
    format!("docklet.{instance}")
}

fn file_name(kind: Kind, instance: &Instance) -> String {
    match kind {
        Kind::Systemd => format!("docklet-{instance}.service"),
        Kind::Launchd => format!("{}.plist", label(instance)),
    }
}

fn launchd_domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}

/// The text of a systemd user unit.
///
/// # Errors
/// When a path or a value cannot be written in a unit.
pub fn systemd_unit(service: &Service) -> Result<String> {
    let Service { instance, title, environment, .. } = service;
    let program = quoted(program(service)?)?;
    let mut variables = String::new();
    for (name, value) in environment {
        variables.push_str(&format!("Environment={}\n", quoted(&format!("{name}={value}"))?));
    }
    // No Requires= or After= for the engine: a user's unit cannot see the system's. The supervisor
    // waits for the engine by itself.
    Ok(format!(
        "# Written by: docklet autostart enable. Removed by: docklet autostart disable\n\
         [Unit]\n\
         Description=docklet supervisor of {title} (instance {instance})\n\
         \n\
         [Service]\n\
         Type=simple\n\
         {variables}\
         ExecStart={program} --instance {instance} supervise\n\
         Restart=on-failure\n\
         RestartSec=5\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n"
    ))
}

/// A word of a unit file in quotes: `systemd.syntax(7)`, `systemd.unit(5)` for the percent sign.
fn quoted(text: &str) -> Result<String> {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            c if c.is_control() => return Err(unwritable(text)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

/// The text of a launchd agent.
///
/// # Errors
/// When a path or a value cannot be written in XML.
pub fn launchd_agent(service: &Service) -> Result<String> {
    let Service { instance, environment, .. } = service;
    let string = |text: &str| Ok::<_, Error>(format!("<string>{}</string>", xml(text)?));
    let mut arguments = String::new();
    for word in [program(service)?, "--instance", instance.as_str(), "supervise"] {
        arguments.push_str(&format!("    {}\n", string(word)?));
    }
    let mut variables = String::new();
    for (name, value) in environment {
        variables.push_str(&format!("    <key>{}</key>\n    {}\n", xml(name)?, string(value)?));
    }
    let label = string(&label(instance))?;
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by: docklet autostart enable. Removed by: docklet autostart disable -->
<plist version="1.0">
<dict>
  <key>Label</key>
  {label}
  <key>ProgramArguments</key>
  <array>
{arguments}  </array>
  <key>EnvironmentVariables</key>
  <dict>
{variables}  </dict>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ProcessType</key>
  <string>Background</string>
</dict>
</plist>
"#
    ))
}

fn xml(text: &str) -> Result<String> {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => return Err(unwritable(text)),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

fn program(service: &Service) -> Result<&str> {
    service.program.to_str().ok_or_else(|| unwritable(&service.program.display().to_string()))
}

fn unwritable(text: &str) -> Error {
    Error::Usage {
        message: format!("{} cannot be written into a service file", text.escape_debug()),
        hint: Some("it holds control characters or is not UTF-8; choose another path".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use insta::assert_snapshot;

    use super::*;

    fn service(program: &str, environment: &[(&str, &str)]) -> Service {
        Service {
            instance: "work".parse().unwrap(),
            title: "opencode".to_owned(),
            program: program.into(),
            environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    const NASTY: &str = r#"/opt/a b/100%h/q"uote/back\slash/$HOME/<&>/docklet"#;

    #[test]
    fn texts_of_a_plain_service() {
        let plain = service("/home/me/.cargo/bin/docklet", &[("DOCKLET_HOME", "/home/me/my docklet")]);
        assert_snapshot!(systemd_unit(&plain).unwrap(), @r#"
        # Written by: docklet autostart enable. Removed by: docklet autostart disable
        [Unit]
        Description=docklet supervisor of opencode (instance work)

        [Service]
        Type=simple
        Environment="DOCKLET_HOME=/home/me/my docklet"
        ExecStart="/home/me/.cargo/bin/docklet" --instance work supervise
        Restart=on-failure
        RestartSec=5

        [Install]
        WantedBy=default.target
        "#);
        assert!(launchd_agent(&plain).unwrap().contains("<key>DOCKLET_HOME</key>\n    <string>/home/me/my docklet<"));
    }

    #[test]
    fn a_unit_is_what_systemd_reads() {
        let Some(analyze) = which("systemd-analyze") else { return };
        let folder = tempfile::tempdir().unwrap();
        let nasty = folder.path().join(NASTY.trim_start_matches('/'));
        std::fs::create_dir_all(nasty.parent().unwrap()).unwrap();
        std::fs::write(&nasty, "#!/bin/sh\n").unwrap();
        std::os::unix::fs::symlink("/bin/true", folder.path().join("true")).unwrap();
        let verify = |text: &str| {
            let file = folder.path().join("docklet-work.service");
            std::fs::write(&file, text).unwrap();
            let runtime = folder.path().join("runtime");
            std::fs::create_dir_all(&runtime).unwrap();
            let mut command = std::process::Command::new(&analyze);
            command.args(["--user", "--man=no", "verify"]).arg(&file);
            let output = command.env("HOME", folder.path()).env("XDG_RUNTIME_DIR", &runtime).output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let values = [("DOCKLET_HOME", NASTY), ("DOCKER_HOST", "unix:///run/a b/x.sock")];
        let good = systemd_unit(&service(folder.path().join("true").to_str().unwrap(), &values)).unwrap();
        assert_eq!(verify(&good), (true, String::new()));
        // It names the program as it understood it: not executable, so that it does name it.
        let (fine, said) = verify(&systemd_unit(&service(nasty.to_str().unwrap(), &values)).unwrap());
        assert!(!fine && said.contains(NASTY), "{said}");
        // And the check can fail.
        let (_, said) = verify(&good.replace("Restart=on-failure", "Restrat=on-failure"));
        assert!(said.contains("Restrat"), "{said}");
    }

    #[test]
    fn an_agent_is_what_a_plist_parser_reads() {
        let text = launchd_agent(&service(NASTY, &[("DOCKLET_HOME", NASTY), ("DOCKER_HOST", "tcp://a&b")])).unwrap();
        let agent = plist::Value::from_reader_xml(text.as_bytes()).unwrap();
        let agent = agent.as_dictionary().unwrap();
        assert_eq!(agent["Label"].as_string(), Some("docklet.work"));
        let arguments: Vec<_> = agent["ProgramArguments"].as_array().unwrap().iter().map(|v| v.as_string()).collect();
        assert_eq!(arguments, [NASTY, "--instance", "work", "supervise"].map(Some));
        let environment = agent["EnvironmentVariables"].as_dictionary().unwrap();
        assert_eq!(environment["DOCKLET_HOME"].as_string(), Some(NASTY));
        assert_eq!(environment["DOCKER_HOST"].as_string(), Some("tcp://a&b"));
        assert_eq!(agent["RunAtLoad"].as_boolean(), Some(true));
        assert_eq!(agent["KeepAlive"].as_dictionary().unwrap()["SuccessfulExit"].as_boolean(), Some(false));
    }

    #[test]
    fn what_no_file_can_hold_is_refused() {
        assert!(systemd_unit(&service("/a\nb", &[])).is_err());
        assert!(systemd_unit(&service("/a", &[("X", "a\nExecStart=evil")])).is_err());
        assert!(launchd_agent(&service("/a\u{1}b", &[])).is_err());
    }

    /// Services in a folder of its own, with a manager that takes down what it is told.
    fn services(kind: Kind, folder: &Path) -> Services {
        use std::os::unix::fs::PermissionsExt as _;
        let tool = folder.join("tool");
        std::fs::write(&tool, format!("#!/bin/sh\necho \"$*\" >>'{}'\n", folder.join("told").display())).unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        Services { kind, folder: folder.join("home/units"), tool: Ok(tool) }
    }

    fn told(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("told")).unwrap_or_default()
    }

    #[tokio::test]
    async fn disabling_leaves_no_trace() {
        for kind in [Kind::Systemd, Kind::Launchd] {
            let folder = tempfile::tempdir().unwrap();
            let services = services(kind, folder.path());
            let work = service("/bin/true", &[]);
            assert!(!services.is_enabled(&work.instance));
            assert!(services.enable(&work).await.unwrap());
            assert!(services.is_enabled(&work.instance));
            assert!(!services.enable(&work).await.unwrap(), "a second time there is nothing to do");
            let link = services.folder.join("default.target.wants/docklet-work.service");
            assert_eq!(std::fs::read_link(&link).is_ok(), kind == Kind::Systemd);
            let moved = Service { program: "/bin/false".into(), ..work.clone() };
            assert!(services.enable(&moved).await.unwrap(), "a program that moved is written anew");
            assert!(!services.disable(&work.instance).await.unwrap().is_empty());
            assert!(!services.is_enabled(&work.instance));
            assert_eq!(services.disable(&work.instance).await.unwrap(), Vec::<PathBuf>::new());
            assert_eq!(std::fs::read_dir(&services.folder).unwrap().count(), 0);
            match kind {
                Kind::Systemd => assert_eq!(
                    told(folder.path()),
                    "--user daemon-reload\n--user daemon-reload\n--user stop docklet-work.service\n--user daemon-reload\n"
                ),
                Kind::Launchd => {
                    assert_eq!(told(folder.path()), format!("bootout {}/docklet.work\n", launchd_domain()))
                }
            }
        }
    }

    #[tokio::test]
    async fn half_a_service_is_never_left() {
        let folder = tempfile::tempdir().unwrap();
        let services = services(Kind::Systemd, folder.path());
        let work = service("/bin/true", &[]);
        std::fs::create_dir_all(&services.folder).unwrap();
        // A file where the folder of links should be.
        std::fs::write(services.folder.join(TARGET), "").unwrap();
        services.enable(&work).await.unwrap_err();
        assert_eq!(services.traces(&work.instance), Vec::<PathBuf>::new());
        std::fs::remove_file(services.folder.join(TARGET)).unwrap();
        services.enable(&work).await.unwrap();
        // A link whose unit is gone is a trace, too.
        std::fs::remove_file(services.file(&work.instance)).unwrap();
        assert_eq!(services.disable(&work.instance).await.unwrap().len(), 1);
        assert_eq!(services.traces(&work.instance), Vec::<PathBuf>::new());
    }
}
