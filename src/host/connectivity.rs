//! Is another machine reached from here, through the proxy and with the certificates that the user
//! named? Opens one connection and sends nothing but its greetings; `fetch` goes on from there.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::Engine as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::{error::io_reason, host::checkup::resolve, http::Connection};

/// What to reach, and how.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Name or address, with a port where it is not 443.
    pub host: String,
    /// Proxy for it, as in `HTTPS_PROXY`; `None` for none.
    pub proxy: Option<String>,
    /// More certificate authorities (PEM) than the system has.
    pub ca_file: Option<PathBuf>,
}

/// Where on the way it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its name is not known.
    Name,
    /// It takes no connection.
    Connection,
    /// The proxy does not let it through.
    Proxy,
    /// Its certificate is not trusted, or the line is not what it should be.
    Certificate,
}

/// Why it was not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// Where on the way.
    pub stage: Stage,
    /// In a few words; no password in them.
    pub reason: String,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Way {
    /// The way to `host` by the usual variables, under their upper-case names.
    pub fn new(host: &str, variable: impl Fn(&str) -> Option<String>, ca_file: Option<&Path>) -> Self {
        let (name, _) = split(host, HTTPS);
        let direct = variable("NO_PROXY").is_some_and(|list| is_excepted(&name, &list));
        let proxy = variable("HTTPS_PROXY").or_else(|| variable("ALL_PROXY")).filter(|_| !direct);
        Way { host: host.to_owned(), proxy, ca_file: ca_file.map(Path::to_owned) }
    }

    /// Goes it.
    ///
    /// # Errors
    /// Where it ended, and why.
    pub async fn go(&self, limit: Duration) -> Result<(), Unreached> {
        self.connect(limit).await.map(drop)
    }

    /// Goes it, and leaves the connection open.
    ///
    /// # Errors
    /// Where it ended, and why.
    pub async fn connect(&self, limit: Duration) -> Result<Box<dyn Connection>, Unreached> {
        let late = || Unreached {
            stage: if self.proxy.is_some() { Stage::Proxy } else { Stage::Connection },
            reason: format!("{} does not answer within {} s", self.host, limit.as_secs()),
        };
        tokio::time::timeout(limit, self.walk(limit)).await.unwrap_or_else(|_| Err(late()))
    }

    /// Whether it stays on this machine, where a registry or a server of releases speaks without certificates.
    pub fn is_here(&self) -> bool {
        let (name, _) = split(&self.host, HTTPS);
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    async fn walk(&self, limit: Duration) -> Result<Box<dyn Connection>, Unreached> {
        let (name, port) = split(&self.host, HTTPS);
        let stream = match &self.proxy {
            Some(proxy) => through(proxy, &name, port, limit).await?,
            None => connect(&name, port, limit).await?,
        };
        if self.is_here() { Ok(Box::new(stream)) } else { self.greet(stream, &name).await }
    }

    /// Exchanges certificates.
    async fn greet(&self, stream: TcpStream, name: &str) -> Result<Box<dyn Connection>, Unreached> {
        let failed = |reason: String| Unreached { stage: Stage::Certificate, reason };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &self.ca_file {
            let own = CertificateDer::pem_file_iter(file).map_err(|e| failed(format!("{}: {e}", file.display())))?;
            roots.add_parsable_certificates(own.flatten());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerName::try_from(name.to_owned()).map_err(|e| failed(e.to_string()))?;
        match TlsConnector::from(Arc::new(config)).connect(server, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(e) => Err(failed(format!("no trusted connection to {name}: {}", io_reason(&e)))),
        }
    }
}

const HTTPS: u16 = 443;

async fn connect(name: &str, port: u16, limit: Duration) -> Result<TcpStream, Unreached> {
    let addresses = resolve(name, port, limit).await.map_err(|reason| Unreached { stage: Stage::Name, reason })?;
    let reason = |e: std::io::Error| format!("{name} takes no connection: {}", io_reason(&e));
    TcpStream::connect(&*addresses).await.map_err(|e| Unreached { stage: Stage::Connection, reason: reason(e) })
}

/// Asks a proxy for a line to `name`.
async fn through(proxy: &str, name: &str, port: u16, limit: Duration) -> Result<TcpStream, Unreached> {
    let failed = |reason: String| Unreached { stage: Stage::Proxy, reason };
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
    if scheme != "http" {
        return Err(failed(format!("docklet cannot try a proxy that is spoken to with {scheme}://")));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (login, place) = authority.rsplit_once('@').map_or((None, authority), |(l, p)| (Some(l), p));
    let (host, proxy_port) = split(place, 80);
    let mut stream =
        connect(&host, proxy_port, limit).await.map_err(|e| failed(format!("the proxy cannot be reached: {e}")))?;
    let target = if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(login) = login {
        let login = base64::engine::general_purpose::STANDARD.encode(decoded(login));
        request.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
    }
    request.push_str("\r\n");
    let broke = |e: std::io::Error| failed(format!("the proxy {host} broke off: {}", io_reason(&e)));
    stream.write_all(request.as_bytes()).await.map_err(broke)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
        head.push(stream.read_u8().await.map_err(broke)?);
    }
    let head = String::from_utf8_lossy(&head);
    match head.split(' ').nth(1) {
        Some("200") => Ok(stream),
        Some("407") => Err(failed(format!("the proxy {host} wants user and password (HTTP 407)"))),
        Some(status) => Err(failed(format!("the proxy {host} does not let {name} through (HTTP {status})"))),
        None => Err(failed(format!("what answers at {host} is no proxy"))),
    }
}

/// Name and port; brackets around an IPv6 address are taken off.
fn split(host: &str, default: u16) -> (String, u16) {
    if let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address.to_owned(), port.trim_start_matches(':').parse().unwrap_or(default));
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name.to_owned(), port.parse().unwrap_or(default)),
        _ => (host.to_owned(), default),
    }
}

