//! The text of `docklet doctor`. Pure. Each level has a word, so nothing relies on colour.

use super::{data::count, style::Style};
use crate::clean::one_line;
use crate::doctor::{DoctorReport, Finding, Level};

/// Columns of the longest word.
const WIDTH: usize = 7;

/// One line for each check with its fix below, the skipped ones by reason, and how many problems there are.
pub fn text(report: &DoctorReport, style: Style) -> String {
    let mut text = String::new();
    for finding in report.checks.iter().filter(|finding| finding.level != Level::Skipped) {
        text.push_str(&format!("{}  {}\n", mark(finding.level, style), one_line(&finding.message)));
        for line in finding.fix.iter().flat_map(|fix| fix.lines()) {
            text.push_str(&format!("{:WIDTH$}  {}\n", "", style.hint(line)));
        }
    }
    for (reason, ids) in skipped(&report.checks) {
        text.push_str(&format!("{}  {}: {}\n", mark(Level::Skipped, style), ids.join(", "), one_line(reason)));
    }
    if let Some(bundle) = &report.bundle {
        text.push_str(&format!(
            "\nwritten to {bundle}, without the secrets that docklet knows; check it before you send it\n"
        ));
    }
    text.push_str(&format!("\n{}", sum(report, style)));
    // The planner's differences have an arrow.
    if style.unicode { text } else { text.replace('→', "->") }
}

/// The word of a level, padded.
fn mark(level: Level, style: Style) -> String {
    let pad = |word: &str| format!("{word:<WIDTH$}");
    match level {
        Level::Ok => style.ok(&pad("ok")),
        Level::Warning => style.warning(&pad("warning")),
        Level::Problem => style.error(&pad("problem")),
        Level::Skipped => style.dim(&pad("skipped")),
    }
}

/// The names of the skipped checks by reason, in the order of the first.
fn skipped(checks: &[Finding]) -> Vec<(&str, Vec<String>)> {
    let mut groups: Vec<(&str, Vec<String>)> = vec![];
    for finding in checks.iter().filter(|finding| finding.level == Level::Skipped) {
        let name = finding.id.replace('_', " ");
        match groups.iter_mut().find(|(reason, _)| *reason == finding.message) {
            Some((_, names)) => names.push(name),
            None => groups.push((&finding.message, vec![name])),
        }
    }
    groups
}

fn sum(report: &DoctorReport, style: Style) -> String {
    let number = |number: usize, word: &str| match number {
        0 => format!("no {word}s"),
        number => count(number as u64, word),
    };
    let text = format!("{}, {}", number(report.problems, "problem"), number(report.warnings, "warning"));
    match (report.problems, report.warnings) {
        (0, 0) => style.ok(&text),
        (0, _) => style.warning(&text),
        _ => style.error(&text),
    }
}
