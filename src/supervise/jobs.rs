//! Operations that the supervisor runs by itself: what completes or reverts the work of a command that was killed, and
//! the scheduled backup, its copy elsewhere and its test, and the look for a newer release. Each runs in a thread of its own,
//! so that the loop goes on; all but copy and test take the instance's lock.

use std::{thread::JoinHandle, time::Duration};

use time::OffsetDateTime;

use crate::{
    clock,
    data::schedule::LastRun,
    desired::label,
    engine::{Engine, container::Detail},
    error::{Error, Result},
    instance_name::InstanceName,
    interrupt::{self, Interrupt, Raise},
    ops::{
        Instance, Options,
        backup::Backup,
        backup_test::{self, BackupTest},
        copy, start,
    },
    settings::Every,
};

/// Least time from a job that failed to the next attempt.
const AGAIN: Duration = Duration::from_secs(60);

/// Least time between two recoveries. The second of two commands that were killed may have left a paused container.
const RECOVER_AGAIN: Duration = Duration::from_secs(3);

/// A backup that failed its test is tested again after this time, where no newer one is there before.
const TEST_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Finish or undo what a killed command left behind.
    Recover,
    /// Back up, because it is time.
    Backup,
    /// Look for a newer release.
    CheckForUpdate,
    /// Copy a backup elsewhere. Needs neither engine nor lock, and may take hours: it runs beside the others.
    Copy,
    /// Test the newest backup in a throwaway instance. Needs no lock of the instance's, and runs beside the others, too.
    TestBackup,
    /// Remove what a test that was killed left.
    RemoveTest,
}

/// How a job ended: `Ok` with the update that is new or the backup that was copied or tested, `Err` with the error and its causes.
pub type Done = (Job, Result<Option<String>, String>);

/// One that runs.
struct Running {
    raise: Raise,
    thread: JoinHandle<()>,
}

/// Runs one at a time, and beside it one that copies and one that tests.
pub struct Jobs {
    name: InstanceName,
    options: Options,
    running: Option<Running>,
    copying: Option<Running>,
    testing: Option<Running>,
    began: OffsetDateTime,
    recovery: Due,
    backup: Due,
    check: Due,
    copy: Due,
    test: Due,
    /// When a test is made even though the machine is busy.
    test_at_latest: OffsetDateTime,
    tidying: Due,
}

/// When a job is to be done.
#[derive(Default)]
struct Due {
    /// By its plan; `None`: not at all.
    planned: Option<OffsetDateTime>,
    /// Not sooner: one that failed, whether it could write that down or not, is not tried again at once.
    not_before: Option<OffsetDateTime>,
}

impl Due {
    fn has_come(&self) -> bool {
        let now = OffsetDateTime::now_utc();
        self.planned.is_some_and(|at| at <= now) && self.not_before.is_none_or(|at| at <= now)
    }

    fn wait(&mut self, pause: Duration) {
        self.not_before = Some(OffsetDateTime::now_utc() + pause);
    }
}

impl Jobs {
    /// Of this instance.
    pub fn new(name: InstanceName, options: Options) -> Self {
        // It is one itself.
        let options = Options { supervise: false, verbose: false, ..options };
        // Whoever finds something to recover asks for it.
        let always = || Due { planned: Some(OffsetDateTime::UNIX_EPOCH), not_before: None };
        let (recovery, tidying) = (always(), always());
        let (backup, check, copy, test) = Default::default();
        let (running, copying, testing) = Default::default();
        let began = OffsetDateTime::now_utc();
        let test_at_latest = began;
        Jobs {
            name,
            options,
            running,
            copying,
            testing,
            began,
            recovery,
            backup,
            check,
            copy,
            test,
            test_at_latest,
            tidying,
        }
    }

    /// Plans when a scheduled job is to be done next, from the settings and the last time.
    pub fn plan(&mut self, job: Job, every: &Every, last: &LastRun) {
        self.due_of(job).planned = every.duration().map(|every| last.next(every));
    }

    /// Plans the next copy: `None` when nothing is to be copied.
    pub fn plan_copy(&mut self, at: Option<OffsetDateTime>) {
        self.copy.planned = at;
    }

