//! `backup.exclude`: patterns of paths that a backup leaves out, and what they are for GNU find, which lists what goes in.
//! Pure.

use std::{fmt, str::FromStr};

/// A pattern: `*` and `?` stay within a name, `**` goes across folders, `[a-z]` is one character of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

/// Longest pattern, in bytes.
const LONGEST: usize = 500;

/// What means something in a POSIX extended regular expression.
const SPECIAL: &str = r".^$+(){}|\*?[]";

impl Glob {
    /// The same as a POSIX extended regular expression for the whole path.
    pub fn regex(&self) -> String {
        let mut regex = String::new();
        let (mut rest, mut begins) = (self.0.as_str(), true);
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
        let mut parts = text.split('/');
        if text.len() > LONGEST || text.chars().any(|c| c.is_control() || c == '\\') {
            return invalid("isn't a pattern: it is too long, or has a backslash or a control character in it");
        }
        if parts.any(|part| matches!(part, "" | "." | "..")) {
            return invalid("isn't a path inside the volumes");
        }
        if text.chars().all(|c| c == '*' || c == '/') {
            return invalid("would leave out everything");
        }
        let mut rest = text;
        while let Some(at) = rest.find('[') {
            let Some(end) = class_end(&rest[at..]).filter(|end| !rest[at..at + end].contains('/')) else {
                return invalid("has a bracket that isn't closed");
            };
            rest = &rest[at + end + 1..];
        }
        Ok(Glob(text.to_owned()))
    }
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
            ("node_modules", &[]),
        ] {
            assert_eq!(matches(pattern, &paths), found, "{pattern}");
        }
        for wrong in
            ["", "/p", "p/", "p//x", "../x", "**", "*/**", "a\\*", "a\nb", "[", "a[b", "[]", "x[a/b]", &"x".repeat(501)]
        {
            assert!(wrong.parse::<Glob>().is_err(), "{wrong:?}");
        }
        assert_eq!("[]]".parse::<Glob>().unwrap().regex(), "[]]");
    }
}
