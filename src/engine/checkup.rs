//! What only `docklet doctor` asks an engine: its machine in detail, what a container changed in its
//! own file system, whether the registry answers, and a short command inside. Changes nothing.

use std::{path::Path, time::Duration};

use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    models::ChangeType,
};
use futures_util::StreamExt as _;
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    DEADLINE, Engine,
    answer::text,
    call::{ask, deadline},
    credentials::Credentials,
    error::{status_of, translate},
    reference::Reference,
    stream_error::Failure,
};
use crate::error::{Error, ImageAction, ImageFault, Result};

/// Most of a command's output that is kept.
const LARGEST_OUTPUT: usize = 16 << 10;

/// What a bug report says of an engine. Not its name, which is the machine's, and not its proxies
/// and mirrors, which may hold passwords.
const TOLD: [&str; 22] = [
    "ServerVersion",
    "OperatingSystem",
    "OSVersion",
    "OSType",
    "Architecture",
    "KernelVersion",
    "NCPU",
    "MemTotal",
    "MemoryLimit",
    "SwapLimit",
    "PidsLimit",
    "Driver",
    "DriverStatus",
    "DockerRootDir",
    "LoggingDriver",
    "CgroupDriver",
    "CgroupVersion",
    "DefaultRuntime",
    "SecurityOptions",
    "LiveRestoreEnabled",
    "SystemTime",
    "Warnings",
];

/// An engine's machine, as far as a check-up looks at it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machine {
    /// Memory in bytes; 0 where it does not say.
    pub memory: u64,
    /// Whether it can hold a container to a memory limit; `None` where it does not say.
    pub limits_memory: Option<bool>,
    /// Whether it runs without root.
    pub rootless: bool,
    /// Storage driver, such as `overlay2`.
    pub storage_driver: String,
    /// Its data folder, such as `/var/lib/docker`.
    pub data_folder: String,
    /// What its clock said when it answered.
    pub time: Option<OffsetDateTime>,
    /// What of it goes into a bug report.
    pub told: Value,
}

/// How a command inside a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Its exit code.
    pub code: i64,
    /// What it printed, on both streams.
    pub output: String,
}

impl Engine {
    /// What the engine says of its machine, in detail.
    ///
    /// # Errors
    /// When it does not answer within the deadline or refuses.
    pub async fn machine(&self) -> Result<Machine> {
        let info = self.info().await?;
        Ok(Machine { rootless: self.is_rootless(&info), ..machine(info) })
    }

