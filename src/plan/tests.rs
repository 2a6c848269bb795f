//! Tests of the planner: what it says in words, and that any state, also one that a kill left
//! behind, is led to the wanted one without losing the container that worked.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    appliance::Appliance,
    desired::{BindMount, Given},
    instance_name::InstanceName,
    observed::Volume,
    paths::Paths,
    settings::{Port, Settings},
};

fn desired_with(change: impl FnOnce(&mut Settings)) -> Desired {
    let appliance = Appliance::embedded().unwrap();
    let instance: InstanceName = "default".parse().unwrap();
    let paths = Paths::find(Some(Path::new("/home/me/docklet"))).unwrap().instance(&instance);
    let mut settings = Settings::default();
    settings.image.source = crate::settings::ImageSource::Pull;
    settings.image.reference = "example.test/opencode:1".to_owned();
    change(&mut settings);
    Desired::new(&appliance, &settings, &instance, &paths, &Given::of(16 << 30), None)
}

fn desired() -> Desired {
    desired_with(|_| {})
}

/// A small engine: what the steps do to names, and nothing else.
#[derive(Debug, Clone, Default)]
struct Model {
    containers: Vec<Container>,
    volumes: Vec<String>,
    images: Vec<String>,
    network: bool,
}

impl Model {
    fn observe(&self, desired: &Desired) -> Observed {
        let find = |name: &str| self.containers.iter().find(|c| c.name == name).cloned();
        Observed {
            main: find(&desired.container.name),
            previous: find(&desired.previous_name),
            task: None,
            volumes: self
                .volumes
                .iter()
                .map(|name| Volume { name: name.clone(), ownership: Ownership::Ours })
                .collect(),
            secrets: None,
            helper: None,
            network: self.network.then_some(Ownership::Ours),
            image_is_foreign: false,
            image_present: self.images.contains(&desired.image.reference().to_owned()),
            port: PortState::Available,
            others: vec![],
        }
    }

    /// What leads out of what a killed command left, and then to what is wanted.
    fn whole_plan(&self, desired: &Desired) -> Plan {
        let (mut plan, then) = guarded::recover(desired, &self.observe(desired)).unwrap();
        plan.steps.extend(converge(desired, &then).unwrap().steps);
        plan
    }

    /// Does one step; `None` where a real engine would refuse it.
    fn run(&mut self, action: &Action) -> Option<()> {
        let at = |model: &Model, name: &str| model.containers.iter().position(|c| c.name == *name);
        match action {
            Action::BuildImage { reference, .. }
            | Action::PullImage { reference }
            | Action::LoadImage { reference, .. } => {
                self.images.push(reference.clone());
            }
            Action::CreateVolume { volume } => self.volumes.push(volume.name.clone()),
            Action::CreateNetwork { .. } => {
                if self.network {
                    return None;
                }
                self.network = true;
            }
            Action::CreateContainer { spec, new_volumes } => {
                if at(self, &spec.name).is_some() || !self.images.contains(&spec.image) || !self.network {
                    return None;
                }
                self.volumes.extend(new_volumes.iter().map(|v| v.name.clone()));
                self.containers.push(container(&spec.name, Some(spec.hash()), false));
            }
            Action::StartContainer { name, .. } => {
                if self.containers.iter().any(|c| c.running && c.name != *name) {
                    return None; // the port is held by the other one
                }
                let index = at(self, name)?;
                self.containers[index].running = true;
            }
            Action::UnpauseContainer { name } => {
                let index = at(self, name)?;
                self.containers[index].paused = false;
            }
            Action::WaitUntilReady { name, .. } => {
                let index = at(self, name)?;
                if !self.containers[index].running || self.containers[index].paused {
                    return None;
                }
            }
            Action::StopContainer { name } => {
                let index = at(self, name)?;
                self.containers[index].running = false;
            }
            Action::RenameContainer { from, to } => {
                if at(self, to).is_some() {
                    return None;
                }
                let index = at(self, from)?;
                self.containers[index].name.clone_from(to);
            }
            Action::RemoveContainer { name } => self.containers.retain(|c| c.name != *name),
            // What they do is not in the model.
            Action::FillSecrets { .. } | Action::PreparePlaces { .. } | Action::GiveVolumes { .. } => {}
            Action::LoadRules { .. } => {}
            // What only a guarded change does: see there.
            Action::UnpackBackup { .. } => return None,
            Action::TagImage { .. } => {}
        }
        Some(())
    }
}

