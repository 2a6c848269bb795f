//! Where the agent may connect to: `network.egress` and `network.allow` over listeners on this machine's bridge, in
//! another network and at an address that counts as the Internet; over restarts, also past docklet.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    process::Command,
    time::{Duration, Instant},
};

use crate::support::*;

/// A listener on all of this machine's addresses; what connects is accepted by the kernel.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Whether a program of the agent's gets a connection. A refusal has to come at once.
fn reaches(world: &World, host: &str, port: u16) -> bool {
    let script = "exit(IO::Socket::IP->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 5) ? 0 : 1)";
    let port = port.to_string();
    let began = Instant::now();
    let container = world.container();
    let done = docker_try(&["exec", &container, "perl", "-MIO::Socket::IP", "-e", script, host, &port]);
    assert!(began.elapsed() < Duration::from_secs(4), "{host}:{port} is refused, not left without an answer");
    match done.status.code() {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("{}", shown(&done)),
    }
}

/// A network of its own whose addresses are no private ones; this machine is its first address.
struct Internet {
    name: String,
    host: String,
}

impl Internet {
    /// Tests at the same time take different ranges.
    fn new(range: &str) -> Self {
        let name = format!("internet-{}", random_hex());
        let host = format!("{range}.1");
        let subnet = format!("{range}.0/24");
        docker(&["network", "create", "--subnet", &subnet, "--gateway", &host, &name]);
        Internet { name, host }
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        docker_try(&["network", "rm", &self.name]);
    }
}

