//! Which stream gets what: results, messages, events and errors.

use insta::assert_snapshot;

use super::*;
use crate::{event::Event, report::ListReport};

#[test]
fn who_shows_follows_from_the_streams() {
    let terminal = Streams { stderr_is_terminal: true, stdout_is_terminal: true, ..Streams::default() };
    assert_eq!(Mode::of(&terminal), Mode::Human);
    assert_eq!(Mode::of(&Streams { term_dumb: true, ..terminal }), Mode::Plain);
    assert_eq!(Mode::of(&Streams { stderr_is_terminal: false, ..terminal }), Mode::Plain);
    assert_eq!(Mode::of(&Streams { json: true, ..terminal }), Mode::Json);
    assert_eq!(Mode::of(&Streams { json: true, quiet: true, ..terminal }), Mode::Quiet);
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
