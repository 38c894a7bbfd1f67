//! `cargo xtask conformance`: the same scenarios through our program and through Barman 3.20.1, and what both said and left behind compared.
//!
//! A scenario (`scenario.rs`, rows in `scenarios/`) is data: a state, commands, what is compared, the section of the specification. Each program gets its
//! own copy of the state at the same path. What differs must be listed in `docs/differences.md`, and the scenario says exactly how; everything else
//! fails. Each run also proves that the comparison works (`controls.rs`).

mod capture;
mod catalogue;
mod compare;
mod controls;
mod elsewhere;
mod execute;
mod inventory;
mod lines;
mod listed;
mod normalise;
mod report;
mod scenario;
mod scenarios;
mod state;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use testkit::{Program, TestDir, cache, executed, interrupt_flag};

use crate::{run, setup};
use compare::{Side, compare};
use controls::FAULTS;
use execute::{Played, Player, play};
use inventory::Coverage;
use report::{Outcome, Verdict};
use scenario::Scenario;
use world::World;

/// Scenarios that the oracle plays twice: it must agree with itself.
const AGAINST_ITSELF: [&str; 5] = [
    "list-servers",
    "show-backup-json",
    "delete-oldest-removes-its-wal",
    "archive-wal-moves-what-came",
    "restore-latest",
];

/// What to run.
#[derive(Debug, Args)]
#[command(after_help = "\
Each scenario gives both programs equal copies of a state, runs the same commands, and compares exit codes, output and files.
In the excerpt of a failure, lines with - are Barman's, lines with + are ours. A difference that is wanted gets a row in
docs/differences.md, and the scenario names it and says exactly what differs; any other difference is a fault.

  cargo xtask conformance                    everything, and the coverage
  cargo xtask conformance --short            what `cargo xtask test` runs
  cargo xtask conformance --list delete      what the scenarios with this in their names do
  cargo xtask conformance list-backups       only scenarios with this in their names
  cargo xtask conformance --unseen           listed differences that other tests show, and why
  cargo xtask conformance --keep NAME        and keep what both programs left, to look at")]
pub struct Options {
    /// Run only scenarios whose names contain one of these
    #[arg(value_name = "NAME")]
    filter: Vec<String>,
    /// Show the scenarios and run none
    #[arg(long)]
    list: bool,
    /// Show the rows of docs/differences.md that no scenario shows, why, and which test does; and run none
    #[arg(long)]
    unseen: bool,
    /// Only the short selection that `cargo xtask test` runs
    #[arg(long)]
    short: bool,
    /// Keep the directories of the runs, and tell where they are
    #[arg(long)]
    keep: bool,
    /// How many scenarios run at once
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Use this program instead of building ours
    #[arg(long, hide = true)]
    barman: Option<PathBuf>,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let mut chosen = scenarios::all();
    if options.short {
        chosen.retain(|scenario| scenario.short);
    }
    let wanted = |name: &str| options.filter.iter().any(|part| name.contains(part.as_str()));
    if !options.filter.is_empty() {
        chosen.retain(|scenario| wanted(scenario.name));
    }
    ensure!(
        !chosen.is_empty(),
        "no scenario{} has \"{}\" in its name; `cargo xtask conformance --list` shows them",
        if options.short {
            " of the short selection"
        } else {
            ""
        },
        options.filter.join("\" or \"")
    );
    if options.list {
        return run::print_list(&report::list(&chosen));
    }
    let listed = listed::parse(&fs::read_to_string(run::root().join("docs/differences.md"))?)
        .context("read docs/differences.md")?;
    if options.unseen {
        return run::print_list(&elsewhere::table(&listed, &chosen));
    }
    setup::run()?;
    run::watch_signals()?;
    let ours = match &options.barman {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("find {}", path.display()))?,
        None => build()?,
    };
    let suite = Suite {
        chosen,
        // Coverage says nothing when only some of the scenarios run.
        whole: !options.short && options.filter.is_empty(),
        checked: options.filter.is_empty(),
        ours: Player {
            name: "ours",
            program: ours,
        },
        oracle: Player {
            name: "oracle",
            program: cache::oracle_program(),
        },
        keep: options.keep,
        jobs: usize::from(options.jobs),
        world: World::default(),
        listed,
    };
    suite.run()
}

