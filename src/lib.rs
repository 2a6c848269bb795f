//! docklet: puts one self-hosted appliance into one container on your own machine, and keeps it.
//!
//! The house:
//!
//! ```text
//! appliance.toml ─┐
//! settings.toml  ─┼─► desired ─┐
//! flags          ─┘            ├─► plan ─► (shown) ─► apply ─► wait until it answers
//! engine ─► observed ──────────┘                       │
//!                                                      └─► events ─► terminal | JSON lines | log
//! ```
//!
//! - [`appliance`]: `docker/` parsed; [`settings`]: `settings.toml`; [`secrets`]; [`mounts`]; [`paths`]; [`lock`]
//! - [`desired`], [`observed`], [`plan`]: three plain data types; the planner is pure
//! - [`sandbox`]: who runs inside, the secrets volume, the network rules, ownership of volumes
//! - [`apply`]: runs a plan; [`probe`]: does the page answer
//! - [`data`]: backup and restore, and what update and rollback need; their states are in `plan::guarded`
//! - [`supervise`]: restarts it when that is needed: a pure policy, and the loop that feeds it
//! - [`disk`]: room on the engine's disk, size of the volumes, and when to warn
//! - [`engine`]: the only room that knows bollard; [`host`]: the only room that touches the host
//! - [`doctor`]: the check-up: facts → findings, and the support archive
//! - [`follow`]: one container over restarts and losses of the engine, as messages
//! - [`watch`]: what `status --watch` knows: a pure state fed with that
//! - [`event`]: what happens; [`report`]: what came of it; [`present`]: who shows it; [`error`]: what
//!   went wrong; [`catalogue`]: what its codes mean; `clean`: what of foreign text may reach a terminal
//! - [`cli`]: the commands; [`wizard`]: questions → settings
//!
//! Who may call whom: `cli → wizard, present, apply, data, supervise → plan → desired, observed`;
//! `apply, data, supervise, follow → engine, host, probe, event`; `present → event, plan, error, report, watch`;
//! nobody → `cli`. Library
//! code below `cli` does not print, exit, prompt or read the environment.

pub mod appliance;
pub mod apply;
pub mod catalogue;
mod clean;
pub mod cli;
pub mod clock;
pub mod data;
pub mod desired;
pub mod disk;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod event;
pub mod follow;
pub mod host;
mod http;
pub mod instance_name;
pub mod interrupt;
pub mod lock;
pub mod mounts;
pub mod observe;
pub mod observed;
pub mod ops;
pub mod paths;
pub mod plan;
pub mod present;
pub mod probe;
pub mod ready;
pub mod report;
pub mod sandbox;
pub mod secrets;
pub mod settings;
pub mod supervise;
pub mod units;
pub mod watch;
pub mod wish;
pub mod wizard;
