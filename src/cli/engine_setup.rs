//! The engine that a command needs, which may have to be installed first: for `setup`, and for `restore` on a bare machine.

use std::process::ExitCode;

use super::context::Context;
use crate::{
    engine::{Engine, connect},
    error::{Error, Result, is_ssh},
    host::{engine_install, system},
    ops::converge,
    wizard,
};

/// What looking for an engine came to.
pub enum FoundEngines {
    /// Those that can be used; more than one only when the user is to choose.
    Engines(Vec<Engine>),
    /// One was installed, and the user was put into this group, which the session has yet to get.
    NeedsNewGroup(String),
}

/// How far it may go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consent {
    /// Whether the user is asked: which of several engines, and whether to install one.
    pub interactive: bool,
    /// `--install-engine`
    pub install: bool,
    /// `--dry-run`
    pub dry_run: bool,
}

/// The engine; where there is none, it is installed with `--install-engine` or a yes. `interrupted`: the hint after Ctrl-C
/// at that question.
///
/// # Errors
/// Why no engine can be used, and what installing one finds.
pub async fn find(context: &Context, consent: Consent, interrupted: &'static str) -> Result<FoundEngines> {
    let Consent { interactive, install, dry_run } = consent;
    let selection = context.selection();
    let named = [&selection.host, &selection.docker_host, &selection.context, &selection.docker_context];
    let explicit = named.into_iter().flatten().any(|name| !name.is_empty());
    if interactive && !explicit {
        let answering = connect::answering(&selection).await?;
        if !answering.is_empty() {
            return Ok(FoundEngines::Engines(answering));
        }
    }
    let error = match context.engine().await {
        Ok(engine) => return Ok(FoundEngines::Engines(vec![engine])),
        Err(error) => error,
    };
    let curable = matches!(error, Error::EngineNotInstalled { .. } | Error::EngineNotRunning { .. });
    if !curable || explicit || dry_run {
        return Err(if install { with_command_there(error) } else { error });
    }
    if !install {
        let how = "installs the distribution's own package with its package manager, and starts it";
        if !interactive || !wizard::ask_install_engine(&context.prompt(interrupted), how)? {
            return Err(error);
        }
    }
    let installing = engine_install::install_engine(context.reporter.as_ref());
    let installed = tokio::select! {
        biased;
        () = context.interrupt.wait() => return Err(converge::interrupted()),
        installed = installing => installed?,
    };
    context.note(format!("the container engine runs, started with: {}", installed.how));
    match installed.new_group {
        Some(group) => Ok(FoundEngines::NeedsNewGroup(group)),
        None => Ok(FoundEngines::Engines(vec![context.engine().await?])),
    }
}

/// What to do where the engine is to be on another machine: docklet changes only the one that it runs on.
fn with_command_there(error: Error) -> Error {
    match error {
        Error::EngineNotRunning { endpoint, reason, start_command } if is_ssh(&endpoint) => {
            let there = "if no engine is installed there, install it there: sudo apt-get install docker.io (Debian, Ubuntu) or sudo dnf install moby-engine (Fedora), then sudo usermod -aG docker $USER";
            Error::EngineNotRunning { endpoint, reason, start_command: format!("{start_command}\n{there}") }
        }
        other => other,
    }
}

/// Runs this same command again in a session that has the group.
///
/// # Errors
/// When there is no such session to be had.
pub fn again_with_group(group: &str) -> Result<ExitCode> {
    let program = system::this_program()?;
    let mut command = vec![program.display().to_string()];
    command.extend(std::env::args().skip(1));
    let status = engine_install::with_group(group, &command).status().map_err(|e| Error::Usage {
        message: format!("the engine is installed, but this session is not in the group {group} yet"),
        hint: Some(format!("log out and in, then run the same command again ({})", crate::error::io_reason(&e))),
    })?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
