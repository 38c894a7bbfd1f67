//! Checks the checksums of data pages in files of relations, as `pg_checksums --check` does for a whole cluster.
//!
//! ```text
//! cargo run --example pagecheck -- DATA/base/5/16384 DATA/base/5/16384.1 ...
//! ```
//!
//! Each bad page is told with its block number, its position in the file and the position in the WAL of its last
//! change; then the sum. The exit code is 1 if a page is bad.

#![allow(clippy::disallowed_macros, reason = "a program that prints")]

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use barman_wal::data_file::{DataFileName, Geometry};
use barman_wal::page_checksum::{Checked, PageVerifier};

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: pagecheck FILE...");
        return ExitCode::from(2);
    }
    let mut sum = Checked::default();
    for file in &files {
        match check(Path::new(file)) {
            Ok(checked) => {
                sum.pages += checked.pages;
                sum.new += checked.new;
                sum.bad += checked.bad;
                if checked.rest > 0 {
                    println!("{file}: {} bytes after the last page", checked.rest);
                }
            }
            Err(error) => {
                eprintln!("pagecheck: {file}: {error}");
                return ExitCode::from(2);
            }
        }
    }
    println!("{} pages, {} of them new, {} bad", sum.pages, sum.new, sum.bad);
    ExitCode::from(u8::from(sum.bad > 0))
}

fn check(path: &Path) -> Result<Checked, Box<dyn std::error::Error>> {
    let name: DataFileName = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .parse()?;
    let verifier =
        PageVerifier::of_file(name, Geometry::DEFAULT).ok_or("no relation can have that many files")?;
    let checked = verifier.read(&mut File::open(path)?, |bad| {
        println!(
            "{}: block {} at byte {}, last changed at {}: {:?}",
            path.display(),
            bad.block,
            bad.offset,
            bad.lsn,
            bad.state
        );
    })?;
    Ok(checked)
}
