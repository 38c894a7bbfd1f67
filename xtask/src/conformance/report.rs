//! What is printed: one line for each scenario, an excerpt for each that failed.

use std::fmt::Write as _;
use std::time::Duration;

use super::compare::Difference;
use super::scenario::{Scenario, Step};

/// How a scenario came out.
#[derive(Debug)]
pub enum Verdict {
    /// No difference but listed ones.
    Same {
        /// How many listed ones.
        listed: usize,
        /// Time that the commands took in the oracle.
        oracle: Duration,
        /// Time that the commands took in our program.
        ours: Duration,
    },
    /// The command is not there yet, and is refused by name.
    Awaited,
    /// Differences that are not listed, and what else is wrong.
    Different(Vec<Difference>, Vec<String>),
    /// It could not be played.
    Broken(String),
}

/// The outcome of one scenario.
#[derive(Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
}

impl Outcome {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        matches!(self.verdict, Verdict::Same { .. } | Verdict::Awaited)
    }
}

/// Most lines that are shown of one difference.
const SHOWN: usize = 24;

/// The line of an outcome, with what went wrong below it.
pub fn line(outcome: &Outcome) -> String {
    let name = outcome.name;
    match &outcome.verdict {
        Verdict::Same { listed, oracle, ours } => {
            let listed = match listed {
                0 => String::new(),
                1 => ", 1 listed difference".to_owned(),
                n => format!(", {n} listed differences"),
            };
            format!(
                "same     {name} (Barman {:.2} s, ours {:.2} s{listed})\n",
                oracle.as_secs_f64(),
                ours.as_secs_f64()
            )
        }
        Verdict::Awaited => format!("awaited  {name}\n"),
        Verdict::Broken(error) => format!("BROKEN   {name}\n{}", indented(error)),
        Verdict::Different(differences, complaints) => {
            let mut text = format!("DIFFERS  {name}   (- Barman, + ours)\n");
            for difference in differences {
                let all = difference.to_string();
                let lines: Vec<&str> = all.lines().collect();
                text.push_str(&indented(
                    &lines.get(..SHOWN.min(lines.len())).unwrap_or_default().join("\n"),
                ));
                if lines.len() > SHOWN {
                    let _ = writeln!(text, "    ... and {} more lines", lines.len() - SHOWN);
                }
            }
            for complaint in complaints {
                text.push_str(&indented(complaint));
            }
            let _ = writeln!(text, "    repeat: cargo xtask conformance --keep {name}");
            text
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// The scenarios, one line each.
pub fn list(scenarios: &[Scenario]) -> String {
    let mut text = String::new();
    for scenario in scenarios {
        let commands: Vec<&str> = scenario
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Barman(words) | Step::Interrupted(words, ..) => Some(*words),
                Step::Then(_) => None,
            })
            .collect();
        let short = if scenario.short { " [short]" } else { "" };
        let _ = writeln!(
            text,
            "{:44} {:24} barman {}{short}",
            scenario.name,
            scenario.spec,
            commands.join("; barman ")
        );
    }
    let _ = writeln!(text, "{} scenarios", scenarios.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_both_sides_and_how_to_repeat_it() {
        let verdict = Verdict::Different(vec![Difference::ExitCode(0, 1, 0)], vec!["complaint".to_owned()]);
        let outcome = Outcome {
            name: "list-servers",
            verdict,
        };
        assert!(!outcome.is_good());
        assert_eq!(
            line(&outcome),
            "DIFFERS  list-servers   (- Barman, + ours)\n    @@ command 1, exit code\n    -0\n    +1\n    complaint\n    repeat: cargo xtask conformance --keep list-servers\n"
        );
    }
}
