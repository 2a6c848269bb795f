//! `docklet supervise`

use super::{args, context::Context};
use crate::{error::Result, ops::supervisor::process, supervise::run};

/// Supervises in the foreground until it is told to end.
pub async fn run(context: &Context, args: &args::Supervise) -> Result<()> {
    if args.detached {
        process::leave_terminal();
    }
    let end = run::run(context, args.detached).await?;
    let report = serde_json::json!({"instance": context.name, "ended": end.text()});
    context.output.result(&report, |_| String::new());
    Ok(())
}
