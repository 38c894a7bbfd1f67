//! The connections against real servers of every major that is installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use barman_pg::basebackup::{ArchiveKind, CheckpointMode, ExtractTargets, extract};
use barman_pg::sql::{ClientType, WalSwitch};
use barman_pg::{
    BaseBackupOptions, ConnInfo, ConnectOptions, Error, ReplicationClient, ReserveWal, SqlClient, WalEvent,
    sqlstate,
};
use barman_wal::Lsn;
use testkit::{ALL_MAJORS, Cluster, TestDir};

fn options() -> ConnectOptions {
    ConnectOptions {
        environment: |_| None,
        ..ConnectOptions::default().with_timeouts(Duration::from_secs(10), Duration::from_secs(30))
    }
}

fn sql(cluster: &Cluster) -> SqlClient {
    SqlClient::connect(&cluster.conninfo().parse().unwrap(), &options()).unwrap()
}

fn streaming(text: &str) -> Result<ReplicationClient, Error> {
    let info: ConnInfo = text.parse().unwrap();
    ReplicationClient::connect(
        &info.streaming().or_application_name("barman_receive_wal"),
        &options(),
    )
}

fn replication(cluster: &Cluster) -> ReplicationClient {
    streaming(&cluster.streaming_conninfo()).unwrap()
}

fn fast() -> BaseBackupOptions {
    BaseBackupOptions {
        checkpoint: CheckpointMode::Fast,
        ..BaseBackupOptions::default()
    }
}

/// Times come with every microsecond that the server shows. Within a transaction `now()` stands still.
#[test]
fn times_are_the_servers_to_the_microsecond() {
    for major in [10, 18] {
        let cluster = Cluster::start_new(major).unwrap();
        let mut sql = sql(&cluster);
        for _ in 0..5 {
            sql.rows("BEGIN; SET LOCAL TimeZone = 'Asia/Kathmandu'", "beginning")
                .unwrap();
            let shown = sql
                .rows(
                    "SELECT pg_catalog.to_char(pg_catalog.now(), 'YYYY-MM-DD\"T\"HH24:MI:SS.US')",
                    "asking",
                )
                .unwrap();
            let read = sql.current_position().unwrap().timestamp;
            let read = read.strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string();
            assert_eq!(Some(read.as_str()), shown[0].text(0), "{major}");
            sql.rows("ROLLBACK", "ending").unwrap();
        }
    }
}

#[test]
fn a_remote_status_asks_for_the_privileges_once() {
    let cluster = Cluster::builder(15).conf("log_statement", "all").start().unwrap();
    let status = sql(&cluster).fetch_remote_status(None);
    assert_eq!(status.failure, None);
    assert!(status.current_size.flatten().is_some_and(|size| size > 0));
    let log = std::fs::read_to_string(cluster.log_path()).unwrap();
    let asked = log
        .lines()
        .filter(|line| line.contains("statement: SELECT COALESCE((SELECT usesuper"));
    assert_eq!(asked.count(), 1, "{log}");
}

