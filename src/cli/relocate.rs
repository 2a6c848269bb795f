//! `docklet move`

use super::{args, context::Context};
use crate::{error::Result, ops::relocate::Move, present::result};

/// Moves the instance to another engine.
pub async fn run(context: &Context, args: &args::MoveArgs) -> Result<()> {
    let there = context.on_engine(&args.to)?;
    let options = Move { secrets: args.secrets, keep: args.keep, dry_run: args.dry_run };
    let report = context.move_to(&there, options).await?;
    context.output.result(&report, |style| result::moved(&report, style));
    Ok(())
}
