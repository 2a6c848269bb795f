//! `docklet exec` and `docklet shell`: a command inside, as the appliance's user.

use std::process::ExitCode;

use serde_json::json;

use super::{args, context::Context};
use crate::{
    appliance::hex,
    engine::{
        Engine,
        exec::{Exec, ExecInput, ExecRequest, Piece},
    },
    error::{Error, Result},
    host::terminal,
    ops::stop::find_running,
};

/// Most bytes of each stream in the JSON form.
const JSON_LIMIT: usize = 1 << 20;

/// Variable that marks a command and all that it starts, for ending them.
const MARK: &str = "DOCKLET_EXEC";

/// How long an interrupted command has to end before it is killed.
const GRACE: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs one command; its streams are ours, and so is its exit code.
pub async fn exec(context: &Context, args: &args::ExecArgs) -> Result<ExitCode> {
    let engine = ready(context).await?;
    let mark = mark()?;
    let command = args.command.iter().map(String::as_str);
    let request = ExecRequest { command: entered(context, command), input: true, ..request(context, &mark) };
    let mut exec = engine.exec(&context.container_name(), &request).await?;
    let mut collected = Collected::default();
    let ended = pump(context, &engine, &mut exec, (&mark, "INT"), |piece| {
        if context.global.json {
            collected.take(&piece);
            true
        } else {
            context.output.bytes(&piece.bytes, piece.error_stream)
        }
    })
    .await;
    if context.interrupt.is_raised() {
        return Err(Error::Interrupted { next: "the command in the container was stopped too".to_owned() });
    }
    ended?;
    let code = exec.exit_code().await?;
    if context.global.json {
        let report = json!({
            "instance": context.name, "exit_code": code,
            "stdout": String::from_utf8_lossy(&collected.stdout), "stderr": String::from_utf8_lossy(&collected.stderr),
            "truncated": collected.truncated,
        });
        context.output.result(&report, |_| String::new());
    }
    Ok(exit_code(code))
}

/// Opens a shell on this terminal: the shell of the image, else the one that is always there.
pub async fn shell(context: &Context) -> Result<ExitCode> {
    on_terminal(context, "the shell", ["/bin/sh", "-c", "[ -x /bin/bash ] && exec /bin/bash; exec /bin/sh"]).await
}

/// Runs a command on this terminal; `what` it is, for messages.
pub async fn on_terminal<'a>(
    context: &'a Context,
    what: &str,
    command: impl IntoIterator<Item = &'a str>,
) -> Result<ExitCode> {
    if context.global.json {
        return Err(Error::Usage {
            message: format!("{what} has no JSON form"),
            hint: Some("docklet exec --json -- COMMAND".to_owned()),
        });
    }
    if !context.environment.stdin_is_terminal || !context.output.streams().stdout_is_terminal {
        return Err(Error::Usage {
            message: format!("{what} needs a terminal on both sides"),
            hint: Some("without one: docklet exec -- COMMAND".to_owned()),
        });
    }
    let engine = ready(context).await?;
    let mark = mark()?;
    let plain = request(context, &mark);
    let term = context.environment.term.clone().unwrap_or_else(|| "xterm".to_owned());
    let request = ExecRequest {
        command: entered(context, command),
        environment: plain.environment.iter().cloned().chain([("TERM".to_owned(), term)]).collect(),
        terminal: true,
        input: true,
        ..plain
    };
    let mut exec = engine.exec(&context.container_name(), &request).await?;
    let (raw, mut screen) = (terminal::Raw::enter()?, terminal::OtherScreen::default());
    let ended = pump(context, &engine, &mut exec, (&mark, "HUP"), |piece| {
        screen.see(&piece.bytes);
        context.output.bytes(&piece.bytes, false)
    })
    .await;
    screen.leave();
    drop(raw);
    if context.interrupt.is_raised() {
        return Err(Error::Interrupted { next: format!("{what} in the container was stopped too") });
    }
    ended?;
    Ok(exit_code(exec.exit_code().await?))
}

/// The engine, where there is a container of ours that runs.
async fn ready(context: &Context) -> Result<Engine> {
    context.settings().await?;
    let engine = context.engine().await?;
    find_running(context, &engine).await?;
    Ok(engine)
}

