//! The WAL index beside servers of 10 to 18: what it says is what SQL said. And writers that are killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use barman_wal::control::ControlFile;
use barman_wal::index::{
    Archive, Order, PlainDirectory, RestorePointMark, Route, SegmentState, SegmentSummary, Span, TimeTarget,
    WalIndex, XidBase, XidTarget, summarize,
};
use barman_wal::record::{Decoder, Payload, WalTime};
use barman_wal::{Lsn, SegmentName, SegmentNumber, SegmentSize, TimelineId};
use testkit::{Cluster, Stop};

/// A server that keeps all its WAL.
fn cluster(major: u16) -> Cluster {
    let (keep, much) = if major < 13 {
        ("wal_keep_segments", "500")
    } else {
        ("wal_keep_size", "500MB")
    };
    let mut builder = Cluster::builder(major)
        .conf(keep, much)
        .conf("max_prepared_transactions", "5")
        .conf("track_commit_timestamp", "on")
        .conf("autovacuum", "off")
        .conf("checkpoint_timeout", "1h");
    if major >= 11 {
        builder = builder.wal_segment_mb(1);
    }
    builder.start().unwrap()
}

/// A commit as the server told it: transaction in 64 bits, microseconds since 1970.
type Commit = (i64, i64);

struct Facts {
    commits: Vec<Commit>,
    /// Name and what the function gave.
    points: Vec<(String, Lsn)>,
}

/// Many transactions of all sizes, so that they come to lie over the borders of segments.
fn load(cluster: &Cluster) -> Facts {
    cluster
        .sql("CREATE TABLE facts (xid bigint, filler text)")
        .unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| cluster.client().unwrap()).collect();
    let mut points = Vec::new();
    let mut long = cluster.client().unwrap();
    long.batch_execute("BEGIN; INSERT INTO facts VALUES (txid_current(), 'long')")
        .unwrap();
    for turn in 0..40 {
        for (number, client) in clients.iter_mut().enumerate() {
            // Some commits are long: each sub-transaction is in it.
            let parts = if turn % 5 == number { 300 } else { 0 };
            let text = format!(
                "DO 'BEGIN INSERT INTO facts SELECT txid_current(), repeat(md5(random()::text), {size}); \
                 FOR i IN 1..{parts} LOOP BEGIN INSERT INTO facts VALUES (NULL, NULL); \
                 EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END'",
                size = 1 + turn * 37 % 2000,
            );
            client.batch_execute(&text).unwrap();
        }
        cluster
            .sql("INSERT INTO facts SELECT NULL, repeat(md5(g::text), 30) FROM generate_series(1, 150) g")
            .unwrap();
        if turn % 10 == 3 {
            let name = if turn < 20 { "twice" } else { "late" };
            let lsn = cluster
                .sql_value(&format!("SELECT pg_create_restore_point('{name}')::text"))
                .unwrap();
            points.push((name.to_owned(), lsn.parse().unwrap()));
        }
        if turn == 20 {
            cluster.sql("CHECKPOINT").unwrap();
            cluster.sql("SELECT pg_switch_wal()").unwrap();
        }
    }
    cluster
        .sql("BEGIN; INSERT INTO facts VALUES (txid_current(), 'two phases'); PREPARE TRANSACTION 'one'")
        .unwrap();
    cluster
        .sql("INSERT INTO facts VALUES (txid_current(), 'between')")
        .unwrap();
    cluster.sql("COMMIT PREPARED 'one'").unwrap();
    long.batch_execute("COMMIT").unwrap();
    let commits = clients[0]
        .query(
            "SELECT xid, round(extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint \
             FROM facts WHERE xid IS NOT NULL",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    cluster.sql("SELECT pg_switch_wal()").unwrap();
    Facts { commits, points }
}

