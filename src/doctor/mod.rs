//! `docklet doctor`: checks for everything that is known to go wrong, each with the command that fixes it.
//!
//! - `facts`: what was found out, plain data; `gather` (this machine) and `inquiry` (the engine) find it out, under
//!   deadlines and at the same time. A fact that is not available is recorded as such: nothing here fails as a whole
//! - `evaluate`: facts → findings, pure; one function for each check
//! - `redact`: removes secrets from text, pure; `bundle`: the support archive
//!
//! Nothing here changes or prints anything.

pub mod bundle;
mod drift;
mod egress;
pub mod evaluate;
pub mod facts;
pub mod gather;
pub mod gather_input;
mod inquiry;
pub mod redact;

use serde::Serialize;

pub use self::evaluate::evaluate;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not checked; the message says why.
    Skipped,
    Ok,
    /// It works, but needs attention.
    Warning,
    /// It does not work, or is not safe.
    Problem,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check.
    pub id: &'static str,
    pub level: Level,
    /// One line.
    pub message: String,
    /// The command that fixes it, or what to do; `None` where there is nothing to do.
    pub fix: Option<String>,
}

/// `docklet doctor`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoctorReport {
    pub instance: String,
    pub checks: Vec<Finding>,
    pub problems: usize,
    pub warnings: usize,
    /// The support archive that was written.
    pub bundle: Option<String>,
}

impl DoctorReport {
    pub fn new(instance: &str, checks: Vec<Finding>) -> Self {
        let count = |level| checks.iter().filter(|finding| finding.level == level).count();
        DoctorReport {
            instance: instance.to_owned(),
            problems: count(Level::Problem),
            warnings: count(Level::Warning),
            checks,
            bundle: None,
        }
    }
}
