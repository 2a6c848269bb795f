//! `backup.exclude`: patterns of paths that a backup leaves out, and what they are for GNU find, which lists what goes in.
//! Pure.

use std::{fmt, str::FromStr};

/// A pattern: `*` and `?` stay within a name, `**` goes across folders, `[a-z]` is one character of these, and `{a,b}` is
/// either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

/// Longest pattern, in bytes.
const LONGEST: usize = 500;

/// Most patterns that one with braces may stand for.
const MOST_SPELLINGS: usize = 100;

/// What means something in a POSIX extended regular expression.
const SPECIAL: &str = r".^$+(){}|\*?[]";

impl Glob {
    /// The same as a POSIX extended regular expression for the whole path.
    pub fn regex(&self) -> String {
        let all = spellings(&self.0).unwrap_or_default();
        let all: Vec<String> = all.iter().map(|pattern| Self::regex_of(pattern)).collect();
        if let [one] = &all[..] { one.clone() } else { format!("({})", all.join("|")) }
    }

    /// Of a pattern without alternatives.
    fn regex_of(pattern: &str) -> String {
        let mut regex = String::new();
        let (mut rest, mut begins) = (pattern, true);
        while let Some(next) = rest.chars().next() {
            let (part, length) = match next {
                '*' if begins && rest.starts_with("**/") => ("(.*/)?".to_owned(), 3),
                '*' if rest.starts_with("**") => (".*".to_owned(), 2),
                '*' => ("[^/]*".to_owned(), 1),
                '?' => ("[^/]".to_owned(), 1),
                '[' => {
                    let end = class_end(rest).unwrap_or(0);
                    let inside = &rest[1..end];
                    (
                        format!("[{}]", inside.strip_prefix('!').map_or(inside.to_owned(), |not| format!("^{not}"))),
                        end + 1,
                    )
                }
                other if SPECIAL.contains(other) => (format!("\\{other}"), 1),
                other => (other.to_string(), other.len_utf8()),
            };
            regex.push_str(&part);
            begins = rest[..length].ends_with('/');
            rest = &rest[length..];
        }
        regex
    }
}

/// The parts of a list that are separated by commas, of which those within braces are no separators.
pub(super) fn outside_braces(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// The patterns without alternatives that one stands for; `None` where that are too many. As in a shell, braces without a
/// comma stand for themselves.
fn spellings(pattern: &str) -> Option<Vec<String>> {
    for (open, _) in pattern.match_indices('{') {
        let mut depth = 0_u32;
        let close = pattern[open..].find(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let Some(close) = close.map(|at| open + at) else { continue };
        let choices: Vec<&str> = outside_braces(&pattern[open + 1..close]).collect();
        if choices.len() < 2 {
            continue;
        }
        let mut all = vec![];
        for choice in choices {
            all.extend(spellings(&format!("{}{choice}{}", &pattern[..open], &pattern[close + 1..]))?);
            if all.len() > MOST_SPELLINGS {
                return None;
            }
        }
        return Some(all);
    }
    Some(vec![pattern.to_owned()])
}

/// Where the bracket is that closes the one at the beginning.
fn class_end(text: &str) -> Option<usize> {
    // A bracket that comes first is one of the characters.
    let first = 1 + usize::from(text[1..].starts_with('!'));
    text.get(first + 1..)?.find(']').map(|at| first + 1 + at)
}

impl FromStr for Glob {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| Err(format!("`{text}` {why}; write it like **/node_modules or projects/app/data"));
        if text.len() > LONGEST || text.chars().any(|c| c.is_control() || c == '\\') {
            return invalid("isn't a pattern: it is too long, or has a backslash or a control character in it");
        }
        let braces = text.replace("[{]", "");
        if braces.matches('{').count() > braces.matches('}').count() {
            return invalid("has a brace that isn't closed, which as itself is [{]");
        }
        let Some(all) = spellings(text) else { return invalid("stands for too many patterns") };
        match all.iter().find_map(|pattern| check(pattern).err()) {
            Some(why) => invalid(why),
            None => Ok(Glob(text.to_owned())),
        }
    }
}

/// Checks a pattern without alternatives.
fn check(pattern: &str) -> Result<(), &'static str> {
    if pattern.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("isn't a path inside the volumes");
    }
    if pattern.chars().all(|c| c == '*' || c == '/') {
        return Err("would leave out everything");
    }
    let mut rest = pattern;
    while let Some(at) = rest.find('[') {
        let Some(end) = class_end(&rest[at..]).filter(|end| !rest[at..at + end].contains('/')) else {
            return Err("has a bracket that isn't closed");
        };
        rest = &rest[at + end + 1..];
    }
    Ok(())
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What GNU find says that matches, as in the container.
    fn matches(pattern: &str, paths: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let regex = pattern.parse::<Glob>().unwrap().regex();
        let mut find = std::process::Command::new("find");
        find.env("LC_ALL", "C").current_dir(&folder);
        find.args([
            "-regextype",
            "posix-extended",
            "-type",
            "f",
            "-regex",
            &format!("\\./({regex})"),
            "-printf",
            "%P\n",
        ]);
        let output = find.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut found: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        found.sort();
        found
    }

    #[test]
    fn patterns_match_as_people_know_them() {
        let paths =
            ["p/a.log", "p/x/a.log", "p/x/y/a.log", "p/x/a+log", "p/node_modules", "p/x/node_modules", "p/{b}.txt"];
        for (pattern, found) in [
            ("**/node_modules", &["p/node_modules", "p/x/node_modules"][..]),
            ("p/*.log", &["p/a.log"]),
            ("p/**/a.log", &["p/a.log", "p/x/a.log", "p/x/y/a.log"]),
            ("p/x/**", &["p/x/a+log", "p/x/a.log", "p/x/node_modules", "p/x/y/a.log"]),
            ("**/a+log", &["p/x/a+log"]),
            ("**/a?log", &["p/a.log", "p/x/a+log", "p/x/a.log", "p/x/y/a.log"]),
            ("**/a[.]log", &["p/a.log", "p/x/a.log", "p/x/y/a.log"]),
            ("**/a[!.]log", &["p/x/a+log"]),
            ("p/{b}.txt", &["p/{b}.txt"]),
            ("p/{a.log,{b}.txt}", &["p/a.log", "p/{b}.txt"]),
            (
                "{p/x/*,**}/{a.log,node_modules}",
                &["p/a.log", "p/node_modules", "p/x/a.log", "p/x/node_modules", "p/x/y/a.log"],
            ),
            ("p/[{]b}.txt", &["p/{b}.txt"]),
            ("node_modules", &[]),
        ] {
            assert_eq!(matches(pattern, &paths), found, "{pattern}");
        }
        for wrong in [
            "",
            "/p",
            "p/",
            "p//x",
            "../x",
            "**",
            "*/**",
            "a\\*",
            "a\nb",
            "[",
            "a[b",
            "[]",
            "x[a/b]",
            "{a,**}",
            "p/{a,}",
            "p/{a,b",
            "p/{a{b}",
            "{a,b/../c}",
            &"{a,b}".repeat(7),
            &"x".repeat(501),
        ] {
            assert!(wrong.parse::<Glob>().is_err(), "{wrong:?}");
        }
        assert_eq!("[]]".parse::<Glob>().unwrap().regex(), "[]]");
    }
}
