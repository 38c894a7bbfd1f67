//! Large catalogues: what grows, and how.

use std::path::PathBuf;

use anyhow::{Context, Result};
use testkit::Sandbox;
use testkit::catalogue::{self, Recipe, WalBodies, WriteOptions};

use super::super::row::{Contest, OURS, Row, Side, memory, wall, wall_of};
use super::super::world::World;
use super::super::{data, measure, peers};
use super::ORACLE;

/// Name of the server in generated catalogues.
pub const SERVER: &str = "huge";

const LIST: &[&str] = &["list-backups", SERVER];
const REBUILD: &[&str] = &["rebuild-xlogdb", SERVER];
/// Our own run on a catalogue of a tenth of the size.
const TENTH: &str = "ours at 1/10";
/// Our own run on a small catalogue.
const SMALL: &str = "ours, small archive";

pub fn rows() -> Vec<Row> {
    vec![
        Row::new(
            "catalogue/list-backups-100k",
            "`list-backups`, 100 backups, 100,000 WAL files",
            [wall_of(ORACLE, 0.003)],
            |world| {
                let sandbox = sandbox(world, world.sized(100, 20), world.sized(100_000, 10_000), None)?;
                let oracle = peers::oracle(&sandbox).map(|oracle| {
                    Side::new(ORACLE, move || Ok(measure::run(&oracle, LIST.iter().copied())?.0))
                });
                Ok(Contest::of(side(OURS, sandbox, LIST)?).against_or_missing(ORACLE, oracle))
            },
        ),
        Row::new(
            "catalogue/list-backups-1m",
            "`list-backups`, 1,000 backups, 1,000,000 WAL files",
            [wall(0.5), memory(100.0)],
            |world| huge(world, LIST, None),
        ),
        Row::new(
            "catalogue/show-backup-1m",
            "`show-backup` of the latest, 1,000 backups, 1,000,000 WAL files",
            [wall(0.3), memory(100.0)],
            |world| huge(world, &["show-backup", SERVER, "latest"], None),
        ),
        Row::new(
            "catalogue/retention-1m",
            "retention decisions (`list-backups` with a recovery window), 1,000 backups, 1,000,000 WAL files",
            [wall(0.5), memory(100.0)],
            |world| huge(world, LIST, Some("RECOVERY WINDOW OF 4 WEEKS")),
        ),
        Row::new(
            "catalogue/retention-explain-1m",
            "`retention --explain` with what `cron` would delete, 1,000 backups, 1,000,000 WAL files",
            [wall(0.5), memory(160.0)],
            |world| {
                huge(
                    world,
                    &["retention", "--explain", SERVER],
                    Some("RECOVERY WINDOW OF 4 WEEKS"),
                )
            },
        ),
        Row::new(
            "catalogue/rebuild-xlogdb",
            "`rebuild-xlogdb`, 5,000 WAL files in a warm cache",
            [wall_of(ORACLE, 0.01), memory(32.0)],
            |world| {
                let wals = world.sized(5_000, 500);
                let sandbox = archive(world, wals)?;
                let oracle = peers::oracle(&sandbox).map(|oracle| {
                    let sandbox = sandbox.clone();
                    Side::new(ORACLE, move || {
                        let _ = &sandbox;
                        Ok(measure::run(&oracle, REBUILD.iter().copied())?.0)
                    })
                });
                Ok(Contest::of(side(OURS, sandbox, REBUILD)?).against_or_missing(ORACLE, oracle))
            },
        ),
        Row::new(
            "catalogue/rebuild-growth",
            "`rebuild-xlogdb`, 100,000 WAL files beside a tenth: linear means 10 at most",
            [wall_of(TENTH, 11.0)],
            |world| {
                let (large, small) = (world.sized(100_000, 20_000), world.sized(10_000, 2_000));
                let large = archive(world, large)?;
                let small = archive(world, small)?;
                Ok(Contest::of(side(OURS, large, REBUILD)?).against(side(TENTH, small, REBUILD)?))
            },
        ),
        Row::new(
            "catalogue/growth",
            "`list-backups`, 1,000 backups and 1,000,000 WAL files beside a tenth of both: linear means 10 at most",
            [wall_of(TENTH, 10.5)],
            |world| {
                let large = side(
                    OURS,
                    sandbox(world, 1_000, world.sized(1_000_000, 200_000), None)?,
                    LIST,
                )?;
                let tenth = side(
                    TENTH,
                    sandbox(world, 100, world.sized(100_000, 20_000), None)?,
                    LIST,
                )?;
                Ok(Contest::of(large).against(tenth))
            },
        ),
        Row::new(
            "catalogue/get-wal-1m",
            "`get-wal` of one segment, not compressed: from an archive of 1,000,000 files beside one of 100",
            [wall_of(SMALL, 1.15)],
            |world| {
                let large = get_wal(world, OURS, world.sized(1_000_000, 200_000))?;
                let small = get_wal(world, SMALL, 100)?;
                Ok(Contest::of(large)
                    .against(small)
                    .at_least(21)
                    .note("of the rest of the archive there are only the lines in `xlog.db`"))
            },
        ),
    ]
}

