//! The checks of this machine: space, port, network, trust, and what starts the appliance again.

use std::net::IpAddr;

use super::{Answer, docklet, ok, ours, problem, renamed, room, set_up, warning};
use crate::{
    desired_state::DesiredState,
    doctor::facts::{DoctorFacts, SettingsFact, SupervisorFacts, Unseen},
    host::connectivity::Stage,
    observed::PortState,
    sandbox::network_rules::LOOPBACK_FIX,
    settings::RestartPolicy,
};

/// A backup and some logs.
const HOST_SPACE_WARNING: u64 = 1 << 30;

/// Below this settings may not be written.
const HOST_SPACE_PROBLEM: u64 = 50 << 20;

pub(super) fn host_space(facts: &DoctorFacts) -> Answer {
    let space = facts.host_space.ok_or_else(|| "the free space can't be determined".to_owned())?;
    let fix = "make room on the disk of your home folder";
    Ok(room(space, "for settings and logs", (HOST_SPACE_WARNING, HOST_SPACE_PROBLEM), fix))
}

pub(super) fn port(facts: &DoctorFacts) -> Answer {
    let (address, port) = desired_port(facts)?;
    let ours = ours(facts).is_ok_and(|c| c.detail.running && c.detail.live.publish.port == port);
    let state = facts.engine.as_ref().ok().and_then(|engine| engine.port.as_ref()).unwrap_or(&facts.port);
    let PortState::Taken { holder, free_port } = state else {
        let what = if ours { "used by opencode" } else { "free" };
        return Ok(ok(format!("port {port} on {address} is {what}")));
    };
    if ours {
        return Ok(ok(format!("port {port} on {address} is used by opencode")));
    }
    if renamed(facts) {
        return Err("the container has another name, and may be what listens".to_owned());
    }
    let holder = holder.as_deref().unwrap_or("another program");
    // Our own container may be the one that listens.
    let unknown = !matches!(&facts.engine, Ok(engine) if engine.container.is_ok());
    if unknown && ["another container", "a process of", "another program"].iter().any(|w| holder.starts_with(w)) {
        return Err("without an engine, the owner of the port can't be determined".to_owned());
    }
    let message = format!("port {port} on {address} is taken: {holder} is listening on it");
    let free = free_port.map_or("PORT".to_owned(), |port| port.to_string());
    let fix = docklet(facts, &format!("setup --port {free}"));
    Ok(match facts.settings {
        SettingsFact::NotSetUp => warning(message, fix),
        _ => problem(message, fix),
    })
}

/// Where the page is to be published: as the settings say, or as a first setup would do it.
fn desired_port(facts: &DoctorFacts) -> Result<(IpAddr, u16), Unseen> {
    if let SettingsFact::Broken(_) = facts.settings {
        return Err("the settings are not valid".to_owned());
    }
    let network = facts.settings.valid().map(|s| s.network.clone()).unwrap_or_default();
    Ok((network.bind.0, network.port.0))
}

pub(super) fn localhost(facts: &DoctorFacts) -> Answer {
    let (address, port) = desired_port(facts)?;
    let page = crate::desired::page_url(address, port);
    let Some(first) = facts.localhost.first() else {
        let message = format!("the name localhost is not known here; the page is at {page}");
        return Ok(warning(message, "add this line to /etc/hosts: 127.0.0.1 localhost"));
    };
    let on_ipv4 = address == IpAddr::from([127, 0, 0, 1]);
    if on_ipv4 && facts.taken_on_ipv6 && facts.localhost.iter().any(IpAddr::is_ipv6) {
        let message = format!("another program listens on port {port} of ::1: `localhost` leads there, not to {page}");
        return Ok(warning(message, docklet(facts, "open")));
    }
    if on_ipv4 && first.is_ipv6() {
        return Ok(ok(format!("localhost resolves to {first} first, where nothing listens; {page} always works")));
    }
    Ok(ok(format!("localhost resolves to {first}")))
}

pub(super) fn host_network(facts: &DoctorFacts) -> Answer {
    let registry = &facts.about.registry;
    let Err(unreached) = &facts.host_network else {
        return Ok(ok(format!("this machine reaches {registry}")));
    };
    let fix = match unreached.stage {
        Stage::Name => "check the network, and the name server in /etc/resolv.conf".to_owned(),
        Stage::Connection => "behind a company proxy: set HTTPS_PROXY, then docklet setup".to_owned(),
        Stage::Proxy => "check HTTPS_PROXY, then run docklet setup again".to_owned(),
        Stage::Certificate => docklet(facts, "setup --ca-file FILE"),
    };
    Ok(warning(format!("this machine does not reach {registry}: {unreached}"), fix))
}

