//! The state of the watch: see [`super`].

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{History, KeyPress};
use crate::{clock::Zone, engine::stats::Usage, report::StatusReport};

/// How many lines of the log are kept.
pub const LOG_LINES: usize = 500;

/// How many characters of each are kept.
pub const LOG_COLUMNS: usize = 1000;

/// How many lines of a message are kept.
const MESSAGE_LINES: usize = 8;

/// What the keys can do to the appliance; the same as the commands of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchAction {
    /// `docklet restart`
    Restart,
    /// `docklet stop`
    Stop,
    /// `docklet open`
    Open,
}

impl WatchAction {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            WatchAction::Restart => "restart",
            WatchAction::Stop => "stop",
            WatchAction::Open => "open",
        }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub enum ScreenInput {
    /// How it is. Also when the engine cannot be asked: the report says so.
    Report(Box<StatusReport>),
    /// The processors that the container may use; 0 for all.
    Processors(f64),
    /// The engine is gone, for this reason.
    EngineGone(String),
    /// The engine answers.
    EngineBack,
    /// What the container uses.
    Usage(Usage),
    /// It uses nothing: it does not run.
    Idle,
    /// Sizes of volumes.
    Sizes(BTreeMap<String, u64>),
    /// A line of the log, harmless already.
    Log(String),
    /// A key.
    Key(KeyPress),
    /// Progress of the running action.
    Progress(String),
    /// The action has ended: its result or its error.
    Done(Result<String, String>),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// End the watch.
    Quit,
    /// Begin something.
    Begin(WatchAction),
    /// Break off what was begun.
    BreakOff,
}

/// What is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum View {
    /// Everything in short.
    #[default]
    Status,
    /// The log, and nothing else.
    Log,
}

/// What the last lines say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Dialog {
    /// The keys.
    #[default]
    Keys,
    /// A question.
    Asking(WatchAction),
    /// What is being done.
    Doing {
        /// What.
        action: WatchAction,
        /// How far it has come.
        step: String,
        /// Since when.
        since: Duration,
    },
    /// What came of it, until the next key.
    Told {
        /// The lines.
        lines: Vec<String>,
        /// Whether it went wrong.
        failed: bool,
    },
}

/// How the engine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EngineState {
    /// Not known yet.
    #[default]
    Sought,
    /// It answers.
    There,
    /// It does not.
    Gone {
        /// Why.
        reason: String,
        /// Since when.
        since: Duration,
    },
}

/// See the module. Times are since the watch began.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// How it is; `None` until that is known.
    pub report: Option<StatusReport>,
    /// How the engine is.
    pub engine: EngineState,
    /// What the container uses now.
    pub usage: Option<Usage>,
    /// Processors in use in the last minutes.
    pub cpus: History,
    /// Memory in use in the last minutes.
    pub memory: History,
    /// Processors that it may use; 0 for all.
    pub processors: f64,
    /// Sizes of the volumes, where they are known.
    pub sizes: BTreeMap<String, u64>,
    /// The last lines of the log, oldest first.
    pub log: VecDeque<String>,
    /// The time zone of the user.
    pub zone: Zone,
    /// What is shown.
    pub view: View,
    /// What the last lines say.
    pub dialog: Dialog,
    /// The watch ends when what is being done is done.
    pub ending: bool,
}

impl Watch {
    /// Takes note of something, and says what is to be done about it.
    pub fn feed(&mut self, input: ScreenInput, now: Duration) -> Option<Demand> {
        match input {
            ScreenInput::Report(report) => {
                // Sizes of volumes that are not ours are not kept.
                self.sizes.retain(|name, _| report.volumes.iter().any(|volume| volume.name == *name));
                self.report = Some(*report);
            }
            ScreenInput::Processors(processors) => self.processors = processors,
            ScreenInput::EngineGone(reason) => {
                self.usage = None;
                let since = match self.engine {
                    EngineState::Gone { since, .. } => since,
                    _ => now,
                };
                self.engine = EngineState::Gone { reason, since };
            }
            ScreenInput::EngineBack => self.engine = EngineState::There,
            ScreenInput::Usage(usage) => self.measured(usage, now),
            ScreenInput::Idle => self.usage = None,
            ScreenInput::Sizes(sizes) => {
                let ours = |name: &String| self.report.iter().flat_map(|r| &r.volumes).any(|v| v.name == *name);
                self.sizes = sizes.into_iter().filter(|(name, _)| ours(name)).collect();
            }
            ScreenInput::Log(line) => {
                self.log.push_back(line.chars().take(LOG_COLUMNS).collect());
                let too_many = self.log.len().saturating_sub(LOG_LINES);
                self.log.drain(..too_many);
            }
            ScreenInput::Key(key) => return self.typed(key, now),
            ScreenInput::Progress(text) => {
                if let Dialog::Doing { step, .. } = &mut self.dialog {
                    *step = text;
                }
            }
            ScreenInput::Done(outcome) => {
                let failed = outcome.is_err();
                let text = match &outcome {
                    Ok(text) | Err(text) => text,
                };
                let lines = text.lines().filter(|line| !line.trim().is_empty()).take(MESSAGE_LINES);
                self.dialog = Dialog::Told { lines: lines.map(str::to_owned).collect(), failed };
                if self.ending {
                    return Some(Demand::Quit);
                }
            }
        }
        None
    }

