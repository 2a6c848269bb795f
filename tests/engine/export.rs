//! What `docklet export compose` writes, brought up by a real Compose: the page, the data and the walls are those that docklet
//! itself gives.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::*;

/// An exported folder; what Compose made of it is removed at the end.
struct Project<'a> {
    world: &'a World,
    folder: PathBuf,
}

impl Project<'_> {
    fn compose(&self, args: &[&str]) -> Output {
        let file = self.folder.join("compose.yaml");
        let mut command = Command::new("docker-compose");
        command
            .env("DOCKER_HOST", engine_host())
            .args(["-p", &self.world.name, "-f", file.to_str().unwrap()])
            .args(args);
        command.output().expect("docker-compose, which tests/run installs")
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.compose(args);
        assert!(output.status.success(), "docker-compose {args:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        self.compose(&["down", "--timeout", "1"]);
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn compose_goes_on_where_docklet_ended_on_docker() {
    let world = World::new();
    world.setup();
    let password = world.password();
    assert_eq!(world.http_post("/session", Some(&password), &json!({"title": "kept"})).0, 200);
    world.ok(&["stop"]);
    let folder = world.folder().join("exported");
    world.ok(&["export", "compose", "--with-secrets", "--output", folder.to_str().unwrap()]);
    let project = Project { world: &world, folder };
    let secrets = project.folder.join("secrets");
    let owned = Command::new("chown").args(["-R", "1000:1000", secrets.to_str().unwrap()]).status().unwrap();
    assert!(owned.success());

    project.ok(&["up", "-d"]);
    let sessions = || world.http_get("/session", Some(&password));
    wait_until(SOON, "the page answers", || sessions().0 == 200);
    assert!(sessions().1.contains("\"title\":\"kept\""), "{}", sessions().1);
    assert_eq!(world.http_get("/session", None).0, 401, "the password is asked for");

    let id = project.ok(&["ps", "-q", &world.container()]);
    let inside = |script: &str| {
        let output = docker_try(&["exec", id.trim(), "/bin/sh", "-c", script]);
        String::from_utf8(output.stdout).unwrap()
    };
    let status = inside("id -u; cat /proc/1/status");
    assert!(status.starts_with("1000\n") && status.contains("CapBnd:\t0000000000000000"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    // Without rules, nothing would answer there, and the time would run out.
    let refused = "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => \"169.254.169.254:80\", Timeout => 5); print $!'";
    assert_eq!(inside(refused), "Connection refused");

    // The rules are still there when it comes back after a crash.
    let pid: u32 = docker(&["inspect", "--format={{.State.Pid}}", id.trim()]).trim().parse().unwrap();
    kill(pid);
    wait_until(SOON, "the page answers again", || {
        docker(&["inspect", "--format={{.RestartCount}}", id.trim()]).trim() == "1" && sessions().0 == 200
    });
    assert_eq!(inside(refused), "Connection refused");

    project.ok(&["down", "--timeout", "1"]);
    for volume in world.volumes() {
        docker(&["volume", "inspect", &volume]);
    }
}

/// `unpack-backup` in every situation, as a user without a name. `$1`: the SHA-256 of what is on standard input.
const UNPACK: &str = r##"
cd /tmp && cat >backup && sum=$1
new() { rm -rf volumes && mkdir -p volumes/session volumes/projects volumes/config volumes/config/lost+found; }
unpack() { unpack-backup "$@" /tmp/volumes 2>&1; echo "= $?"; }
there() { find volumes -type f ! -path '*/stand-in/*' | sort; find volumes -name info | wc -l; }
echo "# once"
new; unpack $sum backup; there
echo newer >volumes/projects/notes; unpack $sum backup; cat volumes/projects/notes
echo "# a claim that was made anew stays empty, the others as they are"
rm -rf volumes/session/* volumes/session/.docklet-backup; unpack $sum backup; there
echo "# another file"
new; unpack ${sum%?}x backup; unpack $sum backup; there
echo "# another file that says that all is done"
new; for role in session projects config; do echo $sum >volumes/$role/.docklet-backup; done
tar -c volumes | zstd -q >lie; new; unpack $sum lie; unpack $sum lie | tail -n 1; unpack $sum backup; there
echo "# cut off, then killed, then whole"
new; head -c $(($(stat -c %s backup) / 2)) backup >cut; unpack $sum cut | tail -n 2
mkfifo slow; setsid unpack-backup $sum slow /tmp/volumes 2>/dev/null & pid=$!
exec 8>slow; cat cut >&8
until [ -e volumes/session/.docklet-backup.begun ]; do :; done
mkdir volumes/session/half && touch volumes/session/half/way && chmod 555 volumes/session/half
kill -KILL -- -$pid; exec 8>&-; wait $pid; until flock --nonblock volumes true; do :; done
unpack $sum backup; there
echo "# data of another origin"
new; echo mine >volumes/projects/notes; unpack $sum backup; there
echo "# brought from outside"
new; unpack $sum wait >said & until grep -q waiting said 2>/dev/null; do :; done
unpack $sum - <backup; wait; sed "s/ $sum / SUM /; s/-i [^ ]*/-i POD/" said; there
"##;

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_backup_is_unpacked_once_and_over_nothing_else() {
    let world = World::new();
    world.setup();
    assert_eq!(world.http_post("/session", Some(&world.password()), &json!({"title": "kept"})).0, 200);
    docker(&["exec", &world.container(), "sh", "-c", "echo mine >/workspace/notes"]);
    world.ok(&["stop"]);
    let file = world.folder().join("b.tar.zst");
    world.ok(&["backup", file.to_str().unwrap()]);
    let backup = std::fs::read(&file).unwrap();
    let sum: String = Sha256::digest(&backup).iter().map(|byte| format!("{byte:02x}")).collect();

    let run = ["run", "--rm", "-i", "--network=none", "--user=65000:65000", "--cap-drop=ALL", "--entrypoint=bash"];
    let said = docker_with(&[&run[..], &[&stand_in(), "-c", UNPACK, "bash", &sum]].concat(), &backup);
    insta::assert_snapshot!(said.replace(&sum, "SUM").replace(&sum[..63], "SU"), @r"
    # once
    unpack-backup: unpacking
    unpack-backup: done
    = 0
    volumes/config/.docklet-backup
    volumes/projects/.docklet-backup
    volumes/projects/notes
    volumes/session/.docklet-backup
    1
    = 0
    newer
    # a claim that was made anew stays empty, the others as they are
    = 0
    volumes/config/.docklet-backup
    volumes/projects/.docklet-backup
    volumes/projects/notes
    0
    # another file
    unpack-backup: unpacking
    unpack-backup: it is another file, or was altered: its SHA-256 is not SUx
    = 1
    unpack-backup: unpacking
    unpack-backup: done
    = 0
    volumes/config/.docklet-backup
    volumes/projects/.docklet-backup
    volumes/projects/notes
    volumes/session/.docklet-backup
    1
    # another file that says that all is done
    unpack-backup: unpacking
    unpack-backup: it is another file, or was altered: its SHA-256 is not SUM
    = 1
    = 1
    unpack-backup: unpacking
    unpack-backup: done
    = 0
    volumes/config/.docklet-backup
    volumes/projects/.docklet-backup
    volumes/projects/notes
    volumes/session/.docklet-backup
    1
    # cut off, then killed, then whole
    unpack-backup: it could not be unpacked
    = 1
    unpack-backup: unpacking
    unpack-backup: done
    = 0
    volumes/config/.docklet-backup
    volumes/projects/.docklet-backup
    volumes/projects/notes
    volumes/session/.docklet-backup
    1
    # data of another origin
    unpack-backup: the volume projects has other data; nothing was changed. Delete its claim, or export without --backup
    = 1
    volumes/projects/notes
    0
    # brought from outside
    unpack-backup: unpacking
    unpack-backup: done
    = 0
    unpack-backup: waiting for: kubectl exec -i POD -c backup -- /usr/local/bin/unpack-backup SUM - /tmp/volumes <FILE
    = 0
    volumes/config/.docklet-backup
    volumes/projects/.docklet-backup
    volumes/projects/notes
    volumes/session/.docklet-backup
    1
    ");
}
