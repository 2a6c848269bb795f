//! What nobody tells of and is looked at on every turn of the loop: the clocks, the locks, the user's
//! desired state and the settings. No engine call, a few system calls.

use std::{
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use super::{End, Supervisor};
use crate::{
    desired_state::{self, RecordedState},
    settings::Settings,
    supervise::policy::Input,
};

/// The clocks say that the machine slept when they differ by more than this.
const SLEEP: Duration = Duration::from_secs(3);

/// A file that may change: which it is, and when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp(Option<(u64, i64, i64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        Stamp(std::fs::metadata(path).ok().map(|found| (found.ino(), found.mtime(), found.mtime_nsec())))
    }
}

impl Supervisor<'_> {
    /// Looks at all of it, and feeds the policy with what changed.
    pub(super) async fn poll(&mut self) -> Option<End> {
        let files = &self.instance.files;
        if !self.lock.is_named(&files.supervisor_lock()) {
            return Some(End::Disowned);
        }
        let asleep = time_asleep();
        let slept = asleep.saturating_sub(std::mem::replace(&mut self.asleep, asleep));
        if slept > SLEEP {
            self.feed(Input::Slept(slept)).await;
        }
        if self.command_at_work() && !self.policy.locked() {
            self.feed(Input::Lock(true)).await;
        }
        self.poll_desired_state().await;
        let stamp = Stamp::of(&files.settings());
        if stamp != self.settings_stamp {
            self.settings_stamp = stamp;
            match Settings::load(&files.settings()) {
                Ok(Some(settings)) => {
                    self.mode = settings.restart.policy;
                    // `network.allow` may be another.
                    self.rules_at = self.rules_at.map(|_| Instant::now());
                    self.take_settings(&settings);
                    self.disk.hurry();
                    self.feed(Input::Mode(settings.restart.policy)).await;
                }
                Ok(None) => return Some(End::NotSetUp),
                Err(error) => self.decided("settings_invalid", format!("the settings are not applied: {error}")),
            }
        }
        // Last: what the command left behind is known when it is gone.
        if self.policy.locked() && !self.command_at_work() {
            self.poll_desired_state().await;
            // A backup of the user's may be to be copied.
            self.reload_settings();
            self.feed(Input::Lock(false)).await;
        }
        None
    }

    async fn poll_desired_state(&mut self) {
        let path = self.instance.files.desired();
        let stamp = Stamp::of(&path);
        if stamp == self.state_stamp {
            return;
        }
        self.state_stamp = stamp;
        let Ok(recorded) = desired_state::recorded(&path) else { return };
        if recorded != self.recorded {
            self.adopted = false;
            self.take_desired_state(recorded).await;
        }
    }

    async fn take_desired_state(&mut self, recorded: RecordedState) {
        self.state.begin_afresh(&recorded);
        let desired = recorded.desired;
        self.recorded = recorded;
        self.save();
        Box::pin(self.feed(Input::Requested(desired))).await;
    }
}

/// How long the machine has slept since it booted: one clock goes on meanwhile, the other stands.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn time_asleep() -> Duration {
    let read = |clock| {
        let time = clock_gettime(clock);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic))
}

/// The same by the wall clock, since an arbitrary moment: `Instant` stands still meanwhile.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn time_asleep() -> Duration {
    static BEGAN: std::sync::OnceLock<(Instant, Duration)> = std::sync::OnceLock::new();
    let wall = || {
        let time = clock_gettime(ClockId::Realtime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    let (began, then) = BEGAN.get_or_init(|| (Instant::now(), wall()));
    wall().saturating_sub(*then).saturating_sub(began.elapsed())
}
