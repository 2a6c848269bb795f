//! Which releases of the program there are, and which one is wanted.

use std::{path::Path, time::Duration};

use time::OffsetDateTime;

use super::{Instance, build_surroundings::build_surroundings};
use crate::{
    appliance::{Appliance, Release},
    desired::labels,
    engine::{Engine, build::BuildRequest},
    error::{Error, Result},
    event::{Event, begin_step},
    settings::Settings,
    units::Version,
};

/// The release that is wanted: the one that was named, or the newest of the same major version.
///
/// # Errors
/// [`Error::Missing`] when there is no such release, and what the build that asks finds.
pub async fn chosen(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    current: Option<&str>,
    to: Option<&str>,
) -> Result<Release> {
    let own = Appliance::embedded()?.built_release();
    // Releases are tagged with a "v" before the number.
    let to = to.map(|to| to.strip_prefix('v').unwrap_or(to));
    let base = current.unwrap_or(&own.version);
    if let Some(to) = to
        && !Version::is_exact(to)
    {
        return Err(Error::usage(format!("`{to}` isn't a valid version; write it like {base}")));
    }
    if to == Some(own.version.as_str()) {
        return Ok(own);
    }
    let found = releases(instance, engine, settings, base, to).await?;
    // Who names a release gets it at any age.
    let min_age = if to.is_some() { Duration::ZERO } else { settings.update.min_age.duration() };
    let Choice { newest, too_young } = choose(found, base, min_age, OffsetDateTime::now_utc());
    if let Some(version) = too_young {
        let flag = instance.name.flag();
        let text = format!(
            "release {version} is not {} old yet (update.min_age); to take it now: docklet{flag} update --to {version}",
            settings.update.min_age
        );
        instance.reporter.report(&Event::Note { text });
    }
    match (newest, to) {
        (Some(newest), _) => Ok(newest),
        (None, Some(to)) => Err(Error::Missing {
            what: format!("release {to} of {}", instance.appliance.title),
            reason: None,
            hint: format!("docklet{} update --check", instance.name.flag()),
        }),
        (None, None) => Ok(own),
    }
}

/// What is known of a release.
struct Found {
    release: Release,
    /// When the last of its packages was published; `None` where the registry does not say of each.
    published: Option<OffsetDateTime>,
}

/// Which release is taken.
struct Choice {
    newest: Option<Release>,
    /// A newer one that is not old enough, or whose age is not known.
    too_young: Option<String>,
}

/// The newest release that is old enough, or is the current one.
fn choose(found: Vec<Found>, current: &str, min_age: Duration, now: OffsetDateTime) -> Choice {
    let newest = |found: Vec<Found>| {
        found.into_iter().map(|found| found.release).max_by_key(|release| Version::of(&release.version))
    };
    let is_taken = |found: &Found| {
        let old = found.published.is_some_and(|at| now - at >= min_age);
        min_age.is_zero() || old || found.release.version == current
    };
    let (taken, young): (Vec<_>, Vec<_>) = found.into_iter().partition(is_taken);
    let newest_taken = newest(taken);
    let version = |release: &Option<Release>| release.as_ref().map(|r| Version::of(&r.version));
    let newest_young = newest(young);
    let newer = version(&newest_young) > version(&newest_taken);
    Choice { newest: newest_taken, too_young: newest_young.filter(|_| newer).map(|release| release.version) }
}

/// Asks for one release, or for the current one and those that came after it. The engine does it, with a step of the
/// build: whatever the build needs to reach the network, asking needs, too.
async fn releases(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    current: &str,
    wanted: Option<&str>,
) -> Result<Vec<Found>> {
    let appliance = &instance.appliance;
    let surroundings = build_surroundings(instance, settings)?;
    let reference = format!("{}:releases", instance.container_name());
    let log_file = instance.files.state.join("releases.log");
    let mut arguments = surroundings.proxies.clone();
    arguments.insert("BASE_IMAGE".to_owned(), settings.image.base.clone());
    arguments.insert("CURRENT_RELEASE".to_owned(), current.to_owned());
    arguments.insert("WANTED_RELEASE".to_owned(), wanted.unwrap_or_default().to_owned());
    arguments.insert("ASKED_AT".to_owned(), crate::clock::now_exactly());
    let request = BuildRequest {
        reference: reference.clone(),
        context: appliance.build_context(&surroundings.ca_bundle)?,
        arguments,
        labels: labels(appliance, &instance.name),
        log_file: log_file.clone(),
        target: Some(appliance.releases.target.clone()),
    };
    let step = format!("fetch the list of {} releases", appliance.title);
    let done = begin_step(instance.reporter.as_ref(), 1, 1, step);
    let stopped = Error::Interrupted { next: "nothing was changed".to_owned() };
    let built = instance.interrupt.or(stopped, engine.build(request, instance.reporter.as_ref())).await;
    // It holds a list and nothing else.
    let removed = engine.remove_image(&reference).await;
    built.map_err(|error| unreachable(appliance, &log_file, error))?;
    removed?;
    done();
    let log = crate::paths::read_text(&log_file)?.unwrap_or_default();
    let _ = std::fs::remove_file(&log_file);
    let packages = &appliance.releases.packages;
    let needed = packages.get(&engine.about.architecture).map(String::as_str).unwrap_or_default();
    let known: Vec<&str> = packages.values().map(String::as_str).collect();
    Ok(parse(&log, &appliance.releases.mark, &known, needed))
}

