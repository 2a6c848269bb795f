//! `docklet logs`

use std::{collections::VecDeque, process::ExitCode, time::Instant};

use futures_util::StreamExt as _;
use time::{Duration, OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339};
use tokio::sync::mpsc;

use super::{args, context::Context};
use crate::{
    clean,
    clock::Zone,
    engine::{
        Engine,
        container::Detail,
        log::{LogLine, LogRequest},
    },
    error::{Error, ObjectKind, Result},
    follow::{self, Message},
    lock::Lock,
    ops,
    present::Style,
    report::LogsReport,
    units,
};

/// Most lines that are shown of what was logged before.
pub const MOST_LINES: u64 = 10_000;

/// How long to wait for a docklet command that removed the container: it may be about to make a new one.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Lines that wait while the reader is busy.
const WAITING_LINES: usize = 64;

/// Shows the container's log. Text goes through as it comes; JSON is collected, at most 10,000 lines.
pub async fn run(context: &Context, args: &args::Logs) -> Result<ExitCode> {
    let since = args
        .since
        .as_deref()
        .map(|text| since(text, OffsetDateTime::now_utc(), &context.environment.zone))
        .transpose()?;
    if args.follow && context.global.json {
        return Err(Error::Usage {
            message: "--follow never ends, so it has no JSON form".to_owned(),
            hint: Some("leave out --json or --follow".to_owned()),
        });
    }
    let engine = context.engine().await?;
    ops::stop::find(context, &engine).await?;
    let limit = usize::try_from(args.lines).unwrap_or(usize::MAX);
    let request = LogRequest { tail: Some(limit), since, follow: false };
    if args.follow {
        return Follow::new(context, args).run(engine, request).await;
    }
    tokio::select! {
        biased;
        () = context.interrupt.wait() => Ok(interrupted()),
        shown = show(context, args, &engine, request) => shown.map(|()| ExitCode::SUCCESS),
    }
}

/// As a shell says it of a command that Ctrl-C ended; nothing went wrong, so there is no message.
pub fn interrupted() -> ExitCode {
    ExitCode::from(crate::error::Code::Interrupted.exit_status())
}

/// Shows what was logged so far.
async fn show(context: &Context, args: &args::Logs, engine: &Engine, request: LogRequest) -> Result<()> {
    let limit = request.tail.unwrap_or(usize::MAX);
    let name = context.container_name();
    // One line more than wanted tells whether there are older ones.
    let all = limit.saturating_add(1);
    let mut lines = last(engine, &name, LogRequest { tail: Some(all), ..request.clone() }, all).await?;
    if lines.len() < all && lines.iter().any(|line| line.text.len() >= PIECE) {
        // The engine counts the pieces of long lines.
        lines = last(engine, &name, LogRequest { tail: None, ..request }, all).await?;
    }
    let truncated = lines.len() > limit;
    lines.drain(..lines.len().saturating_sub(limit));
    if context.global.json {
        let lines: Vec<String> = lines.iter().map(|line| text(line, args, &Zone::default(), false)).collect();
        let report = LogsReport {
            instance: context.name.to_string(),
            line_count: lines.len(),
            lines,
            tail_limit: limit,
            truncated,
        };
        context.output.result(&report, |_| String::new());
        return Ok(());
    }
    if !lines.iter().all(|line| print(context, args, line)) {
        return Ok(()); // nobody reads on
    }
    if truncated && args.lines == MOST_LINES {
        context.output.message(&format!(
            "-- only the last {MOST_LINES} lines are shown; for older ones: docker logs {name} 2>&1 | cat -v --"
        ));
    }
    Ok(())
}

/// Length of the pieces in which an engine keeps a long line, in bytes.
const PIECE: usize = 16 << 10;

/// The last lines, at most so many.
async fn last(engine: &Engine, name: &str, request: LogRequest, most: usize) -> Result<VecDeque<LogLine>> {
    let mut stream = std::pin::pin!(engine.logs(name, &request));
    let mut lines = VecDeque::new();
    while let Some(line) = stream.next().await {
        lines.push_back(line?);
        if lines.len() > most {
            lines.pop_front();
        }
    }
    Ok(lines)
}

/// A line as it is shown: only colours are passed on, and those only where they are wanted.
fn text(line: &LogLine, args: &args::Logs, zone: &Zone, color: bool) -> String {
    let text = clean::line(&line.text, color);
    let text = if color { with_level(text) } else { text };
    if args.timestamps && !line.stamp.is_empty() { format!("{} {text}", zone.exactly(&line.stamp)) } else { text }
}

