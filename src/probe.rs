//! Does the page answer? The only proof that counts: HTTP 200 from the health path with the
//! password, and from the page itself. A TCP connection proves nothing, for the engine's proxy
//! accepts it while nobody listens behind it. Behind ssh, it is asked through the tunnel.

use std::{net::SocketAddr, time::Duration};

use base64::Engine as _;
use futures_util::future::{join_all, try_join_all};
use tokio::net::TcpStream;

use crate::{
    appliance::Appliance,
    desired::Publish,
    engine::{
        Engine,
        connect::{self, Selection},
    },
    host::{ports, system, tunnel::Tunnel},
    http,
    paths::InstancePaths,
    secrets::Secret,
    settings::Bind,
};

/// Time that one request may take. The engine's health check allows the same.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// How long, and how often, is waited for an answer that decides what becomes of data.
const PATIENT: Duration = Duration::from_secs(10);
const ATTEMPTS: usize = 3;

/// Most of an answer that is read; opencode's page is 3 KB and its health answer 40 bytes.
const LARGEST_ANSWER: usize = 4 << 20;

/// Most of a list that is read: ten thousand sessions are about 5 MB.
const LARGEST_LIST: usize = 32 << 20;

/// What a probe needs to know.
#[derive(Debug, Clone)]
pub struct Probe {
    way: ProbeRoute,
    health: String,
    page: String,
    authorization: String,
}

/// How the page is reached.
#[derive(Debug, Clone)]
enum ProbeRoute {
    /// At an address of this machine, which the engine publishes it on; and the user that the engine runs as.
    Published(SocketAddr, Option<u32>),
    /// Where a tunnel begins.
    Tunnel(Box<Tunnel>, Opens),
    /// From inside this container, at a port of 127.0.0.1.
    Inside(Box<Engine>, String, u16),
}

/// Whether a tunnel that is not open is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opens {
    Always,
    UnlessItWasClosed,
    Never,
}

/// A connection to the page.
type Connected = Box<dyn http::Connection>;

/// What a probe saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The page answers.
    Works,
    /// Somebody answers, but not as it should.
    Wrong {
        /// HTTP status.
        status: u16,
        /// The path that was asked for.
        path: String,
    },
    /// 401 with our own password: a restart does not heal that.
    Unauthorized,
    /// Nobody answers, or too slowly.
    Silent {
        /// In a few words.
        reason: String,
    },
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Seen::Works => write!(f, "the page answers"),
            Seen::Wrong { status, path } => write!(f, "{path} answers with HTTP {status}"),
            Seen::Unauthorized => write!(f, "the page rejects docklet's password (HTTP 401)"),
            Seen::Silent { reason } => write!(f, "no answer yet: {reason}"),
        }
    }
}

impl Probe {
    /// A probe of a published page.
    pub fn new(appliance: &Appliance, publish: &Publish, password: &Secret) -> Self {
        let address = SocketAddr::new(Bind(publish.address).reachable(), publish.port);
        Self::by(ProbeRoute::Published(address, None), appliance, password)
    }

    /// A probe of a page that is not published: it is asked from inside the container.
    pub fn inside(appliance: &Appliance, engine: &Engine, container: &str, password: &Secret) -> Self {
        Self::by(
            ProbeRoute::Inside(Box::new(engine.clone()), container.to_owned(), appliance.container.port),
            appliance,
            password,
        )
    }

    /// A probe of what an instance's container publishes on the engine that `selection` means.
    pub fn of(
        appliance: &Appliance,
        files: &InstancePaths,
        selection: &Selection,
        publish: &Publish,
        password: &Secret,
    ) -> Self {
        match tunnel(files, selection, publish) {
            Some(tunnel) => Self::by(ProbeRoute::Tunnel(Box::new(tunnel), Opens::Always), appliance, password),
            None => Self::new(appliance, publish, password).with_engine_user(connect::owner(selection)),
        }
    }

    /// The same for who only looks: a tunnel that is not open stays so.
    pub fn read_only(mut self) -> Self {
        if let ProbeRoute::Tunnel(_, opens) = &mut self.way {
            *opens = Opens::Never;
        }
        self
    }

    /// The same for who keeps a tunnel open: one that was closed stays so.
    pub fn keeping_open(mut self) -> Self {
        if let ProbeRoute::Tunnel(_, opens) = &mut self.way {
            *opens = Opens::UnlessItWasClosed;
        }
        self
    }

