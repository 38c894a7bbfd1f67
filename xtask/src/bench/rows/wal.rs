//! WAL files: compressing, archiving, fetching.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use testkit::{Mode, Program, Sandbox};

use super::super::measure::{self, Sample};
use super::super::row::{Contest, OURS, Row, Side, Target, memory, rate_of, wall, wall_of, wall_over};
use super::super::world::{PATIENCE, World, empty, settle};
use super::super::{data, peers};
use super::pgbackrest::{PGBACKREST, Repository};
use super::{ORACLE, not_yet};

/// Our codec by itself, with our threads.
const CODEC: &str = "codec alone + sync";
const DECODE: &str = "decode";
const SHORT_QUEUE: &str = "ours, short queue";

/// A compression: its name in Barman's configuration, Barman's level `medium`, the tool whose output is the same.
struct Codec {
    name: &'static str,
    level: &'static str,
    tool: &'static str,
}

const CODECS: [Codec; 5] = [
    Codec {
        name: "gzip",
        level: "6",
        tool: "gzip",
    },
    Codec {
        name: "zstd",
        level: "3",
        tool: "zstd",
    },
    Codec {
        name: "xz",
        level: "3",
        tool: "xz",
    },
    Codec {
        name: "bzip2",
        level: "5",
        tool: "bzip2",
    },
    Codec {
        name: "lz4",
        level: "1",
        tool: "lz4",
    },
];

pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = CODECS
        .iter()
        .map(|codec| {
            Row::new(
                format!("codec/{}", codec.name),
                format!(
                    "{} of WAL at level {} by one thread, beside the tool of that name",
                    codec.name, codec.level
                ),
                [rate_of(codec.tool, 0.85)],
                move |world| tool(world, codec),
            )
        })
        .collect();
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
    for compression in ["none", "gzip", "lz4", "zstd"] {
        let own: &[Target] = if compression == "gzip" {
            &[wall_over(DECODE, 0.010)]
        } else {
            &[wall(0.030)]
        };
        let ratios = [wall_of(ORACLE, 0.06), wall_of(PGBACKREST, 0.4), memory(64.0)];
        rows.push(Row::new(
            format!("get-wal/{compression}"),
            format!("`get-wal` of one segment of 16 MiB, stored with compression {compression}"),
            [own, &ratios].concat(),
            move |world| get_wal(world, compression),
        ));
    }
    rows
}

fn cores() -> String {
    available_parallelism().map_or(1, usize::from).to_string()
}

/// The arguments of the example `codec`.
fn codec_args(
    direction: &str,
    algorithm: &str,
    level: &str,
    threads: &str,
    sync: &str,
    to: &Path,
    files: &[PathBuf],
) -> Vec<OsString> {
    let mut args: Vec<OsString> = [direction, algorithm, level, threads, sync]
        .map(OsString::from)
        .into();
    args.push(to.into());
    args.extend(files.iter().map(|file| file.clone().into_os_string()));
    args
}

/// One codec by one thread beside its tool, on one file of several segments.
fn tool(world: &mut World, codec: &'static Codec) -> Result<Contest> {
    let input = world.scratch("codec")?.join("wal");
    {
        let mut file = fs::File::create(&input)?;
        // From the middle: neither only bulk load nor only transactions.
        let segments = data::segments(world.sized(100, 10))?;
        for segment in segments
            .iter()
            .skip(segments.len() / 4)
            .step_by(segments.len() / 5)
        {
            std::io::copy(&mut fs::File::open(segment)?, &mut file)?;
        }
    }
    let (to, to_peer) = (
        world.scratch("codec-ours")?,
        world.scratch("codec-peer")?.join("wal"),
    );
    let program = world.ours("codec");
    let args = codec_args(
        "compress",
        codec.name,
        codec.level,
        "1",
        "nosync",
        &to,
        std::slice::from_ref(&input),
    );
    let mut awaits = None;
    let attempt = program.run(&args)?;
    if attempt.code != Some(0) {
        awaits = not_yet(&attempt.stderr);
        ensure!(awaits.is_some(), "{attempt}");
    }
    let ours = Side::new(OURS, move || Ok(measure::run(&program, args.clone())?.0));
    let single = if matches!(codec.tool, "zstd" | "xz") {
        "-T1"
    } else {
        ""
    };
    let line = format!("{} {single} -{} -c \"$1\" > \"$2\"", codec.tool, codec.level);
    let peer = peers::system(codec.tool)
        .and_then(|_| peers::shell(&line))
        .map(|program| {
            let (input, output) = (input.clone(), to_peer.clone());
            Side::new(codec.tool, move || {
                Ok(measure::run(&program, [input.clone(), output.clone()])?.0)
            })
        });
    let mut contest = Contest::of(ours);
    if awaits.is_none()
        && let Ok(mut side) = peer
    {
        (side.run)()?;
        let (own, other) = (fs::metadata(to.join("wal"))?.len(), fs::metadata(&to_peer)?.len());
        let plain = fs::metadata(&input)?.len();
        let ratio = own as f64 / other as f64;
        contest = contest.against(side).note(format!(
            "{} MiB of WAL become {:.2} MiB, {:.2} MiB with the tool: {:+.1} % (target: within 2 %{})",
            plain >> 20,
            own as f64 / f64::from(1 << 20),
            other as f64 / f64::from(1 << 20),
            (ratio - 1.0) * 100.0,
            if ratio > 1.02 { "; MISSED" } else { "" }
        ));
    } else {
        contest = contest.against_or_missing(codec.tool, peer_or_reason(codec.tool));
    }
    contest.awaits = awaits;
    Ok(contest)
}

