use std::fs;

use proptest::prelude::*;

use super::chunk::SLOTS;
use super::wal_maker::{SIZE, WalMaker, name, size};
use super::*;
use crate::segment::SegmentNumber;
use crate::timeline::TimelineId;

fn state(wal: &WalMaker, timeline: u32, number: u64) -> SegmentState {
    summarize(name(timeline, number), wal.segment(number).as_slice()).unwrap()
}

/// Segments with records over every border, one of them over several segments; two timelines.
fn load() -> Vec<(crate::SegmentName, SegmentState)> {
    let mut wal = WalMaker::new(1, 4094);
    wal.commit(100, 10);
    wal.fill_to(16);
    wal.commit(101, 11);
    wal.fill_to(8);
    wal.restore_point("over a border", 12);
    wal.checkpoint(0x3_0000_0070, (1, 1));
    wal.fill_to(40);
    wal.commit_prepared(102, 13, 600_000);
    wal.fill_to(96);
    let mut states = Vec::new();
    let mut promoted = wal.branch(2);
    wal.commit_prepared(103, 14, 2000);
    wal.switch();
    promoted.checkpoint(0x3_0000_0080, (1, 2));
    promoted.fill_to(24);
    promoted.commit(104, 15);
    promoted.switch();
    let last = wal.position / SIZE;
    for number in 4094..last {
        states.push((name(1, number), state(&wal, 1, number)));
    }
    let begins = last - 2;
    for number in begins..promoted.position / SIZE {
        states.push((name(2, number), state(&promoted, 2, number)));
    }
    assert!(states.iter().all(|(_, state)| state.known().is_some()));
    states
}

