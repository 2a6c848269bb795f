//! Moves an instance to another engine: its data goes there in a backup and proves itself, and only then it counts there.
//! What was here stays, stopped, as the way back.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Instance,
    backup::{self, Backup},
    converge, guarded, recovery,
    restore::{Restore, restore_with},
    start, stop, supervisor,
};
use crate::{
    data::store::Reason,
    engine::Engine,
    error::{Error, ObjectKind, Result},
    event::begin_step,
    host::tunnel,
    present::data::quoted,
    report::MoveReport,
    settings::Settings,
    state_file,
};

/// How to move it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Move {
    /// Whether its API keys and other secrets may go to the other machine; otherwise that is asked.
    pub secrets: bool,
    /// Whether the one here runs on, and the one there is stopped once it has proved itself.
    pub keep: bool,
    /// Only says what would be done.
    pub dry_run: bool,
}

/// Where a move leads that has not come to its end: what is there of this instance is its own.
#[derive(Debug, Serialize, Deserialize)]
struct UnfinishedMove {
    to: String,
}

impl Instance {
    /// Moves it to the engine that `there` has: the same instance, with another engine chosen.
    ///
    /// # Errors
    /// ALREADY_EXISTS when it is there already; then, and after every other error, it runs here as before.
    pub async fn move_to(&self, there: &Instance, options: Move) -> Result<MoveReport> {
        let settings = self.settings().await?;
        let (here_engine, engine) = (self.engine().await?, there.engine().await?);
        let (from, to) = (here_engine.about.endpoint.clone(), engine.about.endpoint.clone());
        if from == to {
            return Err(Error::usage(format!("{} uses {to} already", self.container_name())));
        }
        converge::remote_refuses(&engine, &settings)?;
        let secrets = self.secret_names()?;
        let mut report = MoveReport {
            instance: self.name.to_string(),
            dry_run: options.dry_run,
            from: from.clone(),
            to: to.clone(),
            secrets: secrets.clone(),
            backup: None,
            files: 0,
            bytes: 0,
            running: false,
            kept: options.keep,
            url: None,
            back: format!(
                "docklet{flag} config set engine.endpoint {} && docklet{flag} start",
                quoted(&from),
                flag = self.name.flag()
            ),
        };
        let begun = self.files.unfinished_move();
        let unfinished = state_file::load::<UnfinishedMove>(&begun).is_some_and(|begun| begun.to == to);
        if !unfinished {
            refuse_taken(there, &engine).await?;
        }
        if options.dry_run {
            return Ok(report);
        }
        if !options.secrets && !secrets.is_empty() {
            let names = secrets.join(", ");
            self.confirm(&format!("whoever administers {to} can read the secrets {names}; copy them (--secrets)?"))?;
        }
        self.confirm(&format!("stop {} at {from} and move it to {to}?", self.container_name()))?;
        let lock = self.lock("move")?;
        there.work_under(&lock)?;
        // What each of them does has steps of its own.
        let step = |text: String| begin_step(self.reporter.as_ref(), 1, 1, text);

        let snapshot = recovery::recover(self, &here_engine, Some(&settings)).await?;
        let Some(own) = self.own_container(&snapshot).cloned() else {
            return Err(Error::NotSetUp { instance: self.name.to_string() });
        };
        // As it is here: one that the user stopped stays stopped.
        let runs = guarded::shall_run(self, own.is_running())?;
        if unfinished {
            clear(there, &engine).await?;
        }
        state_file::save(&begun, &UnfinishedMove { to: to.clone() })?;
        let moved = async {
            let done = step(format!("stop {} and back it up", own.name));
            let records = guarded::records_now(self, &own, &settings).await?;
            guarded::stop(self, &here_engine, &snapshot).await?;
            let snapshot = self.snapshot(&here_engine).await?;
            let made =
                backup::take(self, &here_engine, &snapshot, Reason::Move, &Backup::default(), records).await?.made;
            done();
            let done = step(format!("restore it at {to}"));
            let restore = Restore { file: made.file.clone(), ..Restore::default() };
            let restored = restore_with(there, &restore, runs).await?;
            done();
            Ok::<_, Error>((made.file, restored))
        };
        let (file, restored) = match moved.await {
            Ok(moved) => moved,
            Err(error) => {
                self.go_on_here(there, (&here_engine, &engine), &settings, &begun, runs).await;
                return Err(error);
            }
        };
        report.backup = Some(file.display().to_string());
        (report.files, report.bytes, report.running) = (restored.files, restored.bytes, runs);
        report.url = Some(restored.url).filter(|_| runs);
        if !runs {
            tunnel::leave_closed(&self.files.state).await?;
        }
        if options.keep {
            if !runs {
                remove_marker(&begun)?;
                return Ok(report);
            }
            let done = step(format!("stop the one at {to}"));
            engine.stop_container(&own.name, guarded::STOP_GRACE).await?;
            done();
            remove_marker(&begun)?;
            let done = step(format!("start the one at {from}"));
            start::start(self, &here_engine, &settings, self.appliance.health.ready_timeout()).await?;
            done();
            return Ok(report);
        }
        let done = step(format!("use the one at {to} from now on"));
        // It would start the one here again.
        supervisor::process::end(&self.files).await?;
        let mut settings = settings;
        settings.engine.endpoint = to;
        settings.save(&self.files.settings())?;
        remove_marker(&begun)?;
        done();
        let stays = if runs { "keeps running" } else { "stays stopped" };
        let done = step(format!("see to it that it {stays}"));
        guarded::settle(there, &engine, &settings, runs, self.appliance.health.ready_timeout()).await?;
        done();
        Ok(report)
    }
}

