//! The copy: `BASE_BACKUP` into the directories of the backup, with retries. What has arrived is verified against the
//! server's manifest and on disk when a copy counts as done; what belongs to a failed attempt is removed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use barman_catalog::BackupInfo;
use barman_pg::basebackup::{
    self, BackupPosition, BaseBackupOptions, CheckpointMode, ExtractTargets, OwnManifest,
};
use barman_pg::{PgVersion, ServerMessage};
use barman_wal::backup_label::BackupLabel;
use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};

use super::failed::{Action, Failed, chain};
use super::sequence::TARGET;
use crate::config::ServerConfig;
use crate::context::{Context, Level};
use crate::server::Server;

/// What was copied.
pub(super) struct Copied {
    /// The redo position of the checkpoint, from the label.
    pub begin: Lsn,
    /// Its file, from the label.
    pub begin_wal: SegmentName,
    /// The first position that is not needed.
    pub end: Lsn,
    /// The timeline of `end`.
    pub end_timeline: TimelineId,
    /// The text of the label.
    pub label: String,
    /// OID and location of each tablespace.
    pub tablespaces: Vec<(u32, String)>,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("cannot {what} {}: {source}", path.display())]
    Directory {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Connection(#[from] crate::server::ServerError),
    #[error(transparent)]
    Server(#[from] barman_pg::Error),
    #[error(transparent)]
    Extract(#[from] basebackup::ExtractError),
    #[error("the streaming connection leads to system {found}, the standard connection to system {expected}")]
    OtherCluster { expected: String, found: String },
    #[error("PostgreSQL {0} sent no backup manifest to verify the copy with")]
    NotVerified(u32),
    #[error("the label of the backup: {0}")]
    Label(String),
    #[error("the server says that the backup ends at {end} (timeline {}), and began at {start} (timeline {})", end_timeline.get(), timeline.get())]
    End {
        start: Lsn,
        timeline: TimelineId,
        end: Lsn,
        end_timeline: TimelineId,
    },
    #[error("the copy has no global/pg_control")]
    NoControlFile,
}

/// Copies the cluster to `base`, as often as the settings allow.
pub(super) fn run(
    server: &Server,
    base: &Path,
    info: &BackupInfo,
    ctx: &Context<'_>,
) -> Result<Copied, Failed> {
    let config = server.config();
    let data = base.join("data");
    let mut attempt = 0;
    loop {
        let error = match once(server, base, info, ctx) {
            Ok(copied) => return Ok(copied),
            Err(error) => error,
        };
        ctx.progress.end();
        // An incomplete copy is of no use to anybody, and the disk may be full.
        clear(base);
        let failed = describe(&data, &error).unless_cancelled(ctx.cancel);
        if failed.interrupted.is_some() || attempt >= config.basebackup_retry_times {
            return Err(failed);
        }
        log::error!(target: TARGET, "{}", failed.details);
        ctx.say(
            Level::Warning,
            TARGET,
            &format!("The base backup has failed (attempt {attempt})"),
        );
        let pause = config.basebackup_retry_sleep;
        let line = format!(
            "What was copied is removed; the next attempt starts in {} seconds",
            pause.as_secs()
        );
        ctx.say(Level::Warning, TARGET, &line);
        sleep(pause, ctx)?;
        attempt += 1;
    }
}

/// One attempt.
fn once(server: &Server, base: &Path, info: &BackupInfo, ctx: &Context<'_>) -> Result<Copied, CopyError> {
    let data = base.join("data");
    clear(base);
    make(&data)?;
    for tablespace in &info.tablespaces {
        make(&base.join(tablespace.oid.to_string()))?;
    }
    let mut client = server.connect_streaming(server.config().streaming_backup_name.as_deref())?;
    let version = client.version();
    let found = client.identify_system()?.systemid;
    if let Some(expected) = info.systemid.clone().filter(|expected| *expected != found) {
        return Err(CopyError::OtherCluster { expected, found });
    }
    let mut backup = client.base_backup(&backup_options(server.config()))?;
    let tablespaces: Vec<(u32, String)> = backup
        .tablespaces()
        .iter()
        // One without a location of its own is part of the data directory.
        .filter(|tablespace| tablespace.location.is_absolute())
        .map(|tablespace| (tablespace.oid, tablespace.location.to_string_lossy().into_owned()))
        .collect();
    let mut targets = ExtractTargets {
        data: data.clone(),
        tablespaces: BTreeMap::new(),
        // Barman's backups of these versions have none, and a restored server would send it with its next backup.
        own_manifest: OwnManifest::No,
    };
    for (oid, _) in &tablespaces {
        let directory = base.join(oid.to_string());
        make(&directory)?;
        targets.tablespaces.insert(*oid, directory);
    }
    backup.on_notice(|message| notice(message, ctx));
    ctx.progress.begin("base backup", info.cluster_size);
    let report = basebackup::extract(backup, &targets, &|bytes| ctx.progress.position(bytes))?;
    ctx.progress.end();
    checked(version, report.verified, &data)?;

    let bytes = fs::read(data.join("backup_label")).map_err(|source| CopyError::Directory {
        what: "read",
        path: data.join("backup_label"),
        source,
    })?;
    let label = BackupLabel::parse(&bytes).map_err(|error| CopyError::Label(error.to_string()))?;
    agree(&label, report.start, report.end, info.xlog_segment_size)?;
    let text = String::from_utf8(bytes).map_err(|error| CopyError::Label(error.to_string()))?;
    Ok(Copied {
        begin: label.start_lsn,
        begin_wal: label.start_wal,
        end: report.end.lsn,
        end_timeline: report.end.timeline,
        label: text,
        tablespaces,
    })
}

fn backup_options(config: &ServerConfig) -> BaseBackupOptions {
    let rate = config.bandwidth_limit.filter(|rate| *rate > 0);
    BaseBackupOptions {
        checkpoint: if config.immediate_checkpoint {
            CheckpointMode::Fast
        } else {
            CheckpointMode::Spread
        },
        // The server refuses what is out of its range, and says so.
        max_rate: rate.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
        // The server would look once a second, with nothing on disk here that tells of a complete copy: we wait later.
        wait: false,
        ..BaseBackupOptions::default()
    }
}

/// A server that can send a manifest must have done so, and no cluster is without its control file.
fn checked(version: PgVersion, verified: bool, data: &Path) -> Result<(), CopyError> {
    if version.at_least(13) && !verified {
        return Err(CopyError::NotVerified(version.major()));
    }
    if !data.join("global/pg_control").is_file() {
        return Err(CopyError::NoControlFile);
    }
    Ok(())
}

/// The label must belong to this backup, and the end must not come before the beginning: whether its WAL is complete is
/// decided by these positions.
fn agree(
    label: &BackupLabel,
    start: BackupPosition,
    end: BackupPosition,
    size: SegmentSize,
) -> Result<(), CopyError> {
    let start_wal = SegmentName::from_lsn(start.timeline, start.lsn, size);
    if (label.start_lsn, label.start_wal) != (start.lsn, start_wal) {
        return Err(CopyError::Label(format!(
            "it begins at {} ({}), the server began at {} ({start_wal})",
            label.start_lsn, label.start_wal, start.lsn
        )));
    }
    if end.lsn < start.lsn || end.timeline < start.timeline {
        return Err(CopyError::End {
            start: start.lsn,
            timeline: start.timeline,
            end: end.lsn,
            end_timeline: end.timeline,
        });
    }
    Ok(())
}

/// What the server says during the copy.
fn notice(message: &ServerMessage, ctx: &Context<'_>) {
    if message.severity == "WARNING" {
        let hint = message
            .hint
            .as_deref()
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        ctx.say(
            Level::Warning,
            TARGET,
            &format!("PostgreSQL: {}{hint}", message.message),
        );
    }
}

/// Removes what an attempt has left, as far as that is possible: whatever stays is in the way of the next one, which
/// says so. The directories themselves stay, so that a FAILED backup has the parts that Barman's has.
fn clear(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if let Err(error) = fs::remove_dir_all(&path)
            .and_then(|()| fs::create_dir(&path))
            .and_then(|()| private(&path))
        {
            log::warn!(target: TARGET, "cannot empty {}: {error}", path.display());
        }
    }
}

fn make(directory: &Path) -> Result<(), CopyError> {
    fs::create_dir_all(directory)
        .and_then(|()| private(directory))
        .map_err(|source| CopyError::Directory {
            what: "create directory",
            path: directory.to_path_buf(),
            source,
        })
}

fn private(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

fn describe(data: &Path, error: &CopyError) -> Failed {
    let first = format!("data transfer failure on directory '{}'", data.display());
    let why = chain(error);
    let mut details = format!("{first}\n{why}");
    let (detail, hint) = match error {
        CopyError::Server(error)
        | CopyError::Extract(basebackup::ExtractError::Connection(error))
        | CopyError::Connection(crate::server::ServerError::Connection { source: error, .. }) => {
            (error.detail().map(str::to_owned), error.hint())
        }
        _ => (None, None),
    };
    for (word, text) in [("DETAIL", detail), ("HINT", hint)] {
        if let Some(text) = text {
            details.push_str(&format!("\n{word}: {text}"));
        }
    }
    let reason = format!("{first}: {}", why.lines().next().unwrap_or_default());
    Failed {
        reason,
        ..Failed::text(Action::Copying, &details)
    }
}

/// Sleeps in slices, so that a request to stop is seen at once.
fn sleep(total: Duration, ctx: &Context<'_>) -> Result<(), Failed> {
    const SLICE: Duration = Duration::from_millis(200);
    let mut left = total;
    while !left.is_zero() {
        if let Some(cause) = ctx.cancel.cause() {
            return Err(Failed::interrupted(Action::Copying, cause));
        }
        let slice = left.min(SLICE);
        ctx.clock.sleep(slice);
        left = left.saturating_sub(slice);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_directory_and_the_reason() {
        let error = CopyError::Directory {
            what: "write",
            path: "/b/data/base/1/2".into(),
            source: io::Error::from_raw_os_error(28),
        };
        let failed = describe(Path::new("/b/data"), &error);
        assert_eq!(
            failed.reason,
            "data transfer failure on directory '/b/data': cannot write /b/data/base/1/2: No space left on device (os error 28)"
        );
        assert!(
            failed
                .details
                .starts_with("data transfer failure on directory '/b/data'\ncannot write")
        );
    }

    #[test]
    fn an_emptied_backup_keeps_its_directories() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("20261121T044852");
        make(&base.join("data")).unwrap();
        make(&base.join("16388")).unwrap();
        fs::create_dir_all(base.join("data/base/1")).unwrap();
        fs::write(base.join("data/base/1/1259"), "x").unwrap();
        clear(&base);
        for name in ["data", "16388"] {
            let metadata = fs::metadata(base.join(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, 0o700);
            assert_eq!(fs::read_dir(base.join(name)).unwrap().count(), 0);
        }
    }

    #[test]
    fn positions_that_do_not_belong_together_are_no_backup() {
        let label = BackupLabel::parse(
            b"START WAL LOCATION: 0/3000028 (file 000000010000000000000003)\n\
              CHECKPOINT LOCATION: 0/3000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
              START TIME: 2026-11-21 04:48:52 GMT\nLABEL: x\nSTART TIMELINE: 1\n",
        )
        .unwrap();
        let at = |lsn: &str, timeline| BackupPosition {
            lsn: lsn.parse().unwrap(),
            timeline: TimelineId::new(timeline).unwrap(),
        };
        let size = SegmentSize::DEFAULT;
        let begin = at("0/3000028", 1);
        assert!(agree(&label, begin, at("0/3000100", 1), size).is_ok());
        assert!(agree(&label, begin, at("0/4000000", 1), size).is_ok());
        for end in [at("0/3000027", 1), at("0/2000100", 1), at("0/0", 1)] {
            assert!(matches!(
                agree(&label, begin, end, size),
                Err(CopyError::End { .. })
            ));
        }
        for begin in [at("0/3000028", 2), at("0/2000028", 1)] {
            assert!(matches!(
                agree(&label, begin, at("0/5000000", 2), size),
                Err(CopyError::Label(_))
            ));
        }
    }

    #[test]
    fn a_copy_without_a_manifest_counts_only_where_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        assert!(matches!(
            checked(PgVersion(150_018), true, data),
            Err(CopyError::NoControlFile)
        ));
        fs::create_dir(data.join("global")).unwrap();
        fs::write(data.join("global/pg_control"), "").unwrap();
        assert!(checked(PgVersion(150_018), true, data).is_ok());
        assert!(checked(PgVersion(120_000), false, data).is_ok());
        assert!(matches!(
            checked(PgVersion(130_000), false, data),
            Err(CopyError::NotVerified(13))
        ));
    }
}
