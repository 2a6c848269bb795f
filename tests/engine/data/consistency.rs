//! A backup of a program that never rests is one moment of it; and an engine that answers badly in the middle leaves
//! nothing paused.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use super::*;
use crate::proxy::{Action, At, Fault, Proxy, is};
use crate::sweep::in_turn;

/// Changes what is in `/workspace/race` without a pause, as uid 1000. What must be true at each moment is checked by
/// [`Moment::check`]. Folders that change places were made in one moment and their files are equally long, so that nothing
/// but the folders' own times tells of it.
const RACE: &str = r#"
use strict;
sub file { open my $file, '>', $_[0] or die "$_[0]: $!"; print {$file} $_[1]; close $file }
mkdir '/workspace/race'; chdir '/workspace/race' or die $!;
mkdir $_ for qw(still blue green generations pairs steps a a/b other);
for my $n (1 .. 2000) { file("still/$n", "still $n") }
for my $n (1 .. 20) { file("$_/$n", sprintf '%-5s', $_) for qw(blue green) }
link 'still/1', 'other/again' or die $!;
file('one', 'one or two'); file('counter', 0); file('log', ''); file('a/b/deep', sprintf '%08d', 0);
link 'a/b/deep', 'a/twin' or die $!;
file("generations/$_", sprintf '%08d', 0) for 'a' .. 'j';
file('ready', 'x');
for (my $n = 1; ; $n++) {
    my ($from, $to) = $n % 2 ? qw(one two) : qw(two one); rename $from, $to or die $!;
    open my $log, '>>', 'log' or die $!; print {$log} "$n\n"; close $log;
    file('.counter', $n); rename '.counter', 'counter' or die $!;
    for my $name ('a' .. 'j') { open my $file, '+<', "generations/$name" or die $!; print {$file} sprintf '%08d', $n; close $file }
    open my $deep, '+<', 'a/twin' or die $!; print {$deep} sprintf '%08d', $n; close $deep;
    unlink "pairs/right-" . ($n - 5); unlink "pairs/left-" . ($n - 5);
    file("pairs/left-$n", $n); link "pairs/left-$n", "pairs/right-$n" or die $!;
    rename 'blue', 'between' or die $!; rename 'green', 'blue' or die $!; rename 'between', 'green' or die $!;
    file("steps/$_", $n) for 1 .. 3;
    unlink "steps/$_" for 3, 2, 1;
    rename 'a/b', 'other/b' or die $!; rename 'other/b', 'a/b' or die $!;
}
"#;

/// What an archive says of the race: files by path below it, and the first name of those that are other names.
#[derive(Default)]
struct Moment {
    files: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    folders: BTreeSet<String>,
}