/// All commits and aborts in the order of the WAL, with the segment in which each record ends, and the last segment.
fn decoded(directory: &Path, size: SegmentSize, last: SegmentName) -> Vec<(SegmentName, u32, WalTime)> {
    let mut files: BTreeMap<SegmentName, Vec<u8>> = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Ok(segment) = name.parse::<SegmentName>()
            && segment <= last
        {
            files.insert(segment, fs::read(directory.join(name)).unwrap());
        }
    }
    let mut decoder = Decoder::new();
    let mut ends = Vec::new();
    for bytes in files.values() {
        let mut feed = decoder.feed(bytes);
        while let Some(record) = feed.next().unwrap() {
            if let Payload::Commit(end) | Payload::Abort(end) = record.payload().unwrap() {
                let last_byte = Lsn(record.end().0 - 1);
                let name = SegmentName::from_lsn(last.timeline, last_byte, size);
                ends.push((name, end.prepared_xid.unwrap_or(record.xid()), end.time));
            }
        }
    }
    ends
}

fn major(major: u16) {
    let cluster = cluster(major);
    let facts = load(&cluster);
    cluster.stop(Stop::Fast).unwrap();
    let data = cluster.data_dir();
    let control = ControlFile::parse(&fs::read(data.join("global/pg_control")).unwrap()).unwrap();
    let size = control.wal_segment_size;
    let directory = data.join("pg_wal");
    // The one before that of the shutdown's checkpoint is complete.
    let last = SegmentName::from_lsn(TimelineId::FIRST, control.checkpoint, size)
        .prev(size)
        .unwrap();
    let ends = decoded(&directory, size, last);

    let home = tempfile::tempdir().unwrap();
    let index = WalIndex::new(home.path(), size);
    let mut archive = PlainDirectory::new(directory, size).unwrap();
    // What was before it is gone since initdb.
    let first = archive.spans().unwrap()[0].first;
    let route = Route::of(
        Span {
            timeline: TimelineId::FIRST,
            first,
            last: last.number(size),
        },
        size,
    );
    let mut go_on = |_| ControlFlow::Continue(());
    // On demand, before anything is known: the restore points.
    let points = index
        .answer(&mut archive, Order::NewestFirst, &mut go_on, |index| {
            index.restore_points(&route, Some(b"twice"))
        })
        .unwrap();
    let told: Vec<Lsn> = points.points.iter().map(|(_, point)| point.end).collect();
    let expected = |name: Option<&str>| -> Vec<Lsn> {
        let wanted = facts
            .points
            .iter()
            .filter(|(other, _)| name.is_none_or(|name| name == other));
        wanted.map(|(_, lsn)| *lsn).collect()
    };
    assert_eq!(told, expected(Some("twice")), "{major}");
    index.build(&mut archive, &mut go_on).unwrap();
    let all: Vec<Lsn> = index
        .restore_points(&route, None)
        .points
        .iter()
        .map(|(_, point)| point.end)
        .collect();
    assert_eq!(all, expected(None), "{major}");

    let continuity = index.continuity(&route);
    assert_eq!(continuity.breaks, [], "{major}");
    assert!(
        continuity.coverage.is_complete(),
        "{major}: {:?}",
        continuity.coverage
    );
    assert_eq!(
        continuity.coverage.known,
        last.number(size).0 - first.0 + 1,
        "{major}"
    );

    // What SQL said of each commit.
    let mut others = 0;
    assert!(facts.commits.len() > 100, "{major}");
    for (xid, micros) in &facts.commits {
        let time = WalTime::from_unix_micros(*micros).unwrap();
        let full = u64::try_from(*xid).unwrap();
        let answer = index.find_transaction(&route, XidTarget::Full(full));
        let truth = ends
            .iter()
            .find(|(_, other, _)| u64::from(*other) == full)
            .unwrap();
        let (segment, found) = (
            truth.0,
            answer.candidates.iter().any(|(name, _)| *name == truth.0),
        );
        assert!(found && truth.2 == time, "{major}: {xid} {answer:?}");
        others += answer.candidates.len() - 1;
        let summary = index.get(segment);
        let (low, high) = summary.known().unwrap().all_end_times().unwrap();
        assert!(low <= time && time <= high, "{major}: {xid}");
    }
    // A long transaction is no reason to look for others in the segments that it lasts.
    assert!(
        others * 10 < facts.commits.len(),
        "{major}: {others} wrong candidates"
    );
    // Where PostgreSQL would stop, by looking at every commit.
    let times: Vec<WalTime> = ends.iter().map(|(_, _, time)| *time).collect();
    for time in times
        .iter()
        .step_by(7)
        .chain(&[WalTime(0), *times.last().unwrap()])
    {
        for target in [TimeTarget::Inclusive(*time), TimeTarget::Exclusive(*time)] {
            let answer = index.stop_at_time(&route, target);
            let stop = ends.iter().find(|(_, _, time)| target.stops_before(*time));
            assert_eq!(answer.reached, stop.is_some(), "{major}");
            assert_eq!(
                answer.candidates.last(),
                stop.map(|(segment, ..)| segment),
                "{major}"
            );
        }
    }
    // Commits over borders were among them, or the test is not worth much.
    let spanning = (first.0..=last.number(size).0)
        .filter(|number| {
            let name = SegmentNumber(*number).name(TimelineId::FIRST, size).unwrap();
            index.get(name).known().unwrap().head.is_some()
        })
        .count();
    assert!(
        spanning >= 1 || major == 10,
        "{major}: {spanning} of {}",
        last.number(size).0
    );
}

