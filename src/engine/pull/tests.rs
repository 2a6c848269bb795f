//! Pulls from a scripted engine, and from a real one with a registry.
#![allow(clippy::unwrap_used)]
use super::{
    super::scripted::{Recorder, Reply, ScriptedEngine, image_of, missing, needed, real_engine, stream, write_archive},
    *,
};
use crate::{error::Code, event::Silent};

const IMPATIENT: Patience = Patience {
    pauses: &[Duration::from_millis(1), Duration::from_millis(2), Duration::from_millis(3)],
    before_first_byte: true,
    silence: Duration::from_millis(300),
};

const GOOD: &str = r#"{"status":"Pulling from x","id":"1"}
{"status":"Pulling fs layer","progressDetail":{},"id":"68f1e3441b75"}
{"status":"Downloading","progressDetail":{"current":36445,"total":1500644},"progress":"[=>  ]","id":"68f1e3441b75"}
{"status":"Download complete","progressDetail":{},"id":"68f1e3441b75"}
{"status":"Extracting","progressDetail":{"current":1500644,"total":1500644},"id":"68f1e3441b75"}
{"status":"Pull complete","progressDetail":{},"id":"68f1e3441b75"}
{"status":"Digest: sha256:c3b8a3d97a30dd92eb902700db879b13d9241814a4dec683e97dd584f78fac68"}
{"status":"Status: Downloaded newer image for x:1"}"#;

fn in_stream(error: &str) -> Reply {
    let error = serde_json::json!({"errorDetail": {"message": error}, "error": error});
    stream(&format!("{}\n{error}", GOOD.lines().take(3).collect::<Vec<_>>().join("\n")))
}

async fn pull(pulls: Vec<Reply>, patience: &Patience) -> (Result<()>, ScriptedEngine, Recorder) {
    // An older image is there all the time: it must hide no failure.
    let scripted =
        ScriptedEngine::new(&[("POST /images/create", pulls), ("GET /images/", vec![image_of("amd64", &["x:1"])])]);
    let recorder = Recorder::default();
    let result = scripted.engine.pull_patiently(&"x:1".parse().unwrap(), None, &recorder, patience).await;
    (result, scripted, recorder)
}

