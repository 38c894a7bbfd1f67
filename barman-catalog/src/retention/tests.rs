use super::*;
use crate::annotations::Keep;
use crate::backup_info::BackupInfo;
use proptest::prelude::*;

const NOW: &str = "2026-11-21T12:00:00Z";

fn now() -> jiff::Timestamp {
    NOW.parse().unwrap()
}

/// A backup `age` days old. `W` waits for WAL, `F` failed, `E` is empty, `S`/`K` are kept.
fn backup(age: u32, letter: char) -> BackupInfo {
    let end = now() - jiff::SignedDuration::from_hours(24 * i64::from(age));
    let wall = end.to_zoned(jiff::tz::TimeZone::UTC);
    let mut info = BackupInfo::new(
        BackupId::next(wall.datetime(), None),
        "s",
        Some("postgres".into()),
    );
    info.end_time = Some(crate::Timestamp::from_zoned(&wall));
    info.status = match letter {
        'W' => BackupStatus::WaitingForWals,
        'F' => BackupStatus::Failed,
        'E' => BackupStatus::Empty,
        _ => BackupStatus::Done,
    };
    info
}

/// `ages`: newest first, like `3W 10 20S`.
fn catalog(ages: &str) -> Catalog {
    let mut kept = Vec::new();
    let backups: Vec<_> = ages
        .split_whitespace()
        .map(|word| {
            let letter = word.chars().last().filter(|c| c.is_alphabetic()).unwrap_or(' ');
            let info = backup(
                word.trim_end_matches(char::is_alphabetic).parse().unwrap(),
                letter,
            );
            match letter {
                'S' => kept.push((info.id, Keep::Standalone)),
                'K' => kept.push((info.id, Keep::Full)),
                _ => {}
            }
            info
        })
        .collect();
    kept.into_iter()
        .fold(Catalog::from_backups("s", backups), |c, (id, keep)| {
            c.with_keep(id, keep)
        })
}

