//! `docklet supervise`

use super::{args, context::Context};
use crate::{
    error::Result,
    ops::supervisor::launch,
    supervise::{
        process,
        run::{self, Tools},
    },
};

/// Supervises in the foreground until it is told to end.
pub async fn run(context: &Context, args: &args::Supervise) -> Result<()> {
    if args.detached {
        process::leave_terminal();
    }
    let end = run::run(Tools {
        appliance: &context.appliance,
        instance: &context.name,
        files: &context.files,
        selection: context.selection(),
        launch: Some(launch(context, &[])?),
        detached: args.detached,
        reporter: context.reporter.as_ref(),
        interrupt: &context.interrupt,
    })
    .await?;
    let report = serde_json::json!({"instance": context.name, "ended": end.text()});
    context.output.result(&report, |_| String::new());
    Ok(())
}
