//! Setup: settings and secrets are saved, everything is brought in line with them, and the page is waited for.

mod private_names;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use super::{
    Instance, autostart,
    build_surroundings::read_ca_bundle,
    converge::{self, ConvergeOptions, Planned},
    mounts,
};
use crate::{
    desired::{LIMITS_FIX, VolumeSpec},
    engine::{Engine, container::Effect, load, reference::Reference},
    error::{Error, Result},
    mounts as rules, observe,
    report::{SetupReport, VolumeStatus},
    sandbox::network_rules,
    secrets::{self, Secret},
    settings::{Bind, ImageSource, Memory, Port, Settings},
    units::Bytes,
};

/// What to set up; `None` keeps what is set, or the default.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The port on the host.
    pub port: Option<u16>,
    /// The address on the host. One that is not loopback needs a password of 12 characters.
    pub bind: Option<IpAddr>,
    /// Where the image comes from.
    pub image: Option<ImageFrom>,
    /// The container's memory limit, in bytes.
    pub memory: Option<u64>,
    /// Secrets to add or change, by their names.
    pub secrets: BTreeMap<String, String>,
    /// How long the page may take to answer; `None`: as long as the appliance usually may.
    pub timeout: Option<Duration>,
}

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFrom {
    /// It is built from the files that docklet carries.
    Build,
    /// It is pulled: its name.
    Pull(String),
    /// It is loaded from an archive: its path.
    Load(PathBuf),
}

impl Instance {
    /// Creates the instance if it is missing, brings it in line with its settings, starts it, and waits until the page
    /// answers. The report has the container's id, whether the container existed before or not.
    ///
    /// # Errors
    /// PORT_IN_USE, FOREIGN_OBJECT, what getting an image and starting a container find, and what the engine says.
    pub async fn setup(&self, options: &Setup) -> Result<SetupReport> {
        set_up(self, options, true).await
    }

    /// As [`Instance::setup`], but a container that does not run is not started.
    ///
    /// # Errors
    /// As [`Instance::setup`], and ALREADY_EXISTS when there is a container.
    pub async fn create(&self, options: &Setup) -> Result<SetupReport> {
        let engine = self.engine().await?;
        if engine.container(&self.container_name()).await?.is_some() {
            let kind = crate::error::ObjectKind::Container;
            return Err(Error::AlreadyExists { kind, name: self.container_name() });
        }
        set_up(self, options, false).await
    }

    /// Creates those of the data volumes that are missing; their names.
    ///
    /// # Errors
    /// FOREIGN_OBJECT, and what the engine says.
    pub async fn ensure_volumes(&self) -> Result<Vec<String>> {
        let _lock = self.lock("volumes")?;
        let engine = self.engine().await?;
        let snapshot = self.snapshot(&engine).await?;
        let there = self.own_volumes(&snapshot)?;
        let mut names = vec![];
        for volume in data_volumes(self) {
            if !there.iter().any(|found| found.volume == volume.name) {
                engine.create_volume(&volume).await?;
            }
            names.push(volume.name);
        }
        Ok(names)
    }

    /// Removes the data volumes, and all that is in them; the names of those that were there.
    ///
    /// # Errors
    /// FOREIGN_OBJECT, and what the engine says, such as that a container uses them.
    pub async fn remove_volumes(&self) -> Result<Vec<String>> {
        let _lock = self.lock("volumes")?;
        let engine = self.engine().await?;
        let snapshot = self.snapshot(&engine).await?;
        let mut removed = vec![];
        for found in self.own_volumes(&snapshot)? {
            if engine.remove_volume(&found.volume).await? == Effect::Changed {
                removed.push(found.volume);
            }
        }
        Ok(removed)
    }
}

fn data_volumes(instance: &Instance) -> Vec<VolumeSpec> {
    let labels = crate::desired::labels(&instance.appliance, &instance.name);
    let volumes = instance.appliance.volumes.iter().map(|v| VolumeSpec {
        name: instance.volume_name(&v.role),
        mount: v.mount.clone(),
        labels: labels.clone(),
    });
    volumes.collect()
}

async fn set_up(instance: &Instance, options: &Setup, running: bool) -> Result<SetupReport> {
    let before = Settings::load(&instance.files.settings())?;
    let mut settings = before.clone().unwrap_or_default();
    let image_file = take(instance, options, &mut settings)?;
    let mut given = BTreeMap::new();
    for (name, value) in &options.secrets {
        secrets::check_name(name).and_then(|()| secrets::check_value(name, value)).map_err(Error::usage)?;
        given.insert(name.clone(), Secret::new(value.clone()));
    }
    make_password(instance, &mut given)?;
    let _lock = instance.lock("setup")?;
    let engine = instance.engine().await?;
    let snapshot = observe::look_at_own(&engine, &instance.appliance, &instance.name).await?;
    check(instance, &settings)?;
    let how =
        ConvergeOptions { running, image_file, new_secrets: given.clone(), saves: true, ..ConvergeOptions::default() };
    let planned = converge::plan_with(instance, &engine, &snapshot, &settings, &how).await?;
    mounts::ask(instance, &settings.mounts)?;
    if let Some(text) = super::exposure(&settings).filter(|_| planned.opens_up || before.is_none()) {
        instance.confirm(&format!("{text}; do it?"))?;
    }
    let timeout = options.timeout.unwrap_or(instance.appliance.health.ready_timeout());
    let job = SetupJob { before, secrets: given, how, timeout };
    job.carry_out(instance, &engine, &mut settings, planned).await
}

