//! `docker/git-credential-docklet`, asked by this machine's own git as git in the image asks it.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What git finds for a request, with these variables set; and what the helper says.
fn asked(request: &str, variables: &[(&str, &str)]) -> (String, String) {
    let helper = concat!("credential.helper=", env!("CARGO_MANIFEST_DIR"), "/docker/git-credential-docklet");
    let mut git = Command::new("git");
    git.args(["-c", "credential.helper=", "-c", helper, "credential", "fill"]).env_clear();
    git.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent");
    git.env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LANG", "C.UTF-8")
        .envs(variables.iter().copied());
    let git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut git = git.unwrap();
    git.stdin.take().unwrap().write_all(format!("{request}\n").as_bytes()).unwrap();
    let output = git.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn login(request: &str, variables: &[(&str, &str)]) -> Option<(String, String)> {
    let (answer, _) = asked(request, variables);
    let value =
        |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    Some((value("username")?, value("password")?))
}

#[test]
fn each_host_gets_its_own_token_and_no_other() {
    let all = [
        ("GH_TOKEN", "gh"),
        ("GITHUB_TOKEN", "github"),
        ("GITLAB_TOKEN", "gl"),
        ("GITLAB_HOST", "https://GitLab.example.org/"),
        ("GIT_TOKEN", "other"),
        ("GIT_HOST", "git.example.org:8443"),
    ];
    for (url, user, token) in [
        ("https://github.com/a/b.git", "x-access-token", "gh"),
        ("https://GitHub.com/a/b.git", "x-access-token", "gh"),
        ("https://me@github.com/a/b.git", "me", "gh"),
        ("https://github.com:443/a/b.git", "x-access-token", "gh"),
        ("https://gist.github.com/a", "x-access-token", "gh"),
        ("https://gitlab.com/a/b.git", "oauth2", "gl"),
        ("https://gitlab.example.org/a/b.git", "oauth2", "gl"),
        ("https://git.example.org:8443/a/b.git", "token", "other"),
    ] {
        let wanted = Some((user.to_owned(), token.to_owned()));
        assert_eq!(login(&format!("url={url}"), &all), wanted, "{url}");
    }
    for url in [
        "http://github.com/a/b.git",
        "https://github.com:444/a/b.git",
        "https://github.com.evil.example/a",
        "https://evilgithub.com/a",
        // Its lower-case letter is an ASCII one in bash, and another one in names of hosts.
        "https://gİthub.com/a",
        "https://g%C4%B0thub.com/a",
        "https://gİt.example.org:8443/a",
        "https://git.example.org/a",
        "ssh://git@github.com/a",
    ] {
        let (answer, _) = asked(&format!("url={url}"), &all);
        assert!(!answer.contains("password="), "{url}: {answer}");
    }
    let only = [("GITHUB_TOKEN", "github")];
    assert_eq!(login("url=https://github.com/a", &only).unwrap().1, "github");
}

#[test]
fn a_missing_token_is_named() {
    let (answer, said) = asked("url=https://github.com/a/b.git", &[("GITLAB_TOKEN", "gl")]);
    assert!(!answer.contains("password="), "{answer}");
    assert!(said.contains("no token for github.com") && said.contains("docklet secret set GH_TOKEN"), "{said}");
    // Without a host of its own, this token is for none.
    let (answer, said) = asked("url=https://git.example.org/a", &[("GIT_TOKEN", "x"), ("GIT_HOST", "")]);
    assert!(!answer.contains("password=") && !said.contains("docklet"), "{answer}{said}");
}
