//! What the user sees: the table of a run, and its comparison with an earlier one.

use std::fmt::Write as _;

use super::contest::{RowResult, SideResult, State, TargetResult, Unit};
use super::record::Record;
use super::row::OURS;
use super::stats::{Bound, Summary};

/// Change of a median below which nothing is said to have changed.
const NOTABLE: f64 = 0.05;

/// So many runs are the least that a verdict can stand on.
const ENOUGH: usize = 5;

/// The whole table.
pub fn table(record: &Record) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "barman-rs beside its peers, {}", record.time);
    let _ = writeln!(out, "  machine  {}", record.machine.text());
    let _ = writeln!(
        out,
        "  measured {}{}, {} runs of each side in turn after a warm-up{}",
        record
            .revision
            .commit
            .get(..12)
            .unwrap_or(&record.revision.commit),
        if record.revision.changed {
            " with changes"
        } else {
            ""
        },
        record.runs,
        doubt(record)
    );
    let peers: Vec<String> = record
        .peers
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let _ = writeln!(out, "  peers    {}", peers.join("; "));
    out.push_str(
        "\nEach line: a figure of ours (or ours compared with a peer's), its median [interval] over the rounds, the target, the verdict, and the\n\
         medians behind it. Ratios below 1 mean that ours needs less, except for throughput.\n",
    );
    let mut group = "";
    for row in &record.rows {
        let own = row.id.split('/').next().unwrap_or_default();
        if own != group {
            group = own;
            let _ = write!(out, "\n== {group}\n");
        }
        out.push_str(&block(row));
    }
    let _ = write!(out, "\n{}\n", summary(record));
    out
}

/// Why the verdicts do not stand.
fn doubt(record: &Record) -> &'static str {
    match (record.quick, record.runs < ENOUGH) {
        (true, _) => "; SMALL SIZES: verdicts are hints only",
        (false, true) => "; FEWER THAN FIVE RUNS: verdicts are hints only",
        (false, false) => "",
    }
}

/// One row with its figures.
fn block(row: &RowResult) -> String {
    let mut out = format!("\n{}: {}\n", row.id, row.what);
    match (row.state, &row.reason) {
        (State::Awaits, reason) => {
            let targets: Vec<String> = row.targets.iter().map(wanted).collect();
            let _ = writeln!(out, "    not there yet: {}", reason.as_deref().unwrap_or("-"));
            let _ = writeln!(out, "    targets: {}", targets.join(", "));
            return out;
        }
        (State::Failed, reason) => {
            let _ = writeln!(
                out,
                "    COULD NOT BE MEASURED: {}",
                reason.as_deref().unwrap_or("-")
            );
        }
        (State::Measured, _) => {}
    }
    for target in &row.targets {
        let _ = writeln!(out, "{}", target_line(row, target));
    }
    for side in &row.sides {
        let _ = writeln!(
            out,
            "    {:<28} wall {:>9}  CPU {:>9}  memory {:>9}",
            format!("· {}", side.name),
            show(Unit::Seconds, side.wall.median),
            show(Unit::Seconds, side.cpu.median),
            show(Unit::Bytes, side.memory.median),
        );
    }
    for note in &row.notes {
        let _ = writeln!(out, "    note: {note}");
    }
    out
}

fn target_line(row: &RowResult, target: &TargetResult) -> String {
    let limit = limit(target);
    let figure = &target.figure;
    let (value, verdict) = match (&target.value, target.verdict) {
        (Some(value), Some(verdict)) => (interval(target.unit, value), verdict.text()),
        _ => (
            "-".to_owned(),
            target.missing.as_deref().unwrap_or(match row.state {
                State::Failed => "not measured",
                State::Measured | State::Awaits => "no figures",
            }),
        ),
    };
    format!("    {figure:<28} {value:<32} {limit:<14} {verdict}")
}

/// What is wanted, with its sign.
fn limit(target: &TargetResult) -> String {
    let sign = match target.bound {
        Bound::AtMost => "<=",
        Bound::AtLeast => ">=",
    };
    format!("{sign} {}", show(target.unit, target.limit))
}

/// A target in words, for the list of rows.
pub fn wanted(target: &TargetResult) -> String {
    format!("{} {}", target.figure, limit(target))
}

