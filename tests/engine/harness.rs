//! Proves that the stand-in image, the proxy and [`super::support::World`] do what the other tests rely on. They
//! drive the engine with the docker command, never with docklet.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::proxy::{Action, At, Fault, Proxy, is, writes};
use crate::support::*;

/// Starts the stand-in by hand the way the tool does, with this world's name and port.
fn start(world: &World, image: &str, password: &str, more: &[&str]) {
    let secrets = world.folder().join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    std::fs::write(secrets.join("OPENCODE_SERVER_PASSWORD"), format!("{password}\n")).unwrap();
    for path in [&secrets, &secrets.join("OPENCODE_SERVER_PASSWORD")] {
        std::os::unix::fs::chown(path, Some(1000), Some(1000)).unwrap();
    }
    let label = format!("docklet.instance={}", world.name);
    let mut args: Vec<String> =
        ["run", "--detach", "--label", &label, "--name", &world.container()].map(str::to_owned).into();
    for (volume, mount) in
        world.volumes().iter().zip(["/home/opencode/.opencode", "/workspace", "/home/opencode/.config"])
    {
        docker(&["volume", "create", "--label", &label, volume]);
        args.extend(["--mount".into(), format!("type=volume,source={volume},target={mount}")]);
    }
    args.extend(["--mount".into(), format!("type=bind,source={},target=/run/secrets,readonly", secrets.display())]);
    args.extend(["--publish".into(), format!("127.0.0.1:{}:3000", world.port)]);
    args.extend(["--cap-drop=ALL", "--security-opt=no-new-privileges"].map(str::to_owned));
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    args.push(image.to_owned());
    docker(&args.iter().map(String::as_str).collect::<Vec<_>>());
}

fn answers(world: &World, path: &str, password: Option<&str>, status: u16) {
    wait_until(SOON, &format!("{path} is {status}"), || world.http_get(path, password).0 == status);
}

