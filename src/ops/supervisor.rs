//! Makes sure that a supervisor runs.
//!
//! - `process`: is one running, start one of its own, end it
//! - `state`: what it remembers, and what `status` reads

pub mod process;
pub mod state;

use std::ffi::OsString;

use super::{Instance, autostart};
use crate::{
    desired::VERSION,
    engine::Engine,
    error::{Error, Result},
    host::system,
    settings::{RestartPolicy, Settings},
};

use process::Launch;
use state::SupervisorState;

/// What the supervisor calls itself in a lock.
pub const NAME: &str = "supervise";

/// What finishes the work of a killed command for it, in a lock.
pub const RECOVERY: &str = "supervise recovery";

/// Who supervises after [`ensure_running`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupervisorOrigin {
    /// The user's service manager.
    Service,
    /// One that was running already.
    Running,
    /// A process of its own, started just now.
    Detached,
    /// Nobody: the settings or the user say so.
    Nobody,
}

/// Makes sure that a supervisor runs for this instance. Call it with the instance's lock held and
/// the desired state `running` written down: only so can a supervisor that is about to end not slip away.
///
/// # Errors
/// When none runs and none can be started.
pub async fn ensure_running(instance: &Instance, settings: &Settings, engine: &Engine) -> Result<SupervisorOrigin> {
    if !instance.options.supervise || settings.restart.policy == RestartPolicy::Never {
        return Ok(SupervisorOrigin::Nobody);
    }
    if service_has_it(instance, settings).await? {
        return Ok(SupervisorOrigin::Service);
    }
    if process::running(&instance.files).is_some() {
        let state = SupervisorState::load(&instance.files.supervisor_state());
        let other_engine = state.endpoint.as_ref().is_some_and(|endpoint| *endpoint != engine.about.endpoint);
        if state.version == VERSION && !other_engine {
            return Ok(SupervisorOrigin::Running);
        }
        // An earlier docklet's, or one that looks at another engine.
        process::end(&instance.files).await?;
    }
    let pid = process::start_detached(&instance.files, &launch(instance, &["supervise", "--detached"])?).await?;
    if instance.options.verbose {
        instance.note(format!(
            "supervisor: started (pid {pid}); it does not start after a reboot; to change that: docklet autostart enable"
        ));
    }
    Ok(SupervisorOrigin::Detached)
}

/// Has this program's supervisor take over from one that runs. Whether there was one.
///
/// # Errors
/// When the old one does not end, or the new one does not start.
pub async fn restart(instance: &Instance) -> Result<bool> {
    if process::running(&instance.files).is_none() {
        return Ok(false);
    }
    let _lock = instance.lock("self-update")?;
    let services = autostart::services(instance);
    if services.is_enabled(&instance.name) && services.is_active(&instance.name).await {
        let failed = |reason: String| Error::Usage { message: reason, hint: None };
        services.stop(&instance.name).await.map_err(failed)?;
        services.start(&instance.name).await.map_err(failed)?;
    } else {
        process::end(&instance.files).await?;
        process::start_detached(&instance.files, &launch(instance, &["supervise", "--detached"])?).await?;
    }
    Ok(true)
}

/// Whether the user's service manager runs the supervisor; starts it there when it should and does
/// not. One that was started before as a process of its own makes room.
async fn service_has_it(instance: &Instance, settings: &Settings) -> Result<bool> {
    let services = autostart::services(instance);
    if !autostart::is_entered(instance, settings) {
        return Ok(false);
    }
    if services.is_active(&instance.name).await {
        return Ok(true);
    }
    process::end(&instance.files).await?;
    Ok(services.start(&instance.name).await.is_ok())
}

/// This same program, with what this command was told about instance and engine.
fn launch(instance: &Instance, command: &[&str]) -> Result<Launch> {
    let program = system::this_program()?;
    let mut arguments: Vec<OsString> = vec!["--quiet".into(), "--instance".into(), instance.name.as_str().into()];
    for (flag, value) in [("--host", &instance.options.host), ("--context", &instance.options.context)] {
        if let Some(value) = value {
            arguments.extend([flag.into(), value.into()]);
        }
    }
    arguments.extend(command.iter().map(OsString::from));
    // It works in another folder: what names a place must not depend on this one.
    let mut environment: Vec<(String, OsString)> =
        process::ALLOCATOR.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    if let Some(home) = instance.paths.shared_home() {
        environment.push(("DOCKLET_HOME".to_owned(), home.into()));
    }
    let config = Some(&instance.options.docker_config);
    for (name, path) in [("DOCKER_CONFIG", config), ("DOCKER_CERT_PATH", instance.options.cert_path.as_ref())] {
        if let Some(path) = path {
            let path = std::path::absolute(path).map_err(|e| Error::file("find", path, &e))?;
            environment.push((name.to_owned(), path.into_os_string()));
        }
    }
    Ok(Launch { program, arguments, environment })
}
