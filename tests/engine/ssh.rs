//! An engine behind ssh: this machine's own, through an sshd of the test's, from here and from a laptop.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::thread::LinkNameSpaceType;

use crate::proxy::{Action, At, Fault, Proxy};
use crate::support::*;
use crate::sweep::moments;

/// An sshd that lets the test's key in, and an `ssh` that knows of nothing else.
pub struct Server {
    sshd: Child,
    folder: PathBuf,
    pub address: String,
}

impl Server {
    fn start(world: &World) -> Self {
        Self::at(world, "127.0.0.1")
    }

    fn at(world: &World, host: &str) -> Self {
        Self::leading_to(world, host, &engine_host())
    }

    /// One that listens at this address, and leads to this engine.
    pub fn leading_to(world: &World, host: &str, engine: &str) -> Self {
        let folder = world.folder().join("ssh");
        fs::create_dir_all(folder.join("bin")).unwrap();
        for key in ["host", "user", "other"] {
            let file = folder.join(key);
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file).status();
            assert!(made.unwrap().success());
        }
        let path = |name: &str| format!("\"{}\"", folder.join(name).display());
        let port = free_port();
        let config = format!(
            "ListenAddress {host}:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nSetEnv \"DOCKER_HOST={}\" \"PATH={}\"\n",
            path("host"),
            path("user.pub"),
            engine,
            std::env::var("PATH").unwrap()
        );
        fs::write(folder.join("sshd_config"), config).unwrap();
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap().trim().to_owned();
        // Where sshd wants an empty folder when it runs as root.
        let _ = fs::create_dir("/run/sshd");
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")).stdin(Stdio::null()).stderr(log);
        let server = Self {
            sshd: sshd.spawn().expect("sshd"),
            address: format!("ssh://{user}@{host}:{port}"),
            folder: folder.clone(),
        };
        server.knows("host");
        let program = folder.join("bin/ssh");
        fs::write(&program, format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", path("config"))).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        wait_until(SOON, "sshd listens", || std::net::TcpStream::connect((host, port)).is_ok());
        server
    }

    /// What `ssh` takes for the key of the host.
    fn knows(&self, key: &str) {
        let (host, port) = self.address.rsplit_once('@').unwrap().1.rsplit_once(':').unwrap();
        let key = fs::read_to_string(self.folder.join(key).with_extension("pub")).unwrap();
        fs::write(self.folder.join("known"), format!("[{host}]:{port} {key}")).unwrap();
        let path = |name: &str| format!("\"{}\"", self.folder.join(name).display());
        let config = format!(
            "IdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nStrictHostKeyChecking yes\n",
            path("user"),
            path("known")
        );
        fs::write(self.folder.join("config"), config).unwrap();
    }

    fn docklet(&self, world: &World, args: &[&str], input: Stdio) -> Output {
        self.command(world, args).stdin(input).output().unwrap()
    }

    pub fn command(&self, world: &World, args: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = world.docklet();
        command.env("PATH", format!("{}:{path}", self.folder.join("bin").display())).env("DOCKER_HOST", &self.address);
        command.args(args);
        command
    }

