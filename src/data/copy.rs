//! Copies volumes into others on the engine itself.

use super::volumes::{TaskOf, complaint};
use crate::{
    desired::VolumeSpec,
    engine::Engine,
    error::{Error, Result},
    interrupt::Interrupt,
};

/// Creates what is missing, empties it, and copies. Run again after a kill it begins anew. What is
/// copied from is not touched.
///
/// # Errors
/// [`Error::NoSpace`], [`Error::Interrupted`], and what the engine says otherwise.
pub async fn copy(
    engine: &Engine,
    pairs: &[(String, VolumeSpec)],
    image: &str,
    name: &str,
    interrupt: &Interrupt,
) -> Result<()> {
    let labels = pairs.first().map(|(_, to)| to.labels.clone()).unwrap_or_default();
    for (_, to) in pairs {
        engine.create_volume(to).await?;
    }
    let spec = TaskOf { name: name.to_owned(), image: image.to_owned(), labels }.copy(pairs);
    engine.create_task(&spec).await?;
    let done = async {
        let mut task = engine.start_task(&spec).await?;
        while task.next().await?.is_some() {}
        let ended = task.end().await?;
        if ended.code == 0 { Ok(()) } else { Err(complaint("copying the data", &ended)) }
    };
    let done = tokio::select! {
        biased;
        () = interrupt.wait() => Err(Error::Interrupted { next: "what was copied from is as it was".to_owned() }),
        done = done => done,
    };
    let removed = engine.remove_container(name).await;
    done?;
    removed.map(drop)
}