fn peer_or_reason(tool: &str) -> Result<Side> {
    peers::system(tool)?;
    anyhow::bail!("not measured")
}

/// A server that gets its WAL from `incoming`, and nobody to ask.
fn sandbox(world: &World, compression: &str) -> Result<Sandbox> {
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
        let listed = fs::read_to_string(of_run.server_dir().join("wals/xlog.db"))
            .or_else(|_| fs::read_to_string(of_run.server_dir().join("meta/xlog.db")))?
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
    let oracle = sandbox
        .oracle()
        .map(|oracle| archiver(ORACLE, oracle, &sandbox, fill.clone(), count));
    let level = CODECS
        .iter()
        .find(|codec| codec.name == compression)
        .map_or("0", |codec| codec.level);
    let (from, to) = (world.scratch("alone-from")?, world.scratch("alone-to")?);
    let files: Vec<PathBuf> = segments
        .iter()
        .map(|segment| Ok(from.join(data::name(segment)?)))
        .collect::<Result<_>>()?;
    let args = codec_args("compress", compression, level, &cores(), "sync", &to, &files);
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

fn get_wal(world: &mut World, compression: &'static str) -> Result<Contest> {
    let segments = data::segments(world.sized(100, 10))?;
    let segments: Vec<PathBuf> = segments.into_iter().rev().take(4).collect();
    let wanted = data::name(segments.first().context("no segment")?)?.to_owned();
    let sandbox = Rc::new(sandbox(world, compression)?);
    data::place(&segments, &sandbox.server_dir().join("incoming"))?;
    // The oracle archives, so that both fetch what Barman stores.
    let archived = sandbox.oracle()?.run(["archive-wal", "main"])?;
    let directory = sandbox
        .server_dir()
        .join("wals")
        .join(wanted.get(..16).unwrap_or_default());
    let stored = directory.join(&wanted);
    if !stored.exists() {
        anyhow::bail!("the oracle did not archive with {compression}: {archived}");
    }
    settle(&directory)?;

    let fetch = |name: &'static str, program: Program| {
        let (sandbox, wanted) = (Rc::clone(&sandbox), wanted.clone());
        Side::new(name, move || {
            let _ = &sandbox;
            let (sample, done) = measure::run(&program, ["get-wal", "main", wanted.as_str()])?;
            ensure!(
                done.stdout_bytes.len() as u64 == data::SEGMENT,
                "{} bytes came: {}",
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
    let repository = Repository::new(world, compression, &segments);
    let pgbackrest = repository.map(|repository| repository.side(&wanted));
    let mut contest = Contest::of(fetch(OURS, ours))
        .against_or_missing(ORACLE, sandbox.oracle().map(|oracle| fetch(ORACLE, oracle)))
        .against_or_missing(PGBACKREST, pgbackrest)
        .note("to standard output, which is a file; pgBackRest writes the file that it is asked for")
        .at_least(11);
    if compression == "gzip" {
        let to = world.scratch("decoded")?;
        let args = codec_args("decompress", compression, "0", "1", "nosync", &to, &[stored]);
        let program = world.ours("codec");
        contest = contest.against(Side::new(DECODE, move || {
            Ok(measure::run(&program, args.clone())?.0)
        }));
    }
    contest.awaits = awaits;
    Ok(contest)
}