fn huge(
    world: &mut World,
    args: &'static [&'static str],
    retention: Option<&'static str>,
) -> Result<Contest> {
    let wals = world.sized(1_000_000, 200_000);
    let sandbox = sandbox(world, 1_000, wals, retention)?;
    Ok(Contest::of(side(OURS, sandbox, args)?).at_least(7))
}

fn side(name: &'static str, sandbox: std::rc::Rc<Sandbox>, args: &'static [&'static str]) -> Result<Side> {
    let program = sandbox.barman()?;
    Ok(Side::new(name, move || {
        // Its directory lives as long as somebody runs in it.
        let _ = &sandbox;
        Ok(measure::run(&program, args.iter().copied())?.0)
    }))
}

fn sandbox(
    world: &mut World,
    backups: u32,
    wals: u32,
    retention: Option<&'static str>,
) -> Result<std::rc::Rc<Sandbox>> {
    let key = format!("a catalogue of {backups} backups and {wals} WAL files, retention {retention:?}");
    world.shared(&key, |world| {
        let home = generate(world, backups, wals)?;
        world
            .sandbox(SERVER)
            .global("barman_home", &home.display().to_string())
            .option("retention_policy", retention.unwrap_or_default())
            .build()
    })
}

fn get_wal(world: &mut World, name: &'static str, wals: u32) -> Result<Side> {
    let sandbox = sandbox(world, 10, wals, None)?;
    let home = generate(world, 10, wals)?;
    let source = data::segments(world.sized(100, 10))?;
    let source = source.last().context("no segment")?;
    let segment = data::name(source)?.to_owned();
    let dir = home
        .join(SERVER)
        .join("wals")
        .join(segment.get(..16).context("a short name")?);
    std::fs::create_dir_all(&dir)?;
    data::place(std::slice::from_ref(source), &dir)?;
    let program = sandbox.barman()?;
    Ok(Side::new(name, move || {
        let _ = &sandbox;
        Ok(measure::run(&program, ["get-wal", SERVER, &segment])?.0)
    }))
}

/// A `barman_home` with the server [`SERVER`]: backups at equal distances, a WAL file each minute up to now, whose lines are in
/// the catalogue of WAL and which are not on disk. Kept for the run.
///
/// # Errors
/// It cannot be made.
pub fn generate(world: &World, backups: u32, wals: u32) -> Result<PathBuf> {
    written(world, backups, wals, WalBodies::Absent)
}

/// The same with ten backups, and with the files of the archive: the first page header of each.
fn archive(world: &mut World, wals: u32) -> Result<std::rc::Rc<Sandbox>> {
    world.shared(&format!("an archive of {wals} WAL files"), |world| {
        let home = written(world, 10, wals, WalBodies::Headers)?;
        world
            .sandbox(SERVER)
            .global("barman_home", &home.display().to_string())
            .build()
    })
}

fn written(world: &World, backups: u32, wals: u32, bodies: WalBodies) -> Result<PathBuf> {
    let dir = world.dir().join(format!("catalogue-{backups}-{wals}-{bodies:?}"));
    if !dir.exists() {
        std::fs::create_dir(&dir)?;
        let options = WriteOptions {
            wal: bodies,
            ..WriteOptions::default()
        };
        let now = jiff::Timestamp::now().as_second();
        catalogue::write(&Recipe::huge(backups, wals).blueprint_at(now), &dir, &options)?;
        super::super::world::settle(&dir)?;
    }
    Ok(dir.join("home"))
}
