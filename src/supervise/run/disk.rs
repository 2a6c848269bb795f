//! Watches the engine's disk and the volumes. Asks the engine once where its data is, and the kernel every ten minutes
//! how much is free there. The volumes are measured only with `resources.disk`, at most once an hour, by `du` inside the
//! running container: its cost grows with the agent's own files and with nothing else on the engine.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::{Supervisor, SupervisorMessage};
use crate::{
    clock,
    disk::{self, DU_SECONDS, DiskUse},
    engine::Engine,
    settings::Settings,
};

/// When it is measured first: a start has other things to do.
const FIRST: Duration = Duration::from_secs(30);

/// How often the free space is looked at.
const EVERY: Duration = Duration::from_secs(600);

/// How often the volumes are measured.
const VOLUMES_EVERY: Duration = Duration::from_secs(3600);

/// The state of the watching.
pub(super) struct DiskWatch {
    next: Instant,
    /// A measurement is under way.
    measuring: bool,
    /// Where the engine's data is; `None` until it was asked.
    data_folder: Option<String>,
    warned: bool,
}

impl DiskWatch {
    pub(super) fn new(began: Instant) -> Self {
        DiskWatch { next: began + FIRST, measuring: false, data_folder: None, warned: false }
    }

    /// The settings changed: measures soon.
    pub(super) fn hurry(&mut self) {
        self.next = Instant::now();
    }

    /// This engine was not asked yet.
    pub(super) fn forget_engine(&mut self) {
        self.data_folder = None;
    }
}

/// What came of a measurement.
pub(super) struct Measured {
    data_folder: Option<String>,
    disk: DiskUse,
}

impl Supervisor<'_> {
    /// Begins a measurement, if it is time for one.
    pub(super) fn watch_disk(&mut self) {
        let Some(engine) = self.engine.clone() else { return };
        if self.disk.measuring || Instant::now() < self.disk.next {
            return;
        }
        let Ok(Some(settings)) = Settings::load(&self.instance.files.settings()) else { return };
        self.disk.next = Instant::now() + EVERY;
        self.disk.measuring = true;
        let folders = self.instance.appliance.volumes.iter().map(|v| v.mount.as_str());
        let mounted: Vec<String> = settings.mounts.iter().map(|m| m.container.clone()).collect();
        let limited = settings.resources.disk.bytes().is_some();
        let mut before = self.state.disk.clone();
        if !limited {
            (before.volumes, before.volumes_at) = (None, None);
        }
        let due = limited && !self.policy.locked() && is_due(before.volumes_at.as_deref());
        let command = due.then(|| disk::du(folders, &mounted));
        let (container, data_folder) = (self.container.clone(), self.disk.data_folder.clone());
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let measured = measure(&engine, &container, data_folder, command, before).await;
            let _ = sender.send(SupervisorMessage::Measured(Box::new(measured)));
        });
    }

    /// Keeps what was measured, for `status`; says so when there is something new to warn of.
    pub(super) fn measured(&mut self, measured: Measured) {
        self.disk.measuring = false;
        self.disk.data_folder = measured.data_folder;
        self.state.disk = measured.disk;
        let settings = Settings::load(&self.instance.files.settings()).ok().flatten();
        let limit = settings.and_then(|settings| settings.resources.disk.bytes());
        let warning = disk::warning(&self.state.disk, limit);
        let warned = std::mem::replace(&mut self.disk.warned, warning.is_some());
        match warning {
            Some(warning) if !warned => self.decided("disk", warning.to_string()),
            None if warned => self.decided("disk", "there is enough free space again".to_owned()),
            _ => self.save(),
        }
    }
}

fn is_due(last: Option<&str>) -> bool {
    let age = last.and_then(clock::parse).map(|at| OffsetDateTime::now_utc() - at);
    // A time in the future is a clock that was set back.
    age.is_none_or(|age| age.is_negative() || age >= VOLUMES_EVERY)
}

async fn measure(
    engine: &Engine,
    container: &str,
    data_folder: Option<String>,
    du: Option<Vec<String>>,
    mut disk: DiskUse,
) -> Measured {
    let data_folder = match data_folder {
        Some(known) => Some(known),
        None => engine.host().await.ok().map(|host| host.data_folder),
    };
    let space = data_folder.as_deref().and_then(|folder| disk::room(engine, folder).ok());
    (disk.free, disk.total) = (space.map(|s| s.free), space.map(|s| s.total));
    disk.at = space.map(|_| clock::now_rfc3339());
    if let Some(command) = du {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let limit = Duration::from_secs(DU_SECONDS + 10);
        // A container that does not run writes nothing either: what was measured last still holds.
        if let Ok(ended) = engine.run_inside(container, &words, limit).await {
            disk.volumes = disk::sum(&ended.output);
            disk.volumes_at = Some(clock::now_rfc3339());
        }
    }
    Measured { data_folder, disk }
}