    fn by(way: ProbeRoute, appliance: &Appliance, password: &Secret) -> Self {
        let login = format!("{}:{}", appliance.login.user, password.reveal());
        Probe {
            way,
            health: appliance.health.path.clone(),
            page: appliance.health.page.clone(),
            authorization: format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login)),
        }
    }

    /// The same for an engine that runs as a user of its own.
    fn with_engine_user(mut self, engine_user: Option<u32>) -> Self {
        if let ProbeRoute::Published(_, user) = &mut self.way {
            *user = engine_user;
        }
        self
    }

    /// How long the first look at a page that is about to answer may take. What reaches opencode while it begins to listen
    /// is never answered, and the next request is, in some 10 ms.
    pub fn first_patience(&self) -> Duration {
        match self.way {
            ProbeRoute::Published(..) => Duration::from_millis(50),
            // A process is started for it.
            ProbeRoute::Inside(..) => Duration::from_millis(500),
            ProbeRoute::Tunnel(..) => TIMEOUT,
        }
    }

    /// Looks once.
    pub async fn check(&self) -> Seen {
        self.check_within(TIMEOUT).await
    }

    /// Looks once, and waits so long for a connection and for each answer.
    pub async fn check_within(&self, limit: Duration) -> Seen {
        self.check_paths(&[&self.health, &self.page], limit).await
    }

    /// Looks at the health path alone.
    pub async fn health(&self) -> Seen {
        self.check_paths(&[&self.health], TIMEOUT).await
    }

    /// Asks for all paths at the same time; the first that is not as it should be counts.
    async fn check_paths(&self, paths: &[&str], limit: Duration) -> Seen {
        let late = || match limit.as_secs() {
            0 => Seen::Silent { reason: format!("nothing within {} ms", limit.as_millis()) },
            seconds => Seen::Silent { reason: format!("nothing within {seconds} s") },
        };
        if let Err(reason) = self.open_tunnel().await {
            return Seen::Silent { reason };
        }
        let streams = match tokio::time::timeout(limit, self.connect(paths.len())).await {
            Ok(Ok(streams)) => streams,
            Ok(Err(reason)) => return Seen::Silent { reason },
            Err(_) => return late(),
        };
        let ask = async |(stream, path): (Connected, &&str)| {
            let answer = self.get(stream, path, LARGEST_ANSWER);
            match tokio::time::timeout(limit, answer).await {
                Ok(Ok(answer)) => match answer.status {
                    200 => Seen::Works,
                    401 => Seen::Unauthorized,
                    status => Seen::Wrong { status, path: (*path).to_owned() },
                },
                Ok(Err(reason)) => Seen::Silent { reason },
                Err(_) => late(),
            }
        };
        let seen = join_all(streams.into_iter().zip(paths).map(ask)).await;
        seen.into_iter().find(|seen| *seen != Seen::Works).unwrap_or(Seen::Works)
    }

    /// The JSON that a path answers with; `None` when it does not answer with HTTP 200 and such JSON. That there is no
    /// such thing is an answer; whoever does not answer, on a busy machine, is asked again.
    pub async fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Option<T> {
        for _ in 0..ATTEMPTS {
            let _ = self.open_tunnel().await;
            match tokio::time::timeout(PATIENT, self.ask(path, LARGEST_LIST)).await {
                Ok(Ok(answer)) if answer.status == 200 => return serde_json::from_slice(&answer.body).ok(),
                Ok(Ok(answer)) if answer.status < 500 => return None,
                _ => {}
            }
        }
        None
    }

    async fn ask(&self, path: &str, limit: usize) -> Result<http::HttpResponse, String> {
        match self.connect(1).await?.pop() {
            Some(stream) => self.get(stream, path, limit).await,
            None => Err("no connection".to_owned()),
        }
    }

    async fn get(&self, stream: Connected, path: &str, limit: usize) -> Result<http::HttpResponse, String> {
        let headers = [("authorization", self.authorization.as_str()), ("user-agent", "docklet")];
        let host = match &self.way {
            ProbeRoute::Published(address, _) => address.to_string(),
            ProbeRoute::Tunnel(tunnel, _) => tunnel.here().to_string(),
            ProbeRoute::Inside(_, _, port) => format!("127.0.0.1:{port}"),
        };
        http::get(stream, &host, path, &headers, limit).await
    }

    /// Opens the tunnel where nobody listens at its beginning.
    async fn open_tunnel(&self) -> Result<(), String> {
        let ProbeRoute::Tunnel(tunnel, opens) = &self.way else { return Ok(()) };
        if TcpStream::connect(tunnel.here()).await.is_ok() {
            return Ok(());
        }
        let opened = match opens {
            Opens::Always => tunnel.open().await,
            Opens::UnlessItWasClosed => tunnel.keep_open().await,
            Opens::Never => Err("it is not open".to_owned()),
        };
        opened.map_err(|reason| format!("no tunnel to {}: {reason}", tunnel.url()))
    }

    /// So many connections to the page, none of which a stranger has the other end of.
    async fn connect(&self, count: usize) -> Result<Vec<Connected>, String> {
        let (address, engine_user) = match &self.way {
            ProbeRoute::Published(address, engine_user) => (*address, *engine_user),
            ProbeRoute::Tunnel(tunnel, _) => (tunnel.here(), None),
            ProbeRoute::Inside(engine, container, port) => {
                let one = |_| engine.connect_inside(container, *port);
                let streams = try_join_all((0..count).map(one)).await.map_err(|e| e.with_causes("; "))?;
                return Ok(streams.into_iter().map(|stream| Box::new(stream) as Connected).collect());
            }
        };
        let one = |_| TcpStream::connect(address);
        let streams = try_join_all((0..count).map(one)).await.map_err(|e| crate::error::io_reason(&e))?;
        refuse_strangers(address, engine_user, &streams)?;
        Ok(streams.into_iter().map(|stream| Box::new(stream) as Connected).collect())
    }
}

