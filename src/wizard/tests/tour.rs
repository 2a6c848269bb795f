//! Through every question, back and forth, in terminals of several sizes and kinds. A snapshot holds each screen.

use std::fmt::Write as _;

use insta::assert_snapshot;

use super::{DOWN, ESC, UP, child::PLAIN, person::Person};

/// A question: what shows that it is asked, the keys that answer it, and the keys that answer it after coming back.
type Stop = (&'static str, &'static str, &'static str);

/// Every question with keys and a cursor.
fn stops() -> Vec<Stop> {
    let own_password = "\u{1b}[B\r";
    vec![
        ("Container engine", "\r", "\r"),
        ("Port", "3000\r", "\r"),
        ("Image", "\r", "\r"),
        ("Languages", " \r", "\r"),
        ("Other packages", "ffmpeg\r", "\r"),
        ("Memory", "2 GiB\r", "\r"),
        ("Project folder", "~/my app\r", "\r"),
        ("Path inside", "\r", "\r"),
        ("Commits as", "\r", "\r"),
        ("Network", "\r", "\r"),
        ("Restart", "\r", "\r"),
        ("Start opencode", "y", "y"),
        ("Password", own_password, "\r"),
        ("Your password", "correct horse\r", "correct horse\r"),
        ("Repeat it", "correct horse\r", "correct horse\r"),
        ("Model keys", " \r", "\r"),
        ("ANTHROPIC_API_KEY", "sk-typed\r", "sk-typed\r"),
        ("Push tokens", " \r", "\r"),
        ("GH_TOKEN", "\r", "\r"),
        ("Open the page", "n", "n"),
    ]
}

/// Goes through all of them, each time back and forth again; the screens.
fn tour(columns: u16, rows: u16, variables: &[(&str, &str)]) -> String {
    let mut person = Person::before("tour", columns, rows, variables);
    let mut screens = String::new();
    let mut look = |name: &str, person: &Person| {
        let seen = person.seen();
        for line in seen.lines() {
            assert!(line.chars().count() <= usize::from(columns), "{line:?}");
        }
        // Without the answers above, of which each screen has one more.
        let above = seen.lines().collect::<Vec<_>>().iter().rposition(|line| line.starts_with(['✔', '+']));
        let question: Vec<&str> = seen.lines().skip(above.map_or(0, |at| at + 1)).collect();
        writeln!(screens, "=== {name}\n{}\n", question.join("\n")).unwrap();
        seen
    };
    let mut before: Option<Stop> = None;
    for stop in stops() {
        let question = |stop: &Stop| format!("? {}", stop.0);
        person.sees(&question(&stop)).waits();
        let seen = look(stop.0, &person);
        if let Some(before) = before {
            person.types(ESC).sees(&question(&before));
            assert!(!person.seen().contains(&question(&stop)), "{}", person.seen());
            person.types(before.2).sees(&question(&stop));
            person.sees_all(&seen);
        }
        person.types(stop.1);
        before = Some(stop);
    }
    person.sees("Is this right?").sees("quit").waits();
    let seen = look("review", &person);
    person.types(ESC).sees("? Open the page").types("n").sees("Is this right?").sees_all(&seen);
    person.types(DOWN).sees("> change").types("\r").sees("Which answer?").waits();
    look("change", &person);
    person.types(ESC).sees("Is this right?").accepts();
    let (_, outcome) = person.ends();
    assert!(outcome.contains("password own correct horse"), "{outcome}");
    assert!(outcome.contains(r#"keys ["ANTHROPIC_API_KEY=sk-typed", "GH_TOKEN=sk-at-hand"]"#), "{outcome}");
    assert!(outcome.contains("/workspace/my-app") && outcome.contains("ffmpeg"), "{outcome}");
    screens
}

#[test]
fn back_and_forth_at_80_24() {
    assert_snapshot!(tour(80, 24, &[]));
}

#[test]
fn back_and_forth_at_60_20_without_colour() {
    assert_snapshot!(tour(60, 20, &[("NO_COLOR", "1")]));
}

#[test]
fn back_and_forth_at_40_10_in_ascii() {
    let screens = tour(40, 10, &[("LC_ALL", "C")]);
    assert!(screens.is_ascii(), "{screens}");
    assert_snapshot!(screens);
}

/// Every question as plain lines: a part of it, the answer, and the answer after coming back.
const PLAIN_STOPS: [Stop; 20] = [
    ("Container engine:", "", ""),
    ("Port (", "3000", ""),
    ("Image:", "", ""),
    ("Languages:", "1", ""),
    ("Other packages", "ffmpeg", ""),
    ("Memory", "2g", ""),
    ("Project folder", "~/my app", ""),
    ("Path inside", "", ""),
    ("Commits as", "", ""),
    ("Network:", "", ""),
    ("Restart:", "", ""),
    ("Start opencode when you log in?", "y", "y"),
    ("Password:", "2", ""),
    ("Your password:", "correct horse", "correct horse"),
    ("Repeat it:", "correct horse", "correct horse"),
    ("Model keys:", "1", ""),
    ("ANTHROPIC_API_KEY", "sk-typed", ""),
    ("Push tokens:", "1", ""),
    ("GH_TOKEN", "", ""),
    ("Open the page in the browser", "n", "n"),
];

/// The same with plain lines; all that was written.
fn plain_tour(columns: u16, rows: u16, variables: &[(&str, &str)]) -> String {
    let mut person = Person::before("tour", columns, rows, variables);
    let mut before: Option<Stop> = None;
    for stop in PLAIN_STOPS {
        person.is_asked(stop.0);
        let (seen, back) = (person.seen(), before.map_or("", |before| before.2));
        // Back and forth, once for each question; what is written by that is not part of the snapshot below.
        if let Some(before) = before.filter(|_| variables.contains(&BACK_AND_FORTH)) {
            person.types("<\r").is_asked(before.0).types(&format!("{back}\r")).is_asked(stop.0);
            assert!(person.seen().starts_with(&seen), "nothing is written over");
        }
        person.types(&format!("{}\r", stop.1));
        before = Some(stop);
    }
    person.is_asked("Is this right?").types("2\r").is_asked("Which answer?");
    person.types("<\r").is_asked("Is this right?").types("\r");
    let (seen, outcome) = person.ends();
    for line in seen.lines() {
        assert!(line.chars().count() <= usize::from(columns), "{line:?}");
    }
    assert!(!seen.contains("horse") && !seen.contains("sk-"), "{seen}");
    assert!(outcome.contains("password own correct horse"), "{outcome}");
    assert!(outcome.contains(r#"keys ["ANTHROPIC_API_KEY=sk-typed", "GH_TOKEN=sk-at-hand"]"#), "{outcome}");
    assert!(outcome.contains("/workspace/my-app") && outcome.contains("ffmpeg"), "{outcome}");
    seen
}

const BACK_AND_FORTH: (&str, &str) = ("DOCKLET_TEST_BACK", "yes");

#[test]
fn plain_lines_at_30_8() {
    assert_snapshot!(plain_tour(30, 8, &[("LC_ALL", "C")]));
}

#[test]
fn plain_lines_where_they_are_wanted() {
    assert_snapshot!(plain_tour(80, 24, &[(PLAIN, "yes")]));
}

#[test]
fn back_on_each_question_in_plain_lines() {
    plain_tour(30, 8, &[BACK_AND_FORTH]);
    plain_tour(80, 24, &[(PLAIN, "yes"), BACK_AND_FORTH]);
}

#[test]
fn plain_lines_refuse_keep_and_quit() {
    let plain = [(PLAIN, "yes")];
    let mut person = Person::before("packages", 80, 24, &plain);
    person.is_asked("Languages:").types("<\r").sees("this is the first question").types("9\r");
    person.sees("enter a number from 1 to 5").types("1 3\r").is_asked("Other packages").types("ffmpeg\r");
    person.is_asked("Is this right?").types("<\r").is_asked("Other packages (ffmpeg; - for none)").types("-\r");
    person.is_asked("Is this right?").types("<\r").is_asked("Other packages:").types("<\r");
    person.is_asked("Numbers, such as 1 2 (1 3; 0 for none)").types("3\r").is_asked("Other packages").types("\r");
    person.is_asked("Is this right?").types("\r");
    let outcome = person.ends().1;
    assert!(outcome.contains(r#"extra_packages = ["golang"]"#), "{outcome}");

    for keys in ["\u{3}", "30\u{3}", "\u{4}"] {
        let mut person = Person::before("port", 80, 24, &plain);
        person.is_asked("Port (3000)").types(keys);
        assert!(person.ends().1.starts_with("Interrupted"));
    }
}

#[test]
fn a_terminal_of_two_rows_is_enough() {
    let mut person = Person::before("source", 80, 2, &[]);
    person.is_asked("Image:").types("1\r").is_asked("Is this right?").types("\r");
    assert!(person.ends().1.starts_with("engine 0"));
}

#[test]
fn a_question_is_asked_anew_when_the_terminal_shrinks() {
    let mut person = Person::before("tour", 100, 24, &[]);
    let mut screens = String::new();
    let mut before = None;
    for (question, answer, _) in stops().into_iter().take(7) {
        let question = format!("? {question}");
        person.sees(&question).waits();
        let gone = before.is_none_or(|before: String| !person.seen().contains(&before));
        assert!(gone, "{}", person.seen());
        person.resizes(52, 20).types(DOWN).sees(&question).waits();
        writeln!(screens, "=== {question}\n{}\n", person.seen()).unwrap();
        person.resizes(100, 24).types(UP).sees(&question).waits().types(answer);
        before = Some(question);
    }
    assert_snapshot!(screens);
}
