//! A look into a backup, and a part of one to a folder of this machine. Needs neither an engine nor an instance, and
//! changes neither.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::{Instance, backup, restore::contained_secrets};
use crate::{
    clean, clock,
    data::{
        archive::{
            printable,
            read::Contents,
            receive::{ListedEntry, Listing, Receiver},
            rules::VOLUMES,
            tar::EntryKind,
        },
        encrypted_file::Unlock,
        extract::{self, Extract, Wanted},
        restore as archive,
    },
    error::{Error, Result},
    event::begin_step,
    paths::shown,
    present::data::quoted,
    report::contents::{ContentsEntry, ContentsReport, ExtractReport},
    secrets::Secret,
};

/// What to take out of a backup, and where to.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The backup.
    pub file: PathBuf,
    /// The private keys for an encrypted one, as in a file of `age-keygen`.
    pub identity: Option<Secret>,
    /// The path in it, such as `projects/app`.
    pub path: String,
    /// The folder to write it into.
    pub into: PathBuf,
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// What a folder of a backup has in it. Reads and checks all of the backup.
///
/// # Errors
/// BACKUP_INVALID, and NOT_FOUND when the path is not in it.
pub async fn list(instance: &Instance, file: &Path, path: &str, identity: Option<&Secret>) -> Result<ContentsReport> {
    let file = backup::absolute(file)?;
    let folder = inside(instance, path)?;
    let unlock = Unlock::Identities(contained_secrets::identities(identity)?);
    let (contents, listing) = read(instance, "check", &file, &unlock, Listing::of(folder.clone()), None).await?;
    if listing.itself.is_none() && listing.inside.is_empty() && folder != VOLUMES_ALONE {
        return Err(missing(instance, &file, path));
    }
    let shown = |path: &[u8]| printable(path.strip_prefix(VOLUMES).unwrap_or_default());
    let entries = match &listing.itself {
        Some(itself) if itself.kind != EntryKind::Folder => vec![entry(shown(&folder), itself)],
        _ => {
            let inside = listing.inside.iter();
            inside.map(|(name, listed)| entry(shown(&[&folder[..], b"/", name].concat()), listed)).collect()
        }
    };
    let (file, created) = (file.display().to_string(), contents.header.created);
    Ok(ContentsReport { file, created, path: shown(&folder), entries })
}

fn entry(path: String, listed: &ListedEntry) -> ContentsEntry {
    let modified = OffsetDateTime::from_unix_timestamp(listed.modified).ok().filter(|_| listed.modified > 0);
    let kind = match listed.kind {
        EntryKind::Folder => "folder",
        EntryKind::Symlink => "link",
        EntryKind::HardLink => "hard_link",
        EntryKind::Fifo => "pipe",
        _ => "file",
    };
    let leads = printable(&listed.link);
    let link = match listed.kind {
        EntryKind::Symlink => Some(leads),
        EntryKind::HardLink => Some(leads.strip_prefix("volumes/").unwrap_or(&leads).to_owned()),
        _ => None,
    };
    ContentsEntry { path, kind, files: listed.files, bytes: listed.bytes, modified: modified.map(clock::rfc3339), link }
}

