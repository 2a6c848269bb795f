//! Which engines are tried, in which order, and how an address is read.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::engine::context::tests::{COLIMA, write};

fn selection(root: &Path) -> Selection {
    Selection { docker_config: root.join("docker"), home: "/home/me".into(), ..Selection::default() }
}

fn chosen(selection: &Selection) -> (String, String) {
    super::chosen(selection).unwrap()
}

#[test]
fn the_order_is_that_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let some = |text: &str| Some(text.to_owned());
    write(root, "docker/config.json", r#"{"currentContext":"colima"}"#);
    write(
        root,
        &format!("docker/contexts/meta/{COLIMA}/meta.json"),
        r#"{"Name":"colima","Endpoints":{"docker":{"Host":"unix:///c.sock"}}}"#,
    );
    let mut all = Selection {
        host: some("unix:///a.sock"),
        docker_host: some("unix:///b.sock"),
        context: some("default"),
        docker_context: some("colima"),
        ..selection(root)
    };
    assert_eq!(chosen(&all), ("unix:///a.sock".into(), "--host".into()));
    all.host = some("  ");
    assert_eq!(chosen(&all), ("unix:///var/run/docker.sock".into(), "--context default".into()));
    all.context = None;
    assert_eq!(chosen(&all), ("unix:///b.sock".into(), "DOCKER_HOST".into()));
    all.docker_host = some("");
    assert_eq!(chosen(&all), ("unix:///c.sock".into(), "DOCKER_CONTEXT colima".into()));
    all.docker_context = None;
    assert_eq!(chosen(&all), ("unix:///c.sock".into(), "the current docker context colima".into()));
    std::fs::remove_file(root.join("docker/config.json")).unwrap();
    assert!(matches!(choose(&all).unwrap(), Candidates::FirstOf(_)));
    all.context = some("nothing");
    assert!(matches!(choose(&all), Err(Error::Usage { .. })), "a chosen context is final");
}

#[test]
fn the_usual_places_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut selection = selection(folder.path());
    selection.runtime_dir = Some("/run/user/1000".into());
    let Candidates::FirstOf(places) = choose(&selection).unwrap() else { panic!("nobody chose") };
    let table: Vec<String> = places.iter().map(|p| format!("{} · {}", p.endpoint, p.origin)).collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    unix:///var/run/docker.sock · the default socket
    unix:///home/me/.docker/run/docker.sock · Docker Desktop's socket
    unix:///home/me/.docker/desktop/docker.sock · Docker Desktop's socket
    unix:///run/user/1000/docker.sock · the rootless socket
    unix:///run/user/1000/podman/podman.sock · Podman's socket
    unix:///run/podman/podman.sock · root's Podman's socket
    unix:///home/me/.local/share/containers/podman/machine/podman.sock · Podman machine's socket
    unix:///home/me/.local/share/containers/podman/machine/qemu/podman.sock · Podman machine's socket
    unix:///home/me/.colima/default/docker.sock · Colima's socket
    unix:///home/me/.config/colima/default/docker.sock · Colima's socket
    unix:///home/me/.orbstack/run/docker.sock · OrbStack's socket
    unix:///home/me/.rd/docker.sock · Rancher Desktop's socket
    ");
    for place in &places {
        let Endpoint::Unix(path) = &place.endpoint else { panic!("{place:?}") };
        assert_eq!(EngineKind::of(path), place.kind, "named by --host, {path:?} is the same place");
    }
    selection.runtime_dir = None;
    let Candidates::FirstOf(fewer) = choose(&selection).unwrap() else { panic!("nobody chose") };
    assert_eq!(fewer.len() + 2, places.len());
}

#[test]
fn a_password_in_an_address_is_refused_and_not_repeated() {
    for host in ["tcp://me:s3cret@h:2375", "https://s3cret@h", "me:s3cret@h:2375"] {
        let tls = Tls { wanted: false, folder: Path::new("/certs") };
        let refused = place(host, "DOCKER_HOST".to_owned(), tls).unwrap_err();
        let said = format!("{refused} {:?} {:?}", refused.causes(), refused.hint());
        assert!(said.contains("***@h") && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn every_spelling_of_a_host() {
    let clear = Tls { wanted: false, folder: Path::new("/certs") };
    let with_tls = Tls { wanted: true, ..clear };
    let at = |host: &str, tls| place(host, "test".to_owned(), tls).map(|p| p.endpoint);
    let tcp = |host: &str| Endpoint::Tcp(host.to_owned());
    let tls = |host: &str| Endpoint::Tls(host.to_owned(), "/certs".into());
    for (host, settings, wanted) in [
        ("unix:///x.sock", clear, Endpoint::Unix("/x.sock".into())),
        ("/x.sock", clear, Endpoint::Unix("/x.sock".into())),
        ("unix:///x.sock/", clear, Endpoint::Unix("/x.sock".into())),
        ("tcp://h:1234/", clear, tcp("h:1234")),
        ("tcp://h", clear, tcp("h:2375")),
        ("h:1234", clear, tcp("h:1234")),
        ("http://h:1234", clear, tcp("h:1234")),
        ("tcp://[::1]", clear, tcp("[::1]:2375")),
        ("tcp://[::1]:1", clear, tcp("[::1]:1")),
        ("tcp://h", with_tls, tls("h:2376")),
        ("https://h:1", clear, tls("h:1")),
        ("ssh://me@h/", clear, Endpoint::Ssh("ssh://me@h".to_owned())),
        ("ssh://me@h:22", clear, Endpoint::Ssh("ssh://me@h:22".to_owned())),
        ("ssh://[::1]:22", clear, Endpoint::Ssh("ssh://[::1]:22".to_owned())),
    ] {
        assert_eq!(at(host, settings).unwrap(), wanted, "{host}");
    }
    for host in [
        "npipe:////./pipe/docker_engine",
        "fd://",
        "unix://",
        "unix://x.sock",
        "tcp://",
        "ftp://h",
        "tcp://h/x",
        "tcp://[::1",
        "tcp://127.0.0.1:99999",
        "ssh://-oProxyCommand=touch",
        "ssh://-lme@h",
        "ssh://me@-h",
        "ssh://me@h:x",
        "ssh://a@b@h",
        "ssh://@h",
    ] {
        assert!(matches!(at(host, clear), Err(Error::EngineUnsupported { .. })), "{host}");
    }
}
