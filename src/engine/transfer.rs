//! Adds up what an engine says about the layers of a pull or load. Pure: messages in,
//! [`Transfer`] out; no clock but for [`Pace`], which is told the time.
//!
//! The rule for the whole: it counts bytes that arrived, unpacking is shown at the layer only.
//! A layer's bytes only grow, also when the engine begins its download anew. The engine announces
//! all layers first and learns their sizes one by one, so a layer without a size counts as large
//! as the average of the known ones, and where a size turns out larger, the growth of `total` is
//! held back so that `done / total` never falls. At the end both are the true sum.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::event::{Layer, LayerPhase, Transfer};

/// One message of the engine about a layer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LayerMessage<'a> {
    /// Short id of the layer.
    pub(super) id: Option<&'a str>,
    /// The engine's words.
    pub(super) status: &'a str,
    /// Bytes done.
    pub(super) current: u64,
    /// Bytes in all; 0 while unknown.
    pub(super) total: u64,
}

impl<'a> LayerMessage<'a> {
    /// From a message of a pull or of a load.
    pub(super) fn of(message: &'a Value) -> Self {
        let progress = &message["progressDetail"];
        LayerMessage {
            id: message["id"].as_str(),
            status: message["status"].as_str().unwrap_or_default(),
            current: progress["current"].as_u64().unwrap_or(0),
            total: progress["total"].as_u64().unwrap_or(0),
        }
    }
}

/// Everything known of the layers so far.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: Vec<LayerState>,
    /// What was reported last, so that the next never falls behind it.
    last: (u64, u64),
}

#[derive(Debug)]
struct LayerState {
    id: String,
    stage: LayerStage,
    /// Bytes that have arrived; only grows.
    arrived: u64,
    /// Its size; 0 while unknown.
    size: u64,
    /// Bytes done and in all of the phase that it is in.
    phase: (u64, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LayerStage {
    Announced,
    Downloading,
    Verifying,
    Downloaded,
    Extracting,
    Done,
}

impl Layers {
    /// Takes note of a message; whether it said something about a layer.
    pub(super) fn take(&mut self, message: LayerMessage<'_>) -> bool {
        let Some(id) = message.id else { return false };
        let status = message.status;
        let stage = match status {
            "Pulling fs layer" | "Waiting" => LayerStage::Announced,
            "Downloading" => LayerStage::Downloading,
            "Verifying Checksum" => LayerStage::Verifying,
            "Download complete" => LayerStage::Downloaded,
            "Extracting" | "Loading layer" => LayerStage::Extracting,
            "Pull complete" | "Already exists" => LayerStage::Done,
            _ if status.starts_with("Retrying") => LayerStage::Announced,
            _ => return false,
        };
        let known = self.layers.iter().position(|l| l.id == id);
        // Podman ends a pull with the id of the image in the place of a layer's.
        if known.is_none() && status == "Pull complete" {
            return false;
        }
        let index = known.unwrap_or_else(|| {
            self.layers.push(LayerState { id: id.to_owned(), stage, arrived: 0, size: 0, phase: (0, 0) });
            self.layers.len() - 1
        });
        let layer = &mut self.layers[index];
        // A layer that is done stays done; messages of parallel downloads may come late.
        if layer.stage == LayerStage::Done {
            return true;
        }
        layer.stage = stage;
        layer.phase = (message.current.min(message.total), message.total);
        // While it is unpacked the total is the size of what was downloaded, too. Newer engines
        // count unpacking in seconds and name no total.
        layer.size = layer.size.max(message.total);
        match stage {
            LayerStage::Announced | LayerStage::Verifying => {}
            LayerStage::Downloading => layer.arrived = layer.arrived.max(message.current).min(layer.size),
            LayerStage::Downloaded | LayerStage::Extracting | LayerStage::Done => layer.arrived = layer.size,
        }
        true
    }

    /// Whether any byte of any layer has come.
    pub(super) fn has_begun(&self) -> bool {
        self.layers.iter().any(|l| l.arrived > 0)
    }

    /// Where it stands.
    pub(super) fn transfer(&mut self) -> Transfer {
        let done: u64 = self.layers.iter().map(|l| l.arrived).sum();
        let known: u64 = self.layers.iter().map(|l| l.size).sum();
        let sized = self.layers.iter().filter(|l| l.size > 0).count() as u64;
        let unsized_ = self.layers.iter().filter(|l| l.size == 0 && l.stage < LayerStage::Downloaded).count() as u64;
        let wanted = known + known.checked_div(sized).unwrap_or(0) * unsized_;
        let (last_done, last_total) = self.last;
        let total = match u128::from(done) * u128::from(last_total) / u128::from(last_done.max(1)) {
            most if last_done > 0 => wanted.min(u64::try_from(most).unwrap_or(u64::MAX)),
            _ => wanted,
        };
        self.last = (done, total);
        Transfer {
            done,
            total,
            active: self.layers.iter().filter_map(LayerState::active).collect(),
            layers_done: self.layers.iter().filter(|l| l.stage == LayerStage::Done).count(),
            layers_total: self.layers.len(),
        }
    }
}

impl LayerState {
    fn active(&self) -> Option<Layer> {
        let phase = match self.stage {
            LayerStage::Downloading => LayerPhase::Downloading,
            LayerStage::Verifying => LayerPhase::Verifying,
            LayerStage::Extracting => LayerPhase::Extracting,
            LayerStage::Announced | LayerStage::Downloaded | LayerStage::Done => return None,
        };
        Some(Layer { id: self.id.clone(), phase, done: self.phase.0, total: self.phase.1 })
    }
}

/// Lets something through at most once in a while.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    last: Option<Instant>,
}

impl Pace {
    /// At most once in `every`.
    pub(super) fn new(every: Duration) -> Self {
        Pace { every, last: None }
    }

