//! An instance's name, and the names that follow from it (contract, section 1). Nothing else
//! makes up names.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// The instance that is meant when none is named.
pub const DEFAULT: &str = "default";

/// A checked instance name: `^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct InstanceName(String);

impl Default for InstanceName {
    fn default() -> Self {
        InstanceName(DEFAULT.to_owned())
    }
}

impl InstanceName {
    /// The name as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the instance that is meant when none is named.
    pub fn is_default(&self) -> bool {
        self.0 == DEFAULT
    }

    /// The container's name and hostname: the appliance's name, and the instance's behind it.
    pub fn container(&self, appliance: &str) -> String {
        container(appliance, &self.0)
    }

    /// The name of a container that waits for its successor to answer. A dot is allowed in a
    /// container's name and not in an instance's, so it is no other instance's name.
    pub fn previous_container(&self, appliance: &str) -> String {
        format!("{}.previous", self.container(appliance))
    }

    /// The name of the short-lived container that reads or writes the volumes.
    pub fn task_container(&self, appliance: &str) -> String {
        format!("{}.task", self.container(appliance))
    }

    /// The name of the short-lived container that prepares the container or its network.
    pub fn helper_container(&self, appliance: &str) -> String {
        format!("{}.helper", self.container(appliance))
    }

    /// The names of all its containers.
    pub fn containers(&self, appliance: &str) -> [String; 4] {
        [
            self.container(appliance),
            self.previous_container(appliance),
            self.task_container(appliance),
            self.helper_container(appliance),
        ]
    }

    /// The name of the volume that the container reads its secrets from.
    pub fn secrets_volume(&self, appliance: &str) -> String {
        self.volume(appliance, "secrets")
    }

    /// The name that keeps the image from before an update, where docklet did not build it.
    pub fn previous_image(&self, appliance: &str) -> String {
        format!("{}:previous", self.container(appliance))
    }

    /// A volume's name, by its role.
    pub fn volume(&self, appliance: &str, role: &str) -> String {
        format!("{}-{role}", self.container(appliance))
    }

    /// The throwaway instance that this one's backups are tested in. Nobody can type its name: a dot is no part of one.
    pub fn throwaway(&self) -> Self {
        InstanceName(format!("{}.test", self.0))
    }

    /// ` --instance NAME` for commands that are shown to the user; empty for the default instance.
    pub fn flag(&self) -> String {
        flag(&self.0)
    }
}

/// The name of an instance's container; see [`InstanceName::container`].
pub fn container(appliance: &str, instance: &str) -> String {
    if instance == DEFAULT { appliance.to_owned() } else { format!("{appliance}-{instance}") }
}

/// ` --instance NAME` for commands that are shown to the user; empty for the default instance.
pub fn flag(instance: &str) -> String {
    if instance == DEFAULT { String::new() } else { format!(" --instance {instance}") }
}

/// Commands that texts name and that work on one instance.
const ABOUT_AN_INSTANCE: [&str; 23] = [
    "attach",
    "autostart",
    "backup",
    "config",
    "doctor",
    "exec",
    "export",
    "logs",
    "mount",
    "open",
    "password",
    "restart",
    "restore",
    "rollback",
    "secret",
    "setup",
    "shell",
    "start",
    "status",
    "stop",
    "supervise",
    "uninstall",
    "update",
];

/// A text whose commands, such as `docklet start`, name an instance that is not the default one. A line that names
/// one already stays as it is.
pub fn in_commands(instance: &str, text: &str) -> String {
    let flag = flag(instance);
    let with_instance = |line: &str| {
        let names_one = line.contains("--instance");
        let mut words = line.split(' ').peekable();
        let mut named = vec![];
        while let Some(word) = words.next() {
            let command =
                words.peek().is_some_and(|next| ABOUT_AN_INSTANCE.contains(&next.trim_end_matches([',', ';'])));
            let shown = if word == "docklet" && command && !names_one { flag.as_str() } else { "" };
            named.push(format!("{word}{shown}"));
        }
        named.join(" ")
    };
    text.split('\n').map(with_instance).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InstanceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let valid = (1..=32).contains(&bytes.len())
            && bytes.iter().all(inner)
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-');
        if valid {
            Ok(InstanceName(text.to_owned()))
        } else {
            Err("an instance name has 1 to 32 lower-case letters, digits and hyphens, and no hyphen at either end"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn commands_in_texts_name_the_instance() {
        let text =
            "restart it: docklet restart; or look:\ndocklet --instance b logs, docklet errors X\ndocklet start, later";
        assert_eq!(in_commands(DEFAULT, text), text);
        assert_eq!(
            in_commands("work", text),
            "restart it: docklet --instance work restart; or look:\ndocklet --instance b logs, docklet errors X\n\
             docklet --instance work start, later"
        );
    }

    #[test]
    fn names_of_the_contract() {
        let default: InstanceName = "default".parse().unwrap();
        let work: InstanceName = "work".parse().unwrap();
        assert_eq!(default.container("opencode-cloud"), "opencode-cloud");
        assert_eq!(work.container("opencode-cloud"), "opencode-cloud-work");
        assert_eq!(default.volume("opencode-cloud", "session"), "opencode-cloud-session");
        assert_eq!(work.volume("opencode-cloud", "session"), "opencode-cloud-work-session");
    }

    #[test]
    fn only_names_of_the_contract_are_read() {
        for good in ["a", "0", "a-b", "default", &"a".repeat(32)] {
            assert!(good.parse::<InstanceName>().is_ok(), "{good}");
        }
        for bad in ["", "-", "a-", "-a", "A", "a_b", "a.b", "ä", &"a".repeat(33), "a b", "../x"] {
            assert!(bad.parse::<InstanceName>().is_err(), "{bad}");
        }
    }
}
