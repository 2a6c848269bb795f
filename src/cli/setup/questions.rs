//! The wizard's part of `docklet setup`: what it depends on, what it starts from, and what comes of it.

use std::collections::BTreeMap;

use super::SetupAnswers;
use crate::{
    cli::{args, context::Context},
    engine::Engine,
    error::{Error, Result},
    host::{browser, ports},
    mounts, observe,
    observed::PortState,
    ops::{self, setup::take_image_file},
    secrets,
    settings::{ImageSource, Port, Settings},
    wizard::{self, KeyKind},
};

/// The hint after Ctrl-C at a question.
pub(super) const INTERRUPTED: &str = "nothing was changed; docklet setup asks again";

/// The hint after Ctrl-C in the wizard.
pub(super) const LEFT: &str = "nothing was changed; docklet setup proposes your answers again";

/// Asks, beginning with the answers of a wizard that was not finished. `asked`: what was answered before, in this run.
pub(super) fn ask(
    context: &Context,
    args: &args::SetupArgs,
    (engines, snapshots): (&[Engine], &[observe::Snapshot]),
    answers: &mut SetupAnswers,
    asked: &mut Option<wizard::Answers>,
) -> Result<()> {
    let password_name = &context.appliance.login.password_secret;
    let own_container = context.container_name();
    let bind = answers.settings.network.bind.0;
    let known = secrets::names(&context.files.secrets())?;
    let port_state = |port: Port| {
        let containers = snapshots.iter().flat_map(|snapshot| &snapshot.containers).filter(|c| c.is_running());
        let mut holders = containers.filter(|c| c.ports.iter().any(|p| p.port == port.0));
        match holders.next() {
            Some(holder) if holder.name == own_container => PortState::Available,
            Some(holder) => PortState::Taken {
                holder: Some(format!("container {}", holder.name)),
                free_port: ports::next_free(bind, port.0),
            },
            None => ports::state(bind, port.0),
        }
    };
    let choices: Vec<wizard::EngineChoice> = engines
        .iter()
        .zip(snapshots)
        .map(|(engine, snapshot)| wizard::EngineChoice { about: engine.about.clone(), memory: snapshot.host.memory })
        .collect();
    let providers = context.appliance.providers.iter().map(|p| (KeyKind::Model, p.title.clone(), p.secret.clone()));
    let tokens = context.appliance.tokens.iter().map(|t| (KeyKind::Push, t.title.clone(), t.name.clone()));
    let keys: Vec<_> = providers.chain(tokens).collect();
    let file = context.files.answers();
    let around = ops::mounts::surroundings(context);
    let surroundings = wizard::WizardInput {
        engines: &choices,
        port_state: &port_state,
        packages: &context.appliance.packages,
        keys: &keys,
        keys_at_hand: &context.environment.keys,
        secrets: &known,
        home: Some(context.options.home.clone()),
        has_password: known.contains(password_name),
        refuses: &|all| mounts::refusal(all, all.len().saturating_sub(1), &around),
        can_autostart: ops::autostart::is_available(context),
        can_open: browser::can_open(context.environment.session).is_ok(),
        // Where they cannot be kept, they are asked again.
        keep: &|answers| drop(answers.keep(&file)),
    };
    let given = given(context, args, answers);
    let prompt = context.prompt(LEFT);
    let start = match asked.take() {
        Some(answers) => wizard::FlowStart::Review(answers),
        None => wizard::Answers::kept(&file, &context.files.settings())
            .map_or(wizard::FlowStart::New, wizard::FlowStart::Kept),
    };
    let choice = wizard::ask(&prompt, &answers.settings, &given, start, &surroundings)?;
    *asked = Some(choice.answers);
    answers.settings = choice.settings;
    answers.engine = choice.engine;
    answers.open = choice.open;
    answers.secrets.extend(choice.keys);
    if let Some(file) = choice.image_file {
        answers.image_file = Some(take_image_file(context, &file, &mut answers.settings)?);
    }
    if let wizard::PasswordChoice::Own(password) = choice.password {
        answers.secrets.insert(password_name.clone(), password);
    }
    Ok(())
}

/// What the flags have answered.
fn given(context: &Context, args: &args::SetupArgs, answers: &SetupAnswers) -> wizard::Answers {
    let settings: &Settings = &answers.settings;
    let asks_for_image = args.image.is_none() && answers.image_file.is_none() && !args.build;
    let own_password = answers.secrets.get(&context.appliance.login.password_secret);
    wizard::Answers {
        port: args.port,
        source: (!asks_for_image).then_some(settings.image.source),
        reference: args.image.as_ref().map(|_| settings.image.reference.clone()),
        image_file: answers.image_file.clone().filter(|_| settings.image.source == ImageSource::Load),
        extra_packages: args.extra_packages.clone(),
        memory: args.memory,
        mounts: args.mounts.is_some().then(|| settings.mounts.clone()),
        git: (args.git_name.is_some() || args.git_email.is_some()).then(|| settings.git.clone()),
        egress: args.egress.or(args.allow.as_ref().map(|_| settings.network.egress)),
        restart: args.restart,
        autostart: (args.autostart || args.no_autostart).then_some(args.autostart),
        password: own_password.map(|own| wizard::PasswordChoice::Own(own.clone())),
        keys: (!args.secret_files.is_empty() || args.env_file.is_some()).then(BTreeMap::new),
        open: args.open.then_some(true),
        ..wizard::Answers::default()
    }
}

/// After a setup that failed the answers are newer than the settings that were restored: the next wizard proposes them.
pub(super) fn keep(context: &Context, asked: Option<&wizard::Answers>) {
    if let Some(answers) = asked {
        // Where they cannot be kept, they are asked again.
        drop(answers.keep(&context.files.answers()));
    }
}

/// After a successful setup no answers are kept.
pub(super) fn forget(context: &Context) -> Result<()> {
    let file = context.files.answers();
    match std::fs::remove_file(&file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &file, &e)),
        _ => Ok(()),
    }
}

/// A wizard that was left before the first answer leaves no folder behind. Call it with the lock held: whoever waits
/// for it looks whether its file is still there.
pub(super) fn tidy(context: &Context) {
    let files = &context.files;
    let unimportant = [files.lock(), files.engine()];
    let mut found = std::fs::read_dir(&files.state).into_iter().flatten().flatten();
    if !found.all(|entry| unimportant.contains(&entry.path())) {
        return;
    }
    // A folder that is not empty, or cannot be removed, stays.
    for file in unimportant {
        let _ = std::fs::remove_file(file);
    }
    let _ = std::fs::remove_dir(&files.state);
    context.paths.remove_empty();
}
