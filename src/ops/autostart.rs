//! Autostart: the supervisor started by the user's own service manager. Also what setup and uninstall do about it.

use super::{Instance, supervisor::process};
use crate::{
    desired_state::{self, DesiredState},
    error::{Error, Result},
    host::{
        service::{self, Service, ServiceManager, Services},
        system,
    },
    report::{AutostartReport, Thing, ThingKind},
    settings::Settings,
};

/// Switches it on; whether that changed anything.
///
/// # Errors
/// When there is no service manager, and when files cannot be written.
pub async fn enable(instance: &Instance) -> Result<bool> {
    let mut settings = instance.settings().await?;
    let services = services(instance);
    services.available().map_err(|reason| Error::Missing {
        what: "service manager that could start it".to_owned(),
        reason: Some(reason),
        hint: format!("it does not start after a reboot; to start it then: docklet{} start", instance.name.flag()),
    })?;
    let _lock = instance.lock("autostart enable")?;
    let changed = services.enable(&service(instance)?).await?;
    linger(instance, &services).await?;
    settings.restart.autostart = true;
    settings.save(&instance.files.settings())?;
    if desired_state::read(&instance.files.desired())? == DesiredState::Running
        && !services.is_active(&instance.name).await
    {
        // The one that runs as a process of its own makes room for the service's.
        process::end(&instance.files).await?;
        if let Err(reason) = services.start(&instance.name).await {
            instance.warn(format!("the service is enabled, but could not be started now: {reason}"));
        }
    }
    Ok(changed)
}

/// Switches it off; whether that changed anything.
///
/// # Errors
/// When files cannot be written.
pub async fn disable(instance: &Instance) -> Result<bool> {
    let Some(mut settings) = Settings::load(&instance.files.settings())? else {
        return Ok(!services(instance).disable(&instance.name).await?.is_empty());
    };
    let _lock = instance.lock("autostart disable")?;
    let removed = services(instance).disable(&instance.name).await?;
    settings.restart.autostart = false;
    settings.save(&instance.files.settings())?;
    Ok(!removed.is_empty())
}

/// Brings the service in line with the settings. Where there is no service manager, that is told
/// and is no failure: the appliance works, until the next reboot.
///
/// # Errors
/// When the service's file cannot be written or removed.
pub async fn apply(instance: &Instance, settings: &Settings) -> Result<()> {
    let services = services(instance);
    if !settings.restart.autostart {
        return services.disable(&instance.name).await.map(drop);
    }
    if let Err(reason) = services.available() {
        instance.warn(format!("autostart is set, but {reason}; after a reboot: docklet{} start", instance.name.flag()));
        return Ok(());
    }
    services.enable(&service(instance)?).await?;
    linger(instance, &services).await
}

/// Whether and how it starts by itself.
pub async fn report(instance: &Instance) -> AutostartReport {
    let services = services(instance);
    let available = services.available();
    let enabled = services.is_enabled(&instance.name);
    let has_manager = available.is_ok();
    let linger = match (services.kind(), has_manager) {
        (ServiceManager::Systemd, true) => Some(service::lingers(&service::user()).await),
        _ => None,
    };
    let reason = match (&available, enabled, linger) {
        (Err(reason), ..) => Some(reason.clone()),
        (Ok(()), false, _) => Some("autostart is off".to_owned()),
        (Ok(()), true, Some(false)) => Some(format!(
            "it starts when you log in and ends when you log out; loginctl enable-linger {} changes that",
            service::user()
        )),
        (Ok(()), true, _) => None,
    };
    AutostartReport {
        instance: instance.name.to_string(),
        changed: false,
        enabled,
        manager: has_manager.then(|| services.kind()),
        file: services.file(&instance.name).is_file().then(|| services.file(&instance.name).display().to_string()),
        active: enabled && has_manager && services.is_active(&instance.name).await,
        linger,
        survives_reboot: reason.is_none(),
        reason,
    }
}

/// Whether there is a service manager that could start it.
pub fn is_available(instance: &Instance) -> bool {
    services(instance).available().is_ok()
}

