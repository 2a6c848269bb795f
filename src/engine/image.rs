//! Images that are on the engine: look up, list, tag, remove. Brings none there; see `build`,
//! `pull` and `load`.

use std::{collections::BTreeMap, time::Duration};

use bollard::query_parameters::{RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    DEADLINE, Engine,
    answer::{filters, named_texts, text, texts},
    call::{ask, none_if_missing},
    reference::Reference,
};
use crate::{
    desired::label,
    error::{Error, ImageAction, ImageFault, Result},
};

/// Removing deletes files, for a large image on a slow disk many: no short call.
const REMOVE_DEADLINE: Duration = Duration::from_secs(60);

/// How often images are listed where one of them goes meanwhile.
const LIST_TRIES: usize = 5;

/// An image on the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// The engine's id, `sha256:…`.
    pub id: String,
    /// All names that it has there.
    pub references: Vec<String>,
    /// Size in bytes as the engine reports it.
    pub size: u64,
    /// Whether that is the size of the packed layers, as an engine with the containerd image store counts.
    pub compressed: bool,
    /// Processor architecture in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// Operating system: `linux`.
    pub os: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Version of the program inside, from the label `org.opencontainers.image.version`.
    pub appliance_version: Option<String>,
    /// When it was built, where it says so.
    pub created: Option<OffsetDateTime>,
}

/// What became of an image that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The name is gone, and with its last name the image.
    Removed,
    /// There was none.
    WasMissing,
    /// A container uses it; it is left alone.
    InUse {
        /// The engine's words on who uses it.
        by: String,
    },
}

impl Engine {
    /// Looks an image up by name or id; `None` when it is not on the engine.
    ///
    /// # Errors
    /// When the engine does not answer within [`DEADLINE`] or refuses.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let path = format!("/images/{reference}/json");
        let found = none_if_missing("inspect an image", DEADLINE, self.transport.get_one(&path)).await?;
        Ok(found.as_ref().map(image))
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// As [`Engine::image`], and a usage error when `reference` is no name that can be given.
    pub async fn tag_image(&self, image: &str, reference: &str) -> Result<()> {
        let parsed: Reference = reference.parse()?;
        let (repository, tag) =
            parsed.as_tag().ok_or_else(|| Error::usage(format!("`{reference}` is a digest, not a name to give")))?;
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        ask("tag an image", DEADLINE, self.docker.tag_image(image, Some(options))).await
    }

    /// Removes a name of an image, and with the last name the image itself, but none that a
    /// container uses.
    ///
    /// # Errors
    /// When the engine does not answer or refuses for another reason.
    pub async fn remove_image(&self, reference: &str) -> Result<Removal> {
        let options = RemoveImageOptionsBuilder::default().force(false).build();
        let call = self.docker.remove_image(reference, Some(options), None);
        match ask("remove an image", REMOVE_DEADLINE, call).await {
            Ok(_) => Ok(Removal::Removed),
            Err(Error::EngineRefused { status: 404, .. }) => Ok(Removal::WasMissing),
            Err(Error::EngineRefused { status: 409, reason, .. }) => Ok(Removal::InUse { by: user_of(&reason) }),
            Err(error) => Err(error),
        }
    }

    /// All images that docklet built for an appliance, told by their labels.
    ///
    /// # Errors
    /// As [`Engine::image`].
    pub async fn images_labelled(&self, appliance: &str) -> Result<Vec<Image>> {
        let labels = vec![format!("{}=true", label::MANAGED), format!("{}={appliance}", label::APPLIANCE)];
        let path = format!("/images/json?{}", filters(&[("label".to_owned(), labels)].into()));
        let mut tries = 1..LIST_TRIES;
        loop {
            match ask("list images", DEADLINE, self.transport.get_list(&path)).await {
                Err(Error::EngineRefused { reason, .. }) if goes_meanwhile(&reason) && tries.next().is_some() => {}
                listed => return Ok(listed?.iter().map(image).collect()),
            }
        }
    }

