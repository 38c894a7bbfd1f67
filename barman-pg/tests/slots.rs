//! Replication slots that are in use, absent or given up by the server, and commits that wait for a receiver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use barman_pg::{
    ConnInfo, ConnectOptions, ReconnectPolicy, ReplicationClient, ReserveWal, WalEvent, sqlstate,
};
use barman_wal::Lsn;
use testkit::{ALL_MAJORS, Cluster};

const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> ConnectOptions {
    ConnectOptions {
        environment: |_| None,
        ..ConnectOptions::default().with_timeouts(Duration::from_secs(20), Duration::from_secs(20))
    }
}

fn connect(cluster: &Cluster) -> ReplicationClient {
    let info: ConnInfo = cluster.streaming_conninfo().parse().unwrap();
    let info = info.streaming().or_application_name("barman_receive_wal");
    ReplicationClient::connect(&info, &options()).unwrap()
}

fn majors(short: &[u16]) -> Vec<u16> {
    if testkit::is_long() {
        ALL_MAJORS.to_vec()
    } else {
        short.to_vec()
    }
}

#[test]
fn a_slot_has_one_consumer_and_is_free_when_that_has_gone() {
    for major in majors(&[10, 14, 18]) {
        let cluster = Cluster::start_new(major).unwrap();
        let mut client = connect(&cluster);
        let system = client.identify_system().unwrap();
        client.create_physical_slot("one", ReserveWal::Now).unwrap();
        let stream = client
            .start_physical(Some("one"), system.xlogpos, system.timeline)
            .unwrap();

        let mut other = connect(&cluster);
        let system = other.identify_system().unwrap();
        let error = other
            .start_physical(Some("one"), system.xlogpos, system.timeline)
            .unwrap_err();
        assert_eq!(
            error.sqlstate(),
            Some(sqlstate::OBJECT_IN_USE),
            "{major}: {error}"
        );
        assert!(
            error
                .to_string()
                .contains("replication slot \"one\" is active for PID"),
            "{major}: {error}"
        );
        // The session goes on, and trying again is worth while.
        assert!(error.is_transient() && !error.is_connection_lost());
        let error = other.drop_slot("one").unwrap_err();
        assert_eq!(
            error.sqlstate(),
            Some(sqlstate::OBJECT_IN_USE),
            "{major}: {error}"
        );
        let error = other
            .start_physical(Some("none"), system.xlogpos, system.timeline)
            .unwrap_err();
        assert_eq!(
            error.sqlstate(),
            Some(sqlstate::UNDEFINED_OBJECT),
            "{major}: {error}"
        );
        assert!(!error.is_transient(), "{major}: {error}");

        // Broken off: the server needs a moment to notice, which the pauses bridge.
        drop(stream);
        drop(client);
        let mut backoff = ReconnectPolicy {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(200),
            give_up_after: Some(PATIENCE),
        }
        .backoff();
        loop {
            let outcome = other
                .start_physical(Some("one"), system.xlogpos, system.timeline)
                .and_then(|stream| stream.stop(PATIENCE));
            match outcome {
                Ok(()) => break,
                Err(error) => {
                    let pause = backoff.failed(&error);
                    std::thread::sleep(pause.unwrap_or_else(|| panic!("{major}: {error}")));
                }
            }
        }
    }
}

/// A receiver that was away for longer than the server keeps WAL for it.
#[test]
fn a_slot_that_the_server_has_given_up_is_said_and_not_tried_again() {
    for major in majors(&[13, 16, 18]).into_iter().filter(|major| *major >= 13) {
        let cluster = Cluster::builder(major)
            .wal_segment_mb(1)
            .conf("max_slot_wal_keep_size", "1MB")
            .conf("wal_keep_size", "0")
            .conf("min_wal_size", "2MB")
            .start()
            .unwrap();
        cluster.sql("CREATE TABLE t (f text)").unwrap();
        let mut client = connect(&cluster);
        let system = client.identify_system().unwrap();
        client.create_physical_slot("late", ReserveWal::Now).unwrap();
        let give_up = || {
            testkit::wait_until("the slot is lost", PATIENCE, || {
                cluster
                    .sql("INSERT INTO t SELECT repeat(md5(g::text), 30) FROM generate_series(1, 1500) g")?;
                cluster.switch_wal()?;
                cluster.sql("CHECKPOINT")?;
                Ok(cluster.sql_value("SELECT wal_status FROM pg_replication_slots")? == "lost")
            })
            .unwrap();
        };

        // While it streams and confirms nothing, the server ends it.
        let mut stream = client
            .start_physical(Some("late"), system.xlogpos, system.timeline)
            .unwrap();
        let error = std::thread::scope(|scope| {
            scope.spawn(give_up);
            let begin = Instant::now();
            loop {
                assert!(begin.elapsed() < PATIENCE, "{major}");
                if let Err(error) = stream.next(Duration::from_secs(1)) {
                    break error;
                }
            }
        });
        assert!(error.is_connection_lost(), "{major}: {error}");
        drop(stream);
        drop(client);

        // Whoever comes back is told for good.
        let mut client = connect(&cluster);
        let system_now = client.identify_system().unwrap();
        client
            .check_position(&system_now, system.xlogpos, system.timeline)
            .unwrap();
        let error = client
            .start_physical(Some("late"), system.xlogpos, system.timeline)
            .and_then(|mut stream| {
                loop {
                    match stream.next(PATIENCE)? {
                        WalEvent::KeepAlive { .. } | WalEvent::Idle => {}
                        other => return Ok(format!("{other:?}")),
                    }
                }
            })
            .unwrap_err();
        assert!(!error.is_transient(), "{major}: {error}");
        assert!(error.hint().is_some(), "{major}: {error:?}");
        let told = error.to_string();
        assert!(
            told.contains("has already been removed") || told.contains("slot \"late\""),
            "{major}: {told}"
        );
        if major >= 15 {
            let slot = connect(&cluster).read_slot("late").unwrap().unwrap();
            assert_eq!(slot.restart_lsn, None, "{major}");
        }
    }
}

