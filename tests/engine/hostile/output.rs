//! What a command writes, byte for byte, and whether a terminal would obey any of it that is not docklet's own.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use expectrl::Session;
use expectrl::process::unix::WaitStatus;

/// Runs a command in a pseudo-terminal: its exit code, and every byte that it wrote. `Err` with the last of those when
/// it does not end in time; it is killed then.
pub fn on_a_terminal(command: Command, patience: Duration) -> Result<(i32, Vec<u8>), String> {
    let mut session = Session::spawn(command).expect("a pseudo-terminal");
    session.get_process_mut().set_window_size(160, 50).expect("a window size");
    let mut from = File::from(session.get_stream().as_fd().try_clone_to_owned().expect("the terminal's other side"));
    let (to, chunks) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        loop {
            match from.read(&mut buffer) {
                Ok(count @ 1..) if to.send(buffer[..count].to_vec()).is_ok() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A pseudo-terminal whose other side has gone ends with an error.
                _ => break,
            }
        }
    });
    let end = Instant::now() + patience;
    let mut bytes = Vec::new();
    loop {
        match chunks.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(chunk) => bytes.extend(chunk),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let _ = session.get_process_mut().exit(true);
                return Err(last(&bytes));
            }
        }
    }
    match session.get_process().wait().expect("its end") {
        WaitStatus::Exited(_, code) => Ok((code, bytes)),
        other => Err(format!("{other:?}: {}", last(&bytes))),
    }
}

/// The end of what a command wrote, for a message.
pub fn last(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(1500)..]).into_owned();
    text.escape_debug().to_string().replace("\\n", "\n")
}

/// What a terminal would obey. docklet's own progress moves the cursor by lines, hides it and sets colours; the agent's
/// sequences are others (see the fixture).
pub fn unclean(bytes: &[u8], terminal: bool) -> Vec<&'static str> {
    let Ok(text) = std::str::from_utf8(bytes) else { return vec!["bytes that are no text"] };
    let mut found = Vec::new();
    let mut find = |holds: bool, what| {
        if holds {
            found.push(what);
        }
    };
    find(text.chars().any(|c| matches!(c, '\u{0}' | '\u{7}' | '\u{8}' | '\u{7f}'..='\u{9f}')), "control characters");
    find(text.contains(['\u{202e}', '\u{2066}', '\u{2067}', '\u{2028}']), "characters that turn text around");
    find(text.lines().any(|line| line.trim_end_matches('\r').contains("\rHOSTILE")), "a line that overwrites itself");
    if !terminal {
        find(text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "control characters into a pipe");
        return found;
    }
    for sequence in text.split('\u{1b}').skip(1) {
        let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        let own = sequence.starts_with('[')
            && match &sequence[end..=end] {
                "m" | "K" | "J" => true,
                "A" | "B" | "C" | "D" | "G" => sequence[1..end].len() < 4,
                "h" | "l" => matches!(&sequence[1..end], "?25" | "?2004" | "?2026" | "?7"),
                _ => false,
            };
        find(!own, "a control sequence that is not docklet's");
    }
    found.dedup();
    found
}

#[test]
fn what_the_agent_writes_is_seen() {
    let own = "\u{1b}[2K\u{1b}[36m⠋\u{1b}[0m waiting\r\u{1b}[1A\u{1b}[?25l✓ done\r\n";
    assert_eq!(unclean(own.as_bytes(), true), Vec::<&str>::new());
    assert_eq!(unclean(b"plain\ttext\n", false), Vec::<&str>::new());
    for evil in
        ["\u{1b}]0;T\u{7}", "\u{1b}[7;7H", "\u{1b}[?1049h", "\u{9b}2J", "\0", "good\rHOSTILE", "\u{1b}c", "\u{202e}"]
    {
        assert_ne!(unclean(evil.as_bytes(), true), Vec::<&str>::new(), "{evil:?}");
    }
    assert_ne!(unclean(b"\x1b[31mred", false), Vec::<&str>::new());
    assert_ne!(unclean(b"\xff", true), Vec::<&str>::new());
}
