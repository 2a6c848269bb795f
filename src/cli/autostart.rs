//! `docklet autostart`

use std::process::ExitCode;

use super::{args::AutostartAction, context::Context};
use crate::{error::Result, ops::autostart, present::result, report::AutostartReport};

/// Exit code of `status` for an instance that does not start by itself.
const OFF: u8 = 3;

/// Switches it on or off, or says how it is.
pub async fn run(context: &Context, action: AutostartAction) -> Result<ExitCode> {
    let changed = match action {
        AutostartAction::Enable => autostart::enable(context).await?,
        AutostartAction::Disable => autostart::disable(context).await?,
        AutostartAction::Status => false,
    };
    let report = AutostartReport { changed, ..autostart::report(context).await };
    context.output.result(&report, |style| result::autostart(&report, style));
    let off = action == AutostartAction::Status && !report.enabled;
    Ok(if off { ExitCode::from(OFF) } else { ExitCode::SUCCESS })
}
