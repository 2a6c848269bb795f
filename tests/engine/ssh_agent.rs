//! The host's ssh agent from inside: its keys can be listed and used, and nothing else can be asked of it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Output;
use std::sync::mpsc::{Receiver, channel};

use crate::support::*;

/// Sends a request of one byte to the agent inside and prints the number of the answer.
const ASK: &str = r#"my $s = IO::Socket::UNIX->new(Peer => $ENV{SSH_AUTH_SOCK}) or die "no agent: $!\n";
    syswrite $s, pack "NC", 1, $ARGV[0]; sysread $s, my $answer, 5 or die "it hung up\n"; print +(unpack "NC", $answer)[1]"#;

/// An ssh agent of the host, which answers each request with the number 12 and says which it got.
fn host_agent(socket: &Path) -> Receiver<u8> {
    let listener = UnixListener::bind(socket).unwrap();
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: UnixStream = stream.unwrap();
            let mut request = [0; 5];
            while stream.read_exact(&mut request).is_ok() {
                sender.send(request[4]).unwrap();
                stream.write_all(&[0, 0, 0, 1, 12]).unwrap();
            }
        }
    });
    asked
}

fn ask(world: &World, number: u8) -> Output {
    world.run(&["exec", "--", "perl", "-MIO::Socket::UNIX", "-e", ASK, &number.to_string()])
}

fn answer(world: &World, number: u8) -> String {
    String::from_utf8(ask(world, number).stdout).unwrap()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn ssh_inside_uses_the_hosts_agent_and_cannot_change_it() {
    let world = World::supervised();
    let mut args = world.setup_args();
    args.push("--ssh-agent".to_owned());
    let none = world.docklet().args(&args).env_remove("SSH_AUTH_SOCK").output().unwrap();
    assert_eq!(none.status.code(), Some(2), "{}", shown(&none));
    let first = world.folder().join("agent 1");
    let asked = host_agent(&first);
    let setup = world.docklet().args(&args).env("SSH_AUTH_SOCK", &first).output().unwrap();
    assert!(setup.status.success(), "{}", shown(&setup));
    let said = String::from_utf8_lossy(&setup.stderr).into_owned();
    assert!(said.contains("sign in with the keys"), "{said}");

    assert_eq!(answer(&world, 11), "12", "{}", shown(&ask(&world, 11)));
    assert_eq!(asked.recv_timeout(SOON).unwrap(), 11);
    // Remove all keys.
    assert_eq!(answer(&world, 19), "5");
    assert!(asked.try_iter().all(|number| number == 11), "the host's agent was asked to");
    let written = world.run(&["exec", "--", "sh", "-c", "touch /run/ssh-agent/x || rm /run/ssh-agent/agent.sock"]);
    assert!(!written.status.success(), "the agent can change the folder");

    // After the next login, the host's agent listens elsewhere.
    fs::remove_file(&first).unwrap();
    assert!(!ask(&world, 11).status.success());
    let second = world.folder().join("agent 2");
    let asked = host_agent(&second);
    let start = world.docklet().arg("start").env("SSH_AUTH_SOCK", &second).output().unwrap();
    assert!(start.status.success(), "{}", shown(&start));
    assert_eq!(answer(&world, 11), "12");
    assert_eq!(asked.recv_timeout(SOON).unwrap(), 11);

    // The supervisor died and another one listens.
    kill(world.status()["supervisor"]["pid"].as_u64().unwrap() as u32);
    world.ok(&["start"]);
    wait_until(SOON, "the new supervisor listens", || answer(&world, 11) == "12");

    world.ok(&["--yes", "config", "set", "git.ssh_agent", "false"]);
    assert!(!ask(&world, 11).status.success());
    let mounts = world.inspect().unwrap()["Mounts"].to_string();
    assert!(!mounts.contains("ssh-agent"), "{mounts}");
}
