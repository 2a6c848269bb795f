//! Captured builds replayed, and the builders' words, one by one.
#![allow(clippy::unwrap_used)]
use super::*;

/// As Docker 20.10 sent it: two stages, a cache mount, colours and a carriage return.
const CAPTURED: &str = include_str!("../../../tests/fixtures/buildkit-ok.jsonl");
const CAPTURED_FAILURE: &str = include_str!("../../../tests/fixtures/buildkit-step-fails.jsonl");

fn replay(text: &str) -> (Trace, Vec<String>) {
    let mut trace = Trace::default();
    let mut seen: Vec<String> = vec![];
    let mut last = Build::default();
    for (second, line) in text.lines().enumerate() {
        let info: serde_json::Value = serde_json::from_str(line).unwrap();
        let now = Duration::from_secs(second as u64);
        if let Some(message) = info["aux"].as_str() {
            trace.take(&StatusResponse::read(message).unwrap(), now);
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
