//! An error as text and as JSON (contract, section 4). The words are the error's own; here is only
//! their order and colour.

use serde::Serialize;

use super::style::Style;
use crate::{
    clean::{self, one_line},
    error::{Code, Error},
    instance_name,
};

/// The JSON form of an error.
#[derive(Debug, Serialize)]
pub struct ErrorReport {
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
            error: Body {
                code: error.code(),
                message: error.to_string(),
                causes: error.causes(),
                hint: hint(error, instance),
                instance: instance.map(str::to_owned),
            },
        }
    }
}

/// The hint, whose commands name the instance that the failed one was about.
fn hint(error: &Error, instance: Option<&str>) -> Option<String> {
    let hint = error.hint()?;
    Some(instance.map_or_else(|| hint.clone(), |instance| instance_name::in_commands(instance, &hint)))
}

/// The text: message, causes, and after a blank line the hint. Ends without a line break.
pub fn text(error: &Error, instance: Option<&str>, style: Style) -> String {
    let mut text = format!("{} {}", style.error("error:"), one_line(&error.to_string()));
    for cause in error.causes() {
        let cause = clean::text(&cause, false);
        let mut lines = cause.lines();
        text.push_str(&format!("\n  {} {}", style.dim("caused by:"), lines.next().unwrap_or_default()));
        for line in lines {
            text.push_str(&format!("\n  {line}"));
        }
    }
    if let Some(hint) = hint(error, instance) {
        text.push_str(&format!("\n\n{} {}", style.hint("hint:"), clean::text(&hint, false).replace('\n', "\n      ")));
    }
    text
}
