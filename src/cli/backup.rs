//! `docklet backup`

use std::{fs::File, io::IsTerminal as _, os::fd::AsFd as _, path::Path, sync::Arc};

use super::{
    args::{self, BackupAction},
    backup_key,
    context::Context,
    secret,
};
use crate::{
    data::encrypted_file::Unlock,
    error::{Error, Result},
    ops::{
        backup::{
            self, Backup,
            prune::{self, Prune},
        },
        backup_test::BackupTest,
        part,
        restore::contained_secrets,
    },
    paths,
    present::{contents, data as text},
    report::data::BackupReport,
    secrets::Secret,
    settings::Settings,
    wizard,
};

/// Makes a backup, or looks after those that are there.
pub async fn run(context: &Context, args: &args::BackupArgs) -> Result<()> {
    match &args.action {
        None => {
            let passphrase = passphrase(context, args)?;
            let output = if args.to_standard_output() { Some(standard_output()?) } else { None };
            let file = args.file.clone().filter(|_| output.is_none());
            let (exclude, encrypt) = (args.exclude.clone(), args.encrypt);
            let options = Backup { file, output, exclude, passphrase, encrypt, scheduled: false };
            let report = context.backup(&options).await?;
            tell_of_caches(context, &report);
            context.output.result(&report, |style| text::backup(&report, style));
        }
        Some(BackupAction::List) => {
            let report = backup::list(context)?;
            context.output.result(&report, |style| text::backup_list(&report, style, &context.environment.zone));
        }
        Some(BackupAction::Ls { file, path, identity }) => {
            let identity = identity.as_deref().map(secret::read_file).transpose()?;
            let report = part::list(context, file, path, identity.as_ref()).await?;
            context.output.result(&report, |style| contents::listed(&report, style, &context.environment.zone));
        }
        Some(BackupAction::Verify { file, identity }) => {
            let key = identity.as_deref().map(secret::read_file).transpose()?;
            let unlock = Unlock::Identities(contained_secrets::identities(key.as_ref())?);
            let report = match args::is_standard(file) {
                true => backup::verify_stream(context, standard_input(&[identity.as_deref()])?, &unlock).await?,
                false => backup::verify(context, file, &unlock).await?,
            };
            context.output.result(&report, |style| text::verified(&report, style, &context.environment.zone));
        }
        Some(BackupAction::Test { file, identity, passphrase_file, page }) => {
            let options = BackupTest {
                file: file.clone(),
                passphrase: passphrase_file
                    .as_deref()
                    .map(secret::read_file)
                    .transpose()?
                    .map(backup::not_empty)
                    .transpose()?,
                identity: identity.as_deref().map(secret::read_file).transpose()?,
                timeout: Some(page.duration()),
            };
            let report = context.test_backup(&options).await?;
            context.output.result(&report, |style| text::tested(&report, style, &context.environment.zone));
        }
        Some(BackupAction::Key(args)) => backup_key::run(context, args)?,
        Some(BackupAction::Prune { keep, keep_changes, dry_run }) => {
            let options = Prune { keep: keep.clone(), keep_changes: *keep_changes, dry_run: *dry_run };
            let report = prune::prune(context, &options).await?;
            context.output.result(&report, |style| text::pruned(&report, style));
        }
    }
    Ok(())
}

/// Once, and not to somebody who leaves something out already.
fn tell_of_caches(context: &Context, report: &BackupReport) {
    let told = context.files.caches_told();
    if let Some(text) = text::caches(report).filter(|_| report.exclude.is_empty() && !told.exists()) {
        context.note(text);
        // Being told twice is no harm.
        let _ = paths::write_file(&told, b"", 0o600);
    }
}

/// Standard output, for an archive.
fn standard_output() -> Result<Arc<File>> {
    let stdout = std::io::stdout();
    if stdout.is_terminal() {
        return Err(Error::Usage {
            message: "a backup can't be written to a terminal".to_owned(),
            hint: Some("send it to a file or a program: docklet backup - > FILE".to_owned()),
        });
    }
    let own = stdout.as_fd().try_clone_to_owned();
    own.map(|fd| Arc::new(fd.into())).map_err(|e| Error::file("write to", Path::new("standard output"), &e))
}

/// Standard input with an archive in it. Files with a passphrase or a key cannot come from there, too.
pub fn standard_input(others: &[Option<&Path>]) -> Result<File> {
    let stdin = std::io::stdin();
    let wrong = |message: &str, hint: &str| Error::Usage { message: message.to_owned(), hint: Some(hint.to_owned()) };
    if others.iter().flatten().any(|file| args::is_standard(file)) {
        let message = "standard input can't be both the backup and what opens it";
        return Err(wrong(message, "write the passphrase or the key to a file"));
    }
    if stdin.is_terminal() {
        return Err(wrong(
            "a backup can't be read from a terminal",
            "docklet restore - < FILE, or docklet restore FILE",
        ));
    }
    let own = stdin.as_fd().try_clone_to_owned();
    own.map(File::from).map_err(|e| Error::file("read", Path::new("standard input"), &e))
}

/// Whether the secrets are backed up without a passphrase.
fn has_recipients(context: &Context) -> Result<bool> {
    Ok(Settings::load(&context.files.settings())?.is_some_and(|s| !s.backup.recipients.is_empty()))
}

fn passphrase(context: &Context, args: &args::BackupArgs) -> Result<Option<Secret>> {
    let given = match &args.passphrase_file {
        Some(file) => secret::read_file(file)?,
        None if !args.secrets || has_recipients(context)? => return Ok(None),
        None if context.environment.interactive => wizard::new_passphrase(&context.prompt("no backup was made"))?,
        None => {
            return Err(Error::ConfirmationRequired {
                question: "a passphrase for the secrets is needed".to_owned(),
                flag: "--passphrase-file PATH".to_owned(),
            });
        }
    };
    backup::not_empty(given).map(Some)
}
