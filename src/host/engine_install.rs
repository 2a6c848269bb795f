//! Brings a container engine to a machine that has none: the distribution's own package, started
//! by whoever starts services here, else by ourselves. Ends when the engine really answers.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{
    error::{Error, Result},
    event::{Event, Reporter},
    host::{
        command::{Program, ProgramFailure},
        packages::PackageManager,
        system::{self, Init, System, which},
    },
};

/// How long an engine may take from its start to its first answer.
const STARTUP: Duration = Duration::from_secs(60);

/// How long a service may take before we start the daemon ourselves.
const SERVICE_STARTUP: Duration = Duration::from_secs(20);

/// Time between two looks at the socket.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long one look at the socket may take.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// The group that may use the engine's socket.
const GROUP: &str = "docker";

/// What was installed and started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Where it listens: `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// Whether it starts again after a reboot.
    pub survives_reboot: bool,
    /// How it was started, for the user: "systemctl enable --now docker".
    pub how: String,
    /// The group that this user was put into and this session does not have yet: until the next
    /// login, only [`with_group`] can talk to the engine.
    pub new_group: Option<String>,
}

/// What is installed, and where it is started; a test gives others than the host's.
#[derive(Debug, Clone)]
struct Daemon {
    /// The socket on which it will listen.
    socket: PathBuf,
    /// Its log when nobody else keeps one.
    log: PathBuf,
    /// Arguments, when nobody else starts it.
    arguments: Vec<String>,
}

impl Default for Daemon {
    fn default() -> Self {
        Daemon { socket: "/var/run/docker.sock".into(), log: "/var/log/dockerd.log".into(), arguments: vec![] }
    }
}

/// Installs an engine where there is none, and starts it.
///
/// # Errors
/// [`Error::EngineInstallFailed`] with the step and its last lines.
pub async fn install_engine(reporter: &dyn Reporter) -> Result<Installed> {
    let system = System::current();
    if system.macos {
        return Err(failed(ProgramFailure {
            step: "macOS".to_owned(),
            reason: "an engine for macOS is a virtual machine of your choice, such as: brew install colima docker && colima start"
                .to_owned(),
            log: vec![],
        }));
    }
    if which("dockerd").is_none() {
        let manager = PackageManager::find().ok_or_else(|| {
            failed(ProgramFailure {
                step: "look for a package manager".to_owned(),
                reason: "docklet knows apt, dnf, zypper, pacman and apk, and none is here".to_owned(),
                log: vec![],
            })
        })?;
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let apparmor = Path::new("/sys/module/apparmor").exists();
        let packages = packages(manager, &release, apparmor).map_err(failed)?;
        manager.install_packages(&packages, reporter).await.map_err(failed)?;
        if which("dockerd").is_none() {
            return Err(failed(ProgramFailure {
                step: format!("install {}", packages.join(" ")),
                reason: "the package brought no dockerd".to_owned(),
                log: vec![],
            }));
        }
    }
    let daemon = Daemon::default();
    let (how, survives_reboot) = start(&daemon, system, reporter).await.map_err(failed)?;
    if !survives_reboot {
        reporter.warn(format!("the engine was started by hand ({how}): after a reboot, start it again"));
    }
    let new_group = join_group(&daemon, system, reporter).await.map_err(failed)?;
    let endpoint = format!("unix://{}", daemon.socket.display());
    Ok(Installed { endpoint, survives_reboot, how, new_group })
}

/// The same command again, in a session that has the group: for a user who was put into it just
/// now and has not logged in again.
pub fn with_group(group: &str, command: &[String]) -> std::process::Command {
    let mut sg = std::process::Command::new("sg");
    sg.args([group, "-c", &shell_words::join(command)]);
    sg
}

/// The packages with a daemon, and what published ports and builds need of what is only recommended.
fn packages(manager: PackageManager, os_release: &str, apparmor: bool) -> Result<Vec<&'static str>, ProgramFailure> {
    let ids: Vec<&str> = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split_whitespace())
        .collect();
    Ok(match manager {
        PackageManager::Apt if apparmor => vec!["docker.io", "iptables", "ca-certificates", "apparmor"],
        PackageManager::Apt => vec!["docker.io", "iptables", "ca-certificates"],
        PackageManager::Dnf if ids.contains(&"amzn") => vec!["docker"],
        // Red Hat's own call Podman "docker"; it has no daemon.
        PackageManager::Dnf if ids.first() != Some(&"fedora") => {
            return Err(ProgramFailure {
                step: "look for a package with an engine".to_owned(),
                reason: "this distribution has no Docker; use its Podman: sudo dnf install podman && systemctl --user enable --now podman.socket"
                    .to_owned(),
                log: vec![],
            });
        }
        PackageManager::Dnf => vec!["moby-engine"],
        PackageManager::Zypper | PackageManager::Pacman => vec!["docker"],
        PackageManager::Apk => vec!["docker", "iptables"],
    })
}