    /// Plans the next test of a backup, from the settings, the last one, and whether there is a backup that is newer than that.
    pub fn plan_test(&mut self, every: &Every, last: &LastRun, has_new: bool) {
        let failed = last.error.is_some();
        let planned = every.duration().map(|every| match failed && has_new {
            true => OffsetDateTime::UNIX_EPOCH,
            false => {
                let wait = if failed { every.min(TEST_AGAIN) } else { every };
                LastRun { error: None, ..last.clone() }.next(wait)
            }
        });
        // Without any backup there is nothing to test.
        self.test.planned = planned.filter(|_| has_new || last.file.is_some());
        let since = planned.filter(|at| *at > OffsetDateTime::UNIX_EPOCH).unwrap_or(self.began);
        let patience = every.duration().and_then(|every| time::Duration::try_from(every).ok()).unwrap_or_default();
        self.test_at_latest = since.checked_add(patience).unwrap_or(since);
    }

    /// Whether a backup is to be tested now: its time has come, and the machine has nothing else to do, or has been busy for
    /// as long again.
    pub fn test_is_due(&self, is_idle: impl FnOnce() -> bool) -> bool {
        let free = self.testing.is_none() && self.test.has_come();
        free && (is_idle() || OffsetDateTime::now_utc() >= self.test_at_latest)
    }

    /// Whether what a killed test left may be removed now.
    pub fn may_tidy(&self) -> bool {
        self.testing.is_none() && self.tidying.has_come()
    }

    /// The scheduled job whose time has come, but for copies and tests.
    pub fn due(&self) -> Option<Job> {
        let free = self.running.is_none();
        [(Job::Backup, &self.backup), (Job::CheckForUpdate, &self.check)]
            .into_iter()
            .find(|(_, due)| free && due.has_come())
            .map(|(job, _)| job)
    }

    /// Whether a copy is due.
    pub fn copy_is_due(&self) -> bool {
        self.copying.is_none() && self.copy.has_come()
    }

    /// Whether a copy or a test is being made.
    pub fn is_busy_beside(&self) -> bool {
        self.copying.is_some() || self.testing.is_some()
    }

    /// Whether recovering may be tried now.
    pub fn may_recover(&self) -> bool {
        self.running.is_none() && self.recovery.has_come()
    }

    /// Begins a job. Whoever is told of its end has to call [`Jobs::ended`].
    pub fn start(&mut self, job: Job, tell: impl FnOnce(Done) + Send + 'static) {
        match job {
            // Also after one that succeeded: it may have left what it cannot see.
            Job::Recover => self.recovery.wait(RECOVER_AGAIN),
            Job::RemoveTest => self.tidying.wait(AGAIN),
            // Planned anew at its end.
            _ => self.due_of(job).planned = None,
        }
        let (raise, interrupt) = interrupt::pair();
        let (name, options) = (self.name.clone(), self.options.clone());
        let thread = std::thread::spawn(move || {
            let done = run(job, name, options, interrupt);
            tell((job, done));
        });
        *self.slot(job) = Some(Running { raise, thread });
    }

    fn due_of(&mut self, job: Job) -> &mut Due {
        match job {
            Job::Recover => &mut self.recovery,
            Job::Backup => &mut self.backup,
            Job::CheckForUpdate => &mut self.check,
            Job::Copy => &mut self.copy,
            Job::TestBackup => &mut self.test,
            Job::RemoveTest => &mut self.tidying,
        }
    }

    fn slot(&mut self, job: Job) -> &mut Option<Running> {
        match job {
            Job::Copy => &mut self.copying,
            Job::TestBackup | Job::RemoveTest => &mut self.testing,
            Job::Recover | Job::Backup | Job::CheckForUpdate => &mut self.running,
        }
    }

