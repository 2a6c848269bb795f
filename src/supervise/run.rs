//! The loop that feeds the policy and does what it says: the engine's events, the page, the clock,
//! the desired state, the settings and the lock go in; restarts, inspections and lines in the log
//! come out. Decides nothing itself but whether it may act at this very moment.
//!
//! - `disk`: watches the engine's disk beside that
//! - in: `watcher` and `messages`, what the engine and the page tell, `podman` in its own way; `poll`, what nobody tells of
//! - out: `inspect`, `actions`, `network` and `decisions`

mod actions;
mod decisions;
mod disk;
mod inspect;
mod messages;
mod network;
mod podman;
mod poll;
mod watcher;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use poll::{Stamp, time_asleep};
use tokio::sync::mpsc;

use super::{
    jobs::{self, Job, Jobs},
    log::SupervisorLog,
    policy::{Input, Limits, Past, Policy},
    ssh_agent::Forwarder,
};
use crate::{
    clock,
    data::{copies::Copies, schedule::LastRun},
    desired::{Publish, VERSION},
    desired_state::{self, DesiredState, RecordedState},
    engine::{Engine, events::ContainerEvent},
    error::Result,
    host::system,
    lock::Lock,
    ops::{
        Instance, backup_test, copy,
        supervisor::{NAME, state::SupervisorState},
        update::scheduled::LastUpdateCheck,
    },
    probe::Seen,
    sandbox::ssh_agent,
    settings::{RestartPolicy, Settings},
};

/// The longest it does not look at its files and clocks.
const POLL_EVERY: Duration = Duration::from_secs(10);

/// The same while another command is at work.
const POLL_WHILE_LOCKED: Duration = Duration::from_millis(500);

/// An inspection that failed, or that may have been too early, is made again after this.
const INSPECT_AGAIN: Duration = Duration::from_secs(2);

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

/// Supervises until the instance's interrupt tells it to end. Leaves the container as it is then. The reporter gets each
/// decision. A `detached` one is a process of its own, which ends when there is nothing to supervise; one that a service
/// manager or a person started goes on until it is told to end.
///
/// # Errors
/// [`Error::Locked`] when another supervisor runs, [`Error::NotSetUp`], and what
/// [`Settings::load`] finds.
pub async fn run(instance: &Instance, detached: bool) -> Result<End> {
    let settings = instance.settings().await?;
    let lock = Lock::take(&instance.files.supervisor_lock(), &instance.name, NAME)?;
    let (sender, mut inbox) = mpsc::unbounded_channel();
    let watcher =
        watcher::watch(instance.selection(), instance.appliance.name.clone(), instance.name.clone(), sender.clone());
    let watcher = tokio::spawn(watcher);
    let mut supervisor = Supervisor::new(instance, detached, lock, settings.restart.policy, sender)?;
    let (end, held) = supervisor.supervise(&mut inbox).await;
    watcher.abort();
    // One that holds a container still lets it go on before the process is gone.
    supervisor.jobs.interrupt().await;
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
enum SupervisorMessage {
    Connected(Box<Engine>),
    Lost(String),
    Happened(ContainerEvent),
    Probed(Seen),
    Tunnel(Option<String>),
    Ran(jobs::Done),
    Measured(Box<disk::Measured>),
    RulesLoaded(Result<bool>),
}

struct Supervisor<'a> {
    instance: &'a Instance,
    detached: bool,
    lock: Lock,
    policy: Policy,
    jobs: Jobs,
    disk: disk::DiskWatch,
    ssh_agent: Option<Forwarder>,
    state: SupervisorState,
    log: SupervisorLog,
    began: Instant,
    sender: mpsc::UnboundedSender<SupervisorMessage>,
    engine: Option<Engine>,
    container: String,
    /// The run that was seen last; what the engine tells of earlier ones is history.
    run: i128,
    publish: Option<Publish>,
    out_of_memory: bool,
    clues: podman::Clues,
    inspect_at: Option<Instant>,
    /// When the network rules are to be loaded again.
    rules_at: Option<Instant>,
    /// This machine's networks with public addresses when they were loaded last.
    own_networks: Vec<IpNet>,
    /// Whether they are being loaded: the instance's lock is held for it.
    loading_rules: bool,
    recorded: RecordedState,
    state_stamp: Stamp,
    settings_stamp: Stamp,
    mode: RestartPolicy,
    /// The desired state `stopped` came from outside docklet, so a start outside docklet undoes it.
    adopted: bool,
    lost_because: String,
    /// What is wrong with the tunnel to the page.
    tunnel_fault: Option<String>,
    asleep: Duration,
}

