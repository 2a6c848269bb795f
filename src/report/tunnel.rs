//! The result of `docklet tunnel`.

use serde::Serialize;

/// The tunnel to a page on another machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TunnelReport {
    /// The instance.
    pub instance: String,
    /// The address of the engine, `ssh://…`.
    pub endpoint: String,
    /// Whether the tunnel is open.
    pub open: bool,
    /// The address of the page on this machine; `None` while the tunnel is closed.
    pub url: Option<String>,
    /// Whether this command opened or closed it.
    pub changed: bool,
}
