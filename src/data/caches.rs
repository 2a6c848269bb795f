//! Folders in a backup that look like caches: what a program makes again by itself. Only to tell the user of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::archive::rules::VOLUMES;
use crate::clean;

/// Folders that are nothing else wherever they are.
const NAMES: [&[u8]; 10] = [
    b"node_modules",
    b".venv",
    b"venv",
    b"__pycache__",
    b".tox",
    b".gradle",
    b".next",
    b".mypy_cache",
    b".pytest_cache",
    b".ruff_cache",
];

/// A build folder of Cargo, which says so itself (<https://bford.info/cachedir/>). Others have this name, too.
const TARGET: &[u8] = b"target";

/// The file that says so.
const TAG: &[u8] = b"CACHEDIR.TAG";

/// Most folders that are counted: what is in a volume may be anything.
const MOST: usize = 10_000;

/// Smaller ones are not worth telling, in bytes.
const LEAST: u64 = 10 << 20;

/// A folder that looks like a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheFolder {
    /// Where it is, below `volumes/` in the archive.
    pub path: String,
    /// Bytes in it.
    pub bytes: u64,
}

/// Counts what is in them.
#[derive(Debug, Default)]
pub struct Caches {
    found: BTreeMap<Vec<u8>, (u64, bool)>,
}

impl Caches {
    /// Takes note of some bytes of a file.
    pub fn count(&mut self, path: &[u8], bytes: u64) {
        let path = path.strip_prefix(VOLUMES).unwrap_or(path);
        let mut end = 0;
        for name in path.split(|b| *b == b'/') {
            end += name.len();
            let is_target = name == TARGET;
            if end < path.len() && (is_target || NAMES.contains(&name)) {
                let tagged = !is_target || path[end + 1..] == *TAG;
                if self.found.len() < MOST || self.found.contains_key(&path[..end]) {
                    let entry = self.found.entry(path[..end].to_vec()).or_default();
                    *entry = (entry.0 + bytes, entry.1 || tagged);
                }
                return;
            }
            end += 1;
        }
    }

    /// The three largest.
    pub fn largest(self) -> Vec<CacheFolder> {
        let caches = self.found.into_iter().filter(|(_, (bytes, tagged))| *tagged && *bytes >= LEAST);
        let mut caches: Vec<CacheFolder> = caches
            .map(|(path, (bytes, _))| CacheFolder { path: clean::line(&String::from_utf8_lossy(&path), false), bytes })
            .collect();
        caches.sort_by_key(|cache| std::cmp::Reverse(cache.bytes));
        caches.truncate(3);
        caches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_named_by_their_outermost_folder() {
        let mut caches = Caches::default();
        for (path, mib) in [
            ("volumes/projects/app/node_modules/a/node_modules/b/x", 20),
            ("volumes/projects/app/node_modules/y", 5),
            ("volumes/projects/rust/target/debug/x", 300),
            ("volumes/projects/rust/target/CACHEDIR.TAG", 1),
            ("volumes/projects/shop/target/customers.csv", 500),
            ("volumes/projects/small/.venv/x", 1),
            ("volumes/projects/py/.venv/x", 30),
            ("volumes/projects/py2/.venv/x", 15),
            ("volumes/projects/node_modules", 900),
        ] {
            caches.count(path.as_bytes(), mib << 20);
        }
        let told: Vec<String> = caches.largest().iter().map(|c| format!("{} {}", c.path, c.bytes >> 20)).collect();
        assert_eq!(told, ["projects/rust/target 301", "projects/py/.venv 30", "projects/app/node_modules 25"]);
    }
}
