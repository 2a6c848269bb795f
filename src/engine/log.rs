//! A container's log as whole lines with the time of each, and how far it was read: engines cut long
//! lines into pieces, and a log that is opened again begins with lines that were read already.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    pin::Pin,
    time::Duration,
};

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use futures_util::{Stream, StreamExt as _, stream};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    DEADLINE, Engine,
    docker::WORK_DEADLINE,
    error::{status_of, translate},
};
use crate::{
    clean,
    error::{Error, ObjectKind, Result},
};

/// A longer line is handed on in pieces of about this size: memory is bounded whatever is logged.
const LONGEST_LINE: usize = 64 * 1024;

/// What of a log is wanted.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// How many lines from the end; `None` for all.
    pub tail: Option<usize>,
    /// Only lines since then, in seconds since 1970.
    pub since: Option<i32>,
    /// Whether to go on as lines come.
    pub follow: bool,
}

/// A line of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogLine {
    /// Whether it came from standard error.
    pub error_stream: bool,
    /// When, in nanoseconds since 1970 by the engine's clock; `None` where the engine does not say.
    pub at: Option<i128>,
    /// The same as the engine writes it; empty where it does not.
    pub stamp: String,
    /// The line without its end, as it was logged: control characters and all.
    pub text: String,
}

impl Engine {
    /// A container's log, oldest first.
    pub fn logs(&self, name: &str, request: &LogRequest) -> impl Stream<Item = Result<LogLine>> + Send + use<> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(request.follow)
            .timestamps(true)
            .since(request.since.unwrap_or(0))
            .tail(&request.tail.map_or("all".to_owned(), |n| n.to_string()))
            .build();
        let call = format!("read the log of {name}");
        let missing = name.to_owned();
        let pieces = self.docker.logs(name, Some(options)).map(move |piece| match piece {
            Ok(piece) => Ok(piece),
            Err(e) if status_of(&e) == Some(404) => {
                Err(Error::NoSuchObject { kind: ObjectKind::Container, name: missing.clone() })
            }
            Err(e) => Err(translate(&call, e)),
        });
        let late = Error::EngineTimeout { call: format!("read the log of {name}"), seconds: WORK_DEADLINE.as_secs() };
        let limit = (!request.follow).then_some((WORK_DEADLINE, late));
        lines(in_time(limit, Box::pin(pieces)))
    }

    /// The last lines of a container's log, for error messages: best effort, never an error.
    pub async fn log_tail(&self, name: &str, lines: usize) -> Vec<String> {
        let request = LogRequest { tail: Some(lines), ..LogRequest::default() };
        let collect = async {
            let mut text = Vec::new();
            let mut stream = std::pin::pin!(self.logs(name, &request));
            while let Some(Ok(line)) = stream.next().await {
                text.push(clean::line(&line.text, false));
            }
            text
        };
        tokio::time::timeout(DEADLINE, collect).await.unwrap_or_default()
    }
}

type Pieces = Pin<Box<dyn Stream<Item = Result<LogOutput>> + Send>>;

/// A log that does not go on comes piece by piece without long pauses.
fn in_time(limit: Option<(Duration, Error)>, pieces: Pieces) -> Pieces {
    let Some((limit, late)) = limit else { return pieces };
    let late = move || Err(late.clone());
    Box::pin(stream::unfold(Some(pieces), move |pieces| {
        let late = late.clone();
        async move {
            let mut pieces = pieces?;
            match tokio::time::timeout(limit, pieces.next()).await {
                Ok(piece) => piece.map(|piece| (piece, Some(pieces))),
                Err(_) => Some((late(), None)),
            }
        }
    }))
}

/// Pieces of log → lines.
fn lines(pieces: Pieces) -> impl Stream<Item = Result<LogLine>> + Send {
    let state = (pieces, Assembler::default(), VecDeque::new(), false);
    stream::unfold(state, async |(mut pieces, mut assembler, mut ready, mut ended)| {
        loop {
            if let Some(line) = ready.pop_front() {
                return Some((Ok(line), (pieces, assembler, ready, ended)));
            }
            if ended {
                return None;
            }
            match pieces.next().await {
                Some(Ok(piece)) => {
                    let error_stream = matches!(piece, LogOutput::StdErr { .. });
                    assembler.take(error_stream, &piece.into_bytes(), &mut ready);
                }
                // What was begun is left out: who opens the log again gets the whole line.
                Some(Err(error)) => return Some((Err(error), (pieces, Assembler::default(), ready, true))),
                None => {
                    ended = true;
                    assembler.rest(&mut ready);
                }
            }
        }
    })
}

