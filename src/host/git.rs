//! What this machine's git is configured with.

use std::process::{Command, Stdio};

/// A setting of the user's own configuration, such as `user.name`; `None` without git or such a setting. A repository
/// in the current folder has no say in it.
pub fn setting(key: &str) -> Option<String> {
    let mut git = Command::new("git");
    let output = git.args(["config", "--global", "--includes", "--get", key]).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}
