//! What the supervisor does and says once the policy has decided: restarts, gives up, takes over a wish.

use std::{collections::VecDeque, time::Instant};

use super::{INSPECT_AGAIN, LOG_LINES, STOP_GRACE, Stamp, Supervisor};
use crate::{
    clock,
    engine::docker::Detail,
    error::{Error, ExitReport},
    ready,
    report::LastRestart,
    settings::RestartPolicy,
    supervise::{
        policy::{Input, Limits, Note, Why},
        state::GaveUp,
    },
    units::Elapsed,
    wish::{self, Wish},
};

impl Supervisor<'_> {
    /// Restarts, if that is still right now that the lock is held.
    pub(super) async fn restart(&mut self, why: Why) -> Input {
        let Some(_lock) = self.instance_lock() else { return Input::RestartCancelled };
        let said = wish::said(&self.tools.files.desired());
        let Some(engine) = self.engine.clone() else { return Input::RestartCancelled };
        if !said.is_ok_and(|said| said == self.said) {
            return Input::RestartCancelled;
        }
        let Ok(Some(detail)) = engine.container(&self.container).await else { return Input::RestartCancelled };
        let hung = matches!(why, Why::Hung(..));
        if !self.is_ours(&detail) || detail.paused || detail.running != hung {
            return Input::RestartCancelled;
        }
        let reason = why.text(Some(&exit_report(&detail)));
        let began = Instant::now();
        let done = async {
            if hung {
                engine.stop_container(&self.container, STOP_GRACE).await?;
            }
            engine.start_container(&self.container).await?;
            engine.container(&self.container).await
        };
        match done.await {
            Ok(after) => {
                if let Some(after) = &after {
                    self.remember(after);
                }
                self.out_of_memory = false;
                self.state.restarts += 1;
                self.state.last_restart = Some(LastRestart { at: clock::now_rfc3339(), reason: reason.clone() });
                if why.counts() {
                    self.state.recent.push(clock::now_rfc3339());
                }
                let text = format!(
                    "restarted within {}: {reason} (restart {})",
                    Elapsed(began.elapsed()),
                    self.state.restarts
                );
                self.decided("restarted", text);
                Input::Restarted { run: self.run }
            }
            Err(Error::EngineGone { .. } | Error::EngineTimeout { .. } | Error::NoSuchObject { .. }) => {
                Input::RestartCancelled
            }
            Err(error) => {
                if why.counts() {
                    self.state.recent.push(clock::now_rfc3339());
                }
                Input::RestartFailed(
                    std::iter::once(error.to_string()).chain(error.causes()).collect::<Vec<_>>().join(": "),
                )
            }
        }
    }

    pub(super) async fn give_up(&mut self, why: &Why) {
        let (mut cause, mut log) = (why.text(None), vec![]);
        if let Some(engine) = self.engine.clone() {
            if let Ok(Some(detail)) = engine.container(&self.container).await {
                cause = why.text(Some(&exit_report(&detail)));
            }
            log = engine.log_tail(&self.container, LOG_LINES).await;
        }
        let limits = Limits::contract(self.tools.appliance.health.ready_timeout());
        let gave_up = GaveUp {
            at: clock::now_rfc3339(),
            cause,
            restarts: u32::try_from(limits.most_restarts).unwrap_or(u32::MAX),
            minutes: limits.within.as_secs() / 60,
            log,
        };
        let error = gave_up.error(&self.container);
        let text = format!("{error}: {}", gave_up.cause);
        self.state.gave_up = Some(gave_up);
        self.decided("gave_up", text);
    }

    pub(super) async fn set_policy_back(&mut self, from: &str) {
        let (Some(_lock), Some(engine)) = (self.instance_lock(), self.engine.clone()) else {
            self.inspect_at = Some(Instant::now() + INSPECT_AGAIN);
            return;
        };
        let text = match engine.set_policy_back(&self.container).await {
            Ok(()) => format!("the engine's restart policy was made `{from}` past docklet; it is `no` again"),
            Err(error) => format!("the engine's restart policy was made `{from}` past docklet, and stays so: {error}"),
        };
        self.decided("policy_set_back", text);
    }

    pub(super) fn adopt(&mut self, wish: Wish, text: String, inputs: &mut VecDeque<Input>) {
        let path = self.tools.files.desired();
        let Some(_lock) = self.instance_lock() else {
            // Whatever that command is about, it knows better.
            inputs.push_back(Input::Lock(true));
            return;
        };
        if !wish::said(&path).is_ok_and(|said| said == self.said) {
            return;
        }
        if let Err(error) = wish::write(&path, wish) {
            self.decided("wish_not_kept", format!("{text}; it could not be written down: {error}"));
            return;
        }
        self.wish_stamp = Stamp::of(&path);
        self.adopted = true;
        self.decided("adopted", text);
        if let Ok(said) = wish::said(&path) {
            self.state.begin_afresh(&said);
            self.said = said;
            self.save();
        }
        inputs.push_back(Input::Asked(wish));
    }

    pub(super) fn tell(&mut self, note: Note) {
        let (decision, text) = match note {
            Note::Answers(after) => ("answers", format!("the page answers, {} after it was seen to run", Elapsed(after))),
            Note::AnswersAgain => ("answers", "the page answers again".to_owned()),
            Note::Missed(count, seen) => ("missed", format!("the page did not answer ({count} in a row): {seen}")),
            Note::Refused => (
                "refused",
                "the page refuses the password that docklet keeps; a restart does not heal that: docklet password --rotate"
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
                ("left", format!("{}; restart = \"{mode}\" leaves it so", Why::Ended(ending).text(None)))
            }
            Note::RestartFailed(reason) => ("restart_failed", format!("the restart failed: {reason}")),
            Note::EngineLost => ("engine_lost", format!("the engine cannot be reached: {}", self.lost_because)),
            Note::EngineBack(away) => ("engine_back", format!("the engine is back after {}", Elapsed(away))),
            Note::Missing => ("missing", format!("there is no container {}; docklet start makes one", self.container)),
            Note::Foreign => ("foreign", format!("container {} was not made by docklet: left alone", self.container)),
            Note::Paused => ("paused", "the container is paused: left alone".to_owned()),
            Note::Slept(time) => ("slept", format!("the machine slept for {}", Elapsed(time))),
            Note::Locked(true) => ("waits", "another docklet command is at work".to_owned()),
            Note::Locked(false) => ("goes_on", "the other docklet command has ended".to_owned()),
            Note::Asked(Wish::Running) => ("asked", "you want it running: begins afresh".to_owned()),
            Note::Asked(Wish::Stopped) => ("asked", "you want it stopped".to_owned()),
        };
        if matches!(decision, "waits" | "goes_on") {
            self.say(decision, text);
        } else {
            self.decided(decision, text);
        }
    }
}

fn exit_report(detail: &Detail) -> ExitReport {
    ready::exit_report(detail, vec![])
}