/// Whether a service manager is told to start it; asks no program, for the quick look of `status`.
pub fn is_entered(instance: &Instance, settings: &Settings) -> bool {
    let services = services(instance);
    settings.restart.autostart && services.available().is_ok() && services.is_enabled(&instance.name)
}

/// What an uninstall finds of the service.
pub fn things(instance: &Instance) -> Vec<Thing> {
    let traces = services(instance).traces(&instance.name).into_iter();
    traces.map(|path| Thing { kind: ThingKind::Autostart, name: path.display().to_string() }).collect()
}

/// Removes the service, for an uninstall; what was removed.
///
/// # Errors
/// When a file cannot be removed.
pub async fn remove(instance: &Instance) -> Result<Vec<Thing>> {
    let removed = services(instance).disable(&instance.name).await?.into_iter();
    Ok(removed.map(|path| Thing { kind: ThingKind::Autostart, name: path.display().to_string() }).collect())
}

/// The user's services.
pub fn services(instance: &Instance) -> Services {
    Services::find(&instance.options.home, instance.options.config_home.as_deref())
}

/// This instance's service.
///
/// # Errors
/// When a variable that it needs holds a password.
pub fn service(instance: &Instance) -> Result<Service> {
    let mut environment = instance.options.service_environment.clone();
    let flags = [("DOCKLET_HOST", &instance.options.host), ("DOCKLET_CONTEXT", &instance.options.context)];
    environment.extend(flags.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))));
    environment.extend(process::ALLOCATOR.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if let Some((name, _)) = environment.iter().find(|(_, value)| holds_password(value)) {
        return Err(Error::Usage {
            message: format!("{name} holds a password, which a service file must not"),
            hint: Some(format!("create a docker context for that engine and unset {name}: docker context create NAME")),
        });
    }
    Ok(Service {
        instance: instance.name.clone(),
        title: instance.appliance.title.clone(),
        program: system::this_program()?,
        environment,
    })
}

/// The service files as they look for one user, for `packaging/`.
pub fn examples() -> Result<Vec<(String, String)>> {
    let service = Service {
        instance: crate::instance_name::DEFAULT.parse().map_err(Error::bug)?,
        title: crate::appliance::Appliance::embedded()?.title,
        program: "/usr/local/bin/docklet".into(),
        environment: Default::default(),
    };
    Ok(vec![
        ("systemd/docklet-default.service".to_owned(), service::systemd_unit(&service)?),
        ("launchd/docklet.default.plist".to_owned(), service::launchd_agent(&service)?),
    ])
}

/// Whether a text is an address with a password in it: `tcp://user:password@host`.
fn holds_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(who, _)| who.contains(':'))
}

/// A systemd user's services end with the last session unless they may linger. Asks once.
async fn linger(instance: &Instance, services: &Services) -> Result<()> {
    let user = service::user();
    if services.kind() != ServiceManager::Systemd || service::lingers(&user).await {
        return Ok(());
    }
    let command = format!("loginctl enable-linger {user}");
    let otherwise = "autostart is on; only your logout ends it";
    let yes = instance.questions.suggest("Keep opencode running while you are logged out (lingering)?", otherwise)?;
    if !yes {
        instance.note(format!("it starts when you log in and ends when you log out; to change that: {command}"));
    } else if let Err(reason) = service::enable_linger(&user).await {
        instance.warn(format!("lingering could not be turned on ({reason}); try: sudo {command}"));
    } else {
        instance.note(format!(
            "lingering is on for {user}, and stays on after an uninstall; off: loginctl disable-linger {user}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::holds_password;

    #[test]
    fn passwords_in_addresses_are_seen() {
        for (text, holds) in [
            ("tcp://me:secret@host:2375", true),
            ("ssh://me@host", false),
            ("ssh://me@host:22", false),
            ("unix:///run/a:b@c.sock", false),
            ("/home/me:x@y", false),
        ] {
            assert_eq!(holds_password(text), holds, "{text}");
        }
    }
}
