//! After a setup: where names that the agent needs lead to private addresses, proposes them for `network.allow`.

use std::collections::BTreeMap;

use crate::{
    cli::{
        context::Context,
        converge::{self, How, Planned},
    },
    engine::Engine,
    error::Result,
    event::Event,
    sandbox::{network_rules, private_names},
    secrets,
    settings::{Allow, Egress, ImageSource, Settings},
    wizard,
};

/// Looks, asks, and puts what is allowed into effect. With `--yes`, docklet's own names are allowed; those that a
/// repository names, into which the agent can write, only by an answer.
///
/// # Errors
/// When the settings cannot be written or the rules not be loaded.
pub async fn propose(context: &Context, engine: &Engine, settings: &mut Settings, planned: &Planned) -> Result<()> {
    if settings.network.egress != Egress::Internet {
        return Ok(());
    }
    let known = secrets::names(&context.files.secrets())?;
    let providers = context.appliance.providers.iter().filter(|p| !p.host.is_empty() && known.contains(&p.secret));
    let own: Vec<Allow> = providers.map(|p| Allow { host: p.host.clone(), port: Some(443) }).collect();
    let git = private_names::git_hosts(&settings.mounts);
    let wanted: Vec<Allow> = own.iter().chain(&git).cloned().collect();
    if wanted.is_empty() && settings.image.source != ImageSource::Build {
        return Ok(());
    }
    let spec = &planned.desired.container;
    let helper =
        network_rules::helper(&planned.sandbox.helper, &spec.image, &planned.sandbox.labels, "names", Some(&spec.name));
    // A look that fails is no reason to call a setup failed that works.
    let Ok(mut found) = private_names::look(engine, helper, spec.user.clone(), &wanted).await else { return Ok(()) };
    found.retain(|name, _| {
        !settings.network.allow.iter().any(|a| a.host == name.host && a.port.is_none_or(|p| Some(p) == name.port))
    });
    if found.is_empty() {
        return Ok(());
    }
    let shown = found.iter().map(|(name, address)| format!("{name} ({address})")).collect::<Vec<_>>().join(", ");
    let note = |text: String| context.reporter.report(&Event::Note { text });
    note(format!("these names resolve to private addresses, which the agent may not connect to: {shown}"));
    if context.environment.interactive && !context.global.yes {
        let question = "Allow the agent to connect to them?";
        if !wizard::confirm(&context.prompt("it is set up"), question, true)? {
            return Ok(());
        }
    } else {
        let theirs: BTreeMap<_, _> = found.iter().filter(|(name, _)| git.contains(name)).collect();
        for name in theirs.keys() {
            note(format!("to allow it: docklet{} config set network.allow {name}", context.instance.flag()));
        }
        found.retain(|name, _| !git.contains(name));
    }
    if found.is_empty() {
        return Ok(());
    }
    settings.network.allow.extend(found.into_keys());
    settings.save(&context.files.settings())?;
    let how = How { running: true, ..How::default() };
    let again = converge::plan(context, engine, settings, &how).await?;
    converge::apply(context, engine, settings, &again, &how, context.appliance.health.ready_timeout()).await?;
    note("added to network.allow".to_owned());
    Ok(())
}
