//! What a builder reports while it works → [`Build`] and log lines. Pure: messages and the time go
//! in, nothing is read or written. Understands BuildKit's trace and the plain `STEP n/m` lines of
//! Podman and of the old builder.

mod message;
mod names;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

pub(super) use message::StatusResponse;
use message::{Vertex, VertexStatus};
use names::{clean, plain_step, position, shorten, step_name, transfer_name};

use crate::event::Build;

/// Longest line that is kept without its end; a program that never ends a line must not fill the
/// memory.
const LINE_LENGTH: usize = 64 * 1024;

/// Everything known of a build so far.
#[derive(Debug, Default)]
pub(super) struct Trace {
    steps: Vec<BuildStep>,
    /// BuildKit's digest → index of the step.
    by_digest: HashMap<String, usize>,
    /// Steps of each stage, from the "2/5" of its steps' names.
    stages: BTreeMap<String, usize>,
    /// What was reported as done last, so that the next never falls behind it.
    last_done: usize,
    transfers: Vec<Moving>,
    /// Unfinished lines, by the step that prints them.
    partial: HashMap<String, Vec<u8>>,
    /// Lines that wait to be taken: the name of their step, and the line.
    lines: Vec<(String, String)>,
    /// The step that failed, and what BuildKit says of it.
    failed: Option<(String, String)>,
}

#[derive(Debug)]
struct BuildStep {
    name: String,
    /// Stage and position in it, where BuildKit says so.
    position: Option<(String, usize)>,
    /// When it began, counted from the begin of the build.
    started: Option<Duration>,
    done: bool,
}

#[derive(Debug)]
struct Moving {
    id: String,
    name: String,
    done: u64,
    total: u64,
    complete: bool,
}

impl Trace {
    /// Takes note of a message of BuildKit. `now` is counted from the begin of the build.
    pub(super) fn take(&mut self, message: &StatusResponse, now: Duration) {
        for vertex in &message.vertexes {
            self.take_vertex(vertex, now);
        }
        for status in &message.statuses {
            self.take_status(status);
        }
        for log in &message.logs {
            self.take_output(&log.vertex, &log.msg);
        }
    }

    fn take_vertex(&mut self, vertex: &Vertex, now: Duration) {
        if !vertex.error.is_empty() && !vertex.error.contains("context canceled") {
            self.failed = Some((step_name(&vertex.name).unwrap_or_else(|| vertex.name.clone()), vertex.error.clone()));
        }
        let Some(name) = step_name(&vertex.name) else { return };
        let index = match self.by_digest.get(&vertex.digest) {
            Some(index) => *index,
            None => {
                let position = position(&vertex.name);
                if let Some((stage, _, count)) = &position {
                    self.stages.insert(stage.clone(), *count);
                }
                self.steps.push(BuildStep {
                    name,
                    position: position.map(|(stage, number, _)| (stage, number)),
                    started: None,
                    done: false,
                });
                self.by_digest.insert(vertex.digest.clone(), self.steps.len() - 1);
                self.steps.len() - 1
            }
        };
        let step = &mut self.steps[index];
        if vertex.started.is_some() && step.started.is_none() {
            step.started = Some(now);
        }
        step.done = vertex.completed.is_some() && vertex.error.is_empty();
        if vertex.completed.is_some() {
            self.end_line(&vertex.digest);
        }
    }

    fn take_status(&mut self, status: &VertexStatus) {
        let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
        let (done, total) = (bytes(status.current), bytes(status.total));
        if done == 0 && total == 0 {
            return;
        }
        let index = self.transfers.iter().position(|t| t.id == status.id).unwrap_or_else(|| {
            self.transfers.push(Moving {
                id: status.id.clone(),
                name: String::new(),
                done: 0,
                total: 0,
                complete: false,
            });
            self.transfers.len() - 1
        });
        let moving = &mut self.transfers[index];
        let name = transfer_name(status);
        if moving.name != name {
            // The same layer in another phase counts anew.
            *moving = Moving { id: status.id.clone(), name, done: 0, total: 0, complete: false };
        }
        moving.done = moving.done.max(done);
        moving.total = moving.total.max(total);
        moving.complete |= status.completed.is_some();
    }

