//! `cargo xtask test`: everything that must hold before a change lands.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use testkit::executed::{self, Counts};
use testkit::{ALL_MAJORS, dirs, interrupt_flag};

use crate::{arch, conformance, crash, fuzz, run, setup};

/// What to test.
#[derive(Debug, Args)]
pub struct Options {
    /// Also run what takes long: full matrices and campaigns
    #[arg(long)]
    long: bool,
    /// Run only tests whose names contain this; doctests are left out then
    filter: Option<String>,
}

/// Suites that start with this test the kit, not the product: they prove no support of a version.
const KIT: &str = "testkit";

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    setup::run()?;
    run::watch_signals()?;
    let result = everything(options);
    if interrupt_flag().load(Ordering::Relaxed) {
        // Tests that were ended in the middle have left their directories.
        dirs::sweep_now();
        bail!("interrupted; what was started is stopped and its files removed");
    }
    result
}

fn everything(options: &Options) -> Result<()> {
    let start = Instant::now();
    if options.filter.is_none() {
        arch::run()?;
    }
    let record = run::executed_record();
    match fs::remove_file(&record) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(e).context("remove the last run's record");
        }
        _ => {}
    }
    let mut nextest = run::cargo();
    nextest
        .args(["nextest", "run", "--workspace"])
        .env(executed::RECORD_ENV, &record);
    if options.long {
        nextest.env(testkit::LONG_ENV, "1").args(["--profile", "long"]);
    }
    if let Some(filter) = &options.filter {
        nextest.arg(filter);
    }
    run::visible(&mut nextest)?;
    if options.filter.is_none() {
        run::visible(run::cargo().args(["test", "--doc", "--workspace", "--quiet"]))?;
        workshop("conformance with Barman 3.20.1", || {
            conformance::for_test(options.long)
        })?;
        workshop("crashes", || crash::for_test(options.long))?;
        workshop("fuzzing", || fuzz::for_test(options.long))?;
    }
    let recorded = fs::read_to_string(&record).unwrap_or_default();
    let counts = executed::count(&recorded);
    println!("\nTests run on each PostgreSQL version\n{}", table(&counts));
    print!("{}", gaps(&recorded));
    println!("All passed in {:.0?}.", start.elapsed());
    let missing = untested(&counts);
    if options.filter.is_none() && !missing.is_empty() {
        bail!("no test of the product ran on PostgreSQL {missing:?}");
    }
    Ok(())
}

/// One part of the workshop, under a heading.
fn workshop(name: &str, part: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n{name}");
    part().with_context(|| format!("the part \"{name}\" of the tests failed"))
}

/// Suites as rows, versions as columns.
fn table(counts: &Counts) -> String {
    let width = counts
        .keys()
        .map(String::len)
        .max()
        .unwrap_or(0)
        .max("suite".len());
    let mut text = format!("{:width$}", "suite");
    for major in ALL_MAJORS {
        let _ = write!(text, " {major:>4}");
    }
    text.push('\n');
    for (suite, majors) in counts {
        let _ = write!(text, "{suite:width$}");
        for major in ALL_MAJORS {
            let _ = write!(text, " {:>4}", majors.get(&major).copied().unwrap_or(0));
        }
        text.push('\n');
    }
    text
}

/// What tests could not show on this machine, though they passed.
fn gaps(record: &str) -> String {
    let mut text = String::new();
    for (why, tests) in executed::not_proved(record) {
        let _ = writeln!(text, "NOT PROVED on this machine: {why}");
        for test in tests {
            let _ = writeln!(text, "    {test}");
        }
    }
    text
}

/// The versions that no test of the product ran on.
fn untested(counts: &Counts) -> Vec<u16> {
    let ran = |major: &u16| {
        counts
            .iter()
            .any(|(suite, majors)| !suite.starts_with(KIT) && majors.contains_key(major))
    };
    ALL_MAJORS.into_iter().filter(|major| !ran(major)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_version_and_the_kit_proves_none() {
        let record: String = (10..=18)
            .map(|m| format!("testkit::clusters\tall\t{m}\n"))
            .collect();
        let counts = executed::count(&format!(
            "{record}barman-pg::streams\ta\t10\nbarman-pg::streams\tb\t10\n"
        ));
        assert_eq!(
            table(&counts),
            "suite                10   11   12   13   14   15   16   17   18\n\
             barman-pg::streams    2    0    0    0    0    0    0    0    0\n\
             testkit::clusters     1    1    1    1    1    1    1    1    1\n"
        );
        assert_eq!(gaps(&record), "");
        assert_eq!(
            gaps("-\ta::x\tone\tno loop devices\n"),
            "NOT PROVED on this machine: no loop devices\n    a::x one\n"
        );
        assert_eq!(untested(&counts), [11, 12, 13, 14, 15, 16, 17, 18]);
    }
}
