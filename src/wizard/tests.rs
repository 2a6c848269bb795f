#![allow(clippy::unwrap_used)]
//! The wizard in a real pseudo-terminal: this test program runs itself again as the one that asks
//! (`child`), and the tests type and look at the screen.

mod answers;
mod child;
mod person;
mod tour;

use insta::assert_snapshot;

use self::person::Person;
use crate::settings::{Git, Settings};

const DOWN: &str = "\u{1b}[B";
const UP: &str = "\u{1b}[A";
const BACK: &str = "\u{7f}";
const CTRL_C: &str = "\u{3}";
const ESC: &str = "\u{1b}";

#[test]
fn enter_everywhere_gives_the_defaults() {
    let mut person = Person::at("defaults");
    for question in [
        "? Port",
        "? Image",
        "? Languages",
        "? Other packages",
        "? Memory",
        "? Project folder",
        "? Commits as › Ada Lovelace <ada@example.org>",
        "? Network",
        "? Restart",
        "? Start opencode",
        "? Password",
        "? Model keys",
        "? Push tokens",
        "? Open",
        "? Is this right?",
    ] {
        person.sees(question).types("\r");
    }
    let (seen, outcome) = person.ends();
    assert_snapshot!(seen);
    let (first, settings) = outcome.split_once('\n').unwrap();
    assert_eq!(first, "engine 0, file None, password Generated, keys [], open true");
    let git =
        Git { name: "Ada Lovelace".parse().unwrap(), email: "ada@example.org".parse().unwrap(), ..Git::default() };
    assert_eq!(settings, toml::to_string(&Settings { git, ..Settings::default() }).unwrap());
}