/// Puts the options into the settings; an archive to load the image from is only for this run.
fn take(instance: &Instance, options: &Setup, settings: &mut Settings) -> Result<Option<PathBuf>> {
    if let Some(port) = options.port {
        settings.network.port = Port(port);
    }
    if let Some(bind) = options.bind {
        settings.network.bind = Bind(bind);
    }
    if let Some(memory) = options.memory {
        settings.resources.memory = Memory(Bytes(memory));
    }
    match &options.image {
        None => Ok(None),
        Some(ImageFrom::Build) => {
            settings.image.source = ImageSource::Build;
            settings.image.reference.clear();
            Ok(None)
        }
        Some(ImageFrom::Pull(reference)) => {
            let _: Reference = reference.parse()?;
            settings.image.source = ImageSource::Pull;
            settings.image.reference.clone_from(reference);
            Ok(None)
        }
        Some(ImageFrom::Load(file)) => take_image_file(instance, file, settings).map(Some),
    }
}

/// Reads from the archive what its image is called.
pub(crate) fn take_image_file(instance: &Instance, file: &std::path::Path, settings: &mut Settings) -> Result<PathBuf> {
    let file = std::path::absolute(file).map_err(|e| Error::file("find", file, &e))?;
    let image = load::reference_in(&file)?;
    settings.image.source = ImageSource::Load;
    settings.image.reference = match image {
        load::ArchiveImage { reference: Some(reference), .. } => reference,
        load::ArchiveImage { digest, .. } => format!("{}:loaded-{:.12}", instance.appliance.name, digest),
    };
    Ok(file)
}

/// Rules that need a look at the host.
pub(crate) fn check(instance: &Instance, settings: &Settings) -> Result<()> {
    let before = Settings::load(&instance.files.settings())?;
    super::check_settings(&instance.appliance, before.as_ref(), settings)?;
    read_ca_bundle(settings)?;
    rules::check(&settings.mounts, &mounts::surroundings(instance))?;
    rules::verify(&settings.mounts, &instance.files.mounts())
}

/// Makes up a password where there is none; whether that happened.
pub(crate) fn make_password(instance: &Instance, secrets: &mut BTreeMap<String, Secret>) -> Result<bool> {
    let name = &instance.appliance.login.password_secret;
    if secrets.contains_key(name) {
        return Ok(false);
    }
    let missing = secrets::read(&instance.files.secrets(), name)?.is_none();
    if missing {
        secrets.insert(name.clone(), secrets::generate_password()?);
    }
    Ok(missing)
}

/// A setup that was planned and confirmed.
pub(crate) struct SetupJob {
    /// The settings that held before; `None`: it was not set up.
    pub before: Option<Settings>,
    /// Secrets to write.
    pub secrets: BTreeMap<String, Secret>,
    /// How it was planned.
    pub how: ConvergeOptions,
    /// How long the page may take to answer.
    pub timeout: Duration,
}

impl SetupJob {
    /// Saves secrets, and settings once their image is there, applies the plan, and says what is there now. Call it with
    /// the lock held.
    ///
    /// # Errors
    /// The first step's that failed; the settings are as before then, where there is no image or the container of before
    /// is back.
    pub async fn carry_out(
        &self,
        instance: &Instance,
        engine: &Engine,
        settings: &mut Settings,
        mut planned: Planned,
    ) -> Result<SetupReport> {
        rules::remember(&settings.mounts, &instance.files.mounts())?;
        for (name, value) in &self.secrets {
            secrets::write(&instance.files.secrets(), name, value)?;
        }
        if let Some(text) = network_rules::loopback_proxies(&instance.files)? {
            instance.warn(format!("{text}; {}", network_rules::LOOPBACK_FIX));
        }
        let applied = converge::apply(instance, engine, settings, &planned, &self.how, self.timeout).await;
        if let (Err(error), Some(before)) = (&applied, &self.before)
            && !planned.plan.put_back.is_empty()
            && !matches!(error, Error::Interrupted { .. })
        {
            // The container from before is back, so its settings are, too: the next start must not
            // replace what works with what does not.
            let file = instance.files.settings();
            if Settings::load(&file)?.as_ref() != Some(before) {
                before.save(&file)?;
                instance.note("the previous settings were restored");
            }
        }
        applied?;
        if self.how.running && !planned.is_empty() {
            private_names::propose(instance, engine, settings, &planned).await?;
        }
        autostart::apply(instance, settings).await?;
        if !planned.is_empty() {
            let made = engine.container(&instance.container_name()).await?;
            // Some engines say of the container that it has limits, and of themselves that they hold none.
            if planned.no_memory_limit || made.as_ref().is_some_and(|made| !made.live.holds_limits()) {
                instance.warn(format!(
                    "the engine does not hold the container to its limits (memory, processors, processes); {LIMITS_FIX}"
                ));
            }
            planned.container_id = made.map(|c| c.id);
        }
        self.report(instance, &planned)
    }

    fn report(&self, instance: &Instance, planned: &Planned) -> Result<SetupReport> {
        let volume = |v: &VolumeSpec| VolumeStatus { name: v.name.clone(), mount: v.mount.clone(), exists: true };
        Ok(SetupReport {
            instance: instance.name.to_string(),
            changed: !planned.is_empty(),
            container_id: planned.container_id.clone(),
            name: instance.container_name(),
            running: self.how.running,
            url: planned.desired.url(),
            user: instance.appliance.login.user.clone(),
            secrets: instance.secret_names()?,
            settings_file: instance.files.settings().display().to_string(),
            volumes: planned.desired.volumes.iter().map(volume).collect(),
        })
    }
}
