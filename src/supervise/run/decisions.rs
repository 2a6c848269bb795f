//! What the supervisor says: each log entry and decision as a line in the log and an event, and in the state
//! file what `status` shows. Does nothing else.

use std::time::Duration;

use super::Supervisor;
use crate::{
    clock,
    desired_state::DesiredState,
    event::Event,
    instance_name,
    report::Decision,
    settings::{RestartPolicy, Settings},
    supervise::{
        notify::{self, Notice},
        policy::{Limits, LogEntry, RestartReason},
    },
    units::Elapsed,
};

impl Supervisor<'_> {
    pub(super) fn record(&mut self, entry: LogEntry) {
        let (decision, text) = match entry {
            LogEntry::Answers(after) => ("answers", format!("page ready after {}", Elapsed(after))),
            LogEntry::AnswersAgain => ("answers", "the page answers again".to_owned()),
            LogEntry::Missed(count, seen) => ("missed", format!("the page did not answer ({count} in a row): {seen}")),
            LogEntry::Refused => (
                "refused",
                "the page rejects docklet's password; to apply the stored password: docklet restart; to generate a new one: docklet password --rotate"
                    .to_owned(),
            ),
            LogEntry::Waiting(reason, time) => {
                ("waiting", format!("the next restart is in {}: {}", Elapsed(time), reason.text(None)))
            }
            LogEntry::LeftEnded(status, mode) => {
                let mode = match mode {
                    RestartPolicy::Always => "always",
                    RestartPolicy::OnFailure => "on-failure",
                    RestartPolicy::Never => "never",
                };
                ("left", format!("{}; not restarted, because restart.policy is {mode}", RestartReason::Ended(status).text(None)))
            }
            LogEntry::RestartFailed(reason) => ("restart_failed", format!("the restart failed: {reason}")),
            LogEntry::PortTaken(holder) => {
                ("port_taken", format!("the container cannot be restarted: {holder}; docklet retries until the port is free"))
            }
            LogEntry::EngineLost => ("engine_lost", format!("the engine cannot be reached: {}", self.lost_because)),
            LogEntry::EngineBack(away) => ("engine_back", format!("the engine is back after {}", Elapsed(away))),
            LogEntry::Missing => ("missing", format!("container {} does not exist; to create it: docklet start", self.container)),
            LogEntry::Foreign => ("foreign", format!("container {} was not made by docklet, so it is not supervised", self.container)),
            LogEntry::Paused => ("paused", "the container is paused, so it is not supervised".to_owned()),
            LogEntry::Slept(time) => ("slept", format!("the machine slept for {}", Elapsed(time))),
            LogEntry::Locked(true) => ("waits", "waiting for another docklet command".to_owned()),
            LogEntry::Locked(false) => ("goes_on", "the other docklet command has ended".to_owned()),
            LogEntry::Requested(DesiredState::Running) => ("asked", "desired state is now running; the restart count is reset".to_owned()),
            LogEntry::Requested(DesiredState::Stopped) => ("asked", "desired state is now stopped".to_owned()),
        };
        if matches!(decision, "waits" | "goes_on") {
            self.say(decision, text);
        } else {
            self.decided(decision, text);
        }
    }

    /// A line in the log, and to whoever watches.
    fn say(&self, decision: &str, text: String) -> Decision {
        let text = instance_name::in_commands(self.instance.name.as_str(), &text);
        let decision = Decision { at: clock::now_rfc3339(), decision: decision.to_owned(), text };
        self.log.line(&format!("{} {:<15} {}", decision.at, decision.decision, decision.text));
        self.instance.reporter.report(&Event::Decision(decision.clone()));
        decision
    }

    /// A line in the log, and nothing that stays in `status`.
    pub(super) fn log_only(&self, decision: &str, text: String) {
        drop(self.say(decision, text));
    }

    /// The same, kept for `status`.
    pub(super) fn decided(&mut self, decision: &str, text: String) {
        let decision = self.say(decision, text);
        self.notify(&decision);
        self.state.push(decision);
        self.save();
    }

    /// Tells the user's command, which may take its time.
    fn notify(&self, decision: &Decision) {
        let (instance, files) = (self.instance.name.as_str(), &self.instance.files);
        let notice = Notice::of(&decision.decision, instance, &decision.at, &decision.text, &self.container);
        let Some(notice) = notice else { return };
        let command = Settings::load(&files.settings()).ok().flatten().map(|settings| settings.notify.command);
        if let Some(command) = command.filter(|command| !command.is_empty()) {
            let (log, file) = (self.log.clone(), files.notices());
            tokio::spawn(async move {
                let line = notify::deliver(&command, &notice, &file).await;
                log.line(&format!("{} {:<15} {line}", clock::now_rfc3339(), "notified"));
            });
        }
    }

    /// A state that cannot be kept is no reason to stop supervising.
    pub(super) fn save(&mut self) {
        let now = time::OffsetDateTime::now_utc();
        let within = Limits::contract(Duration::ZERO).within;
        self.state.recent.retain(|at| clock::parse(at).is_some_and(|at| now - at < within));
        if let Err(error) = self.state.save(&self.instance.files.supervisor_state()) {
            self.log.line(&format!("{} {:<15} {error}", clock::now_rfc3339(), "state_not_kept"));
        }
    }
}