#[test]
fn a_second_time_everything_is_kept() {
    let mut person = Person::at("again");
    for question in [
        "? Port (3002)",
        "? Image",
        "[x] Python",
        "ffmpeg",
        "? Memory",
        "? Project folder (keep /home/me/app)",
        "Ada Lovelace",
        "> the Internet",
        "> on failure",
        "(Y/n)",
        "> keep it",
        "ANTHROPIC_API_KEY, already set",
        "? Push tokens",
        "? Open",
        "? Is this right?",
    ] {
        person.sees(question).types("\r");
    }
    let (seen, outcome) = person.ends();
    assert_snapshot!(seen);
    assert!(outcome.starts_with("engine 0, file None, password Keep, keys [], open true"), "{outcome}");
    assert!(outcome.contains(r#"["python3", "python3-pip", "python3-venv", "ffmpeg"]"#), "{outcome}");
    assert!(outcome.contains("port = 3002"), "{outcome}");
    assert!(outcome.contains("policy = \"on-failure\"\nautostart = true"), "{outcome}");
}

#[test]
fn what_is_answered_is_not_asked() {
    let (seen, outcome) = Person::at("nothing").ends();
    assert!(!seen.contains('?'), "{seen}");
    assert!(outcome.starts_with("engine 0"), "{outcome}");
}

#[test]
fn what_no_service_manager_could_do_is_not_asked() {
    let (seen, outcome) = Person::at("unmanaged").ends();
    assert!(!seen.contains('?'), "{seen}");
    assert!(outcome.contains("autostart = false"), "{outcome}");
}

#[test]
fn what_is_pasted_goes_into_one_line_and_answers_no_other_question() {
    let pasted = |text: &str| format!("\u{1b}[200~{text}\u{1b}[201~");
    let mut person = Person::at("two");
    // On a question for a line: it stays there, as one line.
    person.sees("? Port").types(&pasted("30\r\n99\r\n\r\n")).sees("? Port (3000) › 30  99");
    person.types(&format!("\u{15}{}", pasted("3099\n"))).sees("› 3099").types("\r");
    // On a list: it chooses nothing.
    person.sees("? Image").types(&pasted("\r\ny\r\n q")).types(DOWN).sees("> pull").types(UP).types("\r");
    person.sees("? Project folder").types(&format!("{}\r", pasted("~/my app\n"))).sees("? Path inside").types("\r");
    person.sees("? Is this right?").types(&pasted("\r")).types(DOWN).sees("> change").types(UP).accepts();
    let (_, outcome) = person.ends();
    assert!(outcome.contains("port = 3099") && outcome.contains("my app"), "{outcome}");
    let mut person = Person::at("confirm");
    person.sees("Go ahead?").types(&pasted("y\r")).types("n");
    assert!(person.ends().1.contains("No"));
}

#[test]
fn a_taken_port_is_named_and_a_free_one_proposed() {
    let mut person = Person::at("taken");
    person.sees("? Port (3001)");
    assert_snapshot!(person.seen(), @r"
    Enter: accept the default, Esc: back, Ctrl-C: quit without changes.

      Port 3000 is taken: node (pid 4711) is listening on it. The page will be at
      http://127.0.0.1:3001/, for this machine only.
    ? Port (3001) ›
    ");
    person.types("3000\r").sees("port 3000 is taken by node (pid 4711); 3001 is free");
    person.types(BACK).types("7\r").accepts();
    let (seen, outcome) = person.ends();
    assert!(seen.contains("Port:           3007"), "{seen}");
    assert!(outcome.contains("port = 3007"), "{outcome}");
}

#[test]
fn a_wrong_port_is_corrected_with_backspace() {
    let mut person = Person::at("port");
    person.sees("? Port (3000)").types("70000\r").sees("`70000` isn't a valid port; ports are 1 to 65535");
    assert_snapshot!(person.seen(), @"
    Enter: accept the default, Esc: back, Ctrl-C: quit without changes.

      The page will be at http://127.0.0.1:3000/, for this machine only.
    ? Port (3000) › 70000
      ✘ `70000` isn't a valid port; ports are 1 to 65535
    ");
    person.types(BACK).sees_line("? Port (3000) › 7000");
    person.types("\r").accepts();
    let (seen, outcome) = person.ends();
    assert!(!seen.contains('✘'), "the reason has gone: {seen}");
    assert!(outcome.contains("port = 7000"), "{outcome}");
}

#[test]
fn packages_are_marked_and_typed() {
    let mut person = Person::at("packages");
    person.sees("? Languages").types(" ").sees("[x] Python").types(DOWN).sees("> [ ] Node.js");
    person.types(DOWN).sees("> [ ] Go").types(" ").sees("> [x] Go").sees("gdb");
    assert_snapshot!(person.seen(), @"
    Enter: accept the default, Esc: back, Ctrl-C: quit without changes.

      Languages to install. Space selects, Enter continues.
    ? Languages ›
      [x] Python    python3 python3-pip python3-venv
      [ ] Node.js   nodejs npm
    > [x] Go        golang
      [ ] Rust      rustc cargo
      [ ] C/C++     build-essential cmake gdb
    ");
    person.types("\r").sees("? Other packages").types("ffmpeg Foo\r").sees("✘ `Foo` isn't a valid Debian package name");
    person.types(&BACK.repeat(3)).types("sqlite3 golang\r").accepts();
    let (_, outcome) = person.ends();
    assert!(
        outcome.contains(r#"["python3", "python3-pip", "python3-venv", "golang", "ffmpeg", "sqlite3"]"#),
        "{outcome}"
    );
}

#[test]
fn an_image_is_pulled_or_loaded() {
    let mut person = Person::at("source");
    person.sees("? Image").types(DOWN).sees("> pull it").types("\r");
    person.sees("? Image to pull").types("\r").sees("✘ enter an image name");
    person.types("127.0.0.1:5000/opencode:1\r").accepts();
    let (_, outcome) = person.ends();
    assert!(outcome.contains("source = \"pull\"\nreference = \"127.0.0.1:5000/opencode:1\""), "{outcome}");

    let mut person = Person::at("source");
    std::fs::write(person.folder.path().join("image.tar"), "").unwrap();
    person.sees("? Image").types(DOWN).sees("> pull it").types(DOWN).sees("> load it").types("\r");
    person.sees("? File to load").types("~/other.tar\r").sees("/home/me/other.tar does not exist");
    person.types("\u{17}~/im\t").sees_line("? File to load › ~/image.tar").types("\r").accepts();
    let (_, outcome) = person.ends();
    assert!(outcome.starts_with("engine 0, file Some(\"/home/me/image.tar\")"), "{outcome}");
    assert!(outcome.contains("source = \"load\""), "{outcome}");
}

#[test]
fn memory_is_checked_against_the_engine() {
    let mut person = Person::at("memory");
    person.sees("? Memory (4 GiB)").types("16GiB\r").sees("✘ 16 GiB is more than the engine's 8 GiB");
    person.types("\u{15}lots\r").sees("✘ `lots` isn't a valid amount of memory");
    person.types("\u{15}2g\r").accepts();
    let (_, outcome) = person.ends();
    assert!(outcome.contains("memory = \"2GiB\""), "{outcome}");
}

#[test]
fn a_folder_must_exist() {
    let mut person = Person::at("mount");
    person.sees("? Project folder").types("code\r").sees("✘ enter an absolute path, such as /home/me/code");
    person.types("\u{15}~/nowhere\r").sees("✘ /home/me/nowhere does not exist");
    person.types("\u{15}~/refused\r").sees("✘ it is refused");
    person
        .types("\u{15}~/my app/\r")
        .sees("? Path inside (/workspace/my-app)")
        .types("workspace\r")
        .sees("✘ `workspace` isn't a valid path");
    person.types("\u{15}\r").accepts();
    let (_, outcome) = person.ends();
    assert!(
        outcome.contains("host = \"/home/me/my app\"\ncontainer = \"/workspace/my-app\"\nread_only = false"),
        "{outcome}"
    );
}

#[test]
fn a_line_longer_than_the_terminal_stays_one_line() {
    let mut person = Person::at("mount");
    let long = format!("~/{}", "0123456789".repeat(12));
    person
        .sees("? Project folder")
        .types(&long)
        .sees_line(&format!("? Project folder › {}", &long[long.len() - 59..]))
        .types("\u{1}")
        .sees("› ~/0123");
    assert_eq!(person.seen().lines().count(), 5, "{}", person.seen());
    person.types("\u{1b}[3~\u{1b}[3~\u{5}").sees("6789");
    person.types(&BACK.repeat(120)).sees_line("? Project folder ›").types("\r").accepts();
    let (seen, outcome) = person.ends();
    assert!(seen.contains("Project folder: none"), "{seen}");
    assert!(!outcome.contains("mounts"), "{outcome}");
}

#[test]
fn ctrl_c_ends_it_anywhere() {
    let interrupted = r#"Interrupted { next: "nothing was changed; docklet setup begins again" }"#;
    let list = ("source", "? Image", "");
    let inside = ("runtime", "? Image", "");
    let many = ("packages", "? Languages", " ");
    let line = ("port", "? Port", "30");
    let yes_no = ("confirm", "? Go ahead?", "");
    let hidden = ("password", "? Password", "\u{1b}[B\r");
    for (run, question, before) in [list, inside, many, line, yes_no, hidden] {
        let mut person = Person::at(run);
        person.sees(question).types(before);
        if run == "password" {
            person.sees("? Your password").types("secret");
        }
        person.types(CTRL_C);
        let (_, outcome) = person.ends();
        assert!(outcome.contains(interrupted), "{run}: {outcome}");
    }
    // Where a question stands alone, Esc quits as well.
    let mut person = Person::at("engine");
    person.sees("? Install a container engine?").types(ESC);
    assert!(person.ends().1.contains(interrupted));
}

#[test]
fn letters_in_lists_and_a_shift_tab_at_the_first_question_do_nothing() {
    let mut person = Person::at("source");
    person.sees("? Image").types("qjk\u{1b}[Z").types(DOWN).sees("> pull it").types("\u{1b}[A").sees("> build it");
    person.types("\r").accepts();
    assert!(person.ends().1.starts_with("engine 0"));
}

#[test]
fn a_path_is_completed() {
    let mut person = Person::at("mount");
    person.sees("? Project folder").types("~/co\t").sees_line("? Project folder › ~/code/");
    person.types("\t").sees_line("? Project folder › ~/code/app").sees("app/ apple/");
    person.types("/\t\r").sees("? Path inside (/workspace/app)");
    assert_snapshot!(person.seen());
    // Back, with what was typed; a place that is said is not asked for.
    person.types(ESC).sees_line("? Project folder › ~/code/app");
    person.types(":/workspace/other:ro\r").accepts();
    let (seen, outcome) = person.ends();
    assert!(seen.contains("~/code/app at /workspace/other, read-only"), "{seen}");
    assert!(outcome.contains("container = \"/workspace/other\"\nread_only = true"), "{outcome}");
}

#[test]
fn who_commits_is_one_line() {
    let mut person = Person::at("git");
    person.sees("? Commits as › Ada Lovelace <ada@example.org>").types("\u{15}ada@example.org\r");
    person.sees("✘ `ada@example.org` isn't a name with an e-mail address");
    person.types("\u{15}Grace Hopper <grace@example.org>\r").accepts();
    let outcome = person.ends().1;
    assert!(outcome.contains("name = \"Grace Hopper\"\nemail = \"grace@example.org\""), "{outcome}");

    let mut person = Person::at("git");
    person.sees("? Commits as").types("\u{15}\r").accepts();
    let (seen, outcome) = person.ends();
    assert!(seen.contains("Commits as:     no identity"), "{seen}");
    assert!(outcome.contains("name = \"\"\nemail = \"\""), "{outcome}");
}

#[test]
fn one_of_several_engines() {
    let mut person = Person::at("engines");
    person.sees("? Container engine").types(DOWN).sees("> Podman").sees("Podman's");
    assert_snapshot!(person.seen());
    person.types("\r").sees("? Port").types(CTRL_C);
    assert!(person.ends().1.starts_with("Interrupted"));
}

#[test]
fn a_plan_is_shown_and_confirmed_once() {
    let mut person = Person::at("confirm");
    person.sees("? Go ahead?");
    assert_snapshot!(person.seen(), @"
    This will be done:
      1. build image opencode-cloud:1
      2. start container

    ? Go ahead? (Y/n) ›
    ");
    person.types("n");
    assert_eq!(person.ends().1, "Ok(No)");
    // A word that does not fit goes to the next line.
    let mut person = Person::before("confirm", 30, 24, &[]);
    person.sees("Go ahead?");
    assert!(person.seen().contains("  1. build image\n     opencode-cloud:1\n"), "{}", person.seen());
    person.types("n\r");
    person.ends();
    for (keys, said) in [("\r", "Ok(Yes)"), ("q\r", "Ok(Yes)"), (ESC, "Ok(Back)")] {
        let mut person = Person::at("confirm");
        person.sees("? Go ahead?").types(keys);
        assert_eq!(person.ends().1, said);
    }
}

#[test]
fn what_cannot_be_undone_is_typed() {
    let mut person = Person::at("typed");
    person.sees("? Type opencode-cloud to confirm").types("yes\r").sees("✘ type opencode-cloud to confirm");
    person.types("\u{15}opencode-cloud\r");
    assert_eq!(person.ends().1, "Ok(true)");
    let mut person = Person::at("typed");
    person.sees("? Type").types("\r");
    assert_eq!(person.ends().1, "Ok(false)");
}

#[test]
fn consent_to_install() {
    let mut person = Person::at("engine");
    person.sees("? Install a container engine?");
    assert_snapshot!(person.seen());
    person.types("y");
    assert_eq!(person.ends().1, "Ok(true)");
}

#[test]
fn ascii_where_nothing_else_is_shown() {
    let mut person = Person::before("mount", 80, 24, &[("LC_ALL", "C")]);
    person.sees("? Project folder >").types("code\r").sees("! enter an absolute path");
    person.types("\u{15}\r").accepts();
    let (seen, _) = person.ends();
    assert!(seen.contains("+ Is this right? - yes"), "{seen}");
    assert!(seen.is_ascii(), "{seen}");
}
