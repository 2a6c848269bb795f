//! Builds on an engine that answers what it is told to, and on a real one.
#![allow(clippy::unwrap_used)]
use super::{
    super::scripted::{Recorder, Reply, ScriptedEngine, append, image_of, missing, real_engine, stream},
    *,
};
use crate::{error::Code, event::Silent};

const OK: &str = include_str!("../../../tests/fixtures/buildkit-ok.jsonl");
const STEP_FAILS: &str = include_str!("../../../tests/fixtures/buildkit-step-fails.jsonl");

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
    scripted: ScriptedEngine,
}

async fn build(answer: Reply, image: Reply) -> Built {
    let scripted = ScriptedEngine::new(&[("POST /build", vec![answer]), ("GET /images/", vec![image])]);
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let result = scripted.engine.build(request("x:1", "FROM scratch", &folder), &recorder).await;
    let log = std::fs::read_to_string(folder.path().join("build.log")).unwrap();
    Built { result, recorder, log, scripted }
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
    let asked = built.scripted.asked();
    let ask = asked.iter().find(|r| r.starts_with("POST /build?")).unwrap();
    for part in ["version=2", "rm=true", "t=x%3A1", "docklet.test", "HTTP_PROXY"] {
        assert!(ask.contains(part), "{part} {ask}");
    }
}

#[tokio::test]
async fn a_failed_step_is_named_with_its_last_lines() {
    let built = build(stream(STEP_FAILS), here()).await;
    let (fault, reason, log) = told(built.result);
    assert_eq!(fault, ImageFault::BuildStep);
    assert_eq!(reason, "the step `RUN echo broken; exit 3` ended with exit code 3");
    assert_eq!(log.last().map(String::as_str), Some("broken"));
    assert!(
        built.log.ends_with("\nfailed: the step `RUN echo broken; exit 3` ended with exit code 3\n"),
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
    assert_eq!(reason, "the step `RUN apt-get update` ended with exit code 100");
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

/// As Podman 4.3 stands still at two locked caches in one RUN.
#[tokio::test]
async fn a_build_that_stands_still_ends_and_names_its_step() {
    let lines = [r#"{"stream":"STEP 1/2: FROM debian\n"}"#, r#"{"stream":"STEP 2/2: RUN apt-get update\n"}"#];
    let scripted = ScriptedEngine::new(&[("POST /build", vec![Reply::Hang(lines.map(str::to_owned).to_vec())])]);
    let folder = tempfile::tempdir().unwrap();
    let limit = Duration::from_millis(300);
    let build = scripted.engine.build_within(limit, request("x:1", "FROM scratch", &folder), &Silent);
    let (fault, reason, _) = told(tokio::time::timeout(Duration::from_secs(20), build).await.unwrap());
    assert_eq!(fault, ImageFault::BuildStep);
    assert_eq!(reason, "the step `RUN apt-get update` failed: nothing was heard of it for 300 ms");
}

#[tokio::test]
async fn a_step_that_fails_on_podman_is_told_in_the_same_words() {
    let text = r#"{"stream":"STEP 1/1: RUN echo before; exit 7\n"}
{"errorDetail":{"message":"building at STEP \"RUN echo before; exit 7\": while running runtime: exit status 7"}}"#;
    // Older ones send the words alone.
    let alone = r#"{"stream":"STEP 1/1: RUN echo before; exit 7\n"}
{"error":"error building at STEP \"RUN echo before; exit 7\": error while running runtime: exit status 7"}"#;
    for text in [text, alone] {
        let (fault, reason, _) = told(build(stream(text), here()).await.result);
        assert_eq!(fault, ImageFault::BuildStep);
        assert_eq!(reason, "the step `RUN echo before; exit 7` ended with exit code 7");
    }
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
    // The mounts are those of the Dockerfile of the appliance. In another order, Podman 4.3 never unlocks the cache.
    let mounts = "--mount=type=cache,target=/var/lib/apt/lists --mount=type=cache,target=/var/cache/apt,sharing=locked \
        --mount=type=bind,source=Dockerfile,target=/tmp/file";
    let text = format!(
        "FROM {BASE} AS a\nARG A\nRUN {mounts} test -s /tmp/file && echo \"$A\" {} > /x\nFROM {BASE}\nCOPY --from=a /x /x\n",
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
        (ImageFault::BuildStep, "the step `RUN echo before; exit 7` ended with exit code 7")
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
