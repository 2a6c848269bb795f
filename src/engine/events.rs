//! What happens to one instance's containers, as the engine tells it: a stream that stays open.
//! Says what was told and judges nothing.

use std::collections::HashMap;

use bollard::{models::EventMessage, query_parameters::EventsOptions};
use futures_util::{Stream, StreamExt as _};

use super::{Engine, error::translate};
use crate::{desired::label, error::Result, instance_name::InstanceName};

/// Only these are asked for: an engine also tells of every health check, four times a minute. Podman compares them with
/// its own words, `died` and `remove`, whatever it says then.
const WANTED: [&str; 13] = [
    "start", "die", "died", "stop", "kill", "oom", "destroy", "remove", "cleanup", "rename", "update", "pause",
    "unpause",
];

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// When, in nanoseconds since 1970 by the engine's clock.
    pub at: i128,
    /// The engine's id of the container.
    pub id: String,
    /// The container's name at that time.
    pub name: String,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// Its process began.
    Started,
    /// Its process ended.
    Died {
        /// Exit code, where the engine says it.
        code: Option<i64>,
    },
    /// Somebody asked the engine to stop it, and it is.
    Stopped,
    /// Somebody sent it a signal.
    Signalled {
        /// Its number.
        signal: i64,
    },
    /// It was removed.
    Removed,
    /// Podman tidied up after its end.
    CleanedUp,
    /// Anything else: paused, renamed, changed, out of memory.
    Other(String),
}

impl Engine {
    /// What happens to this instance's containers from now on, and before that since `since`
    /// (nanoseconds since 1970 by the engine's clock), as far as the engine remembers. Ends when
    /// the connection does.
    pub fn events(
        &self,
        appliance: &str,
        instance: &InstanceName,
        since: Option<i128>,
    ) -> impl Stream<Item = Result<ContainerEvent>> + Send + use<> {
        self.events_of(&WANTED, appliance, instance, since)
    }

    /// The same, and what the engine's health check finds, where that changes.
    pub fn events_and_health(
        &self,
        appliance: &str,
        instance: &InstanceName,
        since: Option<i128>,
    ) -> impl Stream<Item = Result<ContainerEvent>> + Send + use<> {
        self.events_of(&[&WANTED[..], &["health_status"]].concat(), appliance, instance, since)
    }

    fn events_of(
        &self,
        wanted: &[&str],
        appliance: &str,
        instance: &InstanceName,
        since: Option<i128>,
    ) -> impl Stream<Item = Result<ContainerEvent>> + Send + use<> {
        let labels = vec![format!("{}={appliance}", label::APPLIANCE), format!("{}={instance}", label::INSTANCE)];
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), labels),
            ("event".to_owned(), wanted.iter().map(|word| (*word).to_owned()).collect()),
        ]);
        // Podman tells all of which one of these labels is right.
        let instance = instance.to_string();
        let is_ours = move |message: &EventMessage| {
            let attributes = message.actor.as_ref().and_then(|actor| actor.attributes.as_ref());
            attributes.and_then(|found| found.get(label::INSTANCE)).is_none_or(|found| *found == instance)
        };
        let since = since.map(|at| format!("{}.{:09}", at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000)));
        let options = EventsOptions { since, until: None, filters: Some(filters) };
        self.docker.events(Some(options)).filter_map(move |message| {
            std::future::ready(match message {
                Ok(message) => is_ours(&message).then(|| Ok(event(message))),
                Err(e) => Some(Err(translate("tell what happens", e))),
            })
        })
    }
}

pub(super) fn event(message: EventMessage) -> ContainerEvent {
    let actor = message.actor.unwrap_or_default();
    let attributes = actor.attributes.unwrap_or_default();
    let number = |key: &str| attributes.get(key).and_then(|text| text.parse().ok());
    let action = message.action.unwrap_or_default();
    let kind = match action.as_str() {
        "start" => EventKind::Started,
        // Podman says it in its own word.
        "die" | "died" => EventKind::Died { code: number("exitCode").or_else(|| number("containerExitCode")) },
        "stop" => EventKind::Stopped,
        "kill" => EventKind::Signalled { signal: number("signal").unwrap_or(0) },
        "destroy" | "remove" => EventKind::Removed,
        "cleanup" => EventKind::CleanedUp,
        _ => EventKind::Other(action),
    };
    let at = message.time_nano.map(i128::from).or(message.time.map(|s| i128::from(s) * 1_000_000_000));
    ContainerEvent {
        at: at.unwrap_or(0),
        id: actor.id.unwrap_or_default(),
        name: attributes.get("name").cloned().unwrap_or_default(),
        kind,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::engine::scripted::{Reply, ScriptedEngine};

    /// What Podman 4.3.1 and 5.8.6 told of `podman kill` and `podman rm --force`, to who asked for all events.
    #[tokio::test]
    async fn podman_is_asked_in_its_own_words() {
        let scripted = ScriptedEngine::new(&[("GET /events", vec![Reply::Stream(vec![])])]);
        let instance: InstanceName = "x".parse().unwrap();
        let mut events = std::pin::pin!(scripted.engine.events("opencode-cloud", &instance, None));
        while events.next().await.is_some() {}
        let asked = scripted.asked().join("\n");
        for word in ["die", "died", "destroy", "remove", "cleanup"] {
            assert!(asked.contains(&format!("%22{word}%22")), "{word} {asked}");
        }
    }

    #[tokio::test]
    async fn what_happens_to_other_instances_is_not_told() {
        let line = |id: &str, labels: &str| {
            format!(
                r#"{{"Type":"container","Action":"die","Actor":{{"ID":"{id}","Attributes":{{{labels}}}}},"time":1}}"#
            )
        };
        let lines = [line("a", ""), line("b", r#""docklet.instance":"other""#), line("c", r#""docklet.instance":"x""#)];
        let scripted = ScriptedEngine::new(&[("GET /events", vec![Reply::Stream(lines.to_vec())])]);
        let events = scripted.engine.events("opencode-cloud", &"x".parse().unwrap(), None);
        let told: Vec<String> = events.map(|event| event.unwrap().id).collect().await;
        assert_eq!(told, ["a", "c"]);
    }

    fn told(json: &str) -> ContainerEvent {
        event(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn what_engines_tell_is_understood() {
        let die = told(
            r#"{"Type":"container","Action":"die","Actor":{"ID":"abc","Attributes":{"exitCode":"137","name":"opencode-cloud"}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}"#,
        );
        assert_eq!(die.kind, EventKind::Died { code: Some(137) });
        assert_eq!((die.at, die.id.as_str(), die.name.as_str()), (1_700_000_000_123_456_789, "abc", "opencode-cloud"));
        let kill = told(r#"{"Action":"kill","Actor":{"ID":"a","Attributes":{"signal":"15"}},"time":17}"#);
        assert_eq!((kill.kind, kill.at), (EventKind::Signalled { signal: 15 }, 17_000_000_000));
        assert_eq!(told(r#"{"Action":"died"}"#).kind, EventKind::Died { code: None });
        assert_eq!(told(r#"{"Action":"remove"}"#).kind, EventKind::Removed);
        assert_eq!(told(r#"{"Action":"update"}"#).kind, EventKind::Other("update".to_owned()));
    }
}
