//! Builds an image with the engine's own builder from a context in memory: progress by step, the
//! whole log in a file, and the end of it in the error. Knows no appliance; what to build is handed
//! in. Dropping the future ends the build at the engine, too.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use bollard::{
    models::{BuildInfo, BuildInfoAux},
    query_parameters::{BuildImageOptions, BuilderVersion},
};
use futures_util::StreamExt as _;

use super::{
    Engine,
    fault::{self, Failure, mask_urls},
    trace::Trace,
    transfer::Pace,
};
use crate::{
    appliance::hex,
    error::{Error, ImageAction, ImageFault, Result},
    event::{Event, Reporter},
};

/// Lines of the log that an error shows.
const TAIL: usize = 20;

/// Time between two looks at a build; at each, one event on where it stands and a few log lines.
const REPORT_EVERY: Duration = Duration::from_millis(400);

/// Most log lines that are reported at once. All of them are in the file.
const LINES_AT_ONCE: usize = 3;

/// How long a builder may take to begin to answer, and its session to be opened. A running step may be silent for as long as it
/// likes.
const FIRST_ANSWER: Duration = Duration::from_secs(120);

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
        let mut log = Log::create(&request)?;
        let built = self.run_build(&request, reporter, &mut log).await;
        let end = built.as_ref().map_or_else(|f| format!("\nfailed: {}", f.reason), |()| "\ndone".to_owned());
        let _ = log.write(&end);
        let in_build = |error: Error, log: &Log| match error {
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

    async fn run_build(&self, request: &BuildRequest, reporter: &dyn Reporter, log: &mut Log) -> Result<(), Failure> {
        let docker = self.docker.clone().with_timeout(FIRST_ANSWER);
        let context = bollard::body_full(request.context.clone().into());
        let mut messages = docker.build_image(options(request)?, None, Some(context));
        let begin = Instant::now();
        let mut trace = Trace::default();
        let mut pace = Pace::new(REPORT_EVERY);
        let mut waiting = VecDeque::new();
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        let mut state = State::Running;
        let mut last_message = Instant::now();
        let outcome = loop {
            let mut ended = false;
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    None => ended = true,
                    // The connection may end untidily behind the last message.
                    Some(Err(_)) if state == State::Complete => ended = true,
                    Some(Err(error)) => break Err(Failure::from_bollard(ImageAction::Build, &error)),
                    Some(Ok(info)) => {
                        last_message = Instant::now();
                        state = state.after(&info, &mut trace, begin.elapsed());
                    }
                },
                _ = ticks.tick() => ended = state == State::Complete && last_message.elapsed() >= LAST_WORDS,
            }
            if ended {
                break match state {
                    State::Complete => Ok(()),
                    State::Unspoken => Err(Failure::lasting(ImageFault::BuildStep, "the builder reported an error")),
                    State::Running => Err(Failure::lasting(
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

/// How far the builder's answer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// It named the image that it made.
    Complete,
    /// It sent an error in a field that bollard does not read, as older Podmans do.
    Unspoken,
}

impl State {
    fn after(self, info: &BuildInfo, trace: &mut Trace, now: Duration) -> State {
        match &info.aux {
            Some(BuildInfoAux::BuildKit(message)) => {
                trace.take(message, now);
                return self;
            }
            Some(BuildInfoAux::Default(id)) => {
                return if id.id.is_some() { State::Complete } else { self };
            }
            None => {}
        }
        if let Some(text) = &info.stream {
            trace.take_text(text, now);
            if text.contains("Successfully tagged") {
                return State::Complete;
            }
            return self;
        }
        if self == State::Running && *info == BuildInfo::default() { State::Unspoken } else { self }
    }
}

/// A failed step's name, and its own last lines, say more than the builder's words about it.
fn of_step(mut failure: Failure, trace: &Trace, log: &Log) -> Failure {
    if failure.fault != ImageFault::BuildStep {
        return failure;
    }
    let tail: Vec<String> = log.tail.iter().cloned().collect();
    failure.fault = fault::of_step(&tail);
    let name = trace.failed().map(|(name, _)| name).or_else(|| trace.running());
    let Some(name) = name else { return failure };
    failure.reason = match failure.reason.rfind("exit code: ") {
        Some(at) => format!("the step «{name}» ended with {}", failure.reason[at..].replacen("code: ", "code ", 1)),
        None => format!("the step «{name}» failed: {}", failure.reason),
    };
    failure
}

fn options(request: &BuildRequest) -> Result<BuildImageOptions, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| Failure::lasting(ImageFault::Other, format!("no random numbers: {e}")))?;
    Ok(BuildImageOptions {
        t: Some(request.reference.clone()),
        // Nothing of the old builder's kind is left behind when it fails.
        rm: true,
        forcerm: true,
        buildargs: Some(request.arguments.clone().into_iter().collect()),
        labels: Some(request.labels.clone().into_iter().collect()),
        version: BuilderVersion::BuilderBuildKit,
        session: Some(hex(&random)),
        target: request.target.clone().unwrap_or_default(),
        ..BuildImageOptions::default()
    })
}

/// The whole log in a file, written line by line, and its end in memory.
struct Log {
    file: fs_err::File,
    /// Name of the step that the last line was of.
    step: String,
    tail: VecDeque<String>,
}

impl Log {
    fn create(request: &BuildRequest) -> Result<Self> {
        let path = request.log_file.as_path();
        let file = fs_err::File::create(path).map_err(|e| Error::file("write", path, &e))?;
        let mut log = Log { file, step: String::new(), tail: VecDeque::new() };
        log.write(&format!("building {}", request.reference)).map_err(|e| Error::file("write", path, &e))?;
        for (name, value) in &request.arguments {
            let _ = log.write(&format!("  {name}={}", mask_urls(value)));
        }
        Ok(log)
    }

    fn line(&mut self, step: &str, line: &str) {
        // A full disk is no reason to stop a build on the engine; the error of the build counts.
        if self.step != step && !step.is_empty() {
            let _ = self.write(&format!("\n{step}"));
            self.step = step.to_owned();
        }
        let _ = self.write(&format!("  {line}"));
        self.tail.push_back(line.to_owned());
        if self.tail.len() > TAIL {
            self.tail.pop_front();
        }
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{
        super::fake::{Fake, Recorder, Reply, append, image_of, missing, real_engine, stream},
        *,
    };
    use crate::{error::Code, event::Silent};

    const OK: &str = include_str!("../../tests/fixtures/buildkit-ok.jsonl");
    const STEP_FAILS: &str = include_str!("../../tests/fixtures/buildkit-step-fails.jsonl");

    fn request(reference: &str, dockerfile: &str, folder: &tempfile::TempDir) -> BuildRequest {
        let mut context = tar::Builder::new(Vec::new());
        append(&mut context, "Dockerfile", dockerfile.as_bytes());
        BuildRequest {
            reference: reference.to_owned(),
            context: context.into_inner().unwrap(),
            arguments: [("HTTP_PROXY", "http://me:secret@proxy:3128"), ("A", "b")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            labels: [("docklet.test".to_owned(), "yes".to_owned())].into(),
            target: None,
            log_file: folder.path().join("build.log"),
        }
    }

    struct Built {
        result: Result<()>,
        recorder: Recorder,
        log: String,
        fake: Fake,
    }

    async fn build(answer: Reply, image: Reply) -> Built {
        let fake = Fake::new(&[
            ("POST /build", vec![answer]),
            ("POST /session", vec![Reply::Status(500, "{}".to_owned())]),
            ("GET /images/", vec![image]),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::default();
        let result = fake.engine.build(request("x:1", "FROM scratch", &folder), &recorder).await;
        let log = std::fs::read_to_string(folder.path().join("build.log")).unwrap();
        Built { result, recorder, log, fake }
    }

    fn here() -> Reply {
        image_of("amd64", &["x:1"])
    }

    fn told(result: Result<()>) -> (ImageFault, String, Vec<String>) {
        match result {
            Err(Error::Image { fault, reason, log, log_file: Some(_), .. }) => (fault, reason, log),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_good_build_is_shown_and_logged_without_secrets() {
        let built = build(stream(OK), here()).await;
        built.result.unwrap();
        insta::assert_snapshot!(built.log, @r#"
        building x:1
          A=b
          HTTP_PROXY=http://***@proxy:3128

        RUN echo side by side
          side by side

        tool: RUN printf 'one\rtwo\nd\033[31mred\033[0m\n'; sleep 1; echo over http://***@proxy:3128
          one
          two
          dred
          over http://***@proxy:3128

        write the image
          Successfully tagged docklet-test/fixture:1

        done
        "#);
        let events = built.recorder.0.lock().unwrap();
        let lines: Vec<_> = events.iter().filter(|e| matches!(e, Event::BuildLog { .. })).collect();
        assert!(!lines.is_empty() && lines.len() <= 2 * LINES_AT_ONCE, "{lines:?}");
        match events.last() {
            Some(Event::Build(b)) => assert!(b.done == b.total && b.total > 3 && b.running.is_none(), "{b:?}"),
            other => panic!("{other:?}"),
        }
        let asked = built.fake.asked();
        let ask = asked.iter().find(|r| r.starts_with("POST /build?")).unwrap();
        for part in ["version=2", "session=", "t=x%3A1", "docklet.test", "HTTP_PROXY"] {
            assert!(ask.contains(part), "{part} {ask}");
        }
    }

    #[tokio::test]
    async fn a_failed_step_is_named_with_its_last_lines() {
        let built = build(stream(STEP_FAILS), here()).await;
        let (fault, reason, log) = told(built.result);
        assert_eq!(fault, ImageFault::BuildStep);
        assert_eq!(reason, "the step «RUN echo broken; exit 3» ended with exit code 3");
        assert_eq!(log.last().map(String::as_str), Some("broken"));
        assert!(
            built.log.ends_with("\nfailed: the step «RUN echo broken; exit 3» ended with exit code 3\n"),
            "{}",
            built.log
        );
    }

    #[tokio::test]
    async fn a_step_that_reached_nobody_is_a_fault_of_the_network() {
        let text = r#"{"stream":"Step 1/1 : RUN apt-get update\n"}
{"stream":"W: Temporary failure resolving 'mirror.example'\n"}
{"errorDetail":{"message":"executor failed running [/bin/sh -c apt-get update]: exit code: 100"}}"#;
        let (fault, reason, _) = told(build(stream(text), here()).await.result);
        assert_eq!(fault, ImageFault::Network);
        assert_eq!(reason, "the step «RUN apt-get update» ended with exit code 100");
    }

    #[tokio::test]
    async fn errors_in_the_stream_have_their_codes() {
        for (words, fault, code) in [
            ("toomanyrequests: You have reached your pull rate limit", ImageFault::RateLimited, Code::RateLimited),
            ("failed to copy: no space left on device", ImageFault::NoSpace, Code::NoSpace),
            ("docker.io/library/debian:nothere: not found", ImageFault::NotFound, Code::BuildFailed),
            (
                "failed to solve: dial tcp: lookup registry-1.docker.io on 10.0.0.1:53: no such host",
                ImageFault::Network,
                Code::BuildFailed,
            ),
            ("no match for platform in manifest sha256:00: not found", ImageFault::Architecture, Code::ArchMismatch),
            ("something new", ImageFault::Other, Code::BuildFailed),
        ] {
            let error = serde_json::json!({"errorDetail": {"message": words}, "error": words});
            let built = build(stream(&error.to_string()), here()).await;
            assert_eq!(built.result.as_ref().unwrap_err().code(), code, "{words}");
            assert_eq!(told(built.result).0, fault, "{words}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_truncated_although_an_image_is_there() {
        let half: Vec<String> = OK.lines().take(9).map(str::to_owned).collect();
        for answer in [Reply::Stream(half.clone()), Reply::Cut(half), Reply::Stream(vec![])] {
            assert_eq!(told(build(answer.clone(), here()).await.result).0, ImageFault::Truncated, "{answer:?}");
        }
        assert_eq!(told(build(stream(OK), missing()).await.result).0, ImageFault::Truncated);
        let unspoken = stream("{\"stream\":\"STEP 1/2: RUN false\\n\"}\n{\"error\":\"podman says\"}");
        let (fault, reason, _) = told(build(unspoken, here()).await.result);
        assert_eq!(
            (fault, reason.as_str()),
            (ImageFault::BuildStep, "the step «RUN false» failed: the builder reported an error")
        );
    }

    #[tokio::test]
    async fn a_session_without_an_answer_keeps_nobody_waiting_for_a_good_build() {
        let fake = Fake::new(&[
            ("POST /build", vec![stream(OK)]),
            ("POST /grpc", vec![Reply::Upgrade]),
            ("POST /session", vec![Reply::Mute]),
            ("GET /images/", vec![here()]),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let work = fake.engine.build(request("x:1", "FROM scratch", &folder), &Silent);
        tokio::time::timeout(LAST_WORDS * 4, work).await.unwrap().unwrap();
        assert_eq!(fake.count("POST /session"), 1);
    }

    #[tokio::test]
    async fn podmans_plain_lines_make_a_build_too() {
        let text = r#"{"stream":"STEP 1/2: FROM debian\n"}
{"stream":"STEP 2/2: RUN echo hi\n"}
{"stream":"hi\n"}
{"stream":"COMMIT x:1\n"}
{"stream":"Successfully built 0a1b\n"}
{"stream":"Successfully tagged localhost/x:1\n"}"#;
        build(stream(text), here()).await.result.unwrap();
    }

    /// The base that the tests on a real engine build on, which is there without a registry.
    const BASE: &str = "debian:trixie-slim";

    #[tokio::test]
    #[ignore = "needs an engine: tests/run brings one"]
    async fn a_real_build_and_a_real_failure() {
        let engine = real_engine();
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::default();
        let name = "docklet-test/build-test:1";
        let text = format!(
            "FROM {BASE} AS a\nARG A\nRUN echo \"$A\" {} > /x\nFROM {BASE}\nCOPY --from=a /x /x\n",
            std::process::id()
        );
        let begin = Instant::now();
        engine.build(request(name, &text, &folder), &recorder).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(60), "a base that is there needs no registry");
        let image = engine.image(name).await.unwrap().unwrap();
        assert_eq!(image.labels.get("docklet.test").map(String::as_str), Some("yes"));
        match recorder.0.lock().unwrap().last() {
            Some(Event::Build(b)) => assert!(b.done == b.total && b.total >= 4, "{b:?}"),
            other => panic!("{other:?}"),
        }
        let text = format!("FROM {BASE}\nRUN echo before; exit 7\n");
        let (fault, reason, log) = told(engine.build(request(name, &text, &folder), &Silent).await);
        assert_eq!(
            (fault, reason.as_str()),
            (ImageFault::BuildStep, "the step «RUN echo before; exit 7» ended with exit code 7")
        );
        assert_eq!(log.last().map(String::as_str), Some("before"));
        engine.remove_image(name).await.unwrap();
    }

    #[tokio::test]
    #[ignore = "needs an engine on this machine: tests/run brings one"]
    async fn dropping_a_build_ends_it_at_the_engine() {
        let engine = real_engine();
        let folder = tempfile::tempdir().unwrap();
        let seconds = format!("4{}", std::process::id());
        let runs = || {
            std::fs::read_dir("/proc").unwrap().flatten().any(|p| {
                let line = std::fs::read(p.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line) == format!("sleep\0{seconds}\0")
            })
        };
        let text = format!("FROM {BASE}\nRUN sleep {seconds}\n");
        let wait = async |wanted: bool| {
            while runs() != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let limit = Duration::from_secs(30);
        tokio::select! {
            ended = engine.build(request("docklet-test/build-drop:1", &text, &folder), &Silent) => panic!("{ended:?}"),
            began = tokio::time::timeout(limit, wait(true)) => began.unwrap(),
        }
        tokio::time::timeout(limit, wait(false)).await.unwrap();
    }
}
