//! What a world leaves on the engine: looked at, judged, and removed at its end.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::docker::engine_ask;
use super::{World, kill, labelled, wait_for};

impl World {
    /// What on the engine carries this instance's label: `container NAME`, `volume NAME`, `network NAME`, `image ID`.
    pub fn left(&self) -> Vec<String> {
        let mut left = self.lasting();
        left.extend(self.images().into_iter().map(|id| format!("image {id}")));
        left
    }

    /// The same without images.
    fn lasting(&self) -> Vec<String> {
        let label = format!("docklet.instance={}", self.name);
        let named = |list: Value, name: fn(&Value) -> &Value, kind: &str| -> Vec<String> {
            let list = list.as_array().cloned().unwrap_or_default();
            let name = |thing: &Value| name(thing).as_str().expect("a name").trim_start_matches('/').to_owned();
            list.iter().map(|thing| format!("{kind} {}", name(thing))).collect()
        };
        let mut left = named(labelled("/containers/json?all=1", &label), |c| &c["Names"][0], "container");
        left.extend(named(labelled("/volumes?", &label)["Volumes"].take(), |v| &v["Name"], "volume"));
        left.extend(named(labelled("/networks?", &label), |n| &n["Name"], "network"));
        left.sort();
        left
    }

    /// The ids of the images that carry its label.
    fn images(&self) -> BTreeSet<String> {
        let list = labelled("/images/json?", &format!("docklet.instance={}", self.name));
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter().map(|image| image["Id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Nothing double, nothing lost, nothing left over: one container, its network, and its volumes.
    pub fn assert_nothing_else(&self, when: &str) {
        // A supervisor's helper may just be loading the network rules; one that a killed command left would stay.
        let left: BTreeSet<String> = wait_for(Duration::from_secs(10), &format!("{when}: no helper is left"), || {
            let left = self.lasting();
            (!left.iter().any(|thing| thing.ends_with(".helper"))).then(|| left.into_iter().collect())
        });
        let mut expected: BTreeSet<String> = self.volumes().iter().map(|v| format!("volume {v}")).collect();
        expected.insert(format!("volume {}-secrets", self.container()));
        expected.insert(format!("container {}", self.container()));
        expected.insert(format!("network {}", self.container()));
        assert_eq!(left, expected, "{when}");
    }

    /// The same, and the page answers.
    pub fn assert_whole(&self, when: &str) {
        self.assert_nothing_else(when);
        assert_eq!(self.http_get("/global/health", Some(&self.password())).0, 200, "{when}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell();
        }
        for pid in self.processes() {
            kill(pid);
        }
        let left = self.lasting();
        // Also what a test made under one of our names, without our labels.
        let volumes = self.volumes().into_iter().chain([format!("{}-secrets", self.container())]);
        for (kind, options, ours) in [
            ("container", "?force=true&v=true", vec![self.container()]),
            ("volume", "?force=true", volumes.collect()),
            ("network", "", vec![self.container()]),
        ] {
            let labelled = left.iter().filter_map(|thing| thing.strip_prefix(kind)).map(str::trim_start);
            let names: BTreeSet<&str> = ours.iter().map(String::as_str).chain(labelled).collect();
            for name in names {
                engine_ask("DELETE", &format!("/{kind}s/{name}{options}"), &[]);
            }
        }
        let made = labelled("/images/json?", &format!("docklet-test.world={}", self.name));
        let made = made.as_array().into_iter().flatten().filter_map(|image| image["Id"].as_str().map(str::to_owned));
        for image in self.tags.take().into_iter().chain(self.images()).chain(made) {
            engine_ask("DELETE", &format!("/images/{image}?force=true"), &[]);
        }
    }
}
