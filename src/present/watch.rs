//! The screen of `docklet status --watch`: a model and a size → lines; and lines → what a terminal
//! has to be sent to show them. Also the form for no terminal: a line for each change. Pure: the time
//! is handed in.

use std::time::Duration;

use time::OffsetDateTime;

use super::{
    status,
    style::{Style, columns, ticking, wrap},
};
use crate::{
    clean, clock,
    report::{State, StatusReport},
    units::Bytes,
    watch::{
        Dialog, History, View, Watch, WatchAction,
        history::SECONDS,
        model::{EngineState, LOG_LINES},
    },
};

/// Columns before a value: two, the label's nine, and two.
const INDENT: usize = 13;

/// Below this, a graph says nothing.
const NARROWEST_GRAPH: usize = 8;

/// Above this, a graph says no more.
const WIDEST_GRAPH: usize = 60;

/// The time, as the screen needs it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since the watch began.
    pub since_begin: Duration,
    /// By the wall clock.
    pub wall: OffsetDateTime,
}

/// The screen: at most `rows` lines of at most `width` columns.
pub fn screen(watch: &Watch, (width, rows): (u16, u16), style: Style, now: Now) -> Vec<String> {
    let (width, rows) = (usize::from(width), usize::from(rows));
    let frame = Frame { watch, width, rows, style, now };
    let mut lines = match (rows, watch.view) {
        (0, _) => vec![],
        (1, _) if watch.dialog != Dialog::Keys => vec![frame.footer()],
        (1, _) => vec![frame.header()],
        (_, View::Status) => frame.status_lines(),
        (_, View::Log) => frame.log_lines(),
    };
    lines.truncate(rows);
    lines.into_iter().map(|line| style.fit(&line, width)).collect()
}

struct Frame<'a> {
    watch: &'a Watch,
    width: usize,
    rows: usize,
    style: Style,
    now: Now,
}

