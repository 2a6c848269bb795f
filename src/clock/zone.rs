//! The time zone in which people read and write times. Everything that is kept or sent is in UTC.

use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// A time zone; UTC where the machine names none.
#[derive(Debug, Clone, Default)]
pub struct Zone(Option<tz::TimeZone>);

impl Zone {
    /// The user's: what `TZ` in the environment says, else the machine's.
    pub fn here() -> Self {
        Zone::find(std::env::var("TZ").ok().as_deref())
    }

    /// The zone that `TZ` names, else the machine's.
    pub fn find(named: Option<&str>) -> Self {
        Zone(named.map_or_else(tz::TimeZone::local, tz::TimeZone::from_posix_tz).ok())
    }

    /// How far it was from UTC, and how it was called.
    fn at(&self, seconds: i64) -> (UtcOffset, &str) {
        let found = self.0.as_ref().and_then(|zone| zone.find_local_time_type(seconds).ok());
        let found = found.and_then(|kind| {
            Some((UtcOffset::from_whole_seconds(kind.ut_offset()).ok()?, kind.time_zone_designation()))
        });
        found.unwrap_or((UtcOffset::UTC, "UTC"))
    }

    /// A time as the clock on the wall shows it.
    pub fn local(&self, time: OffsetDateTime) -> OffsetDateTime {
        let (offset, _) = self.at(time.unix_timestamp());
        time.checked_to_offset(offset).unwrap_or(time)
    }

    /// When the clock on the wall shows this. Of an hour that comes twice, the second; of one that is left out, the
    /// one after it.
    pub fn moment(&self, wall: PrimitiveDateTime) -> OffsetDateTime {
        let as_utc = wall.assume_utc();
        let guess = wall.assume_offset(self.at(as_utc.unix_timestamp()).0);
        wall.assume_offset(self.at(guess.unix_timestamp()).0)
    }

    /// A time that docklet or the engine wrote, such as `2026-11-21 02:19:58`. What is no time stays as it is.
    pub fn show(&self, text: &str) -> String {
        let Some(at) = super::parse(text).map(|at| self.local(at)) else { return text.to_owned() };
        let (date, time) = (at.date(), at.time());
        format!("{date} {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
    }

    /// The same with the zone, for a time that stands alone.
    pub fn with_name(&self, text: &str) -> String {
        super::parse(text).map_or_else(|| text.to_owned(), |at| format!("{} {}", self.show(text), self.name(at)))
    }

    /// The same with all of its digits and the distance from UTC: `2026-11-21T02:19:58.25+01:00`.
    pub fn exactly(&self, text: &str) -> String {
        let shown = super::parse(text)
            .and_then(|at| self.local(at).format(&time::format_description::well_known::Rfc3339).ok());
        shown.unwrap_or_else(|| text.to_owned())
    }

    /// What the zone is called at a time: `UTC`, or `CET (UTC+01:00)`.
    pub fn name(&self, time: OffsetDateTime) -> String {
        let (offset, name) = self.at(time.unix_timestamp());
        if offset.is_utc() {
            return "UTC".to_owned();
        }
        let (hours, minutes, _) = offset.as_hms();
        let sign = if offset.is_negative() { '-' } else { '+' };
        let distance = format!("UTC{sign}{:02}:{:02}", hours.abs(), minutes.abs());
        // Zones without a name of their own are called by their distance.
        if name.starts_with(|c: char| c.is_ascii_alphabetic()) { format!("{name} ({distance})") } else { distance }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use time::macros::datetime;

    use super::*;

    fn berlin() -> Zone {
        Zone::find(Some("CET-1CEST,M3.5.0,M10.5.0/3"))
    }

    #[test]
    fn times_are_shown_as_the_wall_clock_has_them() {
        let zone = berlin();
        assert_eq!(zone.show("2026-11-21T23:19:58Z"), "2026-11-22 00:19:58");
        assert_eq!(zone.show("2026-07-21T23:19:58.123Z"), "2026-07-22 01:19:58");
        assert_eq!(zone.exactly("2026-07-21T23:19:58.25Z"), "2026-07-22T01:19:58.25+02:00");
        assert_eq!((zone.show("soon"), zone.exactly("")), ("soon".to_owned(), String::new()));
        assert_eq!(Zone::default().show("2026-11-21T23:19:58Z"), "2026-11-21 23:19:58");
        assert_eq!(Zone::find(Some("Nowhere/Nothing")).name(OffsetDateTime::UNIX_EPOCH), "UTC");
    }

    #[test]
    fn zones_are_named_once_and_well() {
        assert_eq!(berlin().name(datetime!(2026-11-21 0:00 UTC)), "CET (UTC+01:00)");
        assert_eq!(berlin().name(datetime!(2026-07-21 0:00 UTC)), "CEST (UTC+02:00)");
        assert_eq!(Zone::find(Some("<-0330>3:30")).name(OffsetDateTime::UNIX_EPOCH), "UTC-03:30");
    }

    #[test]
    fn what_the_wall_clock_showed_is_a_moment() {
        let zone = berlin();
        assert_eq!(zone.moment(datetime!(2026-11-21 8:00)), datetime!(2026-11-21 7:00 UTC));
        assert_eq!(zone.moment(datetime!(2026-07-21 8:00)), datetime!(2026-07-21 6:00 UTC));
        // The day on which summer begins, an hour before and an hour after.
        assert_eq!(zone.moment(datetime!(2026-03-29 1:30)), datetime!(2026-03-29 0:30 UTC));
        assert_eq!(zone.moment(datetime!(2026-03-29 3:30)), datetime!(2026-03-29 1:30 UTC));
    }
}
