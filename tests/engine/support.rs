//! The world of one engine test: an instance name, a home, a port and an image that no other test has, and the
//! removal of all that is left of them at the end. Nothing else on the engine is looked at or touched.
//!
//! ```ignore
//! let world = World::new();
//! world.setup();                                          // docklet setup --yes with the stand-in image
//! world.misbehave("exit-after:1:3 once");                 // words: tests/fixtures/stand-in/stand-in
//! let status = json(&world.docklet().args(["status", "--json"]).output().unwrap());
//! wait_until(SOON, "the page answers", || world.http_get("/", Some(&world.password())).0 == 200);
//! ```
//!
//! `tests/run` says through the environment what there is:
//!
//! | variable | what |
//! |---|---|
//! | `DOCKER_HOST` | the engine |
//! | `DOCKLET_TEST_IMAGE`, `DOCKLET_TEST_IMAGE_2` | the stand-in, versions 1.0.1 and 1.0.2 |
//! | `DOCKLET_TEST_IMAGE_TAR` | the first, saved |
//! | `DOCKLET_TEST_REGISTRY` | a registry with `stand-in:1` and `stand-in:2`, open to all |
//! | `DOCKLET_TEST_REGISTRY_AUTH`, `…_USER`, `…_PASSWORD` | the same behind basic auth |
//! | `DOCKLET_TEST_PUBLIC_ADDRESS` | an address of this machine that is not in a private range |
//! | `DOCKLET_TEST_FOLDER`, `DOCKLET_TEST_RUN` | where to put folders, and what names start with: the run finds and |
//! | | removes by them what a test that was killed has left |

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

mod described;
mod docker;
mod http;
mod images;
mod left;
#[cfg(target_os = "linux")]
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/output.rs"]
mod output;
mod registry;
pub use self::docker::{
    as_root, docker, docker_command, docker_try, docker_with, engine_get, labelled, limits_memory, pause,
};
pub use self::http::{http, http_within};
pub use self::images::{stand_in, stand_in_2};
#[cfg(target_os = "linux")]
pub use self::machine::{with_systemd, without_systemd};
pub use self::output::{json, shown};

/// For what takes moments on an idle machine: long enough for a busy one.
pub const SOON: Duration = Duration::from_secs(30);

/// The engine that the tests are run against.
pub fn engine_host() -> String {
    variable("DOCKER_HOST")
}

/// A variable that `tests/run` sets.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run these tests with tests/run"))
}

/// The world of one test.
pub struct World {
    /// The instance.
    pub name: String,
    /// Published by `setup`.
    pub port: u16,
    /// `DOCKLET_HOME`. Its path has a space in it.
    pub home: PathBuf,
    folder: TempDir,
    engine: RefCell<String>,
    image: RefCell<Option<String>>,
    tags: RefCell<Vec<String>>,
    made: Cell<u32>,
    supervised: Cell<bool>,
}

impl World {
    /// A new one, with nothing in it yet.
    pub fn new() -> Self {
        let run = std::env::var("DOCKLET_TEST_RUN").unwrap_or_else(|_| "hand".to_owned());
        let name = format!("t-{run}-{}", random_hex());
        let folder = new_folder("dk ");
        let home = folder.path().join("docklet home");
        fs::create_dir(folder.path().join("user")).expect("a home");
        Self {
            name,
            port: free_port(),
            home,
            folder,
            engine: RefCell::new(engine_host()),
            image: RefCell::new(None),
            tags: RefCell::new(Vec::new()),
            made: Cell::new(0),
            supervised: Cell::new(false),
        }
    }

    /// A new one in which `start` starts a supervisor, as it does for everybody. In the others none runs: they
    /// count calls, and do things to containers that a supervisor would put right.
    pub fn supervised() -> Self {
        let world = Self::new();
        world.supervised.set(true);
        world
    }

    /// The same home and engine, another instance: for two side by side.
    pub fn sibling(&self) -> Self {
        let mut other = Self::new();
        other.home.clone_from(&self.home);
        *other.engine.borrow_mut() = self.engine.borrow().clone();
        other
    }

