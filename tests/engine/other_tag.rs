//! `kill -9` at the calls that change something on the engine while an update leads to another tag, to and fro, in one
//! and the same instance: settings, image and sessions agree after any next command, and nothing is left over. What a
//! single tag, a backup and a restore need is in `data::killed`.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::json;

use crate::proxy::{Action, At, Fault, Proxy};
use crate::support::*;
use crate::sweep::{places, share};

/// A world behind a proxy with one session in it.
struct Scene {
    world: World,
    proxy: Proxy,
}

impl Scene {
    fn new(image: impl FnOnce(&World) -> String) -> Self {
        let world = World::new();
        let proxy = Proxy::start(&engine_host());
        world.use_engine(&proxy.host());
        let (image, port) = (image(&world), world.port.to_string());
        world.ok(&["setup", "--yes", "--image", &image, "--port", &port]);
        let scene = Scene { world, proxy };
        scene.begin_session("kept");
        scene
    }

    fn begin_session(&self, title: &str) {
        let (code, answer) = self.world.http_post("/session", Some(&self.world.password()), &json!({"title": title}));
        assert_eq!(code, 200, "{answer}");
    }

    fn sessions(&self) -> String {
        self.world.http_get("/session", Some(&self.world.password())).1
    }

    /// Runs a command and kills it at its n-th writing call; whether that was reached.
    fn kill_at(&self, n: usize, action: Action, args: &[&str]) -> bool {
        self.proxy.reset();
        self.proxy.fault(Fault { at: At::writing(n), action });
        let mut child = self.world.spawn(args);
        self.proxy.kill_target(child.id());
        let status = child.wait().unwrap();
        let killed = status.signal() == Some(9);
        assert!(killed || status.success(), "{status}, {}", self.proxy.report());
        self.proxy.reset();
        killed
    }

    /// Nothing double, nothing lost, nothing left over, and nothing more to do.
    fn whole(&self, when: &str) {
        let world = &self.world;
        world.assert_whole(when);
        let sessions = self.sessions();
        assert!(sessions.contains("kept"), "{when}: {sessions}");
        self.proxy.reset();
        world.ok(&["start"]);
        assert_eq!(self.proxy.writing_calls().len(), 0, "{when}: {}", self.proxy.report());
    }

    /// The commands that people type next, by turns.
    fn next_command(&self, n: usize, again: &[&str]) {
        match n % 3 {
            0 => drop(self.world.ok(&["start"])),
            1 => drop(self.world.ok(again)),
            _ => {
                self.world.run(&["stop"]);
                self.world.ok(&["start"]);
            }
        }
    }

    /// Kills `command` at a third of its writing calls.
    fn kill_everywhere(&self, command: &dyn Fn() -> Vec<String>, least: usize) {
        self.proxy.reset();
        let args = command();
        self.world.ok(&words(&args));
        let calls = self.proxy.writing_calls();
        assert!(calls.len() > least, "{}", self.proxy.report());
        let places = share(places(&calls));
        let mut killed = 0;
        for (turn, n) in places.iter().enumerate() {
            let args = command();
            let args = words(&args);
            let action = if turn % 2 == 0 { Action::KillBefore } else { Action::KillAfter };
            let when = format!("{args:?} killed at writing call {n} ({action:?})");
            killed += usize::from(self.kill_at(*n, action, &args));
            self.next_command(turn, &args);
            self.whole(&when);
        }
        assert!(killed * 4 > places.len() * 3, "only {killed} of {} runs were really killed", places.len());
    }
}

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_update_and_a_rollback() {
    let scene = Scene::new(World::registry_image);
    let first = scene.world.inspect().unwrap()["Config"]["Image"].as_str().unwrap().to_owned();
    let second = scene.world.registry_image_2();
    let tag_of = |reference: &str| reference.rsplit(':').next().unwrap().to_owned();
    let image = || scene.world.inspect().unwrap()["Config"]["Image"].as_str().unwrap().to_owned();
    // To and fro: a kill behind the commit leaves the new one, and the settings name it.
    let update = || {
        let to = if image() == first { tag_of(&second) } else { tag_of(&first) };
        vec!["update".to_owned(), "--to".to_owned(), to]
    };
    scene.kill_everywhere(&update, 12);
    let before = image();
    scene.world.ok(&words(&update()));
    assert_ne!(image(), before);
    scene.begin_session("of the new one");
    for n in (1..).step_by(4) {
        let action = if n % 8 == 1 { Action::KillBefore } else { Action::KillAfter };
        let killed = scene.kill_at(n, action, &["rollback", "--data", "--yes"]);
        scene.next_command(3 * n, &[]);
        scene.whole(&format!("a rollback killed at writing call {n}"));
        if !killed || !scene.sessions().contains("of the new one") {
            assert!(n > 8, "only {n} writing calls");
            break;
        }
    }
    assert!(!scene.sessions().contains("of the new one"), "it was rolled back in the end");
    let nothing = scene.world.ok(&["uninstall", "--yes"]);
    for image in [&first, &second] {
        let there = docker_try(&["image", "inspect", image]).status.success();
        assert!(!there, "{image} was pulled for it, and it is not kept\n{}", nothing);
    }
}
