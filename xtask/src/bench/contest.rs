//! Runs the sides of a contest in turn, and compares their figures with the targets.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use testkit::interrupt_flag;

use super::measure::Sample;
use super::row::{Contest, Figure, OURS, Side, Target};
use super::stats::{Bound, Summary, Verdict, summarize};

/// The samples of one side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideResult {
    pub name: String,
    /// Seconds.
    pub wall: Summary,
    /// Seconds.
    pub cpu: Summary,
    /// Bytes.
    pub memory: Summary,
    /// In the order of the rounds.
    pub samples: Vec<Sample>,
}

/// A target with what came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetResult {
    /// What is looked at.
    pub figure: String,
    /// Unit of the value and the limit.
    pub unit: Unit,
    pub bound: Bound,
    pub limit: f64,
    /// Of the values of each round; none when the peer is missing or nothing was measured.
    pub value: Option<Summary>,
    pub verdict: Option<Verdict>,
    /// The peer that is looked at.
    pub peer: Option<String>,
    /// Why there is no value.
    pub missing: Option<String>,
}

/// Units of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Seconds,
    Bytes,
    Ratio,
}

impl Unit {
    fn of(figure: Figure) -> Self {
        match figure {
            Figure::Wall | Figure::WallOver(_) => Self::Seconds,
            Figure::Memory => Self::Bytes,
            Figure::WallOf(_) | Figure::CpuOf(_) | Figure::RateOf(_) => Self::Ratio,
        }
    }
}

/// How a row went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Measured,
    /// What it measures is not there yet.
    Awaits,
    /// It could not be measured.
    Failed,
}

/// All that came out of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowResult {
    pub id: String,
    pub what: String,
    pub state: State,
    /// Why it was not measured.
    pub reason: Option<String>,
    pub sides: Vec<SideResult>,
    pub targets: Vec<TargetResult>,
    pub notes: Vec<String>,
}

/// The order in which the sides run in a round: forwards and backwards in turn, so that nobody always comes first.
fn order(round: usize, sides: usize) -> Vec<usize> {
    if round.is_multiple_of(2) {
        (0..sides).collect()
    } else {
        (0..sides).rev().collect()
    }
}

/// Runs each side `runs` times (or more, if the contest wants that) after a warm-up.
///
/// # Errors
/// A run fails, or the user interrupts.
pub fn run(contest: &mut Contest, runs: usize, mut tell: impl FnMut(&str)) -> Result<Vec<SideResult>> {
    let runs = runs.max(contest.min_runs);
    let mut sides: Vec<&mut Side> = std::iter::once(&mut contest.ours)
        .chain(contest.peers.iter_mut())
        .collect();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); sides.len()];
    for round in 0..=runs {
        tell(&if round == 0 {
            "warm-up".to_owned()
        } else {
            format!("round {round} of {runs}")
        });
        for index in order(round, sides.len()) {
            ensure!(
                !interrupt_flag().load(std::sync::atomic::Ordering::Relaxed),
                "interrupted"
            );
            let Some(side) = sides.get_mut(index) else {
                continue;
            };
            (side.reset)().with_context(|| format!("prepare a run of {}", side.name))?;
            let sample = (side.run)().with_context(|| format!("run {}", side.name))?;
            if round > 0
                && let Some(samples) = samples.get_mut(index)
            {
                samples.push(sample);
            }
        }
    }
    sides
        .iter()
        .zip(samples)
        .map(|(side, samples)| {
            let of = |value: fn(&Sample) -> f64| {
                summarize(&samples.iter().map(value).collect::<Vec<_>>()).context("no figures")
            };
            Ok(SideResult {
                name: side.name.to_owned(),
                wall: of(|s| s.wall)?,
                cpu: of(|s| s.cpu)?,
                memory: of(|s| s.memory)?,
                samples,
            })
        })
        .collect()
}

