//! Which images docklet itself brought to the engine: pulled or loaded ones carry no label that would tell. One small file for
//! all instances of a home, because they share images. An image that is not in it is the user's own.

use std::collections::BTreeMap;

use crate::{instance_name::InstanceName, paths::InstancePaths, state_file};

/// The images' names, and for which instance each was brought.
pub type OwnImages = BTreeMap<String, String>;

/// The images that docklet pulled or loaded.
pub fn load(files: &InstancePaths) -> OwnImages {
    state_file::load(&files.images()).unwrap_or_default()
}

/// Remembers one. Where that cannot be written down, `uninstall` leaves the image and names it.
pub fn remember(files: &InstancePaths, reference: &str) {
    let mut images = load(files);
    let instance = files.name();
    if images.insert(reference.to_owned(), instance.clone()) != Some(instance) {
        let _ = state_file::save(&files.images(), &images);
    }
}

/// Forgets those that were removed, and the file with the last one. A name that is not forgotten does no harm.
pub fn forget<'a>(files: &InstancePaths, references: impl IntoIterator<Item = &'a str>) {
    let mut images = load(files);
    let before = images.len();
    for reference in references {
        images.remove(reference);
    }
    if images.is_empty() {
        // Most often there is none.
        let _ = std::fs::remove_file(files.images());
    } else if images.len() != before {
        let _ = state_file::save(&files.images(), &images);
    }
}

/// Whether it was brought for this instance.
pub fn is_of(images: &OwnImages, reference: &str, instance: &InstanceName) -> bool {
    images.get(reference).is_some_and(|of| of == instance.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::paths::{self, Paths};

    #[test]
    fn images_are_remembered_for_all_instances_and_forgotten_with_their_file() {
        let home = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let files = Paths::find(Some(home.path())).unwrap().instance(&name.parse().unwrap());
            paths::create_folder(&files.state, 0o700).unwrap();
            files
        };
        let (first, second) = (of("first"), of("second"));
        remember(&first, "a:1");
        remember(&second, "b:1");
        let images = load(&first);
        assert!(is_of(&images, "a:1", &"first".parse().unwrap()) && is_of(&images, "b:1", &"second".parse().unwrap()));
        assert!(!is_of(&images, "b:1", &"first".parse().unwrap()) && !images.contains_key("c:1"));
        forget(&first, ["b:1", "c:1"]);
        assert_eq!(load(&second).len(), 1);
        forget(&first, ["a:1"]);
        assert!(!first.images().exists());
    }
}
