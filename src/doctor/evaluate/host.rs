//! What the facts of this machine mean: space, port, network, trust, and what brings the appliance back.

use std::net::IpAddr;

use super::{docklet, ok, ours, problem, room, skipped, warning};
use crate::{
    doctor::{
        Check, Finding,
        facts::{Facts, SettingsFact, SupervisorFacts},
    },
    host::connectivity::Stage,
    observed::PortState,
    report::Wanted,
    settings::RestartPolicy,
};

/// A backup and some logs.
const HOST_SPACE_WARNING: u64 = 1 << 30;

/// Below this settings may not be written.
const HOST_SPACE_PROBLEM: u64 = 50 << 20;

pub(super) fn host_space(facts: &Facts) -> Finding {
    match facts.host_space {
        None => skipped(Check::HostSpace, "the free space can't be determined"),
        Some(space) => room(
            Check::HostSpace,
            space,
            "for settings and logs",
            (HOST_SPACE_WARNING, HOST_SPACE_PROBLEM),
            "make room on the disk of your home folder",
        ),
    }
}

// --- the host ------------------------------------------------------------------------------------

pub(super) fn port(facts: &Facts) -> Finding {
    if let SettingsFact::Broken(_) = facts.settings {
        return skipped(Check::Port, "the settings are not valid");
    }
    let (address, port) = wanted_port(facts);
    let ours = || ours(facts).is_some_and(|c| c.detail.running && c.detail.live.publish.port == port);
    let state = facts.engine.as_ref().ok().and_then(|engine| engine.port.as_ref()).unwrap_or(&facts.port);
    match state {
        PortState::Available if ours() => ok(Check::Port, format!("port {port} on {address} is used by opencode")),
        PortState::Available => ok(Check::Port, format!("port {port} on {address} is free")),
        PortState::Taken { .. } if ours() => ok(Check::Port, format!("port {port} on {address} is used by opencode")),
        PortState::Taken { holder, free_port } => {
            let holder = holder.as_deref().unwrap_or("another program");
            let message = format!("port {port} on {address} is taken: {holder} is listening on it");
            let fix = free_port.map_or("PORT".to_owned(), |port| port.to_string());
            let fix = docklet(facts, &format!("setup --port {fix}"));
            // Our own container may be what listens.
            let unknown = !matches!(&facts.engine, Ok(engine) if engine.container.is_ok());
            let engines = ["another container", "a process of", "another program"];
            match (unknown, &facts.settings) {
                (true, _) if engines.iter().any(|words| holder.starts_with(words)) => {
                    skipped(Check::Port, "without an engine, the owner of the port can't be determined")
                }
                (_, SettingsFact::NotSetUp) => warning(Check::Port, message, fix),
                _ => problem(Check::Port, message, fix),
            }
        }
    }
}

/// Where the page is to be published.
pub(super) fn wanted_port(facts: &Facts) -> (IpAddr, u16) {
    let network = facts.settings.valid().map(|s| s.network.clone()).unwrap_or_default();
    (network.bind.0, network.port.0)
}

pub(super) fn localhost(facts: &Facts) -> Finding {
    if let SettingsFact::Broken(_) = facts.settings {
        return skipped(Check::Localhost, "the settings are not valid");
    }
    let (address, port) = wanted_port(facts);
    let page = crate::desired::page_url(address, port);
    let Some(first) = facts.localhost.first() else {
        return warning(
            Check::Localhost,
            format!("the name localhost is not known here; the page is at {page}"),
            "add this line to /etc/hosts: 127.0.0.1 localhost",
        );
    };
    let on_ipv4 = address == IpAddr::from([127, 0, 0, 1]);
    let other_first = on_ipv4 && first.is_ipv6();
    if on_ipv4 && facts.taken_on_ipv6 && facts.localhost.iter().any(IpAddr::is_ipv6) {
        let message = format!("another program listens on port {port} of ::1: `localhost` leads there, not to {page}");
        return warning(Check::Localhost, message, docklet(facts, "open"));
    }
    if other_first {
        let message = format!("localhost resolves to {first} first, where nothing listens; {page} always works");
        return ok(Check::Localhost, message);
    }
    ok(Check::Localhost, format!("localhost resolves to {first}"))
}

