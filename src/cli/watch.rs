//! `docklet status --watch`: feeds the model with what happens, draws it, and does what it demands. Decides nothing itself.

use std::{
    pin::Pin,
    process::ExitCode,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::mpsc::{self, Receiver};

use super::{
    context::Context,
    logs::interrupted,
    watch_action::{self, Doing},
    watch_surface::{Surface, TerminalInput, one_line},
};
use crate::{
    engine::{Engine, container::Detail, log::LogRequest},
    error::{Error, Result},
    follow::{self, Message},
    ops,
    present::watch::Changes,
    report::StatusReport,
    settings::Settings,
    watch::{Demand, Dialog, ScreenInput, Watch, keys::keys, model::LOG_LINES},
};

/// How often the clock on the screen and the supervisor's files are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Pauses between two probes of the page: while it answers, and while it does not.
const PROBE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));

/// How often the volumes are measured: that makes the engine walk through them.
const MEASURE_VOLUMES: Duration = Duration::from_secs(600);

/// Least time between two drawings, however much is logged.
const FRAME: Duration = Duration::from_millis(50);

/// Messages that wait during a drawing.
const WAITING: usize = 64;

/// Watches until a key, or a signal, ends it.
pub async fn run(context: &Context) -> Result<ExitCode> {
    let flag = context.name.flag();
    if context.global.json || context.global.quiet {
        let option = if context.global.json { "--json" } else { "--quiet" };
        return Err(Error::Usage {
            message: format!("--watch runs until you stop it; {option} needs a single result"),
            hint: Some(format!("one report: docklet{flag} status {option}")),
        });
    }
    context.settings().await?;
    let streams = context.output.streams();
    let on_screen = context.environment.stdin_is_terminal && streams.stdout_is_terminal && !streams.term_dumb;
    let log = LogRequest { tail: Some(LOG_LINES), ..LogRequest::default() };
    let subject = context.subject(on_screen.then_some(log), on_screen);
    let (to, from) = mpsc::channel(WAITING);
    let surface = if on_screen { Surface::open()? } else { Surface::Lines(Changes::default()) };
    tokio::spawn(follow::follow(subject, None, to));
    Watcher::new(context, surface).run(from).await
}

/// The result of a request that ran in the background.
enum Fetched {
    Report(u64, Result<Box<StatusReport>>),
    Answers(bool),
    Sizes(std::collections::BTreeMap<String, u64>),
}

struct Watcher<'a> {
    context: &'a Context,
    surface: Surface,
    watch: Watch,
    began: Instant,
    engine: Option<Engine>,
    container: Option<Box<Detail>>,
    /// The last valid ones: the file may be in an editor.
    settings: Option<Settings>,
    answers: bool,
    /// Counts looks: an answer to an earlier one is old.
    requests: u64,
    looking: FuturesUnordered<Pin<Box<dyn Future<Output = Fetched> + 'a>>>,
    probe_at: Option<Instant>,
    measure_at: Option<Instant>,
    tick_at: Instant,
    drawn_at: Option<Instant>,
    changed: bool,
    doing: Option<Doing>,
    /// A signal asked for the end.
    told: bool,
    /// A run was seen before: the next one is a restart.
    ran: bool,
}

impl<'a> Watcher<'a> {
    fn new(context: &'a Context, surface: Surface) -> Self {
        Watcher {
            context,
            surface,
            watch: Watch { zone: context.environment.zone.clone(), ..Watch::default() },
            began: Instant::now(),
            engine: None,
            container: None,
            settings: None,
            answers: false,
            requests: 0,
            looking: FuturesUnordered::new(),
            probe_at: None,
            measure_at: None,
            tick_at: Instant::now() + TICK,
            drawn_at: None,
            changed: true,
            doing: None,
            told: false,
            ran: false,
        }
    }

