//! An error as text and as JSON: order and colour only, the words are the error's own.

use serde_json::{Value, json};

use super::style::Style;
use crate::{
    clean::{self, one_line},
    error::Error,
    instance_name,
};

/// The JSON form; `instance` is `None` when the command is about none.
pub fn json(error: &Error, instance: Option<&str>) -> Value {
    json!({"error": {
        "code": error.code(),
        "message": error.to_string(),
        "causes": error.causes(),
        "hint": hint(error, instance),
        "instance": instance,
    }})
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
