//! `docklet start`

use std::time::Duration;

use super::{args, context::Context};
use crate::{
    error::Result,
    ops::{
        converge::Planned,
        start::{self, Start},
    },
    present::result,
};

/// Shows a plan that is not carried out.
pub fn planned_only(context: &Context, planned: &Planned) {
    let report = serde_json::json!({
        "instance": context.name, "recovery": planned.recovery, "plan": planned.plan, "lost": planned.lost,
    });
    context.output.result(&report, |_| planned.to_string());
}

/// Starts it and waits for the page.
pub async fn run(context: &Context, args: &args::Start) -> Result<()> {
    if args.dry_run {
        let planned = start::preview(context).await?;
        planned_only(context, &planned);
        return Ok(());
    }
    let timeout = Some(Duration::from_secs(args.timeout));
    let report = context.start(&Start { timeout, no_wait: args.no_wait }).await?;
    context.output.result(&report, |style| result::start(&report, style));
    Ok(())
}