/// Compares what came out with a target. `missing` has the peers that could not be had.
///
/// # Errors
/// What the target needs was not run and is not said to be missing: the row is written wrongly.
pub fn judge(
    target: &Target,
    sides: &[SideResult],
    missing: &[(&'static str, String)],
) -> Result<TargetResult> {
    let side = |name: &str| sides.iter().find(|side| side.name == name);
    let peer = target.figure.peer();
    let mut result = unmeasured(target);
    let absent = peer.and_then(|peer| missing.iter().find(|(name, _)| *name == peer));
    if let Some((name, reason)) = absent {
        result.missing = Some(format!("peer missing: {name}: {reason}"));
        return Ok(result);
    }
    let ran = |name: &str| {
        side(name).with_context(|| {
            format!(
                "the target \"{}\" looks at {name}, which the row neither runs nor says to be missing",
                result.figure
            )
        })
    };
    let ours = ran(OURS)?;
    let of_peer = peer.map(ran).transpose()?;
    let values: Option<Vec<f64>> = ours
        .samples
        .iter()
        .enumerate()
        .map(|(round, sample)| {
            target
                .figure
                .value(sample, of_peer.and_then(|peer| peer.samples.get(round)))
        })
        .collect();
    result.value = values.and_then(|values| summarize(&values));
    result.verdict = result
        .value
        .map(|value| Verdict::of(&value, target.limit, target.bound));
    ensure!(
        result.value.is_some(),
        "there are no figures for the target \"{}\"",
        result.figure
    );
    Ok(result)
}

/// A target of a row that was not measured.
pub fn unmeasured(target: &Target) -> TargetResult {
    TargetResult {
        figure: target.figure.text(),
        unit: Unit::of(target.figure),
        bound: target.bound,
        limit: target.limit,
        value: None,
        verdict: None,
        peer: target.figure.peer().map(str::to_owned),
        missing: None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    use super::super::row::{cpu_of, memory, rate_of, wall, wall_of, wall_over};
    use super::*;

    fn side(name: &'static str, log: &Rc<RefCell<Vec<String>>>, walls: &[f64]) -> Side {
        let (of_reset, of_run) = (Rc::clone(log), Rc::clone(log));
        let mut walls = VecDeque::from(walls.to_vec());
        Side::new(name, move || {
            of_run.borrow_mut().push(format!("run {name}"));
            let wall = walls.pop_front().context("no more figures")?;
            Ok(Sample {
                wall,
                cpu: 2.0 * wall,
                memory: 1e6,
            })
        })
        .reset(move || {
            of_reset.borrow_mut().push(format!("reset {name}"));
            Ok(())
        })
    }

    #[test]
    fn sides_take_turns_and_the_warm_up_does_not_count() {
        let log = Rc::default();
        let mut contest =
            Contest::of(side(OURS, &log, &[9.0, 1.0, 2.0])).against(side("cp", &log, &[9.0, 2.0, 8.0]));
        let sides = run(&mut contest, 2, |_| {}).unwrap();
        assert_eq!(
            log.borrow().join(", "),
            "reset ours, run ours, reset cp, run cp, reset cp, run cp, reset ours, run ours, reset ours, run ours, reset cp, run cp"
        );
        let values = |target: &Target| judge(target, &sides, &[]).unwrap().value.map(|v| (v.min, v.max));
        assert_eq!(values(&wall_of("cp", 1.0)), Some((0.25, 0.5)));
        assert_eq!(values(&cpu_of("cp", 1.0)), Some((0.25, 0.5)));
        assert_eq!(values(&rate_of("cp", 1.0)), Some((2.0, 4.0)));
        assert_eq!(values(&wall_over("cp", 1.0)), Some((-6.0, -1.0)));
        assert_eq!(values(&wall(1.0)), Some((1.0, 2.0)));
        assert_eq!(values(&memory(1.0)), Some((1e6, 1e6)));
        assert_eq!(
            judge(&wall_of("cp", 0.4), &sides, &[]).unwrap().verdict,
            Some(Verdict::NoiseMet)
        );
    }

    #[test]
    fn a_missing_peer_is_said() {
        let log = Rc::default();
        let mut contest = Contest::of(side(OURS, &log, &[1.0; 3]))
            .against_or_missing("pigz", Err(anyhow::anyhow!("not installed")));
        let sides = run(&mut contest, 2, |_| {}).unwrap();
        let result = judge(&wall_of("pigz", 1.0), &sides, &contest.missing).unwrap();
        assert_eq!(result.verdict, None);
        assert_eq!(
            result.missing.as_deref(),
            Some("peer missing: pigz: not installed")
        );
    }

    #[test]
    fn a_target_of_a_peer_that_nobody_runs_is_an_error() {
        let log = Rc::default();
        let mut contest = Contest::of(side(OURS, &log, &[1.0; 3]));
        let sides = run(&mut contest, 2, |_| {}).unwrap();
        let error = judge(&wall_of("pigz", 1.0), &sides, &contest.missing).unwrap_err();
        assert!(
            format!("{error:#}").contains("looks at pigz, which the row neither runs nor says to be missing")
        );
        assert!(judge(&wall(1.0), &[], &[]).is_err());
    }

    #[test]
    fn a_failing_side_names_itself() {
        let log = Rc::default();
        let mut contest = Contest::of(side(OURS, &log, &[1.0]));
        let error = run(&mut contest, 3, |_| {}).unwrap_err();
        assert_eq!(format!("{error:#}"), "run ours: no more figures");
    }
}
