//! The throwaway instance of a test: a container without network and published port, its volumes, and nothing else. All of it
//! carries the labels of an instance that nobody can name, so that it is found and removed by them, whatever was killed.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    appliance::Ids,
    data::{
        archive::Header,
        volumes::{HelperOf, Named},
    },
    desired::{Desired, NO_NETWORK, VolumeSpec, labels},
    engine::{Engine, image::Image},
    error::{Error, Result},
    instance_name::InstanceName,
    observed::Ownership,
    ops::{Instance, backup_contents, other_home},
    probe::Probe,
    ready,
    report::{Thing, ThingKind},
    sandbox::{self, network_rules, ownership, secret_files::SecretFiles},
    secrets,
    settings::{Egress, Settings},
};

/// How often what is left is removed: an answer of the engine that is lost proves nothing.
const ROUNDS: usize = 3;

/// The throwaway instance of an instance.
pub struct Throwaway<'a> {
    instance: &'a Instance,
    engine: &'a Engine,
    name: InstanceName,
    labels: BTreeMap<String, String>,
}

/// How it is made.
pub struct Shape {
    desired: Desired,
    ids: Ids,
}

/// The error for a test that the user ends.
pub fn interrupted() -> Error {
    Error::Interrupted { next: "the throwaway instance was removed, and nothing else was changed".to_owned() }
}

impl<'a> Throwaway<'a> {
    /// Of this instance, which must not be another home's. What a killed test left of it is removed.
    ///
    /// # Errors
    /// [`Error::SetUpElsewhere`], and what the engine says.
    pub async fn afresh(instance: &'a Instance, engine: &'a Engine) -> Result<Self> {
        let own = instance.name.containers(&instance.appliance.name);
        other_home::refuse(instance, &engine.containers_named(&own).await?)?;
        let name = instance.name.throwaway();
        let labels = labels(&instance.appliance, &name);
        let throwaway = Throwaway { instance, engine, name, labels };
        throwaway.remove().await?;
        Ok(throwaway)
    }

    /// How it is made for this backup: as the instance is, with this image, or else the one that a restore would take.
    ///
    /// # Errors
    /// [`Error::Missing`] when that is not on the engine, and what the engine says.
    pub async fn shape(&self, settings: &Settings, header: &Header, image: Option<&str>) -> Result<Shape> {
        let Throwaway { instance, engine, .. } = *self;
        let mut settings = settings.clone();
        // Nothing of the host, and no rules where there is no network.
        settings.mounts.clear();
        settings.git.ssh_agent = false;
        settings.network.egress = Egress::All;
        let snapshot = instance.snapshot(engine).await?;
        let appliance = backup_contents::appliance_for(instance, &settings, header);
        let (given, _) = sandbox::given_at_least(engine, &appliance, &settings, &instance.files, snapshot.host.memory);
        let mut desired = Desired::new(&appliance, &settings, &self.name, &instance.files, &given, None);
        let own = instance.own_container(&snapshot).filter(|_| appliance.version == instance.appliance.version);
        let usual = own.map_or(desired.image.reference(), |container| &container.image_id);
        let wanted = image.unwrap_or(usual).to_owned();
        let missing = || Error::Missing {
            what: format!("image {wanted} on the engine"),
            reason: Some("the backup needs it".to_owned()),
            hint: format!("docklet{} start gets the image of the instance", instance.name.flag()),
        };
        let Image { id, .. } = engine.image(&wanted).await?.ok_or_else(missing)?;
        desired.container.image = id;
        desired.container.network = NO_NETWORK.to_owned();
        desired.container.extra_hosts.clear();
        Ok(Shape { desired, ids: given.ids })
    }

    /// Who fills and reads its volumes.
    pub fn task(&self, shape: &Shape) -> HelperOf {
        HelperOf {
            name: shape.desired.task_name.clone(),
            image: shape.desired.container.image.clone(),
            labels: self.labels.clone(),
        }
    }