/// The part of `cargo xtask test`: the short selection, or everything. Adds the PostgreSQL versions to the record of the tests.
///
/// # Errors
/// A scenario fails, or cannot be run.
pub fn for_test(long: bool) -> Result<()> {
    run(&Options {
        filter: Vec::new(),
        list: false,
        unseen: false,
        short: !long,
        keep: false,
        jobs: 4,
        barman: None,
    })
}

fn build() -> Result<PathBuf> {
    run::built(&["--package", "barman-cli", "--bin", "barman"], "barman")
}

struct Suite {
    chosen: Vec<Scenario>,
    whole: bool,
    /// Whether there is room for every control.
    checked: bool,
    ours: Player,
    oracle: Player,
    keep: bool,
    jobs: usize,
    world: World,
    listed: BTreeMap<String, listed::Row>,
}

/// What came out of all scenarios.
#[derive(Default)]
struct Results {
    outcomes: Vec<Outcome>,
    coverage: Coverage,
    faults: usize,
    /// Those of them that nobody saw.
    unseen: usize,
    /// Kinds of faults that were found at least once.
    kinds: BTreeSet<&'static str>,
    itself: usize,
    used: BTreeSet<&'static str>,
}

impl Suite {
    fn run(&self) -> Result<()> {
        let start = Instant::now();
        self.check_names()?;
        let results = Mutex::new(Results::default());
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..self.jobs.min(self.chosen.len()) {
                scope.spawn(|| {
                    while let Some(scenario) = self.chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if interrupt_flag().load(Ordering::Relaxed) {
                            return;
                        }
                        self.judge(scenario, &results);
                    }
                });
            }
        });
        if interrupt_flag().load(Ordering::Relaxed) {
            bail!("interrupted; what was started is stopped and its files removed");
        }
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.record()?;
        self.summary(&results, start)
    }

    /// Everything that a scenario names exists.
    fn check_names(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for scenario in &self.chosen {
            ensure!(
                names.insert(scenario.name),
                "two scenarios are called {}",
                scenario.name
            );
            if let Some(why) = scenario.compares_too_little() {
                bail!("{}: {why}", scenario.name);
            }
            for allowed in &scenario.allowed {
                ensure!(
                    self.listed.contains_key(allowed.id),
                    "{} allows the difference {}, which is not in docs/differences.md",
                    scenario.name,
                    allowed.id
                );
                if let Some(why) = allowed.too_wide() {
                    bail!("{}: {why}", scenario.name);
                }
            }
        }
        let help = Program::new(&self.ours.program).ok(["--help"])?.stdout;
        let stale = inventory::stale(&help);
        ensure!(stale.is_empty(), "{}", stale.join("\n"));
        Ok(())
    }

    fn judge(&self, scenario: &Scenario, results: &Mutex<Results>) {
        let mut found = Results::default();
        let verdict = self
            .play(scenario, &mut found)
            .unwrap_or_else(|error| Verdict::Broken(format!("{error:#}")));
        let outcome = Outcome {
            name: scenario.name,
            verdict,
        };
        let seen: Vec<&'static str> = match outcome.verdict {
            Verdict::Same { .. } => scenario.allowed.iter().map(|allowed| allowed.id).collect(),
            _ => Vec::new(),
        };
        if interrupt_flag().load(Ordering::Relaxed) {
            return;
        }
        print!("{}", report::line(&outcome));
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        results.outcomes.push(outcome);
        results.coverage.add(found.coverage);
        results.faults += found.faults;
        results.unseen += found.unseen;
        results.kinds.extend(found.kinds);
        results.itself += found.itself;
        results.used.extend(seen);
    }

    fn play(&self, scenario: &Scenario, results: &mut Results) -> Result<Verdict> {
        let mut dir = TestDir::new()?;
        if self.keep {
            dir.keep();
        }
        let ours = play(scenario, &self.ours, &dir, &self.world, self.keep)?;
        if let Some(command) = scenario.awaits {
            return Ok(refused(command, &ours));
        }
        let oracle = play(scenario, &self.oracle, &dir, &self.world, self.keep)?;
        let (differences, mut complaints) = differences(scenario, &ours, &oracle);
        complaints.extend(unused_rules(scenario, &ours, &oracle));
        complaints.extend(unused_patterns(scenario, &ours, &oracle));
        if !differences.is_empty() || !complaints.is_empty() {
            return Ok(Verdict::Different(differences, complaints));
        }
        for (mine, theirs) in ours.capture.runs.iter().zip(&oracle.capture.runs) {
            if mine.code == theirs.code {
                results.coverage.note(scenario.name, &mine.args, mine.code);
            }
        }
        complaints.extend(controls(scenario, &ours, &oracle, results));
        if AGAINST_ITSELF.contains(&scenario.name) {
            let again = play(scenario, &self.oracle, &dir, &self.world, false)?;
            let found = compared(scenario, &again, &oracle);
            results.itself += 1;
            if !found.is_empty() {
                complaints.push("control: the oracle differs from itself".to_owned());
                return Ok(Verdict::Different(found, complaints));
            }
        }
        if complaints.is_empty() {
            Ok(Verdict::Same {
                listed: scenario.allowed.len(),
                oracle: oracle.elapsed,
                ours: ours.elapsed,
            })
        } else {
            Ok(Verdict::Different(Vec::new(), complaints))
        }
    }

    /// Adds the versions to the record from which `cargo xtask test` makes its table.
    fn record(&self) -> Result<()> {
        for major in self.world.majors() {
            executed::append(&run::executed_record(), "xtask::conformance", "all", major)
                .context("record the PostgreSQL versions")?;
        }
        Ok(())
    }

    fn summary(&self, results: &Results, start: Instant) -> Result<()> {
        let mut faults = Vec::new();
        if self.whole {
            print!("\n{}", results.coverage.table());
            faults.extend(results.coverage.faults());
        }
        if results.outcomes.iter().all(Outcome::is_good) && self.checked {
            let missed = FAULTS
                .iter()
                .filter(|fault| !results.kinds.contains(fault.name()));
            faults.extend(missed.map(|fault| format!("control: no scenario had room for {}", fault.name())));
            if results.itself != AGAINST_ITSELF.len() {
                faults.push(format!(
                    "control: {} instead of {} scenarios ran the oracle against itself",
                    results.itself,
                    AGAINST_ITSELF.len()
                ));
            }
        }
        println!(
            "\nControls: {} faults put into our output, {}; the oracle against itself {} times.",
            results.faults,
            match results.unseen {
                0 => "all of them found".to_owned(),
                unseen => format!("{unseen} of them NOT FOUND (told with their scenarios)"),
            },
            results.itself
        );
        println!(
            "Listed differences seen: {} of the {} rows of docs/differences.md; `--unseen` tells which test shows each of the others.",
            results.used.len(),
            self.listed.len()
        );
        let failed: Vec<&str> = results
            .outcomes
            .iter()
            .filter(|o| !o.is_good())
            .map(|o| o.name)
            .collect();
        println!(
            "{} scenarios in {:.0?}, {} failed.",
            results.outcomes.len(),
            start.elapsed(),
            failed.len()
        );
        for name in &failed {
            println!("    cargo xtask conformance {name}");
        }
        for fault in &faults {
            println!("    {fault}");
        }
        ensure!(
            failed.is_empty() && faults.is_empty(),
            "our program and Barman differ, or the scenarios are not complete"
        );
        Ok(())
    }
}

