//! Ours ↔ the engine's words: bollard's types for what it is asked, fields of what it answers. Pure; each engine flag with
//! its why. Talks to nobody.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions, MountType,
    MountVolumeOptions, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use serde_json::Value;

use super::{
    About,
    answer::{items, named_texts, text, texts},
    container::{Detail, Listed, PublishedPort},
    podman::in_dockers_words,
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
pub(super) fn listed(found: &Value) -> Listed {
    let ports = items(&found["Ports"]).iter().filter_map(|port| {
        Some(PublishedPort {
            address: port["IP"].as_str().and_then(|ip| ip.parse().ok()),
            port: port["PublicPort"].as_u64().and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0)?,
        })
    });
    let networks = found["NetworkSettings"]["Networks"].as_object();
    let mounts = items(&found["Mounts"]);
    let volumes = mounts.iter().filter(|m| m["Type"] == "volume").filter_map(|m| m["Name"].as_str());
    let binds = mounts.iter().filter(|m| m["Type"] == "bind");
    let bind = |m: &Value| Some((m["Destination"].as_str()?.to_owned(), m["Source"].as_str()?.into()));
    Listed {
        id: text(&found["Id"]),
        name: found["Names"][0].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
        image: text(&found["Image"]),
        image_id: text(&found["ImageID"]),
        labels: named_texts(&found["Labels"]),
        state: in_dockers_words(&found["State"]),
        status: text(&found["Status"]),
        ports: ports.collect(),
        volumes: volumes.map(str::to_owned).collect(),
        binds: binds.filter_map(bind).collect(),
        networks: networks.map(|all| all.iter().map(|(name, one)| (name.clone(), text(&one["NetworkID"]))).collect()),
    }
}

