//! One backup in the life of a server: its status and all of its fields.

use super::super::blueprint::{Backup, BackupMode, DataForm, InfoPlace, Point, Python, Status, Tablespace};
use super::super::encode;
use super::super::rng::Rng;
use super::super::wal_name::{Lsn, WalName};
use super::Method;
use super::life::Life;

impl Life {
    /// A whole backup in one segment.
    pub fn plain_backup(&mut self) {
        let mut draw = self.rng.fork("plain");
        let mode = BackupMode::Postgres;
        let backup = self.take(mode, Status::Done, &mut draw);
        self.server.backups.push(backup);
    }

    /// A backup of any kind, the number `step` of this server.
    pub fn backup(&mut self, step: u64) {
        if step > 0 && self.rng.percent(self.traits.forks) {
            self.fork();
        }
        let mut draw = self.rng.fork("backup");
        // Each fork continues from the same state: move on, or all backups would be alike.
        self.rng.number();
        let old = step < self.traits.old_backups;
        let mode = self.mode(old, &mut draw);
        let status = match draw.below(20) {
            0 => Status::Empty,
            1 => Status::Started,
            2 => Status::Syncing,
            3 | 4 => Status::Failed,
            5 | 6 => Status::WaitingForWals,
            _ => Status::Done,
        };
        let mut backup = self.take(mode, status, &mut draw);
        if mode == BackupMode::Postgres && self.traits.major >= 17 && !old && draw.percent(85) {
            self.make_incremental(&mut backup, &mut draw);
        }
        if draw.percent(25) {
            let names = [
                "weekly",
                "it's \"quoted\"",
                "Jahresabschluß",
                "a b",
                "weekly",
                "x=y",
                "#1",
                "latest!",
            ];
            backup.name = Some((*draw.pick(&names)).to_owned());
        }
        if old {
            make_old(&mut backup, &mut draw);
        }
        if backup.parent.is_none() && status == Status::Done && draw.percent(20) {
            backup.keep = Some((*draw.pick(&["full", "standalone", "standalone"])).to_owned());
        }
        // Ids are the host's wall clock, which may be set back to a second that has a backup already.
        if self.server.backup(&backup.id).is_none() {
            self.server.backups.push(backup);
        }
    }

    fn mode(&self, old: bool, draw: &mut Rng) -> BackupMode {
        // The method of a server changes now and then.
        let method = if draw.percent(10) {
            *draw.pick(&[Method::Postgres, Method::Rsync])
        } else {
            self.traits.method
        };
        match method {
            Method::Postgres if draw.percent(4) => BackupMode::Passive,
            Method::Postgres => BackupMode::Postgres,
            Method::Rsync | Method::LocalRsync if old && self.traits.major <= 14 && draw.percent(50) => {
                BackupMode::RsyncExclusive
            }
            Method::Rsync | Method::LocalRsync => BackupMode::RsyncConcurrent,
        }
    }

    /// Takes a backup: moves WAL and time on.
    fn take(&mut self, mode: BackupMode, status: Status, draw: &mut Rng) -> Backup {
        let seconds = draw.between(1, 3_000) as i64;
        let started = self.time;
        let id = encode::backup_id(started, self.host_offset());
        let mut backup = blank(id, mode, status, &self.server.name);
        backup.system_id = Some(self.server.system_id);
        if status == Status::Empty {
            return backup;
        }
        self.describe_server(&mut backup, draw);
        // A switch before the backup gives it a segment of its own; without one it begins in the middle.
        let offset = if draw.percent(80) {
            0x28
        } else {
            0x2000 + draw.below(1000) * 8
        };
        let first = self.number;
        let begin = self.point(first, offset, started);
        let early = status == Status::Failed && draw.percent(30);
        let from_standby = self.traits.standby && mode == BackupMode::Postgres;
        if early || (status == Status::Started && from_standby) {
            backup.error =
                (status == Status::Failed).then(|| "failure starting backup (connection refused)".to_owned());
            backup.data = if draw.percent(50) {
                DataForm::Bare
            } else {
                DataForm::Plain
            };
            backup.place = InfoPlace::Meta;
            return backup;
        }
        backup.timeline = Some(self.timeline);
        backup.begin = Some(begin.clone());
        backup.data = DataForm::Plain;
        let spanned = *draw.pick(&[0, 0, 0, 1, 2, 5]);
        if status == Status::Started || (status == Status::Failed && draw.percent(50)) {
            backup.error = (status == Status::Failed).then(|| {
                (*draw.pick(&[
                    "failure copying files (rsync error: 12)",
                    "failure issuing stop backup command (native concurrent)",
                ]))
                .to_owned()
            });
            self.write_segments(spanned, seconds);
            self.time += seconds;
            return backup;
        }
        self.finish(&mut backup, &begin, spanned, seconds, draw);
        if status == Status::Failed {
            backup.error = Some(format!(
                "At least one WAL file is missing. The first missing WAL file is {}",
                begin.wal
            ));
        }
        backup
    }

