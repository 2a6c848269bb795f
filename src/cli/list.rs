//! `docklet list`

use super::context::Context;
use crate::{error::Result, present::status};

/// Lists all instances on this engine.
pub async fn run(context: &Context) -> Result<()> {
    let report = context.list().await?;
    context.output.result(&report, |style| status::list(&report, style));
    Ok(())
}
