//! The connections to an engine: over a socket, TCP, TLS or ssh. Says and hears nothing on them.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use super::{endpoints::Endpoint, ssh};
use crate::{error::io_reason, http};

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
    /// To this place. Connects to nothing yet. `folder`: of the instance, whose tunnel is used while it is open.
    ///
    /// # Errors
    /// What is wrong with the files for TLS.
    pub(super) fn to(endpoint: &Endpoint, folder: Option<&Path>) -> Result<Self, String> {
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

/// What a TLS connection failed with, and what to do about it; `None` where it is another error.
pub(super) fn tls_failure(error: &io::Error) -> Option<(String, &'static str)> {
    const FILES: &str =
        "put ca.pem, cert.pem and key.pem for that engine into one folder and name it in DOCKER_CERT_PATH";
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let engines = "let whoever runs that engine renew its certificate";
    Some(match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                ("the engine's certificate has expired".to_owned(), engines)
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                let hint = "use a name in DOCKER_HOST that the certificate is for";
                ("the engine's certificate is for another name".to_owned(), hint)
            }
            CertificateError::UnknownIssuer => {
                ("the authority in ca.pem has not signed the engine's certificate".to_owned(), FILES)
            }
            other => (format!("the engine's certificate is not valid: {other}"), engines),
        },
        rustls::Error::AlertReceived(alert) => {
            (format!("the engine refuses the certificate in cert.pem ({alert:?})"), FILES)
        }
        rustls::Error::InvalidMessage(_) => {
            let hint = "unset DOCKER_TLS_VERIFY, or name the port where the engine wants TLS, which is 2376 most often";
            ("the program that answers there does not speak TLS".to_owned(), hint)
        }
        other => (other.to_string(), FILES),
    })
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
    use serde_json::Value;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{ServerConfig, server::WebPkiClientVerifier},
    };

    use super::{
        super::{error::io_error, transport::Transport},
        *,
    };

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
        let said = |error| tls_failure(io_error(&error).unwrap()).unwrap().0;
        assert_eq!(said(ask("other.test").await.unwrap_err()), "the engine's certificate is for another name");

        // Who trusts another authority.
        std::fs::copy(Path::new(FILES).join("other.pem"), folder.path().join("ca.pem")).unwrap();
        let unsigned = "the authority in ca.pem has not signed the engine's certificate";
        assert_eq!(said(ask("registry.test").await.unwrap_err()), unsigned);
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
}
