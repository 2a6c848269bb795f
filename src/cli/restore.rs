//! `docklet restore`

use std::time::Duration;

use super::{args, context::Context, secret};
use crate::{
    error::Result,
    ops::restore::{self, Restore},
    present::data as text,
};

/// Restores a backup.
pub async fn run(context: &Context, args: &args::Restore) -> Result<()> {
    let options = Restore {
        file: args.file.clone(),
        passphrase: args.passphrase_file.as_deref().map(secret::read_file).transpose()?,
        settings: args.settings,
        no_backup: args.no_backup,
        force: args.force,
        timeout: Some(Duration::from_secs(args.timeout)),
    };
    if args.dry_run {
        let report = restore::preview(context, &options).await?;
        context.output.result(&report, |style| text::preview(&report, style));
        return Ok(());
    }
    let report = context.restore(&options).await?;
    context.output.result(&report, |style| text::restored(&report, style, &context.environment.zone));
    Ok(())
}