    async fn run(mut self, mut from: Receiver<Message>) -> Result<ExitCode> {
        loop {
            if !self.draw() {
                return Ok(ExitCode::SUCCESS); // the output is closed
            }
            let due = self.due();
            let demand = tokio::select! {
                biased;
                () = self.context.interrupt.wait(), if !self.told => self.end(),
                typed = self.surface.next() => match typed {
                    TerminalInput::Bytes(bytes) => self.typed(&bytes),
                    TerminalInput::Resized => {
                        self.surface.clear(&self.context.output);
                        (self.changed, self.drawn_at) = (true, None);
                        None
                    }
                    TerminalInput::Gone => self.end(),
                },
                input = next_event(&mut self.doing) => self.feed(input),
                Some(found) = self.looking.next() => self.found(found).map(|()| None)?,
                message = from.recv() => match message {
                    Some(message) => self.take(message).map(|()| None)?,
                    None => return Err(Error::bug("the follower ended")),
                },
                () = tokio::time::sleep_until(due.into()) => None,
            };
            match demand {
                Some(Demand::Quit) => return Ok(if self.told { interrupted() } else { ExitCode::SUCCESS }),
                Some(Demand::Begin(action)) => self.doing = Some(watch_action::begin(self.context, action)),
                Some(Demand::BreakOff) => self.break_off(),
                None => {}
            }
            self.poll()?;
        }
    }

    /// A signal, or the terminal has gone: ends when the running action has ended.
    fn end(&mut self) -> Option<Demand> {
        self.told = true;
        if !matches!(self.watch.dialog, Dialog::Doing { .. }) {
            return Some(Demand::Quit);
        }
        self.watch.ending = true;
        self.changed = true;
        Some(Demand::BreakOff)
    }

    fn break_off(&self) {
        if let Some(doing) = &self.doing {
            doing.raise.raise();
        }
    }

    fn feed(&mut self, input: ScreenInput) -> Option<Demand> {
        self.changed = true;
        if matches!(input, ScreenInput::Done(_)) {
            self.doing = None;
        }
        self.watch.feed(input, self.began.elapsed())
    }

