//! Killed before, within or after any step, and again while that is being put right: the data is
//! the old one with the old container or the new one with the new container, and nothing is left
//! over.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{Step, converge},
    *,
};
use crate::{
    appliance::Appliance,
    desired::{ContainerSpec, Given, label},
    instance_name::InstanceName,
    observed::{PortState, Volume},
    paths::Paths,
    settings::{ImageSource, Settings},
};

fn desired(source: ImageSource, reference: &str) -> Desired {
    let appliance = Appliance::embedded().unwrap();
    let instance: InstanceName = "default".parse().unwrap();
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

/// A small engine with data in its volumes: a program of image N appends `N` to what it finds.
#[derive(Debug, Clone)]
struct Model {
    containers: BTreeMap<String, Made>,
    volumes: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    /// What backups hold, by their file.
    backups: BTreeMap<PathBuf, String>,
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
        let tags = BTreeMap::from([(reference, "1".to_owned()), ("2".to_owned(), "2".to_owned())]);
        let main = Made { spec: desired.container.clone(), image_id: "1".to_owned(), running: false };
        Model {
            containers: [(desired.container.name.clone(), main)].into(),
            volumes: desired.volumes.iter().map(|v| (v.name.clone(), "data".to_owned())).collect(),
            tags,
            backups: [("/before", "data"), ("/archive", "archive")].map(|(f, d)| (f.into(), d.to_owned())).into(),
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
                connected: true,
                undo: made.spec.labels.get(label::UNDO).map(PathBuf::from),
                image_id: made.image_id.clone(),
                live: None,
            })
        };
        let there = desired.volumes.iter().filter(|v| self.volumes.contains_key(&v.name));
        Observed {
            main: find(&desired.container.name),
            previous: find(&desired.previous_name),
            task: find(&desired.task_name),
            volumes: there.map(|v| Volume { name: v.name.clone(), ownership: Ownership::Ours }).collect(),
            secrets: None,
            helper: None,
            network: Some(Ownership::Ours),
            image_is_foreign: false,
            image_present: self.tags.contains_key(desired.image.reference()),
            port: PortState::Available,
            others: vec![],
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
                let image_id = self.tags[&spec.image].clone();
                let made = Made { spec: (**spec).clone(), image_id, running: false };
                self.containers.insert(spec.name.clone(), made);
            }
            Action::StartContainer { name, .. } => {
                assert!(self.containers.iter().all(|(n, c)| n == name || !c.running), "the port is taken");
                let made = self.containers.get_mut(name).unwrap();
                made.running = true;
                for data in self.volumes.values_mut() {
                    assert!(!data.contains("half"), "a program sees half of the data");
                    data.push_str(&made.image_id);
                }
            }
            Action::StopContainer { name } => self.containers.get_mut(name).unwrap().running = false,
            Action::RenameContainer { from, to } => {
                assert!(!self.containers.contains_key(to), "the name is taken");
                let made = self.containers.remove(from).unwrap();
                self.containers.insert(to.clone(), made);
            }
            Action::RemoveContainer { name } => drop(self.containers.remove(name)),
            Action::UnpackBackup { file, task, .. } => {
                assert!(self.containers.values().all(|c| !c.running), "somebody writes meanwhile");
                assert!(!self.containers.contains_key(task), "the name is taken");
                let held = self.backups[file].clone();
                for data in self.volumes.values_mut() {
                    *data = if done == Done::Part { "half".to_owned() } else { held.clone() };
                }
                if done == Done::Part {
                    let made = Made { spec: desired.container.clone(), image_id: "1".to_owned(), running: false };
                    self.containers.insert(task.clone(), made);
                }
            }
            Action::TagImage { image, reference } => drop(self.tags.insert(reference.clone(), image.clone())),
            Action::WaitUntilReady { name, .. } => assert!(self.containers[name].running),
            Action::BuildImage { .. } | Action::PullImage { .. } | Action::LoadImage { .. } => {
                panic!("the image is there")
            }
            Action::CreateVolume { .. } => panic!("the volumes are there"),
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
        assert_eq!(seen.task.is_some(), then.task.is_some());
        let state = |c: &Option<Container>| c.as_ref().map(|c| (c.running, c.undo.clone()));
        assert_eq!((state(&seen.main), state(&seen.previous)), (state(&then.main), state(&then.previous)));
        let plan = converge(desired, &then).unwrap();
        self.run_until(&plan.steps, desired, left)
    }
}

const NEVER: usize = 1_000_000;

fn change_to_2(archive: bool) -> Change<'static> {
    Change { image: "2", release: None, undo: "/before".into(), archive: archive.then(|| "/archive".into()), only: &[] }
}

/// All that an update does after its backup, up to the kill.
fn update(model: &mut Model, held: &Desired, archive: bool, kill: usize) -> Option<usize> {
    let plan = change(held, &model.observe(held), &change_to_2(archive));
    let left = model.run_until(&plan.steps, held, kill)?;
    let left = model.run_until(&commit(held, !held.running).steps, held, left)?;
    model.converge(held, left)
}

/// Whether the new one counts.
fn check(model: &mut Model, held: &Desired, archive: bool, context: &str) -> bool {
    model.converge(held, NEVER);
    assert_eq!(model.containers.keys().collect::<Vec<_>>(), ["opencode-cloud"], "{context}");
    let main = &model.containers["opencode-cloud"];
    assert_eq!(main.running, held.running, "{context}");
    let new = main.image_id == "2";
    // Whoever pulls or loads has one name; the image that it means is the one that counts.
    assert_eq!(model.tags[held.image.reference()], main.image_id, "{context}");
    for data in model.volumes.values() {
        let of_new = data.contains('2');
        assert_eq!(new, of_new, "{context}: data {data} with image {}", main.image_id);
        assert_eq!(data.starts_with("archive"), new && archive, "{context}: {data}");
    }
    let (recovery, then) = recover(held, &model.observe(held)).unwrap();
    assert!(recovery.is_empty() && converge(held, &then).unwrap().is_empty(), "{context}");
    new
}

#[test]
fn killed_anywhere_and_again_the_data_is_whole() {
    let (mut undone, mut kept) = (0, 0);
    for (archive, running) in [(false, true), (true, true), (false, false), (true, false)] {
        let mut held = desired(ImageSource::Pull, "example.test/opencode:1");
        held.running = running;
        for first in 0.. {
            let mut model = Model::new(&held);
            let ended = update(&mut model, &held, archive, first).is_some();
            for second in 0.. {
                let mut again = model.clone();
                let done = again.converge(&held, second).is_some();
                let context = format!("archive: {archive}, running: {running}, killed at {first} and {second}");
                let new = check(&mut again, &held, archive, &context);
                assert!(!ended || new, "{context}");
                *if new { &mut kept } else { &mut undone } += 1;
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
    assert!(undone > 50 && kept > 8, "{undone} undone, {kept} kept");
}

#[test]
fn an_update_in_words() {
    let held = desired(ImageSource::Pull, "example.test/opencode:1");
    let mut model = Model::new(&held);
    let plan = change(&held, &model.observe(&held), &change_to_2(true));
    model.run_until(&plan.steps, &held, NEVER);
    let (undo, _) = recover(&held, &model.observe(&held)).unwrap();
    let commit = commit(&held, false);
    insta::assert_snapshot!(format!("change\n{plan}\n\nundone\n{undo}\n\ncommitted\n{commit}"));
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
