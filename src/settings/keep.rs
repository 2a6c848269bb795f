//! `backup.keep`: how many backups stay, as restic and borg count them. Pure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which backups stay: a number of the newest, or the newest of each of the last days, weeks and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// So many of the newest.
    Newest(u32),
    /// Of each of so many periods that have any, the newest.
    NewestOf(Vec<(u32, Period)>),
}

/// A period of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// `h`
    Hour,
    /// `d`
    Day,
    /// `w`, from Monday (ISO 8601)
    Week,
    /// `m`
    Month,
    /// `y`
    Year,
}

impl Period {
    const LETTERS: [(char, Period); 5] =
        [('h', Period::Hour), ('d', Period::Day), ('w', Period::Week), ('m', Period::Month), ('y', Period::Year)];

    fn letter(self) -> char {
        Self::LETTERS.into_iter().find(|(_, period)| *period == self).map_or('?', |(letter, _)| letter)
    }
}

impl FromStr for Keep {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |part: &str| format!("`{part}` isn't a rule for backups to keep; write 7, or \"7d 4w 6m\"");
        if let Ok(number) = text.trim().parse() {
            return Ok(Keep::Newest(number));
        }
        let mut periods: Vec<(u32, Period)> = vec![];
        for part in text.split_whitespace() {
            let (letter, number) =
                part.chars().next_back().map_or((' ', ""), |c| (c, &part[..part.len() - c.len_utf8()]));
            let period = Period::LETTERS.into_iter().find(|(known, _)| *known == letter);
            let (Some((_, period)), Ok(number)) = (period, number.parse()) else { return Err(invalid(part)) };
            if number == 0 || periods.iter().any(|(_, before)| *before == period) {
                return Err(invalid(text));
            }
            periods.push((number, period));
        }
        if periods.is_empty() { Err(invalid(text)) } else { Ok(Keep::NewestOf(periods)) }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Newest(number) => number.fmt(f),
            Keep::NewestOf(periods) => {
                let parts: Vec<String> = periods.iter().map(|(n, period)| format!("{n}{}", period.letter())).collect();
                f.write_str(&parts.join(" "))
            }
        }
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Keep::Newest(number) => serializer.serialize_u32(*number),
            Keep::NewestOf(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText)
    }
}

/// What a settings file has: a number, as always, or a text.
struct NumberOrText;

impl de::Visitor<'_> for NumberOrText {
    type Value = Keep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or a text such as \"7d 4w 6m\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Keep, E> {
        u32::try_from(number).map(Keep::Newest).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Keep, E> {
        u32::try_from(number).map(Keep::Newest).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Keep, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rules_are_read_and_written_the_same() {
        for (text, shown) in [("7", "7"), (" 0 ", "0"), ("7d 4w 6m", "7d 4w 6m"), ("  24h   2y", "24h 2y")] {
            assert_eq!(text.parse::<Keep>().unwrap().to_string(), shown);
        }
        for wrong in ["", "-1", "d", "7 d", "7x", "0d", "7d 3d", "7d,4w", "7ä", "3 7d", "99999999999d"] {
            assert!(wrong.parse::<Keep>().is_err(), "{wrong:?}");
        }
    }
}
