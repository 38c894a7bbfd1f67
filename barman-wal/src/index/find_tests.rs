//! Look-ups beside a model that looks at everything.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::chunk::SLOTS;
use super::wal_maker::{WalMaker, at, name, size};
use super::xids::XidCollector;
use super::*;
use crate::SegmentName;
use crate::history::TimelineHistory;
use crate::lsn::Lsn;
use crate::segment::SegmentNumber;
use crate::timeline::TimelineId;

/// The transactions and restore points of one segment.
#[derive(Debug, Clone, Default)]
struct Content {
    ends: Vec<(u64, i64)>,
    points: Vec<&'static str>,
    /// Whether a checkpoint tells the epoch.
    told: bool,
    state: Looked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Looked {
    #[default]
    Known,
    Unknown,
    Unreadable,
}

fn template() -> SegmentSummary {
    let mut wal = WalMaker::new(1, 1);
    wal.fill_to(0);
    match summarize(name(1, 1), wal.segment(1).as_slice()).unwrap() {
        SegmentState::Known(summary) => *summary,
        other => panic!("{other:?}"),
    }
}

impl Content {
    fn state(&self, template: &SegmentSummary, name: SegmentName) -> SegmentState {
        let mut ended = XidCollector::default();
        for (xid, _) in &self.ends {
            ended.add((xid & 0xFFFF_FFFF) as u32);
        }
        let times = || self.ends.iter().map(|(_, time)| at(*time));
        let start = name.start_lsn(size());
        let summary = SegmentSummary {
            name,
            commits: u32::try_from(self.ends.len()).unwrap(),
            end_times: times().min().zip(times().max()),
            ended: ended.finish(),
            xid_base: match self.ends.last() {
                Some((xid, _)) if self.told => XidBase::Told(*xid),
                _ => XidBase::Unknown,
            },
            xids: None,
            restore_points: self
                .points
                .iter()
                .zip(1u64..)
                .map(|(name, number)| RestorePointMark {
                    lsn: Lsn(start.0 + number),
                    end: Lsn(start.0 + number + 1),
                    time: at(0),
                    name: name.as_bytes().to_vec(),
                })
                .collect(),
            ..template.clone()
        };
        match self.state {
            Looked::Known => SegmentState::Known(Box::new(summary)),
            Looked::Unknown => SegmentState::Unknown,
            Looked::Unreadable => SegmentState::Unreadable(Unreadable::without_content(Cause::Corrupt, "x")),
        }
    }
}

/// An archive of two timelines over two files of the index: the second begins in segment `FORK`.
#[derive(Debug, Clone)]
struct Model(BTreeMap<(u32, u64), Content>);

const FIRST: u64 = SLOTS - 12;
const FORK: u64 = SLOTS + 6;
const LAST: u64 = SLOTS + 14;

fn model() -> impl Strategy<Value = Model> {
    let ends = proptest::collection::vec((0u64..40, -30i64..60), 0..6);
    let points = proptest::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..2);
    let state = prop_oneof![
        12 => Just(Looked::Known),
        1 => Just(Looked::Unknown),
        1 => Just(Looked::Unreadable)
    ];
    let segment = (ends, points, prop::bool::weighted(0.3), state);
    let count = usize::try_from((LAST - FIRST + 1) + (LAST - FORK + 1)).unwrap();
    // Ids go over the border of an epoch.
    (proptest::collection::vec(segment, count), 0u64..400).prop_map(|(segments, before)| {
        let mut numbers = (FIRST..=LAST)
            .map(|number| (1, number))
            .chain((FORK..=LAST).map(|number| (2, number)));
        let mut model = BTreeMap::new();
        let first_xid = 0x5_0000_0000 - before;
        for (ends, points, told, state) in segments {
            let Some((timeline, number)) = numbers.next() else {
                break;
            };
            let step = number - FIRST;
            let ends = ends
                .into_iter()
                .map(|(xid, time)| {
                    (
                        first_xid + step * 20 + xid,
                        time + i64::try_from(step).unwrap() * 20,
                    )
                })
                .collect();
            model.insert(
                (timeline, number),
                Content {
                    ends,
                    points,
                    told,
                    state,
                },
            );
        }
        Model(model)
    })
}

impl Model {
    fn index(&self, directory: &std::path::Path, order: &[(u32, u64)]) -> WalIndex {
        let index = WalIndex::new(directory, size());
        let template = template();
        let states = order.iter().map(|(timeline, number)| {
            let name = name(*timeline, *number);
            (name, self.0[&(*timeline, *number)].state(&template, name))
        });
        index.put_all(states).unwrap();
        index
    }

