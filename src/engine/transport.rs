//! The one way to an engine: its connections, over a socket, TCP, TLS or ssh. bollard's calls go through it, and so do
//! those whose answers are read here: bollard has a type for everything that an engine can say, and refuses what is new.

use std::{
    fmt,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error as Theirs};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Request, Response, Uri,
    body::{Body, Incoming},
    header,
};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use super::{endpoints::Endpoint, ssh};
use crate::{error::io_reason, http};

/// bollard's own time-out, in seconds, which also ends uploads. Ours are beside each call.
const NO_TIMEOUT: u64 = 7 * 24 * 3600;

/// Most of an answer, and of one message of a stream, that is read: an engine with ten thousand volumes answers 5 MB.
const LARGEST_ANSWER: usize = 32 << 20;

/// The body of a request.
type Sent = <BollardRequest as HasBody>::Body;

/// bollard has no public name for it.
trait HasBody {
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
    /// To this place. Connects to nothing yet. `folder`: of the instance, whose tunnel is used while it is open.
    ///
    /// # Errors
    /// When the files for TLS are none.
    pub(super) fn to(endpoint: &Endpoint, folder: Option<&Path>) -> Result<Self, String> {
        let host = match endpoint {
            Endpoint::Tcp(host) | Endpoint::Tls(host, _) => host,
            Endpoint::Unix(_) | Endpoint::Ssh(_) => "docker",
        };
        Ok(Transport::of(Connector::to(endpoint, folder)?, host))
    }

    fn of(connector: Connector, host: &str) -> Self {
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
        let request = Request::get(format!("{}{path}", self.base)).body(bollard::body_full(Bytes::new()))?;
        let answer = self.answered(request).await?;
        serde_json::from_slice(&whole(answer).await?).map_err(Theirs::from)
    }

