//! Barman itself under the order checker: it is known to forget syncs, and the checker must find them.

use anyhow::{Result, ensure};
use testkit::strace;
use testkit::strace::order::{self, Places, Rule, Violation};

use crate::crash::scenario::Scene;

/// What Barman is known to do, in one scenario.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The rule that it breaks.
    pub rule: Rule,
    /// How.
    pub how: &'static str,
}

/// Runs Barman in a place that was put back; returns everything found.
///
/// # Errors
/// It fails, or the checker does not find what Barman is known to do.
pub fn run(scene: &mut dyn Scene, places: &Places, known: &[Known]) -> Result<Vec<Violation>> {
    let log = scene.sandbox().dir().join("barman-calls.log");
    let barman = scene.sandbox().oracle()?;
    let done = scene.run(&strace::recorded(&barman, &strace::order_calls(), &log))?;
    ensure!(done.code == Some(0), "Barman itself: {done}");
    let found = order::check(&strace::calls(&log)?, places);
    for known in known {
        ensure!(
            found.iter().any(|violation| violation.rule == known.rule),
            "Barman itself: {} ({}), but the order checker has not found it",
            known.how,
            known.rule.name
        );
    }
    Ok(found)
}