    /// Interrupts the jobs that run, and waits until they have put everything right.
    pub async fn interrupt(&mut self) {
        let running = [self.running.take(), self.copying.take(), self.testing.take()];
        for Running { raise, thread } in running.into_iter().flatten() {
            raise.raise();
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }

    /// Takes note of the end.
    pub fn ended(&mut self, (job, done): &Done) {
        *self.slot(*job) = None;
        // What another process does is no failure, and is looked at again as late.
        if done.is_err() || (matches!(job, Job::Copy | Job::TestBackup) && *done == Ok(None)) {
            self.due_of(*job).wait(AGAIN);
        }
    }
}

/// Runs a job to its end. The instance is opened anew: another command may have changed its release.
fn run(
    job: Job,
    name: InstanceName,
    options: Options,
    interrupt: Interrupt,
) -> std::result::Result<Option<String>, String> {
    let told = |error: Error| error.with_causes("; ");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("no runtime: {e}"))?;
    let instance = Instance::open(name, options).map_err(told)?.interrupted_by(interrupt);
    runtime.block_on(async {
        match job {
            Job::Recover => start::recover(&instance).await.map(|_| None).map_err(told),
            Job::Backup => {
                let options = Backup { scheduled: true, ..Backup::default() };
                instance.backup(&options).await.map(|_| None).map_err(told)
            }
            Job::CheckForUpdate => instance.run_update_check().await.map_err(told),
            Job::Copy => copy::next(&instance).await,
            Job::TestBackup => match instance.test_backup(&BackupTest::default()).await {
                Err(Error::Locked { .. }) => Ok(None),
                done => done.map(|report| Some(report.file)).map_err(told),
            },
            Job::RemoveTest => {
                let engine = instance.engine().await.map_err(told)?;
                match backup_test::remove_left(&instance, &engine).await {
                    // Somebody tests a backup, who removed it.
                    Err(Error::Locked { .. }) => Ok(None),
                    done => done.map(|()| Some(String::new())).map_err(told),
                }
            }
        }
    })
}

/// Whether a command that was killed left something behind: asked only when the container is
/// missing, paused, or made by a guarded change.
///
/// # Errors
/// When the engine does not answer within the deadline or refuses.
pub async fn left_behind(instance: &Instance, engine: &Engine, container: Option<&Detail>) -> Result<bool> {
    let names = [instance.name.task_container(&instance.appliance.name), instance.previous_name()];
    let all = engine.containers(true).await?;
    let ours = |name: &str| all.iter().any(|c| c.name == name && instance.owns(&c.labels));
    let unproved = container.is_none_or(|c| c.labels.contains_key(label::UNDO));
    Ok(ours(&names[0]) || (unproved && ours(&names[1])))
}

