//! An engine on another machine, by the user's own ssh: each connection is an ssh that runs `docker system dial-stdio`
//! there, with the user's configuration, keys, known hosts and jump hosts. Nobody is asked for a password.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::{
    Method, Request, Response, Uri,
    body::{Body, Incoming},
    http::uri::PathAndQuery,
};
use hyper_util::client::legacy::{self, Client, connect::Connect};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use crate::host::{ssh, tunnel};

/// Most of what ssh says that is kept, in bytes.
const COMPLAINT: usize = 4096;

/// Sends a request. One that reads or removes is sent again when its connection ends in place of an answer: a tunnel that
/// is closed, by us or by another command, takes the connections along that go through it. What was removed the first
/// time is not there the second time, which is all that is wanted.
pub(super) async fn send<C, B>(
    client: &Client<C, B>,
    request: Request<B>,
    no_body: B,
) -> Result<Response<Incoming>, legacy::Error>
where
    C: Connect + Clone + Send + Sync + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let again = matches!(*request.method(), Method::GET | Method::DELETE).then(|| {
        let mut again = Request::new(no_body);
        again.method_mut().clone_from(request.method());
        again.uri_mut().clone_from(request.uri());
        again.headers_mut().clone_from(request.headers());
        again
    });
    let answer = client.request(request).await;
    match (again, &answer) {
        (Some(again), Err(error)) if ended_early(error) => client.request(again).await,
        _ => answer,
    }
}

fn ended_early(error: &legacy::Error) -> bool {
    let http = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    http.is_some_and(hyper::Error::is_incomplete_message)
}

fn path<B>(request: &Request<B>) -> &str {
    request.uri().path_and_query().map_or("/", PathAndQuery::as_str)
}

/// Makes connections to an engine at `ssh://[USER@]HOST[:PORT]`.
#[derive(Clone)]
pub(super) struct Dialer {
    /// The socket of the tunnel that is open now.
    tunnel: Arc<dyn Fn() -> Option<PathBuf> + Send + Sync>,
    /// The ssh for one connection, through this tunnel.
    call: Arc<Call>,
}

type Call = dyn Fn(Option<&Path>) -> Command + Send + Sync;

impl Dialer {
    /// Goes through the tunnel whose files are in `folder`, while one is open.
    pub(super) fn to(url: &str, folder: Option<&Path>) -> Self {
        let (url, folder) = (url.to_owned(), folder.map(Path::to_owned));
        let address = url.clone();
        Dialer {
            tunnel: Arc::new(move || tunnel::connection(folder.as_ref()?, &address)),
            call: Arc::new(move |tunnel| ssh::command(&url, &[], tunnel, &["docker", "system", "dial-stdio"])),
        }
    }

    /// Leads a request to connections of its own while a tunnel is open: those end with it, and one that has ended must not
    /// be used for a request that is sent once.
    pub(super) fn direct<B>(&self, request: &mut Request<B>) {
        if (self.tunnel)().is_some()
            && let Ok(uri) = Uri::builder().scheme("http").authority("tunnel").path_and_query(path(request)).build()
        {
            *request.uri_mut() = uri;
        }
    }

    /// A connection.
    ///
    /// # Errors
    /// When there is no ssh.
    pub(super) fn dial(&self) -> io::Result<Pipe> {
        let mut command = (self.call)((self.tunnel)().as_deref());
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

/// The streams of an ssh. An end before any answer is an error in the words of ssh.
pub(super) struct Pipe {
    input: Option<ChildStdin>,
    output: ChildStdout,
    errors: ChildStderr,
    answered: bool,
    complaint: Vec<u8>,
    _child: Child,
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
        match ready!(self.input()?.poll_write(cx, bytes)) {
            // ssh has ended. Reading tells why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(bytes.len())),
            written => Poll::Ready(written),
        }
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
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use bollard::errors::Error as Theirs;
    use http_body_util::BodyExt as _;
    use hyper_util::rt::TokioExecutor;

    use super::{super::connector::Connector, *};

    /// Each connection is what a script says, which may know whether there is a tunnel.
    fn dialer_of(script: impl Fn(bool) -> String + Send + Sync + 'static) -> Dialer {
        let call = move |tunnel: Option<&Path>| {
            let mut command = Command::new("sh");
            command.args(["-c", &script(tunnel.is_some())]);
            command
        };
        Dialer { tunnel: Arc::new(|| None), call: Arc::new(call) }
    }

    /// A client whose connections are what this script says.
    fn client_of(script: &str) -> Client<Connector, String> {
        let script = script.to_owned();
        Client::builder(TokioExecutor::new()).build(Connector::Ssh(dialer_of(move |_| script.clone())))
    }

    async fn ask(client: &Client<Connector, String>, method: Method) -> Result<Response<Incoming>, legacy::Error> {
        let request = Request::builder().method(method).uri("http://engine/version").body(String::new()).unwrap();
        send(client, request, String::new()).await
    }

    #[tokio::test]
    async fn what_reads_or_removes_is_asked_again_when_its_connection_ends() {
        // Each connection has one answer, and ends at the next question.
        let client = client_of(
            "read -r method rest; while read -r line && [ ${#line} -gt 1 ]; do :; done
            printf 'HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n%s' ${#method} $method; read -r line",
        );
        for method in [Method::GET, Method::DELETE, Method::DELETE, Method::GET] {
            let answer = ask(&client, method.clone()).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), method.as_str());
        }
        let error = ask(&client, Method::POST).await.unwrap_err();
        assert!(ended_early(&error), "it may have been carried out: {error:?}");
    }

    #[tokio::test]
    async fn what_is_sent_once_is_not_sent_through_a_tunnel_that_was_closed() {
        let open = Arc::new(AtomicBool::new(true));
        let is_open = open.clone();
        let answer = "read -r line && [ ${#line} -gt 1 ] || printf 'HTTP/1.1 200 OK\\r\\ncontent-length: 1\\r\\n\\r\\n";
        // Through the tunnel, the second request finds nobody who would answer.
        let script = move |tunnel: bool| match tunnel {
            true => format!("while {answer}t'; do [ ${{#line}} -gt 1 ] || exec sleep 60; done"),
            false => format!("while {answer}d'; do :; done"),
        };
        let mut dialer = dialer_of(script);
        dialer.tunnel = Arc::new(move || is_open.load(Ordering::SeqCst).then(PathBuf::new));
        let client = Client::builder(TokioExecutor::new()).build(Connector::Ssh(dialer.clone()));
        for wanted in ["t", "d", "d"] {
            let mut request = Request::post("http://engine/x?y").body(String::new()).unwrap();
            dialer.direct(&mut request);
            assert_eq!(request.uri().path_and_query().unwrap(), "/x?y");
            let answer = send(&client, request, String::new());
            let answer = tokio::time::timeout(Duration::from_secs(20), answer).await.unwrap().unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), wanted);
            open.store(false, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn what_ssh_complains_of_is_the_error() {
        let said = async |script: &str| {
            let error = ask(&client_of(script), Method::GET).await.unwrap_err();
            super::super::error::io_error(&Theirs::from(error)).unwrap().to_string()
        };
        assert_eq!(said("echo 'Host key verification failed.' >&2; exit 255").await, "Host key verification failed.");
        assert_eq!(said("exit 127").await, "ssh ended without a word");
    }
}
