//! `docklet restore`

use std::time::Duration;

use super::{args, context::Context, secret};
use crate::{error::Result, ops::restore::Restore, present::data as text};

/// Restores a backup.
pub async fn run(context: &Context, args: &args::Restore) -> Result<()> {
    let report = context
        .restore(&Restore {
            file: args.file.clone(),
            passphrase: args.passphrase_file.as_deref().map(secret::read_file).transpose()?,
            settings: args.settings,
            no_backup: args.no_backup,
            force: args.force,
            timeout: Some(Duration::from_secs(args.timeout)),
        })
        .await?;
    context.output.result(&report, |style| text::restored(&report, style));
    Ok(())
}