    /// In the order of a route.
    fn along<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = (SegmentName, &'a Content)> {
        route.spans().iter().flat_map(move |span| {
            (span.first.0..=span.last.0).filter_map(move |number| {
                let key = (span.timeline.get(), number);
                Some((name(key.0, number), self.0.get(&key)?))
            })
        })
    }
}

fn routes() -> Vec<Route> {
    let history = TimelineHistory::parse(
        TimelineId::new(2).unwrap(),
        format!("1\t{}\tx\n", Lsn(FORK * wal_maker::SIZE + 500)).as_bytes(),
    )
    .unwrap();
    let start = Lsn(FIRST * wal_maker::SIZE);
    let within = Lsn((FIRST + 3) * wal_maker::SIZE + 999);
    let one = TimelineHistory::root(TimelineId::FIRST);
    vec![
        Route::along(&history, start, SegmentNumber(LAST), size()),
        Route::along(&history, within, SegmentNumber(LAST), size()),
        Route::along(&one, within, SegmentNumber(LAST + 3), size()),
        Route::along(&one, Lsn(0), SegmentNumber(3 * SLOTS), size()),
    ]
}

fn in_spans(spans: &[Span], name: SegmentName) -> bool {
    let number = name.number(size());
    spans
        .iter()
        .any(|span| span.timeline == name.timeline && span.first <= number && number <= span.last)
}

/// Whether the answer says nothing about this segment.
fn excused(coverage: &Coverage, name: SegmentName) -> bool {
    in_spans(&coverage.unknown, name) || in_spans(&coverage.unreadable, name)
}

