//! A line of input that is edited with keys. Our own: a refused text stays to be corrected, a line longer than the
//! terminal is wide stays one line, Esc goes back, Tab completes, and a hidden text is never shown.

use std::io;

use console::Key;

use super::{
    list::common,
    paste::Typed,
    prompt::{Line, Prompt, PromptInput},
};
use crate::{
    clean,
    present::style::{columns, wrap},
};

/// What is typed, and what is said below it until the next key.
pub(super) struct Field {
    typed: Vec<char>,
    at: usize,
    below: Below,
}

enum Below {
    Nothing,
    /// Why the text is not taken.
    Refused(String),
    /// How the text could go on.
    Candidates(Vec<String>),
}

impl Field {
    /// With this text, the cursor after it.
    pub fn new(text: &str) -> Self {
        let typed: Vec<char> = clean::one_line(text).chars().collect();
        Field { at: typed.len(), typed, below: Below::Nothing }
    }

    fn text(&self) -> String {
        self.typed.iter().collect()
    }

    fn press(&mut self, key: Key) {
        match key {
            Key::Backspace if self.at > 0 => {
                self.at -= 1;
                self.typed.remove(self.at);
            }
            Key::Del if self.at < self.typed.len() => {
                self.typed.remove(self.at);
            }
            Key::ArrowLeft => self.at = self.at.saturating_sub(1),
            Key::ArrowRight => self.at = (self.at + 1).min(self.typed.len()),
            Key::Home => self.at = 0,
            Key::End => self.at = self.typed.len(),
            // Ctrl-U and Ctrl-W, as in a shell.
            Key::Char('\u{15}') => {
                self.typed.drain(..self.at);
                self.at = 0;
            }
            Key::Char('\u{17}') => {
                let before = &self.typed[..self.at];
                let word = before.iter().rposition(|c| !c.is_whitespace()).unwrap_or(0);
                let start = before[..word].iter().rposition(|c| c.is_whitespace()).map_or(0, |space| space + 1);
                self.typed.drain(start..self.at);
                self.at = start;
            }
            Key::Char(c) if !c.is_control() => {
                self.typed.insert(self.at, c);
                self.at += 1;
            }
            _ => {}
        }
    }

    fn complete(&mut self, complete: &dyn Fn(&str) -> super::complete::Completed) {
        let before: String = self.typed[..self.at].iter().collect();
        let completed = complete(&before);
        let text: Vec<char> = completed.text.chars().collect();
        let at = text.len();
        self.typed.splice(..self.at, text);
        self.at = at;
        if completed.candidates.len() > 1 {
            self.below = Below::Candidates(completed.candidates);
        }
    }
}

impl Prompt {
    /// Edits a line until it is taken. What is on the screen is gone afterwards, unless the user quits.
    pub(super) fn edit<T>(
        &self,
        head: &str,
        line: &Line<'_>,
        field: &mut Field,
        check: &impl Fn(&str) -> Result<T, String>,
    ) -> io::Result<PromptInput<(String, T)>> {
        let size = self.term.size();
        loop {
            if self.term.size() != size {
                return Ok(PromptInput::Resized);
            }
            self.show_field(head, field, line.hidden)?;
            let typed = self.typed()?;
            field.below = Below::Nothing;
            let key = match typed {
                Typed::Key(key) => key,
                Typed::Pasted(text) => {
                    text.chars().for_each(|c| field.press(Key::Char(c)));
                    continue;
                }
            };
            match (&key, line.complete) {
                (Key::Enter, _) => {
                    let text = field.text();
                    let text = if line.hidden { text.as_str() } else { text.trim() };
                    match check(text) {
                        Ok(value) => {
                            self.term.write_str("\r\u{1b}[J")?;
                            return Ok(PromptInput::Answer((text.to_owned(), value)));
                        }
                        Err(reason) => field.below = Below::Refused(reason),
                    }
                    continue;
                }
                (Key::Tab, Some(complete)) => {
                    field.complete(complete);
                    continue;
                }
                _ => {}
            }
            match common(self, &key) {
                Some(PromptInput::Quit) => {
                    self.show_field(head, field, line.hidden)?;
                    return Ok(PromptInput::Quit);
                }
                Some(given) => {
                    self.term.write_str("\r\u{1b}[J")?;
                    return Ok(given);
                }
                None => field.press(key),
            }
        }
    }

