//! Reading: line by line into typed fields.

use super::{BackupInfo, BackupMode, BackupStatus, CopyStats, SnapshotsInfo, Tablespace};
use crate::ids::BackupId;
use crate::python_literal::{self, Value};
use barman_wal::SegmentSize;
use std::collections::BTreeMap;
use std::str::FromStr;

/// Why a `backup.info` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BackupInfoError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl BackupInfo {
    /// Reads the content of a `backup.info`. Missing fields are unknown.
    ///
    /// # Errors
    /// The first line that is no `name=value`, or whose value cannot be what its field holds. A file without any content:
    /// Barman writes its files so that a crash may leave an empty one of a whole backup, whose WAL nobody must take for
    /// superfluous.
    pub fn parse(id: BackupId, server_name: &str, content: &[u8]) -> Result<Self, BackupInfoError> {
        let mut info = Self::new(id, server_name, None);
        let mut unknown = BTreeMap::new();
        if content.trim_ascii().is_empty() {
            return Err(BackupInfoError {
                line: 1,
                reason: "the file is empty, as a crash may leave that of a whole backup".to_owned(),
            });
        }
        for (number, line) in content.split(|&b| b == b'\n').enumerate() {
            let error = |reason: String| BackupInfoError {
                line: number + 1,
                reason,
            };
            let line = std::str::from_utf8(line).map_err(|_| error("not UTF-8".to_owned()))?;
            // Blanks before a comment, too: as a field it would be a comment as soon as it is written again.
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let (name, value) = line
                .split_once('=')
                .ok_or_else(|| error(format!("no '=' in {line:.60?}")))?;
            let (name, value) = (name.trim(), value.trim());
            let known = set(&mut info, name, (value != "None").then_some(value))
                .map_err(|reason| error(format!("field {name}: {reason}")))?;
            if !known {
                unknown.insert(name.to_owned(), value.to_owned());
            }
        }
        info.unknown = unknown.into_iter().collect();
        Ok(info)
    }
}

