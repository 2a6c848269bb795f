//! Things that are in the way: taken ports, foreign objects, another docklet at work, wrong input.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;

use crate::proxy::{Action, At, Call, Fault, Proxy};
use crate::support::*;
use crate::terminal::Person;

fn error(output: &std::process::Output) -> serde_json::Value {
    json(output)["error"].clone()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_taken_port_is_named_with_its_holder_on_all_three_addresses() {
    let world = World::new();
    let image = world.image();
    let port = world.port;
    let setup = ["setup", "--yes", "--json", "--image", &image, "--port", &port.to_string()].map(str::to_owned);
    let args: Vec<&str> = setup.iter().map(String::as_str).collect();
    type Listen = Box<dyn Fn() -> std::io::Result<TcpListener>>;
    let listeners: [(&str, Listen); 3] = [
        ("127.0.0.1", Box::new(move || TcpListener::bind((Ipv4Addr::LOCALHOST, port)))),
        ("0.0.0.0", Box::new(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))),
        ("::", Box::new(move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))),
    ];
    for (address, listen) in listeners {
        let _listener = listen().unwrap();
        let output = world.fails(&args, 8);
        let error = error(&output);
        assert_eq!(error["code"], "PORT_IN_USE", "{address}");
        let causes = error["causes"].to_string();
        assert!(causes.contains(&format!("pid {}", std::process::id())), "{address}: {causes}");
        assert!(error["hint"].as_str().unwrap().contains("--port"), "{address}: {error}");
        assert_eq!(world.left(), Vec::<String>::new(), "nothing is made before the port is known to be free");
    }
    world.setup();
    world.ok(&["stop"]);
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let plan = world.run(&["setup", "--dry-run"]);
    let said = String::from_utf8_lossy(&plan.stderr).into_owned();
    assert!(plan.status.success() && said.contains(&format!("port {port} is taken")), "{}", shown(&plan));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_port_held_by_another_container_names_it_and_ours_is_recognised() {
    let world = World::new();
    world.setup();
    let other = world.sibling();
    let image = other.image();
    let port = world.port.to_string();
    let output = other.run(&["setup", "--yes", "--json", "--image", &image, "--port", &port]);
    assert_eq!(output.status.code(), Some(8), "{}", shown(&output));
    assert!(error(&output)["causes"].to_string().contains(&world.container()), "{}", shown(&output));
    // Our own running container holds it: that is no conflict.
    world.ok(&["setup", "--yes", "--memory", "512MiB"]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_port_that_the_engine_holds_for_a_start_under_way_is_waited_for() {
    let world = World::new();
    world.setup();
    world.ok(&["stop"]);
    // What a killed command leaves for a moment: the engine's forwarder listens, and the container does not run yet.
    let forwarder = world.folder().join("docker-proxy");
    let program = "#!/usr/bin/perl\nuse IO::Socket::INET; $| = 1;
        my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 1, ReuseAddr => 1)
          or die $!;
        print qq(listens\\n); sleep 2;";
    std::fs::write(&forwarder, program).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&forwarder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new(&forwarder);
    let mut child = command.arg(world.port.to_string()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut listens = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut listens).unwrap();
    assert_eq!(listens, "listens\n");
    world.ok(&["start"]);
    child.wait().unwrap();
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_start_that_is_done_between_two_looks_is_no_port_in_use() {
    let world = World::new();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    world.setup();
    let started = world.inspect().unwrap()["State"]["StartedAt"].clone();
    proxy.reset();
    // What a look says that came just before the engine was done with a start of a killed command.
    let action = Action::Rewrite(r#""State":"running""#, r#""State":"created""#);
    proxy.fault(Fault { at: At::first("GET", "/containers/json"), action });
    let report = json(&world.run(&["start", "--json"]));
    assert!(proxy.fired() && report["running"] == true, "{report}");
    assert_eq!(world.inspect().unwrap()["State"]["StartedAt"], started);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_engines_own_bind_error_is_a_port_in_use() {
    let world = World::new();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let message = format!(
        "driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:{} failed: port is already allocated",
        world.port
    );
    // Not the helper's, which publishes nothing.
    let start = format!("/containers/{}/start", world.container());
    proxy.fault(Fault { at: At::first("POST", &start), action: Action::error(500, &message) });
    let mut args = world.setup_args();
    args.push("--json".to_owned());
    let output = world.fails(&args.iter().map(String::as_str).collect::<Vec<_>>(), 8);
    assert_eq!(error(&output)["code"], "PORT_IN_USE");
    assert!(error(&output)["message"].as_str().unwrap().contains(&world.port.to_string()));
}

/// What the engine refuses while the container is created: the operation's own code, the engine's words, and the next
/// command goes on.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_creation_that_the_engine_refuses_has_its_own_code() {
    let world = World::new();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let mut args = world.setup_args();
    args.push("--json".to_owned());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let name = format!("name={}", world.container());
    for (status, message, exit, code) in [
        (409, "Conflict. The container name \"/x\" is already in use by container \"0123\"", 8, "ALREADY_EXISTS"),
        (404, "No such image: docklet-test/x:1", 4, "NOT_FOUND"),
        (500, "mkdir /var/lib/docker/overlay2/x: no space left on device", 7, "NO_SPACE"),
        (500, "the moon is full", 10, "START_FAILED"),
        (403, "authorization denied by plugin x", 10, "START_FAILED"),
    ] {
        proxy.reset();
        let name = name.clone();
        // Not the helper's.
        let ours = move |call: &Call| {
            call.route() == "/containers/create" && call.path.split(['?', '&']).any(|part| part == name)
        };
        proxy.fault(Fault { at: At::NthOf(1, Arc::new(ours)), action: Action::error(status, message) });
        let output = world.fails(&args, exit);
        assert!(proxy.fired(), "{}", proxy.report());
        assert_eq!(error(&output)["code"], code, "{status}\n{}", shown(&output));
        assert!(error(&output)["hint"].is_string(), "{status}\n{}", shown(&output));
        let words = message.split(':').next_back().unwrap().trim();
        assert!(code != "START_FAILED" || error(&output)["causes"].to_string().contains(words), "{}", shown(&output));
    }
    for (call, message, part) in [
        ("/networks/create", "all predefined address pools have been fully subnetted", "default-address-pools"),
        ("/networks/create", "operation not permitted", "docklet"),
        ("/containers/create", "the moon is full", "docklet"),
    ] {
        proxy.reset();
        // Those before have made it.
        docker_try(&["network", "rm", &world.container()]);
        proxy.fault(Fault { at: At::first("POST", call), action: Action::error(500, message) });
        let output = world.fails(&args, 10);
        assert!(proxy.fired(), "{}", proxy.report());
        let error = error(&output);
        assert_eq!(error["code"], "START_FAILED", "{error}");
        assert!(error["causes"].to_string().contains(message), "{error}");
        assert!(error["hint"].as_str().unwrap().contains(part), "{error}");
    }
    world.setup();
    world.assert_whole("after refused creations");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_name_that_is_taken_while_a_container_is_replaced_leaves_the_old_one() {
    let world = World::new();
    world.setup();
    let before = world.inspect().unwrap()["Id"].clone();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let taken = Action::error(409, "Conflict. The container name \"/x.previous\" is already in use");
    proxy.fault(Fault { at: At::first("POST", "/containers/*/rename"), action: taken });
    let output = world.fails(&["setup", "--yes", "--json", "--memory", "256MiB"], 8);
    assert!(proxy.fired(), "{}", proxy.report());
    assert_eq!(error(&output)["code"], "ALREADY_EXISTS", "{}", shown(&output));
    assert_eq!(world.inspect().unwrap()["Id"], before);
    wait_until(SOON, "the old container answers", || {
        world.http_get("/global/health", Some(&world.password())).0 == 200
    });
    world.assert_whole("after a refused rename");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_foreign_container_is_never_touched() {
    let world = World::new();
    world.setup();
    let image = world.image();
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    docker(&["rm", "--force", &world.container()]);
    docker(&["create", "--name", &world.container(), &image]);
    let before = world.inspect().unwrap();
    for command in [&["setup", "--yes"][..], &["start"], &["stop"], &["restart"], &["logs"]] {
        let output = world.fails(&[command, &["--json"]].concat(), 8);
        assert_eq!(error(&output)["code"], "FOREIGN_OBJECT", "{command:?}");
        assert!(error(&output)["hint"].as_str().unwrap().contains("docker rename"), "{}", shown(&output));
    }
    let gone = json(&world.run(&["uninstall", "--yes", "--purge", "--no-backup", "--json"]));
    assert_eq!(gone["left"], serde_json::json!([]), "{gone}");
    let removed = gone["removed"].as_array().unwrap();
    assert!(!removed.is_empty() && removed.iter().all(|thing| thing["kind"] != "container"), "{gone}");
    assert_eq!(world.inspect().unwrap(), before);
    // Where nothing is set up the same holds.
    let args = world.setup_args();
    world.fails(&args.iter().map(String::as_str).collect::<Vec<_>>(), 8);
    for command in [
        &["uninstall", "--yes"][..],
        &["uninstall", "--yes", "--purge"],
        &["uninstall", "--dry-run"],
        &["stop"],
        &["start"],
        &["restart"],
        &["exec", "--json", "--", "true"],
        &["open"],
        &["update"],
        &["rollback"],
        &["restore", file, "--only", "projects", "--yes"],
        &["restore", file, "--only", "projects", "--dry-run"],
        &["restore", file, "--yes"],
        &["backup"],
        &["backup", "test", file],
        &["export", "compose", "--json"],
        &["autostart", "enable"],
        &["config", "set", "network.port", "3001"],
        &["mount", "list"],
        &["secret", "remove", "A_KEY"],
        &["password"],
        &["password", "--rotate", "--yes"],
        &["logs"],
        &["attach"],
    ] {
        let output = match command.contains(&"--json") {
            true => world.fails(command, 8),
            false => world.fails(&[command, &["--json"]].concat(), 8),
        };
        assert_eq!(error(&output)["code"], "FOREIGN_OBJECT", "{command:?}");
        assert!(error(&output)["hint"].as_str().unwrap().contains("docker rename"), "{}", shown(&output));
    }
    assert_eq!(world.inspect().unwrap(), before);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_another_user_set_up_is_never_touched() {
    let world = World::new();
    world.setup();
    let before = world.inspect().unwrap();
    let other = world.folder().join("another home");
    std::fs::create_dir(&other).unwrap();
    let run = |args: &[&str]| world.docklet().env("DOCKLET_HOME", &other).args(args).output().unwrap();
    let mut setup = world.setup_args();
    setup.push("--json".to_owned());
    let output = run(&setup.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(8), "{}", shown(&output));
    assert_eq!(error(&output)["code"], "FOREIGN_OBJECT");
    let output = run(&["uninstall", "--yes", "--purge", "--no-backup"]);
    assert_eq!(output.status.code(), Some(8), "{}", shown(&output));
    let status = run(&["status", "--json"]);
    assert_eq!((status.status.code(), &json(&status)["state"]), (Some(4), &"not_set_up".into()), "{}", shown(&status));
    assert_eq!(world.inspect().unwrap()["State"], before["State"]);
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_foreign_volume_is_never_touched() {
    let world = World::new();
    let [session, ..] = world.volumes();
    docker(&["volume", "create", &session]);
    let args = world.setup_args();
    let output = world.fails(&args.iter().map(String::as_str).collect::<Vec<_>>(), 8);
    assert!(String::from_utf8_lossy(&output.stderr).contains(&session), "{}", shown(&output));
    world.ok(&["uninstall", "--yes", "--purge", "--no-backup"]);
    assert_eq!(docker(&["volume", "inspect", "--format", "{{.Name}}", &session]), session);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_foreign_image_with_a_built_ones_name_is_never_used() {
    let world = World::new();
    // A package that only this test wants, so that the name is nobody else's.
    let package = format!("docklet-test-{}", world.name);
    let port = world.port.to_string();
    let setup = ["setup", "--yes", "--json", "--extra-package", &package, "--port", &port];
    let plan = json(&world.run(&[&setup[..], &["--dry-run"]].concat())).to_string();
    let begin = plan.find("opencode-cloud:").unwrap();
    let name: String = plan[begin..].chars().take_while(|c| c.is_ascii_alphanumeric() || "-.:".contains(*c)).collect();
    docker(&["tag", &stand_in(), &name]);
    let error = error(&world.fails(&setup, 8));
    assert_eq!(error["code"], "FOREIGN_OBJECT", "{error}");
    assert!(error["message"].as_str().unwrap().contains(&name), "{error}");
    world.ok(&["uninstall", "--yes", "--purge", "--no-backup"]);
    assert!(docker_try(&["image", "inspect", &name]).status.success());
    docker(&["rmi", &name]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_second_command_is_told_who_works_on_the_instance() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    proxy.fault(Fault { at: At::first("GET", "/version"), action: Action::Hang });
    let mut first = world.spawn(&["restart"]);
    wait_until(SOON, "the first command to hold the lock", || proxy.fired());
    let output = world.fails(&["stop", "--json"], 9);
    assert_eq!(error(&output)["code"], "LOCKED");
    let causes = error(&output)["causes"].to_string();
    assert!(causes.contains("docklet restart") && causes.contains(&format!("pid {}", first.id())), "{causes}");
    // Looking is always allowed.
    world.ok(&["status"]);
    first.kill().unwrap();
    first.wait().unwrap();
    world.ok(&["stop"]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn two_setups_at_once_end_in_one_appliance() {
    let world = World::new();
    let args = world.setup_args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let children: Vec<_> = (0..4).map(|_| world.spawn(&args)).collect();
    let outputs: Vec<_> = children.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    let codes: Vec<_> = outputs.iter().map(|o| o.status.code().unwrap()).collect();
    assert!(codes.contains(&0), "{}", outputs.iter().map(shown).collect::<String>());
    assert!(codes.iter().all(|c| [0, 9].contains(c)), "{codes:?}");
    world.assert_whole("after four setups at once");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn without_a_terminal_a_yes_has_to_be_given() {
    let world = World::new();
    let image = world.image();
    let port = world.port.to_string();
    let output = world.fails(&["setup", "--json", "--image", &image, "--port", &port], 6);
    assert_eq!(error(&output)["code"], "CONFIRMATION_REQUIRED");
    assert!(error(&output)["hint"].as_str().unwrap().contains("--yes"));
    assert_eq!(world.left(), Vec::<String>::new());
    world.setup();
    let output = world.fails(&["uninstall", "--json"], 6);
    assert!(error(&output)["hint"].as_str().unwrap().contains("--yes"));
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_no_to_a_question_is_cancelled_and_changes_nothing() {
    let world = World::new();
    world.setup();
    for args in [&["uninstall", "--json"][..], &["password", "--rotate", "--json"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_docklet"));
        world.bare(&mut command);
        command.args(args);
        let mut person = Person::at(command, SOON);
        person.sees("(y/N)").types("n");
        let (code, seen) = person.ends();
        assert_eq!(code, 6, "{args:?}\n{seen}");
        // The screen breaks lines where they are full.
        assert!(seen.replace('\n', "").contains("\"code\":\"CANCELLED\""), "{args:?}\n{seen}");
        world.assert_whole("after a no");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let world = World::new();
    let image = world.image();
    let port = world.port.to_string();
    let text = world.ok(&["setup", "--dry-run", "--image", &image, "--port", &port]);
    assert!(text.contains(&format!("create container {}", world.container())), "{text}");
    assert_eq!(world.left(), Vec::<String>::new());
    assert!(!world.home.exists(), "no file is written either");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_public_address_is_warned_about() {
    let world = World::new();
    let image = world.image();
    let port = world.port.to_string();
    let output = world.run(&["setup", "--yes", "--image", &image, "--port", &port, "--bind", "0.0.0.0"]);
    assert!(output.status.success(), "{}", shown(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("reachable from other machines"), "{}", shown(&output));
    assert_eq!(world.http_get("/", None).0, 401, "never without a password");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_renamed_container_is_found_and_no_second_one_runs_on_its_volumes() {
    let world = World::new();
    let password = {
        world.setup();
        world.password()
    };
    let renamed = format!("{}-renamed", world.container());
    docker(&["rename", &world.container(), &renamed]);
    let listed = json(&world.run(&["list", "--json"]));
    let found = listed["instances"].as_array().unwrap().iter().find(|i| i["name"] == renamed.as_str());
    assert_eq!(found.unwrap()["instance"], world.name.as_str(), "{listed}");
    let other_port = free_port().to_string();
    let setup = ["setup", "--yes", "--json", "--port", &other_port];
    for args in [
        &["start", "--json"][..],
        &["stop", "--json"],
        &["status", "--json"],
        &["restart", "--json"],
        &["logs", "--json"],
        &["open", "--json"],
        &["open", "--print", "--json"],
        &["exec", "--json", "--", "true"],
        &["password", "--rotate", "--yes", "--json"],
        &["update", "--json"],
        &["backup", "--json"],
        &setup,
    ] {
        let output = world.fails(args, 8);
        let error = error(&output);
        assert_eq!(error["code"], "ALREADY_EXISTS", "{args:?}: {error}");
        assert_eq!(error["hint"], format!("docker rename {renamed} {}", world.container()), "{args:?}");
    }
    assert_eq!(world.password(), password, "the one that still runs has it");
    let ours = docker(&["ps", "-aq", "--filter", &format!("volume={}", world.volumes()[0])]);
    assert_eq!(ours.lines().count(), 1, "one container on the volumes: {ours}");
    docker(&["stop", &renamed]);
    assert_eq!(error(&world.fails(&["start", "--json"], 8))["code"], "ALREADY_EXISTS", "also when it does not run");
    docker(&["rename", &renamed, &world.container()]);
    world.ok(&["config", "set", "network.port", &world.port.to_string()]);
    world.ok(&["start"]);
    assert_eq!(world.http_get("/global/health", Some(&password)).0, 200);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_strangers_container_on_the_volumes_keeps_ours_from_starting_until_it_ends() {
    let world = World::supervised();
    world.setup();
    world.ok(&["stop"]);
    let stranger = format!("{}-stranger", world.container());
    let volume = format!("{}:/x", world.volumes()[0]);
    let image = world.image();
    docker(&["run", "-d", "--name", &stranger, "-v", &volume, "--entrypoint", "sleep", &image, "1000"]);
    for prepare in [&[][..], &["rm", "-f", &world.container()]] {
        if !prepare.is_empty() {
            docker(prepare);
        }
        let output = world.fails(&["start", "--json"], 8);
        let error = error(&output);
        assert_eq!(error["code"], "FOREIGN_OBJECT", "{error}");
        assert!(error["message"].as_str().unwrap().contains(&stranger), "{error}");
        assert_eq!(error["hint"], format!("stop it first: docker stop {stranger}"));
    }
    docker(&["stop", "-t", "0", &stranger]);
    world.ok(&["start"]);
    // One that comes later is refused where data changes.
    docker(&["start", &stranger]);
    world.fails(&["restart"], 8);
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200, "it is not left stopped");
    let backup = world.folder().join("b.tar.zst");
    docker(&["stop", "-t", "0", &stranger]);
    world.ok(&["backup", backup.to_str().unwrap()]);
    docker(&["start", &stranger]);
    let output = world.fails(&["restore", backup.to_str().unwrap(), "--yes", "--json"], 8);
    assert_eq!(error(&output)["code"], "FOREIGN_OBJECT", "{}", shown(&output));
    docker(&["rm", "-f", &stranger]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_network_that_was_removed_is_made_anew() {
    let world = World::new();
    world.setup();
    world.ok(&["stop"]);
    docker(&["network", "rm", &world.container()]);
    let plan = world.ok(&["setup", "--yes", "--dry-run"]);
    assert!(plan.contains("it was disconnected from its network, or that was removed"), "{plan}");
    world.ok(&["start"]);
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200);
    // For the engine, one that was made anew is another one.
    world.ok(&["stop"]);
    docker(&["network", "rm", &world.container()]);
    docker(&["network", "create", &world.container()]);
    let foreign = error(&world.fails(&["start", "--json"], 8));
    assert_eq!(foreign["code"], "FOREIGN_OBJECT");
    assert!(foreign["message"].as_str().unwrap().contains("network"), "{foreign}");
    docker(&["network", "rm", &world.container()]);
    let instance = format!("docklet.instance={}", world.name);
    let labels =
        ["--label", "docklet.managed=true", "--label", "docklet.appliance=opencode-cloud", "--label", &instance];
    let network = docker(&[&["network", "create"], &labels[..], &[&world.container()]].concat());
    world.ok(&["start"]);
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200);
    let networks = world.inspect().unwrap()["NetworkSettings"]["Networks"].clone();
    assert_eq!(networks[world.container()]["NetworkID"], network.as_str(), "{networks}");
    // Nothing is left of the way there.
    assert!(
        world.ok(&["setup", "--yes"]).contains("already") || json(&world.run(&["start", "--json"]))["changed"] == false
    );
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_container_that_was_disconnected_is_told_and_comes_back() {
    let world = World::supervised();
    world.setup();
    crate::supervise::wait_for_log(&world, " answers  ");
    let disconnect = || docker(&["network", "disconnect", "--force", &world.container(), &world.container()]);
    let answers = || world.http_get("/global/health", Some(&world.password())).0 == 200;
    disconnect();
    let drift = || {
        let doctor = json(&world.run(&["doctor", "--json"]));
        doctor["checks"].as_array().unwrap().iter().find(|check| check["id"] == "drift").unwrap().clone()
    };
    // While the supervisor loads the rules, a command is at work.
    wait_until(SOON, "doctor looks", || drift()["level"] != "skipped");
    assert!(drift()["message"].as_str().unwrap().contains("disconnected from its network"), "{}", drift());
    wait_until(crate::supervise::HANG, "the supervisor brings it back", answers);
    // The page may answer a moment before the supervisor has written down what it did.
    wait_until(SOON, "the restart is counted", || world.status()["supervisor"]["restarts"] == 1);
    let id = world.inspect().unwrap()["Id"].clone();
    disconnect();
    world.ok(&["start"]);
    assert!(answers() && world.inspect().unwrap()["Id"] != id, "a new one");
    world.ok(&["stop"]);
    disconnect();
    world.ok(&["start"]);
    assert!(answers());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn network_allow_takes_effect_without_a_new_container_whatever_else_waits_for_one() {
    let world = World::new();
    world.setup();
    let id = world.inspect().unwrap()["Id"].clone();
    world.ok(&["config", "set", "resources.memory", "512MiB"]);
    world.ok(&["config", "set", "network.allow", "198.18.0.1"]);
    assert_eq!(world.inspect().unwrap()["Id"], id, "the container was not replaced");
    world.ok(&["start"]);
    assert_ne!(world.inspect().unwrap()["Id"], id, "start applies the rest");
}
