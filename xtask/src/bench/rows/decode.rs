//! The WAL decoder beside `pg_waldump`.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::super::row::{Contest, OURS, Row, Side, cpu_of, wall_of};
use super::super::world::World;
use super::super::{data, measure, peers};

const WALDUMP: &str = "pg_waldump";

pub fn rows() -> Vec<Row> {
    [
        (
            "decode/image-rich",
            "WAL full of page images, decoded with CRC by one thread",
            data::Load::Images,
        ),
        (
            "decode/small-records",
            "WAL of small records, decoded with CRC by one thread",
            data::Load::SmallRecords,
        ),
    ]
    .into_iter()
    .map(|(id, what, load)| {
        Row::new(
            id,
            what,
            [wall_of(WALDUMP, 0.5), cpu_of(WALDUMP, 0.5)],
            move |world| contest(world, load),
        )
    })
    .collect()
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
    let range = [PathBuf::from("--quiet"), first.clone(), last.clone()];
    let theirs = peers::postgres(data::MAJOR, WALDUMP).map(|program| {
        Side::new(WALDUMP, move || {
            // The last record continues behind the last segment, which it takes for an error.
            Ok(measure::run(&program, range.clone())?.0)
        })
    });
    Ok(Contest::of(ours)
        .against_or_missing(WALDUMP, theirs)
        .at_least(11)
        .note(format!(
            "{} segments of 16 MiB; ours maps the files into memory, `pg_waldump` reads them by 8 KiB",
            segments.len()
        )))
}