fn interval(unit: Unit, value: &Summary) -> String {
    format!(
        "{} [{} .. {}]",
        show(unit, value.median),
        show(unit, value.low),
        show(unit, value.high)
    )
}

/// A value with its unit, three digits or so.
fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
        Unit::Seconds if value.abs() < 0.0995 => format!("{:.2} ms", value * 1e3),
        Unit::Seconds if value.abs() < 0.995 => format!("{:.0} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Ratio if value.abs() < 0.0995 => format!("{value:.4}"),
        Unit::Ratio => format!("{value:.3}"),
    }
}

/// How many targets were reached.
fn summary(record: &Record) -> String {
    let targets = || record.rows.iter().flat_map(|row| &row.targets);
    let verdicts = |wanted: &str| {
        targets()
            .filter(|t| t.verdict.is_some_and(|v| v.text().starts_with(wanted)))
            .count()
    };
    let rows = |state: State| record.rows.iter().filter(|row| row.state == state).count();
    let without = targets().filter(|t| t.missing.is_some()).count();
    format!(
        "Targets: {} met, {} within noise, {} missed, {without} without a peer. Rows: {} measured, {} not there yet, {} failed.",
        verdicts("met"),
        verdicts("within"),
        verdicts("MISSED"),
        rows(State::Measured),
        rows(State::Awaits),
        rows(State::Failed),
    )
}

/// What has changed since an earlier run, row by row.
pub fn comparison(old: &Record, new: &Record) -> String {
    let mut out = format!(
        "\nCompared with {} ({})\n",
        old.time,
        old.revision.commit.get(..12).unwrap_or(&old.revision.commit)
    );
    for (name, before, now) in differences(old, new) {
        let _ = writeln!(
            out,
            "  different {name}: {before} then, {now} now: compare ratios, not times"
        );
    }
    let _ = writeln!(
        out,
        "  {:<34} {:<30} {:>10} {:>10} {:>8}",
        "row", "figure", "then", "now", "change"
    );
    for row in &new.rows {
        let Some(earlier) = old.rows.iter().find(|earlier| earlier.id == row.id) else {
            let _ = writeln!(out, "  {:<34} new", row.id);
            continue;
        };
        for line in changes(earlier, row) {
            let _ = writeln!(out, "  {line}");
        }
    }
    for row in &old.rows {
        if row.state == State::Measured && !new.rows.iter().any(|now| now.id == row.id) {
            let _ = writeln!(out, "  {:<34} not measured now", row.id);
        }
    }
    out
}

/// What makes two runs hard to compare.
fn differences(old: &Record, new: &Record) -> Vec<(&'static str, String, String)> {
    [
        (
            "number of cores",
            old.machine.cores.to_string(),
            new.machine.cores.to_string(),
        ),
        (
            "processor",
            old.machine.processor.clone(),
            new.machine.processor.clone(),
        ),
        ("disk", old.machine.disk.clone(), new.machine.disk.clone()),
        ("kernel", old.machine.kernel.clone(), new.machine.kernel.clone()),
        ("sizes", size_name(old).to_owned(), size_name(new).to_owned()),
        ("peers", format!("{:?}", old.peers), format!("{:?}", new.peers)),
    ]
    .into_iter()
    .filter(|(_, before, now)| before != now)
    .collect()
}

fn size_name(record: &Record) -> &'static str {
    if record.quick { "small" } else { "full" }
}

fn changes(old: &RowResult, new: &RowResult) -> Vec<String> {
    if old.state != new.state {
        return vec![format!(
            "{:<34} was {}, is {}",
            new.id,
            state(old.state),
            state(new.state)
        )];
    }
    let side =
        |row: &RowResult| -> Option<SideResult> { row.sides.iter().find(|side| side.name == OURS).cloned() };
    let mut figures: Vec<(String, Unit, Summary, Summary)> = Vec::new();
    if let (Some(old), Some(new)) = (side(old), side(new)) {
        figures.push(("ours, wall".to_owned(), Unit::Seconds, old.wall, new.wall));
        figures.push(("ours, CPU".to_owned(), Unit::Seconds, old.cpu, new.cpu));
        figures.push(("ours, memory".to_owned(), Unit::Bytes, old.memory, new.memory));
    }
    for target in new.targets.iter().filter(|t| t.unit == Unit::Ratio) {
        let earlier = old.targets.iter().find(|t| t.figure == target.figure);
        if let (Some(now), Some(before)) = (target.value, earlier.and_then(|t| t.value)) {
            figures.push((target.figure.clone(), Unit::Ratio, before, now));
        }
    }
    figures
        .into_iter()
        .map(|(figure, unit, before, now)| {
            format!(
                "{:<34} {figure:<30} {:>10} {:>10} {:>8}",
                new.id,
                show(unit, before.median),
                show(unit, now.median),
                change(&before, &now)
            )
        })
        .collect()
}

