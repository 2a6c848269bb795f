//! The wall clock as text: RFC 3339 in UTC, to the second, but for `now_exactly`. Nothing else reads the time of day.
//! `zone`: the times that people read and write.

mod zone;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
pub use zone::Zone;

/// Now, such as `2026-11-21T01:19:58Z`.
pub fn now_rfc3339() -> String {
    rfc3339(OffsetDateTime::now_utc())
}

/// Now, to the nanosecond.
pub fn now_exactly() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

/// A time as text, without fractions of a second.
pub fn rfc3339(time: OffsetDateTime) -> String {
    let whole = time.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_default()
}

/// Reads an engine's time. Docker's zero time ("0001-01-01T00:00:00Z", never happened) is `None`.
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(|t| t.year() > 1)
}

/// How far ahead a time may be that was: another machine's clock has dated it.
pub const TOLERANCE: time::Duration = time::Duration::minutes(5);

/// The same of something that was: a time that is still to come, as of a clock that was ahead, tells nothing.
pub fn parse_past(text: &str) -> Option<OffsetDateTime> {
    parse(text).filter(|at| *at <= OffsetDateTime::now_utc() + TOLERANCE)
}