#[test]
fn any_order_gives_the_same() {
    let states = load();
    let directory = tempfile::tempdir().unwrap();
    let index = WalIndex::new(directory.path(), size());
    index.put_all(states.clone()).unwrap();
    let all =
        |index: &WalIndex| -> Vec<SegmentState> { states.iter().map(|(name, _)| index.get(*name)).collect() };
    let expected = all(&index);
    for state in &expected {
        let summary = state.known().unwrap();
        assert!(!summary.is_pending(), "{summary:?}");
        assert!(!matches!(
            summary.head.as_ref().map(|head| &head.verdict),
            Some(Verdict::Broken(_))
        ));
        let told = summary.name.number(size()).0 >= SLOTS;
        assert_eq!(summary.xid_base.value().map(|base| base >> 32), told.then_some(3));
    }
    let points: Vec<_> = expected
        .iter()
        .flat_map(|state| state.known().unwrap().all_restore_points())
        .collect();
    assert_eq!(points.len(), 1);
    assert_eq!(index.timelines().len(), 2);

    // Epochs are passed on from file to file when they are asked for, so they may differ here.
    let without_epochs = |states: Vec<SegmentState>| -> Vec<SegmentState> {
        let mut states = states;
        for state in &mut states {
            if let SegmentState::Known(summary) = state {
                summary.xid_base = XidBase::Unknown;
            }
        }
        states
    };
    let expected = without_epochs(expected);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(30));
    runner
        .run(&Just(states.clone()).prop_shuffle(), |order| {
            let directory = tempfile::tempdir().unwrap();
            let index = WalIndex::new(directory.path(), size());
            for (name, state) in &order {
                index.put(*name, state.clone()).unwrap();
            }
            prop_assert_eq!(&without_epochs(all(&index)), &expected);
            // Again, in part: nothing changes.
            for (name, state) in order.iter().take(3) {
                index.put(*name, state.clone()).unwrap();
            }
            index.seal().unwrap();
            prop_assert_eq!(&without_epochs(all(&index)), &expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_better_copy_of_a_neighbour() {
    let mut wal = WalMaker::new(1, 3);
    wal.fill_to(16);
    wal.commit(7, 7);
    wal.switch();
    let mut other = WalMaker::new(1, 3);
    other.commit(9, 9);
    other.fill_to(16);
    other.commit(7, 8);
    let directory = tempfile::tempdir().unwrap();
    let index = WalIndex::new(directory.path(), size());
    index.put(name(1, 4), state(&wal, 1, 4)).unwrap();
    index.put(name(1, 3), state(&other, 1, 3)).unwrap();
    let verdict = |index: &WalIndex| {
        index
            .get(name(1, 4))
            .known()
            .unwrap()
            .head
            .clone()
            .unwrap()
            .verdict
    };
    assert_eq!(verdict(&index), Verdict::Broken(Broken::Checksum));
    index.put(name(1, 3), state(&wal, 1, 3)).unwrap();
    assert!(matches!(verdict(&index), Verdict::Good(_)));

    // What was found good with another file before it is not believed.
    let mut elsewhere = WalMaker::new(1, 3);
    elsewhere.fill_to(0);
    index.put(name(1, 3), state(&elsewhere, 1, 3)).unwrap();
    assert_eq!(index.get(name(1, 4)), SegmentState::Unknown);
}

/// Wherever a file is cut or changed: what is answered is what was put, or nothing.
#[test]
fn damaged_files() {
    let states = load();
    let directory = tempfile::tempdir().unwrap();
    let index = WalIndex::new(directory.path(), size());
    index.put_all(states.clone()).unwrap();
    index.seal().unwrap();
    let expected: Vec<SegmentState> = states.iter().map(|(name, _)| index.get(*name)).collect();
    let one = TimelineId::new(1).unwrap();
    let mut paths = Vec::new();
    for chunk in [0, 1] {
        let path = index.places().index(one, chunk);
        paths.push(path.clone());
        paths.push(path.with_extension("heap"));
    }
    for path in paths.iter().filter(|path| path.exists()) {
        let good = fs::read(path).unwrap();
        let interesting =
            |at: usize| good.len() < 9000 || at < 100 || good.get(at).is_some_and(|byte| *byte != 0);
        let mut lost = 0;
        for at in (0..good.len()).filter(|at| interesting(*at)).step_by(31) {
            for change in ["cut", "flip", "zeros"] {
                let mut bytes = good.clone();
                match change {
                    "cut" => bytes.truncate(at),
                    "flip" => bytes[at] ^= 0x41,
                    _ => bytes[at..].fill(0),
                }
                fs::write(path, &bytes).unwrap();
                for ((name, _), expected) in states.iter().zip(&expected) {
                    let found = index.get(*name);
                    if found == SegmentState::Unknown {
                        lost += 1;
                    } else {
                        assert_eq!(found, *expected, "{change} at {at} of {}", path.display());
                    }
                }
            }
        }
        assert!(lost > 0, "{}", path.display());
        fs::write(path, &good).unwrap();
    }

    // A slot in the wrong place is none.
    let path = index.places().index(one, 0);
    let good = fs::read(&path).unwrap();
    let slot = |index: u64| 4096 + usize::try_from(index).unwrap() * 320;
    let mut moved = good.clone();
    moved.copy_within(slot(4094)..slot(4095), slot(4095));
    fs::write(&path, &moved).unwrap();
    assert_eq!(index.get(name(1, 4095)), SegmentState::Unknown);
    assert_ne!(index.get(name(1, 4094)), SegmentState::Unknown);

    // Another file's slots.
    fs::copy(&path, index.places().index(one, 7)).unwrap();
    assert_eq!(index.get(name(1, 7 * SLOTS + 4094)), SegmentState::Unknown);

    // A damaged file is replaced, one of a newer version is not.
    fs::write(&path, b"BWAL").unwrap();
    index.put_all(states.clone()).unwrap();
    assert_eq!(index.get(states[0].0).summary(), expected[0].summary());
    let mut newer = fs::read(&path).unwrap();
    newer[8] = 2;
    let crc = crc32c::crc32c(&newer[..60]).to_le_bytes();
    newer[60..64].copy_from_slice(&crc);
    fs::write(&path, &newer).unwrap();
    assert_eq!(index.get(states[0].0), SegmentState::Unknown);
    assert!(matches!(
        index.put_all(states.clone()),
        Err(IndexError::Newer { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), newer);
}

#[test]
fn the_directory_vanishes() {
    let states = load();
    let directory = tempfile::tempdir().unwrap();
    let index = WalIndex::new(&directory.path().join("meta/wal-index"), size());
    assert_eq!(index.get(states[0].0), SegmentState::Unknown);
    index.put_all(states.clone()).unwrap();
    fs::remove_dir_all(directory.path().join("meta")).unwrap();
    assert_eq!(index.get(states[0].0), SegmentState::Unknown);
    index.put_all(states.clone()).unwrap();
    assert_ne!(index.get(states[0].0), SegmentState::Unknown);
}

#[test]
fn forgotten() {
    let states = load();
    let directory = tempfile::tempdir().unwrap();
    let index = WalIndex::new(directory.path(), size());
    index.put_all(states.clone()).unwrap();
    index.seal().unwrap();
    let one = TimelineId::new(1).unwrap();
    index.forget(one, SegmentNumber(0), SegmentNumber(4095)).unwrap();
    assert!(!index.places().index(one, 0).exists());
    assert_eq!(index.get(name(1, 4095)), SegmentState::Unknown);
    index
        .forget(one, SegmentNumber(4090), SegmentNumber(4096))
        .unwrap();
    assert_eq!(index.get(name(1, 4096)), SegmentState::Unknown);
    assert_ne!(index.get(name(1, 4097)), SegmentState::Unknown);
    index.forget(one, SegmentNumber(5), SegmentNumber(4)).unwrap();
    index
        .forget(
            TimelineId::new(9).unwrap(),
            SegmentNumber(0),
            SegmentNumber(u64::MAX),
        )
        .unwrap();
}

#[test]
fn another_size() {
    let wal = load();
    let directory = tempfile::tempdir().unwrap();
    let index = WalIndex::new(directory.path(), crate::SegmentSize::DEFAULT);
    let error = index.put(name(1, 3), wal[0].1.clone()).unwrap_err();
    assert!(matches!(error, IndexError::Size { .. }), "{error}");
}
