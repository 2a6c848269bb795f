//! Colours, marks and cutting of text. Each colour has one meaning; nothing relies on colour, and
//! everything has a form for terminals that show ASCII only. Pure: what the terminal can do is
//! handed in.

use std::time::Duration;

use console::Style as Ansi;

use crate::units::Elapsed;

/// What may be used on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Colours.
    pub color: bool,
    /// Characters beyond ASCII.
    pub unicode: bool,
}

impl Style {
    /// Neither colours nor characters beyond ASCII.
    pub const PLAIN: Style = Style { color: false, unicode: false };

    fn paint(self, ansi: Ansi, text: &str) -> String {
        if self.color { ansi.force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }

    /// Something failed: red and bold.
    pub fn error(self, text: &str) -> String {
        self.paint(Ansi::new().red().bold(), text)
    }

    /// Something to see to: yellow.
    pub fn warning(self, text: &str) -> String {
        self.paint(Ansi::new().yellow(), text)
    }

    /// The next step: cyan.
    pub fn hint(self, text: &str) -> String {
        self.paint(Ansi::new().cyan(), text)
    }

    /// Something is as it should be: green.
    pub fn ok(self, text: &str) -> String {
        self.paint(Ansi::new().green(), text)
    }

    /// Less important: dimmed.
    pub fn dim(self, text: &str) -> String {
        self.paint(Ansi::new().dim(), text)
    }

    /// What the eye looks for first: bold.
    pub fn strong(self, text: &str) -> String {
        self.paint(Ansi::new().bold(), text)
    }

    /// The mark of something done.
    pub fn check(self) -> String {
        self.ok(if self.unicode { "✓" } else { "ok" })
    }

    /// The mark of something that did not get done.
    pub fn cross(self) -> String {
        self.error(if self.unicode { "✗" } else { "x" })
    }

    /// Cuts a line to `width` columns, saying so with an ellipsis.
    pub fn fit(self, line: &str, width: usize) -> String {
        let tail = if self.unicode { "…" } else { "..." };
        // Where there is no room for the ellipsis, none.
        let tail = if width <= 3 { "" } else { tail };
        console::truncate_str(line, width, tail).into_owned()
    }

    /// A bar of `width` columns, filled by `fraction` (0 to 1).
    pub fn bar(self, fraction: f64, width: usize) -> String {
        let filled = ((fraction.clamp(0.0, 1.0) * width as f64) as usize).min(width);
        let (full, empty) = if self.unicode { ("━", "─") } else { ("#", "-") };
        format!("{}{}", self.hint(&full.repeat(filled)), self.dim(&empty.repeat(width - filled)))
    }

    /// One picture of a turning wheel.
    pub fn spinner(self, elapsed: Duration) -> &'static str {
        const DOTS: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
        const STROKES: [&str; 4] = ["|", "/", "-", "\\"];
        let turn = usize::try_from(elapsed.as_millis() / 100).unwrap_or_default();
        if self.unicode { DOTS[turn % DOTS.len()] } else { STROKES[turn % STROKES.len()] }
    }
}

/// Columns that a text takes on a terminal.
pub fn columns(text: &str) -> usize {
    console::measure_text_width(text)
}

/// Breaks a text between words into lines of at most `width` columns; a longer word stays whole.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Breaks the lines of a text between words where a terminal of `width` columns would break them anywhere. What goes on
/// is indented below the text of its line. A command stays whole, so that it can be pasted.
pub fn fold(text: &str, width: usize) -> String {
    let folded: Vec<String> = text.split('\n').map(|line| fold_line(line, width)).collect();
    folded.join("\n")
}

fn fold_line(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let indent = indent_of(&console::strip_ansi_codes(line)).min(width / 2);
    let (mut folded, mut column) = (String::new(), 0);
    for (index, word) in units(line).into_iter().enumerate() {
        let room = columns(word);
        if column > indent && column + 1 + room > width {
            folded.push_str(&format!("\n{}{word}", " ".repeat(indent)));
            column = indent + room;
        } else {
            folded.push_str(if index > 0 { " " } else { "" });
            folded.push_str(word);
            column += usize::from(index > 0) + room;
        }
    }
    folded
}

