//! `docklet stop` and `docklet restart`

use std::time::Duration;

use super::{args, context::Context, start::planned_only};
use crate::{
    error::Result,
    ops::stop::{self, StopTimeout},
    present::result,
};

/// Stops it.
pub async fn run(context: &Context, args: &args::Stop) -> Result<()> {
    let report = context.stop(StopTimeout(Duration::from_secs(args.timeout))).await?;
    context.output.result(&report, |style| result::stop(&report, style));
    Ok(())
}

/// Stops it and starts it again.
pub async fn restart(context: &Context, args: &args::RestartArgs) -> Result<()> {
    if args.dry_run {
        planned_only(context, &stop::preview(context).await?, &[]);
        return Ok(());
    }
    let (report, url) = context.restart(StopTimeout(Duration::from_secs(args.timeout))).await?;
    context.output.result(&report, |style| result::restart(&report, &url, style));
    Ok(())
}
