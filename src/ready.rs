//! Waits until the page answers, and notices at once when it never will.

use std::time::{Duration, Instant};

use crate::{
    engine::{Engine, container::Detail},
    error::{Error, ExitReport, Result},
    event::{Event, Reporter},
    probe::{Probe, Seen},
};

/// Least time from the begin of one look at the page to that of the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Most time that a look is given: what it gets once we have waited as long. In between it is seen whether the container
/// still runs.
const LONGEST_LOOK: Duration = Duration::from_secs(20);

/// How many lines of its log an error shows.
pub const LOG_LINES: usize = 20;

/// So many refusals of our password in a row are an answer: it will not change its mind.
const REFUSALS: u32 = 3;

/// Waits until the page of a container answers of which the engine has just said that it runs. It is asked again before
/// every further look: a look sends the password, and the port is anybody's once the container has ended.
///
/// # Errors
/// [`Error::Exited`] as soon as the container has ended or was restarted, [`Error::Unhealthy`]
/// when it refuses our password, [`Error::NotReady`] when the time is up.
pub async fn wait(
    engine: &Engine,
    name: &str,
    url: &str,
    probe: &Probe,
    timeout: Duration,
    reporter: &dyn Reporter,
) -> Result<()> {
    let began = Instant::now();
    let mut started_at: Option<String> = None;
    let mut refusals = 0;
    let mut seen = Seen::Silent { reason: "nothing".to_owned() };
    loop {
        let waited = began.elapsed();
        // opencode loses requests while it begins: soon there is another. On a busy machine, asked ever anew, it never
        // comes to its answer: a page that lets us wait gets ever more time.
        let share = waited.div_duration_f64(LONGEST_LOOK).min(1.0);
        let patience = probe.first_patience().max(LONGEST_LOOK.mul_f64(share * share));
        // A look that the end of the time cuts short says less than the one before.
        let left = timeout.saturating_sub(waited);
        seen = tokio::time::timeout(left, probe.check_within(patience)).await.unwrap_or(seen);
        refusals = if seen == Seen::Unauthorized { refusals + 1 } else { 0 };
        if seen == Seen::Works {
            return Ok(());
        }
        if refusals >= REFUSALS {
            let log = engine.log_tail(name, LOG_LINES).await;
            return Err(Error::Unhealthy { name: name.to_owned(), reason: seen.to_string(), log });
        }
        if began.elapsed() >= timeout {
            let log = engine.log_tail(name, LOG_LINES).await;
            return Err(Error::NotReady {
                name: name.to_owned(),
                seconds: timeout.as_secs(),
                last: seen.to_string(),
                log,
            });
        }
        reporter.report(&Event::Waiting {
            what: format!("{url} to answer"),
            seen: seen.to_string(),
            elapsed: began.elapsed(),
            timeout,
        });
        tokio::time::sleep(PAUSE.saturating_sub(began.elapsed() - waited)).await;
        let detail = engine.container(name).await?;
        let same_run = match &detail {
            Some(detail) if detail.running => {
                started_at.get_or_insert_with(|| detail.started_at.clone().unwrap_or_default())
                    == detail.started_at.as_deref().unwrap_or_default()
            }
            _ => false,
        };
        if !same_run {
            return Err(ended(engine, name, detail).await);
        }
    }
}

/// Time that the engine gets to learn why the kernel killed a process: the news of the memory limit
/// reaches it by another way than the end itself, and can come later.
const SETTLING: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];

/// A container that has ended, with the engine's last word on why.
///
/// # Errors
/// When the engine does not answer within the deadline or refuses.
pub async fn settled(engine: &Engine, mut detail: Detail) -> Result<Detail> {
    for pause in SETTLING {
        if detail.oom_killed || detail.exit_code != Some(137) {
            break;
        }
        tokio::time::sleep(pause).await;
        match engine.container(&detail.id).await? {
            Some(again) => detail = again,
            None => break,
        }
    }
    Ok(detail)
}

/// The error for a container that is not running any more.
async fn ended(engine: &Engine, name: &str, detail: Option<Detail>) -> Error {
    let detail = match detail {
        Some(detail) => settled(engine, detail.clone()).await.ok().or(Some(detail)),
        None => None,
    };
    let Some(detail) = detail else {
        return Error::StartFailed {
            name: name.to_owned(),
            reason: "the container was removed".to_owned(),
            log: vec![],
        };
    };
    let log_tail = engine.log_tail(name, LOG_LINES).await;
    Error::Exited { name: name.to_owned(), report: exit_report(&detail, log_tail) }
}

/// How a container ended.
pub fn exit_report(detail: &Detail, log_tail: Vec<String>) -> ExitReport {
    ExitReport {
        exit_code: detail.exit_code.unwrap_or(0),
        oom_killed: detail.oom_killed,
        engine_error: detail.error.clone(),
        memory_limit: Some(detail.live.memory).filter(|limit| *limit > 0),
        log_tail,
    }
}
