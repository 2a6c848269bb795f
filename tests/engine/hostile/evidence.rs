//! What the lines that the traps and probes of the hostile agent leave mean.

/// The same thing that happened ten times is told once.
pub fn without_pid(line: &str) -> String {
    line.split(' ').filter(|word| !word.starts_with("pid=")).collect::<Vec<_>>().join(" ")
}

/// The programs that make the container what it is. In the agent's place they would also outlive every update.
const OF_THE_IMAGE: [&str; 4] = ["opencode", "tini", "entrypoint", "healthcheck"];

/// What a line of the agent's report means, if it means a hole. The agent's own programs may run as the agent.
pub fn fault(line: &str, host: &str) -> Option<&'static str> {
    let word = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or_default();
    let mut words = line.split(' ');
    match words.next()? {
        "file" if word("owner=") == "0" => Some("root wrote a file where the agent said"),
        "file" => Some("a program of docklet's read the agent's settings"),
        "trap" | "plugin" if [word("uid="), word("euid=")].contains(&"0") => Some("root ran the agent's program"),
        "trap" if [word("eff="), word("bnd=")].iter().any(|set| set.bytes().any(|b| b != b'0')) => {
            Some("a process with capabilities ran the agent's program")
        }
        "trap" if word("container=") != "1" || word("host=") != host => Some("the agent's program ran elsewhere"),
        "trap" if word("parents=") == "0" => Some("docklet ran the agent's program by its name"),
        "trap" if word("parents=").contains("healthcheck") || word("parents=").contains("entrypoint") => {
            Some("a script of the image ran the agent's program by its name")
        }
        "trap" if ["0", "1"].contains(&word("parents=")) && OF_THE_IMAGE.contains(&words.next()?) => {
            Some("the agent's program runs in place of the image's")
        }
        _ if words.next() == Some("must") && words.next() == Some("worked") => Some("what must be refused worked"),
        _ => None,
    }
}

#[test]
fn what_the_agent_reports_is_judged() {
    let trap = |uid: &str, set: &str, parents: &str, host: &str, name: &str| {
        let line = format!(
            "trap {name} uid={uid} euid={uid} eff={set} bnd={set} pid=7 parents={parents} host={host} container=1"
        );
        fault(&line, "here")
    };
    let none = "0000000000000000";
    assert_eq!(trap("1000", none, "opencode<1", "here", "git"), None, "the agent's tools are the agent's");
    for (uid, set, parents, host, name) in [
        ("0", none, "opencode<1", "here", "git"),
        ("1000", "00000000000001c3", "opencode<1", "here", "git"),
        ("1000", none, "healthcheck<0", "here", "curl"),
        ("1000", none, "entrypoint<1", "here", "mkdir"),
        ("1000", none, "0", "here", "curl"),
        ("1000", none, "1", "here", "opencode"),
        ("1000", none, "bash<1", "elsewhere", "git"),
    ] {
        assert!(trap(uid, set, parents, host, name).is_some(), "{name} {uid} {set} {parents} {host}");
    }
    for line in [
        "file curl owner=0 folder=/x",
        "file curlrc.trace-ascii owner=1000 folder=/x",
        "vsock must worked ",
        "plugin uid=0 euid=0",
    ] {
        assert!(fault(line, "here").is_some(), "{line}");
    }
    for line in [
        "vsock must refused Operation not permitted",
        "trace-init may worked ",
        "memory: killed by signal 9",
        "plugin uid=1000 euid=1000",
    ] {
        assert_eq!(fault(line, "here"), None, "{line}");
    }
}
