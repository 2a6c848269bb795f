//! A connection of either kind: a unix socket or TCP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

/// A connection to an engine, or to one of its clients.
pub enum Conn {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Conn {
    /// A new one to the engine at `host` (`unix://…`, `tcp://…` or `http://…`).
    pub fn to_engine(host: &str) -> io::Result<Self> {
        if let Some(path) = host.strip_prefix("unix://") {
            Ok(Self::Unix(UnixStream::connect(path)?))
        } else if let Some(address) = host.strip_prefix("tcp://").or(host.strip_prefix("http://")) {
            Ok(Self::Tcp(TcpStream::connect(address.trim_end_matches('/'))?))
        } else {
            Err(io::Error::other(format!("nothing here can connect to {host}")))
        }
    }

    pub(super) fn another(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(s) => Self::Unix(s.try_clone()?),
            Self::Tcp(s) => Self::Tcp(s.try_clone()?),
        })
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Self::Unix(s) => s.shutdown(how),
            Self::Tcp(s) => s.shutdown(how),
        };
    }

    pub(super) fn close(&self) {
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
