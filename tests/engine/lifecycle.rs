//! Setup, start, stop, restart, status, list and logs of one instance with the stand-in image, and what each says of
//! it. The action names of the seed projects are in the tests' names.

use std::fs;

use serde_json::Value;

use crate::support::*;

fn health(world: &World) -> u16 {
    world.http_get("/global/health", Some(&world.password())).0
}

fn error_code(output: &std::process::Output) -> String {
    json(output)["error"]["code"].as_str().unwrap_or_else(|| panic!("no error\n{}", shown(output))).to_owned()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn create_start_status_list_remove_leaves_nothing() {
    let world = World::new();
    let output = world.setup();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("http://127.0.0.1:{}/", world.port)), "{text}");
    assert!(text.contains(&world.password()), "the password is printed once\n{text}");
    assert_eq!(health(&world), 200, "ready means that the page answers");

    let status = world.status();
    assert_eq!(status["schema"], 1);
    assert_eq!(status["state"], "running");
    assert_eq!(status["desired"], "running");
    assert_eq!(status["url"], format!("http://127.0.0.1:{}/", world.port));
    assert_eq!(status["container"]["name"], world.container());
    assert_eq!(status["container"]["restart_policy"], "no");
    assert_eq!(status["container"]["exit_code"], Value::Null, "a running container has not ended");
    assert_eq!(status["container"]["finished_at"], Value::Null);
    assert!(status["container"]["networks"].as_array().is_some_and(|n| !n.is_empty()));
    assert_eq!(status["volumes"].as_array().map(Vec::len), Some(3));
    assert!(status["volumes"].as_array().unwrap().iter().all(|v| v["exists"] == true));
    assert_eq!(status["image"]["appliance_version"], "1.0.1");
    assert!(status["engine"]["version"].is_string());

    let listed = json(&world.run(&["list", "--json"]));
    let entry = listed["instances"].as_array().unwrap().iter().find(|i| i["instance"] == world.name.as_str()).unwrap();
    assert_eq!(entry["port"], world.port);
    assert!(entry["status"].as_str().unwrap().starts_with("Up "), "{entry}");

    let gone = json(&world.run(&["uninstall", "--yes", "--purge", "--no-backup", "--json"]));
    assert_eq!(gone["left"], serde_json::json!([]), "{gone}");
    assert_eq!(world.left(), Vec::<String>::new());
    let listed = json(&world.run(&["list", "--json"]));
    assert!(!listed.to_string().contains(&world.name));
    assert!(!world.home.exists(), "no file is left either");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn start_success_start_already_running_start_not_found() {
    let world = World::new();
    let output = world.fails(&["start", "--json"], 4);
    assert_eq!(error_code(&output), "NOT_FOUND");
    world.setup();
    let again = json(&world.run(&["start", "--json"]));
    assert_eq!((again["changed"].clone(), again["running"].clone()), (false.into(), true.into()));
    assert_eq!(again["container_id"].as_str().map(str::len), Some(64));
    world.ok(&["stop"]);
    let started = json(&world.run(&["start", "--json"]));
    assert_eq!((started["changed"].clone(), started["running"].clone()), (true.into(), true.into()));
    assert_eq!(started["container_id"], again["container_id"], "starting keeps the container");
    assert_eq!(health(&world), 200);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn start_without_waiting_still_waits_for_a_replacement() {
    let world = World::new();
    world.setup();
    let before = world.inspect().unwrap()["Id"].clone();
    world.ok(&["config", "set", "resources.memory", "512MiB"]);
    world.ok(&["start", "--no-wait"]);
    assert_ne!(world.inspect().unwrap()["Id"], before, "the changed settings are in effect");
    assert_eq!(health(&world), 200);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn restart_success() {
    let world = World::new();
    world.setup();
    let before = world.inspect().unwrap()["State"]["StartedAt"].clone();
    let restarted = json(&world.run(&["restart", "--json"]));
    assert_eq!(restarted["running"], true);
    assert_eq!(restarted["changed"], true);
    assert_eq!(restarted["graceful_shutdown"], true, "{restarted}");
    assert_ne!(world.inspect().unwrap()["State"]["StartedAt"], before);
    assert_eq!(health(&world), 200);
    world.ok(&["stop"]);
    let restarted = json(&world.run(&["restart", "--json"]));
    assert_eq!(restarted["running"], true);
    assert_eq!(restarted["exit_code"], Value::Null, "nothing was stopped: it was before");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn inspect_not_found_is_no_error_and_null() {
    let world = World::new();
    let output = world.fails(&["status", "--json"], 4);
    let status = json(&output);
    assert_eq!(status["state"], "not_set_up");
    assert_eq!(status["container"], Value::Null);
    assert_eq!(status["image"], Value::Null);
    assert!(!world.home.exists(), "looking makes no files");
    world.setup();
    docker(&["rm", "--force", &world.container()]);
    let status = json(&world.fails(&["status", "--json"], 3));
    assert_eq!(status["state"], "stopped");
    assert_eq!(status["container"], Value::Null);
    assert!(status["volumes"].as_array().unwrap().iter().all(|v| v["exists"] == true));
    world.ok(&["start"]);
    assert_eq!(health(&world), 200, "start creates what is missing");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_container_is_as_the_contract_says() {
    let world = World::new();
    world.setup();
    let inspect = world.inspect().unwrap();
    let (config, host) = (&inspect["Config"], &inspect["HostConfig"]);
    assert_eq!(config["Hostname"], world.container());
    assert_eq!(config["WorkingDir"], "/workspace");
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(host["AutoRemove"], false);
    assert_eq!(
        host["PortBindings"]["3000/tcp"],
        serde_json::json!([{"HostIp": "127.0.0.1", "HostPort": world.port.to_string()}])
    );
    assert_eq!(host["SecurityOpt"][0], "no-new-privileges");
    assert_eq!(host["OomScoreAdj"], 500);
    assert_eq!(docker(&["exec", &world.container(), "cat", "/proc/1/oom_score_adj"]), "500");
    let status = docker(&["exec", &world.container(), "cat", "/proc/1/status"]);
    let power: Vec<_> = status.lines().filter(|line| line.starts_with("Cap")).map(|line| &line[8..]).collect();
    assert_eq!(power, ["0000000000000000"; 5], "the appliance has no capability\n{status}");
    let health = &config["Healthcheck"];
    assert_eq!(health["Interval"], 30_000_000_000u64);
    assert_eq!(health["Timeout"], 3_000_000_000u64);
    assert_eq!(health["StartPeriod"], 5_000_000_000u64);
    assert_eq!(health["Retries"], 3);
    let mounts = inspect["Mounts"].as_array().unwrap();
    let mount = |destination: &str| mounts.iter().find(|m| m["Destination"] == destination).unwrap();
    let [session, projects, own_config] = world.volumes();
    for (name, destination) in
        [(session, "/home/opencode/.opencode"), (projects, "/workspace"), (own_config, "/home/opencode/.config")]
    {
        assert_eq!(mount(destination)["Type"], "volume");
        assert_eq!(mount(destination)["Name"], name);
        assert_eq!(mount(destination)["RW"], true);
    }
    assert_eq!(mount("/run/secrets")["RW"], false);
    let labels = &config["Labels"];
    assert_eq!(labels["docklet.managed"], "true");
    assert_eq!(labels["docklet.appliance"], "opencode-cloud");
    assert_eq!(labels["docklet.instance"], world.name);
    assert_eq!(labels["docklet.version"], env!("CARGO_PKG_VERSION"));
    assert!(labels["docklet.spec"].as_str().is_some_and(|hash| hash.len() >= 12));
}

/// What Podman tells in other words, or does not get: see `engine::seccomp` and `engine::translate`.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_container_has_the_contracts_limits_on_docker() {
    let world = World::new();
    world.setup();
    let inspect = world.inspect().unwrap();
    let host = &inspect["HostConfig"];
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
    assert!(host["SecurityOpt"][1].as_str().is_some_and(|option| option.starts_with("seccomp={")));
    assert_eq!(host["CpuShares"], 512);
    assert_eq!(host["PidsLimit"], 4096);
    let memory = host["Memory"].as_u64().unwrap();
    assert!(memory > 0 && memory <= 4 << 30, "{memory}");
    assert_eq!(
        host["LogConfig"],
        serde_json::json!({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}})
    );
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_agent_commits_as_the_user_of_this_machine() {
    let world = World::new();
    world.commits_as("Ada Lovelace", "ada@example.org");
    world.setup();
    let environment = || world.inspect().unwrap()["Config"]["Env"].to_string();
    assert!(environment().contains("\"DOCKLET_GIT_NAME=Ada Lovelace\""), "{}", environment());
    assert!(environment().contains("\"DOCKLET_GIT_EMAIL=ada@example.org\""), "{}", environment());
    let planned = world.run(&["setup", "--yes", "--dry-run", "--git-name", "Grace Hopper"]);
    assert!(shown(&planned).contains("git name Ada Lovelace → Grace Hopper"), "{}", shown(&planned));
    // Only the first setup asks this machine's git.
    world.commits_as("Somebody Else", "else@example.org");
    assert_eq!(json(&world.run(&["setup", "--yes", "--json"]))["changed"], false);
    world.ok(&["config", "set", "git.name", "Grace Hopper", "--yes"]);
    world.ok(&["config", "unset", "git.email", "--yes"]);
    assert!(environment().contains("\"DOCKLET_GIT_NAME=Grace Hopper\""), "{}", environment());
    assert!(!environment().contains("DOCKLET_GIT_EMAIL"), "{}", environment());
    let refused = world.fails(&["config", "set", "git.name", "two\nlines"], 2);
    assert!(shown(&refused).contains("one line without < and >"), "{}", shown(&refused));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn variables_of_the_settings_reach_the_container_and_a_change_replaces_it() {
    let world = World::new();
    let args: Vec<String> = world.setup_args().into_iter().chain(["--env".into(), "LOG_LEVEL=a,b=c".into()]).collect();
    world.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let inside = |name: &str| docker_try(&["exec", &world.container(), "printenv", name]);
    let value = |name: &str| String::from_utf8(inside(name).stdout).unwrap();
    assert_eq!(value("LOG_LEVEL"), "a,b=c\n");
    let id = || world.inspect().unwrap()["Id"].clone();
    let first = id();
    assert_eq!(json(&world.run(&["setup", "--yes", "--env", "LOG_LEVEL=a,b=c", "--json"]))["changed"], false);
    assert_eq!(id(), first);
    let planned = world.run(&["setup", "--yes", "--dry-run", "--env", "LOG_LEVEL=debug", "TZ=Europe/London"]);
    let text = shown(&planned);
    assert!(text.contains("variable LOG_LEVEL changed, variable TZ added"), "{text}");
    // Those that are set already stay, and one a line in the variable.
    let output =
        world.docklet().env("DOCKLET_ENV", "TZ=Europe/London\nEMPTY=").args(["setup", "--yes"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert_ne!(id(), first);
    assert_eq!((value("LOG_LEVEL").as_str(), value("TZ").as_str()), ("a,b=c\n", "Europe/London\n"));
    assert!(inside("EMPTY").status.success());
    world.ok(&["config", "set", "environment.LOG_LEVEL", "debug", "--yes"]);
    assert_eq!(value("LOG_LEVEL"), "debug\n");
    let planned = world.run(&["config", "unset", "environment.LOG_LEVEL", "--yes"]);
    assert!(shown(&planned).contains("variable LOG_LEVEL removed"), "{}", shown(&planned));
    assert!(!inside("LOG_LEVEL").status.success());
    let status = world.ok(&["status"]);
    assert!(status.contains("variables  EMPTY, TZ\n"), "{status}");
    assert!(!status.contains("London"), "{status}");
    let settings = world.home.join("config").join(&world.name).join("settings.toml");
    let before = fs::read_to_string(&settings).unwrap();
    for bad in ["PATH=/x", "DOCKLET_EGRESS=all", "OPENCODE_SERVER_PASSWORD=x"] {
        world.fails(&["setup", "--yes", "--env", bad], 2);
    }
    assert_eq!(fs::read_to_string(&settings).unwrap(), before);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn every_spelling_of_loopback_is_published_as_127_0_0_1() {
    let world = World::new();
    for (bind, port) in [("localhost", free_port()), ("LOCALHOST", free_port()), ("127.0.0.1", free_port())] {
        let image = world.image();
        world.ok(&["setup", "--yes", "--image", &image, "--bind", bind, "--port", &port.to_string()]);
        let published = docker(&["port", &world.container(), "3000/tcp"]);
        assert_eq!(published, format!("127.0.0.1:{port}"), "{bind}");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn no_secret_is_visible_anywhere() {
    let world = World::new();
    let secret = "s3cret-of-the-provider";
    let file = world.folder().join("key");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let image = world.image();
    let port = world.port.to_string();
    let pair = format!("ANTHROPIC_API_KEY={}", file.display());
    let args = ["setup", "--yes", "--json", "--image", &image, "--port", &port, "--secret-file", &pair];
    let output = world.run(&args);
    assert!(output.status.success(), "{}", shown(&output));
    let password = world.password();
    assert!(password.len() >= 24, "{password}");
    let container = world.container();
    let places = [
        ("setup --json", shown(&output)),
        ("status", world.ok(&["status", "--json"])),
        ("plan", world.ok(&["setup", "--yes", "--dry-run", "--json", "--port", &free_port().to_string()])),
        ("inspect", docker(&["inspect", &container])),
        ("history", docker(&["history", "--no-trunc", &image])),
        ("log", docker(&["logs", &container])),
        ("arguments", docker(&["top", &container, "-eo", "pid,args"])),
    ];
    for (place, text) in places {
        assert!(!text.contains(&password), "the password is in {place}\n{text}");
        assert!(!text.contains(secret), "the secret is in {place}\n{text}");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let folder = world.home.join("config").join(&world.name).join("secrets");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&folder).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(docker(&["exec", &container, "cat", "/run/secrets/ANTHROPIC_API_KEY"]), secret);
    let write = docker_try(&["exec", &container, "sh", "-c", "echo x > /run/secrets/ANTHROPIC_API_KEY"]);
    assert!(!write.status.success(), "the secrets are read-only inside");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn secrets_of_another_host_user_are_readable_inside() {
    let world = World::new();
    world.setup();
    let folder = world.home.join("config").join(&world.name).join("secrets");
    let chown = std::process::Command::new("chown").args(["-R", "1001:1001"]).arg(&folder).status().unwrap();
    assert!(chown.success());
    world.ok(&["restart"]);
    assert_eq!(health(&world), 200);
    let without = world.http_get("/global/health", None).0;
    assert_eq!(without, 401, "the password was really read");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_rotated_password_replaces_the_old_one() {
    let world = World::new();
    world.setup();
    let old = world.password();
    let new = world.ok(&["password", "--rotate", "--yes"]).trim().to_owned();
    assert_ne!(old, new);
    assert_eq!(world.http_get("/global/health", Some(&old)).0, 401);
    assert_eq!(world.http_get("/global/health", Some(&new)).0, 200);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn data_survives_removal_and_replacement_of_the_container() {
    let world = World::new();
    world.setup();
    let password = world.password();
    let (_, session) = world.http_post("/session", Some(&password), &serde_json::json!({"title": "kept"}));
    let id = serde_json::from_str::<Value>(&session).unwrap()["id"].as_str().unwrap().to_owned();
    let path = format!("/session/{id}/message");
    let message = serde_json::json!({"noReply": true, "parts": [{"type": "text", "text": "do not lose me"}]});
    assert_eq!(world.http_post(&path, Some(&password), &message).0, 200);
    let kept = |when: &str| {
        let (_, body) = world.http_get(&path, Some(&password));
        assert!(body.contains("do not lose me"), "{when}: {body}");
    };
    world.ok(&["restart"]);
    kept("after a restart");
    docker(&["rm", "--force", &world.container()]);
    world.ok(&["start"]);
    kept("after removal and creation");
    world.ok(&["setup", "--yes", "--memory", "512MiB"]);
    kept("after a replacement");
    world.ok(&["uninstall", "--yes"]);
    world.ok(&["setup", "--yes", "--image", &world.image_2(), "--port", &world.port.to_string()]);
    kept("after an uninstall and a new setup");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn logs_as_text_and_as_json() {
    let world = World::new();
    world.fails(&["logs"], 4);
    world.setup();
    for _ in 0..5 {
        world.http_get("/", Some(&world.password()));
    }
    let text = world.ok(&["logs", "-n", "3"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    let logs = json(&world.run(&["logs", "-n", "2", "--json"]));
    assert_eq!(logs["line_count"], 2);
    assert_eq!(logs["lines"].as_array().map(Vec::len), Some(2));
    assert_eq!(logs["tail_limit"], 2);
    assert_eq!(logs["truncated"], true);
    let all = json(&world.run(&["logs", "-n", "10000", "--json"]));
    assert_eq!(all["truncated"], false);
    assert!(world.ok(&["logs", "-t", "-n", "1"]).starts_with("20"), "a time is put before each line");
    assert_eq!(json(&world.run(&["logs", "--since", "2099-01-01", "--json"]))["line_count"], 0);
    world.fails(&["logs", "-n", "10001"], 2);
    world.fails(&["logs", "--since", "soon"], 2);
}
