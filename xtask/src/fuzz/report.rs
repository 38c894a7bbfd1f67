//! What the user sees.

use std::fmt::Write as _;

use super::parsers::Row;
use super::target::Outcome;
use crate::run;

/// The targets with what they read and run.
pub fn list(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let _ = writeln!(
            text,
            "{} ({}; {} saved inputs, at most {} bytes)",
            row.name, row.module, row.saved, row.max_length
        );
        let _ = writeln!(text, "    {}", row.what);
        for function in &row.covers {
            let _ = writeln!(text, "      {function}");
        }
    }
    text
}

/// Outcomes as they come.
#[derive(Debug)]
pub struct Table {
    width: usize,
    outcomes: Vec<Outcome>,
}

impl Table {
    pub fn new(names: &[&str]) -> Self {
        let width = names
            .iter()
            .map(|name| name.len())
            .max()
            .unwrap_or(0)
            .max("target".len());
        Self {
            width,
            outcomes: Vec::new(),
        }
    }

    pub fn heading(&self) -> String {
        let width = self.width;
        format!(
            "{:width$} {:>10} {:>8} {:>8} {:>8} {:>7}  result\n",
            "target", "inputs", "a second", "new", "edges", "MiB"
        )
    }

    /// A line for a target that has ended; several when it failed.
    pub fn add(&mut self, outcome: Outcome) -> String {
        let width = self.width;
        let figures = &outcome.figures;
        let mut text = format!(
            "{:width$} {:>10} {:>8} {:>8} {:>8} {:>7}  {}\n",
            outcome.name,
            figures.executions,
            figures.per_second,
            figures.new_inputs,
            figures.edges,
            figures.memory,
            if outcome.failed { "FAILED" } else { "ok" },
        );
        if outcome.failed {
            text.push_str(&failure(&outcome));
        }
        self.outcomes.push(outcome);
        text
    }

    pub fn failed(&self) -> Vec<&Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failed).collect()
    }

    /// Everything in two lines.
    pub fn summary(&self) -> String {
        let sum = |of: fn(&Outcome) -> u64| self.outcomes.iter().map(of).sum::<u64>();
        let failed = self.failed().len();
        format!(
            "{} targets, {} inputs, {} of them reached new code, {failed} failed\n",
            self.outcomes.len(),
            sum(|outcome| outcome.figures.executions),
            sum(|outcome| outcome.figures.new_inputs),
        )
    }
}

fn failure(outcome: &Outcome) -> String {
    let mut text = String::new();
    for line in &outcome.why {
        let _ = writeln!(text, "    {line}");
    }
    let name = &outcome.name;
    for artifact in &outcome.artifacts {
        let path = artifact.strip_prefix(run::root()).unwrap_or(artifact).display();
        let _ = writeln!(text, "  input:          {path}");
        let _ = writeln!(
            text,
            "  repeat:         cargo run -p parsers -- run {name} {path}"
        );
        let _ = writeln!(
            text,
            "  make smaller:   RUSTC_BOOTSTRAP=1 cargo fuzz tmin --target-dir target/fuzz {name} {path}"
        );
        let _ = writeln!(
            text,
            "  once repaired:  cp {path} fuzz/corpus/{name}/<what-it-is>"
        );
    }
    let _ = writeln!(text, "  whole output:   {}", outcome.log.display());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::target::Figures;

    #[test]
    fn a_failure_says_how_to_repeat_it() {
        let mut table = Table::new(&["history"]);
        let outcome = Outcome {
            name: "history".to_owned(),
            figures: Figures {
                executions: 5,
                ..Figures::default()
            },
            failed: true,
            artifacts: vec![run::root().join("target/fuzz-artifacts/history/crash-1")],
            log: "log".into(),
            why: vec!["panicked".to_owned()],
        };
        let text = table.add(outcome);
        assert!(text.contains("FAILED\n    panicked\n"), "{text}");
        assert!(
            text.contains("cargo run -p parsers -- run history target/fuzz-artifacts/history/crash-1\n"),
            "{text}"
        );
        assert_eq!(
            table.summary(),
            "1 targets, 5 inputs, 0 of them reached new code, 1 failed\n"
        );
        assert_eq!(table.failed().len(), 1);
    }
}