impl Frame<'_> {
    fn status_lines(&self) -> Vec<String> {
        let message = self.message();
        let mut body = self.body();
        let room = self.rows.saturating_sub(2 + message.len());
        // Some of the log is shown where there is room for it: a heading and a few lines.
        let wanted_log = if room >= 10 { 4 } else { 0 };
        let blank = usize::from(room >= 8);
        while body.len() > room.saturating_sub(wanted_log + blank) {
            let least = (0..body.len()).max_by_key(|n| body[*n].0);
            body.remove(least.unwrap_or_default());
        }
        let mut lines = vec![self.header()];
        lines.extend((0..blank).map(|_| String::new()));
        let mut before = "";
        for (_, label, value) in &body {
            let shown = if *label == before { "" } else { label };
            lines.push(format!("  {}  {value}", self.style.dim(&format!("{shown:<9}"))));
            before = label;
        }
        let left = self.rows.saturating_sub(lines.len() + 1 + message.len());
        if left >= 2 {
            lines.push(self.heading("log"));
            lines.extend(tail(self.watch.log.iter().map(String::as_str), left - 1));
        }
        self.finish(lines, message)
    }

    fn log_lines(&self) -> Vec<String> {
        let message = self.message();
        let room = self.rows.saturating_sub(2 + message.len());
        // From the end on, no more than fit: a long line takes several.
        let mut shown: Vec<String> = vec![];
        for line in self.watch.log.iter().rev().take(room.min(LOG_LINES)) {
            if shown.len() >= room {
                break;
            }
            shown.extend(broken(line, self.width).into_iter().rev());
        }
        shown.truncate(room);
        shown.reverse();
        let mut lines = vec![self.header()];
        lines.extend(shown);
        self.finish(lines, message)
    }

    /// The message and the footer go to the bottom.
    fn finish(&self, mut lines: Vec<String>, message: Vec<String>) -> Vec<String> {
        lines.resize(self.rows.saturating_sub(1 + message.len()), String::new());
        lines.extend(message);
        lines.push(self.footer());
        lines
    }

    fn header(&self) -> String {
        match &self.watch.report {
            Some(report) => status::short(report, self.style).lines().next().unwrap_or_default().to_owned(),
            None => "looking".to_owned(),
        }
    }

    /// Rows of the status, each with how soon it gives way where there is little room: a higher number sooner.
    fn body(&self) -> Vec<(u8, &'static str, String)> {
        let mut rows = vec![];
        if let EngineState::Gone { reason, since } = &self.watch.engine {
            let gone = ticking(self.now.since_begin.saturating_sub(*since));
            rows.push((0, "engine", format!("{} for {gone}, waiting for it: {reason}", self.style.error("gone"))));
        }
        let Some(report) = &self.watch.report else { return rows };
        if let Some(container) = &report.container {
            rows.push((1, "container", status::container_text(container, report.state, self.now.wall)));
        }
        if self.watch.engine == EngineState::There && report.container.is_some() {
            rows.push((2, "processor", self.processor()));
            rows.push((3, "memory", self.memory()));
        }
        for volume in &report.volumes {
            let size = self.watch.sizes.get(&volume.name).map(|size| format!(", {}", Bytes(*size))).unwrap_or_default();
            let missing = if volume.exists { "" } else { " (missing)" };
            rows.push((6, "volumes", format!("{} on {}{size}{missing}", volume.name, volume.mount)));
        }
        if report.state != State::NotSetUp {
            rows.push((4, "restarts", status::supervisor_text(report, &self.watch.zone)));
        }
        rows.extend(status::events(report, &self.watch.zone).map(|event| (5, "events", event)));
        if let Some(image) = &report.image {
            rows.push((7, "image", image.reference.clone()));
        }
        if let (EngineState::There, Some(name), Some(version)) =
            (&self.watch.engine, &report.engine.name, &report.engine.version)
        {
            let at = report.engine.endpoint.as_deref().unwrap_or_default();
            rows.push((8, "engine", format!("{name} {version} at {at}")));
        }
        rows
    }

    fn processor(&self) -> String {
        let there = self.watch.usage.map_or(0, |usage| usage.cpus_there);
        let limit = if self.watch.processors > 0.0 { self.watch.processors } else { f64::from(there) };
        let text = match self.watch.usage.and_then(|usage| usage.cpus) {
            Some(cpus) if limit > 0.0 => {
                let of =
                    if (limit - 1.0).abs() < f64::EPSILON { "1 processor" } else { &format!("{limit} processors") };
                format!("{:.0} % of {of}", 100.0 * cpus / limit)
            }
            _ => String::new(),
        };
        self.with_graph(&self.watch.cpus, limit, &text)
    }

    fn memory(&self) -> String {
        let limit = self.watch.usage.map_or(0, |usage| usage.memory_limit);
        #[allow(clippy::cast_precision_loss)] // for a graph
        let most = limit as f64;
        let text = match self.watch.usage {
            Some(usage) if limit > 0 => {
                let percent = u128::from(usage.memory) * 100 / u128::from(limit);
                format!("{percent} % of {}: {}", Bytes(limit), Bytes(usage.memory))
            }
            Some(usage) => Bytes(usage.memory).to_string(),
            None => String::new(),
        };
        self.with_graph(&self.watch.memory, most, &text)
    }

    /// A graph of the last five minutes against a limit, where there is room for it, and a text.
    fn with_graph(&self, history: &History, limit: f64, text: &str) -> String {
        let runs =
            self.watch.report.as_ref().and_then(|r| r.container.as_ref()).is_some_and(|container| container.running);
        let text = match (text, runs) {
            ("", true) => "not measured", // yet, or by this engine
            ("", false) => "not running",
            (text, _) => text,
        };
        // Room for the longest text, so that both graphs are equally long.
        let room = self.width.saturating_sub(INDENT + 2 + 28).min(WIDEST_GRAPH);
        if room < NARROWEST_GRAPH {
            return text.to_owned();
        }
        // As many columns as there are spans of whole seconds.
        let seconds = usize::try_from(SECONDS).unwrap_or(room);
        let spans = history.spans(self.now.since_begin.as_secs(), seconds.div_ceil(seconds.div_ceil(room)));
        format!("{}  {text}", self.style.hint(&graph(&spans, limit, self.style)))
    }

    fn heading(&self, text: &str) -> String {
        let dash = if self.style.unicode { "─" } else { "-" };
        let left = dash.repeat(2);
        self.style.dim(&format!("{left} {text} {}", dash.repeat(self.width.saturating_sub(4 + text.len()))))
    }

    /// The result of the user's action, above the footer.
    fn message(&self) -> Vec<String> {
        let Dialog::Told { lines, failed } = &self.watch.dialog else { return vec![] };
        let broken = lines.iter().flat_map(|line| {
            let indent = line.len() - line.trim_start().len();
            wrap(line, self.width.saturating_sub(indent))
                .into_iter()
                .map(move |part| format!("{}{part}", " ".repeat(indent)))
        });
        let mut message: Vec<String> = broken.take(self.rows.saturating_sub(2)).collect();
        if let Some(first) = message.first_mut() {
            *first = if *failed { self.style.error(first) } else { self.style.ok(first) };
        }
        message
    }

    fn footer(&self) -> String {
        let container = self.watch.report.as_ref().and_then(|report| report.container.as_ref());
        let name = container.map_or("it", |container| container.name.as_str());
        match &self.watch.dialog {
            Dialog::Asking(action) => {
                let what = format!("{} {name}?", action.word());
                format!("{} y/n", self.style.warning(&what))
            }
            Dialog::Doing { action, step, since } => {
                let doing = match action {
                    WatchAction::Restart => "restarting",
                    WatchAction::Stop => "stopping",
                    WatchAction::Open => "opening",
                };
                let wheel = self.style.spinner(self.now.since_begin);
                let elapsed = ticking(self.now.since_begin.saturating_sub(*since));
                let ending = if self.watch.ending { "; ends then, Ctrl-C ends at once" } else { "" };
                let step = if step.is_empty() { String::new() } else { format!(": {step}") };
                format!("{wheel} {doing} {elapsed}{ending}{step}")
            }
            Dialog::Keys | Dialog::Told { .. } => self.keys(),
        }
    }

    fn keys(&self) -> String {
        let stopped = self.watch.report.as_ref().is_some_and(|r| matches!(r.state, State::Stopped | State::Failed));
        let log = if self.watch.view == View::Log { "back" } else { "log" };
        let keys =
            [("r", if stopped { "start" } else { "restart" }), ("s", "stop"), ("o", "open"), ("l", log), ("q", "quit")];
        let long: Vec<String> = keys.iter().map(|(key, what)| format!("{} {what}", self.style.strong(key))).collect();
        let long = long.join("  ");
        if columns(&long) <= self.width { long } else { keys.map(|(key, _)| key).join(" ") }
    }
}

