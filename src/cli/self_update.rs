//! `docklet self-update`

use super::{args, context::Context, manual};
use crate::{error::Result, ops::self_update::ReleaseSource, present::style::Style, report::SelfUpdateReport};

/// Updates docklet itself, or goes back.
pub async fn run(context: &Context, args: &args::SelfUpdate) -> Result<()> {
    if args.finish {
        renew_man_pages()?;
        let finished = context.finish_self_update().await;
        context.output.result(&finished, |_| finished.supervisors.join("\n"));
        return Ok(());
    }
    let report = match (args.check, args.rollback) {
        (true, _) => context.check_for_self_update(&source()).await?,
        (_, true) => context.self_rollback().await?,
        _ => context.self_update(&source()).await?,
    };
    context.output.result(&report, |style| text(&report, args, style));
    Ok(())
}

/// The owner's address and key. A build for tests takes others from the environment; a release never does.
fn source() -> ReleaseSource {
    let chosen = |name: &str, built_in: &str| {
        let test = std::env::var(name).ok().filter(|_| cfg!(debug_assertions));
        test.unwrap_or_else(|| built_in.to_owned())
    };
    ReleaseSource {
        repository: chosen("DOCKLET_TEST_REPOSITORY", env!("CARGO_PKG_REPOSITORY")),
        key: chosen("DOCKLET_TEST_RELEASE_KEY", include_str!("../../packaging/minisign.pub")),
    }
}

/// Those that the installer put beside the program are the old program's.
fn renew_man_pages() -> Result<()> {
    let program = std::env::current_exe().unwrap_or_default();
    let prefix = program.parent().and_then(std::path::Path::parent);
    match prefix.map(|prefix| prefix.join("share/man/man1")) {
        Some(folder) if folder.join("docklet.1").exists() => manual::write(&folder).map(drop),
        _ => Ok(()),
    }
}

fn text(report: &SelfUpdateReport, args: &args::SelfUpdate, style: Style) -> String {
    let (from, to) = (&report.from, style.strong(&report.to));
    if !report.changed {
        if !report.update_available {
            return format!("docklet {} is the newest release", style.strong(from));
        }
        let command = report.command.as_deref().unwrap_or("docklet self-update");
        return format!("update available: docklet {from} → {to}\n{} {command}", style.hint("next:"));
    }
    let back = if args.rollback { "to undo" } else { "to go back" };
    let mut text = format!("docklet {from} → {to}: {}", report.program);
    if !report.supervisors.is_empty() {
        text.push_str(&format!("\nsupervisors restarted: {}", report.supervisors.join(", ")));
    }
    text + &format!("\n{back}: docklet self-update --rollback")
}
