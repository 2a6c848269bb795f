//! `docklet backup`

use super::{
    args::{self, BackupAction},
    context::Context,
    secret,
};
use crate::{
    error::{Error, Result},
    ops::backup::{self, Backup},
    present::data as text,
    secrets::Secret,
    wizard,
};

/// Makes a backup, or looks after those that are there.
pub async fn run(context: &Context, args: &args::Backup) -> Result<()> {
    match &args.action {
        None => {
            let passphrase = passphrase(context, args)?;
            let options = Backup { file: args.file.clone(), passphrase, scheduled: false };
            let report = context.backup(&options).await?;
            context.output.result(&report, |style| text::backup(&report, style));
        }
        Some(BackupAction::List) => {
            let report = backup::list(context)?;
            context.output.result(&report, |style| text::backup_list(&report, style, &context.environment.zone));
        }
        Some(BackupAction::Verify { file }) => {
            let report = backup::verify(context, file).await?;
            context.output.result(&report, |style| text::verified(&report, style, &context.environment.zone));
        }
        Some(BackupAction::Prune { keep, dry_run }) => {
            let report = backup::prune(context, *keep, *dry_run)?;
            context.output.result(&report, |style| text::pruned(&report, style));
        }
    }
    Ok(())
}

fn passphrase(context: &Context, args: &args::Backup) -> Result<Option<Secret>> {
    let given = match &args.passphrase_file {
        Some(file) => secret::read_file(file)?,
        None if !args.secrets => return Ok(None),
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