/// Writes a part of a backup below a folder of this machine, where nothing of that name may be yet. The files belong to
/// whoever runs docklet.
///
/// # Errors
/// BACKUP_INVALID, NOT_FOUND when the path is not in it, ALREADY_EXISTS, NO_SPACE; then nothing was written.
pub async fn extract(instance: &Instance, part: &Part) -> Result<ExtractReport> {
    let file = backup::absolute(&part.file)?;
    let path = inside(instance, &part.path)?;
    if path == VOLUMES_ALONE {
        return Err(Error::usage("--path needs a path in the backup, such as projects/app"));
    }
    let into = std::path::absolute(&part.into).map_err(|e| Error::file("find", &part.into, &e))?;
    let unlock = Unlock::Identities(contained_secrets::identities(part.identity.as_ref())?);
    let wanted = Wanted::new(path);
    let to = into.join(wanted.name());
    if to.symlink_metadata().is_ok() {
        return Err(Error::FileExists { path: to.display().to_string() });
    }
    let (contents, wanted) = read(instance, "check", &file, &unlock, wanted, None).await?;
    if !wanted.found {
        return Err(missing(instance, &file, &part.path));
    }
    archive::room_in(&into, wanted.room)?;
    let mut report = ExtractReport {
        file: file.display().to_string(),
        created: contents.header.created.clone(),
        path: clean::line(&part.path, false),
        to: to.display().to_string(),
        dry_run: part.dry_run,
        files: wanted.files,
        bytes: wanted.bytes,
        left_out: vec![],
        left_out_count: 0,
    };
    if part.dry_run {
        return Ok(report);
    }
    let failed = |e: std::io::Error| Error::file("write", &to, &e);
    std::fs::create_dir_all(&into).map_err(failed)?;
    extract::tidy(&into).map_err(failed)?;
    let extract = Extract::begin(wanted, &into).map_err(failed)?;
    let unlock = contents.key.clone().map_or(unlock, Unlock::File);
    let (again, extract) = read(instance, "write from", &file, &unlock, extract, Some(&to)).await?;
    if again.manifest != contents.manifest {
        let reason = "it was changed while it was being read".to_owned();
        return Err(Error::BackupInvalid { path: report.file, reason });
    }
    extract.settle(&into).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Error::FileExists { path: report.to.clone() },
        // Nothing was made of it.
        std::io::ErrorKind::NotFound if extract.left_out_count > 0 => Error::Usage {
            message: format!("{} is a link to something outside of it", report.path),
            hint: Some("choose a folder that holds both: --path FOLDER".to_owned()),
        },
        _ => failed(e),
    })?;
    (report.files, report.bytes) = (extract.files, extract.bytes);
    (report.left_out, report.left_out_count) = (extract.left_out.clone(), extract.left_out_count);
    Ok(report)
}

async fn read<R: Receiver + Send + 'static>(
    instance: &Instance,
    what: &str,
    file: &Path,
    unlock: &Unlock,
    receiver: R,
    to: Option<&Path>,
) -> Result<(Contents, R)> {
    let step = format!("{what} {}", shown(file));
    let done = begin_step(instance.reporter.as_ref(), 1, 1, step);
    let read = archive::read_into(file, unlock, receiver, to, instance.reporter.as_ref(), &instance.interrupt).await?;
    done();
    Ok(read)
}

/// The folder above all volumes.
const VOLUMES_ALONE: &[u8] = b"volumes";

/// Where a path is in an archive: `projects/app`, or as it is in the container, `/workspace/app`.
fn inside(instance: &Instance, path: &str) -> Result<Vec<u8>> {
    let trimmed = path.trim_end_matches('/');
    let mounted = instance.appliance.volumes.iter().find_map(|volume| {
        let rest = trimmed.strip_prefix(volume.mount.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", volume.role))
    });
    let path = mounted.unwrap_or_else(|| trimmed.trim_start_matches("./").to_owned());
    if path.is_empty() {
        return Ok(VOLUMES_ALONE.to_vec());
    }
    if path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let roles: Vec<&str> = instance.appliance.volumes.iter().map(|volume| volume.role.as_str()).collect();
        return Err(Error::Usage {
            message: format!("{} is not a path in a backup", clean::line(&path, false)),
            hint: Some(format!("it begins with the name of a volume ({}), such as projects/app", roles.join(", "))),
        });
    }
    Ok([VOLUMES, path.as_bytes()].concat())
}

fn missing(instance: &Instance, file: &Path, path: &str) -> Error {
    let flag = instance.name.flag();
    let name = shown(file);
    let read_again = if name == file.display().to_string() { quoted(&name) } else { "FILE".to_owned() };
    Error::Missing {
        what: format!("{} in {}", clean::line(path, false), name),
        reason: None,
        hint: format!("docklet{flag} backup ls {read_again} shows what is in it"),
    }
}
