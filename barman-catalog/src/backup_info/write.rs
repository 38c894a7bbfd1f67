//! Writing: Barman's fields in Barman's order and encoding.

use super::BackupInfo;
use crate::python_literal::{Value, str_repr};
use std::fmt::Write as _;

/// A value that `backup.info` cannot hold: it would make the file unreadable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "field {field} of backup {backup} cannot be written to backup.info: {value:?} is not one line of text"
)]
pub struct WriteError {
    /// The field.
    pub field: String,
    /// The backup.
    pub backup: String,
    /// Its value.
    pub value: String,
}

impl BackupInfo {
    /// The content of the file.
    ///
    /// # Errors
    /// A value with a line end, or with blanks around it that a reader would drop.
    pub fn to_text(&self) -> Result<String, WriteError> {
        let mut fields = self.fields();
        for (name, value) in &self.unknown {
            fields.push((name.as_str(), Some(value.clone())));
        }
        fields.sort_by(|a, b| a.0.cmp(b.0));
        let mut out = String::with_capacity(2048);
        for (name, value) in fields {
            let value = value.unwrap_or_else(|| "None".to_owned());
            if value.contains(['\n', '\r']) || value.trim() != value {
                return Err(WriteError {
                    field: name.to_owned(),
                    backup: self.id.to_string(),
                    value,
                });
            }
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}={value}");
        }
        Ok(out)
    }

    /// The known fields in file order, each with its encoded value; `None` for unset. Fields that are hidden while
    /// unset are missing then.
    #[must_use]
    pub fn fields(&self) -> Vec<(&str, Option<String>)> {
        fn show<T: ToString>(value: Option<&T>) -> Option<String> {
            value.map(T::to_string)
        }
        let list = |items: Vec<Value>| (!items.is_empty()).then(|| Value::List(items).to_string());
        let not_empty = |value: &Value| {
            value
                .as_dict()
                .is_some_and(|d| !d.is_empty())
                .then(|| value.to_string())
        };
        let ids: Vec<&str> = self
            .children_backup_ids
            .iter()
            .map(crate::BackupId::as_str)
            .collect();
        let tablespaces = self.tablespaces.iter().map(|t| {
            Value::Tuple(vec![
                Value::str(&t.name),
                Value::Int(i64::from(t.oid)),
                Value::str(&t.location),
            ])
        });
        let mut fields = vec![
            (
                "backup_label",
                self.backup_label
                    .as_deref()
                    .filter(|l| !l.is_empty())
                    .map(str_repr),
            ),
            ("backup_name", self.backup_name.clone()),
            ("begin_offset", show(self.begin_offset.as_ref())),
            ("begin_time", show(self.begin_time.as_ref())),
            ("begin_wal", show(self.begin_wal.as_ref())),
            ("begin_xlog", show(self.begin_xlog.as_ref())),
            ("children_backup_ids", (!ids.is_empty()).then(|| ids.join(","))),
            ("cluster_size", show(self.cluster_size.as_ref())),
            ("compression", self.compression.clone()),
            ("config_file", self.config_file.clone()),
            (
                "copy_stats",
                self.copy_stats.as_ref().and_then(|s| not_empty(&s.0)),
            ),
            ("data_checksums", self.data_checksums.clone()),
            ("deduplicated_size", show(self.deduplicated_size.as_ref())),
            ("encryption", self.encryption.clone()),
            ("end_offset", show(self.end_offset.as_ref())),
            ("end_time", show(self.end_time.as_ref())),
            ("end_wal", show(self.end_wal.as_ref())),
            ("end_xlog", show(self.end_xlog.as_ref())),
            ("error", self.error.clone()),
            ("hba_file", self.hba_file.clone()),
            ("ident_file", self.ident_file.clone()),
            (
                "included_files",
                list(self.included_files.iter().map(Value::str).collect()),
            ),
            ("mode", show(self.mode.as_ref())),
            ("parent_backup_id", show(self.parent_backup_id.as_ref())),
            ("pgdata", self.pgdata.clone()),
            ("server_name", Some(self.server_name.clone())),
            ("size", show(self.size.as_ref())),
            (
                "snapshots_info",
                self.snapshots_info.as_ref().and_then(|s| not_empty(&s.0)),
            ),
            ("status", Some(self.status.to_string())),
            ("summarize_wal", self.summarize_wal.clone()),
            ("systemid", self.systemid.clone()),
            ("tablespaces", list(tablespaces.collect())),
            ("timeline", self.timeline.map(|t| t.get().to_string())),
            ("version", show(self.version.as_ref())),
            (
                "xlog_segment_size",
                Some(self.xlog_segment_size.bytes().to_string()),
            ),
        ];
        // Barman takes a missing `mode` for the server's own and cannot work with an unset one.
        let hidden = |name: &str| matches!(name, "backup_name" | "mode" | "snapshots_info");
        fields.retain(|(name, value)| value.is_some() || !hidden(name));
        fields
    }
}
