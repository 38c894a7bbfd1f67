//! The list is complete, and every saved input passes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;

use parsers::{PARSERS, Parser, corpus, remove_scratch, scan, take_reached};

/// Sum of all corpora in the repository, bytes.
const ALL: u64 = 2 << 20;
/// No parser may keep so much memory for inputs of some kilobytes.
const MEMORY_KB: u64 = 400 * 1024;

#[test]
fn every_function_that_reads_has_a_parser() {
    scan::check().unwrap();
}

#[test]
fn every_parser_has_a_target_and_a_corpus_and_nothing_else_is_there() {
    let names: BTreeSet<String> = PARSERS.iter().map(|parser| parser.name.to_owned()).collect();
    assert_eq!(names.len(), PARSERS.len(), "two parsers of one name");
    let fuzz = corpus::root().join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for Parser { name, module, .. } in PARSERS {
        let target = fuzz.join(format!("fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(&target).unwrap_or_else(|e| panic!("{}: {e}", target.display()));
        assert!(
            text.contains(&format!("parsers::{module}::{name}(bytes)")),
            "{} is not for {name}",
            target.display()
        );
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "fuzz/Cargo.toml does not name {name}"
        );
    }
    let stems = |place: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz.join(place)).unwrap();
        entries
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("corpus"), names);
}

#[test]
fn corpora_are_small() {
    let mut all = 0;
    for parser in PARSERS {
        let inputs = corpus::inputs(parser.name).unwrap();
        assert!(!inputs.is_empty(), "{} has no saved input", parser.name);
        for (file, bytes) in inputs {
            assert!(
                bytes.len() <= 32 << 10,
                "{}/{file} has {} bytes",
                parser.name,
                bytes.len()
            );
            assert!(
                bytes.len() <= parser.max_length,
                "{}/{file} has {} bytes: a fuzzer would cut it to {}",
                parser.name,
                bytes.len(),
                parser.max_length
            );
            all += bytes.len() as u64;
        }
    }
    assert!(all <= ALL, "{all} bytes in all corpora");
}

/// Removes what parsers wrote, also when a test fails.
struct Scratch;

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_scratch();
    }
}

/// Every saved input, and damaged copies of it, through the parsers of a module.
fn replay(module: &str, copies: usize) {
    let _scratch = Scratch;
    let (mut failed, mut shallow) = (Vec::new(), Vec::new());
    let mut inputs = 0;
    for parser in PARSERS.iter().filter(|parser| parser.module == module) {
        let mut reached = 0;
        for (number, (file, bytes)) in corpus::inputs(parser.name).unwrap().into_iter().enumerate() {
            inputs += 1;
            let _ = take_reached();
            if catch_unwind(|| (parser.run)(&bytes)).is_err() {
                failed.push(format!("{}/{file}", parser.name));
            }
            reached += usize::from(take_reached());
            for (turn, copy) in corpus::damaged(&bytes, number as u64, copies).enumerate() {
                if catch_unwind(|| (parser.run)(&copy)).is_err() {
                    let kept = std::env::temp_dir().join(format!("{}-{file}-{turn}", parser.name));
                    fs::write(&kept, &copy).unwrap();
                    failed.push(format!("{}/{file}, damaged: {}", parser.name, kept.display()));
                }
            }
        }
        if reached == 0 {
            shallow.push(parser.name);
        }
    }
    assert!(
        shallow.is_empty(),
        "no saved input passes the first checks of {shallow:?}"
    );
    assert!(inputs > 0, "no input for {module}");
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MEMORY_KB, "{peak} kB of memory");
}

#[test]
fn saved_inputs_of_wal_pass() {
    replay("wal", 60);
}

#[test]
fn saved_inputs_of_catalog_pass() {
    replay("catalog", 40);
}

#[test]
fn saved_inputs_of_core_pass() {
    replay("core", 40);
}

#[test]
fn saved_inputs_of_cli_pass() {
    replay("cli", 20);
}

#[test]
fn saved_inputs_of_pg_pass() {
    replay("pg", 20);
}
