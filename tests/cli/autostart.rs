//! `docklet autostart`, on whatever this machine has: with a service manager in files of the test's own home,
//! without one as the error that says so.

use std::path::Path;

use crate::support::{Home, json, shown};

fn has_manager() -> bool {
    cfg!(target_os = "macos") || Path::new("/run/systemd/system").exists()
}

#[test]
fn without_a_service_manager_it_says_so() {
    if has_manager() {
        return;
    }
    let home = Home::set_up();
    let error = home.fails(&["autostart", "enable"], 4, "NOT_FOUND");
    assert!(error["message"].as_str().unwrap().contains("service manager"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("does not start after a reboot"), "{error}");
    assert_eq!(home.ok(&["config", "get", "restart.autostart"]).trim(), "false", "nothing was changed");
    let output = home.run(&["autostart", "status", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", shown(&output));
    let status = json(&output);
    assert_eq!((status["enabled"].clone(), status["survives_reboot"].clone()), (false.into(), false.into()));
    assert_eq!(status["manager"], serde_json::Value::Null);
    let output = home.run(&["config", "set", "restart.autostart", "true"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("after a reboot: docklet start"), "{}", shown(&output));
}

#[test]
fn enabling_and_disabling_leaves_no_trace() {
    if !has_manager() || cfg!(target_os = "macos") {
        return;
    }
    let home = Home::set_up();
    home.ok(&["autostart", "enable"]);
    let unit = home.path("user/.config/systemd/user/docklet-default.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    assert!(text.contains("DOCKLET_HOME=") && text.contains(" --instance default supervise"), "{text}");
    assert_eq!(home.ok(&["config", "get", "restart.autostart"]).trim(), "true");
    assert!(home.run(&["autostart", "status"]).status.success());
    home.ok(&["autostart", "disable"]);
    assert_eq!(std::fs::read_dir(unit.parent().unwrap()).unwrap().count(), 0);
    assert_eq!(home.run(&["autostart", "status"]).status.code(), Some(3));
    assert_eq!(home.ok(&["config", "get", "restart.autostart"]).trim(), "false");
}

#[test]
fn leftovers_of_a_service_are_removed_also_without_its_manager() {
    let home = Home::set_up();
    let units = home.path("user/.config/systemd/user");
    std::fs::create_dir_all(units.join("default.target.wants")).unwrap();
    std::os::unix::fs::symlink("/nowhere", units.join("default.target.wants/docklet-default.service")).unwrap();
    if cfg!(target_os = "macos") {
        return;
    }
    let output = json(&home.run(&["autostart", "disable", "--json"]));
    assert_eq!(output["changed"], true);
    assert_eq!(std::fs::read_dir(&units).unwrap().count(), 0);
}

#[test]
fn a_password_in_an_address_never_gets_into_a_service() {
    let home = Home::set_up();
    let output = home.docklet().env("DOCKER_HOST", "tcp://me:hunter2@host:2375").args(["autostart", "enable"]).output();
    let output = output.unwrap();
    assert!(!output.status.success());
    assert!(!shown(&output).contains("hunter2"), "{}", shown(&output));
}
