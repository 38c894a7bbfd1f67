//! The table of checks, in the order in which they are done and shown.

use super::facts::Facts;
use super::report::CheckResult;
use super::{archivers, backups, connections, host, methods, wal_archive};

/// One check, or one group of checks that share what they look at.
pub struct CheckEntry {
    /// Name of the result, or of the group: also the name of the failure if the check itself breaks.
    pub name: &'static str,
    pub(super) applies: fn(&Facts<'_, '_>) -> bool,
    pub(super) run: fn(&mut Facts<'_, '_>) -> Result<Vec<CheckResult>, String>,
}

impl std::fmt::Debug for CheckEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CheckEntry").field(&self.name).finish()
    }
}

type Applies = fn(&Facts<'_, '_>) -> bool;
type Run = fn(&mut Facts<'_, '_>) -> Result<Vec<CheckResult>, String>;

const fn entry(name: &'static str, applies: Applies, run: Run) -> CheckEntry {
    CheckEntry { name, applies, run }
}

fn always(_: &Facts<'_, '_>) -> bool {
    true
}

fn connects(facts: &Facts<'_, '_>) -> bool {
    facts.connects()
}

fn is_up(facts: &Facts<'_, '_>) -> bool {
    facts.postgres_is_up
}

fn wants_standby(facts: &Facts<'_, '_>) -> bool {
    facts.postgres_is_up && facts.config().primary_conninfo.is_some()
}

fn is_standby(facts: &Facts<'_, '_>) -> bool {
    facts.is_standby && wants_standby(facts)
}

fn enabled(facts: &Facts<'_, '_>) -> bool {
    !facts.config().disabled
}

fn encrypted(facts: &Facts<'_, '_>) -> bool {
    facts.config().encryption.is_some()
}

fn in_cloud(facts: &Facts<'_, '_>) -> bool {
    facts.config().basebackups_in_cloud() || facts.config().wals_in_cloud()
}

fn active(facts: &Facts<'_, '_>) -> bool {
    facts.config().active
}

fn streams(facts: &Facts<'_, '_>) -> bool {
    facts.connects() && facts.config().streaming_archiver
}

fn archives(facts: &Facts<'_, '_>) -> bool {
    facts.connects() && facts.config().archiver
}

/// Every check of `barman check`.
#[must_use]
pub fn entries() -> &'static [CheckEntry] {
    static ENTRIES: &[CheckEntry] = &[
        entry("WAL archive", always, wal_archive::wal_archive),
        entry("incoming WALs directory", always, host::incoming_queue),
        entry("streaming WALs directory", always, host::streaming_queue),
        entry("PostgreSQL", connects, connections::postgres),
        entry(
            "superuser or standard user with backup privileges",
            is_up,
            connections::backup_privileges,
        ),
        entry("PostgreSQL streaming", is_up, connections::streaming),
        entry("wal_level", is_up, connections::wal_level),
        entry(
            "PostgreSQL server is standby",
            wants_standby,
            connections::standby,
        ),
        entry(
            "Primary server is not a standby",
            is_standby,
            connections::primary,
        ),
        entry(
            "Primary and standby have same system ID",
            is_standby,
            connections::same_system,
        ),
        entry("replication slot", connects, connections::wal_streaming),
        entry("directories", enabled, host::directories),
        entry("retention policy settings", always, backups::retention_policy),
        entry("backup maximum age", always, backups::maximum_age),
        entry("backup minimum size", always, backups::minimum_size),
        entry("encryption", encrypted, backups::encryption),
        entry("cloud storage configuration", in_cloud, backups::cloud),
        entry("wal maximum age", always, backups::wal_age),
        entry("wal size", always, backups::wal_size),
        entry("compression settings", always, backups::compression),
        entry("failed backups", always, backups::failed_backups),
        entry("minimum redundancy requirements", always, backups::redundancy),
        entry("backup method", active, methods::method),
        entry("configuration", always, host::configuration),
        entry("systemid coherence", always, connections::systemid),
        entry("receive-wal running", streams, archivers::streaming),
        entry("archive_mode", archives, archivers::file),
        entry("archiver errors", always, host::archiver_errors),
    ];
    ENTRIES
}

/// What `receive-wal` asks before it starts.
pub(super) fn streaming_preflight() -> &'static [CheckEntry] {
    static ENTRIES: &[CheckEntry] = &[entry("WAL streaming", always, connections::streaming_preflight)];
    ENTRIES
}
