//! From `docklet setup` on an empty home, answered at a terminal, to a commit that is made inside, in a repository of the
//! host's user, and pushed over https with a token: with that user's name on it, and files that belong to that user. For
//! users with other numbers than the image's own, too.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::git_server::{CERTIFICATE, GitServer, HOST};
use crate::support::*;
use crate::terminal::{DOWN, Person};

/// What must be nowhere but in the secrets.
const TOKEN: &str = "glpat-a-token-of-the-tests";

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn real_commit_of_user_1000_is_pushed_on_docker() {
    commit_and_push(1000);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn real_commit_of_user_1001_is_pushed_on_docker() {
    commit_and_push(1001);
}

fn commit_and_push(uid: u32) {
    let world = World::new();
    world.commits_as("Ada Lovelace", "ada@example.org");
    let folder = world.folder();
    let bare = folder.join("server/app.git");
    let server = GitServer::start(bare.parent().unwrap(), TOKEN);
    let app = repository(folder, &bare, &server.url("app.git"));
    // One bundle for both: the machine's own certificates, which the build needs, and the server's.
    let machine =
        std::env::var("SSL_CERT_FILE").ok().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    fs::write(folder.join("ca.pem"), format!("{machine}\n{CERTIFICATE}")).unwrap();
    let user = User::new(&world, uid);

    let (port, server_port) = (world.port.to_string(), server.port);
    let (git_host, allow) = (format!("GITLAB_HOST={HOST}:{server_port}"), format!("host:{server_port}"));
    let mut person = user.at_terminal(&["setup", "--ca-file", "ca.pem", "--allow", &allow, "--env", &git_host]);
    person.sees("? Port").types(&format!("\u{15}{port}\r"));
    person.sees("? Image").types("\r").sees("? Languages").types("\r").sees("? Other packages").types("\r");
    person.sees("? Memory").types("\r");
    person.sees("? Project folder").types(&format!("{}\r", app.display()));
    person.sees("The agent can read and change everything in").sees("? Path inside").types("\r");
    // Proposed from this user's git.
    person.sees("? Commits as").sees("Ada Lovelace <ada@example.org>").types("\r");
    person.sees("? Restart").types("\r");
    if has_service_manager() {
        person.sees("? Start opencode when you log in").types("n");
    }
    person.sees("? Password").types("\r").sees("? Model keys").types("\r");
    person.sees("? Push tokens").types(&format!("{DOWN} ")).sees("[x] GitLab").types("\r");
    person.sees("? GITLAB_TOKEN").types(&format!("{TOKEN}\r"));
    person.sees("? Is this right?").types("\r").sees("Go ahead?").types("y");
    let (code, seen) = person.ends();
    assert!(code == 0 && seen.contains(&format!("http://127.0.0.1:{port}/")), "{seen}");
    assert!(!seen.contains(TOKEN), "{seen}");

    let inside = |command: &str| user.run(&["exec", "--", "sh", "-c", &format!("cd /workspace/app && {command}")]);
    // Without a token, git fails and says what is missing; it does not ask.
    let refused = inside("env -u GITLAB_TOKEN git push origin HEAD:refs/heads/refused");
    assert!(!refused.status.success());
    assert!(shown(&refused).contains("docklet secret set GITLAB_TOKEN"), "{}", shown(&refused));

    let done =
        inside("echo new >new.txt && git add new.txt && git commit --quiet -m 'From inside' && git push origin main");
    assert!(done.status.success(), "{}", shown(&done));
    let log = git(&bare, &["log", "-1", "--format=%an <%ae> %cn <%ce> %s", "main"]);
    assert_eq!(log, "Ada Lovelace <ada@example.org> Ada Lovelace <ada@example.org> From inside");
    let logins = server.logins();
    assert_eq!(logins.first(), Some(&None), "{logins:?}");
    assert_eq!(logins.last(), Some(&Some(format!("oauth2:{TOKEN}"))), "{logins:?}");

    for path in all_files(&app) {
        assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), uid, "{}", path.display());
    }
    let remotes = inside("git remote -v && git config --list --show-origin");
    let kept = inside("grep -rl glpat- /workspace /home/opencode /etc /tmp /dev/shm 2>/dev/null");
    for text in
        [shown(&remotes), shown(&kept), world.inspect().unwrap().to_string(), docker(&["logs", &world.container()])]
    {
        assert!(!text.contains(TOKEN) && !text.contains("/workspace/app/.git/config"), "{text}");
    }
    let status = json(&user.run(&["status", "--json"]));
    assert_eq!(
        (&status["secrets"][0], &status["environment"][0]),
        (&"GITLAB_TOKEN".into(), &"GITLAB_HOST".into()),
        "{status}"
    );
}