    /// The paths in a container's own file system that are not as in its image: new or changed.
    /// What lies in volumes and mounts is not among them, nor the empty folders that the engine made for those.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn changed_paths(&self, name: &str) -> Result<Vec<String>> {
        let call = format!("compare {name} with its image");
        let changes = ask(&call, DEADLINE, self.docker.container_changes(name));
        let (changes, container) = tokio::try_join!(changes, self.container(name))?;
        let binds = container.map(|container| container.live.binds).unwrap_or_default();
        let is_there = |kind: ChangeType| matches!(kind, ChangeType::_0 | ChangeType::_1);
        let is_place = |path: &str| binds.iter().any(|bind| Path::new(&bind.container).starts_with(path));
        let paths = changes.unwrap_or_default().into_iter().filter(|c| is_there(c.kind)).map(|c| c.path);
        Ok(paths.filter(|path| !is_place(path)).collect())
    }

    /// Lets the engine ask a registry for an image, with its own proxies and certificates: the digest
    /// that it has there.
    ///
    /// # Errors
    /// [`Error::Image`] with the fault; a time-out when it takes longer than `limit`.
    pub async fn ask_registry(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
        limit: Duration,
    ) -> Result<String> {
        let call = format!("ask the registry for {reference}");
        let name = reference.on_engine();
        let path = format!("/distribution/{name}/json");
        let asked = self.transport.get_as::<Value>(credentials, &path);
        match deadline(&call, limit, asked).await? {
            Ok(answer) => Ok(text(&answer["Descriptor"]["digest"])),
            Err(error) if status_of(&error).is_some() => {
                let Failure { fault, reason, .. } = Failure::from_bollard(ImageAction::Pull, &error);
                let unknown = fault == ImageFault::NotFound && reason.eq_ignore_ascii_case("not found");
                Err(if unknown {
                    Error::EngineUnsupported {
                        endpoint: self.about.endpoint.clone(),
                        reason: "Podman's Docker-compatible socket cannot ask a registry what it has".to_owned(),
                        hint: "docklet update pulls the image, and changes nothing when it is the same".to_owned(),
                    }
                } else {
                    Error::Image {
                        action: ImageAction::Pull,
                        reference: name,
                        fault,
                        reason,
                        log: vec![],
                        log_file: None,
                    }
                })
            }
            Err(error) => Err(translate(&call, error)),
        }
    }

    /// Runs a short command inside, as root, which may read the secrets there.
    ///
    /// # Errors
    /// When the engine refuses, or all of it takes longer than `limit`.
    pub async fn run_inside(&self, name: &str, command: &[&str], limit: Duration) -> Result<CommandResult> {
        let call = format!("run a command in {name}");
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..CreateExecOptions::default()
        };
        let run = async {
            let exec = self.docker.create_exec(name, options).await?;
            let started = self.docker.start_exec(&exec.id, None::<StartExecOptions>).await?;
            let mut output = vec![];
            if let StartExecResults::Attached { output: mut parts, .. } = started {
                while let Some(part) = parts.next().await {
                    if let LogOutput::StdOut { message } | LogOutput::StdErr { message } = part? {
                        let room = LARGEST_OUTPUT.saturating_sub(output.len());
                        output.extend_from_slice(&message[..message.len().min(room)]);
                    }
                }
            }
            let code = self.docker.inspect_exec(&exec.id).await?.exit_code.unwrap_or(-1);
            Ok(CommandResult { code, output: String::from_utf8_lossy(&output).trim().to_owned() })
        };
        ask(&call, limit, run).await
    }

    /// All that the engine knows of a container, without the values of its environment; `None` when
    /// there is none.
    ///
    /// # Errors
    /// When the engine does not answer within the deadline or refuses.
    pub async fn inspect_for_report(&self, name: &str) -> Result<Option<Value>> {
        Ok(self.inspect(name).await?.map(without_values))
    }
}

pub(super) fn machine(info: Value) -> Machine {
    Machine {
        memory: info["MemTotal"].as_u64().unwrap_or_default(),
        limits_memory: info["MemoryLimit"].as_bool(),
        rootless: false,
        storage_driver: text(&info["Driver"]),
        data_folder: text(&info["DockerRootDir"]),
        time: info["SystemTime"].as_str().and_then(crate::clock::parse),
        told: match info {
            Value::Object(fields) => fields.into_iter().filter(|(name, _)| TOLD.contains(&name.as_str())).collect(),
            other => other,
        },
    }
}

/// Of `Config.Env` only the names.
fn without_values(mut inspect: Value) -> Value {
    if let Some(Value::Array(environment)) = inspect.pointer_mut("/Config/Env") {
        for entry in environment {
            let name = entry.as_str().unwrap_or_default().split('=').next().unwrap_or_default();
            *entry = Value::String(format!("{name}=***"));
        }
    }
    inspect
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_report_has_no_names_proxies_or_values() {
        let info = serde_json::from_str(
            r#"{"Name":"my-laptop","MemTotal":8,"HttpProxy":"http://me:pw@proxy","HttpsProxy":"http://me:pw@proxy",
                "Driver":"overlay2","SystemTime":"2026-11-21T08:00:00.5Z","SecurityOptions":["name=rootless"],
                "RegistryConfig":{"Mirrors":["http://me:pw@mirror"]}}"#,
        )
        .unwrap();
        let machine = machine(info);
        assert!(machine.memory == 8 && machine.time.is_some());
        assert_eq!(machine.told["Driver"], "overlay2");
        let told = machine.told.to_string();
        assert!(!told.contains("laptop") && !told.contains("pw"), "{told}");

        let inspect = serde_json::json!({"Config": {"Env": ["A=s3cret", "B=x=y", "C"], "Image": "i"}, "Name": "/n"});
        let wanted = serde_json::json!({"Config": {"Env": ["A=***", "B=***", "C=***"], "Image": "i"}, "Name": "/n"});
        assert_eq!(without_values(inspect), wanted);
    }
}
