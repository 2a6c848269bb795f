//! Looks into an image archive for the image that it holds: `docker save`'s manifest, or an OCI layout.
//! Seeks to what describes it and leaves the layers unread.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use serde::Deserialize;

use crate::{
    engine::{fault::Failure, reference::Reference},
    error::{Error, ImageAction, ImageFault, Result},
};

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

/// How the bytes of an archive are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Compressed,
}

/// Opens a file that must be a tar archive or a compressed one; also its size in bytes.
pub(super) fn open_archive(file: &Path) -> Result<(fs_err::File, u64, Packing)> {
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
