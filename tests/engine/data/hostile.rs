//! The agent may put anything into its volumes and its answers: what it plants is backed up and restored, or left out
//! and named. An archive may come from anybody: what it brings is shown and confirmed first.

use std::sync::Arc;

use super::*;
use crate::proxy::{Action, At, Fault, Proxy};

/// Plants, as uid 1000 in `/workspace`: below `left` what cannot be restored, beside it what can.
const PLANT: &str = r#"
use strict;
use Socket;
sub file { open my $file, '>', $_[0] or die "$_[0]: $!"; print {$file} $_[1]; close $file }
sub into { for (@_) { mkdir $_ or die "mkdir: $!"; chdir $_ or die "chdir: $!" } }
chdir '/workspace' or die $!;
mkdir 'left';
# 120 folders of 200 characters; and the first name of a file in them, whose second name is an ordinary one.
file('precious', 'mine');
mkdir 'left/a-deep';
chdir 'left/a-deep';
into(map { sprintf '%03d%s', $_, 'd' x 197 } 1 .. 120);
link '/workspace/precious', 'first' or die $!;
chdir '/workspace' or die $!;
# An overlay's whiteout is a device that anybody may make. A title for the terminal is its name.
system('mknod', "left/\e]0;owned\a", 'c', '0', '0') == 0 or die;
link "left/\e]0;owned\a", "left/two\nlines" or die $!;
socket my $socket, AF_UNIX, SOCK_STREAM, 0 or die $!;
bind $socket, sockaddr_un("left/\e[31msocket") or die $!;
# The longest path that Linux opens below volumes/projects/.
into('longest', ('n' x 250) x 15);
my $rest = 4094 - length('volumes/projects/longest') - 15 * 251 - 101 - 1 - 21;
into('o' x 100, 'o' x $rest);
file('p' x 20, 'at the end');
chdir '/workspace' or die $!;
mkdir 'kept';
file("kept/$_", $_) for "two\nlines", "\e]0;x\a", "\xff\xfe", "\e[2J\r", "back\\n", "\x9b31m";
system('mkfifo', 'kept/fifo') == 0 or die;
symlink '/etc', 'kept/link' or die $!;
link 'kept/link', 'kept/link-too' or die $!;
link 'precious', 'kept/precious' or die $!;
# Sessions that a program would never answer with.
my $store = '/home/opencode/.opencode/stand-in';
mkdir $store;
mkdir "$store/ses_\e";
file("$store/ses_\e/info", '{"id":"ses\u001b]0;owned\u0007","title":"\u001b[2J"}');
"#;

