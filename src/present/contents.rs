//! The texts of `backup ls` and `restore --path`. Pure.

use super::{
    data::{count, left_out_list},
    style::Style,
};
use crate::{
    clock::Zone,
    report::contents::{ContentsEntry, ContentsReport, ExtractReport},
    units::Bytes,
};

/// `docklet backup ls`
pub fn listed(report: &ContentsReport, style: Style, zone: &Zone) -> String {
    let mut lines: Vec<String> = report.entries.iter().map(|entry| row(entry, zone)).collect();
    if lines.is_empty() {
        lines.push("nothing is in it".to_owned());
    }
    lines.push(style.dim(&format!("from {}", zone.with_name(&report.created))));
    lines.join("\n")
}

fn row(entry: &ContentsEntry, zone: &Zone) -> String {
    let time = entry.modified.as_deref().map(|at| zone.show(at)).unwrap_or_default();
    let name = match (entry.kind, &entry.link) {
        ("folder", _) => format!("{}/  ({})", entry.path, count(entry.files, "file")),
        (_, Some(link)) => format!("{} -> {link}", entry.path),
        _ => entry.path.clone(),
    };
    format!("{:>10}  {time:<19}  {name}", Bytes(entry.bytes).to_string())
}

/// `docklet restore --path`
pub fn extracted(report: &ExtractReport, style: Style, zone: &Zone) -> String {
    let verb = if report.dry_run { "would write" } else { "wrote" };
    let mut text = format!(
        "{verb} {} in {} to {}\n  from {} of {}",
        Bytes(report.bytes),
        count(report.files, "file"),
        style.strong(&report.to),
        report.path,
        zone.with_name(&report.created),
    );
    if let Some(left_out) = left_out_list(&report.left_out, report.left_out_count, "written") {
        text.push_str(&format!("\n  {} {left_out}", style.warning("left out:")));
    }
    text
}
