//! `docklet config` and `docklet mount`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use expectrl::Expect as _;

use crate::support::{Home, json, shown};

#[test]
fn values_are_shown_and_changed_and_comments_stay() {
    let home = Home::set_up();
    assert_eq!(home.ok(&["config", "get", "network.port"]), "3001\n");
    assert_eq!(home.ok(&["config", "get", "resources.memory"]), "4GiB\n");
    assert_eq!(home.ok(&["config", "path"]).trim(), home.settings().display().to_string());
    let shown = home.ok(&["config", "show"]);
    assert!(
        shown.contains("network.port = 3001\n") && shown.contains("network.bind = \"127.0.0.1\"  # default\n"),
        "{shown}"
    );
    let parsed: toml::Table = toml::from_str(&shown).unwrap();
    assert_eq!(parsed["network"]["port"].as_integer(), Some(3001), "what is shown is TOML");

    let changed = json(&home.run(&["config", "set", "resources.memory", "2GiB", "--json"]));
    assert_eq!((changed["changed"].clone(), changed["before"].clone()), (true.into(), "4GiB".into()));
    assert_eq!(changed["effect"]["pending"], true);
    assert!(changed["effect"]["differences"].to_string().contains("memory 4 GiB → 2 GiB"), "{changed}");
    assert_eq!(home.settings_text(), "# mine\n[network]\nport = 3001 # my port\n\n[resources]\nmemory = \"2GiB\"\n");
    assert_eq!(fs::metadata(home.settings()).unwrap().permissions().mode() & 0o777, 0o600);
    let again = json(&home.run(&["config", "set", "resources.memory", "2GiB", "--json"]));
    assert_eq!(again["changed"], false);
    home.ok(&["config", "unset", "network.port"]);
    assert!(home.settings_text().starts_with("# mine\n[network]\n# my port\n"), "{}", home.settings_text());
    assert_eq!(home.ok(&["config", "get", "network.port"]), "3000\n");
    let output = home.run(&["config", "set", "backup.keep", "3"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("container"), "that needs no new container");
    let output = home.run(&["config", "set", "network.port", "3002"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("this needs a new container (port 3000 → 3002)") && said.contains("docklet start"), "{said}");
}

#[test]
fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    let home = Home::set_up();
    let before = home.settings_text();
    let said = home.ok(&["config", "set", "resources.memory", "2GiB", "--dry-run"]);
    assert!(
        said.starts_with("resources.memory = \"2GiB\" would be saved, and the container replaced (memory 4 GiB"),
        "{said}"
    );
    assert_eq!(home.ok(&["config", "set", "backup.keep", "3", "--dry-run"]), "backup.keep = 3 would be saved\n");
    let report = json(&home.run(&["config", "unset", "network.port", "--dry-run", "--json"]));
    assert_eq!((&report["before"], &report["value"]), (&3001.into(), &3000.into()), "{report}");
    assert_eq!((&report["changed"], &report["effect"]["pending"]), (&false.into(), &true.into()), "{report}");
    home.fails(&["config", "set", "network.port", "70000", "--dry-run"], 2, "CONFIG_INVALID");
    assert_eq!(home.settings_text(), before);
}

#[test]
fn what_is_wrong_is_refused_before_anything_is_written() {
    let home = Home::set_up();
    let before = home.settings_text();
    let error = home.fails(&["config", "set", "network.prot", "1"], 2, "CONFIG_INVALID");
    assert!(error["hint"].as_str().unwrap().contains("did you mean network.port?"), "{error}");
    let error = home.fails(&["config", "set", "restart.policy", "sometimes"], 2, "CONFIG_INVALID");
    assert!(error["hint"].as_str().unwrap().contains("always, on-failure or never"), "{error}");
    home.fails(&["config", "set", "network.port", "70000"], 2, "CONFIG_INVALID");
    home.fails(&["config", "get", "nothing"], 2, "CONFIG_INVALID");
    let error = home.fails(&["config", "set", "network.bind", "0.0.0.0"], 6, "CONFIRMATION_REQUIRED");
    assert!(error["message"].as_str().unwrap().contains("reachable from other machines"), "{error}");
    assert_eq!(home.settings_text(), before);
    fs::write(home.settings(), "[network]\n  prot = 1\n").unwrap();
    let error = home.fails(&["config", "set", "network.port", "1"], 2, "CONFIG_INVALID");
    assert!(error["message"].as_str().unwrap().ends_with("line 2, column 3"), "{error}");
}

#[test]
fn variables_are_set_one_by_one_and_shown_by_name() {
    let home = Home::set_up();
    home.fails(&["config", "get", "environment.LOG_LEVEL"], 4, "NOT_FOUND");
    let changed = json(&home.run(&["config", "set", "environment.LOG_LEVEL", "debug-it", "--json"]));
    assert_eq!(changed["effect"]["differences"], serde_json::json!(["variable LOG_LEVEL added"]), "{changed}");
    assert_eq!(home.ok(&["config", "get", "environment.LOG_LEVEL"]), "debug-it\n");
    let output = home.run_with(&["secret", "set", "GH_TOKEN"], "ghp_secret\n");
    assert!(output.status.success(), "{}", shown(&output));
    let text = home.ok(&["config", "show"]);
    assert!(text.contains("# environment: LOG_LEVEL\n# secrets: GH_TOKEN\n"), "{text}");
    let report = json(&home.run(&["config", "show", "--json"]));
    assert_eq!(report["environment"], serde_json::json!(["LOG_LEVEL"]));
    assert_eq!(report["secrets"], serde_json::json!(["GH_TOKEN"]));
    for text in [text, report.to_string()] {
        assert!(!text.contains("debug-it") && !text.contains("ghp_"), "names only: {text}");
    }
    let changed = json(&home.run(&["config", "set", "environment.LOG_LEVEL", "info", "--json"]));
    assert_eq!(changed["effect"]["differences"], serde_json::json!(["variable LOG_LEVEL changed"]), "{changed}");
    home.ok(&["config", "unset", "environment.LOG_LEVEL"]);
    home.fails(&["config", "get", "environment.LOG_LEVEL"], 4, "NOT_FOUND");
    let error = home.fails(&["config", "set", "environment.PATH", "/x"], 2, "CONFIG_INVALID");
    assert!(error.to_string().contains("reserved"), "{error}");
    home.fails(&["config", "set", "environment", "A=1"], 2, "USAGE");
    let error = home.fails(&["config", "set", "environment.GITHUB_TOKEN", "ghp_secret"], 2, "USAGE");
    assert!(error["hint"].as_str().unwrap().contains("docklet secret set GITHUB_TOKEN"), "{error}");
    assert!(!home.settings_text().contains("ghp_"), "{}", home.settings_text());
    for (pair, reason) in [("HOME=/x", "reserved"), ("A", "has no value"), ("1=x", "isn't a valid name")] {
        let error = home.fails(&["setup", "--yes", "--env", pair], 2, "USAGE");
        assert!(error["message"].as_str().unwrap().contains(reason), "{error}");
    }
}

/// An editor that does this with the file.
fn editor(home: &Home, script: &str) -> String {
    let path = home.path("my editor");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("'{}' --wait", path.display())
}

/// Runs it at a terminal, its standard output going into a file.
fn with_output(home: &Home, command: &Command) -> Output {
    let out = home.path("out");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$@\" >out", "sh"]).arg(command.get_program()).args(command.get_args()).env_clear();
    shell.current_dir(command.get_current_dir().unwrap());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut session = expectrl::Session::spawn(shell).unwrap();
    session.set_expect_timeout(Some(std::time::Duration::from_secs(20)));
    let said = session.expect(expectrl::Eof).unwrap().before().to_owned();
    let status = session.get_process().wait().unwrap();
    let expectrl::process::unix::WaitStatus::Exited(_, code) = status else { panic!("{status:?}") };
    use std::os::unix::process::ExitStatusExt as _;
    Output { status: std::process::ExitStatus::from_raw(code << 8), stdout: fs::read(out).unwrap(), stderr: said }
}

