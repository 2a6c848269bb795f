//! `docklet start`

use super::{args, context::Context};
use crate::{
    error::Result,
    ops::{
        converge::Planned,
        start::{self, Start},
    },
    present::result,
};

/// Shows a plan that is not carried out, and the names of the secrets that would be set.
pub fn planned_only(context: &Context, planned: &Planned, secrets: &[String]) {
    let report = serde_json::json!({
        "instance": context.name, "dry_run": true, "recovery": planned.recovery, "plan": planned.plan,
        "lost": planned.lost, "secrets": secrets,
    });
    context.output.result(&report, |_| with_secrets(&planned.to_string(), secrets));
}

/// Starts it and waits for the page.
pub async fn run(context: &Context, args: &args::StartArgs) -> Result<()> {
    if args.dry_run {
        let planned = start::preview(context).await?;
        planned_only(context, &planned, &[]);
        return Ok(());
    }
    let timeout = Some(args.page.duration());
    let report = context.start(&Start { timeout, no_wait: args.no_wait }).await?;
    context.output.result(&report, |style| result::start(&report, style));
    Ok(())
}

/// A plan's text, and by name what of secrets is written.
pub fn with_secrets(plan: &str, names: &[String]) -> String {
    if names.is_empty() { plan.to_owned() } else { format!("{plan}\n     secrets to write: {}", names.join(", ")) }
}
