//! What a builder reports while it works → [`Build`] and log lines. Pure: messages and the time go
//! in, nothing is read or written. Understands BuildKit's trace and the plain `STEP n/m` lines of
//! Podman and of the old builder.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bollard::moby::buildkit::v1::{StatusResponse, Vertex, VertexStatus};

use super::fault::mask_urls;
use crate::event::Build;

/// Longest step name that is shown, in characters.
const NAME_LENGTH: usize = 100;

/// Longest line that is kept without its end; a program that never ends a line must not fill the
/// memory.
const LINE_LENGTH: usize = 64 * 1024;

/// Everything known of a build so far.
#[derive(Debug, Default)]
pub(super) struct Trace {
    steps: Vec<Step>,
    /// BuildKit's digest → index of the step.
    by_digest: HashMap<String, usize>,
    /// Steps of each stage, from the «2/5» of its steps' names.
    stages: BTreeMap<String, usize>,
    /// What was reported as done last, so that the next never falls behind it.
    last_done: usize,
    transfers: Vec<Moving>,
    /// Unfinished lines, by the step that prints them.
    partial: HashMap<String, Vec<u8>>,
    /// Lines that wait to be taken: the name of their step, and the line.
    lines: Vec<(String, String)>,
    /// The step that failed, and what BuildKit says of it.
    failed: Option<(String, String)>,
}

#[derive(Debug)]
struct Step {
    name: String,
    /// Stage and position in it, where BuildKit says so.
    position: Option<(String, usize)>,
    /// When it began, counted from the begin of the build.
    started: Option<Duration>,
    done: bool,
}

#[derive(Debug)]
struct Moving {
    id: String,
    name: String,
    done: u64,
    total: u64,
    complete: bool,
}

impl Trace {
    /// Takes note of a message of BuildKit. `now` is counted from the begin of the build.
    pub(super) fn take(&mut self, message: &StatusResponse, now: Duration) {
        for vertex in &message.vertexes {
            self.take_vertex(vertex, now);
        }
        for status in &message.statuses {
            self.take_status(status);
        }
        for log in &message.logs {
            self.take_output(&log.vertex, &log.msg);
        }
    }

    fn take_vertex(&mut self, vertex: &Vertex, now: Duration) {
        if !vertex.error.is_empty() && !vertex.error.contains("context canceled") {
            self.failed = Some((step_name(&vertex.name).unwrap_or_else(|| vertex.name.clone()), vertex.error.clone()));
        }
        let Some(name) = step_name(&vertex.name) else { return };
        let index = match self.by_digest.get(&vertex.digest) {
            Some(index) => *index,
            None => {
                let position = position(&vertex.name);
                if let Some((stage, _, count)) = &position {
                    self.stages.insert(stage.clone(), *count);
                }
                self.steps.push(Step {
                    name,
                    position: position.map(|(stage, number, _)| (stage, number)),
                    started: None,
                    done: false,
                });
                self.by_digest.insert(vertex.digest.clone(), self.steps.len() - 1);
                self.steps.len() - 1
            }
        };
        let step = &mut self.steps[index];
        if vertex.started.is_some() && step.started.is_none() {
            step.started = Some(now);
        }
        step.done = vertex.completed.is_some() && vertex.error.is_empty();
        if vertex.completed.is_some() {
            self.end_line(&vertex.digest);
        }
    }

    fn take_status(&mut self, status: &VertexStatus) {
        let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
        let (done, total) = (bytes(status.current), bytes(status.total));
        if done == 0 && total == 0 {
            return;
        }
        let index = self.transfers.iter().position(|t| t.id == status.id).unwrap_or_else(|| {
            self.transfers.push(Moving {
                id: status.id.clone(),
                name: String::new(),
                done: 0,
                total: 0,
                complete: false,
            });
            self.transfers.len() - 1
        });
        let moving = &mut self.transfers[index];
        let name = transfer_name(status);
        if moving.name != name {
            // The same layer in another phase counts anew.
            *moving = Moving { id: status.id.clone(), name, done: 0, total: 0, complete: false };
        }
        moving.done = moving.done.max(done);
        moving.total = moving.total.max(total);
        moving.complete |= status.completed.is_some();
    }

