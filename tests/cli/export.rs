//! `docklet export`: what each target gets, what of it is secret, and what is refused.

use std::fs;
use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::support::{Home, json, shown};

const SETTINGS: &str = r#"
[network]
port = 3001
EGRESS
allow = ["10.8.0.5/16:443", "fd00::1", "git.example.org:22", "host:11434"]
[image]
source = "pull"
reference = "registry.example.org/opencode:1"
[resources]
memory = "1536MiB"
cpus = 1.5
[environment]
LOG_LEVEL = "debug"
WEIRD = "a \"b\" 50% $HOME \\ yes\n#"
[git]
name = "Ann Example"
email = "ann@example.org"
ssh_agent = true
[[mounts]]
host = "/srv"
container = "/workspace/app"
"#;

/// What no output may have unless it was asked for.
const SECRETS: [(&str, &str); 2] = [("OPENCODE_SERVER_PASSWORD", "correct-horse"), ("ANTHROPIC_API_KEY", "sk-battery")];

fn home_with(egress: &str) -> Home {
    let home = Home::set_up();
    fs::write(home.settings(), SETTINGS.replace("EGRESS", &format!("egress = \"{egress}\""))).unwrap();
    let secrets = home.path("docklet/config/default/secrets");
    fs::create_dir(&secrets).unwrap();
    for (name, value) in SECRETS {
        fs::write(secrets.join(name), value).unwrap();
    }
    home
}

fn home() -> Home {
    home_with("internet")
}

