//! The parsers by hand: lists them, runs them on files, checks that the list is complete.
#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a program that prints"
)]

use std::fs;
use std::panic;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use parsers::{PARSERS, Parser, corpus, find, remove_scratch, scan, take_reached};

const USAGE: &str = "usage: parsers list | scan | replay [FILTER] | run NAME FILE...";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["list"] => list(),
        ["scan"] => scan::check(),
        ["replay"] => replay(""),
        ["replay", filter] => replay(filter),
        ["run", name, files @ ..] if !files.is_empty() => run(name, files),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    remove_scratch();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parsers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One JSON object a line, for `cargo xtask fuzz`.
fn list() -> Result<()> {
    for parser in PARSERS {
        let saved = corpus::inputs(parser.name).map_or(0, |inputs| inputs.len());
        let row = serde_json::json!({
            "name": parser.name, "module": parser.module, "what": parser.what, "max_length": parser.max_length,
            "covers": parser.covers, "saved": saved,
        });
        println!("{row}");
    }
    Ok(())
}

fn replay(filter: &str) -> Result<()> {
    ensure!(
        PARSERS.iter().any(|parser| parser.name.contains(filter)),
        "no parser has `{filter}` in its name; `parsers list` shows them"
    );
    let mut failed = Vec::new();
    for parser in PARSERS.iter().filter(|parser| parser.name.contains(filter)) {
        let inputs =
            corpus::inputs(parser.name).with_context(|| format!("read the corpus of {}", parser.name))?;
        let mut reached = 0;
        for (file, bytes) in &inputs {
            let _ = take_reached();
            if !holds(parser, bytes) {
                failed.push(format!("{}/{file}", parser.name));
            }
            reached += usize::from(take_reached());
        }
        println!(
            "{:<22} {:>4} inputs, {reached:>4} of them past the first checks",
            parser.name,
            inputs.len()
        );
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn run(name: &str, files: &[&str]) -> Result<()> {
    let parser = find(name).with_context(|| format!("there is no parser {name}"))?;
    for file in files {
        let bytes = fs::read(file).with_context(|| format!("read {file}"))?;
        if !holds(parser, &bytes) {
            bail!("{name} failed on {file}");
        }
        println!("{name} {file}: all properties hold");
    }
    Ok(())
}

fn holds(parser: &Parser, bytes: &[u8]) -> bool {
    panic::catch_unwind(|| (parser.run)(bytes)).is_ok()
}
