//! `docklet restore`

use std::process::ExitCode;

use super::{
    args,
    backup::standard_input,
    context::Context,
    engine_setup::{self, Consent, FoundEngines},
    secret,
};
use crate::{
    error::Result,
    ops::{
        backup::receive::{self, Received},
        part::{self, Part},
        restore::{self, Restore},
    },
    present::{contents, data as text},
};

/// Restores a backup.
pub async fn run(context: &Context, args: &args::RestoreArgs) -> Result<ExitCode> {
    let files = [args.passphrase_file.as_deref(), args.identity.as_deref()];
    let input = if args::is_standard(&args.file) { Some(standard_input(&files)?) } else { None };
    let received = match input {
        Some(input) => Some(receive::receive(context, input).await?),
        None => None,
    };
    let file = received.as_ref().map_or(&args.file, Received::path).clone();
    let identity = args.identity.as_deref().map(secret::read_file).transpose()?;
    if let (Some(path), Some(into)) = (&args.path, &args.into) {
        let (path, into) = (path.clone(), into.clone());
        let mut report = part::extract(context, &Part { file, identity, path, into, dry_run: args.dry_run }).await?;
        if received.is_some() {
            report.file = args.file.display().to_string();
        }
        context.output.result(&report, |style| contents::extracted(&report, style, &context.environment.zone));
        return Ok(ExitCode::SUCCESS);
    }
    let options = Restore {
        file,
        passphrase: args.passphrase_file.as_deref().map(secret::read_file).transpose()?,
        identity,
        only: args.only.clone(),
        settings: args.settings,
        no_backup: args.no_backup,
        force: args.force,
        timeout: Some(args.page.duration()),
    };
    if args.dry_run {
        let report = restore::preview(context, &options).await?;
        context.output.result(&report, |style| text::preview(&report, style));
        return Ok(ExitCode::SUCCESS);
    }
    if args.install_engine {
        // Nothing is installed for a file that cannot be restored.
        restore::check_header(context, &options)?;
        let consent = Consent { install: true, ..Consent::default() };
        if let FoundEngines::NeedsNewGroup(group) = engine_setup::find(context, consent, "").await? {
            return engine_setup::again_with_group(&group);
        }
    }
    let done = context.restore(&options).await;
    if let Some(received) = received.filter(|_| done.is_err()) {
        received.keep_if_needed(context).await;
    }
    let mut report = done?;
    if args::is_standard(&args.file) {
        report.file = args.file.display().to_string();
    }
    context.output.result(&report, |style| text::restored(&report, style, &context.environment.zone));
    Ok(ExitCode::SUCCESS)
}
