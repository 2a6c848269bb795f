//! Flags, environment and files turned into one value that every command gets. The only place
//! that reads the environment.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    args::{Color, Global},
    release,
};
use crate::{
    appliance::Appliance,
    engine::{
        Engine,
        connect::{self, Selection},
        log::LogRequest,
    },
    error::{Error, Result},
    event::{Event, Reporter},
    follow::Subject,
    host::browser::Session,
    instance::Instance,
    interrupt::Interrupt,
    lock::{JUST_BEGUN, Lock},
    paths::{InstancePaths, Paths},
    present::{ColorChoice, Output, Streams, style},
    probe::Probe,
    secrets::{self, Secret},
    settings::Settings,
    supervise,
    wizard::{self, prompt::Prompt},
};

/// How long a command waits for the supervisor to finish a restart, for which it may have to kill a
/// hung container after its grace, or the work of a command that was killed.
const SUPERVISOR_WORKS: Duration = Duration::from_secs(30);

/// After this time it is said what is waited for.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Everything that a command needs to begin.
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// What is installed.
    pub appliance: Appliance,
    /// Whose.
    pub instance: Instance,
    /// The base folders.
    pub paths: Paths,
    /// This instance's files.
    pub files: InstancePaths,
    /// What was found in the environment.
    pub environment: Environment,
    /// Where results and messages go.
    pub output: Output,
    /// Shows what happens.
    pub reporter: Box<dyn Reporter>,
    /// Whether the user wants to stop.
    pub interrupt: Interrupt,
}

