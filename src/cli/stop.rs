//! `docklet stop` and `docklet restart`

use std::time::Duration;

use super::{args, context::Context};
use crate::{error::Result, ops::stop::StopTimeout, present::result};

/// Stops it.
pub async fn run(context: &Context, args: &args::Stop) -> Result<()> {
    let report = context.stop(StopTimeout(Duration::from_secs(args.timeout))).await?;
    context.output.result(&report, |style| result::stop(&report, style));
    Ok(())
}

/// Stops it and starts it again.
pub async fn restart(context: &Context, args: &args::Restart) -> Result<()> {
    let (report, url) = context.restart(StopTimeout(Duration::from_secs(args.timeout))).await?;
    context.output.result(&report, |style| result::restart(&report, &url, style));
    Ok(())
}
