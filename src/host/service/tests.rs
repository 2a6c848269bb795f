//! The files as their managers read them, and what is left after each step.
#![allow(clippy::unwrap_used)]
use insta::assert_snapshot;

use super::*;

fn service(program: &str, environment: &[(&str, &str)]) -> Service {
    Service {
        instance: "work".parse().unwrap(),
        title: "opencode".to_owned(),
        program: program.into(),
        environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

const NASTY: &str = r#"/opt/a b/100%h/q"uote/back\slash/$HOME/<&>/docklet"#;

#[test]
fn texts_of_a_plain_service() {
    let plain = service("/home/me/.cargo/bin/docklet", &[("DOCKLET_HOME", "/home/me/my docklet")]);
    assert_snapshot!(systemd_unit(&plain).unwrap(), @r#"
    # Written by: docklet autostart enable. Removed by: docklet autostart disable
    [Unit]
    Description=docklet supervisor of opencode (instance work)

    [Service]
    Type=simple
    Environment="DOCKLET_HOME=/home/me/my docklet"
    ExecStart="/home/me/.cargo/bin/docklet" --instance work supervise
    Restart=on-failure
    RestartSec=5

    [Install]
    WantedBy=default.target
    "#);
    assert!(launchd_agent(&plain).unwrap().contains("<key>DOCKLET_HOME</key>\n    <string>/home/me/my docklet<"));
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs systemd-analyze: tests/run brings it"]
fn a_unit_is_what_systemd_reads() {
    let analyze = which("systemd-analyze").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let nasty = folder.path().join(NASTY.trim_start_matches('/'));
    std::fs::create_dir_all(nasty.parent().unwrap()).unwrap();
    std::fs::write(&nasty, "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("/bin/true", folder.path().join("true")).unwrap();
    let verify = |text: &str| {
        let file = folder.path().join("docklet-work.service");
        std::fs::write(&file, text).unwrap();
        let runtime = folder.path().join("runtime");
        std::fs::create_dir_all(&runtime).unwrap();
        let mut command = std::process::Command::new(&analyze);
        command.args(["--user", "--man=no", "verify"]).arg(&file);
        let output = command.env("HOME", folder.path()).env("XDG_RUNTIME_DIR", &runtime).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let values = [("DOCKLET_HOME", NASTY), ("DOCKER_HOST", "unix:///run/a b/x.sock")];
    let good = systemd_unit(&service(folder.path().join("true").to_str().unwrap(), &values)).unwrap();
    assert_eq!(verify(&good), (true, String::new()));
    // It names the program as it understood it: not executable, so that it does name it.
    let (fine, said) = verify(&systemd_unit(&service(nasty.to_str().unwrap(), &values)).unwrap());
    assert!(!fine && said.contains(NASTY), "{said}");
    // And the check can fail.
    let (_, said) = verify(&good.replace("Restart=on-failure", "Restrat=on-failure"));
    assert!(said.contains("Restrat"), "{said}");
}

#[test]
fn an_agent_is_what_a_plist_parser_reads() {
    let text = launchd_agent(&service(NASTY, &[("DOCKLET_HOME", NASTY), ("DOCKER_HOST", "tcp://a&b")])).unwrap();
    let agent = plist::Value::from_reader_xml(text.as_bytes()).unwrap();
    let agent = agent.as_dictionary().unwrap();
    assert_eq!(agent["Label"].as_string(), Some("docklet.work"));
    let arguments: Vec<_> = agent["ProgramArguments"].as_array().unwrap().iter().map(|v| v.as_string()).collect();
    assert_eq!(arguments, [NASTY, "--instance", "work", "supervise"].map(Some));
    let environment = agent["EnvironmentVariables"].as_dictionary().unwrap();
    assert_eq!(environment["DOCKLET_HOME"].as_string(), Some(NASTY));
    assert_eq!(environment["DOCKER_HOST"].as_string(), Some("tcp://a&b"));
    assert_eq!(agent["RunAtLoad"].as_boolean(), Some(true));
    assert_eq!(agent["KeepAlive"].as_dictionary().unwrap()["SuccessfulExit"].as_boolean(), Some(false));
}

#[test]
fn what_no_file_can_hold_is_refused() {
    assert!(systemd_unit(&service("/a\nb", &[])).is_err());
    assert!(systemd_unit(&service("/a", &[("X", "a\nExecStart=evil")])).is_err());
    assert!(launchd_agent(&service("/a\u{1}b", &[])).is_err());
}

/// Services in a folder of its own, with a manager that takes down what it is told.
fn services(kind: ServiceManager, folder: &Path) -> Services {
    use std::os::unix::fs::PermissionsExt as _;
    let tool = folder.join("tool");
    std::fs::write(&tool, format!("#!/bin/sh\necho \"$*\" >>'{}'\n", folder.join("told").display())).unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    Services { kind, folder: folder.join("home/units"), tool: Ok(tool) }
}

fn told(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("told")).unwrap_or_default()
}

#[tokio::test]
async fn disabling_leaves_no_trace() {
    for kind in [ServiceManager::Systemd, ServiceManager::Launchd] {
        let folder = tempfile::tempdir().unwrap();
        let services = services(kind, folder.path());
        let work = service("/bin/true", &[]);
        assert!(!services.is_enabled(&work.instance));
        assert!(services.enable(&work).await.unwrap());
        assert!(services.is_enabled(&work.instance));
        assert!(!services.enable(&work).await.unwrap(), "a second time there is nothing to do");
        let link = services.folder.join("default.target.wants/docklet-work.service");
        assert_eq!(std::fs::read_link(&link).is_ok(), kind == ServiceManager::Systemd);
        let moved = Service { program: "/bin/false".into(), ..work.clone() };
        assert!(services.enable(&moved).await.unwrap(), "a program that moved is written anew");
        assert!(!services.disable(&work.instance).await.unwrap().is_empty());
        assert!(!services.is_enabled(&work.instance));
        assert_eq!(services.disable(&work.instance).await.unwrap(), Vec::<PathBuf>::new());
        assert_eq!(std::fs::read_dir(&services.folder).unwrap().count(), 0);
        match kind {
            ServiceManager::Systemd => assert_eq!(
                told(folder.path()),
                "--user daemon-reload\n--user daemon-reload\n--user stop docklet-work.service\n--user daemon-reload\n"
            ),
            ServiceManager::Launchd => {
                assert_eq!(told(folder.path()), format!("bootout {}/docklet.work\n", launchd_domain()))
            }
        }
    }
}

#[tokio::test]
async fn half_a_service_is_never_left() {
    let folder = tempfile::tempdir().unwrap();
    let services = services(ServiceManager::Systemd, folder.path());
    let work = service("/bin/true", &[]);
    std::fs::create_dir_all(&services.folder).unwrap();
    // A file where the folder of links should be.
    std::fs::write(services.folder.join(TARGET), "").unwrap();
    services.enable(&work).await.unwrap_err();
    assert_eq!(services.traces(&work.instance), Vec::<PathBuf>::new());
    std::fs::remove_file(services.folder.join(TARGET)).unwrap();
    services.enable(&work).await.unwrap();
    // A link whose unit is gone is a trace, too.
    std::fs::remove_file(services.file(&work.instance)).unwrap();
    assert_eq!(services.disable(&work.instance).await.unwrap().len(), 1);
    assert_eq!(services.traces(&work.instance), Vec::<PathBuf>::new());
}
