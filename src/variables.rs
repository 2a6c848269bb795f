//! The names of variables in the container that a user cannot choose: docklet or the image sets them. Pure.

/// Patterns of the names, and who needs them. The first group is what the entrypoint refuses in a secret's name.
const RESERVED: [(&str, &[&str]); 5] = [
    (
        "the appliance itself needs this variable",
        &[
            "PATH",
            "HOME",
            "IFS",
            "ENV",
            "SHELLOPTS",
            "BASHOPTS",
            "BASH*",
            "LD_*",
            "LC_ALL",
            "UID",
            "EUID",
            "PPID",
            "GROUPS",
            "FUNCNAME",
            "DIRSTACK",
        ],
    ),
    (
        "the image sets this variable",
        &[
            "LANG",
            "SHELL",
            "USER",
            "LOGNAME",
            "XDG_*",
            "HISTFILE",
            "GIT_CONFIG_GLOBAL",
            "GIT_CONFIG_SYSTEM",
            "GIT_TERMINAL_PROMPT",
            "NPM_CONFIG_PREFIX",
            "NPM_CONFIG_USERCONFIG",
            "OPENCODE_TEST_HOME",
            "OPENCODE_DISABLE_FFF",
            "OPENCODE_DISABLE_AUTOUPDATE",
            "OPENCODE_SERVER_USERNAME",
        ],
    ),
    ("docklet sets its own variables", &["DOCKLET_*"]),
    ("docklet sets this variable from git.ssh_agent", &["SSH_AUTH_SOCK"]),
    (
        "docklet sets this variable from trust.ca_file (docklet setup --ca-file)",
        &[
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
            "GIT_SSL_CAINFO",
            "CURL_CA_BUNDLE",
            "PIP_CERT",
            "REQUESTS_CA_BUNDLE",
            "CARGO_HTTP_CAINFO",
        ],
    ),
];

/// Why a name is not for the user; `None` when it is.
pub fn reserved(name: &str) -> Option<&'static str> {
    let is = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *pattern,
    };
    RESERVED.iter().find(|(_, patterns)| patterns.iter().any(is)).map(|(reason, _)| *reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_entrypoint_and_the_image_set_is_reserved() {
        let entrypoint = include_str!("../docker/entrypoint");
        let refused = entrypoint.lines().find(|line| line.contains("PATH | HOME")).unwrap();
        let refused = refused.trim().trim_end_matches(')').split(" | ").map(|name| name.replace('*', "X"));
        let exported = entrypoint.split("export ").skip(1).flat_map(|text| {
            // A command goes on behind a backslash at the end of a line.
            let command = text.replace("\\\n", " ");
            let first = command.lines().next().unwrap_or_default().to_owned();
            first.split_whitespace().filter_map(|word| Some(word.split_once('=')?.0.to_owned())).collect::<Vec<_>>()
        });
        let dockerfile = include_str!("../docker/Dockerfile").replace("\\\n", " ");
        let image = dockerfile.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace);
        let image = image.filter_map(|word| Some(word.split_once('=')?.0.to_owned()));
        let mut count = 0;
        for name in refused.chain(exported).chain(image).filter(|name| !name.contains('$')) {
            assert!(reserved(&name).is_some(), "{name}");
            count += 1;
        }
        assert!(count > 35, "{count}");
    }

    #[test]
    fn other_names_are_free() {
        for name in ["ANTHROPIC_API_KEY", "HTTPS_PROXY", "HOMEPAGE", "OPENCODE_SERVER_PASSWORD", "TZ", "GITLAB_HOST"] {
            assert_eq!(reserved(name), None, "{name}");
        }
    }
}
