//! `docklet doctor`

use std::{path::Path, process::ExitCode};

use super::{args, context::Context};
use crate::{
    data::{copies::Copies, schedule::LastRun},
    desired_state,
    doctor::{
        DoctorReport,
        bundle::{self, BundleContents},
        evaluate,
        facts::{EngineFacts, SupervisorFacts},
        gather,
        gather_input::GatherInput,
        redact::Redactor,
    },
    engine::Engine,
    error::{Code, Error, Result},
    ops::{
        autostart,
        build_surroundings::PROXIES,
        status,
        supervisor::{process, state},
    },
    paths,
    present::{Versioned, doctor, error},
    secrets,
    settings::Settings,
    supervise::notify::LastNotice,
};

/// Looks at everything; ends with the exit code of "it does not run as it should" when there is a
/// problem.
pub async fn run(context: &Context, args: &args::Doctor) -> Result<ExitCode> {
    // Before the looking, which takes a while.
    let archive = args.bundle.as_deref().map(|file| may_write(context, file)).transpose()?;
    let (facts, engine) = gather::gather(GatherInput {
        appliance: &context.appliance,
        instance: &context.name,
        files: &context.files,
        selection: context.selection(),
        proxies: &context.options.proxies,
        proxy_names: &PROXIES,
        ca_file: context.options.ca_file.as_deref(),
        docker_config: &context.options.docker_config,
        supervisor: supervisor(context),
    })
    .await;
    let mut report = DoctorReport::new(context.name.as_str(), evaluate(&facts));
    if let Some(file) = archive {
        write_bundle(context, &file, &report, facts.engine.as_ref().ok(), engine.as_ref()).await?;
        report.bundle = Some(file.display().to_string());
    }
    context.output.result(&report, |style| doctor::text(&report, style));
    Ok(ExitCode::from(if report.problems > 0 { Code::Unhealthy.exit_status() } else { 0 }))
}

/// Who restarts it; `None` where the user says that somebody else does.
fn supervisor(context: &Context) -> Option<SupervisorFacts> {
    if context.global.no_supervisor {
        return None;
    }
    let gave_up = desired_state::recorded(&context.files.desired())
        .ok()
        .and_then(|said| state::for_status(&context.files, &said).1);
    Some(SupervisorFacts {
        pid: process::running(&context.files),
        gave_up: gave_up.map(|gave_up| gave_up.cause),
        disk: state::SupervisorState::load(&context.files.supervisor_state()).disk,
        notice_failed: LastNotice::load(&context.files.notices()).and_then(|last| last.error),
        backup_failed: LastRun::load(&context.files.backup_state()).error,
        copy_failed: Copies::load(&context.files.copies()).error,
        test_failed: LastRun::load(&context.files.backup_test()).error,
        autostart_entry: autostart::services(context).is_enabled(&context.name),
    })
}

/// The absolute path of a file that may be written: it is new, or the user says so.
fn may_write(context: &Context, file: &Path) -> Result<std::path::PathBuf> {
    let path = std::path::absolute(bundle::named(file)).map_err(|e| Error::file("find", file, &e))?;
    if file.is_dir() || path.is_dir() {
        return Err(Error::usage(format!("{} is a folder; name a file for the archive", file.display())));
    }
    if path.exists() {
        context.confirm(&format!("overwrite {}?", path.display()))?;
    }
    Ok(path)
}

async fn write_bundle(
    context: &Context,
    file: &Path,
    report: &DoctorReport,
    facts: Option<&EngineFacts>,
    engine: Option<&Engine>,
) -> Result<()> {
    let name = context.container_name();
    let settings = Settings::load(&context.files.settings());
    let mut contents = BundleContents {
        doctor: Versioned::value(report),
        settings: std::fs::read_to_string(context.files.settings()).ok(),
        build_log: bundle::tail(&context.files.build_log()),
        supervisor_log: bundle::tail(&context.files.state.join("supervisor.log")),
        engine: serde_json::json!({
            "docklet": crate::desired::VERSION,
            "about": facts.map(|f| &f.about),
            "machine": facts.and_then(|f| f.machine.as_ref().ok()).map(|m| &m.told),
        }),
        ..BundleContents::default()
    };
    let as_json = |error: &Error| Versioned::value(&error::json(error, Some(context.name.as_str())));
    match (engine, settings) {
        (Some(engine), Ok(settings)) => {
            let (status, container, log) = tokio::join!(
                status::report(context, settings.as_ref(), engine),
                engine.inspect_for_report(&name),
                engine.log_tail(&name, bundle::LOG_LINES)
            );
            contents.status = status.map_or_else(|e| as_json(&e), |report| Versioned::value(&report));
            contents.container = container.ok().flatten();
            contents.log = log;
        }
        (_, Err(error)) => contents.status = as_json(&error),
        (None, Ok(_)) => {}
    }
    let now = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
    let archive = bundle::pack(&contents, &redactor(context)?, now)?;
    paths::write_file(file, &bundle::compressed(archive, file)?, 0o600)
}

/// Knows every secret of this instance. One that cannot be read must not be overlooked.
fn redactor(context: &Context) -> Result<Redactor> {
    let folder = context.files.secrets();
    let mut values = vec![];
    if folder.exists() {
        let failed = |e: std::io::Error| Error::file("read", &folder, &e);
        for entry in fs_err::read_dir(&folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            values.extend(secrets::read(&folder, &name.to_string_lossy())?);
        }
    }
    Ok(Redactor::new(&context.appliance.login.user, values.iter().map(secrets::Secret::reveal)))
}