fn state(state: State) -> &'static str {
    match state {
        State::Measured => "measured",
        State::Awaits => "not there yet",
        State::Failed => "not measurable",
    }
}

/// The change of a median in percent; `~` when it is small or the intervals touch.
fn change(before: &Summary, now: &Summary) -> String {
    if before.median == 0.0 {
        return "-".to_owned();
    }
    let ratio = now.median / before.median;
    if (ratio - 1.0).abs() < NOTABLE || (before.low <= now.high && now.low <= before.high) {
        return "~".to_owned();
    }
    format!("{:+.0} %", (ratio - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;

    #[test]
    fn the_table_says_everything() {
        let text = table(&example(&[0.3, 0.4, 0.45]));
        let expected = [
            "== wal",
            "wal/copy: copy a file",
            "    wall / cp                    0.400 [0.300 .. 0.450]           <= 0.500       met",
            "    peak memory                  4.0 MiB [4.0 MiB .. 4.0 MiB]     <= 16.0 MiB    met",
            "    wall / pigz                  -                                <= 1.000       peer missing: pigz: not installed",
            "    · cp                         wall    1.00 s  CPU    1.00 s  memory   4.0 MiB",
            "    note: 16 MiB",
            "wal/decode: decode a file",
            "    not there yet: the WAL decoder",
            "    targets: wall / pg_waldump <= 0.500",
            "Targets: 2 met, 0 within noise, 0 missed, 1 without a peer. Rows: 1 measured, 1 not there yet, 0 failed.",
        ];
        for line in expected {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
    }

    #[test]
    fn what_makes_verdicts_doubtful_is_in_the_head() {
        for (runs, quick, expected) in [
            (5, false, ""),
            (4, false, "; FEWER THAN FIVE RUNS: verdicts are hints only"),
            (9, true, "; SMALL SIZES: verdicts are hints only"),
        ] {
            let mut record = example(&vec![0.3; runs]);
            record.quick = quick;
            let head = table(&record);
            let line = head.lines().nth(2).unwrap_or_default();
            let all = format!("{runs} runs of each side in turn after a warm-up{expected}");
            assert!(line.ends_with(&all), "{line}");
        }
    }

    #[test]
    fn values_are_short_and_have_units() {
        for (unit, value, expected) in [
            (Unit::Seconds, 0.00312, "3.12 ms"),
            (Unit::Seconds, 0.312, "312 ms"),
            (Unit::Seconds, 65.0, "65.00 s"),
            (Unit::Seconds, -0.002, "-2.00 ms"),
            (Unit::Ratio, 0.003, "0.0030"),
            (Unit::Ratio, 0.85, "0.850"),
            (Unit::Bytes, 1_572_864.0, "1.5 MiB"),
        ] {
            assert_eq!(show(unit, value), expected);
        }
    }

    #[test]
    fn a_comparison_shows_what_changed_and_what_makes_it_doubtful() {
        let (old, mut new) = (example(&[0.3, 0.3, 0.3]), example(&[0.6, 0.6, 0.6]));
        new.machine.cores = 8;
        let text = comparison(&old, &new);
        for expected in [
            "different number of cores: 2 then, 8 now",
            "wal/copy                           ours, wall                         300 ms     600 ms   +100 %",
            "wal/copy                           ours, memory                      4.0 MiB    4.0 MiB        ~",
            "wal/copy                           wall / cp                           0.300      0.600   +100 %",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
        let mut gone = new.clone();
        gone.rows.clear();
        assert!(comparison(&old, &gone).contains("wal/copy                           not measured now"));
        assert!(comparison(&gone, &new).contains("wal/copy                           new"));
    }

    #[test]
    fn intervals_that_touch_are_no_change() {
        let (old, new) = (example(&[0.3, 0.3, 0.5]), example(&[0.4, 0.4, 0.4]));
        assert!(!comparison(&old, &new).contains('%'));
    }
}
