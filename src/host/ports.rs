//! Is a port free on this machine, and if not, who has it. A listener on all addresses takes it
//! from one on 127.0.0.1, and one on `::1` alone takes it from "localhost", so all are tested.

use std::{
    fs,
    io::{self, ErrorKind, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    process::Command,
};

#[cfg(target_os = "linux")]
use super::socket_owner;
use crate::{
    host::system,
    observed::{FORWARDER, PortState},
};

/// How far above the wanted port a free one is looked for.
const SEARCH: u16 = 1000;

/// Below this, only root may listen; the engine is root, we may not be.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Whether `port` can be published on `address`. Port 0 means "any", which is always there.
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

/// A TCP socket as Linux shows it. An IPv4 address that was mapped to IPv6 is the IPv4 one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TcpSocket {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    uid: u32,
    inode: u64,
}

/// A read gives whole lines until the kernel's buffer, a page, has no room for another.
const SMALLEST_PAGE: usize = 4 << 10;
const LARGEST_PAGE: usize = 64 << 10;
const LONGEST_LINE: usize = 256;

/// Linux's numbers of two states.
const ESTABLISHED: u8 = 0x01;
const LISTEN: u8 = 0x0a;

/// The kernel's tables of TCP sockets.
const IPV4: &str = "/proc/net/tcp";
const IPV6: &str = "/proc/net/tcp6";

/// All TCP sockets; none where there is no `/proc`.
fn sockets() -> Vec<TcpSocket> {
    let mut all = sockets_in(IPV4);
    all.extend(sockets_in(IPV6));
    all
}

fn sockets_in(path: &str) -> Vec<TcpSocket> {
    fs::File::open(path).and_then(table).map(|table| parse(&table)).unwrap_or_default()
}

