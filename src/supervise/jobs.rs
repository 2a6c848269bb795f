//! Commands that the supervisor has run as processes of their own: what finishes the work of a
//! command that was killed, and the scheduled backup. They take the instance's lock themselves, and
//! their memory is gone with them.

use std::{ffi::OsString, process::Stdio, time::Duration};

use time::OffsetDateTime;
use tokio::{io::AsyncReadExt as _, process::Command};

use super::process::Launch;
use crate::{
    clock,
    data::schedule::Last,
    desired::label,
    engine::{Engine, docker::Detail},
    instance_name::InstanceName,
    observed::Ownership,
    settings::Every,
};

/// Least time between two attempts at the same job.
const AGAIN: Duration = Duration::from_secs(60);

/// Most that is kept of what a command says.
const SAID: u64 = 4096;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Finish or undo what a killed command left behind.
    Recover,
    /// Back up, because it is time.
    Backup,
}

impl Job {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Job::Recover => &["start", "--recover"],
            Job::Backup => &["backup", "--scheduled"],
        }
    }
}

/// How an job ended: `Err` with the last words of the command.
pub type Done = (Job, Result<(), String>);

/// Runs one at a time.
pub struct Jobs {
    launch: Option<Launch>,
    running: Option<Job>,
    next_recovery: OffsetDateTime,
    next_backup: Option<OffsetDateTime>,
    /// A backup that failed, whether it could write that down or not, is not tried again before.
    no_backup_before: OffsetDateTime,
    /// How long not.
    pause: Duration,
}

impl Jobs {
    /// `launch` is this same program with what it was told about instance and engine; without it
    /// there are no jobs.
    pub fn new(launch: Option<Launch>) -> Self {
        let begin = OffsetDateTime::UNIX_EPOCH;
        Jobs { launch, running: None, next_recovery: begin, next_backup: None, no_backup_before: begin, pause: AGAIN }
    }

    /// Plans the next backup from the settings and the last one.
    pub fn plan(&mut self, every: &Every, last: &Last) {
        self.pause = every.duration().map_or(AGAIN, |every| every.min(AGAIN));
        self.next_backup = every.duration().map(|every| last.next(every).max(self.no_backup_before));
    }

    /// Whether a backup is due.
    pub fn backup_is_due(&self) -> bool {
        self.running.is_none() && self.next_backup.is_some_and(|at| at <= OffsetDateTime::now_utc())
    }

    /// Whether recovering may be tried now.
    pub fn may_recover(&self) -> bool {
        self.running.is_none() && self.launch.is_some() && self.next_recovery <= OffsetDateTime::now_utc()
    }

    /// Starts the command. Whoever gets the future has to wait for it, and to call [`Jobs::ended`].
    pub fn start(&mut self, job: Job) -> Option<impl Future<Output = Done> + Send + use<>> {
        let launch = self.launch.clone()?;
        self.running = Some(job);
        match job {
            Job::Recover => self.next_recovery = OffsetDateTime::now_utc() + AGAIN,
            Job::Backup => self.next_backup = Some(OffsetDateTime::now_utc() + AGAIN),
        }
        Some(async move { (job, run(&launch, job).await) })
    }

    /// Takes note of the end.
    pub fn ended(&mut self, (job, done): &Done) {
        self.running = None;
        if *job == Job::Backup && done.is_err() {
            self.no_backup_before = OffsetDateTime::now_utc() + self.pause;
        }
    }
}

async fn run(launch: &Launch, job: Job) -> Result<(), String> {
    let arguments = launch.arguments.iter().cloned().chain(job.arguments().iter().map(OsString::from));
    let child = Command::new(&launch.program)
        .args(arguments)
        .envs(launch.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|e| e.to_string())?;
    let mut said = vec![];
    if let Some(stderr) = child.stderr.take() {
        // It is quiet: what it says is its error.
        let _ = stderr.take(SAID).read_to_end(&mut said).await;
    }
    let status = child.wait().await.map_err(|e| e.to_string())?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let lines = said.lines().map(str::trim).take_while(|line| !line.starts_with("hint:")).filter(|l| !l.is_empty());
    let text = lines.collect::<Vec<_>>().join("; ");
    Err(if text.is_empty() { status.to_string() } else { text })
}

/// Whether a command that was killed left something behind: asked only when the container is
/// missing, paused, or made by a guarded change.
pub async fn left_behind(
    engine: &Engine,
    container: Option<&Detail>,
    instance: &InstanceName,
    appliance: &str,
    labels: &std::collections::BTreeMap<String, String>,
) -> bool {
    let names = [instance.task_container(appliance), instance.previous_container(appliance)];
    let Ok(all) = engine.containers(true).await else { return false };
    let ours = |name: &str| all.iter().any(|c| c.name == name && Ownership::of(&c.labels, labels) == Ownership::Ours);
    let unproved = container.is_none_or(|c| c.labels.contains_key(label::UNDO));
    ours(&names[0]) || (unproved && ours(&names[1]))
}

/// When, for the log.
pub fn text(job: Job, done: &Result<(), String>) -> (&'static str, String) {
    match (job, done) {
        (Job::Recover, Ok(())) => ("recovered", "completed or reverted the work of an interrupted command".to_owned()),
        (Job::Recover, Err(why)) => {
            ("recovery_failed", format!("the work of an interrupted command cannot be completed now: {why}"))
        }
        (Job::Backup, Ok(())) => ("backed_up", format!("made the scheduled backup, done at {}", clock::now_rfc3339())),
        (Job::Backup, Err(why)) => ("backup_failed", format!("the scheduled backup failed: {why}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_backup_that_could_not_begin_is_not_tried_again_at_once() {
        let mut jobs = Jobs::new(None);
        let (every, never_yet): (Every, Last) = ("24h".parse().unwrap(), Last::default());
        jobs.plan(&every, &never_yet);
        assert!(jobs.backup_is_due());
        jobs.running = Some(Job::Backup);
        assert!(!jobs.backup_is_due(), "one at a time");
        jobs.ended(&(Job::Backup, Err("another docklet command works".to_owned())));
        jobs.plan(&every, &never_yet);
        assert!(!jobs.backup_is_due(), "nothing was written down, so the plan is as before");
        jobs.ended(&(Job::Backup, Ok(())));
        jobs.no_backup_before = OffsetDateTime::now_utc();
        jobs.plan(&every, &never_yet);
        assert!(jobs.backup_is_due());
    }
}