/// Whether `NO_PROXY` names this host: itself, or a domain that it is in.
fn is_excepted(name: &str, list: &str) -> bool {
    list.split(',').map(|entry| entry.trim().trim_start_matches('*').trim_start_matches('.')).any(|entry| {
        let inside = || name.strip_suffix(entry).is_some_and(|rest| rest.ends_with('.'));
        !entry.is_empty() && (name.eq_ignore_ascii_case(entry) || inside())
    }) || list.trim() == "*"
}

/// A login as it was before it was put into an address.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match escaped.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn variables<'a>(all: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| all.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
    }

    /// Answers the first connection; what it was sent.
    async fn answering(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (port, asked)
    }

    #[test]
    fn the_proxy_is_the_one_of_the_variables() {
        let all = [("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", "localhost, .corp.test,*.x.test")];
        let proxy = |host: &str| Way::new(host, variables(&all), None).proxy.is_some();
        assert!(proxy("registry.test") && proxy("registry.test:5000") && proxy("notcorp.test"));
        for direct in ["localhost:5000", "corp.test", "a.corp.test", "b.x.test:443"] {
            assert!(!proxy(direct), "{direct}");
        }
        assert!(Way::new("a.test", variables(&[("ALL_PROXY", "http://p")]), None).proxy.is_some());
        assert_eq!(Way::new("a.test", variables(&[("HTTP_PROXY", "http://p")]), None).proxy, None);
        assert_eq!(split("[::1]:5000", 443), ("::1".to_owned(), 5000));
        assert_eq!(split("a.test", 443), ("a.test".to_owned(), 443));
    }

    #[tokio::test]
    async fn each_end_of_the_way_is_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let way = |host: String, proxy: Option<String>| Way { host, proxy, ca_file: None };
        let stage = async |way: Way| way.go(LIMIT).await.unwrap_err().stage;
        assert_eq!(stage(way(closed.to_string(), None)).await, Stage::Connection);
        assert_eq!(stage(way("docklet.invalid".into(), None)).await, Stage::Name);
        assert_eq!(stage(way("a.test".into(), Some(format!("http://{closed}")))).await, Stage::Proxy);
        let (port, _asked) = answering("").await;
        assert_eq!(way(format!("127.0.0.1:{port}"), None).go(LIMIT).await, Ok(()), "a registry without certificates");

        let (port, asked) = answering("HTTP/1.1 407 No\r\n\r\n").await;
        let refused =
            way("a.test".into(), Some(format!("http://me:p%40ss@127.0.0.1:{port}/"))).go(LIMIT).await.unwrap_err();
        assert_eq!((refused.stage, refused.reason.contains("407")), (Stage::Proxy, true), "{refused}");
        assert!(!refused.reason.contains("p@ss"), "{refused}");
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("CONNECT a.test:443 HTTP/1.1\r\n"), "{asked}");
        let login = base64::engine::general_purpose::STANDARD.encode("me:p@ss");
        assert!(asked.contains(&format!("Proxy-Authorization: Basic {login}\r\n")), "{asked}");

        let (port, _asked) = answering("HTTP/1.1 200 OK\r\n\r\nand no certificate\r\n\r\n").await;
        assert_eq!(stage(way("a.test".into(), Some(format!("127.0.0.1:{port}")))).await, Stage::Certificate);
    }

    /// A registry with a certificate that only those trust who are told to (`tests/fixtures/tls`), behind a proxy.
    async fn registry() -> String {
        use tokio_rustls::{
            TlsAcceptor,
            rustls::{ServerConfig, pki_types::PrivateKeyDer},
        };
        let certificate = CertificateDer::from_pem_slice(include_bytes!("../../tests/fixtures/tls/cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../tests/fixtures/tls/key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].ends_with(b"\r\n\r\n"));
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let _ = acceptor.accept(stream).await;
            }
        });
        proxy
    }

    #[tokio::test]
    async fn a_certificate_is_trusted_by_those_who_were_told_to() {
        let proxy = Some(registry().await);
        let certificate = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls/cert.pem");
        let way = |host: &str, ca_file| Way { host: host.to_owned(), proxy: proxy.clone(), ca_file };
        assert_eq!(way("registry.test", Some(certificate.clone())).go(LIMIT).await, Ok(()));
        for (host, ca_file) in [("registry.test", None), ("other.test", Some(certificate))] {
            let refused = way(host, ca_file).go(LIMIT).await.unwrap_err();
            assert_eq!(refused.stage, Stage::Certificate, "{refused}");
            assert!(refused.reason.contains("certificate"), "{refused}");
        }
        let missing = way("registry.test", Some("/nowhere.pem".into())).go(LIMIT).await.unwrap_err();
        assert_eq!(missing.stage, Stage::Certificate, "{missing}");
    }
}
