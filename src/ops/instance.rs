//! The handle of an instance: its name, its files, how its engine is found, and who hears of what happens.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    questions::{Questions, Unattended},
    release, stop, supervisor,
};
use crate::{
    appliance::Appliance,
    desired::Publish,
    engine::{
        Engine,
        connect::{self, Selection},
        log::LogRequest,
    },
    error::{Error, Result},
    event::{Reporter, Silent},
    follow::FollowTarget,
    host::tunnel::Tunnel,
    instance_name::InstanceName,
    interrupt::{self, Interrupt},
    lock::{JUST_BEGUN, Lock},
    paths::{self, InstancePaths, Paths},
    probe::{self, Probe},
    secrets::{self, Secret},
    settings::Settings,
};

/// How long an operation waits for the supervisor to finish a restart, for which it may have to kill a
/// hung container after its grace, or the work of a command that was killed.
const SUPERVISOR_WORKS: Duration = Duration::from_secs(30);

/// After this time a note says what is waited for.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// What the command line takes from flags and environment. The default finds the files and the engine of the user that
/// the process runs as, without looking at any variable.
#[derive(Debug, Clone)]
pub struct Options {
    /// One folder for settings, state and data; `None`: those of the platform.
    pub folder: Option<PathBuf>,
    /// The user's home folder.
    pub home: PathBuf,
    /// The engine's address, before all others.
    pub host: Option<String>,
    /// The name of a docker context.
    pub context: Option<String>,
    /// The engine's address as `DOCKER_HOST` has it.
    pub docker_host: Option<String>,
    /// The docker context as `DOCKER_CONTEXT` has it.
    pub docker_context: Option<String>,
    /// The docker client's configuration folder.
    pub docker_config: PathBuf,
    /// The folder of the user's sockets (`XDG_RUNTIME_DIR`).
    pub runtime_dir: Option<PathBuf>,
    /// The folder of the user's configuration, where it is not the platform's (`XDG_CONFIG_HOME`).
    pub config_home: Option<PathBuf>,
    /// Whether the engine's certificate is checked (`DOCKER_TLS_VERIFY`).
    pub tls_verify: bool,
    /// Where the client's certificates are (`DOCKER_CERT_PATH`).
    pub cert_path: Option<PathBuf>,
    /// The host's certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// The host's proxy variables, by their upper-case names.
    pub proxies: BTreeMap<String, String>,
    /// Where the host's ssh agent listens (`SSH_AUTH_SOCK`).
    pub ssh_agent: Option<PathBuf>,
    /// Whether programs may be installed on this machine for a build, such as the one that makes the base image.
    pub may_install: bool,
    /// Variables that a supervisor of the service manager needs to find the same files and the same engine.
    pub service_environment: BTreeMap<String, String>,
    /// Whether `start` makes sure that a supervisor runs. It is a process of the `docklet` binary, so a program that
    /// embeds the library says no.
    pub supervise: bool,
    /// Whether notes say more than is needed.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        let home = directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned()).unwrap_or_default();
        Options {
            folder: None,
            docker_config: home.join(".docker"),
            home,
            host: None,
            context: None,
            docker_host: None,
            docker_context: None,
            runtime_dir: None,
            config_home: None,
            tls_verify: false,
            cert_path: None,
            ca_file: None,
            proxies: BTreeMap::new(),
            ssh_agent: None,
            may_install: false,
            service_environment: BTreeMap::new(),
            supervise: false,
            verbose: false,
        }
    }
}

/// One instance of the appliance, whether it exists yet or not.
pub struct Instance {
    pub(crate) name: InstanceName,
    pub(crate) appliance: Appliance,
    pub(crate) paths: Paths,
    pub(crate) files: InstancePaths,
    pub(crate) options: Options,
    pub(crate) questions: Box<dyn Questions>,
    pub(crate) reporter: Box<dyn Reporter>,
    pub(crate) interrupt: Interrupt,
    /// The lock of the larger operation that this one's are parts of.
    under: Mutex<Option<Lock>>,
}

impl Instance {
    /// The instance of this name. Reads its files; asks no engine. Nobody hears of what happens, nobody answers
    /// questions, and nothing interrupts it: see [`Instance::reported_to`], [`Instance::asking`] and
    /// [`Instance::interrupted_by`].
    ///
    /// # Errors
    /// When there is no home folder, or a file cannot be read.
    pub fn open(name: InstanceName, options: Options) -> Result<Self> {
        let paths = Paths::find(options.folder.as_deref())?;
        let files = paths.instance(&name);
        let mut appliance = Appliance::embedded()?;
        if let Some(chosen) = release::read(&files)? {
            appliance.adopt(chosen);
        }
        Ok(Instance {
            name,
            appliance,
            paths,
            files,
            options,
            questions: Box::new(Unattended::default()),
            reporter: Box::new(Silent),
            interrupt: interrupt::pair().1,
            under: Mutex::new(None),
        })
    }

