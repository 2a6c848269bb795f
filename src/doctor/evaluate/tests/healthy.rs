//! Facts of a healthy instance, which tests change.

use std::time::Duration;

use crate::{
    appliance::Appliance,
    desired::{ContainerSpec, Desired, Given},
    desired_state::DesiredState,
    doctor::facts::{
        ContainerFacts, DoctorFacts, Drift, EngineFacts, MountFacts, SettingsFact, Subject, SupervisorFacts, TrustFacts,
    },
    engine::{About, checkup::Machine, container::Detail, image::Image},
    host::checkup::{FileFact, ServiceSupport, Space},
    instance_name::InstanceName,
    observed::{Ownership, PortState},
    paths::Paths,
    plan::lost::Scratch,
    probe::Seen,
    settings::{Backup, Egress, Notify, Settings},
    units::Bytes,
};

pub const GIB: u64 = 1 << 30;

fn spec() -> ContainerSpec {
    let appliance = Appliance::embedded().unwrap();
    let instance: InstanceName = "default".parse().unwrap();
    let paths = Paths::find(Some("/home/me/docklet".as_ref())).unwrap().instance(&instance);
    Desired::new(&appliance, &Settings::default(), &instance, &paths, &Given::of(0), None).container
}

fn container() -> ContainerFacts {
    let live = spec();
    let detail = Detail {
        id: "0123".into(),
        name: live.name.clone(),
        image: live.image.clone(),
        image_id: "sha256:0".into(),
        labels: live.labels.clone(),
        status: "running".into(),
        running: true,
        paused: false,
        exit_code: None,
        started_at: None,
        run: None,
        finished_at: None,
        oom_killed: false,
        error: None,
        health: None,
        networks: vec![],
        restart_policy: "no".into(),
        live,
    };
    ContainerFacts {
        detail: Box::new(detail),
        ownership: Ownership::Ours,
        age: Some(Duration::from_secs(3600)),
        image: Some(Image {
            architecture: "amd64".into(),
            appliance_version: Some("1.18.33".into()),
            compressed: false,
            ..Image::default()
        }),
        page: Ok(Seen::Works),
        changed: Ok(vec!["/run".into(), "/run/secrets".into(), "/home/opencode/.cache/x".into()]),
        network: Ok(Ok(())),
        egress: Ok(crate::doctor::facts::EgressFacts {
            mode: Egress::Internet,
            loaded: true,
            reaches_host: Some(None),
        }),
    }
}

fn engine() -> EngineFacts {
    EngineFacts {
        about: About {
            endpoint: "unix:///var/run/docker.sock".into(),
            origin: "the default socket".into(),
            name: "Docker".into(),
            version: "28.5.2".into(),
            api_version: "1.51".into(),
            architecture: "amd64".into(),
        },
        answer_time: Duration::from_millis(12),
        slowest: Duration::from_millis(30),
        machine: Ok(Machine {
            memory: 16 * GIB,
            limits_memory: Some(true),
            storage_driver: "overlay2".into(),
            data_folder: "/var/lib/docker".into(),
            ..Machine::default()
        }),
        clock_ahead: Some(0),
        space: Ok(Space { free: 50 * GIB, total: 100 * GIB }),
        container: Ok(Some(container())),
        port: Some(PortState::Available),
        drift: Ok(Drift::None),
        volumes: Ok(["session", "projects", "config"]
            .map(|role| (format!("opencode-cloud-{role}"), Some(Ownership::Ours)))
            .into()),
        registry: Ok(Ok(())),
    }
}

pub fn file(path: &str, mode: u32, folder: bool) -> FileFact {
    FileFact { path: path.into(), owner: 1000, mode, folder }
}

/// All checks are ok.
pub fn healthy() -> DoctorFacts {
    DoctorFacts {
        about: Subject {
            flag: String::new(),
            container: "opencode-cloud".into(),
            scratch: Scratch {
                below: ["/tmp", "/run", "/home/opencode/.cache", "/home/opencode/.config", "/etc/hosts"]
                    .map(str::to_owned)
                    .into(),
                made: vec![],
            },
            keep_in: "/workspace".into(),
            appliance_version: "1.18.33".into(),
            default_memory: Bytes(4 * GIB),
            ready_timeout: Duration::from_secs(120),
            secrets: "/home/me/docklet/config/default/secrets".into(),
            registry: "registry.test".into(),
            uid: 1000,
            user: "me".into(),
            architecture: "amd64".into(),
        },
        settings: SettingsFact::Valid(Box::new(Settings {
            notify: Notify { command: "mail me".to_owned() },
            backup: Backup { every: "24h".parse().unwrap(), ..Backup::default() },
            ..Settings::default()
        })),
        mounts: MountFacts { number: 1, ..MountFacts::default() },
        desired: DesiredState::Running,
        unwritable: None,
        files: vec![
            file("/home/me/docklet/config/default", 0o700, true),
            file("/home/me/docklet/config/default/secrets", 0o700, true),
            file("/home/me/docklet/config/default/secrets/KEY", 0o600, false),
            file("/home/me/docklet/config/default/settings.toml", 0o664, false),
        ],
        host_space: Some(Space { free: 50 * GIB, total: 100 * GIB }),
        engine: Ok(engine()),
        port: PortState::Available,
        localhost: vec![[127, 0, 0, 1].into()],
        taken_on_ipv6: false,
        host_network: Ok(()),
        trust: TrustFacts::default(),
        password_missing: false,
        supervisor: Some(SupervisorFacts { pid: Some(4711), autostart_entry: true, ..SupervisorFacts::default() }),
        services: ServiceSupport { manager: true, linger: Some(true) },
    }
}
