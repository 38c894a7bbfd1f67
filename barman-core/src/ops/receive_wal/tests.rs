//! Decisions of `receive-wal`, without a server.

use barman_wal::history::TimelineHistory;
use barman_wal::{SegmentName, SegmentSize, TimelineId};

use super::reset::{Plan, plan};
use super::start::{Found, after, along, newest, settle};

fn name(text: &str) -> SegmentName {
    text.parse().unwrap()
}

fn found(text: &str, bytes: u64) -> Found {
    let (segment, complete) = match text.strip_suffix(".partial") {
        Some(segment) => (segment, false),
        None => (text, true),
    };
    Found {
        name: name(segment),
        complete,
        bytes,
    }
}

#[test]
fn receiving_goes_on_after_the_newest_file() {
    const FULL: u64 = 16 << 20;
    let size = SegmentSize::DEFAULT;
    type Case<'a> = (&'a [(&'a str, u64)], Option<(&'a str, u32)>);
    let cases: [Case<'_>; 9] = [
        (&[], None),
        (&[("000000010000000000000005", FULL)], Some(("0/6000000", 1))),
        (
            &[
                ("000000010000000000000005", FULL),
                ("000000010000000000000006.partial", FULL),
            ],
            Some(("0/6000000", 1)),
        ),
        (&[("000000010000000000000006.partial", 0)], Some(("0/6000000", 1))),
        // A complete segment of a wrong size does not count.
        (
            &[
                ("000000010000000000000005", FULL),
                ("000000010000000000000007", 5),
            ],
            Some(("0/6000000", 1)),
        ),
        // The timeline decides only between files of the same position.
        (
            &[
                ("000000010000000000000006.partial", FULL),
                ("000000020000000000000006.partial", FULL),
            ],
            Some(("0/6000000", 2)),
        ),
        (
            &[
                ("000000010000000000000009", FULL),
                ("000000020000000000000006.partial", FULL),
            ],
            Some(("0/A000000", 1)),
        ),
        // Complete wins over partial.
        (
            &[
                ("000000010000000000000006.partial", FULL),
                ("000000010000000000000006", FULL),
            ],
            Some(("0/7000000", 1)),
        ),
        (&[("0000000100000000000000FF", FULL)], Some(("1/0", 1))),
    ];
    for (files, expected) in cases {
        let files: Vec<Found> = files.iter().map(|(name, bytes)| found(name, *bytes)).collect();
        let start = newest(&files, size).and_then(|file| after(file, size));
        let start = start.map(|start| (start.lsn.to_string(), start.timeline.get()));
        assert_eq!(
            start,
            expected.map(|(lsn, timeline)| (lsn.to_owned(), timeline)),
            "{files:?}"
        );
    }
}

#[test]
fn a_timeline_that_the_server_left_is_not_gone_on_with() {
    const FULL: u64 = 16 << 20;
    let size = SegmentSize::DEFAULT;
    // The server is on timeline 4; 3 was never its own.
    let history = b"1\t0/5000100\tx\n2\t0/8000000\ty\n";
    let history = TimelineHistory::parse(TimelineId::new(4).unwrap(), history).unwrap();
    type Case<'a> = (&'a [&'a str], Option<(&'a str, u32)>);
    let cases: [Case<'_>; 13] = [
        (&[], None),
        // It may still have something to come of its own timeline.
        (&["000000010000000000000004"], Some(("0/5000000", 1))),
        (&["000000010000000000000005.partial"], Some(("0/5000000", 1))),
        // It has not: the segment in which the next one begins comes again, on that.
        (&["000000010000000000000005"], Some(("0/5000000", 2))),
        (&["000000010000000000000006.partial"], Some(("0/5000000", 2))),
        (&["00000001000000000000000F.partial"], Some(("0/5000000", 2))),
        // What has come of the next one already is gone on with.
        (
            &["000000010000000000000009", "000000020000000000000005.partial"],
            Some(("0/5000000", 2)),
        ),
        (
            &["000000010000000000000009", "000000020000000000000006"],
            Some(("0/7000000", 2)),
        ),
        // One that is left just where a segment begins.
        (&["000000020000000000000007"], Some(("0/8000000", 2))),
        (&["000000020000000000000008"], Some(("0/8000000", 4))),
        (&["000000020000000000000009.partial"], Some(("0/8000000", 4))),
        (
            &[
                "000000020000000000000009.partial",
                "00000004000000000000000A.partial",
            ],
            Some(("0/A000000", 4)),
        ),
        // The server says that it knows nothing of this one.
        (&["000000030000000000000009"], Some(("0/A000000", 3))),
    ];
    for (files, expected) in cases {
        let files: Vec<Found> = files.iter().map(|name| found(name, FULL)).collect();
        let start = along(&files, &history, size).map(|start| (start.lsn.to_string(), start.timeline.get()));
        assert_eq!(
            start,
            expected.map(|(lsn, timeline)| (lsn.to_owned(), timeline)),
            "{files:?}"
        );
    }
}

#[test]
fn what_was_found_is_synced_before_the_server_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let segment = found("000000010000000000000005", 16 << 20);
    std::fs::write(dir.path().join(segment.name.to_string()), "x").unwrap();
    settle(dir.path(), segment).unwrap();
    // The archiver may be faster.
    settle(dir.path(), found("000000010000000000000006", 16 << 20)).unwrap();
    settle(dir.path(), found("000000010000000000000006.partial", 0)).unwrap();
    assert!(settle(&dir.path().join("missing"), segment).is_err());
}

#[test]
fn reset_aligns_with_the_slot() {
    let current = "000000010000000000000008";
    let cases: [(&[&str], &str, Plan); 9] = [
        (&[], current, Plan::Aligned),
        (&["00000002.history"], current, Plan::Aligned),
        (&["000000010000000000000008.partial"], current, Plan::Aligned),
        (&["000000010000000000000008"], current, Plan::Aligned),
        (
            &["000000010000000000000003.partial"],
            current,
            Plan::Restart {
                remove: Some("000000010000000000000003.partial".into()),
            },
        ),
        // A complete segment is kept.
        (
            &["000000010000000000000003"],
            current,
            Plan::Restart { remove: None },
        ),
        (
            &["000000010000000000000009.partial"],
            current,
            Plan::Ahead {
                found: "000000010000000000000009.partial".into(),
            },
        ),
        // The partial of the current segment is not ahead of it, even when the slot lags.
        (
            &["000000010000000000000008.partial"],
            "000000010000000000000005",
            Plan::Restart {
                remove: Some("000000010000000000000008.partial".into()),
            },
        ),
        (
            &["000000010000000000000005.partial", "000000010000000000000004"],
            "000000010000000000000005",
            Plan::Aligned,
        ),
    ];
    for (names, wanted, expected) in cases {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(plan(&names, name(current), name(wanted)), expected, "{names:?}");
    }
}
