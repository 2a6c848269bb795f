//! The shorter questions, one function each: help, default, and which answers are valid.

use std::net::SocketAddr;

use super::{
    flow::{Wizard, author},
    prompt::{Line, Reply},
};
use crate::{
    observed::PortState,
    settings::{Egress, Git, Memory, Port, Resources, RestartPolicy},
    units::Bytes,
};

impl Wizard<'_> {
    /// Which engine, by index; asked only where several answer.
    pub(super) fn engine(&mut self) -> Reply<()> {
        let items: Vec<_> = self
            .around
            .engines
            .iter()
            .map(|e| {
                (format!("{} {}", e.about.name, e.about.version), format!("{} ({})", e.about.endpoint, e.about.origin))
            })
            .collect();
        let help = "Several engines answer on this machine. Which one should run opencode?";
        let at = self.answers.engine.unwrap_or_default();
        self.answers.engine = Some(self.prompt.select("Container engine", help, &items, at)?);
        Ok(())
    }

    /// Which port; proposes a free one, and names the program that holds a taken one.
    pub(super) fn port(&mut self) -> Reply<()> {
        let state = self.around.port_state;
        let wanted = self.answers.port.unwrap_or(self.current.network.port);
        let (proposed, mut help) = match state(wanted) {
            PortState::Available => (wanted, String::new()),
            PortState::Taken { holder, free_port } => {
                let by = holder.map(|holder| format!(": {holder} is listening on it")).unwrap_or_default();
                (free_port.map_or(wanted, Port), format!("Port {wanted} is taken{by}. "))
            }
        };
        let bind = self.current.network.bind;
        let page = SocketAddr::new(bind.reachable(), proposed.0);
        let from = if bind.is_loopback() { "this machine only" } else { "other machines too" };
        help.push_str(&format!("The page will be at http://{page}/, for {from}."));
        let default = proposed.to_string();
        let line = Line { question: "Port", help: &help, default: Some(&default), ..Line::default() };
        let port = self.prompt.line(&line, |text| {
            let port = if text.is_empty() { proposed } else { text.parse()? };
            match state(port) {
                PortState::Available => Ok(port),
                PortState::Taken { holder, free_port } => {
                    let by = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
                    let free = free_port.map(|port| format!("; {port} is free")).unwrap_or_default();
                    Err(format!("port {port} is taken{by}{free}"))
                }
            }
        })?;
        self.answers.port = Some(port);
        Ok(())
    }

    /// The memory limit.
    pub(super) fn memory(&mut self) -> Reply<()> {
        let kept = self.answers.memory.unwrap_or(self.current.resources.memory);
        let engine = self.around.engines.get(self.answers.engine.unwrap_or_default()).map_or(0, |e| e.memory);
        let part = Bytes(engine / 4 * 3);
        // The default gives way to a small engine by itself; written down, it would not.
        let gives_way = kept == Resources::default().memory && engine > 0 && part < kept.0;
        let default = if gives_way { part.to_string() } else { kept.0.to_string() };
        let mut help = "Memory limit, such as 4GiB. An idle opencode uses about 300 MiB.".to_owned();
        if engine > 0 {
            help.push_str(&format!(" The engine has {}.", Bytes(engine)));
        }
        let line = Line { question: "Memory", help: &help, default: Some(&default), ..Line::default() };
        let memory = self.prompt.line(&line, |text| {
            if text.is_empty() {
                return Ok(kept);
            }
            let memory: Memory = text.parse()?;
            if engine > 0 && memory.0.0 > engine {
                return Err(format!("{} is more than the engine's {}", memory.0, Bytes(engine)));
            }
            Ok(memory)
        })?;
        self.answers.memory = Some(memory);
        Ok(())
    }

    /// Who the agent commits as.
    pub(super) fn git(&mut self) -> Reply<()> {
        let git = self.answers.git.as_ref().unwrap_or(&self.current.git);
        let initial = author(git).unwrap_or_default();
        let help = "Your name and e-mail for the agent's commits, such as Ada Lovelace <ada@example.org>. Leave empty \
                    for none.";
        let line = Line { question: "Commits as", help, initial: &initial, ..Line::default() };
        self.answers.git = Some(self.prompt.line(&line, read_author)?);
        Ok(())
    }

    /// Where the agent may connect to.
    pub(super) fn egress(&mut self) -> Reply<()> {
        let modes = [
            (Egress::Internet, "the Internet", "but not this machine or its network"),
            (Egress::Listed, "listed hosts only", "only what network.allow lists"),
            (Egress::All, "everything", "also this machine and its network"),
        ];
        let help = format!(
            "Where may the agent connect to? To allow a model server on this machine later: {}",
            self.prompt.command("config set network.allow host:11434")
        );
        let current = self.answers.egress.unwrap_or(self.current.network.egress);
        self.answers.egress = Some(self.prompt.choose("Network", &help, &modes, &current)?);
        Ok(())
    }

    /// When docklet restarts it.
    pub(super) fn restart(&mut self) -> Reply<()> {
        let policies = [
            (RestartPolicy::Always, "always", "after any exit or hang, until you stop it"),
            (RestartPolicy::OnFailure, "on failure", "only when opencode crashes or hangs"),
            (RestartPolicy::Never, "never", "you restart opencode yourself"),
        ];
        let current = self.answers.restart.unwrap_or(self.current.restart.policy);
        let help = "When should docklet restart opencode?";
        self.answers.restart = Some(self.prompt.choose("Restart", help, &policies, &current)?);
        Ok(())
    }

    /// Whether it starts with the user's session.
    pub(super) fn autostart(&mut self) -> Reply<()> {
        let later = self.prompt.command("autostart");
        let help = format!("This installs a service for your user. To change it later: {later}");
        let current = self.answers.autostart.unwrap_or(self.current.restart.autostart);
        let yes = self.prompt.yes_no("Start opencode when you log in?", &help, current)?;
        self.answers.autostart = Some(yes);
        Ok(())
    }

    /// Whether the page is opened at the end.
    pub(super) fn open(&mut self) -> Reply<()> {
        let question = "Open the page in the browser when it is ready?";
        let current = self.answers.open.unwrap_or(true);
        self.answers.open = Some(self.prompt.yes_no(question, "You will be signed in.", current)?);
        Ok(())
    }
}

/// Reads `Name <mail>`, or one of the two.
fn read_author(text: &str) -> Result<Git, String> {
    let wanted =
        || format!("`{text}` isn't a name with an e-mail address; write it like Ada Lovelace <ada@example.org>");
    let (name, email) = match text.split_once('<') {
        Some((name, rest)) => (name, rest.strip_suffix('>').ok_or_else(wanted)?),
        None if text.contains(['@', '>']) => return Err(wanted()),
        None => (text, ""),
    };
    Ok(Git { name: name.parse()?, email: email.parse()?, ..Git::default() })
}
