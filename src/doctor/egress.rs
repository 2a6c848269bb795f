//! Proves from inside the container where it may connect to: that its network rules are loaded, and that a service of
//! this machine cannot be reached, neither at the address that containers know nor at its public ones.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::{
    desired,
    doctor::facts::{EgressFacts, Unseen},
    engine::{Engine, container::Detail},
    sandbox::own_networks,
    settings::{Allow, Settings},
};

/// Longest time for one look inside.
const PATIENCE: Duration = Duration::from_secs(6);

/// Most public addresses of this machine that are tried.
const MOST_ADDRESSES: usize = 3;

/// How a look inside begins. It runs as the container's user, with an empty environment: nothing that the agent wrote
/// runs.
const BASH: [&str; 5] = ["/usr/bin/env", "-i", "LC_ALL=C", "/bin/bash", "-c"];

/// Prints the host's address, and ends with 0 where the kernel refuses to send what the rules drop (see the entrypoint).
const LOOK: &str = r#"
while read -r address name _; do [ "$name" = "$0" ] && echo "$address"; done </etc/hosts
exec 9>/dev/udp/127.0.0.1/9 && error=$(printf . 2>&1 >&9) && exit 1
[[ $error == *"Operation not permitted"* ]]
"#;

/// Looks inside a running container.
pub async fn check(engine: &Engine, detail: &Detail, settings: &Settings) -> Result<EgressFacts, Unseen> {
    let mode = detail.live.egress;
    if !detail.running || detail.paused {
        return Err("it does not run".to_owned());
    }
    let mut facts = EgressFacts { mode, loaded: true, reaches_host: None };
    if !mode.has_rules() {
        return Ok(facts);
    }
    let ended = engine.run_inside(&detail.name, &[&BASH[..], &[LOOK, desired::HOST_NAME]].concat(), PATIENCE).await;
    let ended = ended.map_err(|error| error.to_string())?;
    if ended.code > 1 {
        return Err("the image has no bash to try it with".to_owned());
    }
    facts.loaded = ended.code == 0;
    let host: Option<IpAddr> = ended.output.lines().find_map(|line| line.trim().parse().ok());
    let own = if engine.is_local() { own_networks::addresses().unwrap_or_default() } else { vec![] };
    for address in host.into_iter().chain(own.iter().map(IpNet::addr).take(MOST_ADDRESSES)) {
        if !is_allowed(address, settings).await
            && let Some(reached) = reaches(engine, detail, address).await
        {
            facts.reaches_host = Some(facts.reaches_host.flatten().or(reached.then_some(address)));
        }
    }
    Ok(facts)
}

/// Whether an address of this machine may be reached at any port: that is no hole.
async fn is_allowed(address: IpAddr, settings: &Settings) -> bool {
    for Allow { host, .. } in settings.network.allow.iter().filter(|allow| allow.port.is_none()) {
        let range = host.parse::<IpNet>().or_else(|_| host.parse::<IpAddr>().map(IpNet::from));
        let allowed = match range {
            Ok(range) => range.contains(&address),
            Err(_) if host == Allow::HOST => true,
            Err(_) => {
                let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), 0))).await;
                found.is_ok_and(|found| found.is_ok_and(|mut found| found.any(|found| found.ip() == address)))
            }
        };
        if allowed {
            return true;
        }
    }
    false
}

/// Whether a listener at this address of this machine gets a connection from inside; `None` where that could not be
/// tried.
async fn reaches(engine: &Engine, detail: &Detail, address: IpAddr) -> Option<bool> {
    let listener = TcpListener::bind((address, 0)).await.ok()?;
    let port = listener.local_addr().ok()?.port();
    // Somebody else may come to a port that was theirs a moment ago.
    let token = crate::secrets::generate_password().ok()?;
    let connect = format!("exec 3<>/dev/tcp/{address}/{port} && printf %s {} >&3", token.reveal());
    let command = [&["/usr/bin/timeout", "2"], &BASH[..], &[connect.as_str()]].concat();
    let tried = engine.run_inside(&detail.name, &command, PATIENCE);
    let comes = tokio::time::timeout(Duration::from_secs(3), comes(&listener, token.reveal().as_bytes()));
    let (came, ended) = tokio::join!(comes, tried);
    Some(came.is_ok() || ended.is_ok_and(|ended| ended.code == 0))
}

/// Waits until somebody who knows the token connects.
async fn comes(listener: &TcpListener, token: &[u8]) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return std::future::pending().await };
        let mut answer = vec![0; token.len()];
        let read = tokio::time::timeout(Duration::from_secs(1), stream.read_exact(&mut answer)).await;
        if read.is_ok_and(|read| read.is_ok()) && answer == token {
            return;
        }
    }
}