    /// The copy ended well: end, label, sizes, statistics.
    fn finish(&mut self, backup: &mut Backup, begin: &Point, spanned: u64, seconds: i64, draw: &mut Rng) {
        let size = self.server.geometry.segment_size;
        let first = self.number;
        let last = first + spanned;
        let label_name = WalName::Label {
            timeline: self.timeline,
            number: first,
            offset: begin.offset as u32,
        };
        self.write_segments(spanned, seconds);
        self.time += seconds;
        // On a border the end belongs to the segment before it.
        let on_border = draw.percent(60);
        let end_offset = if on_border {
            0
        } else {
            (begin.offset + 0x100).min(size - 8)
        };
        let mut end = self.point(last, end_offset, self.time);
        if on_border {
            end.lsn = (last + 1) * size;
        }
        backup.end = Some(end);
        backup.label = Some(self.label(backup, begin, draw));
        let waits = backup.status == Status::WaitingForWals && draw.percent(80);
        if !waits {
            self.write_segments(1, 60);
            self.time += 60;
            if self.traits.archiver {
                self.archive(label_name, self.time * 1_000_000_000 + 5_000_000);
            }
        } else {
            // The last segment is still on its way, and gets lost with what would have come after it once in a while.
            self.number += 1;
        }
        self.measure(backup, seconds, draw);
    }

    fn label(&self, backup: &Backup, begin: &Point, draw: &mut Rng) -> String {
        let (method, label) = if backup.mode.is_rsync() {
            let method = if backup.mode == BackupMode::RsyncExclusive {
                "pg_start_backup"
            } else {
                "streamed"
            };
            (
                method,
                format!("Barman backup {} {}", self.server.name, backup.id),
            )
        } else {
            ("streamed", "pg_basebackup base backup".to_owned())
        };
        let from = if self.traits.standby { "standby" } else { "primary" };
        let time = encode::wall_clock(begin.time.micros / 1_000_000, 0);
        let checkpoint = begin.lsn + 8 * draw.between(1, 20);
        let mut text = format!(
            "START WAL LOCATION: {} (file {})\nCHECKPOINT LOCATION: {}\nBACKUP METHOD: {method}\nBACKUP FROM: {from}\nSTART TIME: {time} UTC\nLABEL: {label}\n",
            Lsn(begin.lsn),
            begin.wal,
            Lsn(checkpoint)
        );
        if self.traits.major >= 11 {
            text.push_str(&format!("START TIMELINE: {}\n", self.timeline));
        }
        text
    }

    fn measure(&self, backup: &mut Backup, seconds: i64, draw: &mut Rng) {
        let cluster = *draw.pick(&[23_203_529, 1 << 30, 734_003_200_123, 1_000]);
        let size = cluster - draw.below(cluster / 10);
        backup.cluster_size = Some(cluster);
        backup.size = Some(size);
        backup.deduplicated_size = Some(if backup.mode.is_rsync() {
            // The first one shares nothing; one that did not change shares all.
            *draw.pick(&[size, size / 3, size - size / 50, 4_096.min(size)])
        } else {
            size
        });
        let total = seconds as f64 - draw.below(999_999) as f64 / 1e6;
        backup.copy_stats = match draw.below(12) {
            // Half a second at the shortest: a rate of 0 seconds is nothing to compare.
            0 => None,
            _ => Some(stats(backup, total.max(0.5), draw)),
        };
        if backup.mode == BackupMode::Postgres && self.traits.major >= 10 && draw.percent(25) {
            backup.compression = Some((*draw.pick(&["gzip", "lz4", "zstd", "none"])).to_owned());
            backup.data = DataForm::Tar;
            backup.encryption = draw.percent(40).then(|| "gpg".to_owned());
        }
    }

    /// What PostgreSQL tells of itself at the start.
    fn describe_server(&self, backup: &mut Backup, draw: &mut Rng) {
        let pgdata = format!("/var/lib/postgresql/{}/main", self.traits.major);
        backup.pgdata = Some(pgdata.clone());
        backup.version = Some(self.server.version);
        backup.segment_size = self.server.geometry.segment_size;
        backup.data_checksums = (self.traits.major >= 10).then(|| draw.percent(70));
        backup.summarize_wal = (self.traits.major >= 17).then(|| draw.percent(80));
        if draw.percent(20) {
            backup.included_files = vec![
                "/etc/postgresql/conf.d/memory.conf".to_owned(),
                format!("{pgdata}/it's.conf"),
            ];
        }
        let names = ["fast", "my ts'1", "größer", "a \"b\" 'c'"];
        for n in 0..self.traits.tablespaces {
            backup.tablespaces.push(Tablespace {
                name: names[n as usize % names.len()].to_owned(),
                oid: 16_384 + n as u32 * 5,
                location: format!("/srv/ts/{n} ä"),
            });
        }
    }

