//! `docklet backup key`: key pairs as age has them, and which of them the settings take.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::support::{Home, json, shown};

#[test]
fn a_key_pair_is_printed_or_written_where_only_its_owner_reads_it() {
    let home = Home::set_up();
    let printed = home.run(&["backup", "key"]);
    let (out, said) = (String::from_utf8_lossy(&printed.stdout), String::from_utf8_lossy(&printed.stderr));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines.len() == 3 && lines[2].starts_with("AGE-SECRET-KEY-1"), "{out}");
    let public = lines[1].strip_prefix("# public key: ").unwrap();
    assert!(said.contains("off this machine") && said.contains(&format!("backup.recipients {public}")), "{said}");
    assert!(!said.contains(lines[2]), "{said}");
    home.ok(&["config", "set", "backup.recipients", public]);

    let made = json(&home.run(&["backup", "key", "-o", "key.txt", "--json"]));
    let file = home.path("key.txt");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    let second = made["public_key"].as_str().unwrap();
    assert!(text.contains(&format!("# public key: {second}\nAGE-SECRET-KEY-1")), "{text}");
    assert_eq!((&made["private_key"], &made["file"]), (&serde_json::Value::Null, &file.to_str().unwrap().into()));
    assert_eq!(
        made["setting"],
        format!("docklet config set backup.recipients {public},{second}"),
        "the first one stays"
    );
    home.fails(&["backup", "key", "-o", "key.txt"], 8, "ALREADY_EXISTS");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let shown_text = home.ok(&["backup", "key", "--output", "other.txt"]);
    assert!(shown_text.contains("restore FILE --identity") && !shown_text.contains("SECRET"), "{shown_text}");
}

#[test]
fn only_public_keys_are_recipients_and_a_private_one_is_not_repeated() {
    let home = Home::set_up();
    let key = home.ok(&["backup", "key"]);
    let lines: Vec<&str> = key.lines().collect();
    let (public, private) = (lines[1].trim_start_matches("# public key: "), lines[2]);
    for (value, reason) in [
        (private, "private key"),
        (&format!("{public},{private}"), "private key"),
        ("ssh-ed25519", "ssh keys"),
        (&public[..61], "a letter is wrong or missing"),
        ("me@example.org", "docklet backup key"),
    ] {
        let refused = home.run(&["config", "set", "backup.recipients", value, "--json"]);
        let error = json(&refused)["error"].clone();
        assert_eq!((refused.status.code(), &error["code"]), (Some(2), &"CONFIG_INVALID".into()), "{}", shown(&refused));
        assert!(error.to_string().contains(reason) && !error.to_string().contains(private), "{error}");
    }
    home.ok(&["config", "set", "backup.recipients", public]);
    home.ok(&["config", "set", "backup.encrypt", "true"]);
    let refused = home.fails(&["config", "unset", "backup.recipients"], 2, "CONFIG_INVALID");
    assert!(refused.to_string().contains("backup.encrypt is true"), "{refused}");
    home.ok(&["config", "unset", "backup.encrypt"]);
    home.ok(&["config", "unset", "backup.recipients"]);
}
