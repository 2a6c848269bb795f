//! What a command printed, for the tests with an engine and those without.

use std::process::Output;

use serde_json::Value;

/// Standard output as exactly one JSON object.
pub fn json(output: &Output) -> Value {
    let value: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("standard output is not one JSON object: {error}\n{}", shown(output)));
    assert!(value.is_object(), "standard output is not one JSON object\n{}", shown(output));
    value
}

/// All of an output, for a message.
pub fn shown(output: &Output) -> String {
    format!(
        "{}\n--- standard output\n{}--- standard error\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
