//! `cargo xtask crash`: faults at every file-system call.
//!
//! A scenario is prepared, run once under `strace` and recorded. The record says which calls there are, and the order
//! checker says whether each thing was on disk before what relies on it. Then the command is run again and again, each
//! time killed or hindered at another call; after each, the scenario's invariants must hold, both programs must be able
//! to read the catalogue, and the next run must bring everything to where an undisturbed run brings it.

mod campaign;
mod disk;
mod kept;
mod planted;
mod points;
mod readers;
mod report;
mod scenario;
pub mod scenes;

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use testkit::interrupt_flag;

use crate::{run, setup};
use campaign::Settings;
use points::Kind;
use scenario::Scenario;

/// What to torture.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask crash --list\n  \
    cargo xtask crash archive-wal\n  \
    cargo xtask crash delete --fault kill,enospc --budget 60\n  \
    cargo xtask crash archive-wal/gzip --fault kill --call fsync --at 17")]
pub struct Options {
    /// The command, with or without a variant as --list shows it; everything if not given
    command: Option<String>,
    /// Show the scenarios and the rules of the order checker
    #[arg(long)]
    list: bool,
    /// Which faults
    #[arg(long, value_delimiter = ',', default_values = ["kill", "enospc", "eio", "unsupported"])]
    fault: Vec<Kind>,
    /// Only at calls of these names, `fsync` for example
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    call: Vec<String>,
    /// Only at the call of this number (with --call)
    #[arg(long, requires = "call", value_name = "N")]
    at: Option<u32>,
    /// Only in the threads beside the first one, which is held back
    #[arg(long)]
    other_threads: bool,
    /// Only every N-th call
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one)]
    stride: usize,
    /// Stop each scenario after so many seconds
    #[arg(long, value_name = "SECONDS")]
    budget: Option<u64>,
    /// How many calls of each kind of those that are alike file by file (the bulk of a backup); 0 for all of them
    #[arg(long, default_value_t = 10, value_name = "N")]
    bulk: usize,
    /// Decides which calls are chosen when not all are
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs at a time
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = at_least_one)]
    jobs: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a number from 1 on is wanted".to_owned()),
    }
}

/// Runs the task.
///
/// # Errors
/// Something broke, or a scenario could not be run.
pub fn run(options: &Options) -> Result<()> {
    if options.list {
        return run::print_list(&report::list(scenes::ALL));
    }
    let chosen: Vec<&Scenario> = match &options.command {
        Some(filter) => scenes::ALL.iter().filter(|s| s.is_called(filter)).collect(),
        None => scenes::ALL.iter().collect(),
    };
    ensure!(
        !chosen.is_empty(),
        "there is no scenario {:?}: see `cargo xtask crash --list`",
        options.command.as_deref().unwrap_or_default()
    );
    let known = testkit::strace::order_calls();
    if let Some(name) = options.call.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(
            "--call {name}: no such call is followed; they are {}",
            known.join(", ")
        );
    }
    setup::run()?;
    let settings = Settings {
        kinds: options.fault.clone(),
        calls: options.call.clone(),
        at: options.at,
        others: options.other_threads,
        stride: options.stride,
        bulk: (options.bulk > 0).then_some(options.bulk),
        budget: options.budget.map(Duration::from_secs),
        seed: options.seed,
        jobs: options.jobs,
        // Whoever repeats one fault has seen the rest.
        plant: options.at.is_none(),
        ..defaults()?
    };
    interruptible(|| campaigns(&chosen, &settings, 1))
}

/// The scenarios of a short test: those that are quickly prepared.
const SHORT: [&str; 4] = ["delete", "archive-wal", "archive-wal/gzip", "receive-wal"];

/// For `cargo xtask test`: the quick scenarios for some seconds each, or all of them within ten minutes. The time only
/// decides how many points are tried.
///
/// # Errors
/// As [`run()`].
pub fn for_test(long: bool) -> Result<()> {
    setup::run()?;
    let chosen: Vec<&Scenario> = scenes::ALL
        .iter()
        .filter(|scenario| long || SHORT.contains(&scenario.name))
        .collect();
    let settings = Settings {
        budget: Some(Duration::from_secs(if long { 90 } else { 8 })),
        bulk: Some(if long { 10 } else { 2 }),
        jobs: 1,
        ..defaults()?
    };
    interruptible(|| campaigns(&chosen, &settings, 2))
}

/// Everything, with the program of this build.
fn defaults() -> Result<Settings> {
    let program = run::built(&["--package", "barman-cli", "--bin", "barman"], "barman")?;
    let keep = run::target_dir().join("crash");
    kept::sweep(&keep);
    Ok(Settings {
        program,
        kinds: Kind::ALL.to_vec(),
        calls: Vec::new(),
        at: None,
        others: false,
        stride: 1,
        bulk: Some(10),
        budget: None,
        plant: true,
        seed: 1,
        jobs: 2,
        keep,
    })
}

/// Says that it was interrupted, whatever else that has broken.
fn interruptible(work: impl FnOnce() -> Result<()>) -> Result<()> {
    run::watch_signals()?;
    let result = work();
    if interrupt_flag().load(Ordering::Relaxed) {
        bail!("interrupted; what was started is stopped and its files are removed");
    }
    result
}

/// So many scenarios at a time, each of which runs its own jobs.
fn campaigns(chosen: &[&Scenario], settings: &Settings, lanes: usize) -> Result<()> {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let bad = Mutex::new(Vec::new());
    let tried = AtomicUsize::new(0);
    let lane = || -> Result<()> {
        while let Some(scenario) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let begun = Instant::now();
            let progress = |text: &str| {
                let mut error = std::io::stderr();
                if error.is_terminal() {
                    let _ = write!(error, "\r\x1b[K{text}");
                }
            };
            let report = campaign::run(scenario, settings, &progress)
                .with_context(|| format!("scenario {}", scenario.name))?;
            progress("");
            print!("{}", report::text(scenario, &report, begun.elapsed()));
            tried.fetch_add(report.tried(), Ordering::Relaxed);
            if !report.is_good() {
                bad.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(scenario.name);
            }
        }
        Ok(())
    };
    thread::scope(|scope| -> Result<()> {
        let others: Vec<_> = (1..lanes).map(|_| scope.spawn(lane)).collect();
        let mut outcome = lane();
        for other in others {
            outcome = outcome.and(other.join().map_err(|_| anyhow!("a thread has panicked"))?);
        }
        outcome
    })?;
    let bad = bad.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !bad.is_empty() {
        bail!("broken: {} (seed {})", bad.join(", "), settings.seed);
    }
    ensure!(
        tried.into_inner() > 0,
        "no point was tried: no run makes a call to which --fault, --call and --other-threads apply"
    );
    println!("All held ({:.0?}, seed {}).", start.elapsed(), settings.seed);
    Ok(())
}
