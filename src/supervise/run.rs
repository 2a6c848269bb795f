//! The loop that feeds the policy and does what it says: the engine's events, the page, the clock,
//! the user's wish, the settings and the lock go in; restarts, inspections and lines in the log
//! come out. Decides nothing itself but whether it may act at this very moment.
//!
//! - `disk`: watches the engine's disk beside that
//! - in: `watcher` and `messages`, what the engine and the page tell; `poll`, what nobody tells of
//! - out: `look`, `actions`, `network` and `decisions`

mod actions;
mod decisions;
mod disk;
mod look;
mod messages;
mod network;
mod poll;
mod watcher;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use poll::{Stamp, time_asleep};
use tokio::sync::mpsc;

use super::{
    jobs::{self, Job, Jobs},
    log::Log,
    policy::{Input, Limits, Policy},
    process::Launch,
    state::State,
};
use crate::{
    appliance::Appliance,
    data::schedule::Last,
    desired::{Publish, VERSION},
    desired_state::{self, DesiredState, RecordedState},
    engine::{Engine, connect::Selection, events::ContainerEvent},
    error::{Error, Result},
    event::Reporter,
    instance_name::InstanceName,
    interrupt::Interrupt,
    lock::Lock,
    paths::InstancePaths,
    probe::Seen,
    settings::{RestartPolicy, Settings},
};

/// What this calls itself in a lock.
pub const NAME: &str = "supervise";

/// What finishes the work of a killed command for it, in a lock.
pub const RECOVERY: &str = "supervise recovery";

/// The longest it does not look at its files and clocks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The same while another command is at work.
const LOOK_LOCKED: Duration = Duration::from_millis(500);

/// An inspection that failed, or that may have been too early, is made again after this.
const INSPECT_AGAIN: Duration = Duration::from_secs(2);

/// What the supervisor works with.
pub struct Tools<'a> {
    /// What is installed.
    pub appliance: &'a Appliance,
    /// Whose.
    pub instance: &'a InstanceName,
    /// Its files.
    pub files: &'a InstancePaths,
    /// Which engine.
    pub selection: Selection,
    /// This same program with what it was told, for commands of their own; `None`: none are run.
    pub launch: Option<Launch>,
    /// Whether it is a process of its own, which ends when there is nothing to supervise. One that
    /// a service manager or a person started goes on until it is told to end.
    pub detached: bool,
    /// Shows each decision.
    pub reporter: &'a dyn Reporter,
    /// Whether to end.
    pub interrupt: &'a Interrupt,
}

/// Why the supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Told,
    /// The user wants the container stopped, or never restarted.
    NothingToDo,
    /// The instance is not set up any more.
    NotSetUp,
    /// Somebody removed its lock.
    Disowned,
}

impl End {
    /// In a few words.
    pub fn text(self) -> &'static str {
        match self {
            End::Told => "stopped by a signal",
            End::NothingToDo => "there is nothing to supervise until docklet start",
            End::NotSetUp => "the instance is not set up any more",
            End::Disowned => "its lock file was removed",
        }
    }
}

/// Supervises until it is told to end. Leaves the container as it is then.
///
/// # Errors
/// [`Error::Locked`] when another supervisor runs, [`Error::NotSetUp`], and what
/// [`Settings::load`] finds.
pub async fn run(tools: Tools<'_>) -> Result<End> {
    let settings = Settings::load(&tools.files.settings())?
        .ok_or_else(|| Error::NotSetUp { instance: tools.instance.to_string() })?;
    let lock = Lock::take(&tools.files.supervisor_lock(), tools.instance, NAME)?;
    let (sender, mut inbox) = mpsc::unbounded_channel();
    let watcher =
        watcher::watch(tools.selection.clone(), tools.appliance.name.clone(), tools.instance.clone(), sender.clone());
    let watcher = tokio::spawn(watcher);
    let mut supervisor = Supervisor::new(&tools, lock, settings.restart.policy, sender)?;
    let (end, held) = supervisor.supervise(&mut inbox).await;
    watcher.abort();
    if end != End::Disowned {
        // Else these files may be another one's by now.
        supervisor.state.pid = None;
        supervisor.decided("ended", format!("supervisor stopped: {}; the container keeps its state", end.text()));
    }
    // Its own lock first: who waits for the instance's finds no supervisor then, and starts one.
    drop(supervisor);
    drop(held);
    Ok(end)
}

/// What the watcher and the probe send.
enum Message {
    Connected(Box<Engine>),
    Lost(String),
    Happened(ContainerEvent),
    Probed(Seen),
    Ran(jobs::Done),
    Measured(Box<disk::Measured>),
    RulesLoaded(Result<bool>),
}

struct Supervisor<'a> {
    tools: &'a Tools<'a>,
    lock: Lock,
    policy: Policy,
    jobs: Jobs,
    disk: disk::DiskWatch,
    state: State,
    log: Log,
    began: Instant,
    sender: mpsc::UnboundedSender<Message>,
    engine: Option<Engine>,
    container: String,
    /// The run that was seen last; what the engine tells of earlier ones is history.
    run: i128,
    publish: Option<Publish>,
    out_of_memory: bool,
    inspect_at: Option<Instant>,
    /// When the network rules are to be loaded again.
    rules_at: Option<Instant>,
    /// Whether they are being loaded: the instance's lock is held for it.
    loading_rules: bool,
    said: RecordedState,
    state_stamp: Stamp,
    settings_stamp: Stamp,
    mode: RestartPolicy,
    /// The wish to stop came from outside: whoever had it may take it back there.
    adopted: bool,
    lost_because: String,
    asleep: Duration,
}

