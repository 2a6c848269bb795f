//! Whether the agent can use a mounted folder or file, and the command that changes it. A pure function over plain
//! facts, and what gathers them. docklet changes nothing of it by itself: the folder is the user's.

use std::{fmt, fs, os::unix::fs::MetadataExt as _, path::Path};

use super::quoted;
use crate::{appliance::Ids, engine::About, host::system, settings::Mount};

/// How an engine turns a container's users into those of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// They are the same.
    Same,
    /// A rootless engine: root is the user who runs it, and the first other ones are these.
    Rootless {
        /// For user 1.
        uid: u32,
        /// For group 1.
        gid: u32,
    },
    /// An engine with `userns-remap`: root is this one, and the others follow.
    Shifted {
        /// For user 0.
        uid: u32,
        /// For group 0.
        gid: u32,
    },
    /// By itself (in a virtual machine), or nobody knows.
    Unknown,
}

impl Users {
    /// Finds out, from what the engine says of itself.
    pub fn of(about: &About, rootless: bool, data_folder: &str) -> Self {
        if !about.runs_here() {
            return Users::Unknown;
        }
        if rootless {
            let first = |file: &str| {
                let text = fs::read_to_string(file).ok()?;
                first_of(&text, system::user_name().as_deref(), rustix::process::getuid().as_raw())
            };
            return match (first("/etc/subuid"), first("/etc/subgid")) {
                (Some(uid), Some(gid)) => Users::Rootless { uid, gid },
                _ => Users::Unknown,
            };
        }
        shift(data_folder).map_or(Users::Same, |(uid, gid)| Users::Shifted { uid, gid })
    }

    /// The agent's ids on this machine.
    fn here(self, ids: Ids) -> Option<Ids> {
        let next = |first: u32, id: u32| first.checked_add(id.checked_sub(1)?);
        match self {
            Users::Same => Some(ids),
            Users::Rootless { uid, gid } => Some(Ids { uid: next(uid, ids.uid)?, gid: next(gid, ids.gid)? }),
            Users::Shifted { uid, gid } => Some(Ids { uid: uid.checked_add(ids.uid)?, gid: gid.checked_add(ids.gid)? }),
            Users::Unknown => None,
        }
    }
}

/// The first number of a user in `/etc/subuid` or `/etc/subgid`.
fn first_of(text: &str, name: Option<&str>, uid: u32) -> Option<u32> {
    let uid = uid.to_string();
    let is_user = |user: &str| Some(user) == name || user == uid;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, rest) = lines.find(|(user, _)| is_user(user))?;
    rest.split(':').next()?.parse().ok()
}

/// With `userns-remap`, the engine's data is in a folder named after the first ids: `/var/lib/docker/100000.100000`.
fn shift(data_folder: &str) -> Option<(u32, u32)> {
    let (uid, gid) = data_folder.rsplit('/').next()?.split_once('.')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// What the user should know of a mount, and the command that changes it, where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// One sentence.
    pub what: String,
    /// A command.
    pub command: Option<String>,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.command {
            Some(command) => write!(f, "{}; to let it: {command}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What was seen of a mount's source.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SourceFacts {
    folder: bool,
    owner: u32,
    group: u32,
    mode: u32,
    /// The access control list as the kernel keeps it.
    acl: Option<Vec<u8>>,
    /// Whether SELinux keeps containers out.
    labelled_off: bool,
    /// Who runs docklet.
    us: u32,
}

/// Advice on a mount. Empty where it can be used, where nobody knows, and where there is nothing.
pub fn advice(mount: &Mount, ids: Ids, users: Users) -> Vec<Advice> {
    look(&mount.host).map(|facts| advise(mount, &facts, ids, users)).unwrap_or_default()
}

fn look(path: &Path) -> Option<SourceFacts> {
    let found = fs::metadata(path).ok()?;
    let enforcing = fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1");
    let labelled = || {
        attribute(path, "security.selinux")
            .is_some_and(|label| String::from_utf8_lossy(&label).contains("container_file_t"))
    };
    Some(SourceFacts {
        folder: found.is_dir(),
        owner: found.uid(),
        group: found.gid(),
        mode: found.mode() & 0o777,
        acl: attribute(path, "system.posix_acl_access"),
        labelled_off: enforcing && !labelled(),
        us: rustix::process::getuid().as_raw(),
    })
}

fn advise(mount: &Mount, facts: &SourceFacts, ids: Ids, users: Users) -> Vec<Advice> {
    let Some(agent) = users.here(ids) else { return vec![] };
    let shown = mount.host.display();
    let mut all = vec![];
    let open = permissions(facts, agent);
    // A folder is used by what is in it.
    let (read, write) = if facts.folder { (0o5, 0o3) } else { (0o4, 0o2) };
    let lacks_read = open & read != read;
    let lacks_write = !mount.read_only && open & write != write;
    let cannot = match (lacks_read, lacks_write) {
        (false, false) => None,
        (true, false) => Some("read"),
        (false, true) => Some("write"),
        (true, true) => Some("read or write"),
    };
    if let Some(cannot) = cannot {
        let owner = if facts.owner == 0 { "root".to_owned() } else { format!("uid {}", facts.owner) };
        let what = format!("the agent (uid {} here) cannot {cannot} {shown}, which belongs to {owner}", agent.uid);
        all.push(match grant(mount, facts, agent.uid) {
            Some(command) => Advice { what, command: Some(command) },
            None => Advice { what: format!("{what}: choose a folder of your own instead"), command: None },
        });
    }
    if facts.labelled_off {
        let what = format!("SELinux keeps containers out of {shown}");
        all.push(match whose(facts) {
            Whose::Systems => Advice { what: format!("{what}: choose a folder of your own instead"), command: None },
            whose => {
                let deep = if facts.folder && whose == Whose::Ours { "-R " } else { "" };
                let command = format!("{}chcon {deep}-t container_file_t {}", sudo(facts), quoted(&mount.host));
                Advice { what, command: Some(command) }
            }
        });
    }
    all
}

/// Whose a source is, which decides how far advice goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Of the user who runs docklet.
    Ours,
    /// Of another user.
    Anothers,
    /// Root's, who is somebody else.
    Systems,
}

fn whose(facts: &SourceFacts) -> Whose {
    match facts.owner {
        owner if owner == facts.us => Whose::Ours,
        0 => Whose::Systems,
        _ => Whose::Anothers,
    }
}

fn sudo(facts: &SourceFacts) -> &'static str {
    if facts.us == 0 || facts.us == facts.owner { "" } else { "sudo " }
}