    fn measured(&mut self, usage: Usage, now: Duration) {
        if let Some(cpus) = usage.cpus {
            self.cpus.push(now.as_secs(), cpus);
        }
        #[allow(clippy::cast_precision_loss)] // for a graph
        self.memory.push(now.as_secs(), usage.memory as f64);
        // The first moment of a stream has nothing to compare with.
        let cpus = usage.cpus.or(self.usage.and_then(|before| before.cpus));
        self.usage = Some(Usage { cpus, ..usage });
    }

    fn typed(&mut self, key: KeyPress, now: Duration) -> Option<Demand> {
        match (&self.dialog, key) {
            (Dialog::Doing { .. }, KeyPress::Interrupt) if self.ending => return Some(Demand::Quit),
            (Dialog::Doing { .. }, KeyPress::Interrupt) => {
                self.ending = true;
                return Some(Demand::BreakOff);
            }
            // Halfway through, it goes on to its end first.
            (Dialog::Doing { .. }, KeyPress::Letter('q') | KeyPress::Escape) => self.ending = true,
            (Dialog::Doing { .. }, KeyPress::Letter('l')) => self.turn(),
            (Dialog::Doing { .. }, _) => {}
            (_, KeyPress::Interrupt) => return Some(Demand::Quit),
            (Dialog::Asking(action), KeyPress::Letter('y')) => {
                let action = *action;
                return self.begin(action, now);
            }
            (Dialog::Asking(_), KeyPress::Letter(_) | KeyPress::Escape) => self.dialog = Dialog::Keys,
            (_, KeyPress::Letter('q')) => return Some(Demand::Quit),
            (_, KeyPress::Escape) if self.view == View::Log => self.view = View::Status,
            (Dialog::Told { .. }, KeyPress::Escape) => self.dialog = Dialog::Keys,
            (Dialog::Keys, KeyPress::Escape) => return Some(Demand::Quit),
            (_, KeyPress::Letter('l')) => {
                self.dialog = Dialog::Keys;
                self.turn();
            }
            (_, KeyPress::Letter('r')) => self.dialog = Dialog::Asking(WatchAction::Restart),
            (_, KeyPress::Letter('s')) => self.dialog = Dialog::Asking(WatchAction::Stop),
            (_, KeyPress::Letter('o')) => return self.begin(WatchAction::Open, now),
            (_, KeyPress::Letter(_)) => self.dialog = Dialog::Keys,
        }
        None
    }

    fn turn(&mut self) {
        self.view = if self.view == View::Log { View::Status } else { View::Log };
    }

