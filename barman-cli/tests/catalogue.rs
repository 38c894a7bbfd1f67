//! Commands over a catalogue on disk. The expected texts are those of Barman 3.20.1 over the same files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod support;

use expect_test::{Expect, expect};
use std::fmt::Write as _;
use std::fs;
use support::Home;

/// A backup of one hour `day` days into November, beginning in the segment of that number.
fn complete(segment: u8, day: u8, more: &[(&str, &str)]) -> String {
    let next = segment + 1;
    let date = format!("2026-11-{day:02}");
    let fields = [
        (
            "backup_label",
            "'START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\\n'".to_owned(),
        ),
        ("begin_offset", "40".to_owned()),
        ("begin_time", format!("{date} 04:58:18.556089+00:00")),
        ("begin_wal", format!("0000000100000000000000{segment:02X}")),
        ("begin_xlog", format!("0/{segment:X}000028")),
        ("cluster_size", "23444013".to_owned()),
        (
            "copy_stats",
            "{'copy_time': 3.661, 'total_time': 3.661}".to_owned(),
        ),
        ("data_checksums", "on".to_owned()),
        ("deduplicated_size", "23212094".to_owned()),
        ("end_offset", "0".to_owned()),
        ("end_time", format!("{date} 04:58:22+00:00")),
        ("end_wal", format!("0000000100000000000000{segment:02X}")),
        ("end_xlog", format!("0/{next:X}000000")),
        ("pgdata", "/var/lib/pg".to_owned()),
        ("size", "23212094".to_owned()),
        ("status", "DONE".to_owned()),
        ("summarize_wal", "on".to_owned()),
        ("systemid", "7710480878481717691".to_owned()),
        ("timeline", "1".to_owned()),
        ("version", "180004".to_owned()),
    ];
    let mut all: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    all.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    all.extend(more);
    info(&all)
}

fn info(fields: &[(&str, &str)]) -> String {
    let mut all = vec![("server_name", "main"), ("xlog_segment_size", "16777216")];
    if fields.iter().all(|(name, _)| *name != "mode") {
        all.push(("mode", "postgres"));
    }
    all.extend(fields);
    all.sort_unstable();
    all.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name}={value}");
        text
    })
}

fn home(retention: &str) -> Home {
    let servers = format!(
        "[main]\nconninfo = host=pg\nbackup_method = postgres\narchiver = on\n{retention}\n[empty]\nconninfo = host=pg\nbackup_method = postgres\narchiver = on\n"
    );
    let home = Home::new("", &servers);
    let main = home.path().join("main");
    let wals = main.join("wals/0000000100000000");
    fs::create_dir_all(main.join("meta")).unwrap();
    fs::create_dir_all(&wals).unwrap();
    let backups = [
        (
            "20261101T045818",
            complete(
                2,
                1,
                &[
                    ("backup_name", "first"),
                    ("children_backup_ids", "20261103T045818"),
                    (
                        "tablespaces",
                        "[('ts1', 16388, '/srv/ts1'), ('a very long tablespace name', 16389, '/srv/ts2')]",
                    ),
                ],
            ),
        ),
        (
            "20261103T045818",
            complete(
                4,
                3,
                &[
                    ("parent_backup_id", "20261101T045818"),
                    ("deduplicated_size", "3000000"),
                    ("size", "3000000"),
                    ("compression", "gzip"),
                    ("encryption", "gpg"),
                ],
            ),
        ),
        (
            "20261105T045818",
            complete(
                6,
                5,
                &[
                    ("mode", "rsync-concurrent"),
                    ("size", "50000000"),
                    ("deduplicated_size", "5000000"),
                    (
                        "copy_stats",
                        "{'analysis_time': 1.5, 'copy_time': 2.5, 'number_of_workers': 4, 'total_time': 4.0}",
                    ),
                    ("begin_time", "2026-11-05 10:28:18.556089+05:30"),
                ],
            ),
        ),
        (
            "20261106T045818",
            info(&[("status", "FAILED"), ("error", "failure copying files (boom)")]),
        ),
        ("20261107T045818", info(&[("status", "EMPTY")])),
        (
            "20261108T045818",
            complete(8, 8, &[("status", "WAITING_FOR_WALS")]),
        ),
    ];
    for (id, text) in backups {
        fs::write(main.join(format!("meta/{id}-backup.info")), text).unwrap();
        fs::create_dir_all(main.join(format!("base/{id}/data"))).unwrap();
    }
    let mut xlogdb = String::new();
    for number in 2..12u32 {
        let (size, compression) = if number % 2 == 0 {
            (16_384, "gzip")
        } else {
            (16_777_216, "None")
        };
        let name = format!("0000000100000000000000{number:02X}");
        let _ = writeln!(
            xlogdb,
            "{name}\t{size}\t{}.5\t{compression}",
            1_793_509_098 + number * 3600
        );
        fs::write(wals.join(name), "").unwrap();
    }
    fs::write(main.join("wals/main-xlog.db"), xlogdb).unwrap();
    fs::write(
        main.join("wals/00000002.history"),
        "1\t0/A000000\tno recovery target specified\n",
    )
    .unwrap();
    home
}

