//! The one way to an engine for requests and answers. bollard's calls go through it, and so do those whose answers are read
//! here: bollard has a type for everything that an engine can say, and refuses what is new.

use std::{fmt, io, path::Path};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error as Theirs};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::{Body, Incoming},
    header,
    http::request::Builder,
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{connector::Connector, credentials::Credentials, endpoints::Endpoint, ssh};

/// bollard's own time-out, in seconds, which also ends uploads. Ours are beside each call.
const NO_TIMEOUT: u64 = 7 * 24 * 3600;

/// Most of an answer, and of one message of a stream, that is read: an engine with ten thousand volumes answers 5 MB.
const LARGEST_ANSWER: usize = 32 << 20;

/// The body of a request.
pub(super) type Sent = <BollardRequest as HasBody>::Body;

/// bollard has no public name for it.
pub(super) trait HasBody {
    /// That body.
    type Body;
}

impl<B> HasBody for Request<B> {
    type Body = B;
}

/// A client for one engine.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client<Connector, Sent>,
    /// What its addresses begin with. Whom a connection leads to is decided by the [`Connector`].
    base: String,
    /// Where ssh makes the connections, which are kept then, and may end between two requests.
    ssh: Option<ssh::Dialer>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl Transport {
    /// As [`Connector::to`].
    ///
    /// # Errors
    /// What is wrong with the files for TLS.
    pub(super) fn to(endpoint: &Endpoint, folder: Option<&Path>) -> Result<Self, String> {
        let host = match endpoint {
            Endpoint::Tcp(host) | Endpoint::Tls(host, _) => host,
            Endpoint::Unix(_) | Endpoint::Ssh(_) => "docker",
        };
        Ok(Transport::of(Connector::to(endpoint, folder)?, host))
    }

    pub(super) fn of(connector: Connector, host: &str) -> Self {
        let ssh = match &connector {
            Connector::Ssh(dialer) => Some(dialer.clone()),
            _ => None,
        };
        let mut builder = Client::builder(TokioExecutor::new());
        // A connection costs nothing but where ssh makes it, and an old one may have ended.
        if ssh.is_none() {
            builder.pool_max_idle_per_host(0);
        }
        Transport { client: builder.build(connector), base: format!("http://{host}"), ssh }
    }

    /// bollard's client that sends through it.
    ///
    /// # Errors
    /// What bollard says.
    pub(super) fn docker(&self) -> Result<Docker, Theirs> {
        let transport = self.clone();
        let send = move |request: BollardRequest| {
            let transport = transport.clone();
            async move { transport.send(request).await }
        };
        Docker::connect_with_custom_transport(send, Some(&self.base), NO_TIMEOUT, API_DEFAULT_VERSION)
    }

    async fn send(&self, mut request: BollardRequest) -> Result<Response<Incoming>, Theirs> {
        let sent = match &self.ssh {
            Some(dialer) => {
                dialer.direct(&mut request);
                ssh::send(&self.client, request, bollard::body_full(Bytes::new())).await
            }
            None => self.client.request(request).await,
        };
        sent.map_err(Theirs::from)
    }

    /// Asks for something; the answer, read whole.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Theirs> {
        self.get_as(None, path).await
    }

    /// Asks for the headers of an answer alone.
    pub(super) async fn head(&self, path: &str) -> Result<HeaderMap, Theirs> {
        let request = self.request(Method::HEAD, path, None).body(bollard::body_full(Bytes::new()))?;
        Ok(self.answered(request).await?.headers().clone())
    }

    /// Asks for one thing. An answer of another kind is none.
    pub(super) async fn get_one(&self, path: &str) -> Result<Value, Theirs> {
        self.get(path).await.map(Value::Object)
    }

    /// Asks for a list of things. An answer with something else in it is none: it must not count as a shorter list.
    pub(super) async fn get_list(&self, path: &str) -> Result<Vec<Value>, Theirs> {
        Ok(self.get::<Vec<_>>(path).await?.into_iter().map(Value::Object).collect())
    }

    /// As [`Transport::get`], as whoever these credentials for a registry are of.
    pub(super) async fn get_as<T: DeserializeOwned>(
        &self,
        credentials: Option<&Credentials>,
        path: &str,
    ) -> Result<T, Theirs> {
        let request = self.request(Method::GET, path, credentials).body(bollard::body_full(Bytes::new()))?;
        let answer = self.answered(request).await?;
        serde_json::from_slice(&whole(answer).await?).map_err(Theirs::from)
    }

    /// Has something done; what is answered to it does not matter.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<(), Theirs> {
        let request = self.request(Method::POST, path, None).header(header::CONTENT_TYPE, "application/json");
        let answer = self.answered(request.body(bollard::body_full(body.to_string().into()))?).await?;
        whole(answer).await.map(drop)
    }

    /// Asks for something that is answered in messages, each on a line of its own, as they come.
    pub(super) fn get_stream(&self, path: &str) -> impl Stream<Item = Result<Value, Theirs>> + Send + use<> {
        self.messages(self.request(Method::GET, path, None).body(bollard::body_full(Bytes::new())))
    }

    /// Has something done that is answered in messages; an error in them ends them. What is sent, if anything, is a tar.
    pub(super) fn post_stream(
        &self,
        path: &str,
        credentials: Option<&Credentials>,
        body: Sent,
    ) -> impl Stream<Item = Result<Value, Theirs>> + Send + use<> {
        let request = self.request(Method::POST, path, credentials);
        self.messages(request.header(header::CONTENT_TYPE, "application/x-tar").body(body))
    }

    fn request(&self, method: Method, path: &str, credentials: Option<&Credentials>) -> Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        match credentials {
            Some(credentials) => request.header("X-Registry-Auth", credentials.header()),
            None => request,
        }
    }

    fn messages(
        &self,
        request: Result<BollardRequest, hyper::http::Error>,
    ) -> impl Stream<Item = Result<Value, Theirs>> + Send + use<> {
        let transport = self.clone();
        let answer = async move { Ok::<_, Theirs>(lines(transport.answered(request?).await?.into_body())) };
        stream::once(Box::pin(answer)).try_flatten().map(|line| message(serde_json::from_slice(&line?)?))
    }

    /// Sends a request; an answer that is a refusal is an error.
    async fn answered(&self, request: BollardRequest) -> Result<Response<Incoming>, Theirs> {
        let answer = self.send(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status_code = answer.status().as_u16();
        let body = whole(answer).await?;
        let said = serde_json::from_slice::<Value>(&body).ok();
        let message = said.as_ref().and_then(|said| said["message"].as_str());
        let message = message.map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
        Err(Theirs::DockerResponseServerError { status_code, message })
    }
}

