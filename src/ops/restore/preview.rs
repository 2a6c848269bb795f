//! What a restore would do, for `--dry-run`.

use super::{Restore, brought, can_be_undone, contained_secrets, damaged::Checked, only, open, settings_before};
use crate::{
    clock::Zone,
    error::Result,
    ops::{Instance, backup, converge},
    present::data as text,
    report::data::ChangePreview,
};

/// What a restore would do. Reads the whole backup; changes nothing.
///
/// # Errors
/// BACKUP_INVALID.
pub async fn preview(instance: &Instance, options: &Restore) -> Result<ChangePreview> {
    let (file, engine, Checked { contents, salvaged }) = open(instance, options).await?;
    let snapshot = instance.snapshot(&engine).await?;
    let there = instance.own_volumes(&snapshot)?;
    can_be_undone(&file, &contents, salvaged.is_some(), options, &there)?;
    let before = settings_before(instance, options).await?;
    let damaged = salvaged.as_ref().map(|salvaged| text::damaged(&salvaged.report)).unwrap_or_default();
    let mut steps: Vec<String> =
        damaged.iter().map(|line| format!("accept that the backup is damaged: {line}")).collect();
    if !there.is_empty() && !options.no_backup {
        let folder = instance.files.backups();
        steps.push(format!("stop {} and back up its volumes into {}", instance.container_name(), folder.display()));
    }
    let created = Zone::here().with_name(&contents.header.created);
    let from = format!("that of instance {} of {created}", contents.header.instance);
    steps.push(match (there.is_empty(), options.only.is_empty()) {
        (true, _) => format!("create the volumes with the data of the backup: {from}"),
        (false, true) => format!("replace the data in the volumes by {from}"),
        (false, false) => format!("replace only the data of {} by {from}", options.only.join(", ")),
    });
    if let Some(without) = text::without_excluded(&backup::excluded(&contents.header)) {
        steps.push(format!("the data is {without}"));
    }
    let others = only::others(instance, &options.only);
    if !others.is_empty() {
        steps.push(format!("leave {} as they are, and settings and secrets, too", others.join(", ")));
    }
    if options.settings || before.is_none() {
        let settings = brought::settings(instance, &snapshot, &file, &contents, before.as_ref())?;
        let other = brought::differences(&settings, before.as_ref())?;
        let list = if other.is_empty() { "none differs".to_owned() } else { other.join(", ") };
        steps.push(format!("take over the settings of the backup: {list}"));
    }
    if contents.secrets.is_some() && options.only.is_empty() {
        // Nobody is asked for it here.
        let opened =
            contained_secrets::tried(options.passphrase.as_ref(), options.identity.as_ref(), &file, &contents)?;
        steps.push(match opened {
            Some(1) => "take over the secret of the backup, which was opened; others that are here stay".to_owned(),
            Some(number) => {
                format!("take over the {number} secrets of the backup, which were opened; others that are here stay")
            }
            None => "take over the secrets of the backup, if their passphrase or key is given".to_owned(),
        });
    }
    steps.push("start it and check page and data; if they do not work, put the data back".to_owned());
    let lost = converge::lost(&engine, &instance.appliance, &instance.container_name()).await;
    Ok(ChangePreview { instance: instance.name.to_string(), steps, lost })
}
