//! Flags, environment and files turned into one value that every command gets. The only place
//! that reads the environment.

use std::{collections::BTreeMap, io::IsTerminal as _, path::PathBuf};

use super::args::{Color, Command, Global};
use crate::{
    appliance::Appliance,
    clock::Zone,
    engine::connect,
    error::{Error, Result},
    host::{browser::Session, terminal},
    instance_name::InstanceName,
    interrupt::Interrupt,
    ops::{Instance, Options, Questions, Unattended},
    present::{ColorChoice, Output, Streams, result, style},
    report::UninstallReport,
    secrets::{self, Secret},
    wizard::{self, prompt::Prompt},
};

/// Everything that a command needs to begin: the instance, and what only the command line has.
pub struct Context {
    /// The instance.
    pub instance: Instance,
    /// Options of every command.
    pub global: Global,
    /// What the terminal and the environment offer.
    pub environment: Environment,
    /// Where results and messages go.
    pub output: Output,
}

impl std::ops::Deref for Context {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

/// What was found in the environment that no operation needs.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The keys of model providers that the user's shell has, by the secret's name
    pub keys: BTreeMap<String, Secret>,
    /// Whether questions may be asked: a terminal on both sides, and no `CI`
    pub interactive: bool,
    /// Whether questions are plain lines, without keys and a cursor
    pub plain: bool,
    /// Whether there is a browser to open a page in
    pub session: Session,
    /// `VISUAL`, else `EDITOR`
    pub editor: Option<String>,
    /// Whether standard input is a terminal
    pub stdin_is_terminal: bool,
    /// `TERM`
    pub term: Option<String>,
    /// The time zone that `TZ` names, else the machine's
    pub zone: Zone,
}

/// The variables of [`Options::service_environment`].
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

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Environment {
    /// Reads the environment.
    pub fn read(appliance: &Appliance, plain: bool) -> Self {
        let key = |name: &str, variables: &[String]| {
            let value = variables.iter().find_map(|variable| text(variable))?;
            Some((name.to_owned(), secrets::check_key(name, &value).ok()?))
        };
        let keys = appliance.providers.iter().filter_map(|p| key(&p.secret, std::slice::from_ref(&p.secret)));
        let tokens = appliance.tokens.iter().filter_map(|token| key(&token.name, &token.env));
        let is_on = |name: &str| text(name).is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "no"));
        Environment {
            keys: keys.chain(tokens).collect(),
            interactive: std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && text("CI").is_none(),
            plain: plain || is_on("ACCESSIBLE") || text("TERM").is_some_and(|term| term == "dumb"),
            session: Session {
                ssh: text("SSH_CONNECTION").or_else(|| text("SSH_TTY")).is_some(),
                display: text("DISPLAY").or_else(|| text("WAYLAND_DISPLAY")).is_some(),
                wsl: text("WSL_DISTRO_NAME").is_some(),
                named: text("BROWSER").is_some(),
            },
            editor: text("VISUAL").or_else(|| text("EDITOR")),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            term: text("TERM"),
            // Empty means UTC there.
            zone: Zone::here(),
        }
    }
}

/// What operations get from flags and environment.
fn options(global: &Global) -> Options {
    let default = Options::default();
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), text(name).or_else(|| text(&name.to_lowercase()))?)));
    Options {
        folder: path("DOCKLET_HOME"),
        host: global.host.clone(),
        context: global.context.clone(),
        docker_host: text("DOCKER_HOST"),
        docker_context: text("DOCKER_CONTEXT"),
        docker_config: path("DOCKER_CONFIG").unwrap_or(default.docker_config),
        runtime_dir: path("XDG_RUNTIME_DIR"),
        config_home: path("XDG_CONFIG_HOME"),
        tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
        cert_path: path("DOCKER_CERT_PATH"),
        ca_file: path("SSL_CERT_FILE").or_else(|| path("NODE_EXTRA_CA_CERTS")),
        proxies: proxies.collect(),
        ssh_agent: path("SSH_AUTH_SOCK"),
        may_install: default.may_install,
        service_environment: OF_SERVICES.into_iter().filter_map(|name| Some((name.to_owned(), text(name)?))).collect(),
        supervise: !global.no_supervisor,
        verbose: global.verbose > 0,
        home: default.home,
    }
}

