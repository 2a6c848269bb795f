//! `docklet start`

use std::time::Duration;

use super::{args, context::Context};
use crate::{
    error::Result,
    ops::start::{self, Start},
    present::result,
};

/// Starts it, or finishes what a killed command left.
pub async fn run(context: &Context, args: &args::Start) -> Result<()> {
    let report = if args.recover {
        match start::recover(context).await? {
            Some(report) => report,
            None => return Ok(()),
        }
    } else {
        let timeout = Some(Duration::from_secs(args.timeout));
        context.start(&Start { timeout, no_wait: args.no_wait }).await?
    };
    context.output.result(&report, |style| result::start(&report, style));
    Ok(())
}
