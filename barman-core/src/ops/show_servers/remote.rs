//! What PostgreSQL says of itself, under the names that Barman gives it.
//!
//! The client programs that Barman runs are built in here. Their keys stay, because scripts look for them.

use barman_pg::ConnInfo;
use barman_pg::sql::{ArchiverStats, ReplicationSlot};
use serde_json::{Map, Value, json};

use super::streams;
use crate::config::{BackupMethod, python};
use crate::format;
use crate::server::{ArchiveSettings, Remote, Server};

/// Where a program is that is none.
const BUILT_IN: &str = "built in";
/// The newest PostgreSQL whose protocols are spoken.
const NEWEST: &str = "18";

/// Everything, later sources over earlier ones. What cannot be read is null or absent, as with Barman.
pub(super) fn status(server: &mut Server) -> Map<String, Value> {
    let mut keys = Map::new();
    let connects = usable(server.config().conninfo.as_deref());
    let remote = Remote::gather(server);
    let sql = &remote.sql;
    if connects {
        keys.extend(object(json!(sql)));
        let size = sql
            .current_size
            .map(|size| json!(size.map(|bytes| bytes.to_string())));
        keys.extend(size.map(|size| ("current_size".to_owned(), size)));
        let slot = sql.replication_slot.as_ref().map(slot_text);
        keys.insert("replication_slot".to_owned(), json!(slot));
    }
    if streams(server) && usable(server.config().streaming_conninfo.as_deref()) {
        keys.extend(object(json!(remote.streaming)));
    }
    if server.config().streaming_archiver {
        let name = server.config().streaming_archiver_name.as_deref();
        let synchronous = sql.synchronous_standby_names.as_ref().map(|names| {
            names
                .iter()
                .any(|wanted| wanted == "*" || Some(wanted.as_str()) == name)
        });
        keys.extend(object(json!({
            "pg_receivexlog_installed": true,
            "pg_receivexlog_path": BUILT_IN,
            "pg_receivexlog_version": NEWEST,
            "pg_receivexlog_compatible": true,
            "pg_receivexlog_supports_slots": true,
            "pg_receivexlog_synchronous": synchronous,
        })));
    }
    if server.config().archiver {
        let settings = if sql.server_txt_version.is_some() {
            ArchiveSettings::gather(server)
        } else {
            ArchiveSettings::default()
        };
        keys.insert("archive_mode".to_owned(), json!(settings.mode));
        keys.insert("archive_command".to_owned(), json!(settings.command));
        if let Some(stats) = &settings.stats {
            keys.extend(archiver(stats));
        }
    }
    if server.config().backup_method == BackupMethod::Postgres {
        keys.extend(object(json!({
            "pg_basebackup_installed": true,
            "pg_basebackup_path": BUILT_IN,
            "pg_basebackup_version": NEWEST,
            "pg_basebackup_compatible": true,
            "pg_basebackup_bwlimit": true,
            "pg_basebackup_tbls_mapping": true,
        })));
    }
    keys
}

/// Whether there can be a connection at all.
fn usable(conninfo: Option<&str>) -> bool {
    conninfo.is_some_and(|text| ConnInfo::parse(text).is_ok())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn slot_text(slot: &ReplicationSlot) -> String {
    format!(
        "Record(slot_name={}, active={}, restart_lsn={})",
        python::literal(&json!(slot.slot_name)),
        python::literal(&json!(slot.active)),
        python::literal(&json!(slot.restart_lsn)),
    )
}

/// `pg_stat_archiver`.
fn archiver(stats: &ArchiverStats) -> Map<String, Value> {
    let time = |time: &Option<jiff::Zoned>| time.as_ref().map(format::timestamp);
    let rate = stats.current_archived_wals_per_second.as_deref();
    object(json!({
        "archived_count": stats.archived_count,
        "last_archived_wal": stats.last_archived_wal,
        "last_archived_time": time(&stats.last_archived_time),
        "failed_count": stats.failed_count,
        "last_failed_wal": stats.last_failed_wal,
        "last_failed_time": time(&stats.last_failed_time),
        "stats_reset": time(&stats.stats_reset),
        "is_archiving": stats.is_archiving,
        "current_archived_wals_per_second": rate.map(python::decimal),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_as_barman_shows_them() {
        let slot = ReplicationSlot {
            slot_name: "barman".to_owned(),
            active: true,
            restart_lsn: "0/4000000".parse().ok(),
        };
        assert_eq!(
            slot_text(&slot),
            "Record(slot_name='barman', active=True, restart_lsn='0/4000000')"
        );
        let unused = ReplicationSlot {
            active: false,
            restart_lsn: None,
            ..slot
        };
        assert_eq!(
            slot_text(&unused),
            "Record(slot_name='barman', active=False, restart_lsn=None)"
        );
    }
}
