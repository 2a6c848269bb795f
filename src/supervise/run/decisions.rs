//! What the supervisor says: each note and decision as a line in the log and an event, and in the state
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
        policy::{Limits, Note, Why},
    },
    units::Elapsed,
};

impl Supervisor<'_> {
    pub(super) fn tell(&mut self, note: Note) {
        let (decision, text) = match note {
            Note::Answers(after) => ("answers", format!("page ready after {}", Elapsed(after))),
            Note::AnswersAgain => ("answers", "the page answers again".to_owned()),
            Note::Missed(count, seen) => ("missed", format!("the page did not answer ({count} in a row): {seen}")),
            Note::Refused => (
                "refused",
                "the page rejects docklet's password; to apply the stored password: docklet restart; to generate a new one: docklet password --rotate"
                    .to_owned(),
            ),
            Note::Waiting(why, time) => {
                ("waiting", format!("the next restart is in {}: {}", Elapsed(time), why.text(None)))
            }
            Note::LeftEnded(ending, mode) => {
                let mode = match mode {
                    RestartPolicy::Always => "always",
                    RestartPolicy::OnFailure => "on-failure",
                    RestartPolicy::Never => "never",
                };
                ("left", format!("{}; not restarted, because restart.policy is {mode}", Why::Ended(ending).text(None)))
            }
            Note::RestartFailed(reason) => ("restart_failed", format!("the restart failed: {reason}")),
            Note::PortTaken(holder) => {
                ("port_taken", format!("the container cannot be restarted: {holder}; docklet retries until the port is free"))
            }
            Note::EngineLost => ("engine_lost", format!("the engine cannot be reached: {}", self.lost_because)),
            Note::EngineBack(away) => ("engine_back", format!("the engine is back after {}", Elapsed(away))),
            Note::Missing => ("missing", format!("container {} does not exist; to create it: docklet start", self.container)),
            Note::Foreign => ("foreign", format!("container {} was not made by docklet, so it is not supervised", self.container)),
            Note::Paused => ("paused", "the container is paused, so it is not supervised".to_owned()),
            Note::Slept(time) => ("slept", format!("the machine slept for {}", Elapsed(time))),
            Note::Locked(true) => ("waits", "waiting for another docklet command".to_owned()),
            Note::Locked(false) => ("goes_on", "the other docklet command has ended".to_owned()),
            Note::Asked(DesiredState::Running) => ("asked", "desired state is now running; the restart count is reset".to_owned()),
            Note::Asked(DesiredState::Stopped) => ("asked", "desired state is now stopped".to_owned()),
        };
        if matches!(decision, "waits" | "goes_on") {
            self.say(decision, text);
        } else {
            self.decided(decision, text);
        }
    }

    /// A line in the log, and to whoever watches.
    fn say(&self, decision: &str, text: String) -> Decision {
        let text = instance_name::in_commands(self.tools.instance.as_str(), &text);
        let decision = Decision { at: clock::now_rfc3339(), decision: decision.to_owned(), text };
        self.log.line(&format!("{} {:<15} {}", decision.at, decision.decision, decision.text));
        self.tools.reporter.report(&Event::Decision(decision.clone()));
        decision
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
        let (instance, files) = (self.tools.instance.as_str(), self.tools.files);
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
        if let Err(error) = self.state.save(&self.tools.files.supervisor_state()) {
            self.log.line(&format!("{} {:<15} {error}", clock::now_rfc3339(), "state_not_kept"));
        }
    }
}
