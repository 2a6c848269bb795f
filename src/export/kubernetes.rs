//! `docklet export kubernetes`: the objects of an instance. They follow the Pod Security Standard "restricted" to the letter.

mod backup;
mod objects;
pub mod policy;

use std::{collections::BTreeMap, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

pub use self::backup::{Backup, BackupFrom};
use self::objects::*;
use super::{ExportFiles, File, Member, yaml};
use crate::{appliance::hex, error::Result};

/// What one that does little needs, of the node's memory and processors: opencode idles at 230 to 330 MB. A request holds a
/// place on a node, so it is not the limit.
const REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "512Mi")];

/// What the init containers ask for.
const REQUESTS_OF_INIT: [(&str, &str); 2] = [("cpu", "10m"), ("memory", "32Mi")];

/// Most that home folder, /tmp and logs of one may take of the node's disk: a node is shared, unlike a laptop.
const NODE_DISK: &str = "10Gi";

/// Size of the claim for configuration: text files.
const CONFIG_SIZE: &str = "1Gi";

/// Seconds between two probes: while it starts, and later for whether the Service sends it requests.
const STARTUP_PERIOD: u32 = 2;
const READINESS_PERIOD: u32 = 10;

/// Time to end after SIGTERM, as for `docklet stop`.
const GRACE: u32 = 10;

/// Name of the container's port.
const PORT: &str = "http";

/// Where the init container sees the new home folder.
const NEW_HOME: &str = "/home-of-this-pod";

/// What the cluster decides.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The namespace; `None`: the one that `kubectl` is set to.
    pub namespace: Option<String>,
    /// Size of the claims for sessions and for projects.
    pub storage: Quantity,
    /// The storage class; `None`: the cluster's default.
    pub storage_class: Option<String>,
    /// The host name and the Secret with its certificate.
    pub ingress: Option<(String, String)>,
    /// Whether Secrets are written.
    pub with_secrets: bool,
    /// The data to begin with.
    pub backup: Option<Backup>,
}

/// An amount as Kubernetes writes it, such as `20Gi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity(String);

impl Default for Quantity {
    fn default() -> Self {
        Quantity("20Gi".to_owned())
    }
}

impl FromStr for Quantity {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let is_number = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.trim_start_matches('0').is_empty();
        let known = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "k", "M", "G", "T", "P"].contains(&&text[digits.len()..]);
        if is_number && known {
            Ok(Quantity(text.to_owned()))
        } else {
            Err(format!("`{text}` isn't an amount of storage; write it like 20Gi"))
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The objects of all instances, a file for each, and one more for its Secret.
///
/// # Errors
/// A bug only.
pub fn export(members: &[Member], options: &Options) -> Result<ExportFiles> {
    let mut export = ExportFiles::default();
    let namespace = options.namespace.as_ref().map(|name| format!(" --namespace {name}")).unwrap_or_default();
    if let Some(name) = &options.namespace {
        export.commands.push(format!("kubectl create namespace {name}"));
        export.commands.push(format!("kubectl label namespace {name} pod-security.kubernetes.io/enforce=restricted"));
    }
    for member in members {
        let name = &member.container.name;
        let one = One { member, options, several: members.len() > 1 };
        if options.with_secrets {
            export.files.push(File::private(format!("{name}-secret.yaml"), yaml(&one.secret())?));
        } else {
            export.commands.push(create_secret(member, &namespace));
        }
        export.files.push(File::new(format!("{name}.yaml"), one.documents()?));
        export.then.extend(options.backup.as_ref().and_then(|backup| backup.bring(&one, &namespace)));
        for note in policy::left_out(&member.allow) {
            if !export.notes.contains(&note) {
                export.notes.push(note);
            }
        }
    }
    export.notes.extend(
        [
            "the NetworkPolicy holds only if the cluster's network plugin enforces it; ask its administrator",
            "kubelet restarts the container from now on; docklet's supervisor, updates and backups don't reach the cluster",
            "resources.pids has no field in a pod: it is the kubelet's setting podPidsLimit",
        ]
        .map(str::to_owned),
    );
    if let Some(Backup { from: BackupFrom::Url(_), .. }) = options.backup {
        let note =
            "the pod fetches the backup under its own NetworkPolicy, and who may read the StatefulSet sees the address";
        export.notes.push(note.to_owned());
    }
    Ok(export)
}

/// The command that makes the Secret from the files of this machine. No value is in it.
fn create_secret(member: &Member, namespace: &str) -> String {
    let argument = |(name, file): (&String, &super::SecretFile)| match &file.path {
        Some(path) => format!(" --from-file={}", shell_words::quote(&format!("{name}={}", path.display()))),
        None => format!(" --from-file={name}=<(openssl rand -hex 16)"),
    };
    let arguments: String = member.secrets.iter().map(argument).collect();
    format!("kubectl create secret generic {}{namespace}{arguments}", member.container.name)
}

/// One instance, and what its objects share.
struct One<'a> {
    member: &'a Member,
    options: &'a Options,
    several: bool,
}

