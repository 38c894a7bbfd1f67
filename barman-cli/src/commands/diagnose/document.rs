//! The document of `diagnose`, with Barman's keys.

use super::settings::Settings;
use crate::commands::backup_json;
use crate::format;
use barman_catalog::BackupInfo;
use barman_catalog::xlogdb::WalRecord;
use barman_core::config::{Config, ServerConfig};
use barman_core::ops::diagnose::{DiagnoseReport, ServerDiagnosis, ServerStatus, SystemInfo};
use jiff::Zoned;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

/// What stands where Barman names the program that it runs, or its version.
const BUILT_IN: &str = "built in";
/// The newest PostgreSQL whose protocols are spoken.
const NEWEST: &str = "18";

pub(super) fn document(config: &Config, report: &DiagnoseReport, with_source: bool) -> Value {
    let settings = Settings { config, with_source };
    let mut system = system(&report.system);
    system.insert("barman_ver".to_owned(), json!("3.20.1"));
    system.insert("timestamp".to_owned(), json!(iso(&report.at)));
    let models: Map<String, Value> = config
        .models
        .iter()
        .map(|model| (model.name.clone(), json!({ "config": settings.model(model) })))
        .collect();
    let zone = report.at.time_zone();
    let servers: Map<String, Value> = config
        .servers
        .iter()
        .zip(&report.servers)
        .map(|(server, found)| (server.name.clone(), self::server(&settings, server, found, zone)))
        .collect();
    json!({
        "global": { "config": settings.global(), "system_info": system },
        "models": models,
        "servers": servers,
    })
}

fn server(settings: &Settings<'_>, server: &ServerConfig, found: &ServerDiagnosis, zone: &TimeZone) -> Value {
    let backups: Map<String, Value> = found
        .backups
        .iter()
        .map(|info| (info.id.to_string(), backup(info, zone)))
        .collect();
    let wals: Map<String, Value> = found
        .last_wals
        .iter()
        .map(|(timeline, record)| (format!("{:08X}", timeline.get()), wal(record)))
        .collect();
    let mut document = json!({
        "active_model": server.active_model,
        "backups": backups,
        "config": settings.server(server),
        "msg_list": server.messages,
        "status": found.status.as_ref().map_or_else(Map::new, status),
        "wals": { "last_archived_wal_per_timeline": wals },
    });
    if let (Some(info), Value::Object(members)) = (&found.system, &mut document) {
        members.insert("system_info".to_owned(), Value::Object(system(info)));
    }
    document
}

/// The keys about Python stay: whoever reads them learns what runs instead.
fn system(info: &SystemInfo) -> Map<String, Value> {
    let mut members = object(json!(info));
    let program = format!("none: barman-rs {} needs no Python", env!("CARGO_PKG_VERSION"));
    members.insert("python_ver".to_owned(), json!(program));
    members.insert("python_executable".to_owned(), json!("none"));
    members
}

fn wal(record: &WalRecord) -> Value {
    json!({
        "compression": record.compression,
        "encryption": record.encryption,
        "name": record.name.to_string(),
        "size": record.size,
        "time": record.time,
    })
}

/// The fields of a backup, with its times in the zone of this host.
fn backup(info: &BackupInfo, zone: &TimeZone) -> Value {
    let mut fields = backup_json::fields(info);
    let time = |time: Option<barman_catalog::Timestamp>| {
        time.map(|time| iso(&time.instant().to_zoned(zone.clone())))
    };
    fields.insert("begin_time".to_owned(), json!(time(info.begin_time)));
    fields.insert("end_time".to_owned(), json!(time(info.end_time)));
    fields.insert("cluster_size".to_owned(), json!(info.cluster_size));
    Value::Object(fields)
}

/// What PostgreSQL says, later sources over earlier ones.
fn status(status: &ServerStatus) -> Map<String, Value> {
    let mut keys = Map::new();
    if let Some(sql) = &status.sql {
        keys.extend(object(json!(sql)));
        if let Some(size) = sql.current_size {
            #[allow(clippy::cast_precision_loss, reason = "Barman writes this size as a float")]
            keys.insert("current_size".to_owned(), json!(size.map(|bytes| bytes as f64)));
        }
        let slot = sql.replication_slot.as_ref();
        let slot = slot.map(|slot| json!([slot.slot_name, slot.active, slot.restart_lsn]));
        keys.insert("replication_slot".to_owned(), json!(slot));
    }
    if let Some(streaming) = &status.streaming {
        keys.extend(object(json!(streaming)));
    }
    // Built in, and nobody knows about a server that was not reached.
    let compatible = status
        .streaming
        .as_ref()
        .and_then(|streaming| streaming.version_supported);
    if let Some(synchronous) = status.receives_wal {
        keys.extend(object(json!({
            "pg_receivexlog_compatible": compatible,
            "pg_receivexlog_installed": true,
            "pg_receivexlog_path": BUILT_IN,
            "pg_receivexlog_supports_slots": compatible,
            "pg_receivexlog_synchronous": synchronous,
            "pg_receivexlog_version": NEWEST,
        })));
    }
    if let Some(settings) = &status.archiving {
        keys.insert("archive_mode".to_owned(), json!(settings.mode));
        keys.insert("archive_command".to_owned(), json!(settings.command));
        if let Some(stats) = &settings.stats {
            let rate = stats.current_archived_wals_per_second.as_deref();
            keys.extend(object(json!({
                "archived_count": stats.archived_count,
                "current_archived_wals_per_second": rate.and_then(|text| text.parse::<f64>().ok()),
                "failed_count": stats.failed_count,
                "is_archiving": stats.is_archiving,
                "last_archived_time": stats.last_archived_time.as_ref().map(iso),
                "last_archived_wal": stats.last_archived_wal,
                "last_failed_time": stats.last_failed_time.as_ref().map(iso),
                "last_failed_wal": stats.last_failed_wal,
                "stats_reset": stats.stats_reset.as_ref().map(iso),
            })));
        }
    }
    if status.takes_base_backups {
        keys.extend(object(json!({
            "pg_basebackup_bwlimit": true,
            "pg_basebackup_compatible": compatible,
            "pg_basebackup_installed": true,
            "pg_basebackup_path": BUILT_IN,
            "pg_basebackup_tbls_mapping": true,
            "pg_basebackup_version": NEWEST,
        })));
    }
    keys
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// `2026-11-21T04:59:48.453522+00:00`
fn iso(time: &Zoned) -> String {
    format::timestamp(time).replacen(' ', "T", 1)
}
