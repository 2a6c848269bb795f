//! `docklet stop` and `docklet restart`

use std::time::Duration;

use super::{args, context::Context, start::planned_only};
use crate::{
    error::Result,
    ops::{start, stop::StopTimeout},
    present::result,
};

/// Stops it.
pub async fn run(context: &Context, args: &args::Stop) -> Result<()> {
    let report = context.stop(StopTimeout(Duration::from_secs(args.timeout))).await?;
    context.output.result(&report, |style| result::stop(&report, style));
    Ok(())
}

/// Stops it and starts it again.
pub async fn restart(context: &Context, args: &args::Restart) -> Result<()> {
    if args.dry_run {
        let planned = start::preview(context).await?;
        let stop = format!("stop container {}", context.container_name());
        match planned.is_empty() {
            true => {
                let report = serde_json::json!({"instance": context.name, "plan": planned.plan, "lost": null});
                context.output.result(&report, |_| format!("{stop}, and start it again"));
            }
            false => {
                context.output.message(&format!("first: {stop}; then:"));
                planned_only(context, &planned);
            }
        }
        return Ok(());
    }
    let (report, url) = context.restart(StopTimeout(Duration::from_secs(args.timeout))).await?;
    context.output.result(&report, |style| result::restart(&report, &url, style));
    Ok(())
}
