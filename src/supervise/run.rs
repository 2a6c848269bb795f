//! The loop that feeds the policy and does what it says: the engine's events, the page, the clock,
//! the user's wish, the settings and the lock go in; restarts, inspections and lines in the log
//! come out. Decides nothing itself but whether it may act at this very moment.

mod deeds;

use std::{
    collections::VecDeque,
    os::unix::fs::MetadataExt as _,
    path::Path,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use super::{
    errands::{self, Errand, Errands},
    log::Log,
    policy::{Action, Ending, Health, Input, Limits, Outside, Policy, Sight},
    process::Launch,
    state::State,
};
use crate::{
    appliance::Appliance,
    clock,
    data::schedule::Last,
    desired::{Publish, VERSION, label, labels},
    engine::{
        Engine,
        connect::{self, Selection},
        docker::Detail,
        events::{ContainerEvent, Kind},
    },
    error::{Error, Result},
    event::{Event, Reporter},
    instance::Instance,
    interrupt::Interrupt,
    lock::Lock,
    observed::Ownership,
    paths::InstancePaths,
    probe::{Probe, Seen},
    ready,
    report::Decision,
    secrets,
    settings::{RestartPolicy, Settings},
    wish::{self, Said, Wish},
};

/// What this calls itself in a lock.
pub const NAME: &str = "supervise";

/// The longest it does not look at its files and clocks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The same while another command is at work.
const LOOK_LOCKED: Duration = Duration::from_millis(500);

/// Grace for a container whose page hangs.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// An inspection that failed, or that may have been too early, is made again after this.
const INSPECT_AGAIN: Duration = Duration::from_secs(2);

/// The clocks say that the machine slept when they differ by more than this.
const SLEEP: Duration = Duration::from_secs(3);

/// Pauses between two attempts to reach the engine.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Lines of the container's log that are kept when it gives up.
const LOG_LINES: usize = ready::LOG_LINES;

/// What the supervisor works with.
pub struct Tools<'a> {
    /// What is installed.
    pub appliance: &'a Appliance,
    /// Whose.
    pub instance: &'a Instance,
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
            End::Told => "it was told to",
            End::NothingToDo => "there is nothing to supervise until docklet start",
            End::NotSetUp => "the instance is not set up any more",
            End::Disowned => "its lock was removed, so it is not the one supervisor any more",
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
    let watcher = watch(tools.selection.clone(), tools.appliance.name.clone(), tools.instance.clone(), sender.clone());
    let watcher = tokio::spawn(watcher);
    let mut supervisor = Supervisor::new(&tools, lock, settings.restart.policy, sender)?;
    let (end, held) = supervisor.supervise(&mut inbox).await;
    watcher.abort();
    if end != End::Disowned {
        // Else these files may be another one's by now.
        supervisor.state.pid = None;
        supervisor.decided("ended", format!("supervisor ends: {}; the container stays as it is", end.text()));
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
    Ran(errands::Done),
}

/// Keeps a connection to the engine and passes on what it tells.
async fn watch(
    mut selection: Selection,
    appliance: String,
    instance: Instance,
    sender: mpsc::UnboundedSender<Message>,
) {
    let mut pause = RECONNECT.0;
    let mut since: Option<i128> = None;
    loop {
        let reason = match connect::connect(&selection).await {
            Ok(engine) => {
                pause = RECONNECT.0;
                if engine.is_local() {
                    // This one, also when the user turns to another one meanwhile: on another engine
                    // there is no container, which would look as if somebody had removed it.
                    selection.host = Some(engine.about.endpoint.clone());
                }
                let mut events = pin!(engine.events(&appliance, &instance, since));
                // Should nothing happen before the connection breaks, this is from when on to ask.
                since = since.or_else(|| Some(time::OffsetDateTime::now_utc().unix_timestamp_nanos()));
                if sender.send(Message::Connected(Box::new(engine.clone()))).is_err() {
                    return;
                }
                loop {
                    match events.next().await {
                        Some(Ok(event)) => {
                            since = since.max(Some(event.at + 1));
                            if sender.send(Message::Happened(event)).is_err() {
                                return;
                            }
                        }
                        Some(Err(error)) => break error.to_string(),
                        None => break "the engine closed the connection".to_owned(),
                    }
                }
            }
            Err(error) => error.to_string(),
        };
        if sender.send(Message::Lost(reason)).is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT.1);
    }
}

