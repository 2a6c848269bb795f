//! Where the agent may connect to: `network.egress` and `network.allow` over listeners on this machine's bridge, in
//! another network, at addresses of its own that count as public, and on the Internet; over restarts, also past docklet.

use std::{
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::{fd::AsFd as _, unix::net::UnixStream},
    time::{Duration, Instant},
};

use rustix::thread::LinkNameSpaceType;

use crate::support::*;

/// A listener on all of this machine's addresses; what connects is accepted by the kernel.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A program in perl, with IO::Socket::IP, that ends with 0 when it gets a connection to a host and port, else with 1.
pub const CONNECT: &str = "exit(IO::Socket::IP->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 5) ? 0 : 1)";

/// Whether a program of the agent's gets a connection. A refusal has to come at once.
fn reaches(world: &World, host: &str, port: u16) -> bool {
    let port = port.to_string();
    let began = Instant::now();
    let container = world.container();
    let done = docker_try(&["exec", &container, "perl", "-MIO::Socket::IP", "-e", CONNECT, host, &port]);
    assert!(began.elapsed() < Duration::from_secs(4), "{host}:{port} is refused, not left without an answer");
    match done.status.code() {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("{}", shown(&done)),
    }
}

/// A machine on the Internet: a network namespace that this machine reaches through a link with private addresses. A
/// listener there accepts what connects.
pub struct Internet {
    namespace: String,
    link: String,
    /// Its address.
    host: String,
    port: u16,
    _listener: TcpListener,
}

impl Internet {
    /// Tests at the same time take different numbers.
    pub fn new(number: u8) -> Self {
        let (namespace, link) = (format!("dkt-{}", random_hex()), format!("in{}", random_hex()));
        let host = format!("198.51.100.{number}");
        as_root_here(&format!(
            "ip netns add {namespace}; ip link add {link} type veth peer name out netns {namespace}
             ip addr add 10.212.{number}.1/30 dev {link}; ip link set {link} up
             inside='ip -n {namespace}'; $inside link set lo up; $inside addr add {host}/32 dev lo
             $inside addr add 10.212.{number}.2/30 dev out; $inside link set out up
             $inside route add default via 10.212.{number}.1; ip route add {host} via 10.212.{number}.2"
        ));
        let listener = listener_in(&format!("/run/netns/{namespace}"), "0.0.0.0");
        let port = listener.local_addr().unwrap().port();
        Internet { namespace, link, host, port, _listener: listener }
    }

    /// Whether it gets a connection to an address, by way of this machine.
    pub fn reaches(&self, address: &str, port: u16) -> bool {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        let address = SocketAddr::new(address.parse().unwrap(), port);
        let connect = move || {
            rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            TcpStream::connect_timeout(&address, Duration::from_secs(3)).is_ok()
        };
        std::thread::spawn(connect).join().unwrap()
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        as_root_here(&format!("ip link del {}; ip netns del {}", self.link, self.namespace));
    }
}

/// A listener in another network namespace: a socket belongs to that in which it was made.
fn listener_in(namespace: &str, address: &str) -> TcpListener {
    let namespace = std::fs::File::open(namespace).unwrap();
    let address: std::net::IpAddr = address.parse().unwrap();
    let bind = move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        TcpListener::bind((address, 0)).unwrap()
    };
    std::thread::spawn(bind).join().unwrap()
}

/// An address of this machine that counts as public, in a network that `tests/run` made before the first test.
fn public_address() -> String {
    variable("DOCKLET_TEST_PUBLIC_ADDRESS")
}

/// Passes on what connects to this port of 127.0.0.1 to the engine, which then counts as one on another machine.
fn engine_over_tcp() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let socket = engine_host().strip_prefix("unix://").expect("an engine with a socket").to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let engine = UnixStream::connect(&socket).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                to.shutdown(Shutdown::Write)
            });
            let (mut from, mut to) = (engine, client);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                to.shutdown(Shutdown::Write)
            });
        }
    });
    format!("tcp://{address}")
}

/// What `doctor` says of the rules.
fn doctors_check(world: &World) -> serde_json::Value {
    let checks = json(&world.run(&["doctor", "--json"]))["checks"].clone();
    checks.as_array().unwrap().iter().find(|check| check["id"] == "egress").unwrap().clone()
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
    let internet = Internet::new(1);
    let public = public_address();
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
        assert!(!reaches(&world, &public, port), "{when}: an address of this machine that counts as public");
        assert!(reaches(&world, &internet.host, internet.port), "{when}: the Internet");
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
    let check = doctors_check(&world);
    assert_eq!(check["level"], "ok", "{check}");
    assert!(check["message"].as_str().unwrap().contains("this machine can't be reached"), "{check}");
    // It tries the public address, too: one that is let in past docklet is a hole.
    let pid = world.inspect().unwrap()["State"]["Pid"].to_string();
    let hole = format!("insert rule inet docklet output ip daddr {public} accept");
    as_root_here(&format!("nsenter --net=/proc/{pid}/ns/net nft {hole}"));
    let check = doctors_check(&world);
    assert_eq!(check["level"], "problem", "{check}");
    assert!(check["message"].as_str().unwrap().contains(&public), "{check}");
    world.ok(&["restart"]);
    closed("after the hole was mended");
}

