//! Which releases of the program there are, and which one is wanted.

use std::path::Path;

use super::{
    context::Context,
    converge::{self, How},
};
use crate::{
    appliance::{Appliance, Release},
    desired::labels,
    engine::{Engine, build::BuildRequest},
    error::{Error, Result},
    event::Event,
    settings::Settings,
    units::Version,
};

/// The release that is wanted: the one that was named, or the newest of the same major version.
///
/// # Errors
/// [`Error::Missing`] when there is no such release, and what the build that asks finds.
pub async fn chosen(
    context: &Context,
    engine: &Engine,
    settings: &Settings,
    current: Option<&str>,
    to: Option<&str>,
) -> Result<Release> {
    let own = Appliance::embedded()?.built_release();
    // Releases are tagged with a «v» before the number.
    let to = to.map(|to| to.strip_prefix('v').unwrap_or(to));
    let base = current.unwrap_or(&own.version);
    if let Some(to) = to
        && !Version::is_exact(to)
    {
        return Err(Error::usage(format!("`{to}` is no version; write it like {base}")));
    }
    if to == Some(own.version.as_str()) {
        return Ok(own);
    }
    let wanted = to.map_or_else(|| format!("^{base}"), str::to_owned);
    let found = releases(context, engine, settings, &wanted).await?;
    let newest = found.into_iter().max_by_key(|release| Version::of(&release.version));
    match (newest, to) {
        (Some(newest), _) => Ok(newest),
        (None, Some(to)) => Err(Error::Missing {
            what: format!("release {to} of {}", context.appliance.title),
            reason: None,
            hint: format!("docklet{} update --check says which is the newest", context.instance.flag()),
        }),
        (None, None) => Ok(own),
    }
}

/// Asks which releases there are. The engine does it, with a step of the build: it has the program
/// for it, and whatever the build needs to reach the network, asking needs, too.
async fn releases(context: &Context, engine: &Engine, settings: &Settings, wanted: &str) -> Result<Vec<Release>> {
    let appliance = &context.appliance;
    let surroundings = converge::build_surroundings(context, settings, &How::default())?;
    let reference = format!("{}:releases", context.container_name());
    let log_file = context.files.state.join("releases.log");
    let mut arguments = surroundings.proxies.clone();
    arguments.insert("BASE_IMAGE".to_owned(), settings.image.base.clone());
    arguments.insert("WANTED_RELEASE".to_owned(), wanted.to_owned());
    arguments.insert("ASKED_AT".to_owned(), crate::clock::now_exactly());
    let request = BuildRequest {
        reference: reference.clone(),
        context: appliance.build_context(&surroundings.ca_bundle)?,
        arguments,
        labels: labels(appliance, &context.instance),
        log_file: log_file.clone(),
        target: Some(appliance.releases.target.clone()),
    };
    let step = format!("ask which releases of {} there are", appliance.title);
    let began = std::time::Instant::now();
    context.reporter.report(&Event::StepStarted { number: 1, total: 1, step: step.clone() });
    let built = tokio::select! {
        biased;
        () = context.interrupt.wait() => Err(Error::Interrupted { next: "nothing was changed".to_owned() }),
        built = engine.build(request, context.reporter.as_ref()) => built,
    };
    // It holds a list and nothing else.
    let removed = engine.remove_image(&reference).await;
    built.map_err(|error| unreachable(appliance, &log_file, error))?;
    removed?;
    context.reporter.report(&Event::StepDone { number: 1, total: 1, step, elapsed: began.elapsed() });
    let log = crate::paths::read_text(&log_file)?.unwrap_or_default();
    let _ = std::fs::remove_file(&log_file);
    let packages = &appliance.releases.packages;
    let needed = packages.get(&engine.about.architecture).map(String::as_str).unwrap_or_default();
    let known: Vec<&str> = packages.values().map(String::as_str).collect();
    Ok(parse(&log, &appliance.releases.mark, &known, needed))
}

/// Signs in npm's log that it could not reach its registry.
const NO_NETWORK: [&str; 7] =
    ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH"];

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

/// Releases from lines «MARK PACKAGE VERSION DIGEST»; only those that have the package that is
/// needed here, with every other one that is known.
fn parse(log: &str, mark: &str, known: &[&str], needed: &str) -> Vec<Release> {
    let mut found = std::collections::BTreeMap::<String, Release>::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [first, package, version, digest] = words[..]
            && first == mark
            && Version::is_exact(version)
            && known.contains(&package)
            && digest.starts_with("sha512-")
        {
            let release = found
                .entry(version.to_owned())
                .or_insert_with(|| Release { version: version.to_owned(), integrity: Default::default() });
            release.integrity.insert(package.to_owned(), digest.to_owned());
        }
    }
    found.into_values().filter(|r| r.integrity.contains_key(needed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_releases_for_this_machine_are_taken() {
        let log = "  mark a 1.0.1 sha512-1\n  mark b 1.0.1 sha512-2\n  mark a 1.0.2 sha512-3\n\
                   mark c 1.0.3 sha512-4\nmark a 1.0.4-beta sha512-5\nmark b 1.0.4-beta sha512-5\nmark a 1.0.5 md5-6\n";
        let found = parse(log, "mark", &["a", "b"], "b");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].version.as_str(), found[0].integrity["b"].as_str()), ("1.0.1", "sha512-2"));
    }
}