/// The command that lets a user in; `None` for what is the system's.
fn grant(mount: &Mount, facts: &SourceFacts, uid: u32) -> Option<String> {
    let path = quoted(&mount.host);
    let whose = whose(facts);
    if whose == Whose::Systems {
        return None;
    }
    let sudo = sudo(facts);
    let may = if mount.read_only { "r-X" } else { "rwX" };
    if facts.folder && whose == Whose::Ours {
        // New files of either side are for both.
        let us = if facts.us == 0 || mount.read_only { String::new() } else { format!(" -m d:u:{}:rwX", facts.us) };
        return Some(format!("{sudo}setfacl -R -m u:{uid}:{may} -m d:u:{uid}:{may}{us} {path}"));
    }
    // ssh on this machine refuses a key that others may read, as an access control list looks to it.
    if !facts.folder && mount.read_only && facts.mode & 0o077 == 0 {
        let copy = quoted(Path::new(&format!("{}.agent", mount.host.display())));
        let root = if facts.us == 0 { "" } else { "sudo " };
        return Some(format!("mount a copy: {root}install -m 400 -o {uid} {path} {copy}"));
    }
    Some(format!("{sudo}setfacl -m u:{uid}:{may} {path}"))
}

/// The bits that a user has: as owner, by an entry of the list, through a group, or as anybody.
fn permissions(facts: &SourceFacts, user: Ids) -> u32 {
    if facts.owner == user.uid {
        return facts.mode >> 6 & 7;
    }
    if let Some(entries) = facts.acl.as_deref().and_then(entries) {
        return by_list(facts, &entries, user);
    }
    if facts.group == user.gid { facts.mode >> 3 & 7 } else { facts.mode & 7 }
}

/// An entry of an access control list: its tag, its bits, whom it is about.
type Entry = (u16, u32, u32);

/// The tags of entries.
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The kernel's form: a version, then eight bytes for each entry.
fn entries(acl: &[u8]) -> Option<Vec<Entry>> {
    let (version, rest) = acl.split_first_chunk::<4>()?;
    let entry = |e: &[u8]| {
        let [t0, t1, b0, b1, i0, i1, i2, i3] = *e.first_chunk::<8>()?;
        let bits = u32::from(u16::from_le_bytes([b0, b1]));
        Some((u16::from_le_bytes([t0, t1]), bits, u32::from_le_bytes([i0, i1, i2, i3])))
    };
    if *version == [2, 0, 0, 0] { rest.chunks(8).map(entry).collect() } else { None }
}

fn by_list(facts: &SourceFacts, entries: &[Entry], user: Ids) -> u32 {
    let of = |tag: u16| entries.iter().filter(move |entry| entry.0 == tag);
    let mask = of(MASK).next().map_or(7, |entry| entry.1);
    if let Some(entry) = of(USER).find(|entry| entry.2 == user.uid) {
        return entry.1 & mask;
    }
    let owning = of(OWNING_GROUP).filter(|_| facts.group == user.gid);
    let named = of(GROUP).filter(|entry| entry.2 == user.gid);
    let groups: Vec<u32> = owning.chain(named).map(|entry| entry.1).collect();
    if groups.is_empty() {
        return of(OTHER).next().map_or(0, |entry| entry.1);
    }
    groups.into_iter().fold(0, |all, bits| all | bits) & mask
}

#[cfg(target_os = "linux")]
fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0u8; 4096];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[cfg(not(target_os = "linux"))]
fn attribute(_path: &Path, _name: &str) -> Option<Vec<u8>> {
    None
}

#[cfg(test)]
mod tests;