fn container(name: &str, spec_hash: Option<String>, running: bool) -> Container {
    Container {
        id: name.to_owned(),
        name: name.to_owned(),
        ownership: Ownership::Ours,
        spec_hash,
        running,
        paused: false,
        connected: true,
        undo: None,
        image_id: String::new(),
        live: None,
    }
}

fn all_in_place(desired: &Desired, hash: &str, running: bool) -> Model {
    Model {
        containers: vec![container(&desired.container.name, Some(hash.to_owned()), running)],
        volumes: desired.volumes.iter().map(|v| v.name.clone()).collect(),
        images: vec![desired.image.reference().to_owned()],
        network: true,
    }
}

#[test]
fn no_difference_gives_an_empty_plan() {
    let desired = desired();
    let model = all_in_place(&desired, &desired.container.hash(), true);
    let plan = converge(&desired, &model.observe(&desired)).unwrap();
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.to_string(), "nothing to do");
}

#[test]
fn the_first_plan_in_words() {
    let plan = converge(&desired(), &Observed::default()).unwrap();
    insta::assert_snapshot!(plan, @r"
      1. pull image example.test/opencode:1
      2. create network opencode-cloud
      3. write the secrets into volume opencode-cloud-secrets
      4. create container opencode-cloud with volumes opencode-cloud-{session,projects,config}
      5. start container opencode-cloud
      6. wait until http://127.0.0.1:3000/ answers
    ");
}

#[test]
fn changed_settings_in_words() {
    let desired = desired_with(|s| {
        s.resources.memory = "2GiB".parse().unwrap();
        s.network.port = Port(3001);
    });
    let mut model = all_in_place(&desired, "old", true);
    model.containers[0].live = Some(Box::new(self::desired().container));
    let plan = converge(&desired, &model.observe(&desired)).unwrap();
    insta::assert_snapshot!(plan, @r"
      1. rename container opencode-cloud to opencode-cloud.previous (settings changed: port 3000 → 3001, memory 4 GiB → 2 GiB)
      2. stop container opencode-cloud.previous (kept until the new one answers)
      3. write the secrets into volume opencode-cloud-secrets
      4. create container opencode-cloud (settings changed: port 3000 → 3001, memory 4 GiB → 2 GiB)
      5. start container opencode-cloud
      6. wait until http://127.0.0.1:3001/ answers
      7. remove container opencode-cloud.previous (the new one answers; the data is in the volumes)
         if the page does not answer, the previous container is put back
    ");
}

#[test]
fn a_container_that_ran_as_root_is_replaced_by_one_that_owns_its_volumes() {
    let desired = desired_with(|s| s.mounts = vec!["/home/me/app:/workspace/app".parse().unwrap()]);
    let mut model = all_in_place(&desired, "old", true);
    let mut old = self::desired().container;
    old.user = String::new();
    old.binds = vec![BindMount { host: "/home/me/b".into(), container: "/workspace/b".into(), read_only: false }];
    model.containers[0].live = Some(Box::new(old));
    let steps = converge(&desired, &model.observe(&desired)).unwrap().steps;
    let position = |wanted: &dyn Fn(&Action) -> bool| steps.iter().position(|s| wanted(&s.action)).unwrap();
    let stopped = position(&|a| matches!(a, Action::StopContainer { .. }));
    let given = position(&|a| matches!(a, Action::GiveVolumes { .. }));
    let created = position(&|a| matches!(a, Action::CreateContainer { .. }));
    assert!(stopped < given && given < created, "never while a program of the agent's runs");
    let prepared = position(&|a| {
        matches!(a, Action::PreparePlaces { binds, gone, .. }
        if binds[0].container == "/workspace/app" && gone[0].container == "/workspace/b")
    });
    assert!(given < prepared && prepared < created);
    // One that runs as the wanted user has nothing to give.
    model.containers[0].live = Some(Box::new(self::desired().container));
    let steps = converge(&desired, &model.observe(&desired)).unwrap().steps;
    assert!(!steps.iter().any(|s| matches!(s.action, Action::GiveVolumes { .. })));
}

#[test]
fn a_small_engine_lowers_the_default_memory() {
    let appliance = Appliance::embedded().unwrap();
    let instance: InstanceName = "default".parse().unwrap();
    let paths = Paths::find(Some(Path::new("/x"))).unwrap().instance(&instance);
    let memory = |settings: &Settings, engine: u64| {
        Desired::new(&appliance, settings, &instance, &paths, &Given::of(engine), None).container.memory
    };
    let mut settings = Settings::default();
    assert_eq!(memory(&settings, 16 << 30), 4 << 30);
    assert_eq!(memory(&settings, 2 << 30), 3 << 29);
    assert_eq!(memory(&settings, 0), 4 << 30);
    settings.resources.memory = "3GiB".parse().unwrap();
    assert_eq!(memory(&settings, 2 << 30), 3 << 30, "what the user asked for is what the user gets");
}

#[test]
fn foreign_objects_are_refused() {
    let desired = desired();
    let mut model = all_in_place(&desired, "x", true);
    model.containers[0].ownership = Ownership::Foreign;
    assert!(matches!(
        converge(&desired, &model.observe(&desired)),
        Err(Error::Foreign { kind: ObjectKind::Container, .. })
    ));
    let mut observed = Observed::default();
    observed.volumes.push(Volume { name: desired.volumes[0].name.clone(), ownership: Ownership::Foreign });
    assert!(matches!(converge(&desired, &observed), Err(Error::Foreign { kind: ObjectKind::Volume, .. })));
}

#[test]
fn a_taken_port_matters_only_for_a_start() {
    let desired = desired();
    let taken = PortState::Taken { holder: Some("node (pid 4711)".to_owned()), free_port: Some(3001) };
    let observed = Observed { port: taken.clone(), ..Observed::default() };
    assert!(matches!(converge(&desired, &observed), Err(Error::PortInUse { port: 3000, free_port: Some(3001), .. })));
    let running = all_in_place(&desired, &desired.container.hash(), true);
    let observed = Observed { port: taken, ..running.observe(&desired) };
    assert!(converge(&desired, &observed).unwrap().is_empty());
}

#[test]
fn an_image_that_can_only_be_loaded_and_is_gone_is_an_error() {
    let mut desired = desired();
    desired.image = ImagePlan::Load { reference: "x".to_owned(), file: None };
    let error = converge(&desired, &Observed::default()).unwrap_err();
    assert_eq!(error.to_string(), "there is no image x");
    assert!(error.hint().unwrap().starts_with("docklet setup --image-file TAR"));
}

/// Any state that docklet itself can have left behind.
fn any_state() -> impl Strategy<Value = Model> {
    let hash = prop_oneof![Just("old".to_owned()), Just("wanted".to_owned()), Just("older".to_owned())];
    let one = (hash, 0..3u8);
    (proptest::option::of(one.clone()), proptest::option::of(one), any::<[bool; 3]>(), any::<[bool; 2]>()).prop_map(
        |(main, previous, volumes, [image, network])| {
            let desired = desired();
            let real = |hash: String| if hash == "wanted" { desired.container.hash() } else { hash };
            let make = |name: &str, (hash, state): (String, u8)| Container {
                paused: state == 2,
                ..container(name, Some(real(hash)), state > 0)
            };
            let mut containers: Vec<Container> = main.into_iter().map(|m| make(&desired.container.name, m)).collect();
            // Only one of the two can hold the port.
            let held = containers.iter().any(|c| c.running);
            containers.extend(
                previous
                    .into_iter()
                    .map(|(hash, state)| make(&desired.previous_name, (hash, if held { 0 } else { state }))),
            );
            let volumes = desired.volumes.iter().zip(volumes).filter(|(_, there)| *there).map(|(v, _)| v.name.clone());
            let images = image.then(|| desired.image.reference().to_owned()).into_iter();
            Model { volumes: volumes.collect(), images: images.collect(), containers, network }
        },
    )
}

proptest! {
    #[test]
    fn every_state_converges_and_then_there_is_nothing_to_do(model in any_state()) {
        let (desired, mut model) = (desired(), model);
        let plan = model.whole_plan(&desired);
        for step in &plan.steps {
            prop_assert!(model.run(&step.action).is_some(), "refused: {step}\nof\n{plan}\nin {model:?}");
        }
        prop_assert_eq!(model.containers.len(), 1);
        prop_assert!(model.containers[0].running && !model.containers[0].paused);
        prop_assert!(desired.volumes.iter().all(|v| model.volumes.iter().filter(|there| **there == v.name).count() == 1));
        let again = model.whole_plan(&desired);
        prop_assert!(again.is_empty(), "{}", again);
    }

    #[test]
    fn killed_after_any_step_the_next_run_converges(model in any_state(), kill_after in 0usize..8) {
        let (desired, mut model) = (desired(), model);
        let plan = model.whole_plan(&desired);
        for step in plan.steps.iter().take(kill_after) {
            prop_assert!(model.run(&step.action).is_some());
        }
        let plan = model.whole_plan(&desired);
        for step in &plan.steps {
            prop_assert!(model.run(&step.action).is_some(), "refused: {step}\nof\n{plan}\nin {model:?}");
        }
        prop_assert!(model.whole_plan(&desired).is_empty());
    }

    /// Whatever guarded step fails, putting back leads to the container that was there before.
    #[test]
    fn a_failure_while_replacing_puts_the_old_container_back(running in any::<bool>(), fails_at in 0usize..8) {
        let desired = desired();
        let mut model = all_in_place(&desired, "old", running);
        let plan = converge(&desired, &model.observe(&desired)).unwrap();
        prop_assume!(fails_at < plan.steps.len() - 1);
        for step in plan.steps.iter().take(fails_at) {
            prop_assert!(model.run(&step.action).is_some());
        }
        if fails_at >= plan.guarded_from {
            for step in &plan.put_back {
                prop_assert!(model.run(&step.action).is_some(), "refused: {step} in {model:?}");
            }
            prop_assert!(model.containers[0].running);
        } else {
            prop_assert_eq!(model.containers[0].running, running);
        }
        prop_assert_eq!(model.containers.len(), 1);
        prop_assert_eq!(model.containers[0].name.as_str(), desired.container.name.as_str());
        prop_assert_eq!(model.containers[0].spec_hash.as_deref(), Some("old"));
    }

    /// With --no-start, nothing that exists is touched.
    #[test]
    fn without_starting_no_container_is_changed(model in any_state()) {
        let mut desired = desired();
        desired.running = false;
        let had = !model.containers.is_empty();
        let (_, then) = guarded::recover(&desired, &model.observe(&desired)).unwrap();
        let plan = converge(&desired, &then).unwrap();
        let touches = plan.steps.iter().filter(|s| !matches!(s.action, Action::CreateVolume { .. } | Action::PullImage { .. } | Action::CreateNetwork { .. } | Action::FillSecrets { .. } | Action::GiveVolumes { .. }));
        let touched: Vec<&Step> = touches.collect();
        let only_creates = touched.iter().all(|s| matches!(s.action, Action::CreateContainer { .. }));
        prop_assert!(if had { touched.is_empty() } else { touched.len() == 1 && only_creates }, "{}", plan);
    }
}

#[test]
fn what_an_engine_writes_in_another_way_is_no_difference() {
    let wanted = desired().container;
    let live =
        |image: &str| crate::desired::ContainerSpec { image: image.to_owned(), memory: 0, pids: 0, ..wanted.clone() };
    assert_eq!(live("example.test/opencode:1").differences(&wanted), [""; 0]);
    let built = crate::desired::ContainerSpec { image: "opencode-cloud:1-abc".to_owned(), ..wanted.clone() };
    for name in ["localhost/opencode-cloud:1-abc", "docker.io/library/opencode-cloud:1-abc"] {
        assert_eq!(live(name).differences(&built), [""; 0]);
    }
    assert_eq!(live("localhost/opencode-cloud:2").differences(&built).len(), 1);
}
