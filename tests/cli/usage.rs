//! Wrong usage, errors as text and as JSON, exit codes, and commands that need no engine.

use std::process::Command;

use crate::support::{Home, json, shown};

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let home = Home::new();
    for (args, part) in [
        (&["frobnicate"][..], "frobnicate"),
        (&["setup", "--port", "0"], "ports are 1 to 65535"),
        (&["setup", "--port", "70000"], "ports are 1 to 65535"),
        (&["setup", "--memory", "4 potatoes"], "4 potatoes"),
        (&["setup", "--mount", "/x"], "isn't a valid mount"),
        (&["setup", "--bind", "example.org"], "isn't a valid IP address"),
        (&["setup", "--image", "x", "--build"], "cannot be used with"),
        (&["--instance", "../x", "status"], "instance name"),
        (&["logs", "-n", "10001"], "10001"),
        (&["stop", "--timeout", "soon"], "soon"),
        (&["config", "set", "network.port"], "VALUE"),
        (&["exec"], "COMMAND"),
        (&["completions", "tcsh"], "tcsh"),
        (&["errors", "NO_SUCH_CODE"], "NO_SUCH_CODE"),
    ] {
        let output = home.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}\n{}", shown(&output));
        assert!(output.stdout.is_empty(), "{args:?}\n{}", shown(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with("error: ") && said.contains(part), "{args:?}\n{said}");
        let error = home.fails(args, 2, "USAGE");
        assert!(error["message"].as_str().is_some_and(|m| !m.is_empty() && !m.contains('\n')), "{error}");
    }
    assert!(!home.path("docklet").exists(), "nothing was written");
}

#[test]
fn a_wrong_value_from_a_variable_is_told_with_its_name() {
    let home = Home::new();
    let said = |args: &[&str]| shown(&home.docklet().env("DOCKLET_PORT", "x").args(args).output().unwrap());
    assert!(
        said(&["setup", "--yes"]).contains("invalid value 'x' of the variable DOCKLET_PORT: "),
        "{}",
        said(&["setup"])
    );
    assert!(said(&["setup", "--port", "y"]).contains("invalid value 'y' for '--port <PORT>'"));
}

#[test]
fn an_empty_variable_counts_as_unset() {
    fn variables(command: &clap::Command) -> Vec<String> {
        let own = command.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned()));
        own.chain(command.get_subcommands().flat_map(variables)).collect()
    }
    let all = variables(&docklet::cli::command());
    assert!(all.len() > 30, "{all:?}");
    let home = Home::new();
    for args in [&["setup", "--yes"][..], &["start"], &["logs"], &["backup"]] {
        let run = |with: &[String]| {
            let output = home.docklet().envs(with.iter().map(|name| (name, ""))).args(args).output().unwrap();
            (output.status.code(), shown(&output))
        };
        assert_eq!(run(&all), run(&[]), "{args:?}");
    }
}

#[test]
fn a_flag_on_the_line_counts_more_than_a_variable_that_contradicts_it() {
    let home = Home::new();
    let code = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = home.docklet();
        command.env("DOCKER_HOST", "unix:///no.sock").envs(variables.iter().copied());
        let output = command.args(["--json", "setup", "--yes"]).args(args).output().unwrap();
        json(&output)["error"]["code"].as_str().unwrap().to_owned()
    };
    let (image, build) = (("DOCKLET_IMAGE", "x:1"), ("DOCKLET_BUILD", "true"));
    assert_eq!(code(&[image], &["--build"]), "ENGINE_NOT_RUNNING");
    assert_eq!(code(&[build, ("DOCKLET_BASE_IMAGE", "y")], &["--image", "x:1"]), "ENGINE_NOT_RUNNING");
    assert_eq!(code(&[("DOCKLET_EXTRA_PACKAGE", "jq")], &["--image", "x:1"]), "ENGINE_NOT_RUNNING");
    assert_eq!(code(&[image, build], &[]), "USAGE", "of two variables none counts more");
    assert_eq!(code(&[], &["--image", "x:1", "--build"]), "USAGE");
    assert_eq!(code(&[image, ("DOCKLET_BUILD", "no")], &[]), "ENGINE_NOT_RUNNING", "a switch that is off says nothing");
    // There is no ssh agent here.
    let (agent, none) = (("DOCKLET_SSH_AGENT", "1"), ("DOCKLET_NO_SSH_AGENT", "1"));
    assert_eq!(code(&[agent], &[]), "USAGE");
    assert_eq!(code(&[agent], &["--no-ssh-agent"]), "ENGINE_NOT_RUNNING");
    assert_eq!(code(&[agent, none], &["--no-autostart"]), "USAGE");
    assert_eq!(code(&[], &["--ssh-agent", "--no-ssh-agent"]), "ENGINE_NOT_RUNNING", "the last one counts");
    let (host, context) = (("DOCKLET_HOST", "unix:///no.sock"), ("DOCKLET_CONTEXT", "no-such"));
    assert_eq!(code(&[host], &["--context", "no-such"]), "USAGE");
    assert_eq!(code(&[host, context], &[]), "ENGINE_NOT_RUNNING");
    assert_eq!(code(&[context], &["--host", "unix:///no.sock"]), "ENGINE_NOT_RUNNING");
}

