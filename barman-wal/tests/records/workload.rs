//! Work that makes a server write records of as many kinds as can be.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use barman_wal::record::WalTime;
use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};
use testkit::{Cluster, Needs, PgTree, Stop};

use crate::decoded::{Seen, Segments};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server that keeps all its WAL, in small segments where it can, its images compressed where it can; of a tree
/// that has `pg_waldump` if one has.
pub fn cluster(major: u16) -> Cluster {
    let tools = Needs {
        client_tools: true,
        ..Needs::default()
    };
    let tree = PgTree::with(major, Needs::ALL)
        .or_else(|_| PgTree::with(major, tools))
        .or_else(|_| PgTree::of_major(major))
        .unwrap();
    let everything = PgTree::with(major, Needs::ALL).is_ok_and(|complete| complete == tree);
    let (keep, much) = if major < 13 {
        ("wal_keep_segments", "500")
    } else {
        ("wal_keep_size", "500MB")
    };
    let compression = match major {
        15 if everything => "lz4",
        16.. if everything => "zstd",
        _ => "pglz",
    };
    let mut builder = Cluster::builder(major)
        .tree(tree)
        .conf(keep, much)
        .conf("wal_level", "logical")
        .conf("max_prepared_transactions", "5")
        .conf("track_commit_timestamp", "on")
        .conf("autovacuum", "off")
        .conf("checkpoint_timeout", "1h");
    builder = builder.conf("wal_compression", if major < 15 { "on" } else { compression });
    if major >= 11 {
        builder = builder.wal_segment_mb(1);
    }
    builder.start().unwrap()
}

/// What the server said while it worked.
pub struct Facts {
    commit: u32,
    /// Microseconds since 1970.
    commit_time: i64,
    backup_start: Lsn,
    restore_point: Lsn,
}

