//! Looks into an image archive for the image that it holds: `docker save`'s manifest, or an OCI layout.
//! Seeks to what describes it and leaves the layers unread, where it is not compressed.

use std::{
    collections::BTreeSet,
    io::{Read, Seek as _, SeekFrom},
    path::Path,
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{
    engine::{reference::Reference, stream_error::Failure},
    error::{Error, ImageAction, ImageFault, Result},
};

/// Most bytes of a description inside an archive. They are a few hundred; the bound keeps a wrong
/// file from filling the memory.
const DESCRIPTION: u64 = 4 << 20;

/// What an archive says of its image.
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
    /// With the program that unpacks it.
    Compressed(&'static str),
}

/// First bytes of what these programs unpack.
const COMPRESSED: [(&[u8], &str); 4] = [
    (&[0x1f, 0x8b], "gzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (b"BZh", "bzip2"),
];

/// Opens a file that must be a tar archive or a compressed one; also its size in bytes.
pub(super) fn open_archive(file: &Path) -> Result<(fs_err::File, u64, Packing)> {
    let broken = |e: std::io::Error| Error::file("read", file, &e);
    let mut opened = fs_err::File::open(file).map_err(broken)?;
    let metadata = opened.metadata().map_err(broken)?;
    if !metadata.is_file() {
        return Err(bad(file, "it isn't a file"));
    }
    let mut head = Vec::with_capacity(512);
    opened.by_ref().take(512).read_to_end(&mut head).map_err(broken)?;
    opened.rewind().map_err(broken)?;
    let packing = if head.get(257..262) == Some(b"ustar") {
        Packing::Plain
    } else if let Some((_, program)) = COMPRESSED.iter().find(|(magic, _)| head.starts_with(magic)) {
        Packing::Compressed(program)
    } else {
        return Err(bad(file, "it is neither a tar archive nor a compressed one"));
    };
    Ok((opened, metadata.len(), packing))
}

fn bad(file: &Path, reason: &str) -> Error {
    Failure::lasting(ImageFault::BadArchive, reason).into_error(ImageAction::Load, &file.display().to_string())
}

/// Looks into an archive for the one image that it holds.
///
/// # Errors
/// [`Error::File`] when it cannot be read, [`Error::Image`] with [`ImageFault::BadArchive`] when it
/// is no archive, a damaged one, or one without an image, and [`Error::Usage`] when it holds several images or
/// names: the engine would load all of them over whatever has these names now.
pub fn reference_in(file: &Path) -> Result<ArchiveImage> {
    let (opened, _, packing) = open_archive(file)?;
    let mut archive = ImageArchive { file, opened, packing };
    let saved: Option<Vec<Saved>> = archive.find("manifest.json")?.map(|text| parse(file, &text)).transpose()?;
    // Some archives have both, and which of them counts is the engine's affair.
    let index: Option<Index> = archive.find("index.json")?.map(|text| parse(file, &text)).transpose()?;
    only_one(file, saved.as_deref().unwrap_or_default(), index.as_ref())?;
    if let Some(all) = saved {
        let first = all.first().ok_or_else(|| bad(file, "it holds no image"))?;
        let reference = first.tags.iter().flatten().find_map(|tag| valid(tag));
        return Ok(ArchiveImage { reference, digest: config_digest(file, &first.config)? });
    }
    let mut index = index.ok_or_else(|| bad(file, "it holds no image"))?;
    let mut reference = None;
    // An index may name an index of one image's variants; more levels are not in use.
    for _ in 0..3 {
        let Some(first) = index.manifests.first() else { break };
        reference = reference.or_else(|| first.name());
        let blob = format!("blobs/{}", first.digest.replacen(':', "/", 1));
        let text = archive.find(&blob)?.ok_or_else(|| bad(file, "a part that it names is missing"))?;
        index = parse(file, &text)?;
        if let Some(config) = &index.config {
            return Ok(ArchiveImage { reference, digest: config_digest(file, &config.digest)? });
        }
    }
    Err(bad(file, "it holds no image"))
}

/// Refuses more than one image, and more than one name.
fn only_one(file: &Path, saved: &[Saved], index: Option<&Index>) -> Result<()> {
    let described = index.map(|index| index.manifests.as_slice()).unwrap_or_default();
    let names: BTreeSet<String> = saved
        .iter()
        .flat_map(|image| image.tags.iter().flatten().cloned())
        .chain(described.iter().filter_map(Descriptor::name))
        // The same name, as a registry and as the engine's command writes it.
        .map(|name| name.trim_start_matches("docker.io/").trim_start_matches("library/").to_owned())
        .collect();
    let digests: BTreeSet<&str> = described.iter().map(|d| d.digest.as_str()).collect();
    let images = saved.iter().map(|image| &image.config).collect::<BTreeSet<_>>().len().max(digests.len());
    if images <= 1 && names.len() <= 1 {
        return Ok(());
    }
    let list = names.iter().take(5).map(|name| name.replace(char::is_control, "?")).collect::<Vec<_>>();
    let more = if names.len() > 5 { ", …" } else { "" };
    let name = list.first().map_or("IMAGE", String::as_str);
    Err(Error::Usage {
        message: format!(
            "{} holds {images} image(s) under {} names, and one is wanted: {}{more}",
            file.display(),
            names.len(),
            list.join(", ")
        ),
        hint: Some(format!("docker save --output image.tar {name}")),
    })
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
struct ImageArchive<'a> {
    file: &'a Path,
    opened: fs_err::File,
    packing: Packing,
}

impl ImageArchive<'_> {
    fn find(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let file = self.file;
        let damaged = |_| bad(file, "it is damaged or cut short");
        let size = self.opened.seek(SeekFrom::End(0)).map_err(damaged)?;
        self.opened.rewind().map_err(damaged)?;
        let Packing::Compressed(program) = self.packing else {
            let mut archive = tar::Archive::new(&mut self.opened);
            return last(file, name, archive.entries_with_seek().map_err(damaged)?, size);
        };
        let packed = self.opened.file().try_clone().map_err(damaged)?;
        let mut command = Command::new(program);
        command.arg("-dc").stdin(packed).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut unpacking =
            command.spawn().map_err(|_| bad(file, &format!("the program {program} is not there to look into it")))?;
        let Some(output) = unpacking.stdout.take() else { return Err(Error::bug("a pipe was wanted")) };
        let found = last(file, name, tar::Archive::new(output).entries().map_err(damaged)?, u64::MAX);
        let _ = unpacking.kill();
        let _ = unpacking.wait();
        found
    }
}

/// The last entry of this name: an engine that unpacks them one over the other has that one.
fn last(file: &Path, name: &str, entries: tar::Entries<'_, impl Read>, size: u64) -> Result<Option<Vec<u8>>> {
    let damaged = |_| bad(file, "it is damaged or cut short");
    let mut found = None;
    for entry in entries {
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
        found = Some(text);
    }
    Ok(found)
}
