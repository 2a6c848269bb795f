//! Restarts the container (contract, section 6): one supervisor for an instance brings the
//! container back when it dies, when the page hangs and when the engine returns, and knows when to
//! stop trying.
//!
//! - `policy`: when, as a pure state machine; `run`: the loop that feeds it and does what it says
//! - `jobs`: operations that it runs by itself; `log`: one line for each decision
//! - `notify`: the command of the user's that is told; `ssh_agent`: the host's ssh agent, passed on
//!
//! What somebody does to the container past docklet, and what comes of it:
//!
//! | done | taken as |
//! |---|---|
//! | `docker kill`, `kill -9`, a crash, a memory limit hit | a fault: it is restarted |
//! | `docker stop` | the user's request: it stays stopped until `docklet start` (or `docker start`) |
//! | `docker rm` | the user's request too; the volumes are still there, `docklet start` makes a new container |
//! | `docker restart`, `docker start` | the user's request that it runs |
//! | `docker pause` | left alone until somebody lets it go on, unless a killed backup paused it |
//! | `docker update --restart=…` | set back to `no`, so that only docklet restarts the container |
//! | the engine stops, crashes or is updated | not the user's request: it is restarted when the engine is back |
//!
//! The supervisor holds the instance's lock while it restarts and only then, so that it and the
//! commands exclude each other. When it is ended itself, it leaves the container as it is.

pub mod jobs;
pub mod log;
pub mod notify;
pub mod policy;
pub mod run;
pub mod ssh_agent;