/// The load.
pub fn run(cluster: &Cluster) -> Facts {
    let major = cluster.major();
    let sql = |text: &str| {
        cluster
            .sql(text)
            .unwrap_or_else(|error| panic!("{major}: {text}: {error:#}"))
    };
    let mut backup = cluster.client().unwrap();
    let (begin, end) = if major < 15 {
        (
            "SELECT pg_start_backup('test', true, false)::text",
            "SELECT pg_stop_backup(false)",
        )
    } else {
        (
            "SELECT pg_backup_start('test', true)::text",
            "SELECT pg_backup_stop(false)",
        )
    };
    let backup_start: String = backup.query_one(begin, &[]).unwrap().get(0);

    for text in [
        "CREATE TABLE rows (id int PRIMARY KEY, filler text, point point, list int[])",
        "CREATE INDEX by_hash ON rows USING hash (id)",
        "CREATE INDEX by_gin ON rows USING gin (list)",
        "CREATE INDEX by_gist ON rows USING gist (point)",
        "CREATE INDEX by_spgist ON rows USING spgist (point)",
        "CREATE INDEX by_brin ON rows USING brin (id)",
        "INSERT INTO rows SELECT g, md5(g::text), point(g % 71, g % 97), ARRAY[g, g % 10] FROM generate_series(1, 4000) g",
        "CREATE TABLE copied AS SELECT id, repeat(filler, 8) AS filler FROM rows",
        "CREATE SEQUENCE numbers",
        "SELECT nextval('numbers') FROM generate_series(1, 100)",
        "CHECKPOINT",
        // Images of many pages, incompressible and empty ones.
        "UPDATE copied SET filler = upper(filler) WHERE id % 3 = 0",
        "UPDATE rows SET filler = 'x' WHERE id % 50 = 0",
        "DELETE FROM rows WHERE id % 4 = 0",
        "VACUUM FREEZE rows",
        "INSERT INTO rows SELECT g, '', point(g, -g), ARRAY[g] FROM generate_series(5000, 5500) g",
        "CREATE DATABASE another",
        "DROP DATABASE another",
        "TRUNCATE copied",
        "DROP TABLE copied",
        "BEGIN; INSERT INTO rows VALUES (10001, 'two phases'); SAVEPOINT one; INSERT INTO rows VALUES (10002); PREPARE TRANSACTION 'the first'",
        "COMMIT PREPARED 'the first'",
        "BEGIN; INSERT INTO rows VALUES (10003); PREPARE TRANSACTION 'the second'",
        "ROLLBACK PREPARED 'the second'",
        "BEGIN; INSERT INTO rows VALUES (10004); ROLLBACK",
        "DO 'BEGIN FOR i IN 1..150 LOOP BEGIN INSERT INTO rows VALUES (20000 + i); EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END'",
        "SELECT pg_logical_emit_message(false, 'prefix', repeat('long', 100000))",
        "SELECT pg_logical_emit_message(true, 'prefix', 'short')",
        "SELECT pg_switch_wal()",
        "SET wal_consistency_checking = 'heap'; INSERT INTO rows VALUES (30000)",
        "SELECT pg_replication_origin_create('elsewhere')",
        "SELECT pg_replication_origin_session_setup('elsewhere'); BEGIN; SELECT pg_replication_origin_xact_setup('0/1234', '2020-02-29 12:00:00+00'); INSERT INTO rows VALUES (30001); COMMIT",
    ] {
        sql(text);
    }
    cluster.create_tablespace("elsewhere").unwrap();
    backup.query(end, &[]).unwrap();

    // Several that lock one row.
    let mut sessions: Vec<_> = (0..2).map(|_| cluster.client().unwrap()).collect();
    for session in &mut sessions {
        session
            .batch_execute("BEGIN; SELECT id FROM rows WHERE id = 1 FOR SHARE")
            .unwrap();
    }
    drop(sessions);

    let mut session = cluster.client().unwrap();
    let mut transaction = session.transaction().unwrap();
    let xid: i64 = transaction
        .query_one("SELECT txid_current()", &[])
        .unwrap()
        .get(0);
    transaction
        .batch_execute("INSERT INTO rows VALUES (40000)")
        .unwrap();
    transaction.commit().unwrap();
    let commit_time = cluster
        .sql_value(&format!(
            "SELECT round(extract(epoch from pg_xact_commit_timestamp('{xid}'::xid)) * 1000000)::bigint"
        ))
        .unwrap();
    sql("CHECKPOINT");
    let restore_point = cluster
        .sql_value("SELECT pg_create_restore_point('before the crash')::text")
        .unwrap();
    Facts {
        commit: u32::try_from(xid).unwrap(),
        commit_time: commit_time.parse().unwrap(),
        backup_start: backup_start.parse().unwrap(),
        restore_point: restore_point.parse().unwrap(),
    }
}

/// Kills the server, with something not yet committed, and lets it recover.
pub fn crash(cluster: &Cluster) {
    let mut open = cluster.client().unwrap();
    open.batch_execute("BEGIN; INSERT INTO rows SELECT g FROM generate_series(50000, 50100) g")
        .unwrap();
    cluster
        .sql("INSERT INTO rows SELECT g FROM generate_series(60000, 60100) g")
        .unwrap();
    cluster.stop(Stop::Immediate).unwrap();
    cluster.start().unwrap();
    cluster.sql("INSERT INTO rows VALUES (70000)").unwrap();
}

