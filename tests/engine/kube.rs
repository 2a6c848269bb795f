//! What `docklet export` writes, read by Podman. Of Kubernetes' objects the pod exactly as it is, with the claims that a cluster
//! would make for its StatefulSet; of Quadlet's units what its generator makes of them.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use crate::proxy::Conn;
use crate::support::*;

/// The exported objects in the form that `podman kube play` reads.
struct Pod<'a> {
    world: &'a World,
    objects: String,
}

impl<'a> Pod<'a> {
    fn new(world: &'a World, exported: &str) -> Self {
        let objects = exported.split("---\n").flat_map(|object| match kind(object) {
            "StatefulSet" => of_stateful_set(object, &format!("{}-0", world.container())),
            "ConfigMap" | "Secret" => vec![object.to_owned()],
            _ => vec![],
        });
        Pod { world, objects: objects.collect::<Vec<_>>().join("---\n") }
    }

    /// `podman kube play` (POST) or `down` (DELETE), as the podman command asks the engine.
    fn request(&self, method: &str) -> String {
        let path = format!("/v4.0.0/libpod/play/kube?start=true&publishPorts=127.0.0.1:{}:3000", self.world.port);
        let head =
            format!("{method} {path} HTTP/1.0\r\nhost: podman\r\ncontent-length: {}\r\n\r\n", self.objects.len());
        let mut engine = Conn::to_engine(&engine_host()).expect("the engine");
        engine.write_all(format!("{head}{}", self.objects).as_bytes()).expect("to ask the engine");
        let mut answer = String::new();
        engine.read_to_string(&mut answer).expect("the engine's answer");
        answer
    }

    fn play(&self) {
        let answer = self.request("POST");
        assert!(answer.split(' ').nth(1) == Some("200"), "{answer}");
    }

    fn inside(&self, script: &str) -> String {
        docker(&["exec", &format!("{}-0-opencode-cloud", self.world.container()), "sh", "-c", script])
    }

    fn volumes(&self) -> [String; 3] {
        ["config", "projects", "session"].map(|role| format!("{role}-{}-0", self.world.container()))
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        self.request("DELETE");
        for volume in self.volumes() {
            docker_try(&["volume", "rm", &volume]);
        }
    }
}

fn kind(object: &str) -> &str {
    object.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap()
}

/// What the controller of StatefulSets makes of one in a cluster: a claim for each template, and a pod.
fn of_stateful_set(text: &str, pod: &str) -> Vec<String> {
    let outdented = |text: &str| text.lines().map(|line| format!("{}\n", &line[4..])).collect::<String>();
    let (_, spec) = text.split_once("\n  template:\n").unwrap();
    let (template, claims) = spec.split_once("  volumeClaimTemplates:\n").unwrap();
    let mut template = outdented(template).replacen("metadata:\n", &format!("metadata:\n  name: {pod}\n"), 1);
    let mut objects = vec![];
    for claim in claims.split("  - metadata:\n").filter(|claim| !claim.is_empty()) {
        let claim = outdented(claim);
        let role = claim.lines().next().unwrap().strip_prefix("  name: ").unwrap();
        let name = format!("  name: {role}-{pod}");
        template += &format!("  - name: {role}\n    persistentVolumeClaim:\n      claimName: {role}-{pod}\n");
        let claim = claim.replacen(&format!("  name: {role}"), &name, 1);
        objects.push(format!("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n{claim}"));
    }
    objects.push(format!("apiVersion: v1\nkind: Pod\n{template}"));
    objects
}

#[test]
#[ignore = "needs Podman: tests/engines brings one"]
fn an_exported_pod_goes_on_with_the_data_of_a_backup_on_podman() {
    let world = World::new();
    world.setup();
    let password = world.password();
    assert_eq!(world.http_post("/session", Some(&password), &json!({"title": "of the laptop"})).0, 200);
    docker(&["exec", &world.container(), "sh", "-c", "mkdir /workspace/app && echo mine >/workspace/app/notes"]);
    world.ok(&["stop"]);
    let backup = world.folder().join("laptop.tar.zst");
    world.ok(&["backup", backup.to_str().unwrap()]);
    let store = format!("{}-store", world.container());
    let put = ["run", "--rm", "-i", "--user=0", "-v", &format!("{store}:/store"), "--entrypoint=sh", &stand_in(), "-c"];
    docker_with(&[&put[..], &["cat >/store/laptop.tar.zst"]].concat(), &std::fs::read(&backup).unwrap());

    let export = ["export", "kubernetes", "--with-secrets", "--backup", backup.to_str().unwrap(), "--backup-claim"];
    let pod = Pod::new(&world, &world.ok(&[&export[..], &[&store]].concat()));
    pod.play();
    let sessions = || world.http_get("/session", Some(&password));
    wait_until(SOON, "the page answers", || sessions().0 == 200);
    assert_eq!(world.http_get("/session", None).0, 401, "the password is asked for");
    assert!(sessions().1.contains("of the laptop"), "{}", sessions().1);
    assert_eq!(pod.inside("cat /workspace/app/notes"), "mine");

    let status = pod.inside("id -u; cat /proc/1/status");
    assert!(status.starts_with("1000\n") && status.contains("CapBnd:\t0000000000000000"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    assert_eq!(pod.inside("touch /usr/x 2>&1 || true"), "touch: cannot touch '/usr/x': Read-only file system");
    if limits_memory() {
        let limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
        assert_eq!(pod.inside(limit), (4_u64 << 30).to_string());
    }

    // What is newer than the backup is not written over.
    assert_eq!(world.http_post("/session", Some(&password), &json!({"title": "of the cluster"})).0, 200);
    pod.request("DELETE");
    pod.play();
    wait_until(SOON, "the page answers again", || sessions().0 == 200);
    let listed = sessions().1;
    assert!(listed.contains("of the laptop") && listed.contains("of the cluster"), "{listed}");
    drop(pod);
    docker(&["volume", "rm", &store]);
}

/// Podman's generator of units, from the release of Debian that the engine is of.
fn quadlet(units: &Path, args: &[&str]) -> Output {
    let enter = "mount --bind \"$2\" \"$1/mnt\" && cd \"$1\" && shift 2 \
                 && exec chroot . /usr/bin/env QUADLET_UNIT_DIRS=/mnt /usr/libexec/podman/quadlet \"$@\"";
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("tests-run");
    let root = root.join(format!("debian-{}", variable("SUITE"))).canonicalize().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", enter, "sh"]).arg(root).arg(units).args(args);
    command.output().unwrap()
}

#[test]
#[ignore = "needs Podman: tests/engines brings one"]
fn exported_units_are_understood_on_podman() {
    let world = World::new();
    let units = world.folder().join("units");
    world.ok(&["export", "quadlet", "--image", &stand_in(), "--output", units.to_str().unwrap()]);
    let version = String::from_utf8(quadlet(&units, &["-version"]).stdout).unwrap();
    assert_eq!(version.trim(), docker(&["version", "--format", "{{.Server.Version}}"]), "the engine's own generator");
    let output = quadlet(&units, &["-dryrun", "-user"]);
    let services = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !shown(&output).contains("Warning"), "{}", shown(&output));
    assert!(services.contains(&format!("ExecStart=/usr/bin/podman run --name {} ", world.container())), "{services}");
    assert_eq!(services.matches("ExecStart=/usr/bin/podman volume create").count(), 3, "{services}");
}
