//! The options of `BASE_BACKUP` and the two spellings of the command (PostgreSQL, `repl_gram.y`, `basebackup.c`).

use std::time::Duration;

use barman_wal::manifest::Algorithm;

use crate::error::Error;
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

/// Whether the server sends a `backup_manifest` (it can from 13 on; older ones are just not asked).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestMode {
    /// With checksums by this algorithm, which may be [`Algorithm::None`].
    With(Algorithm),
    /// None.
    Without,
}

impl ManifestMode {
    /// The algorithm of its checksums.
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::With(algorithm) => algorithm,
            Self::Without => Algorithm::None,
        }
    }
}

/// A compression that servers from 15 on can apply to the archives before they send them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionMethod {
    /// gzip.
    Gzip,
    /// The lz4 frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl CompressionMethod {
    /// As in the command.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// What the server puts after `.tar` in the names of archives.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Lz4 => ".lz4",
            Self::Zstd => ".zst",
        }
    }
}

/// How the server compresses. It knows best which levels and workers it has, and refuses others in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerCompression {
    /// The format.
    pub method: CompressionMethod,
    /// gzip: 1 to 9, lz4: 0 to 12, zstd: -131072 to 22; the server's default if not given.
    pub level: Option<i32>,
    /// Threads of the server; zstd only.
    pub workers: Option<u32>,
    /// Long-distance matching; zstd only, from PostgreSQL 16 on.
    pub long: bool,
}

impl ServerCompression {
    /// This format at the server's default level.
    #[must_use]
    pub const fn new(method: CompressionMethod) -> Self {
        Self {
            method,
            level: None,
            workers: None,
            long: false,
        }
    }

    fn detail(&self) -> String {
        let level = self.level.map(|level| format!("level={level}"));
        let workers = self.workers.map(|workers| format!("workers={workers}"));
        let long = self.long.then(|| "long".to_owned());
        [level, workers, long]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(",")
    }
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
    /// Whether the server compresses the archives. PostgreSQL 15 and newer.
    pub compression: Option<ServerCompression>,
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
            manifest: ManifestMode::With(Algorithm::Crc32c),
            tablespace_map: false,
            wait: true,
            progress: false,
            compression: None,
            checkpoint_wait: None,
            archive_wait: None,
        }
    }
}

/// Whether all of the cluster is sent, or what has changed since the backup whose manifest was uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Full,
    Incremental,
}

impl BaseBackupOptions {
    /// The command for a server of this version.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what this version cannot do at all.
    pub(super) fn command(&self, version: PgVersion, extent: Extent) -> Result<String, Error> {
        let grouped = version.at_least(15);
        if let Some(compression) = self.compression
            && !grouped
        {
            return Err(Error::Unsupported {
                option: "compression on the server".to_owned(),
                value: compression.method.name().to_owned(),
                why: "PostgreSQL can compress base backups from version 15 on",
            });
        }
        let mut words = vec![format!("LABEL {}", literal(&self.label))];
        let mut add = |word: &str| words.push(word.to_owned());
        if self.progress {
            add("PROGRESS");
        }
        if self.checkpoint == CheckpointMode::Fast {
            add(if grouped { "CHECKPOINT 'fast'" } else { "FAST" });
        }
        if extent == Extent::Incremental {
            add("INCREMENTAL");
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
        if let ManifestMode::With(algorithm) = self.manifest
            && version.at_least(13)
        {
            add("MANIFEST 'yes'");
            add(&format!("MANIFEST_CHECKSUMS '{algorithm}'"));
        }
        if let Some(compression) = self.compression {
            add(&format!("COMPRESSION '{}'", compression.method.name()));
            let detail = compression.detail();
            if !detail.is_empty() {
                add(&format!("COMPRESSION_DETAIL {}", literal(&detail)));
            }
        }
        Ok(if grouped {
            add("TARGET 'client'");
            format!("BASE_BACKUP ({})", words.join(", "))
        } else {
            format!("BASE_BACKUP {}", words.join(" "))
        })
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
            assert_eq!(
                options.command(PgVersion(version), Extent::Full).unwrap(),
                command
            );
        }
    }

    #[test]
    fn compression_and_incremental_backups() {
        let of = |method, level, workers, long| BaseBackupOptions {
            manifest: ManifestMode::With(Algorithm::Sha256),
            compression: Some(ServerCompression {
                method,
                level,
                workers,
                long,
            }),
            ..BaseBackupOptions::default()
        };
        for (options, extent, words) in [
            (
                of(CompressionMethod::Gzip, None, None, false),
                Extent::Full,
                "MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256', COMPRESSION 'gzip', TARGET 'client'",
            ),
            (
                of(CompressionMethod::Zstd, Some(-5), Some(2), true),
                Extent::Incremental,
                "INCREMENTAL, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256', COMPRESSION 'zstd', \
                 COMPRESSION_DETAIL 'level=-5,workers=2,long', TARGET 'client'",
            ),
            (
                BaseBackupOptions {
                    manifest: ManifestMode::Without,
                    ..of(CompressionMethod::Lz4, Some(3), None, false)
                },
                Extent::Full,
                "COMPRESSION 'lz4', COMPRESSION_DETAIL 'level=3', TARGET 'client'",
            ),
        ] {
            assert_eq!(
                options.command(PgVersion(180_000), extent).unwrap(),
                format!("BASE_BACKUP (LABEL 'pg_basebackup base backup', {words})")
            );
            assert!(matches!(
                options.command(PgVersion(140_000), extent),
                Err(Error::Unsupported { .. })
            ));
        }
    }
}
