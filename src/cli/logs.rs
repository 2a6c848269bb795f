//! `docklet logs`

use futures_util::StreamExt as _;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{args, context::Context};
use crate::{
    engine::docker::LogRequest,
    error::{Error, Result},
    report::{LogsReport, Schema},
    units,
};

/// Shows the container's log. Text goes through as it comes; JSON is collected, at most 10,000 lines.
pub async fn run(context: &Context, args: &args::Logs) -> Result<()> {
    let since = args.since.as_deref().map(|text| since(text, OffsetDateTime::now_utc())).transpose()?;
    if args.follow && context.global.json {
        return Err(Error::Usage {
            message: "--follow never ends, so it has no JSON form".to_owned(),
            hint: Some("leave out --json or --follow".to_owned()),
        });
    }
    let engine = context.engine().await?;
    let name = context.container_name();
    let limit = usize::try_from(args.lines).unwrap_or(usize::MAX);
    // One line more than wanted tells whether there are older ones.
    let tail = if context.global.json { limit + 1 } else { limit };
    let request = LogRequest { tail: Some(tail), since, timestamps: args.timestamps, follow: args.follow };
    let mut stream = std::pin::pin!(engine.logs(&name, &request));
    if context.global.json {
        let mut text = Vec::new();
        while let Some(part) = stream.next().await {
            text.extend_from_slice(&part?.bytes);
        }
        let text = String::from_utf8_lossy(&text);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let truncated = lines.len() > limit;
        lines.drain(..lines.len().saturating_sub(limit));
        let report = LogsReport {
            schema: Schema,
            instance: context.instance.to_string(),
            line_count: lines.len(),
            lines,
            tail_limit: limit,
            truncated,
        };
        context.output.result(&report, |_| String::new());
        return Ok(());
    }
    loop {
        let part = tokio::select! {
            biased;
            () = context.interrupt.wait() => return Ok(()),
            part = stream.next() => part,
        };
        match part {
            Some(part) => {
                if !context.output.raw(&String::from_utf8_lossy(&part?.bytes)) {
                    return Ok(()); // nobody reads on
                }
            }
            None => return Ok(()),
        }
    }
}

/// Seconds since 1970 of «10m» before `now`, or of a time or date.
fn since(text: &str, now: OffsetDateTime) -> Result<i32> {
    let date = time::macros::format_description!("[year]-[month]-[day]");
    let at = if let Ok(ago) = units::parse_duration(text) {
        // Longer ago than time goes back means: all.
        let at = Duration::try_from(ago).ok().and_then(|ago| now.checked_sub(ago));
        at.unwrap_or(OffsetDateTime::UNIX_EPOCH)
    } else if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        at
    } else if let Ok(day) = time::Date::parse(text, &date) {
        day.midnight().assume_utc()
    } else {
        return Err(Error::Usage {
            message: format!("`{text}` is no time"),
            hint: Some("write it like 10m, 2h, 2026-11-21 or 2026-11-21T08:00:00Z".to_owned()),
        });
    };
    // The engine's client counts in 32 bits; a time before 1970 means: all.
    Ok(i32::try_from(at.unix_timestamp().max(0)).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_spelling_of_since() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        assert_eq!(since("10m", now).unwrap(), 999_400);
        assert_eq!(since("1970-01-02", now).unwrap(), 86_400);
        assert_eq!(since("1970-01-01T01:00:00+01:00", now).unwrap(), 0);
        assert_eq!(since("99999d", now).unwrap(), 0);
        assert_eq!(since("99999999999999d", now).unwrap(), 0);
        assert!(since("yesterday", now).is_err());
    }
}
