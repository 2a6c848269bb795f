//! Bounded fuzzing of what engines answer: recorded good answers with fields dropped, or replaced by null, by another
//! type or by an absurd number. Every verb ends with a value or with an error that says something; none panics, and
//! none calls it a bug of docklet's.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures_util::StreamExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    build::BuildRequest,
    checkup,
    endpoints::{Candidate, Endpoint, EngineKind},
    events,
    identify::identify,
    image,
    pull::Patience,
    scripted::{Recorder, Reply, ScriptedEngine, image_of},
    translate, usage,
};
use crate::{
    error::{Code, Error},
    event::Silent,
};

/// What Docker 20.10 answered, by question.
const RECORDED: &str = include_str!("../../tests/fixtures/engine-answers.json");

/// BuildKit's stream of a build.
const BUILD: &str = include_str!("../../tests/fixtures/buildkit-ok.jsonl");

const PULL: &str = r#"{"status":"Pulling from x","id":"1"}
{"status":"Pulling fs layer","progressDetail":{},"id":"68f1e3441b75"}
{"status":"Downloading","progressDetail":{"current":36445,"total":1500644},"progress":"[=>  ]","id":"68f1e3441b75"}
{"status":"Pull complete","progressDetail":{},"id":"68f1e3441b75"}
{"status":"Digest: sha256:c3b8a3d97a30dd92eb902700db879b13d9241814a4dec683e97dd584f78fac68"}
{"status":"Status: Downloaded newer image for x:1"}"#;

const LOAD: &str = r#"{"status":"Loading layer","progressDetail":{"current":32768,"total":80000},"progress":"[=> ]","id":"5f70bf18a086"}
{"stream":"Loaded image: x:1\n"}"#;

/// What happens to one node of an answer.
#[derive(Debug, Clone)]
enum Mutation {
    Drop,
    Replace(Value),
}

/// What a node is replaced by.
fn odd() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(""),
        json!("odd"),
        json!("2026-13-45T99:99:99Z"),
        json!("9".repeat(400)),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(1e308),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": null}),
    ]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let replace = proptest::sample::select(odd()).prop_map(Mutation::Replace);
    prop_oneof![1 => Just(Mutation::Drop), 3 => replace]
}

/// Some changes to a document; the number says to which node, in the order of the text.
fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, Mutation)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), mutation()), 1..5)
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}

fn mutate(value: &mut Value, mutations: &[(prop::sample::Index, Mutation)]) {
    for (index, mutation) in mutations {
        change(value, index.index(size(value)), mutation);
    }
}

/// Changes the `at`th node; the first is the value itself.
fn change(value: &mut Value, at: usize, mutation: &Mutation) {
    if at == 0 {
        *value = match mutation {
            Mutation::Replace(with) => with.clone(),
            Mutation::Drop => Value::Null,
        };
        return;
    }
    let mut before = 1;
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter_mut().enumerate() {
                let inside = size(item);
                if at < before + inside {
                    match mutation {
                        Mutation::Drop if at == before => drop(items.remove(number)),
                        mutation => change(item, at - before, mutation),
                    }
                    return;
                }
                before += inside;
            }
        }
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            for name in names {
                let Some(item) = fields.get_mut(&name) else { continue };
                let inside = size(item);
                if at < before + inside {
                    match mutation {
                        Mutation::Drop if at == before => drop(fields.remove(&name)),
                        mutation => change(item, at - before, mutation),
                    }
                    return;
                }
                before += inside;
            }
        }
        _ => {}
    }
}

/// A recorded answer, changed.
fn answer(to: &str, mutations: &[(prop::sample::Index, Mutation)]) -> Value {
    let mut answer = serde_json::from_str::<Value>(RECORDED).unwrap()[to].take();
    assert!(!answer.is_null(), "{to} is recorded");
    mutate(&mut answer, mutations);
    answer
}

/// An error is one that a user can do something with.
fn fit<T>(verb: &str, outcome: Result<T, Error>, answer: &str) {
    let Err(error) = outcome else { return };
    let text = error.to_string();
    assert!(!text.trim().is_empty() && error.code() != Code::Bug, "{verb}: {error:?}\n{answer}");
    let _ = (error.causes(), error.hint());
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await.unwrap() });
}

fn stream_of(text: &str, mutations: &[(prop::sample::Index, Mutation)]) -> Vec<String> {
    let mut all: Value = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    mutate(&mut all, mutations);
    match all {
        Value::Array(lines) => lines.iter().map(Value::to_string).collect(),
        other => vec![other.to_string()],
    }
}

/// Every single change to a recorded answer, given to what reads it.
fn each_change<T: serde::de::DeserializeOwned>(to: &str, understand: impl Fn(T)) {
    let recorded = answer(to, &[]);
    let changes: Vec<Mutation> = odd().into_iter().map(Mutation::Replace).chain([Mutation::Drop]).collect();
    let mut understood = 0;
    for at in 0..size(&recorded) {
        for mutation in &changes {
            let mut answer = recorded.clone();
            change(&mut answer, at, mutation);
            if let Ok(answer) = serde_json::from_value(answer) {
                understand(answer);
                understood += 1;
            }
        }
    }
    assert!(understood > size(&recorded), "{to}: only {understood} were understood");
}

