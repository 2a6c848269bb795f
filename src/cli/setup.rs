//! `docklet setup`: the first run, and every later one. Check the engine, ask, show the plan,
//! confirm, apply, wait until the page really answers, print where it is.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

mod questions;

use self::questions::INTERRUPTED;
use super::{
    args, change,
    context::Context,
    engine_setup::{self, Consent, FoundEngines},
    open, secret,
    start::{planned_only, with_secrets},
};
use crate::{
    engine::reference::Reference,
    error::{Error, Result},
    host::{git, pem},
    mounts, observe,
    ops::{
        self,
        converge::{self, ConvergeOptions},
        restore::pending,
        setup::{SetupJob, check, make_password, take_image_file},
    },
    paths,
    plan::Action,
    present::result,
    secrets::{self, Secret},
    settings::{Git, ImageSource, Port, Settings},
    wizard::{self, Confirmation},
};

/// All answers: what is remembered, and what is only for this run.
#[derive(Clone)]
struct SetupAnswers {
    settings: Settings,
    secrets: BTreeMap<String, Secret>,
    image_file: Option<PathBuf>,
    open: bool,
    /// Which of the engines.
    engine: usize,
}

/// Sets up, or brings in line.
pub async fn run(context: &Context, args: &args::SetupArgs) -> Result<ExitCode> {
    let before = Settings::load(&context.files.settings())?;
    let interactive = context.environment.interactive && !context.global.yes && !args.dry_run;
    if args.no_start && args.open {
        return Err(Error::usage("--no-start and --open contradict each other"));
    }
    let mut settings = before.clone().unwrap_or_default();
    let image_file = take_flags(context, args, &mut settings)?;
    tell_of_lost_packages(context, before.as_ref(), &settings);
    // Everything that can be refused is refused before anything is changed.
    let given = given_secrets(context, args)?;
    let lock = if args.dry_run { None } else { Some(context.lock("setup")?) };
    let consent = Consent { interactive, install: args.install_engine, dry_run: args.dry_run };
    let engines = match engine_setup::find(context, consent, INTERRUPTED).await? {
        FoundEngines::Engines(engines) => engines,
        FoundEngines::NeedsNewGroup(group) => {
            drop(lock);
            return engine_setup::again_with_group(&group);
        }
    };
    if let (Some(engine), Some(_)) = (engines.first(), &lock)
        && pending::finish(context, engine).await?.is_some()
    {
        // It brought settings and secrets: from the beginning.
        drop(lock);
        return Box::pin(run(context, args)).await;
    }
    let given = SetupAnswers { settings, secrets: given, image_file, open: args.open, engine: 0 };
    let mut snapshots = vec![];
    for engine in &engines {
        // The wizard names whoever holds a port.
        snapshots.push(match interactive {
            true => context.snapshot(engine).await?,
            false => observe::look_at_own(engine, &context.appliance, &context.name).await?,
        });
    }
    // Back from the plan leads to the choices again.
    let mut asked = None;
    let (mut answers, engine, how, planned, password_is_new) = loop {
        let mut answers = given.clone();
        if interactive {
            questions::ask(context, args, (&engines, &snapshots), &mut answers, &mut asked)
                .inspect_err(|_| questions::tidy(context))?;
        }
        let (Some(engine), Some(snapshot)) = (engines.get(answers.engine), snapshots.get(answers.engine)) else {
            return Err(Error::bug("an engine that was not offered"));
        };
        if engines.len() > 1 || context.global.host.is_some() {
            answers.settings.engine.endpoint.clone_from(&engine.about.endpoint);
        }
        if args.mounts.is_none() {
            mounts::verify(&answers.settings.mounts, &context.files.mounts())?;
        }
        check(context, &answers.settings)?;

        // What runs goes on running, with what is changed now.
        let name = context.container_name();
        let runs = snapshot.containers.iter().any(|c| c.name == name && c.is_running());
        let password_is_new = make_password(context, &mut answers.secrets)?;
        let how = ConvergeOptions {
            running: !args.no_start || runs,
            image_file: answers.image_file.clone(),
            new_secrets: answers.secrets.clone(),
            saves: true,
            ..ConvergeOptions::default()
        };
        let planned = match converge::plan_with(context, engine, snapshot, &answers.settings, &how).await {
            // As the wizard does.
            Err(Error::PortInUse { port, free_port: Some(free), .. }) if args.dry_run && args.port.is_none() => {
                context.note(format!("port {port} is taken, so this is the plan for another one: --port {free}"));
                answers.settings.network.port = Port(free);
                converge::plan_with(context, engine, snapshot, &answers.settings, &how).await?
            }
            planned => planned?,
        };
        let mut new_secrets = self::new_secrets(context, &answers)?;
        if before.is_none() && password_is_new {
            // Every first setup makes one.
            new_secrets.retain(|name| *name != context.appliance.login.password_secret);
        }
        if args.dry_run {
            planned_only(context, &planned, &new_secrets);
            return Ok(ExitCode::SUCCESS);
        }
        let users = mounts::Users::of(&engine.about, snapshot.host.rootless, &snapshot.host.data_folder);
        for new in mounts::new(&answers.settings.mounts, &context.files.mounts())? {
            ops::mounts::tell(context, new, planned.sandbox.ids, users);
        }
        ops::mounts::ask(context, &answers.settings.mounts)?;
        change::tell_of_ssh_agent(context, &before.clone().unwrap_or_default(), &answers.settings);
        if confirm(context, &planned, &answers, &new_secrets, args)? {
            break (answers, engine, how, planned, password_is_new);
        }
    };
    let timeout = args.page.duration();
    let job = SetupJob { before, secrets: answers.secrets, how, timeout };
    let done = job.carry_out(context, engine, &mut answers.settings, planned).await;
    let report = done.inspect_err(|_| questions::keep(context, asked.as_ref()))?;
    questions::forget(context)?;
    drop(lock);
    let first_time = password_is_new || !context.files.password_shown().exists();
    let password = if first_time { Some(context.password()?) } else { None };
    context.output.result(&report, |style| result::setup(&report, password.as_ref().map(Secret::reveal), style));
    if first_time && !context.global.json && report.running {
        paths::write_file(&context.files.password_shown(), b"", 0o600)?;
    }
    if answers.open && report.running {
        open::afterwards(context).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts the flags into the settings; an archive to load the image from is only for this run.
fn take_flags(context: &Context, args: &args::SetupArgs, settings: &mut Settings) -> Result<Option<PathBuf>> {
    set(&mut settings.network.port, &args.port);
    set(&mut settings.network.bind, &args.bind);
    set(&mut settings.image.base, &args.base_image);
    set(&mut settings.image.extra_packages, &args.extra_packages);
    set(&mut settings.resources.memory, &args.memory);
    set(&mut settings.resources.cpus, &args.cpus);
    set(&mut settings.network.egress, &args.egress);
    set(&mut settings.network.allow, &args.allow);
    take_git_identity(context, args, settings);
    take_ssh_agent(context, args, settings)?;
    settings.environment.extend(args.env.iter().map(|v| (v.name.clone(), v.value.clone())));
    set(&mut settings.restart.policy, &args.restart);
    if args.autostart || args.no_autostart {
        settings.restart.autostart = args.autostart;
    }
    if let Some(mounts) = &args.mounts {
        let home = &context.options.home;
        settings.mounts = mounts.iter().map(|m| mounts::absolute(m, home)).collect::<Result<_>>()?;
    }
    take_ca_file(context, args, settings)?;
    if args.build {
        settings.image.source = ImageSource::Build;
        settings.image.reference.clear();
    }
    if let Some(reference) = &args.image {
        let _: Reference = reference.parse()?;
        settings.image.source = ImageSource::Pull;
        settings.image.reference.clone_from(reference);
    }
    match &args.image_file {
        Some(file) => take_image_file(context, file, settings).map(Some),
        None => Ok(None),
    }
}

/// A flag takes the place of the whole list, which a plan does not show.
fn tell_of_lost_packages(context: &Context, before: Option<&Settings>, after: &Settings) {
    let before = before.iter().flat_map(|settings| &settings.image.extra_packages);
    let lost: Vec<String> =
        before.filter(|package| !after.image.extra_packages.contains(package)).map(ToString::to_string).collect();
    if !lost.is_empty() {
        context.note(format!("no longer among the extra packages: {}", lost.join(", ")));
    }
}

/// Who the agent commits as: the flags, and at the first setup whoever this machine's git commits as.
fn take_git_identity(context: &Context, args: &args::SetupArgs, settings: &mut Settings) {
    if !context.files.settings().exists() {
        let of_host = |key: &str| git::setting(key).and_then(|text| text.parse().ok()).unwrap_or_default();
        settings.git = Git { name: of_host("user.name"), email: of_host("user.email"), ssh_agent: false };
    }
    set(&mut settings.git.name, &args.git_name);
    set(&mut settings.git.email, &args.git_email);
}

/// Whether ssh inside can use the host's ssh agent, which has to be there when that is asked for.
fn take_ssh_agent(context: &Context, args: &args::SetupArgs, settings: &mut Settings) -> Result<()> {
    if args.ssh_agent && context.options.ssh_agent.is_none() {
        return Err(Error::Usage {
            message: "there is no ssh agent here: SSH_AUTH_SOCK is not set".to_owned(),
            hint: Some("start one and add a key: eval $(ssh-agent); ssh-add".to_owned()),
        });
    }
    if args.ssh_agent || args.no_ssh_agent {
        settings.git.ssh_agent = args.ssh_agent;
    }
    Ok(())
}

fn set<T: Clone>(setting: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        setting.clone_from(value);
    }
}

/// The CA bundle is a lasting choice: taken from the flag, else kept, else from the environment of
/// the first setup.
fn take_ca_file(context: &Context, args: &args::SetupArgs, settings: &mut Settings) -> Result<()> {
    let first_time = !context.files.settings().exists();
    let found = context.options.ca_file.as_ref().filter(|file| first_time && file.is_file());
    if let Some(file) = args.ca_file.as_ref().or(found) {
        if file.as_os_str().is_empty() {
            settings.trust.ca_file.clear();
            return Ok(());
        }
        let file = std::path::absolute(file).map_err(|e| Error::file("find", file, &e))?;
        pem::read_certificates(&file)?;
        settings.trust.ca_file = file.display().to_string();
    }
    Ok(())
}

/// Secrets from flags and the proxy variables from the environment.
fn given_secrets(context: &Context, args: &args::SetupArgs) -> Result<BTreeMap<String, Secret>> {
    let password_name = &context.appliance.login.password_secret;
    let mut given = match &args.env_file {
        Some(file) => secret::from_env_file(context, file)?,
        None => BTreeMap::new(),
    };
    for pair in &args.secret_files {
        let (name, file) = pair.split_once('=').ok_or_else(|| {
            Error::usage(format!(
                "`{pair}` isn't a valid secret; write it like --secret-file ANTHROPIC_API_KEY=key.txt"
            ))
        })?;
        secrets::check_name(name).map_err(Error::usage)?;
        secret::refuse_password(context, name, &secret::own_password(context))?;
        let value = secret::read_file(Path::new(file))?;
        secrets::check_value(name, value.reveal()).map_err(Error::usage)?;
        given.insert(name.to_owned(), value);
    }
    if let Some(file) = &args.password_file {
        let password = secrets::check_password(secret::read_file(file)?.reveal()).map_err(Error::usage)?;
        given.insert(password_name.clone(), password);
    }
    for (name, value) in &context.options.proxies {
        given.insert(name.clone(), Secret::new(value.clone()));
    }
    Ok(given)
}

/// Shows the plan and asks once. False: the user goes back to the questions.
fn confirm(
    context: &Context,
    planned: &converge::Planned,
    answers: &SetupAnswers,
    new_secrets: &[String],
    args: &args::SetupArgs,
) -> Result<bool> {
    if let Some(text) = ops::exposure(&answers.settings) {
        context.warn(text);
    }
    if planned.is_empty() || context.global.yes {
        return Ok(true);
    }
    if !context.environment.interactive {
        return Err(Error::ConfirmationRequired {
            question: "carrying out this plan".to_owned(),
            flag: "--yes".to_owned(),
        });
    }
    let builds = planned.plan.steps.iter().any(|s| matches!(s.action, Action::BuildImage { .. }));
    let mut text = with_secrets(&planned.to_string(), new_secrets);
    if builds && !args.install_engine {
        text.push_str(
            "\n     if the base image cannot be pulled, it is built here from Debian's packages with mmdebstrap, which is installed if missing",
        );
    }
    match wizard::confirm_plan(&context.prompt(questions::LEFT), &text)? {
        Confirmation::Yes => Ok(true),
        Confirmation::No => Err(Error::Cancelled),
        Confirmation::Back => Ok(false),
    }
}

/// Names of the secrets that are new or will have another value.
fn new_secrets(context: &Context, answers: &SetupAnswers) -> Result<Vec<String>> {
    let folder = context.files.secrets();
    let mut names = vec![];
    for (name, value) in &answers.secrets {
        if secrets::read(&folder, name)?.as_ref() != Some(value) {
            names.push(name.clone());
        }
    }
    Ok(names)
}
