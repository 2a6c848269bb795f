//! The fields of Kubernetes' objects that an export uses, in the order in which they are written.

use std::collections::BTreeMap;

use serde::Serialize;

/// Any object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<B> {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub metadata: Metadata,
    #[serde(flatten)]
    pub body: B,
}

#[derive(Serialize)]
pub struct Spec<T> {
    pub spec: T,
}

/// What a Secret or a ConfigMap has in place of a `spec`.
#[derive(Serialize)]
pub struct Data {
    #[serde(rename = "type")]
    pub kind: Option<&'static str>,
    pub data: BTreeMap<String, String>,
}

#[derive(Serialize, Default)]
pub struct Metadata {
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    pub match_labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatefulSetSpec {
    pub service_name: String,
    pub replicas: u32,
    pub selector: Selector,
    pub template: Template,
    pub volume_claim_templates: Vec<Claim>,
}

#[derive(Serialize)]
pub struct Template {
    pub metadata: Metadata,
    pub spec: Pod,
}

#[derive(Serialize)]
pub struct Claim {
    pub metadata: Metadata,
    pub spec: ClaimSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimSpec {
    pub access_modes: Vec<&'static str>,
    pub storage_class_name: Option<String>,
    pub resources: Resources,
}

#[derive(Serialize, Default)]
pub struct Resources {
    pub requests: Option<BTreeMap<String, String>>,
    pub limits: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    pub automount_service_account_token: bool,
    pub enable_service_links: bool,
    pub security_context: PodSecurity,
    pub termination_grace_period_seconds: u32,
    pub init_containers: Vec<Container>,
    pub containers: Vec<Container>,
    pub volumes: Vec<Volume>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    pub run_as_non_root: bool,
    pub run_as_user: i64,
    pub run_as_group: i64,
    pub fs_group: i64,
    pub fs_group_change_policy: &'static str,
    pub seccomp_profile: SeccompProfile,
}

#[derive(Serialize)]
pub struct SeccompProfile {
    #[serde(rename = "type")]
    pub kind: &'static str,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    pub name: String,
    pub image: String,
    pub command: Option<Vec<String>>,
    pub working_dir: Option<String>,
    pub security_context: ContainerSecurity,
    pub env_from: Option<Vec<EnvironmentSource>>,
    pub ports: Option<Vec<ContainerPort>>,
    pub startup_probe: Option<Probe>,
    pub readiness_probe: Option<Probe>,
    pub liveness_probe: Option<Probe>,
    pub resources: Resources,
    pub volume_mounts: Vec<Mount>,
}

/// The default is the only one that there is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSecurity {
    pub allow_privilege_escalation: bool,
    pub capabilities: Capabilities,
    pub read_only_root_filesystem: bool,
}

impl Default for ContainerSecurity {
    fn default() -> Self {
        ContainerSecurity {
            allow_privilege_escalation: false,
            capabilities: Capabilities { drop: ["ALL"] },
            read_only_root_filesystem: true,
        }
    }
}

#[derive(Serialize)]
pub struct Capabilities {
    pub drop: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSource {
    pub config_map_ref: Named,
}

#[derive(Serialize)]
pub struct Named {
    pub name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    pub name: &'static str,
    pub container_port: u16,
    pub protocol: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    pub exec: Exec,
    pub period_seconds: u32,
    pub timeout_seconds: u32,
    pub failure_threshold: u32,
}

#[derive(Serialize)]
pub struct Exec {
    pub command: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    pub name: String,
    pub mount_path: String,
    pub read_only: Option<bool>,
}

impl Mount {
    pub fn new(name: &str, path: impl Into<String>) -> Self {
        Mount { name: name.to_owned(), mount_path: path.into(), read_only: None }
    }

    pub fn read_only(self) -> Self {
        Mount { read_only: Some(true), ..self }
    }
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    pub name: &'static str,
    pub empty_dir: Option<Empty>,
    pub secret: Option<SecretSource>,
    pub persistent_volume_claim: Option<ClaimSource>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimSource {
    pub claim_name: String,
    pub read_only: bool,
}

#[derive(Serialize)]
pub struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretSource {
    pub secret_name: String,
    pub default_mode: u32,
    pub optional: bool,
}

#[derive(Serialize)]
pub struct ServiceSpec {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub selector: BTreeMap<String, String>,
    pub ports: Vec<ServicePort>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    pub name: &'static str,
    pub port: u16,
    pub target_port: &'static str,
    pub protocol: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    pub pod_selector: Selector,
    pub policy_types: Vec<&'static str>,
    pub ingress: Vec<IngressRule>,
    pub egress: Vec<EgressRule>,
}

#[derive(Serialize)]
pub struct IngressRule {
    pub ports: Vec<NetworkPolicyPort>,
}

/// Without `to`: to everywhere; without `ports`: all of them.
#[derive(Serialize, Default)]
pub struct EgressRule {
    pub to: Option<Vec<Peer>>,
    pub ports: Option<Vec<NetworkPolicyPort>>,
}

#[derive(Serialize, Clone, Copy)]
pub struct NetworkPolicyPort {
    pub protocol: &'static str,
    pub port: u16,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    pub namespace_selector: Option<Selector>,
    pub pod_selector: Option<Selector>,
    pub ip_block: Option<IpBlock>,
}

#[derive(Serialize)]
pub struct IpBlock {
    pub cidr: String,
    pub except: Option<Vec<String>>,
}

#[derive(Serialize)]
pub struct IngressSpec {
    pub tls: Vec<IngressTls>,
    pub rules: Vec<HostRule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressTls {
    pub hosts: Vec<String>,
    pub secret_name: String,
}

#[derive(Serialize)]
pub struct HostRule {
    pub host: String,
    pub http: HttpPaths,
}

#[derive(Serialize)]
pub struct HttpPaths {
    pub paths: Vec<HttpPath>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpPath {
    pub path: &'static str,
    pub path_type: &'static str,
    pub backend: Backend,
}

#[derive(Serialize)]
pub struct Backend {
    pub service: BackendService,
}

#[derive(Serialize)]
pub struct BackendService {
    pub name: String,
    pub port: PortName,
}

#[derive(Serialize)]
pub struct PortName {
    pub name: &'static str,
}