    /// Has something done; what is answered to it does not matter.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<(), Theirs> {
        let request = Request::post(format!("{}{path}", self.base)).header(header::CONTENT_TYPE, "application/json");
        let answer = self.answered(request.body(bollard::body_full(body.to_string().into()))?).await?;
        whole(answer).await.map(drop)
    }

    /// Asks for something that is answered in messages, each on a line of its own, as they come.
    pub(super) fn get_stream(&self, path: &str) -> impl Stream<Item = Result<Value, Theirs>> + Send + use<> {
        let request = Request::get(format!("{}{path}", self.base)).body(bollard::body_full(Bytes::new()));
        self.messages(request.map_err(Theirs::from))
    }

    /// Sends a tar, and hands on what is answered, as [`Transport::get_stream`].
    pub(super) fn post_tar(&self, path: &str, tar: Bytes) -> impl Stream<Item = Result<Value, Theirs>> + Send + use<> {
        let request = Request::post(format!("{}{path}", self.base)).header(header::CONTENT_TYPE, "application/x-tar");
        self.messages(request.body(bollard::body_full(tar)).map_err(Theirs::from))
    }

    fn messages(
        &self,
        request: Result<BollardRequest, Theirs>,
    ) -> impl Stream<Item = Result<Value, Theirs>> + Send + use<> {
        let transport = self.clone();
        let answer = async move { Ok::<_, Theirs>(lines(transport.answered(request?).await?.into_body())) };
        stream::once(Box::pin(answer)).try_flatten().map(|line| serde_json::from_slice(&line?).map_err(Theirs::from))
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
    let begin = (Some(body), BytesMut::new());
    stream::try_unfold(begin, async |(mut body, mut read)| {
        loop {
            if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                let line = read.split_to(end + 1).freeze().slice(..end);
                if !line.trim_ascii().is_empty() {
                    return Ok(Some((line, (body, read))));
                }
                continue;
            }
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

/// Makes the connections to one engine, whatever address is asked for.
#[derive(Clone)]
pub(super) enum Connector {
    /// A socket of this machine.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// The same, and with whom to speak there.
    Tls(String, ServerName<'static>, TlsConnector),
    /// By the user's own ssh.
    Ssh(ssh::Dialer),
}

impl Connector {
    fn to(endpoint: &Endpoint, folder: Option<&Path>) -> Result<Self, String> {
        Ok(match endpoint {
            Endpoint::Unix(path) => Connector::Unix(path.clone()),
            Endpoint::Tcp(host) => Connector::Tcp(host.clone()),
            Endpoint::Tls(host, files) => {
                let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
                let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(name).map_err(|e| format!("{host}: {e}"))?;
                Connector::Tls(host.clone(), name, TlsConnector::from(Arc::new(tls(files)?)))
            }
            Endpoint::Ssh(url) => Connector::Ssh(ssh::Dialer::to(url, folder)),
        })
    }

    async fn connect(self) -> io::Result<TokioIo<Box<dyn http::Connection>>> {
        Ok(TokioIo::new(match self {
            Connector::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Connector::Tcp(host) => Box::new(TcpStream::connect(host).await?),
            Connector::Tls(host, name, tls) => Box::new(tls.connect(name, TcpStream::connect(host).await?).await?),
            Connector::Ssh(dialer) => Box::new(dialer.dial()?),
        }))
    }
}

/// As the docker command: whoever is known to that authority, and nobody else.
fn tls(files: &Path) -> Result<ClientConfig, String> {
    let path = |name: &str| files.join(name).display().to_string();
    let read = |name: &str| {
        std::fs::read(files.join(name)).map_err(|e| format!("cannot read {}: {}", path(name), io_reason(&e)))
    };
    let certificates = |name: &str| {
        let found = CertificateDer::pem_slice_iter(&read(name)?).collect::<Result<Vec<_>, _>>().unwrap_or_default();
        if found.is_empty() { Err(format!("{} holds no certificate", path(name))) } else { Ok(found) }
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem")?);
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")?);
    let key = key.map_err(|_| format!("{} holds no private key", path("key.pem")))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let builder = builder.with_root_certificates(roots);
    let unfit = |e| format!("{} and {} do not fit together: {e}", path("cert.pem"), path("key.pem"));
    builder.with_client_auth_cert(certificates("cert.pem")?, key).map_err(unfit)
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn http::Connection>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

impl Connection for Box<dyn http::Connection> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{ServerConfig, server::WebPkiClientVerifier},
    };

    use super::{super::error::io_error, *};

    /// Its certificate is its own authority, and made for `registry.test`.
    const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");

    /// A folder as `DOCKER_CERT_PATH` names one.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (from, to) in [("cert.pem", "ca.pem"), ("cert.pem", "cert.pem"), ("key.pem", "key.pem")] {
            std::fs::copy(Path::new(FILES).join(from), folder.path().join(to)).unwrap();
        }
        folder
    }

    /// An engine that answers everybody with their request's first line, and wants to know who asks.
    async fn engine() -> String {
        let files = Path::new(FILES);
        let certificate = CertificateDer::from_pem_file(files.join("cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(files.join("key.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_client_cert_verifier(clients).with_single_cert(vec![certificate], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n\"{line}\"", line.len() + 2);
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn an_engine_behind_tls_is_asked_by_those_who_know_each_other() {
        let (address, folder) = (engine().await, folder());
        let ask = async |name: &'static str| {
            let tls = TlsConnector::from(Arc::new(tls(folder.path()).unwrap()));
            let connector = Connector::Tls(address.clone(), name.try_into().unwrap(), tls);
            Transport::of(connector, "engine").get::<Value>("/version").await
        };
        assert_eq!(ask("registry.test").await.unwrap(), "GET /version HTTP/1.1");
        let error = ask("other.test").await.unwrap_err();
        assert_eq!(io_error(&error).map(io::Error::kind), Some(io::ErrorKind::InvalidData), "{error:?}");

        // Who trusts another authority.
        std::fs::copy(Path::new(FILES).join("other.pem"), folder.path().join("ca.pem")).unwrap();
        let error = ask("registry.test").await.unwrap_err();
        assert_eq!(io_error(&error).map(io::Error::kind), Some(io::ErrorKind::InvalidData), "{error:?}");
    }

    #[test]
    fn files_that_are_none_are_named() {
        for (name, odd, what) in [
            ("ca.pem", "-----BEGIN CERTIFICATE-----", "ca.pem holds no certificate"),
            ("cert.pem", "", "cert.pem holds no certificate"),
            ("key.pem", "odd", "key.pem holds no private key"),
        ] {
            let folder = folder();
            std::fs::write(folder.path().join(name), odd).unwrap();
            let reason = tls(folder.path()).unwrap_err();
            assert!(reason.ends_with(what), "{reason}");
            std::fs::remove_file(folder.path().join(name)).unwrap();
            let reason = tls(folder.path()).unwrap_err();
            assert!(reason.starts_with("cannot read ") && reason.contains(name), "{reason}");
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