    /// With somebody who hears of what happens.
    #[must_use]
    pub fn reported_to(mut self, reporter: Box<dyn Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// With somebody who answers questions.
    #[must_use]
    pub fn asking(mut self, questions: Box<dyn Questions>) -> Self {
        self.questions = questions;
        self
    }

    /// With something that can interrupt it.
    #[must_use]
    pub fn interrupted_by(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = interrupt;
        self
    }

    /// Its name.
    pub fn name(&self) -> &InstanceName {
        &self.name
    }

    /// The container's name.
    pub fn container_name(&self) -> String {
        self.name.container(&self.appliance.name)
    }

    /// The password of the page.
    ///
    /// # Errors
    /// [`Error::NotSetUp`] when there is none.
    pub fn password(&self) -> Result<Secret> {
        secrets::read(&self.files.secrets(), &self.appliance.login.password_secret)?
            .filter(|password| !password.reveal().is_empty())
            .ok_or_else(|| self.without_password())
    }

    /// The names of the secrets, without the page's password.
    pub(crate) fn secret_names(&self) -> Result<Vec<String>> {
        let mut names = secrets::names(&self.files.secrets())?;
        names.retain(|name| *name != self.appliance.login.password_secret);
        Ok(names)
    }

    fn without_password(&self) -> Error {
        let instance = self.name.to_string();
        if !self.files.settings().exists() {
            return Error::NotSetUp { instance };
        }
        Error::Missing {
            what: format!("password of instance {instance}"),
            reason: Some("its file in the secrets folder is missing or empty".to_owned()),
            hint: format!("docklet{} password --rotate generates a new one", self.name.flag()),
        }
    }

    /// The settings. Where nothing is set up, somebody else's container may have the name: the user may well mean that one.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], or [`Error::Foreign`] for that one.
    pub(crate) async fn settings(&self) -> Result<Settings> {
        if let Some(settings) = Settings::load(&self.files.settings())? {
            return Ok(settings);
        }
        let snapshot = async {
            match self.engine().await {
                Ok(engine) => stop::refuse_foreign(self, &engine).await,
                Err(_) => Ok(()),
            }
        };
        Box::pin(snapshot).await?;
        Err(Error::NotSetUp { instance: self.name.to_string() })
    }

    /// Which engine is meant.
    pub(crate) fn selection(&self) -> Selection {
        let options = &self.options;
        // Settings that do not parse are somebody else's to complain about.
        let remembered = Settings::load(&self.files.settings()).ok().flatten().map(|s| s.engine.endpoint);
        Selection {
            remembered,
            host: options.host.clone(),
            docker_host: options.docker_host.clone(),
            context: options.context.clone(),
            docker_context: options.docker_context.clone(),
            docker_config: options.docker_config.clone(),
            home: options.home.clone(),
            runtime_dir: options.runtime_dir.clone(),
            config_home: options.config_home.clone(),
            tls_verify: options.tls_verify,
            cert_path: options.cert_path.clone(),
            memory: Some(self.files.engine()),
        }
    }

    /// Finds the engine.
    pub(crate) async fn engine(&self) -> Result<Engine> {
        let engine = connect::connect(&self.selection()).await?;
        if self.options.verbose {
            let about = &engine.about;
            self.note(format!("engine: {} {} at {} ({})", about.name, about.version, about.endpoint, about.origin));
        }
        Ok(engine)
    }

    /// This instance's container, to be followed.
    pub(crate) fn subject(&self, log: Option<LogRequest>, usage: bool) -> FollowTarget {
        FollowTarget {
            selection: self.selection(),
            appliance: self.appliance.name.clone(),
            instance: self.name.clone(),
            container: self.container_name(),
            log,
            usage,
        }
    }

    /// Takes this instance's lock for an operation that writes.
    pub(crate) fn lock(&self, command: &str) -> Result<Lock> {
        if let Some(lock) = &*self.under.lock().unwrap_or_else(PoisonError::into_inner) {
            return lock.again();
        }
        let lock = self.lock_at(&self.files.lock(), command)?;
        // Of a command that was killed; a value may be in one that was removed since.
        paths::remove_leftovers(&self.files.secrets());
        paths::remove_leftovers(&self.files.config);
        Ok(lock)
    }

    /// From now on, its operations are parts of one that holds this lock.
    pub(crate) fn work_under(&self, lock: &Lock) -> Result<()> {
        *self.under.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock.again()?);
        Ok(())
    }

    /// Takes a lock of this instance's. What the supervisor is finishing is waited for.
    pub(crate) fn lock_at(&self, path: &Path, command: &str) -> Result<Lock> {
        let began = Instant::now();
        let mut told = false;
        loop {
            match Lock::take(path, &self.name, command) {
                // The supervisor has it only for what is soon done.
                Err(Error::Locked { holder, .. })
                    if (holder == JUST_BEGUN || holder.starts_with(&format!("docklet {} ", supervisor::NAME)))
                        && began.elapsed() < SUPERVISOR_WORKS
                        && !self.interrupt.is_raised() =>
                {
                    if began.elapsed() > WORTH_TELLING && !std::mem::replace(&mut told, true) {
                        self.note(format!("waiting for {holder}"));
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                taken => return taken,
            }
        }
    }

    /// A probe of the page with these settings.
    pub(crate) fn probe(&self, settings: &Settings) -> Result<Probe> {
        self.probe_of(&Publish::of(&self.appliance, settings))
    }

    /// A probe of the page that a container publishes.
    pub(crate) fn probe_of(&self, publish: &Publish) -> Result<Probe> {
        Ok(Probe::of(&self.appliance, &self.files, &self.selection(), publish, &self.password()?))
    }

    /// The tunnel to the page that a container publishes, where the engine is behind ssh.
    pub(crate) fn tunnel(&self, publish: &Publish) -> Option<Tunnel> {
        probe::tunnel(&self.files, &self.selection(), publish)
    }

    /// Reports what the user should know and what is not an error, in a sentence.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.reporter.note(text);
    }

    /// Reports what needs the user's attention, in a sentence.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.reporter.warn(text);
    }

    /// Asks for a yes.
    pub(crate) fn confirm(&self, question: &str) -> Result<()> {
        self.questions.confirm(question)
    }
}
