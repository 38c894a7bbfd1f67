//! Which test ran on which PostgreSQL major: the record from which `cargo xtask test` prints its table.

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
}
