//! `pg_control` beside what the server itself says of it.

use std::fs;

use barman_wal::control::{ClusterState, ControlFile};
use barman_wal::data_file::Geometry;
use barman_wal::{Lsn, TimelineId};
use testkit::{Cluster, Stop, wait_until};

fn read(cluster: &Cluster) -> ControlFile {
    let path = cluster.data_dir().join("global/pg_control");
    // A read may meet a write of the server in the middle: then its checksum is wrong, and another one is right.
    let mut attempts = (0..20).map(|_| ControlFile::parse(&fs::read(&path).unwrap()));
    attempts.find_map(Result::ok).unwrap()
}

/// One row of a query, as texts.
fn row<const N: usize>(cluster: &Cluster, query: &str) -> [String; N] {
    let rows = cluster.sql(query).unwrap();
    let cells = rows.into_iter().next().unwrap();
    let cells: Vec<String> = cells.into_iter().map(Option::unwrap_or_default).collect();
    cells.try_into().unwrap()
}

fn compare(cluster: &Cluster) {
    let major = cluster.major();
    // The server may write it between two questions.
    for turn in 0.. {
        let control = read(cluster);
        let system = row::<4>(
            cluster,
            "SELECT pg_control_version, catalog_version_no, system_identifier, \
             extract(epoch from pg_control_last_modified)::bigint FROM pg_control_system()",
        );
        let checkpoint = row::<6>(
            cluster,
            "SELECT checkpoint_lsn, redo_lsn, timeline_id, prev_timeline_id, full_page_writes::text, \
             extract(epoch from checkpoint_time)::bigint FROM pg_control_checkpoint()",
        );
        let recovery = row::<5>(
            cluster,
            "SELECT min_recovery_end_lsn, min_recovery_end_timeline, backup_start_lsn, backup_end_lsn, \
             end_of_backup_record_required::text FROM pg_control_recovery()",
        );
        let init = row::<5>(
            cluster,
            "SELECT database_block_size, blocks_per_segment, wal_block_size, bytes_per_wal_segment, \
             data_page_checksum_version FROM pg_control_init()",
        );
        if read(cluster) != control && turn < 20 {
            continue;
        }
        let min_timeline = control.min_recovery_timeline.map_or(0, TimelineId::get);
        assert_eq!(
            (system, checkpoint, recovery, init),
            (
                [
                    control.control_version.to_string(),
                    control.catalog_version.to_string(),
                    control.system_identifier.to_string(),
                    control.time.to_string()
                ],
                [
                    control.checkpoint.to_string(),
                    control.checkpoint_redo.to_string(),
                    control.checkpoint_timeline.to_string(),
                    control.checkpoint_previous_timeline.to_string(),
                    control.full_page_writes.to_string(),
                    control.checkpoint_time.to_string()
                ],
                [
                    control.min_recovery_point.to_string(),
                    min_timeline.to_string(),
                    control.backup_start.to_string(),
                    control.backup_end.to_string(),
                    control.backup_end_required.to_string()
                ],
                [
                    control.block_size.to_string(),
                    control.relation_segment_blocks.to_string(),
                    control.wal_block_size.to_string(),
                    control.wal_segment_size.bytes().to_string(),
                    control.data_checksum_version.to_string()
                ]
            ),
            "{major}"
        );
        assert_eq!(Geometry::of(&control), Ok(Geometry::DEFAULT));
        return;
    }
}

/// A primary, and a standby, whose fields about recovery are set.
fn major(major: u16) {
    let mut builder = Cluster::builder(major).checksums(true);
    if major >= 11 {
        builder = builder.wal_segment_mb(4);
    }
    let primary = builder.start().unwrap();
    primary
        .sql("CREATE TABLE rows AS SELECT generate_series(1, 1000) AS id")
        .unwrap();
    primary.sql("CHECKPOINT").unwrap();
    compare(&primary);
    let control = read(&primary);
    assert_eq!(control.state, ClusterState::InProduction, "{major}");
    assert!(control.has_data_checksums(), "{major}");

    let standby = Cluster::builder(major).standby_of(&primary).unwrap();
    primary
        .sql("INSERT INTO rows SELECT generate_series(1, 1000)")
        .unwrap();
    primary.sql("CHECKPOINT").unwrap();
    let reached = primary.current_lsn().unwrap();
    wait_until(
        "the standby has it all",
        std::time::Duration::from_secs(60),
        || {
            let behind = format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{reached}', false)");
            Ok(standby.sql_value(&behind)? == "t")
        },
    )
    .unwrap();
    standby.sql("CHECKPOINT").unwrap();
    compare(&standby);
    let control = read(&standby);
    assert_eq!(control.state, ClusterState::InArchiveRecovery, "{major}");
    assert_ne!(control.min_recovery_point, Lsn::INVALID, "{major}");
    standby.stop(Stop::Fast).unwrap();
    assert_eq!(read(&standby).state, ClusterState::ShutDownInRecovery, "{major}");
    primary.stop(Stop::Fast).unwrap();
    assert_eq!(read(&primary).state, ClusterState::ShutDown, "{major}");
}

#[test]
fn control_of_10_11_12() {
    for version in 10..=12 {
        major(version);
    }
}

#[test]
fn control_of_13_14_15() {
    for version in 13..=15 {
        major(version);
    }
}

#[test]
fn control_of_16_17_18() {
    for version in 16..=18 {
        major(version);
    }
}
