//! `docklet man`: the man pages, made from the same types as the help.

use std::path::Path;

use serde_json::json;

use super::{args, context::Context, manual_sections};
use crate::{
    error::{Error, Result},
    paths,
};

/// How roff is told what an apostrophe is.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Prints the main page, or writes all into a folder.
pub fn run(context: &Context, args: &args::Man) -> Result<()> {
    let Some(folder) = &args.dir else {
        let main = pages()?.into_iter().next().map(|(_, text)| text).unwrap_or_default();
        context.output.result(&json!({"page": main}), |_| main.clone());
        return Ok(());
    };
    let names = write(folder)?;
    context.output.result(&json!({"files": names}), |_| names.join("\n"));
    Ok(())
}

/// Writes all pages into a folder; the files.
pub fn write(folder: &Path) -> Result<Vec<String>> {
    fs_err::create_dir_all(folder).map_err(|e| Error::file("create the folder", folder, &e))?;
    let mut names = vec![];
    for (name, text) in pages()? {
        paths::write_file(&folder.join(&name), text.as_bytes(), 0o644)?;
        names.push(folder.join(name).display().to_string());
    }
    Ok(names)
}

/// All pages: file names and texts, the main page first.
pub fn pages() -> Result<Vec<(String, String)>> {
    let version = env!("CARGO_PKG_VERSION");
    // Neither commit nor date in them: the same source makes the same pages.
    let mut command = super::command().version(version).disable_help_subcommand(true).term_width(100);
    // clap_mangen leaves out the text of options that only the long help has.
    command = command.mut_args(|argument| argument.hide_short_help(false));
    command.build();
    let mut pages = vec![];
    add(&command, "docklet", &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, name: &str, pages: &mut Vec<(String, String)>) -> Result<()> {
    let text = page(command, name).map_err(|e| Error::bug(format!("the man page {name} cannot be made: {e}")))?;
    pages.push((format!("{name}.1"), text));
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        add(below, &format!("{name}-{}", below.get_name()), pages)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str) -> std::io::Result<String> {
    let titled = command.clone().name(name.to_owned()).display_name(name.to_owned());
    let man = clap_mangen::Man::new(titled).date("");
    let mut text = vec![];
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let text = String::from_utf8(text).map_err(std::io::Error::other)?;
    // Each section brings it along.
    let mut text = format!("{PREAMBLE}{}", text.replace(PREAMBLE, ""));
    text.push_str(&manual_sections::of(command, name == "docklet"));
    Ok(text)
}