    /// Takes output of a step; `step` is BuildKit's digest of it, or empty.
    fn take_output(&mut self, step: &str, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let text = piece.strip_suffix(b"\n").or_else(|| piece.strip_suffix(b"\r")).unwrap_or(piece);
            let line = self.partial.entry(step.to_owned()).or_default();
            line.extend_from_slice(text);
            if text.len() < piece.len() || line.len() >= LINE_LENGTH {
                self.end_line(step);
            }
        }
    }

    fn end_line(&mut self, step: &str) {
        let Some(bytes) = self.partial.remove(step) else { return };
        let line = clean(&String::from_utf8_lossy(&bytes));
        if !line.is_empty() {
            let name = self.by_digest.get(step).map(|i| self.steps[*i].name.clone()).unwrap_or_default();
            self.lines.push((name, line));
        }
    }

    /// Takes the text of a builder without a trace. `now` is counted from the begin of the build.
    pub(super) fn take_text(&mut self, text: &str, now: Duration) {
        let before = self.lines.len();
        self.take_output("", text.as_bytes());
        for index in before..self.lines.len() {
            if let Some((number, count, name)) = plain_step(&self.lines[index].1) {
                self.begin_plain_step(number, count, &name, now);
            }
            self.lines[index].0 = self.steps.last().map(|s| s.name.clone()).unwrap_or_default();
        }
    }

    fn begin_plain_step(&mut self, number: usize, count: usize, name: &str, now: Duration) {
        // Podman counts each stage from 1, the old builder all of them in one row.
        let stage = match self.steps.last().and_then(|s| s.position.as_ref()) {
            Some((stage, last)) if number > *last && self.stages.get(stage) == Some(&count) => stage.clone(),
            Some(_) => format!("{}", self.stages.len()),
            None => "0".to_owned(),
        };
        for step in &mut self.steps {
            step.done = true;
        }
        self.stages.insert(stage.clone(), count);
        let name = shorten(name);
        self.steps.push(Step { name, position: Some((stage, number)), started: Some(now), done: false });
    }

    /// Says that the build is over and well.
    pub(super) fn finish(&mut self) {
        self.steps.iter_mut().for_each(|s| s.done = true);
        self.transfers.clear();
        // Some steps are never reported: a stage's first that another stage shares, or one that
        // another build on the same engine runs under its own name.
        self.last_done = self.stages.values().sum::<usize>() + self.steps.len();
        self.end_all_lines();
    }

    /// Ends lines that their programs did not end.
    pub(super) fn end_all_lines(&mut self) {
        let open: Vec<String> = self.partial.keys().cloned().collect();
        open.iter().for_each(|step| self.end_line(step));
    }

    /// The lines since the last call: step's name and line.
    pub(super) fn take_lines(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.lines)
    }

    /// The step that failed, and what BuildKit says of it.
    pub(super) fn failed(&self) -> Option<(&str, &str)> {
        self.failed.as_ref().map(|(name, error)| (name.as_str(), error.as_str()))
    }

    /// The step that runs, for builders that do not say which one failed.
    pub(super) fn running(&self) -> Option<&str> {
        self.running_step().map(|s| s.name.as_str())
    }

    fn running_step(&self) -> Option<&Step> {
        self.steps.iter().rev().filter(|s| !s.done).filter(|s| s.started.is_some()).max_by_key(|s| s.started)
    }

    /// Where it stands.
    pub(super) fn build(&mut self, now: Duration) -> Build {
        // The steps of a stage run in order, so one that is done has all before it done, also those
        // that are never reported because another stage has the same.
        let mut by_stage: BTreeMap<&str, usize> = BTreeMap::new();
        let mut done = 0;
        let mut alone = 0;
        for step in &self.steps {
            match &step.position {
                Some((stage, number)) if step.done => {
                    let most = by_stage.entry(stage).or_default();
                    *most = (*most).max(*number);
                }
                Some(_) => {}
                None => {
                    alone += 1;
                    done += usize::from(step.done);
                }
            }
        }
        done += by_stage.values().sum::<usize>();
        let total = self.stages.values().sum::<usize>() + alone;
        done = done.max(self.last_done).min(total);
        self.last_done = done;
        let running = self.running_step();
        Build {
            done,
            total,
            running: running.map(|s| s.name.clone()),
            number: (done + 1).min(total),
            elapsed: running.and_then(|s| s.started).map(|s| now.saturating_sub(s)).unwrap_or_default(),
            transfers: self
                .transfers
                .iter()
                .filter(|t| !t.complete && (t.total == 0 || t.done < t.total))
                .map(|t| (t.name.clone(), t.done, t.total))
                .collect(),
        }
    }
}

