//! Progress and messages of a running operation: one enum, and the trait of those that show it (`present`).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Something that the supervisor decided or noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What, in one word for programs, such as `restarted`.
    pub decision: String,
    /// The same for people, with the reason.
    pub text: String,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A step of the plan begins. `number` counts from 1.
    StepStarted {
        /// Position in the plan, from 1.
        number: usize,
        /// How many steps the plan has.
        total: usize,
        /// What is done, such as `build image opencode-cloud:1.18.33-0123456789ab`.
        step: String,
    },
    /// A step of the plan ended well.
    StepDone {
        /// Position in the plan, from 1.
        number: usize,
        /// How many steps the plan has.
        total: usize,
        /// What was done.
        step: String,
        /// How long it took.
        #[serde(rename = "elapsed_seconds", serialize_with = "as_seconds")]
        elapsed: Duration,
    },
    /// The state of a running pull or load.
    Transfer(Transfer),
    /// The state of a running build.
    Build(Build),
    /// A line that a build step printed.
    BuildLog {
        /// The line, without its line end.
        line: String,
    },
    /// Still waiting for the page.
    Waiting {
        /// What is waited for, such as `http://127.0.0.1:3000/ to answer`.
        what: String,
        /// What was seen last, such as `no answer yet`.
        seen: String,
        /// Since when.
        #[serde(rename = "elapsed_seconds", serialize_with = "as_seconds")]
        elapsed: Duration,
        /// How long at most.
        #[serde(rename = "timeout_seconds", serialize_with = "as_seconds")]
        timeout: Duration,
    },
    /// A command on the host is running, such as the installation of an engine.
    Host {
        /// What it is for.
        what: String,
        /// The last line that it printed.
        line: String,
    },
    /// The supervisor decided or noticed something.
    Decision(Decision),
    /// Something that the user should know and that is not an error.
    Note {
        /// One sentence.
        text: String,
    },
    /// Something that needs the user's attention.
    Warning {
        /// One sentence.
        text: String,
    },
}

impl Event {
    /// The same event with every text put through a function.
    pub fn with_texts(&self, change: impl Fn(&str) -> String) -> Self {
        let mut event = self.clone();
        let texts: Vec<&mut String> = match &mut event {
            Event::StepStarted { step, .. } | Event::StepDone { step, .. } => vec![step],
            Event::Transfer(transfer) => transfer.active.iter_mut().map(|layer| &mut layer.id).collect(),
            Event::Build(build) => {
                let names = build.transfers.iter_mut().map(|(name, ..)| name);
                build.running.iter_mut().chain(names).collect()
            }
            Event::Waiting { what, seen, .. } => vec![what, seen],
            Event::Host { what, line } => vec![what, line],
            Event::Decision(Decision { at, decision, text }) => vec![at, decision, text],
            Event::BuildLog { line: text } | Event::Note { text } | Event::Warning { text } => vec![text],
        };
        for text in texts {
            *text = change(text);
        }
        event
    }
}

fn as_seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 10.0).round() / 10.0)
}

/// Where a pull or load stands. Byte counts never go backwards within one transfer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Bytes that have arrived.
    pub done: u64,
    /// Bytes known so far; grows while the engine learns of more layers.
    pub total: u64,
    /// Layers that are being worked on.
    pub active: Vec<Layer>,
    /// Layers that are complete.
    pub layers_done: usize,
    /// Layers known so far.
    pub layers_total: usize,
}

/// One layer of an image in transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// The engine's short id of the layer.
    pub id: String,
    /// What is being done to it.
    pub phase: LayerPhase,
    /// Bytes of this phase that are done.
    pub done: u64,
    /// Bytes of this phase; 0 while unknown.
    pub total: u64,
}

/// What is being done to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerPhase {
    /// Waits for its turn.
    Waiting,
    /// Is being downloaded, or sent.
    Downloading,
    /// Its checksum is being compared.
    Verifying,
    /// Is being unpacked on the engine's disk.
    Extracting,
}

/// Where a build stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Build {
    /// Steps that are complete (cached ones included).
    pub done: usize,
    /// Steps known so far.
    pub total: usize,
    /// Name of the step that began last and is still running.
    pub running: Option<String>,
    /// How long that step has been running.
    #[serde(rename = "elapsed_seconds", serialize_with = "as_seconds")]
    pub elapsed: Duration,
    /// Transfers that the builder reports: name, bytes done, bytes in all (0 while unknown).
    pub transfers: Vec<(String, u64, u64)>,
}

/// Reports that one of so many steps begins; what is returned reports that it is done.
pub fn begin_step(reporter: &dyn Reporter, number: usize, total: usize, step: String) -> impl FnOnce() {
    let began = Instant::now();
    reporter.report(&Event::StepStarted { number, total, step: step.clone() });
    move || reporter.report(&Event::StepDone { number, total, step, elapsed: began.elapsed() })
}

/// Shows events. Must not block and must not fail, so that output never stops an operation.
pub trait Reporter {
    /// Takes note of one event.
    fn report(&self, event: &Event);
}

impl dyn Reporter + '_ {
    /// Reports what the user should know and what is not an error, in a sentence.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.report(&Event::Note { text: text.into() });
    }

    /// Reports what needs the user's attention, in a sentence.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.report(&Event::Warning { text: text.into() });
    }
}

/// Shows nothing.
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: &Event) {}
}
