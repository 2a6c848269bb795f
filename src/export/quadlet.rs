//! `docklet export quadlet`: unit files that Podman's generator turns into services of systemd.
//!
//! Network rules are loaded at each start by `ExecStartPost`, from outside as docklet does it: the entrypoint waits for them,
//! and a start without them fails.

use std::{fmt::Write as _, net::SocketAddr};

use super::{ExportFiles, File, Member};
use crate::{
    error::Result,
    settings::{Egress, RestartPolicy},
};

/// Where Debian, Fedora and the others have it.
const PODMAN: &str = "/usr/bin/podman";

/// Seconds that a start may take: getting the image counts.
const START_TIMEOUT: u32 = 900;

/// A unit file: sections with keys, several of which may have the same name.
struct Unit {
    text: String,
}

impl Unit {
    fn new(description: &str) -> Self {
        let mut unit = Unit { text: String::new() };
        unit.section("Unit").set("Description", description);
        unit
    }

    fn section(&mut self, name: &str) -> &mut Self {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}[{name}]");
        self
    }

    fn set(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Self {
        let _ = writeln!(self.text, "{key}={value}");
        self
    }
}

/// The files of all instances.
///
/// # Errors
/// A bug only.
pub fn export(members: &[Member]) -> Result<ExportFiles> {
    let mut export = ExportFiles::default();
    for member in members {
        let name = &member.container.name;
        export.files.push(File::new(format!("{name}.container"), container(member)?));
        for volume in member.volumes.values() {
            let mut unit = Unit::new(&format!("Volume {volume}"));
            unit.section("Volume").set("VolumeName", volume);
            export.files.push(File::new(format!("{volume}.volume"), unit.text));
        }
        let mut unit = Unit::new(&format!("Network of {name}"));
        unit.section("Network").set("NetworkName", &member.container.network);
        export.files.push(File::new(format!("{name}.network"), unit.text));
        for (secret, source) in &member.secrets {
            export.commands.push(match &source.path {
                Some(path) => {
                    format!("podman secret create {name}-{secret} {}", shell_words::quote(&path.display().to_string()))
                }
                None => format!("openssl rand -hex 16 | podman secret create {name}-{secret} -"),
            });
        }
    }
    export.notes = notes(members);
    Ok(export)
}

fn notes(members: &[Member]) -> Vec<String> {
    let modes: Vec<Egress> = members.iter().map(|member| member.container.egress).collect();
    let supervisor =
        "systemd restarts the container from now on, also when its page hangs; docklet's supervisor does not";
    let mut notes = vec![supervisor.to_owned(), "Podman's own seccomp profile is used, not docklet's".to_owned()];
    if modes.iter().any(|mode| mode.has_rules()) {
        notes.push("names in network.allow are looked up at each start, and not again while it runs".to_owned());
    }
    if modes.contains(&Egress::Internet) {
        notes.push(
            "public addresses of the machine itself and its network are not refused: docklet looks them up, a unit file \
             can't"
                .to_owned(),
        );
    }
    notes
}

/// Files, by name and text, as one that `podman quadlet install FILE.quadlets` takes apart again.
pub fn joined<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let named = |(name, text): (&str, &str)| {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        format!("# FileName={stem}\n{text}")
    };
    files.into_iter().map(named).collect::<Vec<_>>().join("---\n")
}

fn container(member: &Member) -> Result<String> {
    let spec = &member.container;
    let (uid, gid) = member.ids()?;
    let address = SocketAddr::new(spec.publish.address, spec.publish.port);
    let mut unit = Unit::new(&format!("opencode in the container {}", spec.name));
    unit.section("Container")
        .set("Image", escaped(&image(&spec.image)))
        .set("ContainerName", &spec.name)
        .set("HostName", &spec.name)
        .set("User", uid)
        .set("Group", gid)
        .set("WorkingDir", &spec.working_dir)
        .set("Network", format!("{}.network", spec.name))
        .set("PublishPort", format!("{address}:{}", spec.publish.container_port));
    for (volume, target) in &spec.volumes {
        unit.set("Volume", format!("{volume}.volume:{target}"));
    }
    for secret in member.secrets.keys() {
        unit.set("Secret", format!("{}-{secret},type=mount,target={secret},uid={uid},gid={gid},mode=0400", spec.name));
    }
    for (variable, value) in &spec.environment {
        unit.set("Environment", quoted(&format!("{variable}={value}")));
    }
    unit.set("DropCapability", "all").set("NoNewPrivileges", "true").set("PidsLimit", spec.pids);
    for host in &spec.extra_hosts {
        unit.set("PodmanArgs", format!("--add-host={host}"));
    }
    if spec.memory > 0 {
        unit.set("PodmanArgs", format!("--memory={0} --memory-swap={0}", spec.memory));
    }
    if spec.nano_cpus > 0 {
        unit.set("PodmanArgs", format!("--cpus={}", spec.nano_cpus as f64 / 1e9));
    }
    unit.set("PodmanArgs", format!("--oom-score-adj={} --stop-signal={}", spec.oom_score_adj, spec.stop_signal));
    let command = serde_json::to_string(&spec.health.command).unwrap_or_default();
    unit.set("HealthCmd", escaped(&command))
        .set("HealthInterval", format!("{}s", spec.health.interval))
        .set("HealthTimeout", format!("{}s", spec.health.timeout))
        .set("HealthStartPeriod", format!("{}s", spec.health.start_period))
        .set("HealthRetries", spec.health.retries)
        .set("HealthOnFailure", "kill");
    unit.section("Service");
    if spec.egress.has_rules() {
        unit.set("ExecStartPost", load_rules(member));
    }
    let restart = match member.restart {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::Never => "no",
    };
    unit.set("Restart", restart).set("TimeoutStartSec", START_TIMEOUT);
    unit.section("Install").set("WantedBy", "default.target");
    Ok(unit.text)
}

/// The command that loads the network rules into the network of the container that was just started.
fn load_rules(member: &Member) -> String {
    let spec = &member.container;
    let (program, arguments) = member.network_rules.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let options = [
        "run".to_owned(),
        "--rm".to_owned(),
        format!("--network=container:{}", spec.name),
        "--user=0:0".to_owned(),
        "--cap-drop=all".to_owned(),
        "--cap-add=NET_ADMIN".to_owned(),
        "--security-opt=no-new-privileges".to_owned(),
        "--read-only".to_owned(),
        "--no-healthcheck".to_owned(),
        format!("--entrypoint={program}"),
        image(&spec.image),
    ];
    let words = options.iter().chain(arguments).map(|word| quoted(word));
    std::iter::once(PODMAN.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// The whole name of an image: Podman asks where one without a registry is from, and an image that was loaded is `localhost`'s.
fn image(reference: &str) -> String {
    let first = reference.split_once('/').map(|(first, _)| first);
    match first {
        Some(first) if first.contains(['.', ':']) || first == "localhost" => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
        None => format!("localhost/{reference}"),
    }
}

/// Text in which systemd sees no specifier and no variable.
fn escaped(text: &str) -> String {
    text.replace('%', "%%").replace('$', "$$")
}

/// One word of a list, as systemd reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:,./@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        c if c.is_control() => c.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
        c => c.to_string(),
    };
    format!("\"{}\"", escaped(word).chars().map(escape).collect::<String>())
}
