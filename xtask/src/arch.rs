//! `cargo xtask arch`: which crate may depend on which, which layer of `barman-core` may use which, and how long a file may be.
//!
//! And that `barman-wal` without features has no C code.
//!
//! The rules are those of `docs/architecture.md`; whoever changes one changes the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::run;

/// Our crates and those of ours that each may use in what it ships (normal and build dependencies). A crate that is not listed may not exist.
const EDGES: [(&str, &[&str]); 9] = [
    ("barman-wal", &[]),
    ("barman-pg", &["barman-wal"]),
    ("barman-catalog", &["barman-wal"]),
    ("barman-core", &["barman-wal", "barman-pg", "barman-catalog"]),
    ("patroni-barman", &[]),
    // The types that barman-core's functions take and return belong to the three below it.
    (
        "barman-cli",
        &[
            "barman-core",
            "barman-wal",
            "barman-pg",
            "barman-catalog",
            "patroni-barman",
        ],
    ),
    (
        "parsers",
        &[
            "barman-wal",
            "barman-pg",
            "barman-catalog",
            "barman-core",
            "barman-cli",
            "patroni-barman",
        ],
    ),
    ("testkit", &[]),
    // What archived WAL holds within its compression.
    ("xtask", &["testkit", "barman-core", "barman-wal"]),
];

/// The layers of `barman-core`, lowest first: each may use the ones before it.
const LAYERS: [&str; 4] = ["config", "host", "copy", "ops"];

/// Most lines of a source file: it has one subject.
const LINES: usize = 700;

/// Most lines of a file that is nothing but tests, which are tables for the most part.
const LINES_OF_TESTS: usize = 900;

/// What compiles C, or has been compiled from it.
const C_CODE: [&str; 5] = ["cc", "cmake", "bindgen", "pkg-config", "vcpkg"];

