//! The structure of the library: its modules import each other in one direction only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The Rust files below a folder, without tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.file_name().unwrap().to_str().unwrap() {
            "tests" | "tests.rs" => {}
            _ if path.is_dir() => found.extend(files(&path)),
            name if name.ends_with(".rs") => found.push(path),
            _ => {}
        }
    }
    found
}

fn first_word(item: &str) -> &str {
    item.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
}

/// The words that the items of a list begin with, up to its closing brace.
fn first_words(list: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut words) = (0, 0, vec![]);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                words.push(first_word(&list[begin..at]));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    words
}

/// Module of the library → those that it names.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports = BTreeMap::<String, BTreeSet<String>>::new();
    for file in files(&source) {
        let place = file.strip_prefix(&source).unwrap();
        let module = place.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let (code, _) = text.split_once("#[cfg(test)]\nmod tests").unwrap_or((&text, ""));
        let code: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap()).collect();
        let code = code.join("\n");
        let named = imports.entry(module).or_default();
        for rest in code.split("crate::").skip(1) {
            let words = rest.strip_prefix('{').map_or_else(|| vec![first_word(rest)], first_words);
            named.extend(words.into_iter().map(str::to_owned));
        }
    }
    for module in ["lib", "main"] {
        imports.remove(module);
    }
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, named) in &mut imports {
        named.retain(|name| name != module && modules.contains(name));
    }
    imports
}

#[test]
fn modules_import_each_other_in_one_direction() {
    let mut imports = imports();
    assert!(imports["ops"].contains("engine") && imports["cli"].contains("ops"), "{imports:?}");
    // What imports nothing that is left cannot be in a circle.
    while let Some(lowest) = imports.iter().find(|(_, named)| named.is_empty()).map(|(module, _)| module.clone()) {
        imports.remove(&lowest);
        imports.values_mut().for_each(|named| {
            named.remove(&lowest);
        });
    }
    assert!(imports.is_empty(), "these import each other in a circle, or what does: {imports:#?}");
}
