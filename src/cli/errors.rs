//! `docklet errors`: the catalogue of error codes.

use serde_json::json;

use super::{args, context::Context};
use crate::{
    catalogue::{self, Entry},
    error::Result,
};

/// Shows all codes, or one.
pub fn run(context: &Context, args: &args::Errors) -> Result<()> {
    let entries: Vec<Entry> = match args.code {
        Some(code) => vec![catalogue::entry(code)],
        None => catalogue::all(),
    };
    context.output.result(&json!({"schema": 1, "errors": entries}), |style| {
        let show = |entry: &Entry| {
            let name = style.strong(&catalogue::name(entry.code));
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
