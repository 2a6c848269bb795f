//! `docklet secret`: no value is ever an argument or printed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Home, json, shown};

const VALUE: &str = "sk-very-secret-1234";

#[test]
fn secrets_come_from_files_and_standard_input_and_are_never_shown() {
    let home = Home::set_up();
    assert_eq!(home.ok(&["secret", "list"]).trim(), "no secrets");
    let mut all = String::new();
    let output = home.run_with(&["secret", "set", "ANTHROPIC_API_KEY"], &format!("{VALUE}\n"));
    assert!(output.status.success(), "{}", shown(&output));
    all.push_str(&shown(&output));
    let file = home.path("docklet/config/default/secrets/ANTHROPIC_API_KEY");
    assert_eq!(fs::read_to_string(&file).unwrap(), VALUE, "one line end is no part of it");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    fs::write(home.path("key.txt"), format!("{VALUE}\r\n")).unwrap();
    let again = home.run(&["secret", "set", "ANTHROPIC_API_KEY", "--from-file", "key.txt", "--json"]);
    assert_eq!(json(&again)["changed"], false);
    all.push_str(&shown(&again));
    let list = home.run(&["secret", "list", "--json"]);
    assert_eq!(json(&list)["secrets"], serde_json::json!(["ANTHROPIC_API_KEY"]));
    all.push_str(&shown(&list));
    all.push_str(&shown(&home.run(&["config", "show"])));
    assert!(!all.contains(VALUE), "{all}");
    home.ok(&["secret", "remove", "ANTHROPIC_API_KEY"]);
    assert!(!file.exists());
    home.fails(&["secret", "remove", "ANTHROPIC_API_KEY"], 4, "NOT_FOUND");
}

#[test]
fn what_cannot_be_a_secret_is_refused() {
    let home = Home::set_up();
    fs::write(home.path("empty"), "\n").unwrap();
    fs::write(home.path("nul"), "a\0b").unwrap();
    fs::write(home.path("long"), "x".repeat(200_000)).unwrap();
    fs::write(home.path("latin1"), [0xe4, 0xf6]).unwrap();
    for (args, part) in [
        (&["secret", "set", "lower", "--from-file", "empty"][..], "a valid name for a secret"),
        (&["secret", "set", "PATH", "--from-file", "empty"], "reserved"),
        (&["secret", "set", "LD_PRELOAD", "--from-file", "empty"], "reserved"),
        (&["secret", "set", "A", "--from-file", "empty"], "is empty"),
        (&["secret", "set", "A", "--from-file", "nul"], "NUL"),
        (&["secret", "set", "A", "--from-file", "long"], "longer than"),
        (&["secret", "set", "A", "--from-file", "latin1"], "UTF-8"),
        (&["secret", "set", "A", "--from-file", "missing"], "missing"),
        (&["secret", "set", "A", "sk-1234"], "sk-1234"),
        (&["secret", "set", "OPENCODE_SERVER_PASSWORD", "--from-file", "empty"], "password of the page"),
        (&["secret", "remove", "OPENCODE_SERVER_PASSWORD"], "password of the page"),
    ] {
        let error = home.fails(args, 2, "USAGE");
        assert!(error.to_string().contains(part), "{args:?}: {error}");
    }
    assert!(!home.path("docklet/config/default/secrets").exists());
}

