//! Progress without a terminal: one line when a step begins and, while it lasts, at most one every
//! ten seconds. No colours beyond those of warnings, nothing is overwritten.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use super::{
    Clock, SharedWriter,
    numbering::Numbering,
    progress::{build_line, of_total},
    style::{Style, ticking},
};
use crate::event::{Event, Reporter, Transfer};

/// Least time between two lines inside a step.
const INTERVAL: Duration = Duration::from_secs(10);

/// See the module.
pub struct Plain {
    to: SharedWriter,
    style: Style,
    clock: Clock,
    state: RefCell<PlainState>,
    numbering: RefCell<Numbering>,
}

#[derive(Default)]
struct PlainState {
    /// Such as `[2/6] `; empty outside a step.
    prefix: String,
    /// What a host command or a wait is for, when there is no step.
    outside: Option<String>,
    began: Option<Instant>,
    last_line: Option<Instant>,
}

impl Plain {
    pub(super) fn new(to: SharedWriter, style: Style, clock: Clock) -> Self {
        Plain { to, style, clock, state: RefCell::default(), numbering: RefCell::default() }
    }

    /// A line inside a step, unless there was one just before.
    fn inside(&self, text: impl FnOnce() -> String) {
        let now = (self.clock)();
        let mut state = self.state.borrow_mut();
        if state.last_line.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            return;
        }
        state.last_line = Some(now);
        let elapsed = state.began.map(|began| format!(" ({})", ticking(now.duration_since(began)))).unwrap_or_default();
        self.to.line(&format!("{}{}{elapsed}", state.prefix, text()));
    }

    /// The line with which something begins.
    fn begin(&self, prefix: String, what: &str) {
        self.to.line(&format!("{prefix}{what}"));
        let now = (self.clock)();
        *self.state.borrow_mut() = PlainState { prefix, outside: None, began: Some(now), last_line: Some(now) };
    }

    /// The same for what happens outside a step, once for each `what`.
    fn begin_outside(&self, what: &str) {
        let known = {
            let state = self.state.borrow();
            !state.prefix.is_empty() || state.outside.as_deref() == Some(what)
        };
        if !known {
            self.begin(String::new(), what);
            self.state.borrow_mut().outside = Some(what.to_owned());
        }
    }
}

impl Reporter for Plain {
    fn report(&self, event: &Event) {
        match event {
            Event::StepStarted { total, step, .. } => {
                let number = self.numbering.borrow_mut().next(*total);
                self.begin(format!("{number} "), step);
            }
            Event::StepDone { .. } => *self.state.borrow_mut() = PlainState::default(),
            Event::Transfer(transfer) => self.inside(|| transfer_line(transfer)),
            Event::Build(build) => self.inside(|| build_line(build)),
            Event::BuildLog { .. } => {}
            Event::Waiting { what, seen, .. } => {
                self.begin_outside(&format!("waiting for {what}"));
                self.inside(|| format!("still waiting for {what}: {seen}"));
            }
            Event::Host { what, line } => {
                self.begin_outside(what);
                self.inside(|| line.clone());
            }
            Event::Decision(made) => self.to.line(&format!("{} {}", made.at, made.text)),
            Event::Note { text } => self.to.line(text),
            Event::Warning { text } => self.to.line(&format!("{} {text}", self.style.warning("warning:"))),
        }
    }
}

fn transfer_line(transfer: &Transfer) -> String {
    let mut text = of_total(transfer.done, transfer.total);
    if transfer.layers_total > 0 {
        text.push_str(&format!(", {} of {} layers done", transfer.layers_done, transfer.layers_total));
    }
    text
}
