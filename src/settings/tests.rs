//! Settings files: good and wrong ones, and by property tests any text, good files in every spelling of TOML and with
//! damage, and values as users type them. What cannot be read is an error with its place; comments survive changes.

#![allow(clippy::unwrap_used)]

mod schema;

use proptest::prelude::*;

use super::*;
use crate::{engine::reference::Reference, error::Code, instance_name::InstanceName};

fn path() -> &'static Path {
    Path::new("settings.toml")
}

fn parse(text: &str) -> Result<Settings> {
    Settings::parse(text, path())
}

#[test]
fn the_template_is_the_default() {
    assert_eq!(parse(TEMPLATE).unwrap(), Settings::default());
    assert_eq!(parse("").unwrap(), Settings::default());
    assert_eq!(Settings::default().edit(TEMPLATE, path()).unwrap(), TEMPLATE);
}

#[test]
fn comments_survive_a_change() {
    let mut settings = Settings::default();
    settings.network.port = Port(3001);
    settings.mounts = vec!["/home/me/app:/workspace/app:ro".parse().unwrap()];
    let text = settings.edit(TEMPLATE, path()).unwrap();
    assert_eq!(parse(&text).unwrap(), settings);
    for comment in TEMPLATE.lines().filter_map(|l| l.split_once('#')).map(|(_, c)| c) {
        assert!(text.contains(comment), "{comment}\n{text}");
    }
    assert_eq!(settings.edit(&text, path()).unwrap(), text, "a second save changes nothing");
    let back = Settings::default().edit(&text, path()).unwrap();
    assert_eq!(back.trim_end(), TEMPLATE.trim_end());
}

#[test]
fn a_wrong_key_is_refused_with_place_and_nearest_key() {
    match parse("version = 1\n[network]\n  prot = 1\n") {
        Err(Error::SettingsInvalid { line, column, suggestion, .. }) => {
            assert_eq!((line, column), (3, 3));
            assert_eq!(suggestion.unwrap(), "did you mean `port`? Known here: bind, port, egress, allow");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_and_durations_are_refused_with_the_right_reason() {
    for (text, reason) in [
        ("version = 2", "version 2 is from a newer docklet; this one reads version 1"),
        ("version = 0", "there is no version 0; write version = 1"),
        ("[backup]\nevery = \"24\"", "`24` has no unit; write it like 24h or 24d"),
    ] {
        match parse(text) {
            Err(Error::SettingsInvalid { reason: said, .. }) => assert_eq!(said, reason),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn only_placeholders_that_docklet_knows_are_in_a_command() {
    let copy = |command: &str| parse(&format!("[backup]\ncopy = {}", toml::Value::from(command)));
    for good in ["cp {file} x/{name}", "x ${file} ${HOME} ${other}", "awk '{ print $1 }' {file}", "touch {a,b} {}", "{"]
    {
        assert!(copy(good).is_ok(), "{good}");
    }
    for bad in ["cp {path}", "cp {file} {instance}", "{{other}}"] {
        let error = copy(bad).unwrap_err().causes().join(" ");
        assert!(error.contains("{file} and {name}"), "{bad}: {error}");
    }
}

#[test]
fn wrong_values_are_refused() {
    for text in [
        "version = 2",
        "[network]\nport = 0",
        "[network]\nport = 70000",
        "[network]\nbind = \"example.org\"",
        "[resources]\nmemory = \"4 potatoes\"",
        "[resources]\nmemory = \"1MiB\"",
        "[resources]\ncpus = -1",
        "[resources]\npids = 1",
        "[resources]\ndisk = \"50\"",
        "[resources]\ndisk = \"much\"",
        "[restart]\npolicy = \"engine\"",
        "[image]\nsource = \"pull\"",
        "[image]\nextra_packages = [\"$(reboot)\"]",
        "[backup]\nevery = \"soon\"",
        "[backup]\nkeep = \"7 d\"",
        "[backup]\nkeep = 1.5",
        "[backup]\nexclude = [\"/a\"]",
        "[backup]\nkeep_changes = 0",
        "[[mounts]]\nhost = \"/x\"",
        "not toml",
    ] {
        assert!(matches!(parse(text), Err(Error::SettingsInvalid { .. })), "{text}");
    }
}

/// Parses, and checks what must hold of any text.
fn read(text: &str) -> Option<Settings> {
    match Settings::parse(text, path()) {
        Ok(settings) => Some(settings),
        Err(Error::SettingsInvalid { line, column, reason, .. }) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&line), "line {line} of {lines}\n{text}");
            let width = text.split('\n').nth(line - 1).unwrap().chars().count();
            assert!((1..=width + 1).contains(&column), "column {column} of {width} in line {line}\n{text}");
            assert!(!reason.trim().is_empty() && !reason.contains('\n'), "{reason:?}\n{text}");
            None
        }
        Err(other) => panic!("{other:?}\n{text}"),
    }
}

/// The keys of the template with their sections and values, as text.
fn entries() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut section = "";
    let mut entries = vec![];
    for line in TEMPLATE.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.split_once(" = ") {
            entries.push((section, key.trim(), value.trim()));
        }
    }
    entries
}

/// How a section is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Table,
    Inline,
    Dotted,
    Quoted,
    Missing,
}

