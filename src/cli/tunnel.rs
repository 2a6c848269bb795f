//! `docklet tunnel`

use std::process::ExitCode;

use super::{args::TunnelArgs, context::Context};
use crate::{error::Result, present::result};

/// Exit code of `--status` for a tunnel that is not open.
const CLOSED: u8 = 3;

/// Opens the tunnel, closes it, or says how it is.
pub async fn run(context: &Context, args: &TunnelArgs) -> Result<ExitCode> {
    let report = match args {
        TunnelArgs { stop: true, .. } => context.close_tunnel().await?,
        TunnelArgs { status: true, .. } => context.tunnel_status().await?,
        TunnelArgs { port, .. } => context.open_tunnel(*port).await?,
    };
    context.output.result(&report, |style| result::tunnel(&report, style));
    Ok(if args.status && !report.open { ExitCode::from(CLOSED) } else { ExitCode::SUCCESS })
}
