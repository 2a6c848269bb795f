//! Follows one instance's container through restarts, replacements and losses of the engine, and sends its state, log and
//! resource usage as messages. One connection each for events, log and usage; asks again only after an event.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc::Sender;

use crate::{
    engine::{
        Engine,
        connect::{self, Selection},
        container::Detail,
        events::{ContainerEvent, EventKind},
        log::{LogLine, LogRequest, Mark},
        stats::Usage,
    },
    error::{Error, Result},
    instance_name::InstanceName,
};

/// Pauses between two attempts to reach the engine.
const RECONNECT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Events within this time are handled together.
const TOGETHER: Duration = Duration::from_millis(50);

/// A second look finds what happened between the first one and the beginning of the event stream.
const INSPECT_AGAIN: Duration = Duration::from_secs(2);

/// A stream that ended although its container runs is opened again after the first; the pause doubles up to the
/// second while nothing comes, as from an engine whose log driver cannot be read.
const REOPEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What to follow.
#[derive(Debug, Clone)]
pub struct FollowTarget {
    /// Which engine.
    pub selection: Selection,
    /// The appliance's name.
    pub appliance: String,
    /// Whose.
    pub instance: InstanceName,
    /// The container's name.
    pub container: String,
    /// What of the log, if any; goes on as lines come in any case.
    pub log: Option<LogRequest>,
    /// Whether to measure what it uses.
    pub usage: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Message {
    /// The engine answers.
    Connected(Box<Engine>),
    /// The engine is gone, for this reason.
    Lost(Error),
    /// How the container is after something happened; `None`: there is none.
    Container(Option<Box<Detail>>),
    /// The following lines are of this run. All lines of the previous one have been sent.
    Run(Box<Detail>),
    /// A line of the log.
    Log(LogLine),
    /// The log has ended, for now: nothing more comes of this run.
    LogEnded,
    /// What the container uses.
    Usage(Usage),
}

/// Follows until the receiver is closed. Waits while the receiver is busy: memory is bounded.
pub async fn follow(subject: FollowTarget, engine: Option<Engine>, to: Sender<Message>) {
    let mut follower = Follower { subject, to, mark: Mark::default(), run: None, reopen: REOPEN.0, stale: None };
    let mut engine = engine;
    let mut pause = RECONNECT.0;
    loop {
        let found = match engine.take() {
            Some(engine) => Ok(engine),
            None => connect::connect(&follower.subject.selection).await,
        };
        let lost = match found {
            Ok(engine) => {
                pause = RECONNECT.0;
                if engine.is_local() {
                    // Stay with this one, even if the user's context changes meanwhile.
                    follower.subject.selection.host = Some(engine.about.endpoint.clone());
                }
                match follower.connected(&engine).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if follower.to.send(Message::Lost(lost)).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = follower.to.closed() => return,
        }
        pause = (pause * 2).min(RECONNECT.1);
    }
}

type Opened<T> = Option<Pin<Box<dyn Stream<Item = Result<T>> + Send>>>;

/// The next of a stream; waits for ever where there is none.
async fn next<T>(stream: &mut Opened<T>) -> Option<Result<T>> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

/// Which run of which container: its id, and when it started.
type Run = (String, Option<i128>);

struct Follower {
    subject: FollowTarget,
    to: Sender<Message>,
    mark: Mark,
    /// The run whose log is followed, or was followed to its end.
    run: Option<Run>,
    /// The next pause before a stream is opened again.
    reopen: Duration,
    /// Since when the log of a run that is over is open and silent.
    stale: Option<Instant>,
}

impl Follower {
    /// Follows while the engine answers; the error says why it does not. `Ok`: the receiver is closed.
    async fn connected(&mut self, engine: &Engine) -> Result<()> {
        let FollowTarget { appliance, instance, .. } = &self.subject;
        let mut events = Box::pin(engine.events_and_health(appliance, instance, None));
        let mut log: Opened<LogLine> = None;
        let mut usage: Opened<Usage> = None;
        let mut inspect_at = Some(Instant::now());
        let mut inspected_again = false;
        let mut detail: Option<Detail> = None;
        if self.tell(Message::Connected(Box::new(engine.clone()))).await.is_err() {
            return Ok(());
        }
        loop {
            let due = inspect_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            let told = tokio::select! {
                event = events.next() => {
                    match event {
                        Some(Ok(event)) => {
                            if ends_usage(&event, self.run.as_ref()) {
                                usage = None;
                            }
                            inspect_at = earlier(inspect_at, Instant::now() + TOGETHER);
                        }
                        Some(Err(error)) => return Err(error),
                        None => return Err(closed()),
                    }
                    Ok(())
                }
                line = next(&mut log) => match line {
                    Some(Ok(line)) => {
                        self.reopen = REOPEN.0;
                        self.stale = self.stale.map(|_| Instant::now());
                        if self.mark.is_new(&line) { self.tell(Message::Log(line)).await } else { Ok(()) }
                    }
                    // It ended with its container, or the connection broke: another look shows which.
                    Some(Err(_)) | None => {
                        log = None;
                        let runs = detail.as_ref().is_some_and(|detail| detail.running);
                        let pause = if runs { self.pause() } else { TOGETHER };
                        inspect_at = earlier(inspect_at, Instant::now() + pause);
                        self.tell(Message::LogEnded).await
                    }
                },
                measured = next(&mut usage) => match measured {
                    Some(Ok(measured)) => {
                        self.reopen = REOPEN.0;
                        self.tell(Message::Usage(measured)).await
                    }
                    Some(Err(_)) | None => {
                        usage = None;
                        inspect_at = earlier(inspect_at, Instant::now() + self.pause());
                        Ok(())
                    }
                },
                () = tokio::time::sleep_until(due.into()), if inspect_at.is_some() => {
                    inspect_at = if inspected_again { None } else { Some(Instant::now() + INSPECT_AGAIN) };
                    inspected_again = true;
                    let found = engine.container(&self.subject.container).await?;
                    let told = self.tell(Message::Container(found.clone().map(Box::new))).await;
                    let told = match &found {
                        _ if told.is_err() => told,
                        Some(found) => self.open(engine, found, detail.as_ref(), (&mut log, &mut usage)).await,
                        None => {
                            usage = None;
                            if self.is_over(&mut log) { self.tell(Message::LogEnded).await } else { Ok(()) }
                        }
                    };
                    if self.stale.is_some() {
                        inspect_at = earlier(inspect_at, Instant::now() + INSPECT_AGAIN);
                    }
                    detail = found;
                    told
                }
                () = self.to.closed() => return Ok(()),
            };
            if told.is_err() {
                return Ok(());
            }
        }
    }

    /// Opens the streams that belong to what was found and are not open.
    async fn open(
        &mut self,
        engine: &Engine,
        found: &Detail,
        before: Option<&Detail>,
        (log, usage): (&mut Opened<LogLine>, &mut Opened<Usage>),
    ) -> Result<(), Gone> {
        let run: Run = (found.id.clone(), found.run);
        let replaced = before.is_some_and(|before| before.id != found.id);
        if replaced || !found.running {
            *usage = None;
        }
        if self.subject.usage && usage.is_none() && found.running && !found.paused {
            *usage = Some(Box::pin(engine.usage(&found.id)));
        }
        let other = self.run.as_ref() != Some(&run);
        if other && found.running {
            if !self.is_over(log) {
                return Ok(());
            }
        } else {
            self.stale = None;
        }
        // A container that was created and not started has nothing to say.
        if log.is_some() || !(other || found.running) || found.run.is_none() {
            return Ok(());
        }
        let Some(request) = &self.subject.log else {
            self.run = Some(run);
            return if other { self.tell(Message::Run(Box::new(found.clone()))).await } else { Ok(()) };
        };
        let mut request = LogRequest { follow: true, ..request.clone() };
        match &self.run {
            None => {}
            Some((id, _)) if *id == found.id => {
                self.mark.begin_again();
                // With nothing read so far, it begins where it was to begin.
                request = LogRequest { tail: None, since: self.mark.since().or(request.since), ..request };
            }
            Some(_) => {
                self.mark = Mark::default();
                request = LogRequest { tail: None, since: None, ..request };
            }
        }
        self.run = Some(run);
        *log = Some(Box::pin(engine.logs(&found.id, &request)));
        if other { self.tell(Message::Run(Box::new(found.clone()))).await } else { Ok(()) }
    }

    /// Whether the log of a run that is over has ended. It is read to its end, so that no line is lost, but Podman may leave
    /// it open across a restart or a removal: it has ended when nothing more comes.
    fn is_over(&mut self, log: &mut Opened<LogLine>) -> bool {
        if log.is_some() && self.stale.get_or_insert_with(Instant::now).elapsed() < INSPECT_AGAIN {
            return false;
        }
        (*log, self.stale) = (None, None);
        true
    }

    fn pause(&mut self) -> Duration {
        let pause = self.reopen;
        self.reopen = (pause * 2).min(REOPEN.1);
        pause
    }

    async fn tell(&self, message: Message) -> Result<(), Gone> {
        self.to.send(message).await.map_err(|_| Gone)
    }
}

/// The receiver is closed.
struct Gone;

/// Whether an event ends what is measured: engines go on telling the last numbers, or nothing at all.
fn ends_usage(event: &ContainerEvent, run: Option<&Run>) -> bool {
    matches!(event.kind, EventKind::Died { .. } | EventKind::Removed) && run.is_none_or(|(id, _)| *id == event.id)
}

fn earlier(at: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(at.map_or(other, |at| at.min(other)))
}

fn closed() -> Error {
    Error::EngineGone { call: "tell what happens".to_owned(), reason: "it closed the connection".to_owned() }
}
