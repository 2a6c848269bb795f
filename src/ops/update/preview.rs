//! What an update or a rollback would do. Changes nothing.

use super::{LastUpdate, Update, before_text, can_update, last_update, now, with_tag};
use crate::{
    clock::Zone,
    engine::{Engine, container::Listed},
    error::Result,
    ops::{Instance, converge, releases},
    report::data::ChangePreview,
    settings::ImageSource,
};

impl Instance {
    /// What [`Instance::update`] would do.
    ///
    /// # Errors
    /// As [`Instance::check_for_update`].
    pub async fn preview_update(&self, options: &Update) -> Result<ChangePreview> {
        let settings = can_update(self).await?;
        let engine = self.engine().await?;
        let (main, current) = now(self, &engine, &self.snapshot(&engine).await?).await?;
        let from = current.clone().unwrap_or_else(|| "the current image".to_owned());
        let to = options.to.as_deref();
        let (get, to) = match settings.image.source {
            ImageSource::Build => {
                let release = releases::chosen(self, &engine, &settings, current.as_deref(), to).await?;
                if current.as_ref() == Some(&release.version) {
                    return Ok(ChangePreview { instance: self.name.to_string(), steps: vec![], lost: None });
                }
                (format!("build the image of {}, unless it is there", release.version), release.version)
            }
            _ => {
                let reference =
                    to.map_or(settings.image.reference.clone(), |to| with_tag(&settings.image.reference, to));
                (format!("pull {reference}; nothing more happens if that is the image of now"), reference)
            }
        };
        let steps = vec![get, saved(self), format!("replace the container ({from} → {to}); the data stays"), proof()];
        Ok(self.preview(&engine, &main, steps).await)
    }

    /// What [`Instance::rollback`] would do; `data`: with the data of before.
    ///
    /// # Errors
    /// NOT_FOUND when there is nothing to go back to.
    pub async fn preview_rollback(&self, data: bool) -> Result<ChangePreview> {
        self.settings().await?;
        let engine = self.engine().await?;
        let (main, current) = now(self, &engine, &self.snapshot(&engine).await?).await?;
        let LastUpdate::Update(stored, header) = last_update(self, current.as_deref(), &main)? else {
            return Ok(ChangePreview { instance: self.name.to_string(), steps: vec![], lost: None });
        };
        let from = current.unwrap_or_else(|| "the current image".to_owned());
        let to = before_text(&header);
        let mut steps = vec![saved(self), format!("replace the container ({from} → {to})")];
        steps.push(match data {
            true => format!(
                "replace the data by that of {}: {}",
                Zone::here().with_name(&header.created),
                stored.file.display()
            ),
            false => "keep the data of now".to_owned(),
        });
        steps.push(proof());
        Ok(self.preview(&engine, &main, steps).await)
    }

    /// The steps, and what the container that is replaced has outside its volumes.
    async fn preview(&self, engine: &Engine, main: &Listed, steps: Vec<String>) -> ChangePreview {
        let lost = converge::lost(engine, &self.appliance, &main.name).await;
        ChangePreview { instance: self.name.to_string(), steps, lost }
    }
}

/// The step that makes the way back.
fn saved(instance: &Instance) -> String {
    let (name, folder) = (instance.container_name(), instance.files.backups());
    format!("stop {name} and back up its volumes into {}", folder.display())
}

fn proof() -> String {
    "start it and check page and data; if they do not work, put release and data back".to_owned()
}
