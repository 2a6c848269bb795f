//! Puts an image into a registry of `tests/run` by the registry's own interface: no engine builds, tags or pushes anything.

use std::net::TcpStream;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::http::exchange;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What an engine pushes that keeps its images in containerd.
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Puts what the stand-in of this version becomes by another description into a repository, under a tag.
pub fn put(registry: &str, auth: Option<&str>, repository: &str, tag: &str, version: &str, description: &Value) {
    let auth = auth.map_or(String::new(), |auth| format!("authorization: Basic {auth}\r\n"));
    // `kind`: of a manifest that is sent. What is no manifest is sent as what it is not, which a registry does not mind.
    let ask = |kind: &str, method: &str, path: &str, wanted: u16, body: &str| {
        let connection = TcpStream::connect(registry).expect("the registry");
        let accept = format!("accept: {MANIFEST}, {OCI_MANIFEST}\r\ncontent-type: {kind}\r\n");
        let head = format!("{method} {path} HTTP/1.0\r\nhost: {registry}\r\n{auth}{accept}");
        let (status, head, answer) = exchange(connection, &head, body.as_bytes());
        assert_eq!(status, wanted, "{method} {path}\n{head}\n{answer}");
        (head, answer)
    };
    let (_, base) = ask(MANIFEST, "GET", &format!("/v2/stand-in/manifests/{version}"), 200, "");
    let base: Value = serde_json::from_str(&base).expect("a manifest");
    let kind = if base["mediaType"] == MANIFEST { MANIFEST } else { OCI_MANIFEST };
    for layer in base["layers"].as_array().expect("its layers") {
        let digest = layer["digest"].as_str().expect("its digest");
        ask(kind, "POST", &format!("/v2/{repository}/blobs/uploads/?mount={digest}&from=stand-in"), 201, "");
    }
    let description = description.to_string();
    let digest = format!("sha256:{:x}", Sha256::digest(description.as_bytes()));
    let (head, _) = ask(kind, "POST", &format!("/v2/{repository}/blobs/uploads/"), 202, "");
    let place = head.lines().find_map(|line| line.strip_prefix("Location: ")).expect("a place for it");
    let place = place.split_once(registry).map_or(place, |(_, path)| path);
    ask(kind, "PUT", &format!("{place}&digest={digest}"), 201, &description);
    let config = json!({"mediaType": base["config"]["mediaType"], "size": description.len(), "digest": digest});
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": base["layers"]});
    ask(kind, "PUT", &format!("/v2/{repository}/manifests/{tag}"), 201, &manifest.to_string());
}
