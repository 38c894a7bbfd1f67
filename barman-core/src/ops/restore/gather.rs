//! Collects what a [`super::plan::RestorePlan`] depends on: the backup, the timelines, the WAL of the archive.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use barman_catalog::ids::{self, AutoTarget};
use barman_catalog::xlogdb::{self, CustomMagic, XlogDb};
use barman_catalog::{BackupInfo, BackupStatus, BackupType, Catalog, Layout};
use barman_wal::durable;
use barman_wal::history::TimelineHistory;
use barman_wal::{SegmentName, TimelineId, WalFileName};

use super::archived;
use super::error::RestoreError;
use super::lineage::{self, Forks, Unreachable};
use super::options::{RestoreOptions, Target, TargetTimeline};
use super::plan::{RECOVERY_CONF, RestorePlan, STANDBY_SIGNAL, WalPlan};
use super::time::TargetTime;
use super::wal_choice::{Extent, Leg, WalChoice};
use crate::config::ServerConfig;
use crate::context::Context;
use crate::ops::wal_codec::WalCodec;

/// Nobody's history file is bigger.
const MAX_HISTORY: u64 = 1 << 20;

/// Reads the WAL catalogue.
pub(super) fn wal_catalogue(
    layout: &Layout,
    config: &ServerConfig,
    ctx: &Context<'_>,
) -> Result<XlogDb, RestoreError> {
    let custom = match (
        &config.custom_compression_magic,
        &config.custom_decompression_filter,
    ) {
        (Some(magic), _) => CustomMagic::Bytes(magic.clone()),
        (None, Some(_)) => CustomMagic::Anything,
        (None, None) => CustomMagic::None,
    };
    let db = xlogdb::read(layout, &custom, Some(ctx.cancel.flag().as_ref()))
        .map_err(|error| RestoreError::Catalogue(error.to_string()))?;
    Ok(db.sorted())
}

/// The timelines of which the archive has a whole segment.
fn timelines(db: &XlogDb) -> BTreeSet<TimelineId> {
    db.iter()
        .filter(|record| record.name.is_segment())
        .map(|record| record.name.timeline())
        .collect()
}

/// The backup that the options ask for, with the checks that need no more than its metadata.
pub(super) fn choose_backup<'c>(
    catalog: &'c Catalog,
    options: &RestoreOptions,
    time: Option<&TargetTime>,
    latest_timeline: impl FnOnce() -> Result<Option<TimelineId>, RestoreError>,
) -> Result<&'c BackupInfo, RestoreError> {
    if options.backup != "auto" {
        return Ok(ids::resolve(catalog, &options.backup)?);
    }
    let timeline = match options.target_tli {
        None => None,
        Some(TargetTimeline::Current) => return Err(RestoreError::AutoCurrent),
        Some(TargetTimeline::Latest) => latest_timeline()?,
        Some(TargetTimeline::Number(number)) => Some(number),
    };
    let target = match (&options.target, time.and_then(TargetTime::timestamp)) {
        (Target::None, _) => AutoTarget::Latest,
        (Target::Time(_), Some(time)) => AutoTarget::Time(time),
        (Target::Lsn(lsn), _) => AutoTarget::Lsn(*lsn),
        _ => return Err(RestoreError::AutoNeedsTimeOrLsn),
    };
    ids::auto(catalog.usable(), target, timeline).ok_or(RestoreError::NoCandidate)
}

/// Refuses backups that cannot be restored, or not yet.
pub(super) fn check_backup(
    catalog: &Catalog,
    backup: &BackupInfo,
    options: &RestoreOptions,
) -> Result<(), RestoreError> {
    if !backup.status.is_copy_done() {
        let status = backup.status.as_str();
        return Err(RestoreError::NotDone {
            backup: options.backup.clone(),
            server: catalog.server().to_owned(),
            state: match &backup.error {
                Some(why) => format!("{status} ({why})"),
                None => status.to_owned(),
            },
        });
    }
    if catalog.is_being_deleted(backup.id) {
        return Err(RestoreError::BeingDeleted {
            backup: backup.id,
            server: catalog.server().to_owned(),
        });
    }
    let unavailable = |what| Err(RestoreError::NotAvailable { what });
    if backup.backup_type() == BackupType::Snapshot {
        return unavailable("the restore of a snapshot backup");
    }
    if options.snapshot_recovery_instance.is_some() {
        return Err(RestoreError::NotASnapshot { backup: backup.id });
    }
    if backup.is_incremental() {
        return unavailable("the restore of an incremental backup");
    }
    if backup.encryption.is_some() {
        return unavailable("the restore of an encrypted backup");
    }
    if backup.compression.is_some() {
        return unavailable("the restore of a compressed (tar format) backup");
    }
    if options.delta_restore == Some(true) {
        return unavailable("a delta restore (--delta-restore)");
    }
    match backup.version {
        None => Err(RestoreError::Incomplete {
            backup: backup.id,
            field: "version",
        }),
        Some(version) if version < 100_000 => unavailable("the restore of PostgreSQL 9.6 and older"),
        Some(_) => Ok(()),
    }
}