/// Starts the daemon and waits until it answers. Says how, and whether that survives a reboot.
async fn start(daemon: &Daemon, system: System, reporter: &dyn Reporter) -> Result<(String, bool), ProgramFailure> {
    if answers(&daemon.socket).await {
        return Ok(("it was running already".to_owned(), true));
    }
    let what = "start the engine";
    let mut note = None;
    for (program, arguments, survives_reboot) in service_commands(system) {
        let how = format!("{program} {}", arguments.join(" "));
        match Program::new(what, program).arguments(arguments).privileged().run(reporter).await {
            Ok(()) if wait(daemon, SERVICE_STARTUP, || true).await => return Ok((how, survives_reboot)),
            Ok(()) => note = Some(format!("{how} brought no engine")),
            Err(failure) => note = Some(format!("{how}: {}", failure.reason)),
        }
    }
    if let Some(note) = note {
        reporter.note(format!("{note}; starting the daemon itself"));
    }
    start_detached(daemon, what, reporter).await.map(|()| ("dockerd".to_owned(), false))
}

/// What starts the service here, each with whether it starts again at boot.
fn service_commands(system: System) -> Vec<(&'static str, Vec<&'static str>, bool)> {
    match system.init {
        Init::Systemd => vec![("systemctl", vec!["enable", "--now", "docker"], true)],
        // Two commands: the first alone starts nothing, and waiting for it would be in vain.
        Init::OpenRc => vec![("sh", vec!["-c", "rc-update add docker default && rc-service docker start"], true)],
        Init::Scripts | Init::Nobody => {
            let script = Path::new("/etc/init.d/docker").exists() && which("service").is_some();
            let by_script = ("service", vec!["docker", "start"], system.init == Init::Scripts);
            script.then_some(by_script).into_iter().collect()
        }
    }
}

/// Starts the daemon in a session of its own, so that it outlives this terminal.
async fn start_detached(daemon: &Daemon, what: &str, reporter: &dyn Reporter) -> Result<(), ProgramFailure> {
    let log = daemon.log.display().to_string();
    // The shell ends at once; its child keeps neither our terminal nor our pipes. HUP is ignored
    // because sudo's own terminal may hang up before setsid has run.
    let script = r#"trap '' HUP; log=$1; shift; setsid "$@" </dev/null >>"$log" 2>&1 & echo "process $!, log in $log""#;
    let said = LastLine::default();
    let dockerd = which("dockerd").unwrap_or_else(|| "dockerd".into()).display().to_string();
    Program::new(what, "sh")
        .arguments(["-c", script, "sh", &log, &dockerd])
        .arguments(&daemon.arguments)
        .privileged()
        .run(&RememberingReporter(&said, reporter))
        .await?;
    let pid = said.pid();
    let alive = || pid.is_none_or(system::is_alive);
    if wait(daemon, STARTUP, alive).await {
        return Ok(());
    }
    let text = std::fs::read_to_string(&daemon.log).unwrap_or_default();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let reason = if alive() {
        format!("dockerd runs but does not answer after {} s; its log: {log}", STARTUP.as_secs())
    } else {
        format!("dockerd ended at once; its log: {log}")
    };
    Err(ProgramFailure { step: what.to_owned(), reason, log: lines[lines.len().saturating_sub(10)..].to_vec() })
}

