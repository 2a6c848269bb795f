//! An error as text and as JSON (contract, section 4). The words are the error's own; here is only
//! their order and colour.

use serde::Serialize;

use super::style::Style;
use crate::{
    error::{Code, Error},
    report::Schema,
};

/// The JSON form of an error.
#[derive(Debug, Serialize)]
pub struct ErrorReport {
    schema: Schema,
    error: Body,
}

#[derive(Debug, Serialize)]
struct Body {
    code: Code,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    instance: Option<String>,
}

impl ErrorReport {
    /// The JSON form; `instance` is `None` when the command is about none.
    pub fn new(error: &Error, instance: Option<&str>) -> Self {
        ErrorReport {
            schema: Schema,
            error: Body {
                code: error.code(),
                message: error.to_string(),
                causes: error.causes(),
                hint: error.hint(),
                instance: instance.map(str::to_owned),
            },
        }
    }
}

/// The text: message, causes, and after a blank line the hint. Ends without a line break.
pub fn text(error: &Error, style: Style) -> String {
    let mut text = format!("{} {error}", style.error("error:"));
    for cause in error.causes() {
        let mut lines = cause.lines();
        text.push_str(&format!("\n  {} {}", style.dim("caused by:"), lines.next().unwrap_or_default()));
        for line in lines {
            text.push_str(&format!("\n  {line}"));
        }
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\n\n{} {}", style.hint("hint:"), hint.replace('\n', "\n      ")));
    }
    text
}
