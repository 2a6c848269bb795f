//! The engine itself ends and is started again, by an engine of the test's own in a network namespace of its own.

use std::{
    fs::File,
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{process::Signal, thread::LinkNameSpaceType};
use tempfile::TempDir;

use crate::support::*;

/// A second engine. The test's thread, and what it starts, is in the engine's network namespace.
struct Engine {
    folder: TempDir,
    namespace: String,
    daemon: Child,
}

impl Engine {
    fn start() -> Self {
        let namespace = format!("dkt-{}", random_hex());
        let made = Command::new("ip").args(["netns", "add", &namespace]).output().unwrap();
        assert!(made.status.success(), "this test needs root: {}", shown(&made));
        let inside = File::open(format!("/run/netns/{namespace}")).unwrap();
        rustix::thread::move_into_link_name_space(inside.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        let folder = new_folder("dke-");
        std::fs::write(folder.path().join("daemon.json"), "{}").unwrap();
        let daemon = spawn(&folder);
        let engine = Engine { folder, namespace, daemon };
        engine.wait();
        engine
    }

    fn host(&self) -> String {
        format!("unix://{}/s", self.folder.path().display())
    }

    fn docker(&self, args: &[&str]) -> std::process::Output {
        docker_command().env("DOCKER_HOST", self.host()).args(args).output().unwrap()
    }

    fn wait(&self) {
        wait_until(Duration::from_secs(60), "the engine answers", || self.docker(&["version"]).status.success());
    }

    fn restart(&mut self, ending: Signal) {
        signal(self.daemon.id(), ending);
        self.daemon.wait().unwrap();
        let containerd = self.folder.path().join("exec/containerd/containerd.pid");
        if ending == Signal::KILL {
            // As after a loss of power: its other half is gone, too.
            let pid = std::fs::read_to_string(&containerd).unwrap().trim().parse().unwrap();
            kill(pid);
            std::fs::remove_file(&containerd).unwrap();
        }
        self.daemon = spawn(&self.folder);
        self.wait();
    }
}

pub fn spawn(folder: &TempDir) -> Child {
    let program = std::env::var("DOCKLET_TEST_DOCKERD").unwrap_or_else(|_| "dockerd".to_owned());
    let at = |name: &str| folder.path().join(name).into_os_string();
    let log = File::options().create(true).append(true).open(at("log")).unwrap();
    let mut command = Command::new(program);
    command.arg("--host").arg(format!("unix://{}/s", folder.path().display()));
    for (flag, name) in
        [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid"), ("--config-file", "daemon.json")]
    {
        command.arg(flag).arg(at(name));
    }
    let range = ["--bip", "10.216.0.1/24", "--default-address-pool", "base=10.217.0.0/16,size=24"];
    command.args(range).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().expect("dockerd: this test starts an engine of its own")
}

impl Drop for Engine {
    fn drop(&mut self) {
        let containers = self.docker(&["ps", "--all", "--quiet"]);
        for id in String::from_utf8_lossy(&containers.stdout).lines() {
            self.docker(&["rm", "--force", id]);
        }
        signal(self.daemon.id(), Signal::TERM);
        let _ = self.daemon.wait();
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
        // One that was killed leaves its folder mounted on itself.
        let data = self.folder.path().join("data");
        while Command::new("umount").arg(&data).stderr(Stdio::null()).status().is_ok_and(|ended| ended.success()) {}
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_page_and_its_rules_are_back_after_the_engine_on_docker() {
    let mut engine = Engine::start();
    let world = World::supervised();
    world.use_engine(&engine.host());
    let port = world.port.to_string();
    world.ok(&["setup", "--yes", "--image-file", &variable("DOCKLET_TEST_IMAGE_TAR"), "--port", &port]);
    let container = world.container();
    let gateway = engine.docker(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", &container]);
    let gateway = String::from_utf8_lossy(&gateway.stdout).trim().to_owned();
    assert!(!reaches(&engine, &container, &gateway), "the gateway is refused");
    world.ok(&["config", "set", "network.allow", &gateway]);
    assert!(reaches(&engine, &container, &gateway), "and reached once it is allowed");
    world.ok(&["config", "unset", "network.allow"]);
    for ending in [Signal::TERM, Signal::KILL] {
        engine.restart(ending);
        let answers = || world.http_get("/global/health", Some(&world.password())).0 == 200;
        wait_until(Duration::from_secs(60), &format!("the page after {ending:?} of the engine"), answers);
        assert!(!reaches(&engine, &container, &gateway), "the gateway after {ending:?} of the engine");
        assert_eq!(json(&world.run(&["start", "--json"]))["changed"], false, "nothing is left to do");
    }
}

/// Whether a program inside gets a connection to a listener at this address.
fn reaches(engine: &Engine, container: &str, address: &str) -> bool {
    let listener = std::net::TcpListener::bind((address, 0)).unwrap();
    let connect = format!("exec 3<>/dev/tcp/{address}/{}", listener.local_addr().unwrap().port());
    let done = engine.docker(&["exec", container, "timeout", "5", "bash", "-c", &connect]);
    match done.status.code() {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("{}", shown(&done)),
    }
}
