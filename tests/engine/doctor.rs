//! The check-up: a healthy instance has no problem, each thing that is broken here is found, and what it says mends
//! it. The support archive holds no secret.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::proxy::{Action, At, Fault, Proxy};
use crate::support::*;

const PROBLEM: i32 = 10;

/// `docklet doctor --json`, which must end with this code.
fn doctor(world: &World, code: i32) -> Value {
    let output = world.run(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(code), "{}", shown(&output));
    json(&output)
}

/// Level and message of one check.
fn check<'a>(report: &'a Value, id: &str) -> (&'a str, &'a str) {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id}\n{report:#}"));
    (check["level"].as_str().unwrap(), check["message"].as_str().unwrap())
}

/// The ids of all checks of a level.
fn of_level(report: &Value, level: &str) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks.filter(|check| check["level"] == level).map(|check| check["id"].as_str().unwrap().to_owned()).collect()
}

/// Does what a check says, in a shell that has this `docklet`, `docker` and nothing of the user's.
fn mend(world: &World, report: &Value, id: &str) {
    let checks = report["checks"].as_array().unwrap();
    let fix = checks.iter().find(|check| check["id"] == id).unwrap()["fix"].as_str().expect("a command").to_owned();
    let docklet = env!("CARGO_BIN_EXE_docklet");
    let mut shell = Command::new("sh");
    world.bare(&mut shell);
    shell.env_remove("DOCKLET_INSTANCE").env("DOCKER_HOST", engine_host());
    let output = shell.args(["-ec", &format!("docklet() {{ '{docklet}' \"$@\"; }}\n{fix}")]).output().unwrap();
    assert!(output.status.success(), "{fix}\n{}", shown(&output));
}

