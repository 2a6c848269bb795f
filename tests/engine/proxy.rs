//! A proxy before the engine's socket: it counts calls, and delays, cuts and fails them.
//!
//! ```ignore
//! let proxy = Proxy::start(&engine_host());           // listens on a unix socket of its own
//! world.use_engine(&proxy.host());                    // "unix:///tmp/dkp-…/s"
//! world.docklet().arg("status").assert().success();
//! assert!(proxy.calls().len() <= 3, "{}", proxy.report());
//!
//! proxy.reset();                                      // forget calls and faults
//! proxy.fault(Fault { at: At::Nth(3), action: Action::Cut });
//! proxy.fault(Fault { at: At::writing(2), action: Action::KillAfter });
//! proxy.kill_target(child.id());                      // the leader of its own process group
//! …
//! assert!(proxy.fired());                             // false: there was no such call
//! ```
//!
//! It understands HTTP/1.1 as the engine and its clients speak it: connections that are reused, bodies with a
//! length, in chunks or up to the end of the connection, answers without an end (events, logs), and connections
//! that stop being HTTP (`Upgrade`, attach, exec, BuildKit's session), which are passed on raw. When a client
//! goes away, so does its connection to the engine: what the engine cancels then, it cancels here too.
//! It must know nothing of docklet.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// One call that a client made.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number since the start or the last [`Proxy::reset`], from 1.
    pub seq: usize,
    /// `GET`, `POST`, …
    pub method: String,
    /// As sent, with version prefix and query.
    pub path: String,
    /// It changes something on the engine, see [`writes`].
    pub writes: bool,
    /// It reached the engine.
    pub forwarded: bool,
    /// What the client was answered, once it was; `None` for none.
    pub status: Option<u16>,
}

impl Call {
    /// The path without version prefix and query: `/containers/create`.
    pub fn route(&self) -> &str {
        route(&self.path)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.writes { "w" } else { "r" };
        write!(f, "{:>3} {mark} {} {}", self.seq, self.method, self.path)?;
        match self.status {
            Some(status) => write!(f, " → {status}"),
            None => write!(f, " → –"),
        }
    }
}

/// What to do with a call.
#[derive(Clone, Debug)]
pub enum Action {
    /// SIGKILL to the process group of [`Proxy::kill_target`]; the engine never sees the call.
    KillBefore,
    /// The same after the engine answered; the client never sees the answer.
    KillAfter,
    /// Close the connection; the engine never sees the call.
    CutBefore,
    /// Forward it, and close the connection in the middle of the answer.
    Cut,
    /// Forward it at once, hold the answer back for so long.
    Delay(Duration),
    /// Answer this status and JSON body; the engine never sees the call.
    Status(u16, String),
    /// Never answer; the engine never sees the call.
    Hang,
}

impl Action {
    /// An engine's own error answer: `{"message":…}`.
    pub fn error(status: u16, message: &str) -> Self {
        Self::Status(status, serde_json::json!({ "message": message }).to_string())
    }
}

/// Tells whether a call is meant.
pub type Predicate = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// Which call.
#[derive(Clone)]
pub enum At {
    /// The n-th call of all, from 1. Once.
    Nth(usize),
    /// The n-th call of those meant, from 1, counted from when the fault was set. Once.
    NthOf(usize, Predicate),
    /// Every call that is meant.
    Every(Predicate),
}

impl At {
    /// The n-th call that changes something on the engine.
    pub fn writing(n: usize) -> Self {
        Self::NthOf(n, Arc::new(|call| call.writes))
    }

    /// The first call of this method and route, `*` standing for any one part: `("POST", "/containers/*/start")`.
    pub fn first(method: &str, pattern: &str) -> Self {
        Self::NthOf(1, is(method, pattern))
    }

    /// Every call of this method and route.
    pub fn every(method: &str, pattern: &str) -> Self {
        Self::Every(is(method, pattern))
    }

    /// Every call.
    pub fn all() -> Self {
        Self::Every(Arc::new(|_| true))
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nth(n) => write!(f, "Nth({n})"),
            Self::NthOf(n, _) => write!(f, "NthOf({n}, …)"),
            Self::Every(_) => write!(f, "Every(…)"),
        }
    }
}

/// An action and the call it happens to.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which call.
    pub at: At,
    /// What happens to it.
    pub action: Action,
}