fn exit_code(world: &World) -> i64 {
    wait_for(SOON, "the container ends", || {
        let state = world.inspect()?["State"].clone();
        (state["Status"] == "exited").then(|| state["ExitCode"].as_i64()).flatten()
    })
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn stand_in_answers_like_opencode() {
    let world = World::new();
    let password = "a pass:word/+=";
    start(&world, &world.image(), password, &[]);
    answers(&world, "/global/health", Some(password), 200);

    let (_, health) = world.http_get("/global/health", Some(password));
    assert_eq!(health, r#"{"healthy":true,"version":"1.0.1"}"#);
    assert!(world.http_get("/", Some(password)).1.contains("<title>OpenCode</title>"));
    for path in ["/", "/global/health", "/session"] {
        assert_eq!(world.http_get(path, None).0, 401, "{path}");
        assert_eq!(world.http_get(path, Some("wrong")).0, 401, "{path}");
    }
    assert_eq!(world.http_get("/global/health?auth_token=b3BlbmNvZGU6YSBwYXNzOndvcmQvKz0%3D", None).0, 200);
    assert_eq!(docker(&["exec", &world.container(), "/usr/local/bin/healthcheck"]), "HTTP/1.1 200 OK");
    let process = docker(&["exec", &world.container(), "cat", "/proc/1/status"]);
    for line in ["Uid:\t1000\t", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(process.contains(line), "no {line} in\n{process}");
    }

    docker(&["stop", "--time", "20", &world.container()]);
    assert_eq!(exit_code(&world), 0);
    let log = docker(&["logs", &world.container()]);
    assert!(log.contains("GET /global/health 200") && log.contains("SIGTERM, ending"), "{log}");
    assert!(!log.contains(password), "{log}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn stand_in_keeps_sessions_when_recreated() {
    let world = World::new();
    start(&world, &world.image(), "pw", &[]);
    answers(&world, "/", Some("pw"), 200);
    let title = "Umlaut ä, \"quoted\"\n\u{1F600}";
    let (status, session) = world.http_post("/session", Some("pw"), &json!({ "title": title }));
    let session: Value = serde_json::from_str(&session).unwrap();
    assert_eq!((status, &session["title"]), (200, &json!(title)));
    let path = format!("/session/{}/message", session["id"].as_str().unwrap());
    let message = json!({ "noReply": true, "parts": [{ "type": "text", "text": "kept?" }] });
    assert_eq!(world.http_post(&path, Some("pw"), &message).0, 200);

    docker(&["rm", "--force", &world.container()]);
    start(&world, &world.image_2(), "pw", &[]);
    answers(&world, "/", Some("pw"), 200);
    assert!(world.http_get("/global/health", Some("pw")).1.contains("1.0.2"));
    let messages: Value = serde_json::from_str(&world.http_get(&path, Some("pw")).1).unwrap();
    assert_eq!(messages[0]["parts"][0]["text"], "kept?");
    assert_eq!(messages[0]["info"]["role"], "user");
    let sessions: Value = serde_json::from_str(&world.http_get("/session", Some("pw")).1).unwrap();
    assert_eq!((sessions.as_array().unwrap().len(), &sessions[0]["id"]), (1, &session["id"]));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn stand_in_misbehaves_while_it_runs() {
    let world = World::new();
    start(&world, &world.image(), "pw", &["--memory=64m", "--memory-swap=64m"]);
    answers(&world, "/", Some("pw"), 200);
    world.misbehave("status:503");
    answers(&world, "/global/health", Some("pw"), 503);
    world.misbehave("page-404 version:9.9.9");
    answers(&world, "/", Some("pw"), 404);
    assert!(world.http_get("/global/health", Some("pw")).1.contains("9.9.9"));
    world.misbehave("unauthorized");
    answers(&world, "/", Some("pw"), 401);
    world.misbehave("empty");
    answers(&world, "/", Some("pw"), 0);
    world.misbehave("");
    answers(&world, "/", Some("pw"), 200);

    world.misbehave("once exit-after:0.2:7");
    assert_eq!(exit_code(&world), 7);
    docker(&["start", &world.container()]);
    answers(&world, "/", Some("pw"), 200);
    if limits_memory() {
        world.misbehave("once oom");
        assert_eq!(exit_code(&world), 137);
        docker(&["start", &world.container()]);
        answers(&world, "/", Some("pw"), 200);
    }
    world.misbehave("ignore-term page-404");
    answers(&world, "/", Some("pw"), 404);
    docker(&["stop", "--time", "1", &world.container()]);
    assert_eq!(exit_code(&world), 137);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn stand_in_misbehaves_from_its_first_moment() {
    let world = World::new();
    start(&world, &world.image_with("exit:42"), "pw", &[]);
    assert_eq!(exit_code(&world), 42);
    assert!(String::from_utf8_lossy(&docker_try(&["logs", &world.container()]).stderr).contains("fatal"));
    docker(&["rm", &world.container()]);

    start(&world, &world.image_with("slow:2"), "pw", &[]);
    let started = Instant::now();
    answers(&world, "/", Some("pw"), 200);
    assert!(started.elapsed() >= Duration::from_millis(1500), "slow was quick: {:?}", started.elapsed());
    world.misbehave("hang");
    let second = Duration::from_secs(1);
    wait_until(SOON, "it hangs", || {
        let asked = Instant::now();
        http_within(second, world.port, "GET", "/", Some("pw"), None).is_none() && asked.elapsed() >= second
    });
}

/// `docker` through the proxy.
fn through(proxy: &Proxy, args: &[&str]) -> Output {
    docker_command().env("DOCKER_HOST", proxy.host()).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", shown(output));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn proxy_passes_everything_on_and_counts() {
    let world = World::new();
    let image = world.image();
    let proxy = Proxy::start(&engine_host());
    let container = world.container();
    let label = format!("docklet.instance={}", world.name);

    // Chunked answers, bodies both ways, connections that are taken over in both directions, endless answers.
    assert_eq!(
        text(&through(&proxy, &["run", "--rm", "--label", &label, "--entrypoint", "echo", &image, "hello"])),
        "hello"
    );
    text(&through(&proxy, &["run", "--detach", "--name", &container, "--label", &label, &image]));
    let mut cat = docker_command()
        .env("DOCKER_HOST", proxy.host())
        .args(["exec", "--interactive", &container, "sh", "-c", "wc -c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut cat.stdin.take().unwrap(), &vec![b'x'; 3_000_000]).unwrap();
    assert_eq!(text(&cat.wait_with_output().unwrap()), "3000000");
    wait_until(SOON, "it logs through the proxy", || {
        text(&through(&proxy, &["logs", &container])).contains("listening")
    });
    let mut follow = docker_command()
        .env("DOCKER_HOST", proxy.host())
        .args(["logs", "--follow", &container])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let file = "FROM scratch\nLABEL a=b\n";
    let tag = format!("docklet-test/{}:proxied", world.name);
    let label_line = format!("{file}LABEL docklet-test.world={}\n", world.name);
    let mut build = docker_command()
        .env("DOCKER_HOST", proxy.host())
        .args(["build", "--tag", &tag, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut build.stdin.take().unwrap(), label_line.as_bytes()).unwrap();
    text(&build.wait_with_output().unwrap());
    let tar = world.folder().join("proxied.tar");
    text(&through(&proxy, &["save", "--output", tar.to_str().unwrap(), &image]));
    let loaded = text(&through(&proxy, &["load", "--input", tar.to_str().unwrap()]));
    assert!(loaded.contains("Loaded image"), "{loaded}");
    text(&through(&proxy, &["rmi", &tag]));
    text(&through(&proxy, &["rm", "--force", &container]));
    assert!(follow.wait().unwrap().success(), "the followed log did not end with the container");

    let calls = proxy.calls();
    let count = |method: &str, pattern: &str| calls.iter().filter(|call| is(method, pattern)(call)).count();
    assert_eq!(count("POST", "/containers/create"), 2, "{}", proxy.report());
    assert_eq!(count("POST", "/containers/*/start"), 2, "{}", proxy.report());
    assert_eq!(count("DELETE", "/containers/*"), 1, "{}", proxy.report());
    assert_eq!(count("POST", "/build"), 1, "{}", proxy.report());
    assert!(calls.iter().all(|call| call.forwarded), "{}", proxy.report());
    proxy.reset();
    text(&through(&proxy, &["ps"]));
    text(&through(&proxy, &["images"]));
    assert!(!proxy.calls().is_empty() && proxy.writing_calls().is_empty(), "{}", proxy.report());
}

#[test]
fn proxy_tells_reading_from_writing() {
    for (method, path) in [
        ("POST", "/v1.41/containers/create?name=x"),
        ("POST", "/containers/x/start"),
        ("POST", "/v1.41/images/create?fromImage=x"),
        ("POST", "/v1.51/build?version=2"),
        ("POST", "/images/load"),
        ("PUT", "/containers/x/archive?path=/"),
        ("DELETE", "/v1.41/volumes/x"),
        ("POST", "/containers/x/exec"),
    ] {
        assert!(writes(method, path), "{method} {path}");
    }
    for (method, path) in [
        ("GET", "/_ping"),
        ("HEAD", "/_ping"),
        ("GET", "/v1.41/containers/create"),
        ("POST", "/v1.41/containers/x/wait?condition=next-exit"),
        ("POST", "/v1.41/containers/x/attach?stream=1"),
        ("POST", "/auth"),
        ("POST", "/v1.41/session"),
    ] {
        assert!(!writes(method, path), "{method} {path}");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn proxy_faults_happen() {
    let world = World::new();
    let proxy = Proxy::start(&engine_host());
    let [volume, other, _] = world.volumes();
    let label = format!("docklet.instance={}", world.name);
    let create = |name: &str| through(&proxy, &["volume", "create", "--label", &label, name]);
    let exists = |name: &str| docker_try(&["volume", "inspect", name]).status.success();
    let at = || At::first("POST", "/volumes/create");

    proxy.fault(Fault { at: at(), action: Action::error(500, "no such luck") });
    let failed = create(&volume);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("no such luck"), "{}", shown(&failed));
    assert!(!exists(&volume) && proxy.fired());
    assert_eq!(proxy.fired_at()[0].status, Some(500));
    assert!(create(&volume).status.success(), "a fault must happen once");
    docker(&["volume", "rm", &volume]);

    proxy.reset();
    proxy.fault(Fault { at: at(), action: Action::CutBefore });
    assert!(!create(&volume).status.success() && !exists(&volume));
    proxy.reset();
    proxy.fault(Fault { at: at(), action: Action::Cut });
    assert!(!create(&volume).status.success(), "half an answer was enough");
    assert!(exists(&volume) && proxy.fired(), "a cut answer must come from the engine");

    proxy.reset();
    proxy.fault(Fault { at: At::writing(1), action: Action::Delay(Duration::from_secs(2)) });
    let started = Instant::now();
    assert!(create(&volume).status.success());
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());

    // An engine that hangs: the client is still there when we look, and ends when the proxy lets go.
    proxy.reset();
    proxy.fault(Fault { at: at(), action: Action::Hang });
    let mut hanging =
        docker_command().env("DOCKER_HOST", proxy.host()).args(["volume", "create", &other]).spawn().unwrap();
    wait_until(SOON, "the call arrives", || proxy.fired());
    assert!(hanging.try_wait().unwrap().is_none());
    proxy.gone();
    assert!(!hanging.wait().unwrap().success());
    assert!(!exists(&other) && !through(&proxy, &["version"]).status.success());
    proxy.back();
    assert!(through(&proxy, &["version"]).status.success());

    for (action, there) in [(Action::KillBefore, false), (Action::KillAfter, true)] {
        docker_try(&["volume", "rm", &volume]);
        proxy.reset();
        proxy.fault(Fault { at: at(), action });
        let mut child = docker_command()
            .env("DOCKER_HOST", proxy.host())
            .args(["volume", "create", "--label", &label, &volume])
            .process_group(0)
            .spawn()
            .unwrap();
        proxy.kill_target(child.id());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(exists(&volume), there);
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn proxy_takes_the_engines_side_of_a_client_that_leaves_on_docker() {
    // A build that its client gives up is cancelled by the engine: only if the proxy lets go of it too.
    let world = World::new();
    let proxy = Proxy::start(&engine_host());
    let file = format!("FROM {}\nLABEL docklet-test.world={}\nRUN sleep 300\n", stand_in(), world.name);
    let mut build = docker_command()
        .env("DOCKER_HOST", proxy.host())
        .args(["build", "--no-cache", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut build.stdin.take().unwrap(), file.as_bytes()).unwrap();
    let label = format!("label=docklet-test.world={}", world.name);
    let running = || !docker(&["ps", "--quiet", "--filter", &label]).is_empty();
    wait_until(SOON, "the step runs", running);
    build.kill().unwrap();
    build.wait().unwrap();
    wait_until(SOON, "the engine cancels it", || !running());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn registries_and_tar_have_the_image() {
    let world = World::new();
    let (tar, tag) = world.image_tar();
    assert!(!docker_try(&["image", "inspect", &tag]).status.success());
    docker(&["load", "--input", tar.to_str().unwrap()]);
    assert_eq!(docker(&["run", "--rm", "--entrypoint", "echo", &tag, "loaded"]), "loaded");

    let open = world.registry_image();
    assert!(!docker_try(&["image", "inspect", &open]).status.success());
    docker(&["pull", &open]);

    let closed = world.registry_image_auth();
    let bare = world.folder().join("no-config");
    let config = world.folder().join("config");
    world.docker_config(&config);
    let refused = docker_try(&["--config", bare.to_str().unwrap(), "pull", &closed]);
    assert!(!refused.status.success(), "{}", shown(&refused));
    docker(&["--config", config.to_str().unwrap(), "pull", &closed]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn world_leaves_nothing() {
    let world = World::new();
    let name = world.name.clone();
    start(&world, &world.image(), "pw", &[]);
    assert_eq!(world.left().len(), 4, "{:?}", world.left());
    let mut stray = Command::new("sleep");
    world.bare(&mut stray);
    let mut stray = stray.arg("300").spawn().unwrap();
    wait_until(SOON, "the stray process is seen", || world.processes() == [stray.id()]);
    let folder = world.folder().to_owned();
    drop(world);

    assert_eq!(stray.wait().unwrap().signal(), Some(9));
    assert!(!folder.exists());
    let label = format!("label=docklet.instance={name}");
    for args in [
        vec!["ps", "--all", "--quiet", "--filter", &label],
        vec!["volume", "ls", "--quiet", "--filter", &label],
        vec!["images", "--quiet", &format!("docklet-test/{name}")],
    ] {
        assert_eq!(docker(&args), "", "docker {args:?}");
    }
    let shared = stand_in();
    docker(&["image", "inspect", &shared]);
}
