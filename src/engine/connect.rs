//! Finds an engine that answers, with one call to it where it is known or asked for the first time, and says where from.
//! What the answer means is `identify`'s, what a failure means `unreachable`'s.
//!
//! bollard joins its absolute paths to the base address, so its calls carry no API version and
//! the engine answers each with its newest: there is nothing to negotiate.

use std::{
    collections::HashSet,
    io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bollard::errors::Error as Theirs;
use futures_util::future::join_all;
use serde_json::Value;

pub use crate::engine::endpoints::{Selection, chosen, chosen_behind_ssh, owner, sockets};
use crate::{
    engine::{
        DEADLINE, Engine, Host,
        answer::text,
        call,
        connector::tls_failure,
        endpoints::{self, Candidate, Candidates, Endpoint},
        error::{clean, io_error, not_http, status_of, translate},
        identify::{self, Unusable, identify},
        known::KnownEngine,
        transport::Transport,
        unreachable::{self, Unreachable, explain, most_useful},
    },
    error::{Result, io_reason},
    host::system::System,
};

/// What the one call asks, for messages.
const CALL: &str = "say its version";

/// Finds the engine to work with: the chosen one, else the first that answers.
///
/// # Errors
/// Why there is none, and what to do on this system. A chosen engine has no second choice.
pub async fn connect(selection: &Selection) -> Result<Engine> {
    let system = System::current();
    let memory = selection.memory.as_deref();
    match endpoints::choose(selection)? {
        Candidates::Chosen(place) => ask(&place, memory).await.map_err(|failure| explain(&place, failure, system)),
        Candidates::FirstOf(places) => first_of(distinct(places), memory, system).await,
    }
}

/// All engines that answer, for a choice between them; each once, in the order of preference.
///
/// # Errors
/// When what the user chose cannot be understood. That nobody answers is no error.
pub async fn answering(selection: &Selection) -> Result<Vec<Engine>> {
    let places = match endpoints::choose(selection)? {
        Candidates::Chosen(place) => vec![place],
        Candidates::FirstOf(places) => distinct(places),
    };
    Ok(join_all(places.iter().map(|place| ask(place, None))).await.into_iter().flatten().collect())
}

impl Engine {
    /// What the engine says of its machine.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn host(&self) -> Result<Host> {
        let info = self.info().await?;
        let host = Host {
            memory: info["MemTotal"].as_u64().unwrap_or_default(),
            cpus: info["NCPU"].as_u64().unwrap_or_default(),
            no_memory_limit: info["MemoryLimit"].as_bool() == Some(false),
            rootless: self.is_rootless(&info),
            storage_driver: text(&info["Driver"]),
            data_folder: text(&info["DockerRootDir"]),
            operating_system: text(&info["OperatingSystem"]),
        };
        if let Some(memory) = self.memory.as_deref().filter(|_| self.known_host.as_ref() != Some(&host)) {
            KnownEngine::keep(memory, &self.about, Some(&host));
        }
        Ok(host)
    }

    /// All that it says.
    pub(super) async fn info(&self) -> Result<Value> {
        call::ask("describe its machine", DEADLINE, self.transport.get_one("/info")).await
    }
}

async fn first_of(places: Vec<Candidate>, memory: Option<&Path>, system: System) -> Result<Engine> {
    let mut tried = vec![];
    for place in places {
        match ask(&place, memory).await {
            Ok(engine) => return Ok(engine),
            Err(failure) if failure.may_go_on() => tried.push((place, failure)),
            Err(failure) => return Err(explain(&place, failure, system)),
        }
    }
    Err(most_useful(tried, unreachable::is_installed, system))
}

/// Leaves out places that are another one's by a symbolic link.
fn distinct(places: Vec<Candidate>) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    places
        .into_iter()
        .filter(|place| match &place.endpoint {
            Endpoint::Unix(path) => seen.insert(real_path(path)),
            _ => true,
        })
        .collect()
}

