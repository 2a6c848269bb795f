//! The questions, one function each: help, default, and which answers are valid.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    EngineChoice, PasswordChoice, Source, Surroundings,
    prompt::{Line, Prompt},
};
use crate::{
    appliance::{PackageChoice, Provider},
    error::Result,
    observed::PortState,
    secrets::{LEAST_PASSWORD_LENGTH, Secret, check_key, check_password},
    settings::{Egress, ImageSource, Memory, Mount, PackageName, Port, Resources, RestartPolicy, Settings},
    units::Bytes,
};

/// Which engine, by index; asked only where several answer.
pub(super) fn engine(prompt: &Prompt, engines: &[EngineChoice]) -> Result<usize> {
    if engines.len() < 2 {
        return Ok(0);
    }
    let items: Vec<_> = engines
        .iter()
        .map(|e| {
            (format!("{} {}", e.about.name, e.about.version), format!("{} ({})", e.about.endpoint, e.about.origin))
        })
        .collect();
    prompt.select(
        "Container engine",
        "Several engines answer on this machine. Which one should run opencode?",
        &items,
        0,
    )
}

/// Which port; proposes a free one, and names the program that holds a taken one.
pub(super) fn port(prompt: &Prompt, current: &Settings, state: &dyn Fn(Port) -> PortState) -> Result<Port> {
    let wanted = current.network.port;
    let (proposed, mut help) = match state(wanted) {
        PortState::Available => (wanted, String::new()),
        PortState::Taken { holder, free_port } => {
            let by = holder.map(|holder| format!(": {holder} is listening on it")).unwrap_or_default();
            (free_port.map_or(wanted, Port), format!("Port {wanted} is taken{by}. "))
        }
    };
    let bind = current.network.bind;
    let page = SocketAddr::new(bind.reachable(), proposed.0);
    let from = if bind.is_loopback() { "this machine only" } else { "other machines too" };
    help.push_str(&format!("The page will be at http://{page}/, for {from}."));
    let default = proposed.to_string();
    let line = Line { question: "Port", help: &help, default: Some(&default), initial: "", hidden: false };
    prompt.line(&line, |text| {
        let port = if text.is_empty() { proposed } else { text.parse()? };
        match state(port) {
            PortState::Available => Ok(port),
            PortState::Taken { holder, free_port } => {
                let by = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
                let free = free_port.map(|free| format!("; {free} is free")).unwrap_or_default();
                Err(format!("port {port} is taken{by}{free}"))
            }
        }
    })
}

/// Where the image comes from.
pub(super) fn source(prompt: &Prompt, current: &Settings, around: &Surroundings<'_>) -> Result<Source> {
    let sources = [
        (ImageSource::Build, "build it here", "takes a few minutes the first time; recommended"),
        (ImageSource::Pull, "pull it", "from a registry"),
        (ImageSource::Load, "load it", "from a file made with docker save"),
    ];
    let help = "The image contains opencode and its tools. Where should it come from? (arrow keys and Enter)";
    let chosen = prompt.choose("Image", help, &sources, &current.image.source)?;
    let known = Some(current.image.reference.as_str()).filter(|reference| !reference.is_empty());
    match chosen {
        ImageSource::Build => Ok(Source::Build),
        ImageSource::Pull => {
            let help = "Name of the image, such as registry.example.org/opencode-cloud:1.18.33.";
            let line = Line { question: "Image to pull", help, default: known, initial: "", hidden: false };
            prompt
                .line(&line, |text| match (text, known) {
                    ("", Some(known)) => Ok(known.to_owned()),
                    ("", None) => Err("enter an image name, such as registry.example.org/name:tag".to_owned()),
                    (text, _) => check_reference(text),
                })
                .map(Source::Pull)
        }
        ImageSource::Load => {
            let loaded = known.filter(|_| current.image.source == ImageSource::Load);
            let help = match loaded {
                Some(_) => "Path of the file. Leave empty to keep the image that was loaded before.",
                None => "Path of the file, such as ~/opencode-cloud.tar.",
            };
            let line = Line { question: "File to load", help, default: loaded, initial: "", hidden: false };
            prompt
                .line(&line, |text| match text {
                    "" if loaded.is_some() => Ok(None),
                    "" => Err("enter the path of a file, or press Esc to quit".to_owned()),
                    text => {
                        let path = expand(text, around.home.as_deref())?;
                        if path.is_file() { Ok(Some(path)) } else { Err(what_is_wrong(&path, "file")) }
                    }
                })
                .map(Source::Load)
        }
    }
}

