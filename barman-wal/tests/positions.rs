//! Names of segments and offsets in them are those that PostgreSQL itself computes, for several segment sizes and
//! majors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};
use testkit::Cluster;

/// Random positions for each size and major.
const COUNT: usize = 400;

/// Positions at and around every kind of border, and many others from all over the address space.
fn positions(size: SegmentSize, seed: u64) -> Vec<Lsn> {
    let segment = u64::from(size.bytes());
    let mut positions: Vec<u64> = vec![0, 1, 2, u64::MAX - 1, u64::MAX];
    // Segments, logs, the last log.
    for border in [
        segment,
        7 * segment,
        1 << 32,
        5 << 32,
        u64::MAX << 32,
        (u64::MAX / segment) * segment,
    ] {
        for distance in [0, 1, 40, 8192, segment - 1, segment] {
            positions.extend(
                [border.checked_add(distance), border.checked_sub(distance)]
                    .into_iter()
                    .flatten(),
            );
        }
    }
    let mut state = seed;
    for _ in 0..COUNT {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // As many small ones as big ones, half of them at the start of a segment.
        let value = state >> (state % 40);
        positions.push(if state & (1 << 60) == 0 {
            value
        } else {
            value / segment * segment
        });
    }
    positions.into_iter().map(Lsn).collect()
}

/// Asks a server of each size for the names of all positions at once.
fn compare(major: u16, mebibytes: u32) {
    let cluster = Cluster::builder(major).wal_segment_mb(mebibytes).start().unwrap();
    let size = SegmentSize::new(u64::from(mebibytes) << 20).unwrap();
    let positions = positions(size, u64::from(major) << 32 | u64::from(mebibytes));
    let values: Vec<String> = positions.iter().map(|lsn| format!("('{lsn}'::pg_lsn)")).collect();
    let rows = cluster
        .sql(&format!(
            "SELECT at::text, pg_walfile_name(at), (pg_walfile_name_offset(at)).file_name, \
             (pg_walfile_name_offset(at)).file_offset FROM (VALUES {}) AS positions (at)",
            values.join(", ")
        ))
        .unwrap();
    assert_eq!(rows.len(), positions.len());
    for (lsn, row) in positions.iter().zip(rows) {
        let [text, name, offset_name, offset] = <[_; 4]>::try_from(row).unwrap().map(Option::unwrap);
        assert_eq!(
            (lsn.to_string(), text.parse()),
            (text.clone(), Ok(*lsn)),
            "{major}"
        );
        let holding = SegmentName::from_lsn(TimelineId::FIRST, *lsn, size);
        let before = SegmentName::holding_last_byte_before(TimelineId::FIRST, *lsn, size);
        // Up to 16 the function names the segment of the byte before.
        let expected = if major >= 17 { Some(holding) } else { before };
        // Before 0/0 there is no byte: the server's arithmetic wraps around.
        if let Some(expected) = expected {
            assert_eq!(expected.to_string(), name, "{major}, {mebibytes} MiB: {lsn}");
            assert_eq!(
                expected.to_string(),
                offset_name,
                "{major}, {mebibytes} MiB: {lsn}"
            );
        }
        assert_eq!(
            lsn.offset(size).to_string(),
            offset,
            "{major}, {mebibytes} MiB: {lsn}"
        );
        // And back.
        assert_eq!(holding.lsn_at(lsn.offset(size), size), *lsn);
        assert_eq!(holding.number(size), lsn.segment(size));
        // Barman's rule for the answer of 17 and newer.
        let answer: SegmentName = offset_name.parse().unwrap();
        if major >= 17 {
            assert_eq!(
                answer.previous_at_border(lsn.offset(size), size),
                if lsn.offset(size) == 0 {
                    before
                } else {
                    Some(holding)
                }
            );
        }
    }
}

#[test]
fn postgres_10_has_16_mib() {
    compare(10, 16);
}

#[test]
fn postgres_11() {
    compare(11, 1);
    compare(11, 1024);
}

#[test]
fn postgres_14() {
    compare(14, 64);
    compare(14, 512);
}

#[test]
fn postgres_16() {
    compare(16, 2);
    compare(16, 16);
}

#[test]
fn postgres_17() {
    compare(17, 1);
    compare(17, 256);
}

#[test]
fn postgres_18() {
    compare(18, 32);
    compare(18, 1024);
}