fn real_path(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Asks a place for its version, or whether it is still the one that is known.
async fn ask(place: &Candidate, memory: Option<&Path>) -> Result<Engine, Unreachable> {
    ask_within(DEADLINE, place, memory).await
}

async fn ask_within(deadline: Duration, place: &Candidate, memory: Option<&Path>) -> Result<Engine, Unreachable> {
    let transport = open(&place.endpoint, memory.and_then(Path::parent))?;
    let docker = transport.docker().map_err(|e| no_engine(e.to_string()))?;
    let memory = memory.map(Path::to_owned);
    if let Some(known) = memory.as_ref().and_then(|file| KnownEngine::load(file, place)) {
        match known.still_holds(&transport, deadline).await {
            Some(true) => return Ok(Engine { docker, transport, about: known.about, known_host: known.host, memory }),
            // What is wrong is found out below.
            Some(false) => {}
            None => return Err(Unreachable::Hangs),
        }
    }
    let version = match tokio::time::timeout(deadline, docker.version()).await {
        Ok(answer) => answer.map_err(|e| failure(place, e))?,
        Err(_) => return Err(Unreachable::Hangs),
    };
    let socket = match &place.endpoint {
        Endpoint::Unix(path) => Some(real_path(path)),
        _ => None,
    };
    let about = identify(version, place, socket.as_deref()).map_err(Unreachable::Unusable)?;
    if let Some(memory) = &memory {
        KnownEngine::keep(memory, &about, None);
    }
    Ok(Engine { docker, transport, about, known_host: None, memory })
}

/// The way to a place; `folder`: of the instance. Connects to nothing, but looks whether its socket and files are there.
fn open(endpoint: &Endpoint, folder: Option<&Path>) -> Result<Transport, Unreachable> {
    if let Endpoint::Unix(path) = endpoint {
        let found = path.metadata().map_err(|e| match e.kind() {
            io::ErrorKind::PermissionDenied => Unreachable::Hidden,
            _ => Unreachable::Missing,
        })?;
        if !found.file_type().is_socket() {
            return Err(no_engine("it isn't a socket".to_owned()));
        }
    }
    Transport::to(endpoint, folder).map_err(|reason| no_tls(&reason))
}

fn no_tls(reason: &str) -> Unreachable {
    let hint = "put ca.pem, cert.pem and key.pem for that engine into one folder and name it in DOCKER_CERT_PATH";
    Unreachable::Unusable(Unusable { reason: format!("no TLS connection: {reason}"), hint: hint.to_owned() })
}

fn no_engine(reason: String) -> Unreachable {
    Unreachable::Unusable(Unusable { reason, hint: identify::other_engine() })
}

/// What the failure of the first call says about a place.
fn failure(place: &Candidate, error: Theirs) -> Unreachable {
    let local = matches!(place.endpoint, Endpoint::Unix(_));
    let connecting = matches!(&error, Theirs::HyperLegacyError { err } if err.is_connect());
    match status_of(&error) {
        // An engine knows this path.
        Some(400) if error.to_string().contains("HTTPS server") => {
            let hint =
                "set DOCKER_TLS_VERIFY=1, and name the folder with ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH";
            let reason = "it wants TLS".to_owned();
            return Unreachable::Unusable(Unusable { reason, hint: hint.to_owned() });
        }
        Some(400 | 404) => return no_engine(format!("it answers like no engine: {}", clean(&error.to_string()))),
        Some(_) => return Unreachable::Broken(translate(CALL, error)),
        None => {}
    }
    if not_http(&error) && matches!(place.endpoint, Endpoint::Ssh(_)) {
        return Unreachable::Refused(
            "the account there has no shell, or its start-up files print something".to_owned(),
        );
    }
    if not_http(&error) || matches!(error, Theirs::JsonDataError { .. }) {
        return no_engine("the program that answers there isn't a container engine".to_owned());
    }
    if let Some((reason, hint)) = io_error(&error).and_then(tls_failure) {
        let reason = format!("no TLS connection: {reason}");
        return Unreachable::Unusable(Unusable { reason, hint: hint.to_owned() });
    }
    match io_error(&error).map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) if local => Unreachable::Denied,
        Some(io::ErrorKind::NotFound) if local => Unreachable::Missing,
        Some(io::ErrorKind::ConnectionRefused) if local => {
            Unreachable::Refused("nothing listens on its socket, which is left over".to_owned())
        }
        _ if connecting && !local => Unreachable::Refused(innermost(&error)),
        // ssh is there, and says why it gets no further.
        Some(io::ErrorKind::Other) if matches!(place.endpoint, Endpoint::Ssh(_)) => {
            Unreachable::Refused(innermost(&error))
        }
        _ => Unreachable::Broken(translate(CALL, error)),
    }
}

