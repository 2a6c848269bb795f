//! The sections of a man page that the arguments alone do not give: ENVIRONMENT, FILES, EXIT STATUS, EXAMPLES.

use std::fmt::Write as _;

use crate::error_codes;

/// Variables that are not flags.
const VARIABLES: [(&str, &str); 11] = [
    ("DOCKLET_HOME", "Folder for all of docklet's files, instead of those under FILES."),
    ("DOCKER_HOST", "Address of the container engine, after --host and --context."),
    ("DOCKER_CONTEXT", "Docker context of the container engine."),
    ("DOCKER_CONFIG", "Folder with Docker's own settings, in which contexts and registry logins are looked up."),
    ("DOCKER_TLS_VERIFY, DOCKER_CERT_PATH", "TLS for an engine at a tcp:// address, as for docker(1)."),
    ("HTTP_PROXY, HTTPS_PROXY, NO_PROXY, ALL_PROXY", "Proxies of the build and of the running appliance."),
    ("SSL_CERT_FILE, NODE_EXTRA_CA_CERTS", "Additional certificate authorities, unless --ca-file names them."),
    ("SSH_AUTH_SOCK", "The ssh agent that setup --ssh-agent offers; each start looks anew where it is."),
    ("NO_COLOR", "No colours, if it is not empty."),
    ("CI", "Never ask, if it is not empty."),
    ("VISUAL, EDITOR", "Editor of docklet config edit."),
];

/// The files of an instance, where Linux has them.
const FILES: [(&str, &str); 5] = [
    ("~/.config/docklet/INSTANCE/settings.toml", "The settings; see docklet-config(1)."),
    ("~/.config/docklet/INSTANCE/secrets/", "The secrets and the page's password, one file each."),
    ("~/.local/state/docklet/INSTANCE/", "The lock, the supervisor's log and the log of the last build."),
    ("~/.local/share/docklet/INSTANCE/backups/", "The backups."),
    ("~/.config/systemd/user/", "The unit of docklet autostart enable."),
];

const EXAMPLES: &str = "docklet setup\ndocklet open\ndocklet mount add ~/code/app:/workspace/app\n\
                        docklet secret set ANTHROPIC_API_KEY\ndocklet backup\ndocklet uninstall --dry-run";

/// The sections of a command's page; `main`: of `docklet` itself.
pub fn of(command: &clap::Command, main: bool) -> String {
    let mut text = environment(command, main);
    if main {
        text.push_str(&list("FILES", FILES.map(|(file, what)| (file.to_owned(), what.to_owned()))));
        text.push_str(&list("EXIT STATUS", exit_status()));
    } else {
        text.push_str(".SH \"EXIT STATUS\"\n0 when it is done; else see docklet(1).\n");
    }
    text.push_str(&examples(command, main));
    if !main {
        text.push_str(".SH \"SEE ALSO\"\n.BR docklet (1)\n");
    }
    text
}

/// The variables that stand for flags, and on the main page all others.
fn environment(command: &clap::Command, main: bool) -> String {
    let flags = command.get_arguments().filter(|argument| !argument.is_hide_set() && argument.is_global_set() == main);
    let flags = flags.filter_map(|argument| {
        let variable = argument.get_env()?.to_str()?.to_owned();
        Some((variable, format!("Stands for --{}.", argument.get_long()?)))
    });
    let mut variables: Vec<(String, String)> = flags.collect();
    if main {
        variables.extend(VARIABLES.map(|(name, what)| (name.to_owned(), what.to_owned())));
    }
    if variables.is_empty() { String::new() } else { list("ENVIRONMENT", variables) }
}

/// The exit statuses, each with its error codes.
fn exit_status() -> Vec<(String, String)> {
    let mut rows = vec![
        ("0".to_owned(), "done, or running (docklet status)".to_owned()),
        ("3".to_owned(), "set up and not running (docklet status)".to_owned()),
    ];
    for entry in error_codes::all() {
        let code = format!("{}: {}", error_codes::name(entry.code), entry.meaning);
        let exit = entry.exit.to_string();
        match rows.iter_mut().find(|(status, _)| *status == exit) {
            Some((_, text)) => {
                text.push_str("\n\n");
                text.push_str(&code);
            }
            None => rows.push((exit, code)),
        }
    }
    rows.sort_by_key(|(status, _)| status.parse::<u8>().unwrap_or_default());
    rows
}

fn examples(command: &clap::Command, main: bool) -> String {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines =
        if main { Some(EXAMPLES) } else { after.lines().next().and_then(|line| line.strip_prefix("Example: ")) };
    lines.map(|lines| format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escaped(lines))).unwrap_or_default()
}

/// A section of terms, each explained. An empty line in an explanation begins a paragraph.
fn list(title: &str, rows: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = format!(".SH \"{title}\"\n");
    for (term, what) in rows {
        let what = escaped(&what).replace("\n\n", "\n.IP\n");
        let _ = write!(text, ".TP\n\\fB{}\\fR\n{what}\n", escaped(&term));
    }
    text
}

/// Text as roff takes it literally.
fn escaped(text: &str) -> String {
    let line = |line: &str| {
        let text = line.replace('\\', "\\e").replace('-', "\\-").replace('~', "\\(ti").replace('\'', "\\(aq");
        if text.starts_with('.') { format!("\\&{text}") } else { text }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}
