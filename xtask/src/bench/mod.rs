//! `cargo xtask bench`: our program beside its peers, as ratios measured in one run. How to use and to read it: `docs/benchmarks.md`.

mod contest;
mod data;
mod measure;
mod peers;
mod record;
mod report;
mod row;
mod rows;
mod stats;
mod world;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use testkit::interrupt_flag;

use self::contest::{RowResult, State};
use self::record::{Machine, Record, Revision, SCHEMA};
use self::row::{Body, Row};
use self::world::{Size, World};
use crate::{run, setup};

/// What to measure.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask bench --list                             all rows with their targets\n  \
    cargo xtask bench                                    everything\n  \
    cargo xtask bench archive/ --runs 9                  one group, nine rounds\n  \
    cargo xtask bench --json before.json                 keep the figures ...\n  \
    cargo xtask bench --json after.json --compare before.json    ... and compare with them\n\n\
    A missed target is no error; a row that could not be measured is. What the figures mean: docs/benchmarks.md.")]
pub struct Options {
    /// Measure only rows whose names contain this
    filter: Option<String>,
    /// Measured rounds of each row; five is the least that a verdict can stand on
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Small sizes and short waits: shows that everything works; the verdicts are hints only
    #[arg(long)]
    quick: bool,
    /// Also measure the rows that take many minutes (a filter that is a row's whole name does so too)
    #[arg(long)]
    long: bool,
    /// Write all figures, with the facts of the machine, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with a file that an earlier run wrote with --json
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Only list the rows and their targets
    #[arg(long)]
    list: bool,
    /// Measure one command: what this program starts itself as
    #[arg(long, hide = true, value_name = "FILE", requires = "command")]
    measure_into: Option<PathBuf>,
    #[arg(last = true, hide = true)]
    command: Vec<OsString>,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    if let Some(report) = &options.measure_into {
        return measure::child(report, &options.command);
    }
    ensure!(options.command.is_empty(), "unexpected arguments after `--`");
    ensure!(options.runs > 0, "--runs must be at least 1");
    let rows = chosen(options)?;
    if options.list {
        return run::print_list(&list(&rows));
    }
    // Before the work of an hour, not after it.
    let earlier = options.compare.as_deref().map(Record::load).transpose()?;
    if let Some(path) = &options.json {
        std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("open {}", path.display()))?;
    }
    setup::run()?;
    setup::peers();
    run::watch_signals()?;
    let record = measure_all(options, &rows)?;
    if let Some(path) = &options.json {
        record.save(path)?;
    }
    print!("{}", report::table(&record));
    if let Some(earlier) = earlier {
        print!("{}", report::comparison(&earlier, &record));
    }
    let failed: Vec<&str> = record
        .rows
        .iter()
        .filter(|row| row.state == State::Failed)
        .map(|row| row.id.as_str())
        .collect();
    ensure!(failed.is_empty(), "could not be measured: {}", failed.join(", "));
    Ok(())
}

/// The rows that the user wants.
fn chosen(options: &Options) -> Result<Vec<Row>> {
    let filter = options.filter.as_deref().unwrap_or_default();
    let rows: Vec<Row> = rows::all()
        .into_iter()
        .filter(|row| row.id.contains(filter))
        .filter(|row| !row.long || options.long || options.list || row.id == filter)
        .collect();
    if rows.is_empty() {
        bail!("no row's name contains {filter:?}; `cargo xtask bench --list` shows them all");
    }
    Ok(rows)
}

fn list(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let note = match (&row.body, row.long) {
            (Body::Awaits(issue), _) => format!("  (not there yet: {issue})"),
            (_, true) => "  (only with --long)".to_owned(),
            _ => String::new(),
        };
        let _ = writeln!(text, "{:<34} {}{note}", row.id, row.what);
        for target in &row.targets {
            let wanted = report::wanted(&contest::unmeasured(target));
            let _ = writeln!(text, "{:<34}   {wanted}", "");
        }
    }
    text
}

fn measure_all(options: &Options, rows: &[Row]) -> Result<Record> {
    let size = if options.quick { Size::Quick } else { Size::Full };
    tell("building barman, optimised");
    let mut world = World::new(size)?;
    let machine = Machine::look(world.dir());
    let start = Instant::now();
    let mut results = Vec::new();
    let mut group = "";
    for (number, row) in rows.iter().enumerate() {
        if row.group() != group {
            world.end_group();
            group = row.group();
        }
        let prefix = format!("[{}/{}] {}", number + 1, rows.len(), row.id);
        let result = measure_row(row, &mut world, options.runs, &prefix);
        if interrupt_flag().load(Ordering::Relaxed) {
            bail!("interrupted; what was started is stopped, and its files are removed");
        }
        if let (State::Failed, Some(reason)) = (result.state, &result.reason) {
            tell(&format!("{prefix}: could not be measured: {reason}"));
        }
        results.push(result);
    }
    tell(&format!("all done in {:.0?}", start.elapsed()));
    Ok(Record {
        schema: SCHEMA,
        time: jiff::Timestamp::now().round(jiff::Unit::Second)?.to_string(),
        revision: Revision::look(),
        machine,
        runs: options.runs,
        quick: options.quick,
        peers: peers::versions(),
        rows: results,
    })
}

fn measure_row(row: &Row, world: &mut World, runs: usize, prefix: &str) -> RowResult {
    let mut result = RowResult {
        id: row.id.clone(),
        what: row.what.clone(),
        state: State::Measured,
        reason: None,
        sides: Vec::new(),
        targets: row.targets.iter().map(contest::unmeasured).collect(),
        notes: Vec::new(),
    };
    let prepare = match &row.body {
        Body::Awaits(issue) => {
            result.state = State::Awaits;
            result.reason = Some((*issue).to_owned());
            return result;
        }
        Body::Measure(prepare) => prepare,
    };
    tell(&format!("{prefix}: preparing"));
    let mut measured = || -> Result<()> {
        let mut contest = prepare(world)?;
        for (peer, reason) in &mut contest.missing {
            *reason = brief(reason);
            tell(&format!("{prefix}: peer missing: {peer}: {reason}"));
        }
        result.notes.append(&mut contest.notes);
        if let Some(said) = contest.awaits.take() {
            result.state = State::Awaits;
            result.reason = Some(said);
            return Ok(());
        }
        let start = Instant::now();
        let sides = contest::run(&mut contest, runs, |step| tell(&format!("{prefix}: {step}")))?;
        tell(&format!("{prefix}: {:.0?}", start.elapsed()));
        // The figures are shown also when a target cannot be judged.
        result.sides = sides;
        result.targets = row
            .targets
            .iter()
            .map(|target| contest::judge(target, &result.sides, &contest.missing))
            .collect::<Result<_>>()?;
        Ok(())
    };
    if let Err(error) = measured() {
        result.state = State::Failed;
        result.reason = Some(brief(&format!("{error:#}")));
    }
    result
}

/// An error on one line; the output of a program that failed can be long, and its end says why.
fn brief(text: &str) -> String {
    const LONGEST: usize = 600;
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let characters = line.chars().count();
    if characters <= LONGEST {
        return line;
    }
    let head: String = line.chars().take(LONGEST / 2).collect();
    let tail: String = line.chars().skip(characters - LONGEST / 2).collect();
    format!("{head} ... {tail}")
}

fn tell(text: &str) {
    eprintln!("bench: {text}");
}