/// Puts lines together from their pieces, each stream's for itself.
#[derive(Debug, Default)]
struct Assembler {
    open: [Option<OpenLine>; 2],
}

/// A line whose end has not come yet.
#[derive(Debug)]
struct OpenLine {
    at: Option<i128>,
    stamp: String,
    bytes: Vec<u8>,
}

impl Assembler {
    fn take(&mut self, error_stream: bool, piece: &[u8], ready: &mut VecDeque<LogLine>) {
        // Each piece of a long line has the time before it.
        let (at, stamp, mut text) = split_stamp(piece);
        let open = &mut self.open[usize::from(error_stream)];
        while !text.is_empty() {
            let begun = open.get_or_insert_with(|| OpenLine { at, stamp: stamp.to_owned(), bytes: vec![] });
            let end = text.iter().position(|b| *b == b'\n');
            begun.bytes.extend_from_slice(&text[..end.unwrap_or(text.len())]);
            text = end.map_or(&[][..], |end| &text[end + 1..]);
            if end.is_some() || begun.bytes.len() >= LONGEST_LINE {
                ready.extend(open.take().map(|begun| begun.line(error_stream)));
            }
        }
    }

    fn rest(&mut self, ready: &mut VecDeque<LogLine>) {
        let rest = self.open.iter_mut().zip([false, true]);
        ready.extend(rest.filter_map(|(open, error_stream)| open.take().map(|begun| begun.line(error_stream))));
    }
}

impl OpenLine {
    fn line(self, error_stream: bool) -> LogLine {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        LogLine { error_stream, at: self.at, stamp: self.stamp, text }
    }
}

/// The time before a piece of log, and the rest.
fn split_stamp(piece: &[u8]) -> (Option<i128>, &str, &[u8]) {
    let none = (None, "", piece);
    let Some(space) = piece.iter().take(40).position(|b| *b == b' ') else { return none };
    let Ok(stamp) = std::str::from_utf8(&piece[..space]) else { return none };
    match OffsetDateTime::parse(stamp, &Rfc3339) {
        Ok(at) => (Some(at.unix_timestamp_nanos()), stamp, &piece[space + 1..]),
        Err(_) => none,
    }
}

/// How far a log was read. Each of the two streams is in the order of its times; together they need not be.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    /// Of each stream the time of the last line, and the lines that were read of that time, as hashes.
    read: [Option<(i128, Vec<u64>)>; 2],
    /// Of each stream, while lines come again: those of the last time that are still to come. Who began at the log's end may
    /// have read only the last of that time: some engines write whole seconds.
    again: [Option<VecDeque<u64>>; 2],
}

impl Mark {
    /// From when on to read again, in seconds since 1970: the engine's client knows no smaller unit.
    pub fn since(&self) -> Option<i32> {
        let second = self.last()?.div_euclid(1_000_000_000);
        i32::try_from(second).ok()
    }

    fn last(&self) -> Option<i128> {
        self.read.iter().flatten().map(|(at, _)| *at).max()
    }

    /// The log is read again from [`Mark::since`] on.
    pub fn begin_again(&mut self) {
        let last = self.last();
        for (read, again) in self.read.iter_mut().zip(&mut self.again) {
            // A stream that was silent so far begins after the other's last line.
            *read = read.take().or(last.map(|at| (at, vec![])));
            *again = read.as_ref().map(|(_, lines)| lines.iter().copied().collect());
        }
    }