    /// Takes output of a step; `step` is BuildKit's digest of it, or empty.
    fn take_output(&mut self, step: &str, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let text = piece.strip_suffix(b"\n").or_else(|| piece.strip_suffix(b"\r")).unwrap_or(piece);
            let line = self.partial.entry(step.to_owned()).or_default();
            line.extend_from_slice(text);
            if text.len() < piece.len() || line.len() >= LINE_LENGTH {
                self.end_line(step);
            }
        }
    }

    fn end_line(&mut self, step: &str) {
        let Some(bytes) = self.partial.remove(step) else { return };
        let line = clean(&String::from_utf8_lossy(&bytes));
        if !line.is_empty() {
            let name = self.by_digest.get(step).map(|i| self.steps[*i].name.clone()).unwrap_or_default();
            self.lines.push((name, line));
        }
    }

    /// Takes the text of a builder without a trace. `now` is counted from the begin of the build.
    pub(super) fn take_text(&mut self, text: &str, now: Duration) {
        let before = self.lines.len();
        self.take_output("", text.as_bytes());
        for index in before..self.lines.len() {
            if let Some((number, count, name)) = plain_step(&self.lines[index].1) {
                self.begin_plain_step(number, count, &name, now);
            }
            self.lines[index].0 = self.steps.last().map(|s| s.name.clone()).unwrap_or_default();
        }
    }

    fn begin_plain_step(&mut self, number: usize, count: usize, name: &str, now: Duration) {
        // Podman counts each stage from 1, the old builder all of them in one row.
        let stage = match self.steps.last().and_then(|s| s.position.as_ref()) {
            Some((stage, last)) if number > *last && self.stages.get(stage) == Some(&count) => stage.clone(),
            Some(_) => format!("{}", self.stages.len()),
            None => "0".to_owned(),
        };
        for step in &mut self.steps {
            step.done = true;
        }
        self.stages.insert(stage.clone(), count);
        let name = shorten(name);
        self.steps.push(BuildStep { name, position: Some((stage, number)), started: Some(now), done: false });
    }

    /// Says that the build is over and well.
    pub(super) fn finish(&mut self) {
        self.steps.iter_mut().for_each(|s| s.done = true);
        self.transfers.clear();
        // Some steps are never reported: a stage's first that another stage shares, or one that
        // another build on the same engine runs under its own name.
        self.last_done = self.stages.values().sum::<usize>() + self.steps.len();
        self.end_all_lines();
    }

    /// Ends lines that their programs did not end.
    pub(super) fn end_all_lines(&mut self) {
        let open: Vec<String> = self.partial.keys().cloned().collect();
        open.iter().for_each(|step| self.end_line(step));
    }

    /// The lines since the last call: step's name and line.
    pub(super) fn take_lines(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.lines)
    }

    /// The step that failed, and what BuildKit says of it.
    pub(super) fn failed(&self) -> Option<(&str, &str)> {
        self.failed.as_ref().map(|(name, error)| (name.as_str(), error.as_str()))
    }

    /// The step that runs, for builders that do not say which one failed.
    pub(super) fn running(&self) -> Option<&str> {
        self.running_step().map(|s| s.name.as_str())
    }

    fn running_step(&self) -> Option<&BuildStep> {
        self.steps.iter().rev().filter(|s| !s.done).filter(|s| s.started.is_some()).max_by_key(|s| s.started)
    }

    /// Where it stands.
    pub(super) fn build(&mut self, now: Duration) -> Build {
        // The steps of a stage run in order, so one that is done has all before it done, also those
        // that are never reported because another stage has the same.
        let mut by_stage: BTreeMap<&str, usize> = BTreeMap::new();
        let mut done = 0;
        let mut alone = 0;
        for step in &self.steps {
            match &step.position {
                Some((stage, number)) if step.done => {
                    let most = by_stage.entry(stage).or_default();
                    *most = (*most).max(*number);
                }
                Some(_) => {}
                None => {
                    alone += 1;
                    done += usize::from(step.done);
                }
            }
        }
        done += by_stage.values().sum::<usize>();
        let total = self.stages.values().sum::<usize>() + alone;
        done = done.max(self.last_done).min(total);
        self.last_done = done;
        let running = self.running_step();
        Build {
            done,
            total,
            running: running.map(|s| s.name.clone()),
            elapsed: running.and_then(|s| s.started).map(|s| now.saturating_sub(s)).unwrap_or_default(),
            transfers: self
                .transfers
                .iter()
                .filter(|t| !t.complete && (t.total == 0 || t.done < t.total))
                .map(|t| (t.name.clone(), t.done, t.total))
                .collect(),
        }
    }
}