fn request(context: &Context, mark: &str) -> ExecRequest {
    let fixed = &context.appliance.container;
    ExecRequest {
        user: fixed.user.clone(),
        working_dir: Some(fixed.working_dir.clone()),
        environment: vec![("HOME".to_owned(), fixed.home.clone()), (MARK.to_owned(), mark.to_owned())],
        ..ExecRequest::default()
    }
}

/// A command in the program's own environment, where the image knows how.
fn entered<'a>(context: &'a Context, command: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let script = "if [ -x \"$0\" ]; then exec \"$0\" \"$@\"; else exec \"$@\"; fi";
    let enter = ["/bin/sh", "-c", script, &context.appliance.container.enter];
    enter.into_iter().chain(command).map(str::to_owned).collect()
}

fn mark() -> Result<String> {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|e| Error::bug(format!("no randomness: {e}")))?;
    Ok(hex(&random))
}

/// Passes input, output and window size on until the command ends, or the user wants to stop: then
/// the command inside is ended first, which no engine does by itself, with the signal `polite` (a
/// shell takes no notice of Ctrl-C).
async fn pump(
    context: &Context,
    engine: &Engine,
    exec: &mut Exec,
    (mark, polite): (&str, &str),
    mut show: impl FnMut(Piece) -> bool,
) -> Result<()> {
    let handle = exec.handle();
    let mut resized = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change()).ok();
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
    if let Some((columns, rows)) = terminal::size() {
        handle.resize(columns, rows).await;
    }
    let Exec { output, input, .. } = exec;
    // Beside the output, never before it: a command that writes while it reads would wait for ever.
    let mut feeding = std::pin::pin!(feed(input));
    let mut fed = false;
    let mut ending = None;
    loop {
        tokio::select! {
            piece = output.next() => match piece {
                Ok(Some(piece)) => if !show(piece) && ending.is_none() {
                    // Nobody reads on, as behind `| head`.
                    ending = Some(end(context, engine, mark, "PIPE").await);
                },
                Ok(None) => return Ok(()),
                // An engine resets the connection of a command that ended without reading its input.
                Err(error) => return if handle.has_ended().await { Ok(()) } else { Err(error) },
            },
            () = &mut feeding, if !fed => fed = true,
            () = changed(&mut resized) => if let Some((columns, rows)) = terminal::size() {
                handle.resize(columns, rows).await;
            },
            () = changed(&mut hangup), if ending.is_none() => ending = Some(end(context, engine, mark, "HUP").await),
            () = context.interrupt.wait(), if ending.is_none() => {
                ending = Some(end(context, engine, mark, polite).await);
            }
            () = until(ending), if ending.is_some() => {
                end(context, engine, mark, "KILL").await;
                return Ok(());
            }
        }
    }
}

/// Passes standard input on until its end, or until the command reads no more.
async fn feed(input: &mut ExecInput) {
    let mut pieces = terminal::input();
    while let Some(bytes) = pieces.recv().await {
        if !input.write(&bytes).await {
            return;
        }
    }
    input.close().await;
}

async fn until(at: Option<tokio::time::Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

/// Sends a signal to the command and all that it started; until when they have time to end.
async fn end(context: &Context, engine: &Engine, mark: &str, signal: &str) -> tokio::time::Instant {
    // All at once and parents first, as a terminal does it: a shell that survives its child goes on.
    let script = format!(
        "set -- $(for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/environ 2>/dev/null | grep -qx {MARK}={mark} && echo ${{p#/proc/}}; done | sort -n); [ $# -eq 0 ] || kill -{signal} $*; :"
    );
    // Not with the container's PATH, which begins with folders that the agent writes to.
    let command = ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let request = ExecRequest { command, ..request(context, "") };
    // Best effort: where it fails, the command goes on inside, as with every other client.
    let _ = engine.exec_quietly(&context.container_name(), &request).await;
    tokio::time::Instant::now() + GRACE
}

/// Waits for a signal; for ever where there is none to wait for.
pub async fn changed(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// The output for the JSON form: as much as fits.
#[derive(Default)]
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl Collected {
    fn take(&mut self, piece: &Piece) {
        let to = if piece.error_stream { &mut self.stderr } else { &mut self.stdout };
        let room = JSON_LIMIT.saturating_sub(to.len()).min(piece.bytes.len());
        to.extend_from_slice(&piece.bytes[..room]);
        self.truncated |= room < piece.bytes.len();
    }
}

fn exit_code(code: i64) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