fn words(policy: RetentionPolicy, minimum: u32, catalog: &Catalog) -> String {
    let report = report(policy, minimum, catalog, now());
    report
        .values()
        .rev()
        .map(|w| w.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn window(count: u32, unit: WindowUnit) -> RetentionPolicy {
    RetentionPolicy::RecoveryWindow { count, unit }
}

#[test]
fn words_of_whole_backups() {
    use RetentionPolicy::Redundancy;
    use WindowUnit::{Days, Months, Weeks};
    for (ages, policy, minimum, expected) in [
        (
            "3W 10 20 30 40",
            window(5, Days),
            0,
            "- VALID OBSOLETE OBSOLETE OBSOLETE",
        ),
        (
            "3W 10 20 30 40",
            window(5, Days),
            3,
            "- VALID OBSOLETE* OBSOLETE* OBSOLETE",
        ),
        (
            "3W 10 20 30 40",
            window(15, Days),
            0,
            "- VALID VALID OBSOLETE OBSOLETE",
        ),
        (
            "3W 10 20 30 40",
            window(1, Months),
            0,
            "- VALID VALID VALID VALID",
        ),
        (
            "3W 10 20 30 40",
            window(2, Weeks),
            0,
            "- VALID VALID OBSOLETE OBSOLETE",
        ),
        (
            "3W 10 20 30 40",
            window(u32::MAX, Months),
            0,
            "- VALID VALID VALID VALID",
        ),
        (
            "1 2 3F 4 5E 6",
            Redundancy(2),
            0,
            "VALID VALID - OBSOLETE OBSOLETE",
        ),
        ("1 2 3", Redundancy(1), 2, "VALID VALID OBSOLETE"),
        ("1 2", Redundancy(0), 0, "OBSOLETE OBSOLETE"),
        // Kept backups count.
        ("1S 2 3", Redundancy(1), 0, "KEEP:STANDALONE OBSOLETE OBSOLETE"),
        ("1 2K 3", Redundancy(2), 0, "VALID KEEP:FULL OBSOLETE"),
        ("10 20S 30", window(5, Days), 3, "VALID KEEP:STANDALONE OBSOLETE*"),
    ] {
        assert_eq!(
            words(policy, minimum, &catalog(ages)),
            expected,
            "{ages} {policy} {minimum}"
        );
    }
}

/// A root `age` days old and two generations of incrementals, the younger failed.
fn chain(keep: Option<Keep>) -> Catalog {
    let (newest, root) = (backup(1, ' '), backup(10, ' '));
    let (mut child, mut grandchild) = (backup(9, ' '), backup(8, 'F'));
    child.parent_backup_id = Some(root.id);
    grandchild.parent_backup_id = Some(child.id);
    let id = root.id;
    // The parents know nothing of their children: the children's word counts.
    let catalog = Catalog::from_backups("s", [newest, root, child, grandchild]);
    match keep {
        Some(keep) => catalog.with_keep(id, keep),
        None => catalog,
    }
}

#[test]
fn incrementals_take_over_the_word_of_their_root() {
    use RetentionPolicy::Redundancy;
    for (keep, policy, expected) in [
        (None, Redundancy(1), "VALID OBSOLETE OBSOLETE OBSOLETE"),
        (None, Redundancy(2), "VALID VALID VALID VALID"),
        (Some(Keep::Full), Redundancy(1), "VALID VALID VALID KEEP:FULL"),
        (
            Some(Keep::Standalone),
            Redundancy(1),
            "VALID OBSOLETE OBSOLETE KEEP:STANDALONE",
        ),
        (
            Some(Keep::Standalone),
            Redundancy(2),
            "VALID VALID VALID KEEP:STANDALONE",
        ),
        (
            Some(Keep::Standalone),
            window(5, WindowUnit::Days),
            "VALID OBSOLETE OBSOLETE KEEP:STANDALONE",
        ),
        (
            Some(Keep::Standalone),
            window(15, WindowUnit::Days),
            "VALID VALID VALID KEEP:STANDALONE",
        ),
    ] {
        assert_eq!(words(policy, 0, &chain(keep)), expected, "{keep:?} {policy}");
    }
}

#[test]
fn incrementals_without_their_root_have_no_word() {
    let mut orphan = backup(2, ' ');
    orphan.parent_backup_id = "19990101T000000".parse().ok();
    let catalog = Catalog::from_backups("s", [backup(1, ' '), orphan]);
    assert_eq!(words(RetentionPolicy::Redundancy(1), 0, &catalog), "VALID -");
}

#[test]
fn loops_of_parents_end() {
    let (mut a, mut b) = (backup(1, ' '), backup(2, ' '));
    (a.parent_backup_id, b.parent_backup_id) = (Some(b.id), Some(a.id));
    let catalog = Catalog::from_backups("s", [a, b]);
    assert_eq!(words(RetentionPolicy::Redundancy(1), 0, &catalog), "- -");
}

#[test]
fn a_backup_being_deleted_counts_for_nothing() {
    let catalog = catalog("1 2 3");
    let newest = catalog.highest_id().unwrap();
    let catalog = catalog.with_deletion_begun(newest);
    assert_eq!(
        words(RetentionPolicy::Redundancy(1), 0, &catalog),
        "OBSOLETE VALID OBSOLETE"
    );
    assert_eq!(redundancy(&catalog), 2);
}

/// A hand-made annotation on an incremental backup says what it says.
#[test]
fn what_a_kept_incremental_is_based_on_stays() {
    let (newest, root) = (backup(1, ' '), backup(10, ' '));
    let (mut child, mut sibling) = (backup(9, ' '), backup(8, ' '));
    child.parent_backup_id = Some(root.id);
    sibling.parent_backup_id = Some(root.id);
    let kept = child.id;
    let catalog = Catalog::from_backups("s", [newest, root, child, sibling]);
    let one = RetentionPolicy::Redundancy(1);
    assert_eq!(words(one, 0, &catalog), "VALID OBSOLETE OBSOLETE OBSOLETE");
    let catalog = catalog.with_keep(kept, Keep::Full);
    assert_eq!(words(one, 0, &catalog), "VALID OBSOLETE VALID VALID");
    // Unless they are going already.
    let begun = catalog.with_deletion_begun(backup(10, ' ').id);
    assert_eq!(words(one, 0, &begun), "VALID OBSOLETE OBSOLETE OBSOLETE");
}

#[test]
fn a_policy_that_leaves_only_standalone_backups_is_told_of() {
    for (ages, count, expected) in [
        ("1S 2 3", 1, Some(2)),
        ("1S 2 3", 2, None),
        ("1K 2 3", 1, None),
        ("1S 2S", 1, None),
        ("1 2", 0, None),
        ("0W 1S 2", 1, None),
        ("0F 1S 2", 1, Some(2)),
    ] {
        let catalog = catalog(ages);
        let words = report(RetentionPolicy::Redundancy(count), 0, &catalog, now());
        let lost = loses_recovery(&catalog, &words);
        assert_eq!(lost, expected.map(|age| backup(age, ' ').id), "{ages} {count}");
    }
}

#[test]
fn every_word_has_its_reason() {
    use RetentionPolicy::Redundancy;
    use WindowUnit::Days;
    let id = |age| backup(age, ' ').id;
    let start = |days: i64| now() - jiff::SignedDuration::from_hours(24 * days);
    for (ages, policy, minimum, expected) in [
        (
            "1 2 3F 4W 5E 6",
            Redundancy(1),
            2,
            vec![
                Reason::Newest {
                    position: 1,
                    wanted: 2,
                },
                Reason::Newest {
                    position: 2,
                    wanted: 2,
                },
                Reason::NotDone {
                    status: BackupStatus::Failed,
                },
                Reason::NotDone {
                    status: BackupStatus::WaitingForWals,
                },
                Reason::BeyondRedundancy {
                    position: 3,
                    wanted: 2,
                },
            ],
        ),
        (
            "1K 10S 20 30 40",
            window(15, Days),
            4,
            vec![
                Reason::Kept { keep: Keep::Full },
                Reason::Kept {
                    keep: Keep::Standalone,
                },
                Reason::ReachesWindow {
                    window_start: start(15),
                },
                Reason::MinimumRedundancy {
                    position: 4,
                    minimum: 4,
                },
                Reason::BeforeWindow {
                    window_start: start(15),
                    reached_by: id(20),
                },
            ],
        ),
        (
            "1",
            window(5, Days),
            0,
            vec![Reason::InWindow {
                window_start: start(5),
            }],
        ),
    ] {
        let catalog = catalog(ages);
        let explained = explain(policy, minimum, &catalog, now());
        let reasons: Vec<_> = explained.values().rev().map(|v| v.reason).collect();
        assert_eq!(reasons, expected, "{ages} {policy}");
        assert!(
            reasons
                .iter()
                .all(|r| !r.to_string().is_empty() && !r.to_string().ends_with('.'))
        );
    }
    let family = explain(Redundancy(1), 0, &chain(Some(Keep::Standalone)), now());
    let reasons: Vec<_> = family.values().rev().map(|v| v.reason).collect();
    let alone = Reason::RootKeptAlone { root: id(10) };
    assert_eq!(
        reasons[1..],
        [
            alone,
            alone,
            Reason::Kept {
                keep: Keep::Standalone
            }
        ]
    );
}

/// The number of backups a word leaves alone.
fn survivors(policy: RetentionPolicy, minimum: u32, catalog: &Catalog) -> Vec<BackupId> {
    let report = report(policy, minimum, catalog, now());
    report
        .into_iter()
        .filter(|(_, w)| *w != RetentionStatus::Obsolete)
        .map(|(id, _)| id)
        .collect()
}

proptest! {
    #[test]
    fn asking_for_more_never_loses_a_backup(
        ages in prop::collection::btree_map(0u32..60, prop::sample::select(vec![' ', 'W', 'F', 'S', 'K']), 0..12),
        count in 0u32..10,
        minimum in 0u32..5,
        by_window in any::<bool>(),
    ) {
        let spelled: Vec<String> = ages.iter().map(|(age, letter)| format!("{age}{}", letter.to_string().trim())).collect();
        let catalog = catalog(&spelled.join(" "));
        let policy = |count| if by_window { window(count, WindowUnit::Days) } else { RetentionPolicy::Redundancy(count) };
        let now = survivors(policy(count), minimum, &catalog);
        for more in [survivors(policy(count + 1), minimum, &catalog), survivors(policy(count), minimum + 1, &catalog)] {
            prop_assert!(now.iter().all(|id| more.contains(id)));
        }
        // The minimum redundancy survives.
        let done = redundancy(&catalog).min(minimum);
        let kept = now.iter().filter(|id| catalog.get(**id).is_some_and(|b| b.status == BackupStatus::Done)).count();
        prop_assert!(kept >= usize::try_from(done).unwrap());
    }

    /// Whatever is not obsolete finds everything that it is based on; whatever is kept is not obsolete; and a longer
    /// window or a higher number never makes one obsolete that was not.
    #[test]
    fn nothing_goes_that_another_backup_needs(
        // Age; what it is based on, as a place among the older ones; status and keep; whether its deletion has begun.
        shapes in prop::collection::btree_map(
            0u32..60,
            (prop::option::of(any::<prop::sample::Index>()), prop::sample::select(vec![' ', ' ', 'W', 'F', 'E', 'S', 'K']), prop::bool::weighted(0.05)),
            1..14,
        ),
        count in 0u32..8,
        minimum in 0u32..4,
        by_window in any::<bool>(),
    ) {
        let mut older: Vec<BackupId> = Vec::new();
        let mut backups = Vec::new();
        let (mut kept, mut begun) = (Vec::new(), Vec::new());
        for (age, (parent, letter, going)) in shapes.iter().rev() {
            let mut info = backup(*age, *letter);
            info.parent_backup_id = parent.filter(|_| !older.is_empty()).map(|at| *at.get(&older));
            older.push(info.id);
            match letter {
                'S' => kept.push((info.id, Keep::Standalone)),
                'K' => kept.push((info.id, Keep::Full)),
                _ => {}
            }
            if *going {
                begun.push(info.id);
            }
            backups.push(info);
        }
        let catalog = kept.iter().fold(Catalog::from_backups("s", backups), |c, (id, keep)| c.with_keep(*id, *keep));
        let catalog = begun.iter().fold(catalog, |c, id| c.with_deletion_begun(*id));
        let policy = |count| if by_window { window(count, WindowUnit::Days) } else { RetentionPolicy::Redundancy(count) };
        let going = |id: BackupId| catalog.chain(id).iter().any(|b| catalog.is_being_deleted(b.id));
        let verdicts = explain(policy(count), minimum, &catalog, now());
        for (id, verdict) in &verdicts {
            let needed = !matches!(verdict.status, RetentionStatus::Obsolete | RetentionStatus::None);
            if needed && !going(*id) {
                for base in catalog.chain(*id) {
                    let status = verdicts.get(&base.id).map(|v| v.status);
                    prop_assert!(status != Some(RetentionStatus::Obsolete), "{} is based on {}", id, base.id);
                }
            }
            if catalog.keep(*id).is_some() && !going(*id) {
                prop_assert!(verdict.status != RetentionStatus::Obsolete, "{} is kept", id);
            }
        }
        let now = survivors(policy(count), minimum, &catalog);
        for more in [survivors(policy(count + 1), minimum, &catalog), survivors(policy(count), minimum + 1, &catalog)] {
            prop_assert!(now.iter().all(|id| more.contains(id)));
        }
    }
}