/// Refuses a target that lies before the end of the backup.
pub(super) fn check_target(
    backup: &BackupInfo,
    target: &Target,
    time: Option<&TargetTime>,
) -> Result<(), RestoreError> {
    if let (Some(time), Some(end)) = (time, backup.end_time)
        && time.timestamp().is_some_and(|instant| instant < end.instant())
    {
        return Err(RestoreError::TimeBeforeEnd {
            target: time.to_string(),
            end: end.to_string(),
        });
    }
    if let (Target::Lsn(target), Some(end)) = (target, backup.end_xlog)
        && *target < end
    {
        return Err(RestoreError::LsnBeforeEnd { target: *target, end });
    }
    Ok(())
}

/// The timeline recovery aims at, and whether the user named it.
#[derive(Debug, Clone, Copy)]
struct Aim {
    timeline: TimelineId,
    named: bool,
}

fn aim(
    backup: &BackupInfo,
    options: &RestoreOptions,
    db: &XlogDb,
    server: &str,
) -> Result<Aim, RestoreError> {
    let own = backup.timeline.ok_or(RestoreError::Incomplete {
        backup: backup.id,
        field: "timeline",
    })?;
    let latest = lineage::latest(&timelines(db));
    let (timeline, named) = match options.target_tli {
        Some(TargetTimeline::Number(number)) => (number, true),
        Some(TargetTimeline::Current) => (own, true),
        Some(TargetTimeline::Latest) => (
            latest.ok_or_else(|| RestoreError::NoTimeline {
                server: server.to_owned(),
            })?,
            true,
        ),
        None if backup.version.is_some_and(|version| version < 120_000) => {
            (backup.end_wal.map_or(own, |end| end.timeline), false)
        }
        None => (latest.unwrap_or(own), false),
    };
    Ok(Aim { timeline, named })
}

/// The timeline shown in the `Doing PITR` line.
pub(super) fn shown_timeline(
    backup: &BackupInfo,
    options: &RestoreOptions,
    latest: impl FnOnce() -> Result<Option<TimelineId>, RestoreError>,
    server: &str,
) -> Result<Option<String>, RestoreError> {
    Ok(match options.target_tli {
        None => None,
        Some(TargetTimeline::Number(number)) => Some(number.get().to_string()),
        Some(TargetTimeline::Current) => backup.timeline.map(|own| own.get().to_string()),
        Some(TargetTimeline::Latest) => {
            let latest = latest()?.ok_or_else(|| RestoreError::NoTimeline {
                server: server.to_owned(),
            })?;
            Some(latest.get().to_string())
        }
    })
}

/// The highest timeline of the archive.
pub(super) fn latest_timeline(db: &XlogDb) -> Option<TimelineId> {
    lineage::latest(&timelines(db))
}

fn forks(
    layout: &Layout,
    timeline: TimelineId,
    codec: &WalCodec<'_>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<Forks>, RestoreError> {
    let path = layout.wal_path(&WalFileName::History(timeline));
    let file = match durable::open_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(RestoreError::io("open", &path))?,
    };
    let mut content = Vec::new();
    let name = WalFileName::History(timeline);
    let reader = archived::reader(codec, name, &file, &path, cancelled)?;
    io::Read::read_to_end(&mut io::Read::take(reader, MAX_HISTORY), &mut content)
        .map_err(RestoreError::io("read", &path))?;
    let history = TimelineHistory::parse(timeline, &content).map_err(|error| RestoreError::DamagedWal {
        path,
        reason: error.to_string(),
    })?;
    Ok(Some(
        history
            .entries()
            .iter()
            .map(|entry| (entry.parent, entry.switch_point))
            .collect(),
    ))
}