    /// Makes its volumes, all empty.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn create_volumes(&self, shape: &Shape) -> Result<Vec<Named>> {
        let mut named = vec![];
        for (definition, volume) in self.instance.appliance.volumes.iter().zip(&shape.desired.volumes) {
            self.may_go_on()?;
            self.engine.create_volume(volume).await?;
            named.push(Named { role: definition.role.clone(), volume: volume.name.clone() });
        }
        Ok(named)
    }

    /// Starts it with a password of its own, and waits for the page, which is asked from inside.
    ///
    /// # Errors
    /// As [`ready::wait`], and [`Error::Interrupted`].
    pub async fn start(&self, shape: &Shape, timeout: Duration) -> Result<Probe> {
        let Throwaway { instance, engine, .. } = *self;
        let Shape { desired, ids } = shape;
        let container = &desired.container;
        let helper = |what| network_rules::helper(&desired.helper_name, &container.image, &self.labels, what, None);
        ownership::give(engine, helper("ownership"), &desired.volumes, *ids).await?;
        self.may_go_on()?;
        let password = secrets::generate_password()?;
        let mount = container.secrets.mount.clone();
        let volume = VolumeSpec { name: container.secrets.volume.clone(), mount, labels: self.labels.clone() };
        engine.create_volume(&volume).await?;
        let files = SecretFiles::one(&instance.appliance.login.password_secret, &password);
        files.fill(engine, helper("secrets"), &volume.name, *ids).await?;
        self.may_go_on()?;
        engine.create_container(container, &[]).await?;
        self.may_go_on()?;
        engine.start_container(&container.name).await?;
        let probe = Probe::inside(&instance.appliance, engine, &container.name, &password);
        let waiting = ready::wait(engine, &container.name, "its page", &probe, timeout, instance.reporter.as_ref());
        instance.interrupt.or(interrupted(), waiting).await.map(|()| probe)
    }

    /// Between two calls that change something: what is left in the middle may come true behind its removal.
    fn may_go_on(&self) -> Result<()> {
        if self.instance.interrupt.is_raised() { Err(interrupted()) } else { Ok(()) }
    }

    /// What of it is on the engine.
    async fn left(&self) -> Result<Vec<Thing>> {
        let ours = |labels: &_| Ownership::of(labels, &self.labels) == Ownership::Ours;
        let (containers, volumes) = tokio::try_join!(self.engine.containers(true), self.engine.managed_volumes())?;
        let containers = containers.into_iter().filter(|c| ours(&c.labels)).map(|c| (ThingKind::Container, c.name));
        let volumes = volumes.into_iter().filter(|v| ours(&v.labels)).map(|v| (ThingKind::Volume, v.name));
        Ok(containers.chain(volumes).map(|(kind, name)| Thing { kind, name }).collect())
    }

    /// Removes all of it, and looks again until nothing is left.
    ///
    /// # Errors
    /// What the engine says, and [`Error::HelperFailed`] when it keeps something.
    pub async fn remove(&self) -> Result<()> {
        let (mut left, mut refused) = (self.left().await?, None);
        for _ in 0..ROUNDS {
            // Containers come first: a volume that one has cannot go, and what is said of that is no reason.
            for Thing { kind, name } in &left {
                let removed = match kind {
                    ThingKind::Container => self.engine.remove_container(name).await,
                    _ => self.engine.remove_volume(name).await,
                };
                refused = refused.or(removed.err());
            }
            left = self.left().await?;
            if left.is_empty() {
                return Ok(());
            }
        }
        let names: Vec<String> = left.iter().map(|thing| format!("{} {}", thing.kind, thing.name)).collect();
        let reason = format!("the engine keeps {}", names.join(", "));
        let keeps = || Error::HelperFailed { what: "removing the throwaway instance".to_owned(), reason };
        Err(refused.unwrap_or_else(keeps))
    }
}