fn check(home: &Home, arguments: &str, expected: &Expect) {
    let run = home.run(&arguments.split(' ').collect::<Vec<_>>());
    assert_eq!(run.stderr, "", "{arguments}");
    assert_eq!(run.code, Some(0), "{arguments}");
    expected.assert_eq(&run.stdout);
}

#[test]
fn list_backups() {
    let home = home("retention_policy = REDUNDANCY 1");
    check(
        &home,
        "list-backups all",
        &expect![[r#"
        main 20261108T045818 - F - Sun Nov  8 04:58:22 2026 - Size: 22.2 MiB - WAL Size: 32.0 MiB - WAITING_FOR_WALS
        main 20261107T045818 - F - EMPTY
        main 20261106T045818 - F - FAILED
        main 20261105T045818 - R - Thu Nov  5 04:58:22 2026 - Size: 47.7 MiB - WAL Size: 16.0 MiB
        main 20261103T045818 - I - Tue Nov  3 04:58:22 2026 - Size: 2.9 MiB - WAL Size: 16.0 MiB - OBSOLETE
        main 20261101T045818 'first' - F - Sun Nov  1 04:58:22 2026 - Size: 22.2 MiB - WAL Size: 16.0 MiB - OBSOLETE
    "#]],
    );
    check(
        &home,
        "list-backups --minimal main",
        &expect![[r#"
        20261108T045818
        20261107T045818
        20261106T045818
        20261105T045818
        20261103T045818
        20261101T045818
    "#]],
    );
    check(
        &home,
        "-f json list-backups main empty",
        &expect![[
            r#"{"empty": [], "main": [{"backup_id": "20261108T045818", "backup_type": "full", "end_time": "Sun Nov  8 04:58:22 2026", "end_time_timestamp": "1794113902", "retention_status": "-", "size": "22.2 MiB", "size_bytes": 23228478, "status": "WAITING_FOR_WALS", "wal_size": "32.0 MiB", "wal_size_bytes": 33570816}, {"backup_id": "20261107T045818", "backup_type": "full", "status": "EMPTY"}, {"backup_id": "20261106T045818", "backup_type": "full", "status": "FAILED"}, {"backup_id": "20261105T045818", "backup_type": "rsync", "end_time": "Thu Nov  5 04:58:22 2026", "end_time_timestamp": "1793854702", "retention_status": "-", "size": "47.7 MiB", "size_bytes": 50016384, "status": "DONE", "wal_size": "16.0 MiB", "wal_size_bytes": 16793600}, {"backup_id": "20261103T045818", "backup_type": "incremental", "end_time": "Tue Nov  3 04:58:22 2026", "end_time_timestamp": "1793681902", "retention_status": "OBSOLETE", "size": "2.9 MiB", "size_bytes": 3016384, "status": "DONE", "wal_size": "16.0 MiB", "wal_size_bytes": 16793600}, {"backup_id": "20261101T045818", "backup_name": "first", "backup_type": "full", "end_time": "Sun Nov  1 04:58:22 2026", "end_time_timestamp": "1793509102", "retention_status": "OBSOLETE", "size": "22.2 MiB", "size_bytes": 23228478, "status": "DONE", "wal_size": "16.0 MiB", "wal_size_bytes": 16793600}]}"#
        ]],
    );
    check(
        &home,
        "-f json list-backup --minimal main empty",
        &expect![[
            r#"{"empty": [], "main": ["20261108T045818", "20261107T045818", "20261106T045818", "20261105T045818", "20261103T045818", "20261101T045818"]}"#
        ]],
    );
    check(&home, "-q list-backups main", &expect![[""]]);
}

#[test]
fn show_backup_on_the_console() {
    let home = home("");
    check(
        &home,
        "show-backup main first",
        &expect![[r#"
        Backup 20261101T045818:
          Backup Name            : first
          Server Name            : main
          System Id              : 7710480878481717691
          Status                 : DONE
          PostgreSQL Version     : 180004
          PGDATA directory       : /var/lib/pg
          Estimated Cluster Size : 22.4 MiB

          Server information:
            Checksums            : on
            WAL summarizer       : on

          Tablespaces:
            ts1                  : /srv/ts1 (oid: 16388)
            a very long tablespace name: /srv/ts2 (oid: 16389)

          Base backup information:
            Backup Method        : postgres
            Backup Type          : full
            Backup Size          : 22.1 MiB (22.2 MiB with WALs)
            WAL Size             : 16.0 KiB
            Timeline             : 1
            Begin WAL            : 000000010000000000000002
            End WAL              : 000000010000000000000002
            Number of WALs       : 1
            WAL compression ratio: 99.90%
            Begin time           : 2026-11-01 04:58:18.556089+00:00
            End time             : 2026-11-01 04:58:22+00:00
            Copy time            : 3 seconds
            Estimated throughput : 6.0 MiB/s
            Begin Offset         : 40
            End Offset           : 0
            Begin LSN            : 0/2000028
            End LSN              : 0/3000000

          WAL information:
            Number of files      : 2
            Disk usage           : 16.0 MiB
            WAL rate             : 1.50/hour
            Compression ratio    : 49.95%
            Last available       : 000000010000000000000004
            Reachable timelines  : 2

          Catalog information:
            Retention Policy     : not enforced
            Previous Backup      : - (this is the oldest base backup)
            Next Backup          : 20261103T045818

        WARNING: WAL information is inaccurate due to multiple timelines interacting with this backup
            Children Backup(s)   : 20261103T045818
    "#]],
    );
    check(
        &home,
        "show-backup main 20261103T045818",
        &expect![[r#"
        Backup 20261103T045818:
          Server Name            : main
          System Id              : 7710480878481717691
          Status                 : DONE
          PostgreSQL Version     : 180004
          PGDATA directory       : /var/lib/pg
          Estimated Cluster Size : 22.4 MiB

          Server information:
            Checksums            : on
            WAL summarizer       : on

          Base backup information:
            Backup Method        : postgres
            Encryption           : gpg
            Backup Type          : incremental
            Backup Size          : 2.9 MiB (2.9 MiB with WALs)
            Backup Compression   : gzip
            WAL Size             : 16.0 KiB
            Resources saved      : 19.5 MiB (87.20%)
            Timeline             : 1
            Begin WAL            : 000000010000000000000004
            End WAL              : 000000010000000000000004
            Number of WALs       : 1
            WAL compression ratio: 99.90%
            Begin time           : 2026-11-03 04:58:18.556089+00:00
            End time             : 2026-11-03 04:58:22+00:00
            Copy time            : 3 seconds
            Estimated throughput : 800.2 KiB/s
            Begin Offset         : 40
            End Offset           : 0
            Begin LSN            : 0/4000028
            End LSN              : 0/5000000

          WAL information:
            Number of files      : 2
            Disk usage           : 16.0 MiB
            WAL rate             : 1.50/hour
            Compression ratio    : 49.95%
            Last available       : 000000010000000000000006
            Reachable timelines  : 2

          Catalog information:
            Retention Policy     : not enforced
            Previous Backup      : 20261101T045818
            Next Backup          : 20261105T045818

        WARNING: WAL information is inaccurate due to multiple timelines interacting with this backup
            Root Backup          : 20261101T045818
            Parent Backup        : 20261101T045818
            Backup chain size    : 2
    "#]],
    );
    check(
        &home,
        "show-backup main 20261105T045818",
        &expect![[r#"
        Backup 20261105T045818:
          Server Name            : main
          System Id              : 7710480878481717691
          Status                 : DONE
          PostgreSQL Version     : 180004
          PGDATA directory       : /var/lib/pg
          Estimated Cluster Size : 22.4 MiB

          Server information:
            Checksums            : on
            WAL summarizer       : on

          Base backup information:
            Backup Method        : rsync-concurrent
            Backup Size          : 4.8 MiB (4.8 MiB with WALs)
            WAL Size             : 16.0 KiB
            Resources saved      : 20.1 MiB (90.00%)
            Timeline             : 1
            Begin WAL            : 000000010000000000000006
            End WAL              : 000000010000000000000006
            Number of WALs       : 1
            WAL compression ratio: 99.90%
            Begin time           : 2026-11-05 10:28:18.556089+05:30
            End time             : 2026-11-05 04:58:22+00:00
            Copy time            : 2 seconds + 1 second startup
            Estimated throughput : 1.9 MiB/s (4 jobs)
            Begin Offset         : 40
            End Offset           : 0
            Begin LSN            : 0/6000028
            End LSN              : 0/7000000

          WAL information:
            Number of files      : 2
            Disk usage           : 16.0 MiB
            WAL rate             : 1.50/hour
            Compression ratio    : 49.95%
            Last available       : 000000010000000000000008
            Reachable timelines  : 2

          Catalog information:
            Retention Policy     : not enforced
            Previous Backup      : 20261103T045818
            Next Backup          : 20261108T045818

        WARNING: WAL information is inaccurate due to multiple timelines interacting with this backup
    "#]],
    );
    check(
        &home,
        "show-backup main latest",
        &expect![[r#"
        Backup 20261108T045818:
          Server Name            : main
          System Id              : 7710480878481717691
          Status                 : WAITING_FOR_WALS
          PostgreSQL Version     : 180004
          PGDATA directory       : /var/lib/pg
          Estimated Cluster Size : 22.4 MiB

          Server information:
            Checksums            : on
            WAL summarizer       : on

          Base backup information:
            Backup Method        : postgres
            Backup Type          : full
            Backup Size          : 22.1 MiB (22.2 MiB with WALs)
            WAL Size             : 16.0 KiB
            Timeline             : 1
            Begin WAL            : 000000010000000000000008
            End WAL              : 000000010000000000000008
            Number of WALs       : 1
            WAL compression ratio: 99.90%
            Begin time           : 2026-11-08 04:58:18.556089+00:00
            End time             : 2026-11-08 04:58:22+00:00
            Copy time            : 3 seconds
            Estimated throughput : 6.0 MiB/s
            Begin Offset         : 40
            End Offset           : 0
            Begin LSN            : 0/8000028
            End LSN              : 0/9000000

          WAL information:
            Number of files      : 3
            Disk usage           : 32.0 MiB
            WAL rate             : 1.33/hour
            Compression ratio    : 33.30%
            Last available       : 00000001000000000000000B
            Reachable timelines  : 2

          Catalog information:
            Retention Policy     : not enforced
            Previous Backup      : 20261105T045818
            Next Backup          : - (this is the latest base backup)

        WARNING: WAL information is inaccurate due to multiple timelines interacting with this backup
    "#]],
    );
    check(
        &home,
        "show-backup main last-failed",
        &expect![[r#"
        Backup 20261106T045818:
          Server Name            : main
          Status                 : FAILED

          Error                  : failure copying files (boom)
    "#]],
    );
    check(
        &home,
        "show-backups main 20261107T045818",
        &expect![[r#"
        Backup 20261107T045818:
          Server Name            : main
          Status                 : EMPTY

    "#]],
    );
}

#[test]
fn show_backup_in_json() {
    let home = home("");
    check(
        &home,
        "-f json show-backup main oldest",
        &expect![[
            r#"{"main": {"backup_id": "20261101T045818", "backup_name": "first", "backup_type": "full", "base_backup_information": {"backup_method": "postgres", "backup_size": "22.1 MiB", "backup_size_bytes": 23212094, "backup_size_with_wals": "22.2 MiB", "backup_size_with_wals_bytes": 23228478, "begin_lsn": "0/2000028", "begin_offset": 40, "begin_time": "2026-11-01 04:58:18.556089+00:00", "begin_time_timestamp": "1793509098", "begin_wal": "000000010000000000000002", "compression": null, "copy_time": "3 seconds", "copy_time_seconds": 3.661, "encryption": null, "end_lsn": "0/3000000", "end_offset": 0, "end_time": "2026-11-01 04:58:22+00:00", "end_time_timestamp": "1793509102", "end_wal": "000000010000000000000002", "number_of_workers": 1, "throughput": "6.0 MiB/s", "throughput_bytes": 6340369, "timeline": 1, "wal_compression_ratio": "99.90%", "wal_num": 1, "wal_size": "16.0 KiB", "wal_size_bytes": 16384}, "catalog_information": {"children_backup_ids": ["20261103T045818"], "next_backup": "20261103T045818", "previous_backup": "- (this is the oldest base backup)", "retention_policy": "not enforced"}, "cluster_size": "22.4 MiB", "cluster_size_bytes": 23444013, "pgdata_directory": "/var/lib/pg", "postgresql_version": 180004, "server_information": {"data_checksums": "on", "summarize_wal": "on"}, "status": "DONE", "system_id": "7710480878481717691", "tablespaces": [{"location": "/srv/ts1", "name": "ts1", "oid": 16388}, {"location": "/srv/ts2", "name": "a very long tablespace name", "oid": 16389}], "wal_information": {"_WARNING": "WAL information is inaccurate                     due to multiple timelines interacting with                     this backup", "compression_ratio": "49.95%", "disk_usage": "16.0 MiB", "disk_usage_bytes": 16793600, "last_available": "000000010000000000000004", "no_of_files": 2, "timelines": ["2"], "wal_rate": "1.50/hour", "wal_rate_per_second": 0.0004166666666666667}}}"#
        ]],
    );
    check(
        &home,
        "-f json show-backup main 20261105T045818",
        &expect![[
            r#"{"main": {"backup_id": "20261105T045818", "backup_type": "rsync", "base_backup_information": {"analysis_time": "1 second", "analysis_time_seconds": 1.5, "backup_method": "rsync-concurrent", "backup_size": "4.8 MiB", "backup_size_bytes": 5000000, "backup_size_with_wals": "4.8 MiB", "backup_size_with_wals_bytes": 5016384, "begin_lsn": "0/6000028", "begin_offset": 40, "begin_time": "2026-11-05 10:28:18.556089+05:30", "begin_time_timestamp": "1793854698", "begin_wal": "000000010000000000000006", "compression": null, "copy_time": "2 seconds", "copy_time_seconds": 2.5, "encryption": null, "end_lsn": "0/7000000", "end_offset": 0, "end_time": "2026-11-05 04:58:22+00:00", "end_time_timestamp": "1793854702", "end_wal": "000000010000000000000006", "number_of_workers": 4, "resources_saved": "20.1 MiB", "resources_saved_bytes": 21099611, "resources_saved_percentage": "90.00%", "throughput": "1.9 MiB/s", "throughput_bytes": 2000000, "timeline": 1, "wal_compression_ratio": "99.90%", "wal_num": 1, "wal_size": "16.0 KiB", "wal_size_bytes": 16384}, "catalog_information": {"next_backup": "20261108T045818", "previous_backup": "20261103T045818", "retention_policy": "not enforced"}, "cluster_size": "22.4 MiB", "cluster_size_bytes": 23444013, "pgdata_directory": "/var/lib/pg", "postgresql_version": 180004, "server_information": {"data_checksums": "on", "summarize_wal": "on"}, "status": "DONE", "system_id": "7710480878481717691", "tablespaces": [], "wal_information": {"_WARNING": "WAL information is inaccurate                     due to multiple timelines interacting with                     this backup", "compression_ratio": "49.95%", "disk_usage": "16.0 MiB", "disk_usage_bytes": 16793600, "last_available": "000000010000000000000008", "no_of_files": 2, "timelines": ["2"], "wal_rate": "1.50/hour", "wal_rate_per_second": 0.0004166666666666667}}}"#
        ]],
    );
    check(
        &home,
        "-f json show-backup main last-failed",
        &expect![[
            r#"{"main": {"backup_id": "20261106T045818", "error": "failure copying files (boom)", "server_information": {"data_checksums": null, "summarize_wal": null}, "status": "FAILED"}}"#
        ]],
    );
}

#[test]
fn unknown_backups_end_the_command() {
    let home = home("");
    for command in ["show-backup", "check-backup", "delete"] {
        for given in ["nope", "", "fail", "20200101T000000"] {
            let run = home.run(&[command, "main", given]);
            assert_eq!(
                run.stderr.lines().next(),
                Some(format!("ERROR: Unknown backup '{given}' for server 'main'").as_str())
            );
            assert_eq!((run.stdout.as_str(), run.code), ("", Some(1)), "{command}");
        }
    }
    for (given, hint) in [
        ("20261101T045819", "did you mean '20261101T045818'?"),
        ("latst", "did you mean 'latest'?"),
        ("frist", "did you mean 'first'?"),
        ("zzz", "'barman list-backups main' shows the backups"),
    ] {
        let run = home.run(&["show-backup", "main", given]);
        assert_eq!(run.stderr.lines().last(), Some(format!("HINT: {hint}").as_str()));
    }
    assert_eq!(
        home.run(&["show-backup", "empty", "latest"]).stderr,
        "ERROR: Unknown backup 'latest' for server 'empty'\nHINT: this server has no backups\n"
    );
    let json = home.run(&["-f", "json", "restore", "main", "nope", "/nowhere"]);
    assert_eq!(
        json.stdout,
        r#"{"_ERROR": ["Unknown backup 'nope' for server 'main'"]}"#
    );
}

#[test]
fn servers_are_chosen_as_documented() {
    let home = home("");
    let run = home.run(&["list-backups", "nosuch", "empty", "main", "main", "--minimal"]);
    assert_eq!(run.stderr.lines().next(), Some("ERROR: Unknown server 'nosuch'"));
    assert_eq!((run.stdout.lines().count(), run.code), (6, Some(1)));
    let all = home.run(&["list-backups", "--minimal", "all", "main"]);
    assert_eq!(
        all.stderr,
        "ERROR: You cannot use 'all' with other server names\n"
    );
    assert_eq!((all.stdout.lines().count(), all.code), (6, Some(1)));
    let single = home.run(&["show-backup", "all", "latest"]);
    assert_eq!(
        single.stderr,
        "ERROR: You cannot use 'all' in a single server context\n"
    );
    let typing = home.run(&["show-backup", "mian", "latest"]);
    assert_eq!(
        typing.stderr,
        "ERROR: Unknown server 'mian'\nHINT: did you mean 'main'?\n"
    );
}

const WAL: &str = "000000010000000000000003";

/// A home whose archive has the content of one segment.
fn home_with_wal() -> Home {
    let home = home("");
    fs::write(
        home.path().join("main/wals/0000000100000000").join(WAL),
        vec![b'w'; 16 * 1024 * 1024],
    )
    .unwrap();
    home
}

#[test]
fn get_wal_sends_bytes_and_nothing_else() {
    let home = home_with_wal();
    for arguments in [
        &["get-wal", "main", WAL][..],
        &["-q", "get-wal", "main", WAL],
        &["-f", "json", "get-wal", "main", WAL],
    ] {
        let run = home.run(arguments);
        assert_eq!(
            (run.stdout.len(), run.stderr.as_str(), run.code),
            (16 * 1024 * 1024, "", Some(0)),
            "{arguments:?}"
        );
        assert!(run.stdout.bytes().all(|byte| byte == b'w'));
    }
    let peek = home.run(&["-f", "json", "get-wal", "--peek", "1", "main", WAL]);
    assert_eq!(peek.stdout, format!(r#"{{"_INFO": ["{WAL}"]}}"#));
}

#[test]
fn get_wal_errors_have_their_exit_codes() {
    let home = home_with_wal();
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    let absent = "0000000100000000000000AA";
    let out_text = out.to_str().unwrap();
    let rows = [
        (
            vec!["get-wal", "main", "../x"],
            "ERROR: '../x' is not a valid wal file name",
            3,
        ),
        (
            vec!["get-wal", "main", absent],
            "ERROR: WAL file '0000000100000000000000AA' not found in server 'main'",
            1,
        ),
        (
            vec!["get-wal", "-o", out_text, "main", absent],
            "ERROR: WAL file '0000000100000000000000AA' not found in server 'main'",
            1,
        ),
        (
            vec!["get-wal", "-o", "/nosuch", "main", WAL],
            "ERROR: Unable to open '/nosuch/000000010000000000000003' file: ",
            3,
        ),
        (
            vec!["get-wal", "-z", "--keep-compression", "main", WAL],
            "ERROR: argument `gzip` not allowed with argument `keep-compression`",
            1,
        ),
    ];
    for (arguments, text, code) in rows {
        let run = home.run(&arguments);
        assert!(run.stderr.starts_with(text), "{arguments:?}: {}", run.stderr);
        assert_eq!((run.stdout.as_str(), run.code), ("", Some(code)), "{arguments:?}");
    }
    assert_eq!(
        fs::read_dir(&out).unwrap().count(),
        0,
        "a target that was not found leaves nothing"
    );
}

/// On a full disk deleting is what makes room.
#[test]
fn a_backup_can_be_deleted_on_a_full_disk() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let source = home("");
    let data = source.path().join("main/base/20261108T045818/data");
    fs::create_dir_all(data.join("global")).unwrap();
    fs::write(data.join("global/pg_control"), [1; 8192]).unwrap();
    fs::write(data.join("file"), [1; 100_000]).unwrap();
    // The file system exists for this shell alone.
    let script = format!(
        "set -e; mkdir -p {home}/copy; cp -a {home}/main {home}/copy/
         mount -t tmpfs -o size=2m tmpfs {home}/main; cp -a {home}/copy/main/. {home}/main/
         cat /dev/zero > {home}/main/fill 2>/dev/null || true
         {barman} -c {config} delete main 20261108T045818
         ls {home}/main/meta {home}/main/base",
        home = source.path().display(),
        barman = env!("CARGO_BIN_EXE_barman"),
        config = source.config().display(),
    );
    let run = support::finish(
        std::process::Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg(script),
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stdout.contains("Deleted backup 20261108T045818") && run.stdout.contains("20261105T045818"),
        "{}",
        run.stdout
    );
    let left = run
        .stdout
        .lines()
        .filter(|line| line.starts_with("20261108"))
        .count();
    assert_eq!(left, 0, "{}", run.stdout);
}

#[test]
fn get_wal_delivers_no_damaged_segment() {
    let home = home_with_wal();
    let stored = home.path().join("main/wals/0000000100000000").join(WAL);
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    let out_text = out.to_str().unwrap();
    // 5000 bytes `w`, by gzip.
    let short = vec![
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc1, 0x31, 0x01, 0x00, 0x00, 0x00,
        0xc2, 0xa0, 0xd8, 0xab, 0x6f, 0x0a, 0x3f, 0xa0, 0x00, 0x00, 0x00, 0x00, 0x80, 0xb7, 0x01, 0x47, 0xed,
        0xb8, 0x80, 0x88, 0x13, 0x00, 0x00,
    ];
    for (content, why) in [
        (Vec::new(), "it is empty"),
        (short, "it holds 5000 bytes, which is no size of a WAL segment"),
        (
            vec![0; 1 << 20],
            "begins with zeros: it was allocated but never written",
        ),
    ] {
        fs::write(&stored, &content).unwrap();
        for arguments in [
            &["get-wal", "main", WAL][..],
            &["get-wal", "-o", out_text, "main", WAL],
        ] {
            let run = home.run(arguments);
            assert!(
                run.stderr.contains(why) && run.stderr.contains("HINT: "),
                "{arguments:?}: {}",
                run.stderr
            );
            assert_eq!(run.code, Some(1), "{arguments:?}");
        }
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "{why}");
    }
}

#[test]
fn get_wal_fails_when_its_reader_goes_away() {
    let home = home_with_wal();
    let config = home.config();
    let mut child = home
        .command()
        .args(["-c", config.to_str().unwrap(), "get-wal", "main", WAL])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
