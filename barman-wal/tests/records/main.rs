//! Records of real servers of every major: against `pg_waldump` where there is one of that major, in pieces, cut,
//! damaged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod damage;
mod decoded;
mod fixtures;
mod waldump;
mod workload;

use barman_wal::record::Ending;
use testkit::{Cluster, Stop};

use decoded::{Segments, decode};
use workload::Facts;

/// One major: a mixed load, a crash, a promotion; then everything that its WAL is good for.
fn major(major: u16) {
    let cluster = workload::cluster(major);
    let standby = Cluster::builder(major)
        .tree(cluster.tree().clone())
        .conf("max_prepared_transactions", "5")
        .standby_of(&cluster)
        .unwrap();
    let facts = workload::run(&cluster);
    let reached = cluster.current_lsn().unwrap();
    testkit::wait_until("the standby has it all", workload::PATIENCE, || {
        let behind = format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{reached}', false)");
        Ok(standby.sql_value(&behind)? == "t")
    })
    .unwrap();
    standby.promote().unwrap();
    standby.sql("CREATE TABLE after_promotion (id int)").unwrap();
    standby.stop(Stop::Fast).unwrap();
    workload::crash(&cluster);
    cluster.stop(Stop::Fast).unwrap();

    let segments = Segments::of(&cluster, 1);
    let records = segments.decode_all();
    facts.check(&records, major);
    waldump::compare(&cluster, &segments, &records);
    segments.each_alone(&records);
    segments.in_odd_pieces(&records);
    damage::cut(&segments, &records);
    damage::flips(
        &segments,
        if testkit::is_long() { 200_000 } else { 2_500 },
        u64::from(major),
    );

    // The promoted one: its last timeline begins within a segment.
    let promoted = Segments::of(&standby, 2);
    let records = promoted.decode_all();
    Facts::check_promotion(&records);
    waldump::compare(&standby, &promoted, &records);
}

#[test]
fn postgres_10() {
    major(10);
}

#[test]
fn postgres_11() {
    major(11);
}

#[test]
fn postgres_12() {
    major(12);
}

#[test]
fn postgres_13() {
    major(13);
}

#[test]
fn postgres_14() {
    major(14);
}

#[test]
fn postgres_15() {
    major(15);
}

#[test]
fn postgres_16() {
    major(16);
}

#[test]
fn postgres_17() {
    major(17);
}

#[test]
fn postgres_18() {
    major(18);
}

/// A record that a crash cut off, at a page border and at a segment border.
#[test]
fn overwritten_records() {
    for (major, before_border) in [(11, 300_000), (15, 20_000), (18, 300_000)] {
        let cluster = workload::cluster(major);
        let torn = workload::tear(&cluster, before_border);
        let segments = Segments::of(&cluster, 1);
        let records = segments.decode_all();
        let found = records
            .iter()
            .find(|record| record.kind == "OVERWRITE_CONTRECORD")
            .unwrap_or_else(|| panic!("{major}: recovery wrote no such record"));
        assert!(
            found.payload.contains(&format!("lsn: Lsn({})", torn.0)),
            "{major}: {torn} {found:?}"
        );
        assert!(records.iter().all(|record| record.lsn != torn));
        waldump::compare(&cluster, &segments, &records);
        segments.each_alone(&records);
        segments.in_odd_pieces(&records);
    }
}

/// The same, as a server leaves it that is killed while it writes one.
#[test]
fn records_cut_by_a_kill() {
    for major in [10, 13, 18] {
        let cluster = workload::cluster(major);
        let torn = workload::tear_by_kill(&cluster);
        let segments = Segments::of(&cluster, 1);
        let records = segments.decode_all();
        assert!(records.iter().all(|record| record.lsn != torn), "{major}");
        assert!(records.iter().any(|record| record.lsn > torn), "{major}");
        waldump::compare(&cluster, &segments, &records);
        segments.each_alone(&records);
    }
}

/// Segments larger than usual; those of the other tests are small, or of 16 MiB.
#[test]
fn segments_of_64_mib() {
    let cluster = Cluster::builder(16)
        .wal_segment_mb(64)
        .conf("wal_keep_size", "1GB")
        .start()
        .unwrap();
    for text in [
        "CREATE TABLE filled AS SELECT g AS id, md5(g::text) AS filler FROM generate_series(1, 300000) g",
        "SELECT pg_switch_wal()",
        "CREATE INDEX ON filled (filler)",
    ] {
        cluster.sql(text).unwrap();
    }
    cluster.stop(Stop::Fast).unwrap();
    let segments = Segments::of(&cluster, 1);
    assert_eq!(segments.size.bytes(), 64 << 20);
    let records = segments.decode_all();
    assert!(records.iter().any(|record| record.kind == "SWITCH"));
    waldump::compare(&cluster, &segments, &records);
    segments.each_alone(&records);
}

/// What is no WAL, or not the WAL that was asked for.
#[test]
fn refused() {
    use barman_wal::record::{Decoder, Reason};
    let bytes = fixtures::start(18);
    let error = |decoder: Decoder, bytes: &[u8]| decode(decoder, &[bytes]).1.unwrap_err();
    let name = "000000010000000000000002".parse().unwrap();
    assert!(decode(Decoder::new().of_segment(name), &[&bytes]).1.is_ok());

    let other = error(
        Decoder::new().of_segment("000000010000000000000003".parse().unwrap()),
        &bytes,
    );
    assert!(matches!(other.reason, Reason::Segment(_)), "{other}");
    let other = error(Decoder::new().of_system(1), &bytes);
    assert!(
        matches!(other.reason, Reason::System { expected: 1, .. }),
        "{other}"
    );
    for magic in [0xD119u16, 0xD096, 0x8B1F, 1] {
        let mut changed = bytes.clone();
        changed[..2].copy_from_slice(&magic.to_le_bytes());
        let unknown = error(Decoder::new(), &changed);
        assert_eq!(unknown.reason, Reason::UnknownFormat { magic });
        assert!(unknown.is_unknown_format() && !other.is_unknown_format());
    }
    assert!(matches!(
        error(Decoder::new(), &[0; 8192]).reason,
        Reason::Segment(barman_wal::page::SegmentHeaderError::Zeroed)
    ));
    // A page of another version in the middle is damage.
    let mut changed = bytes.clone();
    changed[8192] ^= 1;
    assert!(matches!(
        error(Decoder::new(), &changed).reason,
        Reason::PageHeader {
            field: "xlp_magic",
            ..
        }
    ));
    // The beginning of a recycled file's old content.
    let mut recycled = bytes[..8192].to_vec();
    recycled.extend(&bytes[..8192]);
    recycled[8192 + 2] = 0;
    assert!(decode(Decoder::new(), &[&recycled]).1.is_err());
    assert_eq!(Decoder::new().ending(), Ending::Nothing);
}

/// An error is final.
#[test]
fn no_way_on_after_an_error() {
    let mut bytes = fixtures::start(15);
    bytes[100] ^= 1;
    let mut decoder = barman_wal::record::Decoder::new();
    let first = decoder.feed(&bytes).next().unwrap_err();
    let good = fixtures::start(15);
    assert_eq!(decoder.feed(&good).next().unwrap_err(), first);
}