    /// The image that a pull, build or load must have left on the engine, for its processor.
    pub(super) async fn arrived(&self, action: ImageAction, on_engine: &str, named: &str) -> Result<Image> {
        let failed = |fault, reason: String| Error::Image {
            action,
            reference: named.to_owned(),
            fault,
            reason,
            log: vec![],
            log_file: None,
        };
        let image = self.image(on_engine).await?.ok_or_else(|| {
            failed(ImageFault::Truncated, "it ended without an error, but the image is not there".to_owned())
        })?;
        let wanted = &self.about.architecture;
        if !image.architecture.is_empty() && !wanted.is_empty() && image.architecture != *wanted {
            let reason = format!("it is for {}, and this engine runs on {wanted}", image.architecture);
            return Err(failed(ImageFault::Architecture, reason));
        }
        Ok(image)
    }
}

/// One that was looked at, or one of a list, which does not tell architecture and operating system.
pub(super) fn image(found: &Value) -> Image {
    let listed = &found["Labels"];
    let labels = named_texts(if listed.is_null() { &found["Config"]["Labels"] } else { listed });
    let created = match &found["Created"] {
        Value::Number(seconds) => seconds.as_i64().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()),
        written => written.as_str().and_then(crate::clock::parse),
    };
    Image {
        id: text(&found["Id"]),
        references: named([texts(&found["RepoTags"]), texts(&found["RepoDigests"])].concat()),
        size: found["Size"].as_u64().unwrap_or_default(),
        compressed: !found["Descriptor"].is_null(),
        architecture: text(&found["Architecture"]),
        os: text(&found["Os"]),
        appliance_version: labels.get(label::IMAGE_VERSION).cloned(),
        labels,
        created,
    }
}

/// Podman has no list while somebody removes an image.
fn goes_meanwhile(reason: &str) -> bool {
    reason.ends_with("image not known")
}

/// Without the placeholders that engines list for an image that lost its name.
fn named(mut references: Vec<String>) -> Vec<String> {
    references.retain(|r| !r.contains("<none>"));
    references
}

