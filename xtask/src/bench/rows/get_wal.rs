//! `get-wal`: what PostgreSQL's `restore_command` waits for.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use testkit::Program;

use super::super::row::{Contest, OURS, Row, Side, Target, memory, wall, wall_of, wall_over};
use super::super::world::{World, settle};
use super::super::{data, measure, peers};
use super::archive::sandbox;
use super::codec::Alone;
use super::pgbackrest::{PGBACKREST, Repository};
use super::{ORACLE, not_yet};

const DECODE: &str = "decode";

pub fn rows() -> Vec<Row> {
    [
        ("none", ORACLE),
        ("gzip", ORACLE),
        ("gzip", OURS),
        ("lz4", ORACLE),
        ("zstd", ORACLE),
    ]
    .into_iter()
    .map(|(compression, archiver)| {
        let own: &[Target] = if compression == "gzip" {
            &[wall_over(DECODE, 0.010)]
        } else {
            &[wall(0.030)]
        };
        let ratios = [wall_of(ORACLE, 0.06), wall_of(PGBACKREST, 0.4), memory(64.0)];
        // What we compress with gzip has the same format, but can be read faster.
        let (suffix, by) = if archiver == OURS {
            ("-own", " by this program")
        } else {
            ("", "")
        };
        Row::new(
            format!("get-wal/{compression}{suffix}"),
            format!("`get-wal` of one segment of 16 MiB, stored{by} with compression {compression}"),
            [own, &ratios].concat(),
            move |world| get_wal(world, compression, archiver),
        )
    })
    .collect()
}

fn get_wal(world: &mut World, compression: &'static str, archiver: &str) -> Result<Contest> {
    let segments = data::segments(world.sized(100, 10))?;
    let segments: Vec<PathBuf> = segments.into_iter().rev().take(4).collect();
    let source = segments.first().context("no segment")?;
    let wanted = data::name(source)?.to_owned();
    let content = Rc::new(std::fs::read(source).with_context(|| format!("read {}", source.display()))?);
    let sandbox = Rc::new(sandbox(world, compression)?);
    data::place(&segments, &sandbox.server_dir().join("incoming"))?;
    // One archives, so that both fetch the same.
    let program = if archiver == OURS {
        sandbox.barman()?
    } else {
        peers::oracle(&sandbox)?
    };
    let archived = program.run(["archive-wal", "main"])?;
    let directory = sandbox
        .server_dir()
        .join("wals")
        .join(wanted.get(..16).unwrap_or_default());
    let stored = directory.join(&wanted);
    if !stored.exists() {
        anyhow::bail!("{archiver} did not archive with {compression}: {archived}");
    }
    settle(&directory)?;

    let fetch = |name: &'static str, program: Program| {
        let (sandbox, wanted, content) = (Rc::clone(&sandbox), wanted.clone(), Rc::clone(&content));
        Side::new(name, move || {
            let _ = &sandbox;
            let (sample, done) = measure::run(&program, ["get-wal", "main", wanted.as_str()])?;
            ensure!(
                done.stdout_bytes == *content,
                "{} bytes came, and not those of the segment: {}",
                done.stdout_bytes.len(),
                done.stderr
            );
            Ok(sample)
        })
    };
    let ours = sandbox.barman()?;
    let attempt = ours.run(["get-wal", "main", wanted.as_str()])?;
    let awaits = if attempt.code == Some(0) {
        None
    } else {
        not_yet(&attempt.stderr)
    };
    let repository = Repository::new(compression, &segments);
    let pgbackrest = repository.map(|repository| repository.side(&wanted));
    let mut contest = Contest::of(fetch(OURS, ours))
        .against_or_missing(
            ORACLE,
            peers::oracle(&sandbox).map(|oracle| fetch(ORACLE, oracle)),
        )
        .against_or_missing(PGBACKREST, pgbackrest)
        .note("to standard output, which is a file; pgBackRest writes the file that it is asked for")
        .at_least(11);
    if compression == "gzip" {
        let to = world.scratch("decoded")?;
        let args = Alone {
            direction: "decompress",
            algorithm: compression,
            threads: 1,
            sync: false,
            to: &to,
            files: &[stored],
        }
        .args();
        let program = world.ours("codec");
        contest = contest.against(Side::new(DECODE, move || {
            Ok(measure::run(&program, args.clone())?.0)
        }));
    }
    contest.awaits = awaits;
    Ok(contest)
}
