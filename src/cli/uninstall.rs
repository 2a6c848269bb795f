//! `docklet uninstall`

use super::{args, context::Context};
use crate::{error::Result, ops::uninstall::Uninstall, present::result};

/// Removes the instance.
pub async fn run(context: &Context, args: &args::UninstallArgs) -> Result<()> {
    let report = context
        .uninstall(&Uninstall {
            volumes: args.volumes,
            purge: args.purge,
            no_backup: args.no_backup,
            dry_run: args.dry_run,
        })
        .await?;
    context.output.result(&report, |style| result::uninstalled(&report, style));
    Ok(())
}
