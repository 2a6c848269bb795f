//! Ours ↔ bollard's types. Pure; each engine flag with its why. Talks to nobody.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountBindOptions, MountPoint, MountType, MountVolumeOptions, PortBinding,
    RestartPolicy, RestartPolicyNameEnum,
};

use super::{
    About,
    container::{Detail, Listed, PublishedPort},
    seccomp,
};
use crate::{
    desired::{BindMount, ContainerSpec, GIT_VARIABLES, HealthCheck, NO_NETWORK, Publish, SecretsMount, label},
    settings::Egress,
};

const NANOSECONDS: i64 = 1_000_000_000;

/// The create request for a wanted container.
pub(super) fn create_body(spec: &ContainerSpec, engine: &About) -> ContainerCreateBody {
    let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    labels.insert(label::SPEC.to_owned(), spec.hash());
    labels.insert(label::SECRETS.to_owned(), spec.secrets.hash.clone());
    labels.insert(label::EGRESS.to_owned(), spec.egress.to_string());
    let variables: Vec<&str> = spec.environment.keys().map(String::as_str).collect();
    labels.insert(label::ENVIRONMENT.to_owned(), variables.join(","));
    let inside = format!("{}/tcp", spec.publish.container_port);
    let published = spec.network != NO_NETWORK;
    ContainerCreateBody {
        hostname: Some(spec.name.clone()),
        image: Some(spec.image.clone()),
        // Not the image's word for it: a pulled image may say root.
        user: Some(spec.user.clone()),
        env: Some(spec.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        working_dir: Some(spec.working_dir.clone()),
        stop_signal: Some(spec.stop_signal.clone()),
        labels: Some(labels),
        exposed_ports: published.then(|| vec![inside.clone()]),
        // Set here as well as in the image: Podman drops an image's HEALTHCHECK when it builds the
        // OCI format.
        healthcheck: Some(health_config(&spec.health)),
        host_config: Some(HostConfig {
            network_mode: Some(spec.network.clone()),
            // A literal address, never a name: see `settings::Bind`.
            port_bindings: published.then(|| {
                let binding = PortBinding {
                    host_ip: Some(spec.publish.address.to_string()),
                    host_port: Some(spec.publish.port.to_string()),
                };
                HashMap::from([(inside, Some(vec![binding]))])
            }),
            mounts: Some(mounts(spec)),
            // docklet restarts it; two owners would fight.
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
            auto_remove: Some(false),
            memory: i64::try_from(spec.memory).ok().filter(|m| *m > 0),
            // As much again in swap would make the limit a slow death instead of a restart.
            memory_swap: i64::try_from(spec.memory).ok().filter(|m| *m > 0),
            nano_cpus: Some(spec.nano_cpus).filter(|n| *n > 0),
            pids_limit: Some(spec.pids),
            // Docker leaves shares out where it cannot set them; rootless Podman does not start the container then.
            cpu_shares: (!engine.is_podman()).then_some(spec.cpu_shares),
            oom_score_adj: Some(spec.oom_score_adj),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(vec![]),
            extra_hosts: Some(spec.extra_hosts.clone()),
            security_opt: Some(seccomp::security_opt(engine)),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), "10m".to_owned()),
                    ("max-file".to_owned(), "3".to_owned()),
                ])),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn health_config(health: &HealthCheck) -> HealthConfig {
    let nanoseconds = |seconds: u32| Some(i64::from(seconds) * NANOSECONDS);
    HealthConfig {
        test: Some(std::iter::once("CMD".to_owned()).chain(health.command.iter().cloned()).collect()),
        interval: nanoseconds(health.interval),
        timeout: nanoseconds(health.timeout),
        start_period: nanoseconds(health.start_period),
        retries: Some(i64::from(health.retries)),
        start_interval: None,
    }
}