    /// Whether it is time; when it is, the time counts from now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= self.every);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn message<'a>(id: &'a str, status: &'a str, current: u64, total: u64) -> LayerMessage<'a> {
        LayerMessage { id: Some(id), status, current, total }
    }

    /// As Docker 20.10 sent it for an image of three layers.
    const CAPTURED: &str = "\
2 Pulling from team/multi 0 0
68f1e3441b75 Pulling fs layer 0 0
a250ea402abf Pulling fs layer 0 0
b376015c8e44 Pulling fs layer 0 0
68f1e3441b75 Downloading 36445 1500644
68f1e3441b75 Verifying Checksum 0 0
68f1e3441b75 Download complete 0 0
68f1e3441b75 Extracting 32768 1500644
b376015c8e44 Downloading 36445 3501255
a250ea402abf Downloading 36445 2500953
a250ea402abf Verifying Checksum 0 0
a250ea402abf Download complete 0 0
b376015c8e44 Verifying Checksum 0 0
b376015c8e44 Download complete 0 0
68f1e3441b75 Extracting 1500644 1500644
68f1e3441b75 Pull complete 0 0
a250ea402abf Extracting 32768 2500953
a250ea402abf Pull complete 0 0
b376015c8e44 Extracting 65536 3501255
b376015c8e44 Pull complete 0 0";