/// Waits until the engine answers. Ends early when it can no longer come.
async fn wait(daemon: &Daemon, deadline: Duration, alive: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    loop {
        let living = alive();
        if answers(&daemon.socket).await {
            return true;
        }
        if !living || began.elapsed() > deadline {
            return false;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Whether an engine answers on a socket. We may have no permission to ask: then a daemon that
/// runs beside its socket is the answer.
async fn answers(socket: &Path) -> bool {
    match tokio::time::timeout(LONGEST_LOOK, ping(socket)).await {
        Ok(Ok(answers)) => answers,
        Ok(Err(e)) if e.kind() == io::ErrorKind::PermissionDenied => system::runs("dockerd"),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Asks for a sign of life. Not through `engine`: the engine room is not asked to start engines.
async fn ping(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docklet\r\n\r\n").await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(answer.ends_with(b" 200"))
}

/// Puts the user into the group that may use the engine, unless it may already.
async fn join_group(
    daemon: &Daemon,
    system: System,
    reporter: &dyn Reporter,
) -> Result<Option<String>, ProgramFailure> {
    if system.root || ping(&daemon.socket).await.is_ok() {
        return Ok(None);
    }
    let what = "give you permission to use the engine";
    let user = system::user_name().ok_or_else(|| ProgramFailure {
        step: what.to_owned(),
        reason: "this user has no name".to_owned(),
        log: vec![],
    })?;
    let usermod = Program::new(what, "usermod").arguments(["-aG", GROUP, &user]);
    let addgroup = Program::new(what, "addgroup").arguments([user.as_str(), GROUP]);
    // Alpine has no usermod.
    let program = if which("usermod").is_some() { usermod } else { addgroup };
    program.privileged().run(reporter).await?;
    reporter.warn(format!("you are now in the group {GROUP}; log out and in again for this to apply everywhere"));
    Ok(Some(GROUP.to_owned()))
}

fn failed(failure: ProgramFailure) -> Error {
    Error::EngineInstallFailed { step: failure.step, reason: failure.reason, log: failure.log }
}

/// Remembers what a program said.
#[derive(Default)]
struct LastLine(std::cell::RefCell<String>);

impl LastLine {
    /// From "process 4711, log in …".
    fn pid(&self) -> Option<u32> {
        self.0.borrow().strip_prefix("process ")?.split(',').next()?.parse().ok()
    }
}

/// Remembers, and passes on.
struct RememberingReporter<'a>(&'a LastLine, &'a dyn Reporter);

impl Reporter for RememberingReporter<'_> {
    fn report(&self, event: &Event) {
        if let Event::Host { line, .. } = event {
            *self.0.0.borrow_mut() = line.clone();
        }
        self.1.report(event);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_distribution_has_its_package() {
        let at = |manager, release| packages(manager, release, false).map(|p| p[0]).map_err(|f| f.reason);
        assert_eq!(at(PackageManager::Apt, "ID=ubuntu\nID_LIKE=debian"), Ok("docker.io"));
        assert_eq!(at(PackageManager::Dnf, "NAME=Fedora\nID=fedora"), Ok("moby-engine"));
        assert_eq!(at(PackageManager::Dnf, "ID=\"amzn\"\nID_LIKE=\"fedora\""), Ok("docker"));
        assert!(
            at(PackageManager::Dnf, "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"").unwrap_err().contains("podman")
        );
        assert_eq!(at(PackageManager::Pacman, ""), Ok("docker"));
        let debian = packages(PackageManager::Apt, "ID=debian", true).unwrap();
        assert!(debian.contains(&"iptables") && debian.contains(&"apparmor"));
    }

    #[test]
    fn only_a_service_survives_a_reboot() {
        let at = |init| service_commands(System { macos: false, init, root: true });
        assert_eq!(at(Init::Systemd), [("systemctl", vec!["enable", "--now", "docker"], true)]);
        assert!(at(Init::OpenRc)[0].2);
        assert!(at(Init::Nobody).iter().all(|(_, _, survives)| !survives));
    }

    #[test]
    fn the_same_command_again_keeps_its_words() {
        let words = ["docklet", "setup", "--secret-file", "A=/home/me/my file"].map(str::to_owned);
        let command = with_group("docker", &words);
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["docker", "-c", "docklet setup --secret-file 'A=/home/me/my file'"]);
    }

    #[tokio::test]
    async fn an_engine_is_there_when_it_answers_and_not_before() {
        use tokio::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let daemon = Daemon { socket: socket.clone(), ..Daemon::default() };
        assert!(!answers(&socket).await, "nothing there");
        assert!(!wait(&daemon, STARTUP, || false).await, "a dead daemon is not waited for");

        let listener = UnixListener::bind(&socket).unwrap();
        let answers = ["HTTP/1.0 503 Service Unavailable\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nOK"];
        let served = tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 128];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"GET /_ping"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        assert!(wait(&daemon, STARTUP, || true).await);
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_daemon_that_ends_at_once_says_why() {
        if !system::is_root() || which("dockerd").is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon {
            socket: folder.path().join("s"),
            log: folder.path().join("log"),
            arguments: vec!["--no-such-flag".to_owned()],
        };
        let failure = start_detached(&daemon, "start", &crate::event::Silent).await.unwrap_err();
        assert!(failure.reason.starts_with("dockerd ended at once"), "{failure:?}");
        assert!(failure.log.iter().any(|line| line.contains("no-such-flag")), "{failure:?}");
    }

    #[tokio::test]
    #[ignore = "starts an engine of its own: tests/run has what it needs, root and dockerd"]
    async fn a_daemon_is_started_detached() {
        // A daemon without a bridge removes the bridge of any other in its network, so this runs
        // again in a network of its own.
        const INSIDE: &str = "DOCKLET_TEST_OWN_NETWORK";
        if std::env::var_os(INSIDE).is_none() {
            let test = "host::engine_install::tests::a_daemon_is_started_detached";
            let mut inside = std::process::Command::new("unshare");
            inside.arg("--net").arg(std::env::current_exe().unwrap()).args([
                "--exact",
                test,
                "--ignored",
                "--nocapture",
            ]);
            assert!(inside.env(INSIDE, "1").status().unwrap().success());
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let daemon = Daemon {
            socket: folder.path().join("s"),
            log: folder.path().join("log"),
            arguments: [
                "-H",
                &format!("unix://{}", at("s")),
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("exec"),
                "--pidfile",
                &at("pid"),
                "--bridge=none",
                "--iptables=false",
            ]
            .map(str::to_owned)
            .into(),
        };
        start_detached(&daemon, "start", &crate::event::Silent).await.unwrap();
        let pid = std::fs::read_to_string(at("pid")).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap();
        let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().to_owned();
        assert!(crate::host::system::terminate(pid.trim().parse().unwrap()));
        assert_eq!(session, pid.trim(), "a session of its own");
        while Path::new("/proc").join(pid.trim()).exists() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