fn compared(scenario: &Scenario, ours: &Played, oracle: &Played) -> Vec<compare::Difference> {
    let (a, b) = (
        ours.normaliser(scenario, &ours.capture),
        oracle.normaliser(scenario, &oracle.capture),
    );
    let ours = Side {
        capture: &ours.capture,
        normaliser: &a,
    };
    let oracle = Side {
        capture: &oracle.capture,
        normaliser: &b,
    };
    compare(&scenario.compare, &ours, &oracle)
}

fn differences(
    scenario: &Scenario,
    ours: &Played,
    oracle: &Played,
) -> (Vec<compare::Difference>, Vec<String>) {
    listed::unlisted(&compared(scenario, ours, oracle), &scenario.allowed)
}

/// Rules that changed nothing: they would hide something one day.
fn unused_rules(scenario: &Scenario, ours: &Played, oracle: &Played) -> Vec<String> {
    let mut used = BTreeSet::new();
    for played in [ours, oracle] {
        let normaliser = played.normaliser(scenario, &played.capture);
        let side = Side {
            capture: &played.capture,
            normaliser: &normaliser,
        };
        compare(&scenario.compare, &side, &side);
        used.extend(normaliser.used());
        // Equal files are not normalised for the comparison.
        for (path, found) in &played.capture.files {
            if let capture::Found::File(_, _, capture::Content::Bytes(bytes)) = found
                && !bytes.contains(&0)
            {
                normaliser.file(path, &String::from_utf8_lossy(bytes));
            }
            normaliser.text(path);
        }
        for run in &played.capture.runs {
            normaliser.text(&String::from_utf8_lossy(&run.stdout));
            normaliser.text(&String::from_utf8_lossy(&run.stderr));
        }
        used.extend(normaliser.used());
    }
    let unused = scenario.rules.iter().filter(|rule| !used.contains(rule));
    unused
        .map(|rule| format!("the rule `{}` has nothing to do here", rule.name()))
        .collect()
}