/// A predicate for method and route, `*` standing for any one part of the path, a method `*` for any.
pub fn is(method: &str, pattern: &str) -> Predicate {
    let method = method.to_owned();
    let pattern = pattern.to_owned();
    Arc::new(move |call| {
        let parts: Vec<&str> = call.route().split('/').collect();
        let wanted: Vec<&str> = pattern.split('/').collect();
        (method == "*" || method == call.method)
            && parts.len() == wanted.len()
            && wanted.iter().zip(&parts).all(|(w, p)| *w == "*" || w == p)
    })
}

/// Whether a call changes something on the engine. A POST that only watches, checks or carries another call's
/// data does not: wait, attach, resize, auth, BuildKit's session.
pub fn writes(method: &str, path: &str) -> bool {
    let route = route(path);
    match method {
        "PUT" | "DELETE" | "PATCH" => true,
        "POST" => {
            let last = route.rsplit('/').next().unwrap_or_default();
            let watching = route.starts_with("/containers/") && matches!(last, "wait" | "attach" | "resize");
            let resizing = route.starts_with("/exec/") && last == "resize";
            !(watching || resizing || matches!(route, "/auth" | "/session" | "/grpc"))
        }
        _ => false,
    }
}

fn route(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or_default();
    match path.strip_prefix("/v") {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            rest.find('/').map_or("", |slash| &rest[slash..])
        }
        _ => path,
    }
}

/// The proxy. It ends, with all its connections, when dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    socket: String,
    _folder: TempDir,
}

impl Proxy {
    /// Starts one before the engine at `host` (`unix://…` or `tcp://…`).
    pub fn start(host: &str) -> Self {
        let folder = super::support::new_folder("dkp-");
        let socket = folder.path().join("s").to_str().expect("a plain path").to_owned();
        let listener = UnixListener::bind(&socket).expect("the proxy's socket");
        let shared = Arc::new(Shared {
            engine: host.to_owned(),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
            next_connection: AtomicUsize::new(0),
            open: Mutex::new(HashMap::new()),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.stopping.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(client) = client else { break };
                let shared = Arc::clone(&accepting);
                thread::spawn(move || serve(&shared, Conn::Unix(client)));
            }
        });
        Self { shared, socket, _folder: folder }
    }

    /// Its address, for `DOCKER_HOST` or `--host`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket)
    }

    /// All calls so far, in the order in which they arrived.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    /// The calls that change something on the engine.
    pub fn writing_calls(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.writes).collect()
    }

    /// The calls, one a line, for a message.
    pub fn report(&self) -> String {
        let calls = self.calls();
        let lines: Vec<String> = calls.iter().map(Call::to_string).collect();
        format!("{} calls to the engine:\n{}", calls.len(), lines.join("\n"))
    }

    /// Adds a fault. Of several for one call, the first that was added happens.
    pub fn fault(&self, fault: Fault) {
        self.shared.lock().faults.push(Armed { fault, matched: 0, spent: false });
    }

    /// Whether any fault happened since the last reset.
    pub fn fired(&self) -> bool {
        !self.shared.lock().fired.is_empty()
    }

    /// The calls to which a fault happened.
    pub fn fired_at(&self) -> Vec<Call> {
        let state = self.shared.lock();
        state.fired.iter().filter_map(|seq| state.calls.iter().find(|call| call.seq == *seq).cloned()).collect()
    }

    /// The process that the kill actions kill, with its process group if it leads one (spawn it with
    /// `process_group(0)`). A kill that is due waits five seconds for this to be set.
    pub fn kill_target(&self, pid: u32) {
        self.shared.lock().target = Some(pid);
        self.shared.changed.notify_all();
    }

    /// The engine is gone: its socket is away, and every connection is closed. [`Proxy::back`] undoes it.
    pub fn gone(&self) {
        let _ = std::fs::rename(&self.socket, format!("{}-away", self.socket));
        self.shared.close_all();
    }

    /// The engine is there again.
    pub fn back(&self) {
        let _ = std::fs::rename(format!("{}-away", self.socket), &self.socket);
    }

    /// Forgets calls, faults and the process to kill. Connections stay.
    pub fn reset(&self) {
        let mut state = self.shared.lock();
        let generation = state.generation + 1;
        *state = State { generation, ..State::default() };
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.back();
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.socket);
        self.shared.close_all();
        self.shared.changed.notify_all();
    }
}