#[test]
fn no_editor_is_started_where_there_is_no_terminal() {
    let home = Home::set_up();
    let editor = editor(&home, "touch started");
    for variable in ["EDITOR", "VISUAL"] {
        let output = home.docklet().env(variable, &editor).args(["config", "edit", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{}", shown(&output));
        let error = &json(&output)["error"];
        assert_eq!(error["code"], "CONFIRMATION_REQUIRED");
        assert_eq!(error["hint"], "docklet config set KEY VALUE, or run it in a terminal");
    }
    // Standard error is where a person would read what is wrong.
    let mut command = home.at_terminal();
    command.env("EDITOR", &editor).args(["config", "edit"]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$@\" 2>out", "sh"]).arg(command.get_program()).args(command.get_args()).env_clear();
    shell.current_dir(home.path("")).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut session = expectrl::Session::spawn(shell).unwrap();
    session.expect(expectrl::Eof).unwrap();
    assert!(fs::read_to_string(home.path("out")).unwrap().contains("run it in a terminal"));
    assert!(!home.path("started").exists());
}

#[test]
fn names_of_images_are_checked_when_they_are_set() {
    let home = Home::set_up();
    for (key, value) in [
        ("image.base", "Debian:trixie"),
        ("image.base", "debian trixie"),
        ("image.base", "debian:"),
        ("image.base", ""),
        ("image.reference", "http://example.org/x"),
    ] {
        let error = home.fails(&["config", "set", key, value], 2, "CONFIG_INVALID");
        assert!(error["hint"].as_str().unwrap().contains("name of an image"), "{value}: {error}");
    }
    // One that was there already is in nobody's way.
    fs::write(home.settings(), "[image]\nbase = \"Not a name\"\n").unwrap();
    home.ok(&["config", "set", "network.port", "3002"]);
    let error = home.fails(&["setup", "--yes", "--base-image", "Debian:trixie"], 5, "ENGINE_NOT_RUNNING");
    assert!(error["message"].is_string(), "the engine is looked for first: {error}");
    for value in ["debian:bookworm-slim", "registry.example.org:5000/a/b", "debian@sha256:PLACE"] {
        let value = value.replace("PLACE", &"0".repeat(64));
        home.ok(&["config", "set", "image.base", &value]);
        assert_eq!(home.ok(&["config", "get", "image.base"]).trim(), value);
    }
}

#[test]
fn the_editor_gets_a_copy_that_is_checked() {
    let home = Home::set_up();
    let before = home.settings_text();
    let copies = home.path("copies");
    fs::create_dir(&copies).unwrap();
    let edit = |script: &str| {
        let editor = editor(&home, script);
        let mut command = home.at_terminal();
        command.env("EDITOR", "false").env("VISUAL", editor).env("TMPDIR", &copies);
        command.args(["config", "edit", "--json", "--yes"]);
        with_output(&home, &command)
    };
    let output = edit("[ \"$1\" = --wait ] && sed -i s/3001/3005/ \"$2\"");
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(home.settings_text(), before.replace("3001", "3005"));
    assert_eq!(json(&edit(":"))["changed"], false);
    for (script, code) in [("echo 'prot = 1' >>\"$2\"", 2), ("exit 1", 2), ("kill -9 $$", 2)] {
        let output = edit(script);
        assert_eq!(output.status.code(), Some(code), "{script}\n{}", shown(&output));
        assert_eq!(home.settings_text(), before.replace("3001", "3005"), "{script}");
    }
    let output = edit("echo 'prot = 1' >>\"$2\"");
    assert!(json(&output)["error"]["message"].as_str().unwrap().contains("line 4"), "{}", shown(&output));
    let path = home.settings().display().to_string();
    let output = edit(&format!("echo '# theirs' >>'{path}'; echo '# mine' >>\"$2\""));
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(home.settings_text().ends_with("# theirs\n"), "nobody's change is lost");
    let left = fs::read_dir(&copies).unwrap().flatten().map(|e| fs::read_to_string(e.path()).unwrap());
    let (mine, wrong): (Vec<_>, Vec<_>) = left.partition(|text| text.ends_with("# mine\n"));
    assert_eq!((mine.len(), wrong.len()), (1, 2), "what was typed and not taken is kept, and nothing else");
    assert!(wrong.iter().all(|text| text.ends_with("prot = 1\n")), "{wrong:?}");
    let mut none = home.at_terminal();
    none.env("PATH", "/nowhere").env("EDITOR", "no-such-editor").args(["config", "edit"]);
    assert_eq!(with_output(&home, &none).status.code(), Some(2));
}

#[test]
fn a_person_may_correct_what_the_editor_left() {
    let home = Home::set_up();
    // Wrong at first, right the second time.
    let editor = editor(
        &home,
        "if grep -q prot \"$2\"; then sed -i s/prot/port/ \"$2\"; else sed -i 's/port = 3001/prot = 3009/' \"$2\"; fi",
    );
    let mut command = home.at_terminal();
    command.env("EDITOR", editor).env("TERM", "xterm").args(["config", "edit"]);
    let mut session = expectrl::Session::spawn(command).unwrap();
    session.set_expect_timeout(Some(std::time::Duration::from_secs(20)));
    for text in ["is not valid at line 3, column 1", "did you mean `port`", "Edit it again?"] {
        session.expect(text).unwrap();
    }
    assert!(home.settings_text().contains("port = 3001"), "nothing is written yet");
    session.send("y").unwrap();
    session.expect("the settings are saved").unwrap();
    assert_eq!(home.ok(&["config", "get", "network.port"]), "3009\n");
}

#[test]
fn folders_come_and_go() {
    let home = Home::set_up();
    let code = home.path("my code");
    fs::create_dir(&code).unwrap();
    assert_eq!(home.ok(&["mount", "list"]).trim(), "nothing is mounted");
    let added = json(&home.run(&["mount", "add", "my code:/workspace/code:ro", "--json"]));
    assert_eq!(added["mount"]["host"], code.display().to_string());
    assert_eq!(added["effect"]["pending"], true);
    let again = json(&home.run(&["mount", "add", "my code:/workspace/code:ro", "--json"]));
    assert_eq!(again["changed"], false);
    assert_eq!(home.ok(&["mount", "list"]).trim(), format!("{}:/workspace/code:ro", code.display()));
    assert!(home.settings_text().starts_with("# mine\n"));
    for (mount, part) in [
        ("nowhere:/workspace/x", "no such file"),
        ("my code:/workspace/code", "taken"),
        ("my code:/workspace", "taken"),
        ("my code:/run/secrets", "taken"),
        ("docklet:/workspace/x", "its own files"),
    ] {
        let error = home.fails(&["mount", "add", mount], 2, "USAGE");
        assert!(error["message"].as_str().unwrap().contains(part), "{mount}: {error}");
    }
    home.fails(&["mount", "remove", "/workspace/other"], 4, "NOT_FOUND");
    home.ok(&["mount", "remove", "my code"]);
    assert_eq!(json(&home.run(&["mount", "list", "--json"]))["mounts"], serde_json::json!([]));
    assert!(home.settings_text().starts_with("# mine\n[network]\nport = 3001 # my port\n"), "{}", home.settings_text());
    assert!(code.is_dir());
}

#[test]
fn a_line_that_is_wrong_is_so_where_nothing_is_set_up_too() {
    let home = Home::new();
    home.fails(&["config", "set", "nonsense.key", "1"], 2, "CONFIG_INVALID");
    for (key, value) in
        [("network.port", "70000"), ("backup.keep", "often"), ("network.egress", "some"), ("git.name", "a<b")]
    {
        home.fails(&["config", "set", key, value], 2, "CONFIG_INVALID");
    }
    home.fails(&["config", "set", "network.port", "3001"], 4, "NOT_FOUND");
}

#[test]
fn a_ca_file_without_whole_certificates_is_refused_before_it_is_saved() {
    let home = Home::set_up();
    let before = home.settings_text();
    let file = home.path("ca.pem");
    let path = file.to_str().unwrap();
    let missing = home.fails(&["config", "set", "trust.ca_file", path], 2, "USAGE");
    assert!(missing.to_string().contains("ca.pem"), "{}", missing.to_string());
    fs::write(&file, "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n").unwrap();
    let damaged = home.fails(&["config", "set", "trust.ca_file", path], 2, "USAGE");
    assert!(damaged.to_string().contains("line 1 is damaged"), "{}", damaged.to_string());
    home.fails(&["setup", "--yes", "--ca-file", path], 2, "USAGE");
    let relative = home.fails(&["config", "set", "trust.ca_file", "ca.pem"], 2, "CONFIG_INVALID");
    assert!(relative.to_string().contains("begin with /"), "{}", relative.to_string());
    assert_eq!(home.settings_text(), before);
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/cert.pem"), &file).unwrap();
    home.ok(&["config", "set", "trust.ca_file", path]);
}

#[test]
fn a_folder_is_kept_by_the_path_that_the_system_follows() {
    let home = Home::set_up();
    fs::create_dir_all(home.path("a/b")).unwrap();
    fs::create_dir_all(home.path("code")).unwrap();
    std::os::unix::fs::symlink(home.path("a/b"), home.path("link")).unwrap();
    fs::create_dir_all(home.path("a/code")).unwrap();
    let typed = format!("{}/../code", home.path("link").display());
    home.ok(&["mount", "add", &format!("{typed}:/workspace/code"), "--yes"]);
    let kept = home.settings_text();
    assert!(kept.contains(&format!("{}", home.path("a/code").display())) && !kept.contains(".."), "{kept}");
    home.fails(&["mount", "add", &format!("{}/../x:/workspace/x", home.path("missing").display())], 2, "USAGE");
    home.ok(&["mount", "remove", &typed]);
}
