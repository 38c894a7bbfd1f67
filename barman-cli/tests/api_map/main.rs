//! `docs/api-map.md` names paths that exist: `paths.rs` is made of the page, refers to each of them, and is compiled.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod paths;

use expect_test::expect_file;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const PAGE: &str = include_str!("../../../docs/api-map.md");

/// The cells of a row of a table.
fn cells(line: &str) -> Option<[&str; 3]> {
    let inner = line.strip_prefix("| ")?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split(" | ").map(str::trim).collect();
    let row: [&str; 3] = cells.try_into().ok()?;
    let is_head = row.contains(&"Rust") || row.contains(&"---");
    (!is_head).then_some(row)
}

/// The paths of the page, each once, and the rows without one.
fn paths() -> (BTreeSet<&'static str>, Vec<&'static str>) {
    let mut paths = BTreeSet::new();
    let mut without = Vec::new();
    for [name, rust, _] in PAGE.lines().filter_map(cells) {
        match rust {
            "not yet" | "none" => without.push(name),
            _ => paths.extend(rust.split(", ").map(|path| path.trim_matches('`'))),
        }
    }
    (paths, without)
}

fn is_type(segment: &str) -> bool {
    segment.starts_with(|first: char| first.is_ascii_uppercase())
}

/// A reference to the path: an import, or the value of what belongs to a type.
fn reference(path: &str) -> String {
    let owner = path.rsplit("::").nth(1).unwrap_or_default();
    if is_type(owner) {
        format!("    let _ = {path};\n")
    } else {
        format!("    {{\n        #[allow(unused_imports)]\n        use {path} as _;\n    }}\n")
    }
}

#[test]
fn every_path_of_the_page_is_compiled() {
    let (paths, without) = paths();
    assert!(paths.len() > 100, "only {} paths were found", paths.len());
    assert!(without.len() < 20, "too many rows without a path: {without:?}");
    let mut file = String::from(
        "//! Made of `docs/api-map.md` by the test beside it: a reference to each path there.\n\n#[allow(dead_code, unused_qualifications, reason = \"it only has to compile\")]\n#[rustfmt::skip]\npub(crate) fn references() {\n",
    );
    for path in &paths {
        let crate_name = path.split("::").next().unwrap_or_default();
        assert!(
            [
                "barman_wal",
                "barman_pg",
                "barman_catalog",
                "barman_core",
                "barman_cli",
                "patroni_barman"
            ]
            .contains(&crate_name),
            "{path} is in no crate of ours"
        );
        let _ = write!(file, "{}", reference(path));
    }
    file.push_str("}\n");
    expect_file!["paths.rs"].assert_eq(&file);
}

#[test]
fn rows_are_read_as_they_are_written() {
    assert_eq!(
        cells("| `x` | `a::b`, `a::C::d` | |"),
        Some(["`x`", "`a::b`, `a::C::d`", ""])
    );
    assert_eq!(cells("| Barman | Rust | Remarks |"), None);
    assert_eq!(cells("| --- | --- | --- |"), None);
    assert_eq!(reference("a::C::d"), "    let _ = a::C::d;\n");
    assert!(reference("a::C").contains("use a::C as _;"));
    // Nothing that looks like a row is passed over.
    let rows = PAGE.lines().filter(|line| line.starts_with('|')).count();
    let heads = PAGE.lines().filter(|line| line.starts_with("| ---")).count() * 2;
    assert_eq!(PAGE.lines().filter_map(cells).count(), rows - heads);
}
