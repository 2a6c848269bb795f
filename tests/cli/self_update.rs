//! `docklet self-update` against a server of releases on this machine: what is signed and whole takes the program's place,
//! and after everything else the program is what it was.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
};

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Home, json, shown};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/release").join(name)).unwrap()
}

/// What the server has, each answered with this many bytes of it.
#[derive(Clone)]
struct Release {
    list: Vec<u8>,
    signature: Option<Vec<u8>>,
    program: Vec<u8>,
    /// How many bytes of the program are sent before the connection ends; `None` once it hangs there.
    sent: Option<usize>,
}

impl Release {
    fn of(version: &str) -> Release {
        let program = fixture("program.zst");
        Release {
            list: fixture(&format!("{version}/SHA256SUMS")),
            signature: Some(fixture(&format!("{version}/SHA256SUMS.minisig"))),
            sent: Some(program.len()),
            program,
        }
    }
}

/// Serves a release until the test ends; its address, and a word for each program that was asked for.
fn serve(release: Release) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, word) = mpsc::channel();
    std::thread::spawn(move || {
        let mut open = vec![];
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap();
            let (content, sent) = match path {
                "/releases/latest/download/SHA256SUMS" => (Some(&release.list), None),
                "/releases/latest/download/SHA256SUMS.minisig" => (release.signature.as_ref(), None),
                _ if path.starts_with("/releases/download/v9.0.0/docklet-9.0.0-") => {
                    (Some(&release.program), Some(release.sent))
                }
                _ => (None, None),
            };
            let Some(content) = content else {
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
                continue;
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
            stream.write_all(head.as_bytes()).unwrap();
            let end = sent.map_or(content.len(), |sent| sent.unwrap_or(1));
            stream.write_all(&content[..end]).unwrap();
            if sent == Some(None) {
                open.push(stream);
            }
            if sent.is_some() {
                asked.send(()).ok();
            }
        }
    });
    (address, word)
}

/// The program in a folder of its own.
struct Installed {
    home: Home,
    program: PathBuf,
    inode: u64,
}

impl Installed {
    fn new() -> Installed {
        let home = Home::new();
        let folder = home.path("prefix/bin");
        fs::create_dir_all(&folder).unwrap();
        let program = fs::canonicalize(folder).unwrap().join("docklet");
        fs::copy(env!("CARGO_BIN_EXE_docklet"), &program).unwrap();
        let inode = inode(&program);
        Installed { home, program, inode }
    }

    fn command(&self, address: &str, flags: &[&str]) -> Command {
        let key = String::from_utf8(fixture("test.pub")).unwrap();
        let mut command = Command::new(&self.program);
        command.args(["--json", "self-update"]).args(flags).env_clear().env("HOME", self.home.path("user"));
        command.env("DOCKLET_HOME", self.home.path("docklet"));
        command.env("DOCKLET_TEST_REPOSITORY", address).env("DOCKLET_TEST_RELEASE_KEY", key);
        command
    }

    /// Is refused with this code, and leaves everything as it was.
    fn refused(&self, release: Release, code: &str, exit: i32) {
        let (address, _asked) = serve(release);
        let output = self.command(&address, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(exit), "{}", shown(&output));
        assert_eq!(json(&output)["error"]["code"], code, "{}", shown(&output));
        self.is_as_it_was();
    }

    fn is_as_it_was(&self) {
        assert_eq!(inode(&self.program), self.inode);
        let names: Vec<_> =
            fs::read_dir(self.program.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["docklet"]);
    }
}

fn inode(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).unwrap().ino()
}