    /// Lets `docklet` (and nothing else here) talk to this address from now on: a proxy's.
    pub fn use_engine(&self, host: &str) {
        host.clone_into(&mut self.engine.borrow_mut());
    }

    /// The name of the container.
    pub fn container(&self) -> String {
        format!("opencode-cloud-{}", self.name)
    }

    /// The names of the three volumes.
    pub fn volumes(&self) -> [String; 3] {
        ["session", "projects", "config"].map(|volume| format!("opencode-cloud-{}-{volume}", self.name))
    }

    /// A folder of this test's own, below a path with a space.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The real binary in a bare environment: this home, this instance, this engine, and nothing of the user's.
    pub fn docklet(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docklet"));
        self.bare(&mut command);
        command.stdin(Stdio::null());
        command
    }

    /// The same, with the machine's way to the Internet: its proxy variables and certificates.
    pub fn docklet_online(&self) -> Command {
        let mut command = self.docklet();
        let wanted = ["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"];
        for (key, value) in std::env::vars() {
            if wanted.contains(&key.as_str()) || key.to_ascii_lowercase().ends_with("_proxy") {
                command.env(key, value);
            }
        }
        command
    }

    /// The same bare environment for any command: for a pseudo-terminal, or a `docklet` that lies elsewhere.
    pub fn bare(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path().join("user"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .env("DOCKER_HOST", &*self.engine.borrow())
            .env("DOCKLET_HOME", &self.home)
            .env("DOCKLET_INSTANCE", &self.name)
            .env("DOCKLET_TIMEOUT", "600")
            .current_dir(self.folder.path());
        if !self.supervised.get() {
            command.env("DOCKLET_NO_SUPERVISOR", "true");
        }
        if let Some(folder) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", folder);
        }
    }

    /// `docklet` with these arguments, run to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.docklet().args(args).output().expect("the docklet binary")
    }

    /// The same, which must succeed; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "docklet {}\n{}", args.join(" "), shown(&output));
        String::from_utf8(output.stdout).expect("UTF-8 on standard output")
    }

    /// The same, which must end with this code; what it printed.
    pub fn fails(&self, args: &[&str], code: i32) -> Output {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "docklet {}\n{}", args.join(" "), shown(&output));
        output
    }

    /// `docklet` with these arguments as the leader of its own process group, for [`super::proxy::Proxy::kill_target`].
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.docklet()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("the docklet binary")
    }

    /// The arguments of [`World::setup`].
    pub fn setup_args(&self) -> Vec<String> {
        let port = self.port.to_string();
        ["setup", "--yes", "--image", &self.image(), "--port", &port].map(str::to_owned).to_vec()
    }

    /// Sets this instance up with its own tag of the stand-in image and its port. Must succeed.
    pub fn setup(&self) -> Output {
        let args = self.setup_args();
        let output = self.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(output.status.success(), "docklet {}\n{}", args.join(" "), shown(&output));
        output
    }

    /// The user's own git has this name and address.
    pub fn commits_as(&self, name: &str, email: &str) {
        let text = format!("[user]\n\tname = {name}\n\temail = {email}\n");
        fs::write(self.folder.path().join("user/.gitconfig"), text).expect("to write git's configuration");
    }

    /// The password as `docklet password` prints it.
    pub fn password(&self) -> String {
        self.ok(&["password"]).trim().to_owned()
    }

    /// `docklet status --json`, whatever its exit code.
    pub fn status(&self) -> Value {
        json(&self.run(&["status", "--json"]))
    }

    /// Tells the running stand-in how to misbehave from now on; an empty string ends it.
    pub fn misbehave(&self, words: &str) {
        let script = format!(
            "printf %s '{words}' > /workspace/.stand-in.new && mv /workspace/.stand-in.new /workspace/.stand-in"
        );
        docker(&["exec", &self.container(), "sh", "-c", &script]);
    }

    /// Asks the page at this world's port, as user `opencode` when there is a password: status (0: no answer) and
    /// body.
    pub fn http_get(&self, path: &str, password: Option<&str>) -> (u16, String) {
        http(self.port, "GET", path, password, None)
    }

    /// The same with a JSON body. The first one makes the real opencode load all that it needs.
    pub fn http_post(&self, path: &str, password: Option<&str>, body: &Value) -> (u16, String) {
        let patience = Duration::from_secs(60);
        http_within(patience, self.port, "POST", path, password, Some(&body.to_string())).unwrap_or_default()
    }

    /// What the engine says of this world's container, or `None` without one.
    pub fn inspect(&self) -> Option<Value> {
        engine_get(&format!("/containers/{}/json", self.container()))
    }

    /// The processes that run with this world's home in their environment: supervisors, and commands still at work.
    pub fn processes(&self) -> Vec<u32> {
        let wanted = format!("DOCKLET_HOME={}", self.home.display());
        let instance = format!("DOCKLET_INSTANCE={}", self.name);
        let Ok(list) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        list.flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                let environment = String::from_utf8_lossy(&environment);
                environment.split('\0').any(|pair| pair == wanted)
                    && environment.split('\0').any(|pair| pair == instance)
            })
            .collect()
    }

    /// What a failed test wants to know.
    fn tell(&self) {
        eprintln!("--- what world {} looked like ---", self.name);
        let label = format!("label=docklet.instance={}", self.name);
        for args in [
            vec!["ps", "--all", "--no-trunc", "--filter", &label],
            vec!["volume", "ls", "--filter", &label],
            vec!["logs", "--tail", "20", &self.container()],
        ] {
            eprintln!("$ docker {}\n{}", args.join(" "), shown(&docker_try(&args)));
        }
        let log = self.home.join("state").join(&self.name).join("supervisor.log");
        eprintln!("supervisor.log:\n{}", fs::read_to_string(log).unwrap_or_default());
        eprintln!("processes: {:?}", self.processes());
    }
}

