//! A short-lived container beside the appliance's: mounts volumes, runs one program with its
//! streams attached, and ends. Volumes are read and written only this way, so that it works with an
//! engine on another machine, too.

use std::{collections::BTreeMap, collections::HashMap, pin::Pin, time::Duration};

use bollard::{
    container::LogOutput,
    models::{
        ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions, RestartPolicy,
        RestartPolicyNameEnum,
    },
    query_parameters::{AttachContainerOptionsBuilder, WaitContainerOptions},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{
    DEADLINE, Engine,
    call::{ask, deadline, message_of},
    container::Detail,
    docker::WORK_DEADLINE,
    error::{status_of, translate},
};
use crate::{
    desired::label,
    error::{Error, ObjectKind, Result},
};

/// Time that a program may take to end once it has said all.
const LAST_WORDS: Duration = WORK_DEADLINE;

/// How long a task that reads files to us may print nothing.
const SILENCE: Duration = Duration::from_secs(5 * 60);

/// Time in which an engine removes a task that has ended.
const REMOVAL: Duration = Duration::from_secs(10);

/// How often, and how long apart, a container is paused again whose programs the kernel could not freeze.
const FREEZE_TRIES: u32 = 10;
const FREEZE_PAUSE: Duration = Duration::from_millis(200);

/// Most of what a task says on standard error that is kept, in bytes.
const COMPLAINTS: usize = 16 * 1024;

/// The environment of every task: nothing of the image's, whose PATH begins with folders that the agent writes to.
const ENVIRONMENT: [&str; 4] = ["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"];

/// Most of what a task prints that is kept by [`Engine::run_helper`], in bytes.
const LARGEST_OUTPUT: usize = 1 << 20;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct HelperSpec {
    /// The container's name.
    pub name: String,
    /// The image: one that has the program.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Volumes, all of which must be there: name, path inside, whether only to be read.
    pub volumes: Vec<(String, String, bool)>,
    /// Program, by its absolute path, and arguments.
    pub command: Vec<String>,
    /// User and group; empty: root.
    pub user: String,
    /// Whose network it shares.
    pub network: HelperNetwork,
    /// Capabilities that it needs.
    pub capabilities: Vec<String>,
    /// Whether it reads from standard input.
    pub input: bool,
    /// Whether the engine removes it at its end.
    pub auto_remove: bool,
    /// Whether a volume that does not exist yet gets the owner that its place has in the image, as it would with the
    /// appliance's own container.
    pub as_in_image: bool,
}

/// The network of a helper.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HelperNetwork {
    /// It has none.
    #[default]
    None,
    /// That of the container with this name or id.
    Container(String),
    /// That of the engine's machine.
    Host,
}

/// A running task.
pub struct Task {
    engine: Engine,
    name: String,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    stderr: Complaints,
}

/// What a task says on standard error.
#[derive(Default)]
struct Complaints {
    beginning: Vec<u8>,
    listed: u64,
}

