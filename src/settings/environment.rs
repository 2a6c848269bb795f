//! `[environment]`: variables of the container that are not secret. Pure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::variables;

/// A variable's name: letters, digits and underscores (POSIX), and none that docklet or the image sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariableName(String);

/// What a variable holds: any text that the kernel takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariableValue(String);

/// `NAME=VALUE`, as a flag has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: VariableName,
    /// Its value.
    pub value: VariableValue,
}

/// Longest name, as a secret's.
const LONGEST_NAME: usize = 64;

/// Longest value in bytes: the kernel allows 128 KiB for a variable with its name.
pub const LONGEST_VALUE: usize = 131_000;

/// The page's password is a secret that has its own command.
const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";

impl FromStr for VariableName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.is_empty()
            || text.len() > LONGEST_NAME
            || !text.chars().all(allowed)
            || text.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(format!("`{text}` isn't a valid name for a variable; write it like LOG_LEVEL"));
        }
        if text == PASSWORD {
            return Err(format!("{text} is the password of the page, which setup --password-file sets"));
        }
        match variables::reserved(text) {
            Some(reason) => Err(format!("the name {text} is reserved: {reason}")),
            None => Ok(VariableName(text.to_owned())),
        }
    }
}

impl FromStr for VariableValue {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            Err("a variable can't hold a NUL byte".to_owned())
        } else if text.len() > LONGEST_VALUE {
            Err(format!("a variable can't be longer than {LONGEST_VALUE} bytes"))
        } else {
            Ok(VariableValue(text.to_owned()))
        }
    }
}

impl FromStr for Variable {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // Without a value, nothing is taken from the shell: what goes into the container is written down.
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("`{text}` has no value; write it like LOG_LEVEL=debug"))?;
        Ok(Variable { name: name.parse()?, value: value.parse()? })
    }
}

/// Reads a text as serde does, and shows it.
macro_rules! is_text {
    ($($type:ident),+) => {
        $(
            impl TryFrom<String> for $type {
                type Error = String;
                fn try_from(text: String) -> Result<Self, String> {
                    text.parse()
                }
            }
            impl From<$type> for String {
                fn from(text: $type) -> String {
                    text.0
                }
            }
            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )+
    };
}
is_text!(VariableName, VariableValue);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_variable_is_split_at_the_first_equals_sign() {
        for (text, name, value) in [
            ("LOG_LEVEL=debug", "LOG_LEVEL", "debug"),
            ("npm_config_registry=https://r.example.org/?a=b,c", "npm_config_registry", "https://r.example.org/?a=b,c"),
            ("_=", "_", ""),
            ("A= two words ", "A", " two words "),
        ] {
            let variable: Variable = text.parse().unwrap();
            assert_eq!((variable.name.to_string().as_str(), variable.value.to_string().as_str()), (name, value));
        }
    }

    #[test]
    fn what_is_no_variable_is_refused_with_the_reason() {
        for (text, reason) in [
            ("LOG_LEVEL", "has no value"),
            ("=x", "isn't a valid name"),
            ("1A=x", "isn't a valid name"),
            ("A B=x", "isn't a valid name"),
            ("A.B=x", "isn't a valid name"),
            ("Ä=x", "isn't a valid name"),
            ("A=a\0b", "NUL"),
            ("PATH=/x", "the appliance itself needs"),
            ("LD_PRELOAD=/x", "the appliance itself needs"),
            ("XDG_DATA_HOME=/x", "the image sets"),
            ("DOCKLET_EGRESS=all", "docklet sets its own"),
            ("SSL_CERT_FILE=/x", "trust.ca_file"),
            ("OPENCODE_SERVER_PASSWORD=hunter22", "--password-file"),
        ] {
            let error = text.parse::<Variable>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("hunter22"), "{error}");
        }
        assert!(format!("{}=x", "A".repeat(LONGEST_NAME + 1)).parse::<Variable>().is_err());
        assert!("x".repeat(LONGEST_VALUE + 1).parse::<VariableValue>().is_err());
    }
}
