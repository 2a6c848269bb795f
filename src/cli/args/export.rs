//! The arguments of `docklet export`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use crate::{
    cli::complete,
    export::kubernetes::{BackupFrom, Quantity},
    instance_name::InstanceName,
};

/// Arguments of `docklet export`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: docklet export kubernetes --image registry.example.org/opencode:1 | kubectl apply -f -"
)]
pub struct ExportArgs {
    /// For which engine.
    #[command(subcommand)]
    pub target: ExportFor,
}

/// The engines.
#[derive(Debug, Subcommand)]
pub enum ExportFor {
    /// Print the objects for Kubernetes: a StatefulSet with claims, a Service, a NetworkPolicy
    ///
    /// They follow the Pod Security Standard "restricted". Standard error names what does not travel and the commands to run
    /// first.
    #[command(
        after_help = "Example: docklet export kubernetes --image registry.example.org/opencode:1 | kubectl apply -f -"
    )]
    Kubernetes(Box<ExportKubernetes>),
    /// Print a file for Docker Compose
    ///
    /// Standard error names what does not travel and the commands to run first.
    #[command(after_help = "Example: docklet export compose --output opencode")]
    Compose(ExportCommon),
    /// Print unit files for Podman's Quadlet, which systemd runs
    ///
    /// On standard output they are in the form that `podman quadlet install FILE.quadlets` reads. Standard error names what
    /// does not travel and the commands to run first.
    #[command(after_help = "Example: docklet export quadlet --output ~/.config/containers/systemd")]
    Quadlet(ExportCommon),
}

/// What every engine is told.
#[derive(Debug, Args)]
pub struct ExportCommon {
    /// Image that the engine can pull; by default the one of the settings
    #[arg(long, value_name = "REF")]
    pub image: Option<String>,
    /// One instance for each developer, with these settings and a password of its own
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub instances: Vec<InstanceName>,
    /// Also write the secrets, in files that only you can read
    #[arg(long)]
    pub with_secrets: bool,
    /// Folder to write the files to, instead of standard output
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Arguments of `docklet export kubernetes`.
#[derive(Debug, Args)]
pub struct ExportKubernetes {
    /// What every engine is told.
    #[command(flatten)]
    pub common: ExportCommon,
    /// Namespace of the objects
    #[arg(long, value_name = "NAME", value_parser = dns_label)]
    pub namespace: Option<String>,
    /// Size of the claim for sessions, and of the one for projects
    #[arg(long, value_name = "SIZE", default_value_t = Quantity::default())]
    pub storage: Quantity,
    /// Storage class of the claims; by default the cluster's
    #[arg(long, value_name = "NAME", value_parser = dns_name)]
    pub storage_class: Option<String>,
    /// Host name under which the page is reachable; with several instances, each has INSTANCE.HOST
    #[arg(long, value_name = "HOST", value_parser = dns_name, requires = "tls_secret")]
    pub ingress: Option<String>,
    /// Secret with the certificate of that host
    #[arg(long, value_name = "NAME", value_parser = dns_name, requires = "ingress")]
    pub tls_secret: Option<String>,
    /// Backup whose data it begins with
    ///
    /// An init container unpacks it once, into claims that are empty. Without --backup-url and --backup-claim, it waits for the
    /// file: standard error has the command that sends it.
    #[arg(long, value_name = "FILE", add = ArgValueCompleter::new(complete::backups))]
    pub backup: Option<PathBuf>,
    /// Address from which the pod gets that file
    #[arg(long, value_name = "URL", value_parser = http_url, requires = "backup", conflicts_with = "backup_claim")]
    pub backup_url: Option<String>,
    /// Claim that has that file, and where in it
    #[arg(long, value_name = "NAME[:PATH]", value_parser = claim, requires = "backup")]
    pub backup_claim: Option<BackupFrom>,
}

impl ExportKubernetes {
    /// How the backup comes into the cluster.
    pub fn backup_from(&self) -> BackupFrom {
        let url = self.backup_url.clone().map(BackupFrom::Url);
        url.or_else(|| self.backup_claim.clone()).unwrap_or(BackupFrom::Exec)
    }
}

fn http_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err(format!("`{text}` isn't an address that begins with https:// or http://")),
    }
}

/// A claim, and a path in it.
fn claim(text: &str) -> Result<BackupFrom, String> {
    let (name, path) = text.split_once(':').map_or((text, None), |(name, path)| (name, Some(path.to_owned())));
    if path.as_ref().is_some_and(String::is_empty) {
        return Err(format!("`{text}` names no path behind the colon"));
    }
    Ok(BackupFrom::Claim { name: dns_name(name)?, path })
}

/// A name of one label (RFC 1123), as a namespace has it.
fn dns_label(text: &str) -> Result<String, String> {
    let allowed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if (1..=63).contains(&text.len()) && allowed && !text.starts_with('-') && !text.ends_with('-') {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` isn't a valid name; use lower-case letters, digits and hyphens"))
    }
}

/// A name of labels with dots between them.
fn dns_name(text: &str) -> Result<String, String> {
    let labels: Result<Vec<String>, String> = text.split('.').map(dns_label).collect();
    if text.len() > 253 {
        Err(format!("`{text}` is too long for a name"))
    } else {
        labels.map(|labels| labels.join("."))
    }
}