/// curl's words for a registry that it could not reach: the name of a host or a proxy is not known, no connection, a
/// time limit, nothing sent, nothing received.
const NO_NETWORK: [&str; 6] = ["curl: (5)", "curl: (6)", "curl: (7)", "curl: (28)", "curl: (55)", "curl: (56)"];

/// A registry that was not reached is no image that could not be built.
fn unreachable(appliance: &Appliance, log_file: &Path, error: Error) -> Error {
    let log = crate::paths::read_text(log_file).ok().flatten().unwrap_or_default();
    let sign = log.lines().find(|line| NO_NETWORK.iter().any(|sign| line.contains(sign)));
    match (error, sign) {
        (Error::Image { .. }, Some(line)) => Error::ReleasesUnreachable {
            title: appliance.title.clone(),
            reason: line.trim().to_owned(),
            log_file: log_file.display().to_string(),
        },
        (error, _) => error,
    }
}

/// Releases from lines `MARK PACKAGE VERSION DIGEST [TIME]`; only those that have the package that is
/// needed here, with every other one that is known.
fn parse(log: &str, mark: &str, known: &[&str], needed: &str) -> Vec<Found> {
    let mut found = std::collections::BTreeMap::<String, Found>::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [first, package, version, digest, ref time @ ..] = words[..]
            && first == mark
            && Version::is_exact(version)
            && known.contains(&package)
            && digest.starts_with("sha512-")
        {
            let published = time.first().and_then(|time| crate::clock::parse(time));
            let found = found.entry(version.to_owned()).or_insert_with(|| Found {
                release: Release { version: version.to_owned(), integrity: Default::default() },
                published,
            });
            found.published = found.published.zip(published).map(|(one, other)| one.max(other));
            found.release.integrity.insert(package.to_owned(), digest.to_owned());
        }
    }
    found.into_values().filter(|f| f.release.integrity.contains_key(needed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_releases_for_this_machine_are_taken() {
        let log = "  mark a 1.0.1 sha512-1\n  mark b 1.0.1 sha512-2\n  mark a 1.0.2 sha512-3\n\
                   mark c 1.0.3 sha512-4\nmark a 1.0.4-beta sha512-5\nmark b 1.0.4-beta sha512-5\nmark a 1.0.5 md5-6\n";
        let found: Vec<_> = parse(log, "mark", &["a", "b"], "b").into_iter().map(|found| found.release).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].version.as_str(), found[0].integrity["b"].as_str()), ("1.0.1", "sha512-2"));
    }

    #[test]
    fn a_release_is_as_old_as_its_youngest_package() {
        let of = |log: &str| parse(log, "mark", &["a", "b"], "b").remove(0).published.map(crate::clock::rfc3339);
        let young = "mark a 1.0.1 sha512-1 2026-11-20T08:00:00.123Z\nmark b 1.0.1 sha512-2 2026-11-21T08:00:00+00:00\n";
        assert_eq!(of(young).as_deref(), Some("2026-11-21T08:00:00Z"));
        assert_eq!(of("mark a 1.0.1 sha512-1\nmark b 1.0.1 sha512-2 2026-11-21T08:00:00Z\n"), None);
        assert_eq!(of("mark a 1.0.1 sha512-1 2026-11-21T08:00:00Z\nmark b 1.0.1 sha512-2\n"), None);
        assert_eq!(of("mark b 1.0.1 sha512-2 yesterday\n"), None);
    }

    #[test]
    fn what_is_younger_than_the_least_age_is_told_and_not_taken() {
        let now = crate::clock::parse("2026-11-21T08:00:00Z").unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let choose = |releases: &[(&str, Option<u64>)], current: &str, hours: u64| {
            let found = releases.iter().map(|(version, age)| Found {
                release: Release { version: (*version).to_owned(), integrity: Default::default() },
                published: age.map(|hours| now - Duration::from_secs(hours * 3600)),
            });
            let choice = choose(found.collect(), current, Duration::from_secs(hours * 3600), now);
            (choice.newest.map(|release| release.version), choice.too_young)
        };
        let taken = |version: &str| Some(version.to_owned());
        let all = [("1.0.9", Some(900)), ("1.0.10", Some(24)), ("1.0.11", Some(23)), ("1.0.12", None)];
        assert_eq!(choose(&all, "1.0.9", 24), (taken("1.0.10"), taken("1.0.12")));
        assert_eq!(choose(&all[..3], "1.0.9", 24), (taken("1.0.10"), taken("1.0.11")));
        assert_eq!(choose(&all[..2], "1.0.9", 24), (taken("1.0.10"), None));
        assert_eq!(choose(&all, "1.0.9", 0), (taken("1.0.12"), None), "any age");
        assert_eq!(choose(&all[2..], "1.0.11", 24), (taken("1.0.11"), taken("1.0.12")), "what runs stays");
        assert_eq!(choose(&all[1..3], "1.0.11", 24), (taken("1.0.11"), None), "and is not gone back from");
        assert_eq!(choose(&[], "1.0.9", 24), (None, None));
    }
}