/// The words of the error at the very bottom.
fn innermost(error: &Theirs) -> String {
    if let Some(io) = io_error(error) {
        return io_reason(io);
    }
    let mut error: &dyn std::error::Error = error;
    while let Some(below) = error.source() {
        error = below;
    }
    clean(&error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixListener,
    };

    use super::*;
    use crate::{
        engine::endpoints::EngineKind,
        error::{Code, Error},
        host::system::Init,
    };

    const SYSTEM: System = System { macos: false, init: Init::Systemd, root: false };
    const VERSION: &str = r#"{"Version":"28.5.2","ApiVersion":"1.51","Os":"linux","Arch":"amd64"}"#;

    fn place(socket: &Path) -> Candidate {
        Candidate { endpoint: Endpoint::Unix(socket.into()), origin: "test".to_owned(), kind: EngineKind::Docker }
    }

    /// A socket that answers each request with `answer`, or never when it is empty. Counts.
    fn listener(socket: &Path, answer: String) -> Arc<AtomicUsize> {
        let listener = UnixListener::bind(socket).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        tokio::spawn(async move {
            let mut held = vec![];
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"GET /version HTTP/1.1"), "no version in the path");
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.is_empty() {
                    held.push(stream);
                }
            }
        });
        count
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    async fn error_of(answer: String) -> Error {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let _served = listener(&socket, answer);
        let place = place(&socket);
        explain(&place, ask_within(Duration::from_millis(500), &place, None).await.unwrap_err(), SYSTEM)
    }

    #[tokio::test]
    async fn an_engine_is_asked_once_and_described() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let calls = listener(&socket, http("200 OK", VERSION));
        let engine = ask(&place(&socket), None).await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(engine.about.endpoint, format!("unix://{}", socket.display()));
        assert_eq!((engine.about.name.as_str(), engine.about.api_version.as_str()), ("Docker", "1.51"));
    }

    #[tokio::test]
    async fn each_failure_is_its_own_error() {
        for (answer, code) in [
            (String::new(), Code::NetworkError),
            (http("500 Internal Server Error", r#"{"message":"out of order"}"#), Code::NetworkError),
            (http("200 OK", VERSION).replace("Content-Length: ", "Content-Length: 9"), Code::NetworkError),
            (http("404 Not Found", "<html>"), Code::EngineUnsupported),
            (http("400 Bad Request", "Client sent an HTTP request to an HTTPS server."), Code::EngineUnsupported),
            (http("200 OK", "<html>hello</html>"), Code::EngineUnsupported),
            (http("200 OK", "{}"), Code::EngineUnsupported),
            ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), Code::EngineUnsupported),
        ] {
            let error = error_of(answer.clone()).await;
            assert_eq!(error.code(), code, "{answer}: {error:?}");
            assert!(error.hint().is_some());
        }
        match error_of(String::new()).await {
            Error::EngineTimeout { call, .. } => assert!(call.starts_with("say its version, at unix://"), "{call}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_there_decides_what_a_dead_place_is() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let place = place(&socket);
        assert!(matches!(ask(&place, None).await, Err(Unreachable::Missing)));
        std::fs::write(&socket, "").unwrap();
        assert!(matches!(ask(&place, None).await, Err(Unreachable::Unusable(_))), "a file is no socket");
        std::fs::remove_file(&socket).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(matches!(ask(&place, None).await, Err(Unreachable::Refused(_))), "a left-over socket");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let remote = Candidate { endpoint: Endpoint::Tcp(format!("127.0.0.1:{port}")), ..place };
        match ask(&remote, None).await {
            Err(Unreachable::Refused(reason)) => assert_eq!(reason, "connection refused"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_first_that_answers_wins_and_a_sick_one_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let [none, sick, well, link] = ["none", "sick", "well", "link"].map(|name| folder.path().join(name));
        let _well = listener(&well, http("200 OK", VERSION));
        let _sick = listener(&sick, http("503 Service Unavailable", ""));
        std::os::unix::fs::symlink(&well, &link).unwrap();

        let found = first_of(vec![place(&none), place(&well), place(&sick)], None, SYSTEM).await.unwrap();
        assert_eq!(found.about.endpoint, format!("unix://{}", well.display()));
        match first_of(vec![place(&none), place(&sick), place(&well)], None, SYSTEM).await {
            Err(Error::EngineRefused { status: 503, .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(distinct(vec![place(&well), place(&link), place(&none)]), [place(&well), place(&none)]);
    }

    #[tokio::test]
    async fn a_chosen_engine_has_no_second_choice() {
        let folder = tempfile::tempdir().unwrap();
        let host = format!("unix://{}", folder.path().join("none.sock").display());
        let selection = Selection { docker_host: Some(host.clone()), ..Selection::default() };
        match connect(&selection).await {
            Err(Error::EngineNotRunning { endpoint, reason, .. }) => {
                assert_eq!((endpoint, reason.as_str()), (host, "the socket does not exist"));
            }
            other => panic!("{other:?}"),
        }
        assert!(answering(&selection).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn missing_certificates_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let selection = Selection {
            host: Some("tcp://127.0.0.1:2376".to_owned()),
            tls_verify: true,
            cert_path: Some(folder.path().to_owned()),
            ..Selection::default()
        };
        match connect(&selection).await {
            Err(Error::EngineUnsupported { reason, .. }) => assert!(reason.contains("ca.pem"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    #[ignore = "needs an engine: tests/run brings one"]
    async fn a_real_engine_describes_itself() {
        let selection = Selection { docker_host: std::env::var("DOCKER_HOST").ok(), ..Selection::default() };
        let engine = connect(&selection).await.unwrap();
        let host = engine.host().await.unwrap();
        assert!(host.memory > 0 && host.cpus > 0, "{host:?}");
        assert!(!engine.about.version.is_empty() && !engine.about.architecture.is_empty(), "{:?}", engine.about);
    }
}
