//! Images that differ from another one in their description alone, as most images of the tests do.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::docker::{engine_ask, engine_get};

/// The description of an image made from another by instructions of a Dockerfile; `None` where one of them changes more than
/// that.
pub fn description(from: &str, instructions: &[String]) -> Option<Value> {
    let image = engine_get(&format!("/images/{from}/json")).expect("an image that is there");
    let mut config = image["Config"].clone();
    let described = instructions.iter().all(|instruction| apply(&mut config, instruction));
    described.then(|| {
        json!({
            "architecture": image["Architecture"],
            "os": image["Os"],
            "created": OffsetDateTime::now_utc().format(&Rfc3339).expect("a time"),
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": image["RootFS"]["Layers"]},
        })
    })
}

/// Gives the engine an image whose layers it has already; `false` for an engine that wants to see them all the same. A build
/// comes to the same, by a container and a layer for each instruction.
pub fn load(description: &Value, tag: &str) -> bool {
    static WANTS_LAYERS: AtomicBool = AtomicBool::new(false);
    if WANTS_LAYERS.load(Ordering::Relaxed) {
        return false;
    }
    let layers = description["rootfs"]["diff_ids"].as_array().expect("its layers");
    let files: Vec<String> = (0..layers.len()).map(|n| format!("{n}/layer.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": files}]);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [("config.json", description), ("manifest.json", &manifest)] {
        let content = content.to_string();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_bytes()).expect("an archive in memory");
    }
    let archive = archive.into_inner().expect("an archive in memory");
    let (_, answer) = engine_ask("POST", "/images/load?quiet=1", &archive);
    let loaded = answer.contains("Loaded image");
    WANTS_LAYERS.store(!loaded, Ordering::Relaxed);
    loaded
}

/// Carries one instruction out on an image's configuration; `false` for one that is not understood here.
fn apply(config: &mut Value, instruction: &str) -> bool {
    let Some((verb, rest)) = instruction.split_once(' ') else { return false };
    if rest.contains(['\\', '$', '\n']) {
        return false;
    }
    let Some(words) = shell_words::split(rest).ok() else { return false };
    words.iter().all(|word| match (verb, word.split_once('=')) {
        ("LABEL", Some((key, value))) => {
            config["Labels"][key] = value.into();
            true
        }
        ("ENV", Some((key, _))) => {
            let mut all = config["Env"].as_array().cloned().unwrap_or_default();
            all.retain(|one| one.as_str().is_none_or(|one| one.split('=').next() != Some(key)));
            all.push(word.as_str().into());
            config["Env"] = all.into();
            true
        }
        ("VOLUME", None) => {
            config["Volumes"][word] = json!({});
            true
        }
        _ => false,
    })
}
