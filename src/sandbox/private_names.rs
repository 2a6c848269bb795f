//! Whether names that the agent needs lead to private addresses, as in companies with mirrors and inspecting gateways:
//! the rules of `network.egress` would refuse them. Looked up from inside the container's network.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use ipnet::IpNet;

use crate::{
    appliance::Appliance,
    engine::{Engine, helper::HelperSpec},
    error::Result,
    sandbox::own_networks::{self, is_private},
    settings::{Allow, Mount},
};

/// Prints `NAME:PORT ADDRESS` for each address of each `NAME:PORT`, and of the hosts that the image's packages are from.
const LOOK: &str = r#"
apt=$(/usr/bin/sed -nE 's|^[^#]*(https?)://([A-Za-z0-9.-]+)/.*|\1 \2|p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    /usr/bin/sort -u | while read -r scheme host; do [ "$scheme" = https ] && echo "$host:443" || echo "$host:80"; done)
for name in "$@" $apt; do
    /usr/bin/timeout 3 /usr/bin/getent ahosts "${name%:*}" | while read -r address _; do echo "$name $address"; done &
done
wait
"#;

/// Those of the names that have a private address, or one in a network of the engine's machine, with one of them. `helper`
/// shares the container's network.
///
/// # Errors
/// What the engine says.
pub async fn find(
    engine: &Engine,
    appliance: &Appliance,
    mut helper: HelperSpec,
    user: String,
    names: &[Allow],
) -> Result<BTreeMap<Allow, IpAddr>> {
    let own = own_networks::find(engine, &helper, appliance).await?;
    helper.user = user;
    helper.command = ["/bin/sh", "-c", LOOK, "look"].map(str::to_owned).to_vec();
    helper.command.extend(names.iter().map(ToString::to_string));
    let (_, output) = engine.run_helper(&helper, None).await?;
    Ok(parse(&String::from_utf8_lossy(&output), &own))
}

fn parse(output: &str, own: &[IpNet]) -> BTreeMap<Allow, IpAddr> {
    let refused = |address: &IpAddr| is_private(address) || own.iter().any(|network| network.contains(address));
    let pair = |line: &str| {
        let (name, address) = line.split_once(' ')?;
        Some((name.parse().ok()?, address.trim().parse().ok().filter(refused)?))
    };
    output.lines().filter_map(pair).collect()
}

/// The hosts that the repositories in mounted folders are fetched from.
pub fn git_hosts(mounts: &[Mount]) -> Vec<Allow> {
    let config = |mount: &Mount| std::fs::read_to_string(mount.host.join(Path::new(".git/config"))).ok();
    let mut hosts: Vec<Allow> = mounts.iter().filter_map(config).flat_map(|text| hosts_in(&text)).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn hosts_in(config: &str) -> Vec<Allow> {
    let urls = config.lines().filter_map(|line| line.trim().strip_prefix("url")?.trim().strip_prefix('='));
    urls.filter_map(|url| host_of(url.trim())).collect()
}

/// The host and port of a repository's address: `https://host/path`, `ssh://user@host:22/path`, `user@host:path`.
fn host_of(url: &str) -> Option<Allow> {
    let (authority, default) = match url.split_once("://") {
        Some((scheme, rest)) => {
            let default = match scheme {
                "https" => 443,
                "http" => 80,
                "ssh" => 22,
                _ => return None,
            };
            (rest.split('/').next()?, default)
        }
        None => (url.split_once(':')?.0, 22),
    };
    let mut allow: Allow = authority.rsplit('@').next()?.parse().ok()?;
    allow.port = allow.port.or(Some(default));
    Some(allow).filter(|allow| allow.host != Allow::HOST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_private_addresses_are_told() {
        let output =
            "a.example:443 10.1.2.3\nb.example:443 203.0.113.9\nc.example:80 fd00::1\nc2:80 2606::1\nd:1 192.0.2.7\n";
        let found = parse(output, &["192.0.2.0/24".parse().unwrap()]);
        let found: Vec<String> = found.iter().map(|(name, address)| format!("{name} {address}")).collect();
        assert_eq!(found, ["a.example:443 10.1.2.3", "c.example:80 fd00::1", "d:1 192.0.2.7"]);
    }

    #[test]
    fn hosts_of_repositories_are_read() {
        let config = "[remote \"origin\"]\n\turl = git@git.example.org:me/app.git\n[remote \"b\"]\n url=https://u:p@b.example/x\n\
                      [remote \"c\"]\n\turl = ssh://git@c.example:2222/x\n[remote \"d\"]\n\turl = ../local\n\turl = /srv/x:y\n";
        let hosts: Vec<String> = hosts_in(config).iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["git.example.org:22", "b.example:443", "c.example:2222"]);
    }
}
