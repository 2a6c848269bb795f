//! Loads an image from an archive such as `docker save` makes, and looks into one beforehand.
//! The file is streamed: memory does not grow with it. Unpacks and changes nothing itself.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bollard::{models::BuildInfo, query_parameters::ImportImageOptionsBuilder};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::{
    Engine,
    fault::Failure,
    pull::REPORT_EVERY,
    reference::Reference,
    transfer::{Layers, Message, Pace},
};
use crate::{
    error::{Error, ImageAction, ImageFault, Result},
    event::{Event, Layer, LayerPhase, Reporter, Transfer},
};

/// How much of the file is in memory at once.
const PIECE: usize = 256 * 1024;

/// How long an engine may take to take the file. Docker answers nothing before it has all of it.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Most bytes of a description inside an archive. They are a few hundred; the bound keeps a wrong
/// file from filling the memory.
const DESCRIPTION: u64 = 4 << 20;

/// What an archive says of its first image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveImage {
    /// Its name, when it was saved with one.
    pub reference: Option<String>,
    /// Digest of its configuration, hex digits only: the same image has the same.
    pub digest: String,
}

impl Engine {
    /// Loads an image archive (`docker save`, also compressed) and gives the image the name
    /// `reference`.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read, [`Error::Image`] with the fault else. An image
    /// for another processor does not keep the name.
    pub async fn load(&self, file: &Path, reference: &str, reporter: &dyn Reporter) -> Result<()> {
        let failed = |failure: Failure| failure.into_error(ImageAction::Load, reference);
        let _: Reference = reference.parse()?;
        let size = open_archive(file)?.1;
        let before = self.image(reference).await?.map(|image| image.id);
        let names = self.send(file, size, reporter).await.map_err(failed)?;
        let Some(first) = names.first() else {
            let reason = "the engine's answer ended before the image was complete";
            return Err(failed(Failure::lasting(ImageFault::Truncated, reason)));
        };
        let arrived = match self.arrived(ImageAction::Load, first, reference).await {
            Err(error @ Error::Image { fault: ImageFault::Architecture, .. }) => {
                if self.image(reference).await?.map(|image| image.id) != before {
                    // Best effort: the fault is what the user needs to hear of.
                    let _ = self.remove_image(reference).await;
                }
                return Err(error);
            }
            other => other?,
        };
        if self.image(reference).await?.map(|image| image.id) != Some(arrived.id) {
            self.tag_image(first, reference).await?;
        }
        Ok(())
    }

    /// Sends the file; the names or ids of the images that the engine loaded from it.
    async fn send(&self, file: &Path, size: u64, reporter: &dyn Reporter) -> Result<Vec<String>, Failure> {
        let opened = tokio::fs::File::open(file)
            .await
            .map_err(|e| Failure::lasting(ImageFault::BadArchive, crate::error::io_reason(&e)))?;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        let pieces = ReaderStream::with_capacity(opened, PIECE).inspect(move |piece| {
            if let Ok(piece) = piece {
                counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        });
        let options = ImportImageOptionsBuilder::default().quiet(false).build();
        let docker = self.docker.clone().with_timeout(DEADLINE);
        let mut messages = docker.import_image(options, bollard::body_try_stream(pieces), None).boxed();
        let mut layers = Layers::default();
        let mut names = vec![];
        let mut unspoken = false;
        let mut pace = Pace::new(REPORT_EVERY);
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        loop {
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    None => break,
                    Some(Err(_)) if !names.is_empty() => break,
                    Some(Err(error)) => return Err(Failure::from_bollard(ImageAction::Load, &error)),
                    Some(Ok(info)) => {
                        layers.take(Message::of(&info.id, &info.status, &info.progress_detail));
                        names.extend(info.stream.as_deref().map(loaded).unwrap_or_default());
                        unspoken |= info == BuildInfo::default();
                    }
                },
                _ = ticks.tick() => {}
            }
            if pace.is_due(Instant::now()) {
                reporter.report(&Event::Transfer(transfer(&mut layers, sent.load(Ordering::Relaxed), size)));
            }
        }
        if names.is_empty() && unspoken {
            return Err(Failure::lasting(ImageFault::BadArchive, "the engine cannot load it, its own log says why"));
        }
        if !names.is_empty() {
            // The engine may know all layers and need not have read to the end.
            reporter.report(&Event::Transfer(transfer(&mut layers, size, size)));
        }
        Ok(names)
    }
}

