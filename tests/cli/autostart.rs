//! `docklet autostart` on a machine with systemd, and on one without a service manager.

use std::path::Path;
use std::process::Output;

use crate::support::{Home, json, shown, with_systemd, without_systemd};

/// docklet on a machine with systemd; `told` is what its systemctl was told.
fn with(home: &Home, args: &[&str]) -> Output {
    with_systemd(home.docklet().args(args), &home.path("systemd")).output().unwrap()
}

/// docklet on a machine without a service manager.
fn without(home: &Home, args: &[&str]) -> Output {
    without_systemd(home.docklet().args(args)).output().unwrap()
}

fn good(output: Output) -> String {
    assert!(output.status.success(), "{}", shown(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn without_a_service_manager_it_says_so() {
    let home = Home::set_up();
    let output = without(&home, &["autostart", "enable", "--json"]);
    assert_eq!(output.status.code(), Some(4), "{}", shown(&output));
    let error = json(&output)["error"].clone();
    assert_eq!(error["code"], "NOT_FOUND", "{error}");
    assert!(error["message"].as_str().unwrap().contains("service manager"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("does not start after a reboot"), "{error}");
    assert_eq!(home.ok(&["config", "get", "restart.autostart"]).trim(), "false", "nothing was changed");
    let output = without(&home, &["autostart", "status", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", shown(&output));
    let status = json(&output);
    assert_eq!((status["enabled"].clone(), status["survives_reboot"].clone()), (false.into(), false.into()));
    assert_eq!(status["manager"], serde_json::Value::Null);
    let output = without(&home, &["config", "set", "restart.autostart", "true"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("after a reboot: docklet start"), "{}", shown(&output));
}

#[test]
fn enabling_and_disabling_leaves_no_trace() {
    let home = Home::set_up();
    good(with(&home, &["autostart", "enable"]));
    let unit = home.path("user/.config/systemd/user/docklet-default.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    assert!(text.contains("DOCKLET_HOME=") && text.contains(" --instance default supervise"), "{text}");
    assert_eq!(home.ok(&["config", "get", "restart.autostart"]).trim(), "true");
    let status: serde_json::Value =
        serde_json::from_str(&good(with(&home, &["autostart", "status", "--json"]))).unwrap();
    assert_eq!((&status["manager"], &status["survives_reboot"]), (&"systemd".into(), &true.into()), "{status}");
    good(with(&home, &["autostart", "disable"]));
    assert_eq!(count(unit.parent().unwrap()), 0);
    assert_eq!(with(&home, &["autostart", "status"]).status.code(), Some(3));
    assert_eq!(home.ok(&["config", "get", "restart.autostart"]).trim(), "false");
    let told = std::fs::read_to_string(home.path("systemd/told")).unwrap();
    assert!(told.contains("--user daemon-reload") && told.contains("stop docklet-default.service"), "{told}");
}

#[test]
fn leftovers_of_a_service_are_removed_also_without_its_manager() {
    let home = Home::set_up();
    good(with(&home, &["autostart", "enable"]));
    let units = home.path("user/.config/systemd/user");
    assert_eq!(count(&units), 2, "the unit, and the folder of the link that starts it");
    let output = without(&home, &["autostart", "disable", "--json"]);
    assert_eq!(json(&output)["changed"], true, "{}", shown(&output));
    assert_eq!(count(&units), 0);
}

#[test]
fn a_password_in_an_address_never_gets_into_a_service() {
    let home = Home::set_up();
    let mut command = home.docklet();
    command.env("DOCKER_HOST", "tcp://me:hunter2@host:2375").args(["autostart", "enable", "--json"]);
    let output = with_systemd(&command, &home.path("systemd")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert_eq!(json(&output)["error"]["code"], "USAGE");
    assert!(!shown(&output).contains("hunter2"), "{}", shown(&output));
    assert!(!home.path("user/.config/systemd").exists(), "no file was written");
}
