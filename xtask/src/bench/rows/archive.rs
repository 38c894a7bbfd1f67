//! `archive-wal` over a full queue.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use testkit::{Mode, Program, Sandbox};

use super::super::measure::{self, Sample};
use super::super::row::{Contest, OURS, Row, Side, memory, wall_of};
use super::super::world::{PATIENCE, World, empty};
use super::super::{data, peers};
use super::codec::Alone;
use super::{ORACLE, not_yet};

/// Our codec by itself, with our threads.
const CODEC: &str = "codec alone + sync";
const SHORT_QUEUE: &str = "ours, short queue";

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (compression, oracle) in [("none", None), ("gzip", Some(0.35)), ("zstd", Some(0.6))] {
        let mut targets = vec![wall_of(CODEC, 1.25), memory(64.0)];
        targets.extend(oracle.map(|ratio| wall_of(ORACLE, ratio)));
        rows.push(Row::new(
            format!("archive/{compression}"),
            format!("`archive-wal`, 100 segments of 16 MiB in `incoming`, compression {compression}"),
            targets,
            move |world| archive(world, compression),
        ));
    }
    rows.push(Row::new(
        "archive/queue",
        "`archive-wal`, the cost of each segment (sparse, 1 MiB) with 200,000 waiting, beside 200 waiting",
        [wall_of(SHORT_QUEUE, 1.0), memory(64.0)],
        queue,
    ));
    rows
}

/// A server that gets its WAL from `incoming`, and nobody to ask.
///
/// # Errors
/// It cannot be made.
pub fn sandbox(world: &World, compression: &str) -> Result<Sandbox> {
    let configured = if compression == "none" { "" } else { compression };
    let sandbox = world
        .sandbox("main")
        .mode(Mode::Archiver)
        .option("compression", configured)
        .build()?;
    for name in ["incoming", "streaming", "wals", "errors", "base", "meta"] {
        fs::create_dir_all(sandbox.server_dir().join(name))?;
    }
    Ok(sandbox)
}

/// A side that archives what is put into `incoming` before each run.
fn archiver(
    name: &'static str,
    program: Program,
    sandbox: &Rc<Sandbox>,
    fill: impl Fn(&Path) -> Result<()> + 'static,
    count: usize,
) -> Side {
    let program = program.timeout(PATIENCE);
    let (of_run, of_reset) = (Rc::clone(sandbox), Rc::clone(sandbox));
    Side::new(name, move || {
        let (sample, done) = measure::run(&program, ["archive-wal", "main"])?;
        let left = fs::read_dir(of_run.server_dir().join("incoming"))?.count();
        let catalogue = of_run.server_dir().join("wals/main-xlog.db");
        let listed = fs::read_to_string(&catalogue)
            .with_context(|| format!("read {}: {done}", catalogue.display()))?
            .lines()
            .count();
        ensure!(
            left == 0 && listed == count,
            "{left} segments are left, {listed} of {count} are listed: {done}"
        );
        Ok(sample)
    })
    .reset(move || {
        let dir = of_reset.server_dir();
        for name in ["incoming", "wals", "errors", "meta"] {
            empty(&dir.join(name))?;
        }
        fill(&dir.join("incoming"))
    })
}

fn archive(world: &mut World, compression: &'static str) -> Result<Contest> {
    let count = world.sized(100, 10);
    let segments = data::segments(count)?;
    let sandbox = Rc::new(sandbox(world, compression)?);
    let fill = {
        let segments = segments.clone();
        move |dir: &Path| data::place(&segments, dir)
    };
    // One attempt tells whether ours has the compression.
    data::place(
        segments.get(..1).unwrap_or_default(),
        &sandbox.server_dir().join("incoming"),
    )?;
    let awaits = not_yet(&sandbox.barman()?.run(["archive-wal", "main"])?.stderr);

    let ours = archiver(OURS, sandbox.barman()?, &sandbox, fill.clone(), count);
    let oracle =
        peers::oracle(&sandbox).map(|oracle| archiver(ORACLE, oracle, &sandbox, fill.clone(), count));
    let (from, to) = (world.scratch("alone-from")?, world.scratch("alone-to")?);
    let files: Vec<PathBuf> = segments
        .iter()
        .map(|segment| Ok(from.join(data::name(segment)?)))
        .collect::<Result<_>>()?;
    let args = Alone {
        direction: "compress",
        algorithm: compression,
        threads: available_parallelism().map_or(1, usize::from),
        sync: true,
        to: &to,
        files: &files,
    }
    .args();
    let program = world.ours("codec");
    let alone = Side::new(CODEC, move || Ok(measure::run(&program, args.clone())?.0)).reset(move || {
        empty(&to)?;
        empty(&from)?;
        data::place(&segments, &from)
    });
    let mut contest = Contest::of(ours)
        .against_or_missing(ORACLE, oracle)
        .against(alone)
        .note("ours and the oracle also list each file and remove it from the queue; both sync each");
    if compression == "none" {
        contest = contest.note(
            "the ratio to the codec alone says little here: ours gives the file another name, the codec alone copies it",
        );
    }
    contest.awaits = awaits;
    Ok(contest)
}

fn queue(world: &mut World) -> Result<Contest> {
    let (long, short): (u64, u64) = (world.sized(200_000, 5_000), 200);
    let side = |name: &'static str, count: u64| -> Result<Side> {
        let sandbox = Rc::new(sandbox(world, "none")?);
        let program = sandbox.barman()?;
        let length = usize::try_from(count)?;
        let mut side = archiver(
            name,
            program,
            &sandbox,
            move |dir| data::sparse_segments(dir, count),
            length,
        );
        let mut run = side.run;
        side.run = Box::new(move || {
            let total = run()?;
            Ok(Sample {
                wall: total.wall / count as f64,
                cpu: total.cpu / count as f64,
                memory: total.memory,
            })
        });
        Ok(side)
    };
    Ok(Contest::of(side(OURS, long)?)
        .against(side(SHORT_QUEUE, short)?)
        .note(format!(
            "times are for one segment: those of a run over all {long} (or {short}) divided by their number"
        )))
}
