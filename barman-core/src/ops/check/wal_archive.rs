//! The check `WAL archive`, which acts: an empty archive is given the WAL that waits, and if none does, PostgreSQL is
//! asked for a segment.

use std::path::Path;
use std::time::{Duration, Instant};

use barman_catalog::BackupStatus;
use barman_pg::sql::WalSwitch;

use super::TARGET;
use super::facts::Facts;
use super::report::CheckResult;
use crate::context::{Context, Silent};
use crate::ops::archive::{self, Patience};

/// The longest wait for a segment that was asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a segment that was asked for is waited for before another one is: a check every minute must not cost a
/// segment every minute.
const BETWEEN_SWITCHES: Duration = Duration::from_secs(5 * 60);
/// Tells by its time when a segment was asked for; in `meta`, of no use to anything else.
const SWITCHED: &str = ".check-switched-wal";
/// Pauses between two looks, growing from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

pub fn wal_archive(facts: &mut Facts<'_, '_>) -> Result<Vec<CheckResult>, String> {
    let mut patience = Patience::default();
    if has_wal(facts)
        || is_waited_for(facts)?
        || archive(facts, &mut patience)
        || (switch(facts) && wait(facts, &mut patience))
    {
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
    let waiting = |status| status == BackupStatus::WaitingForWals;
    Ok(facts.catalog()?.usable().any(|backup| waiting(backup.status)))
}

/// Archives what waits, without a word to the user; whether the archive holds anything now.
fn archive(facts: &mut Facts<'_, '_>, patience: &mut Patience) -> bool {
    // A long queue, or a hook that hangs, must not take longer than the checks may.
    let ctx = Context {
        progress: &Silent,
        cancel: facts.deadline().cancel(),
        clock: facts.ctx().clock,
    };
    if let Err(error) = archive::run_again(facts.server(), patience, &ctx) {
        log::info!(target: TARGET, "cannot archive the WAL of server '{}': {error}", facts.config().name);
    }
    has_wal(facts)
}

/// Asks PostgreSQL (the primary, if the server is a standby that knows one) to close its segment. Whether waiting for
/// WAL makes sense: not if PostgreSQL cannot be reached, or refuses.
fn switch(facts: &mut Facts<'_, '_>) -> bool {
    if !facts.connects() {
        return false;
    }
    let name = facts.config().name.clone();
    let has_primary = facts.config().primary_conninfo.is_some();
    let in_recovery = match facts.server().sql() {
        Ok(client) => client.is_in_recovery(),
        Err(error) => {
            log::debug!(target: TARGET, "no switch of WAL on server '{name}': {error}");
            return false;
        }
    };
    let mark = facts.layout().meta_directory().join(SWITCHED);
    if in_recovery.is_ok() && is_recent(&mark) {
        log::info!(target: TARGET, "The WAL archive of server '{name}' is empty: WAL was switched a short while ago");
        return true;
    }
    let client = match in_recovery {
        // Nothing to ask; what the primary does will arrive or not.
        Ok(true) if !has_primary => return true,
        Ok(true) => facts.server().primary(),
        Ok(false) => facts.server().sql(),
        Err(error) => {
            log::warn!(target: TARGET, "no switch of WAL on server '{name}': {error}");
            return false;
        }
    };
    log::info!(target: TARGET, "The WAL archive of server '{name}' is empty: switching WAL");
    let switched = match client {
        Ok(client) => client.switch_wal().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match switched {
        Ok(WalSwitch::Closed(segment)) => {
            log::info!(target: TARGET, "The WAL file {segment} has been closed on server '{name}'");
            // Before the first check there is no such directory, and no note.
            let _ = std::fs::write(&mark, "");
            true
        }
        Ok(WalSwitch::NotNeeded) => true,
        Err(reason) => {
            log::warn!(target: TARGET, "cannot switch WAL on server '{name}': {reason}");
            false
        }
    }
}

/// Whether a segment was asked for a short while ago. A time in the future is none.
fn is_recent(mark: &Path) -> bool {
    std::fs::metadata(mark)
        .and_then(|meta| meta.modified())
        .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < BETWEEN_SWITCHES))
}

/// Archives until something is there: a third of the time that is left, and never for ever.
fn wait(facts: &mut Facts<'_, '_>, patience: &mut Patience) -> bool {
    let limit = facts
        .deadline()
        .left()
        .map_or(LONGEST_WAIT, |left| (left / 3).min(LONGEST_WAIT));
    let start = Instant::now();
    let mut pause = PAUSES.0;
    loop {
        let over = start.elapsed() >= limit;
        if over {
            patience.try_all();
        }
        if archive(facts, patience) {
            facts.refresh_catalog();
            return true;
        }
        if over || facts.deadline().ended().is_some() {
            return false;
        }
        facts.ctx().clock.sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}