impl<'a> Supervisor<'a> {
    fn new(
        instance: &'a Instance,
        detached: bool,
        lock: Lock,
        mode: RestartPolicy,
        sender: mpsc::UnboundedSender<SupervisorMessage>,
    ) -> Result<Self> {
        let files = &instance.files;
        let settings_stamp = Stamp::of(&files.settings());
        let state_stamp = Stamp::of(&files.desired());
        let recorded = desired_state::recorded(&files.desired())?;
        let mut state = SupervisorState::load(&files.supervisor_state());
        let left = state.pid;
        if state.desired_at != recorded.at {
            state.begin_afresh(&recorded);
        }
        state.version = VERSION.to_owned();
        state.pid = Some(std::process::id());
        state.endpoint = None;
        let limits = Limits::contract(instance.appliance.health.ready_timeout());
        let past = past(&state, time::OffsetDateTime::now_utc());
        let mut seed = [0; 8];
        // Without randomness there is no jitter, and that is all.
        let _ = getrandom::fill(&mut seed);
        let policy = Policy::new(limits, mode, recorded.desired, &past, Duration::ZERO, u64::from_ne_bytes(seed));
        let mut supervisor = Supervisor {
            lock,
            policy,
            jobs: Jobs::new(instance.name.clone(), instance.options.clone()),
            disk: disk::DiskWatch::new(Instant::now()),
            ssh_agent: None,
            state,
            log: SupervisorLog::new(files.supervisor_log()),
            began: Instant::now(),
            sender,
            engine: None,
            container: instance.container_name(),
            run: 0,
            publish: None,
            out_of_memory: false,
            clues: podman::Clues::default(),
            inspect_at: None,
            rules_at: None,
            own_networks: vec![],
            loading_rules: false,
            recorded,
            state_stamp,
            settings_stamp,
            mode,
            adopted: false,
            lost_because: String::new(),
            tunnel_fault: None,
            asleep: time_asleep(),
            instance,
            detached,
        };
        let takes_over = left.map(|pid| format!("; replaces pid {pid}, which exited unexpectedly"));
        let text = format!("supervisor {VERSION} started (pid {})", std::process::id());
        supervisor.decided("began", format!("{text}{}", takes_over.unwrap_or_default()));
        supervisor.reload_settings();
        Ok(supervisor)
    }