    /// Of several keys the last demand counts, but quitting counts at once.
    fn typed(&mut self, bytes: &[u8]) -> Option<Demand> {
        let mut demand = None;
        for key in keys(bytes) {
            demand = self.feed(ScreenInput::Key(key)).or(demand);
            if demand == Some(Demand::Quit) {
                break;
            }
        }
        demand
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Connected(engine) => {
                self.engine = Some(*engine);
                self.feed(ScreenInput::EngineBack);
            }
            Message::Lost(error) => {
                self.engine = None;
                self.container = None;
                self.requests += 1;
                (self.probe_at, self.measure_at) = (None, None);
                let reason = [vec![error.to_string()], error.causes()].concat().join(": ");
                self.feed(ScreenInput::EngineGone(one_line(&reason)));
                self.load_settings();
                self.report(ops::status::without_engine(self.context, self.settings.as_ref())?);
            }
            Message::Container(container) => self.request_report(container),
            Message::Run(detail) => {
                if std::mem::replace(&mut self.ran, true) {
                    let at = detail.started_at.unwrap_or_default();
                    self.feed(ScreenInput::Log(format!("-- {} restarted at {at} --", detail.name)));
                }
            }
            Message::Log(line) => {
                self.feed(ScreenInput::Log(one_line(&line.text)));
            }
            Message::LogEnded => {}
            Message::Usage(usage) => {
                self.feed(ScreenInput::Usage(usage));
            }
        }
        Ok(())
    }

    /// Something happened to the container: looks at it and at the page, in the background.
    fn request_report(&mut self, container: Option<Box<Detail>>) {
        let Some(engine) = self.engine.clone() else { return };
        if let Some(detail) = &container {
            #[allow(clippy::cast_precision_loss)] // billionths of a processor
            self.feed(ScreenInput::Processors(detail.live.nano_cpus as f64 / 1e9));
        }
        if !container.as_ref().is_some_and(|detail| detail.running) {
            self.feed(ScreenInput::Idle);
        }
        self.container.clone_from(&container);
        self.probe_at = None;
        self.requests += 1;
        self.load_settings();
        let (context, request, settings) = (self.context, self.requests, self.settings.clone());
        self.looking.push(Box::pin(async move {
            let report = ops::status::report_on(context, settings.as_ref(), &engine, container.map(|c| *c)).await;
            Fetched::Report(request, report.map(Box::new))
        }));
    }

    fn load_settings(&mut self) {
        if let Ok(found) = Settings::load(&self.context.files.settings()) {
            self.settings = found;
        }
    }

    fn found(&mut self, found: Fetched) -> Result<()> {
        match found {
            Fetched::Report(request, report) if request == self.requests => match report {
                Ok(report) => {
                    self.answers = report.state == crate::report::State::Running;
                    self.report(*report);
                    self.probe_again();
                    if self.measure_at.is_none() {
                        self.measure_at = Some(Instant::now());
                    }
                }
                // The follower reports an engine that does not answer.
                Err(error) if error.code().exit_status() == crate::error::Code::NetworkError.exit_status() => {}
                Err(error) => return Err(error),
            },
            Fetched::Report(..) => {}
            Fetched::Answers(answers) => {
                self.answers = answers;
                self.probe_again();
                self.refresh()?;
            }
            Fetched::Sizes(sizes) => {
                self.feed(ScreenInput::Sizes(sizes));
            }
        }
        Ok(())
    }

    fn probe_again(&mut self) {
        let can_answer = self.container.as_ref().is_some_and(|c| c.running && !c.paused);
        let pause = if self.answers { PROBE.0 } else { PROBE.1 };
        self.probe_at = can_answer.then(|| Instant::now() + pause);
    }

    fn report(&mut self, report: StatusReport) {
        if self.watch.report.as_ref() != Some(&report) {
            self.feed(ScreenInput::Report(Box::new(report)));
        }
    }

    fn due(&self) -> Instant {
        let draw = self.drawn_at.filter(|_| self.changed).map(|at| at + FRAME);
        [draw, self.probe_at, self.measure_at].into_iter().flatten().fold(self.tick_at, Instant::min)
    }

    /// What is due by the clock.
    fn poll(&mut self) -> Result<()> {
        let now = Instant::now();
        let (context, due) = (self.context, |at: Option<Instant>| at.is_some_and(|at| now >= at));
        if due(self.probe_at)
            && let (Some(container), Some(engine)) = (self.container.clone(), self.engine.clone())
        {
            self.probe_at = None;
            self.looking.push(Box::pin(async move {
                Fetched::Answers(ops::status::answers(context, &engine, &container).await.unwrap_or(false))
            }));
        }
        if due(self.measure_at)
            && let Some(engine) = self.engine.clone()
        {
            self.measure_at = Some(now + MEASURE_VOLUMES);
            // Best effort: without sizes, the names are shown.
            self.looking.push(Box::pin(async move { Fetched::Sizes(engine.volume_sizes().await.unwrap_or_default()) }));
        }
        if now >= self.tick_at {
            self.tick_at = now + TICK;
            self.changed = true;
            self.refresh()?;
        }
        Ok(())
    }

    /// Reads again what is in files: the supervisor's state and the desired state.
    fn refresh(&mut self) -> Result<()> {
        let Some(mut report) = self.watch.report.clone() else { return Ok(()) };
        ops::status::refresh(self.context, &mut report, self.answers)?;
        self.report(report);
        Ok(())
    }

    /// Draws, if something changed and it is time. `false` when the output is closed.
    fn draw(&mut self) -> bool {
        if !self.changed || self.drawn_at.is_some_and(|at| at.elapsed() < FRAME) {
            return true;
        }
        (self.changed, self.drawn_at) = (false, Some(Instant::now()));
        self.surface.show(&self.watch, self.began.elapsed(), &self.context.output)
    }
}

async fn next_event(doing: &mut Option<Doing>) -> ScreenInput {
    match doing {
        Some(doing) => {
            // The thread has panicked.
            doing
                .inputs
                .recv()
                .await
                .unwrap_or_else(|| ScreenInput::Done(Err("error: it ended unexpectedly".to_owned())))
        }
        None => std::future::pending().await,
    }
}
