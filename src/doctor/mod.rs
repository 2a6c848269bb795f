//! The check-up: everything that is known to go wrong, looked at once, and for each what mends it.
//!
//! - `facts`: what was seen, plain data; `gather`: sees it, everything independent at once and under
//!   deadlines; a fact that cannot be had is a fact, too: nothing here fails as a whole
//! - `evaluate`: facts → findings, pure; one function for each check
//! - `redact`: takes secrets out of text, pure; `bundle`: the support archive
//!
//! Nothing here mends anything, and nothing prints.

pub mod bundle;
pub mod egress;
pub mod evaluate;
pub mod facts;
pub mod gather;
pub mod redact;

use serde::Serialize;

pub use self::evaluate::evaluate;
use crate::report::Schema;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It could not be looked at, or is of no matter here; the message says why.
    Skipped,
    /// As it should be.
    Ok,
    /// It works, and something should be seen to.
    Warning,
    /// It does not work as it should, or is not safe.
    Problem,
}

/// Every check there is, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Is `settings.toml` there and valid?
    Settings,
    /// Are the mounted folders what they were, and can the agent use them?
    Mounts,
    /// Do our files belong to the user, and may nobody else read the secrets?
    Files,
    /// Is there room for our files?
    HostSpace,
    /// Is there an engine, which one, and why that one?
    Engine,
    /// May the user talk to it?
    Permission,
    /// Does it speak an API that docklet understands?
    Api,
    /// How long does it take to answer?
    AnswerTime,
    /// Is it a snap, which sees only some folders?
    Snap,
    /// Which storage driver does it use?
    Storage,
    /// Is there room for images and volumes?
    EngineSpace,
    /// Is there memory for the limit?
    Memory,
    /// Do processor, engine and image fit?
    Architecture,
    /// Do its clock and ours agree?
    Clock,
    /// Does 127.0.0.1 mean «only this machine» to it?
    Neighbours,
    /// Is the container as the user wants it: running or stopped?
    Container,
    /// Does the page answer with our password?
    Page,
    /// Can the port be had, or is it ours?
    Port,
    /// Does `localhost` lead to the page?
    Localhost,
    /// Is the container as the settings say?
    Drift,
    /// Is the engine's restart policy `no`?
    RestartPolicy,
    /// Is the image the one of this docklet?
    Image,
    /// Are the three volumes there and ours?
    Volumes,
    /// Does the appliance write where nothing is kept?
    OutsideWrites,
    /// Can the engine reach the registry of the base image?
    Registry,
    /// Can this machine reach it?
    HostNetwork,
    /// Can the appliance reach it?
    ContainerNetwork,
    /// Do the network rules hold?
    Egress,
    /// Are the company's own certificates where they belong?
    Trust,
    /// Does somebody restart it when it dies?
    Supervisor,
    /// Does it come back after a reboot?
    Reboot,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub id: Check,
    /// How bad.
    pub level: Level,
    /// One line.
    pub message: String,
    /// The command that mends it; `None` where there is nothing to mend.
    pub fix: Option<String>,
}

/// `docklet doctor`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoctorReport {
    /// Version of this form.
    pub schema: Schema,
    /// Whose.
    pub instance: String,
    /// What was found, in the order of [`Check`].
    pub checks: Vec<Finding>,
    /// How many problems there are.
    pub problems: usize,
    /// How many warnings.
    pub warnings: usize,
    /// The support archive that was written.
    pub bundle: Option<String>,
}

impl DoctorReport {
    /// Counts.
    pub fn new(instance: &str, checks: Vec<Finding>) -> Self {
        let count = |level| checks.iter().filter(|finding| finding.level == level).count();
        DoctorReport {
            schema: Schema,
            instance: instance.to_owned(),
            problems: count(Level::Problem),
            warnings: count(Level::Warning),
            checks,
            bundle: None,
        }
    }
}
