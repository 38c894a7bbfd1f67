//! The timelines between a backup and the timeline that recovery aims at.

use std::collections::BTreeSet;

use barman_wal::{Lsn, TimelineId};

use super::wal_choice::Leg;

/// The forks of a history file: each ancestor timeline and where it was left, oldest first.
pub type Forks = Vec<(TimelineId, Lsn)>;

/// Why a timeline cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// It has no history file, and is not the backup's own.
    Unknown,
    /// Its history does not pass through the backup's timeline.
    NotADescendant,
    /// Its history leaves the backup's timeline before the end of the backup.
    LeftBefore(Lsn),
}

/// The way from `backup` (its timeline and end LSN) to `target`, whose forks are `forks` (`None`: no history file).
///
/// # Errors
///
/// There is no way.
pub fn legs(
    backup: TimelineId,
    backup_end: Lsn,
    target: TimelineId,
    forks: Option<&Forks>,
) -> Result<Vec<Leg>, Unreachable> {
    if target == backup {
        return Ok(vec![Leg {
            timeline: backup,
            until: None,
        }]);
    }
    let forks = forks.ok_or(Unreachable::Unknown)?;
    let start = forks
        .iter()
        .position(|(timeline, _)| *timeline == backup)
        .ok_or(Unreachable::NotADescendant)?;
    let mut legs: Vec<Leg> = forks
        .iter()
        .skip(start)
        .map(|(timeline, until)| Leg {
            timeline: *timeline,
            until: Some(*until),
        })
        .collect();
    if let Some(left) = legs
        .first()
        .and_then(|leg| leg.until)
        .filter(|left| *left < backup_end)
    {
        return Err(Unreachable::LeftBefore(left));
    }
    legs.push(Leg {
        timeline: target,
        until: None,
    });
    Ok(legs)
}

/// The highest timeline of an archive: of those that have a whole segment.
#[must_use]
pub fn latest(timelines: &BTreeSet<TimelineId>) -> Option<TimelineId> {
    timelines.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(id: u32) -> TimelineId {
        TimelineId::new(id).unwrap()
    }

    #[test]
    fn the_way_starts_at_the_backup() {
        let forks: Forks = vec![(timeline(1), Lsn(100)), (timeline(2), Lsn(200))];
        let leg = |id, until: Option<u64>| Leg {
            timeline: timeline(id),
            until: until.map(Lsn),
        };
        let from = |backup: u32, end: u64, target: u32, forks: Option<&Forks>| {
            legs(timeline(backup), Lsn(end), timeline(target), forks)
        };
        assert_eq!(
            from(1, 100, 4, Some(&forks)),
            Ok(vec![leg(1, Some(100)), leg(2, Some(200)), leg(4, None)])
        );
        assert_eq!(
            from(2, 150, 4, Some(&forks)),
            Ok(vec![leg(2, Some(200)), leg(4, None)])
        );
        assert_eq!(from(3, 150, 3, None), Ok(vec![leg(3, None)]));
        assert_eq!(from(3, 150, 4, Some(&forks)), Err(Unreachable::NotADescendant));
        assert_eq!(
            from(1, 101, 4, Some(&forks)),
            Err(Unreachable::LeftBefore(Lsn(100)))
        );
        assert_eq!(from(1, 50, 4, None), Err(Unreachable::Unknown));
    }
}
