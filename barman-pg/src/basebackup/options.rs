//! The options of `BASE_BACKUP` and the two spellings of the command.

use std::time::Duration;

use crate::sql::quote::literal;
use crate::version::PgVersion;

/// How the server takes the checkpoint that the backup begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointMode {
    /// At once.
    Fast,
    /// Spread over `checkpoint_timeout`.
    Spread,
}

/// Whether the server sends a `backup_manifest` (it can from 13 on).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestMode {
    /// With CRC32C checksums, if the server can.
    Crc32c,
    /// None.
    None,
}

/// What to ask the server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseBackupOptions {
    /// The backup's label.
    pub label: String,
    /// How the checkpoint is taken.
    pub checkpoint: CheckpointMode,
    /// The most the server sends per second, in kB (32 to 1048576).
    pub max_rate: Option<u32>,
    /// Whether there is a manifest.
    pub manifest: ManifestMode,
    /// Whether links of `pg_tblspc` come as a `tablespace_map` file (for tar files) rather than as links.
    pub tablespace_map: bool,
    /// Whether the server waits at the end until its WAL is archived.
    pub wait: bool,
    /// Whether the server estimates sizes beforehand, which costs it a walk through all files.
    pub progress: bool,
    /// The most that the checkpoint may take before the first byte; `None` waits as long as it takes.
    pub checkpoint_wait: Option<Duration>,
    /// The most that the server may be silent at the end, while it waits for its WAL to be archived; `None` waits as
    /// long as it takes. The interrupt flag works meanwhile.
    pub archive_wait: Option<Duration>,
}

impl Default for BaseBackupOptions {
    fn default() -> Self {
        Self {
            label: "pg_basebackup base backup".to_owned(),
            checkpoint: CheckpointMode::Spread,
            max_rate: None,
            manifest: ManifestMode::Crc32c,
            tablespace_map: false,
            wait: true,
            progress: false,
            checkpoint_wait: None,
            archive_wait: None,
        }
    }
}

impl BaseBackupOptions {
    /// The command for a server of this version.
    pub(crate) fn command(&self, version: PgVersion) -> String {
        let grouped = version.at_least(15);
        let mut words = vec![format!("LABEL {}", literal(&self.label))];
        let mut add = |word: &str| words.push(word.to_owned());
        if self.progress {
            add("PROGRESS");
        }
        if self.checkpoint == CheckpointMode::Fast {
            add(if grouped { "CHECKPOINT 'fast'" } else { "FAST" });
        }
        if !self.wait {
            add(if grouped { "WAIT 0" } else { "NOWAIT" });
        }
        if let Some(rate) = self.max_rate {
            add(&format!("MAX_RATE {rate}"));
        }
        if self.tablespace_map {
            add("TABLESPACE_MAP");
        }
        if version.at_least(13) && self.manifest == ManifestMode::Crc32c {
            add("MANIFEST 'yes'");
            add("MANIFEST_CHECKSUMS 'CRC32C'");
        }
        if grouped {
            add("TARGET 'client'");
            format!("BASE_BACKUP ({})", words.join(", "))
        } else {
            format!("BASE_BACKUP {}", words.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_gets_its_grammar() {
        let full = BaseBackupOptions {
            label: "it's".to_owned(),
            checkpoint: CheckpointMode::Fast,
            max_rate: Some(1024),
            wait: false,
            progress: true,
            tablespace_map: true,
            ..BaseBackupOptions::default()
        };
        let plain = BaseBackupOptions::default();
        for (options, version, command) in [
            (
                &plain,
                180_000,
                "BASE_BACKUP (LABEL 'pg_basebackup base backup', MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', TARGET 'client')",
            ),
            (
                &plain,
                140_000,
                "BASE_BACKUP LABEL 'pg_basebackup base backup' MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'",
            ),
            (&plain, 120_000, "BASE_BACKUP LABEL 'pg_basebackup base backup'"),
            (
                &full,
                150_000,
                "BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'fast', WAIT 0, MAX_RATE 1024, TABLESPACE_MAP, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', TARGET 'client')",
            ),
            (
                &full,
                100_000,
                "BASE_BACKUP LABEL 'it''s' PROGRESS FAST NOWAIT MAX_RATE 1024 TABLESPACE_MAP",
            ),
        ] {
            assert_eq!(options.command(PgVersion(version)), command);
        }
    }
}
