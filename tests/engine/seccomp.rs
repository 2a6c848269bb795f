//! Proves what the container may ask the kernel for: nothing that the engine's own default refuses, nothing of what
//! only later defaults refuse, and everything else.

use std::collections::BTreeMap;

use crate::support::*;

const PROBE: &[u8] = include_bytes!("../fixtures/seccomp/probe");
const EPERM: &str = "1";
const ENOSYS: &str = "38";

/// The number of a call here: the older ones have one on x86-64 and another on arm64.
const fn number(x86_64: u16, arm64: u16) -> u16 {
    if cfg!(target_arch = "x86_64") { x86_64 } else { arm64 }
}

const SOCKET: u16 = number(41, 198);

/// What comes of the calls that the probe makes, by their numbers or names.
fn results(output: &str) -> BTreeMap<String, String> {
    output.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// In the appliance's container, as docklet made it.
fn in_appliance(world: &World, calls: &[&str]) -> BTreeMap<String, String> {
    let container = world.container();
    let args = ["exec", "--interactive", "--user=1000:1000", &container, "perl", "-"];
    results(&docker_with(&[&args, calls].concat(), PROBE))
}

/// In a container with the same rights under another profile; the engine's default without one.
fn under(world: &World, profile: &[&str]) -> BTreeMap<String, String> {
    let (image, label) = (world.image(), format!("docklet.instance={}", world.name));
    let args = ["run", "--rm", "--interactive", "--label", &label, "--user=1000:1000", "--cap-drop=ALL"];
    let last = ["--security-opt=no-new-privileges", "--entrypoint=perl", &image, "-"];
    results(&docker_with(&[&args, profile, &last].concat(), PROBE))
}

/// The calls that this profile refused: without a profile, something else came of them.
fn refused<'a>(
    results: &'a BTreeMap<String, String>,
    unconfined: &BTreeMap<String, String>,
) -> Vec<(&'a String, &'a String)> {
    let by_filter = |(number, result): &(&String, &String)| {
        [EPERM, ENOSYS].contains(&result.as_str()) && unconfined[*number] != **result
    };
    results.iter().filter(by_filter).collect()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn seccomp_refuses_what_the_default_refuses() {
    let world = World::new();
    world.setup();
    let ours = in_appliance(&world, &[]);
    let default = under(&world, &[]);
    let unconfined = under(&world, &["--security-opt=seccomp=unconfined"]);
    assert!(ours.len() > 400 && ours.keys().eq(unconfined.keys()) && ours.keys().eq(default.keys()), "{ours:?}");

    let by_default = refused(&default, &unconfined);
    assert!(by_default.len() > 50, "the probe does not see the engine's filter: {by_default:?}");
    for (number, result) in by_default {
        assert!(
            [EPERM, ENOSYS].contains(&ours[number].as_str()),
            "call {number} is {} under our profile, {result} under the default",
            ours[number]
        );
    }

    // What we refuse beyond the default, so that a name that was forgotten is seen. The first line holds for every
    // engine; the others are refused by one default or the other.
    let wanted = [SOCKET, number(301, 263), number(214, u16::MAX), number(215, u16::MAX), 425, 426, 427]
        .into_iter()
        // name_to_handle_at, process_vm_readv, process_vm_writev, pkey_*
        .chain([number(303, 264), number(310, 270), number(311, 271)])
        .chain([number(329, 288), number(330, 289), number(331, 290)])
        // set_mempolicy_home_node (a runtime's ENOSYS for what it does not know), and all that is younger
        .chain(450..=470);
    let wanted: Vec<String> = wanted.map(|number| number.to_string()).collect();
    for (number, result) in refused(&ours, &unconfined) {
        let same = [EPERM, ENOSYS].contains(&default[number].as_str());
        assert!(same || wanted.contains(number), "call {number} is {result} under our profile only");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn seccomp_refuses_what_later_defaults_refuse_on_docker() {
    let world = World::new();
    world.setup();
    let (clone, unshare) = (number(56, 220), number(272, 97));
    let (keyctl, bpf, ptrace, personality) = (number(250, 219), number(321, 280), number(101, 117), number(135, 92));
    let cases = [
        ("a socket of AF_UNIX", format!("{SOCKET},1,1"), "ok"),
        ("a socket of AF_INET", format!("{SOCKET},2,1"), "ok"),
        ("a socket of AF_NETLINK", format!("{SOCKET},16,3"), "ok"),
        ("a socket of AF_ALG", format!("{SOCKET},38,5"), EPERM),
        ("a socket of AF_VSOCK", format!("{SOCKET},40,1"), EPERM),
        ("AF_VSOCK, with a bit above those that the kernel looks at", format!("{SOCKET},4294967336,1"), EPERM),
        ("io_uring_setup", "425,1".to_owned(), EPERM),
        ("unshare(CLONE_NEWUSER)", format!("{unshare},268435456"), EPERM),
        ("clone(CLONE_NEWUSER | SIGCHLD)", format!("{clone},268435473"), EPERM),
        ("clone3", "435,0,64".to_owned(), ENOSYS),
        ("keyctl(KEYCTL_GET_KEYRING_ID)", format!("{keyctl},0,-3"), EPERM),
        ("bpf", format!("{bpf},0"), EPERM),
        ("ptrace(PTRACE_TRACEME)", format!("{ptrace},0"), "ok"),
        ("personality, asked for", format!("{personality},4294967295"), "ok"),
        ("personality(ADDR_NO_RANDOMIZE)", format!("{personality},262144"), EPERM),
    ];
    for (what, call, expected) in cases {
        let results = in_appliance(&world, &[&call]);
        assert_eq!(results.values().collect::<Vec<_>>(), [expected], "{what}");
    }
    if cfg!(target_arch = "x86_64") {
        let result = &in_appliance(&world, &["socketcall"])["socketcall"];
        assert_eq!(result, ENOSYS, "AF_VSOCK from a 32-bit program");
    }
}