#[test]
fn a_flag_in_the_environment_is_written_as_people_write_it() {
    let home = Home::new();
    for (value, json) in [("1", true), ("true", true), ("yes", true), ("0", false), ("false", false)] {
        let output = home.docklet().env("DOCKLET_JSON", value).arg("start").output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{value}\n{}", shown(&output));
        assert_eq!(output.stdout.starts_with(b"{"), json, "{value}\n{}", shown(&output));
    }
    let wrong = home.docklet().env("DOCKLET_JSON", "yes").arg("frobnicate").output().unwrap();
    assert_eq!(json(&wrong)["error"]["code"], "USAGE", "{}", shown(&wrong));
    assert_eq!(home.docklet().env("DOCKLET_YES", "perhaps").arg("list").output().unwrap().status.code(), Some(2));
}

#[test]
fn a_disk_without_room_for_the_lock_keeps_nobody_from_uninstalling() {
    let home = Home::set_up();
    let docklet = home.docklet();
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" uninstall --yes"]).arg(docklet.get_program());
    limited.env_clear().envs(docklet.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = limited.output().unwrap();
    // What ends it is the engine, which is not there.
    assert_eq!(output.status.code(), Some(5), "{}", shown(&output));
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_what_to_do() {
    let home = Home::new();
    let output = home.docklet().env("DOCKLET_HOME", "/dev/null/x").args(["status", "--json"]).output().unwrap();
    let error = &json(&output)["error"];
    assert!(error["hint"].as_str().unwrap().contains("ls -ld /dev/null"), "it names what is there: {error}");
    let output =
        home.docklet().env_remove("DOCKLET_HOME").env("HOME", "relative").args(["setup", "--yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(!home.path("relative").exists() && shown(&output).contains("absolute path"), "{}", shown(&output));
}

#[test]
fn whatever_removes_or_replaces_something_can_be_tried_dry() {
    let home = Home::new();
    std::fs::write(home.path("x.tar.zst"), "").unwrap();
    for command in [&["start"][..], &["restart"], &["update"], &["rollback"], &["mount", "remove", "/workspace/x"]] {
        home.fails(&[command, &["--dry-run"]].concat(), 4, "NOT_FOUND");
    }
    home.fails(&["restore", "x.tar.zst", "--dry-run"], 11, "BACKUP_INVALID");
    // Nothing is installed for a file that is no backup.
    home.fails(&["restore", "x.tar.zst", "--yes", "--install-engine"], 11, "BACKUP_INVALID");
    assert!(!home.path("docklet").exists(), "nothing was written");
    let home = Home::set_up();
    let mount = "[[mounts]]\nhost = \"/srv/app\"\ncontainer = \"/workspace/app\"\n";
    std::fs::write(home.settings(), mount).unwrap();
    assert!(home.ok(&["mount", "remove", "/workspace/app", "--dry-run"]).contains("would be removed"));
    assert_eq!(home.settings_text(), mount);
    home.fails(&["secret", "remove", "A_KEY", "--dry-run"], 4, "NOT_FOUND");
    home.run_with(&["secret", "set", "A_KEY"], "value");
    assert!(home.ok(&["secret", "remove", "A_KEY", "--dry-run"]).contains("would be removed"));
    assert!(home.ok(&["secret", "list"]).contains("A_KEY"));
    assert!(home.ok(&["password", "--rotate", "--dry-run"]).contains("would be generated"));
}

#[test]
fn long_lines_break_between_words_on_a_terminal() {
    use expectrl::{Expect as _, Session};
    let home = Home::new();
    let docklet = home.at_terminal();
    let mut narrow = Command::new("sh");
    // Not before the session has given the terminal its own size.
    narrow.args(["-c", "read -r go; stty cols 40; exec \"$0\" logs --since yesterday"]).arg(docklet.get_program());
    narrow.env_clear().envs(docklet.get_envs().filter_map(|(name, value)| Some((name, value?))));
    narrow.env("NO_COLOR", "1");
    let mut session = Session::spawn(narrow).unwrap();
    session.send_line("go").unwrap();
    let text = String::from_utf8_lossy(session.expect(expectrl::Eof).unwrap().as_bytes()).into_owned();
    assert!(text.contains("local time"), "{text}");
    assert!(text.lines().all(|line| line.trim_end().chars().count() <= 40), "{text}");
}

#[test]
fn a_backup_to_standard_output_keeps_everything_else_off_it() {
    use expectrl::{Expect as _, Session};
    let home = Home::set_up();
    let output = home.docklet().args(["backup", "-", "--json"]).output().unwrap();
    assert!(output.stdout.is_empty(), "{}", shown(&output));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(error["error"]["code"].as_str().is_some_and(|code| code.starts_with("ENGINE_")), "{error}");
    let output = home.docklet().args(["restore", "-", "--passphrase-file", "-"]).output().unwrap();
    assert!(shown(&output).contains("can't be both"), "{}", shown(&output));
    for args in [["backup", "-"], ["restore", "-"]] {
        let mut command = home.at_terminal();
        command.args(args);
        let mut session = Session::spawn(command).unwrap();
        let text = String::from_utf8_lossy(session.expect(expectrl::Eof).unwrap().as_bytes()).into_owned();
        assert!(text.contains("a terminal"), "{args:?}: {text}");
    }
}

#[test]
fn times_are_those_of_the_wall_clock() {
    let home = Home::set_up();
    let events = r#"{"decisions": [{"at": "2026-11-21T23:30:00Z", "decision": "x", "text": "it began"}]}"#;
    std::fs::write(home.path("docklet/state/default/supervisor.json"), events).unwrap();
    let status = home.docklet().env("TZ", "CET-1").arg("status").output().unwrap();
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.contains("2026-11-22 00:30:00 it began") && text.contains("in CET (UTC+01:00)"), "{text}");
    let status = home.docklet().env("TZ", "CET-1").args(["status", "--json"]).output().unwrap();
    assert_eq!(json(&status)["supervisor"]["decisions"][0]["at"], "2026-11-21T23:30:00Z");
}

#[test]
fn what_is_not_set_up_is_not_found() {
    let home = Home::new();
    for args in [
        &["start"][..],
        &["stop"],
        &["restart"],
        &["password"],
        &["open", "--print"],
        &["shell"],
        &["exec", "--", "true"],
        &["mount", "list"],
        &["mount", "add", "/tmp:/workspace/tmp"],
        &["config", "set", "network.port", "3001"],
        &["config", "unset", "network.port"],
        &["config", "edit"],
        &["secret", "set", "A_KEY"],
        &["secret", "remove", "A_KEY"],
        &["autostart", "enable"],
    ] {
        if args == ["shell"] {
            home.fails(args, 2, "USAGE"); // a shell has no JSON form
            continue;
        }
        let error = home.fails(args, 4, "NOT_FOUND");
        assert!(error["hint"].as_str().unwrap().contains("docklet setup"), "{args:?} {error}");
        assert_eq!(error["instance"], "default", "{args:?}");
    }
    home.fails(&["--instance", "work", "start"], 4, "NOT_FOUND");
    assert!(!home.path("docklet").exists(), "looking writes nothing");
}

#[test]
fn an_engine_that_is_not_there_is_code_5() {
    let home = Home::set_up();
    for args in [&["start"][..], &["stop"], &["list"], &["logs"], &["exec", "--", "true"]] {
        let output = home.docklet().arg("--json").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{args:?}\n{}", shown(&output));
        assert!(json(&output)["error"]["code"].as_str().unwrap().starts_with("ENGINE_"), "{}", shown(&output));
    }
    let text = home.run(&["start"]);
    let said = String::from_utf8_lossy(&text.stderr).into_owned();
    assert!(text.stdout.is_empty() && said.starts_with("error: ") && said.contains("\n\nhint: "), "{said}");
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_and_a_reader_that_had_enough_is_none() {
    let home = Home::set_up();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for args in [&["errors"][..], &["config", "show"], &["errors", "--json"], &["--help"]] {
        let output = home.docklet().args(args).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{args:?}\n{}", shown(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"), "{}", shown(&output));
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = home.docklet().arg("errors").stdout(writer).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", shown(&output));
}

#[test]
fn a_docker_context_that_does_not_count_is_told() {
    let home = Home::set_up();
    let said = |args: &[&str]| String::from_utf8_lossy(&home.run(args).stderr).into_owned();
    let ignored = said(&["--host", "unix:///no.sock", "--context", "work", "list"]);
    assert!(ignored.contains("--context work is not used: --host comes first"), "{ignored}");
    assert!(!said(&["list"]).contains("--context"));
    let unknown = said(&["--context", "work", "list"]);
    assert!(
        unknown.contains("work") && !unknown.contains("not used"),
        "DOCKER_HOST comes after it, as in docker: {unknown}"
    );
    let output = home.docklet().env_remove("DOCKER_HOST").args(["--context", "default", "list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("not used"), "{}", shown(&output));
}

#[test]
fn an_address_that_is_none_is_named_with_an_example() {
    let home = Home::set_up();
    for (host, why) in [
        ("tcp://[::1", "isn't a valid host and port"),
        ("tcp://127.0.0.1:99999", "isn't a valid host and port"),
        ("ssh://-oProxyCommand=x", "isn't a valid user and host"),
        ("unix://relative", "must begin with /"),
    ] {
        let output = home.docklet().env("DOCKER_HOST", host).args(["list"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{host}: {said}");
        assert!(said.contains(why), "{host}: {said}");
    }
    let output = home.docklet().env("DOCKER_HOST", "unix:///no.sock/").args(["list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("no.sock/"), "{}", shown(&output));
}

#[test]
fn an_engine_that_cannot_be_reached_is_named_all_the_same() {
    let home = Home::set_up();
    let output = home.docklet().args(["status", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", shown(&output));
    let engine = &json(&output)["engine"];
    assert_eq!(engine["origin"], "DOCKER_HOST");
    assert!(engine["endpoint"].as_str().unwrap().ends_with("no.sock") && engine["version"].is_null(), "{engine}");
}

#[test]
fn errors_are_explained() {
    let home = Home::new();
    let all = home.ok(&["errors"]);
    let one = home.ok(&["errors", "port_in_use"]);
    assert!(all.contains(one.trim()) && one.contains("exit code 8"), "{one}");
    assert!(home.ok(&["help", "errors"]).contains("UPDATE_ROLLED_BACK"));
    let listed = json(&home.run(&["errors", "--json"]));
    assert_eq!(listed["errors"].as_array().unwrap().len(), all.matches("(exit code").count());
    assert!(home.ok(&["man"]).starts_with(".ie"), "roff");
}

#[test]
fn man_pages_are_written_where_they_shall_be() {
    let home = Home::new();
    let folder = home.path("man pages");
    let files = home.ok(&["man", "--dir", folder.to_str().unwrap()]);
    assert!(files.lines().count() > 20 && files.lines().all(|file| std::path::Path::new(file).is_file()), "{files}");
    assert!(folder.join("docklet-config-set.1").is_file());
}

/// What bash would offer after these words.
fn completed(home: &Home, words: &[&str]) -> Vec<String> {
    let output = home
        .docklet()
        .env("DOCKLET_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("_CLAP_IFS", "\n")
        .args(["--"])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn commands_instances_keys_and_secrets_are_completed() {
    let home = Home::set_up();
    std::fs::create_dir_all(home.path("docklet/config/work")).unwrap();
    assert!(home.run_with(&["secret", "set", "MY_KEY"], "value").status.success());
    assert_eq!(completed(&home, &["docklet", "autos"]), ["autostart"]);
    assert_eq!(completed(&home, &["docklet", "status", "--instance", ""]), ["default", "work"]);
    let keys = ["network.bind", "network.port", "network.egress", "network.allow"];
    assert_eq!(completed(&home, &["docklet", "config", "get", "network."]), keys);
    assert_eq!(completed(&home, &["docklet", "secret", "remove", "M"]), ["MY_KEY"]);
}

#[test]
fn the_bash_script_completes() {
    let home = Home::set_up();
    let script = home.ok(&["completions", "bash"]);
    let try_it = format!(
        "{script}\nCOMP_WORDS=(docklet conf); COMP_CWORD=1; COMP_TYPE=9; _clap_complete_docklet docklet conf docklet; echo \"${{COMPREPLY[@]}}\""
    );
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_docklet")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let Ok(output) = Command::new("bash").args(["-c", &try_it]).env("PATH", path).output() else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "config", "{}", shown(&output));
}

#[test]
fn a_watch_has_no_single_result() {
    let home = Home::new();
    for option in ["--json", "--quiet"] {
        let output = home.run(&["status", "--watch", option]);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        assert!(shown(&output).contains(&format!("docklet status {option}")), "{}", shown(&output));
    }
    home.fails(&["status", "--watch", "--json"], 2, "USAGE");
}