/// The tunnel to what an instance's container publishes, where its engine is behind ssh: from the same port of this machine.
pub fn tunnel(files: &InstancePaths, selection: &Selection, publish: &Publish) -> Option<Tunnel> {
    let endpoint = connect::chosen_behind_ssh(selection)?;
    let address = SocketAddr::new(Bind(publish.address).reachable(), publish.port);
    Some(Tunnel::new(&endpoint, &files.state, address, address))
}

/// The password goes to nobody who cannot read it anyway: root, who is the engine as a rule, ourselves, and the
/// user that the engine runs as. Should the container end, any user of the machine may listen on its port.
fn refuse_strangers(address: SocketAddr, engine_user: Option<u32>, streams: &[TcpStream]) -> Result<(), String> {
    let ours = streams.iter().map(TcpStream::local_addr).collect::<Result<Vec<_>, _>>();
    let ours = ours.map_err(|e| crate::error::io_reason(&e))?;
    let us = rustix::process::geteuid().as_raw();
    let trusted = |uid| uid == 0 || uid == us || Some(uid) == engine_user;
    let Some(uid) = ports::stranger(address, &ours, trusted) else { return Ok(()) };
    let user = system::name_of_user(uid).unwrap_or_else(|| uid.to_string());
    Err(format!("{address} belongs to a process of the user {user}, so the password was not sent"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request after the other; an empty answer only closes the connection.
    fn asked(answers: &'static [&'static str]) -> (Option<Vec<u8>>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let publish = Publish { address: [127, 0, 0, 1].into(), port, container_port: 3000 };
        let served = std::thread::spawn(move || {
            let mut served = 0;
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { break };
                let asked = stream.read(&mut [0; 4096]).unwrap();
                if asked == 0 {
                    break;
                }
                served += 1;
                stream.write_all(answer.as_bytes()).unwrap();
            }
            served
        });
        let probe = Probe::new(&Appliance::embedded().unwrap(), &publish, &Secret::new("x".to_owned()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let json = runtime.block_on(probe.json::<Vec<u8>>("/list"));
        // Whoever still waits for a request gets one that is none.
        let _ = std::net::TcpStream::connect((publish.address, publish.port));
        (json, served.join().unwrap())
    }

    #[test]
    fn who_does_not_answer_is_asked_again_and_a_refusal_is_an_answer() {
        const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[1]";
        const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
        const GONE: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(asked(&["", BUSY, GOOD]), (Some(vec![1]), 3));
        assert_eq!(asked(&[GONE, GOOD]), (None, 1));
        assert_eq!(asked(&[BUSY, BUSY, BUSY, GOOD]), (None, 3));
    }
}