/// Standard output and standard error, with the test's own folder left out.
fn exported(home: &Home, args: &[&str]) -> String {
    let output = home.run(&[&["export"], args].concat());
    assert!(output.status.success(), "{}", shown(&output));
    let text =
        format!("{}\n--- stderr\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    text.replace(home.path("").to_str().unwrap().trim_end_matches('/'), "HOME")
}

#[test]
fn kubernetes() {
    insta::assert_snapshot!("kubernetes", exported(&home(), &["kubernetes"]));
    insta::assert_snapshot!("kubernetes_listed", exported(&home_with("listed"), &["kubernetes"]));
    let args =
        ["kubernetes", "--instances", "ann,bob", "--namespace", "team", "--image", "r.example.org/o:1", "--storage"];
    let more = ["50Gi", "--storage-class", "fast", "--ingress", "code.example.org", "--tls-secret", "code-tls"];
    insta::assert_snapshot!("kubernetes_of_a_team", exported(&home_with("all"), &[&args[..], &more].concat()));
}

/// A home with a backup in it, `laptop.tar.zst`.
fn home_with_backup() -> Home {
    let home = home_with("all");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/backups/format-1.tar.zst");
    fs::copy(fixture, home.path("laptop.tar.zst")).unwrap();
    home
}

#[test]
fn kubernetes_with_the_data_of_a_backup() {
    let home = home_with_backup();
    let export = |more: &[&str]| exported(&home, &[&["kubernetes", "--backup", "laptop.tar.zst"], more].concat());
    insta::assert_snapshot!(
        "kubernetes_backup_claim",
        export(&["--with-secrets", "--backup-claim", "store:old/b.tar.zst"])
    );
    insta::assert_snapshot!("kubernetes_backup_url", export(&["--backup-url", "https://files.example.org/b?key=1"]));
    assert!(export(&["--backup-claim", "store"]).contains("- /backup/laptop.tar.zst\n"));
    // The pod waits, and the last line says for what.
    let waiting = export(&["--instances", "ann", "--namespace", "team"]);
    assert!(waiting.contains("        - wait\n"), "{waiting}");
    let program = "/usr/local/bin/unpack-backup eaa35199a370d84fb41e0c3caf600d94003ead35b1268c38735b1425727a79ef";
    let pod = "kubectl exec -i --namespace team opencode-cloud-ann-0 -c backup";
    assert_eq!(waiting.lines().last().unwrap(), format!("run then: {pod} -- {program} - /volumes <laptop.tar.zst"));
}

#[test]
fn a_backup_that_would_not_do_is_refused() {
    let home = home_with_backup();
    let refused =
        |args: &[&str], exit: i32, code: &str| home.fails(&[&["export", "kubernetes"], args].concat(), exit, code);
    let backup = ["--backup", "laptop.tar.zst"];
    for args in [
        &["--backup-url", "https://files.example.org/b"][..],
        &[&backup[..], &["--backup-url", "ftp://files.example.org/b"]].concat(),
        &[&backup[..], &["--backup-url", "https://files.example.org/b", "--backup-claim", "store"]].concat(),
        &[&backup[..], &["--backup-claim", "store:"]].concat(),
        &[&backup[..], &["--instances", "ann,bob"]].concat(),
    ] {
        refused(args, 2, "USAGE");
    }
    fs::write(home.path("sealed.tar.zst.age"), "age-encryption.org/v1\n-> X25519 abc\n").unwrap();
    let error = refused(&["--backup", "sealed.tar.zst.age"], 2, "USAGE");
    assert_eq!(error["hint"], "decrypt it: age --decrypt -i KEYFILE -o FILE sealed.tar.zst.age");
    let whole = fs::read(home.path("laptop.tar.zst")).unwrap();
    fs::write(home.path("cut.tar.zst"), &whole[..whole.len() - 9]).unwrap();
    refused(&["--backup", "cut.tar.zst"], 11, "BACKUP_INVALID");
    refused(&["--backup", "none.tar.zst"], 4, "NOT_FOUND");
}

#[test]
fn compose() {
    insta::assert_snapshot!("compose", exported(&home(), &["compose"]));
    insta::assert_snapshot!(
        "compose_without_rules",
        exported(&home_with("all"), &["compose", "--instances", "ann,bob"])
    );
}

#[test]
fn quadlet() {
    insta::assert_snapshot!("quadlet", exported(&home(), &["quadlet"]));
    let without_rules = exported(&home_with("all"), &["quadlet"]);
    assert!(
        !without_rules.contains("ExecStartPost") && without_rules.contains("DOCKLET_EGRESS=all"),
        "{without_rules}"
    );
}

#[test]
fn an_image_that_is_only_here_is_told() {
    let home = Home::set_up();
    for (target, way) in
        [("kubernetes", "--image REGISTRY/NAME:TAG"), ("compose", "docker push"), ("quadlet", "podman load")]
    {
        let output = exported(&home, &[target]);
        assert!(output.contains("image opencode-cloud:") && output.contains(way), "{output}");
    }
}

/// The passwords in the Secrets of a stream of YAML documents.
fn passwords(yaml: &str) -> Vec<String> {
    let encoded = yaml.lines().filter_map(|line| line.trim().strip_prefix("OPENCODE_SERVER_PASSWORD: "));
    encoded.map(|text| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()).collect()
}

#[test]
fn secrets_are_written_only_when_they_are_asked_for() {
    let home = home();
    for target in ["kubernetes", "compose", "quadlet"] {
        let (text, json) = (exported(&home, &[target]), home.run(&["export", target, "--json"]));
        for (_, value) in SECRETS {
            assert!(!text.contains(value) && !text.contains(&STANDARD.encode(value)), "{text}");
            assert!(
                !shown(&json).contains(value) && !shown(&json).contains(&STANDARD.encode(value)),
                "{}",
                shown(&json)
            );
        }
    }
    assert_eq!(passwords(&home.ok(&["export", "kubernetes", "--with-secrets"])), ["correct-horse"]);
    // Each developer has a password of their own, and all have the keys.
    let team = home.ok(&["export", "kubernetes", "--with-secrets", "--instances", "ann,bob"]);
    let made = passwords(&team);
    assert!(made.len() == 2 && made[0] != made[1] && made.iter().all(|password| password.len() >= 24), "{made:?}");
    assert_eq!(team.matches(&STANDARD.encode("sk-battery")).count(), 2);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_folder_gets_files_and_none_is_overwritten_unasked() {
    let home = home();
    let export: [&str; 5] = ["export", "compose", "--with-secrets", "--output", "out"];
    let report = json(&home.run(&[&export[..], &["--json"]].concat()));
    assert_eq!((&report["changed"], &report["files"][0]["name"]), (&Value::from(true), &Value::from("compose.yaml")));
    assert_eq!(report["files"][0]["text"], Value::Null);
    let (file, secret) = (home.path("out/compose.yaml"), home.path("out/secrets/opencode-cloud/ANTHROPIC_API_KEY"));
    assert_eq!((mode(&file), mode(&secret)), (0o644, 0o600));
    assert_eq!(fs::read_to_string(&secret).unwrap(), "sk-battery");

    let again = home.ok(&export);
    assert!(again.contains("unchanged: out/compose.yaml") && !again.contains("written: "), "{again}");

    fs::write(&file, "mine").unwrap();
    let error = home.fails(&export, 6, "CONFIRMATION_REQUIRED");
    assert!(error["message"].as_str().unwrap().contains("compose.yaml"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert!(home.ok(&[&export[..], &["--yes"]].concat()).contains("written: out/compose.yaml"));
    assert!(fs::read_to_string(&file).unwrap().contains("services:"));
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let empty = Home::new();
    empty.fails(&["export", "kubernetes"], 4, "NOT_FOUND");
    // Nothing has to be set up here for an image from elsewhere.
    assert!(empty.ok(&["export", "kubernetes", "--image", "r.example.org/o:1"]).contains("image: r.example.org/o:1"));
    let home = home();
    for args in [
        &["compose", "--with-secrets"][..],
        &["quadlet", "--with-secrets", "--output", "out"],
        &["kubernetes", "--instances", "ann,bob,ann"],
        &["kubernetes", "--instances", "Ann"],
        &["kubernetes", "--ingress", "code.example.org"],
        &["kubernetes", "--storage", "20Gib"],
        &["kubernetes", "--namespace", "a b"],
        &["compose", "--namespace", "a"],
    ] {
        home.fails(&[&["export"], args].concat(), 2, "USAGE");
    }
    assert!(!home.path("out").exists());
}