/// The words of a line; from a command that ends it, one.
fn units(line: &str) -> Vec<&str> {
    let is_command = |at: usize| {
        let rest = &line[at..];
        let begins = at == 0 || line[..at].ends_with(": ") || line[..at].trim().is_empty();
        begins && ["docklet ", "docker ", "sudo "].iter().any(|program| rest.starts_with(program))
    };
    let command = line.match_indices(' ').map(|(at, _)| at + 1).chain([0]).filter(|at| is_command(*at)).min();
    match command {
        Some(0) => vec![line],
        Some(at) => line[..at - 1].split(' ').chain([&line[at..]]).collect(),
        None => line.split(' ').collect(),
    }
}

/// The column below which a line goes on: that of a row's value, of a step's text, or of what follows a word such as
/// `hint:`; else two further than it begins.
fn indent_of(line: &str) -> usize {
    let lead = line.len() - line.trim_start().len();
    let text = &line[lead..];
    let after = |mark: &str| text.find(mark).map(|at| columns(&line[..lead + at]) + mark.len());
    if let Some(at) = text.find("  ").filter(|at| *at <= 12) {
        let gap = text[at..].len() - text[at..].trim_start().len();
        return columns(&line[..lead + at]) + gap;
    }
    match text.split(' ').next().unwrap_or_default() {
        "hint:" | "next:" => after(" ").unwrap_or_default(),
        first if first.ends_with('.') && first.starts_with(|c: char| c.is_ascii_digit()) => {
            after(" ").unwrap_or_default()
        }
        _ => lead + 2,
    }
}

/// A running time: whole seconds, so that it does not flicker.
pub fn ticking(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => Elapsed(Duration::from_secs(seconds)).to_string(),
    }
}

/// Whether these values of `LC_ALL`, `LC_CTYPE` and `LANG` name a locale that shows UTF-8. The
/// first that is set and not empty decides; with none, ASCII.
pub fn locale_is_utf8(lc_all: Option<&str>, lc_ctype: Option<&str>, lang: Option<&str>) -> bool {
    let locale = [lc_all, lc_ctype, lang].into_iter().flatten().find(|value| !value.is_empty()).unwrap_or("");
    let upper = locale.to_ascii_uppercase();
    upper.ends_with("UTF-8") || upper.ends_with("UTF8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_by_columns() {
        let unicode = Style { color: false, unicode: true };
        assert_eq!(unicode.fit("abcdefgh", 5), "abcd…");
        assert_eq!(Style::PLAIN.fit("abcdefgh", 5), "ab...");
        assert_eq!(Style::PLAIN.fit("abc", 5), "abc");
        assert!(columns(&unicode.fit("日本語日本語", 6)) <= 6);
    }

    #[test]
    fn long_lines_break_between_words_and_commands_stay_whole() {
        let text = "error: cannot write into the folder of the backups\n  caused by: the disk is full\n\n\
                    hint: free some space on that disk: docklet --instance work backup prune --keep 3\n\
                    \x20 network    the Internet, but not this machine or its network\n\
                    \x20 1. create container opencode-cloud (settings changed: port)\n\
                    docklet --instance work backup prune --keep 3";
        insta::assert_snapshot!(fold(text, 40), @r"
        error: cannot write into the folder of
          the backups
          caused by: the disk is full

        hint: free some space on that disk:
              docklet --instance work backup prune --keep 3
          network    the Internet, but not this
                     machine or its network
          1. create container opencode-cloud
             (settings changed: port)
        docklet --instance work backup prune --keep 3
        ");
        assert_eq!(fold(text, 200), text);
        let colored = "\u{1b}[31mred red red\u{1b}[0m and so on";
        assert_eq!(fold(colored, 12), "\u{1b}[31mred red red\u{1b}[0m\n  and so on");
    }

    #[test]
    fn the_first_locale_that_is_set_decides() {
        assert!(locale_is_utf8(None, None, Some("en_US.UTF-8")));
        assert!(locale_is_utf8(Some(""), Some("C.utf8"), Some("C")));
        assert!(!locale_is_utf8(Some("C"), None, Some("en_US.UTF-8")));
        assert!(!locale_is_utf8(None, None, None));
    }
}