/// Patterns of files that fit none here. Which files of a live server or of a lock are there is a matter of moments.
fn unused_patterns(scenario: &Scenario, ours: &Played, oracle: &Played) -> Vec<String> {
    if matches!(scenario.state.live, state::Live::Own(_)) {
        return Vec::new();
    }
    let mut paths = BTreeSet::new();
    for played in [ours, oracle] {
        let normaliser = played.normaliser(scenario, &played.capture);
        paths.extend(played.capture.files.keys().map(|path| normaliser.text(path)));
    }
    let patterns = scenario.compare.files.iter().map(|(pattern, _)| *pattern);
    let idle = patterns
        .filter(|pattern| !pattern.ends_with(".lock"))
        .filter(|pattern| !paths.iter().any(|path| lines::fits(pattern, path)));
    idle.map(|pattern| format!("no file fits the pattern `{pattern}`"))
        .collect()
}

/// Puts faults into our output; each must be seen.
fn controls(scenario: &Scenario, ours: &Played, oracle: &Played, results: &mut Results) -> Vec<String> {
    let seed = scenario.name.bytes().fold(7_usize, |sum, b| {
        sum.wrapping_mul(31).wrapping_add(usize::from(b))
    });
    let theirs = oracle.normaliser(scenario, &oracle.capture);
    let oracle = Side {
        capture: &oracle.capture,
        normaliser: &theirs,
    };
    let mut complaints = Vec::new();
    for fault in FAULTS {
        let Some(changed) = fault.applied(&ours.capture, &scenario.compare, seed) else {
            continue;
        };
        let normaliser = ours.normaliser(scenario, &changed);
        let side = Side {
            capture: &changed,
            normaliser: &normaliser,
        };
        let (left, missing) =
            listed::unlisted(&compare(&scenario.compare, &side, &oracle), &scenario.allowed);
        results.faults += 1;
        results.kinds.insert(fault.name());
        if left.is_empty() && missing.is_empty() {
            results.unseen += 1;
            complaints.push(format!("control: {} was not seen", fault.name()));
        }
    }
    complaints
}

/// A command that is not there yet is refused by name.
fn refused(command: &str, ours: &Played) -> Verdict {
    let complaint = |run: &capture::Run| {
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&run.stderr),
            String::from_utf8_lossy(&run.stdout)
        );
        let good = run.code == 1 && text.contains(&format!("{command} is not yet available"));
        (!good).then(|| {
            format!(
                "`{}` does not say that {command} is not yet available (exit code {}): {text}",
                run.args.join(" "),
                run.code
            )
        })
    };
    let mut complaints: Vec<String> = ours.capture.runs.iter().filter_map(complaint).collect();
    if ours.capture.runs.is_empty() {
        complaints.push("it runs no command".to_owned());
    }
    if complaints.is_empty() {
        Verdict::Awaited
    } else {
        Verdict::Different(Vec::new(), complaints)
    }
}
