//! Asks the engine for its facts: all at the same time, each call under a deadline.

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::time::timeout;

use super::{
    drift::drift,
    egress,
    evaluate::needs_registry,
    facts::{ContainerFacts, Drift, EngineFacts, SettingsFact, Unseen},
    gather_input::{GatherInput, PATIENCE},
};
use crate::{
    desired::{Desired, labels},
    disk,
    engine::{Engine, checkup::Machine, connect, container::Detail, credentials, reference::Reference},
    error::{Error, Result},
    event::Silent,
    lock::Lock,
    observe,
    observed::{Observed, Ownership},
    probe::{Probe, Seen},
    sandbox,
    secrets::Secret,
    settings::Settings,
};

/// Exit code of the command inside when the image has no curl; curl has none above 96.
const NO_CURL: i64 = 120;

/// Runs inside as the container's user, with an empty environment and absolute paths, but with the appliance's own
/// proxies and certificates. `-q` skips curlrc, which the agent can write.
const REACH: &str = r#"
for name in HTTPS_PROXY ALL_PROXY NO_PROXY; do
    if [ -r "$0/$name" ]; then value=$(/usr/bin/cat "$0/$name"); export "$name=$value"; fi
done
if [ -s "$1" ]; then export CURL_CA_BUNDLE="$1"; fi
[ -x /usr/bin/curl ] || exit 120
exec /usr/bin/curl -q --silent --show-error --output /dev/null --max-time 5 "$2"
"#;

/// What the questions depend on.
pub(super) struct Inquiry<'a> {
    pub around: &'a GatherInput<'a>,
    pub settings: &'a SettingsFact,
    /// The settings, or the defaults.
    pub assumed: &'a Settings,
    pub reference: Option<&'a Reference>,
    pub registry: &'a str,
    pub password: Option<&'a Secret>,
}

