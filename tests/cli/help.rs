//! The whole help tree as one snapshot: a change of any text, flag or default is seen here. The short
//! help, man pages and completion.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::support::{Home, json};

#[test]
fn the_whole_help_tree() {
    let mut command = docklet::cli::command().term_width(100).disable_help_subcommand(true);
    command.build();
    let mut text = String::new();
    add(&mut command, &mut text);
    insta::assert_snapshot!(text);
}

/// Global options are shown once: they are the same everywhere.
fn add(command: &mut clap::Command, text: &mut String) {
    let help = command.render_long_help().to_string();
    let help = match (text.is_empty(), help.find("\nOptions of every command:\n")) {
        (false, Some(start)) => {
            let rest = &help[start + 1..];
            let end = rest.find("\nExample:").map_or("", |at| &rest[at..]);
            format!("{}{end}", &help[..start])
        }
        _ => help,
    };
    text.push_str(&format!("──── {}\n{}\n\n", command.get_bin_name().unwrap_or_default(), help.trim_end()));
    for below in command.get_subcommands_mut() {
        add(below, text);
    }
}

#[test]
fn every_command_has_an_example() {
    let mut command = docklet::cli::command().disable_help_subcommand(true);
    command.build();
    fn check(command: &mut clap::Command) {
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        let help = command.render_help().to_string();
        let leaf = !command.has_subcommands();
        assert!(
            !leaf || name == "docklet list" || name == "docklet status" || help.contains("Example:"),
            "{name}\n{help}"
        );
        command.get_subcommands_mut().for_each(check);
    }
    check(&mut command);
}

#[test]
fn the_short_help_fits_on_one_screen() {
    let home = Home::new();
    let shown = home.docklet().env("COLUMNS", "80").arg("-h").output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    insta::assert_snapshot!("short_help", text);
    assert!(text.lines().count() < 24 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for command in docklet::cli::command().get_subcommands() {
        let name = command.get_name();
        assert!(text.split_whitespace().any(|word| word == name), "{name}");
        let shown = home.docklet().env("COLUMNS", "80").args([name, "-h"]).output().unwrap();
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(name == "setup" || text.lines().count() < 24, "{name}\n{text}");
        assert!(!text.contains("[env: "), "{name}\n{text}");
    }
    assert!(home.ok(&["start", "--help"]).contains("DOCKLET_INSTANCE"), "the long help has everything");
}

#[test]
fn the_version_names_commit_and_date() {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let number = env!("CARGO_PKG_VERSION");
    let wanted = match Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists() {
        true => format!(
            "docklet {number} ({} {})\n",
            &git(&["rev-parse", "HEAD"])[..7],
            git(&["log", "-1", "--format=%cs"])
        ),
        false => format!("docklet {number}\n"),
    };
    assert_eq!(Home::new().ok(&["--version"]), wanted);
    let report = json(&Home::new().run(&["--version", "--json"]));
    let build = wanted.split(['(', ')']).nth(1).map(|build| build.split(' ').collect::<Vec<_>>());
    let part = |at: usize| build.as_ref().map(|parts| parts[at]);
    assert_eq!((&report["version"], &report["schema"]), (&json!(number), &json!(1)));
    assert_eq!((report["commit"].as_str(), report["date"].as_str()), (part(0), part(1)));
}

#[test]
fn man_pages_have_the_sections_that_people_look_for() {
    let home = Home::new();
    let main = home.ok(&["man"]);
    for (section, part) in [
        ("ENVIRONMENT", "DOCKLET_INSTANCE"),
        ("ENVIRONMENT", "DOCKER_HOST"),
        ("FILES", "settings.toml"),
        ("EXIT STATUS", "PORT_IN_USE"),
        ("EXAMPLES", "docklet setup"),
    ] {
        let text = main.split(&format!(".SH \"{section}\"")).nth(1).or(main.split(&format!(".SH {section}")).nth(1));
        let text = text.unwrap_or_else(|| panic!("{section} is missing")).split("\n.SH").next().unwrap();
        assert!(text.contains(part), "{section}\n{text}");
    }
    home.ok(&["man", "--dir", "pages"]);
    let setup = std::fs::read_to_string(home.path("pages/docklet-setup.1")).unwrap();
    assert!(setup.contains("DOCKLET_PORT") && setup.contains("EXAMPLES"), "{setup}");
}

/// What a shell is offered for the last of these words.
fn offered(home: &Home, words: &[&str]) -> Vec<String> {
    let mut command = home.docklet();
    command.env("DOCKLET_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let output = command.args(["--", "docklet"]).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn names_of_this_instance_are_completed() {
    let home = Home::set_up();
    let folder = home.path("docklet/config/work");
    std::fs::create_dir_all(folder.join("secrets")).unwrap();
    std::fs::write(folder.join("secrets/MY_KEY"), "x").unwrap();
    let mount = "[[mounts]]\nhost = \"/srv/app\"\ncontainer = \"/workspace/app\"\n";
    std::fs::write(folder.join("settings.toml"), mount).unwrap();
    let backups = home.path("docklet/data/work/backups");
    std::fs::create_dir_all(&backups).unwrap();
    let backup = backups.join("opencode-cloud-work-1.tar.zst");
    std::fs::write(&backup, "").unwrap();
    let backup = backup.to_str().unwrap();

    assert_eq!(offered(&home, &["--instance", "w"]), ["work"]);
    assert_eq!(offered(&home, &["--instance", "work", "mount", "remove", ""])[0], "/workspace/app");
    assert_eq!(offered(&home, &["mount", "remove", "--instance=work", "/w"]), ["/workspace/app"]);
    assert!(offered(&home, &["mount", "remove", ""]).iter().all(|word| word.starts_with('-')));
    assert!(offered(&home, &["--instance", "work", "secret", "remove", "M"]).contains(&"MY_KEY".to_owned()));
    assert!(offered(&home, &["--instance", "work", "restore", backups.to_str().unwrap()]).contains(&backup.to_owned()));
    assert!(offered(&home, &["--instance", "work", "backup", "verify", ""]).contains(&backup.to_owned()));
    assert_eq!(offered(&home, &["config", "get", "network.p"]), ["network.port"]);
    assert_eq!(offered(&home, &["errors", "PORT"]), ["PORT_IN_USE"]);
}
