//! `docklet password`

use std::time::Duration;

use super::{args, context::Context};
use crate::{
    error::Result,
    ops::{mounts, start, stop},
    secrets,
};

/// Grace for the restart after a change of the password.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Prints the password, or makes a new one and restarts.
pub async fn run(context: &Context, args: &args::Password) -> Result<()> {
    context.settings().await?;
    if args.dry_run {
        let report = serde_json::json!({"instance": context.name, "dry_run": true});
        context.output.result(&report, |_| "a new password would be generated, and opencode restarted".to_owned());
        return Ok(());
    }
    if args.rotate {
        rotate(context).await?;
    }
    let password = context.password()?;
    let report = serde_json::json!({
        "instance": context.name, "user": context.appliance.login.user, "password": password.reveal(),
    });
    context.output.result(&report, |_| password.reveal().to_owned());
    Ok(())
}

async fn rotate(context: &Context) -> Result<()> {
    let settings = context.settings().await?;
    let _lock = context.lock("password --rotate")?;
    context.confirm("generate a new password and restart opencode? Everyone must then sign in again")?;
    // The engine first: without it the new password could not be put into effect.
    let engine = context.engine().await?;
    let container = stop::find_if_there(context, &engine).await?;
    mounts::admit(context, &settings.mounts)?;
    secrets::write(&context.files.secrets(), &context.appliance.login.password_secret, &secrets::generate_password()?)?;
    match container {
        Some(container) if container.running => {
            stop::stop(context, &engine, container, STOP_GRACE).await?;
            start::start(context, &engine, &settings, context.appliance.health.ready_timeout()).await?;
        }
        _ => context.note("the container is not running; the new password applies from the next start"),
    }
    Ok(())
}
