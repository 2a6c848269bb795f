//! A git server on this machine: git's own `git http-backend` over https, for whoever shows the right token. The name in
//! its certificate (`tests/fixtures/tls`) is the one by which containers reach this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How containers call this machine.
pub const HOST: &str = "host.docker.internal";

/// Its certificate, which clients have to trust.
pub const CERTIFICATE: &str = include_str!("../fixtures/tls/cert.pem");

/// The server. It accepts no more connections when dropped.
pub struct GitServer {
    /// Where it listens, on all addresses.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    tls: Arc<ServerConfig>,
    repositories: PathBuf,
    token: String,
    logins: Mutex<Vec<Option<String>>>,
    ended: AtomicBool,
}

impl GitServer {
    /// Serves the repositories in a folder to whoever shows the token as a password.
    pub fn start(repositories: &Path, token: &str) -> Self {
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../fixtures/tls/key.pem")).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            tls: Arc::new(tls),
            repositories: repositories.to_owned(),
            token: token.to_owned(),
            logins: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&serving);
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { port, shared }
    }

    /// The address of a repository, as a container reaches it.
    pub fn url(&self, repository: &str) -> String {
        format!("https://{HOST}:{}/{repository}", self.port)
    }

    /// `user:password` of every request in order; `None` for those without.
    pub fn logins(&self) -> Vec<Option<String>> {
        self.shared.logins.lock().unwrap().clone()
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// One request on one connection. A client that goes away is no matter.
fn serve(shared: &Shared, stream: TcpStream) {
    let connection = ServerConnection::new(Arc::clone(&shared.tls)).unwrap();
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let Some(request) = Request::read(&mut reader) else { return };
    let login = request.header("authorization").and_then(|text| {
        let bytes = STANDARD.decode(text.strip_prefix("Basic ")?).ok()?;
        String::from_utf8(bytes).ok()
    });
    let welcome = login.as_deref().and_then(|login| login.split_once(':')).is_some_and(|pair| pair.1 == shared.token);
    shared.logins.lock().unwrap().push(login);
    let answer = if welcome {
        backend(shared, &request)
    } else {
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n\r\n".to_vec()
    };
    let mut stream = reader.into_inner();
    let _ = stream.write_all(&answer);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(reader: &mut BufReader<StreamOwned<ServerConnection, TcpStream>>) -> Option<Self> {
        let mut lines = vec![];
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut words = lines.first()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pair = |line: &String| line.split_once(": ").map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()));
        let headers = lines.iter().skip(1).filter_map(pair).collect();
        let mut request = Self { method, path: path.to_owned(), query: query.to_owned(), headers, body: vec![] };
        assert!(request.header("transfer-encoding").is_none(), "git sends what is small with its length");
        let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What git's own program answers (CGI).
fn backend(shared: &Shared, request: &Request) -> Vec<u8> {
    let mut backend = Command::new("git");
    backend.arg("http-backend").env("GIT_PROJECT_ROOT", &shared.repositories).env("GIT_HTTP_EXPORT_ALL", "1");
    backend.env("REQUEST_METHOD", &request.method).env("PATH_INFO", &request.path).env("REMOTE_USER", "token");
    backend.env("QUERY_STRING", &request.query).env("CONTENT_LENGTH", request.body.len().to_string());
    for (header, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "HTTP_GIT_PROTOCOL"),
    ] {
        backend.env(variable, request.header(header).unwrap_or_default());
    }
    let mut running = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git http-backend");
    running.stdin.take().unwrap().write_all(&request.body).unwrap();
    let output = running.wait_with_output().unwrap().stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let length = output.len() - end - 4;
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n").into_bytes();
    answer.extend(&output);
    answer
}