/// A file that may change: which it is, and when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stamp(Option<(u64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        Stamp(std::fs::metadata(path).ok().map(|found| (found.ino(), found.mtime(), found.mtime_nsec())))
    }
}

struct Supervisor<'a> {
    tools: &'a Tools<'a>,
    lock: Lock,
    policy: Policy,
    errands: Errands,
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
    said: Said,
    wish_stamp: Stamp,
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
        let wish_stamp = Stamp::of(&files.desired());
        let said = wish::said(&files.desired())?;
        let mut state = State::load(&files.supervisor_state());
        let left = state.pid;
        if state.wish_at != said.at {
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
            errands: Errands::new(tools.launch.clone()),
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
            said,
            wish_stamp,
            settings_stamp,
            mode,
            adopted: false,
            lost_because: String::new(),
            asleep: time_asleep(),
            tools,
        };
        let takes_over = left.map(|pid| format!("; takes over from pid {pid}, which ended unexpectedly"));
        let text = format!("supervisor {VERSION} begins (pid {})", std::process::id());
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
            if self.inspect_at.is_some_and(|at| Instant::now() >= at) {
                self.feed(Input::Touched).await;
            }
            if self.errands.backup_is_due() && self.engine.is_some() && self.policy.wish() == Wish::Running {
                self.run_errand(Errand::Backup);
            }
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
        (self.began + at).min(self.inspect_at.unwrap_or(self.began + at))
    }

    /// Looks at the clocks and files: no engine call, a few system calls.
    async fn look_around(&mut self) -> Option<End> {
        let files = self.tools.files;
        if !self.lock.is_named(&files.supervisor_lock()) {
            return Some(End::Disowned);
        }
        let asleep = time_asleep();
        let slept = asleep.saturating_sub(std::mem::replace(&mut self.asleep, asleep));
        if slept > SLEEP {
            self.feed(Input::Slept(slept)).await;
        }
        if Lock::is_held(&files.lock()) && !self.policy.locked() {
            self.feed(Input::Lock(true)).await;
        }
        self.look_at_wish().await;
        let stamp = Stamp::of(&files.settings());
        if stamp != self.settings_stamp {
            self.settings_stamp = stamp;
            match Settings::load(&files.settings()) {
                Ok(Some(settings)) => {
                    self.mode = settings.restart.policy;
                    self.plan_backups();
                    self.feed(Input::Mode(settings.restart.policy)).await;
                }
                Ok(None) => return Some(End::NotSetUp),
                Err(error) => self.decided("settings_invalid", format!("the settings are not taken up: {error}")),
            }
        }
        // Last: what the command left behind is known when it is gone.
        if self.policy.locked() && !Lock::is_held(&files.lock()) {
            self.look_at_wish().await;
            self.feed(Input::Lock(false)).await;
        }
        None
    }

    async fn look_at_wish(&mut self) {
        let path = self.tools.files.desired();
        let stamp = Stamp::of(&path);
        if stamp == self.wish_stamp {
            return;
        }
        self.wish_stamp = stamp;
        let Ok(said) = wish::said(&path) else { return };
        if said != self.said {
            self.adopted = false;
            self.take_wish(said).await;
        }
    }

    async fn take_wish(&mut self, said: Said) {
        self.state.begin_afresh(&said);
        let wish = said.desired;
        self.said = said;
        self.save();
        Box::pin(self.feed(Input::Asked(wish))).await;
    }

    /// Whether a detached one may end. Hands out the instance's lock, to be held until the end: a
    /// `start` holds it as well when it looks whether one runs, so none ends while `start` relies
    /// on it.
    fn has_nothing_to_do(&self) -> Option<Lock> {
        let idle = self.policy.wish() == Wish::Stopped && !self.adopted || self.mode == RestartPolicy::Never;
        if !self.tools.detached || !idle || self.policy.locked() {
            return None;
        }
        let held = self.instance_lock()?;
        let files = self.tools.files;
        let unchanged = wish::said(&files.desired()).is_ok_and(|said| said == self.said)
            && Stamp::of(&files.settings()) == self.settings_stamp;
        unchanged.then_some(held)
    }

    /// The instance's lock, if nobody else has it.
    fn instance_lock(&self) -> Option<Lock> {
        Lock::take(&self.tools.files.lock(), self.tools.instance, NAME).ok()
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Connected(engine) => {
                let endpoint = Some(engine.about.endpoint.clone());
                self.engine = Some(*engine);
                if self.state.endpoint != endpoint {
                    self.state.endpoint = endpoint;
                    self.save();
                }
                self.feed(Input::EngineBack).await;
                // What happened between that look and the begin of the stream is found by another.
                self.inspect_at = Some(Instant::now() + INSPECT_AGAIN);
            }
            Message::Lost(reason) => {
                self.engine = None;
                self.inspect_at = None;
                self.lost_because = reason;
                self.feed(Input::EngineLost).await;
            }
            Message::Happened(event) => {
                if let Some(input) = self.understand(&event) {
                    self.feed(input).await;
                }
            }
            Message::Ran((errand, done)) => {
                self.errands.ended();
                let (decision, text) = errands::text(errand, &done);
                self.decided(decision, text);
                self.plan_backups();
                self.feed(Input::Touched).await;
            }
            Message::Probed(seen) => {
                let health = match seen {
                    Seen::Works => Health::Good,
                    Seen::Unauthorized => Health::Refused,
                    Seen::Wrong { .. } => Health::Bad(seen.to_string()),
                    Seen::Silent { reason } => Health::Bad(reason),
                };
                self.feed(Input::Probed(health)).await;
            }
        }
    }

    fn understand(&mut self, event: &ContainerEvent) -> Option<Input> {
        let renamed = matches!(&event.kind, Kind::Other(what) if what == "rename");
        if event.name != self.container && !renamed || event.at <= self.run {
            return None;
        }
        Some(match &event.kind {
            Kind::Started => {
                self.out_of_memory = false;
                Input::Started
            }
            Kind::Died { code } => Input::Died(Ending { code: *code, out_of_memory: self.out_of_memory }),
            Kind::Stopped => Input::EndedOutside(Outside::Stopped),
            // SIGTERM, what `docker stop` begins with.
            Kind::Signalled { signal: 15 } => Input::AskedToEnd,
            Kind::Signalled { .. } => return None,
            Kind::Removed => Input::EndedOutside(Outside::Removed),
            Kind::Other(what) if what == "oom" => {
                self.out_of_memory = true;
                return None;
            }
            Kind::Other(_) => Input::Touched,
        })
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

    async fn act(&mut self, action: Action, inputs: &mut VecDeque<Input>) {
        match action {
            Action::Inspect => self.inspect(inputs).await,
            Action::Probe => self.probe(),
            Action::Restart(why) => {
                let done = self.restart(why).await;
                if done == Input::RestartCancelled && Lock::is_held(&self.tools.files.lock()) {
                    inputs.push_back(Input::Lock(true));
                }
                inputs.push_back(done);
            }
            Action::GiveUp(why) => self.give_up(&why).await,
            Action::SetPolicyBack { from } => self.set_policy_back(&from).await,
            Action::AdoptStop(how) => {
                let how = match how {
                    Outside::Stopped => "stopped past docklet (docker stop)",
                    Outside::Removed => "removed past docklet (docker rm), its volumes are kept",
                };
                let text = format!("{how}: taken as your wish, docklet start brings it back");
                self.adopt(Wish::Stopped, text, inputs);
            }
            Action::AdoptStart => {
                self.adopt(Wish::Running, "started past docklet: taken as your wish".to_owned(), inputs);
            }
            Action::Tell(note) => self.tell(note),
        }
    }

    async fn inspect(&mut self, inputs: &mut VecDeque<Input>) {
        self.inspect_at = None;
        let Some(engine) = &self.engine else { return };
        match engine.container(&self.container).await {
            Ok(detail) => {
                if self.recovers(&engine.clone(), detail.as_ref()).await {
                    return;
                }
                if let Some(detail) = &detail {
                    self.remember(detail);
                    if self.is_ours(detail) {
                        inputs.push_back(Input::EnginePolicy(detail.restart_policy.clone()));
                    }
                }
                inputs.push_back(Input::Look(self.sight(detail.as_ref())));
            }
            // Should the engine be gone, the watcher says so; should it only be busy, ask again.
            Err(_) => self.inspect_at = Some(Instant::now() + INSPECT_AGAIN),
        }
    }

    /// Whether a killed command's work is being finished now. Nothing else is decided until it is.
    async fn recovers(&mut self, engine: &Engine, detail: Option<&Detail>) -> bool {
        let as_usual = detail.is_some_and(|d| !d.paused && !d.labels.contains_key(label::STAGED));
        let files = self.tools.files;
        if as_usual
            || !self.errands.may_recover()
            || self.policy.wish() != Wish::Running
            || Lock::is_held(&files.lock())
        {
            return false;
        }
        let (appliance, instance) = (self.tools.appliance, self.tools.instance);
        let labels = labels(appliance, instance);
        if !errands::left_behind(engine, detail, instance, &appliance.name, &labels).await {
            return false;
        }
        self.run_errand(Errand::Recover);
        true
    }

    fn run_errand(&mut self, errand: Errand) {
        if let Some(work) = self.errands.start(errand) {
            let sender = self.sender.clone();
            tokio::spawn(async move {
                let _ = sender.send(Message::Ran(work.await));
            });
        }
    }

    /// Reads anew when the next backup is due.
    fn plan_backups(&mut self) {
        if let Ok(Some(settings)) = Settings::load(&self.tools.files.settings()) {
            self.errands.plan(&settings.backup.every, &Last::load(&self.tools.files.backup_state()));
        }
    }

    fn is_ours(&self, detail: &Detail) -> bool {
        Ownership::of(&detail.labels, &labels(self.tools.appliance, self.tools.instance)) == Ownership::Ours
    }

    fn remember(&mut self, detail: &Detail) {
        if detail.running {
            self.run = detail.run.unwrap_or(0);
        }
        self.publish = Some(detail.live.publish).filter(|publish| publish.port > 0);
    }

    fn sight(&self, detail: Option<&Detail>) -> Sight {
        match detail {
            None => Sight::Missing,
            Some(detail) if !self.is_ours(detail) => Sight::Foreign,
            Some(detail) if detail.paused => Sight::Paused,
            Some(detail) if detail.running => Sight::Running { run: detail.run.unwrap_or(0) },
            Some(detail) => Sight::Ended(Ending { code: detail.exit_code, out_of_memory: detail.oom_killed }),
        }
    }

    /// Looks at the page beside everything else: a page that hangs takes its time.
    fn probe(&self) {
        let sender = self.sender.clone();
        let login = &self.tools.appliance.login;
        // Read anew each time: it may have been rotated.
        let password = secrets::read(&self.tools.files.secrets(), &login.password_secret).ok().flatten();
        match (&self.publish, password) {
            (Some(publish), Some(password)) => {
                let probe = Probe::new(self.tools.appliance, publish, &password);
                tokio::spawn(async move {
                    let _ = sender.send(Message::Probed(probe.look().await));
                });
            }
            // Nothing that a restart would heal.
            _ => drop(sender.send(Message::Probed(Seen::Unauthorized))),
        }
    }

    /// A line in the log, and to whoever watches.
    fn say(&self, decision: &str, text: String) -> Decision {
        let decision = Decision { at: clock::now_rfc3339(), decision: decision.to_owned(), text };
        self.log.line(&format!("{} {:<15} {}", decision.at, decision.decision, decision.text));
        let Decision { at, decision: word, text } = decision.clone();
        self.tools.reporter.report(&Event::Decision { at, decision: word, text });
        decision
    }

    /// The same, kept for `status`.
    fn decided(&mut self, decision: &str, text: String) {
        let decision = self.say(decision, text);
        self.state.push(decision);
        self.save();
    }

    /// A state that cannot be kept is no reason to stop supervising.
    fn save(&mut self) {
        let now = time::OffsetDateTime::now_utc();
        let within = Limits::contract(Duration::ZERO).within;
        self.state.recent.retain(|at| clock::parse(at).is_some_and(|at| now - at < within));
        if let Err(error) = self.state.save(&self.tools.files.supervisor_state()) {
            self.log.line(&format!("{} {:<15} {error}", clock::now_rfc3339(), "state_not_kept"));
        }
    }
}

/// How long the machine has slept since it booted: one clock goes on meanwhile, the other stands.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn time_asleep() -> Duration {
    let read = |clock| {
        let time = clock_gettime(clock);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic))
}

/// The same by the wall clock, since an arbitrary moment: `Instant` stands still meanwhile.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn time_asleep() -> Duration {
    static BEGAN: std::sync::OnceLock<(Instant, Duration)> = std::sync::OnceLock::new();
    let wall = || {
        let time = clock_gettime(ClockId::Realtime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    let (began, then) = BEGAN.get_or_init(|| (Instant::now(), wall()));
    wall().saturating_sub(*then).saturating_sub(began.elapsed())
}
