//! `docklet start`

use std::time::Duration;

use super::{args, context::Context};
use crate::{error::Result, ops::start::Start, present::result};

/// Starts it and waits for the page.
pub async fn run(context: &Context, args: &args::Start) -> Result<()> {
    let timeout = Some(Duration::from_secs(args.timeout));
    let report = context.start(&Start { timeout, no_wait: args.no_wait }).await?;
    context.output.result(&report, |style| result::start(&report, style));
    Ok(())
}
