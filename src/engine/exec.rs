//! A command inside a running container, through the engine's exec calls: streams, window size,
//! exit code. Knows nothing of terminals and of this process's own streams.

use std::pin::Pin;

use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::StreamReader;

use super::{
    DEADLINE, Engine,
    call::{ask, deadline},
    error::{status_of, translate},
};
use crate::error::{Error, ObjectKind, Result};

/// Largest piece of output that is handed on at once.
const PIECE: usize = 64 * 1024;

/// Connects standard input and output to a port of 127.0.0.1, and ends when the other side closes. Bash alone can do
/// that; a program in the background has no input but one that is named.
const CONNECT: &str = "exec 3<>/dev/tcp/127.0.0.1/$0 4<&0 || exit 1; \
    /usr/bin/cat <&4 >&3 2>/dev/null & /usr/bin/cat <&3; kill $!";

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// As which user.
    pub user: String,
    /// In which folder; `None`: the container's own.
    pub working_dir: Option<String>,
    /// Variables besides the container's.
    pub environment: Vec<(String, String)>,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// Whether it gets an input.
    pub input: bool,
}

/// A running command.
pub struct Exec {
    engine: Engine,
    id: String,
    /// What it prints.
    pub output: ExecOutput,
    /// What it reads.
    pub input: ExecInput,
}

/// What a command prints.
pub struct ExecOutput {
    stream: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
}

/// What a command reads.
pub struct ExecInput {
    writer: Pin<Box<dyn AsyncWrite + Send>>,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Whether it came from standard error. With a terminal all comes from one stream.
    pub error_stream: bool,
    /// The bytes as they came.
    pub bytes: Bytes,
}

/// Asks about a running command and resizes its terminal, beside reading and writing.
#[derive(Debug, Clone)]
pub struct Handle {
    engine: Engine,
    id: String,
}

impl Engine {
    /// Runs a command in a container and hands out its streams.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`], and [`Error::NotRunning`] when the container does not run.
    pub async fn exec(&self, container: &str, request: &ExecRequest) -> Result<Exec> {
        let call = format!("run a command in {container}");
        let options = CreateExecOptions {
            attach_stdin: Some(request.input),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(request.terminal),
            // The default, ctrl-p ctrl-q, swallows every ctrl-p until the next key.
            detach_keys: request.terminal.then(|| "ctrl-@,ctrl-^,ctrl-@,ctrl-^".to_owned()),
            env: Some(request.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some(request.command.clone()),
            user: Some(request.user.clone()).filter(|user| !user.is_empty()),
            working_dir: request.working_dir.clone(),
            privileged: None,
        };
        let created = deadline(&call, DEADLINE, self.docker.create_exec(container, options)).await?;
        let id = created.map_err(|e| not_there(container, &call, e))?.id;
        // `tty` here asks for output without frames, which the client would take a zero byte for:
        // frames are asked for with a terminal, too.
        let options = StartExecOptions { detach: false, tty: false, output_capacity: Some(PIECE) };
        let started = deadline(&call, DEADLINE, self.docker.start_exec(&id, Some(options))).await?;
        match started.map_err(|e| not_there(container, &call, e))? {
            StartExecResults::Attached { output, input } => Ok(Exec {
                engine: self.clone(),
                id,
                output: ExecOutput { stream: output },
                input: ExecInput { writer: input },
            }),
            StartExecResults::Detached => Err(Error::bug("an attached command was started detached")),
        }
    }

    /// A connection to a port inside a container, which need not have a network. Where nobody listens, it is closed at once.
    ///
    /// # Errors
    /// As [`Engine::exec`].
    pub async fn connect_inside(
        &self,
        container: &str,
        port: u16,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
        let port = port.to_string();
        let command = ["/usr/bin/env", "-i", "/bin/bash", "-c", CONNECT, &port].map(str::to_owned).to_vec();
        let exec = self.exec(container, &ExecRequest { command, input: true, ..ExecRequest::default() }).await?;
        let output = exec.output.stream.filter_map(|part| {
            std::future::ready(match part {
                Ok(LogOutput::StdErr { .. }) => None,
                Ok(part) => Some(Ok(part.into_bytes())),
                Err(e) => Some(Err(std::io::Error::other(e))),
            })
        });
        Ok(tokio::io::join(StreamReader::new(output), exec.input.writer))
    }

    /// Runs a short command to its end and says its exit code; what it prints is thrown away.
    ///
    /// # Errors
    /// As [`Engine::exec`], and [`Error::EngineTimeout`].
    pub async fn exec_quietly(&self, container: &str, request: &ExecRequest) -> Result<i64> {
        let run = async {
            let mut exec = self.exec(container, request).await?;
            while exec.output.next().await?.is_some() {}
            exec.exit_code().await
        };
        let late =
            |_| Error::EngineTimeout { call: format!("run a command in {container}"), seconds: DEADLINE.as_secs() };
        tokio::time::timeout(DEADLINE, run).await.map_err(late)?
    }
}

impl Exec {
    /// The exit code. Ask when the output has ended.
    ///
    /// # Errors
    /// When the engine does not answer, or does not know the code.
    pub async fn exit_code(&self) -> Result<i64> {
        let call = "ask how the command ended";
        // The output can end a moment before the process does.
        for _ in 0..200 {
            let state = ask(call, DEADLINE, self.engine.docker.inspect_exec(&self.id)).await?;
            if state.running != Some(true)
                && let Some(code) = state.exit_code
            {
                return Ok(code);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Err(Error::EngineGone { call: call.to_owned(), reason: "its output has ended, and it still runs".to_owned() })
    }

    /// For asking about it while its streams are in use.
    pub fn handle(&self) -> Handle {
        Handle { engine: self.engine.clone(), id: self.id.clone() }
    }
}

impl ExecOutput {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        match self.stream.next().await {
            None => Ok(None),
            Some(Ok(part)) => {
                Ok(Some(Piece { error_stream: matches!(part, LogOutput::StdErr { .. }), bytes: part.into_bytes() }))
            }
            Some(Err(e)) => Err(translate("pass on what the command prints", e)),
        }
    }
}

impl ExecInput {
    /// Hands bytes to the command. One that reads no more is not told apart from one that does.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok() && self.writer.flush().await.is_ok()
    }

    /// Says that nothing more comes.
    pub async fn close(&mut self) {
        // A command that has ended has no input to close.
        let _ = self.writer.shutdown().await;
    }
}

impl Handle {
    /// Sets the size of the terminal. Best effort: a command that has just ended has none.
    pub async fn resize(&self, columns: u16, rows: u16) {
        let size = ResizeExecOptions { height: rows, width: columns };
        let _ = tokio::time::timeout(DEADLINE, self.engine.docker.resize_exec(&self.id, size)).await;
    }
}

impl Handle {
    /// Whether the command has ended; `false` where the engine does not say.
    pub async fn has_ended(&self) -> bool {
        let state = ask("ask how the command ended", DEADLINE, self.engine.docker.inspect_exec(&self.id)).await;
        state.is_ok_and(|state| state.running == Some(false))
    }
}

fn not_there(container: &str, call: &str, error: bollard::errors::Error) -> Error {
    match status_of(&error) {
        Some(404) => Error::NoSuchObject { kind: ObjectKind::Container, name: container.to_owned() },
        // Podman says 500 with these words.
        Some(409 | 500) if error.to_string().contains("running") || error.to_string().contains("paused") => {
            let state = if error.to_string().contains("paused") { "paused" } else { "stopped" };
            Error::NotRunning { name: container.to_owned(), state: state.to_owned() }
        }
        _ => translate(call, error),
    }
}
