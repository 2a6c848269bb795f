//! Killed before, within or after any step, and again while that is being put right: the data is
//! the old one with the old container or the new one with the new container, and nothing is left
//! over.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path};

use super::{super::converge, *};
use crate::{
    appliance::Appliance,
    desired::{ContainerSpec, Given, label},
    instance::Instance,
    observed::{Ownership, PortState},
    paths::Paths,
    plan::Action,
    settings::{ImageSource, Settings},
};

fn desired(source: ImageSource, reference: &str) -> Desired {
    let appliance = Appliance::embedded().unwrap();
    let instance: Instance = "default".parse().unwrap();
    let paths = Paths::find(Some(Path::new("/home/me/docklet"))).unwrap().instance(&instance);
    let mut settings = Settings::default();
    settings.image.source = source;
    settings.image.reference = reference.to_owned();
    Desired::new(&appliance, &settings, &instance, &paths, &Given::of(16 << 30), None)
}

/// A container and what it is made of.
#[derive(Debug, Clone)]
struct Made {
    spec: ContainerSpec,
    image_id: String,
    running: bool,
}

/// A small engine with data in its volumes: a program of image N writes «N» behind what it finds.
#[derive(Debug, Clone)]
struct Model {
    containers: BTreeMap<String, Made>,
    volumes: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

/// How much of a step is done before the kill.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Done {
    Nothing,
    Part,
    All,
}

impl Model {
    fn new(desired: &Desired) -> Self {
        let reference = desired.container.image.clone();
        let tags = BTreeMap::from([(reference, "1".to_owned())]);
        let main = Made { spec: desired.container.clone(), image_id: "1".to_owned(), running: true };
        Model {
            containers: [(desired.container.name.clone(), main)].into(),
            volumes: desired.volumes.iter().map(|v| (v.name.clone(), "data".to_owned())).collect(),
            tags,
        }
    }

    fn observe(&self, desired: &Desired) -> Observed {
        let find = |name: &str| {
            let made = self.containers.get(name)?;
            Some(Container {
                id: name.to_owned(),
                name: name.to_owned(),
                ownership: Ownership::Ours,
                spec_hash: Some(made.spec.hash()),
                running: made.running,
                paused: false,
                staged: made.spec.labels.contains_key(label::STAGED),
                image_id: made.image_id.clone(),
                live: None,
            })
        };
        let there = |names: Vec<VolumeSpec>| {
            let names = names.into_iter().filter(|v| self.volumes.contains_key(&v.name));
            names.map(|v| Volume { name: v.name, ownership: Ownership::Ours }).collect()
        };
        Observed {
            main: find(&desired.container.name),
            previous: find(&desired.previous_name),
            task: find(&desired.task_name),
            volumes: there(desired.volumes.clone()),
            staged: there(desired.staged_volumes()),
            secrets: None,
            helper: None,
            network: Some(Ownership::Ours),
            image_is_foreign: false,
            image_present: self.tags.contains_key(desired.image.reference()),
            port: PortState::Available,
        }
    }