/// The name for people of one of BuildKit's vertexes; `None` for its internal ones.
fn step_name(vertex: &str) -> Option<String> {
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

/// From «[tool 2/5] RUN …»: the stage, 2 and 5.
fn position(vertex: &str) -> Option<(String, usize, usize)> {
    let (bracket, _) = vertex.strip_prefix('[')?.split_once("] ")?;
    let (stage, count) = bracket.rsplit_once(' ').unwrap_or(("", bracket));
    let (number, total) = count.split_once('/')?;
    let (number, total) = (number.trim().parse().ok()?, total.trim().parse().ok()?);
    (number >= 1 && number <= total).then(|| (stage.trim().to_owned(), number, total))
}

/// From Podman's «[1/2] STEP 2/5: RUN …», «STEP 2/5: …» or the old builder's «Step 2/5 : …».
fn plain_step(line: &str) -> Option<(usize, usize, String)> {
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
fn shorten(instruction: &str) -> String {
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

fn transfer_name(status: &VertexStatus) -> String {
    let id = status.id.strip_prefix("sha256:").map(|hex| &hex[..hex.len().min(12)]);
    match (status.name.as_str(), id) {
        ("", None) => status.id.split(':').next().unwrap_or_default().to_owned(),
        ("", Some(id)) => id.to_owned(),
        (name, Some(id)) => format!("{name} {id}"),
        (name, None) => name.to_owned(),
    }
}

/// A line without colours, cursor movements and credentials.
fn clean(line: &str) -> String {
    let plain = console::strip_ansi_codes(line);
    let visible: String = plain.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect();
    mask_urls(visible.trim_end())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bollard::models::{BuildInfo, BuildInfoAux};

    use super::*;

    /// As Docker 20.10 sent it: two stages, a cache mount, colours and a carriage return.
    const CAPTURED: &str = include_str!("../../tests/fixtures/buildkit-ok.jsonl");
    const CAPTURED_FAILURE: &str = include_str!("../../tests/fixtures/buildkit-step-fails.jsonl");

    fn replay(text: &str) -> (Trace, Vec<String>) {
        let mut trace = Trace::default();
        let mut seen: Vec<String> = vec![];
        let mut last = Build::default();
        for (second, line) in text.lines().enumerate() {
            let info: BuildInfo = serde_json::from_str(line).unwrap();
            let now = Duration::from_secs(second as u64);
            if let Some(BuildInfoAux::BuildKit(message)) = &info.aux {
                trace.take(message, now);
            }
            seen.extend(trace.take_lines().iter().map(|(step, line)| format!("{step} | {line}")));
            let build = trace.build(now);
            assert!(build.done >= last.done, "{last:?} {build:?}");
            assert!(build.done <= build.total, "{build:?}");
            let shown = format!("{}/{} {:?}", build.done, build.total, build.running.as_deref().unwrap_or("-"));
            if seen.last() != Some(&shown) {
                seen.push(shown);
            }
            last = build;
        }
        (trace, seen)
    }

    #[test]
    fn a_real_build_is_followed() {
        let (mut trace, seen) = replay(CAPTURED);
        insta::assert_snapshot!(seen.join("\n"), @r#"
        0/0 "-"
        0/5 "-"
        1/5 "-"
        1/5 "tool: RUN printf 'one\\rtwo\\nd\\033[31mred\\033[0m\\n'; sleep 1; echo over http://***@proxy:3128"
        1/5 "RUN echo side by side"
        RUN echo side by side | side by side
        1/5 "RUN echo side by side"
        2/5 "tool: RUN printf 'one\\rtwo\\nd\\033[31mred\\033[0m\\n'; sleep 1; echo over http://***@proxy:3128"
        tool: RUN printf 'one\rtwo\nd\033[31mred\033[0m\n'; sleep 1; echo over http://***@proxy:3128 | one
        tool: RUN printf 'one\rtwo\nd\033[31mred\033[0m\n'; sleep 1; echo over http://***@proxy:3128 | two
        tool: RUN printf 'one\rtwo\nd\033[31mred\033[0m\n'; sleep 1; echo over http://***@proxy:3128 | dred
        2/5 "tool: RUN printf 'one\\rtwo\\nd\\033[31mred\\033[0m\\n'; sleep 1; echo over http://***@proxy:3128"
        tool: RUN printf 'one\rtwo\nd\033[31mred\033[0m\n'; sleep 1; echo over http://***@proxy:3128 | over http://***@proxy:3128
        2/5 "tool: RUN printf 'one\\rtwo\\nd\\033[31mred\\033[0m\\n'; sleep 1; echo over http://***@proxy:3128"
        4/5 "-"
        4/5 "COPY --from=tool /etc/hostname /x"
        5/5 "-"
        5/6 "write the image"
        6/6 "-"
        "#);
        trace.finish();
        let build = trace.build(Duration::ZERO);
        assert_eq!((build.done, build.running), (build.total, None));
    }

    #[test]
    fn a_finished_build_is_complete_although_a_step_was_never_reported() {
        let mut trace = Trace::default();
        let vertex = Vertex { digest: "a".into(), name: "[stage-1 1/9] RUN true".into(), ..Vertex::default() };
        trace.take(&StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() }, Duration::ZERO);
        assert_eq!(trace.build(Duration::ZERO).done, 0);
        trace.finish();
        let build = trace.build(Duration::ZERO);
        assert_eq!((build.done, build.total), (9, 9));
    }

    #[test]
    fn an_instruction_can_say_what_it_does() {
        let vertex = r#"[fetch 2/5] RUN --mount=type=cache,target=/x     : "get npm"     && rm -f /y"#;
        assert_eq!(step_name(vertex).unwrap(), "get npm");
        assert_eq!(plain_step(r#"STEP 3/9: RUN : "get npm" && rm -f /y"#).unwrap().2, "get npm");
        assert_eq!(step_name("[fetch 2/5] RUN true").unwrap(), "fetch: RUN true");
    }

    #[test]
    fn a_real_failure_names_its_step() {
        let (trace, seen) = replay(CAPTURED_FAILURE);
        let (name, error) = trace.failed().unwrap();
        assert_eq!(name, "RUN echo broken; exit 3");
        assert!(error.contains("exit code: 3"), "{error}");
        assert!(seen.iter().any(|l| l == "RUN echo broken; exit 3 | broken"), "{seen:?}");
    }

    #[test]
    fn podman_and_the_old_builder_are_followed_by_their_lines() {
        let follow = |text: &str| {
            let mut trace = Trace::default();
            let mut seen = vec![];
            for line in text.split_inclusive('\n') {
                trace.take_text(line, Duration::ZERO);
                let build = trace.build(Duration::ZERO);
                seen.push(format!("{}/{} {}", build.done, build.total, build.running.unwrap_or_default()));
                assert_eq!(trace.take_lines().len(), usize::from(!line.trim().is_empty()));
            }
            trace.finish();
            let build = trace.build(Duration::ZERO);
            seen.push(format!("{}/{}", build.done, build.total));
            seen.join("\n")
        };
        let podman = "[1/2] STEP 1/2: FROM debian AS tool\n[1/2] STEP 2/2: RUN echo hi\nhi\n--> 0a1b\n[2/2] STEP 1/2: FROM debian\n[2/2] STEP 2/2: COPY --from=tool /x /x\n";
        insta::assert_snapshot!(follow(podman), @r#"
        0/2 FROM debian AS tool
        1/2 RUN echo hi
        1/2 RUN echo hi
        1/2 RUN echo hi
        2/4 FROM debian
        3/4 COPY --from=tool /x /x
        4/4
        "#);
        let old = "Step 1/2 : FROM scratch\n\n ---> \nStep 2/2 : COPY f /\n";
        insta::assert_snapshot!(follow(old), @r#"
        0/2 FROM scratch
        0/2 FROM scratch
        0/2 FROM scratch
        1/2 COPY f /
        2/2
        "#);
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut trace = Trace::default();
        let mut take = |bytes: &[u8]| {
            trace.take_output("", bytes);
            trace.take_lines().into_iter().map(|(_, line)| line).collect::<Vec<_>>()
        };
        assert_eq!(take(b"one\r\ntwo"), ["one"]);
        assert_eq!(take(b"-three\rf\xc3"), ["two-three"]);
        assert_eq!(take(b"\xbcnf\n\n"), ["f\u{fc}nf"], "a letter in two pieces stays whole");
        assert_eq!(take(&vec![b'x'; LINE_LENGTH]).len(), 1, "an endless line is cut");
    }

    #[test]
    fn transfers_only_grow_until_their_next_phase() {
        let mut trace = Trace::default();
        let mut at = |name: &str, current, total| {
            let id = "sha256:0123456789abcdef".to_owned();
            let status = VertexStatus { id, name: name.to_owned(), current, total, ..Default::default() };
            trace.take(&StatusResponse { statuses: vec![status], ..Default::default() }, Duration::ZERO);
            trace.build(Duration::ZERO).transfers
        };
        assert_eq!(at("downloading", 50, 100), [("downloading 0123456789ab".to_owned(), 50, 100)]);
        assert_eq!(at("downloading", 20, 100), [("downloading 0123456789ab".to_owned(), 50, 100)]);
        assert_eq!(at("extracting", 10, 200), [("extracting 0123456789ab".to_owned(), 10, 200)]);
        assert_eq!(at("extracting", 200, 200), []);
        assert_eq!(at("done", -1, -1), []);
    }

    #[test]
    fn names_of_steps_are_for_people() {
        let long = format!("[2/3] RUN {}", "x".repeat(200));
        let names: Vec<_> = [
            "[internal] load metadata for docker.io/library/debian:trixie-slim",
            "[auth] library/debian:pull token for registry-1.docker.io",
            "copy /context /",
            "[tool 1/3] FROM docker.io/library/debian:trixie-slim@sha256:00ff",
            "[linux/amd64 2/3] RUN  --mount=type=cache,target=/c   npm ci",
            "[linux/arm64 tool 2/3] RUN true",
            "[stage-1 3/3] COPY --from=tool /x /x",
            "exporting to image",
            &long,
        ]
        .iter()
        .map(|v| step_name(v).unwrap_or_else(|| "-".to_owned()))
        .collect();
        insta::assert_snapshot!(names.join("\n"), @r#"
        -
        -
        -
        tool: FROM debian:trixie-slim
        RUN npm ci
        tool: RUN true
        COPY --from=tool /x /x
        write the image
        RUN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        "#);
    }
}
