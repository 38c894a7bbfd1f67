//! `show-backup` as JSON.

use super::{children, copy_figures, is_postgres, next, previous, resources_saved, time, timelines};
use crate::format;
use barman_catalog::Timestamp;
use barman_core::ops::show_backup::ShowBackupReport;
use serde_json::{Map, Value, json};

/// The members of one object.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn set(&mut self, key: &str, value: impl serde::Serialize) {
        self.0.insert(key.to_owned(), json!(value));
    }

    /// `<key>` as people read it and `<key>_bytes`.
    fn size(&mut self, key: &str, bytes: u64) {
        self.set(key, format::size_of(bytes));
        self.set(&format!("{key}_bytes"), bytes);
    }
}

pub(super) fn document(report: &ShowBackupReport) -> Value {
    let backup = &report.backup;
    let mut object = Object::default();
    object.set("backup_id", backup.id.as_str());
    if let Some(name) = &backup.backup_name {
        object.set("backup_name", name);
    }
    if let Some(id) = &backup.systemid {
        object.set("system_id", id);
    }
    object.set("status", backup.status.as_str());
    let server = json!({"data_checksums": backup.data_checksums, "summarize_wal": backup.summarize_wal});
    object.set("server_information", server);
    if !backup.status.is_copy_done() {
        if let Some(error) = &backup.error {
            object.set("error", error);
        }
        return Value::Object(object.0);
    }
    object.set("backup_type", report.backup_type.as_str());
    if let Some(size) = backup.cluster_size {
        object.size("cluster_size", size);
    }
    object.set("postgresql_version", backup.version);
    object.set("pgdata_directory", &backup.pgdata);
    object.set("tablespaces", &backup.tablespaces);
    if let Some(snapshots) = &backup.snapshots_info {
        object.set("snapshots_info", snapshots);
    }
    object.set("base_backup_information", base_backup(report).0);
    object.set("catalog_information", catalog(report).0);
    object.set("wal_information", wal(report).0);
    Value::Object(object.0)
}

fn base_backup(report: &ShowBackupReport) -> Object {
    let (backup, figures) = (&report.backup, &report.wal);
    let size = backup.deduplicated_size.unwrap_or(0);
    let mut object = Object::default();
    object.set("backup_method", backup.mode.as_ref().map(ToString::to_string));
    object.set("encryption", &backup.encryption);
    object.set("compression", &backup.compression);
    object.size("backup_size", size);
    object.size("backup_size_with_wals", size.saturating_add(figures.wal_size));
    object.size("wal_size", figures.wal_size);
    if let Some(saved) = resources_saved(report) {
        object.size("resources_saved", saved);
        object.set(
            "resources_saved_percentage",
            format::percentage(report.deduplication_ratio),
        );
    }
    object.set("timeline", backup.timeline.map(barman_wal::TimelineId::get));
    object.set("begin_wal", backup.begin_wal.map(|wal| wal.to_string()));
    object.set("end_wal", backup.end_wal.map(|wal| wal.to_string()));
    object.set("wal_num", figures.wal_num);
    if figures.wal_compression_ratio > 0.0 {
        object.set(
            "wal_compression_ratio",
            format::percentage(figures.wal_compression_ratio),
        );
    }
    for (key, stamp) in [("begin_time", backup.begin_time), ("end_time", backup.end_time)] {
        object.set(key, time(stamp));
        object.set(
            &format!("{key}_timestamp"),
            stamp
                .as_ref()
                .map(Timestamp::epoch_seconds)
                .map(|seconds| seconds.to_string()),
        );
    }
    if let Some(copy) = copy_figures(report) {
        object.set("copy_time", copy.copy);
        object.set("copy_time_seconds", copy.copy_seconds);
        if let Some((words, seconds)) = copy.analysis {
            object.set("analysis_time", words);
            object.set("analysis_time_seconds", seconds);
        }
        let throughput = copy.throughput.unwrap_or(0.0);
        object.set("throughput", format!("{}/s", format::size(throughput)));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "truncated as Barman does; never negative"
        )]
        object.set("throughput_bytes", throughput as u64);
        object.set("number_of_workers", copy.workers);
    }
    object.set("begin_offset", backup.begin_offset);
    object.set("end_offset", backup.end_offset);
    object.set("begin_lsn", backup.begin_xlog.map(|lsn| lsn.to_string()));
    object.set("end_lsn", backup.end_xlog.map(|lsn| lsn.to_string()));
    object
}

fn wal(report: &ShowBackupReport) -> Object {
    let figures = &report.wal;
    let mut object = Object::default();
    object.set("no_of_files", figures.wal_until_next_num);
    object.size("disk_usage", figures.wal_until_next_size);
    // A number 0, not a text, where nothing is known.
    if figures.wals_per_second > 0.0 {
        object.set("wal_rate", format::hourly_rate(figures.wals_per_second * 3600.0));
        object.set("wal_rate_per_second", figures.wals_per_second);
    } else {
        object.set("wal_rate", 0);
        object.set("wal_rate_per_second", 0);
    }
    if figures.wal_until_next_compression_ratio > 0.0 {
        object.set(
            "compression_ratio",
            format::percentage(figures.wal_until_next_compression_ratio),
        );
    } else {
        object.set("compression_ratio", 0);
    }
    object.set("last_available", figures.wal_last.map(|wal| wal.to_string()));
    object.set("timelines", timelines(report));
    if !report.child_timelines.is_empty() {
        let gap = " ".repeat(21);
        object.set(
            "_WARNING",
            format!(
                "WAL information is inaccurate{gap}due to multiple timelines interacting with{gap}this backup"
            ),
        );
    }
    object
}

fn catalog(report: &ShowBackupReport) -> Object {
    let mut object = Object::default();
    object.set("retention_policy", report.retention.as_str());
    object.set("previous_backup", previous(report));
    object.set("next_backup", next(report));
    if let Some(chain) = &report.chain {
        object.set("root_backup_id", chain.root.as_str());
        object.set("parent_backup_id", chain.parent.as_str());
        object.set("chain_size", chain.size);
    }
    if is_postgres(report) {
        object.set("children_backup_ids", children(report));
    }
    object
}