/// A rough check of an image's name; the registry does the rest.
fn check_reference(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "./:_-@".contains(c);
    if text.chars().all(allowed) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` isn't a valid image name; write it like registry.example.org/name:tag"))
    }
}

/// Which packages are built in: ready-made choices, then free text.
pub(super) fn packages(prompt: &Prompt, current: &Settings, choices: &[PackageChoice]) -> Result<Vec<PackageName>> {
    let before: Vec<&str> = current.image.extra_packages.iter().map(|p| p.0.as_str()).collect();
    let has_all = |choice: &PackageChoice| choice.names.iter().all(|name| before.contains(&name.as_str()));
    let mut wanted: Vec<PackageName> = vec![];
    let mut others = before.clone();
    if !choices.is_empty() {
        let items: Vec<_> = choices.iter().map(|c| (c.title.clone(), c.names.join(" "))).collect();
        let chosen: Vec<bool> = choices.iter().map(has_all).collect();
        others.retain(|p| !choices.iter().filter(|c| has_all(c)).any(|c| c.names.iter().any(|n| n == p)));
        let help = "Languages to install. Space selects, arrow keys move, Enter continues.";
        for index in prompt.many("Languages", help, &items, &chosen)? {
            for name in choices.get(index).map(|c| c.names.as_slice()).unwrap_or_default() {
                wanted.push(PackageName(name.clone()));
            }
        }
    }
    let initial = others.join(" ");
    let help = "More Debian packages to install, separated by spaces, such as: ffmpeg sqlite3. Leave empty for none.";
    let line = Line { question: "Other packages", help, default: None, initial: &initial, hidden: false };
    let more = prompt.line(&line, |text| {
        let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        words.map(str::parse).collect::<Result<Vec<PackageName>, String>>()
    })?;
    for package in more {
        if !wanted.contains(&package) {
            wanted.push(package);
        }
    }
    Ok(wanted)
}

/// The memory limit.
pub(super) fn memory(prompt: &Prompt, current: &Settings, engine: u64) -> Result<Memory> {
    let kept = current.resources.memory;
    let part = Bytes(engine / 4 * 3);
    // The default gives way to a small engine by itself; written down, it would not.
    let gives_way = kept == Resources::default().memory && engine > 0 && part < kept.0;
    let default = if gives_way { part.to_string() } else { kept.0.to_string() };
    let mut help = "Memory limit, such as 4GiB. An idle opencode uses about 300 MiB.".to_owned();
    if engine > 0 {
        help.push_str(&format!(" The engine has {}.", Bytes(engine)));
    }
    let line = Line { question: "Memory", help: &help, default: Some(&default), initial: "", hidden: false };
    prompt.line(&line, |text| {
        if text.is_empty() {
            return Ok(kept);
        }
        let memory: Memory = text.parse()?;
        if engine > 0 && memory.0.0 > engine {
            return Err(format!("{} is more than the engine's {}", memory.0, Bytes(engine)));
        }
        Ok(memory)
    })
}

/// A folder of the host, or none; and where it is seen inside.
pub(super) fn mount(prompt: &Prompt, current: &Settings, around: &Surroundings<'_>) -> Result<Option<Mount>> {
    let mut help = "A folder that the agent may read and change, such as ~/code/app. Leave empty for none.".to_owned();
    if !current.mounts.is_empty() {
        let known: Vec<String> = current.mounts.iter().map(|m| m.host.display().to_string()).collect();
        help = format!("Already mounted: {}. Enter another folder, or leave empty to continue.", known.join(", "));
    }
    let line = Line { question: "Project folder", help: &help, default: None, initial: "", hidden: false };
    let host = prompt.line(&line, |text| {
        if text.is_empty() {
            return Ok(None);
        }
        let path = expand(text, around.home.as_deref())?;
        if !path.is_dir() {
            return Err(what_is_wrong(&path, "folder"));
        }
        if path.file_name().is_none() {
            return Err("this is the whole disk; choose a folder in it".to_owned());
        }
        (around.refuses_source)(&path).map_or(Ok(Some(path)), Err)
    })?;
    let Some(host) = host else { return Ok(None) };
    let name: String = host
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect();
    let proposed = format!("/workspace/{name}");
    let help = "Path of the folder in the container.";
    let line = Line { question: "Path inside", help, default: Some(&proposed), initial: "", hidden: false };
    let mount = prompt.line(&line, |text| {
        let container = if text.is_empty() { proposed.as_str() } else { text };
        if !container.starts_with('/') || container.contains(':') {
            return Err(format!("`{container}` isn't a valid path in the container; write it like {proposed}"));
        }
        // Read as the flag would be, so that both take the same.
        let container = format!("/host:{container}").parse::<Mount>()?.container;
        if current.mounts.iter().any(|m| m.container == container) {
            return Err(format!("{container} is already used for another folder"));
        }
        Ok(Mount { host: host.clone(), container, read_only: false })
    })?;
    Ok(Some(mount))
}

/// Where the agent may connect to.
pub(super) fn egress(prompt: &Prompt, current: &Settings) -> Result<Egress> {
    let modes = [
        (Egress::Internet, "the Internet", "but not this machine or its local network"),
        (Egress::Listed, "listed hosts only", "only what network.allow lists"),
        (Egress::All, "everything", "including this machine and its local network"),
    ];
    let help = format!(
        "Where may the agent connect to? To allow a model server on this machine later: {}",
        prompt.command("config set network.allow host:11434")
    );
    prompt.choose("Network", &help, &modes, &current.network.egress)
}

/// When docklet restarts it.
pub(super) fn restart(prompt: &Prompt, current: &Settings) -> Result<RestartPolicy> {
    let policies = [
        (RestartPolicy::Always, "always", "whenever opencode exits or hangs, until you stop it"),
        (RestartPolicy::OnFailure, "on failure", "only when opencode crashes or hangs"),
        (RestartPolicy::Never, "never", "you restart opencode yourself"),
    ];
    prompt.choose("Restart", "When should docklet restart opencode?", &policies, &current.restart.policy)
}

/// Which password.
pub(super) fn password(prompt: &Prompt, has_one: bool) -> Result<PasswordChoice> {
    let mut choices = vec![
        (PasswordChoice::Generated, "generate one", "32 random letters and digits, shown at the end"),
        (PasswordChoice::Own(Secret::new("")), "choose my own", "you enter it twice"),
    ];
    if has_one {
        choices.insert(0, (PasswordChoice::Keep, "keep it", "the current password"));
    }
    let help = "The page asks for this password. It keeps other programs and web pages out.";
    let first = choices[0].0.clone();
    match prompt.choose("Password", help, &choices, &first)? {
        PasswordChoice::Own(_) => {
            let help = format!("At least {LEAST_PASSWORD_LENGTH} characters. Your input is hidden.");
            twice(prompt, "Your password", &help, "password", check_password).map(PasswordChoice::Own)
        }
        choice => Ok(choice),
    }
}

/// A new secret, typed twice; `what` is its kind.
pub(super) fn twice(
    prompt: &Prompt,
    question: &str,
    help: &str,
    what: &str,
    check: impl Fn(&str) -> Result<Secret, String>,
) -> Result<Secret> {
    let again = format!("Enter the {what} again.");
    let mut help = help;
    loop {
        let line = Line { question, help, default: None, initial: "", hidden: true };
        let first = prompt.line(&line, &check)?;
        let repeat = format!("Leave empty to re-enter the {what}.");
        let line = Line { question: "Repeat it", help: &repeat, default: None, initial: "", hidden: true };
        let same = prompt.line(&line, |text| match text {
            "" => Ok(false),
            text if text == first.reveal() => Ok(true),
            _ => Err(format!("the {what}s don't match; try again, or leave it empty (Ctrl-U) to re-enter both")),
        })?;
        if same {
            return Ok(first);
        }
        help = &again;
    }
}

/// Keys of model providers, one after the other until there are no more.
pub(super) fn keys(prompt: &Prompt, around: &Surroundings<'_>) -> Result<BTreeMap<String, Secret>> {
    let mut keys = BTreeMap::new();
    while let Some(provider) = provider(prompt, around, &keys)? {
        match key(prompt, provider, around)? {
            Some(key) => keys.insert(provider.secret.clone(), key),
            None => keys.remove(&provider.secret),
        };
    }
    Ok(keys)
}

/// Which provider is next; `None` for no more.
fn provider<'a>(
    prompt: &Prompt,
    around: &Surroundings<'a>,
    keys: &BTreeMap<String, Secret>,
) -> Result<Option<&'a Provider>> {
    if around.providers.is_empty() {
        return Ok(None);
    }
    let said = |provider: &Provider| {
        let name = &provider.secret;
        if keys.contains_key(name) {
            format!("{name}, entered now")
        } else if around.secrets.contains(name) {
            format!("{name}, already set")
        } else if around.keys_at_hand.contains_key(name) {
            format!("{name}, found in your environment")
        } else {
            name.clone()
        }
    };
    let (question, last, help) = if keys.is_empty() {
        let help = "Which model provider do you have an API key for?";
        let later = format!("add one with {}, or on the page", prompt.command("secret set"));
        ("Model provider", ("none, or later", later), help)
    } else {
        ("Another model provider", ("no more", String::new()), "Keys of several providers can be used side by side.")
    };
    let mut items = vec![(last.0.to_owned(), last.1)];
    items.extend(around.providers.iter().map(|p| (p.title.clone(), said(p))));
    let chosen = prompt.select(question, help, &items, 0)?;
    Ok(chosen.checked_sub(1).and_then(|index| around.providers.get(index)))
}

/// A provider's key: the one of the environment, or a typed one; `None` for neither.
fn key(prompt: &Prompt, provider: &Provider, around: &Surroundings<'_>) -> Result<Option<Secret>> {
    let name = provider.secret.as_str();
    if let Some(key) = around.keys_at_hand.get(name) {
        let help = "The key is stored in a file that only you can read, and given to opencode at each start.";
        if prompt.yes_no(&format!("Use {name} from your environment?"), help, true)? {
            return Ok(Some(key.clone()));
        }
    }
    let help = "The key is stored in a file that only you can read. Your input is hidden. Leave empty to go back.";
    let line = Line { question: name, help, default: None, initial: "", hidden: true };
    prompt.line(&line, |text| if text.trim().is_empty() { Ok(None) } else { check_key(name, text).map(Some) })
}

/// A path as typed: absolute, or below the home folder.
fn expand(text: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    let path = match (text.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(text),
    };
    if !path.is_absolute() {
        let example = home.map_or_else(|| "/home/me/code".to_owned(), |home| home.join("code").display().to_string());
        return Err(format!("enter an absolute path, such as {example}, or one that begins with ~/"));
    }
    Ok(path.components().collect())
}

/// Why a path is not what it should be.
fn what_is_wrong(path: &Path, wanted: &str) -> String {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(_) => format!("{shown} isn't a {wanted}"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => format!("{shown} does not exist"),
        Err(e) => format!("cannot read {shown}: {}", crate::error::io_reason(&e)),
    }
}
