//! The data that an instance begins with: an init container unpacks a backup into the claims, once.

use super::{One, REQUESTS_OF_INIT, amounts, objects::*};

/// Name of the init container and of the volume with the backup.
const NAME: &str = "backup";

/// Where the claims are seen by role, and where the claim with the backup is.
const VOLUMES: &str = "/volumes";
const STORE: &str = "/backup";

/// A backup that docklet has read.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Its file on this machine.
    pub path: String,
    /// Its SHA-256, as hex digits.
    pub sha256: String,
    /// How it comes into the cluster.
    pub from: BackupFrom,
}

/// How a backup comes into the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupFrom {
    /// The pod waits for `kubectl exec` to bring it.
    Exec,
    /// The pod gets it from this address.
    Url(String),
    /// It lies in this claim.
    Claim {
        /// The claim's name.
        name: String,
        /// Where in it; `None`: under the name that the file has here.
        path: Option<String>,
    },
}

impl Backup {
    fn command(&self, one: &One, source: &str) -> Vec<String> {
        [&one.member.unpack_backup, &self.sha256, source, VOLUMES].map(str::to_owned).to_vec()
    }

    /// The command that brings it to a pod that waits.
    pub(super) fn bring(&self, one: &One, namespace: &str) -> Option<String> {
        let (pod, program) = (one.name(), self.command(one, "-").join(" "));
        let file = shell_words::quote(&self.path);
        (self.from == BackupFrom::Exec)
            .then(|| format!("kubectl exec -i{namespace} {pod}-0 -c {NAME} -- {program} <{file}"))
    }

    pub(super) fn volume(&self) -> Option<Volume> {
        let BackupFrom::Claim { name, .. } = &self.from else { return None };
        let claim = ClaimSource { claim_name: name.clone(), read_only: true };
        Some(Volume { name: NAME, persistent_volume_claim: Some(claim), ..Volume::default() })
    }

    pub(super) fn container(&self, one: &One) -> Container {
        let source = match &self.from {
            BackupFrom::Exec => "wait".to_owned(),
            BackupFrom::Url(url) => url.clone(),
            BackupFrom::Claim { path, .. } => {
                let name = self.path.rsplit('/').next().unwrap_or_default();
                format!("{STORE}/{}", path.as_deref().unwrap_or(name))
            }
        };
        let roles = one.member.volumes.keys();
        let mut mounts: Vec<Mount> = roles.map(|role| Mount::new(role, format!("{VOLUMES}/{role}"))).collect();
        mounts.extend(self.volume().map(|_| Mount::new(NAME, STORE).read_only()));
        // Certificates are among the secrets, and a proxy is in the environment.
        mounts.push(one.secrets());
        Container {
            name: NAME.to_owned(),
            image: one.member.container.image.clone(),
            command: Some(self.command(one, &source)),
            env_from: one.environment(),
            resources: Resources {
                requests: Some(amounts(&REQUESTS_OF_INIT)),
                // tar remembers each folder until the end.
                limits: Some(amounts(&[("memory", "512Mi")])),
            },
            volume_mounts: mounts,
            ..Container::default()
        }
    }
}