#[test]
fn every_major_answers_the_same_questions() {
    for major in ALL_MAJORS {
        let cluster = Cluster::start_new(major).unwrap();
        let mut sql = sql(&cluster);
        assert_eq!(sql.version().major(), u32::from(major));
        assert!(!sql.is_in_recovery().unwrap());
        assert_eq!(
            cluster
                .sql_value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'barman'")
                .unwrap(),
            "1"
        );

        let status = sql.fetch_remote_status(Some("absent"));
        assert_eq!(status.failure, None, "{major}");
        assert_eq!(status.has_backup_privileges, Some(true));
        assert_eq!(status.xlog_segment_size, Some(16 << 20));
        assert_eq!(status.data_directory.as_deref(), cluster.data_dir().to_str());
        assert_eq!(status.wal_keep_size.is_some(), major >= 13);
        assert!(status.current_size.flatten().unwrap() > 1_000_000);
        assert_eq!(status.replication_slot, None);

        let stats = sql.archiver_stats().unwrap();
        assert_eq!(
            (stats.archived_count, stats.is_archiving),
            (0, Some(false)),
            "{major}"
        );
        assert!(stats.stats_reset.is_some());
        assert_eq!(sql.tablespaces().unwrap(), []);
        assert!(sql.privileges().unwrap().checkpoint);
        sql.checkpoint().unwrap();
        assert!(sql.create_restore_point("here").unwrap().is_some());

        // A segment with something in it is closed, an empty one is not. On the border the finished segment is named,
        // whatever the version. An idle server still writes something now and then: once in the middle, not each time.
        let quiet = (0..5).any(|_| {
            cluster.sql("SELECT txid_current()").unwrap();
            let before = sql.current_position().unwrap();
            let WalSwitch::Closed(closed) = sql.switch_wal().unwrap() else {
                panic!("{major}: not switched")
            };
            assert_eq!(Some(closed), before.file_name, "{major}");
            let again = sql.switch_wal().unwrap();
            let after = sql.current_position().unwrap();
            again == WalSwitch::NotNeeded && (after.file_name, after.file_offset) == (Some(closed), Some(0))
        });
        assert!(quiet, "{major}");

        let mut replication = replication(&cluster);
        let system = replication.identify_system().unwrap();
        assert_eq!(system.systemid, sql.systemid().unwrap());
        assert_eq!(replication.wal_segment_size().unwrap(), 16 << 20);
        assert_eq!(Some(system.timeline), sql.current_timeline().unwrap());

        replication
            .create_physical_slot("a_slot", ReserveWal::Later)
            .unwrap();
        let again = replication
            .create_physical_slot("a_slot", ReserveWal::Later)
            .unwrap_err();
        assert_eq!(again.sqlstate(), Some(sqlstate::DUPLICATE_OBJECT));
        let slot = sql.replication_slot("a_slot").unwrap().unwrap();
        assert_eq!((slot.active, slot.restart_lsn), (false, None));
        if major >= 15 {
            assert_eq!(
                replication.read_slot("a_slot").unwrap().unwrap().restart_lsn,
                None
            );
            assert_eq!(replication.read_slot("no_slot").unwrap(), None);
        }
        replication.drop_slot("a_slot").unwrap();
        assert_eq!(
            replication.drop_slot("a_slot").unwrap_err().sqlstate(),
            Some(sqlstate::UNDEFINED_OBJECT)
        );
        let stats = sql.replication_stats(ClientType::Any).unwrap();
        let names: Vec<_> = stats.iter().map(|stat| stat.get("application_name")).collect();
        assert_eq!(
            names,
            [Some("barman_receive_wal")],
            "the replication session itself"
        );

        let start = sql.start_concurrent_backup("it's a label", true).unwrap();
        let stop = sql.stop_concurrent_backup().unwrap();
        assert!(stop.backup_label.contains("LABEL: it's a label"));
        assert!(stop.location > start.location);
    }
}

fn stat(path: &Path) -> (u32, u64) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let metadata = std::fs::symlink_metadata(path).unwrap();
    (metadata.permissions().mode() & 0o7777, metadata.size())
}

#[test]
fn every_major_gives_a_backup_that_starts() {
    for major in ALL_MAJORS {
        let cluster = Cluster::start_new(major).unwrap();
        cluster.sql("CREATE TABLE t AS SELECT g AS n, repeat('x', 100) AS filler FROM generate_series(1, 50000) g").unwrap();
        let location = cluster.create_tablespace("aside").unwrap();
        cluster.sql("CREATE TABLE u (n int) TABLESPACE aside").unwrap();
        cluster
            .sql("INSERT INTO u SELECT generate_series(1, 100)")
            .unwrap();

        let dir = TestDir::new().unwrap();
        let mut client = replication(&cluster);
        let backup = client.base_backup(&fast()).unwrap();
        let [tablespace] = backup.tablespaces() else {
            panic!("{:?}", backup.tablespaces())
        };
        assert_eq!(tablespace.location, location);
        let oid = tablespace.oid;
        let targets = ExtractTargets {
            data: dir.server_dir("data").unwrap(),
            tablespaces: BTreeMap::from([(oid, dir.server_dir("ts").unwrap())]),
            ..ExtractTargets::default()
        };
        let start = backup.start();
        let report = extract(backup, &targets, &|_| {}).unwrap();
        assert_eq!(report.verified, major >= 13, "{major}");
        assert!(report.end.lsn > start.lsn && report.files > 500);
        // The session goes on.
        client.identify_system().unwrap();

        assert_eq!(
            std::fs::read_link(targets.data.join(format!("pg_tblspc/{oid}"))).unwrap(),
            targets.tablespaces[&oid]
        );
        assert!(targets.data.join("backup_label").exists());
        assert!(!targets.data.join("tablespace_map").exists());
        assert!(targets.data.join("backup_manifest").exists());
        assert_eq!(report.own_manifest.is_some(), major < 13);
        assert_eq!(stat(&targets.data.join("PG_VERSION")).0, 0o600);
        assert_eq!(stat(&targets.data.join("base")).0, 0o700);
        assert_eq!(
            std::fs::read_dir(targets.data.join("pg_wal")).unwrap().count(),
            usize::from(targets.data.join("pg_wal/archive_status").exists())
                + usize::from(targets.data.join("pg_wal/summaries").exists())
        );

        // The WAL that the backup needs, as a restore would bring it.
        for entry in std::fs::read_dir(cluster.data_dir().join("pg_wal")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), targets.data.join("pg_wal").join(entry.file_name())).unwrap();
            }
        }
        let restored = Cluster::builder(major).open(&targets.data).unwrap();
        assert_eq!(restored.sql_value("SELECT count(*) FROM t").unwrap(), "50000");
        assert_eq!(restored.sql_value("SELECT count(*) FROM u").unwrap(), "100");
    }
}