fn mounts(spec: &ContainerSpec) -> Vec<Mount> {
    let volumes = spec.volumes.iter().map(|(name, target)| Mount {
        typ: Some(MountType::VOLUME),
        source: Some(name.clone()),
        target: Some(target.clone()),
        // A volume that is not there yet comes into being with the container, and with our labels.
        volume_options: Some(MountVolumeOptions {
            labels: Some(spec.labels.clone().into_iter().collect()),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    });
    // As mounts, not as `Binds`: those would create a missing host folder, owned by root.
    let binds = spec.binds.iter().map(|bind| Mount {
        typ: Some(MountType::BIND),
        source: Some(bind.host.display().to_string()),
        target: Some(bind.container.clone()),
        read_only: Some(bind.read_only),
        bind_options: Some(MountBindOptions::default()),
        ..Mount::default()
    });
    let secrets = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(spec.secrets.volume.clone()),
        target: Some(spec.secrets.mount.clone()),
        read_only: Some(true),
        // What the image has in that place is no secret.
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    };
    volumes.chain([secrets]).chain(binds).collect()
}

/// One container of a list.
pub(super) fn listed(summary: ContainerSummary) -> Listed {
    let name = summary.names.and_then(|names| names.into_iter().next()).unwrap_or_default();
    let ports = summary.ports.unwrap_or_default().into_iter().filter_map(|port| {
        Some(PublishedPort {
            address: port.ip.as_deref().and_then(|ip| ip.parse().ok()),
            port: port.public_port.filter(|p| *p > 0)?,
        })
    });
    let networks = summary.network_settings.and_then(|settings| settings.networks);
    let id_of = |(name, endpoint): (String, EndpointSettings)| (name, endpoint.network_id.unwrap_or_default());
    let mounts = summary.mounts.unwrap_or_default();
    let volume = |m: &MountPoint| m.name.clone().filter(|_| m.typ.as_deref() == Some("volume"));
    let bind = |m: MountPoint| (m.typ.as_deref() == Some("bind")).then(|| Some((m.destination?, m.source?.into())));
    Listed {
        id: summary.id.unwrap_or_default(),
        name: name.trim_start_matches('/').to_owned(),
        image: summary.image.unwrap_or_default(),
        image_id: summary.image_id.unwrap_or_default(),
        labels: summary.labels.unwrap_or_default().into_iter().collect(),
        state: summary.state.map(|s| s.to_string()).unwrap_or_default(),
        status: summary.status.unwrap_or_default(),
        ports: ports.collect(),
        volumes: mounts.iter().filter_map(volume).collect(),
        binds: mounts.into_iter().filter_map(|m| bind(m).flatten()).collect(),
        networks: networks.map(|networks| networks.into_iter().map(id_of).collect()),
    }
}

/// One container, looked at closely.
pub(super) fn detail(inspect: ContainerInspectResponse) -> Detail {
    let state = inspect.state.unwrap_or_default();
    let host = inspect.host_config.unwrap_or_default();
    let config = inspect.config.unwrap_or_default();
    let status = state.status.map(|s| s.to_string()).unwrap_or_default();
    // Docker's zero time means: never.
    let time = |text: Option<String>| text.as_deref().and_then(crate::clock::parse).map(crate::clock::rfc3339);
    let running = state.running.unwrap_or(false);
    // A container that was only created has code 0 and never ran.
    let has_ended = !running && time(state.finished_at.clone()).is_some();
    let labels: BTreeMap<String, String> = config.labels.clone().unwrap_or_default().into_iter().collect();
    let mounts = inspect.mounts.unwrap_or_default();
    // Data is written; the one volume that is only read holds the secrets.
    let is_volume = |m: &&MountPoint| m.typ.as_deref() == Some("volume");
    let secrets = mounts.iter().filter(is_volume).find(|m| m.rw == Some(false));
    let secrets = SecretsMount {
        volume: secrets.and_then(|m| m.name.clone()).unwrap_or_default(),
        mount: secrets.and_then(|m| m.destination.clone()).unwrap_or_default(),
        hash: labels.get(label::SECRETS).cloned().unwrap_or_default(),
    };
    let volumes: BTreeMap<String, String> = mounts
        .iter()
        .filter(is_volume)
        .filter(|m| m.rw != Some(false))
        .filter_map(|m| Some((m.name.clone()?, m.destination.clone()?)))
        .collect();
    let binds: Vec<BindMount> = mounts
        .iter()
        .filter(|m| m.typ.as_deref() == Some("bind"))
        // Where docklet 0.1 mounted its own files.
        .filter(|m| !matches!(m.destination.as_deref(), Some("/run/secrets" | "/run/ca-bundle.crt")))
        .filter_map(|m| {
            Some(BindMount {
                host: m.source.clone()?.into(),
                container: m.destination.clone()?,
                read_only: !m.rw.unwrap_or(true),
            })
        })
        .collect();
    let publish = published(&host);
    let mut networks: Vec<String> =
        inspect.network_settings.and_then(|n| n.networks).unwrap_or_default().into_keys().collect();
    networks.sort();
    let mode = host.network_mode.clone().unwrap_or_default();
    // Podman says "bridge" of any network that is one.
    let network = match networks.as_slice() {
        [only] if mode == "bridge" => only.clone(),
        _ => mode,
    };
    let name = inspect.name.unwrap_or_default().trim_start_matches('/').to_owned();
    Detail {
        id: inspect.id.unwrap_or_default(),
        image: config.image.clone().unwrap_or_default(),
        image_id: inspect.image.unwrap_or_default(),
        status,
        running,
        paused: state.paused.unwrap_or(false),
        exit_code: state.exit_code.filter(|_| has_ended),
        run: state.started_at.as_deref().and_then(crate::clock::parse).map(time::OffsetDateTime::unix_timestamp_nanos),
        started_at: time(state.started_at),
        finished_at: time(state.finished_at).filter(|_| !running),
        // The engine keeps the flag for any process inside; only where the kernel killed the first one is it why this ended.
        oom_killed: state.oom_killed.unwrap_or(false) && has_ended && state.exit_code == Some(137),
        error: state.error.filter(|text| !text.is_empty()),
        health: state.health.and_then(|h| h.status).map(|s| s.to_string()).filter(|s| !s.is_empty() && s != "none"),
        networks,
        restart_policy: host
            .restart_policy
            .as_ref()
            .and_then(|policy| policy.name)
            .map(|name| name.to_string())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "no".to_owned()),
        live: ContainerSpec {
            name: name.clone(),
            image: config.image.unwrap_or_default(),
            environment: environment(config.env.as_deref().unwrap_or_default(), labels.get(label::ENVIRONMENT)),
            network,
            publish: publish.unwrap_or(Publish { address: [0, 0, 0, 0].into(), port: 0, container_port: 0 }),
            volumes,
            binds,
            secrets,
            // Containers of docklet 0.1 have no rules.
            egress: labels.get(label::EGRESS).and_then(|mode| mode.parse().ok()).unwrap_or(Egress::All),
            user: config.user.unwrap_or_default(),
            extra_hosts: vec![],
            memory: host.memory.and_then(|m| u64::try_from(m).ok()).unwrap_or(0),
            nano_cpus: host.nano_cpus.unwrap_or(0),
            pids: host.pids_limit.unwrap_or(0),
            cpu_shares: host.cpu_shares.unwrap_or(0),
            oom_score_adj: host.oom_score_adj.unwrap_or(0),
            working_dir: config.working_dir.unwrap_or_default(),
            stop_signal: config.stop_signal.unwrap_or_default(),
            health: config.healthcheck.map(health_check).unwrap_or_else(|| HealthCheck {
                command: vec![],
                interval: 0,
                timeout: 0,
                start_period: 0,
                retries: 0,
            }),
            labels: labels.clone(),
        },
        name,
        labels,
    }
}