/// Reads a table of the kernel's to its end. For each read, also for one that only finds the end, the kernel walks
/// through the hash table of all its connections, which takes milliseconds: what ends short of a page is not read on.
fn table(mut file: impl Read) -> io::Result<String> {
    let mut text = vec![];
    let mut piece = vec![0; LARGEST_PAGE];
    loop {
        let length = file.read(&mut piece)?;
        text.extend_from_slice(&piece[..length]);
        if length < SMALLEST_PAGE - LONGEST_LINE {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// The sockets that listen on a port.
fn listeners(port: u16) -> Vec<TcpSocket> {
    sockets().into_iter().filter(|s| s.state == LISTEN && s.local.port() == port).collect()
}

/// The user who made a connection to us within this machine: the owner of the socket at `peer`. `None` where that is
/// not known for sure; whoever asks must take that for a stranger.
pub(in crate::host) fn user_of(peer: SocketAddr, ours: SocketAddr) -> Option<u32> {
    client_of(&sockets(), peer, ours).or_else(|| client_by_lsof(peer, ours))
}

fn client_of(sockets: &[TcpSocket], peer: SocketAddr, ours: SocketAddr) -> Option<u32> {
    // Only a socket that a process has open: Linux says that closed ones are root's.
    let is_it = |s: &&TcpSocket| s.state == ESTABLISHED && s.local == canonical(peer) && s.remote == canonical(ours);
    sockets.iter().find(is_it).map(|s| s.uid)
}

/// The user who has the other end of one of the connections that we made to `server` on this machine, if `trusted` does
/// not know them. `None` also where that cannot be seen, and where no process has it: Linux itself then sends it on, as
/// root told it to.
pub fn stranger(server: SocketAddr, ours: &[SocketAddr], trusted: impl Fn(u32) -> bool) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        let ours: Vec<SocketAddr> = ours.iter().copied().map(canonical).collect();
        if let Ok(users) = socket_owner::users(canonical(server), &ours) {
            return users.into_iter().find(|user| !trusted(*user));
        }
    }
    stranger_in_tables(server, ours, trusted)
}

/// The same by the kernel's tables, for one that has no `sock_diag`.
fn stranger_in_tables(server: SocketAddr, ours: &[SocketAddr], trusted: impl Fn(u32) -> bool) -> Option<u32> {
    let mut sockets = sockets_in(IPV4);
    // No socket of the other table can have these connections then, nor get them.
    if !has_both_ends(&sockets, server, ours) {
        sockets.extend(sockets_in(IPV6));
    }
    ours.iter().find_map(|ours| stranger_in(&sockets, server, *ours, &trusted))
}

/// Whether the listener on this very address and the other end of each connection are among these sockets.
fn has_both_ends(sockets: &[TcpSocket], server: SocketAddr, ours: &[SocketAddr]) -> bool {
    let server = canonical(server);
    let accepted = |ours: &SocketAddr| {
        let remote = canonical(*ours);
        sockets.iter().any(|s| s.state == ESTABLISHED && s.local == server && s.remote == remote)
    };
    sockets.iter().any(|s| s.state == LISTEN && s.local == server) && ours.iter().all(accepted)
}

/// The listener counts as well as the connection: until a connection is accepted, Linux says that it is root's.
fn stranger_in(
    sockets: &[TcpSocket],
    server: SocketAddr,
    ours: SocketAddr,
    trusted: impl Fn(u32) -> bool,
) -> Option<u32> {
    let (server, ours) = (canonical(server), canonical(ours));
    // Linux prefers who listens on this very address.
    let exact = sockets.iter().any(|s| s.state == LISTEN && s.local == server);
    let other_end = |s: &&TcpSocket| match s.state {
        LISTEN if exact => s.local == server,
        LISTEN => s.local.port() == server.port() && s.local.ip().is_unspecified(),
        _ => s.local == server && s.remote == ours,
    };
    sockets.iter().filter(other_end).map(|s| s.uid).find(|uid| !trusted(*uid))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Reads the kernel's table of sockets: `sl local remote st queues timers retransmits uid timeout inode`.
fn parse(table: &str) -> Vec<TcpSocket> {
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some(TcpSocket {
            local: parse_address(fields.get(1)?)?,
            remote: parse_address(fields.get(2)?)?,
            state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
            uid: fields.get(7)?.parse().ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// Reads `0100007F:0BB8`: numbers of 32 bits in the machine's own order, and the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words = address.as_bytes().chunks(8).map(|word| {
        let number = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(number.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip: IpAddr = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok()?.into(),
        16 => <[u8; 16]>::try_from(bytes).ok()?.into(),
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?)))
}

/// The process that holds one of these sockets, where we may look.
fn owner(listeners: &[TcpSocket]) -> Option<(u32, String)> {
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

/// The same as [`client_of`] on macOS: without being root, `lsof` shows the files of our own processes only.
fn client_by_lsof(peer: SocketAddr, ours: SocketAddr) -> Option<u32> {
    let us = rustix::process::geteuid().as_raw();
    let (user, connection) = (us.to_string(), format!("-iTCP:{}", peer.port()));
    let arguments = ["-a", "-nP", "-u", &user, &connection, "-sTCP:ESTABLISHED", "-Fn"];
    let output = Command::new(system::which("lsof")?).args(arguments).output().ok()?;
    lists_client(&String::from_utf8_lossy(&output.stdout), peer, ours).then_some(us)
}

/// Whether a line `n<peer>-><ours>` is among them; our own end of the connection has the two the other way round.
fn lists_client(text: &str, peer: SocketAddr, ours: SocketAddr) -> bool {
    let address = |text: &str| text.parse().map(canonical).ok();
    text.lines()
        .filter_map(|line| line.strip_prefix('n')?.split_once("->"))
        .any(|(local, remote)| address(local) == Some(canonical(peer)) && address(remote) == Some(canonical(ours)))
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
    #[cfg(target_os = "linux")]
    fn tables_of_several_pages_are_read_to_their_end() {
        let held: Vec<TcpListener> = (0..120).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let all = sockets();
        for listener in &held {
            let address = listener.local_addr().unwrap();
            assert!(all.iter().any(|s| s.state == LISTEN && s.local == address), "{address} of {}", all.len());
        }
    }

    #[test]
    fn the_end_of_a_table_is_not_looked_for_twice() {
        /// Gives one piece for each read.
        struct Pieces(Vec<Vec<u8>>, usize);
        impl Read for &mut Pieces {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let piece = self.0.get(self.1).cloned().unwrap_or_default();
                self.1 += 1;
                buffer[..piece.len()].copy_from_slice(&piece);
                Ok(piece.len())
            }
        }
        for (lengths, reads) in [(&[4050, 4000, 300][..], 3), (&[300], 1), (&[4050], 2), (&[], 1)] {
            let mut pieces = Pieces(lengths.iter().map(|length| vec![b'x'; *length]).collect(), 0);
            assert_eq!(table(&mut pieces).unwrap().len(), lengths.iter().sum::<usize>());
            assert_eq!(pieces.1, reads, "{lengths:?}");
        }
    }

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
        let listening = |table: &str| -> Vec<(u16, u32, u64)> {
            parse(table).iter().filter(|s| s.state == LISTEN).map(|s| (s.local.port(), s.uid, s.inode)).collect()
        };
        assert_eq!(listening(tcp), [(3000, 1000, 41231), (22, 0, 1234)], "a connection is no listener");
        assert_eq!(listening(tcp6), [(3000, 0, 777)]);
        assert_eq!(parse(tcp)[1].remote, "127.0.0.1:54321".parse().unwrap());
        assert_eq!(parse("").len(), 0);
    }

    /// One that this very machine would show, in its own order of bytes.
    fn socket(local: &str, remote: &str, state: u8, uid: u32) -> TcpSocket {
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        TcpSocket { local: canonical(local), remote: canonical(remote), state, uid, inode: 1 }
    }

    #[test]
    fn who_connects_is_proved_or_unknown() {
        let (peer, ours) = ("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:3000".parse().unwrap());
        let who = |socket: TcpSocket| client_of(&[socket], peer, ours);
        assert_eq!(who(socket("127.0.0.1:40000", "127.0.0.1:3000", ESTABLISHED, 1000)), Some(1000));
        assert_eq!(who(socket("[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:3000", ESTABLISHED, 1000)), Some(1000));
        assert_eq!(who(socket("127.0.0.1:3000", "127.0.0.1:40000", ESTABLISHED, 1000)), None, "the other direction");
        assert_eq!(who(socket("127.0.0.2:40000", "127.0.0.1:3000", ESTABLISHED, 0)), None, "another address");
        assert_eq!(who(socket("127.0.0.1:40000", "127.0.0.1:3000", 0x06, 0)), None, "a closed one says root");
        let six = ("[::1]:40000", "[::1]:3000");
        let sockets = [socket(six.0, six.1, ESTABLISHED, 7)];
        assert_eq!(client_of(&sockets, six.0.parse().unwrap(), six.1.parse().unwrap()), Some(7));
        let lsof = "p1\nn127.0.0.1:3000->127.0.0.1:40000\np2\nn127.0.0.1:40000->127.0.0.1:3000\n";
        assert!(lists_client(lsof, peer, ours));
        assert!(!lists_client(lsof.lines().next().unwrap(), peer, ours) && !lists_client("", peer, ours));
        assert!(!lists_client("n127.0.0.1:3000->127.0.0.1:40000", peer, ours), "our own end");
    }

    #[test]
    fn a_real_connection_is_ours_over_every_kind_of_address() {
        use std::net::TcpStream;
        let us = rustix::process::geteuid().as_raw();
        for (listen, connect) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
            ("127.0.0.1:0", "::ffff:127.0.0.1"),
        ] {
            // A machine without IPv6 has nothing to test there.
            let Ok(listener) = TcpListener::bind(listen) else { continue };
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect((connect.parse::<IpAddr>().unwrap(), port)).unwrap();
            let (server_side, peer) = listener.accept().unwrap();
            assert_eq!(user_of(peer, server_side.local_addr().unwrap()), Some(us), "{listen} from {connect}");
            let (server, ours) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
            assert_eq!(stranger(server, &[ours], |uid| uid == us), None);
            assert_eq!(stranger_in_tables(server, &[ours], |uid| uid == us), None);
            if cfg!(target_os = "linux") {
                assert_eq!(stranger(server, &[ours], |_| false), Some(us), "{listen} from {connect}");
                assert_eq!(stranger_in_tables(server, &[ours], |_| false), Some(us), "{listen} from {connect}");
            }
        }
    }

    #[test]
    fn whoever_has_the_other_end_is_found() {
        let (server, ours) = ("127.0.0.1:3000".parse().unwrap(), "127.0.0.1:40000".parse().unwrap());
        let find = |sockets: &[TcpSocket]| stranger_in(sockets, server, ours, |uid| uid == 0);
        let listener = |at: &str, uid| socket(at, "0.0.0.0:0", LISTEN, uid);
        let accepted = |uid| socket("127.0.0.1:3000", "127.0.0.1:40000", ESTABLISHED, uid);
        let both = |sockets: &[TcpSocket]| has_both_ends(sockets, server, &[ours]);
        assert!(both(&[listener("127.0.0.1:3000", 0), accepted(0)]));
        assert!(!both(&[listener("127.0.0.1:3000", 0)]), "another table may have the connection");
        assert!(!both(&[listener("0.0.0.0:3000", 0), accepted(0)]), "another table may have the listener");
        assert_eq!(find(&[]), None, "Linux itself sends it on");
        assert_eq!(find(&[listener("127.0.0.1:3000", 0), accepted(0)]), None);
        assert_eq!(find(&[listener("127.0.0.1:3000", 66), accepted(0)]), Some(66), "not accepted yet");
        assert_eq!(find(&[accepted(66)]), Some(66), "does not listen any more");
        assert_eq!(find(&[listener("0.0.0.0:3000", 66)]), Some(66));
        assert_eq!(find(&[listener("[::]:3000", 66)]), Some(66));
        assert_eq!(find(&[listener("0.0.0.0:3000", 66), listener("127.0.0.1:3000", 0)]), None, "the nearer one has it");
        assert_eq!(find(&[listener("192.168.1.5:3000", 66), listener("127.0.0.1:3001", 66)]), None, "another place");
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
