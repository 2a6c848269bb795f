//! `docklet open`: what it prints, which program it starts, and what the browser is given then.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use crate::support::*;

/// Puts programs into the world's folder that write down what they were told, and end with a code.
fn programs(world: &World, programs: &[(&str, i32)]) {
    for (name, code) in programs {
        let path = world.folder().join(name);
        let log = world.folder().join(format!("{name}.told"));
        let script =
            format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >'{0}.new' && mv '{0}.new' '{0}'\nexit {code}\n", log.display());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// What a program was told, if it was started.
fn told(world: &World, name: &str) -> Option<String> {
    let text = fs::read_to_string(world.folder().join(format!("{name}.told"))).ok()?;
    Some(text.trim().to_owned())
}

/// Runs `docklet open` where such a program is the browser; the command, still running, and what the program was told.
pub fn opened(world: &World, browser: &str, environment: &[(&str, &str)]) -> (Child, String) {
    programs(world, &[(browser, 0)]);
    let path = format!("{}:{}", world.folder().display(), std::env::var("PATH").unwrap());
    let mut command = world.docklet();
    command.args(["open", "--json"]).env("PATH", path).envs(environment.iter().copied());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let told = wait_for(SOON, "docklet open to open a browser", || told(world, browser));
    (child, told)
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_printed_address_signs_in() {
    let world = World::new();
    world.setup();
    let address = world.ok(&["open", "--print"]);
    let expected = format!("http://opencode:{}@127.0.0.1:{}/", world.password(), world.port);
    assert_eq!(address.trim(), expected, "browsers sign in with user and password in the address");
    assert_eq!(world.http_get("/", None).0, 401);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn in_wsl_the_browser_of_windows_opens_the_page() {
    let world = World::new();
    world.setup();
    let wsl = [("WSL_DISTRO_NAME", "Debian"), ("DISPLAY", ":0")];
    // An xdg-open is often there, and has no browser to start.
    programs(&world, &[("xdg-open", 0), ("wslview", 1)]);
    let (child, told_rundll) = opened(&world, "rundll32.exe", &wsl);
    let address = told_rundll.strip_prefix("url.dll,FileProtocolHandler ").expect("the way without a shell");
    let place = address.strip_prefix("http://127.0.0.1:").unwrap();
    let (port, path) = place.split_once('/').unwrap();
    let (status, body) = http(port.parse().unwrap(), "GET", &format!("/{path}"), None, None);
    let page = format!("http://127.0.0.1:{}/", world.port);
    assert!(status == 200 && body.contains(&format!("location.replace(\"{page}\")")), "{status} {body}");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(json(&output)["page"], page.as_str());
    assert_eq!(told(&world, "wslview").as_deref(), Some(address), "wslu's program is tried first");
    assert_eq!(told(&world, "xdg-open"), None);
    assert!(!address.contains(&world.password()), "{address}");

    // Whoever names a browser gets that one.
    let (mut child, _) = opened(&world, "mine", &[wsl[0], wsl[1], ("BROWSER", "mine")]);
    child.kill().unwrap();
    child.wait().unwrap();
}
