//! `docklet export compose`: a file for Docker Compose, with the options of the container that docklet itself creates.
//!
//! Where network rules are wanted, a second service holds the network: it loads them as docklet's helper container does, and
//! again every few minutes. The appliance joins that network and waits for the rules. They outlive a restart of the appliance,
//! which they would not in a network of its own.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Serialize;

use super::{ExportFiles, File, Member, yaml};
use crate::{
    error::Result,
    settings::{Egress, RestartPolicy},
};

/// Loads the network rules again and again, because names get other addresses.
const HOLD: &str = r#"trap 'exit 0' TERM; while :; do "$0" "$@" >/dev/null; sleep 300 & wait $!; done"#;

/// Folder of the secrets beside the file.
const SECRETS: &str = "secrets";

#[derive(Serialize, Default)]
struct Document {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Named>,
    networks: BTreeMap<String, Empty>,
    secrets: BTreeMap<String, SecretFile>,
}

/// Fields in the order in which they are written.
#[derive(Serialize, Default)]
struct Service {
    image: String,
    entrypoint: Option<Vec<String>>,
    command: Option<Vec<String>>,
    hostname: Option<String>,
    user: String,
    working_dir: Option<String>,
    environment: Option<BTreeMap<String, String>>,
    depends_on: Option<Vec<String>>,
    network_mode: Option<String>,
    networks: Option<Vec<String>>,
    ports: Option<Vec<String>>,
    extra_hosts: Option<Vec<String>>,
    volumes: Option<Vec<Mount>>,
    secrets: Option<Vec<Secret>>,
    cap_drop: [&'static str; 1],
    cap_add: Option<Vec<&'static str>>,
    security_opt: [&'static str; 1],
    read_only: Option<bool>,
    mem_limit: Option<u64>,
    memswap_limit: Option<u64>,
    cpus: Option<f64>,
    cpu_shares: Option<i64>,
    pids_limit: i64,
    oom_score_adj: Option<i64>,
    stop_signal: Option<String>,
    healthcheck: HealthCheck,
    logging: Logging,
    restart: &'static str,
}

#[derive(Serialize)]
struct Named {
    name: String,
}

/// Compose names it: one that docklet made on the same engine is in nobody's way.
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct SecretFile {
    file: String,
}

#[derive(Serialize)]
struct Secret {
    source: String,
    target: String,
}

#[derive(Serialize)]
struct Mount {
    #[serde(rename = "type")]
    kind: &'static str,
    source: String,
    target: String,
}

#[derive(Serialize, Default)]
struct HealthCheck {
    disable: Option<bool>,
    test: Option<Vec<String>>,
    interval: Option<String>,
    timeout: Option<String>,
    start_period: Option<String>,
    retries: Option<u32>,
}

#[derive(Serialize)]
struct Logging {
    driver: &'static str,
    options: BTreeMap<&'static str, &'static str>,
}

impl Default for Logging {
    fn default() -> Self {
        Logging { driver: "json-file", options: [("max-size", "10m"), ("max-file", "3")].into() }
    }
}

/// One file for all instances, and with their secrets a file for each of those.
///
/// # Errors
/// A bug only.
pub fn export(members: &[Member], with_secrets: bool) -> Result<ExportFiles> {
    let mut export = ExportFiles::default();
    let mut document = Document::default();
    let mut secrets = vec![];
    for member in members {
        let name = &member.container.name;
        for volume in member.volumes.values() {
            document.volumes.insert(volume.clone(), Named { name: volume.clone() });
        }
        document.networks.insert(name.clone(), Empty {});
        for (secret, source) in &member.secrets {
            let file = format!("{SECRETS}/{name}/{secret}");
            document.secrets.insert(format!("{name}-{secret}"), SecretFile { file: format!("./{file}") });
            secrets.push((file, source));
        }
        add_services(member, &mut document.services);
    }
    export.files.push(File::new("compose.yaml", yaml(&document)?));
    if with_secrets {
        let file = |(file, source): (String, &super::SecretFile)| {
            File::private(file, String::from_utf8_lossy(&source.content))
        };
        export.files.extend(secrets.into_iter().map(file));
    } else {
        export.commands.push("umask 077".to_owned());
        let folders = members.iter().map(|member| format!("{SECRETS}/{}", member.container.name));
        export.commands.push(format!("mkdir -p {}", folders.collect::<Vec<_>>().join(" ")));
        export.commands.extend(secrets.into_iter().map(|(file, source)| put_secret(&file, source)));
    }
    // The engine mounts the files as they are.
    let (uid, gid) = members.first().map_or(Ok((0, 0)), Member::ids)?;
    export.commands.push(format!("chown -R {uid}:{gid} {SECRETS}"));
    export.notes = notes(members);
    Ok(export)
}

/// The command that makes the file of a secret. No value is in it.
fn put_secret(file: &str, source: &super::SecretFile) -> String {
    match &source.path {
        Some(path) => format!("cp {} {file}", shell_words::quote(&path.display().to_string())),
        None => format!("openssl rand -hex 16 > {file}"),
    }
}

fn notes(members: &[Member]) -> Vec<String> {
    let modes: Vec<Egress> = members.iter().map(|member| member.container.egress).collect();
    let always =
        "the engine restarts the container when it ends, not when its page hangs; docklet's supervisor does both";
    let mut notes = vec![always.to_owned(), "the engine's own seccomp profile is used, not docklet's".to_owned()];
    if modes.contains(&Egress::Internet) {
        notes.push(
            "public addresses of the engine's own machine and network are not refused: docklet looks them up, Compose can't"
                .to_owned(),
        );
    }
    if modes.iter().any(|mode| mode.has_rules()) {
        notes.push(
            "after a restart of the engine, run docker compose up -d: Docker may start the services in the wrong order \
             (github.com/moby/moby/issues/50326), and the page is not there until then"
                .to_owned(),
        );
    }
    notes
}

fn add_services(member: &Member, services: &mut BTreeMap<String, Service>) {
    let name = &member.container.name;
    let mut service = appliance(member);
    if member.container.egress.has_rules() {
        let holder = format!("{name}-network");
        service.depends_on = Some(vec![holder.clone()]);
        service.network_mode = Some(format!("service:{holder}"));
        services.insert(holder, network(member));
    } else {
        attach(member, &mut service);
    }
    services.insert(name.clone(), service);
}

/// What belongs to the network, whoever holds it.
fn attach(member: &Member, service: &mut Service) {
    let spec = &member.container;
    let address = SocketAddr::new(spec.publish.address, spec.publish.port);
    service.hostname = Some(spec.name.clone());
    service.networks = Some(vec![spec.name.clone()]);
    service.ports = Some(vec![format!("{address}:{}", spec.publish.container_port)]);
    service.extra_hosts = Some(spec.extra_hosts.clone());
}

fn appliance(member: &Member) -> Service {
    let spec = &member.container;
    let seconds = |seconds: u32| Some(format!("{seconds}s"));
    let memory = Some(spec.memory).filter(|memory| *memory > 0);
    let mount =
        |(name, target): (&String, &String)| Mount { kind: "volume", source: name.clone(), target: target.clone() };
    let secret = |name: &String| Secret { source: format!("{}-{name}", spec.name), target: name.clone() };
    let environment: BTreeMap<_, _> =
        spec.environment.iter().map(|(name, value)| (name.clone(), literal(value))).collect();
    Service {
        image: spec.image.clone(),
        user: spec.user.clone(),
        working_dir: Some(spec.working_dir.clone()),
        environment: Some(environment),
        volumes: Some(spec.volumes.iter().map(mount).collect()),
        secrets: Some(member.secrets.keys().map(secret).collect()),
        mem_limit: memory,
        memswap_limit: memory,
        cpus: (spec.nano_cpus > 0).then_some(spec.nano_cpus as f64 / 1e9),
        cpu_shares: Some(spec.cpu_shares),
        pids_limit: spec.pids,
        oom_score_adj: Some(spec.oom_score_adj),
        stop_signal: Some(spec.stop_signal.clone()),
        healthcheck: HealthCheck {
            disable: None,
            test: Some(std::iter::once("CMD").map(str::to_owned).chain(spec.health.command.iter().cloned()).collect()),
            interval: seconds(spec.health.interval),
            timeout: seconds(spec.health.timeout),
            start_period: seconds(spec.health.start_period),
            retries: Some(spec.health.retries),
        },
        restart: match member.restart {
            RestartPolicy::Always => "unless-stopped",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Never => "no",
        },
        ..always()
    }
}

/// Root, but with one capability, without volumes and secrets, and with none of the agent's programs.
fn network(member: &Member) -> Service {
    let mut entrypoint: Vec<String> = ["/bin/sh", "-c", HOLD].map(literal).to_vec();
    // The program is `$0` of the script.
    entrypoint.extend(member.network_rules.first().map(|program| literal(program)));
    let arguments = member.network_rules.iter().skip(1).map(|argument| literal(argument));
    let mut service = Service {
        image: member.container.image.clone(),
        entrypoint: Some(entrypoint),
        command: Some(arguments.collect()),
        restart: "unless-stopped",
        user: "0:0".to_owned(),
        cap_add: Some(vec!["NET_ADMIN"]),
        read_only: Some(true),
        mem_limit: Some(64 << 20),
        memswap_limit: Some(64 << 20),
        pids_limit: 64,
        healthcheck: HealthCheck { disable: Some(true), ..HealthCheck::default() },
        ..always()
    };
    attach(member, &mut service);
    service
}

/// What both have.
fn always() -> Service {
    Service { cap_drop: ["ALL"], security_opt: ["no-new-privileges:true"], ..Service::default() }
}

/// Compose puts variables of its own environment in place of `$NAME`.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}
