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

mod conn;
mod fault;
mod http;
mod serve;

use std::collections::HashMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

pub use self::conn::Conn;
pub use self::fault::{Action, At, Call, Fault, is, works, writes};
use self::serve::serve;

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

    /// The calls that [`At::work`] counts.
    pub fn working_calls(&self) -> Vec<Call> {
        self.calls().into_iter().filter(works).collect()
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
}