    /// Draws the line and what is said below it, and leaves the cursor where the next key goes.
    fn show_field(&self, head: &str, field: &Field, hidden: bool) -> io::Result<()> {
        let width = self.width();
        let indent = columns(head);
        let room = width.saturating_sub(indent).max(1);
        let shown: Vec<char> = if hidden { vec!['*'; field.typed.len()] } else { field.typed.clone() };
        let (part, cursor) = visible(&shown, field.at, room);
        let below = self.below(&field.below, width);
        let mut screen = format!("\r\u{1b}[J{head}{}", part.iter().collect::<String>());
        for line in &below {
            screen.push_str("\n  ");
            screen.push_str(line);
        }
        self.term.write_str(&screen)?;
        if !below.is_empty() {
            self.term.move_cursor_up(below.len())?;
        }
        self.term.write_str("\r")?;
        self.term.move_cursor_right(indent + cursor)?;
        self.term.flush()
    }

    /// The lines below the field.
    fn below(&self, below: &Below, width: usize) -> Vec<String> {
        match below {
            Below::Nothing => vec![],
            Below::Refused(reason) => {
                wrap(reason, width.saturating_sub(4)).iter().map(|line| self.theme.refused(line)).collect()
            }
            Below::Candidates(names) => {
                // As many as leave the field on the screen.
                let room = usize::from(self.term.size().0).saturating_sub(6).clamp(1, 6);
                let names: Vec<String> = names.iter().map(|name| clean::one_line(name)).collect();
                let mut lines = wrap(&names.join("  "), width.saturating_sub(2));
                if lines.len() > room {
                    lines.truncate(room);
                    lines.push(if self.style().unicode { "…".to_owned() } else { "...".to_owned() });
                }
                lines.iter().map(|line| self.style().dim(&self.style().fit(line, width.saturating_sub(2)))).collect()
            }
        }
    }
}

/// The part of a line that is shown where it is longer than the room for it, with the cursor before character `at`; and the
/// columns before the cursor. It begins where the cursor still fits in.
fn visible(line: &[char], at: usize, room: usize) -> (&[char], usize) {
    let widths: Vec<usize> = line.iter().map(|c| columns(c.encode_utf8(&mut [0; 4]))).collect();
    let (mut start, mut before) = (0, widths[..at].iter().sum::<usize>());
    while start < at && before >= room {
        before -= widths[start];
        start += 1;
    }
    let (mut end, mut used) = (at, before);
    while end < line.len() && used + widths[end] <= room {
        used += widths[end];
        end += 1;
    }
    (&line[start..end], before)
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn a_long_line_is_shown_around_the_cursor() {
        let shown = |line: &str, at: usize, room: usize| {
            let line: Vec<char> = line.chars().collect();
            let (part, cursor) = visible(&line, at, room);
            (part.iter().collect::<String>(), cursor)
        };
        assert_eq!(shown("abc", 3, 10), ("abc".to_owned(), 3));
        assert_eq!(shown("abcdefgh", 8, 4), ("fgh".to_owned(), 3));
        assert_eq!(shown("abcdefgh", 0, 4), ("abcd".to_owned(), 0));
        assert_eq!(shown("abcdefgh", 5, 4), ("cdef".to_owned(), 3));
        assert_eq!(shown("日本語日本語", 6, 5), ("本語".to_owned(), 4), "two columns each");
    }

    #[test]
    fn a_very_long_line_is_shown_at_once() {
        let line = vec!['x'; 200_000];
        let begun = std::time::Instant::now();
        assert_eq!(visible(&line, line.len(), 60).1, 59);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