pub(super) fn trust(facts: &DoctorFacts) -> Answer {
    set_up(facts)?;
    let trust = &facts.trust;
    Ok(if let Some(reason) = &trust.unusable {
        warning(reason, docklet(facts, "setup --ca-file FILE"))
    } else if trust.copy_differs {
        warning("the appliance has an older copy of your certificates", docklet(facts, "restart"))
    } else if let Some(bundle) = &trust.unknown_bundle {
        let message = format!("this machine trusts {bundle}, but the container does not");
        warning(message, docklet(facts, &format!("setup --ca-file {}", shell_words::quote(bundle))))
    } else if !trust.proxies_differ.is_empty() {
        let message = format!("{} differs between this machine and the container", trust.proxies_differ.join(", "));
        warning(message, docklet(facts, "setup"))
    } else if let Some(text) = &trust.proxy_unreached {
        warning(text, LOOPBACK_FIX)
    } else {
        ok("the appliance has this machine's proxies and certificates")
    })
}

pub(super) fn supervisor(facts: &DoctorFacts) -> Answer {
    let supervisor = facts.supervisor.as_ref();
    let supervisor = supervisor.ok_or_else(|| "the supervisor is disabled (--no-supervisor)".to_owned())?;
    let settings = set_up(facts)?;
    Ok(match supervisor {
        SupervisorFacts { gave_up: Some(reason), .. } => {
            problem(format!("the restarts did not help: {reason}"), docklet(facts, "logs -n 200"))
        }
        SupervisorFacts { pid: Some(pid), .. } => ok(format!("the supervisor runs (pid {pid})")),
        _ if settings.restart.policy == RestartPolicy::Never => ok("restarts are turned off in the settings"),
        _ if facts.desired == DesiredState::Stopped => ok("the desired state is stopped, so no supervisor is needed"),
        _ => problem("no supervisor is running, so opencode is not restarted after a crash", docklet(facts, "start")),
    })
}

pub(super) fn backups(facts: &DoctorFacts) -> Answer {
    let settings = &set_up(facts)?.backup;
    let (scheduled, copies) = (settings.every.duration().is_some(), !settings.copy.is_empty());
    let tests = settings.test_every.duration().is_some();
    if !scheduled && !copies && !tests {
        return Err(
            "no backups are scheduled (backup.every), copied (backup.copy) or tested (backup.test_every)".to_owned()
        );
    }
    let supervisor = facts.supervisor.as_ref();
    let failed = supervisor.and_then(|supervisor| supervisor.backup_failed.as_ref()).filter(|_| scheduled);
    let not_copied = supervisor.and_then(|supervisor| supervisor.copy_failed.as_ref()).filter(|_| copies);
    let does_not_work = supervisor.and_then(|supervisor| supervisor.test_failed.as_ref()).filter(|_| tests);
    Ok(match (failed, does_not_work, not_copied) {
        (Some(why), ..) => problem(format!("the last scheduled backup failed: {why}"), docklet(facts, "backup")),
        (None, Some(why), _) => {
            problem(format!("the last test of a backup failed: {why}"), docklet(facts, "backup test"))
        }
        (None, None, Some(why)) => {
            warning(format!("the last backup was not copied: {why}"), docklet(facts, "config get backup.copy"))
        }
        (None, None, None) => ok("the last scheduled backup, its copy and its test did not fail"),
    })
}

pub(super) fn notices(facts: &DoctorFacts) -> Answer {
    if set_up(facts)?.notify.command.is_empty() {
        return Err("notify.command is not set".to_owned());
    }
    let failed = facts.supervisor.as_ref().and_then(|supervisor| supervisor.notice_failed.as_ref());
    Ok(match failed {
        Some(why) => {
            warning(format!("the last notice did not get through: {why}"), docklet(facts, "config get notify.command"))
        }
        None => ok("notices go to notify.command"),
    })
}

pub(super) fn reboot(facts: &DoctorFacts) -> Answer {
    let settings = set_up(facts)?;
    Ok(if !facts.services.manager {
        let message = "no service manager runs here: after a reboot it has to be started by hand";
        warning(message, docklet(facts, "start"))
    } else if !settings.restart.autostart {
        ok("opencode stays stopped after a reboot: autostart is off")
    } else if facts.supervisor.as_ref().is_some_and(|supervisor| !supervisor.autostart_entry) {
        let message = "it is to start with your session, and the entry for that is missing";
        problem(message, docklet(facts, "autostart enable"))
    } else if facts.services.linger == Some(false) {
        let message = "it starts when you log in and ends when you log out";
        warning(message, format!("sudo loginctl enable-linger {}", facts.about.user))
    } else {
        ok("opencode starts after a reboot")
    })
}