    #[test]
    fn a_real_pull_adds_up() {
        let mut layers = Layers::default();
        let mut seen = vec![];
        for line in CAPTURED.lines() {
            let (id, rest) = line.split_once(' ').unwrap();
            let mut parts = rest.rsplitn(3, ' ');
            let total = parts.next().unwrap().parse().unwrap();
            let current = parts.next().unwrap().parse().unwrap();
            layers.take(message(id, parts.next().unwrap(), current, total));
            let t = layers.transfer();
            let active: Vec<_> = t.active.iter().map(|l| format!("{:?} {}/{}", l.phase, l.done, l.total)).collect();
            seen.push(format!(
                "{}/{} bytes, {}/{} layers {}",
                t.done,
                t.total,
                t.layers_done,
                t.layers_total,
                active.join(", ")
            ));
        }
        insta::assert_snapshot!(seen.join("\n"), @r#"
        0/0 bytes, 0/0 layers 
        0/0 bytes, 0/1 layers 
        0/0 bytes, 0/2 layers 
        0/0 bytes, 0/3 layers 
        36445/4501932 bytes, 0/3 layers Downloading 36445/1500644
        36445/4501932 bytes, 0/3 layers Verifying 0/0
        1500644/4501932 bytes, 0/3 layers 
        1500644/4501932 bytes, 0/3 layers Extracting 32768/1500644
        1537089/4611267 bytes, 0/3 layers Extracting 32768/1500644, Downloading 36445/3501255
        1573534/4720602 bytes, 0/3 layers Extracting 32768/1500644, Downloading 36445/2500953, Downloading 36445/3501255
        1573534/4720602 bytes, 0/3 layers Extracting 32768/1500644, Verifying 0/0, Downloading 36445/3501255
        4038042/7502852 bytes, 0/3 layers Extracting 32768/1500644, Downloading 36445/3501255
        4038042/7502852 bytes, 0/3 layers Extracting 32768/1500644, Verifying 0/0
        7502852/7502852 bytes, 0/3 layers Extracting 32768/1500644
        7502852/7502852 bytes, 0/3 layers Extracting 1500644/1500644
        7502852/7502852 bytes, 1/3 layers 
        7502852/7502852 bytes, 1/3 layers Extracting 32768/2500953
        7502852/7502852 bytes, 2/3 layers 
        7502852/7502852 bytes, 2/3 layers Extracting 65536/3501255
        7502852/7502852 bytes, 3/3 layers
        "#);
    }

    #[test]
    fn layers_that_are_there_are_done_and_strangers_are_no_layers() {
        let mut layers = Layers::default();
        assert!(layers.take(message("a", "Already exists", 0, 0)));
        assert!(!layers.take(message("2", "Pulling from x/y", 0, 0)));
        assert!(!layers.take(message("image", "Pull complete", 0, 0)));
        assert!(!layers.take(LayerMessage { status: "Digest: sha256:0", ..LayerMessage::default() }));
        let t = layers.transfer();
        assert_eq!((t.done, t.total, t.layers_done, t.layers_total), (0, 0, 1, 1));
    }

    #[test]
    fn a_download_that_begins_anew_does_not_go_back() {
        let mut layers = Layers::default();
        layers.take(message("a", "Downloading", 900, 1000));
        assert_eq!(layers.transfer().done, 900);
        layers.take(message("a", "Retrying in 5 seconds", 0, 0));
        layers.take(message("a", "Downloading", 10, 1000));
        let t = layers.transfer();
        assert_eq!((t.done, t.active[0].done), (900, 10));
    }

    #[test]
    fn the_pace_is_kept() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(100));
        let due: Vec<bool> = [0, 50, 99, 100, 150, 250].map(|ms| pace.is_due(start + Duration::from_millis(ms))).into();
        assert_eq!(due, [true, false, false, true, false, true]);
    }

    const STATUSES: [&str; 8] = [
        "Pulling fs layer",
        "Downloading",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Retrying in 1 second",
        "Pull complete",
    ];

    proptest! {
        #[test]
        fn the_whole_never_goes_backwards(
            sizes in proptest::collection::vec(1u64..1_000_000_000_000, 1..8),
            events in proptest::collection::vec((0usize..8, 0usize..8, 0u64..=1000), 0..120),
        ) {
            let mut layers = Layers::default();
            let ids: Vec<String> = (0..sizes.len()).map(|i| format!("layer{i}")).collect();
            let mut last = Transfer::default();
            for id in &ids {
                layers.take(message(id, "Pulling fs layer", 0, 0));
            }
            let mut check = |t: Transfer| {
                assert!(t.done >= last.done, "{last:?} {t:?}");
                assert!(t.done <= t.total, "{t:?}");
                assert!(t.layers_done >= last.layers_done && t.layers_total >= last.layers_total);
                let (before, now) = (u128::from(last.done) * u128::from(t.total), u128::from(t.done) * u128::from(last.total));
                assert!(now >= before, "the share fell: {last:?} {t:?}");
                last = t;
            };
            for (layer, status, permille) in events {
                let layer = layer % sizes.len();
                let with_bytes = matches!(STATUSES[status], "Downloading" | "Extracting");
                let (current, total) = if with_bytes { (sizes[layer] / 1000 * permille, sizes[layer]) } else { (0, 0) };
                layers.take(message(&ids[layer], STATUSES[status], current, total));
                check(layers.transfer());
            }
            for (id, size) in ids.iter().zip(&sizes) {
                layers.take(message(id, "Extracting", 0, *size));
                check(layers.transfer());
                layers.take(message(id, "Pull complete", 0, 0));
                check(layers.transfer());
            }
            prop_assert_eq!(last.done, last.total);
            prop_assert_eq!(last.layers_done, sizes.len());
        }
    }
}
