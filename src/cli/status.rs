//! `docklet status`, and `docklet` alone.

use std::process::ExitCode;

use super::context::Context;
use crate::{
    desired_state,
    error::{Code, Error, Result},
    ops::{
        status::{report, without_engine},
        supervisor::state,
    },
    present::status,
    report::{State, StatusReport},
    settings::Settings,
};

/// Exit code for an instance that is set up and does not run.
const NOT_RUNNING: u8 = 3;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusForm {
    /// A line or two.
    Short,
    /// All of it.
    Long,
}

/// Shows how it is.
pub async fn run(context: &Context, form: StatusForm) -> Result<ExitCode> {
    let settings = Settings::load(&context.files.settings())?;
    let engine = match context.engine().await {
        Ok(engine) => engine,
        Err(error) => return unreachable(context, settings.as_ref(), &error, form),
    };
    let report = report(context, settings.as_ref(), &engine).await?;
    show(context, &report, form);
    if form == StatusForm::Long && report.supervisor.gave_up && !context.global.json && !context.global.quiet {
        let (_, gave_up) = state::for_status(&context.files, &desired_state::recorded(&context.files.desired())?);
        if let Some(gave_up) = gave_up {
            context.output.error(&gave_up.error(&context.container_name()), Some(context.name.as_str()));
        }
    }
    Ok(ExitCode::from(match report.state {
        State::Running => 0,
        State::NotSetUp => Code::NotFound.exit_status(),
        State::EngineUnreachable => Code::NetworkError.exit_status(),
        // Nobody restarts it any more.
        State::Failed if report.supervisor.gave_up => Code::GaveUp.exit_status(),
        State::Starting | State::Unhealthy | State::Stopped | State::Failed => NOT_RUNNING,
    }))
}

fn show(context: &Context, report: &StatusReport, form: StatusForm) {
    if context.global.quiet && !context.global.json {
        return; // the exit code is the result
    }
    context.output.result(report, |style| match form {
        StatusForm::Short => status::short(report, style),
        StatusForm::Long => status::long(report, style, time::OffsetDateTime::now_utc(), &context.environment.zone),
    });
}

/// `docklet` alone: the status in short when it is set up, else how to begin.
pub async fn short(context: &Context) -> Result<ExitCode> {
    if Settings::load(&context.files.settings())?.is_none() {
        let flag = context.name.flag();
        let text = format!(
            "docklet runs {}, an AI coding agent with a web page, in a container on this machine\nto get started: docklet{flag} setup",
            context.appliance.title
        );
        context.output.result(&serde_json::json!({"instance": context.name, "state": "not_set_up"}), |_| text);
        return Ok(ExitCode::SUCCESS);
    }
    run(context, StatusForm::Short).await
}

/// The engine cannot be asked: shows what is known without it, and then why.
fn unreachable(context: &Context, settings: Option<&Settings>, error: &Error, form: StatusForm) -> Result<ExitCode> {
    show(context, &without_engine(context, settings)?, form);
    if context.global.json {
        // Standard output holds the report already; why goes where progress goes.
        context.warn(error.to_string());
    } else {
        context.output.error(error, Some(context.name.as_str()));
    }
    Ok(ExitCode::from(error.code().exit_status()))
}
