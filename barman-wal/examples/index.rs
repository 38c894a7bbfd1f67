//! Indexes a directory of WAL segments, and says where recovery to a time would stop.
//!
//! ```text
//! cargo run --example index -- DIRECTORY [UNIX_SECONDS]
//! ```
//!
//! The segments are plain files, all in the directory or as in an archive of Barman. The index is made in
//! `DIRECTORY.index`; a second run looks at new segments only.

#![allow(clippy::disallowed_macros, reason = "a program that prints")]

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use barman_wal::SegmentSize;
use barman_wal::index::{Archive, Coverage, Order, PlainDirectory, Route, TimeTarget, WalIndex};
use barman_wal::page::{LONG_HEADER_SIZE, check_segment_header};
use barman_wal::record::WalTime;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, time) = match arguments.as_slice() {
        [directory] => (directory, None),
        [directory, time] => (directory, Some(time)),
        _ => {
            eprintln!("usage: index DIRECTORY [UNIX_SECONDS]");
            return ExitCode::from(2);
        }
    };
    match run(Path::new(directory), time.map(String::as_str)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("index: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path, time: Option<&str>) -> Result<()> {
    let size = segment_size(directory)?;
    let mut archive = PlainDirectory::new(directory.to_path_buf(), size)?;
    let index = WalIndex::new(&directory.with_extension("index"), size);
    let mut spans = archive.spans()?;
    spans.sort();

    // A question looks at what it needs...
    if let Some(time) = time {
        let target = WalTime::from_unix_micros(time.parse::<i64>()?.saturating_mul(1_000_000))
            .ok_or("that is no time that PostgreSQL has")?;
        for span in &spans {
            let route = Route::of(*span, size);
            let mut looked_at = 0;
            let answer = index.answer(
                &mut archive,
                Order::OldestFirst,
                &mut |_| {
                    looked_at += 1;
                    ControlFlow::Continue(())
                },
                |index| index.stop_at_time(&route, TimeTarget::Inclusive(target)),
            )?;
            match answer.candidates.last() {
                Some(name) if answer.reached => {
                    println!("timeline {}: recovery to {target} stops in {name}", span.timeline);
                }
                _ => match answer.latest {
                    Some(latest) => println!("timeline {}: the last commit is of {latest}", span.timeline),
                    None => println!("timeline {}: there is no commit", span.timeline),
                },
            }
            println!("  looked at {looked_at} segments");
            show(&answer.coverage);
        }
        return Ok(());
    }
    // ... or everything is looked at, the newest first.
    let built = index.build(&mut archive, &mut |progress| {
        if progress.done % 100 == 0 {
            println!("{} of {}: {}", progress.done, progress.total, progress.segment);
        }
        ControlFlow::Continue(())
    })?;
    println!(
        "looked at {} segments, {} cannot be read",
        built.looked_at, built.unreadable
    );
    for span in &spans {
        let answer = index.continuity(&Route::of(*span, size));
        println!(
            "timeline {}: {} segments known",
            span.timeline, answer.coverage.known
        );
        show(&answer.coverage);
        for found in answer.breaks {
            println!(
                "  {} does not follow {}: {:?}",
                found.after, found.before, found.why
            );
        }
        for (segment, point) in index.restore_points(&Route::of(*span, size), None).points {
            let name = String::from_utf8_lossy(&point.name).into_owned();
            println!(
                "  restore point '{name}' at {} ({}), in {segment}",
                point.end, point.time
            );
        }
    }
    Ok(())
}

fn show(coverage: &Coverage) {
    for (spans, what) in [
        (&coverage.unknown, "missing"),
        (&coverage.unreadable, "unreadable"),
        (&coverage.unknown_format, "of an unknown version"),
    ] {
        for span in spans {
            println!("  {what}: {span}");
        }
    }
    for name in &coverage.borders {
        println!("  the record that goes on in {name} is damaged or cannot be judged");
    }
}

/// As the first segment that is found says.
fn segment_size(directory: &Path) -> Result<SegmentSize> {
    let mut directories: Vec<PathBuf> = vec![directory.to_path_buf()];
    while let Some(next) = directories.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let mut first = [0; LONG_HEADER_SIZE];
            if File::open(&path)?.read_exact(&mut first).is_ok()
                && let Ok(header) = check_segment_header(&first)
            {
                return Ok(header.segment_size);
            }
        }
    }
    Err("there is no WAL segment that is not compressed".into())
}