fn settings_file(world: &World) -> std::path::PathBuf {
    world.home.join("config").join(&world.name).join("settings.toml")
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_finds_nothing_wrong_with_a_healthy_instance_and_changes_nothing() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let report = doctor(&world, 0);
    assert_eq!((report["schema"].clone(), report["problems"].clone()), (1.into(), 0.into()), "{report:#}");
    assert_eq!(report["instance"], world.name.as_str());
    for id in ["settings", "files", "engine", "permission", "api", "answer_time", "storage", "memory", "architecture"]
        .into_iter()
        .chain(["clock", "container", "page", "port", "drift", "restart_policy", "volumes", "outside_writes"])
    {
        assert_eq!(check(&report, id).0, "ok", "{id}: {report:#}");
    }
    assert_eq!(check(&report, "image").0, "warning", "the stand-in's version is older: {report:#}");
    assert_eq!(report["warnings"], of_level(&report, "warning").len());
    // The command inside is the one thing that is not only read: it looks, and is gone.
    let only_looks = |route: &str| route.ends_with("/exec") || route.starts_with("/exec/");
    assert!(proxy.writing_calls().iter().all(|call| only_looks(call.route())), "{}", proxy.report());

    let text = world.ok(&["doctor"]);
    assert!(text.contains("ok       the page answers with docklet's password\n"), "{text}");
    assert!(text.trim_end().ends_with("warnings") && text.contains("\nno problems, "), "{text}");
    assert!(!text.contains(&world.password()), "{text}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_knows_stopped_from_dead() {
    let world = World::new();
    world.setup();
    world.ok(&["stop"]);
    let report = doctor(&world, 0);
    assert_eq!(check(&report, "container").0, "ok", "{report:#}");
    assert_eq!(check(&report, "page").0, "skipped");
    world.ok(&["start"]);
    docker(&["kill", &world.container()]);
    let report = doctor(&world, PROBLEM);
    assert_eq!(of_level(&report, "problem"), ["container"], "{report:#}");
    assert!(check(&report, "container").1.contains("137"), "{report:#}");
    mend(&world, &report, "container");
    doctor(&world, 0);
    docker(&["rm", "--force", &world.container()]);
    let report = doctor(&world, PROBLEM);
    assert!(check(&report, "container").1.contains("is gone"), "{report:#}");
    mend(&world, &report, "container");
    doctor(&world, 0);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_names_who_has_the_port() {
    let world = World::new();
    world.setup();
    world.ok(&["stop"]);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, world.port)).unwrap();
    let report = doctor(&world, PROBLEM);
    assert_eq!(of_level(&report, "problem"), ["port"], "{report:#}");
    assert!(check(&report, "port").1.contains(&format!("(pid {})", std::process::id())), "{report:#}");
    drop(listener);
    assert_eq!(check(&doctor(&world, 0), "port").0, "ok");
    // Before anything is set up it is only a warning: another port will be chosen.
    let other = World::new();
    assert_eq!(check(&doctor(&other, 0), "settings").0, "warning");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_finds_files_that_others_may_read() {
    let world = World::new();
    world.setup();
    let secrets = world.home.join("config").join(&world.name).join("secrets");
    let secret = secrets.join("OPENCODE_SERVER_PASSWORD");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o755)).unwrap();
    let report = doctor(&world, PROBLEM);
    assert_eq!(of_level(&report, "problem"), ["files"], "{report:#}");
    mend(&world, &report, "files");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&secrets), mode(&secret)), (0o700, 0o600));
    doctor(&world, 0);
    fs::remove_file(&secret).unwrap();
    let report = doctor(&world, PROBLEM);
    assert_eq!(of_level(&report, "problem"), ["page"], "{report:#}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_finds_what_was_changed_from_outside_on_docker() {
    let world = World::new();
    world.setup();
    docker(&["update", "--restart", "always", &world.container()]);
    let report = doctor(&world, PROBLEM);
    assert_eq!(of_level(&report, "problem"), ["restart_policy"], "{report:#}");
    mend(&world, &report, "restart_policy");
    assert_eq!(check(&doctor(&world, 0), "restart_policy").0, "ok");

    docker(&["update", "--pids-limit", "777", &world.container()]);
    let report = doctor(&world, 0);
    let (level, message) = check(&report, "drift");
    assert!(level == "warning" && message.contains("pids 777 → 4096"), "{report:#}");
    mend(&world, &report, "drift");
    assert_eq!(check(&doctor(&world, 0), "drift").0, "ok");

    docker(&["exec", &world.container(), "touch", "/home/opencode/.bash_history", "/tmp/x"]);
    let report = doctor(&world, 0);
    let (level, message) = check(&report, "outside_writes");
    assert_eq!(level, "warning", "{report:#}");
    assert!(message.ends_with(": /home/opencode/.bash_history"), "{message}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_compares_settings_with_the_container() {
    let world = World::new();
    world.setup();
    let file = settings_file(&world);
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, before.replace("memory = \"4GiB\"", "memory = \"512MiB\"")).unwrap();
    let report = doctor(&world, 0);
    let (level, message) = check(&report, "drift");
    assert!(level == "warning" && message.ends_with("→ 512 MiB"), "{report:#}");
    mend(&world, &report, "drift");
    assert_eq!(check(&doctor(&world, 0), "drift").0, "ok");

    fs::write(&file, "version = 1\n[network]\nprot = 1\n").unwrap();
    let report = doctor(&world, PROBLEM);
    assert_eq!(of_level(&report, "problem"), ["settings"], "{report:#}");
    assert!(check(&report, "settings").1.contains("line 3"), "{report:#}");
    assert_eq!(check(&report, "page").0, "ok", "it still runs");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_asks_the_page_with_the_password() {
    let world = World::new();
    world.setup();
    world.misbehave("unauthorized");
    wait_until(SOON, "the page refuses", || world.http_get("/", Some(&world.password())).0 == 401);
    let report = doctor(&world, PROBLEM);
    assert_eq!(of_level(&report, "problem"), ["page"], "{report:#}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_tries_the_network_from_here_and_from_inside() {
    let world = World::new();
    let proxy = "http://proxy.invalid:3128";
    // What the stand-in lacks: a curl, which here tells what it was given.
    let curl = r#"RUN printf '#!/bin/sh\necho "curl: (60) certificate problem at $HTTPS_PROXY" >&2\nexit 60\n' > /usr/bin/curl && chmod 0755 /usr/bin/curl"#;
    let image = world.build(&stand_in(), &["USER 0", curl, "USER 1000:1000"]);
    let online = |args: &[&str]| world.docklet().env("HTTPS_PROXY", proxy).args(args).output().unwrap();
    let port = world.port.to_string();
    let output = online(&["setup", "--yes", "--image", &image, "--port", &port]);
    assert!(output.status.success(), "{}", shown(&output));
    let report = json(&online(&["doctor", "--json"]));
    let (level, message) = check(&report, "container_network");
    assert_eq!((level, check(&report, "trust").0), ("warning", "ok"), "{report:#}");
    assert!(message.ends_with(&format!("certificate problem at {proxy}")), "{message}");
    let (level, message) = check(&report, "host_network");
    assert!(level == "warning" && message.contains("the proxy cannot be reached"), "{report:#}");
    assert_eq!(check(&doctor(&world, 0), "trust").0, "warning", "this machine has no proxy any more");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_asks_the_registry_of_the_image_on_docker() {
    let world = World::new();
    world.setup();
    let image = world.image();
    let file = settings_file(&world);
    let text = fs::read_to_string(&file).unwrap();
    let registry = variable("DOCKLET_TEST_REGISTRY");
    for (registry, level) in [(registry.as_str(), "ok"), ("127.0.0.1:1", "warning")] {
        fs::write(&file, text.replace(&image, &format!("{registry}/stand-in:1"))).unwrap();
        let report = doctor(&world, 0);
        assert_eq!(check(&report, "registry").0, level, "{report:#}");
        assert_eq!(check(&report, "host_network").0, level, "{report:#}");
        assert_eq!(check(&report, "container_network").0, "skipped", "it is on this machine\n{report:#}");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_leaves_foreign_objects_alone_and_says_so() {
    let world = World::new();
    let image = world.image();
    docker(&["create", "--name", &world.container(), &image]);
    docker(&["volume", "create", &world.volumes()[0]]);
    let report = doctor(&world, PROBLEM);
    assert_eq!(of_level(&report, "problem"), ["container", "volumes"], "{report:#}");
    for id in ["container", "volumes"] {
        assert!(check(&report, id).1.ends_with("was not made by docklet"), "{report:#}");
    }
    assert_eq!(check(&report, "page").0, "skipped");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_works_without_an_engine() {
    let world = World::new();
    world.setup();
    world.use_engine("unix:///nowhere/docker.sock");
    let report = doctor(&world, PROBLEM);
    assert_eq!(of_level(&report, "problem"), ["engine"], "{report:#}");
    assert_eq!((check(&report, "files").0, check(&report, "drift").0), ("ok", "skipped"));
    let file = world.folder().join("without.tar");
    world.fails(&["doctor", "--bundle", file.to_str().unwrap()], PROBLEM);
    assert!(entries(&file).iter().any(|(name, _)| name.ends_with("settings.toml")));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_does_not_wait_for_an_engine_that_hangs() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let slowest = Duration::from_secs(10);
    proxy.fault(Fault { at: At::all(), action: Action::Hang });
    let began = Instant::now();
    let report = doctor(&world, PROBLEM);
    assert!(began.elapsed() < slowest, "{:?}", began.elapsed());
    assert_eq!(of_level(&report, "problem"), ["answer_time"], "{report:#}");

    proxy.reset();
    proxy.fault(Fault { at: At::Every(Arc::new(|call| call.route() != "/version")), action: Action::Hang });
    let began = Instant::now();
    let report = doctor(&world, PROBLEM);
    assert!(began.elapsed() < slowest, "{:?}", began.elapsed());
    assert_eq!(of_level(&report, "problem"), ["answer_time"], "{report:#}");
    assert_eq!(check(&report, "engine").0, "ok");
}

/// The files in an archive.
fn entries(file: &std::path::Path) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(fs::File::open(file).unwrap());
    let read = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), text)
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctors_bundle_holds_no_secret() {
    let world = World::new();
    // An appliance that tells every secret, plain and in base64, and has something in its environment.
    let tell = r#"ENTRYPOINT ["sh","-c","for f in /run/secrets/*; do cat $f; echo; base64 -w0 $f; echo; done; (printf opencode:; cat /run/secrets/OPENCODE_SERVER_PASSWORD) | base64 -w0; echo; exec stand-in"]"#;
    let image = world.build(&stand_in(), &["ENV ORDINARY=in-the-environment", tell]);
    let (password, key) = ("pass word+\"quoted\"/ä%", "k3y-\\with:everything@in?it&=");
    let file = |name: &str, text: &str| {
        let path = world.folder().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (password_file, key_file) = (file("password", password), file("key", key));
    world.ok(&[
        "setup",
        "--yes",
        "--image",
        &image,
        "--port",
        &world.port.to_string(),
        "--password-file",
        &password_file,
        "--secret-file",
        &format!("SOME_KEY={key_file}"),
    ]);
    let percent = |text: &str| -> String {
        let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let spellings: Vec<String> = [password, key]
        .into_iter()
        .flat_map(|text| {
            let json = serde_json::to_string(text).unwrap();
            [
                text.to_owned(),
                json.trim_matches('"').to_owned(),
                STANDARD.encode(text),
                STANDARD.encode(format!("opencode:{text}")),
                URL_SAFE_NO_PAD.encode(text),
                percent(text),
            ]
        })
        .collect();
    let state = world.home.join("state").join(&world.name);
    let all = spellings.join("\n");
    fs::write(state.join("build.log"), format!("step 1\n{all}\nproxy http://me:{}@proxy/\n", percent(password)))
        .unwrap();
    fs::write(state.join("supervisor.log"), format!("restarted\n{all}\n")).unwrap();
    let settings = settings_file(&world);
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("# the password is {password}\n{text}")).unwrap();

    let bundle = world.folder().join("report.tar");
    let bundle_arg = bundle.to_str().unwrap();
    let report = json(&world.run(&["doctor", "--json", "--bundle", bundle_arg]));
    assert_eq!(report["bundle"], bundle_arg);
    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o7777, 0o600);
    let bytes = fs::read(&bundle).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for spelling in &spellings {
        assert!(!holds(spelling), "{spelling} is in the archive");
    }
    assert!(!holds("in-the-environment"), "the environment's values are in the archive");
    let entries = entries(&bundle);
    let entry = |name: &str| &entries.iter().find(|(path, _)| path.ends_with(name)).unwrap().1;
    assert!(entry("appliance.log").starts_with(&"***\n".repeat(5)), "{}", entry("appliance.log"));
    assert!(entry("build.log").starts_with("step 1\n***\n") && entry("supervisor.log").contains("restarted"));
    assert!(entry("settings.toml").starts_with("# the password is ***\n"));
    assert!(entry("container.json").contains("ORDINARY=***"));
    assert_eq!(serde_json::from_str::<Value>(entry("status.json")).unwrap()["state"], "running");
    assert_eq!(serde_json::from_str::<Value>(entry("doctor.json")).unwrap()["problems"], 0, "{}", entry("doctor.json"));
    assert!(serde_json::from_str::<Value>(entry("engine.json")).unwrap()["machine"]["MemTotal"].is_u64());

    let refused = world.fails(&["doctor", "--json", "--bundle", bundle_arg], 6);
    assert_eq!(json(&refused)["error"]["code"], "CONFIRMATION_REQUIRED");
    assert_eq!(fs::read(&bundle).unwrap(), bytes, "nothing is overwritten without a yes");
    world.ok(&["doctor", "--yes", "--bundle", bundle_arg]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_sees_the_supervisor_and_its_absence() {
    let world = World::supervised();
    world.setup();
    wait_until(SOON, "the supervisor is seen", || {
        check(&json(&world.run(&["doctor", "--json"])), "supervisor").0 == "ok"
    });
    let pid = u32::try_from(world.status()["supervisor"]["pid"].as_u64().unwrap()).unwrap();
    kill(pid);
    wait_until(SOON, "it is gone", || world.status()["supervisor"]["running"] == false);
    let report = doctor(&world, PROBLEM);
    assert_eq!(check(&report, "supervisor").0, "problem", "{report:#}");
    mend(&world, &report, "supervisor");
    assert_eq!(check(&doctor(&world, 0), "supervisor").0, "ok");
}
