//! How long a big catalogue takes: makes 1,000 backups and 1,000,000 WAL files (their lines, not the files) below a
//! directory, reads everything once as `list-backups` does, and tells times and memory.
//!
//! ```text
//! cargo run --release -p barman-catalog --example big_catalogue -- [DIRECTORY [BACKUPS [WALS]]]
//! ```
#![allow(clippy::disallowed_macros, reason = "an example talks to its user")]

use barman_catalog::accounting::WalIndex;
use barman_catalog::retention::{self, RetentionPolicy, WindowUnit};
use barman_catalog::xlogdb::{CustomMagic, LockedXlogDb, Tag, WalRecord, XlogDb};
use barman_catalog::{BackupId, BackupInfo, BackupStatus, Catalog, Layout, Timestamp, xlogdb};
use barman_wal::{SegmentNumber, SegmentSize, TimelineId};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let temporary = tempfile::tempdir()?;
    let home = arguments
        .next()
        .map_or_else(|| temporary.path().to_path_buf(), Into::into);
    let backups: u64 = arguments.next().map_or(Ok(1_000), |n| n.parse())?;
    let wals: u64 = arguments.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let layout = Layout::new("big", &home);
    if !layout.xlogdb().exists() {
        let start = Instant::now();
        generate(&layout, backups, wals)?;
        println!(
            "generated {backups} backups and {wals} WAL lines below {}: {:?}",
            home.display(),
            start.elapsed()
        );
    }

    let start = Instant::now();
    let catalog = Catalog::load(&layout)?;
    let loaded = start.elapsed();
    let db = xlogdb::read(&layout, &CustomMagic::None, None)?;
    let read = start.elapsed();
    let index = WalIndex::new(&db);
    let indexed = start.elapsed();
    let mut bytes = 0;
    for backup in catalog.backups() {
        let figures = index.figures(backup, catalog.next(backup.id));
        bytes += figures.wal_size + figures.wal_until_next_size;
    }
    let policy = RetentionPolicy::RecoveryWindow {
        count: 4,
        unit: WindowUnit::Weeks,
    };
    let report = retention::report(policy, 1, &catalog, jiff::Timestamp::now());
    let total = start.elapsed();
    println!("read {} backups: {loaded:?}", report.len());
    println!("read {} WAL lines: {:?}", db.len(), read - loaded);
    println!("index: {:?}", indexed - read);
    println!(
        "figures of all backups ({bytes} bytes of WAL) and retention: {:?}",
        total - indexed
    );
    println!("in all: {total:?}, peak memory: {}", peak_memory());
    Ok(())
}

fn generate(layout: &Layout, backups: u64, wals: u64) -> Result<(), Box<dyn Error>> {
    let size = SegmentSize::DEFAULT;
    let name = |n: u64| {
        SegmentNumber(n + 1)
            .name(TimelineId::FIRST, size)
            .ok_or("too many segments")
    };
    std::fs::create_dir_all(&layout.wals_directory)?;
    std::fs::create_dir_all(layout.meta_directory())?;
    let mut db = XlogDb::default();
    for n in 0..wals {
        db.push(&WalRecord {
            name: name(n)?.into(),
            size: 16_000 + n % 8_000_000,
            time: WalRecord::time_from(1_700_000_000 + i64::try_from(n)?, 123_456_789),
            compression: Tag::new("gzip"),
            encryption: None,
        });
    }
    LockedXlogDb::open(layout, &CustomMagic::None, None)?.replace(&db)?;
    let mut id: Option<BackupId> = None;
    for n in 0..backups {
        let begin = n * wals / backups;
        let end = jiff::Timestamp::from_second(1_700_000_000 + i64::try_from(begin)?)?;
        let zoned = end.to_zoned(jiff::tz::TimeZone::UTC);
        let next = BackupId::next(zoned.datetime(), id);
        id = Some(next);
        let mut info = BackupInfo::new(next, "big", Some("postgres".into()));
        info.status = BackupStatus::Done;
        info.timeline = Some(TimelineId::FIRST);
        info.begin_wal = Some(name(begin)?);
        info.end_wal = Some(name(begin + 1)?);
        info.begin_time = Some(Timestamp::from_zoned(&zoned));
        info.end_time = info.begin_time;
        info.size = Some(1 << 40);
        info.deduplicated_size = info.size;
        // Not through `save`: a thousand syncs are not what is measured.
        std::fs::write(layout.backup_info(next), info.to_text()?)?;
    }
    Ok(())
}

/// The most memory this process ever had, as Linux tells it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |l| l.trim().to_owned())
}