#[test]
fn archives_can_be_read_as_they_are() {
    for major in [14, 15] {
        let cluster = Cluster::start_new(major).unwrap();
        let mut client = replication(&cluster);
        let mut archives = client.base_backup(&fast()).unwrap().archives();
        let mut main = Vec::new();
        {
            let mut archive = archives.next_archive().unwrap().unwrap();
            assert_eq!(*archive.kind(), ArchiveKind::Main);
            archive.read_to_end(&mut main).unwrap();
        }
        let mut manifest = String::new();
        {
            let mut archive = archives.next_archive().unwrap().unwrap();
            assert_eq!(*archive.kind(), ArchiveKind::Manifest);
            archive.read_to_string(&mut manifest).unwrap();
        }
        assert!(archives.next_archive().unwrap().is_none());
        archives.finish().unwrap();
        assert!(main.starts_with(b"backup_label\0"));
        assert!(manifest.ends_with("\"}\n"), "{major}");
        client.identify_system().unwrap();
    }
}

#[test]
fn the_stream_has_the_same_bytes_as_the_servers_file() {
    for major in [10, 15, 18] {
        let cluster = Cluster::start_new(major).unwrap();
        let mut client = replication(&cluster);
        let system = client.identify_system().unwrap();
        let start = Lsn(system.xlogpos.0 / (16 << 20) * (16 << 20));
        client.create_physical_slot("s", ReserveWal::Now).unwrap();
        let mut stream = client.start_physical(Some("s"), start, system.timeline).unwrap();
        cluster
            .sql("CREATE TABLE t AS SELECT generate_series(1, 20000)")
            .unwrap();
        let closed = cluster.switch_wal().unwrap();
        let mut wal = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        while wal.len() < 16 << 20 {
            assert!(Instant::now() < deadline, "{} bytes", wal.len());
            match stream.next(Duration::from_secs(1)).unwrap() {
                WalEvent::Data { start: at, bytes, .. } => {
                    assert_eq!(at.0, start.0 + wal.len() as u64);
                    wal.extend_from_slice(bytes);
                }
                WalEvent::KeepAlive { reply_requested, .. } => {
                    if reply_requested {
                        stream.send_status(start, start, Lsn(0), false).unwrap();
                    }
                }
                WalEvent::Idle => {}
                other @ WalEvent::EndOfTimeline { .. } => panic!("{other:?}"),
            }
        }
        let file = std::fs::read(cluster.data_dir().join("pg_wal").join(closed)).unwrap();
        assert!(wal[..16 << 20] == file[..], "{major}");
        // What is reported as flushed is what the slot and the view show.
        let flushed = Lsn(start.0 + (16 << 20));
        stream.send_status(flushed, flushed, Lsn(0), false).unwrap();
        testkit::wait_until("the server knows", Duration::from_secs(60), || {
            Ok(cluster.sql_value("SELECT flush_lsn FROM pg_stat_replication")? == flushed.to_string())
        })
        .unwrap();
        stream.stop(Duration::from_secs(60)).unwrap();
        // The session goes on after an orderly end.
        client.identify_system().unwrap();
        client.drop_slot("s").unwrap();
    }
}