impl Facts {
    /// Whether the records tell what the server told.
    pub fn check(&self, records: &[Seen], major: u16) {
        let commit = records
            .iter()
            .find(|record| record.kind == "COMMIT" && record.xid == self.commit);
        let commit = commit.unwrap_or_else(|| panic!("{major}: no commit of {}", self.commit));
        let time = WalTime::from_unix_micros(self.commit_time).unwrap();
        assert_eq!(commit.description[0], time.to_string(), "{major}");
        let point = records
            .iter()
            .find(|record| record.kind == "RESTORE_POINT")
            .unwrap_or_else(|| panic!("{major}: no restore point"));
        // The function gives the end of the record.
        assert_eq!(point.end, self.restore_point, "{major}");
        assert_eq!(point.description, ["before the crash"]);
        let backup = format!("BackupEnd {{ start: {:?} }}", self.backup_start);
        assert!(
            records.iter().any(|record| record.payload == backup),
            "{major}: {backup}"
        );
        let gids = ["the first", "the second"];
        for gid in gids {
            let found = records
                .iter()
                .find(|record| record.kind == "PREPARE" && record.description.contains(&gid.to_owned()));
            assert!(found.is_some(), "{major}: {gid}");
        }
        let ends: Vec<&Seen> = records
            .iter()
            .filter(|record| record.kind.ends_with("_PREPARED"))
            .collect();
        assert_eq!(ends.len(), 2, "{major}: {ends:?}");
        for end in ends {
            assert!(end.payload.contains("prepared_xid: Some("), "{major}: {end:?}");
            assert!(
                major < 11
                    || gids
                        .iter()
                        .any(|gid| end.payload.contains(&format!("{:?}", gid.as_bytes()))),
                "{major}: {end:?}"
            );
        }
        let origin = "origin: Some(Origin { lsn: Lsn(4660), time: WalTime(636292800000000) })";
        assert!(
            records.iter().any(|record| record.payload.contains(origin)),
            "{major}"
        );

        let found: BTreeSet<(&str, &str)> = records
            .iter()
            .map(|record| (record.manager.as_str(), record.kind.as_str()))
            .collect();
        let mut expected = vec![
            ("XLOG", "CHECKPOINT_SHUTDOWN"),
            ("XLOG", "CHECKPOINT_ONLINE"),
            ("XLOG", "NEXTOID"),
            ("XLOG", "SWITCH"),
            ("XLOG", "BACKUP_END"),
            ("XLOG", "PARAMETER_CHANGE"),
            ("XLOG", "FPI"),
            ("Transaction", "ABORT"),
            ("Transaction", "ASSIGNMENT"),
            ("Storage", "CREATE"),
            ("Storage", "TRUNCATE"),
            ("Database", "DROP"),
            ("Tablespace", "CREATE"),
            ("MultiXact", "CREATE_ID"),
            ("Standby", "RUNNING_XACTS"),
            ("Standby", "LOCK"),
            ("Heap", "INSERT+INIT"),
            ("Heap", "DELETE"),
            ("Heap2", "VISIBLE"),
            ("Heap2", "NEW_CID"),
            ("Btree", "INSERT_LEAF"),
            ("Hash", "INSERT"),
            ("Gin", "UPDATE_META_PAGE"),
            ("Gist", "PAGE_SPLIT"),
            ("SPGist", "ADD_LEAF"),
            ("BRIN", "CREATE_INDEX"),
            ("Sequence", "LOG"),
            ("LogicalMessage", "MESSAGE"),
            ("ReplicationOrigin", "SET"),
        ];
        expected.retain(|name| *name != ("ReplicationOrigin", "SET") && *name != ("Storage", "TRUNCATE"));
        match major {
            17.. => expected.extend([
                ("XLOG", "CHECKPOINT_REDO"),
                ("Heap2", "PRUNE_VACUUM_SCAN"),
                ("Database", "CREATE_WAL_LOG"),
            ]),
            15 | 16 => expected.extend([("Heap2", "PRUNE"), ("Database", "CREATE_WAL_LOG")]),
            14 => expected.extend([("Heap2", "PRUNE"), ("Database", "CREATE")]),
            _ => expected.extend([("Heap2", "CLEAN"), ("Database", "CREATE")]),
        }
        let missing: Vec<_> = expected.iter().filter(|name| !found.contains(*name)).collect();
        assert!(missing.is_empty(), "{major}: {missing:?}; there are {found:?}");
    }

    /// A promoted standby's WAL begins timeline 2.
    pub fn check_promotion(records: &[Seen]) {
        let changes: Vec<&Seen> = records
            .iter()
            .filter(|record| record.timeline_change.is_some())
            .collect();
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].timeline_change, Some((1, 2)));
        assert_eq!(changes[0].kind, "END_OF_RECOVERY");
    }
}

