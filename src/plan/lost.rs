//! What a container changed outside its volumes, which goes with it when it is replaced. Pure.

use std::collections::BTreeMap;

use crate::appliance::Appliance;

/// How many folders are named.
const MOST_FOLDERS: usize = 4;

/// Where the programs of package managers go, and whose they are: what was installed at run time is built into the image
/// instead.
const PACKAGES: [(&str, &str); 7] = [
    ("/var/lib/dpkg", "Debian packages"),
    ("/var/lib/apt", "Debian packages"),
    ("/usr/local/lib/node_modules", "npm packages"),
    ("/usr/lib/node_modules", "npm packages"),
    ("/usr/local/lib/python3", "Python packages"),
    ("/usr/lib/python3", "Python packages"),
    ("/opt", "programs in /opt"),
];

/// What need not be kept.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// Paths in the container whose content need not be kept, or is kept in a volume.
    pub below: Vec<String>,
    /// Paths that the entrypoint makes anew: links into a volume. Were one a folder, what is in it would be listed.
    pub made: Vec<String>,
}

/// What of this appliance's container need not be kept.
pub fn scratch(appliance: &Appliance) -> Scratch {
    let fixed = &appliance.container;
    let everywhere = ["/tmp", "/var/tmp", "/run", "/var/run", "/dev", "/proc", "/sys", "/.dockerenv"];
    // The engine's own, which it writes into every container.
    let engines = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/run/.containerenv"];
    // Caches: of everything, and of the npm that opencode brings, which does not look where that should be.
    let ours = [format!("{}/.cache", fixed.home), format!("{}/.npm", fixed.home), fixed.secrets_dir.clone()];
    let mounted = appliance.volumes.iter().map(|volume| volume.mount.clone());
    Scratch {
        below: everywhere.into_iter().chain(engines).map(str::to_owned).chain(ours).chain(mounted).collect(),
        made: vec![format!("{}/.ssh", fixed.home)],
    }
}

/// The changed paths without scratch folders, and without folders of which something inside is listed.
pub fn kept_nowhere<'a>(changed: &'a [String], scratch: &Scratch) -> Vec<&'a String> {
    let mut sorted: Vec<&String> = changed.iter().filter(|path| !scratch.made.contains(path)).collect();
    // With a slash behind it, a folder comes directly before what is in it.
    sorted.sort_by_cached_key(|path| format!("{path}/"));
    sorted.dedup();
    let is_above = |index: usize| sorted.get(index + 1).is_some_and(|next| below(next, sorted[index]));
    let is_scratch = |path: &str| scratch.below.iter().any(|place| below(path, place) || below(place, path));
    let indexed = sorted.iter().enumerate();
    indexed.filter(|(index, path)| !is_above(*index) && !is_scratch(path)).map(|(_, path)| *path).collect()
}

fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What will be lost, in a line: how many files in which folders, and which package managers installed something.
/// `None` where nothing will.
pub fn summary(changed: &[String], scratch: &Scratch) -> Option<String> {
    let lost = kept_nowhere(changed, scratch);
    if lost.is_empty() {
        return None;
    }
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    for path in &lost {
        *folders.entry(top(path)).or_default() += 1;
    }
    let mut folders: Vec<(String, usize)> = folders.into_iter().collect();
    folders.sort_by_key(|(_, files)| std::cmp::Reverse(*files));
    let more = folders.len().saturating_sub(MOST_FOLDERS);
    let more = if more > 0 { format!(" and {more} more folders") } else { String::new() };
    let named: Vec<String> = folders.iter().take(MOST_FOLDERS).map(|(path, n)| format!("{path} ({n})")).collect();
    let mut packages: Vec<&str> =
        PACKAGES.iter().filter(|(place, _)| lost.iter().any(|path| path.starts_with(place))).map(|(_, w)| *w).collect();
    packages.dedup();
    let packages = if packages.is_empty() { String::new() } else { format!("; among them {}", packages.join(", ")) };
    let files = if lost.len() == 1 { "1 file".to_owned() } else { format!("{} files", lost.len()) };
    Some(format!("{files} outside the volumes: {}{more}{packages}", named.join(", ")))
}

/// The folder that a path is counted under: two names deep, three in a home.
fn top(path: &str) -> String {
    let depth = if path.starts_with("/home/") { 3 } else { 2 };
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let folders = parts.len().saturating_sub(1).clamp(1, depth);
    format!("/{}", parts[..folders.min(parts.len())].join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn what_is_lost_is_summed_up_by_folder() {
        let made = paths(&["/home/opencode/.ssh"]);
        let scratch = Scratch { below: paths(&["/tmp", "/workspace"]), made: made.clone() };
        let changed = paths(&[
            "/usr",
            "/usr/bin",
            "/usr/bin/jq",
            "/usr/bin/tree",
            "/var/lib/dpkg/status",
            "/home/opencode/notes.txt",
            "/home/opencode/.config2/a/b",
            "/etc/motd",
            "/tmp/x",
            "/workspace",
        ]);
        assert_eq!(
            summary(&changed, &scratch).as_deref(),
            Some(
                "6 files outside the volumes: /usr/bin (2), /etc (1), /home/opencode (1), /home/opencode/.config2 (1) and \
                 1 more folders; among them Debian packages"
            )
        );
        assert_eq!(summary(&paths(&["/tmp/x", "/workspace/y"]), &scratch), None);
        assert_eq!(summary(&made, &scratch), None);
        let key = paths(&["/home/opencode/.ssh", "/home/opencode/.ssh/key"]);
        let lost = Some("1 file outside the volumes: /home/opencode/.ssh (1)");
        assert_eq!(summary(&key, &scratch).as_deref(), lost, "a folder in place of the link");
        assert_eq!(summary(&paths(&["/x"]), &scratch).as_deref(), Some("1 file outside the volumes: /x (1)"));
    }
}