/// What was found in the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The user's home folder.
    pub home: PathBuf,
    /// `DOCKER_HOST`
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`, or `~/.docker`
    pub docker_config: PathBuf,
    /// `XDG_RUNTIME_DIR`
    pub runtime_dir: Option<PathBuf>,
    /// The host's CA bundle: `SSL_CERT_FILE`, else `NODE_EXTRA_CA_CERTS`
    pub ca_file: Option<PathBuf>,
    /// The host's proxy variables, under their upper-case names
    pub proxies: BTreeMap<String, String>,
    /// The keys of model providers that the user's shell has, by the secret's name
    pub keys: BTreeMap<String, Secret>,
    /// Whether questions may be asked: a terminal on both sides, and no `CI`
    pub interactive: bool,
    /// Whether there is a browser to open a page in
    pub session: Session,
    /// `DOCKER_TLS_VERIFY`
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`
    pub cert_path: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`
    pub config_home: Option<PathBuf>,
    /// `VISUAL`, else `EDITOR`
    pub editor: Option<String>,
    /// Whether standard input is a terminal
    pub stdin_is_terminal: bool,
    /// `TERM`
    pub term: Option<String>,
    /// What a supervisor started by the service manager has to be told to find the same files and
    /// the same engine
    pub of_services: BTreeMap<String, String>,
}

/// The variables of [`Environment::of_services`].
const OF_SERVICES: [&str; 9] = [
    "DOCKLET_HOME",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
];

impl Environment {
    /// Reads the environment.
    pub fn read(appliance: &Appliance) -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned()).unwrap_or_default();
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), text(name).or_else(|| text(&name.to_lowercase()))?)));
        let keys = appliance
            .providers
            .iter()
            .filter_map(|p| Some((p.secret.clone(), secrets::check_key(&p.secret, &text(&p.secret)?).ok()?)));
        Environment {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker_config: path("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker")),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            ca_file: path("SSL_CERT_FILE").or_else(|| path("NODE_EXTRA_CA_CERTS")),
            proxies: proxies.collect(),
            keys: keys.collect(),
            interactive: std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && text("CI").is_none(),
            session: Session {
                ssh: text("SSH_CONNECTION").or_else(|| text("SSH_TTY")).is_some(),
                display: text("DISPLAY").or_else(|| text("WAYLAND_DISPLAY")).is_some(),
                wsl: text("WSL_DISTRO_NAME").is_some(),
                named: text("BROWSER").is_some(),
            },
            tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
            cert_path: path("DOCKER_CERT_PATH"),
            config_home: path("XDG_CONFIG_HOME"),
            editor: text("VISUAL").or_else(|| text("EDITOR")),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            term: text("TERM"),
            of_services: OF_SERVICES.into_iter().filter_map(|name| Some((name.to_owned(), text(name)?))).collect(),
            home,
        }
    }
}

/// How results and messages are shown, from flags and environment.
pub fn streams(global: &Global) -> Streams {
    let text = |name: &str| std::env::var(name).ok();
    Streams {
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        json: global.json,
        quiet: global.quiet,
        color: match global.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        },
        no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
        term_dumb: std::env::var("TERM").is_ok_and(|term| term == "dumb"),
        unicode: style::locale_is_utf8(text("LC_ALL").as_deref(), text("LC_CTYPE").as_deref(), text("LANG").as_deref()),
    }
}

impl Context {
    /// Puts the context together.
    ///
    /// # Errors
    /// When there is no home folder.
    pub fn new(global: Global, streams: Streams, interrupt: Interrupt) -> Result<Self> {
        let docklet_home = std::env::var_os("DOCKLET_HOME").filter(|value| !value.is_empty());
        let paths = Paths::find(docklet_home.as_deref().map(Path::new))?;
        let instance = global.instance.clone();
        let output = Output::new(streams);
        let files = paths.instance(&instance);
        let mut appliance = Appliance::embedded()?;
        if let Some(chosen) = release::read(&files)? {
            appliance.adopt(chosen);
        }
        let context = Context {
            files,
            environment: Environment::read(&appliance),
            appliance,
            reporter: output.reporter(),
            output,
            instance,
            paths,
            interrupt,
            global,
        };
        context.warn_of_unused_docker_context();
        Ok(context)
    }

    /// The contract's order puts `DOCKER_HOST` before `--context`, docker's own command the other
    /// way round: who says both hears which one counts.
    fn warn_of_unused_docker_context(&self) {
        let said = self.global.context.as_deref().filter(|name| !name.trim().is_empty());
        let Some(name) = said else { return };
        let Some((endpoint, origin)) = connect::chosen(&self.selection()) else { return };
        if !origin.starts_with("--context") {
            let text = format!("--context {name} is not used: {origin} comes first ({endpoint})");
            self.reporter.report(&Event::Warning { text });
        }
    }

    /// Which engine the user means.
    pub fn selection(&self) -> Selection {
        let env = &self.environment;
        // Settings that do not parse are somebody else's to complain about.
        let remembered = Settings::load(&self.files.settings()).ok().flatten().map(|s| s.engine.endpoint);
        Selection {
            remembered,
            host: self.global.host.clone(),
            docker_host: env.docker_host.clone(),
            context: self.global.context.clone(),
            docker_context: env.docker_context.clone(),
            docker_config: env.docker_config.clone(),
            home: env.home.clone(),
            runtime_dir: env.runtime_dir.clone(),
            config_home: env.config_home.clone(),
            tls_verify: env.tls_verify,
            cert_path: env.cert_path.clone(),
        }
    }

    /// Finds the engine.
    ///
    /// # Errors
    /// Why there is none that can be used.
    pub async fn engine(&self) -> Result<Engine> {
        let engine = connect::connect(&self.selection()).await?;
        if self.global.verbose > 0 {
            let about = &engine.about;
            let text = format!("engine: {} {} at {} ({})", about.name, about.version, about.endpoint, about.origin);
            self.reporter.report(&Event::Note { text });
        }
        Ok(engine)
    }

    /// This instance's container, to be followed.
    pub fn subject(&self, log: Option<LogRequest>, usage: bool) -> Subject {
        Subject {
            selection: self.selection(),
            appliance: self.appliance.name.clone(),
            instance: self.instance.clone(),
            container: self.container_name(),
            log,
            usage,
        }
    }

    /// Takes this instance's lock for a writing command.
    ///
    /// # Errors
    /// [`Error::Locked`]
    pub fn lock(&self, command: &str) -> Result<Lock> {
        let began = Instant::now();
        let mut told = false;
        loop {
            match Lock::take(&self.files.lock(), &self.instance, command) {
                // The supervisor has it only for what is soon done.
                Err(Error::Locked { holder, .. })
                    if (holder == JUST_BEGUN || holder.starts_with(&format!("docklet {} ", supervise::run::NAME)))
                        && began.elapsed() < SUPERVISOR_WORKS
                        && !self.interrupt.is_raised() =>
                {
                    if began.elapsed() > WORTH_TELLING && !std::mem::replace(&mut told, true) {
                        self.reporter.report(&Event::Note { text: format!("waiting for {holder}") });
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                taken => return taken,
            }
        }
    }

    /// The settings; an instance without any is not set up.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], and what [`Settings::load`] finds.
    pub fn settings(&self) -> Result<Settings> {
        Settings::load(&self.files.settings())?.ok_or_else(|| Error::NotSetUp { instance: self.instance.to_string() })
    }

    /// The container's name.
    pub fn container_name(&self) -> String {
        self.instance.container(&self.appliance.name)
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

    fn without_password(&self) -> Error {
        let instance = self.instance.to_string();
        if !self.files.settings().exists() {
            return Error::NotSetUp { instance };
        }
        Error::Missing {
            what: format!("password of instance {instance}"),
            reason: Some("its file in the secrets folder is missing or empty".to_owned()),
            hint: format!("docklet{} password --rotate generates a new one", self.instance.flag()),
        }
    }

    /// A probe of the page with these settings.
    ///
    /// # Errors
    /// As [`Context::password`].
    pub fn probe(&self, settings: &Settings) -> Result<Probe> {
        let publish = crate::desired::Publish {
            address: settings.network.bind.0,
            port: settings.network.port.0,
            container_port: self.appliance.container.port,
        };
        self.probe_of(&publish)
    }

    /// A probe of the page that a container publishes.
    ///
    /// # Errors
    /// As [`Context::password`].
    pub fn probe_of(&self, publish: &crate::desired::Publish) -> Result<Probe> {
        let owner = connect::owner(&self.selection());
        Ok(Probe::new(&self.appliance, publish, &self.password()?).with_engine_user(owner))
    }

    /// Asks for a yes, or takes it from `--yes`; without a terminal it has to be given.
    ///
    /// # Errors
    /// [`Error::ConfirmationRequired`] and [`Error::Cancelled`].
    pub fn confirm(&self, question: &str) -> Result<()> {
        if self.global.yes {
            return Ok(());
        }
        if !self.environment.interactive {
            return Err(Error::ConfirmationRequired {
                question: question.trim_end_matches('?').to_owned(),
                flag: "--yes".to_owned(),
            });
        }
        if wizard::confirm(&self.prompt("nothing was changed"), question, false)? {
            Ok(())
        } else {
            Err(Error::Cancelled)
        }
    }

    /// A terminal to ask on; `interrupted` is the hint after Ctrl-C.
    pub fn prompt(&self, interrupted: &str) -> Prompt {
        // On standard error: standard output is for the result.
        Prompt::new(console::Term::stderr(), self.output.streams().stderr_style(), interrupted)
    }
}
