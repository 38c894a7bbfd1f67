use super::wal_maker::{SIZE, WalMaker, at, name};
use super::*;
use crate::lsn::Lsn;

fn known(maker: &WalMaker, timeline: u32, number: u64) -> SegmentSummary {
    match summarize(name(timeline, number), maker.segment(number).as_slice()).unwrap() {
        SegmentState::Known(summary) => *summary,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_segment() {
    let mut wal = WalMaker::new(1, 3);
    let first = wal.commit(100, 50);
    wal.abort(101, 20);
    wal.commit(102, 70);
    let point = wal.restore_point("before", 99);
    let checkpoint = wal.checkpoint(0x5_0000_0067, (1, 1));
    wal.commit_prepared(90, 60, 3);
    let last = wal.switch();
    let summary = known(&wal, 1, 3);
    assert_eq!(summary.records, 7);
    assert_eq!(
        (summary.first_record, summary.last_record),
        (Some(first), Some(last))
    );
    assert_eq!(summary.first_previous, Some(Lsn(3 * SIZE - 100)));
    assert_eq!((summary.commits, summary.aborts), (3, 1));
    assert_eq!(summary.end_times, Some((at(20), at(70))));
    assert_eq!(summary.xids, Some((100, 102)));
    assert_eq!(summary.xid_base, XidBase::Told(0x5_0000_0067));
    assert_eq!(summary.xid_base.full(100), Some(0x5_0000_0064));
    for (xid, membership) in [
        (90, Membership::Yes),
        (91, Membership::No),
        (101, Membership::Yes),
    ] {
        assert_eq!(summary.ends_transaction(xid), membership, "{xid}");
    }
    assert_eq!(summary.restore_points.len(), 1);
    assert_eq!(
        (
            summary.restore_points[0].lsn,
            summary.restore_points[0].name.as_slice()
        ),
        (point, b"before".as_slice())
    );
    assert_eq!(summary.checkpoints[0].lsn, checkpoint);
    assert_eq!(summary.end, WalEnd::Switch { lsn: last });
    assert_eq!(u64::from(summary.used), last.0 + 24 - 3 * SIZE);
    assert_eq!((summary.head.as_ref(), summary.tail.as_ref()), (None, None));
    let digest = twox_hash::xxhash3_128::Hasher::oneshot(&wal.segment(3));
    assert_eq!(summary.digest, Digest(digest));
}

/// In pieces of any size the same.
#[test]
fn in_pieces() {
    let mut wal = WalMaker::new(1, 3);
    wal.message(1_500_000);
    wal.commit(8, 8);
    wal.message(1_500_000);
    for number in 3..=5 {
        let bytes = wal.segment(number);
        let whole = summarize(name(1, number), bytes.as_slice()).unwrap();
        for pieces in [1, 39, 40, 41, 4096, 8200, SIZE as usize] {
            let mut summarizer = Summarizer::new(name(1, number));
            for piece in bytes.chunks(pieces) {
                summarizer.feed(piece);
            }
            assert_eq!(summarizer.finish(), whole, "{number} in pieces of {pieces}");
        }
    }
}

/// A record of each kind with its border at each possible place: found whichever side came first.
#[test]
fn records_over_the_border() {
    type Kind = (
        &'static str,
        fn(&mut WalMaker) -> Lsn,
        fn(&SpanningContent) -> bool,
    );
    let kinds: [Kind; 7] = [
        (
            "commit",
            |wal| wal.commit(77, 123),
            |content| {
                *content
                    == SpanningContent::Commit(SpanningEnd {
                        time: at(123),
                        xid: Some(77),
                    })
            },
        ),
        (
            "abort",
            |wal| wal.abort(77, 123),
            |content| matches!(content, SpanningContent::Abort(end) if end.xid == Some(77)),
        ),
        (
            "prepared",
            |wal| wal.commit_prepared(5, 9, 20),
            |content| matches!(content, SpanningContent::Commit(end) if (end.time, end.xid) == (at(9), Some(5))),
        ),
        (
            "long",
            |wal| wal.commit_prepared(5, 9, 9000),
            |content| matches!(content, SpanningContent::Commit(end) if (end.time, end.xid) == (at(9), None)),
        ),
        (
            "point",
            |wal| wal.restore_point("x", 1),
            |content| matches!(content, SpanningContent::RestorePoint(point) if point.name == b"x"),
        ),
        (
            "checkpoint",
            |wal| wal.checkpoint(9, (1, 1)),
            |content| matches!(content, SpanningContent::Checkpoint(mark, None) if mark.next_xid == 9),
        ),
        (
            "message",
            |wal| wal.message(999),
            |content| *content == SpanningContent::Other,
        ),
    ];
    for (kind, write, check) in kinds {
        for left in [8, 16, 24, 32, 40, 64, 96] {
            let mut wal = WalMaker::new(1, 3);
            wal.checkpoint(0x7_0000_0000, (1, 1));
            wal.fill_to(left);
            assert_eq!(wal.position, 4 * SIZE - left, "{kind}");
            let start = wal.position;
            write(&mut wal);
            let crosses = wal.position > 4 * SIZE;
            wal.commit(200, 200);
            if !crosses {
                continue;
            }
            let (before, mut after) = (known(&wal, 1, 3), known(&wal, 1, 4));
            let tail = before.tail.as_ref().unwrap();
            assert_eq!((tail.start.0, u64::from(tail.have)), (start, left));
            assert_eq!(before.last_record, Some(Lsn(start)));
            assert!(after.is_pending());
            assert_eq!(after.first_previous, Some(Lsn(start)));
            assert_eq!(after.end_times, Some((at(200), at(200))));
            assert!(after.judge(&before));
            let content = after
                .spanning()
                .unwrap_or_else(|| panic!("{kind} {left}: {after:?}"));
            assert!(check(content), "{kind} {left}: {content:?}");
            assert_eq!(after.xid_base.full(200), Some(0x7_0000_00C8));
            assert!(!after.judge(&before), "a second time");

            let rest = u64::from(after.head.as_ref().unwrap().remaining.min(16));
            if !matches!((kind, left), ("commit", 16 | 24) | ("long", 96)) {
                continue;
            }
            let untouched = known(&wal, 1, 4);
            // Any byte of either side changed is found.
            for (segment, from, to) in [(3, start, 4 * SIZE), (4, 4 * SIZE + 40, 4 * SIZE + 40 + rest)] {
                for at in (from..to).step_by(3) {
                    let mut bytes = wal.segment(segment);
                    bytes[usize::try_from(at - segment * SIZE).unwrap()] ^= 0x10;
                    let state = summarize(name(1, segment), bytes.as_slice()).unwrap();
                    let Some(changed) = state.known().cloned() else {
                        continue;
                    };
                    let (changed_before, mut changed_after) = match segment {
                        3 => (changed, untouched.clone()),
                        _ => (before.clone(), changed),
                    };
                    changed_after.judge(&changed_before);
                    let verdict = &changed_after.head.as_ref().unwrap().verdict;
                    // The two bytes of padding in the header are in the checksum too.
                    assert!(
                        matches!(verdict, Verdict::Broken(_)),
                        "{kind} {left} {at}: {verdict:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_switch_over_the_border() {
    let mut wal = WalMaker::new(1, 3);
    wal.fill_to(16);
    wal.switch();
    wal.commit(1, 1);
    let (before, mut after) = (known(&wal, 1, 3), known(&wal, 1, 4));
    assert_eq!(after.records, 0);
    assert_eq!(after.end, WalEnd::Zeros { in_record: false });
    assert!(!after.is_switched());
    after.judge(&before);
    assert!(after.is_switched());

    // PostgreSQL 10 leaves page headers behind.
    let mut bytes = wal.segment(4);
    let mut header = bytes[..24].to_vec();
    header[2] = 0;
    header[8..16].copy_from_slice(&(4 * SIZE + 8192).to_le_bytes());
    header[16..20].fill(0);
    bytes[8192..8192 + 24].copy_from_slice(&header);
    let state = summarize(name(1, 4), bytes.as_slice()).unwrap();
    let mut after = state.known().cloned().unwrap();
    after.judge(&before);
    assert!(after.is_switched());
}

/// A record over several segments, of which some hold nothing else.
#[test]
fn within_a_record() {
    let mut wal = WalMaker::new(1, 3);
    wal.fill_to(8);
    let start = wal.commit_prepared(9, 5, 900_000);
    wal.commit(8, 8);
    let before = known(&wal, 1, 3);
    let mut chain = vec![before];
    for number in 4..=7 {
        let mut next = known(&wal, 1, number);
        assert!(next.is_pending());
        assert_eq!(next.is_within_a_record(), number < 7, "{number}");
        assert!(next.judge(chain.last().unwrap()));
        chain.push(next);
        if number < 6 {
            let Verdict::GoesOn(tail) = &chain.last().unwrap().head.as_ref().unwrap().verdict else {
                panic!("{:?}", chain.last());
            };
            assert_eq!(tail.start, start);
        }
    }
    let last = chain.last().unwrap();
    assert_eq!(
        last.spanning(),
        Some(&SpanningContent::Commit(SpanningEnd {
            time: at(5),
            xid: None
        }))
    );
    assert_eq!(last.ends_transaction(77), Membership::Maybe);
}

#[test]
fn what_is_no_whole_segment() {
    let mut wal = WalMaker::new(1, 3);
    wal.commit(7, 7);
    let second = wal.commit(8, 8);
    wal.fill_to(0);
    let good = wal.segment(3);
    let state = |bytes: &[u8]| summarize(name(1, 3), bytes).unwrap();
    let unreadable = |bytes: &[u8]| match state(bytes) {
        SegmentState::Unreadable(unreadable) => unreadable,
        other => panic!("{other:?}"),
    };
    assert_eq!(unreadable(&[]).cause, Cause::Length);
    assert_eq!(unreadable(&good[..39]).cause, Cause::Length);
    let cut = unreadable(&good[..good.len() - 1]);
    assert_eq!((cut.cause, cut.readable.unwrap().commits), (Cause::Length, 2));
    let mut long = good.clone();
    long.push(0);
    assert_eq!(unreadable(&long).cause, Cause::Length);
    long.extend(&good);
    assert_eq!(unreadable(&long).cause, Cause::Length);
    assert_eq!(unreadable(&vec![0; good.len()]).cause, Cause::Corrupt);

    // What comes before the damage is kept.
    let mut damaged = good.clone();
    damaged[usize::try_from(second.0 - 3 * SIZE).unwrap() + 30] ^= 1;
    let found = unreadable(&damaged);
    assert_eq!((found.cause, found.lsn), (Cause::Corrupt, Some(second)));
    let readable = found.readable.unwrap();
    assert_eq!((readable.commits, readable.end_times), (1, Some((at(7), at(7)))));

    let other = match summarize(name(1, 4), good.as_slice()).unwrap() {
        SegmentState::Unreadable(unreadable) => unreadable.cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(other, Cause::Foreign);
    let mut newer = good.clone();
    newer[0] = 0x1A;
    assert!(matches!(
        state(&newer),
        SegmentState::UnknownFormat { magic: 0xD11A, .. }
    ));
    let of_other_system = {
        let mut summarizer = Summarizer::new(name(1, 3)).of_system(1);
        summarizer.feed(&good);
        summarizer.finish()
    };
    assert!(matches!(
        of_other_system,
        SegmentState::Unreadable(Unreadable {
            cause: Cause::Foreign,
            ..
        })
    ));

    // Within the first record over pages, and after the end.
    let mut partial = WalMaker::new(1, 3);
    partial.commit(7, 7);
    let summary = known(&partial, 1, 3);
    assert_eq!(summary.end, WalEnd::Zeros { in_record: false });
    assert_eq!(u64::from(summary.used), partial.position - 3 * SIZE);
}

#[test]
fn a_timeline_begins() {
    let mut wal = WalMaker::new(1, 3);
    wal.commit(7, 7);
    wal.message(20_000);
    let mut promoted = wal.branch(2);
    let lsn = promoted.checkpoint(9, (1, 2));
    promoted.commit(9, 9);
    let summary = known(&promoted, 2, 3);
    assert_eq!(summary.first_page_timeline.get(), 1);
    let changes: Vec<_> = summary
        .all_timeline_changes()
        .map(|change| (change.lsn, change.from.get(), change.to.get()))
        .collect();
    assert_eq!(changes, [(lsn, 1, 2)]);
}