/// A repository with a commit of somebody else's, and the server's copy of it.
fn repository(folder: &Path, bare: &Path, url: &str) -> PathBuf {
    let app = folder.join("app");
    git(folder, &["init", "--quiet", "--initial-branch", "main", "app"]);
    fs::write(app.join("README"), "an app\n").unwrap();
    git(&app, &["add", "README"]);
    let somebody = ["-c", "user.name=Somebody Else", "-c", "user.email=else@example.org"];
    git(&app, &[&somebody[..], &["commit", "--quiet", "-m", "First"]].concat());
    git(folder, &["clone", "--quiet", "--bare", "--no-hardlinks", "app", bare.to_str().unwrap()]);
    git(bare, &["config", "http.receivepack", "true"]);
    git(&app, &["remote", "add", "origin", url]);
    app
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git").current_dir(folder).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "git {args:?}\n{}", shown(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(all_files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// A user of this machine who may use the engine, and whom all but the server's files of this world belong to.
struct User<'a> {
    world: &'a World,
    uid: u32,
    docklet: PathBuf,
}

impl<'a> User<'a> {
    fn new(world: &'a World, uid: u32) -> Self {
        // Where the tests are built may be closed to others.
        let docklet = world.folder().join("docklet");
        fs::copy(env!("CARGO_BIN_EXE_docklet"), &docklet).unwrap();
        fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut chown = as_superuser("chown");
        chown.arg("--recursive").arg(format!("{uid}:{uid}")).arg(world.folder());
        assert!(chown.status().unwrap().success());
        let mut back = as_superuser("chown");
        let me = rustix::process::getuid().as_raw();
        assert!(
            back.arg("--recursive").arg(me.to_string()).arg(world.folder().join("server")).status().unwrap().success()
        );
        Self { world, uid, docklet }
    }

    /// `docklet` as this user, at a terminal. An image is built in the time that the person has.
    fn at_terminal(&self, args: &[&str]) -> Person {
        let mut command = self.command(args);
        command.stdin(Stdio::inherit());
        Person::at(command, Duration::from_secs(900))
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("the docklet binary")
    }

    /// `docklet` as this user, with the machine's way to the Internet.
    fn command(&self, args: &[&str]) -> Command {
        let socket = engine_host();
        let group = fs::metadata(socket.trim_start_matches("unix://")).expect("an engine's socket").gid();
        let mut command = as_superuser("setpriv");
        command.arg(format!("--reuid={}", self.uid)).arg(format!("--regid={}", self.uid));
        command.arg(format!("--groups={group}")).args(["--", "env", "-i"]);
        for (name, value) in self.world.docklet_online().get_envs() {
            if let Some(value) = value {
                let mut pair = name.to_owned();
                pair.push("=");
                pair.push(value);
                command.arg(pair);
            }
        }
        command.arg("TERM=xterm-256color").arg(&self.docklet).args(args).current_dir(self.world.folder());
        command
    }
}

/// A command as root, through sudo where the tests are somebody else's.
fn as_superuser(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}
