//! The builders' words → names and lines that people can read, without colours and credentials. Text in,
//! text out.

use super::message::VertexStatus;
use crate::engine::stream_error::mask_urls;

/// Longest step name that is shown, in characters.
const NAME_LENGTH: usize = 100;

/// The name for people of one of BuildKit's vertexes; `None` for its internal ones.
pub(super) fn step_name(vertex: &str) -> Option<String> {
    if vertex.starts_with("exporting to") {
        return Some("write the image".to_owned());
    }
    let (bracket, rest) = vertex.strip_prefix('[')?.split_once("] ")?;
    if bracket == "internal" || bracket == "auth" || bracket.starts_with("context ") {
        return None;
    }
    if let Some(said) = said_of_itself(rest) {
        return Some(said);
    }
    let stage = bracket.split_whitespace().find(|part| {
        let is_count = part.contains('/');
        !is_count && !part.starts_with("stage-")
    });
    let instruction = shorten(rest);
    Some(match stage {
        Some(stage) => format!("{stage}: {instruction}"),
        None => instruction,
    })
}

/// What an instruction says of itself: the text of a no-op at its beginning, `RUN : "get npm" && …`.
fn said_of_itself(instruction: &str) -> Option<String> {
    let text = without_mounts(instruction);
    let (said, _) = text.strip_prefix("RUN : \"")?.split_once('"')?;
    Some(said.to_owned())
}

/// An instruction in one line, without what only the builder needs to know.
fn without_mounts(instruction: &str) -> String {
    let words = instruction.split_whitespace().filter(|w| !w.starts_with("--mount=") && *w != "\\");
    words.collect::<Vec<_>>().join(" ")
}

/// From "[tool 2/5] RUN …": the stage, 2 and 5.
pub(super) fn position(vertex: &str) -> Option<(String, usize, usize)> {
    let (bracket, _) = vertex.strip_prefix('[')?.split_once("] ")?;
    let (stage, count) = bracket.rsplit_once(' ').unwrap_or(("", bracket));
    let (number, total) = count.split_once('/')?;
    let (number, total) = (number.trim().parse().ok()?, total.trim().parse().ok()?);
    (number >= 1 && number <= total).then(|| (stage.trim().to_owned(), number, total))
}

/// From Podman's "[1/2] STEP 2/5: RUN …", "STEP 2/5: …" or the old builder's "Step 2/5 : …".
pub(super) fn plain_step(line: &str) -> Option<(usize, usize, String)> {
    let at = line.find("STEP ").or_else(|| line.find("Step "))?;
    let before = &line[..at];
    if !before.is_empty() && !before.starts_with('[') {
        return None;
    }
    let (count, name) = line[at + 5..].split_once(':')?;
    let (number, total) = count.split_once('/')?;
    let (number, total) = (number.trim().parse().ok()?, total.trim().parse().ok()?);
    let name = said_of_itself(name).unwrap_or_else(|| name.trim().to_owned());
    Some((number, total, name))
}

/// An instruction short enough for a line.
pub(super) fn shorten(instruction: &str) -> String {
    let text = mask_urls(&without_mounts(instruction));
    let text = match text.strip_prefix("FROM docker.io/") {
        Some(name) => format!("FROM {}", name.strip_prefix("library/").unwrap_or(name)),
        None => text,
    };
    let text = text.split("@sha256:").next().unwrap_or_default();
    match text.char_indices().nth(NAME_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) fn transfer_name(status: &VertexStatus) -> String {
    let id = status.id.strip_prefix("sha256:").map(|hex| &hex[..hex.len().min(12)]);
    match (status.name.as_str(), id) {
        ("", None) => status.id.split(':').next().unwrap_or_default().to_owned(),
        ("", Some(id)) => id.to_owned(),
        (name, Some(id)) => format!("{name} {id}"),
        (name, None) => name.to_owned(),
    }
}

/// A line without colours, cursor movements and credentials.
pub(super) fn clean(line: &str) -> String {
    mask_urls(&crate::clean::one_line(line))
}