/// The variables that the container was made with: the others are the image's. Before they were in a label, only those
/// of git's identity could change.
fn environment(all: &[String], made_with: Option<&String>) -> BTreeMap<String, String> {
    let names: Vec<&str> = made_with.map_or(GIT_VARIABLES.to_vec(), |names| names.split(',').collect());
    let pairs = all.iter().filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| names.contains(name)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn health_check(config: HealthConfig) -> HealthCheck {
    let seconds = |nanoseconds: Option<i64>| u32::try_from(nanoseconds.unwrap_or(0) / NANOSECONDS).unwrap_or(0);
    HealthCheck {
        command: config.test.unwrap_or_default().into_iter().skip(1).collect(),
        interval: seconds(config.interval),
        timeout: seconds(config.timeout),
        start_period: seconds(config.start_period),
        retries: config.retries.and_then(|r| u32::try_from(r).ok()).unwrap_or(0),
    }
}

fn published(host: &HostConfig) -> Option<Publish> {
    let bindings = host.port_bindings.as_ref()?;
    let (inside, outside) = bindings.iter().find_map(|(inside, outside)| Some((inside, outside.as_ref()?.first()?)))?;
    Some(Publish {
        address: outside.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0").parse().ok()?,
        port: outside.host_port.as_deref()?.parse().ok()?,
        container_port: inside.split('/').next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_network_is_named_where_the_engine_says_only_what_it_is() {
        let network = |mode: &str, names: &[&str]| {
            let networks: serde_json::Map<_, _> =
                names.iter().map(|name| ((*name).to_owned(), serde_json::json!({}))).collect();
            let inspect = serde_json::json!({
                "HostConfig": {"NetworkMode": mode}, "NetworkSettings": {"Networks": networks},
            });
            detail(serde_json::from_value(inspect).unwrap()).live.network
        };
        assert_eq!(network("bridge", &["opencode-cloud"]), "opencode-cloud");
        assert_eq!(network("bridge", &["bridge"]), "bridge");
        assert_eq!(network("opencode-cloud", &["opencode-cloud"]), "opencode-cloud");
        assert_eq!(network("host", &[]), "host");
    }
}
