//! What `backup.info` records about the server. Every query must succeed: a value that could not be read is no "none".

use barman_catalog::{BackupInfo, Tablespace};

use super::sequence::TARGET;
use super::source::Source;

/// Why the server's metadata cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub(super) enum MetadataError {
    /// A query failed.
    #[error(transparent)]
    Query(#[from] barman_pg::Error),
    /// The server does not tell its data directory.
    #[error("the server does not show its data_directory: the role needs pg_read_all_settings")]
    DataDirectory,
    /// A value that cannot be written into `backup.info`.
    #[error("the {what} {value:?} has a line break, which backup.info cannot hold")]
    LineBreak {
        /// Which value.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// Another cluster answers now than at the start.
    #[error("the server's system identifier is {found} after the copy and was {expected} before it")]
    OtherCluster {
        /// Before.
        expected: String,
        /// Now.
        found: String,
    },
}

/// Reads everything that the first save with status STARTED has, except the position.
pub(super) fn read(source: &mut Source, info: &mut BackupInfo) -> Result<(), MetadataError> {
    let sql = &mut source.sql;
    let pgdata = sql
        .setting("data_directory")?
        .ok_or(MetadataError::DataDirectory)?;
    info.version = Some(sql.version().0);
    info.xlog_segment_size = sql.segment_size()?;
    let files = sql.configuration_files()?;
    for (what, value) in [
        ("data directory", Some(&pgdata)),
        ("path of config_file", files.config_file.as_ref()),
        ("path of hba_file", files.hba_file.as_ref()),
        ("path of ident_file", files.ident_file.as_ref()),
    ] {
        if let Some(value) = value.filter(|value| value.contains(['\n', '\r'])) {
            return Err(MetadataError::LineBreak {
                what,
                value: value.clone(),
            });
        }
    }
    info.pgdata = Some(pgdata);
    info.config_file = files.config_file;
    info.hba_file = files.hba_file;
    info.ident_file = files.ident_file;
    info.included_files = files.included_files;
    info.tablespaces = tablespaces(source)?;
    let sql = &mut source.sql;
    info.data_checksums = sql.setting("data_checksums")?;
    info.summarize_wal = if sql.version().at_least(17) {
        sql.setting("summarize_wal")?
    } else {
        None
    };
    info.cluster_size = sql.current_size()?;
    if info.cluster_size.is_none() {
        log::warn!(target: TARGET, "the size of the cluster is not recorded: the role lacks backup privileges");
    }
    let systemid = sql.systemid()?;
    match &info.systemid {
        Some(expected) if *expected != systemid => {
            return Err(MetadataError::OtherCluster {
                expected: expected.clone(),
                found: systemid,
            });
        }
        _ => info.systemid = Some(systemid),
    }
    Ok(())
}

/// After the copy: still the same cluster?
pub(super) fn check_same_cluster(source: &mut Source, info: &BackupInfo) -> Result<(), MetadataError> {
    let found = source.sql.systemid()?;
    match &info.systemid {
        Some(expected) if *expected != found => Err(MetadataError::OtherCluster {
            expected: expected.clone(),
            found,
        }),
        _ => Ok(()),
    }
}

/// Records the tablespaces that the copy really has: some may have been created or dropped since the metadata were
/// read. A name that nobody knows any more (dropped since) is the OID.
pub(super) fn refresh_tablespaces(
    source: &mut Source,
    info: &mut BackupInfo,
    copied: &[(u32, String)],
) -> Result<(), MetadataError> {
    let known: Vec<u32> = info.tablespaces.iter().map(|tablespace| tablespace.oid).collect();
    if copied.len() == known.len() && copied.iter().all(|(oid, _)| known.contains(oid)) {
        return Ok(());
    }
    let now = tablespaces(source)?;
    log::warn!(target: TARGET, "the tablespaces of the server have changed since the start of the backup");
    info.tablespaces = merge(&info.tablespaces, &now, copied);
    Ok(())
}

fn merge(before: &[Tablespace], now: &[Tablespace], copied: &[(u32, String)]) -> Vec<Tablespace> {
    copied
        .iter()
        .map(|(oid, location)| {
            let named = now.iter().chain(before).find(|tablespace| tablespace.oid == *oid);
            let name = named.map_or_else(|| oid.to_string(), |tablespace| tablespace.name.clone());
            Tablespace {
                name,
                oid: *oid,
                location: location.clone(),
            }
        })
        .collect()
}

/// Those with a location of their own: one inside the data directory (`allow_in_place_tablespaces`) is part of that.
fn tablespaces(source: &mut Source) -> Result<Vec<Tablespace>, MetadataError> {
    let found = source.sql.tablespaces()?;
    Ok(found
        .into_iter()
        .filter(|t| t.location.starts_with('/'))
        .map(|t| Tablespace {
            name: t.name,
            oid: t.oid,
            location: t.location,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tablespaces_are_those_that_were_copied() {
        let tablespace = |name: &str, oid: u32| Tablespace {
            name: name.into(),
            oid,
            location: format!("/ts/{oid}"),
        };
        let before = [tablespace("old", 1), tablespace("dropped", 2)];
        let now = [tablespace("renamed", 1), tablespace("new", 3)];
        let copied = [
            (1, "/ts/1".to_owned()),
            (2, "/ts/2".to_owned()),
            (3, "/ts/3".to_owned()),
            (4, "/ts/4".to_owned()),
        ];
        let names: Vec<String> = merge(&before, &now, &copied)
            .into_iter()
            .map(|t| t.name)
            .collect();
        assert_eq!(names, ["renamed", "dropped", "new", "4"]);
    }
}
