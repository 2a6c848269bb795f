//! The page of an instance on another machine, on this machine: its tunnel is opened, closed and looked at.

use std::net::SocketAddr;

use super::{Instance, stop};
use crate::{
    desired::{Publish, page_url},
    engine::connect,
    error::{Error, Result},
    host::tunnel::{self, Tunnel},
    http,
    probe::TIMEOUT,
    report::TunnelReport,
    settings::Bind,
};

impl Instance {
    /// Opens the tunnel to the page, at a port of this machine: by default the one that the page has there. An instance
    /// that is set up here has its tunnel at the port of its settings.
    ///
    /// # Errors
    /// USAGE where the engine is on this machine, NOT_FOUND, PORT_IN_USE, and NETWORK_ERROR with what ssh says.
    pub async fn open_tunnel(&self, port: Option<u16>) -> Result<TunnelReport> {
        let endpoint = self.remote()?;
        let engine = self.engine().await?;
        let name = self.container_name();
        let there =
            engine.container(&name).await?.ok_or_else(|| Error::NotSetUp { instance: self.name.to_string() })?;
        stop::check_ours(self, &there)?;
        if !there.running {
            return Err(Error::NotRunning { name, state: there.status });
        }
        let publish = there.live.publish;
        let is_set_up = self.files.settings().exists();
        if let Some(port) = port.filter(|port| is_set_up && *port != publish.port) {
            return Err(Error::Usage {
                message: "an instance that is set up here has its page at the port of its settings".to_owned(),
                hint: Some(format!("docklet{} setup --port {port}", self.name.flag())),
            });
        }
        let there = SocketAddr::new(Bind(publish.address).reachable(), publish.port);
        let here = SocketAddr::new(there.ip(), port.unwrap_or(publish.port));
        let tunnel = Tunnel::new(&endpoint, &self.files.state, here, there);
        let was_open = tunnel.is_open().await;
        tunnel.open().await.map_err(|reason| unreachable(&endpoint, reason))?;
        if let Err(reason) = answers(here).await {
            tunnel.close().await;
            return Err(unreachable(&endpoint, format!("nothing answers behind it: {reason}")));
        }
        Ok(self.tunnel_report(endpoint, Some(&Publish { port: here.port(), ..publish }), !was_open))
    }

    /// Closes the tunnel. The supervisor leaves it closed until a command needs the page.
    ///
    /// # Errors
    /// USAGE where the engine is on this machine, and when that cannot be written down.
    pub async fn close_tunnel(&self) -> Result<TunnelReport> {
        let endpoint = self.remote()?;
        let state = &self.files.state;
        let changed = match self.files.settings().exists() {
            true => tunnel::leave_closed(state).await?,
            false => tunnel::close_all(state).await,
        };
        Ok(self.tunnel_report(endpoint, None, changed))
    }

    /// Whether the tunnel is open, and where.
    ///
    /// # Errors
    /// USAGE where the engine is on this machine.
    pub async fn tunnel_status(&self) -> Result<TunnelReport> {
        let endpoint = self.remote()?;
        let port = tunnel::open_port(&self.files.state).await;
        let publish = port.map(|port| Publish { address: [127, 0, 0, 1].into(), port, container_port: 0 });
        Ok(self.tunnel_report(endpoint, publish.as_ref(), false))
    }

    /// The address of the engine, which is on another machine.
    fn remote(&self) -> Result<String> {
        connect::chosen_behind_ssh(&self.selection()).ok_or_else(|| Error::Usage {
            message: "a tunnel leads to an engine on another machine, and none is chosen".to_owned(),
            hint: Some(format!("docklet --host ssh://USER@MACHINE{} tunnel", self.name.flag())),
        })
    }

    fn tunnel_report(&self, endpoint: String, at: Option<&Publish>, changed: bool) -> TunnelReport {
        TunnelReport {
            instance: self.name.to_string(),
            endpoint,
            open: at.is_some(),
            url: at.map(|at| page_url(at.address, at.port)),
            changed,
        }
    }
}

/// Whether a web server is behind an address. Its password stays here: it need not be known.
async fn answers(address: SocketAddr) -> std::result::Result<(), String> {
    let ask = async {
        let stream = tokio::net::TcpStream::connect(address).await.map_err(|e| crate::error::io_reason(&e))?;
        http::get(stream, &address.to_string(), "/", &[], 1 << 20).await.map(drop)
    };
    tokio::time::timeout(TIMEOUT, ask).await.unwrap_or_else(|_| Err(format!("nothing within {} s", TIMEOUT.as_secs())))
}

fn unreachable(endpoint: &str, reason: String) -> Error {
    Error::EngineGone { call: format!("open a tunnel to {endpoint}"), reason }
}