/// Runs the task.
pub fn run() -> Result<()> {
    let mut command = run::cargo();
    let text = run::quiet(command.args(["metadata", "--no-deps", "--format-version", "1", "--quiet"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("parse the output of cargo metadata")?;
    let mut faults = wrong_edges(&metadata);
    faults.extend(c_code("barman-wal")?);
    let source = run::root().join("barman-core/src");
    let mut files = 0;
    each_source(&source, &source, &mut |relative, text| {
        files += 1;
        faults.extend(upward_uses(relative, text));
    })?;
    ensure!(files > 0, "no source file below {}", source.display());
    let mut all = 0;
    for (name, _) in EDGES {
        let place = run::root().join(directory_of(name));
        for part in ["src", "tests", "examples", "benches"] {
            let part = place.join(part);
            if part.is_dir() {
                each_source(&part, &part, &mut |relative, text| {
                    all += 1;
                    let path = part.join(relative);
                    faults.extend(too_long(path.strip_prefix(run::root()).unwrap_or(&path), text));
                })?;
            }
        }
    }
    for fault in &faults {
        eprintln!("arch: {fault}");
    }
    if !faults.is_empty() {
        bail!("{} violation(s) of docs/architecture.md", faults.len());
    }
    println!(
        "arch: {} crates and {files} files of barman-core keep to docs/architecture.md; none of {all} files is too long",
        metadata.packages.len()
    );
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `None` = normal, else `build` or `dev`.
    kind: Option<String>,
}

fn wrong_edges(metadata: &Metadata) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let Some(may_use) = allowed.get(package.name.as_str()) else {
            faults.push(format!("crate {} is not in the map", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let ours = metadata.packages.iter().any(|p| p.name == dependency.name);
            let shipped = dependency.kind.as_deref() != Some("dev");
            if ours && shipped && !may_use.contains(&dependency.name.as_str()) {
                faults.push(format!("{} must not depend on {}", package.name, dependency.name));
            }
        }
    }
    faults
}

/// The directory of one of our crates.
fn directory_of(name: &str) -> String {
    match name {
        "testkit" | "parsers" => format!("xtask/{name}"),
        name => name.to_owned(),
    }
}

/// What is said of a file, by its path from the root of the repository, that has more lines than it may.
fn too_long(file: &Path, text: &str) -> Option<String> {
    let named = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
    let most = match file.iter().any(named) {
        true => LINES_OF_TESTS,
        false => LINES,
    };
    let lines = text.lines().count();
    (lines > most).then(|| {
        format!(
            "{}: {lines} lines, at most {most}: split it by subject",
            file.display()
        )
    })
}

/// Packages with C code that a library needs without any of its features.
fn c_code(library: &str) -> Result<Vec<String>> {
    let mut command = run::cargo();
    command.args(["tree", "--quiet", "--no-default-features", "--prefix", "none"]);
    let tree =
        run::quiet(command.args(["--edges", "normal,build", "--format", "{p}", "--package", library]))?;
    ensure!(
        tree.starts_with(library),
        "the tree of {library} begins with {tree:?}"
    );
    Ok(with_c_code(&tree)
        .into_iter()
        .map(|name| format!("{library} needs {name} without any feature: it shall have no C code"))
        .collect())
}

fn with_c_code(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    // `linux-raw-sys` has the kernel's constants and no code.
    let mut found: Vec<&str> = names
        .filter(|name| C_CODE.contains(name) || (name.ends_with("-sys") && *name != "linux-raw-sys"))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn each_source(root: &Path, dir: &Path, action: &mut impl FnMut(&Path, &str)) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            each_source(root, &path, action)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            action(path.strip_prefix(root).unwrap_or(&path), &text);
        }
    }
    Ok(())
}

/// Places in one file where a layer names a higher one, by `crate::<layer>` or by as many `super::` as lead out of it.
fn upward_uses(file: &Path, text: &str) -> Vec<String> {
    let first = file
        .components()
        .next()
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .unwrap_or_default();
    let Some(own) = LAYERS
        .iter()
        .position(|layer| first == *layer || first == format!("{layer}.rs"))
    else {
        return Vec::new();
    };
    let code = without_comments(text);
    let depth = depth(file);
    let mut faults = Vec::new();
    let mut look = |at: usize, rest: &str, by: &str| {
        for name in first_names(rest) {
            let rank = LAYERS.iter().position(|layer| *layer == name);
            if rank.is_some_and(|rank| rank > own) {
                let line = code.get(..at).unwrap_or_default().matches('\n').count() + 1;
                faults.push(format!(
                    "barman-core/src/{}:{line}: layer `{first}` uses `{by}{name}`",
                    file.display()
                ));
            }
        }
    };
    for (at, path) in code
        .match_indices("crate::")
        .filter(|(at, _)| begins_word(&code, *at))
    {
        look(at, code.get(at + path.len()..).unwrap_or_default(), "crate::");
    }
    for (at, path) in code
        .match_indices("super::")
        .filter(|(at, _)| begins_word(&code, *at))
    {
        let mut rest = code.get(at + path.len()..).unwrap_or_default();
        let mut ups = 1;
        while let Some(further) = rest.trim_start().strip_prefix(path) {
            (rest, ups) = (further, ups + 1);
        }
        // The second `super::` of a path is no path of its own.
        let is_first = !code.get(..at).unwrap_or_default().trim_end().ends_with("::");
        // A module inside the file may go up once more.
        if is_first && (depth..=depth + 1).contains(&ups) {
            look(at, rest, &path.repeat(ups));
        }
    }
    faults
}

/// Whether what is there is not the end of a longer word.
fn begins_word(code: &str, at: usize) -> bool {
    let before = code.get(..at).and_then(|before| before.chars().next_back());
    !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// How many modules are above what is in this file, which is below `src`: one for `config.rs` and `config/mod.rs`.
fn depth(file: &Path) -> usize {
    let parts = file.components().count();
    let is_mod = file.file_stem().is_some_and(|stem| stem == "mod");
    parts - usize::from(is_mod && parts > 1)
}

/// The first names of the paths that follow `crate::`: one, or those of a `{a::b, c}` group.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let Some(group) = rest.trim_start().strip_prefix('{') else {
        return vec![name(rest)];
    };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(group.get(at + 1..).unwrap_or_default())),
            _ => {}
        }
    }
    names
}

