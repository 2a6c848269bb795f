//! Removes secrets from text: the values that docklet stores, in every encoding in which they may appear, and what looks
//! like another secret. Pure.

use std::collections::BTreeSet;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

/// What stands where a secret was.
pub const MASK: &str = "***";

/// Shorter ones cannot be distinguished from ordinary text.
const SHORTEST: usize = 4;

/// A line of a secret of several lines that is long enough to mean something alone.
const SHORTEST_LINE: usize = 8;

/// What a secret follows, or begins with. Marks inside a word do not count.
const MARKS: [&str; 8] = ["auth_token=", "Basic ", "Bearer ", "sk-", "ghp_", "gho_", "github_pat_", "xoxb-"];

/// Least length of what follows a mark, so that words are left alone.
const SHORTEST_TOKEN: usize = 12;

#[derive(Clone)]
pub struct Redactor {
    /// The longest first, so that a secret within another does not leave the rest of it.
    spellings: Vec<String>,
    /// Whether there is a secret that is too short to be found.
    blind: bool,
}

impl Redactor {
    /// For these values; `user` is whom the password belongs to, for both travel together.
    pub fn new<'a>(user: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut spellings = BTreeSet::new();
        let mut blind = false;
        for value in values {
            let value = value.trim_matches(['\r', '\n']);
            blind |= !value.is_empty() && value.len() < SHORTEST;
            let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE && *line != value);
            for text in std::iter::once(value).chain(lines).filter(|text| text.len() >= SHORTEST) {
                let login = format!("{user}:{text}");
                for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                    spellings.extend([engine.encode(&login), engine.encode(text)]);
                }
                spellings.extend(spellings_of(text));
            }
        }
        let mut spellings: Vec<String> = spellings.into_iter().filter(|s| s.len() >= SHORTEST).collect();
        spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        Redactor { spellings, blind }
    }

    /// Whether free text may hold a secret that is too short to be found: leave such text out.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// The text without secrets.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for spelling in &self.spellings {
            if text.contains(spelling.as_str()) {
                text = text.replace(spelling.as_str(), MASK);
            }
        }
        MARKS.iter().fold(mask_logins(&text), |text, mark| mask_after(&text, mark))
    }
}

/// A value in every spelling in which it may stand in a text.
fn spellings_of(value: &str) -> Vec<String> {
    let mut all = vec![value.to_owned()];
    // As a string of JSON or TOML.
    let escaped = serde_json::to_string(value).unwrap_or_default();
    all.push(escaped.trim_matches('"').to_owned());
    let percent = |keep: fn(u8) -> bool, lower: bool| -> String {
        let escape = |byte: u8| match byte {
            byte if keep(byte) => char::from(byte).to_string(),
            byte if lower => format!("%{byte:02x}"),
            byte => format!("%{byte:02X}"),
        };
        value.bytes().map(escape).collect()
    };
    // RFC 3986's unreserved characters, and what JavaScript's encodeURIComponent leaves alone, too.
    let strict = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let loose = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!*'()".contains(&byte);
    for text in [percent(strict, false), percent(strict, true), percent(loose, false), percent(loose, true)] {
        all.push(text.replace("%20", "+"));
        all.push(text);
    }
    // Within something longer, base64 begins at any of three places.
    for before in 0..3 {
        let padded = [&vec![0; before], value.as_bytes()].concat();
        // Each three bytes make four characters; those that share bytes with a neighbour are left off.
        let first = (before * 4).div_ceil(3);
        let last = padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            all.push(engine.encode(&padded).get(first..last).unwrap_or_default().to_owned());
        }
    }
    all.push(value.bytes().map(|byte| format!("{byte:02x}")).collect());
    all
}

/// `scheme://user:password@` → `scheme://***@`.
fn mask_logins(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'`<>,;\\".contains(c)).unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(sign) => {
                masked.push_str(MASK);
                rest = &after[sign..];
            }
            None => rest = after,
        }
    }
    masked.push_str(rest);
    masked
}

