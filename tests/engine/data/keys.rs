//! Secrets that are encrypted for keys: no passphrase is needed to back them up, and `age` alone opens them.

use std::path::Path;

use super::*;

/// Makes a key pair in the world's folder: the path of its file, and the public half.
pub fn key(world: &World, name: &str) -> (String, String) {
    let file = world.folder().join(name).to_str().unwrap().to_owned();
    let made = json(&world.run(&["backup", "key", "-o", &file, "--json"]));
    assert_eq!((&made["file"], &made["private_key"]), (&file.as_str().into(), &Value::Null));
    (file, made["public_key"].as_str().unwrap().to_owned())
}

/// What a shell script says, which must succeed.
pub fn shell(script: &str, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new("bash");
    let output = command.args(["-euo", "pipefail", "-c", script, "bash"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", shown(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn secrets_are_encrypted_for_keys_and_come_back_with_one_of_them() {
    let world = World::new();
    world.setup();
    let value = world.folder().join("value");
    std::fs::write(&value, "sk-of-the-user").unwrap();
    world.ok(&["secret", "set", "ANTHROPIC_API_KEY", "--from-file", value.to_str().unwrap()]);
    let ((key, public), (_, second), (wrong, _)) = (key(&world, "key"), key(&world, "second"), key(&world, "wrong"));
    world.ok(&["config", "set", "backup.recipients", &format!("{public},{second}")]);
    let file = world.folder().join("all.tar.zst");
    let file = file.to_str().unwrap();
    let made = json(&world.run(&["backup", file, "--json"]));
    assert_eq!((&made["secrets"], &made["secrets_for"]), (&true.into(), &serde_json::json!([public, second])));
    assert_eq!(json(&world.run(&["backup", "verify", file, "--json"]))["secrets"], true);
    let opened = shell("tar --zstd -xOf \"$1\" secrets.age | age --decrypt -i \"$2\"", &[file, &key]);
    assert!(opened.contains("sk-of-the-user"), "{opened}");

    // With another key nothing is touched; without one, all but the secrets comes back, and that is told.
    let copy = world.sibling();
    let refused = error(&copy, &["restore", file, "--yes", "--identity", &wrong], 11, "BACKUP_INVALID");
    assert!(refused.to_string().contains("other keys"), "{refused}");
    let refused = error(&copy, &["restore", file, "--yes", "--identity", value.to_str().unwrap()], 2, "USAGE");
    assert!(refused.to_string().contains("--identity"), "{refused}");
    assert_eq!(copy.left(), Vec::<String>::new());
    let mut command = copy.docklet();
    let restored = command.env("DOCKLET_IDENTITY", &key).args(["restore", file, "--yes"]).output().unwrap();
    assert!(restored.status.success(), "{}", shown(&restored));
    assert_eq!(copy.password(), world.password());
    let secrets = json(&copy.run(&["secret", "list", "--json"]));
    assert!(secrets.to_string().contains("ANTHROPIC_API_KEY"), "{secrets}");
    let third = world.sibling();
    let said = third.run(&["restore", file, "--yes"]);
    assert!(said.status.success() && shown(&said).contains("add --identity FILE"), "{}", shown(&said));
    assert_ne!(third.password(), world.password());

    // A passphrase that somebody gives counts more than the setting.
    let phrase = world.folder().join("phrase");
    std::fs::write(&phrase, "correct horse").unwrap();
    let other = world.folder().join("other.tar.zst");
    let other = other.to_str().unwrap();
    let made = json(&world.run(&["backup", other, "--passphrase-file", phrase.to_str().unwrap(), "--json"]));
    assert_eq!((&made["secrets"], &made["secrets_for"]), (&true.into(), &serde_json::json!([])));
    assert!(shell("tar --zstd -xOf \"$1\" secrets.age | sed -n 2p", &[other]).starts_with("-> scrypt"));
    assert!(Path::new(&key).metadata().unwrap().len() > 100);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_whole_backup_is_encrypted_and_comes_back_with_the_key() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    tree(&world.volumes()[1], &["make"]);
    let before = listing(&world);
    let ((key, public), (wrong, _)) = (key(&world, "key"), key(&world, "wrong"));
    let refused = error(&world, &["backup", "--encrypt"], 2, "USAGE");
    assert!(
        refused.to_string().contains("docklet --instance") && refused.to_string().contains("backup key"),
        "{refused}"
    );
    error(&world, &["config", "set", "backup.encrypt", "true"], 2, "CONFIG_INVALID");
    world.ok(&["config", "set", "backup.recipients", &public]);
    world.ok(&["config", "set", "backup.encrypt", "true"]);
    let made = json(&world.run(&["backup", "--json"]));
    let file = made["file"].as_str().unwrap();
    assert!(file.ends_with(".tar.zst.age"), "{made}");
    assert_eq!((&made["encrypted_for"], &made["verified"]), (&serde_json::json!([public]), &true.into()));

    // Without docklet, and without its key.
    // Of a file with holes, the digest is that of its map and of what is between them.
    let script = "cd \"$3\" && age --decrypt -i \"$2\" \"$1\" | tar --zstd -x && \
                  grep -v -e /sparse$ -e /hole$ SHA256SUMS | sha256sum --quiet -c";
    let plain = world.folder().join("plain");
    std::fs::create_dir(&plain).unwrap();
    shell(script, &[file, &key, plain.to_str().unwrap()]);
    assert!(plain.join("volumes/projects").is_dir());
    let listed = json(&world.run(&["backup", "list", "--json"]))["backups"][0].clone();
    assert_eq!((&listed["encrypted"], &listed["reason"]), (&true.into(), &"manual".into()), "{listed}");
    assert_eq!((&listed["instance"], &listed["error"]), (&Value::Null, &Value::Null), "{listed}");
    assert_eq!(listed["created"], made["created"]);
    for command in [&["backup", "verify", file][..], &["restore", file, "--yes"]] {
        let refused = error(&world, command, 6, "CONFIRMATION_REQUIRED");
        assert!(refused.to_string().contains("--identity FILE"), "{refused}");
        let refused = error(&world, &[command, &["--identity", &wrong]].concat(), 11, "BACKUP_INVALID");
        assert!(refused.to_string().contains("other keys"), "{refused}");
    }
    let verified = json(&world.run(&["backup", "verify", file, "--identity", &key, "--json"]));
    assert_eq!((&verified["encrypted"], &verified["valid"]), (&true.into(), &true.into()));
    let bytes = std::fs::read(file).unwrap();
    let bad = world.folder().join("bad.tar.zst.age");
    for (what, altered) in [
        ("cut", bytes[..bytes.len() - 1].to_vec()),
        ("cut in its header", bytes[..100].to_vec()),
        (
            "a byte altered",
            [&bytes[..bytes.len() / 2], &[bytes[bytes.len() / 2] ^ 1], &bytes[bytes.len() / 2 + 1..]].concat(),
        ),
        ("a byte more", [&bytes[..], b"x"].concat()),
    ] {
        std::fs::write(&bad, altered).unwrap();
        let bad = bad.to_str().unwrap();
        let refused = error(&world, &["restore", bad, "--yes", "--identity", &key], 11, "BACKUP_INVALID");
        assert!(refused["causes"][0].is_string(), "{what}: {refused}");
    }

    as_root(&world, "rm -rf /workspace/* && echo x > /workspace/new");
    let refused = error(&world, &["restore", file, "--yes", "--no-backup", "--identity", &key], 2, "USAGE");
    assert!(refused.to_string().contains("age --decrypt"), "{refused}");
    let restored = json(&world.run(&["restore", file, "--yes", "--identity", &key, "--json"]));
    assert_eq!(restored["secrets"], true, "{restored}");
    assert!(restored["before"].as_str().unwrap().ends_with(".tar.zst"), "what undoes a change is not encrypted");
    assert_same(&before, &listing(&world), "restored");
    assert_session(&world, &id, "kept", "restored");
    let copy = world.sibling();
    copy.ok(&["restore", file, "--yes", "--identity", &key]);
    assert_same(&before, &listing(&copy), "restored into another instance");
    assert_whole(&world, "at the end");
}
