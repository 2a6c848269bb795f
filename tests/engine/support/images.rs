//! Images of a world's own: built on the stand-in, saved in a file, pushed to the registries of `tests/run`.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{World, docker, docker_try, docker_with, variable};

/// The stand-in image, version 1.0.1.
pub fn stand_in() -> String {
    variable("DOCKLET_TEST_IMAGE")
}

/// The stand-in image, version 1.0.2.
pub fn stand_in_2() -> String {
    variable("DOCKLET_TEST_IMAGE_2")
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
        let file = format!("FROM {from}\nLABEL docklet-test.world={}\n{}\n", self.name, lines.join("\n"));
        // Podman looks for a cached one among all images, and fails where one of them goes meanwhile.
        docker_with(&["build", "--quiet", "--no-cache", "--tag", &tag, "-"], file.as_bytes());
        self.tags.borrow_mut().push(tag.clone());
        tag
    }

    /// A tar of its own stand-in image and the reference that loading it brings; the image itself is gone again.
    pub fn image_tar(&self) -> (PathBuf, String) {
        let tag = self.build(&stand_in(), &[&format!("LABEL docklet-test.tar={}", self.name)]);
        let tar = self.folder.path().join("image.tar");
        docker(&["save", "--output", tar.to_str().expect("a plain path"), &tag]);
        docker(&["rmi", &tag]);
        (tar, tag)
    }

    /// Pushes its own stand-in image to a registry (`DOCKLET_TEST_REGISTRY`); the reference to pull. The image
    /// itself is gone from the engine again.
    pub fn registry_image(&self) -> String {
        self.push(&variable("DOCKLET_TEST_REGISTRY"), &[], &stand_in(), "1")
    }

    /// The second version in the same repository, under the tag `2`.
    pub fn registry_image_2(&self) -> String {
        self.push(&variable("DOCKLET_TEST_REGISTRY"), &[], &stand_in_2(), "2")
    }

    /// Pushes an image of this test's own under the tag that [`World::registry_image`] has.
    pub fn push_over(&self, image: &str) -> String {
        self.push(&variable("DOCKLET_TEST_REGISTRY"), &[], image, "1")
    }

    /// The same in the registry that wants user and password (`DOCKLET_TEST_REGISTRY_USER`, `…_PASSWORD`).
    pub fn registry_image_auth(&self) -> String {
        let registry = variable("DOCKLET_TEST_REGISTRY_AUTH");
        let config = self.folder.path().join("push-config");
        self.docker_config(&config);
        self.push(&registry, &["--config", config.to_str().expect("a plain path")], &stand_in(), "1")
    }

    /// Writes a docker config with the password for `DOCKLET_TEST_REGISTRY_AUTH` into `folder`/config.json.
    pub fn docker_config(&self, folder: &Path) {
        let registry = variable("DOCKLET_TEST_REGISTRY_AUTH");
        let user = variable("DOCKLET_TEST_REGISTRY_USER");
        let password = variable("DOCKLET_TEST_REGISTRY_PASSWORD");
        let auth = STANDARD.encode(format!("{user}:{password}"));
        fs::create_dir_all(folder).expect("a folder for the docker config");
        let text = serde_json::json!({ "auths": { registry: { "auth": auth } } });
        fs::write(folder.join("config.json"), text.to_string()).expect("a docker config");
    }

    fn push(&self, registry: &str, options: &[&str], from: &str, tag: &str) -> String {
        let local = self.build(from, &[&format!("LABEL docklet-test.push={registry}")]);
        let remote = format!("{registry}/{}:{tag}", self.name);
        // What the name means on the engine is for docklet to say.
        let meant = docker_try(&["image", "inspect", "--format={{.Id}}", &remote]);
        docker(&["tag", &local, &remote]);
        self.tags.borrow_mut().push(remote.clone());
        docker(&[options, &["push", &remote]].concat());
        if meant.status.success() {
            docker(&["tag", String::from_utf8_lossy(&meant.stdout).trim(), &remote]);
            docker(&["rmi", &local]);
        } else {
            docker(&["rmi", &remote, &local]);
        }
        remote
    }
}