/// A message that tells of an error is one. Older Podmans send no detail.
fn message(message: Value) -> Result<Value, Theirs> {
    let (detail, error) = (&message["errorDetail"], &message["error"]);
    if detail.is_null() && error.is_null() {
        return Ok(message);
    }
    let said = [&detail["message"], error, &error["message"]].into_iter().filter_map(Value::as_str);
    let said = said.map(str::trim).find(|text| !text.is_empty());
    Err(Theirs::DockerStreamError { error: said.unwrap_or("the engine reported an error, and not which").to_owned() })
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, Theirs> {
    let read = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
    match read.map_err(|error| error.downcast::<hyper::Error>()) {
        Ok(body) => Ok(body.to_bytes()),
        Err(Ok(error)) => Err((*error).into()),
        Err(Err(too_long)) => Err(io::Error::other(too_long).into()),
    }
}

/// A body as lines without their ends; empty ones are left out.
fn lines<B>(body: B) -> impl Stream<Item = Result<Bytes, Theirs>> + Send
where
    B: Body<Data = Bytes, Error: Into<Theirs>> + Unpin + Send,
{
    let begin = (Some(body), BytesMut::new(), 0);
    stream::try_unfold(begin, async |(mut body, mut read, mut searched)| {
        loop {
            if let Some(end) = read[searched..].iter().position(|byte| *byte == b'\n') {
                let line = read.split_to(searched + end + 1).freeze();
                searched = 0;
                if !line.trim_ascii().is_empty() {
                    return Ok(Some((line.slice(..line.len() - 1), (body, read, searched))));
                }
                continue;
            }
            searched = read.len();
            let Some(open) = &mut body else { return Ok(None) };
            match open.frame().await {
                Some(frame) => read.extend_from_slice(&frame.map_err(Into::into)?.into_data().unwrap_or_default()),
                // The last line may have no end.
                None => {
                    body = None;
                    read.extend_from_slice(b"\n");
                }
            }
            if read.len() > LARGEST_ANSWER {
                return Err(io::Error::other("a message has no end").into());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    #[test]
    fn an_error_is_told_wherever_it_stands() {
        for (text, wanted) in [
            (r#"{"errorDetail":{"message":"full"},"error":"other"}"#, Some("full")),
            (r#"{"errorDetail":{"message":""},"error":"denied"}"#, Some("denied")),
            (r#"{"error":"denied"}"#, Some("denied")),
            (r#"{"error":{"message":"denied"}}"#, Some("denied")),
            (r#"{"errorDetail":{}}"#, Some("the engine reported an error, and not which")),
            (r#"{"error":5}"#, Some("the engine reported an error, and not which")),
            (r#"{"status":"error","error":null}"#, None),
        ] {
            match (message(serde_json::from_str(text).unwrap()), wanted) {
                (Err(Theirs::DockerStreamError { error }), Some(wanted)) => assert_eq!(error, wanted, "{text}"),
                (Ok(_), None) => {}
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_whole_whatever_the_pieces() {
        let pieces = ["{\"a\":", "1}\n\n \r\n[2]\r\n3\n{\"a\"", ":4}"].map(|piece| Ok(Frame::data(piece.into())));
        let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
        let read = lines(StreamBody::new(stream::iter(pieces.into_iter().chain([broken])))).collect::<Vec<_>>().await;
        let said = read.iter().map(|line| line.as_ref().map_or("broken", |line| str::from_utf8(line).unwrap()));
        assert_eq!(said.collect::<Vec<_>>(), ["{\"a\":1}", "[2]\r", "3", "broken"]);

        let pieces = ["1\n", "2"].map(|piece| Ok::<_, io::Error>(Frame::data(piece.into())));
        let read = lines(StreamBody::new(stream::iter(pieces))).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(read, ["1", "2"]);

        let endless = stream::repeat_with(|| Ok::<_, io::Error>(Frame::data(vec![b'x'; 1 << 20].into())));
        let read = lines(StreamBody::new(endless)).collect::<Vec<_>>().await;
        assert!(matches!(read.as_slice(), [Err(_)]));
    }
}
