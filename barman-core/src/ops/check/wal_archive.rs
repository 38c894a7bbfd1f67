//! The check `WAL archive`, which acts: an empty archive is given the WAL that waits, and if none does, a new segment.

use std::time::Duration;

use barman_catalog::BackupStatus;

use super::facts::Facts;
use super::report::CheckResult;

/// The longest wait for a segment that was asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

pub fn wal_archive(facts: &mut Facts<'_, '_>) -> Result<Vec<CheckResult>, String> {
    if has_wal(facts) || is_waited_for(facts)? {
        return Ok(vec![]);
    }
    Ok(vec![CheckResult::failed(
        "WAL archive",
        "please make sure WAL shipping is setup",
    )])
}

/// Whether the catalogue of WAL files holds anything.
fn has_wal(facts: &Facts<'_, '_>) -> bool {
    std::fs::metadata(facts.layout().xlogdb()).is_ok_and(|meta| meta.len() > 0)
}

/// Whether a backup waits for WAL: then an empty archive is no news.
fn is_waited_for(facts: &mut Facts<'_, '_>) -> Result<bool, String> {
    Ok(facts
        .catalog()?
        .usable()
        .any(|backup| backup.status == BackupStatus::WaitingForWals))
}

/// How long to wait for a segment that was asked for: a third of the time limit, but never for ever.
fn patience(facts: &Facts<'_, '_>) -> Duration {
    facts
        .deadline()
        .left()
        .map_or(LONGEST_WAIT, |left| (left / 3).min(LONGEST_WAIT))
}