    /// Does a step, or part of it; a real engine would refuse what panics here.
    fn run(&mut self, action: &Action, desired: &Desired, done: Done) {
        if done == Done::Nothing {
            return;
        }
        match action {
            Action::CreateContainer { spec, .. } => {
                assert!(!self.containers.contains_key(&spec.name), "the name is taken");
                let id = self.tags.get(&spec.image).cloned().unwrap_or_else(|| spec.image.clone());
                for volume in spec.volumes.keys() {
                    self.volumes.entry(volume.clone()).or_default();
                }
                let made = Made { spec: (**spec).clone(), image_id: id, running: false };
                self.containers.insert(spec.name.clone(), made);
            }
            Action::StartContainer { name, .. } => {
                assert!(self.containers.iter().all(|(n, c)| n == name || !c.running), "the port is taken");
                let made = self.containers.get_mut(name).unwrap();
                made.running = true;
                for volume in made.spec.volumes.keys() {
                    self.volumes.get_mut(volume).unwrap().push_str(&made.image_id);
                }
            }
            Action::StopContainer { name } => self.containers.get_mut(name).unwrap().running = false,
            Action::RenameContainer { from, to } => {
                assert!(!self.containers.contains_key(to), "the name is taken");
                let made = self.containers.remove(from).unwrap();
                self.containers.insert(to.clone(), made);
            }
            Action::RemoveContainer { name } => drop(self.containers.remove(name)),
            Action::RemoveVolume { name } => {
                assert!(self.containers.values().all(|c| !c.spec.volumes.contains_key(name)), "{name} is in use");
                self.volumes.remove(name);
            }
            Action::CopyVolumes { pairs, task, .. } => {
                assert!(self.containers.values().all(|c| !c.running), "somebody writes meanwhile");
                for (from, to) in pairs {
                    let data = if done == Done::Part { "half".to_owned() } else { self.volumes[from].clone() };
                    self.volumes.insert(to.name.clone(), data);
                }
                if done == Done::Part {
                    let spec = ContainerSpec { volumes: BTreeMap::new(), ..desired.container.clone() };
                    let made = Made { spec, image_id: "1".to_owned(), running: false };
                    self.containers.insert(task.clone(), made);
                }
            }
            Action::TagImage { image, reference } => drop(self.tags.insert(reference.clone(), image.clone())),
            Action::WaitUntilReady { name, .. } => assert!(self.containers[name].running),
            Action::CreateVolume { volume } => {
                self.volumes.entry(volume.name.clone()).or_default();
            }
            Action::BuildImage { .. } | Action::PullImage { .. } | Action::LoadImage { .. } => {
                panic!("the image is there")
            }
            Action::CreateNetwork { .. } | Action::UnpauseContainer { .. } | Action::LoadRules { .. } => {}
            Action::FillSecrets { .. } | Action::PreparePlaces { .. } | Action::GiveVolumes { .. } => {}
        }
    }

    /// Runs steps up to the kill; how many are left of the kill's number.
    fn run_until(&mut self, steps: &[Step], desired: &Desired, kill: usize) -> Option<usize> {
        for (index, step) in steps.iter().enumerate() {
            let (at, how) = (kill / 3, kill % 3);
            if index == at {
                self.run(&step.action, desired, [Done::Nothing, Done::Part, Done::All][how]);
                return None;
            }
            self.run(&step.action, desired, Done::All);
        }
        Some(kill - steps.len() * 3)
    }

    /// What every later command does, up to the kill.
    fn converge(&mut self, desired: &Desired, kill: usize) -> Option<usize> {
        let (recovery, then) = recover(desired, &self.observe(desired)).unwrap();
        let left = self.run_until(&recovery.steps, desired, kill)?;
        // What was predicted is what is there.
        let seen = self.observe(desired);
        assert_eq!(format!("{:?}", (&seen.staged, &seen.task)), format!("{:?}", (&then.staged, &then.task)));
        assert_eq!(seen.main.map(|c| (c.running, c.staged)), then.main.as_ref().map(|c| (c.running, c.staged)));
        let plan = converge(desired, &then).unwrap();
        self.run_until(&plan.steps, desired, left)
    }
}

const NEVER: usize = 1_000_000;

/// All that an update does, up to the kill: trial, commit, and what comes then.
fn update(model: &mut Model, old: &Desired, new: &Desired, fill: Fill, kill: usize) -> Option<usize> {
    if fill == Fill::Done {
        for volume in old.staged_volumes() {
            model.volumes.insert(volume.name, "backup".to_owned());
        }
    }
    let plan = trial(new, &model.observe(new), fill, "2", None);
    let left = model.run_until(&plan.steps, new, kill)?;
    let plan = commit(new, &model.observe(new));
    let left = model.run_until(&plan.steps, new, left)?;
    model.converge(new, left)
}

fn check(model: &mut Model, held: &Desired, context: &str) {
    // Whoever pulls or loads has one name; the image that it means is decided by what counts.
    model.converge(held, NEVER);
    assert_eq!(model.containers.keys().collect::<Vec<_>>(), ["opencode-cloud"], "{context}");
    assert_eq!(model.volumes.len(), held.volumes.len(), "{context}: {:?}", model.volumes);
    let image = model.containers["opencode-cloud"].image_id.clone();
    for data in model.volumes.values() {
        let of_new = data.starts_with("backup") || data.contains('2');
        assert_eq!(image == "2", of_new, "{context}: data {data} with image {image}");
        assert!(!data.contains("half"), "{context}: {data}");
    }
    let (recovery, then) = recover(held, &model.observe(held)).unwrap();
    assert!(recovery.is_empty() && converge(held, &then).unwrap().is_empty(), "{context}");
}

