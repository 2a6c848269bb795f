//! The table of engines in the README: those that tests/engines tries, and no other.

use std::collections::BTreeSet;
use std::fs;

fn read(file: &str) -> String {
    fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_readme_names_the_engines_of_the_matrix() {
    let readme = read("README.md");
    let rows: Vec<&str> = readme.lines().skip_while(|line| !line.contains("| engine |")).skip(2).collect();
    let script = read("tests/engines");
    let cells = script.split_once("<<'CELLS'\n").unwrap().1.split_once("CELLS\n").unwrap().0;
    // The row of an engine, its version, and the settings by the daemon's names.
    let mut tried = BTreeSet::new();
    for cell in cells.lines() {
        let [name, engine, ..] = cell.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{cell}") };
        let (product, rootless) = (if engine == "podman" { "| Podman" } else { "| Docker" }, engine != "docker");
        let row = rows.iter().find(|line| line.contains(product) && line.contains("without root") == rootless);
        let row = row.unwrap_or_else(|| panic!("no row for {name}"));
        let words = row.split('|').nth(1).unwrap();
        let version = name.split('-').find(|part| part.contains('.'));
        assert!(version.is_none_or(|version| words.contains(version)), "{name} is not in this row: {words}");
        tried.extend(version.map(str::to_owned));
        let setting = cell.split('"').nth(if cell.contains("features") { 3 } else { 1 });
        assert!(setting.is_none_or(|setting| words.contains(setting)), "{name} is not in this row: {words}");
    }
    let rows =
        rows.iter().take_while(|line| line.trim_start().starts_with("| ")).map(|row| row.split('|').nth(1).unwrap());
    let numbers = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|word| word.trim_matches('.').to_owned());
        words.filter(|word| word.contains('.')).collect::<Vec<_>>()
    };
    assert_eq!(rows.flat_map(numbers).collect::<BTreeSet<_>>(), tried);
}
