//! A home without anything in it, and the binary in a bare environment.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

#[path = "../shared/output.rs"]
mod output;
pub use self::output::{json, shown};
#[cfg(target_os = "linux")]
#[path = "../shared/machine.rs"]
mod machine;
#[cfg(target_os = "linux")]
pub use self::machine::{with_systemd, without_systemd};

/// The home of one test.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// An empty one.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("docklet cli ").tempdir().unwrap();
        fs::create_dir(folder.path().join("user")).unwrap();
        Home { folder }
    }

    /// One in which the default instance has settings, as if it was set up, and is wanted stopped.
    pub fn set_up() -> Self {
        let home = Home::new();
        fs::create_dir_all(home.settings().parent().unwrap()).unwrap();
        fs::write(home.settings(), "# mine\n[network]\nport = 3001 # my port\n").unwrap();
        fs::create_dir_all(home.path("docklet/state/default")).unwrap();
        fs::write(home.path("docklet/state/default/desired.json"), "{\"desired\":\"stopped\"}").unwrap();
        home
    }

    /// A path below it.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The settings file.
    pub fn settings(&self) -> PathBuf {
        self.path("docklet/config/default/settings.toml")
    }

    /// The text of the settings file.
    pub fn settings_text(&self) -> String {
        fs::read_to_string(self.settings()).unwrap()
    }

    /// The binary with a bare environment and an engine that is not there.
    pub fn docklet(&self) -> Command {
        let mut command = self.at_terminal();
        command.stdin(Stdio::null());
        command
    }

    /// The same for a pseudo-terminal.
    pub fn at_terminal(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docklet"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("user"))
            .env("LANG", "C.UTF-8")
            .env("DOCKER_HOST", format!("unix://{}", self.path("no.sock").display()))
            .env("DOCKLET_HOME", self.path("docklet"))
            .current_dir(self.folder.path());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.docklet().args(args).output().unwrap()
    }

    /// Runs it with something on its standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.docklet();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Must succeed; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "docklet {}\n{}", args.join(" "), shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Must end with this exit code and, with `--json`, this error code; the error object.
    pub fn fails(&self, args: &[&str], exit: i32, code: &str) -> Value {
        let output = self.docklet().arg("--json").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(exit), "docklet {}\n{}", args.join(" "), shown(&output));
        let error = json(&output);
        assert_eq!(error["schema"], 1);
        assert_eq!(error["error"]["code"], code, "docklet {}\n{}", args.join(" "), shown(&output));
        assert!(error["error"]["message"].is_string() && error["error"]["causes"].is_array(), "{error}");
        error["error"].clone()
    }
}