#[test]
fn killed_anywhere_and_again_the_data_is_whole() {
    let old = desired(ImageSource::Pull, "example.test/opencode:1");
    let mut undone = 0;
    let mut kept = 0;
    for fill in [Fill::Copy, Fill::Done] {
        for first in 0.. {
            let mut model = Model::new(&old);
            let ended = update(&mut model, &old, &old, fill, first).is_some();
            for second in 0.. {
                let mut again = model.clone();
                let done = again.converge(&old, second).is_some();
                check(&mut again, &old, &format!("{fill:?}, killed at {first} and {second}"));
                if again.containers["opencode-cloud"].image_id == "2" {
                    kept += 1
                } else {
                    undone += 1
                }
                if done {
                    break;
                }
            }
            if ended {
                break;
            }
        }
    }
    // Both ends were seen, often.
    assert!(undone > 50 && kept > 50, "{undone} undone, {kept} kept");
}

#[test]
fn without_a_container_before_nothing_is_lost_either() {
    let old = desired(ImageSource::Pull, "example.test/opencode:1");
    for first in 0.. {
        let mut model = Model::new(&old);
        model.containers.clear();
        model.tags.insert(old.container.image.clone(), "2".to_owned());
        let unproved = first < 3 * trial(&old, &model.observe(&old), Fill::Done, "2", None).steps.len();
        let ended = update(&mut model, &old, &old, Fill::Done, first).is_some();
        model.converge(&old, NEVER);
        let data: Vec<&String> = model.volumes.values().collect();
        let from_backup = data.iter().filter(|d| d.starts_with("backup")).count();
        assert!([0, 3].contains(&from_backup), "killed at {first}: {data:?}");
        assert!(!unproved || data.iter().all(|d| d.starts_with("data")), "killed at {first}: what was there is lost");
        assert_eq!(model.containers.keys().collect::<Vec<_>>(), ["opencode-cloud"], "killed at {first}");
        assert_eq!(model.volumes.len(), 3, "killed at {first}: {:?}", model.volumes);
        if ended {
            assert!(data.iter().all(|d| d.starts_with("backup")));
            break;
        }
    }
}

#[test]
fn a_stopped_instance_is_settled_too() {
    let mut held = desired(ImageSource::Pull, "example.test/opencode:1");
    let mut model = Model::new(&held);
    let plan = trial(&held, &model.observe(&held), Fill::Copy, "2", None);
    model.run_until(&plan.steps, &held, NEVER);
    let plan = commit(&held, &model.observe(&held));
    model.run_until(&plan.steps, &held, NEVER);
    held.running = false;
    model.converge(&held, NEVER);
    assert!(!model.containers["opencode-cloud"].running);
    assert!(model.volumes.values().all(|data| data == "data2"), "{:?}", model.volumes);
    assert_eq!(model.volumes.len(), 3);
}

#[test]
fn an_update_in_words() {
    let held = desired(ImageSource::Build, "");
    let mut model = Model::new(&held);
    let plan = trial(&held, &model.observe(&held), Fill::Copy, "opencode-cloud:2", None);
    model.run_until(&plan.steps, &held, NEVER);
    let (undo, _) = recover(&held, &model.observe(&held)).unwrap();
    let commit = commit(&held, &model.observe(&held));
    model.run_until(&commit.steps, &held, NEVER);
    let (settle, _) = recover(&held, &model.observe(&held)).unwrap();
    let text = format!("trial\n{plan}\n\ntaken back\n{undo}\n\ncommit\n{commit}\n\nsettled\n{settle}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_pause_is_taken_back_only_when_it_was_ours() {
    let held = desired(ImageSource::Build, "");
    let mut observed = Model::new(&held).observe(&held);
    observed.main.as_mut().unwrap().paused = true;
    let (plan, _) = recover(&held, &observed).unwrap();
    assert!(plan.is_empty());
    observed.task = observed.main.clone().map(|c| Container { name: held.task_name.clone(), ..c });
    let (plan, then) = recover(&held, &observed).unwrap();
    insta::assert_snapshot!(plan);
    assert!(then.task.is_none() && !then.main.unwrap().paused);
}
