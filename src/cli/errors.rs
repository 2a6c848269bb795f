//! `docklet errors`: the catalogue of error codes.

use serde_json::json;

use super::{args, context::Context};
use crate::{
    error::Result,
    error_codes::{self, CodeEntry},
};

/// Shows all codes, or one.
pub fn run(context: &Context, args: &args::Errors) -> Result<()> {
    let entries: Vec<CodeEntry> = match args.code {
        Some(code) => vec![error_codes::entry(code)],
        None => error_codes::all(),
    };
    context.output.result(&json!({"errors": entries}), |style| {
        let show = |entry: &CodeEntry| {
            let name = style.strong(&error_codes::name(entry.code));
            format!(
                "{name} (exit code {})\n  {}\n  {} {}",
                entry.exit,
                entry.meaning,
                style.hint("hint:"),
                entry.remedy
            )
        };
        entries.iter().map(show).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