/// A good file: each section in a spelling of its own, with comments beside and between, and its line ends.
fn good_file() -> impl Strategy<Value = String> {
    use Spelling::{Dotted, Inline, Missing, Quoted, Table};
    let spelling = proptest::sample::select(vec![Table, Inline, Dotted, Quoted, Missing]);
    let mounts = proptest::sample::select(vec![
        "",
        "mounts = [{ host = '/a', container = '/b' }, # first\n { host = \"/c\", container = '/d', read_only = true }]\n",
        "[[mounts]] # one\nhost = '/a' # two\n# three\ncontainer = '/b'\n",
    ]);
    let sections = ["network", "engine", "image", "resources", "restart", "trust", "update", "backup"];
    let crlf = any::<bool>();
    (proptest::collection::vec(spelling, sections.len()), mounts, crlf).prop_map(move |(spellings, mounts, crlf)| {
        let (mut top, mut tables) = (String::from("# mine\nversion = 1 # the first\n"), String::new());
        for (section, spelling) in sections.iter().zip(spellings) {
            let own: Vec<_> = entries().into_iter().filter(|(of, ..)| of == section).collect();
            let pairs: Vec<String> = own.iter().map(|(_, key, value)| format!("{key} = {value}")).collect();
            match spelling {
                Missing => {}
                Inline => top.push_str(&format!("{section} = {{ {} }} # inline {section}\n", pairs.join(", "))),
                Dotted => pairs.iter().for_each(|pair| top.push_str(&format!("{section}.{pair} # dotted\n"))),
                Table => {
                    tables.push_str(&format!("\n# above {section}\n[{section}] # beside {section}\n"));
                    pairs.iter().for_each(|pair| tables.push_str(&format!("  {pair} # plain\n")));
                }
                Quoted => {
                    tables.push_str(&format!("[ \"{section}\" ]\n"));
                    own.iter().for_each(|(_, key, value)| tables.push_str(&format!("'{key}'={value}# tight\n")));
                }
            }
        }
        let inline = mounts.starts_with("mounts");
        let text = if inline { format!("{top}{mounts}{tables}# end") } else { format!("{top}{tables}{mounts}# end") };
        if crlf { text.replace('\n', "\r\n") } else { text }
    })
}

/// One piece of damage: where, how much is cut, and what is put there.
fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, String)>> {
    let piece = prop_oneof![
        "[\\[\\]{}='\"#.,\\\\\n\r\t -]{0,3}",
        "(true|-1|1e999|0x1F|inf|nan|99999999999999999999|1979-05-27|\"\"|'''|\u{0})",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec((any::<prop::sample::Index>(), 0..6usize, piece), 1..4)
}

fn damaged(text: &str, damage: Vec<(prop::sample::Index, usize, String)>) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (at, cut, piece) in damage {
        let at = at.index(text.len() + 1);
        let end = (at + cut).min(text.len());
        text.splice(at..end, piece.chars());
    }
    text.into_iter().collect()
}

/// Values that somebody may type for any key.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "3001",
            "0",
            "1.5",
            "true",
            "never",
            "always",
            "build",
            "pull",
            "::1",
            "localhost",
            "2GiB",
            "24h",
            "git, curl",
            "['a\\\"b']",
            "[",
            "",
            "'",
            "\"",
            "a # b",
            "\\",
            "a\nb",
            "\u{0}",
            "\u{7f}",
            "-0.0",
            "1e3",
            "64",
            "65536",
        ])
        .prop_map(str::to_owned),
        ".{0,20}",
    ]
}

/// The comments of these files, none of whose values has a # in it.
fn comments(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_once('#')).map(|(_, comment)| comment.trim_end()).collect()
}

/// What a typed value is read as is written in a way that is read as the same.
fn reads_back<T>(text: &str) -> Result<(), TestCaseError>
where
    T: std::str::FromStr + std::fmt::Display,
    T::Err: ToString,
{
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            let again = written.parse::<T>().map(|again| again.to_string()).map_err(|reason| reason.to_string());
            prop_assert_eq!(again, Ok(written), "{:?}", text);
        }
        Err(reason) => prop_assert!(!reason.to_string().trim().is_empty(), "{text:?}"),
    }
    Ok(())
}