/// The timelines from the backup to the target.
fn legs(
    backup: &BackupInfo,
    options: &RestoreOptions,
    db: &XlogDb,
    layout: &Layout,
    codec: &WalCodec<'_>,
    warnings: &mut Vec<String>,
    ctx: &Context<'_>,
) -> Result<Vec<Leg>, RestoreError> {
    let own = backup.timeline.ok_or(RestoreError::Incomplete {
        backup: backup.id,
        field: "timeline",
    })?;
    let end = backup.end_xlog.ok_or(RestoreError::Incomplete {
        backup: backup.id,
        field: "end_xlog",
    })?;
    let aim = aim(backup, options, db, layout.server())?;
    let only_own = || {
        vec![Leg {
            timeline: own,
            until: None,
        }]
    };
    if aim.timeline == own {
        return Ok(only_own());
    }
    let forks = forks(layout, aim.timeline, codec, &|| ctx.cancel.is_requested())?;
    match lineage::legs(own, end, aim.timeline, forks.as_ref()) {
        // Without a signal file PostgreSQL stays on the timeline of the backup, to the end of that one.
        Ok(_) if !options.is_pitr() && !options.standby_mode => {
            warnings.push(format!(
                "The archive has timeline {}, but the restored server will stay on timeline {own}: use --target-tli \
                 latest, or get-wal, to follow it.",
                aim.timeline
            ));
            Ok(only_own())
        }
        Ok(legs) => Ok(legs),
        Err(unreachable) => {
            let recovers = options.is_pitr() || options.standby_mode;
            if !aim.named && !recovers {
                return Ok(only_own());
            }
            // Unnamed, PostgreSQL 12 and later aim at the newest timeline whose history they find.
            let reason = match unreachable {
                Unreachable::Unknown if aim.named => {
                    return Err(RestoreError::UnknownTimeline {
                        timeline: aim.timeline,
                        server: layout.server().to_owned(),
                        file: aim.timeline.history_file_name(),
                    });
                }
                // Without the history file PostgreSQL does not see that timeline.
                Unreachable::Unknown => return Ok(only_own()),
                Unreachable::NotADescendant => format!("it does not descend from timeline {own}"),
                Unreachable::LeftBefore(left) => {
                    format!("it left timeline {own} at {left}, before the end of the backup ({end})")
                }
            };
            Err(RestoreError::UnreachableTimeline {
                timeline: aim.timeline,
                backup: backup.id,
                reason,
            })
        }
    }
}

/// What the user has to know about a restore that is possible.
pub(super) fn remarks(
    backup: &BackupInfo,
    options: &RestoreOptions,
    time: Option<&TargetTime>,
    now: jiff::Timestamp,
    layout: &Layout,
) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(time) = time.filter(|time| time.timestamp().is_some_and(|timestamp| timestamp > now)) {
        remarks.push(format!(
            "The target time {time} is in the future: recovery will not reach it."
        ));
    }
    let data = layout.data_directory(backup.id);
    let signal = [STANDBY_SIGNAL, RECOVERY_CONF]
        .into_iter()
        .find(|name| fs::symlink_metadata(data.join(name)).is_ok());
    match signal {
        Some(signal) if !options.standby_mode => remarks.push(format!(
            "The backup was taken from a standby. Its {signal} is left out, and the restored server will be one of its \
             own: use --standby-mode for a standby."
        )),
        // That of later versions stands in `postgresql.conf` or `postgresql.auto.conf`, and stays.
        Some(RECOVERY_CONF) => remarks.push(
            "The backup was taken from a standby. Its recovery.conf is left out, with primary_conninfo: write that into \
             the recovery.conf of the restored server if it shall stream from a primary."
                .to_owned(),
        ),
        _ => {}
    }
    remarks
}

/// Adds the WAL to deliver to `plan`. Refuses when WAL is missing that the restore cannot do without.
pub(super) fn choose_wal(
    plan: &mut RestorePlan,
    options: &RestoreOptions,
    db: &XlogDb,
    layout: &Layout,
    codec: &WalCodec<'_>,
    ctx: &Context<'_>,
) -> Result<(), RestoreError> {
    let backup = &plan.backup;
    let missing = |field| RestoreError::Incomplete {
        backup: backup.id,
        field,
    };
    let begin = backup.begin_wal.ok_or_else(|| missing("begin_wal"))?;
    let end = backup.end_wal.ok_or_else(|| missing("end_wal"))?;
    let legs = legs(backup, options, db, layout, codec, &mut plan.warnings, ctx)?;
    let extent = match &options.target {
        Target::Immediate => Extent::BackupEnd,
        Target::Lsn(lsn) => Extent::Lsn(*lsn),
        _ => Extent::Everything,
    };
    let partial = options.partial_wal && options.target != Target::Immediate;
    let choice = WalChoice {
        begin,
        end,
        size: backup.xlog_segment_size,
        legs,
        extent,
        partial,
    };
    check_gaps(&choice, plan, options, db, layout)?;
    for record in db.iter().filter(|record| choice.takes(&record.name)) {
        if ctx.cancel.is_requested() {
            return Err(RestoreError::Interrupted);
        }
        let path = layout.wal_path(&record.name);
        if fs::symlink_metadata(&path).is_err() {
            return Err(RestoreError::LostWal {
                server: layout.server().to_owned(),
                name: record.name.to_string(),
                path,
            });
        }
        if let Some(encryption) = &record.encryption {
            return Err(RestoreError::UnreadableWal {
                name: record.name.to_string(),
                what: format!("encrypted ({})", encryption.as_str()),
            });
        }
        if let Some(compression) = &record.compression
            && !archived::available(codec, compression.as_str())
        {
            return Err(RestoreError::UnreadableWal {
                name: record.name.to_string(),
                what: format!("compressed with {}", compression.as_str()),
            });
        }
        let file = WalPlan {
            name: record.name,
            size: record.size,
            compressed: record.compression.is_some(),
        };
        match record.name {
            // A whole segment is worth more than its beginning.
            WalFileName::Partial(segment) if db.find(&WalFileName::Segment(segment)).is_some() => {}
            WalFileName::Partial(_) => plan.partial.push(file),
            _ => plan.wal.push(file),
        }
    }
    if partial {
        plan.streaming_partial = streaming_partial(&choice, &plan.wal, layout);
    }
    Ok(())
}