/// A line of opencode's log with its level in colour. One that has colours of its own stays as it is.
fn with_level(line: String) -> String {
    let style = Style { color: true, unicode: false };
    let level = line.split_whitespace().next().unwrap_or_default();
    let painted = match level {
        "ERROR" | "FATAL" => style.error(level),
        "WARN" => style.warning(level),
        "INFO" => style.ok(level),
        "DEBUG" | "TRACE" => style.dim(level),
        _ => return line,
    };
    line.replacen(level, &painted, 1)
}

/// `false` once nobody reads any more.
fn print(context: &Context, args: &args::Logs, line: &LogLine) -> bool {
    let mut text = text(line, args, &context.environment.zone, context.output.style().color);
    text.push('\n');
    context.output.raw(&text)
}

/// What `logs -f` remembers.
struct Follow<'a> {
    context: &'a Context,
    args: &'a args::Logs,
    name: String,
    engine: Option<Engine>,
    /// The container as it was last; the outer `None` until it is known.
    container: Option<Option<Box<Detail>>>,
    /// The container whose run is shown.
    shown: Option<String>,
    log_ended: bool,
    /// The run whose end was told last: its container, and when it started. Ends are known to the second only.
    end_told: Option<(String, Option<i128>)>,
    lost: bool,
}

impl<'a> Follow<'a> {
    fn new(context: &'a Context, args: &'a args::Logs) -> Self {
        Follow {
            context,
            args,
            name: context.container_name(),
            engine: None,
            container: None,
            shown: None,
            log_ended: false,
            end_told: None,
            lost: false,
        }
    }

    /// Shows lines as they come, over restarts and replacements, until the container is removed for good.
    async fn run(mut self, engine: Engine, request: LogRequest) -> Result<ExitCode> {
        let (to, mut from) = mpsc::channel(WAITING_LINES);
        tokio::spawn(follow::follow(self.context.subject(Some(request), false), Some(engine), to));
        let mut look_at: Option<Instant> = None;
        loop {
            let removed = self.log_ended && matches!(self.container, Some(None));
            // Messages do not put it off.
            look_at = removed.then(|| look_at.unwrap_or_else(|| Instant::now() + LOOK_AGAIN));
            let message = tokio::select! {
                biased;
                () = self.context.interrupt.wait() => return Ok(interrupted()),
                message = from.recv() => message,
                () = tokio::time::sleep_until(look_at.unwrap_or_else(Instant::now).into()), if removed => {
                    look_at = None;
                    if self.is_gone_for_good().await {
                        return Ok(ExitCode::SUCCESS);
                    }
                    continue;
                }
            };
            let Some(message) = message else { return Err(Error::bug("the follower ended")) };
            if !self.take(message)? {
                return Ok(ExitCode::SUCCESS); // nobody reads on
            }
        }
    }

    /// `false` once nobody reads any more.
    fn take(&mut self, message: Message) -> Result<bool> {
        match message {
            Message::Connected(engine) => {
                if std::mem::take(&mut self.lost) {
                    self.say("the container engine is back");
                }
                self.engine = Some(*engine);
            }
            Message::Lost(error) => {
                if !std::mem::replace(&mut self.lost, true) {
                    self.say(&format!("the container engine does not respond ({error}); waiting for it"));
                }
            }
            Message::Container(None) if self.container.is_none() => {
                return Err(Error::NoSuchObject { kind: ObjectKind::Container, name: self.name.clone() });
            }
            Message::Container(container) => {
                self.container = Some(container);
                self.tell_end();
            }
            Message::Run(detail) => {
                self.log_ended = false;
                let at = self.time(detail.started_at.as_deref());
                match self.shown.replace(detail.id.clone()) {
                    None => {}
                    Some(id) if id == detail.id => self.say(&format!("{} restarted at {at}", self.name)),
                    Some(_) => self.say(&format!("{} was replaced, the new one started at {at}", self.name)),
                }
            }
            Message::Log(line) => return Ok(print(self.context, self.args, &line)),
            Message::LogEnded => {
                self.log_ended = true;
                self.tell_end();
            }
            Message::Usage(_) => {}
        }
        Ok(true)
    }

    /// Says once that it has ended, when all that it logged was shown.
    fn tell_end(&mut self) {
        let Some(Some(detail)) = &self.container else { return };
        let run = Some((detail.id.clone(), detail.run));
        if detail.running || !self.log_ended || detail.finished_at.is_none() || self.end_told == run {
            return;
        }
        self.end_told = run;
        let at = self.time(detail.finished_at.as_deref());
        let code = detail.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
        self.say(&format!("{} ended at {at}{code}; waiting for its next start", self.name));
    }

