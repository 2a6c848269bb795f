//! Text that did not come from docklet, on its way to a terminal: log lines, names in volumes and archives, messages of
//! the engine, HTTP answers. It must not move the cursor, set the title, write to the clipboard or hide other text.
//! `present` passes everything through here before it writes, so no command has to remember it. Pure.

use std::iter::Peekable;

/// Ends what a line has coloured.
const RESET: &str = "\u{1b}[0m";

/// Text of several lines, each as [`line`] leaves it.
pub fn text(text: &str, color: bool) -> String {
    text.split('\n').map(|part| line(part, color)).collect::<Vec<_>>().join("\n")
}

/// One line without colours, whose characters have a known width: line breaks and tabs become spaces.
pub fn one_line(text: &str) -> String {
    line(&text.replace(['\n', '\t'], " "), false).trim_end().to_owned()
}

/// A line without control sequences and control characters, but for tabs and, with `color`, colours (SGR), which
/// end with the line.
pub fn line(text: &str, color: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut colored = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let introducer = match (c, chars.peek()) {
            ('\u{1b}', Some('[')) => {
                chars.next();
                Sequence::Parameters
            }
            ('\u{9b}', _) => Sequence::Parameters,
            ('\u{1b}', Some(']' | 'P' | 'X' | '^' | '_')) => {
                chars.next();
                Sequence::Text
            }
            ('\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}', _) => Sequence::Text,
            ('\u{1b}', _) => Sequence::Short,
            ('\t', _) => {
                clean.push(c);
                continue;
            }
            _ if c.is_control() || is_reordering(c) => continue,
            _ => {
                clean.push(c);
                continue;
            }
        };
        match introducer {
            Sequence::Parameters => {
                if let Some(parameters) = parameters(&mut chars)
                    && color
                {
                    colored = !matches!(parameters.as_str(), "" | "0");
                    clean.push_str(&format!("\u{1b}[{parameters}m"));
                }
            }
            Sequence::Text => skip_text(&mut chars),
            Sequence::Short => skip_short(&mut chars),
        }
    }
    if colored {
        clean.push_str(RESET);
    }
    clean
}

/// What follows an introducer of a control sequence.
enum Sequence {
    /// Parameters and one letter.
    Parameters,
    /// A text, such as a title, up to its terminator.
    Text,
    /// A character or two.
    Short,
}

/// Reads a control sequence to its end; the parameters if it sets colours.
fn parameters(chars: &mut Peekable<impl Iterator<Item = char>>) -> Option<String> {
    let mut parameters = String::new();
    loop {
        // Anything else breaks it off, as in a terminal, and begins something of its own.
        let c = chars.next_if(|c| matches!(c, '\u{20}'..='\u{7e}'))?;
        match c {
            '\u{40}'..='\u{7e}' => {
                let plain = parameters.chars().all(|c| matches!(c, '0'..='9' | ';' | ':'));
                return (c == 'm' && plain).then_some(parameters);
            }
            _ => parameters.push(c),
        }
    }
}

/// Skips a text up to its terminator: BEL, ST, or ESC and a backslash.
fn skip_text(chars: &mut Peekable<impl Iterator<Item = char>>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if(|c| *c == '\\');
                return;
            }
            _ => {}
        }
    }
}

/// Skips what follows a lone ESC: intermediates and one final character.
fn skip_short(chars: &mut Peekable<impl Iterator<Item = char>>) {
    while chars.next_if(|c| matches!(c, '\u{20}'..='\u{2f}')).is_some() {}
    chars.next_if(|c| matches!(c, '\u{30}'..='\u{7e}'));
}

/// Characters that make a terminal show others in another order.
fn is_reordering(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_stay_where_they_are_wanted_and_end_with_the_line() {
        let red = "\u{1b}[1;31mred\u{1b}[0m plain";
        assert_eq!(line(red, true), red);
        assert_eq!(line(red, false), "red plain");
        assert_eq!(line("\u{1b}[38:2::1:2:3mdeep", true), "\u{1b}[38:2::1:2:3mdeep\u{1b}[0m");
        assert_eq!(line("a\tb", false), "a\tb");
    }

    #[test]
    fn nothing_else_that_a_terminal_obeys_gets_through() {
        for (evil, left) in [
            ("\u{1b}[2Jcleared", "cleared"),
            ("\u{1b}[1;1Hmoved", "moved"),
            ("\u{1b}[?1049hother screen", "other screen"),
            ("\u{1b}[>4;1mkeys", "keys"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://evil/\u{1b}\\link", "link"),
            ("\u{1b}]52;c;ZXZpbA==\u{9c}clipboard", "clipboard"),
            ("\u{1b}Pq#0\u{1b}\\picture", "picture"),
            ("\u{1b}cwhole reset", "whole reset"),
            ("\u{1b}(0line drawing", "line drawing"),
            ("\u{9b}2Jeight bits", "eight bits"),
            ("\u{9d}0;title\u{7}text", "text"),
            ("over\rwritten\u{8}\u{7f}\u{7}", "overwritten"),
            ("\u{1b}[31\u{1b}]0;t\u{7}cut", "cut"),
            ("\u{1b}]0;never ends", ""),
            ("\u{202e}drawkcab", "drawkcab"),
            ("\u{1b}\u{202e}]0;T\u{7}", "]0;T"),
            ("\u{1b}[3\u{202e}1mred", "1mred"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
        ] {
            assert_eq!(line(evil, true), left, "{evil:?}");
            assert_eq!(line(evil, false), left, "{evil:?}");
        }
    }

    #[test]
    fn removing_one_sequence_puts_no_other_together() {
        let nested = "\u{1b}\u{1b}[31m]0;T\u{7}";
        assert_eq!(line(nested, false), "]0;T");
        assert_eq!(line(nested, true), "\u{1b}[31m]0;T\u{1b}[0m");
        assert_eq!(text("a\r\nb\u{1b}[2J\n", false), "a\nb\n");
        assert_eq!(one_line("a\n\tb\u{1b}[1mc \n"), "a  bc");
    }

    proptest! {
        #[test]
        fn whatever_is_logged_a_terminal_obeys_only_colours(
            text in proptest::collection::vec(prop_oneof![
                Just('\u{1b}'), Just('['), Just(']'), Just('m'), Just('\u{9b}'), Just('\u{7}'), Just('3'), any::<char>()
            ], 0..40)
        ) {
            let text: String = text.into_iter().collect();
            let plain = line(&text, false);
            prop_assert!(!plain.chars().any(|c| c.is_control() && c != '\t'), "{:?}", plain);
            prop_assert_eq!(&line(&plain, false), &plain);
            prop_assert!(!plain.chars().any(is_reordering), "{:?}", plain);
            let short = one_line(&text);
            prop_assert_eq!(&one_line(&short), &short);
            prop_assert!(!short.chars().any(char::is_control), "{:?}", short);
            let colored = line(&text, true);
            prop_assert_eq!(&line(&colored, true), &colored);
            for sequence in colored.split('\u{1b}').skip(1) {
                let rest = sequence.trim_start_matches('[').trim_start_matches(|c: char| matches!(c, '0'..='9' | ';' | ':'));
                prop_assert!(sequence.starts_with('[') && rest.starts_with('m'), "{:?}", colored);
            }
            prop_assert_eq!(line(&colored, false), plain);
        }
    }
}