impl<'a> Supervisor<'a> {
    fn new(
        tools: &'a Tools<'a>,
        lock: Lock,
        mode: RestartPolicy,
        sender: mpsc::UnboundedSender<Message>,
    ) -> Result<Self> {
        let files = tools.files;
        let settings_stamp = Stamp::of(&files.settings());
        let state_stamp = Stamp::of(&files.desired());
        let said = desired_state::recorded(&files.desired())?;
        let mut state = State::load(&files.supervisor_state());
        let left = state.pid;
        if state.desired_at != said.at {
            state.begin_afresh(&said);
        }
        state.version = VERSION.to_owned();
        state.pid = Some(std::process::id());
        state.endpoint = None;
        let limits = Limits::contract(tools.appliance.health.ready_timeout());
        let past = state.past(time::OffsetDateTime::now_utc());
        let mut seed = [0; 8];
        // Without randomness there is no jitter, and that is all.
        let _ = getrandom::fill(&mut seed);
        let policy = Policy::new(limits, mode, said.desired, &past, Duration::ZERO, u64::from_ne_bytes(seed));
        let mut supervisor = Supervisor {
            lock,
            policy,
            jobs: Jobs::new(tools.launch.clone()),
            disk: disk::DiskWatch::new(Instant::now()),
            state,
            log: Log::new(files.supervisor_log()),
            began: Instant::now(),
            sender,
            engine: None,
            container: tools.instance.container(&tools.appliance.name),
            run: 0,
            publish: None,
            out_of_memory: false,
            inspect_at: None,
            rules_at: None,
            loading_rules: false,
            said,
            state_stamp,
            settings_stamp,
            mode,
            adopted: false,
            lost_because: String::new(),
            asleep: time_asleep(),
            tools,
        };
        let takes_over = left.map(|pid| format!("; replaces pid {pid}, which exited unexpectedly"));
        let text = format!("supervisor {VERSION} started (pid {})", std::process::id());
        supervisor.decided("began", format!("{text}{}", takes_over.unwrap_or_default()));
        supervisor.plan_backups();
        Ok(supervisor)
    }

    async fn supervise(&mut self, inbox: &mut mpsc::UnboundedReceiver<Message>) -> (End, Option<Lock>) {
        loop {
            let message = tokio::select! {
                biased;
                () = self.tools.interrupt.wait() => return (End::Told, None),
                message = inbox.recv() => message,
                () = tokio::time::sleep_until(self.wake_at().into()) => None,
            };
            // First what holds, then what happened: a wish or a lock may explain it.
            if let Some(end) = self.look_around().await {
                return (end, None);
            }
            match message {
                Some(message) => self.receive(message).await,
                None => self.feed(Input::Tick).await,
            }
            self.refresh_rules();
            if self.inspect_at.is_some_and(|at| Instant::now() >= at) {
                self.feed(Input::Touched).await;
            }
            let free = self.engine.is_some() && !self.policy.locked() && self.policy.wish() == DesiredState::Running;
            if free && self.jobs.backup_is_due() {
                self.run_job(Job::Backup);
            }
            self.watch_disk();
            if let Some(held) = self.has_nothing_to_do() {
                return (End::NothingToDo, Some(held));
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn wake_at(&self) -> Instant {
        let look = if self.policy.locked() { LOOK_LOCKED } else { LOOK_EVERY };
        let at = self.policy.wake_at().min(self.now() + look);
        let at = self.began + at;
        at.min(self.inspect_at.unwrap_or(at)).min(self.rules_at.unwrap_or(at))
    }

    /// Whether a detached one may end. Hands out the instance's lock, to be held until the end: a
    /// `start` holds it as well when it looks whether one runs, so none ends while `start` relies
    /// on it.
    fn has_nothing_to_do(&self) -> Option<Lock> {
        let idle = self.policy.wish() == DesiredState::Stopped && !self.adopted || self.mode == RestartPolicy::Never;
        if !self.tools.detached || !idle || self.policy.locked() {
            return None;
        }
        let held = self.instance_lock()?;
        let files = self.tools.files;
        let unchanged = desired_state::recorded(&files.desired()).is_ok_and(|said| said == self.said)
            && Stamp::of(&files.settings()) == self.settings_stamp;
        unchanged.then_some(held)
    }

    /// The instance's lock, if nobody else has it.
    fn instance_lock(&self) -> Option<Lock> {
        Lock::take(&self.tools.files.lock(), self.tools.instance, NAME).ok()
    }

    /// Whether another command holds the instance's lock.
    fn command_at_work(&self) -> bool {
        !self.loading_rules && Lock::is_held(&self.tools.files.lock())
    }

    /// Feeds the policy, does what it says, and feeds it what comes of that, until it is content.
    async fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.policy.handle(self.now(), input) {
                self.act(action, &mut inputs).await;
            }
        }
    }

    fn run_job(&mut self, job: Job) {
        if let Some(work) = self.jobs.start(job) {
            let sender = self.sender.clone();
            tokio::spawn(async move {
                let _ = sender.send(Message::Ran(work.await));
            });
        }
    }

    /// Reads anew when the next backup is due.
    fn plan_backups(&mut self) {
        if let Ok(Some(settings)) = Settings::load(&self.tools.files.settings()) {
            self.jobs.plan(&settings.backup.every, &Last::load(&self.tools.files.backup_state()));
        }
    }
}
