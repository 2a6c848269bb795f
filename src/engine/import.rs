//! Brings a file system from a tar to the engine, as a base image. Streams: the memory that this
//! takes does not grow with the file.

use std::path::Path;

use futures_util::TryStreamExt as _;
use tokio_util::io::ReaderStream;

use crate::{
    engine::{
        Engine,
        error::{no_space, translate},
    },
    error::{Error, ImageAction, ImageFault, Result},
};

/// How much is read from the file at a time.
const CHUNK: usize = 256 * 1024;

impl Engine {
    /// Imports the tar of a file system under the name `reference`.
    ///
    /// # Errors
    /// When the file cannot be read, the engine refuses it, or the engine breaks off: an image is
    /// there only when the engine said its id.
    pub async fn import_base(&self, tar: &Path, reference: &str) -> Result<()> {
        let call = format!("import {reference}");
        let file = tokio::fs::File::open(tar).await.map_err(|e| Error::file("read", tar, &e))?;
        let (repository, tag) = split(reference);
        let mut address = form_urlencoded::Serializer::new("/images/create?fromSrc=-".to_owned());
        address.append_pair("repo", repository).append_pair("tag", tag).append_pair("changes", r#"CMD ["bash"]"#);
        let body = bollard::body_try_stream(ReaderStream::with_capacity(file, CHUNK));
        let mut answers = std::pin::pin!(self.transport.post_stream(&address.finish(), None, body));
        let mut imported = false;
        loop {
            match answers.try_next().await {
                Ok(Some(said)) => imported |= said["status"].as_str().is_some_and(|status| status.contains("sha256:")),
                Ok(None) => break,
                Err(e) => return Err(failure(reference, translate(&call, e))),
            }
        }
        if imported {
            return Ok(());
        }
        Err(Error::EngineGone { call, reason: "the answer ended before the image was confirmed".to_owned() })
    }
}

/// What went wrong with the file or the engine's disk is an image's error, the rest the engine's.
fn failure(reference: &str, error: Error) -> Error {
    let Error::EngineRefused { reason, .. } = error else { return error };
    let fault = if no_space(&reason) { ImageFault::NoSpace } else { ImageFault::BadArchive };
    Error::Image {
        action: ImageAction::Load,
        reference: reference.to_owned(),
        fault,
        reason,
        log: vec![],
        log_file: None,
    }
}

/// Name and tag of a reference; a colon before a slash is a port.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::engine::connect::Selection;

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(split("debian:trixie-slim"), ("debian", "trixie-slim"));
        assert_eq!(split("127.0.0.1:5000/debian"), ("127.0.0.1:5000/debian", "latest"));
        assert_eq!(split("127.0.0.1:5000/debian:12"), ("127.0.0.1:5000/debian", "12"));
    }

    #[test]
    fn a_full_disk_is_told_apart_from_a_bad_file() {
        let refused =
            |reason: &str| Error::EngineRefused { call: String::new(), status: 500, reason: reason.to_owned() };
        for (reason, wanted) in
            [("write /x: no space left on device", ImageFault::NoSpace), ("invalid tar header", ImageFault::BadArchive)]
        {
            match failure("debian:x", refused(reason)) {
                Error::Image { fault, .. } => assert_eq!(fault, wanted),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    #[ignore = "needs an engine: tests/run brings one"]
    async fn a_tar_becomes_an_image_and_nonsense_does_not() {
        let selection = Selection { docker_host: std::env::var("DOCKER_HOST").ok(), ..Selection::default() };
        let engine = crate::engine::connect::connect(&selection).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let reference = format!("docklet-test-import-{}:1", std::process::id());

        let nonsense = folder.path().join("nonsense");
        std::fs::write(&nonsense, vec![7; 4096]).unwrap();
        match engine.import_base(&nonsense, &reference).await {
            Err(Error::Image { fault: ImageFault::BadArchive, .. }) => {}
            other => panic!("{other:?}"),
        }

        let good = folder.path().join("good.tar");
        let mut tar = tar::Builder::new(std::fs::File::create(&good).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        tar.append_data(&mut header, "hello", &b"world"[..]).unwrap();
        tar.into_inner().unwrap();
        engine.import_base(&good, &reference).await.unwrap();
        let image: serde_json::Value = engine.transport.get(&format!("/images/{reference}/json")).await.unwrap();
        assert_eq!(image["Config"]["Cmd"], serde_json::json!(["bash"]));
        engine.remove_image(&reference).await.unwrap();
    }
}