/// Text near what users type for ports, sizes, times, mounts and names.
fn typed() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,30}",
        "[0-9+. -]{0,22}[kKmMgGtTiIbBsmhd ]{0,4}",
        "[a-z0-9.:/@_-]{0,40}",
        "[~./a-z :\\\\]{0,20}(:[/a-z. ]{0,12}){0,3}(:ro|:rw)?",
        "(\\[)?[0-9a-f:.%]{0,20}(\\])?",
        "[a-z0-9/]{1,9}(:[0-9]{1,5})?/[a-z]{1,5}(:[a-zA-Z0-9._-]{0,8})?(@sha256:[0-9a-f]{0,64})?",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_with_its_place(text in "\\PC{0,200}|[a-z\\[\\]={}'\"#\n .0-9]{0,120}") {
        read(&text);
    }

    #[test]
    fn good_files_of_every_spelling_are_read_and_saved(text in good_file()) {
        let settings = read(&text);
        prop_assert!(settings.is_some(), "{}", text);
        let mounts = settings.clone().unwrap().mounts;
        let mut wanted = Settings { mounts, ..Settings::default() };
        prop_assert_eq!(settings.as_ref(), Some(&wanted));
        // As setup saves a change, in whatever spelling the section is.
        wanted.network.port = Port(4321);
        wanted.resources.memory = "2GiB".parse().unwrap();
        let saved = wanted.edit(&text, path()).unwrap();
        prop_assert_eq!(read(&saved), Some(wanted), "{}", saved);
        prop_assert_eq!(comments(&saved), comments(&text), "{}", saved);
    }

    #[test]
    fn damaged_files_are_read_or_refused_and_what_is_read_can_be_changed(
        text in good_file(), damage in damage(), key in 0..keys::names().count(), value in value(),
    ) {
        let text = damaged(&text, damage);
        let before = read(&text);
        let key = keys::names().nth(key).unwrap();
        for changed in [keys::set(&text, path(), key, &value), keys::unset(&text, path(), key)] {
            match changed {
                Ok(new) => prop_assert!(before.is_some() && read(&new).is_some(), "{key} = {value:?}\n{text}\n->\n{new}"),
                Err(error) => prop_assert_ne!(error.code(), Code::Bug, "{} = {:?}: {:?}\n{}", key, value, error, text),
            }
        }
        if let Some(settings) = before {
            // As setup saves them.
            let mut wanted = settings.clone();
            wanted.network.port = Port(4321);
            wanted.mounts = vec!["/x y:/workspace/x:ro".parse().unwrap()];
            let saved = wanted.edit(&text, path()).unwrap();
            prop_assert_eq!(read(&saved), Some(wanted), "{}\n->\n{}", text, saved);
        }
    }

    #[test]
    fn set_and_unset_keep_every_spelling_and_every_comment(
        text in good_file(), steps in proptest::collection::vec((0..keys::names().count(), any::<bool>(), value()), 1..8),
    ) {
        let mut now = text.clone();
        for (key, is_set, value) in steps {
            // A value with a # in it would count as a comment below.
            if value.contains('#') {
                continue;
            }
            let key = keys::names().nth(key).unwrap();
            let changed =
                if is_set { keys::set(&now, path(), key, &value) } else { keys::unset(&now, path(), key) };
            match changed {
                Ok(new) => {
                    prop_assert!(read(&new).is_some(), "{key} = {value:?}\n{now}\n->\n{new}");
                    prop_assert_eq!(comments(&new), comments(&text), "{} = {:?}\n{}\n->\n{}", key, value, now, new);
                    now = new;
                }
                Err(error) => prop_assert_ne!(error.code(), Code::Bug, "{}: {:?}\n{}", key, error, now),
            }
        }
    }

    #[test]
    fn typed_values_are_refused_with_a_reason_or_read_back(text in typed()) {
        reads_back::<Port>(&text)?;
        reads_back::<Bind>(&text)?;
        reads_back::<Memory>(&text)?;
        reads_back::<DiskLimit>(&text)?;
        reads_back::<Cpus>(&text)?;
        reads_back::<Every>(&text)?;
        reads_back::<Age>(&text)?;
        reads_back::<Mount>(&text)?;
        reads_back::<PackageName>(&text)?;
        reads_back::<InstanceName>(&text)?;
        reads_back::<Reference>(&text)?;
        let _ = text.parse::<Every>().map(|every| every.duration());
        let _ = text.parse::<InstanceName>().map(|instance| instance.flag());
    }
}