    async fn supervise(&mut self, inbox: &mut mpsc::UnboundedReceiver<SupervisorMessage>) -> (End, Option<Lock>) {
        loop {
            let message = tokio::select! {
                biased;
                () = self.instance.interrupt.wait() => return (End::Told, None),
                message = inbox.recv() => message,
                () = tokio::time::sleep_until(self.wake_at().into()) => None,
            };
            // First what holds, then what happened: a request or a lock may explain it.
            if let Some(end) = self.poll().await {
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
            let free = self.engine.is_some() && !self.policy.locked() && self.policy.desired() == DesiredState::Running;
            if let Some(job) = self.jobs.due().filter(|_| free) {
                self.run_job(job);
            }
            if self.jobs.copy_is_due() {
                self.run_job(Job::Copy);
            }
            if self.engine.is_some() && self.jobs.may_tidy() && backup_test::is_left(&self.instance.files) {
                self.run_job(Job::RemoveTest);
            }
            if free && self.jobs.test_is_due(system::is_idle) {
                self.run_job(Job::TestBackup);
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
        let pause = if self.policy.locked() { POLL_WHILE_LOCKED } else { POLL_EVERY };
        let at = self.policy.wake_at().min(self.now() + pause);
        let at = self.began + at;
        at.min(self.inspect_at.unwrap_or(at)).min(self.rules_at.unwrap_or(at))
    }

    /// Whether a detached one may end. Hands out the instance's lock, to be held until the end: a
    /// `start` holds it as well when it looks whether one runs, so none ends while `start` relies
    /// on it.
    fn has_nothing_to_do(&self) -> Option<Lock> {
        let idle = self.policy.desired() == DesiredState::Stopped && !self.adopted || self.mode == RestartPolicy::Never;
        if !self.detached || !idle || self.policy.owes_stop() || self.policy.locked() || self.jobs.is_busy_beside() {
            return None;
        }
        let held = self.instance_lock()?;
        let files = &self.instance.files;
        let unchanged = desired_state::recorded(&files.desired()).is_ok_and(|recorded| recorded == self.recorded)
            && Stamp::of(&files.settings()) == self.settings_stamp;
        unchanged.then_some(held)
    }

    /// The instance's lock, if nobody else has it.
    fn instance_lock(&self) -> Option<Lock> {
        Lock::take(&self.instance.files.lock(), &self.instance.name, NAME).ok()
    }

    /// Whether another command holds the instance's lock.
    fn command_at_work(&self) -> bool {
        !self.loading_rules && Lock::is_held(&self.instance.files.lock())
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
        let sender = self.sender.clone();
        self.jobs.start(job, move |done| drop(sender.send(SupervisorMessage::Ran(done))));
    }

    /// Reads the settings anew, and when the next backup, copy and test are due.
    fn reload_settings(&mut self) {
        if let Ok(Some(settings)) = Settings::load(&self.instance.files.settings()) {
            self.take_settings(&settings);
        }
    }

    /// What hangs on the settings beside the policy: the next backup, its copy and its test, and the host's ssh agent.
    fn take_settings(&mut self, settings: &Settings) {
        let files = &self.instance.files;
        self.jobs.plan(Job::Backup, &settings.backup.every, &LastRun::load(&files.backup_state()));
        let looked = LastUpdateCheck::load(&files.update_state());
        self.jobs.plan(Job::CheckForUpdate, &settings.update.check_every, &looked.last);
        let copies = Copies::load(&files.copies());
        self.jobs.plan_copy(copy::is_pending(self.instance, settings, &copies).then(|| copies.next()));
        let (every, last) = (&settings.backup.test_every, LastRun::load(&files.backup_test()));
        let has_new = every.duration().is_some() && backup_test::has_new(self.instance, &last);
        self.jobs.plan_test(every, &last, has_new);
        self.ssh_agent = self.ssh_agent.take().filter(|_| settings.git.ssh_agent);
        if settings.git.ssh_agent && self.ssh_agent.is_none() {
            let started = ssh_agent::prepare(files, None).map_err(|e| e.to_string());
            match started.and_then(|()| Forwarder::start(files).map_err(|e| e.to_string())) {
                Ok(forwarder) => self.ssh_agent = Some(forwarder),
                Err(why) => self.decided("ssh_agent", format!("the ssh agent cannot be offered: {why}")),
            }
        }
    }
}

/// What the policy has to know of the supervisors before.
fn past(state: &SupervisorState, now: time::OffsetDateTime) -> Past {
    let ago = |at: &String| Duration::try_from(now - clock::parse(at)?).ok();
    Past { restarts: state.recent.iter().filter_map(ago).collect(), gave_up: state.gave_up.is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_of_before_are_so_long_ago() {
        let state = SupervisorState { recent: vec![clock::now_rfc3339()], ..SupervisorState::default() };
        let past = past(&state, time::OffsetDateTime::now_utc());
        assert_eq!((past.restarts.len(), past.gave_up), (1, false));
    }
}
