//! Builds an image with the engine's own builder from a context in memory: progress by step, the
//! whole log in a file, and the end of it in the error. Knows no appliance; what to build is handed
//! in. Dropping the future ends the build at the engine, too.

mod log;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use log::BuildLog;
use serde_json::Value;

use super::{
    Engine,
    build_progress::{StatusResponse, Trace},
    stream_error::{self, Failure},
    transfer::Pace,
};
use crate::{
    error::{Error, ImageAction, ImageFault, Result},
    event::{Event, Reporter},
    units::Elapsed,
};

/// Time between two looks at a build; at each, one event on where it stands and a few log lines.
const REPORT_EVERY: Duration = Duration::from_millis(400);

/// Most log lines that are reported at once. All of them are in the file.
const LINES_AT_ONCE: usize = 3;

/// How long a builder may take to begin to answer.
const FIRST_ANSWER: Duration = Duration::from_secs(120);

/// How long it may say nothing at all: a download of 200 MB over a slow line says nothing for a quarter of an hour.
const STANDSTILL: Duration = Duration::from_secs(30 * 60);

/// How long the connection may stay open behind the last message.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The image's name.
    pub reference: String,
    /// The build context, a tar archive with a `Dockerfile` at its top.
    pub context: Vec<u8>,
    /// Build arguments, the proxy variables among them.
    pub arguments: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Where the whole log goes; replaced when it exists.
    pub log_file: PathBuf,
    /// The stage to build; `None` for the last one.
    pub target: Option<String>,
}

impl Engine {
    /// Builds an image.
    ///
    /// # Errors
    /// [`Error::Image`] with the fault, the last log lines and the place of the whole log; a file
    /// error when the log cannot be written.
    pub async fn build(&self, request: BuildRequest, reporter: &dyn Reporter) -> Result<()> {
        self.build_within(STANDSTILL, request, reporter).await
    }

    async fn build_within(&self, standstill: Duration, request: BuildRequest, reporter: &dyn Reporter) -> Result<()> {
        let mut log = BuildLog::create(&request)?;
        let built = self.run_build(standstill, &request, reporter, &mut log).await;
        let end = built.as_ref().map_or_else(|f| format!("\nfailed: {}", f.reason), |()| "\ndone".to_owned());
        let _ = log.write(&end);
        let in_build = |error: Error, log: &BuildLog| match error {
            Error::Image { action, reference, fault, reason, .. } => Error::Image {
                action,
                reference,
                fault,
                reason,
                log: log.tail.iter().cloned().collect(),
                log_file: Some(request.log_file.display().to_string()),
            },
            other => other,
        };
        if let Err(failure) = built {
            return Err(in_build(failure.into_error(ImageAction::Build, &request.reference), &log));
        }
        self.arrived(ImageAction::Build, &request.reference, &request.reference)
            .await
            .map_err(|error| in_build(error, &log))?;
        Ok(())
    }

    async fn run_build(
        &self,
        standstill: Duration,
        request: &BuildRequest,
        reporter: &dyn Reporter,
        log: &mut BuildLog,
    ) -> Result<(), Failure> {
        let messages =
            self.transport.post_stream(&address(request), None, bollard::body_full(request.context.clone().into()));
        let mut messages = std::pin::pin!(messages);
        let begin = Instant::now();
        let mut trace = Trace::default();
        let mut pace = Pace::new(REPORT_EVERY);
        let mut waiting = VecDeque::new();
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        // Whether it named the image that it made.
        let mut complete = false;
        let mut last_message = begin;
        let outcome = loop {
            let mut ended = false;
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    None => ended = true,
                    // The connection may end untidily behind the last message.
                    Some(Err(_)) if complete => ended = true,
                    Some(Err(error)) => break Err(Failure::from_bollard(ImageAction::Build, &error)),
                    Some(Ok(info)) => {
                        last_message = Instant::now();
                        complete |= take(&info, &mut trace, begin.elapsed());
                    }
                },
                _ = ticks.tick() => ended = complete && last_message.elapsed() >= LAST_WORDS,
            }
            let limit = if last_message == begin { standstill.min(FIRST_ANSWER) } else { standstill };
            if !complete && last_message.elapsed() >= limit {
                let reason = format!("nothing was heard of it for {}", Elapsed(limit));
                break Err(Failure::lasting(ImageFault::BuildStep, reason));
            }
            if ended {
                break match complete {
                    true => Ok(()),
                    false => Err(Failure::lasting(
                        ImageFault::Truncated,
                        "the builder's answer ended before the image was complete",
                    )),
                };
            }
            for (step, line) in trace.take_lines() {
                log.line(&step, &line);
                waiting.push_back(line);
                waiting.drain(..waiting.len().saturating_sub(LINES_AT_ONCE));
            }
            if pace.is_due(Instant::now()) {
                waiting.drain(..).for_each(|line| reporter.report(&Event::BuildLog { line }));
                reporter.report(&Event::Build(trace.build(begin.elapsed())));
            }
        };
        match &outcome {
            Ok(()) => trace.finish(),
            Err(_) => trace.end_all_lines(),
        }
        for (step, line) in trace.take_lines() {
            log.line(&step, &line);
            waiting.push_back(line);
        }
        let skipped = waiting.len().saturating_sub(LINES_AT_ONCE);
        waiting.drain(..).skip(skipped).for_each(|line| reporter.report(&Event::BuildLog { line }));
        reporter.report(&Event::Build(trace.build(begin.elapsed())));
        outcome.map_err(|failure| of_step(failure, &trace, log))
    }
}

/// Takes note of a message; whether it names the image that was made.
fn take(message: &Value, trace: &mut Trace, now: Duration) -> bool {
    if let Some(of_buildkit) = message["aux"].as_str() {
        if let Some(message) = StatusResponse::read(of_buildkit) {
            trace.take(&message, now);
        }
        return false;
    }
    let text = message["stream"].as_str().unwrap_or_default();
    if !text.is_empty() {
        trace.take_text(text, now);
    }
    text.contains("Successfully tagged") || message["aux"]["ID"].is_string()
}

/// A failed step's name, and its own last lines, say more than the builder's words about it.
fn of_step(mut failure: Failure, trace: &Trace, log: &BuildLog) -> Failure {
    if failure.fault != ImageFault::BuildStep {
        return failure;
    }
    let tail: Vec<String> = log.tail.iter().cloned().collect();
    failure.fault = stream_error::of_step(&tail);
    let name = trace.failed().map(|(name, _)| name).or_else(|| trace.running());
    let Some(name) = name else { return failure };
    // The last words of BuildKit and of the old builder, and those of Podman's.
    let code = ["exit code: ", "exit status "].iter().find_map(|words| failure.reason.rsplit_once(words));
    failure.reason = match code {
        Some((_, code)) => format!("the step `{name}` ended with exit code {code}"),
        None => format!("the step `{name}` failed: {}", failure.reason),
    };
    failure
}

/// Without a session, which BuildKit needs only for what is not in the context, and for credentials: a base is pulled before.
fn address(request: &BuildRequest) -> String {
    let json = |fields: &BTreeMap<String, String>| serde_json::to_string(fields).unwrap_or_default();
    // Nothing of the old builder's kind is left behind when it fails.
    let mut query = form_urlencoded::Serializer::new(String::from("/build?version=2&rm=true&forcerm=true"));
    query.append_pair("t", &request.reference);
    query.append_pair("buildargs", &json(&request.arguments)).append_pair("labels", &json(&request.labels));
    if let Some(target) = &request.target {
        query.append_pair("target", target);
    }
    query.finish()
}