/// From "conflict: unable to remove repository reference "x" (must force) - container 0a1b is
/// using its referenced image 2c3d", who uses it.
fn user_of(reason: &str) -> String {
    let words: Vec<&str> = reason.split_whitespace().collect();
    words
        .windows(2)
        .find(|pair| pair[0] == "container" && pair[1].bytes().all(|b| b.is_ascii_hexdigit()))
        .map_or_else(|| reason.to_owned(), |pair| format!("container {}", pair[1]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{
        super::scripted::{Reply, ScriptedEngine, image_of, missing, real_engine, write_archive},
        *,
    };
    use crate::event::Silent;

    #[tokio::test]
    async fn an_image_is_looked_up() {
        let scripted = ScriptedEngine::new(&[
            ("GET /images/here", vec![image_of("amd64", &["here:1", "<none>:<none>"])]),
            ("GET /images/gone", vec![missing()]),
            ("GET /images/broken", vec![Reply::Status(500, r#"{"message":"disk on fire"}"#.to_owned())]),
        ]);
        let image = scripted.engine.image("here:1").await.unwrap().unwrap();
        assert_eq!(image.references, ["here:1"]);
        assert_eq!((image.size, image.appliance_version.as_deref()), (1000, Some("1.2.3")));
        assert_eq!(scripted.engine.image("gone:1").await.unwrap(), None);
        match scripted.engine.image("broken:1").await {
            Err(Error::EngineRefused { status: 500, reason, .. }) => assert_eq!(reason, "disk on fire"),
            other => panic!("{other:?}"),
        }
    }

    /// As Docker 28.5.2 with the containerd image store says of an image whose layers were loaded before.
    #[test]
    fn an_image_without_layers_of_its_own_is_one() {
        let odd = serde_json::json!({"Id": "sha256:ab", "RepoTags": ["here:1"], "Os": "linux", "RootFS": {}});
        assert_eq!(image(&odd).references, ["here:1"]);
        let listed = serde_json::json!({"Id": "sha256:ab", "RepoTags": ["here:1"], "RepoDigests": [], "Created": 1,
            "Size": 5, "Labels": {"org.opencontainers.image.version": "1.2.3"}});
        let listed = image(&listed);
        assert_eq!((listed.id.as_str(), listed.appliance_version.as_deref()), ("sha256:ab", Some("1.2.3")));
        assert_eq!((listed.size, listed.created.map(OffsetDateTime::unix_timestamp)), (5, Some(1)));
    }

    /// The words are those of Podman 4.3.1.
    #[tokio::test]
    async fn a_list_is_asked_for_again_where_an_image_goes_meanwhile() {
        let body = r#"{"message":"reading image \"28\": locating image with ID \"28\": image not known"}"#;
        let refused = Reply::Status(500, body.to_owned());
        let listed = Reply::Status(200, r#"[{"Id":"sha256:ab"}]"#.to_owned());
        let scripted = ScriptedEngine::new(&[("GET /images/json", vec![refused.clone(), refused.clone(), listed])]);
        assert_eq!(scripted.engine.images_labelled("x").await.unwrap().len(), 1);
        let scripted = ScriptedEngine::new(&[("GET /images/json", vec![refused])]);
        assert!(matches!(scripted.engine.images_labelled("x").await, Err(Error::EngineRefused { status: 500, .. })));
        assert_eq!(scripted.count("GET /images/json"), LIST_TRIES);
    }

    #[tokio::test]
    async fn an_engine_that_hangs_is_a_timeout() {
        let scripted = ScriptedEngine::new(&[("GET /images/", vec![Reply::Hang(vec![])])]);
        let call = ask("inspect", Duration::from_millis(50), scripted.engine.transport.get_one("/images/x/json"));
        assert!(matches!(call.await, Err(Error::EngineTimeout { .. })));
    }

    #[tokio::test]
    async fn removing_says_what_became_of_it() {
        let conflict = r#"{"message":"conflict: unable to remove repository reference \"x:1\" (must force) - container 0a1b2c3d is using its referenced image 4e5f"}"#;
        let scripted = ScriptedEngine::new(&[
            ("DELETE /images/used", vec![Reply::Status(409, conflict.to_owned())]),
            ("DELETE /images/gone", vec![missing()]),
            ("DELETE /images/here", vec![Reply::Status(200, r#"[{"Untagged":"here:1"}]"#.to_owned())]),
        ]);
        assert_eq!(scripted.engine.remove_image("here:1").await.unwrap(), Removal::Removed);
        assert_eq!(scripted.engine.remove_image("gone:1").await.unwrap(), Removal::WasMissing);
        let by = "container 0a1b2c3d".to_owned();
        assert_eq!(scripted.engine.remove_image("used:1").await.unwrap(), Removal::InUse { by });
        assert!(!scripted.asked().iter().any(|r| r.contains("force=true")), "{:?}", scripted.asked());
    }

    #[tokio::test]
    #[ignore = "needs an engine: tests/run brings one"]
    async fn images_of_a_real_engine() {
        let engine = real_engine();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image.tar");
        let name = "docklet-test/image-test:1";
        write_archive(&file, Some(name), "amd64", 1000);
        engine.load(&file, name, &Silent).await.unwrap();
        let image = engine.image(name).await.unwrap().unwrap();
        assert_eq!((image.architecture.as_str(), image.os.as_str()), ("amd64", "linux"));
        assert_eq!(image.appliance_version.as_deref(), Some("9.8.7"));
        engine.tag_image(name, "docklet-test/image-test:2").await.unwrap();
        let image = engine.image(&image.id).await.unwrap().unwrap();
        assert_eq!(image.references.len(), 2, "{image:?}");
        assert!(engine.images_labelled("docklet-test-nothing").await.unwrap().is_empty());
        for tag in ["1", "2"] {
            assert_eq!(engine.remove_image(&format!("docklet-test/image-test:{tag}")).await.unwrap(), Removal::Removed);
        }
        assert_eq!(engine.remove_image(name).await.unwrap(), Removal::WasMissing);
        assert_eq!(engine.image(&image.id).await.unwrap(), None);
    }
}