/// One character for each value; nothing where nothing was measured.
fn graph(spans: &[Option<f64>], limit: f64, style: Style) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];
    let levels = if style.unicode { BLOCKS } else { ASCII };
    let level = |value: f64| {
        let share = if limit > 0.0 { (value / limit).clamp(0.0, 1.0) } else { 0.0 };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 7
        let level = (share * 8.0) as usize;
        levels[level.min(7)]
    };
    spans.iter().map(|value| value.map_or(' ', level)).collect()
}

/// The last lines that fit.
fn tail<'a>(lines: impl ExactSizeIterator<Item = &'a str>, room: usize) -> Vec<String> {
    let skip = lines.len().saturating_sub(room);
    lines.skip(skip).map(str::to_owned).collect()
}

/// A line broken into pieces that fit, wherever they end.
fn broken(line: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0;
    let mut buffer = [0; 4];
    for c in line.chars() {
        let wide = columns(c.encode_utf8(&mut buffer));
        if used + wide > width && used > 0 {
            pieces.push(String::new());
            used = 0;
        }
        used += wide;
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

/// What a terminal has to be sent so that it shows these lines in place of those.
pub fn paint(before: &[String], lines: &[String]) -> String {
    let mut text = String::new();
    for row in 0..before.len().max(lines.len()) {
        let (old, new) = (before.get(row), lines.get(row).map_or("", String::as_str));
        if old.map(String::as_str) != Some(new) {
            // Erased first: behind a line that fills the row, erasing would take its last character.
            let new = clean::line(new, true);
            text.push_str(&format!("\u{1b}[{};1H\u{1b}[2K{new}\u{1b}[0m", row + 1));
        }
    }
    text
}

/// The form for no terminal: what changed, and nothing else.
#[derive(Debug, Default)]
pub struct Changes {
    state: Option<String>,
    decided: Option<(String, String)>,
}

impl Changes {
    /// The lines for what changed since the last time.
    pub fn since(&mut self, watch: &Watch, wall: OffsetDateTime) -> Vec<String> {
        let Some(report) = &watch.report else { return vec![] };
        let mut lines = vec![];
        let decisions = &report.supervisor.decisions;
        let known =
            decisions.iter().rposition(|d| Some((&d.at, &d.text)) == self.decided.as_ref().map(|(a, t)| (a, t)));
        if self.state.is_some() {
            let new = decisions.iter().skip(known.map_or(0, |n| n + 1));
            lines.extend(new.map(|decision| format!("{} {}", decision.at, decision.text)));
        }
        self.decided = decisions.last().map(|d| (d.at.clone(), d.text.clone()));
        let state = state_line(watch, report);
        if self.state.as_ref() != Some(&state) {
            lines.push(format!("{} {state}", clock::rfc3339(wall)));
            self.state = Some(state);
        }
        lines
    }
}

fn state_line(watch: &Watch, report: &StatusReport) -> String {
    let mut line = status::short(report, Style::PLAIN).lines().next().unwrap_or_default().to_owned();
    if let EngineState::Gone { reason, .. } = &watch.engine {
        line.push_str(&format!(": {reason}"));
    }
    if let Some(container) = &report.container {
        let details = [
            container.paused.then(|| "paused".to_owned()),
            // Until the engine has looked, the page's own answer says more.
            container.health.clone().filter(|health| container.running && health != "starting"),
            container.exit_code.filter(|_| !container.running).map(|code| format!("exit code {code}")),
            container.oom_killed.then(|| "out of memory".to_owned()),
        ];
        let details: Vec<String> = details.into_iter().flatten().collect();
        if !details.is_empty() {
            line.push_str(&format!(" ({})", details.join(", ")));
        }
    }
    line
}

#[cfg(test)]
#[path = "watch/tests.rs"]
pub mod tests;
