//! What docklet is built from: where its crates come from, under which licences, which it must not have, and that the
//! actions of continuous integration are pinned and try every engine. A test and no `cargo-deny`: that takes minutes to install, and what is
//! needed of it is little. Known holes are looked up by continuous integration alone, for they need the network.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Where crates may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Licences that ask for no more than to be named.
const LICENCES: [&str; 8] =
    ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib"];

/// Crates under other licences, each with the reason why it may be used.
const EXCEPTIONS: [(&str, &str); 1] = [("option-ext", "MPL-2.0")]; // concerns changes to its own files only

/// Crates that must not come in: TLS is rustls's, with nothing of the system's to find at build time.
const BANNED: [&str; 4] = ["native-tls", "openssl", "openssl-sys", "aws-lc-sys"];

/// Crates of which two versions would be a mistake: large ones, and those whose types two crates must share.
const ONCE: [&str; 8] = ["bollard", "clap", "hyper", "ring", "rustls", "serde", "tokio", "zstd-sys"];

/// Most crates that an installation may compile: it takes minutes as it is.
const MOST: usize = 220;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Name and source of every crate in `Cargo.lock`, for all platforms.
fn locked() -> Vec<(String, Option<String>)> {
    let lock: toml::Table = fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    let text = |package: &toml::Value, key: &str| package.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    let packages = lock["package"].as_array().unwrap();
    packages.iter().map(|package| (text(package, "name").unwrap(), text(package, "source"))).collect()
}

#[test]
fn crates_come_from_the_registry_and_none_is_banned() {
    let locked = locked();
    assert!(locked.len() > 100, "{}", locked.len());
    for (name, source) in &locked {
        let own = name == "docklet" && source.is_none();
        assert!(own || source.as_deref() == Some(REGISTRY), "{name} comes from {source:?}");
        assert!(!BANNED.contains(&name.as_str()), "{name} is banned: cargo tree --target all -i {name}");
    }
    for once in ONCE {
        let versions = locked.iter().filter(|(name, _)| name == once).count();
        assert_eq!(versions, 1, "{once} is there {versions} times: cargo tree --target all -i {once}");
    }
}

/// What cargo says when it is run for the system that it runs on: only what that needs was downloaded.
fn cargo(arguments: &[&str], choice: &str) -> Vec<u8> {
    let host = Command::new(env!("CARGO")).args(["-vV"]).output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("the host's name");
    let here = ["--offline", "--locked", choice, host];
    let output = Command::new(env!("CARGO")).args(arguments).args(here).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn an_installation_stays_small() {
    let tree = cargo(&["tree", "--edges", "normal,build", "--prefix", "none", "--no-dedupe"], "--target");
    let tree = String::from_utf8(tree).unwrap();
    let crates: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (proc-macro)")).collect();
    assert!((100..=MOST).contains(&crates.len()), "{} crates", crates.len());
}

#[test]
fn licences_allow_it() {
    let metadata = cargo(&["metadata", "--format-version", "1"], "--filter-platform");
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{}", packages.len());
    for package in packages {
        let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or("none"));
        assert!(is_allowed(licence) || EXCEPTIONS.contains(&(name, licence)), "{name} has the licence {licence}");
    }
}

/// Whether at least one choice that an expression leaves has licences from the list only.
fn is_allowed(expression: &str) -> bool {
    let all = expression.replace(['(', ')'], "").replace('/', " OR ");
    all.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn expressions_of_licences_are_read() {
    for allowed in ["MIT", "MIT/Apache-2.0", "Apache-2.0 OR GPL-2.0-only", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["", "none", "GPL-3.0-only", "MIT AND GPL-3.0-only", "(MIT OR ISC) AND MPL-2.0"] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn actions_are_pinned_by_commit_and_get_no_rights() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join(".github/workflows")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines().filter_map(|line| line.split_once("uses: ").map(|(_, action)| action)) {
            let (action, tag) = line.split_once(" # v").unwrap_or_else(|| panic!("{line} names no tag"));
            let commit = action.split_once('@').map_or("", |(_, commit)| commit);
            let pinned = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(pinned && tag.starts_with(|c: char| c.is_ascii_digit()), "{line} is not pinned");
            seen += 1;
        }
        // Only the job that publishes a release may write.
        let (before, publishing) = text.split_once("\n  publish:\n").unwrap_or((&text, ""));
        assert!(text.contains("\npermissions: {}\n") && !before.contains(": write"), "rights are given job by job");
        assert!(publishing.matches(": write").count() <= 3, "provenance, the release and the registry need no more");
        let (checkouts, kept) = (text.matches("actions/checkout@").count(), "persist-credentials: false");
        assert_eq!(text.matches(kept).count(), checkouts, "a token would stay in .git/config");
    }
    assert!(seen > 0);
}

#[test]
fn continuous_integration_tries_every_engine() {
    let output = Command::new(root().join("tests/engines")).arg("--list").output().unwrap();
    let cells: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(|cell| format!("- {cell}")).collect();
    assert!(cells.len() > 10, "{cells:?}");
    let workflow = fs::read_to_string(root().join(".github/workflows/ci.yml")).unwrap();
    let (_, matrix) = workflow.split_once("        cell:\n").unwrap();
    let listed: Vec<&str> = matrix.lines().map(str::trim).take_while(|line| line.starts_with("- ")).collect();
    assert_eq!(listed, cells);
}
