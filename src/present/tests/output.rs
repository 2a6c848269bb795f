//! Which stream gets what: results, messages, events and errors.

use insta::assert_snapshot;

use super::*;
use crate::{event::Event, report::ListReport};

#[test]
fn who_shows_follows_from_the_streams() {
    let terminal = Streams { stderr_is_terminal: true, stdout_is_terminal: true, ..Streams::default() };
    assert_eq!(ProgressMode::of(&terminal), ProgressMode::Human);
    assert_eq!(ProgressMode::of(&Streams { term_dumb: true, ..terminal }), ProgressMode::Plain);
    assert_eq!(ProgressMode::of(&Streams { stderr_is_terminal: false, ..terminal }), ProgressMode::Plain);
    assert_eq!(ProgressMode::of(&Streams { json: true, ..terminal }), ProgressMode::Json);
    assert_eq!(ProgressMode::of(&Streams { json: true, quiet: true, ..terminal }), ProgressMode::Quiet);
    assert!(terminal.stderr_style().color);
    assert!(!Streams { no_color: true, ..terminal }.stderr_style().color);
    assert!(Streams { no_color: true, color: ColorChoice::Always, ..terminal }.stderr_style().color);
    assert!(!Streams { color: ColorChoice::Never, ..terminal }.stderr_style().color);
    assert!(!Streams::default().stdout_style().color);
}

fn output(streams: Streams) -> (Output, Paper, Paper) {
    let (out, err) = (Paper::default(), Paper::default());
    (Output::to(streams, Box::new(out.clone()), Box::new(err.clone())), out, err)
}

#[test]
fn json_has_no_control_character_that_a_terminal_obeys() {
    let (json, out, _) = output(Streams { json: true, ..Streams::default() });
    json.error(&Error::usage("\u{1b}[2J\u{9b}2J\u{7f} é"), None);
    let text = out.text();
    assert!(!text.trim_end().contains(char::is_control), "{text:?}");
    assert!(text.contains(r"\u001b[2J\u009b2J\u007f é"), "{text}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["schema"], 1);
}

#[test]
fn results_and_messages_go_their_ways() {
    let report = ListReport::default();
    let (text, out, err) = output(Streams::default());
    text.message("hello");
    text.result(&report, |_| "a table\n".to_owned());
    assert_eq!((out.text().as_str(), err.text().as_str()), ("a table\n", "hello\n"));

    let (quiet, out, err) = output(Streams { quiet: true, ..Streams::default() });
    quiet.message("hello");
    quiet.reporter().report(&Event::Warning { text: "hello".into() });
    quiet.result(&report, |_| "a table".to_owned());
    quiet.error(&Error::Cancelled, None);
    assert_eq!(out.text(), "a table\n");
    assert_eq!(err.text(), "error: cancelled, nothing was changed\n");

    let (json, out, err) = output(Streams { json: true, ..Streams::default() });
    json.message("hello");
    json.result(&report, |_| "a table".to_owned());
    assert_eq!((out.text().as_str(), err.text().as_str()), ("{\"schema\":1,\"instances\":[]}\n", ""));

    let (json, out, err) = output(Streams { json: true, ..Streams::default() });
    let taken = Error::PortInUse {
        address: "127.0.0.1".into(),
        port: 3000,
        holder: Some("node (pid 4711)".into()),
        free_port: Some(3001),
    };
    json.error(&taken, Some("default"));
    assert_eq!(err.text(), "");
    assert_snapshot!(out.text(), @r#"{"schema":1,"error":{"code":"PORT_IN_USE","message":"port 3000 on 127.0.0.1 is taken","causes":["node (pid 4711) is listening on it"],"hint":"docklet setup --port 3001","instance":"default"}}"#);
}

/// What an agent may put into its log, a name, or an answer.
const EVIL: &str = "a\u{1b}\u{1b}[31m]0;T\u{7}b\rc\u{9b}2Jd\u{202e}e\u{1b}]0;title\u{7}f";

#[test]
fn nothing_foreign_reaches_a_terminal_with_what_a_terminal_obeys() {
    let terminal = Streams { stdout_is_terminal: true, unicode: true, ..Streams::default() };
    for streams in [Streams { color: ColorChoice::Always, ..terminal }, Streams::default()] {
        let (output, out, err) = output(streams);
        let foreign = "ba]0;Tbcdef";
        // A result that brings escape sequences is shown without any colour, its own included.
        output.result(&[format!("b\u{1b}[31m{EVIL}")], |style| style.error(&format!("b\u{1b}[31m{EVIL}")));
        assert_eq!(out.text(), format!("{foreign}\n"));
        output.reporter().report(&Event::Note { text: format!("b{EVIL}\nerror: not ours") });
        output.reporter().report(&Event::Decision(crate::report::Decision {
            at: "b".into(),
            decision: "x".into(),
            text: EVIL.into(),
        }));
        let lines = format!("{foreign} error: not ours\nb {}\n", &foreign[1..]);
        assert_eq!(err.text(), lines);
        let log_tail = vec![format!("b{EVIL}\nerror: not ours")];
        let (name, reason) = (format!("b{EVIL}\nx"), format!("b{EVIL}"));
        output.error(&Error::StartFailed { name, reason, log: log_tail }, None);
        let shown = console::strip_ansi_codes(err.text().strip_prefix(&lines).unwrap()).into_owned();
        assert!(shown.starts_with(&format!("error: {foreign} x did not start\n  caused by: {foreign}\n")), "{shown:?}");
        assert!(shown.contains(&format!("\n      {foreign}\n  error: not ours\n")), "{shown:?}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
    let (plain, _, err) = output(Streams::default());
    plain.message(EVIL);
    assert_eq!(err.text(), "a]0;Tbcdef\n");
    // In JSON it stays as it is: JSON escapes it.
    let (json, out, _) = output(Streams { json: true, ..terminal });
    json.result(&serde_json::json!({ "name": EVIL }), |_| String::new());
    let read: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
    assert_eq!(read, serde_json::json!({ "schema": 1, "name": EVIL }));
    assert!(!out.text().contains('\u{1b}'));
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let output = Output::to(Streams::default(), Box::new(Gone), Box::new(Gone));
    assert!(!output.raw("a line of a log\n"));
    assert!(!output.raw("another\n"));
    output.error(&Error::Cancelled, None);
}
