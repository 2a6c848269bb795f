//! Looks at every process of an instance's containers from the machine, many times a second, and keeps those that are
//! root or could become it. Helper containers, which carry a label of their own, are left out: they may be root, and
//! run nothing of the agent's.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::{World, docker_try};

/// Looks until it is asked what it has seen.
pub struct Processes {
    end: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Processes {
    /// Looks at the containers of these instances from now on.
    pub fn of(worlds: &[&World]) -> Self {
        let instances: Vec<String> = worlds.iter().map(|world| world.name.clone()).collect();
        let end = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(AtomicUsize::new(0));
        let (ended, counted) = (Arc::clone(&end), Arc::clone(&seen));
        let thread = thread::spawn(move || {
            let mut known = Known::default();
            let mut bad = BTreeSet::new();
            while !ended.load(Ordering::Relaxed) {
                let found = look(&instances, &mut known);
                counted.fetch_add(found.len(), Ordering::Relaxed);
                bad.extend(found.into_iter().flatten());
                thread::sleep(Duration::from_millis(20));
            }
            bad
        });
        Self { end, seen, thread }
    }

    /// What was root or had capabilities. Nothing at all seen is a fault of this test.
    pub fn bad(self) -> BTreeSet<String> {
        self.end.store(true, Ordering::Relaxed);
        let bad = self.thread.join().expect("the thread that looks");
        let seen = self.seen.load(Ordering::Relaxed);
        assert!(seen > 100, "only {seen} processes were seen: is the engine on another machine?");
        bad
    }
}

/// What need not be asked again.
#[derive(Default)]
struct Known {
    /// By id, whether a container is one of the instances' own.
    containers: HashMap<String, bool>,
    /// How many looks found a process in no container; [`SETTLED`] if it is in one of somebody else.
    strangers: HashMap<u32, u32>,
    /// Processes of the instances' own: they stay where they are.
    ours: HashSet<u32>,
}

/// So many looks, and a process that was in no container is left alone: an engine moves its own into one within moments.
const SETTLED: u32 = 100;

/// One look at all processes: for each of the instances' own, what is wrong with it.
fn look(instances: &[String], known: &mut Known) -> Vec<Option<String>> {
    let Ok(list) = fs::read_dir("/proc") else { return vec![] };
    let pids: HashSet<u32> = list.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    known.strangers.retain(|pid, _| pids.contains(pid));
    known.ours.retain(|pid| pids.contains(pid));
    let mut found = vec![];
    for pid in pids {
        if known.strangers.get(&pid).is_some_and(|looks| *looks >= SETTLED) {
            continue;
        }
        if !known.ours.contains(&pid) {
            let Some(id) = container(pid) else {
                *known.strangers.entry(pid).or_default() += 1;
                continue;
            };
            if !*known.containers.entry(id).or_insert_with_key(|id| is_ours(id, instances)) {
                known.strangers.insert(pid, SETTLED);
                continue;
            }
            known.ours.insert(pid);
        }
        found.extend(judged(pid));
    }
    found
}

/// The container that a process is in, by the engine's id in the name of its control group.
fn container(pid: u32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mut words = groups.split(|c: char| !c.is_ascii_hexdigit());
    words.find(|word| word.len() == 64).map(str::to_owned)
}

fn is_ours(id: &str, instances: &[String]) -> bool {
    let format = r#"{{index .Config.Labels "docklet.instance"}} {{index .Config.Labels "docklet.task"}}"#;
    let labels = docker_try(&["container", "inspect", "--format", format, id]);
    let labels = String::from_utf8_lossy(&labels.stdout).into_owned();
    let mut words = labels.split_whitespace();
    words.next().is_some_and(|instance| instances.iter().any(|name| name == instance)) && words.next().is_none()
}

/// `None`: gone, or the engine's own program on its way to become the process. Else what is wrong with it, if anything.
/// The order counts: the engine's program (a file with its name, or one of no folder) becomes another only once, and that
/// one has arguments only when it has given up what the engine's had.
fn judged(pid: u32) -> Option<Option<String>> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    if program == Path::new("/") || ["runc", "crun"].iter().any(|name| program.to_string_lossy().contains(name)) {
        return None;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
    let root = value("Uid:").split_whitespace().chain(value("Gid:").split_whitespace()).any(|id| id == "0");
    let able = ["CapEff:", "CapBnd:", "CapPrm:", "CapAmb:"].iter().any(|key| value(key).bytes().any(|b| b != b'0'));
    let told = || {
        let line: String = String::from_utf8_lossy(&line).chars().take(80).flat_map(char::escape_default).collect();
        let capabilities = (value("CapEff:"), value("CapBnd:"));
        format!("process {line:?}: users {:?}, capabilities {capabilities:?}", value("Uid:"))
    };
    Some((root || able).then(told))
}
