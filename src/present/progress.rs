//! Progress for people at a terminal: finished steps stay as lines, below them the running step
//! with its bars or last log lines. What is shown is a pure function of what was reported, the
//! time and the terminal's size; indicatif draws it, and lives here and nowhere else.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{
    Clock,
    numbering::Numbering,
    style::{Style, columns, ticking, wrap},
};
use crate::{
    event::{Build, Event, Layer, LayerPhase, Reporter, Transfer},
    units::{Bytes, Elapsed},
};

/// How many log lines of a running step are shown.
const LOG_LINES: usize = 4;
/// How many bars are shown below each other.
const MOST_BARS: usize = 6;
/// Speed is measured over this time.
const SPEED_WINDOW: Duration = Duration::from_secs(5);

/// The terminal's height and width.
type Size = Arc<dyn Fn() -> (usize, usize) + Send + Sync>;

/// See the module.
pub struct Human {
    bar: ProgressBar,
    step: Arc<Mutex<Option<ShownStep>>>,
    numbering: Mutex<Numbering>,
    style: Style,
    clock: Clock,
    size: Size,
}

struct ShownStep {
    /// Such as `[2/6]`; empty for what happens outside a plan.
    number: String,
    name: String,
    began: Instant,
    view: ProgressView,
    log: VecDeque<String>,
    /// The furthest that each bar has been: bars never go backwards.
    furthest: BTreeMap<String, f64>,
}

enum ProgressView {
    Nothing,
    Transfer(Transfer, Speed),
    Build(Build, Instant),
    Waiting { seen: String, timeout: Duration },
}

/// Bytes over time.
#[derive(Default)]
struct Speed(VecDeque<(Instant, u64)>);

impl Speed {
    fn note(&mut self, now: Instant, bytes: u64) {
        self.0.push_back((now, bytes));
        while self.0.len() > 2 && self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > SPEED_WINDOW) {
            self.0.pop_front();
        }
    }

    /// Bytes a second; `None` until there is something to measure.
    fn get(&self) -> Option<u64> {
        let ((first, before), (last, after)) = (self.0.front()?, self.0.back()?);
        let seconds = last.duration_since(*first).as_secs_f64();
        (seconds >= 0.5).then(|| (after.saturating_sub(*before) as f64 / seconds) as u64)
    }
}

impl Human {
    pub(super) fn on_stderr(style: Style, clock: Clock) -> Self {
        let terminal = console::Term::stderr();
        let size = move || {
            let (rows, width) = terminal.size();
            (usize::from(rows), usize::from(width))
        };
        let human = Human::on(ProgressDrawTarget::stderr_with_hz(15), style, clock, Arc::new(size));
        human.bar.enable_steady_tick(Duration::from_millis(100));
        human
    }

