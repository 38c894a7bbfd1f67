//! Many backups and many WAL files on one timeline.

use super::super::blueprint::{Backup, BackupMode, Codec, Moment, Point, Server, Status, WalFile};
use super::super::encode;
use super::super::rng::Rng;
use super::super::wal_name::{Geometry, WalName};
use super::backup::blank;
use super::{Method, Traits, empty};

/// A segment a minute, backups at equal distances.
pub(super) fn server(rng: &Rng, now: i64, backups: u32, wals: u32) -> Server {
    let mut draw = rng.fork("server");
    let traits = Traits {
        major: 16,
        method: Method::Postgres,
        archiver: true,
        codec: Some(Codec::Gzip),
        encrypted: false,
        server_offset: 0,
        host_offsets: (0, 0),
        old_backups: 0,
        forks: 0,
        gaps: 0,
        traffic: 0,
        standby: false,
        tablespaces: 0,
    };
    let geometry = Geometry::of_mib(16);
    let mut server = empty("huge", geometry, &traits, &mut draw);
    server.set_option("retention_policy", "RECOVERY WINDOW OF 4 WEEKS");
    let (backups, wals) = (u64::from(backups), u64::from(wals));
    let minute = |n: u64| now - 60 * (wals.max(backups) - n) as i64;
    server.wals = (0..wals)
        .map(|n| WalFile {
            name: WalName::Segment {
                timeline: 1,
                number: n + 1,
            },
            size: 16_000 + draw.below(8_000_000),
            time: minute(n) * 1_000_000_000 + draw.below(1_000_000_000) as i64,
            compression: Some(Codec::Gzip),
            encrypted: false,
            columns: 5,
            on_disk: true,
        })
        .collect();
    server.backups = (0..backups)
        .map(|n| {
            backup(
                &server,
                n * wals.max(backups) / backups,
                minute(n * wals.max(backups) / backups),
            )
        })
        .collect();
    server
}

fn backup(server: &Server, at: u64, time: i64) -> Backup {
    let size = server.geometry.segment_size;
    let id = encode::backup_id(time, 0);
    let mut backup = blank(id, BackupMode::Postgres, Status::Done, &server.name);
    let point = |number: u64, offset: u64, seconds: i64| Point {
        time: Moment {
            micros: seconds * 1_000_000 + 250_000,
            offset: 0,
        },
        wal: server.geometry.segment(1, number),
        lsn: number * size + offset,
        offset,
    };
    backup.begin = Some(point(at + 1, 0x28, time));
    backup.end = Some(point(at + 2, 0x100, time + 30));
    backup.timeline = Some(1);
    backup.system_id = Some(server.system_id);
    backup.version = Some(server.version);
    backup.pgdata = Some("/var/lib/postgresql/16/main".to_owned());
    backup.cluster_size = Some(1 << 40);
    backup.size = Some(1 << 40);
    backup.deduplicated_size = Some(1 << 40);
    backup.data_checksums = Some(true);
    backup
}