impl Inquiry<'_> {
    pub async fn engine(&self) -> Result<(EngineFacts, Engine)> {
        let began = Instant::now();
        let engine = connect::connect(&self.around.selection).await?;
        let answer_time = began.elapsed();
        // What a command is doing just now is not what it left behind.
        let at_work = || Lock::is_held(&self.around.files.lock());
        let look = async {
            let before = at_work();
            let found = observe::look(&engine, self.around.appliance).await;
            (found, before || at_work())
        };
        let (machine, (snapshot, busy), container, registry) =
            tokio::join!(machine(&engine), look, self.container(&engine), self.registry(&engine));
        let observed = match &snapshot {
            Ok(snapshot) => self.observe(&engine, snapshot).await,
            Err(error) => Err(in_a_line(error)),
        };
        let detail = container.as_ref().ok().and_then(Option::as_ref).map(|c| &*c.detail);
        let (slowest, clock_ahead) = machine.as_ref().map_or((answer_time, None), |(_, time, ahead)| (*time, *ahead));
        let machine = machine.map(|(machine, ..)| machine);
        let facts = EngineFacts {
            about: engine.about.clone(),
            answer_time,
            slowest,
            clock_ahead,
            space: disk::room(&engine, machine.as_ref().map_or("", |m| m.data_folder.as_str())),
            port: observed.as_ref().ok().map(|(_, observed)| observed.port.clone()),
            drift: match &observed {
                Ok((desired, observed)) => match self.drift(desired, observed, detail) {
                    Ok(Drift::BrokenOff(_)) if busy => Err("another docklet command is at work".to_owned()),
                    found => found,
                },
                Err(reason) => Err(reason.clone()),
            },
            volumes: observed.map(|(desired, observed)| volumes(&desired, &observed)),
            machine,
            container,
            registry,
        };
        Ok((facts, engine))
    }

    async fn observe(&self, engine: &Engine, snapshot: &observe::Snapshot) -> Result<(Desired, Observed), Unseen> {
        let around = self.around;
        let (given, _) =
            sandbox::given_at_least(engine, around.appliance, self.assumed, around.files, snapshot.host.memory);
        let desired = Desired::new(around.appliance, self.assumed, around.instance, around.files, &given, None);
        let observed = observe::observe(engine, snapshot, &desired).await.map_err(|error| in_a_line(&error))?;
        Ok((desired, observed))
    }

    fn drift(&self, desired: &Desired, observed: &Observed, detail: Option<&Detail>) -> Result<Drift, Unseen> {
        match self.settings {
            SettingsFact::Valid(_) => drift(desired, observed, detail),
            _ => Err("there are no settings to compare with".to_owned()),
        }
    }

    async fn container(&self, engine: &Engine) -> Result<Option<ContainerFacts>, Unseen> {
        let around = self.around;
        let name = around.instance.container(&around.appliance.name);
        let Some(detail) = engine.container(&name).await.map_err(|error| in_a_line(&error))? else { return Ok(None) };
        let ownership = Ownership::of(&detail.labels, &labels(around.appliance, around.instance));
        let age = detail.started_at.as_deref().and_then(crate::clock::parse).map(|at| OffsetDateTime::now_utc() - at);
        let ours = ownership == Ownership::Ours;
        let (image, page, changed, network, egress) = tokio::join!(
            engine.image(&detail.image_id),
            self.page(&detail, ours),
            engine.changed_paths(&name),
            self.inside(engine, &detail, ours),
            async {
                if !ours {
                    return Err("the container is not ours".to_owned());
                }
                egress::check(engine, &detail, self.assumed).await
            }
        );
        Ok(Some(ContainerFacts {
            ownership,
            age: age.and_then(|age| Duration::try_from(age).ok()).filter(|_| detail.running),
            image: image.ok().flatten(),
            page,
            changed: changed.map_err(|error| in_a_line(&error)),
            network,
            egress,
            detail: Box::new(detail),
        }))
    }

    async fn page(&self, detail: &Detail, ours: bool) -> Result<Seen, Unseen> {
        match self.password {
            _ if !ours => Err("the container is not ours".to_owned()),
            _ if !detail.running => Err("it does not run".to_owned()),
            _ if detail.paused => Err("it is paused".to_owned()),
            None => Err("there is no password to ask with".to_owned()),
            Some(password) => {
                let around = &self.around;
                let publish = &detail.live.publish;
                let probe = Probe::of(around.appliance, around.files, &around.selection, publish, password);
                Ok(probe.read_only().check().await)
            }
        }
    }

    /// Whether the appliance itself reaches the registry.
    async fn inside(&self, engine: &Engine, detail: &Detail, ours: bool) -> Result<Result<(), String>, Unseen> {
        let unseen = |reason: &str| Err(reason.to_owned());
        let host = self.registry.split(':').next().unwrap_or_default();
        if !ours || !detail.running || detail.paused {
            return unseen("it does not run");
        }
        if host == "localhost" || host.starts_with("127.") {
            return unseen("the registry is on this machine");
        }
        let fixed = &self.around.appliance.container;
        let url = format!("https://{}/v2/", self.registry);
        let bundle = format!("{}/{}", fixed.secrets_dir, fixed.ca_bundle);
        let command = ["/usr/bin/env", "-i", "/bin/sh", "-c", REACH, &fixed.secrets_dir, &bundle, &url];
        let ended = engine.run_inside(&detail.name, &command, PATIENCE).await.map_err(|error| in_a_line(&error))?;
        match ended.code {
            0 => Ok(Ok(())),
            NO_CURL => unseen("the image has no curl to try it with"),
            126 | 127 => unseen("the image has no shell to try it with"),
            code => Ok(Err(in_words(&ended.output, code))),
        }
    }

    /// Whether the engine reaches the registry.
    async fn registry(&self, engine: &Engine) -> Result<Result<()>, Unseen> {
        if !needs_registry(self.assumed.image.source) {
            return Err("the image was loaded from a file".to_owned());
        }
        let reference = self.reference.ok_or_else(|| "the image's name is not valid".to_owned())?;
        let asked = async {
            let login = credentials::find(self.around.docker_config, reference.registry(), &Silent).await;
            engine.ask_registry(reference, login.as_ref(), PATIENCE).await
        };
        let late = || {
            let call = format!("ask the registry for {reference}");
            Err(Error::EngineTimeout { call, seconds: PATIENCE.as_secs() })
        };
        Ok(timeout(PATIENCE, asked).await.unwrap_or_else(|_| late()).map(drop))
    }
}

/// The machine, how long it took to describe it, and how far ahead its clock is.
async fn machine(engine: &Engine) -> Result<(Machine, Duration, Option<i64>), Unseen> {
    let (began, asked) = (Instant::now(), OffsetDateTime::now_utc());
    let machine = engine.machine().await.map_err(|error| in_a_line(&error))?;
    let took = began.elapsed();
    // The engine read its clock at some time between question and answer.
    let ahead = machine.time.map(|theirs| match theirs {
        theirs if theirs < asked => (theirs - asked).whole_seconds(),
        theirs => (theirs - asked - took).whole_seconds().max(0),
    });
    Ok((machine, took, ahead))
}

/// Each desired volume, and the owner of the one with its name.
fn volumes(desired: &Desired, observed: &Observed) -> Vec<(String, Option<Ownership>)> {
    let owner = |name: &str| observed.volumes.iter().find(|v| v.name == name).map(|v| v.ownership);
    desired.volumes.iter().map(|v| (v.name.clone(), owner(&v.name))).collect()
}

/// An error and its first cause, in one line.
fn in_a_line(error: &Error) -> String {
    match error.causes().first().and_then(|cause| cause.lines().next()) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// curl's words without its number.
fn in_words(output: &str, code: i64) -> String {
    let line = output.lines().last().unwrap_or_default();
    match line.split_once(") ") {
        Some((number, words)) if number.starts_with("curl: (") => words.to_owned(),
        _ if line.is_empty() => format!("curl ended with exit code {code}"),
        _ => line.to_owned(),
    }
}
