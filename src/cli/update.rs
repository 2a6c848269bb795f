//! `docklet update` and `docklet rollback`

use super::{args, context::Context};
use crate::{
    error::Result,
    ops::update::{Rollback, Update},
    present::data as text,
};

/// Updates, or says whether there is something to update to.
pub async fn run(context: &Context, args: &args::UpdateArgs) -> Result<()> {
    if args.check {
        let report = context.check_for_update().await?;
        context.output.result(&report, |style| text::update_check(&report, style));
        return Ok(());
    }
    let options = Update { to: args.to.clone(), timeout: Some(args.page.duration()) };
    if args.dry_run {
        let report = context.preview_update(&options).await?;
        context.output.result(&report, |style| text::preview(&report, style));
        return Ok(());
    }
    let report = context.update(&options).await?;
    context.output.result(&report, |style| text::updated(&report, "update", style));
    Ok(())
}

/// Goes back to the release before the last update.
pub async fn rollback(context: &Context, args: &args::RollbackArgs) -> Result<()> {
    if args.dry_run {
        let report = context.preview_rollback(args.data).await?;
        context.output.result(&report, |style| text::preview(&report, style));
        return Ok(());
    }
    let timeout = Some(args.page.duration());
    let report = context.rollback(&Rollback { data: args.data, timeout }).await?;
    let command = if report.changed { "rollback" } else { "update" };
    context.output.result(&report, |style| text::updated(&report, command, style));
    Ok(())
}
