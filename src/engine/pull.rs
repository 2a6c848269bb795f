//! Pulls an image from a registry: progress by layer, failures told apart, what is worth another
//! try tried again, and what arrived looked at before it counts. Knows no settings.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{
    Engine,
    credentials::Credentials,
    reference::Reference,
    stream_error::Failure,
    transfer::{LayerMessage, Layers, Pace},
};
use crate::{
    error::{Error, ImageAction, ImageFault, Result},
    event::{Event, Reporter},
};

/// Time between two events about the same thing.
pub(super) const REPORT_EVERY: Duration = Duration::from_millis(100);

/// How long an engine may say nothing during a pull. It reports while it downloads and unpacks, and
/// itself gives up on a silent registry much earlier.
const SILENCE: Duration = Duration::from_secs(300);

/// When to try again, and when not to.
pub(super) struct Patience {
    /// The pauses before the second try, the third, …
    pub(super) pauses: &'static [Duration],
    /// Whether to try again although not one byte has come yet.
    pub(super) before_first_byte: bool,
    /// How long the engine may say nothing.
    pub(super) silence: Duration,
}

const PATIENT: Patience = Patience {
    pauses: &[Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)],
    before_first_byte: true,
    silence: SILENCE,
};

/// For what can be had in another way: a registry that does not even answer is left at once.
const WITH_ANOTHER_WAY: Patience = Patience { before_first_byte: false, silence: Duration::from_secs(45), ..PATIENT };

impl Engine {
    /// Pulls an image. Transient failures of the network are tried again three times; finished
    /// layers are kept between the tries.
    ///
    /// # Errors
    /// [`Error::Image`] with the fault; an image for another processor is a fault, too, and its
    /// name is taken away again, lest the next run finds it there.
    pub async fn pull(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
        reporter: &dyn Reporter,
    ) -> Result<()> {
        self.pull_patiently(reference, credentials, reporter, &PATIENT).await
    }

    /// Makes sure that a base image is on the engine: what is there is taken as it is, else it is
    /// pulled, because BuildKit would do it without the user's credentials. A registry that cannot
    /// be reached ends in [`ImageFault::Network`] without long tries: a base can be had without one.
    ///
    /// # Errors
    /// As [`Engine::pull`], worded for a build.
    pub async fn ensure_base(
        &self,
        base: &Reference,
        credentials: Option<&Credentials>,
        reporter: &dyn Reporter,
    ) -> Result<()> {
        if self.image(&base.on_engine()).await?.is_some() {
            return Ok(());
        }
        self.pull_patiently(base, credentials, reporter, &WITH_ANOTHER_WAY).await.map_err(|error| match error {
            Error::Image { reference, fault, reason, log, log_file, .. } => Error::Image {
                action: ImageAction::Build,
                reference,
                fault,
                reason: format!("the base image cannot be pulled: {reason}"),
                log,
                log_file,
            },
            other => other,
        })
    }

    pub(super) async fn pull_patiently(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
        reporter: &dyn Reporter,
        patience: &Patience,
    ) -> Result<()> {
        let on_engine = reference.on_engine();
        let before = self.image(&on_engine).await?.map(|image| image.id);
        // Kept over all tries, so that the bars do not begin anew.
        let mut layers = Layers::default();
        let mut pauses = patience.pauses.iter();
        loop {
            let Err(failure) = self.pull_once(reference, credentials, reporter, patience, &mut layers).await else {
                break;
            };
            let worth_it = failure.transient && (patience.before_first_byte || layers.has_begun());
            let Some(pause) = pauses.next().filter(|_| worth_it) else {
                return Err(failure.into_error(ImageAction::Pull, &reference.to_string()));
            };
            reporter.note(format!("pulling {reference}: {}; trying again in {} s", failure.reason, pause.as_secs()));
            tokio::time::sleep(*pause).await;
        }
        let arrived = self.arrived(ImageAction::Pull, &on_engine, &reference.to_string()).await;
        if let Err(Error::Image { fault: ImageFault::Architecture, .. }) = &arrived
            && self.image(&on_engine).await?.map(|image| image.id) != before
        {
            // Best effort: the fault is what the user needs to hear of.
            let _ = self.remove_image(&on_engine).await;
        }
        arrived.map(|_| ())
    }

    async fn pull_once(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
        reporter: &dyn Reporter,
        patience: &Patience,
        layers: &mut Layers,
    ) -> Result<(), Failure> {
        let mut address = form_urlencoded::Serializer::new(String::new());
        address.append_pair("fromImage", reference.name()).append_pair("tag", reference.version());
        let nothing = bollard::body_full(Bytes::new());
        let mut messages =
            Box::pin(self.transport.post_stream(&format!("/images/create?{}", address.finish()), credentials, nothing));
        let mut pace = Pace::new(REPORT_EVERY);
        let mut done = false;
        let mut last = None;
        loop {
            let next = tokio::time::timeout(patience.silence, messages.next()).await;
            let message = match next {
                Err(_) => {
                    let reason = format!("no data arrived for {} s", patience.silence.as_secs());
                    return Err(Failure { fault: ImageFault::Network, reason, transient: true });
                }
                Ok(None) => break,
                // The connection may end untidily behind the last message.
                Ok(Some(Err(_))) if done => break,
                Ok(Some(Err(error))) => {
                    return Err(explain(Failure::from_bollard(ImageAction::Pull, &error), reference));
                }
                Ok(Some(Ok(message))) => message,
            };
            let about = LayerMessage::of(&message);
            let about_layer = layers.take(about);
            done |= !about_layer && is_last(about.status);
            last = about.id.filter(|id| !id.is_empty()).map(str::to_owned);
            if done || about_layer && pace.is_due(Instant::now()) {
                reporter.report(&Event::Transfer(layers.transfer()));
            }
        }
        if done {
            return Ok(());
        }
        // Podman 4.3 ends without a word on the whole. The last thing that it fetches is the image's
        // configuration, whose digest is the image's id; an older image of that name has another.
        if let Some(id) = last.filter(|_| self.about.is_podman()) {
            let found = self.image(&reference.on_engine()).await;
            if found.is_ok_and(|image| image.is_some_and(|i| i.id.trim_start_matches("sha256:").starts_with(&id))) {
                return Ok(());
            }
        }
        Err(Failure::lasting(ImageFault::Truncated, "the engine's answer ended before the image was complete"))
    }
}

/// Whether a message that is about no layer says that the image is complete: Docker's "Status: …",
/// or Podman's "Pull complete" with the image's own id.
fn is_last(status: &str) -> bool {
    status.starts_with("Status: ") || status == "Pull complete"
}

/// Adds what the engine's words leave open.
fn explain(mut failure: Failure, reference: &Reference) -> Failure {
    if failure.reason.contains("repository does not exist")
        || failure.reason.contains("access to the resource is denied")
    {
        failure.reason = format!(
            "{} has no {}, or it is private: then sign in first with docker login {}",
            reference.registry(),
            reference.name(),
            reference.registry()
        );
    }
    failure
}

#[cfg(test)]
mod tests;
