//! The name of an exported backup: `backup-export-SERVER-ID-STAMP-CHECKSUM.tar`, perhaps compressed.

use crate::export::PREFIX;
use crate::ids::BackupId;
use crate::tarball::Compression;

/// What the name of an export tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportName {
    /// The backup.
    pub id: BackupId,
    /// When it was exported, UTC, `YYYYMMDDTHHMMSS`.
    pub stamp: String,
    /// The first digits of the SHA-256 of the file, as the name has them: perhaps none.
    pub checksum: String,
}

/// A name that is not that of an export of this server. The words are Barman's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Tarball filename does not match the expected export format 'backup-export-SERVER_NAME-BACKUP_ID-TIMESTAMP-CHECKSUM.tar': '{name}'. {why}"
)]
pub struct NameError {
    name: String,
    why: String,
}

impl ExportName {
    /// Reads the name of an export of `server`.
    ///
    /// # Errors
    /// It is none, or that of another server.
    pub fn parse(name: &str, server: &str) -> Result<Self, NameError> {
        let error = |why: String| NameError {
            name: name.to_owned(),
            why,
        };
        let stem = [
            "",
            Compression::Gzip.suffix(),
            Compression::Bzip2.suffix(),
            Compression::Xz.suffix(),
        ]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix)?.strip_suffix(".tar"))
        .ok_or_else(|| error("Expected a .tar, .tar.gz, .tar.bz2, or .tar.xz file extension.".to_owned()))?;
        let prefix = format!("{PREFIX}{server}-");
        let rest = stem
            .strip_prefix(&prefix)
            .ok_or_else(|| error(format!("Expected filename to start with '{prefix}'.")))?;
        let parts: Vec<&str> = rest.split('-').collect();
        let [id, stamp, checksum] = parts[..] else {
            let what =
                "Expected filename to contain the backup ID, timestamp, and checksum after the server name.";
            return Err(error(what.to_owned()));
        };
        let is_time =
            |text: &str| text.len() == 15 && jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", text).is_ok();
        for (what, text) in [("BACKUP_ID", id), ("TIMESTAMP", stamp)] {
            if !is_time(text) {
                return Err(error(format!(
                    "Expected {what} to be in the format 'YYYYMMDDTHHMMSS', got '{text}'."
                )));
            }
        }
        Ok(Self {
            id: id.parse().map_err(|e| error(format!("{e}")))?,
            stamp: stamp.to_owned(),
            checksum: checksum.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_exports() {
        for suffix in ["", ".gz", ".bz2", ".xz"] {
            let name = format!("backup-export-a-b-20261121T184413-20261121T184526-5e41bb31.tar{suffix}");
            let parsed = ExportName::parse(&name, "a-b").unwrap();
            assert_eq!(
                (parsed.id.as_str(), parsed.checksum.as_str()),
                ("20261121T184413", "5e41bb31")
            );
        }
        for (name, why) in [
            ("x.tgz", "file extension"),
            ("x.tar", "start with 'backup-export-a-'"),
            (
                "backup-export-b-20261121T184413-20261121T184526-5e41bb31.tar",
                "start with",
            ),
            ("backup-export-a-x.tar", "contain the backup ID"),
            (
                "backup-export-a-20261121T184413-20261121T184526-5e41bb31-x.tar",
                "after the server name",
            ),
            (
                "backup-export-a-20261341T184413-20261121T184526-5e41bb31.tar",
                "BACKUP_ID to be",
            ),
            (
                "backup-export-a-20261121T184413-20261121T1845260-5e41bb31.tar",
                "TIMESTAMP to be",
            ),
        ] {
            let error = ExportName::parse(name, "a").unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(name), "{error}");
        }
    }
}
