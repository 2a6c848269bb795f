//! Replaces docklet itself by a newer release, or by the program of before.
//!
//! - here: the operation; `release`: what the server offers, verified; `program`: the files of the program

mod program;
mod release;

use std::path::Path;

use self::{program::ProgramFile, release::Offer};
use super::{Instance, supervisor};
use crate::{
    desired::VERSION,
    error::{Error, Result},
    event::begin_step,
    host::installed,
    report::{SelfUpdateFinished, SelfUpdateReport},
    units::Version,
};

/// Where releases come from, and whose they are.
#[derive(Debug, Clone)]
pub struct ReleaseSource {
    /// The project's address; its releases are below it.
    pub repository: String,
    /// The public key of minisign, with or without its comment.
    pub key: String,
}

impl Instance {
    /// Whether there is a newer docklet. Changes nothing.
    ///
    /// # Errors
    /// [`Error::ReleaseUnreachable`], [`Error::ReleaseRefused`].
    pub(crate) async fn check_for_self_update(&self, source: &ReleaseSource) -> Result<SelfUpdateReport> {
        let program = ProgramFile::running()?;
        let offer = self.offer(source).await?;
        let update_available = Version::of(&offer.version) > Version::of(VERSION);
        Ok(SelfUpdateReport { to: offer.version, update_available, ..self.unchanged(&program) })
    }

    /// Replaces this program by the newest release.
    ///
    /// # Errors
    /// [`Error::Usage`] where a package manager installed it; [`Error::ReleaseUnreachable`], [`Error::ReleaseRefused`] and
    /// file errors: the program is as it was.
    pub(crate) async fn self_update(&self, source: &ReleaseSource) -> Result<SelfUpdateReport> {
        let program = ProgramFile::running()?;
        refuse_managed(&program)?;
        let offer = self.offer(source).await?;
        let (there, here) = (Version::of(&offer.version), Version::of(VERSION));
        if there == here {
            return Ok(self.unchanged(&program));
        }
        if there < here {
            let reason = format!("the newest release is {}, older than this docklet {VERSION}", offer.version);
            return Err(Error::ReleaseRefused { reason });
        }
        let done = begin_step(self.reporter.as_ref(), 1, 1, format!("fetch docklet {}", offer.version));
        let unchanged = Error::Interrupted { next: "docklet is as it was".to_owned() };
        let binary = self.interrupt.or(unchanged, offer.fetch(source, &self.options)).await?;
        let fresh = program.write_beside(&binary)?;
        let found = program::version(&fresh).await;
        if found.as_deref() != Ok(offer.version.as_str()) {
            let reason = match found {
                Ok(found) => format!("it says that it is {found}, not {}", offer.version),
                Err(reason) => format!("it does not run on this system: {reason}"),
            };
            return Err(Error::ReleaseRefused { reason });
        }
        program.replace_by(fresh)?;
        done();
        self.replaced(&program, offer.version).await
    }

    /// Goes back to the program before the last update; a second time, forward again.
    ///
    /// # Errors
    /// [`Error::Usage`] where a package manager installed it, [`Error::Missing`] when there is none to go back to.
    pub(crate) async fn self_rollback(&self) -> Result<SelfUpdateReport> {
        let program = ProgramFile::running()?;
        refuse_managed(&program)?;
        let previous = program.previous();
        let hint = "docklet self-update keeps the program that it replaces".to_owned();
        if !previous.exists() {
            let what = "docklet to go back to".to_owned();
            return Err(Error::Missing { what, reason: Some(format!("{} isn't there", previous.display())), hint });
        }
        let version = program::version(&previous).await.map_err(|reason| Error::ReleaseRefused { reason })?;
        program.swap_with_previous()?;
        self.replaced(&program, version).await
    }

    /// What a program does that was just put in place: its supervisors take over from those of before. The instances
    /// whose supervisors did.
    pub(crate) async fn finish_self_update(&self) -> SelfUpdateFinished {
        let mut supervisors = vec![];
        for name in self.paths.instances() {
            let restarted = match Instance::open(name.clone(), self.options.clone()) {
                Ok(instance) => supervisor::restart(&instance).await,
                Err(error) => Err(error),
            };
            match restarted {
                Ok(true) => supervisors.push(name.to_string()),
                Ok(false) => {}
                Err(error) => {
                    self.warn(format!(
                        "the supervisor of {name} was not restarted: {error}; docklet{} start",
                        name.flag()
                    ));
                }
            }
        }
        SelfUpdateFinished { supervisors }
    }

    async fn offer(&self, source: &ReleaseSource) -> Result<Offer> {
        let unchanged = Error::Interrupted { next: "nothing was changed".to_owned() };
        self.interrupt.or(unchanged, Offer::newest(source, &self.options)).await
    }

    fn unchanged(&self, program: &ProgramFile) -> SelfUpdateReport {
        SelfUpdateReport {
            changed: false,
            from: VERSION.to_owned(),
            to: VERSION.to_owned(),
            update_available: false,
            program: program.path().display().to_string(),
            command: command(program).map(str::to_owned),
            supervisors: vec![],
        }
    }

    /// The program that is in place now finishes it: only that one knows how its supervisors are started.
    async fn replaced(&self, program: &ProgramFile, to: String) -> Result<SelfUpdateReport> {
        let finished = program::finish(program.path(), self.paths.shared_home()).await;
        let finished = finished.unwrap_or_else(|reason| {
            self.warn(format!("the supervisors were not restarted: {reason}; docklet start does it"));
            SelfUpdateFinished::default()
        });
        let supervisors = finished.supervisors;
        Ok(SelfUpdateReport { changed: true, to, supervisors, ..self.unchanged(program) })
    }
}

fn command(program: &ProgramFile) -> Option<&'static str> {
    installed::update_command(program.path(), Path::new("/"))
}

fn refuse_managed(program: &ProgramFile) -> Result<()> {
    let Some(command) = command(program) else { return Ok(()) };
    Err(Error::Usage {
        message: format!("a package manager installed {}", program.path().display()),
        hint: Some(format!("update it with: {command}")),
    })
}
