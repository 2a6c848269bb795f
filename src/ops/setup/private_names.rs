//! After a setup: where names that the agent needs lead to private addresses, proposes them for `network.allow`.

use std::collections::BTreeMap;

use crate::{
    desired,
    engine::Engine,
    error::Result,
    ops::{
        Instance,
        converge::{self, ConvergeOptions, Planned},
    },
    sandbox::{network_rules, private_names},
    secrets,
    settings::{Allow, Egress, ImageSource, Settings},
};

/// Looks, asks, and puts what is allowed into effect. With `--yes`, docklet's own names are allowed; those that a
/// repository names, into which the agent can write, only by an answer.
///
/// # Errors
/// When the settings cannot be written or the rules not be loaded.
pub async fn propose(instance: &Instance, engine: &Engine, settings: &mut Settings, planned: &Planned) -> Result<()> {
    if settings.network.egress != Egress::Internet {
        return Ok(());
    }
    let known = secrets::names(&instance.files.secrets())?;
    let providers = instance.appliance.providers.iter().filter(|p| !p.host.is_empty() && known.contains(&p.secret));
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
    let Ok(mut found) = private_names::find(engine, &instance.appliance, helper, spec.user.clone(), &wanted).await
    else {
        return Ok(());
    };
    found.retain(|name, _| !settings.network.allow.iter().any(|allow| allows(allow, name)));
    if found.is_empty() {
        return Ok(());
    }
    let shown = found.iter().map(|(name, address)| format!("{name} ({address})")).collect::<Vec<_>>().join(", ");
    let note = |text: String| instance.note(text);
    note(format!("these names resolve to private addresses, which the agent may not connect to: {shown}"));
    if instance.questions.says_yes() {
        let theirs: BTreeMap<_, _> = found.iter().filter(|(name, _)| git.contains(name)).collect();
        for name in theirs.keys() {
            note(format!("to allow it: docklet{} config set network.allow {name}", instance.name.flag()));
        }
        found.retain(|name, _| !git.contains(name));
    } else if !instance.questions.suggest("Allow the agent to connect to them?", "it is set up")? {
        return Ok(());
    }
    if found.is_empty() {
        return Ok(());
    }
    settings.network.allow.extend(found.into_keys());
    settings.save(&instance.files.settings())?;
    let how = ConvergeOptions { running: true, ..ConvergeOptions::default() };
    let again = converge::plan(instance, engine, settings, &how).await?;
    converge::apply(instance, engine, settings, &again, &how, instance.appliance.health.ready_timeout()).await?;
    note("added to network.allow".to_owned());
    Ok(())
}

/// Whether an entry of `network.allow` is about this name already.
fn allows(allow: &Allow, name: &Allow) -> bool {
    let this_machine = allow.host == Allow::HOST && name.host == desired::HOST_NAME;
    (allow.host == name.host || this_machine) && allow.port.is_none_or(|port| Some(port) == name.port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn what_is_allowed_is_not_proposed() {
        let allows = |allow: &str, name: &str| super::allows(&allow.parse().unwrap(), &name.parse().unwrap());
        assert!(allows("git.example.org", "git.example.org:22") && allows("git.example.org:22", "git.example.org:22"));
        assert!(!allows("git.example.org:22", "git.example.org:443"));
        assert!(allows("host:8443", "host.docker.internal:8443") && allows("host", "host.docker.internal:8443"));
        assert!(!allows("host:1", "host.docker.internal:8443"));
    }
}
