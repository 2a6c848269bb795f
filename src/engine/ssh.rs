//! An engine on another machine, by the user's own ssh: each connection is an ssh that runs `docker system dial-stdio`
//! there, with the user's configuration, keys, known hosts and jump hosts. Nobody is asked for a password.

use std::{
    future::Future,
    io,
    path::Path,
    pin::Pin,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error as Theirs};
use hyper::Uri;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use crate::host::{ssh, tunnel};

/// Most of what ssh says that is kept, in bytes.
const COMPLAINT: usize = 4096;

/// A client for the engine at `ssh://[USER@]HOST[:PORT]`. Connects to nothing yet. It goes through the tunnel whose files
/// are in `folder`, while one is open.
///
/// # Errors
/// When the address is none.
pub fn connect(url: &str, folder: Option<&Path>, timeout: u64) -> Result<Docker, Theirs> {
    let client = Client::builder(TokioExecutor::new()).build(Connector::to(url, folder));
    let transport = move |request: BollardRequest| {
        let client = client.clone();
        async move { client.request(request).await.map_err(Theirs::from) }
    };
    // Whom ssh connects to is no part of a request.
    Docker::connect_with_custom_transport(transport, Some("http://engine"), timeout, API_DEFAULT_VERSION)
}

/// A connection of its own to the engine at such an address.
///
/// # Errors
/// When there is no ssh.
pub(super) fn dial(url: &str, folder: Option<&Path>) -> io::Result<impl AsyncRead + AsyncWrite + use<>> {
    Connector::to(url, folder).dial()
}

#[derive(Clone)]
struct Connector {
    call: Arc<dyn Fn() -> Command + Send + Sync>,
}

impl Connector {
    fn to(url: &str, folder: Option<&Path>) -> Self {
        let (url, folder) = (url.to_owned(), folder.map(Path::to_owned));
        let call = move || {
            let control = folder.as_ref().and_then(|folder| tunnel::connection(folder, &url));
            ssh::command(&url, &[], control.as_deref(), &["docker", "system", "dial-stdio"])
        };
        Connector { call: Arc::new(call) }
    }

    fn dial(&self) -> io::Result<Pipe> {
        let mut command = (self.call)();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => io::Error::new(e.kind(), "the program ssh is not installed"),
            _ => e,
        })?;
        let taken = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (stdin, Some(output), Some(errors)) = taken else { return Err(io::ErrorKind::BrokenPipe.into()) };
        Ok(Pipe { input: stdin, output, errors, answered: false, complaint: vec![], _child: child })
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Pipe>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(std::future::ready(self.dial().map(TokioIo::new)))
    }
}

/// The streams of an ssh. An end before any answer is an error in the words of ssh.
struct Pipe {
    input: Option<ChildStdin>,
    output: ChildStdout,
    errors: ChildStderr,
    answered: bool,
    complaint: Vec<u8>,
    _child: Child,
}

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.output).poll_read(cx, buffer))?;
        self.answered |= buffer.filled().len() > before;
        if self.answered {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut piece = [0; 512];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.errors).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Err(io::Error::other(ssh::complaint(&String::from_utf8_lossy(&self.complaint)))));
            }
            let room = COMPLAINT.saturating_sub(self.complaint.len());
            self.complaint.extend(piece.filled().iter().take(room));
        }
    }
}

impl Pipe {
    fn input(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        self.input.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.input()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.input() {
            Ok(input) => input.poll_flush(cx),
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Ok(input) = self.input() {
            ready!(input.poll_shutdown(cx))?;
        }
        // Only that closes it.
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn what_ssh_complains_of_is_the_error() {
        let said = async |script: &str| {
            let script = script.to_owned();
            let call = move || {
                let mut command = Command::new("sh");
                command.args(["-c", &script]);
                command
            };
            let connector = Connector { call: Arc::new(call) };
            let client: Client<_, String> = Client::builder(TokioExecutor::new()).build(connector);
            let error = client.get(Uri::from_static("http://engine/version")).await.unwrap_err();
            super::super::error::io_error(&Theirs::from(error)).unwrap().to_string()
        };
        assert_eq!(said("echo 'Host key verification failed.' >&2; exit 255").await, "Host key verification failed.");
        assert_eq!(said("exit 127").await, "ssh ended without a word");
    }
}