/// The bytes that were sent are the whole; what the engine does with each layer comes beside it.
fn transfer(layers: &mut Layers, sent: u64, size: u64) -> Transfer {
    let mut all = layers.transfer();
    all.done = sent.min(size);
    all.total = size;
    if sent < size {
        all.active.insert(0, Layer { id: "file".to_owned(), phase: LayerPhase::Downloading, done: sent, total: size });
    }
    all
}

/// From «Loaded image: a:1» or «Loaded image ID: sha256:…», what was loaded. Podman names several in
/// one line.
fn loaded(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: ")))
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// How the bytes of an archive are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Compressed,
}

/// Opens a file that must be a tar archive or a compressed one; also its size in bytes.
fn open_archive(file: &Path) -> Result<(fs_err::File, u64, Packing)> {
    let broken = |e: std::io::Error| Error::file("read", file, &e);
    let mut opened = fs_err::File::open(file).map_err(broken)?;
    let metadata = opened.metadata().map_err(broken)?;
    if !metadata.is_file() {
        return Err(bad(file, "it is no file"));
    }
    let mut head = Vec::with_capacity(512);
    opened.by_ref().take(512).read_to_end(&mut head).map_err(broken)?;
    opened.rewind().map_err(broken)?;
    let packing = if head.get(257..262) == Some(b"ustar") {
        Packing::Plain
    } else if [&[0x1f, 0x8b][..], &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7', b'z', b'X', b'Z', 0], b"BZh"]
        .iter()
        .any(|magic| head.starts_with(magic))
    {
        Packing::Compressed
    } else {
        return Err(bad(file, "it is neither a tar archive nor a compressed one"));
    };
    Ok((opened, metadata.len(), packing))
}

fn bad(file: &Path, reason: &str) -> Error {
    Failure::lasting(ImageFault::BadArchive, reason).into_error(ImageAction::Load, &file.display().to_string())
}

/// Looks into an archive for the image that it holds, without reading its layers. `None` when it is
/// compressed: then only the engine can tell, after loading.
///
/// # Errors
/// [`Error::File`] when it cannot be read, [`Error::Image`] with [`ImageFault::BadArchive`] when it
/// is no archive, a damaged one, or one without an image.
pub fn reference_in(file: &Path) -> Result<Option<ArchiveImage>> {
    let (opened, _, packing) = open_archive(file)?;
    if packing == Packing::Compressed {
        return Ok(None);
    }
    let mut archive = Archive { file, opened };
    if let Some(text) = archive.find("manifest.json")? {
        let all: Vec<Saved> = parse(file, &text)?;
        let first = all.first().ok_or_else(|| bad(file, "it holds no image"))?;
        let reference = first.tags.iter().flatten().find_map(|tag| valid(tag));
        return Ok(Some(ArchiveImage { reference, digest: config_digest(file, &first.config)? }));
    }
    let index = archive.find("index.json")?.ok_or_else(|| bad(file, "it holds no image"))?;
    let mut index: Index = parse(file, &index)?;
    let mut reference = None;
    // An index may name an index of one image's variants; more levels are not in use.
    for _ in 0..3 {
        let Some(first) = index.manifests.first() else { break };
        reference = reference.or_else(|| first.name());
        let blob = format!("blobs/{}", first.digest.replacen(':', "/", 1));
        let text = archive.find(&blob)?.ok_or_else(|| bad(file, "a part that it names is missing"))?;
        index = parse(file, &text)?;
        if let Some(config) = &index.config {
            return Ok(Some(ArchiveImage { reference, digest: config_digest(file, &config.digest)? }));
        }
    }
    Err(bad(file, "it holds no image"))
}

/// An item of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(rename = "RepoTags")]
    tags: Option<Vec<String>>,
}

