//! What another engine needs to run the same container: objects of Kubernetes, a Compose file, unit files of Quadlet. Each is
//! made from the container that docklet itself would create. Pure.

pub mod compose;
pub mod kubernetes;
pub mod quadlet;

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::{
    desired::{ContainerSpec, EGRESS_VARIABLE},
    error::{Error, Result},
    settings::{Allow, RestartPolicy},
};

/// One instance that is exported.
#[derive(Debug, Clone)]
pub struct Member {
    /// The container that docklet would create. It has no mounts of this machine.
    pub container: ContainerSpec,
    /// Role of each volume → its name.
    pub volumes: BTreeMap<String, String>,
    /// The appliance's name.
    pub appliance: String,
    /// The home folder in the image.
    pub home: String,
    /// The release in the image, where docklet built it.
    pub version: Option<String>,
    /// When it is brought back.
    pub restart: RestartPolicy,
    /// How long the page may take to answer after a start, in seconds.
    pub ready_timeout: u32,
    /// What may be reached in addition to what the egress mode allows.
    pub allow: Vec<Allow>,
    /// The program in the image that loads the network rules, with its arguments.
    pub network_rules: Vec<String>,
    /// The program in the image that fills volumes from a backup.
    pub unpack_backup: String,
    /// The files of the secrets, by their names.
    pub secrets: BTreeMap<String, SecretFile>,
}

/// A secret, or the certificates that lie beside the secrets.
#[derive(Clone)]
pub struct SecretFile {
    /// The file on this machine; `None`: it was made up for this instance just now.
    pub path: Option<PathBuf>,
    /// What is in it.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, relative to the folder.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether it holds secrets.
    pub private: bool,
}

impl File {
    fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        File { name: name.into(), text: text.into(), private: false }
    }

    fn private(name: impl Into<String>, text: impl Into<String>) -> Self {
        File { private: true, ..File::new(name, text) }
    }
}

/// An export: what to write, and what the reader has to know or do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportFiles {
    /// The files, in the order in which standard output gets them.
    pub files: Vec<File>,
    /// What does not travel, a sentence each.
    pub notes: Vec<String>,
    /// What to run before, as commands.
    pub commands: Vec<String>,
    /// What to run when the engine has the files, as commands.
    pub then: Vec<String>,
}

impl Member {
    /// The environment without what tells the entrypoint to wait for docklet's network rules. For engines that have rules of
    /// their own.
    fn environment_without_rules(&self) -> BTreeMap<String, String> {
        let mut environment = self.container.environment.clone();
        environment.remove(EGRESS_VARIABLE);
        environment
    }

    /// User and group as numbers.
    fn ids(&self) -> Result<(i64, i64)> {
        let pair = self.container.user.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)));
        pair.ok_or_else(|| Error::bug(format!("the user {} is not two numbers", self.container.user)))
    }
}

/// A document of YAML. Strings that YAML 1.1 or 1.2 takes for something else are quoted.
fn yaml(document: &impl Serialize) -> Result<String> {
    let failed = |e: &dyn std::fmt::Display| Error::bug(format!("an export does not serialise: {e}"));
    let value = serde_json::to_value(document).map_err(|e| failed(&e))?;
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&without_nulls(value), options).map_err(|e| failed(&e))
}

/// Fields that are not set are left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let set = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(set.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