/// Sets one field; `None` is the literal `None`. Says whether the field is known.
fn set(info: &mut BackupInfo, name: &str, value: Option<&str>) -> Result<bool, String> {
    match name {
        "backup_label" => info.backup_label = value.map(string_literal).transpose()?,
        "backup_name" => info.backup_name = text(value),
        "begin_offset" => info.begin_offset = number(value)?,
        "begin_time" => info.begin_time = parsed(value)?,
        "begin_wal" => info.begin_wal = parsed(value)?,
        "begin_xlog" => info.begin_xlog = parsed(value)?,
        "children_backup_ids" => info.children_backup_ids = value.map(ids).transpose()?.unwrap_or_default(),
        "cluster_size" => info.cluster_size = number(value)?,
        "compression" => info.compression = text(value),
        "config_file" => info.config_file = text(value),
        "copy_stats" => info.copy_stats = value.map(dictionary).transpose()?.map(CopyStats),
        "data_checksums" => info.data_checksums = text(value),
        "deduplicated_size" => info.deduplicated_size = number(value)?,
        "encryption" => info.encryption = text(value),
        "end_offset" => info.end_offset = number(value)?,
        "end_time" => info.end_time = parsed(value)?,
        "end_wal" => info.end_wal = parsed(value)?,
        "end_xlog" => info.end_xlog = parsed(value)?,
        "error" => info.error = text(value),
        "hba_file" => info.hba_file = text(value),
        "ident_file" => info.ident_file = text(value),
        "included_files" => info.included_files = value.map(strings).transpose()?.unwrap_or_default(),
        "mode" => info.mode = value.map(BackupMode::from),
        "parent_backup_id" => info.parent_backup_id = parsed(value)?,
        "pgdata" => info.pgdata = text(value),
        "server_name" => {
            if let Some(value) = value {
                value.clone_into(&mut info.server_name);
            }
        }
        "size" => info.size = number(value)?,
        "snapshots_info" => info.snapshots_info = value.map(dictionary).transpose()?.map(SnapshotsInfo),
        "status" => info.status = parsed(value)?.unwrap_or(BackupStatus::Empty),
        "summarize_wal" => info.summarize_wal = text(value),
        "systemid" => info.systemid = text(value),
        "tablespaces" => info.tablespaces = value.map(tablespaces).transpose()?.unwrap_or_default(),
        "timeline" => info.timeline = timeline(value)?,
        "version" => {
            info.version = number(value)?
                .map(|n| u32::try_from(n).map_err(|_| format!("{n} is no PostgreSQL version")))
                .transpose()?;
        }
        "xlog_segment_size" => {
            info.xlog_segment_size = match number(value)? {
                Some(bytes) => SegmentSize::new(bytes).map_err(|e| e.to_string())?,
                None => SegmentSize::DEFAULT,
            };
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn text(value: Option<&str>) -> Option<String> {
    value.map(str::to_owned)
}

fn parsed<T: FromStr>(value: Option<&str>) -> Result<Option<T>, String>
where
    T::Err: std::fmt::Display,
{
    value
        .map(|v| v.parse().map_err(|e: T::Err| e.to_string()))
        .transpose()
}

fn number(value: Option<&str>) -> Result<Option<u64>, String> {
    let parse = |v: &str| v.parse().map_err(|_| format!("{v:.40?} is no number of bytes"));
    value.map(parse).transpose()
}

fn timeline(value: Option<&str>) -> Result<Option<barman_wal::TimelineId>, String> {
    let Some(number) = number(value)? else {
        return Ok(None);
    };
    u32::try_from(number)
        .ok()
        .and_then(barman_wal::TimelineId::new)
        .map(Some)
        .ok_or_else(|| format!("{number} is no timeline"))
}

fn ids(value: &str) -> Result<Vec<BackupId>, String> {
    value
        .split(',')
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .map(|id| id.parse().map_err(|e: crate::ids::BackupIdError| e.to_string()))
        .collect()
}

/// A structured field; one that holds nothing at all is read as unset.
fn literal(value: &str) -> Result<Value, String> {
    python_literal::parse(value).map_err(|e| e.to_string())
}

fn string_literal(value: &str) -> Result<String, String> {
    match literal(value)? {
        Value::Str(text) => Ok(text),
        _ => Err("not a string".to_owned()),
    }
}

fn dictionary(value: &str) -> Result<Value, String> {
    match literal(value)? {
        dict @ Value::Dict(_) => Ok(dict),
        _ => Err("not a dictionary".to_owned()),
    }
}

fn strings(value: &str) -> Result<Vec<String>, String> {
    let value = literal(value)?;
    let items = value.as_sequence().ok_or("not a list")?;
    items
        .iter()
        .map(|i| {
            i.as_str()
                .map(str::to_owned)
                .ok_or_else(|| "not a list of strings".to_owned())
        })
        .collect()
}

fn tablespaces(value: &str) -> Result<Vec<Tablespace>, String> {
    let value = literal(value)?;
    let items = value.as_sequence().ok_or("not a list")?;
    items
        .iter()
        .map(|item| match item.as_sequence() {
            Some([Value::Str(name), oid, Value::Str(location)]) => {
                // Some old files have the OID as text.
                let oid = match oid {
                    Value::Int(n) => u32::try_from(*n).ok(),
                    Value::Str(digits) => digits.parse().ok(),
                    _ => None,
                };
                let oid = oid.ok_or("a tablespace without OID")?;
                Ok(Tablespace {
                    name: name.clone(),
                    oid,
                    location: location.clone(),
                })
            }
            _ => Err("not a list of (name, oid, location)".to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_fields_wherever_they_begin() {
        let id = "20261121T044724".parse().unwrap();
        let text = b"#a=b\n  # c=d\n\t#e\nnew=1\n";
        let info = BackupInfo::parse(id, "main", text).unwrap();
        assert_eq!(info.unknown, [("new".to_owned(), "1".to_owned())]);
    }
}
