//! `network.egress` as rules of a NetworkPolicy. The ranges are those of docker/network-rules; a test compares them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::objects::{EgressRule, IpBlock, NetworkPolicyPort, Peer, Selector};
use crate::settings::{Allow, Egress};

/// What is reached as the Internet → what of it is not.
const INTERNET: [(&str, &[&str]); 3] = [
    (
        "0.0.0.0/0",
        &[
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "168.63.129.16/32",
            "224.0.0.0/3",
        ],
    ),
    ("2000::/3", &["2001::/32", "2002::/16"]),
    (
        "64:ff9b::/96",
        &[
            "64:ff9b::/104",
            "64:ff9b::a00:0/104",
            "64:ff9b::6440:0/106",
            "64:ff9b::7f00:0/104",
            "64:ff9b::a9fe:0/112",
            "64:ff9b::ac10:0/108",
            "64:ff9b::c000:0/120",
            "64:ff9b::c0a8:0/112",
            "64:ff9b::c612:0/111",
            "64:ff9b::a83f:8110/128",
            "64:ff9b::e000:0/99",
        ],
    ),
];

/// The address of NodeLocal DNSCache, where a cluster has it.
const NODE_DNS: &str = "169.254.20.10/32";

const DNS: u16 = 53;

/// The rules of a mode. `allow`: what may be reached in addition.
pub fn rules(mode: Egress, allow: &[Allow]) -> Vec<EgressRule> {
    let mode_rules = match mode {
        Egress::All => return vec![EgressRule::default()],
        Egress::Listed => vec![dns()],
        Egress::Internet => vec![dns(), internet()],
    };
    mode_rules.into_iter().chain(allow.iter().filter_map(allowed)).collect()
}

/// A sentence for each entry that a NetworkPolicy cannot have.
pub fn left_out(allow: &[Allow]) -> Vec<String> {
    let left = allow.iter().filter(|entry| range(entry).is_none());
    left.map(|entry| {
        let why = if entry.host == Allow::HOST {
            "it is the machine that docklet runs on"
        } else {
            "a NetworkPolicy takes addresses, not names"
        };
        format!("network.allow {entry} is left out: {why}")
    })
    .collect()
}

/// The cluster's own DNS, by the labels that it has nearly everywhere.
fn dns() -> EgressRule {
    let labels = |key: &str, value: &str| Some(Selector { match_labels: [(key.to_owned(), value.to_owned())].into() });
    let cluster = Peer {
        namespace_selector: labels("kubernetes.io/metadata.name", "kube-system"),
        pod_selector: labels("k8s-app", "kube-dns"),
        ip_block: None,
    };
    EgressRule { to: Some(vec![cluster, block(NODE_DNS, &[])]), ports: Some(ports(DNS)) }
}

fn internet() -> EgressRule {
    let peers = INTERNET.iter().map(|(cidr, except)| block(cidr, except));
    EgressRule { to: Some(peers.collect()), ports: None }
}

fn allowed(entry: &Allow) -> Option<EgressRule> {
    let to = vec![block(&range(entry)?.to_string(), &[])];
    Some(EgressRule { to: Some(to), ports: entry.port.map(ports) })
}

fn range(entry: &Allow) -> Option<IpNet> {
    let range = entry.host.parse::<IpNet>().ok();
    range.map(|range| range.trunc()).or_else(|| entry.host.parse::<IpAddr>().ok().map(IpNet::from))
}

fn block(cidr: &str, except: &[&str]) -> Peer {
    let except = (!except.is_empty()).then(|| except.iter().map(|range| (*range).to_owned()).collect());
    Peer { ip_block: Some(IpBlock { cidr: cidr.to_owned(), except }), ..Peer::default() }
}

fn ports(port: u16) -> Vec<NetworkPolicyPort> {
    ["TCP", "UDP"].map(|protocol| NetworkPolicyPort { protocol, port }).to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    /// The ranges in braces of the lines that begin with this.
    fn in_script(begin: &str) -> BTreeSet<IpNet> {
        let script = include_str!("../../../docker/network-rules");
        let line = script.lines().find(|line| line.contains(begin)).unwrap();
        let list = line.split_once('{').unwrap().1.split_once('}').unwrap().0;
        let range = |text: &str| text.parse::<IpNet>().unwrap_or_else(|_| IpNet::from(text.parse::<IpAddr>().unwrap()));
        list.split(',').map(|text| range(text.trim())).collect()
    }

    #[test]
    fn the_ranges_are_those_of_the_rules_that_docklet_loads() {
        let begins = ["output ip daddr { 0.0.0.0/8", "output ip6 daddr { 2001::", "output ip6 daddr { 64:ff9b::"];
        for ((cidr, except), begin) in INTERNET.into_iter().zip(begins) {
            let all: IpNet = cidr.parse().unwrap();
            let except: BTreeSet<IpNet> = except.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(except, in_script(begin), "{cidr}");
            assert!(except.iter().all(|range| all.contains(range) && *range != all), "{cidr}");
        }
        let script = include_str!("../../../docker/network-rules");
        assert!(
            script.contains("ip6 daddr != 2000::/3 goto refuse") && script.contains("ip6 daddr 64:ff9b::/96 accept")
        );
    }

    #[test]
    fn only_addresses_become_rules() {
        let allow =
            ["10.8.0.5/16:443", "fd00::1", "git.example.org:22", "host:11434"].map(|text| text.parse().unwrap());
        let rules = serde_json::to_value(rules(Egress::Listed, &allow)).unwrap();
        assert_eq!(rules[1]["to"][0]["ipBlock"]["cidr"], "10.8.0.0/16");
        assert_eq!(rules[1]["ports"][1], serde_json::json!({"protocol": "UDP", "port": 443}));
        assert_eq!(rules[2]["to"][0]["ipBlock"]["cidr"], "fd00::1/128");
        assert_eq!(rules.as_array().unwrap().len(), 3);
        assert_eq!(left_out(&allow).len(), 2);
    }
}