    fn begin(&mut self, action: WatchAction, now: Duration) -> Option<Demand> {
        self.dialog = Dialog::Doing { action, step: String::new(), since: now };
        Some(Demand::Begin(action))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::watch::history;

    fn key(watch: &mut Watch, letter: char) -> Option<Demand> {
        watch.feed(ScreenInput::Key(KeyPress::Letter(letter)), Duration::ZERO)
    }

    #[test]
    fn an_hour_takes_no_more_room_than_five_minutes() {
        let mut watch = Watch::default();
        let report = crate::present::watch::tests::a_report();
        let long = "é".repeat(2 * LOG_COLUMNS);
        let sizes: BTreeMap<String, u64> = (0..100).map(|n| (format!("other-{n}"), n)).collect();
        let room = |watch: &mut Watch, seconds: std::ops::Range<u64>| {
            for second in seconds {
                let now = Duration::from_secs(second);
                #[allow(clippy::cast_precision_loss)]
                let usage = Usage { cpus: Some(second as f64), memory: second, ..Usage::default() };
                watch.feed(ScreenInput::Usage(usage), now);
                for n in 0..5 {
                    watch.feed(ScreenInput::Log(format!("{second} {n} {long}")), now);
                }
                watch.feed(ScreenInput::Report(Box::new(report.clone())), now);
                watch.feed(ScreenInput::Sizes(sizes.clone()), now);
                if second % 60 == 0 {
                    watch.feed(ScreenInput::EngineGone("x".repeat(100)), now);
                    watch.feed(ScreenInput::EngineBack, now);
                    watch.feed(ScreenInput::Done(Err("line\n".repeat(100))), now);
                }
            }
            let characters: usize = watch.log.iter().map(String::capacity).sum();
            (
                watch.cpus.size(),
                watch.memory.size(),
                watch.log.len(),
                watch.log.capacity(),
                characters,
                watch.sizes.len(),
            )
        };
        let after_five_minutes = room(&mut watch, 0..300);
        let after_an_hour = room(&mut watch, 300..3_900);
        let (cpus, memory, lines, most_lines, _, sizes) = after_an_hour;
        let seconds = usize::try_from(history::SECONDS).unwrap();
        assert!(cpus.0 == seconds && cpus.1 <= 2 * seconds + 8, "{cpus:?}");
        assert_eq!(memory, cpus);
        assert!(lines == LOG_LINES && most_lines <= 2 * LOG_LINES, "{lines} {most_lines}");
        assert!(watch.log.iter().all(|line| line.chars().count() <= LOG_COLUMNS && line.capacity() <= 4 * LOG_COLUMNS));
        assert_eq!(sizes, 0, "volumes of others are not kept");
        assert!(matches!(&watch.dialog, Dialog::Told { lines, .. } if lines.len() <= MESSAGE_LINES));
        let all_but_characters = |(cpus, memory, lines, most, _, sizes)| (cpus, memory, lines, most, sizes);
        assert_eq!(all_but_characters(after_an_hour), all_but_characters(after_five_minutes));
    }

    #[test]
    fn what_cannot_be_undone_is_asked_for() {
        let mut watch = Watch::default();
        assert_eq!(key(&mut watch, 's'), None);
        assert_eq!(watch.dialog, Dialog::Asking(WatchAction::Stop));
        assert_eq!(key(&mut watch, 's'), None, "not a yes");
        assert_eq!(watch.dialog, Dialog::Keys);
        key(&mut watch, 'r');
        assert_eq!(key(&mut watch, 'y'), Some(Demand::Begin(WatchAction::Restart)));
        assert_eq!((key(&mut watch, 's'), key(&mut watch, 'y')), (None, None), "one thing at a time");
        watch.feed(ScreenInput::Done(Ok("it was restarted".into())), Duration::ZERO);
        assert!(matches!(&watch.dialog, Dialog::Told { failed: false, .. }));
        assert_eq!(key(&mut watch, 'o'), Some(Demand::Begin(WatchAction::Open)), "nothing is lost by that");
    }

    #[test]
    fn quitting_waits_for_what_was_begun() {
        for (ends, demand) in [(KeyPress::Letter('q'), None), (KeyPress::Interrupt, Some(Demand::BreakOff))] {
            let mut watch = Watch::default();
            key(&mut watch, 's');
            key(&mut watch, 'y');
            assert_eq!(watch.feed(ScreenInput::Key(ends), Duration::ZERO), demand);
            assert_eq!(watch.feed(ScreenInput::Done(Ok(String::new())), Duration::ZERO), Some(Demand::Quit));
        }
        for quit in [KeyPress::Letter('q'), KeyPress::Interrupt, KeyPress::Escape] {
            assert_eq!(Watch::default().feed(ScreenInput::Key(quit), Duration::ZERO), Some(Demand::Quit));
        }
    }

    #[test]
    fn esc_leaves_the_log_first() {
        let mut watch = Watch::default();
        key(&mut watch, 'l');
        assert_eq!(watch.view, View::Log);
        assert_eq!(watch.feed(ScreenInput::Key(KeyPress::Escape), Duration::ZERO), None);
        assert_eq!(watch.view, View::Status);
    }
}
