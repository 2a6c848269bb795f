//! `docklet move`: from this machine's engine to one of another machine, behind ssh.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    engine_restart,
    proxy::{Action, At, Fault, Proxy},
    ssh::{Laptop, Server, tunnels},
    support::*,
    sweep::moments,
};

/// Another machine with an engine, and an sshd that leads to it.
struct Big {
    // In the order in which they go.
    server: Server,
    proxy: Proxy,
    daemon: Child,
    folder: TempDir,
    _machine: Laptop,
}

impl Big {
    fn start(world: &World) -> Self {
        let machine = Laptop::new(78);
        machine.sit_down();
        let folder = new_folder("dkb-");
        std::fs::write(folder.path().join("daemon.json"), "{}").unwrap();
        let daemon = engine_restart::spawn(&folder);
        let host = format!("unix://{}/s", folder.path().display());
        let proxy = Proxy::start(&host);
        let server = Server::leading_to(world, &machine.here, &proxy.host());
        machine.get_up();
        let big = Big { server, proxy, daemon, folder, _machine: machine };
        wait_until(Duration::from_secs(60), "the engine answers", || big.docker(&["version"]).status.success());
        big
    }

    fn docker(&self, args: &[&str]) -> Output {
        let host = format!("unix://{}/s", self.folder.path().display());
        docker_command().env("DOCKER_HOST", host).args(args).output().unwrap()
    }

    /// What it has of docklet's.
    fn objects(&self) -> String {
        let containers = self.docker(&["ps", "--all", "--quiet"]).stdout;
        let volumes = self.docker(&["volume", "ls", "--quiet"]).stdout;
        String::from_utf8_lossy(&[containers, volumes].concat()).into_owned()
    }

    fn empty(&self) {
        for id in self.objects().lines() {
            self.docker(&["rm", "--force", id]);
            self.docker(&["volume", "rm", id]);
        }
    }

    fn docklet(&self, world: &World, args: &[&str]) -> Command {
        let mut command = self.server.command(world, args);
        // The settings say which engine.
        command.env_remove("DOCKER_HOST");
        command
    }