#[test]
fn what_cannot_be_a_secret_is_left_out_of_a_file_and_named() {
    let home = Home::set_up();
    let text = "export A='1' # mine\n\nexport database_url=sk-very-secret-1\nPATH=sk-very-secret-2\nsk-very-secret-3==\n\
                OPENCODE_SERVER_PASSWORD=sk-very-secret-4\nEMPTY=\nB=\"two\nlines\"\nC=a\0sk-very-secret-5\n";
    fs::write(home.path(".env"), text).unwrap();
    let output = home.run(&["secret", "import", ".env", "--json"]);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(json(&output)["names"], serde_json::json!(["A", "B"]));
    let said = shown(&output);
    for part in [
        "line 3: database_url is not a name for a secret",
        "line 4: the name PATH is reserved",
        "line 5: its name is not a name for a secret",
        "line 6: OPENCODE_SERVER_PASSWORD is the password of the page",
        "line 7: the value of EMPTY is empty",
        "line 10: the value of C has a NUL",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert!(!said.contains("sk-very"), "{said}");
    assert_eq!(fs::read_to_string(home.path("docklet/config/default/secrets/B")).unwrap(), "two\nlines");
}

#[test]
fn a_file_with_a_line_that_cannot_be_read_is_imported_not_at_all() {
    let home = Home::set_up();
    let folder = home.path("docklet/config/default/secrets");
    let text =
        format!("\u{feff}# keys\r\nexport OPENAI_API_KEY='{VALUE}'\r\n\r\nGH_TOKEN={VALUE} # mine\r\nEMPTY=\r\n");
    fs::write(home.path(".env"), text).unwrap();
    let output = home.run(&["secret", "import", ".env", "--json"]);
    let report = json(&output);
    assert_eq!(report["names"], serde_json::json!(["GH_TOKEN", "OPENAI_API_KEY"]));
    assert_eq!((report["set"].clone(), report["changed"].clone()), (report["names"].clone(), true.into()));
    let said = shown(&output);
    assert!(said.contains("EMPTY") && !said.contains(VALUE), "{said}");
    for name in ["GH_TOKEN", "OPENAI_API_KEY"] {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), VALUE);
        assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!folder.join("EMPTY").exists());
    assert_eq!(json(&home.run(&["secret", "import", ".env", "--json"]))["changed"], false);
    let output = home.run_with(&["secret", "import", "-"], "GITLAB_TOKEN=x\n");
    assert!(output.status.success() && folder.join("GITLAB_TOKEN").exists(), "{}", shown(&output));

    for (text, line, reason) in [
        ("A=1\nsk-very-secret-1234\n", 2, "there is no ="),
        ("A=1\n\nB=\"sk-very-secret-1234\nC=2", 3, "not closed"),
        ("A=1\nB='x' sk-very-secret-1234\n", 2, "behind the closing quote"),
        ("# none\nsk-very-secret-1234==\n", 2, "its name is not a name for a secret"),
        ("\nPATH=sk-very-secret-1234\n", 2, "PATH is reserved"),
        ("\ndatabase_url=sk-very-secret-1234\n", 2, "database_url is not a name"),
        ("\nskVeryVery==\n", 2, "its name is not a name"),
        ("\nsk_very==\n", 2, "its name is not a name"),
        ("\nB=a\0sk-very-secret-1234\n", 2, "NUL"),
    ] {
        fs::write(home.path(".env"), text).unwrap();
        for args in [&["secret", "import", ".env"][..], &["setup", "--yes", "--env-file", ".env"]] {
            let error = home.fails(args, 2, "USAGE").to_string();
            assert!(error.contains(&format!("line {line}: ")) && error.contains(reason), "{text:?}: {error}");
            assert!(!error.contains("sk-very") && !error.contains("sk_very") && !error.contains("skVery"), "{error}");
        }
        assert!(!folder.join("A").exists(), "{text:?}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_secret() {
    let home = Home::set_up();
    let output = home.run_with(&["secret", "set", "A"], &format!("\u{feff}{VALUE}\n"));
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(fs::read_to_string(home.path("docklet/config/default/secrets/A")).unwrap(), VALUE);
}

#[test]
fn a_file_in_utf_16_is_told_with_the_way_out() {
    let home = Home::set_up();
    let file = home.path("key.txt");
    let utf16: Vec<u8> = "\u{feff}sk-1\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&file, utf16).unwrap();
    let refused = home.fails(&["secret", "set", "MY_KEY", "--from-file", file.to_str().unwrap()], 2, "USAGE");
    assert!(refused["message"].as_str().unwrap().contains("UTF-16"), "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains("UTF-8"), "{refused}");
}
