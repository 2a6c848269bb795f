//! Amounts that users write and read: bytes (`4GiB`), durations, versions. Parsing and printing only.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A number of bytes, printed in binary units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Bytes {
    /// The exact form for settings files: the largest unit that divides it, such as `1536MiB`.
    pub fn exact(self) -> String {
        for (unit, factor) in UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return format!("{}{unit}", self.0 / factor);
            }
        }
        format!("{}B", self.0)
    }
}

impl fmt::Display for Bytes {
    /// For people: at most one decimal, such as `1.5 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in UNITS {
            if self.0 >= factor {
                let tenths = (u128::from(self.0) * 10 + u128::from(factor) / 2) / u128::from(factor);
                return if tenths.is_multiple_of(10) {
                    write!(f, "{} {unit}", tenths / 10)
                } else {
                    write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl FromStr for Bytes {
    type Err = String;

    /// Reads `4GiB`, `4G`, `4g`, `512MB`, `1.5 GiB` or a plain number of bytes. As with `docker`,
    /// K, M, G and T are powers of 1024 with or without the `i`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("`{text}` isn't a valid amount of memory; write it like 4GiB or 512MiB");
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            _ => return Err(wanted()),
        };
        let bytes = match number.split_once('.') {
            None => number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)),
            Some((whole, fraction)) if fraction.len() <= 9 && !fraction.is_empty() => {
                let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wanted())? };
                let numerator: u64 = fraction.parse().map_err(|_| wanted())?;
                let scale = 10u64.pow(u32::try_from(fraction.len()).map_err(|_| wanted())?);
                let part = u128::from(numerator) * u128::from(factor) / u128::from(scale);
                whole.checked_mul(factor).and_then(|w| w.checked_add(u64::try_from(part).ok()?))
            }
            Some(_) => None,
        };
        bytes.map(Bytes).ok_or_else(wanted)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A duration for people: `850 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 days`.
pub struct Elapsed(pub Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            1..=9 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            10..=59 => write!(f, "{seconds} s"),
            60..=3599 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            3600..=172_799 => write!(f, "{} h {} min", seconds / 3600, seconds % 3600 / 60),
            _ => write!(f, "{} days", seconds / 86_400),
        }
    }
}

/// A version as numbers, for comparing: `1.18.33`. What is behind a hyphen or a plus does not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u64>);

impl Version {
    /// The numbers in a version; a part that is no number counts as 0.
    pub fn of(text: &str) -> Self {
        let core = text.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
        Version(core.split('.').map(|part| part.parse().unwrap_or(0)).collect())
    }

    /// Whether this is three numbers and nothing else.
    pub fn is_exact(text: &str) -> bool {
        let parts: Vec<&str> = text.split('.').collect();
        parts.len() == 3 && parts.iter().all(|p| !p.is_empty() && p.len() < 10 && p.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// Reads a duration as users write it: `90`, `90s`, `10m`, `1h30m`, `7d`. A bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wanted = || format!("`{text}` isn't a valid duration; write it like 90s, 10m, 1h30m or 7d");
    let is_digit = |c: char| c.is_ascii_digit();
    let mut rest = text.trim();
    if rest.chars().all(is_digit) {
        return rest.parse().map(Duration::from_secs).map_err(|_| wanted());
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c| !is_digit(c)).ok_or_else(wanted)?);
        let (unit, next) = behind.split_at(behind.find(is_digit).unwrap_or(behind.len()));
        let factor = match unit {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(wanted()),
        };
        let part = number.parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
        sum = part.and_then(|part| sum.checked_add(part)).ok_or_else(wanted)?;
        rest = next;
    }
    Ok(Duration::from_secs(sum))
}

/// As [`parse_duration`], but a number needs a unit, unless it is 0.
///
/// # Errors
/// The reason, for showing beside the field.
pub fn parse_duration_with_unit(text: &str) -> Result<Duration, String> {
    if text.bytes().all(|b| b.is_ascii_digit()) && text.bytes().any(|b| b != b'0') {
        return Err(format!("`{text}` has no unit; write it like {text}h or {text}d"));
    }
    parse_duration(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exact_bytes_read_back(n in any::<u64>()) {
            prop_assert_eq!(Bytes(n).exact().parse::<Bytes>(), Ok(Bytes(n)));
        }

        #[test]
        fn any_text_parses_or_says_how_to_write_it(text in ".*") {
            if let Err(message) = text.parse::<Bytes>() {
                prop_assert!(message.contains("4GiB"));
            }
            if let Err(message) = parse_duration(&text) {
                prop_assert!(message.contains("1h30m"));
            }
        }
    }

    #[test]
    fn the_spellings_of_docker_are_read() {
        for (text, bytes) in
            [("4GiB", 4 << 30), ("4g", 4 << 30), ("1.5 GiB", 3 << 29), ("512MB", 512 << 20), ("1048576", 1 << 20)]
        {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "GiB", "-4GiB", "4 potatoes", "99999999999TiB", "1.GiB", "1.2.3G"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(Version::of("1.18.9") < Version::of("1.18.10"));
        assert!(Version::of("v2.0.0") > Version::of("1.99.99"));
        assert!(Version::is_exact("1.18.34"));
        for text in ["", "1.18", "1.18.x", "^1.18.3", "1.18.34-beta", "1.18.34; rm", "latest"] {
            assert!(!Version::is_exact(text), "{text}");
        }
    }

    #[test]
    fn durations_of_people() {
        let seconds = |text: &str| parse_duration(text).map(|duration| duration.as_secs()).ok();
        let good = [("90", 90), ("10m", 600), ("1h30m", 5400), ("2d1h5s", 176_405), ("5min", 300), ("0", 0)];
        for (text, wanted) in good {
            assert_eq!(seconds(text), Some(wanted), "{text}");
        }
        for text in
            ["", "m", "1h30", "1x", "h1", "1.5h", "-1h", "1h 30m", "99999999999999999999s", "9999999999999999999d"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn durations_for_people() {
        let shown =
            [0.85, 1.25, 12.0, 200.0, 7500.0, 400_000.0].map(|s| Elapsed(Duration::from_secs_f64(s)).to_string());
        insta::assert_debug_snapshot!(shown, @r#"
        [
            "850 ms",
            "1.2 s",
            "12 s",
            "3 min 20 s",
            "2 h 5 min",
            "4 days",
        ]
        "#);
    }
}
