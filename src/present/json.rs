//! Progress for programs: one JSON object a line, each with `"schema": 1` and `"event"`. At most
//! five states of a transfer or build a second; the last one is always written.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use super::{Clock, SharedWriter, Versioned};
use crate::event::{Event, Reporter};

/// Least time between two states of the same work.
const INTERVAL: Duration = Duration::from_millis(200);

/// See the module.
pub struct Json {
    to: SharedWriter,
    clock: Clock,
    state: RefCell<JsonState>,
}

#[derive(Default)]
struct JsonState {
    last: Option<Instant>,
    /// The newest state that has not been written.
    held: Option<Event>,
}

impl Json {
    pub(super) fn new(to: SharedWriter, clock: Clock) -> Self {
        Json { to, clock, state: RefCell::default() }
    }

    fn write(&self, event: &Event) {
        if let Ok(text) = Versioned::line(event) {
            self.to.line(&text);
        }
    }
}

impl Reporter for Json {
    fn report(&self, event: &Event) {
        let mut state = self.state.borrow_mut();
        match event {
            Event::Transfer(_) | Event::Build(_) => {
                let now = (self.clock)();
                if state.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
                    state.held = Some(event.clone());
                } else {
                    state.last = Some(now);
                    state.held = None;
                    self.write(event);
                }
            }
            // What a build step prints does not end the state before it.
            Event::BuildLog { .. } => self.write(event),
            _ => {
                if let Some(held) = state.held.take() {
                    self.write(&held);
                }
                state.last = None;
                self.write(event);
            }
        }
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        if let Some(held) = self.state.borrow_mut().held.take() {
            self.write(&held);
        }
    }
}
