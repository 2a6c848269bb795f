//! Advice for each kind of owner, mode and engine.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::appliance::Ids;

/// A folder of the user 1000 who runs docklet, open to nobody else.
fn folder() -> SourceFacts {
    SourceFacts { folder: true, owner: 1000, group: 1000, mode: 0o750, acl: None, labelled_off: false, us: 1000 }
}

fn file() -> SourceFacts {
    SourceFacts { folder: false, mode: 0o600, ..folder() }
}

fn said(facts: &SourceFacts, read_only: bool, ids: Ids, users: Users) -> String {
    let mount = Mount { host: "/home/me/my code".into(), container: "/workspace/code".to_owned(), read_only };
    advise(&mount, facts, ids, users).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// With the ids of the image as it is, on a rootful engine.
fn plain(facts: &SourceFacts, read_only: bool) -> String {
    said(facts, read_only, Ids::default(), Users::Same)
}

#[test]
fn what_belongs_to_the_agents_user_needs_nothing() {
    assert_eq!(plain(&folder(), false), "");
    assert_eq!(plain(&file(), false), "");
    let host_1001 = SourceFacts { owner: 1001, group: 1001, us: 1001, ..folder() };
    assert_eq!(said(&host_1001, false, Ids { uid: 1001, gid: 1001 }, Users::Same), "", "baked into the image");
    let by_group = SourceFacts { owner: 1, group: 1000, mode: 0o770, ..folder() };
    assert_eq!(plain(&by_group, false), "");
}

#[test]
fn a_host_user_1001_whose_uid_is_not_in_the_image_is_told() {
    let facts = SourceFacts { owner: 1001, group: 1001, us: 1001, ..folder() };
    assert_eq!(
        plain(&facts, false),
        "the agent (uid 1000 here) cannot read or write /home/me/my code, which belongs to uid 1001; to let it: \
         setfacl -R -m u:1000:rwX -m d:u:1000:rwX -m d:u:1001:rwX '/home/me/my code'"
    );
    assert_eq!(
        plain(&facts, true),
        "the agent (uid 1000 here) cannot read /home/me/my code, which belongs to uid 1001; to let it: \
         setfacl -R -m u:1000:r-X -m d:u:1000:r-X '/home/me/my code'"
    );
    let readable = SourceFacts { mode: 0o755, ..facts };
    assert!(plain(&readable, false).contains("cannot write "), "{}", plain(&readable, false));
    assert_eq!(plain(&readable, true), "");
    assert_eq!(plain(&SourceFacts { mode: 0o777, ..readable }, false), "");
}

#[test]
fn rights_on_what_is_not_the_users_are_given_narrowly_or_not_at_all() {
    let of_root = SourceFacts { owner: 0, group: 0, mode: 0o755, ..folder() };
    let text = plain(&of_root, false);
    assert!(text.ends_with("belongs to root: choose a folder of your own instead"), "{text}");
    assert!(!text.contains("setfacl"), "{text}");
    let anothers = SourceFacts { owner: 33, group: 33, ..folder() };
    let text = plain(&anothers, true);
    assert!(text.ends_with("to let it: sudo setfacl -m u:1000:r-X '/home/me/my code'"), "{text}");
    let for_root = SourceFacts { us: 0, ..anothers };
    assert!(plain(&for_root, true).ends_with("to let it: setfacl -m u:1000:r-X '/home/me/my code'"));
    let roots_own = SourceFacts { us: 0, owner: 0, group: 0, ..folder() };
    assert!(plain(&roots_own, false).contains("setfacl -R"), "root's own folder is root's to open");
}

#[test]
fn rootless_and_remapped_engines_have_other_users() {
    let rootless = Users::Rootless { uid: 100_000, gid: 200_000 };
    let text = said(&folder(), false, Ids::default(), rootless);
    assert!(text.contains("(uid 100999 here)") && text.contains("-m u:100999:rwX"), "{text}");
    let given = SourceFacts { owner: 100_999, ..folder() };
    assert_eq!(said(&given, false, Ids::default(), rootless), "");
    let by_group = SourceFacts { group: 200_999, mode: 0o770, ..folder() };
    assert_eq!(said(&by_group, false, Ids::default(), rootless), "");
    let text = said(&folder(), false, Ids::default(), Users::Shifted { uid: 165_536, gid: 165_536 });
    assert!(text.contains("u:166536:"), "{text}");
    assert_eq!(said(&folder(), false, Ids { uid: 7, gid: 7 }, Users::Unknown), "");
    assert_eq!(first_of("you:1:2\nme:100000:65536\n", Some("me"), 1000), Some(100_000));
    assert_eq!(first_of("1000:300000:65536\n", None, 1000), Some(300_000));
    assert_eq!(first_of("mean:100000:65536\nbroken\n", Some("me"), 1000), None);
    assert_eq!(shift("/var/lib/docker/100000.100001"), Some((100_000, 100_001)));
    assert_eq!(shift("/var/lib/docker"), None);
    let mut about = About {
        endpoint: "unix:///var/run/docker.sock".to_owned(),
        origin: String::new(),
        name: "Docker".to_owned(),
        version: String::new(),
        api_version: String::new(),
        architecture: String::new(),
    };
    #[cfg(target_os = "linux")]
    assert_eq!(Users::of(&about, false, "/var/lib/docker"), Users::Same);
    about.endpoint = "ssh://elsewhere".to_owned();
    assert_eq!(Users::of(&about, false, "/var/lib/docker"), Users::Unknown);
    about = About { endpoint: "unix:///x.sock".to_owned(), name: "Docker Desktop".to_owned(), ..about };
    assert_eq!(Users::of(&about, false, "/var/lib/docker"), Users::Unknown);
}

#[test]
fn a_private_file_is_copied_and_not_opened() {
    let key = SourceFacts { owner: 1001, us: 1001, ..file() };
    let text = plain(&key, true);
    assert!(
        text.ends_with("mount a copy: sudo install -m 400 -o 1000 '/home/me/my code' '/home/me/my code.agent'"),
        "{text}"
    );
    assert!(plain(&key, false).ends_with("setfacl -m u:1000:rwX '/home/me/my code'"), "{}", plain(&key, false));
    assert_eq!(plain(&SourceFacts { mode: 0o644, ..key }, true), "");
}

#[test]
fn access_control_lists_count_by_their_entries() {
    /// The kernel's form of a list.
    fn list(entries: &[Entry]) -> Option<Vec<u8>> {
        let mut bytes = vec![2, 0, 0, 0];
        for (tag, perm, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(u16::try_from(*perm).unwrap().to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        Some(bytes)
    }
    let with =
        |entries: &[Entry]| SourceFacts { owner: 1001, group: 1001, mode: 0o770, acl: list(entries), ..folder() };
    let rest = [(OWNING_GROUP, 7, u32::MAX), (OTHER, 0, u32::MAX)];
    let ours = [(USER, 7, 1000), (MASK, 7, u32::MAX)];
    assert_eq!(plain(&with(&[&ours[..], &rest].concat()), false), "");
    let masked = [(USER, 7, 1000), (MASK, 5, u32::MAX)];
    assert!(plain(&with(&[&masked[..], &rest].concat()), false).contains("cannot write "));
    let anothers = [(USER, 7, 1234), (MASK, 7, u32::MAX)];
    assert!(plain(&with(&[&anothers[..], &rest].concat()), true).contains("cannot read "), "it is somebody else's");
    let groups = [(GROUP, 7, 1000), (MASK, 7, u32::MAX)];
    assert_eq!(plain(&with(&[&groups[..], &rest].concat()), false), "");
    assert_eq!(entries(&[2, 0, 0, 0, 1]), None);
}

#[test]
fn selinux_labels_are_changed_only_below_the_users_own() {
    let closed = SourceFacts { labelled_off: true, ..folder() };
    assert!(plain(&closed, false).ends_with("chcon -R -t container_file_t '/home/me/my code'"));
    let of_root = SourceFacts { owner: 0, group: 0, mode: 0o777, ..closed };
    assert!(plain(&of_root, false).ends_with("choose a folder of your own instead"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_real_folder_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount { host: folder.path().to_owned(), container: "/workspace/a".to_owned(), read_only: false };
    let us = rustix::process::getuid().as_raw();
    let advice_for = |uid| advice(&mount, Ids { uid, gid: uid }, Users::Same).len();
    assert_eq!((advice_for(us), advice_for(us + 4321)), (0, 1));
    let gone = Mount { host: folder.path().join("gone"), ..mount };
    assert_eq!(advice(&gone, Ids::default(), Users::Same), vec![]);
}