#[test]
fn oldest_middle_and_newest() {
    for version in [10, 14, 18] {
        major(version);
    }
}

#[test]
fn all_others() {
    if !testkit::is_long() {
        return;
    }
    for version in [11, 12, 13, 15, 16, 17] {
        major(version);
    }
}

/// Where the child finds its directory.
const CHILD: &str = "BARMAN_WAL_INDEX_CHILD";
const COUNT: u64 = 9000;

/// The state of a segment that the children write: every third does not fit into its slot.
fn state(number: u64) -> (SegmentName, SegmentState) {
    let size = SegmentSize::new(16 << 20).unwrap();
    let name: SegmentName = "000000010000000000000002".parse().unwrap();
    let start = include_bytes!("fixtures/wal/18-start");
    let SegmentState::Unreadable(unreadable) = summarize(name, start.as_slice()).unwrap() else {
        panic!("a few pages are no segment");
    };
    let name = SegmentNumber(number).name(TimelineId::FIRST, size).unwrap();
    let point = RestorePointMark {
        lsn: Lsn(number << 24),
        end: Lsn((number << 24) + 104),
        time: WalTime(5),
        name: format!("point {number}").into_bytes(),
    };
    let points = if number.is_multiple_of(3) { 40 } else { 0 };
    let summary = SegmentSummary {
        name,
        size,
        head: None,
        tail: None,
        xid_base: XidBase::Told(number),
        restore_points: vec![point; points],
        ..*unreadable.readable.unwrap()
    };
    (name, SegmentState::Known(Box::new(summary)))
}

/// Not a test of its own: what [`killed_writers`] starts and kills.
#[test]
fn child_that_writes() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let index = WalIndex::new(Path::new(&directory), SegmentSize::DEFAULT);
    loop {
        for number in 1..COUNT {
            let (name, state) = state(number);
            index.put(name, state).unwrap();
        }
        index
            .forget(TimelineId::FIRST, SegmentNumber(1), SegmentNumber(COUNT))
            .unwrap();
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two writers at once, killed at any time; a reader meanwhile. What is said of a segment is what was written, or
/// nothing.
#[test]
fn killed_writers() {
    let home = tempfile::tempdir().unwrap();
    let index = WalIndex::new(home.path(), SegmentSize::DEFAULT);
    let check = |numbers: &mut dyn Iterator<Item = u64>| -> u64 {
        let mut known = 0;
        for number in numbers {
            let (name, expected) = state(number);
            let found = index.get(name);
            if found != SegmentState::Unknown {
                assert_eq!(found, expected, "{name}");
                known += 1;
            }
        }
        known
    };
    for round in 0..6u64 {
        let writers: Vec<Killed> = (0..2)
            .map(|_| {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command
                    .args(["--exact", "child_that_writes"])
                    .env(CHILD, home.path())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                Killed(command.spawn().unwrap())
            })
            .collect();
        // Until they have come to another place each time.
        let reached = 40 + round * 90;
        testkit::wait_until(
            "the writers have written",
            std::time::Duration::from_secs(60),
            || Ok(check(&mut (reached..reached + 20)) > 0),
        )
        .unwrap();
        drop(writers);
        check(&mut (1..2000));
    }
    // Nobody left a lock behind, and all can be written.
    index.put_all((1..50).map(state)).unwrap();
    assert_eq!(check(&mut (1..50)), 49);
}
