//! `cargo xtask fuzz`: mutated input for every parser of files and network bytes.
//!
//! The parsers and what must hold for them are in `xtask/parsers`; each has a target in `fuzz/fuzz_targets` that
//! cargo-fuzz builds with libFuzzer, coverage counters, AddressSanitizer (for the `unsafe` of dependencies) and checks
//! of overflows. That needs unstable flags of the compiler, not another compiler: `RUSTC_BOOTSTRAP=1`.
//!
//! What is found lies below `target/`: `fuzz-corpus/NAME/` keeps inputs that reached new code, for the next run;
//! `fuzz-artifacts/NAME/` what made a target fail. `fuzz/corpus/NAME/`, which is in the repository, only changes with
//! `--minimise` and by hand.

mod build;
mod minimise;
mod parsers;
mod report;
mod target;

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use testkit::interrupt_flag;

use crate::run;
use report::Table;
use target::{Outcome, Running};

/// What to run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask fuzz                        every target for 30 seconds
  cargo xtask fuzz backup_info --seconds 600
  cargo xtask fuzz --list                 the targets, what they read and which functions they run
  cargo xtask fuzz --replay               the saved inputs on the ordinary compiler, within seconds

A crash is shown with the file that causes it and the commands to repeat it. Once it is repaired, that file goes
into fuzz/corpus/NAME/ under a name that says what it is; `cargo xtask test` replays it from then on.")]
pub struct Options {
    /// Run only targets whose names contain this
    filter: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: u64,
    /// How many targets run at once
    #[arg(long, default_value_t = 2, value_name = "J", value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
    /// Show the targets and stop
    #[arg(long, conflicts_with_all = ["replay", "minimise"])]
    list: bool,
    /// Only run the saved inputs, without building the targets
    #[arg(long, conflicts_with = "minimise")]
    replay: bool,
    /// Afterwards add to fuzz/corpus what reaches code that the saved inputs do not, within the limits of its size
    #[arg(long)]
    minimise: bool,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let filter = options.filter.as_deref().unwrap_or_default();
    if options.replay {
        return parsers::replay(filter);
    }
    eprintln!("building the list of parsers (minutes the first time)");
    // A parser without a target, or a function without a parser, fails the run before it begins.
    parsers::check()?;
    let all = parsers::list()?;
    let chosen: Vec<_> = all.into_iter().filter(|row| row.name.contains(filter)).collect();
    ensure!(
        !chosen.is_empty(),
        "no target has `{filter}` in its name; see `cargo xtask fuzz --list`"
    );
    if options.list {
        return run::print_list(&report::list(&chosen));
    }
    let programs = build::all()?;
    let names: Vec<&str> = chosen.iter().map(|row| row.name.as_str()).collect();
    for name in &names {
        // The program alone may be left of an earlier build.
        let source = run::root().join(format!("fuzz/fuzz_targets/{name}.rs"));
        ensure!(
            source.is_file() && programs.join(name).is_file(),
            "the parser {name} has no fuzz target: there is no fuzz/fuzz_targets/{name}.rs"
        );
    }

    run::watch_signals()?;
    let stop = interrupt_flag();
    let scratch = target::Scratch::new()?;
    let total = Duration::from_secs(options.seconds * (names.len() as u64).div_ceil(options.jobs));
    println!(
        "{} targets, {} s each, {} at once: about {total:.0?}\n",
        names.len(),
        options.seconds,
        options.jobs
    );

    let mut table = Table::new(&names);
    let mut waiting = chosen.iter();
    let mut running: Vec<Running> = Vec::new();
    print!("{}", table.heading());
    loop {
        while !stop.load(Ordering::Relaxed)
            && (running.len() as u64) < options.jobs
            && let Some(row) = waiting.next()
        {
            running.push(Running::start(row, &programs, &scratch, options.seconds)?);
        }
        if running.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        let mut still = Vec::new();
        for mut one in running {
            if stop.load(Ordering::Relaxed) {
                one.interrupt();
            }
            match one.finished()? {
                Some(outcome) => print!("{}", table.add(outcome)),
                None => still.push(one),
            }
        }
        running = still;
    }
    print!("\n{}", table.summary());
    if stop.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    let failed: Vec<&Outcome> = table.failed();
    if !failed.is_empty() {
        bail!("{} target(s) failed", failed.len());
    }
    if options.minimise {
        for row in &chosen {
            ensure!(!stop.load(Ordering::Relaxed), "interrupted");
            minimise::one(row, &programs, &scratch)?;
        }
    }
    Ok(())
}

/// What `cargo xtask test` runs of this: in the short form nothing, because the saved inputs are replayed by the
/// tests of `xtask/parsers`; in the long form every target for some seconds.
///
/// # Errors
/// A target failed or could not be built.
pub fn for_test(long: bool) -> Result<()> {
    if !long {
        println!("the saved inputs were run by the tests of xtask/parsers; --long also mutates them");
        return Ok(());
    }
    run(&Options {
        filter: None,
        seconds: 8,
        jobs: 2,
        list: false,
        replay: false,
        minimise: false,
    })
}
