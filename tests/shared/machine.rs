//! A machine that has a service manager, or has none, whatever the one has that the tests run on. It is a mount
//! namespace around one command, which needs root or sudo.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// What says that systemd runs is in `/run`, and its programs are looked for in `/usr/local/sbin` first.
const SCRIPT: &str = r#"
mount -t tmpfs tmpfs /run || exit 99
if [ "$1" ]; then
    mkdir -p /run/systemd/system && mount --bind "$1" /usr/local/sbin || exit 99
fi
user=$2 group=$3
shift 3
exec setpriv --reuid "$user" --regid "$group" --clear-groups -- "$@"
"#;

/// The command on a machine without a service manager.
pub fn without_systemd(command: &Command) -> Command {
    on_machine(command, "".into())
}

/// The command on a machine with systemd. Its `systemctl` starts nothing; what it was told is in `folder`/told.
pub fn with_systemd(command: &Command, folder: &Path) -> Command {
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).unwrap();
    let told = folder.join("told");
    let systemctl = format!("#!/bin/sh\necho \"$*\" >>'{}'\ncase $* in *is-active*) exit 3 ;; esac\n", told.display());
    for (name, text) in [("systemctl", systemctl.as_str()), ("loginctl", "#!/bin/sh\necho Linger=yes\n")] {
        fs::write(programs.join(name), text).unwrap();
        fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    on_machine(command, programs.into())
}

/// `programs`: where the manager's programs are, empty for none.
fn on_machine(command: &Command, programs: OsString) -> Command {
    let mut words: Vec<OsString> = vec![];
    if !rustix::process::geteuid().is_root() {
        words.extend(["sudo", "-n"].map(OsString::from));
    }
    words.extend(["unshare", "--mount", "sh", "-c", SCRIPT, "sh"].map(OsString::from));
    words.push(programs);
    words.extend(
        [rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()].map(|id| id.to_string().into()),
    );
    words.extend(["env", "-i"].map(OsString::from));
    words.extend(command.get_envs().filter_map(|(name, value)| {
        let mut pair = name.to_owned();
        pair.push("=");
        pair.push(value?);
        Some(pair)
    }));
    words.push(command.get_program().to_owned());
    words.extend(command.get_args().map(ToOwned::to_owned));
    let mut on_machine = Command::new(&words[0]);
    on_machine.args(&words[1..]).stdin(std::process::Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        on_machine.current_dir(folder);
    }
    on_machine
}