fn gateway(world: &World) -> String {
    let network = world.container();
    docker(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", &network])
}

fn id(world: &World) -> String {
    world.inspect().unwrap()["Id"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn egress_internet_keeps_the_agent_from_this_machine_and_its_networks() {
    let (_listener, port) = listener();
    let internet = Internet::new("198.51.100");
    let world = World::supervised();
    world.setup();
    let neighbour = World::new();
    neighbour.setup();
    let other = docker(&[
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        &neighbour.container(),
    ]);
    let closed = |when: &str| {
        assert!(!reaches(&world, "host.docker.internal", port), "{when}: this machine");
        assert!(!reaches(&world, &gateway(&world), port), "{when}: the gateway");
        assert!(!reaches(&world, &other, 3000), "{when}: another network");
        assert!(!reaches(&world, "169.254.169.254", 80), "{when}: the metadata address");
        assert!(reaches(&world, &internet.host, port), "{when}: the Internet");
        assert!(reaches(&world, "127.0.0.1", 3000), "{when}: itself");
        assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200, "{when}: the page");
    };
    closed("after setup");
    world.ok(&["restart"]);
    closed("after docklet restart");
    // Past docklet: its entrypoint waits, and the supervisor loads the rules.
    let answers = || world.http_get("/global/health", Some(&world.password())).0 == 200;
    docker(&["restart", "--time", "5", &world.container()]);
    wait_until(Duration::from_secs(30), "the page after docker restart", answers);
    closed("after docker restart");
    docker(&["kill", &world.container()]);
    wait_until(Duration::from_secs(30), "the page after a crash", answers);
    closed("after a crash");
    // Nothing inside can change them, root neither.
    for user in ["1000", "0"] {
        let flush = docker_try(&["exec", "--user", user, &world.container(), "/usr/sbin/nft", "flush", "ruleset"]);
        assert!(!flush.status.success(), "{}", shown(&flush));
    }
    closed("after an attempt to flush");
    // What was refused is told, once the supervisor has looked.
    let told = || world.status()["egress"]["refused"].as_u64().is_some_and(|count| count > 0);
    world.ok(&["config", "set", "network.allow", "198.18.0.1"]);
    wait_until(Duration::from_secs(30), "what was refused", told);
    let status = world.status();
    assert_eq!(status["egress"]["mode"], "internet");
    assert!(status["egress"]["destinations"].to_string().contains("169.254.169.254"), "{status}");
    let checks = json(&world.run(&["doctor", "--json"]))["checks"].clone();
    let check = checks.as_array().unwrap().iter().find(|check| check["id"] == "egress").unwrap().clone();
    assert_eq!(check["level"], "ok", "{check}");
    assert!(check["message"].as_str().unwrap().contains("this machine can't be reached"), "{check}");
    drop(internet);
}

/// Gives a running container an IPv6 network with this machine, past the engine, which need not have IPv6 then. The
/// network is gone when the container stops.
fn connect_ipv6(world: &World, hosts: [&str; 2]) {
    let pid = world.inspect().unwrap()["State"]["Pid"].to_string();
    let outside = format!("v6{}", random_hex());
    let mut script = format!(
        "set -e; ip link add {outside} type veth peer name eth6 netns {pid}; ip link set {outside} up; \
         inside='nsenter --net=/proc/{pid}/ns/net'; \
         $inside sh -c 'echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6'; $inside ip link set eth6 up;"
    );
    for host in hosts {
        script += &format!(" ip -6 addr add {host}1/64 dev {outside} nodad;");
        script += &format!(" $inside ip -6 addr add {host}2/64 dev eth6 nodad;");
    }
    let done = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(done.status.success(), "this test needs root: {}", shown(&done));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn egress_over_ipv6_on_docker() {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // The first counts as the Internet, the second is private.
    let networks = ["2001:db8:d0c:1::", "fd0c:d0c:d0c:1::"];
    let [internet, private] = networks.map(|network| format!("{network}1"));
    let world = World::supervised();
    world.setup();
    let closed = |when: &str| {
        connect_ipv6(&world, networks);
        assert!(reaches(&world, &internet, port), "{when}: the Internet");
        assert!(!reaches(&world, &private, port), "{when}: a private address");
    };
    closed("after setup");
    world.ok(&["config", "set", "network.allow", &format!("[{private}]:{port}")]);
    assert!(reaches(&world, &private, port), "an address with a port");
    world.ok(&["config", "set", "network.allow", &format!("{private}/64")]);
    assert!(reaches(&world, &private, port), "a range");
    world.ok(&["config", "unset", "network.allow"]);
    assert!(!reaches(&world, &private, port), "no longer allowed");
    docker(&["restart", "--time", "5", &world.container()]);
    let answers = || world.http_get("/global/health", Some(&world.password())).0 == 200;
    wait_until(Duration::from_secs(30), "the page after docker restart", answers);
    closed("after docker restart");
    world.ok(&["config", "set", "network.egress", "all", "--yes"]);
    connect_ipv6(&world, networks);
    assert!(reaches(&world, &private, port), "all");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn egress_allow_takes_effect_without_a_new_container() {
    let (_listener, port) = listener();
    let (_second, closed_port) = listener();
    let world = World::new();
    world.setup();
    let before = id(&world);
    let address = gateway(&world);
    world.ok(&["config", "set", "network.allow", &format!("host:{port}")]);
    assert!(reaches(&world, "host.docker.internal", port));
    assert!(!reaches(&world, "host.docker.internal", closed_port), "one port is one port");
    let range: SocketAddr = format!("{address}:{port}").parse().unwrap();
    world.ok(&["config", "set", "network.allow", &format!("{}/30", range.ip())]);
    assert!(reaches(&world, &address, port) && reaches(&world, &address, closed_port), "a range, all ports");
    world.ok(&["config", "unset", "network.allow"]);
    assert!(!reaches(&world, &address, port) && !reaches(&world, "host.docker.internal", port));
    assert_eq!(id(&world), before, "the container is the same one");
    assert_eq!(json(&world.run(&["start", "--json"]))["changed"], false);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn egress_listed_and_all() {
    let (_listener, port) = listener();
    let internet = Internet::new("192.0.2");
    let world = World::new();
    let mut args = world.setup_args();
    args.extend(["--egress", "listed", "--allow", &format!("{}:{port}", internet.host)].map(str::to_owned));
    world.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(reaches(&world, &internet.host, port), "listed");
    assert!(!reaches(&world, &internet.host, port - 1) && !reaches(&world, &gateway(&world), port), "not listed");
    let before = id(&world);
    world.ok(&["config", "set", "network.egress", "all", "--yes"]);
    assert_ne!(id(&world), before, "its entrypoint waits for no rules");
    assert!(reaches(&world, &gateway(&world), port), "all");
    assert_eq!(world.status()["egress"]["mode"], "all");
    drop(internet);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn egress_rules_that_cannot_be_loaded_fail_the_start() {
    let world = World::new();
    let image = world.build(&stand_in(), &["USER 0", "RUN rm /usr/sbin/nft", "USER 1000:1000"]);
    let port = world.port.to_string();
    let began = Instant::now();
    let output = world.run(&["setup", "--yes", "--json", "--image", &image, "--port", &port]);
    assert_eq!(output.status.code(), Some(10), "{}", shown(&output));
    let error = json(&output)["error"].clone();
    assert_eq!(error["code"], "START_FAILED", "{error}");
    assert!(error["hint"].as_str().unwrap().contains("network.egress all"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "it does not wait for the time-out");
    assert_ne!(world.inspect().unwrap()["State"]["Running"], true, "nothing runs without its rules");
    world.ok(&["setup", "--yes", "--egress", "all"]);
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200);
}