#[test]
fn no_single_odd_field_is_too_much() {
    each_change("container", |inspect: Value| drop(translate::detail(&inspect)));
    each_change("containers", |list: Vec<Value>| drop(list.iter().map(translate::listed).collect::<Vec<_>>()));
    each_change("image", |inspect: Value| drop(image::image(&inspect)));
    each_change("images", |list: Vec<Value>| drop(list.iter().map(image::image).collect::<Vec<_>>()));
    each_change("info", |info: Value| drop(checkup::machine(info)));
    each_change("events", |list: Vec<_>| drop(list.into_iter().map(events::event).collect::<Vec<_>>()));
    each_change("usage", |usage: Value| drop(usage::sizes(&usage)));
    each_change("version", |version| drop(identify(version, &place(), None)));
}

fn place() -> Candidate {
    Candidate {
        endpoint: Endpoint::Unix("/var/run/docker.sock".into()),
        origin: "a test".into(),
        kind: EngineKind::of("/".as_ref()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verbs_survive_odd_answers(which in 0..9usize, mutations in mutations()) {
        let recorded = ["container", "containers", "info", "image", "images", "network", "networks", "volumes", "changes"];
        let answer = answer(recorded[which], &mutations);
        let text = answer.to_string();
        run(async {
            let mut routes = vec![("GET /", vec![Reply::Status(200, text.clone())])];
            if which == 8 {
                // Whose changes they are is asked, too.
                routes.push(("GET /containers/opencode-cloud-play/json", vec![Reply::Status(404, "{}".to_owned())]));
            }
            let scripted = ScriptedEngine::new(&routes);
            let engine = &scripted.engine;
            let name = "opencode-cloud-play";
            match which {
                0 => fit("container", engine.container(name).await, &text),
                1 => fit("containers", engine.containers(true).await, &text),
                2 => {
                    fit("host", engine.host().await, &text);
                    fit("machine", engine.machine().await, &text);
                }
                3 => fit("image", engine.image("x:1").await, &text),
                4 => fit("images", engine.images_labelled("opencode-cloud").await, &text),
                5 => fit("network", engine.network(name).await, &text),
                6 => fit("networks", engine.managed_networks().await, &text),
                7 => fit("volumes", engine.volumes(name).await, &text),
                _ => fit("changes", engine.changed_paths(name).await, &text),
            }
        });
    }

    #[test]
    fn sizes_and_reports_survive_them_too(mutations in mutations()) {
        let usage = answer("usage", &mutations).to_string();
        let inspect = answer("container", &mutations).to_string();
        run(async {
            let scripted = ScriptedEngine::new(&[
                ("GET /system/df", vec![Reply::Status(200, usage.clone())]),
                ("GET /containers/", vec![Reply::Status(200, inspect.clone())]),
            ]);
            fit("sizes", scripted.engine.volume_sizes().await, &usage);
            fit("report", scripted.engine.inspect_for_report("opencode-cloud-play").await, &inspect);
        });
    }

    #[test]
    fn an_odd_engine_is_identified_or_refused(mutations in mutations()) {
        if let Ok(version) = serde_json::from_value(answer("version", &mutations))
            && let Err(refusal) = identify(version, &place(), None)
        {
            prop_assert!(!refusal.reason.is_empty() && !refusal.hint.is_empty());
        }
    }

    #[test]
    fn odd_events_end_nothing_but_their_stream(mutations in mutations()) {
        let lines = stream_of(&answer("events", &[])[0].to_string(), &mutations);
        let text = lines.join("\n");
        run(async {
            let scripted = ScriptedEngine::new(&[("GET /events", vec![Reply::Stream(lines)])]);
            let events = scripted.engine.events("opencode-cloud", &"play".parse().unwrap(), Some(i128::MAX));
            for event in events.collect::<Vec<_>>().await {
                fit("events", event, &text);
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn odd_streams_of_progress_end_in_an_image_or_an_error(which in 0..3usize, mutations in mutations()) {
        let lines = stream_of([PULL, LOAD, BUILD][which], &mutations);
        let text = lines.join("\n");
        let folder = tempfile::tempdir().unwrap();
        run(async {
            let scripted = ScriptedEngine::new(&[
                ("POST /images/create", vec![Reply::Stream(lines.clone())]),
                ("POST /images/load", vec![Reply::Stream(lines.clone())]),
                ("POST /build", vec![Reply::Stream(lines)]),
                ("POST /images/x:1/tag", vec![Reply::Status(201, String::new())]),
                ("DELETE /images/", vec![Reply::Status(200, "[]".to_owned())]),
                ("GET /images/", vec![image_of("amd64", &["x:1"])]),
            ]);
            let engine = &scripted.engine;
            match which {
                0 => {
                    let patience = Patience { pauses: &[], before_first_byte: false, silence: Duration::from_secs(5) };
                    let (reference, reporter) = ("x:1".parse().unwrap(), Recorder::default());
                    fit("pull", engine.pull_patiently(&reference, None, &reporter, &patience).await, &text);
                }
                1 => {
                    let archive = folder.path().join("image.tar");
                    super::scripted::write_archive(&archive, Some("x:1"), "amd64", 2000);
                    fit("load", engine.load(&archive, "x:1", &Silent).await, &text);
                }
                _ => {
                    let request = BuildRequest {
                        reference: "x:1".to_owned(), context: vec![], arguments: [].into(), labels: [].into(),
                        log_file: folder.path().join("build.log"),
                        target: None,
                    };
                    fit("build", engine.build(request, &Silent).await, &text);
                }
            }
        });
    }
}