// --- what all connections share ------------------------------------------------------------------------------

struct Armed {
    fault: Fault,
    matched: usize,
    spent: bool,
}

#[derive(Default)]
struct State {
    generation: usize,
    calls: Vec<Call>,
    faults: Vec<Armed>,
    fired: Vec<usize>,
    target: Option<u32>,
}

struct Shared {
    engine: String,
    state: Mutex<State>,
    changed: Condvar,
    stopping: AtomicBool,
    next_connection: AtomicUsize,
    open: Mutex<HashMap<usize, Vec<Conn>>>,
}

/// A call as its connection knows it: its number, and since which reset that counts.
#[derive(Clone, Copy)]
struct Ticket {
    seq: usize,
    generation: usize,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Writes a call down and says what is to happen to it.
    fn record(&self, method: &str, path: &str) -> (Ticket, Option<Action>) {
        let mut state = self.lock();
        let seq = state.calls.len() + 1;
        let call = Call {
            seq,
            method: method.to_owned(),
            path: path.to_owned(),
            writes: writes(method, path),
            forwarded: false,
            status: None,
        };
        let mut due = None;
        for armed in &mut state.faults {
            let hit = match &armed.fault.at {
                At::Nth(n) => *n == seq,
                At::NthOf(n, meant) => {
                    armed.matched += usize::from(meant(&call));
                    armed.matched == *n && meant(&call)
                }
                At::Every(meant) => meant(&call),
            };
            if hit && !armed.spent && due.is_none() {
                armed.spent = !matches!(armed.fault.at, At::Every(_));
                due = Some(armed.fault.action.clone());
            }
        }
        if due.is_some() {
            state.fired.push(seq);
        }
        state.calls.push(call);
        (Ticket { seq, generation: state.generation }, due)
    }

    fn update(&self, ticket: Ticket, change: impl FnOnce(&mut Call)) {
        let mut state = self.lock();
        if state.generation == ticket.generation
            && let Some(call) = state.calls.get_mut(ticket.seq - 1)
        {
            change(call);
        }
    }

    /// Kills the process that was named, with its group; waits for the name if there is none yet.
    fn kill(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut state = self.lock();
        while state.target.is_none() && Instant::now() < deadline && !self.stopping.load(Ordering::SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            state = self.changed.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        let target = state.target.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        drop(state);
        match target {
            Some(pid) => {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            None => eprintln!("proxy: a kill was due and nobody said whom to kill"),
        }
    }

    fn close_all(&self) {
        for (_, ends) in self.open.lock().expect("open connections").drain() {
            for end in ends {
                end.close();
            }
        }
    }

    fn connect(&self) -> io::Result<Conn> {
        if let Some(path) = self.engine.strip_prefix("unix://") {
            Ok(Conn::Unix(UnixStream::connect(path)?))
        } else if let Some(address) = self.engine.strip_prefix("tcp://").or(self.engine.strip_prefix("http://")) {
            Ok(Conn::Tcp(TcpStream::connect(address.trim_end_matches('/'))?))
        } else {
            Err(io::Error::other(format!("the proxy cannot stand before {}", self.engine)))
        }
    }
}

// --- one connection ------------------------------------------------------------------------------------------

enum Conn {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Conn {
    fn another(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(s) => Self::Unix(s.try_clone()?),
            Self::Tcp(s) => Self::Tcp(s.try_clone()?),
        })
    }

    fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Self::Unix(s) => s.shutdown(how),
            Self::Tcp(s) => s.shutdown(how),
        };
    }

    fn close(&self) {
        self.shutdown(Shutdown::Both);
    }
}

impl Read for Conn {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(s) => s.read(buf),
            Self::Tcp(s) => s.read(buf),
        }
    }
}

