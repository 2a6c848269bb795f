//! One HTTP/1.1 GET over any connection, read up to a limit: for the page's probe, and downloads.
//! Opens no connection itself.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// An open connection, encrypted or on this machine.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// An answer.
#[derive(Debug)]
pub struct HttpResponse {
    /// HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: hyper::HeaderMap,
    /// The body, at most as long as was allowed.
    pub body: Bytes,
}

/// Sends one GET and reads the answer.
///
/// # Errors
/// What went wrong, in a few words.
pub async fn get<S>(
    stream: S,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
    limit: usize,
) -> Result<HttpResponse, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| words(&e))?;
    let mut request = hyper::Request::get(path).header("host", host).header("connection", "close");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    // The connection is driven in this task, so that nothing outlives the call.
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(|e| words(&e))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let body = Limited::new(answer.into_body(), limit).collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok(HttpResponse { status, headers, body })
    };
    drive(exchange, connection).await
}

/// An exchange and the connection that it needs, in one task.
async fn drive<T>(
    exchange: impl Future<Output = Result<T, String>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> Result<T, String> {
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        done = &mut exchange => done,
        ended = &mut connection => match ended {
            Err(e) => Err(words(&e)),
            Ok(()) => exchange.await,
        },
    }
}

fn words(error: &hyper::Error) -> String {
    // An engine's proxy accepts a connection and resets it while nobody listens behind it.
    let reset = std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .is_some_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionReset);
    if reset || error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        "the connection was closed without an answer".to_owned()
    } else {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}