/// Masks the word behind each `mark`, where that is long enough.
fn mask_after(text: &str, mark: &str) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=%".contains(c);
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let in_a_word = rest[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let (before, after) = rest.split_at(at + mark.len());
        masked.push_str(before);
        let end = after.find(|c: char| !is_token(c)).unwrap_or(after.len());
        // Words of a language have neither digits nor capitals within.
        let token = after[..end].chars().skip(1).any(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
        if end >= SHORTEST_TOKEN && token && !in_a_word {
            masked.push_str(MASK);
            rest = &after[end..];
        } else {
            rest = after;
        }
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        Redactor::new("opencode", values.iter().copied())
    }

    #[test]
    fn every_spelling_goes() {
        let password = r#"p"ä ss\w%rd+/é"#;
        let redactor = redactor(&[password]);
        let login = STANDARD.encode(format!("opencode:{password}"));
        for text in [
            password.to_owned(),
            serde_json::to_string(password).unwrap(),
            format!("Authorization: Basic {login}"),
            login,
            STANDARD.encode(password),
            URL_SAFE_NO_PAD.encode(format!("x{password}yz")),
            "p%22%C3%A4%20ss%5Cw%25rd%2B%2F%C3%A9".to_owned(),
            "p%22%c3%a4%20ss%5cw%25rd%2b%2f%c3%a9".to_owned(),
            "p%22%C3%A4+ss%5Cw%25rd%2B%2F%C3%A9".to_owned(),
        ] {
            let cleaned = redactor.clean(&format!("before {text} after"));
            assert!(cleaned.starts_with("before ") && cleaned.ends_with(" after"), "{cleaned}");
            assert!(cleaned.len() <= "before Authorization: Basic *** after".len(), "{text}: {cleaned}");
            assert!(cleaned.contains(MASK), "{text}: {cleaned}");
        }
    }

    #[test]
    fn a_key_of_several_lines_goes_line_by_line() {
        let redactor = redactor(&["-----BEGIN KEY-----\nabcdefgh12345678\nABCDEFGH87654321\n-----END KEY-----\n"]);
        assert_eq!(redactor.clean("read ABCDEFGH87654321, then"), "read ***, then");
    }

    #[test]
    fn what_looks_like_a_secret_goes_too_and_words_stay() {
        let redactor = redactor(&[]);
        for (text, cleaned) in [
            ("proxy http://me:pw@proxy:3128/ and https://a.b/x@y", "proxy http://***@proxy:3128/ and https://a.b/x@y"),
            ("key sk-ant-0123456789abcdef.", "key sk-***"),
            ("GET /?auth_token=b3BlbmNvZGU6eA== 200", "GET /?auth_token=*** 200"),
            ("header Bearer abc.dEf.ghi.jkl ok", "header Bearer *** ok"),
            ("Basic authentication; task-management-service", "Basic authentication; task-management-service"),
        ] {
            assert_eq!(redactor.clean(text), cleaned);
        }
    }

    #[test]
    fn short_values_make_it_blind_instead_of_eating_the_text() {
        assert!(redactor(&["abc"]).is_blind() && !redactor(&["", "abcd"]).is_blind());
        assert_eq!(redactor(&["a"]).clean("banana"), "banana");
    }

    proptest! {
        #[test]
        fn no_spelling_survives_anywhere(value in "[ -~äß]{6,20}", before in "[a-z]{0,5}", after in "[a-z]{0,5}") {
            let redactor = Redactor::new("opencode", [value.as_str()]);
            let value = value.trim_matches(['\r', '\n']);
            let wrapped = format!("{before}{value}{after}");
            let text = format!("{wrapped}|{}|{}", STANDARD.encode(&wrapped), serde_json::to_string(&wrapped).unwrap());
            let cleaned = redactor.clean(&text);
            for spelling in [value.to_owned(), STANDARD.encode(value).trim_end_matches('=').to_owned()] {
                prop_assert!(!cleaned.contains(&spelling), "{spelling} in {cleaned}");
            }
            let middle = spellings_of(value);
            prop_assert!(middle.iter().all(|m| m.len() < SHORTEST || !cleaned.contains(m.as_str())), "{cleaned}");
        }
    }
}