impl Write for Conn {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(s) => s.write(buf),
            Self::Tcp(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asked of the answering side for each call that goes to the engine.
struct Expect {
    ticket: Ticket,
    method: String,
    action: Option<Action>,
    /// The request may turn the connection raw; say whether it did.
    may_hijack: Option<mpsc::Sender<bool>>,
}

/// Serves one client with one connection of its own to the engine: one thread takes requests, one brings answers.
fn serve(shared: &Arc<Shared>, client: Conn) {
    let engine = match shared.connect() {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("proxy: {}: {error}", shared.engine);
            return client.close();
        }
    };
    let (Ok(client_end), Ok(engine_end)) = (client.another(), engine.another()) else {
        return;
    };
    let (Ok(client_out), Ok(engine_out)) = (client.another(), engine.another()) else {
        return;
    };
    let number = shared.next_connection.fetch_add(1, Ordering::SeqCst);
    shared.open.lock().expect("open connections").insert(number, vec![client_end, engine_end]);
    if shared.stopping.load(Ordering::SeqCst) {
        client.close();
        engine.close();
    }

    let (expect, expected) = mpsc::channel();
    let answering = Arc::clone(shared);
    let answers = thread::spawn(move || {
        let mut engine = BufReader::new(engine);
        let mut client = client_out;
        let _ = bring_answers(&answering, &expected, &mut engine, &mut client);
        client.close();
        engine.get_ref().close();
    });
    let mut requests = BufReader::new(client);
    let mut engine = engine_out;
    match take_requests(shared, &expect, &mut requests, &mut engine) {
        Ok(End::Answering) => {}
        Ok(End::Closed) | Err(_) => {
            requests.get_ref().close();
            engine.close();
        }
    }
    drop(expect);
    let _ = answers.join();
    shared.open.lock().expect("open connections").remove(&number);
}

enum End {
    /// The client or a fault ended it.
    Closed,
    /// Nothing more goes to the engine; what it still says is passed on.
    Answering,
}

fn take_requests(
    shared: &Arc<Shared>,
    expect: &mpsc::Sender<Expect>,
    client: &mut BufReader<Conn>,
    engine: &mut Conn,
) -> io::Result<End> {
    while let Some(head) = Head::read(client)? {
        let mut words = head.first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let (ticket, action) = shared.record(&method, &path);
        let body = head.request_body();
        match &action {
            Some(Action::KillBefore) => {
                shared.kill();
                return Ok(End::Closed);
            }
            Some(Action::CutBefore) => return Ok(End::Closed),
            Some(Action::Hang) => {
                io::copy(client, &mut io::sink())?;
                return Ok(End::Closed);
            }
            Some(Action::Status(status, text)) => {
                body.copy(client, &mut io::sink())?;
                let reply = format!(
                    "HTTP/1.1 {status} Fault\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    text.len()
                );
                let text = if method == "HEAD" { "" } else { text };
                let mut out = client.get_ref().another()?;
                out.write_all(format!("{reply}{text}").as_bytes())?;
                shared.update(ticket, |call| call.status = Some(*status));
                continue;
            }
            Some(Action::KillAfter | Action::Cut | Action::Delay(_)) | None => {}
        }
        let attach = method == "POST" && (path.contains("/attach") || path.contains("/exec/"));
        let (verdict, hijacked) = mpsc::channel();
        let may_hijack = (attach || head.value("upgrade").is_some()).then_some(verdict);
        let wait = may_hijack.is_some();
        shared.update(ticket, |call| call.forwarded = true);
        if expect.send(Expect { ticket, method, action, may_hijack }).is_err() {
            return Ok(End::Closed);
        }
        let sent = engine.write_all(&head.bytes).and_then(|()| body.copy(client, engine));
        match sent {
            // The engine stopped listening before the end of the body: its answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(End::Answering),
            other => other?,
        }
        if wait && hijacked.recv().unwrap_or(false) {
            pump(client, engine)?;
            engine.shutdown(Shutdown::Write);
            return Ok(End::Answering);
        }
    }
    Ok(End::Closed)
}

fn bring_answers(
    shared: &Arc<Shared>,
    expected: &mpsc::Receiver<Expect>,
    engine: &mut BufReader<Conn>,
    client: &mut Conn,
) -> io::Result<()> {
    while let Ok(expect) = expected.recv() {
        let Some(mut head) = Head::read(engine)? else {
            return Ok(());
        };
        while head.status() / 100 == 1 && head.status() != 101 {
            client.write_all(&head.bytes)?;
            head = match Head::read(engine)? {
                Some(next) => next,
                None => return Ok(()),
            };
        }
        let status = head.status();
        let body = head.answer_body(&expect.method, status);
        match expect.action {
            Some(Action::KillAfter) => {
                shared.kill();
                return Ok(());
            }
            Some(Action::Cut) => {
                // With a body: the head and half of the first piece. Without: half of the head.
                let mut piece = Vec::new();
                if !matches!(body, Body::None | Body::Length(0)) {
                    piece = engine.fill_buf()?.to_vec();
                }
                if piece.is_empty() {
                    client.write_all(&head.bytes[..head.bytes.len() / 2])?;
                } else {
                    client.write_all(&head.bytes)?;
                    client.write_all(&piece[..piece.len() / 2])?;
                }
                return Ok(());
            }
            Some(Action::Delay(time)) => {
                let deadline = Instant::now() + time;
                let mut state = shared.lock();
                while Instant::now() < deadline && !shared.stopping.load(Ordering::SeqCst) {
                    let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
                    state =
                        shared.changed.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
                }
            }
            _ => {}
        }
        shared.update(expect.ticket, |call| call.status = Some(status));
        client.write_all(&head.bytes)?;
        let kind = head.value("content-type").unwrap_or_default();
        let raw = status == 101
            || (matches!(body, Body::ToEnd) && expect.may_hijack.is_some())
            || (matches!(body, Body::ToEnd) && kind.contains("-stream"));
        if let Some(verdict) = expect.may_hijack {
            let _ = verdict.send(raw);
        }
        if raw {
            pump(engine, client)?;
            client.shutdown(Shutdown::Write);
            return Ok(());
        }
        body.copy(engine, client)?;
        if matches!(body, Body::ToEnd) {
            return Ok(());
        }
    }
    Ok(())
}

/// Passes on what comes, as it comes, until the end.
fn pump(from: &mut BufReader<Conn>, to: &mut Conn) -> io::Result<()> {
    loop {
        let data = from.fill_buf()?;
        if data.is_empty() {
            return Ok(());
        }
        to.write_all(data)?;
        let length = data.len();
        from.consume(length);
    }
}

// --- HTTP ----------------------------------------------------------------------------------------------------

/// First line and headers of a message.
struct Head {
    first: String,
    headers: Vec<(String, String)>,
    bytes: Vec<u8>,
}

impl Head {
    /// `None` at the end of the connection.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut lines = Vec::new();
        loop {
            let start = bytes.len();
            if from.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            let line = String::from_utf8_lossy(&bytes[start..]).trim_end().to_owned();
            if line.is_empty() && lines.is_empty() {
                bytes.clear();
                continue;
            }
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let headers = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Some(Self { first: lines.swap_remove(0), headers, bytes }))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(502)
    }

