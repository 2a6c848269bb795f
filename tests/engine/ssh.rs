//! An engine behind ssh: this machine's own, through an sshd of the test's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::support::*;

/// An sshd that lets the test's key in, and an `ssh` that knows of nothing else.
struct Server {
    sshd: Child,
    folder: PathBuf,
    address: String,
}

impl Server {
    fn start(world: &World) -> Self {
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
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nSetEnv \"DOCKER_HOST={}\" \"PATH={}\"\n",
            path("host"),
            path("user.pub"),
            engine_host(),
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
            address: format!("ssh://{user}@127.0.0.1:{port}"),
            folder: folder.clone(),
        };
        server.knows("host", port);
        let program = folder.join("bin/ssh");
        fs::write(&program, format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", path("config"))).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        wait_until(SOON, "sshd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    /// What `ssh` takes for the key of the host.
    fn knows(&self, key: &str, port: u16) {
        let key = fs::read_to_string(self.folder.join(key).with_extension("pub")).unwrap();
        fs::write(self.folder.join("known"), format!("[127.0.0.1]:{port} {key}")).unwrap();
        let path = |name: &str| format!("\"{}\"", self.folder.join(name).display());
        let config = format!(
            "IdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nStrictHostKeyChecking yes\n",
            path("user"),
            path("known")
        );
        fs::write(self.folder.join("config"), config).unwrap();
    }

    fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    fn docklet(&self, world: &World, args: &[&str], input: Stdio) -> Output {
        let path = std::env::var("PATH").unwrap();
        let mut command = world.docklet();
        command.env("PATH", format!("{}:{path}", self.folder.join("bin").display())).env("DOCKER_HOST", &self.address);
        command.args(args).stdin(input).output().unwrap()
    }

    fn ok(&self, world: &World, args: &[&str]) -> String {
        let output = self.docklet(world, args, Stdio::null());
        assert!(output.status.success(), "{}\n{}", shown(&output), self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    fn log(&self) -> String {
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
    server.knows("other", server.port());
    refused("Host key verification failed");
    server.knows("host", server.port());
    fs::write(server.folder.join("user.pub"), "").unwrap();
    refused("Permission denied");
}