/// Gives a running container two IPv6 networks past the engine, which need not have IPv6 then: one with this machine at
/// these addresses, and one with a machine on the Internet at another. They are gone when the container stops. A
/// listener there.
fn connect_ipv6(world: &World, own: [&str; 2], internet: &str) -> TcpListener {
    let pid = world.inspect().unwrap()["State"]["Pid"].to_string();
    let (outside, namespace) = (format!("v6{}", random_hex()), format!("dkt-{}", random_hex()));
    let mut script = format!(
        "ip link add {outside} type veth peer name eth6 netns {pid}; ip link set {outside} up
         inside='nsenter --net=/proc/{pid}/ns/net'
         $inside sh -c 'echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6'; $inside ip link set eth6 up
         ip netns add {namespace}; ip -n {namespace} link add eth0 type veth peer name eth7 netns {pid}
         ip -n {namespace} link set eth0 up; ip -n {namespace} -6 addr add {internet}1/64 dev eth0 nodad
         $inside ip link set eth7 up; $inside ip -6 addr add {internet}2/64 dev eth7 nodad\n"
    );
    for host in own {
        script += &format!("ip -6 addr add {host}1/64 dev {outside} nodad\n");
        script += &format!("$inside ip -6 addr add {host}2/64 dev eth6 nodad\n");
    }
    as_root_here(&script);
    let listener = listener_in(&format!("/run/netns/{namespace}"), "::");
    // The name goes; the namespace stays as long as the listener.
    as_root_here(&format!("ip netns del {namespace}"));
    listener
}

/// Whether a datagram gets out as the answer to one that a program of the agent's forged: it came from there over lo.
fn answers_a_forged(world: &World, own: &str, host: &str, port: u16) -> bool {
    let script = r#"use Socket qw(:all);
        sub at { pack_sockaddr_in6($_[1], inet_pton(AF_INET6, $_[0])) }
        my ($own, $host, $port) = @ARGV;
        socket(my $answers, AF_INET6, SOCK_DGRAM, 0) or exit 2;
        bind($answers, at($own, 7000)) or exit 3;
        socket(my $forges, AF_INET6, SOCK_DGRAM, 0) or exit 2;
        setsockopt($forges, 41, 78, pack "i", 1) or exit 3;
        bind($forges, at($host, $port)) or exit 4;
        send($forges, "x", 0, at($own, 7000));
        exit(defined send($answers, "x", 0, at($host, $port)) ? 0 : 1);"#;
    let done =
        docker_try(&["exec", "--user", "1000", &world.container(), "perl", "-e", script, own, host, &port.to_string()]);
    assert!(matches!(done.status.code(), Some(0 | 1)), "{}", shown(&done));
    done.status.success()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn egress_over_ipv6_on_docker() {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Both are this machine's; the first counts as public, the second is private.
    let networks = ["2001:db8:d0c:2::", "fd0c:d0c:d0c:1::"];
    let [public, private] = networks.map(|network| format!("{network}1"));
    let world = World::supervised();
    world.setup();
    let closed = |when: &str| {
        let internet = connect_ipv6(&world, networks, "2001:db8:d0c:1::");
        // The supervisor sees that this machine has the address, and loads the rules anew.
        let pid = world.inspect().unwrap()["State"]["Pid"].to_string();
        let rules = || as_root_here(&format!("nsenter --net=/proc/{pid}/ns/net nft list ruleset"));
        wait_until(SOON, "rules with the new network", || rules().contains("2001:db8:d0c:2::/64"));
        let there = internet.local_addr().unwrap().port();
        assert!(reaches(&world, "2001:db8:d0c:1::1", there), "{when}: the Internet");
        assert!(!reaches(&world, &public, port), "{when}: an address of this machine that counts as public");
        assert!(!reaches(&world, &private, port), "{when}: a private address");
        for [host, own] in [[&public, "2001:db8:d0c:2::2"], [&private, "fd0c:d0c:d0c:1::2"]] {
            assert!(!answers_a_forged(&world, own, host, port), "{when}: {host} is taken for somebody who asked");
        }
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
    let _internet = connect_ipv6(&world, networks, "2001:db8:d0c:1::");
    assert!(reaches(&world, &private, port) && reaches(&world, &public, port), "all");
}

/// An engine on another machine is asked for that machine's addresses, by a helper.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn egress_internet_on_an_engine_elsewhere() {
    let (_listener, port) = listener();
    let public = public_address();
    let world = World::new();
    world.use_engine(&engine_over_tcp());
    world.setup();
    assert!(!reaches(&world, &public, port), "an address of the engine's machine that counts as public");
    world.ok(&["config", "set", "network.allow", &format!("{public}:{port}")]);
    assert!(reaches(&world, &public, port), "allowed");
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
    let internet = Internet::new(2);
    let world = World::new();
    let mut args = world.setup_args();
    let allow = format!("{}:{}", internet.host, internet.port);
    args.extend(["--egress", "listed", "--allow", &allow].map(str::to_owned));
    world.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(reaches(&world, &internet.host, internet.port), "listed");
    assert!(!reaches(&world, &internet.host, 1) && !reaches(&world, &gateway(&world), port), "not listed");
    let before = id(&world);
    world.ok(&["config", "set", "network.egress", "all", "--yes"]);
    assert_ne!(id(&world), before, "its entrypoint waits for no rules");
    assert!(reaches(&world, &gateway(&world), port), "all");
    assert_eq!(world.status()["egress"]["mode"], "all");
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