    fn framed(&self) -> Option<Body> {
        let chunked =
            self.value("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
        let length = self.value("content-length").and_then(|length| length.parse().ok());
        if chunked { Some(Body::Chunked) } else { length.map(Body::Length) }
    }

    fn request_body(&self) -> Body {
        self.framed().unwrap_or(Body::None)
    }

    fn answer_body(&self, method: &str, status: u16) -> Body {
        if method == "HEAD" || status == 204 || status == 304 || status == 101 {
            return Body::None;
        }
        self.framed().unwrap_or(Body::ToEnd)
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug)]
enum Body {
    None,
    Length(u64),
    Chunked,
    ToEnd,
}

impl Body {
    /// Passes the body on as it comes, framing included.
    fn copy(self, from: &mut BufReader<Conn>, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Length(length) => pass(from, to, length),
            Self::Chunked => loop {
                let line = pass_line(from, to)?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
                if size == 0 {
                    while !pass_line(from, to)?.trim().is_empty() {}
                    return Ok(());
                }
                pass(from, to, size + 2)?;
            },
            Self::ToEnd => pass(from, to, u64::MAX).or_else(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Ok(()),
                _ => Err(error),
            }),
        }
    }
}

fn pass(from: &mut BufReader<Conn>, to: &mut impl Write, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let data = from.fill_buf()?;
        if data.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = data.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        to.write_all(&data[..now])?;
        from.consume(now);
        length -= now as u64;
    }
    Ok(())
}

fn pass_line(from: &mut BufReader<Conn>, to: &mut impl Write) -> io::Result<String> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    to.write_all(&line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}
