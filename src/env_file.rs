//! Files of `NAME=VALUE` lines, usually called `.env`. Pure: reads no file and no variable, and replaces nothing.
//!
//! The dialect is the one that docker compose and the dotenv libraries share: blank lines, comments, `export `, and values
//! that are bare, in single quotes (taken as they are) or in double quotes (with `\n`, `\r`, `\t`, `\\`, `\"` and `\$`). A
//! quoted value may go on over several lines. `$NAME` in a value stays as it is: a secret may hold a dollar sign.

use std::{iter::Peekable, str::CharIndices};

/// A line's name and value.
#[derive(Debug, PartialEq, Eq)]
pub struct EnvEntry {
    /// The line that it begins on, from 1.
    pub line: usize,
    /// Its name, not checked.
    pub name: String,
    /// Its value, without quotes.
    pub value: String,
}

/// Why a line cannot be read. The reason holds nothing of the line, which may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Reads all lines.
///
/// # Errors
/// Every line that cannot be read.
pub fn parse(text: &str) -> Result<Vec<EnvEntry>, Vec<BadLine>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut entries, mut bad) = (vec![], vec![]);
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let (read, length) = first(rest);
        match read {
            Ok(Some((name, value))) => entries.push(EnvEntry { line, name, value }),
            Ok(None) => {}
            Err(reason) => bad.push(BadLine { line, reason: reason.to_owned() }),
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    if bad.is_empty() { Ok(entries) } else { Err(bad) }
}

/// Name and value, nothing, or what is wrong.
type Line = Result<Option<(String, String)>, &'static str>;

/// What the first line holds, and how long it is in bytes with the lines that its value goes on over.
fn first(text: &str) -> (Line, usize) {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let line = text[..end].trim();
    if line.is_empty() || line.starts_with('#') {
        return (Ok(None), end);
    }
    let Some(equals) = text[..end].find('=') else { return (Err("there is no = in it"), end) };
    let name = text[..equals].trim();
    let name = name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).map_or(name, str::trim);
    let behind = &text[equals + 1..];
    let start = behind.len() - behind.trim_start_matches([' ', '\t']).len();
    let quote = behind[start..].chars().next().filter(|c| matches!(c, '\'' | '"'));
    let Some(quote) = quote else {
        let value = bare(&text[equals + 1..end]);
        return (Ok(Some((name.to_owned(), value.to_owned()))), end);
    };
    let quoted = &behind[start + 1..];
    let Some((value, length)) = quoted_value(quoted, quote) else { return (Err("its quote is not closed"), end) };
    let after = equals + 1 + start + 1 + length;
    let end = text[after..].find('\n').map_or(text.len(), |at| after + at + 1);
    match text[after..end].trim() {
        "" => (Ok(Some((name.to_owned(), value))), end),
        comment if comment.starts_with('#') => (Ok(Some((name.to_owned(), value))), end),
        _ => (Err("there is something behind the closing quote"), end),
    }
}

/// A value without quotes: up to a `#` behind a space, or at the beginning.
fn bare(text: &str) -> &str {
    let comment = text.char_indices().zip(std::iter::once(' ').chain(text.chars()));
    let mut comment = comment.filter(|((_, c), before)| *c == '#' && before.is_whitespace());
    text[..comment.next().map_or(text.len(), |((at, _), _)| at)].trim()
}

/// The value up to the closing quote, and its length in the text with that quote; `None` where there is none.
fn quoted_value(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            _ if c == quote => return Some((value.replace("\r\n", "\n"), at + 1)),
            '\\' if quote == '"' => value.push_str(escaped(&mut characters)),
            _ => value.push(c),
        }
    }
    None
}

/// What a backslash and the character behind it stand for. Others than these stay as they are.
fn escaped(characters: &mut Peekable<CharIndices<'_>>) -> &'static str {
    let known = match characters.peek().map(|(_, c)| *c) {
        Some('n') => "\n",
        Some('r') => "\r",
        Some('t') => "\t",
        Some('"') => "\"",
        Some('\\') => "\\",
        Some('$') => "$",
        _ => return "\\",
    };
    characters.next();
    known
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, String)> {
        parse(text).unwrap().into_iter().map(|entry| (entry.line, entry.name, entry.value)).collect()
    }

    #[test]
    fn every_spelling_is_read() {
        let text = "\u{feff}# a comment\r\n\r\nA=1\r\nexport B = two words \r\n\t export\tC='$x #y\\n' # why\r\n\
                    D=\"a\\n\\\"b\\\" \\$c \\d\"\nE=a#b #c\nF=\nG=   # nothing\nexport=x\nH='one\r\ntwo'\nI=\"k=v\n# in it\n\"\nJ=last";
        let wanted = [
            (3, "A", "1"),
            (4, "B", "two words"),
            (5, "C", "$x #y\\n"),
            (6, "D", "a\n\"b\" $c \\d"),
            (7, "E", "a#b"),
            (8, "F", ""),
            (9, "G", ""),
            (10, "export", "x"),
            (11, "H", "one\ntwo"),
            (13, "I", "k=v\n# in it\n"),
            (16, "J", "last"),
        ];
        assert_eq!(read(text), wanted.map(|(line, name, value)| (line, name.to_owned(), value.to_owned())));
        assert_eq!(read(""), []);
        assert_eq!(read("A=\"\"\nB=''")[1].2, "");
    }

    #[test]
    fn every_bad_line_is_named_and_nothing_of_it_is_said() {
        let text = "A=1\nsk-secret\nB='x' sk-secret\nC=2\nD=\"sk-secret\nE=3\n";
        let bad = parse(text).unwrap_err();
        assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [2, 3, 5]);
        assert!(!format!("{bad:?}").contains("sk-"), "{bad:?}");
        assert_eq!(parse("A='").unwrap_err()[0].line, 1);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([A-Z]{1,3}|=|'|\"|\\\\|#|\\$|\n|\r\n| |é|export ){0,60}") {
            let lines = text.matches('\n').count() + 1;
            match parse(&text) {
                Ok(entries) => proptest::prop_assert!(entries.windows(2).all(|two| two[0].line < two[1].line)),
                Err(bad) => proptest::prop_assert!(bad.iter().all(|b| (1..=lines).contains(&b.line))),
            }
        }
    }
}
