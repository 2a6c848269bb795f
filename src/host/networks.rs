//! The networks that this machine is in, by the addresses of its interfaces.

use std::io;

use if_addrs::IfAddr;
use ipnet::IpNet;

/// Each address of this machine with the length of its network's prefix. They change when a laptop moves.
///
/// # Errors
/// What the system says.
pub fn own() -> io::Result<Vec<IpNet>> {
    let network = |interface: if_addrs::Interface| match interface.addr {
        IfAddr::V4(found) => IpNet::new(found.ip.into(), found.prefixlen).ok(),
        IfAddr::V6(found) => IpNet::new(found.ip.into(), found.prefixlen).ok(),
    };
    Ok(if_addrs::get_if_addrs()?.into_iter().filter_map(network).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_is_one_of_them() {
        assert!(super::own().is_ok_and(|own| own.iter().any(|network| network.to_string() == "127.0.0.1/8")));
    }
}