    /// Bases a backup on an earlier one of its timeline.
    fn make_incremental(&mut self, backup: &mut Backup, draw: &mut Rng) {
        let candidates: Vec<usize> = (0..self.server.backups.len())
            .filter(|n| {
                let other = &self.server.backups[*n];
                other.status == Status::Done
                    && other.mode == BackupMode::Postgres
                    && other.timeline == Some(self.timeline)
                    && other.compression.is_none()
                    && other.unknown_then.is_empty()
            })
            .collect();
        if candidates.is_empty() || backup.status == Status::Syncing {
            return;
        }
        // Mostly the youngest: chains grow deep; sometimes any: trees grow wide.
        let chosen = if draw.percent(60) {
            candidates[candidates.len() - 1]
        } else {
            *draw.pick(&candidates)
        };
        let parent = &mut self.server.backups[chosen];
        backup.parent = Some(parent.id.clone());
        // A killed backup never got into its parent's list.
        if matches!(backup.status, Status::Empty | Status::Started) {
            return;
        }
        parent.children.push(backup.id.clone());
        if let (Some(label), Some(from)) = (&mut backup.label, &parent.begin) {
            label.push_str(&format!(
                "INCREMENTAL FROM LSN: {}\nINCREMENTAL FROM TLI: {}\n",
                Lsn(from.lsn),
                self.timeline
            ));
        }
        if backup.size.is_some() {
            let size = backup.cluster_size.unwrap_or(10_000) / draw.between(3, 100);
            backup.size = Some(size);
            backup.deduplicated_size = Some(size);
        }
    }

    /// The Barman host's offset from UTC, which changes half-way.
    fn host_offset(&self) -> i32 {
        let (before, after) = self.traits.host_offsets;
        if self.server.backups.len() < 3 {
            before
        } else {
            after
        }
    }
}

/// A backup of which nothing is known yet.
pub(super) fn blank(id: String, mode: BackupMode, status: Status, server: &str) -> Backup {
    Backup {
        id,
        name: None,
        status,
        mode,
        error: None,
        parent: None,
        children: Vec::new(),
        begin: None,
        end: None,
        timeline: None,
        label: None,
        copy_stats: None,
        snapshots: None,
        included_files: Vec::new(),
        tablespaces: Vec::new(),
        compression: None,
        encryption: None,
        cluster_size: None,
        size: None,
        deduplicated_size: None,
        data_checksums: None,
        summarize_wal: None,
        system_id: None,
        pgdata: None,
        version: None,
        segment_size: 16 << 20,
        server_name: server.to_owned(),
        unknown_then: Vec::new(),
        foreign_lines: Vec::new(),
        place: InfoPlace::Meta,
        keep: None,
        delete_begun: false,
        old_annotations: false,
        data: DataForm::Bare,
    }
}

/// Gives a backup the form that an older Barman wrote.
fn make_old(backup: &mut Backup, draw: &mut Rng) {
    backup.place = *draw.pick(&[InfoPlace::Base, InfoPlace::Base, InfoPlace::Both, InfoPlace::Meta]);
    backup.old_annotations = draw.percent(60);
    // Without a directory there is no place for what was in it.
    if backup.data == DataForm::Missing {
        backup.data = DataForm::Bare;
    }
    if backup.data == DataForm::Plain && draw.percent(20) {
        backup.data = DataForm::Version1;
    }
    let mut unknown = vec!["encryption"];
    if draw.percent(70) {
        unknown.extend([
            "cluster_size",
            "parent_backup_id",
            "children_backup_ids",
            "data_checksums",
            "summarize_wal",
        ]);
    }
    if backup.encryption.is_some() || !backup.children.is_empty() {
        return;
    }
    backup.unknown_then = unknown.into_iter().map(str::to_owned).collect();
}

/// `copy_stats` as each method writes it.
fn stats(backup: &Backup, total: f64, draw: &mut Rng) -> Python {
    let float = |value: f64| Python::Float((value * 1e6).round() / 1e6);
    let entry = |name: &str, value: Python| (name.to_owned(), value);
    if !backup.mode.is_rsync() {
        return Python::Dict(vec![
            entry("copy_time", float(total)),
            entry("total_time", float(total)),
        ]);
    }
    let analysis = if draw.percent(50) {
        total / 3.0
    } else {
        total / 1e4
    };
    let copy = total - analysis;
    let mut items = vec!["pgdata".to_owned(), "pg_control".to_owned()];
    items.extend(backup.tablespaces.iter().map(|t| t.name.clone()));
    let per_item = |share: f64| {
        Python::Dict(
            items
                .iter()
                .map(|name| (name.clone(), float(share / items.len() as f64)))
                .collect(),
        )
    };
    Python::Dict(vec![
        entry("total_time", float(total)),
        entry("number_of_workers", Python::Int(draw.between(1, 4) as i64)),
        entry(
            "analysis_time_per_item",
            Python::Dict(vec![("pgdata".to_owned(), float(analysis))]),
        ),
        entry("copy_time_per_item", per_item(copy)),
        entry("serialized_copy_time_per_item", per_item(copy)),
        entry("analysis_time", float(analysis)),
        entry("copy_time", float(copy)),
        entry("serialized_copy_time", float(copy)),
    ])
}
