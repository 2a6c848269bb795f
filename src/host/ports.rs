//! Is a port free on this machine, and if not, who has it. A listener on all addresses takes it
//! from one on 127.0.0.1, and one on `::1` alone takes it from «localhost», so all are tested.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    process::Command,
};

use crate::{
    host::system,
    observed::{FORWARDER, PortState},
};

/// How far above the wanted port a free one is looked for.
const SEARCH: u16 = 1000;

/// Below this, only root may listen; the engine is root, we may not be.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Whether `port` can be published on `address`. Port 0 means «any», which is always there.
pub fn state(address: IpAddr, port: u16) -> PortState {
    if port == 0 || is_free(address, port) {
        return PortState::Available;
    }
    PortState::Taken { holder: holder(port), free_port: next_free(address, port) }
}

/// The next free port above this one.
pub fn next_free(address: IpAddr, port: u16) -> Option<u16> {
    let first = port.saturating_add(1).max(FIRST_UNPRIVILEGED);
    (first..=first.saturating_add(SEARCH)).find(|&port| is_free(address, port))
}

fn is_free(address: IpAddr, port: u16) -> bool {
    [address, Ipv4Addr::LOCALHOST.into(), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        .into_iter()
        .all(|address| is_free_on(SocketAddr::new(address, port)))
}

fn is_free_on(address: SocketAddr) -> bool {
    match TcpListener::bind(address) {
        Ok(_) => true,
        Err(e) => match e.kind() {
            ErrorKind::AddrInUse => false,
            // We may not listen there, the engine may: see whether somebody does.
            ErrorKind::PermissionDenied => listeners(address.port()).is_empty(),
            // No such address here, or no IPv6: nobody can have it either.
            _ => true,
        },
    }
}

/// Who listens, such as `node (pid 4711)`.
fn holder(port: u16) -> Option<String> {
    let listeners = listeners(port);
    if listeners.is_empty() {
        return by_lsof(port);
    }
    if let Some((pid, name)) = owner(&listeners) {
        return Some(in_words(&name, pid));
    }
    // Only root sees whose sockets another user's are.
    let stranger = listeners.iter().find(|l| !system::is_root() && l.uid != rustix::process::geteuid().as_raw())?;
    Some(match system::name_of_user(stranger.uid) {
        Some(user) => format!("a process of the user {user}"),
        None => "a process of another user".to_owned(),
    })
}

fn in_words(name: &str, pid: u32) -> String {
    match name {
        // What engines use to publish ports.
        "docker-proxy" | "rootlesskit" | "rootlessport" | "conmon" | "pasta" | "slirp4netns" | "gvproxy" => {
            format!("{FORWARDER}{name}, pid {pid})")
        }
        _ => format!("{name} (pid {pid})"),
    }
}

/// A listening socket as Linux shows it.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    inode: u64,
    uid: u32,
}

/// The sockets that listen on a port; none where there is no `/proc`.
fn listeners(port: u16) -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| parse(&table, port))
        .collect()
}

/// The user at the other end of a connection within this machine, over IPv4; `None` where that
/// cannot be seen.
pub(in crate::host) fn user_of(peer: SocketAddr, ours: SocketAddr) -> Option<u32> {
    user_of_connection(&fs::read_to_string("/proc/net/tcp").ok()?, peer.port(), ours.port())
}

fn user_of_connection(table: &str, from: u16, to: u16) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is = |field: usize, port: u16| fields.get(field).is_some_and(|f| f.ends_with(&format!(":{port:04X}")));
        if is(1, from) && is(2, to) { fields.get(7)?.parse().ok() } else { None }
    })
}

/// Reads the kernel's table of sockets: `sl local remote st queues timers retransmits uid timeout inode`.
fn parse(table: &str, port: u16) -> Vec<Listener> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, local) = fields.get(1)?.rsplit_once(':')?;
            let ours = *fields.get(3)? == LISTEN && u16::from_str_radix(local, 16) == Ok(port);
            ours.then_some(Listener { uid: fields.get(7)?.parse().ok()?, inode: fields.get(9)?.parse().ok()? })
        })
        .collect()
}

/// The process that holds one of these sockets, where we may look.
fn owner(listeners: &[Listener]) -> Option<(u32, String)> {
    let wanted: Vec<String> = listeners.iter().map(|l| format!("socket:[{}]", l.inode)).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = |file: fs::DirEntry| {
            fs::read_link(file.path())
                .is_ok_and(|target| target.to_str().is_some_and(|t| wanted.iter().any(|w| w == t)))
        };
        if files.flatten().any(holds) {
            let name = fs::read_to_string(process.path().join("comm")).ok()?;
            return Some((pid, name.trim().to_owned()));
        }
    }
    None
}

/// Asks `lsof`, which macOS has.
fn by_lsof(port: u16) -> Option<String> {
    let lsof = system::which("lsof")?;
    let selection = format!("-iTCP:{port}");
    let output = Command::new(lsof).args(["-nP", &selection, "-sTCP:LISTEN", "-Fpc"]).output().ok()?;
    parse_lsof(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `p<pid>` and `c<command>`, each on a line.
fn parse_lsof(text: &str) -> Option<String> {
    let field = |key| text.lines().find_map(|line| line.strip_prefix(key));
    Some(in_words(field('c')?, field('p')?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn the_kernels_table_is_read() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41231 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0BB8 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 41299 1 0000000000000000 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0000000000000000 100 0 0 10 0
";
        let tcp6 = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0000000000000000 100 0 0 10 0
";
        assert_eq!(parse(tcp, 3000), [Listener { uid: 1000, inode: 41231 }], "a connection is no listener");
        assert_eq!(parse(tcp6, 3000), [Listener { uid: 0, inode: 777 }]);
        assert_eq!(parse(tcp, 3001), []);
        assert_eq!(parse("", 22), []);
        assert_eq!(user_of_connection(tcp, 3000, 0xD431), Some(1000));
        assert_eq!(user_of_connection(tcp, 0xD431, 3000), None, "that is the other direction");
    }

    #[test]
    fn lsof_is_read() {
        assert_eq!(parse_lsof("p4711\ncnode\nf21\n").unwrap(), "node (pid 4711)");
        assert_eq!(parse_lsof("p9\ncdocker-proxy\n").unwrap(), "another container (docker-proxy, pid 9)");
        assert_eq!(parse_lsof(""), None);
    }

    #[test]
    fn a_listener_on_any_address_takes_the_port() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0", "[::1]:0"] {
            // A machine without IPv6 has nothing to test there.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            match state(LOOPBACK, port) {
                PortState::Taken { holder, free_port } => {
                    let holder = holder.unwrap();
                    assert!(holder.ends_with(&format!("(pid {})", std::process::id())), "{address}: {holder}");
                    assert!(free_port.unwrap() > port, "{address}");
                }
                PortState::Available => panic!("{address}"),
            }
            drop(listener);
            assert_eq!(state(LOOPBACK, port), PortState::Available, "{address}");
        }
    }

    #[test]
    fn the_proposed_port_is_free_and_unprivileged() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_ne!(next_free(LOOPBACK, port - 1), Some(port));
        assert!(next_free(LOOPBACK, 80).unwrap() >= FIRST_UNPRIVILEGED);
        assert_eq!(next_free(LOOPBACK, u16::MAX).filter(|p| *p < u16::MAX), None);
        assert_eq!(state(LOOPBACK, 0), PortState::Available);
    }
}
