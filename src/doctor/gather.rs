//! Finds out the facts of this machine, and has `inquiry` ask the engine, all at the same time. Never fails as a whole:
//! a fact that is not available says so. Evaluates nothing, changes nothing.

use std::path::Path;

use super::{
    facts::{DoctorFacts, EngineFacts, MountFacts, SettingsFact, Subject, TrustFacts},
    gather_input::{GatherInput, PATIENCE},
    inquiry::Inquiry,
};
use crate::{
    appliance::Ids,
    desired_state::{self, DesiredState},
    engine::{
        Engine,
        reference::{DEFAULT_REGISTRY, Reference},
    },
    error::{Result, io_reason},
    host::{checkup, connectivity::Way, ports, system},
    mounts::{self, Users},
    plan::lost,
    sandbox::{self, network_rules},
    secrets::{self, Secret},
    settings::{ImageSource, Mount, Settings},
};

/// All facts, and the engine, where one answers.
pub async fn gather(around: GatherInput<'_>) -> (DoctorFacts, Option<Engine>) {
    let settings = match Settings::load(&around.files.settings()) {
        Ok(Some(settings)) => SettingsFact::Valid(Box::new(settings)),
        Ok(None) => SettingsFact::NotSetUp,
        Err(error) => SettingsFact::Broken(error),
    };
    // Without settings, what the first setup would do.
    let assumed = settings.valid().cloned().unwrap_or_default();
    let reference = registry_reference(&assumed);
    let about = subject(&around, &reference);
    let desired = match (settings.valid(), desired_state::read(&around.files.desired())) {
        (Some(_), Ok(desired)) => desired,
        _ => DesiredState::Stopped,
    };
    let password = secrets::read(&around.files.secrets(), &around.appliance.login.password_secret).ok().flatten();
    let port = assumed.network.port.0;
    let way = Way::new(&about.registry, |name| around.proxies.get(name).cloned(), around.ca_file);
    let inquiry = Inquiry {
        around: &around,
        settings: &settings,
        assumed: &assumed,
        reference: reference.as_ref(),
        registry: &about.registry,
        password: password.as_ref(),
    };
    let (engine, localhost, host_network) =
        tokio::join!(inquiry.engine(), checkup::localhost(PATIENCE), way.go(PATIENCE));
    let (engine, handle) = match engine {
        Ok((facts, engine)) => (Ok(facts), Some(engine)),
        Err(error) => (Err(error), None),
    };
    let default = around.appliance.container.ids();
    let ids = handle.as_ref().map_or(default, |engine| sandbox::ids::of(engine, &assumed, default));
    let facts = DoctorFacts {
        mounts: mount_facts(&around, &assumed.mounts, &engine, ids),
        desired,
        unwritable: checkup::unwritable(&[&around.files.config, &around.files.state, &around.files.data]),
        files: checkup::files(&[&around.files.config, &around.files.state, &around.files.data]),
        host_space: checkup::space(&around.files.config),
        port: ports::state(assumed.network.bind.0, port),
        taken_on_ipv6: checkup::taken_on_ipv6(port),
        trust: trust(&around, &settings),
        services: checkup::services(),
        password_missing: settings.valid().is_some() && password.is_none(),
        supervisor: around.supervisor.clone(),
        about,
        settings,
        engine,
        localhost,
        host_network,
    };
    (facts, handle)
}

/// How the mounted folders and files are, with the engine's users as far as it tells.
fn mount_facts(around: &GatherInput<'_>, mounts: &[Mount], engine: &Result<EngineFacts>, ids: Ids) -> MountFacts {
    let machine = engine.as_ref().ok().and_then(|engine| Some((engine, engine.machine.as_ref().ok()?)));
    let users = machine
        .map_or(Users::Unknown, |(engine, machine)| Users::of(&engine.about, machine.rootless, &machine.data_folder));
    let advice = mounts.iter().flat_map(|mount| mounts::advice(mount, ids, users)).collect();
    MountFacts { number: mounts.len(), refused: mounts::verify(mounts, &around.files.mounts()).err(), advice }
}

/// The image whose registry matters: what is pulled, or what is built on.
fn registry_reference(settings: &Settings) -> Option<Reference> {
    let text = match settings.image.source {
        ImageSource::Pull => &settings.image.reference,
        ImageSource::Build | ImageSource::Load => &settings.image.base,
    };
    text.parse().ok()
}

fn subject(around: &GatherInput<'_>, reference: &Option<Reference>) -> Subject {
    let appliance = around.appliance;
    let fixed = &appliance.container;
    Subject {
        flag: around.instance.flag(),
        container: around.instance.container(&appliance.name),
        scratch: lost::scratch(appliance),
        keep_in: fixed.working_dir.clone(),
        appliance_version: appliance.version.clone(),
        default_memory: fixed.memory,
        ready_timeout: appliance.health.ready_timeout(),
        secrets: around.files.secrets(),
        registry: reference.as_ref().map_or(DEFAULT_REGISTRY, Reference::registry).to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        user: system::user_name().unwrap_or_else(|| rustix::process::getuid().as_raw().to_string()),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned(),
    }
}

fn trust(around: &GatherInput<'_>, settings: &SettingsFact) -> TrustFacts {
    let Some(settings) = settings.valid() else { return TrustFacts::default() };
    let mut trust = TrustFacts::default();
    let file = Path::new(&settings.trust.ca_file);
    if settings.trust.ca_file.is_empty() {
        trust.unknown_bundle = around.ca_file.filter(|f| f.is_file()).map(|f| f.display().to_string());
    } else {
        match std::fs::read(file) {
            Ok(bundle) if String::from_utf8_lossy(&bundle).contains("-----BEGIN CERTIFICATE-----") => {
                trust.copy_differs = std::fs::read(around.files.ca_bundle()).is_ok_and(|copy| copy != bundle);
            }
            Ok(_) => trust.unusable = Some(format!("{} holds no certificate in PEM form", file.display())),
            Err(e) => {
                trust.unusable = Some(format!("the CA file {} cannot be read: {}", file.display(), io_reason(&e)))
            }
        }
    }
    let stored = |name: &str| secrets::read(&around.files.secrets(), name).ok().flatten();
    let differs = |name: &&str| {
        let here = around.proxies.get(*name).map(String::as_str).unwrap_or_default();
        stored(name).as_ref().map(Secret::reveal).unwrap_or_default() != here
    };
    trust.proxy_unreached = network_rules::loopback_proxies(around.files).ok().flatten();
    trust.proxies_differ = around.proxy_names.iter().copied().filter(differs).map(str::to_owned).collect();
    trust
}