/// What `synchronous_commit` makes a commit wait for: `remote_write` for what is written, `on` for what is durable,
/// `remote_apply` for what a receiver of files never does.
#[test]
fn a_commit_waits_for_what_it_was_told_to_wait_for() {
    for major in majors(&[11, 17]) {
        // Set from the start: a commit waits only once the checkpointer knows of it, and nothing tells when that is after a reload.
        let cluster = Cluster::builder(major)
            .conf("synchronous_standby_names", "barman_receive_wal")
            .start()
            .unwrap();
        cluster.wait_checkpointer().unwrap();
        cluster
            .sql("SET synchronous_commit = off; CREATE TABLE s (n int)")
            .unwrap();
        let mut client = connect(&cluster);
        let system = client.identify_system().unwrap();
        let mut stream = client
            .start_physical(None, system.xlogpos, system.timeline)
            .unwrap();
        testkit::wait_until("the receiver is the synchronous standby", PATIENCE, || {
            let _ = stream.next(Duration::from_millis(20))?;
            let now = stream.received();
            stream.send_status(now, now, Lsn(0), true)?;
            Ok(
                cluster.sql_value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")?
                    == "1",
            )
        })
        .unwrap();
        for (wait, needs_write, needs_flush) in [("remote_write", true, false), ("on", false, true)] {
            let committed = AtomicBool::new(false);
            let before = stream.received();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    cluster
                        .sql(&format!(
                            "SET synchronous_commit = {wait}; INSERT INTO s VALUES (1)"
                        ))
                        .unwrap();
                    committed.store(true, Ordering::SeqCst);
                });
                let mut positions = |write: bool, flush: bool, until: &mut dyn FnMut() -> bool| {
                    let begin = Instant::now();
                    while !until() {
                        assert!(
                            begin.elapsed() < PATIENCE,
                            "{major} {wait}: write {write}, flush {flush}"
                        );
                        let _ = stream.next(Duration::from_millis(20)).unwrap();
                        let now = stream.received();
                        let at = |done: bool| if done { now } else { before };
                        stream.send_status(at(write), at(flush), Lsn(0), true).unwrap();
                    }
                };
                let mut looks = 0;
                // Received only, and then written only, if that is not enough.
                for write in [false, true].into_iter().take(if needs_write { 1 } else { 2 }) {
                    looks = 0;
                    positions(write, false, &mut || {
                        let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
                        looks += u32::from(cluster.sql_value(query).unwrap() == "1");
                        looks > 5
                    });
                    assert!(
                        !committed.load(Ordering::SeqCst),
                        "{major} {wait}: committed too early"
                    );
                }
                assert!(looks > 5);
                positions(true, needs_flush, &mut || committed.load(Ordering::SeqCst));
            });
        }
        // Nothing of ours counts as applied: that commit waits until it is told not to.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                cluster
                    .sql("SET synchronous_commit = remote_apply; INSERT INTO s VALUES (1)")
                    .unwrap();
            });
            let mut looks = 0;
            let begin = Instant::now();
            while looks < 5 {
                assert!(begin.elapsed() < PATIENCE);
                let _ = stream.next(Duration::from_millis(20)).unwrap();
                let now = stream.received();
                stream.send_status(now, now, Lsn(0), true).unwrap();
                let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
                looks += u32::from(cluster.sql_value(query).unwrap() == "1");
            }
            cluster.alter_system("synchronous_standby_names", "").unwrap();
        });
        stream.stop(PATIENCE).unwrap();
        assert!(matches!(client.identify_system(), Ok(now) if now.systemid == system.systemid));
    }
}
