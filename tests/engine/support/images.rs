//! Images of a world's own: made of the stand-in, saved in a file, put into the registries of `tests/run`.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::described::{description, load};
use super::{World, docker, docker_with, registry, variable};

/// The stand-in image, version 1.0.1.
pub fn stand_in() -> String {
    variable("DOCKLET_TEST_IMAGE")
}

/// The stand-in image, version 1.0.2.
pub fn stand_in_2() -> String {
    variable("DOCKLET_TEST_IMAGE_2")
}

/// User and password of the registry that wants them, as they are sent.
fn basic_auth() -> String {
    let [user, password] = ["USER", "PASSWORD"].map(|what| variable(&format!("DOCKLET_TEST_REGISTRY_{what}")));
    STANDARD.encode(format!("{user}:{password}"))
}

impl World {
    /// This world's own stand-in image: its tag and its id are no other's.
    pub fn image(&self) -> String {
        if let Some(image) = self.image.borrow().as_ref() {
            return image.clone();
        }
        let image = self.build(&stand_in(), &[]);
        *self.image.borrow_mut() = Some(image.clone());
        image
    }

    /// Takes an image that is there as this world's own, by a tag: quicker than a build, and its id is not its own.
    pub fn take_image(&self, image: &str) {
        let tag = format!("docklet-test/{}:taken", self.name);
        docker(&["tag", image, &tag]);
        self.tags.borrow_mut().push(tag.clone());
        *self.image.borrow_mut() = Some(tag);
    }

    /// Its own stand-in image of the second version.
    pub fn image_2(&self) -> String {
        self.build(&stand_in_2(), &[])
    }

    /// Its own stand-in image that misbehaves from its first moment: words as in tests/fixtures/stand-in/stand-in.
    pub fn image_with(&self, misbehaviour: &str) -> String {
        self.build(&stand_in(), &[&format!("ENV STAND_IN=\"{misbehaviour}\"")])
    }

    /// Its own image from another and lines of a Dockerfile.
    pub fn build(&self, from: &str, lines: &[&str]) -> String {
        let number = self.made.get() + 1;
        self.made.set(number);
        let tag = format!("docklet-test/{}:{number}", self.name);
        let lines = self.labelled(lines);
        if description(from, &lines).is_some_and(|description| load(&description, &tag)) {
            self.tags.borrow_mut().push(tag.clone());
            return tag;
        }
        let file = format!("FROM {from}\n{}\n", lines.join("\n"));
        // Podman looks for a cached one among all images, and fails where one of them goes meanwhile.
        docker_with(&["build", "--quiet", "--no-cache", "--tag", &tag, "-"], file.as_bytes());
        self.tags.borrow_mut().push(tag.clone());
        tag
    }

    /// These lines behind the one that makes an image this world's.
    fn labelled(&self, lines: &[&str]) -> Vec<String> {
        let label = format!("LABEL docklet-test.world={}", self.name);
        std::iter::once(label).chain(lines.iter().map(|line| (*line).to_owned())).collect()
    }

    /// A tar of its own stand-in image and the reference that loading it brings; the image itself is gone again.
    pub fn image_tar(&self) -> (PathBuf, String) {
        let tag = self.build(&stand_in(), &[&format!("LABEL docklet-test.tar={}", self.name)]);
        let tar = self.folder.path().join("image.tar");
        docker(&["save", "--output", tar.to_str().expect("a plain path"), &tag]);
        docker(&["rmi", &tag]);
        (tar, tag)
    }

    /// Puts an image of its own into a registry (`DOCKLET_TEST_REGISTRY`), and not on the engine; the reference to pull.
    pub fn registry_image(&self) -> String {
        self.publish("1", &stand_in(), &[])
    }

    /// The second version in the same repository, under the tag `2`.
    pub fn registry_image_2(&self) -> String {
        self.publish("2", &stand_in_2(), &[])
    }

    /// The stand-in with instructions that change its description, under this tag in the world's own repository.
    pub fn publish(&self, tag: &str, from: &str, lines: &[&str]) -> String {
        self.put(&variable("DOCKLET_TEST_REGISTRY"), None, tag, from, lines)
    }

    /// The same in the registry that wants user and password (`DOCKLET_TEST_REGISTRY_USER`, `…_PASSWORD`).
    pub fn registry_image_auth(&self) -> String {
        self.put(&variable("DOCKLET_TEST_REGISTRY_AUTH"), Some(&basic_auth()), "1", &stand_in(), &[])
    }

    fn put(&self, registry: &str, auth: Option<&str>, tag: &str, from: &str, lines: &[&str]) -> String {
        let description = description(from, &self.labelled(lines)).expect("nothing but a description");
        let version = from.rsplit(':').next().expect("a tag");
        registry::put(registry, auth, &self.name, tag, version, &description);
        let reference = format!("{registry}/{}:{tag}", self.name);
        self.tags.borrow_mut().push(reference.clone());
        reference
    }

    /// Writes a docker config with the password for `DOCKLET_TEST_REGISTRY_AUTH` into `folder`/config.json.
    pub fn docker_config(&self, folder: &Path) {
        let registry = variable("DOCKLET_TEST_REGISTRY_AUTH");
        let auth = basic_auth();
        fs::create_dir_all(folder).expect("a folder for the docker config");
        let text = serde_json::json!({ "auths": { registry: { "auth": auth } } });
        fs::write(folder.join("config.json"), text.to_string()).expect("a docker config");
    }
}
