//! `docklet export`

use super::{
    args::{self, ExportFor},
    context::Context,
};
use crate::{
    error::Result,
    export::quadlet,
    ops::export::{Export, ExportTarget},
    report::ExportReport,
};

/// Writes the files to the folder, or their text to standard output as it is.
pub async fn run(context: &Context, args: &args::ExportArgs) -> Result<()> {
    let wanted = wanted(&args.target);
    let report = context.export(&wanted).await?;
    if context.output.streams().json {
        context.output.result(&report, |_| String::new());
    } else if let Some(folder) = &report.folder {
        context.output.result(&report, |_| written(&report, folder));
    } else {
        context.output.raw(&text(&wanted.target, &report));
    }
    Ok(())
}

fn wanted(target: &ExportFor) -> Export {
    let (target, common) = match target {
        ExportFor::Kubernetes(args) => {
            let target = ExportTarget::Kubernetes {
                namespace: args.namespace.clone(),
                storage: args.storage.to_string(),
                storage_class: args.storage_class.clone(),
                ingress: args.ingress.clone().zip(args.tls_secret.clone()),
                backup: args.backup.clone().zip(Some(args.backup_from())),
            };
            (target, &args.common)
        }
        ExportFor::Compose(common) => (ExportTarget::Compose, common),
        ExportFor::Quadlet(common) => (ExportTarget::Quadlet, common),
    };
    Export {
        target,
        image: common.image.clone(),
        instances: common.instances.clone(),
        with_secrets: common.with_secrets,
        folder: common.output.clone(),
    }
}

fn text(target: &ExportTarget, report: &ExportReport) -> String {
    let texts: Vec<&str> = report.files.iter().filter_map(|file| file.text.as_deref()).collect();
    match target {
        ExportTarget::Kubernetes { .. } | ExportTarget::Compose => texts.join("---\n"),
        ExportTarget::Quadlet => quadlet::joined(report.files.iter().map(|file| file.name.as_str()).zip(texts)),
    }
}

fn written(report: &ExportReport, folder: &str) -> String {
    let line = |file: &crate::report::ExportedFile| {
        let what = if file.written { "written" } else { "unchanged" };
        format!("{what}: {folder}/{}", file.name)
    };
    report.files.iter().map(line).collect::<Vec<_>>().join("\n")
}