impl Complaints {
    fn take(&mut self, message: &[u8]) {
        self.listed += message.iter().filter(|byte| **byte == 0).count() as u64;
        let room = COMPLAINTS.saturating_sub(self.beginning.len());
        self.beginning.extend_from_slice(&message[..message.len().min(room)]);
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperResult {
    /// Its exit code.
    pub code: i64,
    /// What it said on standard error, the beginning of it.
    pub complaints: String,
    /// How many NUL bytes were in all of that: each ends a name of a list.
    pub listed: u64,
}

impl HelperResult {
    /// Why it failed, on one line.
    pub fn reason(&self) -> String {
        let lines: Vec<&str> = self.complaints.lines().map(str::trim).filter(|line| !line.is_empty()).take(5).collect();
        if lines.is_empty() { format!("it ended with code {}", self.code) } else { lines.join("; ") }
    }
}

impl Engine {
    /// Creates a task's container. Nothing runs yet.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when the name is taken, [`Error::NoSuchObject`] when the image is
    /// missing, and what the engine says otherwise.
    pub async fn create_helper(&self, spec: &HelperSpec) -> Result<()> {
        self.create(&spec.name, &spec.image, body(spec)).await.map(drop)
    }

    /// Attaches to a created task and starts it.
    ///
    /// # Errors
    /// [`Error::StartFailed`] when the program cannot be started, and what the engine says otherwise.
    pub async fn start_helper(&self, spec: &HelperSpec) -> Result<Task> {
        let name = spec.name.clone();
        let call = format!("attach to container {name}");
        let options =
            AttachContainerOptionsBuilder::default().stream(true).stdout(true).stderr(true).stdin(spec.input).build();
        // Before it starts, so that nothing that it says is missed.
        let attached = ask(&call, DEADLINE, self.docker.attach_container(&name, Some(options))).await?;
        self.network_is_there(spec).await?;
        self.start_created(&name).await?;
        Ok(Task {
            engine: self.clone(),
            name,
            output: attached.output,
            input: spec.input.then_some(attached.input),
            stderr: Complaints::default(),
        })
    }

    async fn start_created(&self, name: &str) -> Result<()> {
        let call = format!("start container {name}");
        // It may have ended already, and the engine have removed it.
        let is_started = |found: Option<Detail>| found.is_none_or(|container| container.run.is_some());
        self.post_start(&call, name, is_started).await?.map_err(|e| match status_of(&e) {
            Some(_) => Error::StartFailed { name: name.to_owned(), reason: message_of(&e), log: vec![] },
            None => translate(&call, e),
        })
    }

    /// Podman would start a container that has ended, so that a task can share its network: undo a stop, and hide a crash.
    async fn network_is_there(&self, spec: &HelperSpec) -> Result<()> {
        let HelperNetwork::Container(owner) = &spec.network else { return Ok(()) };
        if !self.about.is_podman() || self.container(owner).await?.is_some_and(|found| found.running) {
            return Ok(());
        }
        let reason = format!("container {owner} does not run, so there is no network to share");
        Err(Error::StartFailed { name: spec.name.clone(), reason, log: vec![] })
    }

    /// Runs a task to its end, with this input, and removes it; how it ended, and what it printed.
    ///
    /// # Errors
    /// As [`Engine::create_helper`] and [`Engine::start_helper`].
    pub async fn run_helper(&self, spec: &HelperSpec, input: Option<&[u8]>) -> Result<(HelperResult, Vec<u8>)> {
        let spec = HelperSpec { input: input.is_some(), ..spec.clone() };
        self.create_helper_anew(&spec).await?;
        let work = async {
            let mut task = self.start_helper(&spec).await?;
            if let Some(input) = input {
                task.write(input).await;
                task.close_input().await;
            }
            let mut output = vec![];
            while let Some(piece) = task.next().await? {
                let room = LARGEST_OUTPUT.saturating_sub(output.len());
                output.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            Ok((task.end().await?, output))
        };
        let done = work.await;
        let removed = self.remove_container(&spec.name).await;
        let done = done?;
        removed.map(|_| done)
    }

    /// The same for a task without input that may run twice: with three calls where it ends well, and else once more to
    /// hear why.
    ///
    /// # Errors
    /// As [`Engine::run_helper`].
    pub async fn run_quick_helper(&self, spec: &HelperSpec) -> Result<HelperResult> {
        self.create_helper_anew(&HelperSpec { auto_remove: true, ..spec.clone() }).await?;
        let started = async {
            self.network_is_there(spec).await?;
            self.start_created(&spec.name).await
        };
        if let Err(error) = started.await {
            // One that never started stays.
            self.remove_container(&spec.name).await?;
            return Err(error);
        }
        match self.wait_for_helper(&spec.name).await {
            Ok(0) => Ok(HelperResult { code: 0, complaints: String::new(), listed: 0 }),
            // Gone before it was asked about, or ended badly.
            Ok(_) | Err(Error::EngineRefused { status: 404, .. }) => Ok(self.run_helper(spec, None).await?.0),
            Err(error) => Err(error),
        }
    }

    /// Creates a task in place of one that a killed command left behind, or that the engine is just removing.
    async fn create_helper_anew(&self, spec: &HelperSpec) -> Result<()> {
        let began = std::time::Instant::now();
        loop {
            match self.create_helper(spec).await {
                Err(Error::AlreadyExists { .. }) if began.elapsed() < REMOVAL => {}
                done => return done,
            }
            match self.container(&spec.name).await? {
                Some(left) if !left.labels.contains_key(label::TASK) => {
                    return Err(Error::Foreign { kind: ObjectKind::Container, name: spec.name.clone() });
                }
                Some(_) => drop(self.remove_container(&spec.name).await?),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn wait_for_helper(&self, name: &str) -> Result<i64> {
        let call = format!("wait for container {name}");
        let late = || Error::EngineTimeout { call: call.clone(), seconds: LAST_WORDS.as_secs() };
        let mut answers = pin(self.docker.wait_container(name, None::<WaitContainerOptions>));
        match tokio::time::timeout(LAST_WORDS, answers.next()).await.map_err(|_| late())? {
            Some(Ok(answer)) => Ok(answer.status_code),
            // bollard takes a code above 0 for an error of the call.
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(e)) => Err(translate(&call, e)),
            None => Err(Error::EngineGone { call, reason: "it printed nothing".to_owned() }),
        }
    }

    /// Pauses a running container.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`], and what the engine says otherwise.
    pub async fn pause_container(&self, name: &str) -> Result<()> {
        let call = format!("pause container {name}");
        let mut tries = 0;
        loop {
            match deadline(&call, DEADLINE, self.docker.pause_container(name)).await? {
                Ok(()) => return Ok(()),
                // A kernel with cgroup v1 cannot freeze a program that is just being started, such as a health check.
                Err(e) if message_of(&e).contains("unable to freeze") && tries < FREEZE_TRIES => {
                    tries += 1;
                    tokio::time::sleep(FREEZE_PAUSE).await;
                }
                Err(e) if status_of(&e) == Some(404) => {
                    return Err(Error::NoSuchObject { kind: ObjectKind::Container, name: name.to_owned() });
                }
                Err(e) => return Err(translate(&call, e)),
            }
        }
    }
}

impl Task {
    /// The next piece that it prints on standard output; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.output.next().await {
                None => return Ok(None),
                Some(Ok(LogOutput::StdErr { message })) => self.stderr.take(&message),
                Some(Ok(part)) => return Ok(Some(part.into_bytes())),
                Some(Err(e)) => return Err(translate(&format!("read from container {}", self.name), e)),
            }
        }
    }

    /// The same for a task that prints all the time: a connection on which nothing comes may keep what it reads paused.
    ///
    /// # Errors
    /// As [`Task::next`], and [`Error::EngineTimeout`].
    pub async fn next_in_time(&mut self) -> Result<Option<Bytes>> {
        let call = format!("read from container {}", self.name);
        let late = |_| Error::EngineTimeout { call, seconds: SILENCE.as_secs() };
        tokio::time::timeout(SILENCE, self.next()).await.map_err(late)?
    }

    /// Writes to its standard input. `false` when it reads no more. Meanwhile its complaints are read, or one with
    /// many of them would never read on; what it prints on standard output is thrown away.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let Some(input) = &mut self.input else { return false };
        let mut writing = std::pin::pin!(input.write_all(bytes));
        loop {
            tokio::select! {
                biased;
                written = &mut writing => return written.is_ok(),
                part = self.output.next() => match part {
                    Some(Ok(LogOutput::StdErr { message })) => self.stderr.take(&message),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return false,
                },
            }
        }
    }

    /// Its standard input, for whoever writes to it while somebody else reads what it prints.
    pub fn take_input(&mut self) -> Option<Pin<Box<dyn AsyncWrite + Send>>> {
        self.input.take()
    }

    /// Says that nothing more comes.
    pub async fn close_input(&mut self) {
        if let Some(mut input) = self.input.take() {
            // One that has ended has no input to close.
            let _ = input.flush().await;
            let _ = input.shutdown().await;
        }
    }

    /// Waits for its end; what it still prints on standard output is thrown away.
    ///
    /// # Errors
    /// When the connection breaks, or it does not end.
    pub async fn end(&mut self) -> Result<HelperResult> {
        self.close_input().await;
        while self.next().await?.is_some() {}
        let code = self.engine.wait_for_helper(&self.name).await?;
        let complaints = String::from_utf8_lossy(&self.stderr.beginning).trim().to_owned();
        Ok(HelperResult { code, complaints, listed: self.stderr.listed })
    }
}

fn pin<S: Stream>(stream: S) -> Pin<Box<S>> {
    Box::pin(stream)
}

fn body(spec: &HelperSpec) -> ContainerCreateBody {
    let mounts = spec.volumes.iter().map(|(name, target, read_only)| Mount {
        typ: Some(MountType::VOLUME),
        source: Some(name.clone()),
        target: Some(target.clone()),
        read_only: Some(*read_only),
        // Else an empty volume must stay empty: what the image has in that place is no data.
        // One that is not there yet comes into being with the task, and with the instance's labels.
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(!spec.as_in_image),
            labels: Some(spec.labels.clone().into_iter().filter(|(key, _)| key != label::TASK).collect()),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    });
    let auto_remove = spec.auto_remove.then(|| (label::AUTO_REMOVE.to_owned(), "true".to_owned()));
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: Some(ENVIRONMENT.into_iter().map(str::to_owned).chain(spec.command.iter().cloned()).collect()),
        cmd: Some(vec![]),
        user: Some(if spec.user.is_empty() { "0:0".to_owned() } else { spec.user.clone() }),
        working_dir: Some("/".to_owned()),
        labels: Some(spec.labels.clone().into_iter().chain(auto_remove).collect()),
        // The image's own would report a task as unhealthy.
        healthcheck: Some(bollard::models::HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..bollard::models::HealthConfig::default()
        }),
        attach_stdin: Some(spec.input),
        open_stdin: Some(spec.input),
        stdin_once: Some(spec.input),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        host_config: Some(HostConfig {
            network_mode: Some(match &spec.network {
                HelperNetwork::None => "none".to_owned(),
                HelperNetwork::Container(container) => format!("container:{container}"),
                HelperNetwork::Host => "host".to_owned(),
            }),
            // An engine with user namespaces shares its machine's network only with containers outside of them.
            userns_mode: (spec.network == HelperNetwork::Host).then(|| "host".to_owned()),
            mounts: Some(mounts.collect()),
            readonly_rootfs: Some(true),
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
            auto_remove: Some(spec.auto_remove),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(spec.capabilities.clone()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            // What it prints is the data: it must not be written to the engine's disk a second time.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: Some(HashMap::new()) }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}