    fn ok(&self, world: &World, args: &[&str]) -> String {
        let output = self.docklet(world, args).output().unwrap();
        assert!(output.status.success(), "docklet {}\n{}\n{}", args.join(" "), shown(&output), self.server.log());
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Big {
    fn drop(&mut self) {
        self.empty();
        signal(self.daemon.id(), Signal::TERM);
        let _ = self.daemon.wait();
        for mounted in ["data", "exec/netns/default"].map(|place| self.folder.path().join(place)) {
            let umount = || Command::new("umount").arg(&mounted).stderr(Stdio::null()).status();
            while umount().is_ok_and(|ended| ended.success()) {}
        }
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_move_to_another_machine_takes_all_data_along_or_nothing_changes_on_docker() {
    let world = World::supervised();
    let big = Big::start(&world);
    let near = Proxy::start(&engine_host());
    let (port, here, there) = (world.port.to_string(), near.host(), big.server.address.clone());
    let key = world.folder().join("key");
    std::fs::write(&key, "not shown").unwrap();
    let key = format!("API_KEY={}", key.display());
    let image = world.image();
    big.ok(&world, &["--host", &here, "setup", "--yes", "--image", &image, "--port", &port, "--secret-file", &key]);
    big.ok(&world, &["exec", "--", "sh", "-c", "echo precious >/workspace/file"]);
    let password = world.password();
    let answers = || world.http_get("/global/health", Some(&password)).0 == 200;
    let endpoint = || json(&big.docklet(&world, &["status", "--json"]).output().unwrap())["engine"]["endpoint"].clone();
    let id = || world.inspect().unwrap()["Id"].clone();
    // The way back, as it is told.
    let back = || {
        big.ok(&world, &["stop"]);
        big.ok(&world, &["config", "set", "engine.endpoint", &here]);
        big.ok(&world, &["start"]);
    };
    let (before, move_there) = (id(), ["move", "--to", there.as_str(), "--secrets", "--yes", "--json"]);

    // Nothing is done without a yes, or by a dry run.
    assert_eq!(big.docklet(&world, &["move", "--to", &there]).output().unwrap().status.code(), Some(6));
    assert!(big.ok(&world, &["move", "--to", &there, "--dry-run"]).contains("would be stopped"));
    assert_eq!((big.objects().as_str(), answers()), ("", true));

    // The image is not there: it goes on here, and nothing is left there.
    let failed = big.docklet(&world, &move_there).output().unwrap();
    assert_eq!(failed.status.code(), Some(7), "{}", shown(&failed));
    assert_eq!((big.objects().as_str(), answers(), id()), ("", true, before.clone()));

    let archive = world.folder().join("image.tar");
    docker(&["save", "--output", archive.to_str().unwrap(), &image]);
    assert!(big.docker(&["load", "--input", archive.to_str().unwrap()]).status.success());

    // Killed, or the answer lost, at any call that changes something: it runs here again, by the supervisor after a kill,
    // or there already.
    let mut faults = 0;
    for (proxy, nth) in [(&big.proxy, 12), (&near, 16)] {
        for (n, action) in moments(nth, &[Action::KillAfter, Action::Cut]) {
            proxy.reset();
            proxy.fault(Fault { at: At::writing(n), action: action.clone() });
            let mut command = big.docklet(&world, &move_there);
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
            proxy.kill_target(child.id());
            let ended = child.wait_with_output().unwrap().status;
            let (fired, when) = (proxy.fired(), format!("{action:?} at {:?}", proxy.fired_at()));
            proxy.reset();
            faults += usize::from(fired);
            let at = endpoint();
            let runs = || world.inspect().unwrap()["State"]["Running"] == true;
            wait_until(SOON, &format!("it runs at {at}, {when}"), || answers() && runs() == (at == here));
            // The supervisor counts its restarts from a start on.
            back();
            if at != here {
                // It counted already.
                big.empty();
            }
            if !fired {
                assert!(ended.success() && at != here);
                break;
            }
        }
    }
    assert!(faults >= 2, "only {faults}");

    // A copy that has proved itself there, while this one is used on.
    let keep = [&move_there[..], &["--keep"]].concat();
    let report: serde_json::Value = serde_json::from_str(&big.ok(&world, &keep)).unwrap();
    assert_eq!((&report["kept"], &report["running"], endpoint()), (&true.into(), &true.into(), here.as_str().into()));
    assert!(answers() && id() == before && tunnels(&world).is_empty());
    assert_eq!(String::from_utf8_lossy(&big.docker(&["ps", "--quiet"]).stdout), "", "it is stopped there");
    big.empty();

    // One that is stopped stays stopped.
    big.ok(&world, &["stop"]);
    let report: serde_json::Value = serde_json::from_str(&big.ok(&world, &move_there)).unwrap();
    assert_eq!((&report["running"], &report["url"], endpoint()), (&false.into(), &().into(), there.as_str().into()));
    assert!(!answers() && tunnels(&world).is_empty());
    assert_eq!(String::from_utf8_lossy(&big.docker(&["ps", "--quiet"]).stdout), "", "it is stopped there");
    big.ok(&world, &["start"]);
    assert_eq!(big.ok(&world, &["exec", "--", "cat", "/workspace/file"]), "precious\n");
    back();
    big.empty();

    let report: serde_json::Value = serde_json::from_str(&big.ok(&world, &move_there)).unwrap();
    assert_eq!((&report["to"], &report["running"]), (&there.as_str().into(), &true.into()), "{report}");
    assert!(answers());
    assert_eq!(endpoint(), there);
    assert_eq!(big.ok(&world, &["exec", "--", "cat", "/workspace/file"]), "precious\n");
    let left = world.inspect().unwrap();
    assert_eq!((&left["Id"], &left["State"]["Running"]), (&before, &false.into()), "it is kept, stopped");
    let supervised = || json(&big.docklet(&world, &["status", "--json"]).output().unwrap())["supervisor"].clone();
    assert_eq!(supervised()["running"], true);
    big.docker(&["kill", &world.container()]);
    wait_until(SOON, "the supervisor restarts the one there", answers);

    assert!(report["back"].as_str().unwrap().starts_with("docklet --instance"), "{report}");
    back();
    assert!(answers());
    assert_eq!((id(), tunnels(&world)), (before, vec![]));
    big.ok(&world, &["uninstall", "--purge", "--yes"]);
    assert_eq!(world.left(), Vec::<String>::new());
}