/// The text with line comments blanked, doc comments too: those may point anywhere.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(edges: &[(&str, &str, Option<&str>)]) -> Metadata {
        let packages = EDGES.map(|(name, _)| Package {
            name: name.to_owned(),
            dependencies: edges
                .iter()
                .filter(|(from, ..)| *from == name)
                .map(|(_, to, kind)| Dependency {
                    name: (*to).to_owned(),
                    kind: kind.map(str::to_owned),
                })
                .collect(),
        });
        Metadata {
            packages: packages.into(),
        }
    }

    #[test]
    fn c_code_is_found() {
        let tree = "barman-wal v0.1.0 (/x)\nrustix v1.1.6\nlinux-raw-sys v0.11.0\nlibc v0.2.1\n";
        assert!(with_c_code(tree).is_empty());
        let tree = format!("{tree}zstd-sys v2.1.2\ncc v1.2.3\njobserver v0.1.3\ncc v1.2.3 (*)\n");
        assert_eq!(with_c_code(&tree), ["cc", "zstd-sys"]);
    }

    #[test]
    fn only_the_edges_of_the_map_pass() {
        let cases = [
            ("barman-core", "barman-pg", None, true),
            ("barman-core", "serde", None, true),
            ("barman-pg", "testkit", Some("dev"), true),
            ("barman-pg", "testkit", None, false),
            ("barman-pg", "barman-catalog", None, false),
            ("barman-wal", "barman-core", Some("build"), false),
            ("patroni-barman", "barman-wal", None, false),
        ];
        for (from, to, kind, passes) in cases {
            let faults = wrong_edges(&metadata(&[(from, to, kind)]));
            assert_eq!(faults.is_empty(), passes, "{from} -> {to} ({kind:?}): {faults:?}");
        }
    }

    #[test]
    fn a_crate_that_the_map_does_not_know_fails() {
        let stray = Package {
            name: "stray".to_owned(),
            dependencies: Vec::new(),
        };
        assert_eq!(
            wrong_edges(&Metadata {
                packages: vec![stray]
            }),
            ["crate stray is not in the map"]
        );
    }

    #[test]
    fn a_layer_may_use_only_the_ones_below() {
        let cases = [
            ("config/mod.rs", "use crate::host::Hook;", 1),
            ("config.rs", "use crate::ops;", 1),
            ("host/mod.rs", "use crate::config::Config;", 0),
            ("copy/tree.rs", "let x = crate::ops::backup::run();", 1),
            (
                "copy/tree.rs",
                "use crate::{config::{Config, Level}, host, ops::{self, delete}};",
                1,
            ),
            ("copy/tree.rs", "use crate::{\n    ops,\n    copy::Tree,\n};", 1),
            (
                "ops/backup/mod.rs",
                "use crate::{copy, host, config, ops::check};",
                0,
            ),
            ("host/mod.rs", "/// Used by [`crate::ops`].\n// crate::copy", 0),
            ("host/mod.rs", "use my_crate::ops; use crate::operations;", 0),
            ("context.rs", "use crate::ops;", 0),
            ("copy/mod.rs", "use super::ops::backup;", 1),
            ("copy.rs", "use super::{host, ops};", 1),
            ("copy/tree.rs", "use super::super::ops;", 1),
            ("copy/deep/tree.rs", "use super::super::super::ops;", 1),
            // Of this layer: one that has the name of another.
            ("copy/tree.rs", "use super::ops;", 0),
            ("ops/mod.rs", "use super::copy;", 0),
            ("copy/mod.rs", "use super::host; use super::config;", 0),
        ];
        for (file, text, expected) in cases {
            let faults = upward_uses(Path::new(file), text);
            assert_eq!(faults.len(), expected, "{file}: {text}: {faults:?}");
        }
    }

    #[test]
    fn a_file_may_not_be_long() {
        let lines = |count: usize| "x\n".repeat(count);
        for (file, count, faults) in [
            ("barman-core/src/a.rs", 700, 0),
            ("barman-core/src/a.rs", 701, 1),
            ("barman-core/src/ops/tests.rs", 900, 0),
            ("barman-core/src/ops/tests.rs", 901, 1),
            ("barman-cli/tests/restore.rs", 900, 0),
            ("barman-cli/tests/restore.rs", 901, 1),
            ("barman-core/src/tests_of.rs", 701, 1),
        ] {
            let found = too_long(Path::new(file), &lines(count));
            assert_eq!(found.iter().count(), faults, "{file} with {count} lines");
        }
    }

    /// What `docs/architecture.md` names in backticks as a file or directory of source. Below a heading that names a
    /// crate, paths may be relative to the crate or its `src`.
    fn named_places(text: &str) -> (Vec<std::path::PathBuf>, Vec<String>) {
        let (mut places, mut missing) = (Vec::new(), Vec::new());
        let mut base: Option<&str> = None;
        for line in text.lines() {
            if line.starts_with("## ") {
                base = None;
            } else if let Some(heading) = line.strip_prefix("### ") {
                base = heading.split('`').nth(1);
            }
            for path in line.split('`').skip(1).step_by(2) {
                let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
                if !(path.ends_with(".rs") || path.ends_with('/')) || !path.chars().all(plain) {
                    continue;
                }
                let bases = base.map(|base| [format!("{base}/src"), base.to_owned()]);
                let found = bases
                    .into_iter()
                    .flatten()
                    .chain([String::new()])
                    .map(|base| run::root().join(base).join(path))
                    .find(|place| place.exists());
                match found {
                    Some(place) => places.push(place.components().collect()),
                    None => missing.push(path.to_owned()),
                }
            }
        }
        (places, missing)
    }

    #[test]
    fn the_map_names_what_exists_and_places_every_file() {
        let text = fs::read_to_string(run::root().join("docs/architecture.md")).unwrap();
        let (places, missing) = named_places(&text);
        assert!(missing.is_empty(), "docs/architecture.md names {missing:?}");
        let crates = EDGES.iter().map(|(name, _)| directory_of(name));
        for source in crates.map(|name| run::root().join(name).join("src")) {
            each_source(&source, &source, &mut |relative, _| {
                let file = source.join(relative);
                assert!(
                    places.iter().any(|place| file.starts_with(place)),
                    "docs/architecture.md has no place for {}",
                    file.display()
                );
            })
            .unwrap();
        }
    }

    #[test]
    fn a_violation_names_the_line() {
        let faults = upward_uses(Path::new("host/run.rs"), "// one\n\nuse crate::copy;\n");
        assert_eq!(
            faults,
            ["barman-core/src/host/run.rs:3: layer `host` uses `crate::copy`"]
        );
    }
}