#[test]
fn what_is_not_a_whole_signed_newer_release_is_refused() {
    let installed = Installed::new();
    let good = Release::of("9.0.0");
    let half = good.program.len() / 2;
    installed.refused(Release { sent: Some(half), ..good.clone() }, "NETWORK_ERROR", 5);
    let shorter = good.program[..half].to_vec();
    installed.refused(Release { sent: Some(half), program: shorter, ..good.clone() }, "RELEASE_REFUSED", 11);
    let other = zstd::encode_all(&b"#!/bin/sh\necho docklet 9.0.0\n"[..], 1).unwrap();
    installed.refused(Release { sent: Some(other.len()), program: other, ..good.clone() }, "RELEASE_REFUSED", 11);
    let mut altered = good.clone();
    altered.list[0] ^= 1;
    installed.refused(altered, "RELEASE_REFUSED", 11);
    let somebody_elses = Some(fixture("9.0.0/somebody-elses.minisig"));
    installed.refused(Release { signature: somebody_elses, ..good.clone() }, "RELEASE_REFUSED", 11);
    installed.refused(Release { signature: Some(vec![]), ..good.clone() }, "RELEASE_REFUSED", 11);
    installed.refused(Release { signature: None, ..good }, "NETWORK_ERROR", 5);
    installed.refused(Release::of("0.0.1"), "RELEASE_REFUSED", 11);
}

#[test]
fn an_interrupted_update_leaves_the_program() {
    let installed = Installed::new();
    for (signal, exit) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let (address, asked) = serve(Release { sent: None, ..Release::of("9.0.0") });
        let mut child = installed.command(&address, &[]).spawn().unwrap();
        asked.recv().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), exit);
        installed.is_as_it_was();
    }
}

#[test]
fn a_release_takes_the_place_and_the_program_of_before_is_kept() {
    let installed = Installed::new();
    let (address, _asked) = serve(Release::of("9.0.0"));
    let check = installed.command(&address, &["--check"]).output().unwrap();
    let report = json(&check);
    assert_eq!((&report["update_available"], &report["to"]), (&true.into(), &"9.0.0".into()), "{}", shown(&check));
    installed.is_as_it_was();

    fs::write(installed.program.with_file_name(".docklet-new-killed"), "half").unwrap();
    let output = installed.command(&address, &[]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let report = json(&output);
    assert_eq!((&report["changed"], &report["to"]), (&true.into(), &"9.0.0".into()), "{report}");
    assert_eq!(report["supervisors"][0], "default", "the new program restarts them: {report}");
    let previous = installed.program.with_file_name("docklet.previous");
    assert_eq!((fs::read(&installed.program).unwrap(), inode(&previous)), (fixture("program"), installed.inode));
    assert!(!installed.program.with_file_name(".docklet-new-killed").exists(), "what a killed update left");
}

#[test]
fn a_rollback_swaps_the_two_programs() {
    let installed = Installed::new();
    let none = installed.command("", &["--rollback"]).output().unwrap();
    assert_eq!(json(&none)["error"]["code"], "NOT_FOUND", "{}", shown(&none));
    let previous = installed.program.with_file_name("docklet.previous");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/release/program"), &previous).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&previous, mode).unwrap();
    let output = installed.command("", &["--rollback"]).output().unwrap();
    assert_eq!(json(&output)["to"], "9.0.0", "{}", shown(&output));
    assert_eq!((fs::read(&installed.program).unwrap(), inode(&previous)), (fixture("program"), installed.inode));
}

#[test]
fn a_package_managers_program_is_left_to_it() {
    let installed = Installed::new();
    fs::write(installed.home.path("prefix/.crates.toml"), "[v1]\n\"docklet 0.1.0 (registry+x)\" = []\n").unwrap();
    let (address, _asked) = serve(Release::of("9.0.0"));
    let check = installed.command(&address, &["--check"]).output().unwrap();
    assert_eq!(json(&check)["command"], "cargo install docklet --locked", "{}", shown(&check));
    for flags in [&[][..], &["--rollback"]] {
        let output = installed.command(&address, flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        let hint = json(&output)["error"]["hint"].to_string();
        assert!(hint.contains("cargo install docklet --locked"), "{hint}");
    }
}
