//! What docklet is built from: few crates. What cargo-deny checks is in .cargo/deny.toml. And that continuous integration
//! tries every engine, and writes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Most crates that an installation may compile: it takes minutes as it is.
const MOST: usize = 220;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
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

/// zizmor checks the rest of the workflows.
#[test]
fn only_the_job_that_publishes_may_write() {
    for entry in fs::read_dir(root().join(".github/workflows")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let (before, publishing) = text.split_once("\n  publish:\n").unwrap_or((&text, ""));
        assert!(before.contains("\npermissions: {}\n") && !before.contains(": write"), "rights are given job by job");
        assert!(publishing.matches(": write").count() <= 3, "provenance, the release and the registry need no more");
    }
}
