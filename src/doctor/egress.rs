//! Proves from inside the container where it may connect to: that its network rules are loaded, and that a service of
//! this machine cannot be reached.

use std::{net::IpAddr, time::Duration};

use tokio::net::TcpListener;

use crate::{
    doctor::facts::{EgressFacts, Unseen},
    engine::{Engine, docker::Detail},
    sandbox::network_rules::HOST_NAME,
    settings::{Allow, Settings},
};

/// Longest time for one look inside.
const PATIENCE: Duration = Duration::from_secs(6);

/// Prints the host's address, and ends with 0 where the kernel refuses to send what the rules drop (see the entrypoint).
const LOOK: &str = r#"
while read -r address name _; do [ "$name" = "$0" ] && echo "$address"; done </etc/hosts
exec 9>/dev/udp/127.0.0.1/9 && error=$(printf . 2>&1 >&9) && exit 1
[[ $error == *"Operation not permitted"* ]]
"#;

/// Looks inside a running container.
pub async fn look(engine: &Engine, detail: &Detail, settings: &Settings) -> Result<EgressFacts, Unseen> {
    let mode = detail.live.egress;
    if !detail.running || detail.paused {
        return Err("it does not run".to_owned());
    }
    let mut facts = EgressFacts { mode, loaded: true, reaches_host: None };
    if !mode.has_rules() {
        return Ok(facts);
    }
    // As the container's user, with an empty environment: nothing that the agent wrote runs.
    let bash = ["/usr/bin/env", "-i", "LC_ALL=C", "/bin/bash", "-c"];
    let ended = engine.run_inside(&detail.name, &[&bash[..], &[LOOK, HOST_NAME]].concat(), PATIENCE).await;
    let ended = ended.map_err(|error| error.to_string())?;
    if ended.code > 1 {
        return Err("the image has no bash to try it with".to_owned());
    }
    facts.loaded = ended.code == 0;
    let host: Option<IpAddr> = ended.output.lines().find_map(|line| line.trim().parse().ok());
    // What is allowed is no hole.
    let allowed = settings.network.allow.iter().any(|allow| allow.host == Allow::HOST && allow.port.is_none());
    if let Some(host) = host.filter(|_| !allowed)
        && let Ok(listener) = TcpListener::bind((host, 0)).await
        && let Ok(address) = listener.local_addr()
    {
        let connect = format!("exec 3<>/dev/tcp/{}/{}", address.ip(), address.port());
        let command = [&["/usr/bin/timeout", "2"], &bash[..], &[connect.as_str()]].concat();
        let tried = engine.run_inside(&detail.name, &command, PATIENCE);
        let (accepted, ended) = tokio::join!(tokio::time::timeout(Duration::from_secs(3), listener.accept()), tried);
        facts.reaches_host = Some(accepted.is_ok_and(|a| a.is_ok()) || ended.is_ok_and(|ended| ended.code == 0));
    }
    Ok(facts)
}