/// Makes a crash cut a long record, so that recovery overwrites it; the server is stopped in the end. The record
/// crosses a segment border when the segment has not more than `before_border` bytes left. Gives where it began.
pub fn tear(cluster: &Cluster, length: usize) -> Lsn {
    cluster.sql("CREATE TABLE before_it (id int)").unwrap();
    cluster.sql("SELECT pg_switch_wal()").unwrap();
    cluster.sql("CHECKPOINT").unwrap();
    let text = format!("SELECT pg_logical_emit_message(true, 'torn', repeat('x', {length}))");
    cluster.sql(&text).unwrap();
    let reached: Lsn = cluster.current_lsn().unwrap().parse().unwrap();
    cluster.stop(Stop::Immediate).unwrap();

    let directory = cluster.data_dir().join("pg_wal");
    let size = SegmentSize::new(1 << 20).unwrap();
    let name = SegmentName::from_lsn(TimelineId::FIRST, reached, size);
    let path = directory.join(name.to_string());
    let mut bytes = fs::read(&path).unwrap();
    let mut decoder = barman_wal::record::Decoder::new();
    let mut torn = None;
    let mut feed = decoder.feed(&bytes);
    while let Ok(Some(record)) = feed.next() {
        if record.resource_manager().name() == "LogicalMessage" {
            torn = Some(record.lsn());
        }
    }
    let torn = torn.expect("the message is in the last segment");
    // What was never written: all from some page within the record on.
    let from = usize::try_from(torn.offset(size)).unwrap() / 8192 * 8192 + 2 * 8192;
    bytes[from..].fill(0);
    fs::write(&path, &bytes).unwrap();
    cluster.start().unwrap();
    cluster.sql("CREATE TABLE after_it (id int)").unwrap();
    cluster.stop(Stop::Fast).unwrap();
    let segments = Segments::of(cluster, 1);
    assert!(segments.last > torn);
    torn
}

/// Kills a server while it writes a record of many segments, until recovery has one to overwrite; the server is
/// stopped in the end. Gives where the record began.
pub fn tear_by_kill(cluster: &Cluster) -> Lsn {
    const LENGTH: usize = 150_000_000;
    let directory = cluster.data_dir().join("pg_wal");
    let segments = || fs::read_dir(&directory).unwrap().count();
    let size = if cluster.major() >= 11 { 1 << 20 } else { 16 << 20 };
    for _ in 0..5 {
        cluster.sql("SELECT pg_switch_wal()").unwrap();
        let (count, before) = (segments(), cluster.current_lsn().unwrap());
        let mut session = cluster.client().unwrap();
        let writer = std::thread::spawn(move || {
            let text = format!("SELECT pg_logical_emit_message(false, 'torn', repeat('x', {LENGTH}))");
            // The server goes away meanwhile.
            let _ = session.batch_execute(&text);
        });
        // A fifth of it, in segments of whatever size. The rest takes a fraction of a second: no pause is too short.
        let part = LENGTH / 5 / size;
        let begin = std::time::Instant::now();
        while segments() <= count + part && !writer.is_finished() {
            assert!(begin.elapsed() < PATIENCE, "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        cluster.stop(Stop::Kill).unwrap();
        writer.join().unwrap();
        cluster.start().unwrap();
        cluster
            .sql("CREATE TABLE IF NOT EXISTS after_it (id int)")
            .unwrap();
        cluster.stop(Stop::Fast).unwrap();
        let found = Segments::of(cluster, 1);
        let records = found.decode_all();
        let overwritten = records
            .iter()
            .find(|record| record.kind == "OVERWRITE_CONTRECORD" && record.lsn > before.parse().unwrap());
        if let Some(record) = overwritten {
            let text = record.payload.split_once("lsn: Lsn(").unwrap().1;
            return Lsn(text.split_once(')').unwrap().0.parse().unwrap());
        }
        // It was killed before or after.
        cluster.start().unwrap();
    }
    panic!("the server was never killed at the right moment");
}