pub(super) fn host_network(facts: &Facts) -> Finding {
    let registry = &facts.about.registry;
    let unreached = match &facts.host_network {
        Ok(()) => return ok(Check::HostNetwork, format!("this machine reaches {registry}")),
        Err(unreached) => unreached,
    };
    let fix = match unreached.stage {
        Stage::Name => "check the network, and the name server in /etc/resolv.conf".to_owned(),
        Stage::Connection => "behind a company proxy: set HTTPS_PROXY, then docklet setup".to_owned(),
        Stage::Proxy => "check HTTPS_PROXY, then run docklet setup again".to_owned(),
        Stage::Certificate => docklet(facts, "setup --ca-file FILE"),
    };
    warning(Check::HostNetwork, format!("this machine does not reach {registry}: {unreached}"), fix)
}

pub(super) fn trust(facts: &Facts) -> Finding {
    if facts.settings.valid().is_none() {
        return skipped(Check::Trust, "nothing is set up");
    }
    let trust = &facts.trust;
    if let Some(reason) = &trust.unusable {
        return warning(Check::Trust, reason.clone(), docklet(facts, "setup --ca-file FILE"));
    }
    if trust.copy_differs {
        let message = "the appliance has an older copy of your certificates";
        return warning(Check::Trust, message, docklet(facts, "restart"));
    }
    if let Some(bundle) = &trust.unknown_bundle {
        let message = format!("this machine trusts {bundle}, but the container does not");
        return warning(
            Check::Trust,
            message,
            docklet(facts, &format!("setup --ca-file {}", shell_words::quote(bundle))),
        );
    }
    if !trust.proxies_differ.is_empty() {
        let message = format!("{} differs between this machine and the container", trust.proxies_differ.join(", "));
        return warning(Check::Trust, message, docklet(facts, "setup"));
    }
    ok(Check::Trust, "the appliance has this machine's proxies and certificates")
}

pub(super) fn supervisor(facts: &Facts) -> Finding {
    let Some(supervisor) = &facts.supervisor else {
        return skipped(Check::Supervisor, "the supervisor is disabled (--no-supervisor)");
    };
    let Some(settings) = facts.settings.valid() else {
        return skipped(Check::Supervisor, "nothing is set up");
    };
    match supervisor {
        SupervisorFacts { gave_up: Some(reason), .. } => {
            problem(Check::Supervisor, format!("the restarts did not help: {reason}"), docklet(facts, "logs -n 200"))
        }
        SupervisorFacts { pid: Some(pid), .. } => ok(Check::Supervisor, format!("the supervisor runs (pid {pid})")),
        _ if settings.restart.policy == RestartPolicy::Never => {
            ok(Check::Supervisor, "restarts are turned off in the settings")
        }
        _ if facts.wanted == Wanted::Stopped => {
            ok(Check::Supervisor, "the desired state is stopped, so no supervisor is needed")
        }
        _ => problem(
            Check::Supervisor,
            "no supervisor is running, so opencode is not restarted after a crash",
            docklet(facts, "start"),
        ),
    }
}

pub(super) fn reboot(facts: &Facts) -> Finding {
    let Some(settings) = facts.settings.valid() else {
        return skipped(Check::Reboot, "nothing is set up");
    };
    let start = || docklet(facts, "start");
    if !facts.services.manager {
        let message = "no service manager runs here: after a reboot it has to be started by hand";
        return warning(Check::Reboot, message, start());
    }
    if !settings.restart.autostart {
        return ok(Check::Reboot, "the desired state is stopped, also after a reboot");
    }
    if facts.supervisor.as_ref().is_some_and(|supervisor| !supervisor.autostart_entry) {
        let message = "it is to start with your session, and the entry for that is missing";
        return problem(Check::Reboot, message, docklet(facts, "autostart enable"));
    }
    if facts.services.linger == Some(false) {
        let message = "it starts when you log in and ends when you log out";
        return warning(Check::Reboot, message, format!("sudo loginctl enable-linger {}", facts.about.user));
    }
    ok(Check::Reboot, "opencode starts after a reboot")
}
