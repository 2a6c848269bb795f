#![allow(clippy::unwrap_used)]
use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::settings::TEMPLATE;

fn path() -> &'static Path {
    Path::new("settings.toml")
}

fn parse(text: &str) -> Settings {
    Settings::parse(text, path()).unwrap_or_else(|e| panic!("{e}: {:?}\n{text}", e.causes()))
}

#[test]
fn every_key_of_the_settings_is_there_and_no_other() {
    let settings = Settings { mounts: vec!["/a:/b".parse().unwrap()], ..Settings::default() };
    let mut found = vec![];
    for (name, value) in toml::Table::try_from(&settings).unwrap() {
        match value {
            toml::Value::Table(table) if name != ENVIRONMENT => {
                found.extend(table.keys().map(|key| format!("{name}.{key}")))
            }
            _ => found.push(name),
        }
    }
    found.sort();
    let mut known: Vec<&str> = names().collect();
    known.sort_unstable();
    assert_eq!(known, found);
    // No variable is set.
    assert_eq!(values(&settings).unwrap().len(), KEYS.len() - 1);
    assert!(KEYS.iter().all(|(_, allowed)| !allowed.is_empty()));
}

#[test]
fn a_value_changes_and_nothing_else() {
    let text = set(TEMPLATE, path(), "network.port", "3001").unwrap();
    assert_eq!(text, TEMPLATE.replace("port = 3000", "port = 3001"));
    let text = set(&text, path(), "resources.memory", "2GiB").unwrap();
    assert!(text.contains("memory = \"2GiB\"                  # or three quarters"), "{text}");
    let text = set(&text, path(), "image.extra_packages", "python3, git").unwrap();
    assert!(text.contains("extra_packages = [\"python3\", \"git\"]              # Debian"), "{text}");
    assert_eq!(parse(&text).image.extra_packages.len(), 2);
    let same = set(&text, path(), "resources.memory", "2048MiB").unwrap();
    assert_eq!(same, text, "the same size in other words is no change");
    // What it does not hold yet is put where it belongs.
    let text =
        set("# mine\n[network] # here\nbind = '127.0.0.1' # so\n\n# end\n", path(), "network.port", "1").unwrap();
    assert_snapshot!(text, @r"
    # mine
    [network] # here
    bind = '127.0.0.1' # so
    port = 1

    # end
    ");
    let text = set("# mine\n", path(), "backup.every", "24h").unwrap();
    assert_eq!(parse(&text).backup.every.to_string(), "24h");
    let inline = set("network = { port = 1 }\n", path(), "network.bind", "::1").unwrap();
    assert_eq!(parse(&inline).network.bind.to_string(), "::1");
    let dotted = set("network.port = 1 # one\n", path(), "network.bind", "::1").unwrap();
    assert!(dotted.contains("network.port = 1 # one\n"), "{dotted}");
}

#[test]
fn without_a_key_its_default_counts_and_its_comments_stay() {
    let text = "# a\n[network] # b\n# c\nport = 3001 # d\n  # e\nbind = '::1'\n[image]\nextra_packages = [ # f\n  'git', # g\n]\n";
    let text = unset(text, path(), "network.port").unwrap();
    let text = unset(&text, path(), "network.bind").unwrap();
    let text = unset(&text, path(), "image.extra_packages").unwrap();
    assert_snapshot!(text, @r"
    # a
    [network] # b
    # c
    # d
      # e
    [image]
    ");
    assert_eq!(parse(&text), Settings::default());
    assert_eq!(unset(&text, path(), "backup.keep").unwrap(), text);
    let inline = unset("network = { port = 1, bind = '::1' }", path(), "network.port").unwrap();
    assert_eq!(inline, "network = { bind = '::1' }\n");
    assert_eq!(
        unset("network.port = 1 # a\nnetwork.bind='::1'", path(), "network.port").unwrap(),
        "# a\nnetwork.bind='::1'"
    );
}

#[test]
fn variables_are_keys_with_names_of_the_users_own() {
    let text = set(TEMPLATE, path(), "environment.LOG_LEVEL", "debug").unwrap();
    let text = set(&text, path(), "environment.npm_config_registry", "https://r.example.org/?a=\"b\"").unwrap();
    assert!(text.contains("\n[environment]                    # variables of"), "{text}");
    let settings = parse(&text);
    let value = |key: &str| get(&settings, key).unwrap().map(|v| v.as_str().unwrap().to_owned());
    assert_eq!(value("environment.LOG_LEVEL").as_deref(), Some("debug"));
    assert_eq!(value("environment.npm_config_registry").as_deref(), Some("https://r.example.org/?a=\"b\""));
    assert_eq!(value("environment.TZ"), None);
    let names: Vec<String> = values(&settings).unwrap().into_iter().map(|pair| pair.0).collect();
    assert!(
        names.contains(&"environment.LOG_LEVEL".to_owned()) && !names.contains(&"environment".to_owned()),
        "{names:?}"
    );
    let text = unset(&text, path(), "environment.npm_config_registry").unwrap();
    assert_eq!(text, set(TEMPLATE, path(), "environment.LOG_LEVEL", "debug").unwrap());
    assert_eq!(set(&text, path(), "environment.LOG_LEVEL", "debug").unwrap(), text);
    // As setup saves them.
    let mut desired = parse(&text);
    desired.environment.clear();
    desired.environment.insert("TZ".parse().unwrap(), "Europe/London".parse().unwrap());
    let saved = desired.edit(&text, path()).unwrap();
    assert!(saved.contains("TZ = \"Europe/London\"\n") && !saved.contains("\nLOG_LEVEL"), "{saved}");
    assert_eq!(parse(&saved), desired);
    // Wherever the file has them.
    for text in ["environment = { A = '1' }\n", "environment.A = '1'\n", "[[mounts]]\nhost = '/a'\ncontainer = '/b'\n"]
    {
        let set = set(text, path(), "environment.B", "2").unwrap();
        assert_eq!(parse(&set).environment.len(), 1 + parse(text).environment.len(), "{set}");
        let unset = unset(&set, path(), "environment.B").unwrap();
        assert_eq!(parse(&unset).environment, parse(text).environment, "{unset}");
    }
}

#[test]
fn wrong_variables_are_refused() {
    for (key, reason) in [
        ("environment.", "isn't a valid name"),
        ("environment.A.B", "isn't a valid name"),
        ("environment.PATH", "reserved"),
        ("environment.OPENCODE_SERVER_PASSWORD", "password of the page"),
    ] {
        match set(TEMPLATE, path(), key, "x").unwrap_err() {
            Error::SettingRefused { reason: said, .. } => assert!(said.contains(reason), "{key}: {said}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(set(TEMPLATE, path(), "environment", "A=1").unwrap_err(), Error::Usage { .. }));
    let Error::SettingsInvalid { line, reason, .. } = Settings::parse("[environment]\nA = 1\n", path()).unwrap_err()
    else {
        panic!("a number is no text");
    };
    assert_eq!(line, 2, "{reason}");
    let Error::SettingsInvalid { line, reason, .. } =
        Settings::parse("[environment]\n\nHOME = '/x'\n", path()).unwrap_err()
    else {
        panic!("HOME is reserved");
    };
    assert!(line == 3 && reason.contains("reserved"), "{line}: {reason}");
}

#[test]
fn a_list_is_typed_as_toml_or_as_words() {
    for (typed, written) in [
        ("[fd00::1]:8080", r#"["[fd00::1]:8080"]"#),
        ("[fd00::1]", r#"["[fd00::1]"]"#),
        ("host:11434, [fd00::1]:80", r#"["host:11434", "[fd00::1]:80"]"#),
        (r#"["host", 'fd00::/64']"#, r#"["host", 'fd00::/64']"#),
    ] {
        let text = set("[network]\nallow = []\n", path(), "network.allow", typed).unwrap();
        assert_eq!(text.trim(), format!("[network]\nallow = {written}"), "{typed}");
    }
    assert!(set("", path(), "network.allow", r#"["host", "#).is_err());
    for (typed, written) in [
        ("**/{target,node_modules}, a/b", r#"["**/{target,node_modules}", "a/b"]"#),
        ("a/{b,{c,d}},e", r#"["a/{b,{c,d}}", "e"]"#),
    ] {
        let text = set("[backup]\nexclude = []\n", path(), "backup.exclude", typed).unwrap();
        assert_eq!(text.trim(), format!("[backup]\nexclude = {written}"), "a comma in braces separates nothing");
    }
}

#[test]
fn wrong_keys_and_values_are_refused() {
    for (key, nearest) in [
        ("network.prot", "network.port"),
        ("port", "network.port"),
        ("memory", "resources.memory"),
        ("restart.autostrat", "restart.autostart"),
        ("mount", "mounts"),
    ] {
        match set(TEMPLATE, path(), key, "1").unwrap_err() {
            Error::SettingUnknown { suggestion, .. } => assert!(suggestion.contains(nearest), "{key}: {suggestion}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        matches!(find("weather.today").unwrap_err(), Error::SettingUnknown { suggestion, .. } if !suggestion.contains("mean"))
    );
    for far in ["nope", "x", "cpu.abc", "network.xyzt"] {
        assert!(
            matches!(find(far).unwrap_err(), Error::SettingUnknown { suggestion, .. } if !suggestion.contains("mean")),
            "{far}"
        );
    }
    for (key, value) in [
        ("network.port", "70000"),
        ("network.port", "many"),
        ("network.bind", "example.org"),
        ("resources.memory", "1MiB"),
        ("resources.cpus", "NaN"),
        ("resources.pids", "1"),
        ("restart.policy", "engine"),
        ("restart.autostart", "maybe"),
        ("image.source", "pull"),
        ("image.extra_packages", "$(reboot)"),
        ("image.extra_packages", "[1]"),
        ("backup.every", "soon"),
        ("backup.every", "24"),
        ("backup.keep", "-1"),
        ("backup.keep", "7 d"),
        ("backup.keep_changes", "0"),
        ("backup.exclude", "a,{b,**}"),
        ("backup.copy", "cp {path} /mnt"),
        ("backup.copy", "cp {file} /mnt/{}{nam}"),
        ("network.port", "7d"),
        ("version", "2"),
    ] {
        match set(TEMPLATE, path(), key, value).unwrap_err() {
            Error::SettingRefused { key: refused, hint, .. } => {
                assert_eq!(refused, key);
                assert!(hint.contains(allowed(key)), "{hint}");
            }
            other => panic!("{key}: {other:?}"),
        }
    }
    assert!(matches!(
        set("[network]\nprot=1", path(), "network.port", "1"),
        Err(Error::SettingsInvalid { line: 2, .. })
    ));
    assert!(matches!(set(TEMPLATE, path(), "mounts", "/a:/b"), Err(Error::Usage { .. })));
    let pulled = "[image]\nsource = 'pull'\nreference = 'x'\n";
    assert!(matches!(unset(pulled, path(), "image.reference"), Err(Error::SettingRefused { .. })));
}

#[test]
fn mounts_come_and_go() {
    let text = "# mine\n[network]\nport = 1 # one\n\n# my code\n[[mounts]] # first\nhost = '/a'\n# inside\ncontainer = '/workspace/a'\n\n# end";
    let added = add_mount(text, &"/b \"c\":/workspace/b:ro".parse().unwrap()).unwrap();
    assert_eq!(
        parse(&added).mounts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["/a:/workspace/a", "/b \"c\":/workspace/b:ro"]
    );
    assert_eq!(remove_mount(&added, 1).unwrap().trim_end(), text);
    let without = remove_mount(&added, 0).unwrap();
    assert_eq!(parse(&without).mounts.len(), 1);
    for comment in ["# mine", "# one", "# my code", "# first", "# inside", "# end"] {
        assert!(without.contains(comment), "{comment}\n{without}");
    }
    let inline = add_mount("mounts = [{ host = '/a', container = '/b' }]", &"/c:/d".parse().unwrap()).unwrap();
    assert_eq!(parse(&inline).mounts.len(), 2);
    assert_eq!(parse(&remove_mount(&inline, 0).unwrap()).mounts[0].container, "/d");
    assert!(remove_mount(TEMPLATE, 0).is_err());
}

/// Values for each key, some of them wrong.
fn value(key: usize) -> BoxedStrategy<String> {
    let of = |values: &'static [&'static str]| proptest::sample::select(values).prop_map(str::to_owned).boxed();
    match KEYS[key].0 {
        "backup.keep" => of(&["7", "0", "7d 4w 6m", "24h", "7 d"]),
        "network.port" | "resources.pids" | "backup.keep_changes" => (0..70_000i64).prop_map(|n| n.to_string()).boxed(),
        "network.bind" => of(&["127.0.0.1", "::1", "localhost", "x"]),
        "image.source" => of(&["build", "pull", "load", "x"]),
        "resources.memory" => of(&["1GiB", "256MiB", "4 GB", "1B"]),
        "resources.cpus" => of(&["0", "1.5", "-2"]),
        "restart.policy" => of(&["always", "on-failure", "never", "x"]),
        "restart.autostart" => of(&["true", "false", "x"]),
        "image.extra_packages" => of(&["", "git", "git,curl", "['git', \"curl\"]", "["]),
        "backup.every" | "backup.test_every" => of(&["", "24h", "7d", "x"]),
        _ => "[^#\\pC]{0,12}".boxed(),
    }
}

/// A file with comments in every place that a person puts them.
fn file() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<bool>(), TEMPLATE.lines().count() * 2).prop_map(|here| {
        let mut text = String::new();
        for (number, line) in TEMPLATE.lines().enumerate() {
            if here[2 * number] {
                text.push_str(&format!("  # above {number}\n"));
            }
            let keep = here[2 * number + 1] || line.starts_with('[') || !line.contains(" = ");
            text.push_str(if keep { line } else { "" });
            text.push('\n');
        }
        text.push_str("# the end");
        text
    })
}

/// No value of these files has a # in it.
fn comments(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_once('#')).map(|(_, comment)| comment).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_set_and_unset_leaves_a_file_that_parses_with_its_comments(
        text in file(),
        steps in proptest::collection::vec((0..KEYS.len(), any::<bool>()).prop_flat_map(|(key, set)| (Just(key), Just(set), value(key))), 1..12),
    ) {
        let first = text.clone();
        let mut text = text;
        for (key, is_set, value) in steps {
            let key = KEYS[key].0;
            let old = parse(&text);
            let changed = if is_set { set(&text, path(), key, &value) } else { unset(&text, path(), key) };
            let Ok(new) = changed else { continue };
            let settings = parse(&new);
            // Only this key is different, and it is what was asked for.
            for ((name, one), (_, other)) in values(&old).unwrap().into_iter().zip(values(&settings).unwrap()) {
                prop_assert!(name == key || one == other, "{key} changed {name}");
            }
            if !is_set {
                prop_assert_eq!(get(&settings, key).unwrap(), get(&Settings::default(), key).unwrap());
            }
            text = new;
        }
        prop_assert_eq!(comments(&text), comments(&first), "{}", text);
    }

    #[test]
    fn mounts_of_any_name_survive(host in "/[^\\x00]{0,20}", inside in "/[a-z#\"' ]{1,12}x") {
        let mount = Mount { host: host.into(), container: inside, read_only: true };
        let added = add_mount(TEMPLATE, &mount).unwrap();
        prop_assert_eq!(&parse(&added).mounts, &vec![mount]);
        let removed = remove_mount(&added, 0).unwrap();
        prop_assert_eq!(removed.trim_end(), TEMPLATE.trim_end());
    }
}