/// How results and messages are shown, from flags and environment.
pub fn streams(global: &Global) -> Streams {
    let text = |name: &str| std::env::var(name).ok();
    Streams {
        stdout_columns: terminal::columns(&console::Term::stdout()),
        stderr_columns: terminal::columns(&console::Term::stderr()),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        stdout_is_data: false,
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
        let output = Output::new(streams);
        let instance = Instance::open(global.instance.clone(), options(&global))?
            .reported_to(output.reporter())
            .interrupted_by(interrupt);
        let environment = Environment::read(&instance.appliance, global.plain);
        let mut context = Context { instance, environment, output, global };
        context.ask_at_terminal();
        context.warn_of_unused_docker_context();
        Ok(context)
    }

    /// The same instance on another engine. Its questions were answered by whoever began the command.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub fn on_engine(&self, host: &str) -> Result<Instance> {
        let options = Options { host: Some(host.to_owned()), ..self.instance.options.clone() };
        let there = Instance::open(self.instance.name.clone(), options)?
            .reported_to(self.output.reporter())
            .asking(Box::new(Unattended { yes: true }))
            .interrupted_by(self.instance.interrupt.clone());
        Ok(there)
    }

    /// The same for this command, which says whether builds may install programs on this machine.
    pub fn of(mut self, command: Option<&Command>) -> Self {
        let asks = self.environment.interactive && !self.global.yes;
        self.instance.options.may_install = command.is_some_and(|command| command.may_install(asks));
        self
    }

    /// Operations ask here, if anybody can be asked.
    pub fn ask_at_terminal(&mut self) {
        self.instance.questions = Box::new(AtTerminal {
            yes: self.global.yes,
            interactive: self.environment.interactive,
            plain: self.environment.plain,
            streams: *self.output.streams(),
            name: self.instance.name.clone(),
        });
    }

    /// `--host` comes before `--context`: a warning says which of the two counts.
    fn warn_of_unused_docker_context(&self) {
        let given = self.global.context.as_deref().filter(|name| !name.trim().is_empty());
        let Some(name) = given else { return };
        let Some((endpoint, origin)) = connect::chosen(&self.selection()) else { return };
        if !origin.starts_with("--context") {
            self.reporter.warn(format!("--context {name} is not used: {origin} comes first ({endpoint})"));
        }
    }

    /// A terminal to ask on; `interrupted` is the hint after Ctrl-C.
    pub fn prompt(&self, interrupted: &str) -> Prompt {
        prompt(self.output.streams(), self.environment.plain, interrupted).about(&self.name)
    }
}

/// On standard error: standard output is for the result.
fn prompt(streams: &Streams, plain: bool, interrupted: &str) -> Prompt {
    Prompt::new(console::Term::stderr(), streams.stderr_style(), plain, interrupted)
}

/// Asks at the terminal, or takes `--yes` for an answer.
struct AtTerminal {
    yes: bool,
    interactive: bool,
    plain: bool,
    streams: Streams,
    name: InstanceName,
}

impl Questions for AtTerminal {
    fn says_yes(&self) -> bool {
        self.yes
    }

    fn confirm(&self, question: &str) -> Result<()> {
        if self.yes || !self.interactive {
            return Unattended { yes: self.yes }.confirm(question);
        }
        let sure = wizard::confirm(&prompt(&self.streams, self.plain, "nothing was changed"), question, false)?;
        if sure { Ok(()) } else { Err(Error::Cancelled) }
    }

    fn suggest(&self, question: &str, otherwise: &str) -> Result<bool> {
        if self.yes || !self.interactive {
            return Ok(self.yes);
        }
        wizard::confirm(&prompt(&self.streams, self.plain, otherwise), question, true)
    }

    fn passphrase(&self) -> Result<Option<Secret>> {
        if self.yes || !self.interactive {
            return Ok(None);
        }
        wizard::passphrase(&prompt(&self.streams, self.plain, "nothing was changed")).map(Some)
    }

    fn confirm_removal(&self, report: &UninstallReport, data: Option<bool>) -> Result<()> {
        if self.yes || !self.interactive {
            return Unattended { yes: self.yes }.confirm_removal(report, data);
        }
        let output = Output::new(self.streams);
        output.message(&result::uninstall_plan(report, output.style()));
        let prompt = prompt(&self.streams, self.plain, "nothing was removed");
        let sure = match data {
            None => wizard::confirm(&prompt, "Remove it?", false)?,
            Some(backed_up) => {
                let question = if backed_up {
                    "the data in the volumes is backed up and then deleted"
                } else {
                    "the data in the volumes is deleted and can't be recovered"
                };
                wizard::typed_confirmation(&prompt, question, self.name.as_str())?
            }
        };
        if sure { Ok(()) } else { Err(Error::Cancelled) }
    }
}