    pub(super) fn on(target: ProgressDrawTarget, style: Style, clock: Clock, size: Size) -> Self {
        let step = Arc::new(Mutex::new(None));
        let bar = ProgressBar::with_draw_target(None, target);
        let (shared, now, room) = (Arc::clone(&step), Arc::clone(&clock), Arc::clone(&size));
        let draw = move |_: &ProgressState, to: &mut dyn fmt::Write| {
            let (rows, width) = room();
            let lines = locked(&shared).as_mut().map(|step: &mut ShownStep| step.lines(style, now(), rows, width));
            // Writing to a string cannot fail.
            let _ = to.write_str(&lines.unwrap_or_default().join("\n"));
        };
        bar.set_style(
            ProgressStyle::default_bar()
                .template("{body}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .with_key("body", draw),
        );
        Human { bar, step, numbering: Mutex::default(), style, clock, size }
    }

    /// A line that stays, above the running step.
    fn stay(&self, line: &str) {
        self.bar.println(line);
    }

    /// A sentence that stays, broken between words.
    fn note(&self, text: &str) {
        wrap(text, (self.size)().1).iter().for_each(|line| self.stay(line));
    }

    /// The line of a step that has ended.
    fn ended(&self, mark: &str, name: &str, after: &str) {
        let room = ((self.size)().1).saturating_sub(columns(mark) + columns(after) + 4);
        self.stay(&format!("{mark} {}  {}", self.style.fit(name, room), self.style.dim(after)));
    }

    fn begin(&self, number: String, name: &str) {
        self.end_outside();
        let began = (self.clock)();
        let step = ShownStep {
            number,
            name: name.to_owned(),
            began,
            view: ProgressView::Nothing,
            log: VecDeque::new(),
            furthest: BTreeMap::new(),
        };
        *locked(&self.step) = Some(step);
    }

    /// Something outside a plan, such as installing an engine, is over when something else begins.
    fn end_outside(&self) {
        let outside = locked(&self.step).take_if(|step| step.number.is_empty());
        if let Some(step) = outside {
            let elapsed = (self.clock)().duration_since(step.began);
            self.ended(&self.style.check(), &step.name, &Elapsed(elapsed).to_string());
        }
    }

    fn begin_outside(&self, name: &str) {
        let known = locked(&self.step).as_ref().is_some_and(|s| !s.number.is_empty() || s.name == name);
        if !known {
            self.begin(String::new(), name);
        }
    }

    fn change(&self, change: impl FnOnce(&mut ShownStep, Instant)) {
        let now = (self.clock)();
        if let Some(step) = locked(&self.step).as_mut() {
            change(step, now);
        }
    }
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reporter for Human {
    fn report(&self, event: &Event) {
        match event {
            Event::StepStarted { total, step, .. } => self.begin(locked(&self.numbering).next(*total), step),
            Event::StepDone { step, elapsed, .. } => {
                *locked(&self.step) = None;
                self.ended(&self.style.check(), step, &Elapsed(*elapsed).to_string());
            }
            Event::Transfer(transfer) => self.change(|step, now| step.transfer(transfer, now)),
            Event::Build(build) => self.change(|step, now| step.build(build, now)),
            Event::BuildLog { line } => self.change(|step, _| step.log_line(line)),
            Event::Waiting { what, seen, timeout, .. } => {
                self.begin_outside(&format!("wait for {what}"));
                self.change(|step, _| step.view = ProgressView::Waiting { seen: seen.clone(), timeout: *timeout });
            }
            Event::Host { what, line } => {
                self.begin_outside(what);
                self.change(|step, _| step.log_line(line));
            }
            Event::Decision(made) => self.note(&format!("{} {}", self.style.dim(&made.at), made.text)),
            Event::Note { text } => self.note(text),
            Event::Warning { text } => self.note(&format!("{} {text}", self.style.warning("warning:"))),
        }
        self.bar.tick();
    }
}

impl Drop for Human {
    fn drop(&mut self) {
        let step = locked(&self.step).take();
        if let Some(step) = step.filter(|step| !step.number.is_empty()) {
            let after = format!("stopped after {}", Elapsed((self.clock)().duration_since(step.began)));
            self.ended(&self.style.cross(), &step.name, &after);
        }
        self.bar.finish_and_clear();
    }
}

impl ShownStep {
    fn transfer(&mut self, transfer: &Transfer, now: Instant) {
        let mut speed = match std::mem::replace(&mut self.view, ProgressView::Nothing) {
            ProgressView::Transfer(_, speed) => speed,
            _ => Speed::default(),
        };
        speed.note(now, transfer.done);
        self.view = ProgressView::Transfer(transfer.clone(), speed);
    }

    fn build(&mut self, build: &Build, now: Instant) {
        // The log lines belong to the step that runs.
        if matches!(&self.view, ProgressView::Build(before, _) if before.running != build.running) {
            self.log.clear();
        }
        self.view = ProgressView::Build(build.clone(), now);
    }

    fn log_line(&mut self, line: &str) {
        if !line.trim().is_empty() {
            self.log.push_back(line.to_owned());
            while self.log.len() > LOG_LINES {
                self.log.pop_front();
            }
        }
    }

    /// How far a bar is, which is never less than it was.
    fn fraction(&mut self, bar: &str, done: u64, total: u64) -> f64 {
        let now = if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) };
        let furthest = self.furthest.entry(bar.to_owned()).or_default();
        *furthest = furthest.max(now);
        *furthest
    }

    /// All lines of the running step, each shorter than the terminal is wide, fewer than it is high.
    fn lines(&mut self, style: Style, now: Instant, rows: usize, width: usize) -> Vec<String> {
        // The last column stays free: some terminals wrap when it is written to.
        let width = width.max(12) - 1;
        let elapsed = now.duration_since(self.began);
        let time = ticking(elapsed);
        let number = if self.number.is_empty() { String::new() } else { format!("{} ", self.number) };
        let room = width.saturating_sub(2 + columns(&number) + 2 + columns(&time));
        let mut lines = vec![format!(
            "{} {}{}  {}",
            style.hint(style.spinner(elapsed)),
            style.dim(&number),
            style.fit(&self.name, room.max(8)),
            style.dim(&time)
        )];
        let bars = MOST_BARS.min(rows.saturating_sub(4).max(1));
        let view = std::mem::replace(&mut self.view, ProgressView::Nothing);
        lines.extend(match &view {
            ProgressView::Nothing => vec![],
            ProgressView::Transfer(transfer, speed) => self.transfer_lines(transfer, speed, style, width, bars),
            ProgressView::Build(build, at) => self.build_lines(build, now.duration_since(*at), style, width, bars),
            ProgressView::Waiting { seen, timeout } => {
                vec![format!("    {}", style.dim(&format!("{seen}, waiting up to {}", ticking(*timeout))))]
            }
        });
        self.view = view;
        lines.truncate(rows.saturating_sub(1).max(1));
        let left = rows.saturating_sub(1 + lines.len());
        let log = self.log.iter().skip(self.log.len().saturating_sub(left));
        // Log lines come right below what they belong to, above the bars.
        let at = if matches!(self.view, ProgressView::Build(..)) { 2.min(lines.len()) } else { lines.len() };
        lines.splice(at..at, log.map(|line| format!("      {}", style.dim(line))).collect::<Vec<_>>());
        lines.iter().map(|line| style.fit(line, width)).collect()
    }

