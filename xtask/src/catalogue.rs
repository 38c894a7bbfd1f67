//! `cargo xtask catalogue RECIPE DIR`: a generated catalogue on disk, to look at and to measure with.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use testkit::catalogue::{self, Profile, Recipe, WalBodies, WriteOptions, blueprint::Server};

/// Which catalogue, and where.
#[derive(Debug, Args)]
pub struct Options {
    /// What to make: small:SEED (three plain backups), varied:SEED (whatever Barman itself reads: all statuses, incremental chains, keeps,
    /// timelines, compressions, tablespaces, gaps), damaged:SEED (what Barman cannot bear besides) or huge:BACKUPS,WALS (as in
    /// huge:1000,1000000). The same recipe always gives the same catalogue
    recipe: Recipe,
    /// The directory to make it in; it must be empty or not be there
    directory: PathBuf,
    /// What WAL files hold; the files of huge catalogues are left out unless this says otherwise
    #[arg(long)]
    wal: Option<Bodies>,
    /// Let times end now instead of at a fixed moment, for policies that look at the clock
    #[arg(long)]
    now: bool,
    /// Also write the description as JSON to DIRECTORY/blueprint.json
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bodies {
    /// The first page header of each segment
    Headers,
    /// Full segments, with holes
    Whole,
    /// No files, only the lines of xlog.db
    Absent,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let dir = &options.directory;
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    if fs::read_dir(dir)?.next().is_some() {
        bail!("{} is not empty: name another directory", dir.display());
    }
    let dir = fs::canonicalize(dir)?;
    let start = Instant::now();
    let blueprint = if options.now {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        options.recipe.blueprint_at(i64::try_from(now)?)
    } else {
        options.recipe.blueprint()
    };
    let huge = matches!(options.recipe.profile, Profile::Huge { .. });
    let wal = match options.wal {
        Some(Bodies::Headers) => WalBodies::Headers,
        Some(Bodies::Whole) => WalBodies::Whole,
        Some(Bodies::Absent) => WalBodies::Absent,
        None if huge => WalBodies::Absent,
        None => WalBodies::Headers,
    };
    let home = catalogue::write(
        &blueprint,
        &dir,
        &WriteOptions {
            wal,
            ..WriteOptions::default()
        },
    )?;
    if options.json {
        let file = fs::File::create(dir.join("blueprint.json"))?;
        serde_json::to_writer_pretty(std::io::BufWriter::new(file), &blueprint)
            .context("write the description")?;
    }
    println!("{} in {:.1?}", options.recipe, start.elapsed());
    for server in &blueprint.servers {
        print!("{}", describe(server));
    }
    println!("try: barman -c {} list-backups all", home.config_path().display());
    Ok(())
}

/// What a server has, in a few lines.
fn describe(server: &Server) -> String {
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    let mut modes: BTreeMap<&str, usize> = BTreeMap::new();
    for backup in &server.backups {
        *statuses.entry(backup.status.name()).or_default() += 1;
        *modes.entry(backup.mode.name()).or_default() += 1;
    }
    let counts = |map: &BTreeMap<&str, usize>| {
        let words: Vec<String> = map.iter().map(|(name, n)| format!("{n} {name}")).collect();
        words.join(", ")
    };
    let counted = |text: &str, n: usize| {
        if n == 0 {
            String::new()
        } else {
            format!(", {n} {text}")
        }
    };
    let kept = server.backups.iter().filter(|b| b.keep.is_some()).count();
    let incremental = server.backups.iter().filter(|b| b.parent.is_some()).count();
    format!(
        "server {:?}: PostgreSQL {}, segments of {} MiB\n  {} backups: {} ({}{}{})\n  {} files of WAL, {} timelines{}\n  {}\n",
        server.name,
        server.version,
        server.geometry.segment_size >> 20,
        server.backups.len(),
        counts(&statuses),
        counts(&modes),
        counted("incremental", incremental),
        counted("kept", kept),
        server.wals.len(),
        server.histories.len() + 1,
        counted("queued", server.incoming.len() + server.streaming.len()),
        server.option("retention_policy").unwrap_or("no retention policy"),
    )
}
