//! Whose a TCP socket of this machine is, by Linux's `sock_diag` (sock_diag(7)): asked for one connection, the kernel finds
//! its socket as it does for a packet, without a walk through all of them.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};

/// Linux's numbers: of the question, of "no answer", of the protocol.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;

/// Where the numbers of an answer stand that are read, behind its head (`struct nlmsghdr`, `struct inet_diag_msg`).
const HEAD: usize = 16;
const USER: usize = HEAD + 64;

/// The users of the sockets that get what comes from these addresses to `server`, and of the one that listens there: until
/// a connection is accepted, Linux says that it is root's. None for what no process has.
///
/// # Errors
/// When the kernel has no `sock_diag`.
pub(super) fn users(server: SocketAddr, from: &[SocketAddr]) -> io::Result<Vec<u32>> {
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    let mut kernel = File::from(kernel);
    let nobody = SocketAddr::new(from.first().map_or(server, |from| *from).ip(), 0);
    let mut users = vec![];
    for from in from.iter().chain([&nobody]) {
        kernel.write_all(&question(server, *from))?;
        let mut answer = [0; 1024];
        let length = kernel.read(&mut answer)?;
        users.extend(user(&answer[..length])?);
    }
    Ok(users)
}

/// `struct nlmsghdr`, then `struct inet_diag_req_v2`.
fn question(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut text = vec![0; 4];
    text.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    text.extend(NLM_F_REQUEST.to_ne_bytes());
    text.extend([0; 8]);
    // All states.
    text.extend([family.as_raw() as u8, IPPROTO_TCP, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    text.extend([local.port(), remote.port()].map(u16::to_be_bytes).concat());
    for address in [local.ip(), remote.ip()] {
        let mut field = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        field.resize(16, 0);
        text.extend(field);
    }
    // Any interface, and no cookie of an earlier answer.
    text.extend([0; 4]);
    text.extend([0xff; 8]);
    let length = text.len() as u32;
    text[..4].copy_from_slice(&length.to_ne_bytes());
    text
}

/// The user in an answer; `None` when there is no such socket.
fn user(answer: &[u8]) -> io::Result<Option<u32>> {
    let number = |at: usize| answer.get(at..at + 4).and_then(|bytes| Some(u32::from_ne_bytes(bytes.try_into().ok()?)));
    let kind = answer.get(4..6).and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
    match (kind, number(HEAD), number(USER)) {
        (Some(SOCK_DIAG_BY_FAMILY), _, Some(user)) => Ok(Some(user)),
        (Some(NLMSG_ERROR), Some(error), _) => {
            let error = io::Error::from_raw_os_error((error as i32).wrapping_neg());
            if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) }
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_its_listeners_until_it_is_accepted_and_nobodys_without_one() {
        let us = rustix::process::geteuid().as_raw();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let client = TcpStream::connect(server).unwrap();
        let from = client.local_addr().unwrap();
        assert!(users(server, &[from]).unwrap().contains(&us), "not accepted");
        let accepted = listener.accept().unwrap();
        drop(listener);
        assert_eq!(users(server, &[from]).unwrap(), [us], "accepted, and nobody listens any more");
        drop((accepted, client));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(users(free, &[from]).unwrap().is_empty());
    }

    #[test]
    fn a_kernel_without_it_is_an_error() {
        let refusal = |error: i32| [&[0; 4][..], &2_u16.to_ne_bytes(), &[0; 10], &(-error).to_ne_bytes()].concat();
        assert_eq!(user(&refusal(2)).unwrap(), None);
        assert_eq!(user(&refusal(95)).unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert!(user(&[]).is_err());
    }
}
