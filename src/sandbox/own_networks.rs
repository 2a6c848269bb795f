//! Addresses that count as the Internet, but belong to the engine's machine or to a network that it is in: a server's
//! public address, a home network with global IPv6 addresses, a container network with a public range. `internet`
//! refuses them, too.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    appliance::Appliance,
    engine::{
        Engine,
        helper::{HelperNetwork, HelperSpec},
    },
    error::{Error, Result},
    host::networks,
};

/// Shortest prefixes that are a network: of an interface with a shorter one only its address counts, because the
/// whole Internet is behind it.
const SHORTEST_PREFIX: (u8, u8) = (8, 16);

/// Looks at this machine where the engine runs on it, and else asks a helper container in the engine's own network
/// namespace.
///
/// # Errors
/// What the system or the engine says.
pub async fn find(engine: &Engine, helper: &HelperSpec, appliance: &Appliance) -> Result<Vec<IpNet>> {
    if engine.is_local() {
        return here();
    }
    let helper = HelperSpec {
        command: vec![appliance.container.network_rules.clone(), "addresses".to_owned()],
        user: "65534:65534".to_owned(),
        network: HelperNetwork::Host,
        capabilities: vec![],
        ..helper.clone()
    };
    let (ended, output) = engine.run_helper(&helper, None).await?;
    if ended.code != 0 {
        let what = "reading the addresses of the engine's machine".to_owned();
        return Err(Error::HelperFailed { what, reason: ended.reason() });
    }
    let listed = String::from_utf8_lossy(&output).lines().filter_map(|line| line.trim().parse().ok()).collect();
    Ok(networks_of(public(listed)))
}

/// The same of the machine that docklet runs on, in order.
///
/// # Errors
/// What the system says.
pub fn here() -> Result<Vec<IpNet>> {
    addresses().map(networks_of)
}

/// The addresses of this machine that count as public, each with the length of its network's prefix.
///
/// # Errors
/// What the system says.
pub fn addresses() -> Result<Vec<IpNet>> {
    let what = || "reading the addresses of this machine".to_owned();
    networks::own().map(public).map_err(|error| Error::HelperFailed { what: what(), reason: error.to_string() })
}

fn public(mut addresses: Vec<IpNet>) -> Vec<IpNet> {
    addresses.retain(|found| !is_private(&found.addr()));
    addresses
}

fn networks_of(addresses: Vec<IpNet>) -> Vec<IpNet> {
    let network = |found: IpNet| {
        let shortest = if found.addr().is_ipv4() { SHORTEST_PREFIX.0 } else { SHORTEST_PREFIX.1 };
        if found.prefix_len() < shortest { IpNet::from(found.addr()) } else { found.trunc() }
    };
    let mut networks: Vec<IpNet> = addresses.into_iter().map(network).collect();
    networks.sort();
    networks.dedup();
    networks
}

/// Whether the rules of `internet` refuse an address everywhere (see docker/network-rules).
pub fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
            let benchmark = ip.octets()[0] == 198 && (18..20).contains(&ip.octets()[1]);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared || benchmark
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 != 0x2000 && ip.segments()[..2] != [0x64, 0xff9b],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn public_networks_are_told_and_private_ones_not() {
        let found =
            ["127.0.0.1/8", "192.168.1.7/24", "203.0.113.5/24", "203.0.113.9/24", "198.51.100.7/0", "fe80::1/64"];
        let found = found.into_iter().chain(["2001:db8:1:2::7/64", "fd00::1/64"]);
        let networks = networks_of(public(found.map(|n| n.parse().unwrap()).collect()));
        let shown: Vec<String> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["198.51.100.7/32", "203.0.113.0/24", "2001:db8:1:2::/64"]);
    }
}
