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
        let _ = fs::remove_file(&log); // of an earlier one
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

/// Another user of this machine who runs a Perl script: a container in the engine's network, of no user that is
/// trusted, with nothing that the script would have to be granted.
struct Stranger(String);

impl Stranger {
    fn new(world: &World, name: &str, script: &str) -> Self {
        let name = format!("{}-{name}", world.container());
        let image = stand_in();
        let options = ["run", "--detach", "--network", "host", "--user", "65534", "--entrypoint", "perl"];
        docker(&[&options[..], &["--name", &name, &image, "-MIO::Socket::INET", "-e", script]].concat());
        Stranger(name)
    }

    fn saw(&self) -> String {
        docker(&["logs", &self.0])
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = docker_try(&["rm", "--force", &self.0]);
    }
}

/// Asks for an address, and shows what it is told.
fn asks(port: &str, path: &str) -> String {
    format!(
        "alarm 20; my $s = IO::Socket::INET->new('127.0.0.1:{port}') or die $@; \
         print {{$s}} \"GET /{path} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\"; print while <$s>; print qq(\\nthe end\\n)"
    )
}

/// Listens on a port, answers everybody that all is well, and shows what it is sent.
fn listens(port: u16) -> String {
    format!(
        "alarm 120; $| = 1; my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1:{port}', Listen => 9, ReuseAddr => 1) or die $@; \
         print qq(listens\\n); while (my $s = $l->accept) {{ while (<$s>) {{ print; last if /^\\r?$/ }} \
         print {{$s}} qq(HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{{}}); close $s }}"
    )
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn address_user_and_password_are_printed_where_no_browser_can_be_shown() {
    let world = World::new();
    world.setup();
    let page = format!("http://127.0.0.1:{}/", world.port);
    let expected = format!("{page}\n\n  user       opencode\n  password   {}", world.password());
    assert_eq!(world.ok(&["open", "--print"]).trim(), expected, "under an address with both in it the page breaks");
    let open = |more: &[&str]| {
        let mut command = world.docklet();
        let display = command.arg("open").args(more).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        let output = display.env_remove("SSH_CONNECTION").env_remove("SSH_TTY").output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        output
    };
    let output = open(&[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no browser can be shown here"), "{}", shown(&output));
    let report = json(&open(&["--json"]));
    assert_eq!(report["url"], page.as_str());
    assert_eq!(report["password"], world.password().as_str());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_page_that_is_too_busy_for_a_moment_is_opened() {
    let world = World::new();
    world.setup();
    world.misbehave("hang");
    wait_until(SOON, "the page to hang", || world.http_get("/global/health", None).0 == 0);
    programs(&world, &[("browser", 0)]);
    let path = format!("{}:{}", world.folder().display(), std::env::var("PATH").unwrap());
    let mut command = world.docklet();
    command.arg("open").env("PATH", path).env("BROWSER", "browser").env("DISPLAY", ":none");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One try takes three seconds.
    let began = std::time::Instant::now();
    wait_until(SOON, "a try that failed", || began.elapsed() > std::time::Duration::from_secs(4));
    assert!(child.try_wait().unwrap().is_none(), "it still waits for the page");
    world.misbehave("");
    wait_until(SOON, "the browser", || told(&world, "browser").is_some());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn another_user_who_comes_first_gets_nothing() {
    let world = World::new();
    world.setup();
    let (child, address) = opened(&world, "browser", &[("BROWSER", "browser"), ("DISPLAY", ":none")]);
    let (port, path) = address.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
    let stranger = Stranger::new(&world, "stranger", &asks(port, path));
    wait_until(SOON, "the stranger to be answered", || stranger.saw().contains("the end"));
    assert!(stranger.saw().starts_with("HTTP/1.1 404"), "{}", stranger.saw());
    assert!(!stranger.saw().contains(&world.password()), "{}", stranger.saw());
    // The browser, which comes later, is let in; by way of IPv6, too.
    let mut browser = std::net::TcpStream::connect(format!("[::ffff:127.0.0.1]:{port}")).unwrap();
    std::io::Write::write_all(&mut browser, format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut browser, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&world.password()), "{answer}");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_container_that_ends_before_the_browser_comes_costs_no_password() {
    let world = World::new();
    world.setup();
    let (child, address) = opened(&world, "browser", &[("BROWSER", "browser"), ("DISPLAY", ":none")]);
    docker(&["stop", "--time", "0", &world.container()]);
    let (port, path) = address.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
    let (status, body) = http(port.parse().unwrap(), "GET", &format!("/{path}"), None, None);
    assert!(status == 503 && !body.contains(&world.password()), "{status} {body}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(json(&output)["error"]["code"], "NOT_FOUND", "{}", shown(&output));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_password_is_not_sent_to_another_user_who_has_the_port() {
    let world = World::new();
    world.setup();
    // The container runs, and whatever the engine says, somebody else has its port: its forwarder is gone.
    let forwarder = format!(
        "for my $p (glob '/proc/[0-9]*/cmdline') {{ open my $f, '<', $p or next; my $c = <$f> // ''; \
         next unless $c =~ /^\\S*docker-proxy\\W/ && $c =~ /-host-port\\W{}\\W/; $p =~ /(\\d+)/; kill 9, $1; print 1 }}",
        world.port
    );
    let options = ["run", "--rm", "--pid", "host", "--user", "0", "--entrypoint", "perl", &stand_in(), "-e"];
    assert_eq!(docker(&[&options[..], &[&forwarder]].concat()), "1", "the engine publishes ports by docker-proxy");
    let stranger = Stranger::new(&world, "stranger", &listens(world.port));
    wait_until(SOON, "the stranger to listen", || stranger.saw().contains("listens"));

    assert_ne!(world.status()["state"], "running");
    let output = world.fails(&["open", "--json"], 10);
    let error = &json(&output)["error"];
    assert!(error["causes"].to_string().contains("so the password was not sent"), "{error}");
    world.fails(&["start", "--timeout", "1"], 10);
    let saw = stranger.saw();
    assert!(!saw.to_lowercase().contains("authorization"), "{saw}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_port_that_is_not_in_effect_yet_gets_no_password() {
    let world = World::new();
    world.setup();
    let port = free_port();
    let stranger = Stranger::new(&world, "stranger", &listens(port));
    wait_until(SOON, "the stranger to listen", || stranger.saw().contains("listens"));
    let settings = world.ok(&["config", "path"]);
    let settings = settings.trim();
    let text = fs::read_to_string(settings).unwrap();
    fs::write(settings, text.replace(&world.port.to_string(), &port.to_string())).unwrap();
    world.ok(&["backup"]);
    assert_eq!(stranger.saw(), "listens", "nothing was sent");
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
    assert_eq!(json(&output)["url"], page.as_str());
    assert_eq!(told(&world, "wslview").as_deref(), Some(address), "wslu's program is tried first");
    assert_eq!(told(&world, "xdg-open"), None);
    assert!(!address.contains(&world.password()), "{address}");

    // Whoever names a browser gets that one.
    let (mut child, _) = opened(&world, "mine", &[wsl[0], wsl[1], ("BROWSER", "mine")]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn no_password_is_printed_while_another_program_has_the_port() {
    let world = World::new();
    world.setup();
    world.ok(&["open", "--print"]);
    world.ok(&["stop"]);
    world.ok(&["open", "--print"]);
    let _other = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, world.port)).unwrap();
    let output = world.fails(&["open", "--print", "--json"], 8);
    assert_eq!(json(&output)["error"]["code"], "PORT_IN_USE", "{}", shown(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains(&world.password()), "{text}");
}