fn check_gaps(
    choice: &WalChoice,
    plan: &mut RestorePlan,
    options: &RestoreOptions,
    db: &XlogDb,
    layout: &Layout,
) -> Result<(), RestoreError> {
    let mut present: Vec<SegmentName> = db
        .iter()
        .filter_map(|record| match record.name {
            WalFileName::Segment(segment) if choice.takes(&record.name) => Some(segment),
            _ => None,
        })
        .collect();
    // What has been archived but not catalogued yet is as good.
    if let Some(gap) = choice.first_gap(&present)
        && layout.wal_path(&WalFileName::Segment(gap.first)).exists()
    {
        log::warn!(target: super::execute::TARGET, "{} is in the archive but not in its catalogue", gap.first);
        let at = present.partition_point(|segment| *segment < gap.first);
        present.insert(at, gap.first);
    }
    let Some(gap) = choice.first_gap(&present) else {
        return Ok(());
    };
    let waiting = plan.backup.status == BackupStatus::WaitingForWals && !gap.later_present;
    let consequence = match (&options.target, gap.in_backup) {
        (_, true) if waiting => {
            plan.warnings.push(
                "IMPORTANT: You have requested a recovery operation for a backup that does not have yet all the WAL \
                 files that are required for consistency."
                    .to_owned(),
            );
            return Ok(());
        }
        (_, true) => "the backup cannot become consistent without it",
        (Target::Lsn(_), false) if gap.later_present => "the target cannot be reached without it",
        (Target::Lsn(lsn), false) => {
            plan.warnings.push(format!(
                "The target {lsn} is beyond the archived WAL, which ends before segment {}: recovery will not reach it.",
                gap.first
            ));
            return Ok(());
        }
        (_, false) => {
            plan.warnings.push(format!(
                "WAL segment {} is missing from the archive ({} in a row): recovery cannot go beyond it, although \
                 later WAL is there.",
                gap.first, gap.count
            ));
            return Ok(());
        }
    };
    Err(RestoreError::MissingWal {
        server: layout.server().to_owned(),
        first: gap.first,
        count: gap.count,
        consequence,
    })
}

/// The segment that is being streamed, if it is the next one after those that are delivered.
fn streaming_partial(choice: &WalChoice, wal: &[WalPlan], layout: &Layout) -> Option<PathBuf> {
    let last = wal.iter().rev().find_map(|file| match file.name {
        WalFileName::Segment(segment) => Some(segment),
        _ => None,
    })?;
    let target = choice.legs.last()?.timeline;
    let next = last.next(choice.size).filter(|_| last.timeline == target)?;
    let name = WalFileName::Partial(next);
    if !choice.takes(&WalFileName::Segment(next)) {
        return None;
    }
    let path = layout.streaming_wals_directory.join(name.to_string());
    path.is_file().then_some(path)
}

/// The size of the delivered WAL on disk.
pub(super) fn wal_bytes(plan: &RestorePlan) -> u64 {
    let segment = u64::from(plan.backup.xlog_segment_size.bytes());
    let of = |file: &WalPlan| match (file.compressed, &file.name) {
        (true, WalFileName::Segment(_) | WalFileName::Partial(_)) => segment,
        _ => file.size,
    };
    let partial = plan.streaming_partial.as_ref().map_or(0, |_| segment);
    plan.wal
        .iter()
        .chain(&plan.partial)
        .map(of)
        .fold(partial, u64::saturating_add)
}
