//! What the engine and the page tell, in the policy's words.

use std::time::Instant;

use super::{INSPECT_AGAIN, Supervisor, SupervisorMessage};
use crate::{
    data::copies::Copies,
    engine::events::{ContainerEvent, EventKind},
    probe::Seen,
    supervise::{
        jobs::{self, Job},
        policy::{ExitStatus, Input, Outside, PageHealth},
    },
};

impl Supervisor<'_> {
    pub(super) async fn receive(&mut self, message: SupervisorMessage) {
        match message {
            SupervisorMessage::Connected(engine) => {
                let endpoint = Some(engine.about.endpoint.clone());
                self.engine = Some(*engine);
                self.disk.forget_engine();
                if self.state.endpoint != endpoint {
                    self.state.endpoint = endpoint;
                    self.save();
                }
                self.feed(Input::EngineBack).await;
                // What happened between that look and the begin of the stream is found by another.
                self.inspect_at = Some(Instant::now() + INSPECT_AGAIN);
            }
            SupervisorMessage::Lost(reason) => {
                self.engine = None;
                self.inspect_at = None;
                self.lost_because = reason;
                self.feed(Input::EngineLost).await;
            }
            SupervisorMessage::Happened(event) => {
                for input in self.understand(&event).await {
                    self.feed(input).await;
                }
            }
            SupervisorMessage::Ran(ended) => {
                self.jobs.ended(&ended);
                let (job, done) = ended;
                if let Some((decision, text)) = jobs::text(job, &done) {
                    let copies = (job == Job::Copy).then(|| Copies::load(&self.instance.files.copies()));
                    match copies {
                        // The first failure is told, and the end of them; a network may be gone for days.
                        Some(copies) if done.is_err() && copies.failures > 1 => self.log_only(decision, text),
                        _ => self.decided(decision, text),
                    }
                }
                self.reload_settings();
                self.feed(Input::Touched).await;
            }
            SupervisorMessage::Measured(measured) => self.measured(*measured),
            SupervisorMessage::RulesLoaded(done) => self.rules_loaded(done).await,
            SupervisorMessage::Tunnel(fault) => {
                match (&self.tunnel_fault, &fault) {
                    (None, Some(fault)) => {
                        let text = format!("the page runs, but is not reached from this machine: {fault}");
                        self.decided("tunnel_lost", text);
                    }
                    (Some(_), None) => self.decided("tunnel_back", "the page is reached again".to_owned()),
                    _ => {}
                }
                self.tunnel_fault = fault;
            }
            SupervisorMessage::Probed(seen) => {
                let health = match seen {
                    Seen::Works => PageHealth::Good,
                    Seen::Unauthorized => PageHealth::Refused,
                    Seen::Wrong { .. } => PageHealth::Bad(seen.to_string()),
                    Seen::Silent { reason } => PageHealth::Bad(reason),
                };
                self.feed(Input::Probed(health)).await;
            }
        }
    }

    async fn understand(&mut self, event: &ContainerEvent) -> Vec<Input> {
        let renamed = matches!(&event.kind, EventKind::Other(what) if what == "rename");
        if event.name != self.container && !renamed || event.at <= self.run {
            return vec![];
        }
        let podman = self.engine.as_ref().filter(|engine| engine.about.is_podman());
        let look = podman.filter(|_| self.clues.take(&event.kind));
        let input = match &event.kind {
            EventKind::Started => {
                self.out_of_memory = false;
                Input::Started
            }
            EventKind::Died { code } => {
                let status = ExitStatus { code: *code, out_of_memory: self.out_of_memory };
                if let Some(podman) = look {
                    return self.clues.died(status, podman.stopped_by_user(&event.id).await);
                }
                Input::Died(status)
            }
            EventKind::Stopped => Input::EndedOutside(Outside::Stopped),
            // SIGTERM, what `docker stop` begins with.
            EventKind::Signalled { signal: 15 } => Input::AskedToEnd,
            EventKind::Signalled { .. } => return vec![],
            EventKind::Removed => Input::EndedOutside(Outside::Removed),
            EventKind::CleanedUp => return self.clues.cleaned_up().into_iter().collect(),
            EventKind::Other(what) if what == "oom" => {
                self.out_of_memory = true;
                return vec![];
            }
            EventKind::Other(_) => Input::Touched,
        };
        vec![input]
    }
}
