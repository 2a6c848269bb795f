//! Archives of all kinds, and engines that take them or do not.
#![allow(clippy::unwrap_used)]
use super::{
    super::scripted::{Recorder, Reply, ScriptedEngine, append, image_of, missing, real_engine, stream, write_archive},
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
    assert_eq!(found, ArchiveImage { reference: Some("team/app:1".to_owned()), digest: digest.clone() });
    let (_folder, file, digest) = archive(None);
    assert_eq!(reference_in(&file).unwrap(), ArchiveImage { reference: None, digest });
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
    assert_eq!(found, ArchiveImage { reference: Some("docker.io/team/app:1".to_owned()), digest: config });
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
    assert_eq!(code("gz", &[0x1f, 0x8b, 8, 0]), refused("it holds no image"));
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

/// What `docker load` would take over other people's names, and what could be the wrong one.
#[test]
fn more_than_one_image_or_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = ("aa".repeat(32), "bb".repeat(32));
    let saved = |name: &str, entries: &[(&str, String)]| {
        let file = folder.path().join(name);
        let mut archive = tar::Builder::new(std::fs::File::create(&file).unwrap());
        entries.iter().for_each(|(path, text)| append(&mut archive, path, text.as_bytes()));
        archive.into_inner().unwrap();
        file
    };
    let image = |config: &str, tags: &str| format!(r#"{{"Config":"{config}.json","RepoTags":[{tags}],"Layers":[]}}"#);
    let manifest = |images: &[String]| ("manifest.json", format!("[{}]", images.join(",")));
    let index = |name: &str| {
        let names = format!(r#"{{"io.containerd.image.name":"{name}"}}"#);
        ("index.json", format!(r#"{{"manifests":[{{"digest":"sha256:{one}","annotations":{names}}}]}}"#))
    };
    let good = manifest(&[image(&one, r#""app:1""#)]);
    let twice = saved("same.tar", &[good.clone(), index("docker.io/library/app:1")]);
    assert_eq!(reference_in(&twice).unwrap().reference.as_deref(), Some("app:1"));
    let names = saved("names.tar", &[manifest(&[image(&one, r#""app:1","debian:trixie-slim""#)])]);
    assert!(std::process::Command::new("gzip").arg("--keep").arg(&names).status().unwrap().success());
    for (file, named) in [
        (names.clone(), "app:1, debian:trixie-slim"),
        (names.with_extension("tar.gz"), "app:1, debian:trixie-slim"),
        (saved("images.tar", &[manifest(&[image(&one, r#""app:1""#), image(&two, r#""b:2""#)])]), "app:1, b:2"),
        (saved("bare.tar", &[manifest(&[image(&one, r#""app:1""#), image(&two, "")])]), "app:1"),
        (saved("both.tar", &[good.clone(), index("debian:trixie-slim")]), "app:1, debian:trixie-slim"),
        (saved("over.tar", &[good, manifest(&[image(&one, r#""app:1","x:2""#)])]), "app:1, x:2"),
    ] {
        match reference_in(&file) {
            Err(Error::Usage { message, hint }) => {
                assert!(message.contains(named), "{message}");
                assert_eq!(hint.as_deref(), Some("docker save --output image.tar app:1"));
            }
            other => panic!("{}: {other:?}", file.display()),
        }
    }
}

async fn load(answer: Reply, images: Vec<Reply>) -> (Result<()>, ScriptedEngine, Recorder) {
    let (_folder, file, _) = archive(Some("x:1"));
    let scripted = ScriptedEngine::new(&[
        ("POST /images/load", vec![answer]),
        ("GET /images/wanted:1", images),
        ("GET /images/", vec![image_of("amd64", &["x:1"])]),
        ("POST /images/x:1/tag", vec![Reply::Status(201, String::new())]),
        ("DELETE /images/wanted:1", vec![Reply::Status(200, "[]".to_owned())]),
    ]);
    let recorder = Recorder::default();
    let result = scripted.engine.load(&file, "wanted:1", &recorder).await;
    (result, scripted, recorder)
}

const GOOD: &str = r#"{"status":"Loading layer","progressDetail":{"current":32768,"total":300000},"id":"0a1b"}
{"stream":"Loaded image: x:1\n"}"#;

#[tokio::test]
async fn a_good_load_gives_the_wanted_name() {
    let (result, scripted, recorder) = load(stream(GOOD), vec![missing()]).await;
    result.unwrap();
    assert_eq!(scripted.count("POST /images/x:1/tag?repo=wanted&tag=1"), 1, "{:?}", scripted.asked());
    match recorder.0.lock().unwrap().last() {
        Some(Event::Transfer(t)) => assert!(t.done == t.total && t.total > 300_000, "{t:?}"),
        other => panic!("{other:?}"),
    }
    let (result, scripted, _) = load(stream(GOOD), vec![image_of("amd64", &["wanted:1"])]).await;
    result.unwrap();
    assert_eq!(scripted.count("POST /images/x:1/tag"), 0, "it has the name already");
}

#[tokio::test]
async fn errors_in_the_stream_fail() {
    let said =
        |words: &str| stream(&serde_json::json!({"errorDetail": {"message": words}, "error": words}).to_string());
    for (answer, fault, code) in [
        (said("Error processing tar file(exit status 1): unexpected EOF"), ImageFault::BadArchive, Code::LoadFailed),
        (said("open /var/lib/x/repositories: no such file or directory"), ImageFault::BadArchive, Code::LoadFailed),
        (said("write /layer.tar: no space left on device"), ImageFault::NoSpace, Code::NoSpace),
        (
            stream(r#"{"error":"payload does not match any of the supported image formats"}"#),
            ImageFault::BadArchive,
            Code::LoadFailed,
        ),
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
    let scripted = ScriptedEngine::new(&[
        ("POST /images/load", vec![stream(GOOD)]),
        ("GET /images/x:1", vec![missing(), image_of("arm64", &["x:1"])]),
        ("DELETE /images/x:1", vec![Reply::Status(200, "[]".to_owned())]),
    ]);
    let error = scripted.engine.load(&file, "x:1", &Silent).await.unwrap_err();
    assert_eq!((error.code(), scripted.count("DELETE /images/x:1")), (Code::ArchMismatch, 1));
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
