//! Daily use: a command and a shell inside, settings, secrets and folders put into effect.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Output, Stdio};

use expectrl::session::OsSession;
use expectrl::{Expect as _, Session};
use rustix::process::Signal;

use crate::proxy::Proxy;
use crate::support::*;

/// `docklet exec` with something on its standard input.
fn exec_with(world: &World, args: &[&str], input: &[u8]) -> Output {
    let mut command = world.docklet();
    command.arg("exec").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that reads no input ends before all is written.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn inside(world: &World, script: &str) -> String {
    let output = world.run(&["exec", "--", "sh", "-c", script]);
    assert!(output.status.success(), "{script}\n{}", shown(&output));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn exec_keeps_streams_apart_and_passes_the_exit_code_on() {
    let world = World::new();
    world.setup();
    let output = exec_with(&world, &["--", "sh", "-c", "cat; echo oops >&2; exit 7"], b"hello");
    assert_eq!(output.status.code(), Some(7), "{}", shown(&output));
    assert_eq!(output.stdout, b"hello");
    assert_eq!(output.stderr, b"oops\n");
    // More than any buffer, every byte.
    let much: Vec<u8> = (0..3_000_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let output = exec_with(&world, &["--", "cat"], &much);
    assert!(output.status.success() && output.stdout == much, "{} bytes came back", output.stdout.len());
    assert_eq!(world.run(&["exec", "--", "no-such-command"]).status.code(), Some(127));
    assert_eq!(world.run(&["exec", "false"]).status.code(), Some(1));
    let quoted = world.ok(&["exec", "--", "printf", "%s|", "a b", "$HOME", "*", "--json"]);
    assert_eq!(quoted, "a b|$HOME|*|--json|", "nobody interprets the arguments");
    let report = json(&world.run(&["--json", "exec", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]));
    assert_eq!((report["stdout"].clone(), report["stderr"].clone()), ("out\n".into(), "err\n".into()));
    assert_eq!(report["exit_code"], 3);
    let output = exec_with(&world, &["--", "true"], &much);
    assert!(output.status.success(), "an input that nobody reads is no failure\n{}", shown(&output));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_command_inside_has_no_power_and_not_the_password() {
    let world = World::new();
    world.setup();
    assert_eq!(inside(&world, "id -u; pwd; echo $HOME"), "1000\n/workspace\n/home/opencode");
    assert_eq!(inside(&world, "grep CapEff /proc/self/status").split_whitespace().last(), Some("0000000000000000"));
    assert!(!inside(&world, "env").contains(&world.password()));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn nothing_is_run_in_what_does_not_run() {
    let world = World::new();
    world.setup();
    pause(&world.container());
    let output = world.fails(&["--json", "exec", "--", "true"], 4);
    assert!(json(&output)["error"]["causes"].to_string().contains("paused"), "{}", shown(&output));
    docker(&["unpause", &world.container()]);
    world.ok(&["stop"]);
    let output = world.fails(&["--json", "exec", "--", "true"], 4);
    assert_eq!(json(&output)["error"]["code"], "NOT_FOUND");
    assert_eq!(json(&output)["error"]["hint"], start_command(&world));
    docker(&["rm", &world.container()]);
    world.fails(&["exec", "--", "true"], 4);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_interrupted_command_ends_inside_too() {
    let world = World::new();
    world.setup();
    for name in [Signal::INT, Signal::TERM] {
        // Its child is to end with it.
        let child = world.spawn(&["exec", "--", "sh", "-c", "echo begun; sleep 1234; echo never"]);
        let runs = || docker(&["top", &world.container()]).contains("sleep 1234");
        wait_until(SOON, "the command to run", runs);
        signal(child.id(), name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", shown(&output));
        assert_eq!(output.stdout, b"begun\n");
        wait_until(SOON, "it to end inside", || !runs());
    }
    // A reader that goes away ends it as well.
    let mut child = world.spawn(&["exec", "--", "sh", "-c", "while :; do echo line; sleep 0.01; done"]);
    let mut some = [0u8; 10];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    wait_until(SOON, "docklet to end", || child.try_wait().unwrap().is_some());
    wait_until(SOON, "the loop to end", || !docker(&["top", &world.container()]).contains("while :"));
}

/// A pseudo-terminal of 90 by 30 with a shell script in it; `$DOCKLET` is the program.
fn terminal(world: &World, script: &str) -> OsSession {
    let mut command = Command::new("sh");
    world.bare(&mut command);
    command.args(["-c", script]).env("DOCKLET", env!("CARGO_BIN_EXE_docklet"));
    let mut session = Session::spawn(command).unwrap();
    session.get_process_mut().set_window_size(90, 30).unwrap();
    session.set_expect_timeout(Some(SOON));
    session
}

fn sees(session: &mut OsSession, text: &str) {
    if let Err(error) = session.expect(text) {
        let mut rest = [0u8; 4096];
        let length = session.try_read(&mut rest).unwrap_or(0);
        panic!("`{text}` did not appear: {error}\n{}", String::from_utf8_lossy(&rest[..length]));
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_shell_is_a_real_terminal_and_leaves_ours_as_it_was() {
    let world = World::new();
    world.setup();
    let script = "sleep 0.3; stty -a >before; \"$DOCKLET\" shell; echo \"code=$?\"; stty -a >after; echo over";
    let mut session = terminal(&world, script);
    session.send_line("echo answer-$((20+22))").unwrap();
    sees(&mut session, "answer-42");
    session.send_line("stty size; tty; id -un; pwd; echo $TERM").unwrap();
    sees(&mut session, "30 90");
    sees(&mut session, "/dev/pts/");
    sees(&mut session, "opencode");
    sees(&mut session, "/workspace");
    sees(&mut session, "xterm-256color");
    session.get_process_mut().set_window_size(101, 41).unwrap();
    session.send_line("sleep 0.5; stty size").unwrap();
    sees(&mut session, "41 101");
    // Bytes that look like the engine's own framing are output like any other.
    session.send_line("printf '\\000\\001\\002\\001\\377\\377\\377\\377zero\\n'").unwrap();
    sees(&mut session, "\u{0}\u{1}\u{2}\u{1}");
    sees(&mut session, "zero");
    // Keys reach the program inside: Ctrl-C ends it and not us.
    session.send_line("sleep 4321; echo code-$?").unwrap();
    wait_until(SOON, "the sleep to run", || docker(&["top", &world.container()]).contains("sleep 4321"));
    session.send("\u{3}").unwrap();
    wait_until(SOON, "the sleep to end", || !docker(&["top", &world.container()]).contains("sleep 4321"));
    session.send_line("exit 5").unwrap();
    sees(&mut session, "code=5");
    sees(&mut session, "over");
    let stty = |name: &str| fs::read_to_string(world.folder().join(name)).unwrap();
    assert_eq!(stty("after").replace("rows 41; columns 101", "rows 30; columns 90"), stty("before"));

    // Ctrl-D ends it, too.
    let mut session = terminal(&world, "\"$DOCKLET\" shell; echo \"code=$?\"");
    session.send_line("echo ready-$((1+1))").unwrap();
    sees(&mut session, "ready-2");
    // At the prompt: before it, the terminal itself would take the key.
    sees(&mut session, "$ ");
    session.send("\u{4}").unwrap();
    sees(&mut session, "code=0");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn attach_runs_the_client_in_the_folder_that_is_meant() {
    let world = World::new();
    let client = r#"printf '#!/bin/sh\necho "client: $*"; tty; read word; echo "typed $word"; exit 7\n' >/usr/local/bin/opencode"#;
    let image = world.build(
        &stand_in(),
        &["USER 0", &format!("RUN {client} && chmod 755 /usr/local/bin/opencode"), "USER 1000:1000"],
    );
    world.ok(&["setup", "--yes", "--image", &image, "--port", &world.port.to_string()]);
    let mut session = terminal(&world, "\"$DOCKLET\" attach app; echo \"code=$?\"");
    sees(&mut session, "client: attach http://127.0.0.1:3000 --dir /workspace/app");
    sees(&mut session, "/dev/pts/");
    session.send_line("word").unwrap();
    sees(&mut session, "typed word");
    sees(&mut session, "code=7");
    let refused = world.fails(&["attach"], 2);
    assert!(shown(&refused).contains("needs a terminal"), "{}", shown(&refused));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_shell_that_is_killed_off_gives_the_terminal_back_and_ends_inside() {
    let world = World::new();
    world.setup();
    let script = "sleep 0.3; stty -a >before; \"$DOCKLET\" shell; echo \"code=$?\"; stty -a >after; echo over";
    let mut session = terminal(&world, script);
    session.send_line("echo ready-$((1+1)); sleep 9876").unwrap();
    sees(&mut session, "ready-2");
    let processes: Vec<u32> = world.processes();
    let ours = processes
        .into_iter()
        .find(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"docklet\0shell\0")));
    signal(ours.unwrap(), Signal::TERM);
    sees(&mut session, "code=130");
    sees(&mut session, "over");
    let stty = |name: &str| fs::read_to_string(world.folder().join(name)).unwrap();
    assert_eq!(stty("after"), stty("before"));
    wait_until(SOON, "nothing to be left inside", || !docker(&["top", &world.container()]).contains("sleep 9876"));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_shell_without_a_terminal_is_refused() {
    let world = World::new();
    world.setup();
    let output = world.fails(&["shell"], 2);
    let hint = format!("docklet --instance {} exec -- COMMAND", world.name);
    assert!(String::from_utf8_lossy(&output.stderr).contains(&hint), "{}", shown(&output));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_changed_setting_gets_a_new_container_and_keeps_the_data() {
    let world = World::new();
    world.setup();
    inside(&world, "echo precious >/workspace/file");
    let before = world.inspect().unwrap()["Id"].clone();
    let output = world.run(&["config", "set", "resources.memory", "512MiB"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("this needs a new container") && said.contains("docklet"), "{said}");
    assert_eq!(world.inspect().unwrap()["Id"], before, "without a yes nothing is replaced");
    let taken_back = world.run(&["--yes", "config", "unset", "resources.memory"]);
    assert!(taken_back.status.success(), "{}", shown(&taken_back));
    assert!(!String::from_utf8_lossy(&taken_back.stderr).contains("new container"), "{}", shown(&taken_back));
    assert_eq!(world.inspect().unwrap()["Id"], before, "a change that was taken back needs nothing");
    world.ok(&["config", "set", "resources.memory", "512MiB"]);
    let report = json(&world.run(&["--json", "--yes", "config", "set", "resources.pids", "512"]));
    assert_eq!(report["effect"]["pending"], false, "{report}");
    let container = world.inspect().unwrap();
    assert_ne!(container["Id"], before);
    // An engine that holds no limits says 0; what docklet says to that has a test of its own.
    for (limit, value) in [("Memory", 512 << 20), ("PidsLimit", 512)] {
        let found = container["HostConfig"][limit].as_i64().unwrap();
        assert!(found == value || found == 0, "{limit} {found}");
    }
    assert_eq!(inside(&world, "cat /workspace/file"), "precious");
    // What shall be stopped stays so.
    world.ok(&["stop"]);
    let output = world.run(&["--yes", "config", "set", "resources.pids", "1024"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is stopped"), "{}", shown(&output));
    assert_eq!(world.inspect().unwrap()["State"]["Running"], false);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_secret_reaches_the_container_and_nothing_else() {
    let world = World::new();
    world.setup();
    let started = world.inspect().unwrap()["State"]["StartedAt"].clone();
    let key = world.folder().join("key");
    fs::write(&key, "sk-secret-4711").unwrap();
    let args = ["--json", "--yes", "secret", "set", "SOME_API_KEY", "--from-file", key.to_str().unwrap()];
    let report = json(&world.run(&args));
    assert_eq!(report["effect"]["pending"], false, "{report}");
    assert_ne!(world.inspect().unwrap()["State"]["StartedAt"], started, "it was restarted");
    assert_eq!(docker(&["exec", &world.container(), "cat", "/run/secrets/SOME_API_KEY"]), "sk-secret-4711");
    assert!(!world.inspect().unwrap().to_string().contains("sk-secret-4711"));
    assert!(!docker(&["logs", &world.container()]).contains("sk-secret-4711"));
    assert_eq!(
        json(&world.run(&["secret", "set", "SOME_API_KEY", "--from-file", key.to_str().unwrap(), "--json"]))["changed"],
        false
    );
    world.ok(&["--yes", "secret", "remove", "SOME_API_KEY"]);
    assert!(!docker_try(&["exec", &world.container(), "cat", "/run/secrets/SOME_API_KEY"]).status.success());
    assert_eq!(world.status()["state"], "running");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_secret_is_asked_for_without_showing_it() {
    let world = World::new();
    world.setup();
    world.ok(&["stop"]);
    let mut session = terminal(&world, "\"$DOCKLET\" secret set TYPED_KEY; echo \"code=$?\"");
    sees(&mut session, "Value of TYPED_KEY");
    session.send("sk-typed").unwrap();
    session.send("\r").unwrap();
    let found = session.expect("code=0").unwrap();
    assert!(!String::from_utf8_lossy(found.before()).contains("sk-typed"));
    assert_eq!(
        fs::read_to_string(world.home.join(format!("config/{}/secrets/TYPED_KEY", world.name))).unwrap(),
        "sk-typed"
    );
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_folder_is_seen_on_both_sides_and_stays_its_owners() {
    let world = World::new();
    world.setup();
    let folder = world.folder().join("my code");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("theirs"), "from outside").unwrap();
    let before = fs::metadata(&folder).unwrap();
    let argument = format!("{}:/workspace/code", folder.display());
    let output = world.run(&["--yes", "mount", "add", &argument]);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(inside(&world, "cat /workspace/code/theirs"), "from outside");
    let after = fs::metadata(&folder).unwrap();
    assert_eq!((after.uid(), after.mode()), (before.uid(), before.mode()), "the folder is not ours to change");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if before.uid() != 1000 {
        assert!(said.contains("cannot write") && said.contains("setfacl"), "{said}");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    inside(&world, "echo from inside >/workspace/code/ours && mkdir /workspace/code/new");
    assert_eq!(fs::read_to_string(folder.join("ours")).unwrap(), "from inside\n");
    let owners: Vec<u32> = ["ours", "new"].map(|name| fs::metadata(folder.join(name)).unwrap().uid()).to_vec();
    assert!(owners.iter().all(|uid| *uid != 0), "no file of root's is left there: {owners:?}");
    // Where it is open, nothing is said; and without it, the folder and what is in it stay.
    world.ok(&["--yes", "mount", "remove", "/workspace/code"]);
    assert!(
        !world.run(&["exec", "--", "test", "-e", "/workspace/code"]).status.success(),
        "no empty folder stays there"
    );
    let output = world.run(&["--yes", "mount", "add", &format!("{argument}:ro")]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("cannot write"), "{}", shown(&output));
    assert!(!world.run(&["exec", "--", "touch", "/workspace/code/x"]).status.success());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    // Gone from this machine: what runs is not stopped for a start that cannot be.
    fs::remove_dir_all(&folder).unwrap();
    let started = world.inspect().unwrap()["State"]["StartedAt"].clone();
    for command in ["restart", "start"] {
        let output = world.run(&[command, "--json"]);
        if command == "start" {
            assert_eq!(json(&output)["changed"], false, "{}", shown(&output));
            continue;
        }
        let error = json(&output)["error"].clone();
        assert_eq!(error["code"], "NOT_FOUND", "{error}");
        assert!(error["hint"].as_str().unwrap().contains("mount remove /workspace/code"), "{error}");
    }
    assert_eq!(world.inspect().unwrap()["State"]["StartedAt"], started);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_puts_changed_secrets_into_effect() {
    let world = World::new();
    world.setup();
    let file = world.folder().join("password");
    fs::write(&file, "another-password-for-it\n").unwrap();
    let args = ["setup", "--yes", "--json", "--password-file", file.to_str().unwrap()];
    let plan = json(&world.run(&[&args[..], &["--dry-run"]].concat()));
    assert!(plan["plan"].to_string().contains("settings changed: secrets"), "{plan}");
    let done = world.run(&args);
    assert_eq!(json(&done)["changed"], true, "{}", shown(&done));
    assert_eq!(world.http_get("/global/health", Some("another-password-for-it")).0, 200);
    assert_eq!(json(&world.run(&args))["changed"], false, "once");

    // What runs goes on running, with the new password.
    fs::write(&file, "a-third-password\n").unwrap();
    world.ok(&[&args[..], &["--no-start"]].concat());
    assert_eq!(world.http_get("/global/health", Some("a-third-password")).0, 200);
    assert_eq!(world.status()["desired"], "running");
    // A secret that was set meanwhile waits for a start.
    fs::write(&file, "sk-of-somebody").unwrap();
    world.ok(&["secret", "set", "SOME_KEY", "--from-file", file.to_str().unwrap()]);
    assert_eq!(json(&world.run(&["start", "--json"]))["changed"], true);
    assert_eq!(docker(&["exec", &world.container(), "cat", "/run/secrets/SOME_KEY"]), "sk-of-somebody");
    assert_eq!(json(&world.run(&["start", "--json"]))["changed"], false, "once");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_password_that_a_killed_setup_did_not_show_is_shown_by_the_next() {
    let world = World::new();
    // As of a setup that was killed behind its last call: all is done, nothing was said.
    let args = world.setup_args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    world.ok(&[&args[..], &["--json"]].concat());
    let shown = world.ok(&args);
    assert!(shown.contains(&world.password()), "{shown}");
    assert!(world.ok(&args).contains("nothing to do"), "once");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_mistyped_engine_is_no_wish_to_stop() {
    let world = World::supervised();
    world.setup();
    world.fails(&["--host", "unix:///nowhere.sock", "stop"], 5);
    assert_eq!(world.status()["desired"], "running");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_cannot_be_leaves_alone_what_runs() {
    let world = World::new();
    world.setup();
    let started = world.inspect().unwrap()["State"]["StartedAt"].clone();
    let output = world.fails(&["setup", "--yes", "--cpus", "9999", "--json"], 2);
    assert!(json(&output)["error"]["message"].as_str().unwrap().contains("processors"), "{}", shown(&output));
    assert_eq!(world.inspect().unwrap()["State"]["StartedAt"], started);
    world.ok(&["stop"]);
    let error = json(&world.fails(&["open", "--json"], 4))["error"].clone();
    assert_eq!((&error["code"], &error["hint"]), (&"NOT_FOUND".into(), &start_command(&world).into()), "{error}");
}

/// As hints name it.
fn start_command(world: &World) -> String {
    format!("docklet --instance {} start", world.name)
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_and_uninstall_take_care_of_autostart() {
    let world = World::new();
    // The machine's `/run` is another one for docklet here, and the engine's socket may be there.
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let tools = world.folder().join("systemd");
    let mut args = world.setup_args();
    args.push("--autostart".to_owned());
    let output = without_systemd(world.docklet().args(&args)).output().unwrap();
    assert!(output.status.success(), "no service manager is no failure\n{}", shown(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("after a reboot: docklet"), "{said}");
    let units = world.folder().join("user/.config/systemd/user");
    assert!(!units.exists());

    let output = with_systemd(world.docklet().args(["setup", "--yes"]), &tools).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let unit = units.join(format!("docklet-{}.service", world.name));
    assert!(unit.is_file());
    // Also where this home was carried to a machine without a service manager.
    assert!(world.ok(&["uninstall", "--dry-run"]).contains(&unit.display().to_string()));
    let uninstall = ["uninstall", "--yes", "--purge", "--no-backup", "--json"];
    let gone = json(&without_systemd(world.docklet().args(uninstall)).output().unwrap());
    assert!(gone["removed"].as_array().unwrap().iter().any(|thing| thing["kind"] == "autostart"), "{gone}");
    assert_eq!(gone["left"], serde_json::json!([]), "{gone}");
    assert_eq!(fs::read_dir(&units).unwrap().count(), 0);
}