impl Moment {
    fn of(archive: &Path) -> Self {
        let plain = zstd::stream::read::Decoder::new(std::fs::File::open(archive).unwrap()).unwrap();
        let mut tar = tar::Archive::new(plain);
        let mut moment = Moment::default();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let below = |path: &Path| Some(path.strip_prefix("volumes/projects/race").ok()?.to_str()?.to_owned());
            let Some(path) = below(&entry.path().unwrap()) else { continue };
            let target = entry.link_name().unwrap().and_then(|link| below(&link));
            let twice = match (entry.header().entry_type().is_dir(), target) {
                (true, _) => !moment.folders.insert(path.clone()),
                (false, Some(target)) => moment.links.insert(path.clone(), target).is_some(),
                (false, None) => {
                    let mut content = String::new();
                    entry.read_to_string(&mut content).unwrap();
                    moment.files.insert(path.clone(), content).is_some()
                }
            };
            assert!(!twice, "{path} is in it twice");
        }
        moment
    }

    /// The content of a file, by any of its names.
    fn get(&self, path: &str) -> Option<&str> {
        let path = self.links.get(path).map_or(path, String::as_str);
        self.files.get(path).map(String::as_str)
    }

    fn number(&self, path: &str) -> u64 {
        self.get(path).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number in {path}"))
    }

    fn in_folder(&self, folder: &str) -> Vec<&str> {
        let names = self.files.keys().chain(self.links.keys());
        names.filter(|path| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))).map(|p| &**p).collect()
    }

    fn check(&self, when: &str) {
        assert_eq!(self.in_folder("still").len(), 2000, "{when}: what stays");
        for n in 1..=2000 {
            assert_eq!(self.get(&format!("still/{n}")), Some(&*format!("still {n}")), "{when}");
        }
        let linked = [("other/again", "still/1"), ("still/1", "other/again")];
        assert!(linked.iter().any(|(a, b)| self.links.get(*a).is_some_and(|to| to == b)), "{when}: a second name");
        let one_or_two = usize::from(self.get("one").is_some()) + usize::from(self.get("two").is_some());
        assert_eq!(one_or_two, 1, "{when}: one of two names");
        let (counter, last) =
            (self.number("counter"), self.get("log").unwrap().lines().last().map_or(0, |n| n.parse().unwrap()));
        assert!((counter..=counter + 1).contains(&last), "{when}: counter {counter}, log {last}");
        assert_eq!(self.get("log").unwrap().lines().count() as u64, last, "{when}: all of the log");
        let generations: Vec<u64> = ('a'..='j').map(|name| self.number(&format!("generations/{name}"))).collect();
        let (first, end) = (generations[0], generations[9]);
        assert!(generations.is_sorted_by(|a, b| a >= b) && first <= end + 1, "{when}: {generations:?}");
        let twins: Vec<String> = ["a/twin", "a/b/deep", "other/b/deep"].map(str::to_owned).into();
        let twins: Vec<&str> = twins.iter().filter_map(|path| self.get(path)).collect();
        assert!(twins.len() == 2 && twins[0] == twins[1], "{when}: one file in two folders: {twins:?}");
        let all = |side: &str| -> BTreeSet<String> {
            let names =
                self.in_folder("pairs").into_iter().filter_map(|path| path.strip_prefix(&format!("pairs/{side}-")));
            names.map(str::to_owned).collect()
        };
        let halves = all("left").symmetric_difference(&all("right")).count();
        assert!(halves <= 1, "{when}: {halves} pairs have only one name: {:?}", self.in_folder("pairs"));
        for pair in all("left").intersection(&all("right")) {
            let sides = [format!("pairs/left-{pair}"), format!("pairs/right-{pair}")];
            assert_eq!(self.get(&sides[0]), self.get(&sides[1]), "{when}");
            assert!(sides.iter().any(|side| self.links.contains_key(side)), "{when}: {sides:?} are one file");
        }
        let colours: Vec<(&str, BTreeSet<&str>)> = ["blue", "green", "between"]
            .into_iter()
            .map(|folder| (folder, self.in_folder(folder).iter().filter_map(|path| self.get(path)).collect()))
            .filter(|(_, all): &(_, BTreeSet<_>)| !all.is_empty())
            .collect();
        assert_eq!(colours.len(), 2, "{when}: two folders: {colours:?}");
        assert!(colours.iter().all(|(_, all)| all.len() == 1) && colours[0].1 != colours[1].1, "{when}: {colours:?}");
        let steps: Vec<bool> = (1..=3).map(|n| self.get(&format!("steps/{n}")).is_some()).collect();
        assert!(steps.is_sorted_by(|a, b| a >= b), "{when}: {steps:?}");
        let above = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        for path in self.files.keys().chain(self.links.keys()).chain(&self.folders).filter_map(|path| above(path)) {
            assert!(self.folders.contains(&path), "{when}: there is no folder {path}");
        }
        for (path, first) in &self.links {
            assert!(self.files.contains_key(first), "{when}: {path} is another name of {first}, which is not there");
        }
    }
}