/// Runs a script on this machine that needs root, such as one that changes its networks; what it printed.
pub fn as_root_here(script: &str) -> String {
    let done = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(done.status.success(), "this test needs root: {}", shown(&done));
    String::from_utf8(done.stdout).unwrap()
}

/// Whether this machine has a service manager, so that the wizard asks about it.
pub fn has_service_manager() -> bool {
    cfg!(target_os = "macos") || Path::new("/run/systemd/system").is_dir()
}

/// SIGKILL to one process. Not by the kill command: a bare Debian has none.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Sends a process a signal, if it is still there.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Waits until a condition holds; fails with its name when the time is over.
pub fn wait_until(timeout: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(timeout, what, || condition().then_some(()));
}

/// So much longer than usual may something take: the end of the time says that it is lost, not that the machine is slow.
pub const SLOW: u32 = 3;

/// Waits until there is something; fails with its name when [`SLOW`] times the time is over.
pub fn wait_for<T>(timeout: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let timeout = timeout * SLOW;
    let deadline = Instant::now() + timeout;
    loop {
        let began = Instant::now();
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "after {timeout:?} still waiting for this: {what}");
        rest(began);
    }
}

/// Fails if a condition ceases to hold within this time.
pub fn holds_for(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let began = Instant::now();
        assert!(condition(), "no longer so: {what}");
        rest(began);
    }
}

/// Who looks at something again and again leaves most of the machine to others: the dearer the look, the longer the pause.
fn rest(look_began: Instant) {
    thread::sleep((look_began.elapsed() * 4).clamp(Duration::from_millis(10), Duration::from_millis(250)));
}

/// A new folder that is removed when dropped, with a path short enough for sockets in it.
pub fn new_folder(prefix: &str) -> TempDir {
    let parent = std::env::var("DOCKLET_TEST_FOLDER").unwrap_or_else(|_| "/tmp".to_owned());
    tempfile::Builder::new().prefix(prefix).tempdir_in(parent).expect("a new folder")
}

/// A port that nothing listens on, below those that the system gives to outgoing connections.
pub fn free_port() -> u16 {
    for _ in 0..200 {
        let port = 20_000 + u16::from_str_radix(&random_hex()[..4], 16).expect("hex") % 10_000;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// Eight random hex digits.
pub fn random_hex() -> String {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("random bytes");
    format!("{:08x}", u32::from_ne_bytes(bytes))
}
