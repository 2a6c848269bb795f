//! How ssh is called: the user's own, with the configuration, keys, known hosts and jump hosts. Nobody is asked for a
//! password.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

/// What every call says. An end that is gone is noticed within 15 seconds.
const OPTIONS: [&str; 8] = [
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "RequestTTY=no",
    "LogLevel=ERROR",
];

/// A call of ssh for `ssh://[USER@]HOST[:PORT]`: `options` of its own, then `command` there. It goes through the connection
/// that `control` is the socket of, where one is open; without one, as the user's configuration says.
pub fn command(url: &str, options: &[&str], control: Option<&Path>, there: &[&str]) -> Command {
    let mut command = call(control);
    command.args(OPTIONS.iter().flat_map(|option| ["-o", option])).args(options);
    let (user, host, port) = destination(url);
    if !user.is_empty() {
        command.args(["-l", user]);
    }
    if let Some(port) = port {
        command.args(["-p", port]);
    }
    command.args(["--", host]).args(there);
    command
}

/// A request to the connection that `control` is the socket of: `check`, `forward`, `exit`. It connects to nothing.
pub fn request(control: &Path, what: &str, options: &[&str]) -> Command {
    let mut command = call(Some(control));
    // The destination only stands for one.
    command.args(["-F", "none", "-O", what]).args(options).args(["--", "there"]);
    command
}

fn call(control: Option<&Path>) -> Command {
    let mut command = Command::new("ssh");
    // By its name alone: the name of its folder may be longer than a socket's may, and have signs in it that ssh replaces.
    if let Some((folder, name)) = control.and_then(|path| Some((path.parent()?, path.file_name()?))) {
        command.current_dir(folder).arg("-S").arg(name);
    }
    // One in the background holds nothing of whoever started us.
    close_fds::set_fds_cloexec(3, &[]);
    // Ctrl-C is for us: what was begun is finished, or taken back, over this connection.
    command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    command
}

/// User, host and port of an address that was found to be one.
fn destination(url: &str) -> (&str, &str, Option<&str>) {
    let address = url.strip_prefix("ssh://").unwrap_or(url);
    let (user, host) = address.rsplit_once('@').map_or(("", address), |(user, host)| (user, host));
    let behind = host.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match host[behind..].split_once(':') {
        Some((name, port)) => (&host[..behind + name.len()], Some(port)),
        None => (host, None),
    };
    (user, host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// Most lines of what ssh says that are passed on: the last ones say what it comes to.
const LINES: usize = 4;

/// What ssh complained of, in a line.
pub fn complaint(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    if last.is_empty() { "ssh ended without a word".to_owned() } else { last.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_ssh_takes() {
        let of = |url: &str| {
            let command = command(url, &["-N"], None, &["docker", "version"]);
            let all: Vec<_> = command.as_std().get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            all[2 * OPTIONS.len()..].join(" ")
        };
        assert_eq!(of("ssh://big"), "-N -- big docker version");
        assert_eq!(of("ssh://me@big:2222"), "-N -l me -p 2222 -- big docker version");
        assert_eq!(of("ssh://me@[2001:db8::1]:22"), "-N -l me -p 22 -- 2001:db8::1 docker version");
        assert_eq!(of("ssh://[::1]"), "-N -- ::1 docker version");
        assert_eq!(of("ssh://-oProxyCommand=x"), "-N -- -oProxyCommand=x docker version");
    }

    #[test]
    fn what_ssh_says_is_one_line() {
        assert_eq!(complaint("\r\n a\r\n\nb\n"), "a; b");
        assert_eq!(complaint("1\n2\n3\n4\n5"), "2; 3; 4; 5");
        assert_eq!(complaint("\n"), "ssh ended without a word");
    }
}