/// The decision for the log; `None` where there is nothing to say.
pub fn text(job: Job, done: &std::result::Result<Option<String>, String>) -> Option<(&'static str, String)> {
    Some(match (job, done) {
        (Job::CheckForUpdate, Ok(None)) => return None,
        (Job::CheckForUpdate, Ok(Some(what))) => ("update_available", format!("{what} is available: docklet update")),
        (Job::CheckForUpdate, Err(why)) => ("check_failed", format!("cannot look for a newer release: {why}")),
        (Job::Recover, Ok(_)) => ("recovered", "completed or reverted the work of an interrupted command".to_owned()),
        (Job::Recover, Err(why)) => {
            ("recovery_failed", format!("the work of an interrupted command cannot be completed now: {why}"))
        }
        (Job::Backup, Ok(_)) => ("backed_up", format!("made the scheduled backup, done at {}", clock::now_rfc3339())),
        (Job::Backup, Err(why)) => ("backup_failed", format!("the scheduled backup failed: {why}")),
        // Another process copies, or it was taken away meanwhile.
        (Job::Copy, Ok(None)) => return None,
        (Job::Copy, Ok(Some(file))) => ("copied", format!("backup.copy copied {file}")),
        (Job::TestBackup | Job::RemoveTest, Ok(None)) => return None,
        (Job::TestBackup, Ok(Some(file))) => ("backup_tested", format!("restored {file} for a test; it works")),
        (Job::TestBackup, Err(why)) => ("backup_test_failed", format!("the scheduled test of a backup failed: {why}")),
        (Job::RemoveTest, Ok(_)) => ("recovered", "removed what an interrupted test of a backup left".to_owned()),
        (Job::RemoveTest, Err(why)) => {
            ("recovery_failed", format!("what an interrupted test of a backup left cannot be removed now: {why}"))
        }
        (Job::Copy, Err(why)) => ("copy_failed", format!("backup.copy failed, and is tried again: {why}")),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_backup_that_could_not_begin_is_not_tried_again_at_once() {
        let mut jobs = Jobs::new(InstanceName::default(), Options::default());
        let (every, never_yet): (Every, LastRun) = ("24h".parse().unwrap(), LastRun::default());
        jobs.plan(Job::Backup, &every, &never_yet);
        assert!(jobs.due() == Some(Job::Backup));
        let (raise, _) = interrupt::pair();
        jobs.running = Some(Running { raise, thread: std::thread::spawn(|| ()) });
        assert!(jobs.due() != Some(Job::Backup), "one at a time");
        jobs.ended(&(Job::Backup, Err("another docklet command works".to_owned())));
        jobs.plan(Job::Backup, &every, &never_yet);
        assert!(jobs.due() != Some(Job::Backup), "nothing was written down, so the plan is as before");
        jobs.ended(&(Job::Backup, Ok(None)));
        jobs.backup.not_before = None;
        jobs.plan(Job::Backup, &every, &never_yet);
        assert!(jobs.due() == Some(Job::Backup));
    }

    #[test]
    fn a_copy_that_hangs_keeps_no_other_job_waiting() {
        let mut jobs = Jobs::new(InstanceName::default(), Options::default());
        jobs.plan_copy(Some(OffsetDateTime::UNIX_EPOCH));
        assert!(jobs.copy_is_due());
        let (raise, _) = interrupt::pair();
        jobs.copying = Some(Running { raise, thread: std::thread::spawn(|| ()) });
        jobs.plan(Job::Backup, &"24h".parse().unwrap(), &LastRun::default());
        assert!(!jobs.copy_is_due() && jobs.due() == Some(Job::Backup) && jobs.may_recover());
        jobs.ended(&(Job::Copy, Err("no network".to_owned())));
        assert!(!jobs.is_busy_beside());
    }

    #[test]
    fn a_test_waits_for_an_idle_machine_but_not_for_ever() {
        let mut jobs = Jobs::new(InstanceName::default(), Options::default());
        let every: Every = "30d".parse().unwrap();
        let ago = |days: i64| Some(clock::rfc3339(OffsetDateTime::now_utc() - time::Duration::days(days)));
        let last = |days, error: Option<&str>| LastRun {
            attempt: ago(days),
            file: Some("a".to_owned()),
            error: error.map(str::to_owned),
            ..LastRun::default()
        };
        let mut due = |every: &Every, last: &LastRun, has_new, idle| {
            jobs.plan_test(every, last, has_new);
            jobs.test_is_due(|| idle)
        };
        let none = LastRun::default();
        assert!(!due(&every, &none, false, true), "there is no backup");
        assert!(due(&every, &none, true, true) && !due(&every, &none, true, false));
        assert!(!due(&"".parse().unwrap(), &none, true, true), "never");
        assert!(!due(&every, &last(29, None), true, true) && due(&every, &last(31, None), false, true));
        let failed = last(0, Some("it ended"));
        assert!(
            !due(&every, &failed, false, true) && due(&every, &failed, true, true),
            "a newer one is tested at once"
        );
        assert!(due(&every, &last(2, Some("it ended")), false, true), "the same one a day later");
        assert!(!due(&every, &last(31, None), false, false), "the machine is busy");
        jobs.plan_test(&every, &last(59, None), false);
        assert!(!jobs.test_is_due(|| false));
        jobs.plan_test(&every, &last(61, None), false);
        assert!(jobs.test_is_due(|| false), "busy for as long again");
        let (raise, _) = interrupt::pair();
        jobs.testing = Some(Running { raise, thread: std::thread::spawn(|| ()) });
        assert!(!jobs.test_is_due(|| true) && !jobs.may_tidy() && jobs.is_busy_beside() && jobs.may_recover());
    }
}
