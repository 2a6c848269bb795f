//! `docklet man`: the man pages, made from the same types as the help.

use std::path::Path;

use serde_json::json;

use super::{args, context::Context};
use crate::{
    error::{Error, Result},
    paths,
};

/// Prints the main page, or writes all into a folder.
pub fn run(context: &Context, args: &args::Man) -> Result<()> {
    let pages = pages()?;
    let Some(folder) = &args.dir else {
        let main = pages.into_iter().next().map(|(_, text)| text).unwrap_or_default();
        context.output.result(&json!({"page": main}), |_| main.clone());
        return Ok(());
    };
    fs_err::create_dir_all(folder).map_err(|e| Error::file("create the folder", folder, &e))?;
    for (name, text) in &pages {
        paths::write_file(&folder.join(name), text.as_bytes(), 0o644)?;
    }
    let names: Vec<String> =
        pages.into_iter().map(|(name, _)| Path::new(folder).join(name).display().to_string()).collect();
    context.output.result(&json!({"files": names}), |_| names.join("\n"));
    Ok(())
}

/// All pages: file names and texts, the main page first.
pub fn pages() -> Result<Vec<(String, String)>> {
    let mut command = super::command().disable_help_subcommand(true).term_width(100);
    command.build();
    let mut pages = vec![];
    add(&command, "docklet", &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, name: &str, pages: &mut Vec<(String, String)>) -> Result<()> {
    let failed = |e: std::io::Error| Error::bug(format!("the man page {name} cannot be made: {e}"));
    let mut text = vec![];
    let titled = command.clone().name(name.to_owned()).display_name(name.to_owned());
    // No date in it: the same program makes the same page.
    clap_mangen::Man::new(titled).date("").render(&mut text).map_err(failed)?;
    let text = String::from_utf8(text).map_err(|e| Error::bug(e.to_string()))?;
    pages.push((format!("{name}.1"), text));
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        add(below, &format!("{name}-{}", below.get_name()), pages)?;
    }
    Ok(())
}