/// An OCI index or manifest.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: std::collections::HashMap<String, String>,
}

impl Descriptor {
    fn name(&self) -> Option<String> {
        ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
            .into_iter()
            .filter_map(|key| self.annotations.get(key))
            // The second may be a bare tag, which is no name.
            .filter(|name| name.contains(['/', ':']))
            .find_map(|name| valid(name))
    }
}

fn valid(name: &str) -> Option<String> {
    name.parse::<Reference>().ok().map(|reference| reference.to_string())
}

/// The hex digits of `<hex>.json`, `blobs/sha256/<hex>` or `sha256:<hex>`.
fn config_digest(file: &Path, config: &str) -> Result<String> {
    let name = config.rsplit(['/', ':']).next().unwrap_or_default();
    let digits = name.strip_suffix(".json").unwrap_or(name);
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(digits.to_owned())
    } else {
        Err(bad(file, "it does not name its configuration"))
    }
}

fn parse<T: serde::de::DeserializeOwned>(file: &Path, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|_| bad(file, "its description is damaged"))
}

/// A tar archive in which files are looked up by seeking.
struct Archive<'a> {
    file: &'a Path,
    opened: fs_err::File,
}

impl Archive<'_> {
    fn find(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let file = self.file;
        let damaged = |_| bad(file, "it is damaged or cut short");
        let size = self.opened.seek(SeekFrom::End(0)).map_err(damaged)?;
        self.opened.rewind().map_err(damaged)?;
        let mut archive = tar::Archive::new(&mut self.opened);
        for entry in archive.entries_with_seek().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            // Seeking goes behind the end of a file without a complaint.
            if entry.raw_file_position().saturating_add(entry.size()) > size {
                return Err(bad(file, "it is damaged or cut short"));
            }
            let path = entry.path_bytes();
            if path.strip_prefix(b"./").unwrap_or(&path) != name.as_bytes() {
                continue;
            }
            if entry.size() > DESCRIPTION {
                return Err(bad(file, "its description is too large"));
            }
            let mut text = vec![];
            entry.read_to_end(&mut text).map_err(damaged)?;
            return Ok(Some(text));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{
        super::fake::{Fake, Recorder, Reply, append, image_of, missing, real_engine, stream, write_archive},
        *,
    };
    use crate::{error::Code, event::Silent};

    fn archive(tag: Option<&str>) -> (tempfile::TempDir, std::path::PathBuf, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image.tar");
        let digest = write_archive(&file, tag, "amd64", 300_000);
        (folder, file, digest)
    }

    #[test]
    fn the_name_is_read_without_the_layers() {
        let (_folder, file, digest) = archive(Some("team/app:1"));
        let found = reference_in(&file).unwrap();
        assert_eq!(found, Some(ArchiveImage { reference: Some("team/app:1".to_owned()), digest: digest.clone() }));
        let (_folder, file, digest) = archive(None);
        assert_eq!(reference_in(&file).unwrap(), Some(ArchiveImage { reference: None, digest }));
    }

    #[test]
    fn an_oci_layout_is_read_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image.tar");
        let (index, manifest, config) = ("aa".repeat(32), "bb".repeat(32), "cc".repeat(32));
        let top = format!(
            r#"{{"manifests":[{{"digest":"sha256:{index}","annotations":{{"io.containerd.image.name":"docker.io/team/app:1","org.opencontainers.image.ref.name":"1"}}}}]}}"#
        );
        let mut archive = tar::Builder::new(std::fs::File::create(&file).unwrap());
        append(&mut archive, "./blobs/sha256/layer", &[0; 100_000]);
        append(
            &mut archive,
            &format!("blobs/sha256/{index}"),
            format!(r#"{{"manifests":[{{"digest":"sha256:{manifest}"}}]}}"#).as_bytes(),
        );
        append(
            &mut archive,
            &format!("blobs/sha256/{manifest}"),
            format!(r#"{{"config":{{"digest":"sha256:{config}"}}}}"#).as_bytes(),
        );
        append(&mut archive, "index.json", top.as_bytes());
        archive.finish().unwrap();
        let found = reference_in(&file).unwrap();
        assert_eq!(found, Some(ArchiveImage { reference: Some("docker.io/team/app:1".to_owned()), digest: config }));
    }

    #[test]
    fn what_is_no_archive_is_told_from_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(matches!(reference_in(&path("gone")), Err(Error::File { .. })));
        let code = |name: &str, content: &[u8]| {
            std::fs::write(path(name), content).unwrap();
            reference_in(&path(name)).map_err(|e| (e.code(), e.causes().join(" ")))
        };
        let refused = |reason: &str| Err((Code::LoadFailed, reason.to_owned()));
        assert_eq!(code("text", b"hello"), refused("it is neither a tar archive nor a compressed one"));
        assert_eq!(code("empty", b""), refused("it is neither a tar archive nor a compressed one"));
        assert_eq!(code("gz", &[0x1f, 0x8b, 8, 0]), Ok(None));
        let (_folder, file, _) = archive(Some("a:1"));
        let whole = std::fs::read(&file).unwrap();
        assert_eq!(code("short", &whole[..200_000]), refused("it is damaged or cut short"));
        let mut other = tar::Builder::new(Vec::new());
        append(&mut other, "README", b"hello");
        assert_eq!(code("other", &other.into_inner().unwrap()), refused("it holds no image"));
        let mut wrong = tar::Builder::new(Vec::new());
        append(&mut wrong, "manifest.json", b"[{]");
        assert_eq!(code("wrong", &wrong.into_inner().unwrap()), refused("its description is damaged"));
        assert!(matches!(reference_in(folder.path()), Err(Error::Image { fault: ImageFault::BadArchive, .. })));
    }

    async fn load(answer: Reply, images: Vec<Reply>) -> (Result<()>, Fake, Recorder) {
        let (_folder, file, _) = archive(Some("x:1"));
        let fake = Fake::new(&[
            ("POST /images/load", vec![answer]),
            ("GET /images/wanted:1", images),
            ("GET /images/", vec![image_of("amd64", &["x:1"])]),
            ("POST /images/x:1/tag", vec![Reply::Status(201, String::new())]),
            ("DELETE /images/wanted:1", vec![Reply::Status(200, "[]".to_owned())]),
        ]);
        let recorder = Recorder::default();
        let result = fake.engine.load(&file, "wanted:1", &recorder).await;
        (result, fake, recorder)
    }

    const GOOD: &str = r#"{"status":"Loading layer","progressDetail":{"current":32768,"total":300000},"id":"0a1b"}
{"stream":"Loaded image: x:1\n"}"#;

    #[tokio::test]
    async fn a_good_load_gives_the_wanted_name() {
        let (result, fake, recorder) = load(stream(GOOD), vec![missing()]).await;
        result.unwrap();
        assert_eq!(fake.count("POST /images/x:1/tag?repo=wanted&tag=1"), 1, "{:?}", fake.asked());
        match recorder.0.lock().unwrap().last() {
            Some(Event::Transfer(t)) => assert!(t.done == t.total && t.total > 300_000, "{t:?}"),
            other => panic!("{other:?}"),
        }
        let (result, fake, _) = load(stream(GOOD), vec![image_of("amd64", &["wanted:1"])]).await;
        result.unwrap();
        assert_eq!(fake.count("POST /images/x:1/tag"), 0, "it has the name already");
    }

    #[tokio::test]
    async fn errors_in_the_stream_fail() {
        let said =
            |words: &str| stream(&serde_json::json!({"errorDetail": {"message": words}, "error": words}).to_string());
        for (answer, fault, code) in [
            (
                said("Error processing tar file(exit status 1): unexpected EOF"),
                ImageFault::BadArchive,
                Code::LoadFailed,
            ),
            (said("open /var/lib/x/repositories: no such file or directory"), ImageFault::BadArchive, Code::LoadFailed),
            (said("write /layer.tar: no space left on device"), ImageFault::NoSpace, Code::NoSpace),
            (stream(r#"{"error":"podman says"}"#), ImageFault::BadArchive, Code::LoadFailed),
            (Reply::Stream(vec![]), ImageFault::Truncated, Code::LoadFailed),
            (Reply::Cut(vec![GOOD.lines().next().unwrap().to_owned()]), ImageFault::Truncated, Code::LoadFailed),
        ] {
            let (result, ..) = load(answer.clone(), vec![image_of("amd64", &["wanted:1"])]).await;
            let error = result.unwrap_err();
            assert_eq!(error.code(), code, "{answer:?}");
            assert!(matches!(&error, Error::Image { fault: f, .. } if *f == fault), "{answer:?} {error:?}");
        }
    }

    #[tokio::test]
    async fn an_image_for_another_processor_loses_the_name() {
        let (_folder, file, _) = archive(Some("x:1"));
        let fake = Fake::new(&[
            ("POST /images/load", vec![stream(GOOD)]),
            ("GET /images/x:1", vec![missing(), image_of("arm64", &["x:1"])]),
            ("DELETE /images/x:1", vec![Reply::Status(200, "[]".to_owned())]),
        ]);
        let error = fake.engine.load(&file, "x:1", &Silent).await.unwrap_err();
        assert_eq!((error.code(), fake.count("DELETE /images/x:1")), (Code::ArchMismatch, 1));
    }

    #[test]
    fn the_engines_words_name_what_was_loaded() {
        assert_eq!(loaded("Loaded image: a:1\n"), ["a:1"]);
        assert_eq!(loaded("Loaded image ID: sha256:00\nLoaded image: b:1"), ["sha256:00", "b:1"]);
        assert_eq!(loaded("Loaded image: localhost/a:1,localhost/b:1\n"), ["localhost/a:1", "localhost/b:1"]);
        assert_eq!(loaded("The image a:1 already exists, renaming the old one"), [""; 0]);
    }

    #[tokio::test]
    #[ignore = "needs an engine: tests/run brings one"]
    async fn a_real_load_with_and_without_a_name_and_compressed() {
        let engine = real_engine();
        let wanted = "docklet-test/load-wanted:1";
        for (tag, compress) in [(Some("docklet-test/load-own:1"), false), (None, false), (None, true)] {
            let (_folder, mut file, digest) = archive(tag);
            if compress {
                assert!(std::process::Command::new("gzip").arg(&file).status().unwrap().success());
                file = file.with_extension("tar.gz");
            }
            let recorder = Recorder::default();
            engine.load(&file, wanted, &recorder).await.unwrap();
            let image = engine.image(wanted).await.unwrap().unwrap();
            assert_eq!(image.id, format!("sha256:{digest}"));
            assert!(!recorder.0.lock().unwrap().is_empty());
            for name in [Some(wanted), tag].into_iter().flatten() {
                engine.remove_image(name).await.unwrap();
            }
            assert_eq!(engine.image(&image.id).await.unwrap(), None);
        }
    }

    #[tokio::test]
    #[ignore = "needs an engine: tests/run brings one"]
    async fn a_real_engine_refuses_what_is_damaged_or_foreign() {
        let engine = real_engine();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image.tar");
        let fault = async || match engine.load(&file, "docklet-test/load-bad:1", &Silent).await {
            Err(Error::Image { fault, .. }) => fault,
            other => panic!("{other:?}"),
        };
        write_archive(&file, Some("docklet-test/load-bad:1"), "amd64", 30_000_000);
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(20_000_000).unwrap();
        assert_eq!(fault().await, ImageFault::BadArchive);
        let mut garbage = vec![0x1f, 0x8b, 8, 0];
        garbage.resize(60_000_000, 7);
        std::fs::write(&file, garbage).unwrap();
        assert_eq!(fault().await, ImageFault::BadArchive);
        write_archive(&file, Some("docklet-test/load-bad:1"), "s390x", 1000);
        assert_eq!(fault().await, ImageFault::Architecture);
        assert_eq!(engine.image("docklet-test/load-bad:1").await.unwrap(), None);
    }
}
