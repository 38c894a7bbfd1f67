//! Which test ran on which PostgreSQL major, and what no test could show on this machine: the record from which
//! `cargo xtask test` prints its table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Environment variable with the path of the record; nothing is recorded without it.
pub const RECORD_ENV: &str = "BARMAN_RS_EXECUTED";

/// Notes that the running test uses a server of `major`.
pub(crate) fn note(major: u16) {
    let Some(path) = std::env::var_os(RECORD_ENV).filter(|path| !path.is_empty()) else {
        return;
    };
    let of_nextest = |name: &str| std::env::var(name).unwrap_or_else(|_| "?".to_owned());
    let line = format!(
        "{}\t{}\t{major}\n",
        of_nextest("NEXTEST_BINARY_ID"),
        of_nextest("NEXTEST_TEST_NAME")
    );
    // One small write to a file opened for appending: tests that run at once do not mix their lines.
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
        let _ = file.write_all(line.as_bytes());
    }
}

/// First field of a line that says what was not shown; no suite is called so.
const UNPROVED: &str = "-";

/// Notes that the running test passes without having shown what it is for, because this machine lacks something. Also
/// said on standard error, for whoever runs the test alone.
pub fn unproved(why: &str) {
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("NOT PROVED HERE: {why}");
    let of_nextest = |name: &str| std::env::var(name).unwrap_or_else(|_| "?".to_owned());
    let line = unproved_line(
        &of_nextest("NEXTEST_BINARY_ID"),
        &of_nextest("NEXTEST_TEST_NAME"),
        &why,
    );
    let Some(path) = std::env::var_os(RECORD_ENV).filter(|path| !path.is_empty()) else {
        return;
    };
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
        let _ = file.write_all(line.as_bytes());
    }
}

fn unproved_line(suite: &str, test: &str, why: &str) -> String {
    format!("{UNPROVED}\t{suite}\t{test}\t{why}\n")
}

/// What a record says was not shown: reasons, each with the tests.
pub fn not_proved(record: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in record.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [UNPROVED, suite, test, why] = fields[..] {
            let tests = found.entry(why.to_owned()).or_default();
            tests.insert(format!("{suite} {test}"));
        }
    }
    found
}

/// Adds a test of `suite` that used a server of `major` to the record `path`: for what runs outside of the test runner.
///
/// # Errors
/// The file cannot be written.
pub fn append(path: &Path, suite: &str, test: &str, major: u16) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(format!("{suite}\t{test}\t{major}\n").as_bytes())
}

/// Number of tests for each suite (test program) and major.
pub type Counts = BTreeMap<String, BTreeMap<u16, usize>>;

/// Counts a record. A test that starts several servers of one major counts once.
pub fn count(record: &str) -> Counts {
    let mut counts = Counts::new();
    for line in record.lines().collect::<BTreeSet<_>>() {
        let mut fields = line.split('\t');
        if let (Some(suite), Some(_), Some(Ok(major))) =
            (fields.next(), fields.next(), fields.next().map(str::parse))
        {
            *counts
                .entry(suite.to_owned())
                .or_default()
                .entry(major)
                .or_default() += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_counts_once_for_each_major() {
        let counts =
            count("a::x\tone\t15\na::x\tone\t15\na::x\tone\t18\na::x\ttwo\t15\nb::y\tone\t10\nbroken\n");
        assert_eq!(
            counts,
            BTreeMap::from([
                ("a::x".to_owned(), BTreeMap::from([(15, 2), (18, 1)])),
                ("b::y".to_owned(), BTreeMap::from([(10, 1)])),
            ])
        );
    }

    #[test]
    fn what_was_not_shown_is_told_and_counts_for_nothing() {
        let record = [
            unproved_line("a::x", "one", "no loop devices"),
            unproved_line("a::x", "two", "no loop devices"),
            "a::x\tone\t15\n".to_owned(),
        ]
        .concat();
        assert_eq!(count(&record).len(), 1);
        let tests = ["a::x one", "a::x two"].map(str::to_owned).into();
        assert_eq!(
            not_proved(&record),
            BTreeMap::from([("no loop devices".to_owned(), tests)])
        );
    }
}