async fn failure(pulls: Vec<Reply>) -> (ImageFault, Code, usize) {
    let (result, scripted, _) = pull(pulls, &IMPATIENT).await;
    let error = result.unwrap_err();
    let code = error.code();
    match error {
        Error::Image { fault, .. } => (fault, code, scripted.count("POST /images/create")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_good_pull_is_asked_for_once_and_shown() {
    let (result, scripted, recorder) = pull(vec![stream(GOOD)], &IMPATIENT).await;
    result.unwrap();
    let asked = scripted.asked();
    assert!(
        asked.iter().any(|r| r.starts_with("POST /images/create?") && r.contains("fromImage=x&tag=1")),
        "{asked:?}"
    );
    assert_eq!(scripted.count("POST /images/create"), 1);
    match recorder.0.lock().unwrap().last() {
        Some(Event::Transfer(t)) => {
            assert_eq!((t.done, t.total, t.layers_done, t.layers_total), (1500644, 1500644, 1, 1));
        }
        other => panic!("{other:?}"),
    }
}

/// What Podman 4.3.1 said, and nothing after it.
#[tokio::test]
async fn podman_ends_with_the_images_own_configuration_or_was_cut_off() {
    let layers = r#"{"status":"Already exists","progressDetail":{},"id":"284c853c722c"}
{"status":"Pulling fs layer","progressDetail":{},"id":"ecfbeabf4725"}
{"status":"Download complete","progressDetail":{},"id":"ecfbeabf4725"}
"#;
    let configuration = format!("{layers}{{\"status\":\"Download complete\",\"id\":\"{}\"}}\n", "ab".repeat(6));
    for (words, complete) in [(configuration.as_str(), true), (layers, false)] {
        let image = image_of("amd64", &["x:1"]);
        let routes = [("POST /images/create", vec![stream(words)]), ("GET /images/", vec![image])];
        let mut scripted = ScriptedEngine::new(&routes);
        "Podman Engine".clone_into(&mut scripted.engine.about.name);
        let reference = "x:1".parse().unwrap();
        let result = scripted.engine.pull_patiently(&reference, None, &Recorder::default(), &IMPATIENT).await;
        assert_eq!(result.is_ok(), complete, "{result:?}");
    }
}

#[tokio::test]
async fn each_error_in_the_stream_has_its_code_and_only_transient_ones_another_try() {
    for (words, fault, code, tries) in [
        ("toomanyrequests: You have reached your pull rate limit", ImageFault::RateLimited, Code::RateLimited, 1),
        ("failed to register layer: write /x: no space left on device", ImageFault::NoSpace, Code::NoSpace, 1),
        ("manifest for x:1 not found: manifest unknown", ImageFault::NotFound, Code::PullFailed, 1),
        ("unauthorized: authentication required", ImageFault::Unauthorized, Code::PullFailed, 1),
        (
            "no matching manifest for linux/amd64 in the manifest list entries",
            ImageFault::Architecture,
            Code::ArchMismatch,
            1,
        ),
        ("dial tcp: lookup x on 10.0.0.1:53: no such host", ImageFault::Network, Code::PullFailed, 1),
        ("unexpected EOF", ImageFault::Network, Code::PullFailed, 4),
        ("read: connection reset by peer", ImageFault::Network, Code::PullFailed, 4),
        ("net/http: TLS handshake timeout", ImageFault::Network, Code::PullFailed, 4),
        ("received unexpected HTTP status: 503 Service Unavailable", ImageFault::Network, Code::PullFailed, 4),
        ("something new", ImageFault::Other, Code::PullFailed, 1),
    ] {
        assert_eq!(failure(vec![in_stream(words)]).await, (fault, code, tries), "{words}");
    }
}

#[tokio::test]
async fn refusals_before_the_stream_count_the_same() {
    let refused = |status, words: &str| Reply::Status(status, serde_json::json!({"message": words}).to_string());
    let denied = "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied";
    assert_eq!(failure(vec![refused(404, denied)]).await.0, ImageFault::NotFound);
    assert_eq!(failure(vec![refused(500, "no basic auth credentials")]).await.0, ImageFault::Unauthorized);
    assert_eq!(failure(vec![refused(429, "slow down")]).await.1, Code::RateLimited);
    assert_eq!(failure(vec![refused(500, "Get \"https://x/v2/\": net/http: TLS handshake timeout")]).await.2, 4);
    assert_eq!(failure(vec![refused(500, "disk on fire")]).await, (ImageFault::Other, Code::PullFailed, 1));
    let (result, ..) = pull(vec![refused(404, denied)], &IMPATIENT).await;
    let causes = result.unwrap_err().causes();
    assert_eq!(causes, ["docker.io has no x, or it is private: then sign in first with docker login docker.io"]);
}

#[tokio::test]
async fn a_stream_that_ends_early_is_truncated_although_an_image_is_there() {
    let half: Vec<String> = GOOD.lines().take(6).map(str::to_owned).collect();
    for reply in [Reply::Stream(half.clone()), Reply::Cut(half.clone()), Reply::Stream(vec![])] {
        assert_eq!(failure(vec![reply.clone()]).await, (ImageFault::Truncated, Code::PullFailed, 1), "{reply:?}");
    }
    let half_a_message = Reply::Cut(vec![r#"{"status":"Sta"#.to_owned()]);
    assert_eq!(failure(vec![half_a_message]).await.0, ImageFault::Truncated);
    let unspoken = stream(r#"{"error":"podman says"}"#);
    assert_eq!(failure(vec![unspoken]).await.0, ImageFault::Other);
}

#[tokio::test]
async fn an_image_that_did_not_arrive_is_a_failure() {
    let scripted =
        ScriptedEngine::new(&[("POST /images/create", vec![stream(GOOD)]), ("GET /images/", vec![missing()])]);
    let result = scripted.engine.pull(&"x:1".parse().unwrap(), None, &Silent).await;
    assert!(matches!(result, Err(Error::Image { fault: ImageFault::Truncated, .. })), "{result:?}");
}

#[tokio::test]
async fn another_try_can_help_and_is_told() {
    let (result, scripted, recorder) = pull(vec![in_stream("unexpected EOF"), stream(GOOD)], &IMPATIENT).await;
    result.unwrap();
    assert_eq!(scripted.count("POST /images/create"), 2);
    assert_eq!(recorder.notes(), ["pulling x:1: unexpected EOF; trying again in 0 s"]);
    let pauses: Vec<u64> = PATIENT.pauses.iter().map(Duration::as_secs).collect();
    assert_eq!(pauses, [1, 2, 4]);
}

#[tokio::test]
async fn a_silent_engine_is_left() {
    let hang = || Reply::Hang(GOOD.lines().take(3).map(str::to_owned).collect());
    assert_eq!(failure(vec![hang()]).await, (ImageFault::Network, Code::PullFailed, 4));
}

#[tokio::test]
async fn an_image_for_another_processor_loses_its_name_again() {
    let scripted = ScriptedEngine::new(&[
        ("POST /images/create", vec![stream(GOOD)]),
        ("GET /images/x:1", vec![missing(), image_of("arm64", &["x:1"])]),
        ("DELETE /images/x:1", vec![Reply::Status(200, "[]".to_owned())]),
    ]);
    let result = scripted.engine.pull(&"x:1".parse().unwrap(), None, &Silent).await;
    let error = result.unwrap_err();
    assert_eq!(error.code(), Code::ArchMismatch);
    assert_eq!(error.causes(), ["it is for arm64, and this engine runs on amd64"]);
    assert_eq!(scripted.count("DELETE /images/x:1"), 1);
}

#[tokio::test]
async fn a_base_that_is_there_is_not_asked_for() {
    let scripted = ScriptedEngine::new(&[("GET /images/", vec![image_of("amd64", &["x:1"])])]);
    scripted.engine.ensure_base(&"x:1".parse().unwrap(), None, &Silent).await.unwrap();
    assert_eq!(scripted.count("POST"), 0);
}

#[tokio::test]
async fn a_base_whose_registry_does_not_answer_is_left_at_once() {
    let timeout =
        Reply::Status(500, r#"{"message":"Get \"https://x/v2/\": dial tcp 10.0.0.1:443: i/o timeout"}"#.to_owned());
    let scripted = ScriptedEngine::new(&[("POST /images/create", vec![timeout]), ("GET /images/", vec![missing()])]);
    let error = scripted.engine.ensure_base(&"x:1".parse().unwrap(), None, &Silent).await.unwrap_err();
    assert!(matches!(error, Error::Image { fault: ImageFault::Network, action: ImageAction::Build, .. }), "{error:?}");
    assert_eq!(scripted.count("POST /images/create"), 1);
}

/// Puts an image of its own into the registry that the tests brought, and takes it off the
/// engine.
async fn publish(registry: &str, credentials: Option<&Credentials>) -> Reference {
    let engine = real_engine();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    let name = format!("{registry}/docklet-test/pull-{}:1", std::process::id());
    write_archive(&file, Some(&name), "amd64", 3_000_000);
    engine.load(&file, &name, &Silent).await.unwrap();
    let path = format!("/images/{}/push?tag=1", name.trim_end_matches(":1"));
    let credentials = credentials.cloned().unwrap_or_else(Credentials::of_nobody);
    let pushed = engine.transport.post_stream(&path, Some(&credentials), bollard::body_full(Bytes::new()));
    let pushed: Vec<_> = pushed.collect().await;
    assert!(pushed.iter().all(Result::is_ok), "{pushed:?}");
    engine.remove_image(&name).await.unwrap();
    assert_eq!(engine.image(&name).await.unwrap(), None);
    name.parse().unwrap()
}

#[tokio::test]
#[ignore = "needs an engine and a registry: tests/run brings them"]
async fn a_real_pull_by_tag_and_by_digest() {
    let reference = publish(&needed("DOCKLET_TEST_REGISTRY"), None).await;
    let engine = real_engine();
    let recorder = Recorder::default();
    engine.pull(&reference, None, &recorder).await.unwrap();
    let image = engine.image(&reference.to_string()).await.unwrap().unwrap();
    let digest = image.references.iter().find(|r| r.contains('@')).unwrap().clone();
    let transfers: Vec<_> = recorder
        .0
        .lock()
        .unwrap()
        .iter()
        .filter_map(|e| if let Event::Transfer(t) = e { Some(t.clone()) } else { None })
        .collect();
    let last = transfers.last().unwrap();
    assert!(last.done == last.total && last.total > 2_000_000 && last.layers_done == 1, "{last:?}");
    assert!(transfers.windows(2).all(|w| w[0].done <= w[1].done));
    engine.remove_image(&image.id).await.unwrap();
    engine.remove_image(&reference.to_string()).await.unwrap();
    engine.pull(&digest.parse().unwrap(), None, &Silent).await.unwrap();
    engine.remove_image(&digest).await.unwrap();
    let error = engine.pull(&format!("{}:nothere", reference.name()).parse().unwrap(), None, &Silent).await;
    assert!(matches!(error, Err(Error::Image { fault: ImageFault::NotFound, .. })), "{error:?}");
}

#[tokio::test]
#[ignore = "needs an engine and a registry: tests/run brings them"]
async fn a_real_pull_with_credentials_of_every_alphabet() {
    use base64::Engine as _;
    let registry = needed("DOCKLET_TEST_REGISTRY_AUTH");
    let password = needed("DOCKLET_TEST_REGISTRY_PASSWORD");
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("docklet:{password}"));
    let folder = tempfile::tempdir().unwrap();
    let config = serde_json::json!({"auths": {&registry: {"auth": auth}}});
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let credentials = super::super::credentials::find(folder.path(), &registry, &Silent).await.unwrap();
    let header = credentials.header();
    let header = header.to_str().unwrap();
    assert!(header.contains(['-', '_']), "with this password the test proves nothing: take one of ~ and ?");
    let reference = publish(&registry, Some(&credentials)).await;
    let engine = real_engine();
    let without = engine.pull(&reference, None, &Silent).await;
    assert!(matches!(without, Err(Error::Image { fault: ImageFault::Unauthorized, .. })), "{without:?}");
    engine.pull(&reference, Some(&credentials), &Silent).await.unwrap();
    engine.remove_image(&reference.to_string()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs an engine: tests/run brings one"]
async fn a_registry_that_cannot_be_reached_is_told_quickly() {
    let engine = real_engine();
    for name in ["registry.invalid/x:1", "127.0.0.1:1/x:1"] {
        let begin = Instant::now();
        let error = engine.ensure_base(&name.parse().unwrap(), None, &Silent).await.unwrap_err();
        assert!(matches!(error, Error::Image { fault: ImageFault::Network, .. }), "{error:?}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{name} took {:?}", begin.elapsed());
    }
}
