//! The container engine: the only room that knows bollard. Others see [`Engine`] and a dozen verbs
//! in the domain's words.
//!
//! - `connect`: finds an engine and says where from; `endpoints`, `context`: where to look; `ssh`: one on another machine;
//!   `identify`: what answered, `known`: what it said before; `unreachable`: why nothing did, and what to do
//! - `container`: a container in our words; `docker`: containers; `storage`: volumes and networks
//! - `exec`: a command inside a running container; `helper`: a short-lived container that works on volumes
//! - `log`: what a container logs, as lines; `stats`: what it uses, as a stream
//! - `events`: what happens to containers, as a stream
//! - `image`: images: look up, tag, remove; `build`, `pull`, `load`: bring one here, with progress
//! - `import`: a base image from a tar of files
//! - `reference`: names of images, pure; `credentials`: who we are to a registry
//! - `transfer`, `build_progress`, `stream_error`: pure: the engine's streams → progress, and what a failure in them is
//! - `podman`: what only Podman's own API tells
//! - `usage`: how large volumes are; `checkup`: what only the doctor asks
//! - `translate`: ours ↔ the engine's words, pure; `seccomp`: the system calls that a container may make
//! - `transport`: requests and answers, for bollard and for what is read here; `connector`: their connections; `answer`: fields
//!   of what is read here
//! - `call`: one call, under a deadline; `error`: bollard's errors → ours

mod answer;
pub mod build;
mod build_progress;
mod call;
pub mod checkup;
pub mod connect;
mod connector;
pub mod container;
mod context;
pub mod credentials;
pub mod docker;
mod endpoints;
mod error;
pub mod events;
pub mod exec;
pub mod helper;
mod identify;
pub mod image;
pub mod import;
mod known;
pub mod load;
pub mod log;
mod podman;
pub mod pull;
pub mod reference;
#[cfg(test)]
mod scripted;
mod seccomp;
mod ssh;
pub mod stats;
pub mod storage;
mod stream_error;
#[cfg(test)]
mod tests;
mod transfer;
mod translate;
mod transport;
mod unreachable;
mod usage;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whether a message says that a disk is full.
pub fn no_space(message: &str) -> bool {
    error::no_space(message)
}

/// Deadline of a short call to the engine (contract, section 5).
pub const DEADLINE: Duration = Duration::from_secs(6);

/// A connected engine that has answered.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: bollard::Docker,
    transport: transport::Transport,
    /// What it said of itself when it answered.
    pub about: About,
    /// What it said of its machine to an earlier command, where that is known to be the same engine.
    pub known_host: Option<Host>,
    /// Where to keep what it says.
    memory: Option<std::path::PathBuf>,
}

impl Engine {
    /// Whether the engine is reached through a socket of this machine, and so may share its files
    /// and its processor.
    pub fn is_local(&self) -> bool {
        self.about.endpoint.starts_with("unix://")
    }

    /// Whether it is on another machine, which ssh leads to.
    pub fn is_behind_ssh(&self) -> bool {
        crate::error::is_ssh(&self.about.endpoint)
    }
}

/// What an engine says of itself, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Where it listens, such as `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// Why this one, such as "DOCKER_HOST" or "the default socket".
    pub origin: String,
    /// What it is: "Docker", "rootless Docker", "Docker Desktop", "Colima", "OrbStack", "Podman".
    pub name: String,
    /// Its version.
    pub version: String,
    /// The newest API version that it speaks.
    pub api_version: String,
    /// Processor architecture in Go's words: `amd64`, `arm64`.
    pub architecture: String,
}

impl About {
    /// Whether it runs on this machine itself, and in no virtual machine: a socket of this machine works inside, too.
    pub(crate) fn runs_here(&self) -> bool {
        let native = ["Docker", "rootless Docker", "Podman"].contains(&self.name.as_str());
        cfg!(target_os = "linux") && native && self.endpoint.starts_with("unix://")
    }

    /// Whether it is Podman behind its Docker-compatible socket.
    pub(crate) fn is_podman(&self) -> bool {
        self.name.contains("Podman")
    }
}

/// What an engine says of the machine that it runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Memory in bytes; 0 where it does not say.
    pub memory: u64,
    /// Processors.
    pub cpus: u64,
    /// Whether it says that it cannot hold a container to a memory limit.
    pub no_memory_limit: bool,
    /// Whether it runs without root.
    pub rootless: bool,
    /// Storage driver, such as `overlay2`.
    pub storage_driver: String,
    /// Its data folder, such as `/var/lib/docker`.
    pub data_folder: String,
    /// Operating system in its words, such as "Docker Desktop" or "Debian GNU/Linux 12".
    pub operating_system: String,
}
