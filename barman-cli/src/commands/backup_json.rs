//! The fields of `backup.info` as `backup` (and later `diagnose`) give them in JSON.

use barman_catalog::python_literal::str_repr;
use barman_catalog::{BackupId, BackupInfo, BackupMode};
use serde_json::{Map, Value, json};

/// Every field of a backup, by name.
pub(super) fn fields(info: &BackupInfo) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("backup_id", json!(info.id.as_str()));
    // The content of the file as a quoted literal: that is how the field is stored.
    set("backup_label", json!(info.backup_label.as_deref().map(str_repr)));
    if let Some(name) = &info.backup_name {
        set("backup_name", json!(name));
    }
    set("begin_offset", json!(info.begin_offset));
    set("begin_time", json!(info.begin_time.map(|time| time.ctime())));
    set("begin_wal", text(info.begin_wal));
    set("begin_xlog", text(info.begin_xlog));
    set("children_backup_ids", json!(ids(&info.children_backup_ids)));
    #[allow(clippy::cast_precision_loss, reason = "Barman writes this size as a float")]
    set("cluster_size", json!(info.cluster_size.map(|size| size as f64)));
    set("compression", json!(info.compression));
    set("config_file", json!(info.config_file));
    set("copy_stats", json!(info.copy_stats));
    set("data_checksums", json!(info.data_checksums));
    set("deduplicated_size", json!(info.deduplicated_size));
    set("encryption", json!(info.encryption));
    set("end_offset", json!(info.end_offset));
    set("end_time", json!(info.end_time.map(|time| time.ctime())));
    set("end_wal", text(info.end_wal));
    set("end_xlog", text(info.end_xlog));
    set("error", json!(info.error));
    set("hba_file", json!(info.hba_file));
    set("ident_file", json!(info.ident_file));
    set(
        "included_files",
        json!((!info.included_files.is_empty()).then_some(&info.included_files)),
    );
    set("mode", json!(info.mode.as_ref().map(BackupMode::as_str)));
    set("parent_backup_id", text(info.parent_backup_id));
    set("pgdata", json!(info.pgdata));
    set("server_name", json!(info.server_name));
    set("size", json!(info.size));
    if let Some(snapshots) = &info.snapshots_info {
        set("snapshots_info", json!(snapshots));
    }
    set("status", json!(info.status.as_str()));
    set("summarize_wal", json!(info.summarize_wal));
    set("systemid", json!(info.systemid));
    let tablespaces: Vec<Value> = info
        .tablespaces
        .iter()
        .map(|tablespace| json!([tablespace.name, tablespace.oid, tablespace.location]))
        .collect();
    set(
        "tablespaces",
        json!((!tablespaces.is_empty()).then_some(tablespaces)),
    );
    set("timeline", json!(info.timeline.map(barman_wal::TimelineId::get)));
    set("version", json!(info.version));
    set("xlog_segment_size", json!(info.xlog_segment_size.bytes()));
    fields
}

fn text(value: Option<impl ToString>) -> Value {
    json!(value.map(|value| value.to_string()))
}

/// Ids joined by commas; nothing for none.
fn ids(ids: &[BackupId]) -> Option<String> {
    let ids: Vec<&str> = ids.iter().map(BackupId::as_str).collect();
    (!ids.is_empty()).then(|| ids.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_complete_backup() {
        let text = "backup_label='START WAL LOCATION: 0/2000028\\nit\\'s\\n'\nbackup_name=nightly\nbegin_offset=40\n\
            begin_time=2026-11-21 04:58:18.5+00:00\nbegin_wal=000000010000000000000002\nbegin_xlog=0/2000028\n\
            children_backup_ids=20261121T050000,20261121T050100\ncluster_size=23444013\ncompression=None\n\
            copy_stats={'copy_time': 0.5, 'total_time': 0.5}\nmode=postgres\nserver_name=main\nsize=3\nstatus=DONE\n\
            tablespaces=[('ts1', 16388, '/srv/ts1')]\ntimeline=1\nversion=180004\n";
        let info = BackupInfo::parse("20261121T045818".parse().unwrap(), "main", text.as_bytes()).unwrap();
        let document = crate::output::json::to_text(&Value::Object(fields(&info)));
        expect![[r#"{"backup_id": "20261121T045818", "backup_label": "\"START WAL LOCATION: 0/2000028\\nit's\\n\"", "backup_name": "nightly", "begin_offset": 40, "begin_time": "Sat Nov 21 04:58:18 2026", "begin_wal": "000000010000000000000002", "begin_xlog": "0/2000028", "children_backup_ids": "20261121T050000,20261121T050100", "cluster_size": 23444013.0, "compression": null, "config_file": null, "copy_stats": {"copy_time": 0.5, "total_time": 0.5}, "data_checksums": null, "deduplicated_size": null, "encryption": null, "end_offset": null, "end_time": null, "end_wal": null, "end_xlog": null, "error": null, "hba_file": null, "ident_file": null, "included_files": null, "mode": "postgres", "parent_backup_id": null, "pgdata": null, "server_name": "main", "size": 3, "status": "DONE", "summarize_wal": null, "systemid": null, "tablespaces": [["ts1", 16388, "/srv/ts1"]], "timeline": 1, "version": 180004, "xlog_segment_size": 16777216}"#]]
        .assert_eq(&document);
    }
}
