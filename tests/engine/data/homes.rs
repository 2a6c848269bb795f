//! Two homes restore the same new instance at once: one wins, and the other is told.

use super::*;
use crate::proxy::{Action, At, Fault, Proxy, is};

/// The second home begins while the first one waits for this answer, the so-manieth of its kind. Behind the second look at its
/// network, it creates one.
const MOMENTS: [(&str, &str, usize); 5] = [
    ("GET", "/networks/*", 2),
    ("GET", "/networks/*", 1),
    ("POST", "/networks/create", 1),
    ("POST", "/containers/create", 1),
    ("GET", "/containers/json", 1),
];

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn of_two_homes_that_restore_at_once_one_wins() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    for (method, route, n) in MOMENTS {
        let when = format!("{method} {route} ({n})");
        world.ok(&["uninstall", "--purge", "--yes", "--no-backup"]);
        let homes = ["first", "second"].map(|name| world.folder().join(name));
        homes.iter().for_each(|home| std::fs::create_dir(home).unwrap());
        let proxy = Proxy::start(&engine_host());
        let restore = |home: &std::path::Path, host: &str| {
            let mut command = world.docklet();
            command.env("DOCKLET_HOME", home).env("DOCKER_HOST", host).args(["restore", file, "--yes", "--json"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        };
        proxy.fault(Fault { at: At::NthOf(n, is(method, route)), action: Action::Delay(Duration::from_secs(3)) });
        let first = restore(&homes[0], &proxy.host());
        wait_until(SOON, "the first has begun", || proxy.fired());
        let second = restore(&homes[1], &engine_host());
        let outputs = [first, second].map(|child| child.wait_with_output().unwrap());
        let told = outputs.iter().map(shown).collect::<Vec<_>>().join("\n");
        let codes = outputs.iter().map(|output| output.status.code().unwrap()).collect::<Vec<_>>();
        let winner = codes.iter().position(|code| *code == 0).unwrap_or_else(|| panic!("{when}: nobody\n{told}"));
        let loser = json(&outputs[1 - winner])["error"].clone();
        assert_ne!(codes[1 - winner], 0, "{when}: both\n{told}");
        assert_eq!(loser["code"], "FOREIGN_OBJECT", "{when}: {loser}");
        // What the other one did took nothing from it.
        let networks = docker(&["network", "ls", "--quiet", "--filter", &format!("name=^{}$", world.container())]);
        assert_eq!(networks.lines().count(), 1, "{when}: {networks}");
        let run = |args: &[&str]| world.docklet().env("DOCKLET_HOME", &homes[winner]).args(args).output().unwrap();
        let password = String::from_utf8(run(&["password"]).stdout).unwrap();
        let (_, sessions) = world.http_get("/session", Some(password.trim()));
        assert!(sessions.contains(&id), "{when}: {sessions}\n{told}");
        for args in [&["restart"][..], &["uninstall", "--purge", "--yes", "--no-backup"]] {
            let output = run(args);
            assert!(output.status.success(), "{when}: {}", shown(&output));
        }
        assert_eq!(world.left(), Vec::<String>::new(), "{when}");
        homes.iter().filter(|home| home.exists()).for_each(|home| std::fs::remove_dir_all(home).unwrap());
    }
}
