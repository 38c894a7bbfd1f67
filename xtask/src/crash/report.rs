//! What came out, for somebody who has never seen it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use testkit::strace::order;

use super::campaign::Report;
use super::points::Kind;
use super::scenario::Scenario;

/// How many broken runs are shown in full.
const SHOWN: usize = 6;

/// How many places where a rule of the order was broken.
const OF_EACH_RULE: usize = 3;

/// The scenarios and rules.
pub fn list(scenarios: &[Scenario]) -> String {
    let mut text = String::from("Scenarios\n");
    for scenario in scenarios {
        let _ = writeln!(text, "  {:22} {}", scenario.name, scenario.about);
    }
    text.push_str("\nRules of the order checker\n");
    for rule in order::RULES {
        let _ = writeln!(text, "  {:26} {}", rule.name, rule.what);
    }
    text
}

/// What happens at a point, in words.
fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Kill => "killed",
        Kind::Enospc => "disk full",
        Kind::Eio => "disk fails",
        Kind::Unsupported => "call not known",
    }
}

/// One scenario.
pub fn text(scenario: &Scenario, report: &Report, elapsed: Duration) -> String {
    let mut text = format!("{}: {}  ({elapsed:.0?})\n", scenario.name, scenario.about);
    let total: usize = report.calls.values().sum();
    let names: Vec<String> = report
        .calls
        .iter()
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    let _ = writeln!(
        text,
        "  an undisturbed run makes {total} calls on its files: {}",
        names.join(", ")
    );
    let mut by_kind: BTreeMap<Kind, (usize, usize, Vec<String>)> = BTreeMap::new();
    for ((kind, call), (done, of)) in &report.injected {
        let entry = by_kind.entry(*kind).or_default();
        entry.0 += done;
        entry.1 += of;
        if done < of {
            entry.2.push(format!("{call} {done}/{of}"));
        }
    }
    for (kind, (done, of, partly)) in by_kind {
        let partly = if partly.is_empty() {
            String::new()
        } else {
            format!(" ({})", partly.join(", "))
        };
        let _ = writeln!(
            text,
            "  {:11} {:14} {done} of {of} points tried{partly}",
            kind.name(),
            meaning(kind)
        );
    }
    if report.missed > 0 {
        let _ = writeln!(
            text,
            "  {} more were not met: with several threads a run does not always make the same calls",
            report.missed
        );
    }
    if report.misses_much() {
        let _ = writeln!(
            text,
            "  TOO MANY WERE NOT MET: {} of {} faults did not happen, more than half, so that little is proved; the \
             runs differ more than they should from the recorded one",
            report.missed,
            report.missed + report.tried()
        );
    }
    let _ = writeln!(
        text,
        "  after each: the invariants, both programs read the catalogue (Barman {} times), the next run repairs",
        report.read
    );
    if report.violations.is_empty() {
        text.push_str("  order of the calls: nothing wrong\n");
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for violation in &report.violations {
        let seen = seen.entry(violation.rule.name).or_default();
        *seen += 1;
        if *seen <= OF_EACH_RULE {
            let _ = writeln!(text, "  ORDER {violation}");
        }
    }
    if let Some(kept) = &report.kept {
        let _ = writeln!(text, "  kept: {}", kept.display());
    }
    for (rule, times) in seen.into_iter().filter(|(_, times)| *times > OF_EACH_RULE) {
        let _ = writeln!(text, "  ORDER {rule}: {times} times in all");
    }
    checked(scenario, report, &mut text);
    if report.tried() == 0 {
        text.push_str("  NO POINT WAS TRIED: nothing is known of what a fault leaves behind\n");
    } else if report.broken.is_empty() {
        text.push_str("  at every point all held\n");
    }
    for broken in report.broken.iter().take(SHOWN) {
        let _ = writeln!(
            text,
            "  BROKEN \"{}\"\n    {}\n    repeat: cargo xtask crash {} {}\n    kept: {}",
            broken.invariant,
            broken.why.replace('\n', "\n    "),
            scenario.name,
            broken.options,
            broken.kept.display()
        );
    }
    if report.broken.len() > SHOWN {
        let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for broken in &report.broken {
            kinds.entry(&broken.invariant).or_default().push(&broken.options);
        }
        let _ = writeln!(text, "  {} broken in all:", report.broken.len());
        for (invariant, options) in kinds {
            let few: Vec<&str> = options.iter().take(5).copied().collect();
            let _ = writeln!(
                text,
                "    {:4} \"{invariant}\": {} ...",
                options.len(),
                few.join("; ")
            );
        }
    }
    text
}

/// What the checks have found of what they had to find.
fn checked(scenario: &Scenario, report: &Report, text: &mut String) {
    if !report.planted.is_empty() {
        let each: Vec<String> = report
            .planted
            .iter()
            .map(|(rule, n)| format!("{rule} {n}"))
            .collect();
        let _ = writeln!(
            text,
            "  check of the checks: {} faults planted in the recorded calls, each found ({})",
            report.planted.values().sum::<usize>(),
            each.join(", ")
        );
        let _ = writeln!(
            text,
            "  check of the checks: {} damages planted on disk, each seen by its invariant",
            report.damages
        );
    }
    let Some(barman) = &report.barman else { return };
    for (rule, violations) in barman {
        let known = scenario
            .barman
            .unwrap_or_default()
            .iter()
            .find(|known| known.rule.name == *rule);
        let how = match (known, violations.first()) {
            (Some(known), _) => known.how,
            (None, Some(first)) => first.why.as_str(),
            (None, None) => "",
        };
        let _ = writeln!(
            text,
            "  Barman itself, in the same place: {rule} {} times: {how}",
            violations.len()
        );
    }
}