    fn ok(&self, world: &World, args: &[&str]) -> String {
        let output = self.docklet(world, args, Stdio::null());
        assert!(output.status.success(), "docklet {}\n{}\n{}", args.join(" "), shown(&output), self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    fn status(&self, world: &World) -> serde_json::Value {
        json(&self.docklet(world, &["status", "--json"], Stdio::null()))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn file(path: &Path) -> Stdio {
    fs::File::open(path).unwrap().into()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_engine_behind_ssh_is_used_like_one_here() {
    let world = World::new();
    let server = Server::start(&world);
    let setup = world.setup_args();
    server.ok(&world, &setup.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(world.http_get("/global/health", Some(server.ok(&world, &["password"]).trim())).0, 200);
    let status = json(&server.docklet(&world, &["status", "--json"], Stdio::null()));
    assert_eq!((&status["state"], &status["engine"]["endpoint"]), (&"running".into(), &server.address.as_str().into()));

    // Three megabytes in and out, with an end of each.
    let bytes = world.folder().join("bytes");
    let made: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(&bytes, &made).unwrap();
    let echoed = server.docklet(&world, &["exec", "--", "sh", "-c", "cat; exit 7"], file(&bytes));
    assert_eq!((echoed.status.code(), echoed.stdout == made), (Some(7), true), "{}", server.log());

    server.ok(&world, &["exec", "--", "sh", "-c", "echo precious >/workspace/file"]);
    server.ok(&world, &["stop"]);
    let backup = world.folder().join("backup.tar.zst");
    server.ok(&world, &["backup", backup.to_str().unwrap()]);
    server.ok(&world, &["backup", "verify", backup.to_str().unwrap()]);
    let report = server.ok(&world, &["uninstall", "--purge", "--yes", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&report).unwrap()["left"], serde_json::json!([]));
    assert_eq!(world.left(), Vec::<String>::new());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_keeps_ssh_out_is_told_in_its_words() {
    let world = World::new();
    let server = Server::start(&world);
    let refused = |wanted: &str| {
        let output = server.docklet(&world, &["list", "--json"], Stdio::null());
        assert_eq!(output.status.code(), Some(5), "{}", shown(&output));
        let error = json(&output)["error"].clone();
        assert!(error["causes"].to_string().contains(wanted), "{wanted}\n{error}\n{}", server.log());
        assert!(error["hint"].as_str().unwrap().contains("ssh ssh://"), "{error}");
    };
    server.ok(&world, &["list"]);
    server.knows("other");
    refused("Host key verification failed");
    server.knows("host");
    // Before any command of the account.
    let (login, printed) = (server.folder.join("user.pub"), "command=\"echo not available\" ");
    let key = fs::read_to_string(&login).unwrap();
    fs::write(&login, format!("{printed}{key}")).unwrap();
    refused("has no shell, or its start-up files print something");
    fs::write(server.folder.join("user.pub"), "").unwrap();
    refused("Permission denied");
    // Nothing is installed on another machine.
    let setup = server.docklet(&world, &["setup", "--yes", "--json", "--install-engine"], Stdio::null());
    assert!(json(&setup)["error"]["hint"].as_str().unwrap().contains("install it there"), "{}", shown(&setup));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_setup_over_ssh_with_an_answer_cut_is_finished_by_the_next() {
    let mut cuts = 0;
    for (n, action) in moments(6, &[Action::Cut]) {
        let (world, proxy) = (World::new(), Proxy::start(&engine_host()));
        let server = Server::leading_to(&world, "127.0.0.1", &proxy.host());
        let setup = world.setup_args();
        let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
        proxy.fault(Fault { at: At::Nth(n), action });
        let first = server.docklet(&world, &setup, Stdio::null());
        let when = format!("cut at {:?}", proxy.fired_at());
        if !proxy.fired() {
            assert!(first.status.success(), "{}", shown(&first));
            break;
        }
        cuts += 1;
        assert!([0, 5, 7, 10].contains(&first.status.code().unwrap()), "{when}\n{}", shown(&first));
        proxy.reset();
        server.ok(&world, &setup);
        world.assert_whole(&when);
    }
    assert!(cuts >= 4, "only {cuts} cuts");
}

/// A machine with a network of its own, and a link to this one. The test's thread, and what it starts, is in it.
pub struct Laptop {
    namespace: String,
    link: String,
    /// The other end of the link.
    big: String,
    /// This end.
    pub here: String,
    home: fs::File,
}

impl Laptop {
    /// The link is there; the thread moves with [`Laptop::sit_down`].
    /// Tests at the same time take different numbers. `tests/run` has its own networks in 10.213, 10.214 and 10.215.
    pub fn new(number: u8) -> Self {
        let (namespace, link) = (format!("dkt-{}", random_hex()), format!("lt{}", random_hex()));
        let [big, here] = [1, 2].map(|end| format!("10.216.{number}.{end}"));
        as_root_here(&format!(
            "ip netns add {namespace}; ip link add {link} type veth peer name out netns {namespace}
             ip addr add {big}/30 dev {link}; ip link set {link} up
             inside='ip -n {namespace}'; $inside link set lo up; $inside addr add {here}/30 dev out
             $inside link set out up"
        ));
        Laptop { namespace, link, big, here, home: fs::File::open("/proc/thread-self/ns/net").unwrap() }
    }

    pub fn sit_down(&self) {
        enter(&fs::File::open(format!("/run/netns/{}", self.namespace)).unwrap());
    }

    /// Back to the machine that the thread came from.
    pub fn get_up(&self) {
        enter(&self.home);
    }

    fn network(&self, state: &str) {
        as_root_here(&format!("ip -n {} link set out {state}", self.namespace));
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        self.get_up();
        as_root_here(&format!("ip link del {}; ip netns del {}", self.link, self.namespace));
    }
}

fn enter(namespace: &fs::File) {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// The ssh processes that have a tunnel of this world.
pub fn tunnels(world: &World) -> Vec<u32> {
    let state = fs::canonicalize(world.folder()).unwrap();
    let is_one = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let folder = fs::read_link(format!("/proc/{pid}/cwd"));
        String::from_utf8_lossy(&words).contains("\0-N\0-M\0") && folder.is_ok_and(|folder| folder.starts_with(&state))
    };
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(is_one).collect()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_page_of_another_machine_comes_through_a_tunnel_that_is_kept_open() {
    let world = World::supervised();
    let laptop = Laptop::new(77);
    let server = Server::at(&world, &laptop.big);
    laptop.sit_down();
    let port = world.port.to_string();
    server.ok(&world, &["setup", "--yes", "--image", &world.image(), "--port", &port]);
    let password = server.ok(&world, &["password"]).trim().to_owned();
    let answers = || world.http_get("/global/health", Some(&password)).0 == 200;
    assert!(answers(), "{}", server.log());
    let status = server.status(&world);
    assert_eq!(status["tunnel"], serde_json::json!({"open": true, "closed_by_user": false}));
    assert_eq!((&status["state"], &status["supervisor"]["running"]), (&"running".into(), &true.into()));
    let [tunnel] = tunnels(&world)[..] else { panic!("one tunnel: {:?}", tunnels(&world)) };

    // The supervisor opens one that was killed, and one whose network was gone, as in sleep. Neither is the page's fault.
    kill(tunnel);
    wait_until(SOON, "the tunnel is gone", || !answers());
    wait_until(SOON, "the supervisor opens it", answers);
    laptop.network("down");
    wait_until(SOON, "the tunnel is given up", || tunnels(&world).is_empty());
    laptop.network("up");
    wait_until(SOON, "it is back with the network", answers);
    assert_eq!(server.status(&world)["supervisor"]["restarts"], 0, "{}", server.log());

    // Who closes it has it closed, and the page runs on.
    assert!(server.ok(&world, &["tunnel", "--stop"]).contains("closed"));
    assert!(!answers());
    assert_eq!(server.docklet(&world, &["tunnel", "--status"], Stdio::null()).status.code(), Some(3));
    let status = server.status(&world);
    assert_eq!(status["tunnel"], serde_json::json!({"open": false, "closed_by_user": true}));
    assert_eq!(status["state"], "running");
    let moved = server.docklet(&world, &["tunnel", "--port", "1"], Stdio::null());
    assert_eq!(moved.status.code(), Some(2), "{}", shown(&moved));
    assert!(server.ok(&world, &["tunnel"]).contains(&format!("http://127.0.0.1:{port}/")));
    assert!(answers());

    // Another laptop, where nothing is set up, at a port of its own.
    let other = free_port();
    let second = |args: &[&str]| {
        server.command(&world, args).env("DOCKLET_HOME", world.folder().join("second")).output().unwrap()
    };
    let opened = second(&["tunnel", "--port", &other.to_string(), "--json"]);
    assert_eq!(json(&opened)["url"], format!("http://127.0.0.1:{other}/"), "{}", shown(&opened));
    assert_eq!(http(other, "GET", "/global/health", Some(&password), None).0, 200);
    assert_eq!(json(&second(&["tunnel", "--stop", "--json"]))["changed"], true);
    assert_eq!(http(other, "GET", "/global/health", Some(&password), None).0, 0);

    // The folders of this machine are not there.
    let refused = server.docklet(&world, &["setup", "--yes", "--mount", "/srv:/workspace/srv"], Stdio::null());
    assert_eq!(refused.status.code(), Some(2), "{}", shown(&refused));
    assert!(shown(&refused).contains("is on this machine"), "{}", shown(&refused));

    server.ok(&world, &["stop"]);
    assert_eq!(tunnels(&world), Vec::<u32>::new());
    server.ok(&world, &["start"]);
    assert!(answers());
    let report = server.ok(&world, &["uninstall", "--purge", "--yes", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&report).unwrap()["left"], serde_json::json!([]));
    assert_eq!((world.left(), tunnels(&world)), (vec![], vec![]));
}