fn plant(world: &World, program: &str) {
    docker(&["exec", "--user", "1000", &world.container(), "perl", "-e", program]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_an_agent_plants_comes_back_or_is_named() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    plant(&world, PLANT);
    let file = world.folder().join("hostile.tar.zst");
    let file = file.to_str().unwrap();
    let output = world.run(&["backup", file]);
    let text = shown(&output);
    assert!(output.status.success() && text.contains("every file was read back"), "{text}");
    assert!(text.contains("4 paths are not in the backup"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    std::fs::remove_file(file).unwrap();
    let made = json(&world.run(&["backup", file, "--json"]));
    assert_eq!((&made["verified"], &made["left_out_count"]), (&true.into(), &4.into()), "{made}");
    let reasons: BTreeSet<&str> =
        made["left_out"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    let expected = ["it is a device", "it is a socket", "its path is too long for Linux to open it"];
    assert_eq!(reasons, BTreeSet::from(expected), "{made}");
    assert_eq!(json(&world.run(&["backup", "verify", file, "--json"]))["left_out_count"], 4);

    let copy = world.sibling();
    let restored = json(&copy.run(&["restore", file, "--yes", "--json"]));
    assert_eq!(restored["left_out_count"], 4, "{restored}");
    for world in [&world, &copy] {
        // What was left out, and the folders above it that were not.
        as_root(world, "rm -rf /workspace/left");
    }
    let without_the_root = |world: &World| -> Vec<String> {
        listing(world).into_iter().filter(|line| !line.contains("projects . ")).collect()
    };
    assert_same(&without_the_root(&world), &without_the_root(&copy), "restored into another instance");
    let port: u16 =
        copy.status()["url"].as_str().unwrap().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    assert!(http(port, "GET", "/session", Some(&copy.password()), None).1.contains(&id));

    // The last backup does not fail for ever because of it.
    plant(
        &world,
        "mkdir '/workspace/left'; chdir '/workspace/left'; for (1 .. 30) { mkdir 'd' x 200; chdir 'd' x 200 }",
    );
    world.ok(&["uninstall", "--volumes", "--yes"]);
    assert!(world.left().iter().all(|thing| thing.starts_with("image")), "{:?}", world.left());
}

/// Runs a script inside right before the container is paused: what is there was asked for already.
fn at_the_pause(world: &World, script: &str) -> Proxy {
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let (container, script) = (world.container(), script.to_owned());
    let run = move |call: &crate::proxy::Call| {
        if call.route().ends_with("/pause") {
            docker(&["exec", &container, "sh", "-c", &script]);
        }
        false
    };
    proxy.fault(Fault { at: At::Every(Arc::new(run)), action: Action::Hang });
    proxy
}

/// A list that is too long to read proves nothing, and stops nothing.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_answer_without_an_end_is_no_obstacle() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    let _proxy = at_the_pause(
        &world,
        "cd /home/opencode/.opencode/stand-in && mkdir ses_0 && { printf '{\"id\":\"ses_0\",\"title\":\"'; \
         head -c 34603008 /dev/zero | tr '\\0' x; printf '\"}'; } > ses_0/info",
    );
    let file = world.folder().join("long.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    world.use_engine(&engine_host());
    world.ok(&["restore", file, "--yes"]);
    assert_eq!(world.http_get(&format!("/session/{id}"), Some(&world.password())).0, 200);
}

/// What is proved after a restore is what was there before and after the copy, whatever a page of the list says.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn sessions_that_come_and_go_do_not_make_a_backup_worthless() {
    let world = World::new();
    world.setup();
    let kept = session(&world, "kept");
    let deleted = session(&world, "deleted");
    world.misbehave("newest:2");
    // One goes, and two come, so that the list has lost the one that stays.
    let script = format!(
        "cd /home/opencode/.opencode/stand-in && rm -r {deleted} && \
         for n in 1 2; do mkdir ses_f$n && echo '{{\"id\":\"ses_f'$n'\"}}' > ses_f$n/info; done"
    );
    let _proxy = at_the_pause(&world, &script);
    let file = world.folder().join("moving.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    world.use_engine(&engine_host());
    let password = world.password();
    let (_, now) = world.http_get("/session", Some(&password));
    assert!(now.contains("ses_f2") && !now.contains(&kept) && !now.contains(&deleted), "it happened: {now}");
    world.ok(&["restore", file, "--yes"]);
    assert_eq!(world.http_get(&format!("/session/{kept}"), Some(&password)).0, 200);

    // A program that loses sessions fails the proof, which the user may override.
    let lossy = World::new();
    let port = lossy.port.to_string();
    lossy.ok(&["setup", "--yes", "--image", &lossy.image_with("spoil"), "--port", &port]);
    let failed = error(&lossy, &["restore", file, "--yes", "--no-backup"], 11, "RESTORE_FAILED").to_string();
    assert!(failed.contains(&kept) && failed.contains("--force"), "{failed}");
    let forced = lossy.run(&["restore", file, "--yes", "--no-backup", "--force"]);
    assert!(forced.status.success() && shown(&forced).contains(&kept), "{}", shown(&forced));
}

/// A backup that was made when a volume was missing says so everywhere, and its restore does not empty that volume.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_volume_that_is_not_in_the_backup_is_not_emptied() {
    let world = World::new();
    world.setup();
    docker(&["exec", &world.container(), "sh", "-c", "echo old > /workspace/notes"]);
    docker(&["rm", "--force", &world.container()]);
    docker(&["volume", "rm", &world.volumes()[0]]);
    let file = json(&world.run(&["backup", "--json"]))["file"].as_str().unwrap().to_owned();
    assert_eq!(
        json(&world.run(&["backup", "verify", &file, "--json"]))["missing_volumes"],
        serde_json::json!(["session"])
    );
    assert!(world.ok(&["backup", "list"]).contains("the backup has no session volume"));
    world.setup();
    let id = session(&world, "kept");
    docker(&["exec", &world.container(), "sh", "-c", "echo new > /workspace/notes"]);
    let restored = world.ok(&["restore", &file, "--yes"]);
    assert!(restored.contains("the backup has no session volume"), "{restored}");
    assert_session(&world, &id, "kept", "it was not in the backup");
    assert_eq!(docker(&["exec", &world.container(), "cat", "/workspace/notes"]), "old");
    assert_whole(&world, "after a restore of two volumes");
}

/// Whoever made an archive is not whoever restores it.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn settings_from_an_archive_are_shown_and_confirmed() {
    let world = World::new();
    world.setup();
    let path = world.ok(&["config", "path"]).trim().to_owned();
    let mut settings = std::fs::read_to_string(&path).unwrap();
    settings = settings.replace("base = \"debian:trixie-slim\"", "base = \"evil\\u001b]0;owned\\u0007\"");
    std::fs::write(&path, settings.replace("pids = 4096", "pids = 512")).unwrap();
    let file = world.folder().join("brought.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let copy = world.sibling();
    let refused = copy.fails(&["restore", file], 6);
    let text = shown(&refused);
    for named in ["image.source = \"pull\"", &world.image(), "image.base = \"evil", "resources.pids = 512", "--yes"] {
        assert!(text.contains(named), "{named}\n{text}");
    }
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    assert_eq!((copy.status()["state"].as_str(), copy.left().len()), (Some("not_set_up"), 0));
    let made = ["config", "state", "data"].map(|kind| copy.home.join(kind).join(&copy.name).exists());
    assert_eq!(made, [false; 3], "folders of its own");
    let taken = copy.run(&["restore", file, "--yes"]);
    assert!(taken.status.success() && shown(&taken).contains("resources.pids = 512"), "{}", shown(&taken));
    // What is the same here already is no question, and what is not taken over is none either.
    copy.ok(&["restore", file, "--settings", "--yes", "--no-backup"]);
    copy.ok(&["config", "set", "resources.pids", "1024"]);
    let kept = shown(&copy.run(&["restore", file, "--yes", "--no-backup"]));
    assert!(!kept.contains("resources.pids"), "{kept}");
}