/// One container, looked at closely.
pub(super) fn detail(found: &Value) -> Detail {
    let (state, host, config) = (&found["State"], &found["HostConfig"], &found["Config"]);
    // Docker's zero time means: never.
    let moment = |field: &str| state[field].as_str().and_then(crate::clock::parse);
    let running = state["Running"].as_bool().unwrap_or(false);
    let finished_at = moment("FinishedAt").filter(|_| !running).map(crate::clock::rfc3339);
    // A container that was only created has code 0 and never ran.
    let exit_code = state["ExitCode"].as_i64().filter(|_| finished_at.is_some());
    let mode = text(&host["NetworkMode"]);
    let mut networks: Vec<String> =
        found["NetworkSettings"]["Networks"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    networks.sort();
    // Podman says "bridge" of any network that is one.
    let network = match networks.as_slice() {
        [only] if mode == "bridge" => only.clone(),
        _ => mode,
    };
    let live = ContainerSpec { network, ..live(found, host, config) };
    Detail {
        id: text(&found["Id"]),
        name: live.name.clone(),
        image: live.image.clone(),
        image_id: text(&found["Image"]),
        labels: live.labels.clone(),
        status: in_dockers_words(&state["Status"]),
        running,
        paused: state["Paused"].as_bool().unwrap_or(false),
        exit_code,
        run: moment("StartedAt").map(time::OffsetDateTime::unix_timestamp_nanos),
        started_at: moment("StartedAt").map(crate::clock::rfc3339),
        finished_at,
        // The engine keeps the flag for any process inside; only where the kernel killed the first one is it why this ended.
        oom_killed: state["OOMKilled"].as_bool().unwrap_or(false) && exit_code == Some(137),
        error: state["Error"].as_str().filter(|text| !text.is_empty()).map(str::to_owned),
        health: state["Health"]["Status"].as_str().filter(|s| !s.is_empty() && *s != "none").map(str::to_owned),
        networks,
        restart_policy: match host["RestartPolicy"]["Name"].as_str() {
            None | Some("") => "no".to_owned(),
            Some(name) => name.to_owned(),
        },
        live,
    }
}

/// What a container was made as; its network is said elsewhere.
fn live(found: &Value, host: &Value, config: &Value) -> ContainerSpec {
    let labels = named_texts(&config["Labels"]);
    // Data is written; the one volume that is only read holds the secrets.
    let is_read_only = |m: &Value| m["RW"].as_bool() == Some(false);
    let mounts = || items(&found["Mounts"]).iter();
    let (secrets, data): (Vec<&Value>, Vec<&Value>) =
        mounts().filter(|m| m["Type"] == "volume").partition(|m| is_read_only(m));
    let secrets = secrets.first().copied().unwrap_or(&Value::Null);
    let volume = |m: &Value| Some((m["Name"].as_str()?.to_owned(), m["Destination"].as_str()?.to_owned()));
    // Where docklet 0.1 mounted its own files.
    let is_own = |m: &Value| matches!(m["Destination"].as_str(), Some("/run/secrets" | "/run/ca-bundle.crt"));
    let bind = |m: &Value| {
        Some(BindMount {
            host: m["Source"].as_str()?.into(),
            container: m["Destination"].as_str()?.to_owned(),
            read_only: is_read_only(m),
        })
    };
    let number = |field: &str| host[field].as_i64().unwrap_or(0);
    ContainerSpec {
        name: text(&found["Name"]).trim_start_matches('/').to_owned(),
        image: text(&config["Image"]),
        environment: environment(&texts(&config["Env"]), labels.get(label::ENVIRONMENT)),
        network: String::new(),
        publish: published(host).unwrap_or(Publish { address: [0, 0, 0, 0].into(), port: 0, container_port: 0 }),
        volumes: data.into_iter().filter_map(volume).collect(),
        binds: mounts().filter(|m| m["Type"] == "bind" && !is_own(m)).filter_map(bind).collect(),
        secrets: SecretsMount {
            volume: text(&secrets["Name"]),
            mount: text(&secrets["Destination"]),
            hash: labels.get(label::SECRETS).cloned().unwrap_or_default(),
        },
        // Containers of docklet 0.1 have no rules.
        egress: labels.get(label::EGRESS).and_then(|mode| mode.parse().ok()).unwrap_or(Egress::All),
        user: text(&config["User"]),
        extra_hosts: vec![],
        memory: host["Memory"].as_u64().unwrap_or(0),
        nano_cpus: number("NanoCpus"),
        pids: number("PidsLimit"),
        cpu_shares: number("CpuShares"),
        oom_score_adj: number("OomScoreAdj"),
        working_dir: text(&config["WorkingDir"]),
        stop_signal: text(&config["StopSignal"]),
        health: health_check(&config["Healthcheck"]),
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

fn health_check(config: &Value) -> HealthCheck {
    let seconds = |field: &str| {
        config[field].as_i64().and_then(|nanoseconds| u32::try_from(nanoseconds / NANOSECONDS).ok()).unwrap_or(0)
    };
    HealthCheck {
        command: texts(&config["Test"]).into_iter().skip(1).collect(),
        interval: seconds("Interval"),
        timeout: seconds("Timeout"),
        start_period: seconds("StartPeriod"),
        retries: config["Retries"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
    }
}

fn published(host: &Value) -> Option<Publish> {
    let bindings = host["PortBindings"].as_object()?;
    let (inside, outside) = bindings.iter().find_map(|(inside, outside)| Some((inside, outside.get(0)?)))?;
    Some(Publish {
        address: outside["HostIp"].as_str().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0").parse().ok()?,
        port: outside["HostPort"].as_str()?.parse().ok()?,
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
            detail(&inspect).live.network
        };
        assert_eq!(network("bridge", &["opencode-cloud"]), "opencode-cloud");
        assert_eq!(network("bridge", &["bridge"]), "bridge");
        assert_eq!(network("opencode-cloud", &["opencode-cloud"]), "opencode-cloud");
        assert_eq!(network("host", &[]), "host");
    }
}
