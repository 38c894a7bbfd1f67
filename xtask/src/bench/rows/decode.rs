//! The WAL decoder beside `pg_waldump`; the WAL index.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::super::row::{Contest, OURS, Row, Side, cpu_of, wall, wall_of};
use super::super::world::World;
use super::super::{data, measure, peers};

const WALDUMP: &str = "pg_waldump";
/// The same bytes read and not looked at: what no decoder can be quicker than by much.
const READING: &str = "reading alone";

pub fn rows() -> Vec<Row> {
    [
        (
            "decode/image-rich",
            "WAL full of page images, decoded with CRC by one thread",
            data::Load::Images,
            1.25,
        ),
        (
            "decode/small-records",
            "WAL of small records, decoded with CRC by one thread",
            data::Load::SmallRecords,
            2.0,
        ),
    ]
    .into_iter()
    .map(|(id, what, load, of_reading)| {
        Row::new(
            id,
            what,
            [
                wall_of(WALDUMP, 0.5),
                cpu_of(WALDUMP, 0.5),
                wall_of(READING, of_reading),
            ],
            move |world| contest(world, load),
        )
    })
    .chain([
        Row::new(
            "decode/summary",
            "summary of one segment of 16 MiB with its digest, a mean of 20 from memory",
            [wall(0.010)],
            summary,
        ),
        Row::new(
            "decode/index",
            "an index of 1,000,000 segments opened, one look-up by time; with the start of a program",
            [wall(0.050)],
            look_up,
        ),
    ])
    .collect()
}

/// How often a segment is summarised in one run.
const SUMMARIES: u32 = 20;

fn summary(world: &mut World) -> Result<Contest> {
    let mut segments = data::segments(world.sized(100, 10))?;
    // One of the transactions; bulk loads come first and are quicker.
    let segment = segments.pop();
    ensure!(segment.is_some(), "there are no segments");
    let program = world.ours("index_measure");
    let args: Vec<OsString> = [OsString::from("summary"), SUMMARIES.to_string().into()]
        .into_iter()
        .chain(segment.map(PathBuf::into_os_string))
        .collect();
    Ok(Contest::of(Side::new(OURS, move || {
        let (mut sample, _) = measure::run(&program, args.clone())?;
        sample.wall /= f64::from(SUMMARIES);
        sample.cpu /= f64::from(SUMMARIES);
        Ok(sample)
    }))
    .at_least(11)
    .note("the file is read once; that and the start of the program count as a 20th"))
}

fn look_up(world: &mut World) -> Result<Contest> {
    let count: u32 = world.sized(1_000_000, 50_000);
    let index = world.scratch("wal-index")?;
    let segments = data::segments(world.sized(100, 10))?;
    let segment = segments.last().context("there are no segments")?;
    let program = world.ours("index_measure");
    let words = |first: &str, last: OsString| -> [OsString; 4] {
        [first.into(), index.clone().into(), count.to_string().into(), last]
    };
    program.ok(words("make", segment.into()))?;
    let args = words("time", (count / 2).to_string().into());
    let bytes = std::process::Command::new("du")
        .arg("-sb")
        .arg(&index)
        .output()?
        .stdout;
    let bytes = String::from_utf8_lossy(&bytes);
    let note = format!(
        "{count} segments; the index has {} bytes",
        bytes.split_whitespace().next().unwrap_or("?")
    );
    Ok(Contest::of(Side::new(OURS, move || {
        Ok(measure::run(&program, args.clone())?.0)
    }))
    .at_least(11)
    .note(note))
}

fn contest(world: &mut World, load: data::Load) -> Result<Contest> {
    let segments = data::uniform(world.sized(12, 2), load)?;
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        anyhow::bail!("there are no segments");
    };
    let program = world.ours("waldump");
    let mut args = vec![PathBuf::from("--quiet")];
    args.extend(segments.iter().cloned());
    let ours = Side::new(OURS, move || {
        let (sample, done) = measure::run(&program, args.clone())?;
        ensure!(done.code == Some(0), "{done}");
        Ok(sample)
    });
    let reader = world.ours("index_measure");
    let mut files = vec![PathBuf::from("read")];
    files.extend(segments.iter().cloned());
    let reading = Side::new(READING, move || Ok(measure::run(&reader, files.clone())?.0));
    let range = [PathBuf::from("--quiet"), first.clone(), last.clone()];
    let theirs = peers::postgres(data::MAJOR, WALDUMP).map(|program| {
        Side::new(WALDUMP, move || {
            // The last record continues behind the last segment, which it takes for an error.
            Ok(measure::run(&program, range.clone())?.0)
        })
    });
    Ok(Contest::of(ours)
        .against_or_missing(WALDUMP, theirs)
        .against(reading)
        .at_least(11)
        .note(format!(
            "{} segments of 16 MiB; ours maps the files into memory, `pg_waldump` reads them by 8 KiB",
            segments.len()
        )))
}