fn check(model: &Model, index: &WalIndex, exact: bool) -> Result<(), TestCaseError> {
    for route in routes() {
        let coverage = index.coverage(&route);
        for (name, content) in model.along(&route) {
            let expected = match content.state {
                Looked::Known => false,
                Looked::Unknown => in_spans(&coverage.unknown, name),
                Looked::Unreadable => in_spans(&coverage.unreadable, name),
            };
            if exact {
                prop_assert_eq!(content.state != Looked::Known, expected, "{}", name);
            }
        }
        for time in (-40..700).step_by(113) {
            for target in [TimeTarget::Inclusive(at(time)), TimeTarget::Exclusive(at(time))] {
                let answer = index.stop_at_time(&route, target);
                let beyond = |content: &Content| {
                    content
                        .ends
                        .iter()
                        .any(|(_, time)| target.stops_before(at(*time)))
                };
                let mut latest = None;
                let mut reached = false;
                for (name, content) in model.along(&route) {
                    if answer.reached && answer.candidates.last() == Some(&name) {
                        prop_assert!(beyond(content), "{}", name);
                        reached = true;
                        break;
                    }
                    if excused(&answer.coverage, name) || content.state != Looked::Known {
                        continue;
                    }
                    latest = latest.max(content.ends.iter().map(|(_, time)| at(*time)).max());
                    prop_assert!(
                        !beyond(content) || (route.starts_within(name) && answer.candidates.contains(&name)),
                        "{} {:?}: {:?}",
                        name,
                        target,
                        answer
                    );
                }
                prop_assert_eq!(answer.reached, reached);
                if exact {
                    prop_assert_eq!(answer.latest, latest);
                }
            }
        }
        let all = model
            .0
            .values()
            .flat_map(|content| content.ends.iter().map(|(xid, _)| *xid));
        for xid in all.step_by(17).chain([7, 0x5_0000_0000, 0x4_FFFF_FFF0]) {
            for target in [XidTarget::Full(xid), XidTarget::Low((xid & 0xFFFF_FFFF) as u32)] {
                let answer = index.find_transaction(&route, target);
                for (name, content) in model.along(&route) {
                    let here = content.state == Looked::Known
                        && content.ends.iter().any(|(other, _)| match target {
                            XidTarget::Full(full) => *other == full,
                            XidTarget::Low(low) => other & 0xFFFF_FFFF == u64::from(low),
                        })
                        && (xid & 0xFFFF_FFFF) >= 3;
                    let found = answer.candidates.iter().find(|(other, _)| *other == name);
                    match found {
                        Some((_, Membership::Yes)) => prop_assert!(here, "{} {:?}", name, answer),
                        Some(_) => {}
                        None => prop_assert!(
                            !here || excused(&answer.coverage, name),
                            "{} {:#X} {:?}",
                            name,
                            xid,
                            answer
                        ),
                    }
                    if matches!(found, Some((_, Membership::Yes))) && matches!(target, XidTarget::Full(_)) {
                        break;
                    }
                }
            }
        }
        for wanted in [None, Some("a"), Some("z")] {
            let answer = index.restore_points(&route, wanted.map(str::as_bytes));
            let found: Vec<(SegmentName, String)> = answer
                .points
                .iter()
                .map(|(segment, point)| (*segment, String::from_utf8(point.name.clone()).unwrap()))
                .collect();
            let expected: Vec<(SegmentName, String)> = model
                .along(&route)
                .filter(|(name, content)| content.state == Looked::Known && !excused(&answer.coverage, *name))
                .flat_map(|(name, content)| {
                    content
                        .points
                        .iter()
                        .map(move |point| (name, (*point).to_owned()))
                })
                .filter(|(_, point)| wanted.is_none_or(|wanted| wanted == point))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn like_a_model_that_looks_at_everything(
        (model, order) in model().prop_flat_map(|model| {
            let keys: Vec<(u32, u64)> = model.0.keys().copied().collect();
            (Just(model), Just(keys).prop_shuffle())
        }),
        torn in proptest::collection::vec((0usize..4, 0usize..400, 1usize..320), 0..8),
        removed in 0usize..12,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let index = model.index(directory.path(), &order);
        check(&model, &index, true)?;
        index.seal().unwrap();
        check(&model, &index, true)?;

        // Slots torn in the middle, files gone: less is known, nothing is wrong.
        let mut files = Vec::new();
        for timeline in [1, 2] {
            let timeline = TimelineId::new(timeline).unwrap();
            for chunk in [0, 1] {
                files.push(index.places().index(timeline, chunk));
            }
        }
        for (file, slot, from) in torn {
            let first = if file % 2 == 0 { 4096 - 20 } else { 0 };
            if let Ok(mut bytes) = fs::read(&files[file]) {
                let start = 4096 + (first + slot % 40) * 320;
                if let Some(slot) = bytes.get_mut(start + from..start + 320) {
                    slot.fill(0);
                    fs::write(&files[file], &bytes).unwrap();
                }
            }
        }
        if let Some(path) = files.get(removed) {
            let _ = fs::remove_file(path);
        }
        check(&model, &index, false)?;
    }
}

/// A million segments of which nobody knows anything are looked at as far as a question needs it.
#[test]
fn migration_day() {
    struct Million {
        template: SegmentSummary,
        looked_at: Vec<u64>,
    }
    impl Archive for Million {
        fn spans(&mut self) -> std::io::Result<Vec<Span>> {
            Ok(vec![Span {
                timeline: TimelineId::FIRST,
                first: SegmentNumber(10),
                last: SegmentNumber(1_000_000),
            }])
        }

        fn list(&mut self, span: Span) -> std::io::Result<Vec<SegmentNumber>> {
            // One is missing.
            Ok((span.first.0.max(10)..=span.last.0.min(1_000_000))
                .filter(|number| *number != 999_905)
                .map(SegmentNumber)
                .collect())
        }

        fn look(&mut self, name: SegmentName) -> SegmentState {
            let number = name.number(size()).0;
            self.looked_at.push(number);
            let content = Content {
                ends: vec![(number * 10, i64::try_from(number).unwrap())],
                told: true,
                points: if number == 999_950 { vec!["a"] } else { vec![] },
                state: if number == 999_910 {
                    Looked::Unreadable
                } else {
                    Looked::Known
                },
            };
            content.state(&self.template, name)
        }
    }
    let mut archive = Million {
        template: template(),
        looked_at: Vec::new(),
    };
    let directory = tempfile::tempdir().unwrap();
    let index = WalIndex::new(directory.path(), size());
    let history = TimelineHistory::root(TimelineId::FIRST);
    // From a backup of today.
    let route = Route::along(
        &history,
        Lsn(999_900 * wal_maker::SIZE + 40),
        SegmentNumber(1_000_000),
        size(),
    );
    let answer = index
        .answer(
            &mut archive,
            Order::OldestFirst,
            &mut |_| ControlFlow::Continue(()),
            |index| index.stop_at_time(&route, TimeTarget::Inclusive(at(999_930))),
        )
        .unwrap();
    assert_eq!(
        (answer.reached, answer.candidates.as_slice()),
        (true, [name(1, 999_931)].as_slice())
    );
    assert_eq!(answer.latest, Some(at(999_930)));
    let numbers = |spans: &[Span]| -> Vec<(u64, u64)> {
        spans.iter().map(|span| (span.first.0, span.last.0)).collect()
    };
    assert_eq!(numbers(&answer.coverage.unknown), [(999_905, 999_905)]);
    assert_eq!(numbers(&answer.coverage.unreadable), [(999_910, 999_910)]);
    assert!(
        archive
            .looked_at
            .iter()
            .all(|number| (999_900..999_990).contains(number)),
        "{:?}",
        archive.looked_at
    );

    // Newest first for the rest, until somebody stops it; then on from there.
    let mut left = 100;
    let built = index
        .build(&mut archive, &mut |progress| {
            assert!(progress.done <= progress.total);
            left -= 1;
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert_eq!((built.looked_at, built.stopped), (100, true));
    assert_eq!(archive.looked_at.iter().max(), Some(&1_000_000));
    let points = index
        .answer(
            &mut archive,
            Order::NewestFirst,
            &mut |_| ControlFlow::Continue(()),
            |index| index.restore_points(&route, Some(b"a")),
        )
        .unwrap();
    assert_eq!(points.points[0].0, name(1, 999_950));
    let mut once = archive.looked_at.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), archive.looked_at.len(), "nothing is looked at twice");
    assert_eq!(
        index
            .find_transaction(&route, XidTarget::Full(9_999_600))
            .candidates,
        [(name(1, 999_960), Membership::Yes)]
    );
}

#[test]
fn one_after_the_other() {
    let mut wal = WalMaker::new(1, 3);
    wal.fill_to(16);
    wal.commit(5, 5);
    wal.fill_to(0);
    wal.message(300_000);
    wal.switch();
    wal.fill_to(504);
    wal.message(2000);
    wal.switch();
    let directory = tempfile::tempdir().unwrap();
    let index = WalIndex::new(directory.path(), size());
    for number in 3..=7 {
        index
            .put(
                name(1, number),
                summarize(name(1, number), wal.segment(number).as_slice()).unwrap(),
            )
            .unwrap();
    }
    let route = Route::of(
        Span {
            timeline: TimelineId::FIRST,
            first: SegmentNumber(3),
            last: SegmentNumber(7),
        },
        size(),
    );
    let answer = index.continuity(&route);
    assert_eq!(answer.breaks, []);
    assert!(answer.coverage.is_complete(), "{answer:?}");

    let breaks = |number: u64, other: &WalMaker| -> Vec<(u64, BreakReason)> {
        let before = index.get(name(1, number));
        let state = summarize(name(1, number), other.segment(number).as_slice()).unwrap();
        index.put(name(1, number), state).unwrap();
        let found = index.continuity(&route).breaks;
        index.put(name(1, number), before).unwrap();
        for number in 3..=7 {
            let state = summarize(name(1, number), wal.segment(number).as_slice()).unwrap();
            index.put(name(1, number), state).unwrap();
        }
        found
            .iter()
            .map(|found| (found.before.number(size()).0, found.why))
            .collect()
    };
    let mut ends = WalMaker::new(1, 5);
    ends.commit(9, 9);
    assert!(matches!(
        breaks(5, &ends).as_slice(),
        [(4, BreakReason::Previous { .. }), (5, BreakReason::Ended)]
    ));
    let mut closed = WalMaker::new(1, 6);
    closed.fill_to(0);
    assert!(
        breaks(6, &closed).contains(&(6, BreakReason::Record(Broken::Length)))
            || !breaks(6, &closed).is_empty()
    );
    let mut headless = WalMaker::new(1, 7);
    headless.switch();
    assert!(breaks(7, &headless).contains(&(6, BreakReason::NotContinued)));
}

/// What a whole file says is forgotten before one of its segments changes, and written down again later.
#[test]
fn a_sealed_file_changes() {
    let template = template();
    let directory = tempfile::tempdir().unwrap();
    let index = WalIndex::new(directory.path(), size());
    let put = |number: u64, time: i64| {
        let content = Content {
            ends: vec![(number + 100, time)],
            ..Content::default()
        };
        index
            .put(name(1, number), content.state(&template, name(1, number)))
            .unwrap();
    };
    let route = Route::of(
        Span {
            timeline: TimelineId::FIRST,
            first: SegmentNumber(0),
            last: SegmentNumber(2 * SLOTS - 1),
        },
        size(),
    );
    let sealed = || {
        let chunk = index.places().open(TimelineId::FIRST, 0).unwrap();
        chunk.zone().is_some()
    };
    let stop = || index.stop_at_time(&route, TimeTarget::Inclusive(at(50)));
    put(5, 10);
    put(SLOTS + 5, 20);
    assert!(!sealed());
    index.seal().unwrap();
    assert!(sealed());
    let answer = stop();
    assert_eq!((answer.reached, answer.latest), (false, Some(at(20))));
    put(6, 60);
    assert!(!sealed());
    assert_eq!(stop().candidates, [name(1, 6)]);
    // Later segments seal it by themselves.
    put(SLOTS + 255, 20);
    assert!(sealed());
    assert_eq!(stop().candidates, [name(1, 6)]);
    index
        .forget(TimelineId::FIRST, SegmentNumber(6), SegmentNumber(6))
        .unwrap();
    assert!(!sealed() && !stop().reached);
}