impl One<'_> {
    fn name(&self) -> &str {
        &self.member.container.name
    }

    fn documents(&self) -> Result<String> {
        let mut documents = vec![];
        if !self.member.environment_without_rules().is_empty() {
            documents.push(yaml(&self.config_map())?);
        }
        documents.push(yaml(&self.network_policy())?);
        documents.push(yaml(&self.service())?);
        if let Some(ingress) = self.ingress() {
            documents.push(yaml(&ingress)?);
        }
        documents.push(yaml(&self.stateful_set()?)?);
        Ok(documents.join("---\n"))
    }

    /// What selects this instance's pod, and no other.
    fn selector(&self) -> BTreeMap<String, String> {
        let pairs =
            [("app.kubernetes.io/name", self.member.appliance.as_str()), ("app.kubernetes.io/instance", self.name())];
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn metadata(&self) -> Metadata {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/managed-by".to_owned(), "docklet".to_owned());
        if let Some(version) = &self.member.version {
            labels.insert("app.kubernetes.io/version".to_owned(), version.clone());
        }
        let name = Some(self.name().to_owned());
        Metadata { name, namespace: self.options.namespace.clone(), labels: Some(labels), annotations: None }
    }

    fn object<B>(&self, api_version: &'static str, kind: &'static str, body: B) -> Object<B> {
        Object { api_version, kind, metadata: self.metadata(), body }
    }

    fn secret(&self) -> Object<Data> {
        let data = self.member.secrets.iter().map(|(name, file)| (name.clone(), STANDARD.encode(&file.content)));
        self.object("v1", "Secret", Data { kind: Some("Opaque"), data: data.collect() })
    }

    fn config_map(&self) -> Object<Data> {
        self.object("v1", "ConfigMap", Data { kind: None, data: self.member.environment_without_rules() })
    }

    fn service(&self) -> Object<Spec<ServiceSpec>> {
        let port = self.member.container.publish.container_port;
        let ports = vec![ServicePort { name: PORT, port, target_port: PORT, protocol: "TCP" }];
        let spec = ServiceSpec { kind: "ClusterIP", selector: self.selector(), ports };
        self.object("v1", "Service", Spec { spec })
    }

    /// The page is for nobody in the cluster, as docklet publishes it on 127.0.0.1 alone: `kubectl port-forward` comes from
    /// inside the pod. An Ingress controller may be anywhere.
    fn network_policy(&self) -> Object<Spec<NetworkPolicySpec>> {
        let port = NetworkPolicyPort { protocol: "TCP", port: self.member.container.publish.container_port };
        let page = IngressRule { ports: vec![port] };
        let spec = NetworkPolicySpec {
            pod_selector: Selector { match_labels: self.selector() },
            policy_types: vec!["Ingress", "Egress"],
            ingress: if self.options.ingress.is_some() { vec![page] } else { vec![] },
            egress: policy::rules(self.member.container.egress, &self.member.allow),
        };
        self.object("networking.k8s.io/v1", "NetworkPolicy", Spec { spec })
    }

    fn ingress(&self) -> Option<Object<Spec<IngressSpec>>> {
        let (host, secret_name) = self.options.ingress.clone()?;
        // The page is at the root of its host, so each instance has a host of its own.
        let own = self.name().strip_prefix(&format!("{}-", self.member.appliance)).filter(|_| self.several);
        let host = own.map_or_else(|| host.clone(), |own| format!("{own}.{host}"));
        let backend =
            Backend { service: BackendService { name: self.name().to_owned(), port: PortName { name: PORT } } };
        let paths = vec![HttpPath { path: "/", path_type: "Prefix", backend }];
        let spec = IngressSpec {
            tls: vec![IngressTls { hosts: vec![host.clone()], secret_name }],
            rules: vec![HostRule { host, http: HttpPaths { paths } }],
        };
        Some(self.object("networking.k8s.io/v1", "Ingress", Spec { spec }))
    }

    /// A StatefulSet and not a Deployment: a pod that is deleted is gone before its successor starts, so no two of them ever
    /// write to the same volumes. Its claims stay when it is deleted.
    fn stateful_set(&self) -> Result<Object<Spec<StatefulSetSpec>>> {
        let mut metadata = Metadata { labels: self.metadata().labels, ..Metadata::default() };
        let environment = self.member.environment_without_rules();
        if !environment.is_empty() {
            // A pod reads its ConfigMap at start: another one has to start when it changes.
            let text = serde_json::to_string(&environment).unwrap_or_default();
            let sum = hex(&Sha256::digest(text.as_bytes()))[..16].to_owned();
            metadata.annotations = Some([("checksum/environment".to_owned(), sum)].into());
        }
        let spec = StatefulSetSpec {
            service_name: self.name().to_owned(),
            replicas: 1,
            selector: Selector { match_labels: self.selector() },
            template: Template { metadata, spec: self.pod()? },
            volume_claim_templates: self.member.volumes.keys().map(|role| self.claim(role)).collect(),
        };
        Ok(self.object("apps/v1", "StatefulSet", Spec { spec }))
    }

    fn claim(&self, role: &str) -> Claim {
        let size = if role == "config" { CONFIG_SIZE.to_owned() } else { self.options.storage.to_string() };
        Claim {
            metadata: Metadata { name: Some(role.to_owned()), labels: Some(self.selector()), ..Metadata::default() },
            spec: ClaimSpec {
                access_modes: vec!["ReadWriteOnce"],
                storage_class_name: self.options.storage_class.clone(),
                resources: Resources { requests: Some([("storage".to_owned(), size)].into()), limits: None },
            },
        }
    }

    fn pod(&self) -> Result<Pod> {
        let (uid, gid) = self.member.ids()?;
        // Nobody else is in the pod, and Podman has no `fsGroup`. `optional` is the default, but `podman kube play` 4.3 crashes
        // where it is left out.
        let secret = SecretSource { secret_name: self.name().to_owned(), default_mode: 0o444, optional: false };
        let mut volumes = vec![
            Volume { name: "home", empty_dir: Some(Empty {}), ..Volume::default() },
            Volume { name: "tmp", empty_dir: Some(Empty {}), ..Volume::default() },
            Volume { name: "secrets", secret: Some(secret), ..Volume::default() },
        ];
        volumes.extend(self.options.backup.as_ref().and_then(Backup::volume));
        Ok(Pod {
            automount_service_account_token: false,
            enable_service_links: false,
            security_context: PodSecurity {
                run_as_non_root: true,
                run_as_user: uid,
                run_as_group: gid,
                fs_group: gid,
                fs_group_change_policy: "OnRootMismatch",
                seccomp_profile: SeccompProfile { kind: "RuntimeDefault" },
            },
            termination_grace_period_seconds: GRACE,
            init_containers: std::iter::once(self.home_container())
                .chain(self.options.backup.iter().map(|backup| backup.container(self)))
                .collect(),
            containers: vec![self.container()],
            volumes,
        })
    }

    /// Fills a home folder that can be written to with what the image has there, mostly links into the session volume: the
    /// rest of the image is read-only.
    fn home_container(&self) -> Container {
        let home = &self.member.home;
        // Once: the folder outlives a restart of the node.
        let script = format!("test -d {NEW_HOME}/.config || cp -dR {home}/. {NEW_HOME}/");
        Container {
            name: "home".to_owned(),
            image: self.member.container.image.clone(),
            command: Some(["/bin/sh", "-c", &script].map(str::to_owned).to_vec()),
            resources: Resources {
                requests: Some(amounts(&REQUESTS_OF_INIT)),
                limits: Some(amounts(&[("ephemeral-storage", NODE_DISK), ("memory", "64Mi")])),
            },
            volume_mounts: vec![Mount::new("home", NEW_HOME)],
            ..Container::default()
        }
    }

    fn container(&self) -> Container {
        let Member { container: spec, volumes, home, .. } = self.member;
        // The home folder first: volumes are mounted in it.
        let mut mounts = vec![Mount::new("home", home), Mount::new("tmp", "/tmp")];
        let path = |name: &String| spec.volumes.get(name).cloned().unwrap_or_default();
        mounts.extend(volumes.iter().map(|(role, name)| Mount::new(role, path(name))));
        mounts.push(self.secrets());
        let port = spec.publish.container_port;
        Container {
            name: self.member.appliance.clone(),
            image: spec.image.clone(),
            working_dir: Some(spec.working_dir.clone()),
            env_from: self.environment(),
            ports: Some(vec![ContainerPort { name: PORT, container_port: port, protocol: "TCP" }]),
            startup_probe: Some(self.probe(STARTUP_PERIOD, self.member.ready_timeout.div_ceil(STARTUP_PERIOD))),
            readiness_probe: Some(self.probe(READINESS_PERIOD, spec.health.retries)),
            liveness_probe: Some(self.probe(spec.health.interval, spec.health.retries)),
            resources: Resources { requests: Some(amounts(&REQUESTS)), limits: Some(self.limits()) },
            volume_mounts: mounts,
            ..Container::default()
        }
    }

    fn environment(&self) -> Option<Vec<EnvironmentSource>> {
        let source = EnvironmentSource { config_map_ref: Named { name: self.name().to_owned() } };
        (!self.member.environment_without_rules().is_empty()).then(|| vec![source])
    }

    fn secrets(&self) -> Mount {
        Mount::new("secrets", &self.member.container.secrets.mount).read_only()
    }

    /// The health check in the image: it has the password, which a probe over HTTP would have to have in the clear.
    fn probe(&self, period_seconds: u32, failure_threshold: u32) -> Probe {
        let health = &self.member.container.health;
        let exec = Exec { command: health.command.clone() };
        Probe { exec, period_seconds, timeout_seconds: health.timeout, failure_threshold }
    }

    fn limits(&self) -> BTreeMap<String, String> {
        let spec = &self.member.container;
        let mut limits = BTreeMap::from([("ephemeral-storage".to_owned(), NODE_DISK.to_owned())]);
        if spec.memory > 0 {
            let mebibytes = spec.memory >> 20;
            let exact = mebibytes << 20 == spec.memory;
            limits.insert("memory".to_owned(), if exact { format!("{mebibytes}Mi") } else { spec.memory.to_string() });
        }
        if spec.nano_cpus > 0 {
            limits.insert("cpu".to_owned(), format!("{}m", spec.nano_cpus / 1_000_000));
        }
        limits
    }
}

fn amounts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