/// Starts the race; what was there before it is old enough to be trusted.
fn race(world: &World) {
    docker(&["exec", "--detach", "--user", "1000", &world.container(), "perl", "-e", RACE]);
    let there = |path: &str| docker_try(&["exec", &world.container(), "test", "-e", path]).status.success();
    wait_until(SOON, "the race is on", || there("/workspace/race/ready"));
    let script = "find /workspace/race/still/2000 -newermt '-4 seconds' | grep -q .";
    wait_until(SOON, "its files are old", || {
        !docker_try(&["exec", &world.container(), "sh", "-c", script]).status.success()
    });
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_backup_is_one_moment_of_a_program_that_never_rests() {
    let world = World::new();
    world.setup();
    race(&world);
    let file = world.folder().join("moment.tar.zst");
    let times = std::env::var("DOCKLET_TEST_MOMENTS").map_or(5, |n| n.parse().unwrap());
    let mut counters = BTreeSet::new();
    for n in 1..=times {
        let made = json(&world.run(&["backup", file.to_str().unwrap(), "--json"]));
        let moment = Moment::of(&file);
        moment.check(&format!("backup {n}"));
        assert!(counters.insert(moment.number("counter")), "it goes on meanwhile");
        // Nearly all that stays as it is was read before the pause.
        let again = made["read_again"].as_u64().unwrap();
        assert!((1..1000).contains(&again), "{made}");
        println!("{n}: paused for {} s, {again} files read again", made["paused_seconds"]);
        std::fs::remove_file(&file).unwrap();
    }
    assert_whole(&world, "after all those backups");
}

/// Each answer that is lost in the middle of a backup ends it or not, but the container goes on, and the next one is made.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_lost_answer_leaves_nothing_paused() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    let proxy = Proxy::start(&engine_host());
    let file = world.folder().join("lost.tar.zst");
    let mut failed = 0;
    for (n, action) in in_turn((1..).flat_map(|n| [(n, Action::CutBefore), (n, Action::Cut)])) {
        world.use_engine(&proxy.host());
        proxy.reset();
        proxy.fault(Fault { at: At::work(n), action: action.clone() });
        let output = world.run(&["backup", file.to_str().unwrap()]);
        let fired = proxy.fired_at();
        proxy.reset();
        if fired.is_empty() {
            assert!(output.status.success(), "{}", shown(&output));
            break;
        }
        let when = format!("{action:?} at {}\n{}", fired[0], shown(&output));
        assert_eq!(output.status.success(), file.exists(), "{when}");
        failed += usize::from(!output.status.success());
        world.use_engine(&engine_host());
        world.ok(&["start"]);
        assert_whole(&world, &when);
        assert_session(&world, &id, "kept", &when);
        let _ = std::fs::remove_file(&file);
    }
    assert!(failed >= 2, "only {failed} failed");
}

/// An engine that never answers the call which ends the pause is asked again, soon and by another connection. A page that
/// hangs is not waited for either.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn nothing_that_hangs_makes_a_backup_slow() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    proxy.fault(Fault { at: At::first("POST", "/containers/*/unpause"), action: Action::Hang });
    let made = json(&world.run(&["backup", "--json"]));
    assert!(proxy.fired(), "{}", proxy.report());
    assert!(made["paused_seconds"].as_f64().is_some_and(|seconds| seconds < 20.0), "{made}");
    assert_eq!(world.inspect().unwrap()["State"]["Paused"], false);
    world.misbehave("hang");
    wait_until(SOON, "the page to hang", || world.http_get("/global/health", None).0 == 0);
    let began = std::time::Instant::now();
    world.ok(&["backup"]);
    // One question alone took 30 s, and there is one before and one after the volumes are read.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

/// A program counts as fast as it can: first in a volume, then in a folder of this machine, which says after its end how far it
/// came.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_was_written_up_to_the_stop_is_in_the_last_backup() {
    let world = World::new();
    world.setup();
    let folder = world.folder().join("outside");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(1000), Some(1000)).unwrap();
    world.ok(&["mount", "add", "--yes", &format!("{}:/outside", folder.display())]);
    world.ok(&["start"]);
    // Renamed, so that there is always a whole number.
    let counts = "cd /workspace; n=0; while :; do n=$((n + 1)); for to in /workspace /outside; do \
                  echo $n > $to/next; mv $to/next $to/counter; done; done";
    docker(&["exec", "--detach", &world.container(), "sh", "-c", counts]);
    let outside = || std::fs::read_to_string(folder.join("counter")).ok()?.trim().parse::<u64>().ok();
    wait_until(SOON, "it counts", || outside().is_some_and(|n| n > 100));
    let report = json(&world.run(&["uninstall", "--volumes", "--yes", "--json"]));
    let file = report["backup"].as_str().unwrap_or_else(|| panic!("{report}"));
    let last = outside().unwrap();
    world.ok(&["restore", file, "--yes"]);
    let kept = docker(&["exec", &world.container(), "cat", "/workspace/counter"]);
    assert!(kept.parse().is_ok_and(|kept: u64| kept >= last), "{kept:?} of {last}");
}

/// The kernel freezes no program that is just being started, such as a health check.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_container_that_cannot_be_frozen_at_once_is_paused_all_the_same() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    for n in 1..=2 {
        let action =
            Action::error(500, "Cannot pause container x: runc did not terminate successfully: unable to freeze");
        proxy.fault(Fault { at: At::NthOf(n, is("POST", "/containers/*/pause")), action });
    }
    world.use_engine(&proxy.host());
    world.ok(&["backup"]);
    let pauses = proxy.calls().iter().filter(|call| call.route().ends_with("/pause")).count();
    assert_eq!((proxy.fired_at().len(), pauses), (2, 3), "{}", proxy.report());
    assert_whole(&world, "after the backup");
}