    /// Whether the container was removed and no docklet command is about to make a new one; says so.
    async fn is_gone_for_good(&mut self) -> bool {
        if Lock::is_held(&self.context.files.lock()) {
            return false;
        }
        if let Some(engine) = &self.engine
            && !matches!(engine.container(&self.name).await, Ok(None))
        {
            return false;
        }
        let what = if self.context.files.settings().exists() { "was removed" } else { "was uninstalled" };
        self.say(&format!("{} {what}", self.name));
        true
    }

    fn time(&self, at: Option<&str>) -> String {
        self.context.environment.zone.exactly(at.unwrap_or_default())
    }

    fn say(&self, text: &str) {
        self.context.output.message(&format!("-- {text} --"));
    }
}

/// Seconds since 1970 of "10m" before `now`, or of a time or date, of the user's wall clock where it names no zone.
fn since(text: &str, now: OffsetDateTime, zone: &Zone) -> Result<i32> {
    if text.trim().parse::<f64>().is_ok() {
        return Err(Error::Usage {
            message: format!("--since {text} needs a unit"),
            hint: Some(format!("write it like {0}s, {0}m or {0}h", text.trim())),
        });
    }
    let parsed = if let Ok(ago) = units::parse_duration(text) {
        // Longer ago than time goes back means: all.
        let at = Duration::try_from(ago).ok().and_then(|ago| now.checked_sub(ago));
        Some(at.unwrap_or(OffsetDateTime::UNIX_EPOCH))
    } else {
        moment(text, zone)
    };
    let Some(at) = parsed else {
        return Err(Error::Usage {
            message: format!("`{text}` isn't a valid time"),
            hint: Some(
                "write it like 10m, 2h, 2026-11-21, \"2026-11-21 08:00\" or 2026-11-21T08:00:00Z; without a zone it is local time"
                    .to_owned(),
            ),
        });
    };
    // The engine's client counts in 32 bits; a time before 1970 means: all.
    Ok(i32::try_from(at.unix_timestamp().max(0)).unwrap_or(i32::MAX))
}

/// A moment as people and programs write it: RFC 3339, of which the zone, the seconds and the time may be left out.
fn moment(text: &str, zone: &Zone) -> Option<OffsetDateTime> {
    let joined = text.trim().replacen(' ', "T", 1);
    let parse = |rest: &str| OffsetDateTime::parse(&format!("{joined}{rest}"), &Rfc3339).ok();
    let wall = |at: OffsetDateTime| zone.moment(PrimitiveDateTime::new(at.date(), at.time()));
    parse("").or_else(|| ["Z", ":00Z", "T00:00:00Z"].into_iter().find_map(parse).map(wall))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_spelling_of_since() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        let since = |text: &str, now| since(text, now, &Zone::default());
        assert_eq!(since("10m", now).unwrap(), 999_400);
        assert_eq!(since("1970-01-02", now).unwrap(), 86_400);
        assert_eq!(since("1970-01-01T01:00:00+01:00", now).unwrap(), 0);
        assert_eq!(since("1970-01-02 01:00", now).unwrap(), 90_000);
        assert_eq!(since("1970-01-02T01:00", now).unwrap(), 90_000);
        assert_eq!(since("1970-01-02 01:00:05", now).unwrap(), 90_005);
        assert_eq!(since("1970-01-02 01:00:05+01:00", now).unwrap(), 86_405);
        let hint = since("5", now).unwrap_err().hint().unwrap();
        assert!(hint.contains("5s, 5m or 5h"), "{hint}");
        assert!(since("1970-01-32", now).is_err() && since("1970-01-02 25:00", now).is_err());
        assert_eq!(since("99999d", now).unwrap(), 0);
        assert_eq!(since("99999999999999d", now).unwrap(), 0);
        assert!(since("yesterday", now).is_err());
    }

    #[test]
    fn a_time_without_a_zone_is_local() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        let since = |text: &str| since(text, now, &Zone::find(Some("CET-1CEST,M3.5.0,M10.5.0/3"))).unwrap();
        assert_eq!(since("1970-01-02 02:00"), 90_000);
        assert_eq!(since("1970-01-02"), 82_800);
        assert_eq!(since("1970-01-02T01:00:00Z"), 90_000);
        assert_eq!(since("1970-01-02 01:00:05+01:00"), 86_405);
        assert_eq!(since("10m"), 999_400);
    }

    #[test]
    fn levels_are_coloured_and_nothing_else() {
        let line = "ERROR 2026-11-26T12:00:00 +5ms service=server ERROR";
        assert_eq!(with_level(line.to_owned()), line.replacen("ERROR", "\u{1b}[31m\u{1b}[1mERROR\u{1b}[0m", 1));
        for plain in ["INFORMATION x", "x INFO", "", "\u{1b}[31mERROR\u{1b}[0m"] {
            assert_eq!(with_level(plain.to_owned()), plain);
        }
    }
}
