//! Secrets, answers that are kept for the next run, and the review at the end.

use insta::assert_snapshot;

use super::{CTRL_C, DOWN, ESC, person::Person};

#[test]
fn an_own_password_is_typed_twice() {
    let mut person = Person::at("password");
    person.sees("? Password").types(DOWN).sees("> choose my own").types("\r");
    person.sees("? Your password").types("short\r").sees("✘ the password is too short: use at least 8 characters");
    person
        .types("\u{15}correct horse\r")
        .sees("? Repeat it")
        .types("correct house\r")
        .sees("✘ the passwords don't match");
    person.types("\u{15}correct horse\r").accepts();
    let (seen, outcome) = person.ends();
    assert!(!seen.contains("horse") && !seen.contains("house"), "{seen}");
    assert!(outcome.contains("password own correct horse"), "{outcome}");

    let mut person = Person::at("password");
    person.sees("? Password").types(DOWN).sees("> choose my own").types("\r");
    person.sees("? Your password").types("wrong horse\r").sees("? Repeat it").types("\r");
    person
        .sees_line("? Your password ›")
        .types("correct horse\r")
        .sees("? Repeat it")
        .types("correct horse\r")
        .accepts();
    assert!(person.ends().1.contains("password own correct horse"));
}

#[test]
fn keys_of_several_providers_are_asked_for_and_not_shown() {
    let mut person = Person::at("keys");
    person.sees("? Model keys").sees("GOOGLE_GENERATIVE_AI_API_KEY");
    assert_snapshot!(person.seen());
    person.types(" ").sees("[x] Anthropic").types(DOWN).sees("> [ ] OpenAI").types(" ").sees("[x] OpenAI");
    person.types(DOWN).types(" ").sees("[x] Google").types("\r");
    person.sees("? ANTHROPIC_API_KEY").types("sk two\r").sees("✘ a key is one word");
    person.types("\u{15} sk-typed \r");
    // The one in the environment is taken with Enter; one that is left empty is none.
    person.sees("? OPENAI_API_KEY (from your environment)").types("\r");
    person.sees("? GOOGLE_GENERATIVE_AI_API_KEY").types("\r").sees("✔ GOOGLE_GENERATIVE_AI_API_KEY · none");
    person.sees("? Push tokens").sees("GH_TOKEN (in your environment)");
    person.types(DOWN).sees("> [ ] GitLab").types(" ").sees("[x] GitLab").types("\r");
    person.sees("? GITLAB_TOKEN").types("glpat-typed\r").sees("? Is this right?");
    assert_snapshot!(person.seen());
    person.accepts();
    let (seen, outcome) = person.ends();
    assert!(!seen.contains("sk-") && !seen.contains("glpat-"), "{seen}");
    let keys = r#"keys ["ANTHROPIC_API_KEY=sk-typed", "GITLAB_TOKEN=glpat-typed", "OPENAI_API_KEY=sk-at-hand"]"#;
    assert!(outcome.contains(keys), "{outcome}");

    let mut person = Person::at("keys");
    person.sees("? Model keys").types(DOWN).sees("> [ ] OpenAI").types(" ").sees("[x]").types("\r");
    person.sees("? OPENAI_API_KEY").types("sk-other\r").sees("? Push tokens").types("\r").accepts();
    assert!(person.ends().1.contains(r#"keys ["OPENAI_API_KEY=sk-other"]"#));
}

#[test]
fn answers_are_kept_for_the_next_run_without_secrets() {
    let mut person = Person::at("whole");
    person.sees("? Port").types("3333\r").sees("? Image").types("\r").sees("? Languages").types(" \r");
    person.sees("? Other packages").types("ffmpeg\r").sees("? Memory").types("2g\r");
    person.sees("? Project folder").types("~/code/app\r").sees("? Path inside").types("/workspace/mine\r");
    person.sees("? Commits as").types("\r").sees("? Network").types("\r").sees("? Restart").types("\r");
    person.sees("? Start").types("y").sees("? Password").types(DOWN).types("\r");
    person.sees("? Your password").types("correct horse\r").sees("? Repeat it").types("correct horse\r");
    person.sees("? Model keys").types(" \r").sees("? ANTHROPIC_API_KEY").types("sk-typed\r");
    person.sees("? Push tokens").types(CTRL_C);
    let folder = person.leaves();
    let file = folder.path().join("answers.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!kept.contains("sk-") && !kept.contains("horse") && kept.contains("3333"), "{kept}");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777, 0o600);

    let mut person = Person::again("whole", 80, 24, &[], folder);
    for question in [
        "? Port (3333)",
        "? Image",
        "[x] Python",
        "? Other packages › ffmpeg",
        "? Memory (2 GiB)",
        "? Project folder › ~/code/app",
        "? Path inside (/workspace/mine)",
        "? Commits as",
        "? Network",
        "? Restart",
        "(Y/n)",
        "> generate one",
        "[x] Anthropic",
        "? ANTHROPIC_API_KEY",
        "? Push tokens",
        "? Open",
    ] {
        person.sees(question).types("\r");
    }
    person.accepts();
    let outcome = person.ends().1;
    assert!(outcome.contains("port = 3333") && outcome.contains("container = \"/workspace/mine\""), "{outcome}");
    assert!(outcome.contains("password Generated, keys []"), "{outcome}");
}

#[test]
fn each_choice_can_be_changed_at_the_end() {
    let mut person = Person::at("two");
    person.sees("? Port").types("\r").sees("? Image").types("\r").sees("? Project folder").types("~/code/app\r");
    person.sees("? Path inside").types("\r").sees("? Is this right?");
    // The image is to be pulled after all: what belongs to it is asked, and then the choices are shown again.
    person.types(DOWN).sees("> change").types("\r").sees("? Which answer?").sees("/workspace/app");
    assert_snapshot!(person.seen());
    person.types(DOWN).sees("> Image").types("\r").sees("? Image ›").types(DOWN).sees("> pull it").types("\r");
    // Back to before the question: nothing has changed.
    person.sees("? Image to pull").types(ESC).sees("> pull it").types(ESC).sees("built here").sees("? Is this right?");
    person.types(DOWN).sees("> change").types("\r").sees("? Which answer?").types(DOWN).sees("> Image").types("\r");
    person.sees("? Image ›").types(DOWN).types("\r").sees("? Image to pull").types("127.0.0.1:5000/opencode:1\r");
    person.sees("pulled: 127.0.0.1:5000/opencode:1").sees("? Is this right?");
    // Back from the choices leads to the last question, and further back to the others.
    person.types(ESC).sees("? Path inside").types(ESC).sees("? Project folder").types(ESC).sees("> pull it");
    person.types("\r").sees("? Image to pull (127.0.0.1:5000/opencode:1)").types("\r");
    person.sees("? Project folder").types("\r").sees("? Path inside").types("\r").accepts();
    let outcome = person.ends().1;
    assert!(outcome.contains("source = \"pull\"\nreference = \"127.0.0.1:5000/opencode:1\""), "{outcome}");

    let mut person = Person::at("port");
    person.sees("? Port").types("\r").sees("? Is this right?").types(DOWN).types(DOWN).sees("> quit").types("\r");
    assert!(person.ends().1.starts_with("Cancelled"));
}