    fn transfer_lines(
        &mut self,
        transfer: &Transfer,
        speed: &Speed,
        style: Style,
        width: usize,
        bars: usize,
    ) -> Vec<String> {
        let fraction = self.fraction("", transfer.done, transfer.total);
        let mut all = vec![of_total(transfer.done, transfer.total)];
        if let Some(speed) = speed.get() {
            all.push(format!("{}/s", Bytes(speed)));
            if let Some(left) = transfer.total.saturating_sub(transfer.done).checked_div(speed).filter(|s| *s > 0) {
                all.push(format!("{} left", ticking(Duration::from_secs(left))));
            }
        }
        if transfer.layers_total == 0 && transfer.total == 0 {
            // The total is not known: no bar.
            return vec![format!("    {}", style.dim(&all.join("  ")))];
        }
        let percent = format!("{:>3}%", (fraction * 100.0) as u64);
        let mut lines = vec![bar_line(&percent, fraction, &all, style, width)];
        if transfer.layers_total == 0 {
            return lines;
        }
        let active = transfer.active.iter().filter(|layer| layer.phase != LayerPhase::Waiting);
        let (shown, rest): (Vec<_>, Vec<_>) = active.enumerate().partition(|(index, _)| *index < bars);
        for (_, layer) in &shown {
            lines.push(self.layer_line(layer, style, width));
        }
        let waiting = transfer.active.iter().filter(|l| l.phase == LayerPhase::Waiting).count() + rest.len();
        let mut words = vec![format!("{} of {} layers done", transfer.layers_done, transfer.layers_total)];
        if waiting > 0 {
            words.push(format!("{waiting} more waiting"));
        }
        lines.push(format!("    {}", style.dim(&words.join(", "))));
        lines
    }

    fn layer_line(&mut self, layer: &Layer, style: Style, width: usize) -> String {
        let phase = match layer.phase {
            LayerPhase::Waiting => "waiting",
            LayerPhase::Downloading => "downloading",
            LayerPhase::Verifying => "verifying",
            LayerPhase::Extracting => "extracting",
        };
        let id: String = layer.id.chars().take(12).collect();
        let label = format!("{id:<12} {phase:<11}");
        let fraction = self.fraction(&label, layer.done, layer.total);
        if layer.total == 0 {
            return format!("    {}", style.dim(&label));
        }
        bar_line(&label, fraction, &[of_total(layer.done, layer.total)], style, width)
    }

    fn build_lines(&mut self, build: &Build, since: Duration, style: Style, width: usize, bars: usize) -> Vec<String> {
        let mut lines = vec![];
        match &build.running {
            Some(step) => {
                let time = ticking(build.elapsed + since);
                let start = format!("    {} of {} done, now: ", build.done, build.total);
                let room = width.saturating_sub(columns(&start) + columns(&time) + 2);
                lines.push(format!("{start}{}  {}", style.fit(step, room.max(8)), style.dim(&time)));
            }
            None => lines.push(format!("    {}", build_line(build))),
        }
        for (name, done, total) in build.transfers.iter().take(bars) {
            let label = style.fit(name, (width / 2).saturating_sub(4).clamp(8, 28));
            if *total == 0 {
                lines.push(format!("    {label}  {}", style.dim(&Bytes(*done).to_string())));
                continue;
            }
            let fraction = self.fraction(name, *done, *total);
            lines.push(bar_line(&label, fraction, &[of_total(*done, *total)], style, width));
        }
        lines
    }
}

/// How much is done, and of how much where that is known.
pub(super) fn of_total(done: u64, total: u64) -> String {
    match total {
        0 => Bytes(done).to_string(),
        total => format!("{} of {}", Bytes(done), Bytes(total)),
    }
}

/// The step of a build in a line.
pub(super) fn build_line(build: &Build) -> String {
    match &build.running {
        Some(step) => format!("{} of {} steps done, now: {step}", build.done, build.total),
        None if build.total == 0 => "waiting for the builder".to_owned(),
        None => format!("{} of {} steps done", build.done, build.total),
    }
}

/// A bar between its label and `details`; on a narrow terminal without the last of it.
fn bar_line(label: &str, fraction: f64, details: &[String], style: Style, width: usize) -> String {
    const LEAST: usize = 8;
    const MOST: usize = 24;
    let mut details = details.to_vec();
    loop {
        let text = details.join("  ");
        let room = width.saturating_sub(4 + columns(label) + 2 + columns(&text) + 2);
        if room >= LEAST || details.is_empty() {
            let bar = style.bar(fraction, room.clamp(LEAST.min(room), MOST));
            return format!("    {label} {bar}  {}", style.dim(&text)).trim_end().to_owned();
        }
        details.pop();
    }
}