    /// Whether a line was not read before.
    pub fn is_new(&mut self, line: &LogLine) -> bool {
        let Some(at) = line.at else { return true };
        let (read, again) =
            (&mut self.read[usize::from(line.error_stream)], &mut self.again[usize::from(line.error_stream)]);
        let line = hash(&line.text);
        if let (Some(left), Some((last, _))) = (again.as_mut(), read.as_ref()) {
            if at < *last {
                return false;
            }
            if at == *last && !left.is_empty() {
                // What comes before them was not asked for.
                if left.front() == Some(&line) {
                    left.pop_front();
                }
                return false;
            }
        }
        // From here on all is new, whatever the engine's clock does.
        *again = None;
        match read {
            Some((last, lines)) if *last == at => lines.push(line),
            _ => *read = Some((at, vec![line])),
        }
        true
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn piece(error_stream: bool, bytes: &[u8]) -> Result<LogOutput> {
        let message = bytes.to_vec().into();
        Ok(if error_stream { LogOutput::StdErr { message } } else { LogOutput::StdOut { message } })
    }

    async fn assembled(pieces: Vec<Result<LogOutput>>) -> Vec<String> {
        let lines = lines(Box::pin(stream::iter(pieces))).collect::<Vec<_>>().await;
        let shown =
            |line: LogLine| format!("{}{}|{}", if line.error_stream { "E" } else { "O" }, line.stamp, line.text);
        lines.into_iter().map(|line| line.map_or_else(|e| format!("! {e}"), shown)).collect()
    }

    #[tokio::test]
    async fn pieces_become_lines() {
        let long = "x".repeat(LONGEST_LINE);
        let lines = assembled(vec![
            piece(false, b"2026-11-21T08:00:00.000000001Z first\n"),
            // A long line comes in pieces, and the other stream in between.
            piece(false, b"2026-11-21T08:00:00.000000002Z be"),
            piece(true, b"2026-11-21T08:00:00.000000003Z oops\n"),
            piece(false, b"2026-11-21T08:00:00.000000002Z gun\n"),
            piece(false, b"no time\n"),
            piece(false, b"2026-11-21T08:00:00+00:00 \n"),
            piece(true, b"2026-11-21T08:00:00.000000004Z without an end"),
        ])
        .await;
        insta::assert_debug_snapshot!(lines, @r#"
        [
            "O2026-11-21T08:00:00.000000001Z|first",
            "E2026-11-21T08:00:00.000000003Z|oops",
            "O2026-11-21T08:00:00.000000002Z|begun",
            "O|no time",
            "O2026-11-21T08:00:00+00:00|",
            "E2026-11-21T08:00:00.000000004Z|without an end",
        ]
        "#);
        assert_eq!(assembled(vec![piece(false, long.as_bytes()), piece(false, b"y\n")]).await.len(), 2);
        let broken = vec![piece(false, b"2026-11-21T08:00:00Z be"), Err(Error::bug("gone")), piece(false, b"x\n")];
        assert_eq!(assembled(broken).await.len(), 1, "an error ends it, and what was begun is not told");
    }

    #[tokio::test]
    async fn a_log_that_does_not_go_on_has_a_limit() {
        let first = || stream::iter([piece(false, b"2026-11-21T08:00:00Z first\n")]);
        let late = Error::EngineTimeout { call: "read".to_owned(), seconds: 0 };
        let pieces: Pieces = Box::pin(first().chain(stream::pending()));
        let read: Vec<_> = lines(in_time(Some((Duration::from_millis(20), late)), pieces)).collect().await;
        assert!(matches!(read.as_slice(), [Ok(_), Err(Error::EngineTimeout { .. })]), "{read:?}");
        assert_eq!(lines(in_time(None, Box::pin(first()))).count().await, 1);
    }

    fn at(at: i128, error_stream: bool) -> LogLine {
        LogLine { at: Some(at), error_stream, ..LogLine::default() }
    }

    #[test]
    fn a_log_that_is_opened_again_repeats_nothing_and_loses_nothing() {
        let log = [(1, false), (5, false), (5, false), (6, true), (7, true), (7, true), (9, false), (8, true)];
        let log = log.map(|(n, error_stream)| at(n, error_stream));
        for cut in 1..=log.len() {
            let mut mark = Mark::default();
            assert!(log[..cut].iter().all(|line| mark.is_new(line)));
            for _ in 0..2 {
                mark.begin_again();
                // The log has not grown: nothing is new.
                assert!(!log[..cut].iter().any(|line| mark.is_new(line)), "cut at {cut}");
            }
            mark.begin_again();
            let told = log.iter().filter(|line| mark.is_new(line)).count();
            assert_eq!(told, log.len() - cut, "cut at {cut}");
        }
    }

    /// As Podman 4.3 writes its log: all of a second has one time.
    #[test]
    fn who_began_in_the_middle_of_a_time_sees_nothing_twice() {
        let line = |text: &str| LogLine { text: text.to_owned(), ..at(5, false) };
        let log = ["a", "b", "c", "d", "e"].map(line);
        let mut mark = Mark::default();
        assert!(log[2..4].iter().all(|line| mark.is_new(line)));
        mark.begin_again();
        let told: Vec<&str> = log.iter().filter(|line| mark.is_new(line)).map(|line| line.text.as_str()).collect();
        assert_eq!(told, ["e"]);
    }

    #[test]
    fn a_clock_that_goes_back_costs_no_line() {
        let mut mark = Mark::default();
        assert!([9, 4, 5].iter().all(|n| mark.is_new(&at(*n, false))));
        assert_eq!(mark.since(), Some(0));
        assert!(mark.is_new(&LogLine::default()));
    }
}
