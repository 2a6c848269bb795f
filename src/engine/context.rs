//! Docker contexts: which endpoint the user's docker command talks to. Reads files below the
//! docker configuration folder, connects to nothing.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    appliance::hex,
    error::{Error, Result},
    paths::read_text,
};

/// The built-in context, which means: no choice was made.
pub(in crate::engine) const DEFAULT: &str = "default";

/// Where a context leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct DockerContext {
    /// Its name.
    pub(in crate::engine) name: String,
    /// Its endpoint, such as `unix:///run/user/1000/docker.sock`.
    pub(in crate::engine) host: String,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`, where it has one.
    pub(in crate::engine) certificates: Option<PathBuf>,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(rename = "currentContext")]
    current: Option<String>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Endpoints", default)]
    endpoints: Endpoints,
}

#[derive(Deserialize, Default)]
struct Endpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_verify: bool,
}

/// The context that `docker context use` chose; `None` for the default one.
///
/// # Errors
/// When docker's `config.json` is there and cannot be read: guessing another engine than the
/// user's docker command would be worse.
pub(in crate::engine) fn current(docker_config: &Path) -> Result<Option<DockerContext>> {
    let path = docker_config.join("config.json");
    let Some(text) = read_text(&path)? else { return Ok(None) };
    let config: DockerConfig = parse(config_text(&text), &path)?;
    match config.current.as_deref().map(str::trim) {
        None | Some("" | DEFAULT) => Ok(None),
        Some(name) => named(docker_config, name).map(Some),
    }
}

/// What of docker's `config.json` is read: one that holds nothing, as an editor or a full disk leaves it, is the same as `{}`.
pub(in crate::engine) fn config_text(text: &str) -> &str {
    match text.trim_start_matches('\u{feff}').trim() {
        "" | "null" => "{}",
        text => text,
    }
}

/// The context with this name, which is not the default one.
///
/// # Errors
/// When there is none, or it cannot be read or used.
pub(in crate::engine) fn named(docker_config: &Path, name: &str) -> Result<DockerContext> {
    let folder = hex(&Sha256::digest(name.as_bytes()));
    let contexts = docker_config.join("contexts");
    let path = contexts.join("meta").join(&folder).join("meta.json");
    let Some(text) = read_text(&path)? else {
        return Err(Error::Usage {
            message: format!("there is no docker context {name}"),
            hint: Some("docker context ls shows those that are there; docker context use default goes back".to_owned()),
        });
    };
    let meta: Meta = parse(&text, &path)?;
    let unusable = |why: &str| Error::Usage {
        message: format!("docker context {name} {why}"),
        hint: Some(format!("docker context inspect {name}")),
    };
    let endpoint = meta.endpoints.docker.ok_or_else(|| unusable("names no container engine"))?;
    if endpoint.host.is_empty() {
        return Err(unusable("names no container engine"));
    }
    if endpoint.skip_verify {
        return Err(unusable("does not check who it talks to (skip-tls-verify), which docklet does not do"));
    }
    let certificates = contexts.join("tls").join(&folder).join("docker");
    Ok(DockerContext {
        name: name.to_owned(),
        host: endpoint.host,
        certificates: certificates.is_dir().then_some(certificates),
    })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, path: &Path) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::File {
        action: "read docker's own settings in",
        path: path.display().to_string(),
        reason: e.to_string(),
        hint: Some(
            "correct that file, or say where the engine is: docklet --host unix:///var/run/docker.sock".to_owned(),
        ),
    })
}

#[cfg(test)]
pub(in crate::engine) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(in crate::engine) fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// sha256 of "colima", as `printf colima | sha256sum` gives it.
    pub(in crate::engine) const COLIMA: &str = "f24fd3749c1368328e2b149bec149cb6795619f244c5b584e844961215dadd16";

    #[test]
    fn the_current_context_leads_to_its_endpoint() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(current(root).unwrap(), None, "no file at all");
        write(root, "config.json", r#"{"auths":{}}"#);
        assert_eq!(current(root).unwrap(), None, "no choice");
        for text in ["", " \n", "null", "\u{feff}", "\u{feff}{}", "\u{feff}null\n"] {
            write(root, "config.json", text);
            assert_eq!(current(root).unwrap(), None, "{text:?} is as good as none");
        }
        write(root, "config.json", r#"{"currentContext":"default"}"#);
        assert_eq!(current(root).unwrap(), None, "the default");
        write(root, "config.json", r#"{"currentContext":"colima"}"#);
        match current(root) {
            Err(Error::Usage { message, .. }) => assert_eq!(message, "there is no docker context colima"),
            other => panic!("{other:?}"),
        }
        write(
            root,
            &format!("contexts/meta/{COLIMA}/meta.json"),
            r#"{"Name":"colima","Metadata":{"Description":"colima"},"Endpoints":{"docker":{"Host":"unix:///home/me/.colima/default/docker.sock","SkipTLSVerify":false}}}"#,
        );
        let context = current(root).unwrap().unwrap();
        assert_eq!(context.host, "unix:///home/me/.colima/default/docker.sock");
        assert_eq!(context.certificates, None);
        write(root, &format!("contexts/tls/{COLIMA}/docker/ca.pem"), "");
        let context = named(root, "colima").unwrap();
        assert_eq!(context.certificates, Some(root.join(format!("contexts/tls/{COLIMA}/docker"))));
    }

    #[test]
    fn a_broken_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["{", "not json", r#"{"currentContext":7}"#] {
            write(folder.path(), "config.json", text);
            match current(folder.path()) {
                Err(Error::File { path, hint: Some(_), .. }) => assert!(path.ends_with("config.json"), "{path}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for (meta, part) in [
            (r#"{"Name":"colima","Endpoints":{"kubernetes":{}}}"#, "names no container engine"),
            (r#"{"Name":"colima"}"#, "names no container engine"),
            (r#"{"Endpoints":{"docker":{"Host":"tcp://h:2376","SkipTLSVerify":true}}}"#, "skip-tls-verify"),
        ] {
            write(folder.path(), &format!("contexts/meta/{COLIMA}/meta.json"), meta);
            match named(folder.path(), "colima") {
                Err(Error::Usage { message, .. }) => assert!(message.contains(part), "{message}"),
                other => panic!("{meta}: {other:?}"),
            }
        }
    }
}
