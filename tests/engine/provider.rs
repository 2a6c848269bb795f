//! A provider's key on its way, with the real opencode: from `docklet secret set` to the provider, which is a stand-in
//! in a second container of the instance's network; and the provider's answer on its way back into the session. No
//! other network is needed.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::real::real;
use crate::support::*;

/// The stand-in of `tests/fixtures/provider`.
const PROVIDER: &str = include_str!("../fixtures/provider/provider");

/// What the wizard's secrets are keys of, in opencode's words.
const PROVIDERS: [(&str, &str); 9] = [
    ("ANTHROPIC_API_KEY", "anthropic"),
    ("OPENAI_API_KEY", "openai"),
    ("GOOGLE_GENERATIVE_AI_API_KEY", "google"),
    ("OPENROUTER_API_KEY", "openrouter"),
    ("GROQ_API_KEY", "groq"),
    ("MISTRAL_API_KEY", "mistral"),
    ("DEEPSEEK_API_KEY", "deepseek"),
    ("XAI_API_KEY", "xai"),
    ("OPENCODE_API_KEY", "opencode"),
];

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn real_keys_reach_their_providers_and_the_answers_come_back() {
    let known = docklet::appliance::Appliance::embedded().unwrap().providers;
    let known: Vec<String> = known.into_iter().map(|p| p.secret).collect();
    assert_eq!(known, PROVIDERS.map(|(secret, _)| secret.to_owned()), "the wizard's providers are tried here");

    let world = real();
    let provider = start_provider(&world);
    // It has a private address.
    world.ok(&["config", "set", "network.allow", "provider:8080"]);
    world.ok(&["start"]);
    let urls: serde_json::Map<String, Value> = PROVIDERS
        .iter()
        .map(|(_, id)| ((*id).to_owned(), json!({"options": {"baseURL": format!("http://provider:8080/{id}/v1")}})))
        .collect();
    let config = json!({"$schema": "https://opencode.ai/config.json", "provider": urls});
    let write = "mkdir -p ~/.config/opencode && cat > ~/.config/opencode/opencode.json";
    fed(&world, &["exec", "--", "sh", "-c", write], &config.to_string());

    let key = |id: &str| format!("sk-{id}-{}", world.name);
    for (number, (secret, id)) in PROVIDERS.iter().enumerate() {
        // The last one takes the offer to restart; that is enough for all of them.
        let yes: &[&str] = if number + 1 == PROVIDERS.len() { &["--yes"] } else { &[] };
        let said = fed(&world, &[&["secret", "set", secret], yes].concat(), &key(id));
        assert_eq!(said.contains("docklet"), yes.is_empty(), "{secret}: {said}");
    }

    let password = world.password();
    let (status, all) = http_within(Duration::from_secs(60), world.port, "GET", "/provider", Some(&password), None)
        .expect("the list of providers");
    assert_eq!(status, 200);
    let all: Value = serde_json::from_str(&all).unwrap();
    for (secret, id) in PROVIDERS {
        let connected = all["connected"].as_array().unwrap();
        assert!(connected.iter().any(|one| one == id), "{secret} does not connect {id}: {connected:?}");
        let model = roomy_model(&all, id);
        let (_, session) = world.http_post("/session", Some(&password), &json!({"title": id}));
        let session: Value = serde_json::from_str(&session).unwrap();
        let path = format!("/session/{}/message", session["id"].as_str().unwrap());
        let message = json!({
            "model": {"providerID": id, "modelID": model}, "parts": [{"type": "text", "text": "say something"}],
        });
        let patience = Duration::from_secs(60);
        let (status, answer) =
            http_within(patience, world.port, "POST", &path, Some(&password), Some(&message.to_string()))
                .unwrap_or_else(|| panic!("{id}: no answer from opencode\n{}", docker(&["logs", &provider])));
        assert_eq!(status, 200, "{id}: {answer}");
        let (_, messages) = world.http_get(&path, Some(&password));
        assert!(messages.contains("the stand-in speaks"), "{id}, {model}: {messages}");
        let log = docker(&["logs", &provider]);
        let asked = |line: &str| line.starts_with(&format!("asked /{id}/")) && line.ends_with(&key(id));
        assert!(log.lines().any(asked), "{id} was not asked with its key\n{log}");
    }
    let container = world.container();
    let inspect = docker(&["inspect", &container]);
    let (log, arguments) = (docker(&["logs", &container]), docker(&["top", &container, "-eo", "pid,args"]));
    for text in [&inspect, &log, &arguments] {
        assert!(!text.contains("sk-"), "a key is where it must not be\n{text}");
    }
}

/// The model of a provider that has the most room for what it is asked. With one that has none beside its answer,
/// opencode goes round in circles: it makes room before every question.
fn roomy_model(all: &Value, id: &str) -> String {
    let providers = all["all"].as_array().unwrap();
    let models = providers.iter().find(|p| p["id"] == id).unwrap()["models"].as_object().unwrap();
    let room = |model: &Value| {
        model["limit"]["context"].as_i64().unwrap_or_default() - model["limit"]["output"].as_i64().unwrap_or_default()
    };
    models.iter().max_by_key(|(_, model)| room(model)).unwrap().0.clone()
}

/// Starts the stand-in beside the appliance, where it is called `provider`; its container's name.
fn start_provider(world: &World) -> String {
    let name = format!("{}-provider", world.container());
    let (network, label) = (world.container(), format!("docklet.instance={}", world.name));
    docker(&[
        "run",
        "--detach",
        "--name",
        &name,
        "--network",
        &network,
        "--network-alias",
        "provider",
        "--label",
        &label,
        "--no-healthcheck",
        "--entrypoint",
        "perl",
        &stand_in(),
        "-e",
        PROVIDER,
    ]);
    wait_until(SOON, "the provider listens", || docker(&["logs", &name]).contains("listening"));
    name
}

/// `docklet` with this on its standard input; must succeed. What it said on standard error.
fn fed(world: &World, args: &[&str], input: &str) -> String {
    let mut child = world
        .docklet()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the docklet binary");
    child.stdin.take().expect("its standard input").write_all(input.as_bytes()).expect("to write to it");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "docklet {}\n{}", args.join(" "), shown(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}
