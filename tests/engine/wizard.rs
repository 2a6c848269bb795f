//! `docklet setup` in a real pseudo-terminal, from the first question to the page.

use std::process::Command;
use std::time::Duration;

use crate::support::*;
use crate::terminal::{CTRL_C, DOWN, Person};

/// What `setup` asks at the least, in order.
const QUESTIONS: [&str; 9] = [
    "Port",
    "Image",
    "Image to pull",
    "Memory",
    "Project folder",
    "Network",
    "Restart",
    "Start opencode when you log in",
    "Password",
];

/// `docklet` in a terminal, in this world's bare environment.
fn at_terminal(world: &World, args: &[&str]) -> Person {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docklet"));
    world.bare(&mut command);
    command.args(args);
    Person::at(command, Duration::from_secs(60))
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
    person.sees("Port").types(&format!("{port}\r"));
    person.sees("Image").types(&format!("{DOWN}\r"));
    person.sees("pull").types(&format!("{image}\r"));
    person.sees("Memory").types("512MiB\r");
    person.sees("Project folder").types(&format!("{}\r", folder.display()));
    person.sees("Path inside").types("\r");
    person.sees("Network").types("\r");
    person.sees("Restart").types("\r");
    person.sees("Start opencode when you log in").types("n");
    person.sees("Password").types("\r");
    person.sees("Model provider").types(DOWN).sees("> Anthropic").types("\r");
    person.sees("ANTHROPIC_API_KEY").types("sk-typed-by-hand\r");
    person.sees("Another model provider").types("\r");
    person.sees("secrets to write: ANTHROPIC_API_KEY");
    person.sees("This will be done").sees("Go ahead?").types("y");
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
    assert_eq!(inspect["HostConfig"]["Memory"], 512 << 20);
    let mounts = inspect["Mounts"].to_string();
    assert!(mounts.contains("/workspace/my-app") && mounts.contains(folder.to_str().unwrap()), "{mounts}");

    // A second time, Enter everywhere keeps everything.
    let mut person = at_terminal(&world, &["setup"]);
    for question in QUESTIONS.into_iter().chain(["Model provider"]) {
        person.sees(question);
        // The question that waits is the last line but its help.
        person.types("\r");
    }
    let (code, seen) = person.ends();
    assert_eq!(code, 0, "{seen}");
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
    let mut person = Person::at(command, Duration::from_secs(60));
    for question in QUESTIONS {
        person.sees(question).types("\r");
    }
    person.sees("OPENAI_API_KEY, found in your environment").types(DOWN).types(DOWN).sees("> OpenAI").types("\r");
    person.sees("Use OPENAI_API_KEY from your environment?").types("\r");
    person.sees("Another model provider").types("\r");
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
    person.sees("Port").types(CTRL_C);
    let (code, seen) = person.ends();
    assert_eq!(code, 130, "{seen}");
    assert!(seen.contains("nothing was changed"), "{seen}");
    assert_eq!(world.left(), Vec::<String>::new());
    world.setup();
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
