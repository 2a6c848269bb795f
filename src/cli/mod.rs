//! The commands: one file each, short. Parses, puts the context together, runs, renders errors.

pub mod args;
mod attach;
mod autostart;
mod backup;
mod backup_key;
mod change;
mod complete;
mod completions;
mod config;
pub mod context;
mod doctor;
mod engine_setup;
mod errors;
mod exec;
mod export;
mod help;
mod list;
mod logs;
mod manual;
mod manual_sections;
mod mount;
mod open;
mod parse;
mod password;
mod relocate;
mod restore;
mod secret;
mod self_update;
mod setup;
mod start;
mod status;
mod stop;
mod supervise;
mod tunnel;
mod uninstall;
mod update;
mod usage;
mod watch;
mod watch_action;
mod watch_surface;

use std::{process::ExitCode, time::Duration};

pub use self::help::command;
use self::{args::Command, context::Context};
use crate::{
    error::{Code, Error, Result},
    interrupt,
    present::{Output, Streams},
};

/// Runs the program with the process's own arguments, environment and streams.
pub fn main() -> ExitCode {
    // One thread: docklet waits far more than it computes.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(program());
            // A thread may still wait for the other end of a pipe.
            runtime.shutdown_timeout(Duration::from_secs(1));
            code
        }
        Err(_) => ExitCode::FAILURE,
    }
}

async fn program() -> ExitCode {
    if completions::answer(command) {
        return ExitCode::SUCCESS;
    }
    let cli = match parse::arguments() {
        Ok(cli) => cli,
        Err(error) => return usage::answer(&error),
    };
    let stdout_is_data = cli.command.as_ref().is_some_and(Command::writes_data);
    let streams = Streams { stdout_is_data, ..context::streams(&cli.global) };
    report_panics(streams);
    let output = Output::new(streams);
    let instance = cli.global.instance.clone();
    let (raise, interrupt) = interrupt::pair();
    tokio::spawn(listen_for_signals(raise));
    let context = Context::new(cli.global, streams, interrupt);
    let result = match context.map(|context| context.of(cli.command.as_ref())) {
        Ok(context) => run(&context, cli.command).await.and_then(|code| context.output.written().map(|()| code)),
        Err(error) => Err(error),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let error = usage::with_help(error);
            output.error(&error, Some(instance.as_str()));
            ExitCode::from(error.code().exit_status())
        }
    }
}

/// A crash is told as any other error is, with what to do.
fn report_panics(streams: Streams) {
    std::panic::set_hook(Box::new(move |panic| {
        crate::host::terminal::restore();
        let payload = panic.payload();
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Output::new(streams).error(&panicked(message, panic.location()), None);
        #[allow(clippy::exit)] // a release would abort, with the exit code of a signal
        std::process::exit(i32::from(Code::Bug.exit_status()));
    }));
}

fn panicked(message: Option<&str>, at: Option<&std::panic::Location<'_>>) -> Error {
    let place = at.map(|at| format!(" ({}:{})", at.file(), at.line())).unwrap_or_default();
    Error::bug(format!("{}{place}", message.unwrap_or("it crashed")))
}

/// Runs a command. One that only looks ends at the first Ctrl-C; one that changes something
/// decides itself where it can end.
async fn run(context: &Context, command: Option<Command>) -> Result<ExitCode> {
    let only_looks = matches!(
        command,
        None | Some(
            Command::Status(args::Status { watch: false }) | Command::List | Command::Open(_) | Command::Doctor(_)
        )
    );
    if !only_looks {
        return dispatch(context, command).await;
    }
    let stopped = Error::Interrupted { next: "nothing was changed".to_owned() };
    context.interrupt.or(stopped, dispatch(context, command)).await
}

async fn dispatch(context: &Context, command: Option<Command>) -> Result<ExitCode> {
    let done = match command {
        None => return status::short(context).await,
        Some(Command::Status(args)) if args.watch => return watch::run(context).await,
        Some(Command::Status(_)) => return status::run(context, status::StatusForm::Long).await,
        Some(Command::Autostart(args)) => return autostart::run(context, args.action).await,
        Some(Command::Exec(args)) => return exec::exec(context, &args).await,
        Some(Command::Attach(args)) => return attach::run(context, &args).await,
        Some(Command::Shell) => return exec::shell(context).await,
        Some(Command::Tunnel(args)) => return tunnel::run(context, &args).await,
        Some(Command::Errors(args)) => errors::run(context, &args),
        Some(Command::Completions(args)) => completions::run(context, args.shell),
        Some(Command::SelfUpdate(args)) => self_update::run(context, &args).await,
        Some(Command::Man(args)) => manual::run(context, &args),
        Some(Command::Doctor(args)) => return doctor::run(context, &args).await,
        Some(Command::Setup(args)) => return setup::run(context, &args).await,
        Some(Command::Start(args)) => start::run(context, &args).await,
        Some(Command::Stop(args)) => stop::run(context, &args).await,
        Some(Command::Restart(args)) => stop::restart(context, &args).await,
        Some(Command::Logs(args)) => return logs::run(context, &args).await,
        Some(Command::Open(args)) => open::run(context, &args).await,
        Some(Command::Password(args)) => password::run(context, &args).await,
        Some(Command::Backup(args)) => backup::run(context, &args).await,
        Some(Command::Export(args)) => export::run(context, &args).await,
        Some(Command::Move(args)) => relocate::run(context, &args).await,
        Some(Command::Restore(args)) => return restore::run(context, &args).await,
        Some(Command::Update(args)) => update::run(context, &args).await,
        Some(Command::Rollback(args)) => update::rollback(context, &args).await,
        Some(Command::Uninstall(args)) => uninstall::run(context, &args).await,
        Some(Command::Config(args)) => config::run(context, &args.action).await,
        Some(Command::Secret(args)) => secret::run(context, &args.action).await,
        Some(Command::Mount(args)) => mount::run(context, args.action).await,
        Some(Command::Supervise(args)) => supervise::run(context, &args).await,
        Some(Command::List) => list::run(context).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The first Ctrl-C or SIGTERM lets the work end in good order; the second ends it at once.
async fn listen_for_signals(raise: interrupt::Raise) {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else { return };
    let mut next = async || {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    next().await;
    raise.raise();
    next().await;
    crate::host::terminal::restore();
    #[allow(clippy::exit)] // the user insists; the next run goes on where this one stopped
    std::process::exit(130);
}

/// What `packaging/` holds that is generated: file names and contents.
///
/// # Errors
/// When something cannot be generated, which is a bug.
pub fn generated() -> Result<Vec<(String, String)>> {
    let mut files = completions::scripts()?;
    files.extend(manual::pages()?.into_iter().map(|(name, text)| (format!("man/{name}"), text)));
    files.push(("errors.md".to_owned(), crate::error_codes::markdown()));
    files.extend(crate::ops::autostart::examples()?);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_says_where_to_report_it_and_with_what() {
        let error = panicked(Some("index out of bounds"), None);
        assert_eq!(error.to_string(), "internal error in docklet: index out of bounds");
        assert!(error.hint().is_some_and(|hint| hint.contains("\ndocklet doctor --bundle docklet-report.tar.zst")));
    }
}
