//! `docklet setup` in a real pseudo-terminal, from the first question to the page.

use std::process::Command;
use std::time::Duration;

use crate::support::*;
use crate::terminal::{CTRL_C, DOWN, Person};

const ESC: &str = "\u{1b}";

/// For one thing that the wizard or what it begins shows.
const PATIENCE: Duration = Duration::from_secs(60 * SLOW as u64);

/// What `setup` asks at the least, in order.
fn questions() -> Vec<&'static str> {
    let mut all = vec!["? Port", "? Image", "? Image to pull", "? Memory", "? Project folder", "? Commits as"];
    all.extend(["? Network", "? Restart"]);
    all.extend(has_service_manager().then_some("? Start opencode when you log in"));
    all.push("? Password");
    all
}

/// The instance's folder of state.
fn state(world: &World) -> std::path::PathBuf {
    world.home.join("state").join(&world.name)
}

/// `docklet` in a terminal, in this world's bare environment.
fn at_terminal(world: &World, args: &[&str]) -> Person {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docklet"));
    world.bare(&mut command);
    command.args(args);
    Person::at(command, PATIENCE)
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn from_the_first_question_to_the_page() {
    let world = World::new();
    let image = world.image();
    let port = world.port;
    let folder = world.folder().join("my app");
    std::fs::create_dir(&folder).unwrap();
    let mut person = at_terminal(&world, &["setup"]);
    person.sees("? Port").types(&format!("{port}\r"));
    person.sees("? Image").types(&format!("{DOWN}\r"));
    person.sees("? Image to pull").types(&format!("{image}\r"));
    person.sees("? Memory").types("512MiB\r");
    // The rules of `mount add` hold at once, and the other answers stay.
    person.sees("? Project folder").types("/etc\r").sees("/etc belongs to this machine's system");
    person.types(&format!("\u{15}{}\r", folder.display()));
    person.sees("The agent can read and change everything in").sees("? Path inside").types("\r");
    person.sees("? Commits as").types("\u{15}Ada Lovelace <ada@example.org>\r");
    person.sees("? Network").types("\r");
    person.sees("? Restart").types("\r");
    if has_service_manager() {
        person.sees("? Start opencode when you log in").types("n");
    }
    person.sees("? Password").types("\r");
    person.sees("? Model keys").types(" ").sees("[x] Anthropic").types("\r");
    person.sees("? ANTHROPIC_API_KEY").types("sk-typed-by-hand\r");
    person.sees("? Push tokens").types("\r");
    person.sees("Ada Lovelace <ada@example.org>").sees("? Is this right?").types("\r");
    person.sees("secrets to write: ANTHROPIC_API_KEY");
    // Back from the plan to the choices, where one is changed; the key that was typed is still there.
    person.sees("This will be done").sees("Go ahead?").types(ESC).sees("? Is this right?").types(DOWN);
    person.sees("> change").types("\r").sees("? Which answer?").types(DOWN).types(DOWN);
    person.sees("> Memory").types("\r").sees("? Memory (512 MiB)").types("640MiB\r");
    person.sees("640 MiB").sees("? Is this right?").types("\r").sees("secrets to write: ANTHROPIC_API_KEY");
    person.sees("Go ahead?").types("y");
    person.sees(&format!("http://127.0.0.1:{port}/"));
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains(&world.password()), "{seen}");
    assert!(seen.contains("✓ start container") || seen.contains("answers at"), "{seen}");
    assert!(!seen.contains("sk-typed") && seen.contains("ANTHROPIC_API_KEY"), "{seen}");
    assert_eq!(docker(&["exec", &world.container(), "cat", "/run/secrets/ANTHROPIC_API_KEY"]), "sk-typed-by-hand");
    assert_eq!(world.http_get("/", Some(&world.password())).0, 200);
    let inspect = world.inspect().unwrap();
    assert!(!inspect.to_string().contains("sk-typed"), "{inspect}");
    assert_eq!(inspect["HostConfig"]["Memory"], 640 << 20);
    let mounts = inspect["Mounts"].to_string();
    assert!(mounts.contains("/workspace/my-app") && mounts.contains(folder.to_str().unwrap()), "{mounts}");

    // A second time, Enter everywhere keeps everything.
    let mut person = at_terminal(&world, &["setup"]);
    let rest = ["? Model keys", "? Push tokens", "? Is this right?"];
    for question in questions().into_iter().chain(rest) {
        person.sees(question).types("\r");
    }
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(!state(&world).join("answers.json").exists());
    assert!(seen.contains("nothing to do"), "{seen}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_key_of_the_environment_is_offered_and_taken_up_by_a_restart() {
    let world = World::new();
    world.setup();
    let started = |world: &World| world.inspect().unwrap()["State"]["StartedAt"].as_str().unwrap().to_owned();
    let before = started(&world);
    let mut command = Command::new(env!("CARGO_BIN_EXE_docklet"));
    world.bare(&mut command);
    command.env("OPENAI_API_KEY", "sk-of-the-shell").args(["setup"]);
    let mut person = Person::at(command, PATIENCE);
    for question in questions() {
        person.sees(question).types("\r");
    }
    person.sees("OPENAI_API_KEY (in your environment)").types(DOWN).sees("> [ ] OpenAI").types(" \r");
    person.sees("? OPENAI_API_KEY (from your environment)").types("\r");
    person.sees("? Push tokens").types("\r").sees("? Is this right?").types("\r");
    person.sees("settings changed: secrets").sees("Go ahead?").types("\r");
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(!seen.contains("sk-of-the-shell"), "{seen}");
    assert_ne!(started(&world), before, "it was restarted");
    assert_eq!(docker(&["exec", &world.container(), "cat", "/run/secrets/OPENAI_API_KEY"]), "sk-of-the-shell");
    let listed = world.ok(&["secret", "list"]);
    assert!(listed.contains("OPENAI_API_KEY  the key for OpenAI"), "{listed}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn ctrl_c_in_the_wizard_changes_nothing_and_the_next_setup_finishes() {
    let world = World::new();
    let mut person = at_terminal(&world, &["setup"]);
    person.sees("? Port").types(CTRL_C);
    let (code, seen) = person.ends();
    assert_eq!(code, 130, "{seen}");
    assert!(seen.contains("nothing was changed"), "{seen}");
    assert_eq!(world.left(), Vec::<String>::new());
    assert!(!state(&world).exists(), "a wizard that was left at once leaves no files");

    // After an answer it goes on from there; `uninstall --purge` takes the answers away.
    let mut person = at_terminal(&world, &["setup"]);
    person.sees("? Port").types(&format!("{}\r", world.port)).sees("? Image").types(CTRL_C);
    assert_eq!(person.ends().0, 130);
    assert!(state(&world).join("answers.json").exists());
    let mut person = at_terminal(&world, &["setup"]);
    person.sees("proposed again").sees(&format!("? Port ({})", world.port)).types(CTRL_C);
    assert_eq!(person.ends().0, 130);
    world.ok(&["uninstall", "--purge", "--yes"]);
    assert!(!state(&world).exists());
    world.setup();
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn answers_are_proposed_again_after_a_setup_that_failed() {
    let world = World::new();
    world.setup();
    let does_not_run = world.image_with("exit:3");
    let mut person = at_terminal(&world, &["setup", "--image", &does_not_run]);
    for question in questions().into_iter().filter(|question| !question.contains("Image")) {
        person.sees(question).types(if question == "? Memory" { "640MiB\r" } else { "\r" });
    }
    person.sees("? Model keys").types("\r").sees("? Push tokens").types("\r").sees("? Is this right?").types("\r");
    person.sees("Go ahead?").types("y");
    let (code, seen) = person.ends();
    assert!(code == 10 && seen.contains("the previous settings were restored"), "{seen}");
    assert_eq!(world.ok(&["config", "get", "resources.memory"]), "4GiB\n");
    let mut person = at_terminal(&world, &["setup"]);
    person.sees("proposed again").sees("? Port").types("\r").sees("? Image").types("\r");
    person.sees("? Image to pull").types("\r").sees("? Memory (640 MiB)").types(CTRL_C);
    assert_eq!(person.ends().0, 130);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn plain_lines_lead_to_the_page_as_well() {
    let world = World::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_docklet"));
    world.bare(&mut command);
    command.env("TERM", "dumb").args(["setup", "--image", &world.image(), "--port", &world.port.to_string()]);
    let mut person = Person::at(command, PATIENCE);
    let answers = [
        ("Memory (", "512MiB"),
        ("Project folder:", ""),
        ("Commits as", "-"),
        ("Network:", ""),
        ("Restart:", "<"),
        ("Network:", ""),
        ("Restart:", ""),
        ("Start opencode when you log in? y or n (n):", ""),
        ("Password:", ""),
        ("Model keys:", ""),
        ("Push tokens:", ""),
        ("Is this right?", "1"),
        ("Go ahead? y or n (y):", "y"),
    ];
    let asked = answers.into_iter().filter(|(question, _)| has_service_manager() || !question.starts_with("Start "));
    for (question, answer) in asked {
        person.waits_until(question, |screen| {
            let seen = screen.contents();
            let last = seen.trim_end().rsplit("\n\n").next().unwrap_or_default();
            last.contains(question) && last.ends_with(':') && screen.cursor_position().1 > 0
        });
        person.types(&format!("{answer}\r"));
    }
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains(&format!("http://127.0.0.1:{}/", world.port)), "{seen}");
    assert_eq!(world.http_get("/", Some(&world.password())).0, 200);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn ctrl_c_while_it_waits_leaves_what_the_next_setup_finishes() {
    let world = World::new();
    let image = world.image_with("slow:60");
    let port = world.port.to_string();
    let mut person = at_terminal(&world, &["setup", "--yes", "--image", &image, "--port", &port]);
    person.sees("wait until").types(CTRL_C);
    let (code, seen) = person.ends();
    assert_eq!(code, 130, "{seen}");
    assert!(seen.contains("interrupted") && seen.contains("run the same command again"), "{seen}");
    world.setup();
    assert_eq!(world.http_get("/", Some(&world.password())).0, 200);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_question_of_restore_holds_nobody_up() {
    let world = World::new();
    world.setup();
    let (file, passphrase) = (world.folder().join("backup.tar.zst"), world.folder().join("passphrase"));
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    world.ok(&["backup", file.to_str().unwrap(), "--passphrase-file", passphrase.to_str().unwrap()]);
    let mut person = at_terminal(&world, &["restore", file.to_str().unwrap()]);
    person.sees("Passphrase");
    world.ok(&["stop"]);
    world.ok(&["start"]);
    person.types(CTRL_C);
    let (code, seen) = person.ends();
    assert_eq!(code, 130, "{seen}");
    assert_eq!(world.status()["state"], "running");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn removing_data_has_to_be_typed() {
    let world = World::new();
    world.setup();
    let mut person = at_terminal(&world, &["uninstall", "--volumes", "--no-backup"]);
    person.sees("will be removed").sees("to confirm").types("no\r");
    person.types(CTRL_C);
    let (code, seen) = person.ends();
    assert_eq!(code, 130, "{seen}");
    assert_eq!(world.status()["state"], "running");
    let mut person = at_terminal(&world, &["uninstall", "--volumes", "--no-backup"]);
    person.sees("to confirm").types(&format!("{}\r", world.name));
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("checked:"), "{seen}");
    assert_eq!(world.left(), Vec::<String>::new());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn nothing_is_asked_where_standard_error_goes_into_a_file() {
    let world = World::new();
    let told = world.folder().join("told");
    let mut shell = Command::new("/bin/sh");
    world.bare(&mut shell);
    shell.args(["-c", "exec \"$0\" \"$@\" 2>told", env!("CARGO_BIN_EXE_docklet")]);
    shell.args(["setup", "--image", &world.image(), "--port", &world.port.to_string()]);
    let (code, seen) = Person::at(shell, SOON).ends();
    let told = std::fs::read_to_string(&told).unwrap();
    assert_eq!(code, 6, "{seen}\n{told}");
    assert!(told.contains("--yes"), "{told}");
    assert!(!told.contains(['?', '\u{1b}']) && !seen.contains('?'), "half a question\n{seen}\n{told}");
    assert_eq!(world.left(), Vec::<String>::new());
}