#[test]
fn a_timeline_is_followed_to_its_end() {
    let primary = Cluster::start_new(15).unwrap();
    let standby = Cluster::builder(15).standby_of(&primary).unwrap();
    let mut client = replication(&standby);
    let system = client.identify_system().unwrap();
    let start = Lsn(system.xlogpos.0 / (16 << 20) * (16 << 20));
    let mut stream = client.start_physical(None, start, system.timeline).unwrap();
    standby.promote().unwrap();
    standby.wait_primary(Duration::from_secs(60)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let (next, switch) = loop {
        assert!(Instant::now() < deadline);
        if let WalEvent::EndOfTimeline {
            next_timeline,
            switch_point,
        } = stream.next(Duration::from_secs(1)).unwrap()
        {
            break (next_timeline, switch_point);
        }
    };
    assert_eq!(next.get(), 2);
    assert_eq!(stream.received(), switch);
    stream.stop(Duration::from_secs(60)).unwrap();
    let (name, content) = client.timeline_history(next).unwrap();
    assert_eq!(name, "00000002.history");
    assert!(String::from_utf8(content).unwrap().contains(&switch.to_string()));
    // A stream that begins exactly at the end of the old timeline ends at once.
    let mut stream = client.start_physical(None, switch, system.timeline).unwrap();
    assert!(matches!(
        stream.next(Duration::from_secs(60)).unwrap(),
        WalEvent::EndOfTimeline { .. }
    ));
    stream.stop(Duration::from_secs(60)).unwrap();
    let mut stream = client.start_physical(None, switch, next).unwrap();
    while !matches!(
        stream.next(Duration::from_secs(60)).unwrap(),
        WalEvent::Data { .. }
    ) {}
}

#[test]
fn passwords_and_refusals() {
    let cluster = Cluster::start_new(15).unwrap();
    // SCRAM over TCP, both kinds.
    SqlClient::connect(&cluster.tcp_conninfo().parse().unwrap(), &options()).unwrap();
    streaming(&cluster.tcp_streaming_conninfo())
        .unwrap()
        .identify_system()
        .unwrap();
    // MD5 too.
    cluster
        .sql("SET password_encryption = 'md5'; CREATE ROLE old LOGIN REPLICATION PASSWORD 'pw'")
        .unwrap();
    let hba = cluster.data_dir().join("pg_hba.conf");
    let lines = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(
        &hba,
        format!("host all,replication old 127.0.0.1/32 md5\n{lines}"),
    )
    .unwrap();
    cluster.sql("SELECT pg_reload_conf()").unwrap();
    let old = format!(
        "host=127.0.0.1 port={} user=old dbname=postgres password=pw",
        cluster.port()
    );
    testkit::wait_until("the new rules", Duration::from_secs(60), || {
        Ok(streaming(&old).is_ok())
    })
    .unwrap();
    SqlClient::connect(&old.parse().unwrap(), &options()).unwrap();

    let with = |keyword: &str, value: &str| -> ConnInfo {
        cluster
            .tcp_conninfo()
            .parse::<ConnInfo>()
            .unwrap()
            .with(keyword, value)
            .unwrap()
    };
    let cases: [(ConnInfo, Option<&str>, &str); 5] = [
        (
            with("password", "wrong"),
            Some(sqlstate::INVALID_PASSWORD),
            "password authentication failed for user \"barman\"",
        ),
        (
            with("dbname", "nowhere"),
            Some(sqlstate::UNKNOWN_DATABASE),
            "database \"nowhere\" does not exist",
        ),
        (
            with("user", "nobody"),
            Some(sqlstate::INVALID_PASSWORD),
            "password authentication failed for user \"nobody\"",
        ),
        (with("password", ""), None, "fe_sendauth: no password supplied"),
        (with("port", "1"), None, "Connection refused"),
    ];
    for (info, code, text) in cases {
        let sql = SqlClient::connect(&info, &options()).unwrap_err();
        let stream =
            ReplicationClient::connect(&info.clone().with("replication", "database").unwrap(), &options())
                .unwrap_err();
        for error in [sql, stream] {
            assert_eq!(error.sqlstate(), code, "{error}");
            let shown = error.to_string();
            assert!(
                shown.starts_with("connection to server at \"127.0.0.1\", port ") && shown.contains(text),
                "{shown}"
            );
        }
    }
    // A streaming role without the attribute.
    cluster.sql("CREATE ROLE plain LOGIN").unwrap();
    let plain = format!(
        "host={} port={} user=plain",
        cluster.socket_dir().display(),
        cluster.port()
    );
    let error = streaming(&plain).unwrap_err();
    assert!(error.to_string().contains("FATAL:  "), "{error}");
    // Without privileges nothing is switched.
    let mut sql =
        SqlClient::connect(&format!("{plain} dbname=postgres").parse().unwrap(), &options()).unwrap();
    assert!(matches!(sql.switch_wal(), Err(Error::BackupPrivileges { user }) if user == "plain"));
    assert!(matches!(
        sql.checkpoint(),
        Err(Error::CheckpointPrivileges { .. })
    ));
    assert_eq!(sql.current_size().unwrap(), None);
    // The session survives an error and the password file is used.
    assert!(sql.setting("no_such_setting").is_err());
    assert!(sql.setting("port").unwrap().is_some());
    // Hosts are tried in order.
    let list = format!(
        "host=127.0.0.1,{} port=1,{} user=barman dbname=postgres target_session_attrs=read-write",
        cluster.socket_dir().display(),
        cluster.port()
    );
    SqlClient::connect(&list.parse().unwrap(), &options()).unwrap();
    let read_only = list.replace("read-write", "read-only");
    assert!(
        SqlClient::connect(&read_only.parse().unwrap(), &options())
            .unwrap_err()
            .hint()
            .unwrap()
            .contains("not read-only")
    );
}

#[test]
fn a_statement_that_hangs_ends_with_the_deadline_or_the_flag() {
    let cluster = Cluster::start_new(15).unwrap();
    let info: ConnInfo = cluster.conninfo().parse().unwrap();
    let short = ConnectOptions {
        io_timeout: Duration::from_secs(3),
        ..options()
    };
    let mut sql = SqlClient::connect(&info, &short).unwrap();
    assert!(matches!(
        sql.rows("SELECT pg_sleep(3600)", "sleeping"),
        Err(Error::Timeout { .. })
    ));
    assert!(sql.is_lost() && matches!(sql.heartbeat(), Err(Error::Closed { .. })));

    let flag = Arc::new(AtomicBool::new(false));
    let mut sql = SqlClient::connect(&info, &options().with_interrupt(Arc::clone(&flag))).unwrap();
    // The end of the first may still be under way.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cluster.wait_running("SELECT pg_sleep(7200)").unwrap();
            flag.store(true, Ordering::Relaxed);
        });
        // Neither a time-out nor the server ends it.
        let error = sql.rows("SELECT pg_sleep(7200)", "sleeping").unwrap_err();
        assert!(error.is_interrupted(), "{error}");
    });
}

#[test]
fn a_backup_that_waits_for_archiving_can_be_interrupted_and_tells_that_it_waits() {
    for major in [14, 18] {
        let cluster = Cluster::builder(major)
            .conf("archive_mode", "on")
            .conf("archive_command", "false")
            .start()
            .unwrap();
        let flag = Arc::new(AtomicBool::new(false));
        let info: ConnInfo = cluster.streaming_conninfo().parse().unwrap();
        let options = ConnectOptions {
            io_timeout: Duration::from_secs(60),
            ..options()
        }
        .with_interrupt(Arc::clone(&flag));
        let mut client = ReplicationClient::connect(&info.streaming(), &options).unwrap();
        let mut backup = client.base_backup(&fast()).unwrap();
        backup.on_notice(move |notice| {
            assert!(
                notice
                    .message
                    .contains("waiting for required WAL segments to be archived"),
                "{notice}"
            );
            flag.store(true, Ordering::Relaxed);
        });
        let dir = TestDir::new().unwrap();
        let targets = ExtractTargets {
            data: dir.server_dir("data").unwrap(),
            ..ExtractTargets::default()
        };
        assert!(
            extract(backup, &targets, &|_| {}).unwrap_err().is_interrupted(),
            "{major}"
        );
    }
}
