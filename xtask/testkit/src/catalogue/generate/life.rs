//! The life of one server: time passes, WAL is written and archived, timelines fork, backups are taken.

use super::super::blueprint::{History, Moment, Point, Server, WalFile};
use super::super::rng::Rng;
use super::super::wal_name::{Lsn, WalName};
use super::{DAY, Traits};

/// A server on its way through time.
pub(super) struct Life {
    pub server: Server,
    pub traits: Traits,
    pub rng: Rng,
    now: i64,
    /// Beginning of the time shown, seconds.
    start: i64,
    /// Seconds since the epoch.
    pub time: i64,
    pub timeline: u32,
    /// The highest timeline that was ever begun.
    youngest_timeline: u32,
    /// The segment being written.
    pub number: u64,
    /// Lines of the history of the current timeline.
    ancestry: String,
}

impl Life {
    pub fn new(server: Server, traits: Traits, rng: &Rng, now: i64, days: i64) -> Self {
        let mut rng = rng.fork("life");
        let per = server.geometry.per_directory();
        let number = match rng.below(4) {
            // Close to the end of a directory, or just behind it.
            0 => per * rng.between(1, 3) - rng.between(1, 4).min(per),
            1 => per * rng.between(1, 0x1_0000),
            _ => rng.between(1, 5),
        };
        let start = now - days * DAY;
        Self {
            server,
            traits,
            rng,
            now,
            start,
            time: start,
            timeline: 1,
            youngest_timeline: 1,
            number,
            ancestry: String::new(),
        }
    }

    /// Goes on to the moment of the backup `step` of `steps`. Never close to a whole number of days before now, where a recovery
    /// window may begin.
    pub fn pass_time(&mut self, step: u64, steps: u64) {
        let span = (self.now - self.start) as u64;
        let share = span / steps;
        let target = self.start as u64 + share * step + self.rng.below(share * 9 / 10);
        let age = self.now - target as i64;
        let off = age.rem_euclid(DAY);
        let age = match off {
            0..3_600 => age + 3_600 - off,
            82_801.. => age - (off - 82_800),
            _ => age,
        };
        let target = (self.now - age).max(self.time + 1);
        let traffic = self.rng.between(0, self.traits.traffic);
        self.write_segments(traffic, target - self.time);
        self.time = target;
    }

    /// Writes and archives so many segments in so many seconds.
    pub fn write_segments(&mut self, count: u64, seconds: i64) {
        let step = seconds * 1_000_000_000 / (count as i64 + 1);
        let begin = self.time * 1_000_000_000;
        for n in 1..=count {
            let time = begin + step * n as i64 + self.rng.below(900_000_000) as i64;
            self.archive(
                WalName::Segment {
                    timeline: self.timeline,
                    number: self.number,
                },
                time,
            );
            self.number += 1;
        }
    }

    /// Puts a file into the archive.
    pub fn archive(&mut self, name: WalName, time: i64) {
        let full = self.server.geometry.segment_size;
        let (plain, lost) = match name {
            WalName::Segment { .. } => (full, self.rng.percent(self.traits.gaps)),
            WalName::Partial { .. } => (full, false),
            WalName::Label { .. } => (self.rng.between(200, 400), false),
            WalName::History { .. } => (self.ancestry.len() as u64, false),
        };
        // Compression and encryption were switched on at some time, or changed.
        let late = self.rng.percent(70);
        let compression = self.traits.codec.filter(|_| late);
        // Barman cannot read an encrypted history file and breaks off.
        let history = matches!(name, WalName::History { .. });
        let encrypted = self.traits.encrypted && self.rng.percent(80) && !history;
        let size = match compression {
            None => plain,
            Some(_) => self.rng.between(plain / 1000 + 20, plain + 20),
        };
        if lost {
            return;
        }
        self.server.wals.push(WalFile {
            name,
            size: size + if encrypted { 300 } else { 0 },
            time,
            compression,
            encrypted,
            columns: 5,
            on_disk: true,
        });
    }

    /// The server is promoted, or restored to a point in the past: a new timeline.
    pub fn fork(&mut self) {
        let parent = self.timeline;
        let back = if self.rng.percent(30) {
            self.rng.below(3).min(self.number.saturating_sub(1))
        } else {
            0
        };
        let child = self.youngest_timeline + 1;
        let size = self.server.geometry.segment_size;
        let switch = (self.number - back) * size + self.rng.between(0x28, size - 0x100) / 8 * 8;
        if !self.ancestry.is_empty() && self.rng.percent(20) {
            // A restore that follows no newer timeline begins at the first one again.
            self.ancestry.clear();
            self.timeline = 1;
        }
        let reason = *self.rng.pick(&[
            "no recovery target specified",
            "before 2026-11-01 10:00:00+00",
            "at restore point \"x\"",
        ]);
        self.ancestry
            .push_str(&format!("{}\t{}\t{reason}\n", self.timeline, Lsn(switch)));
        if back == 0 && self.rng.percent(70) {
            let partial = WalName::Partial {
                timeline: parent,
                number: self.number,
            };
            self.archive(partial, self.time * 1_000_000_000);
        }
        self.youngest_timeline = child;
        self.timeline = child;
        self.number -= back;
        self.server.histories.push(History {
            timeline: child,
            text: self.ancestry.clone(),
        });
        // It got lost once in a while.
        if self.rng.percent(95) {
            self.archive(
                WalName::History { timeline: child },
                self.time * 1_000_000_000 + 123_456_789,
            );
        }
    }

    /// A position in a segment at a moment, seconds.
    pub fn point(&mut self, number: u64, offset: u64, seconds: i64) -> Point {
        let micros = if self.rng.percent(10) {
            0
        } else {
            self.rng.below(1_000_000)
        };
        Point {
            time: Moment {
                micros: seconds * 1_000_000 + micros as i64,
                offset: self.traits.server_offset,
            },
            wal: self.server.geometry.segment(self.timeline, number),
            lsn: number * self.server.geometry.segment_size + offset,
            offset,
        }
    }

    /// The rest of the time until now, and what waits in the queues.
    pub fn end(mut self) -> Server {
        let traffic = self.rng.between(0, self.traits.traffic.min(20));
        self.write_segments(traffic, self.now - self.time);
        let next = |number| WalName::Segment {
            timeline: self.timeline,
            number,
        };
        if self.rng.percent(30) {
            self.server.incoming.push(next(self.number));
        }
        if self.rng.percent(30) {
            self.server.streaming.push(WalName::Partial {
                timeline: self.timeline,
                number: self.number + 1,
            });
        }
        self.server
    }
}