impl Instance {
    /// Takes what came of an attempt away there, and goes on here. What else fails on the way is told: the error of the
    /// attempt counts.
    async fn go_on_here(
        &self,
        there: &Instance,
        (here_engine, engine): (&Engine, &Engine),
        settings: &Settings,
        begun: &Path,
        ran: bool,
    ) {
        self.note(format!("going on at {}", here_engine.about.endpoint));
        let warn = |error: Error| self.warn(error.with_causes(": "));
        tunnel::close_all(&self.files.state).await;
        // Else the next attempt does it.
        match clear(there, engine).await.and_then(|()| remove_marker(begun)) {
            Ok(()) => {}
            Err(error) => warn(error),
        }
        if !ran {
            return;
        }
        let timeout = self.appliance.health.ready_timeout();
        if let Err(error) = start::start(self, here_engine, settings, timeout).await {
            warn(error);
        }
    }
}

/// What an engine has of this instance: its containers and its volumes.
async fn all_of(instance: &Instance, engine: &Engine) -> Result<(Vec<String>, Vec<String>)> {
    let snapshot = instance.snapshot(engine).await?;
    let containers = snapshot.containers.iter().filter(|c| instance.owns(&c.labels)).map(|c| c.name.clone());
    let volumes = snapshot.volumes.iter().flatten().filter(|v| instance.owns(&v.labels)).map(|v| v.name.clone());
    Ok((containers.collect(), volumes.collect()))
}

/// There must be nothing of the instance yet: it could be somebody's work.
async fn refuse_taken(there: &Instance, engine: &Engine) -> Result<()> {
    stop::refuse_foreign(there, engine).await?;
    let (containers, volumes) = all_of(there, engine).await?;
    let container = containers.into_iter().next().map(|name| (ObjectKind::Container, name));
    match container.or_else(|| volumes.into_iter().next().map(|name| (ObjectKind::Volume, name))) {
        Some((kind, name)) => Err(Error::AlreadyExists { kind, name }),
        None => Ok(()),
    }
}

/// Removes what an unfinished move has left there.
async fn clear(there: &Instance, engine: &Engine) -> Result<()> {
    let (containers, volumes) = all_of(there, engine).await?;
    for name in &containers {
        engine.remove_container(name).await?;
    }
    engine.remove_network(&there.container_name()).await?;
    for name in &volumes {
        engine.remove_volume(name).await?;
    }
    Ok(())
}

fn remove_marker(begun: &Path) -> Result<()> {
    fs_err::remove_file(begun).map_err(|e| Error::file("remove", begun, &e))
}
