//! WAL streams of real servers: whole, in every situation, or a clear error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use barman_pg::{
    ConnInfo, ConnectOptions, Error, ReconnectPolicy, ReplicationClient, ReserveWal, WalEvent, WalStream,
};
use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};
use testkit::{ALL_MAJORS, Cluster, Stop};

const SEGMENT: u64 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> ConnectOptions {
    ConnectOptions {
        environment: |_| None,
        ..ConnectOptions::default().with_timeouts(Duration::from_secs(10), Duration::from_secs(20))
    }
}

/// A role that may replicate and nothing else.
fn info(cluster: &Cluster) -> ConnInfo {
    let info: ConnInfo = cluster.streaming_conninfo().parse().unwrap();
    info.streaming().or_application_name("barman_receive_wal")
}

fn connect(cluster: &Cluster) -> ReplicationClient {
    ReplicationClient::connect(&info(cluster), &options()).unwrap()
}

fn fill(cluster: &Cluster) {
    cluster
        .sql("CREATE TABLE IF NOT EXISTS t (n int, filler text); INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g")
        .unwrap();
}

/// Receives into `wal`, which begins at `start`, until it reaches `upto`; everything counts as flushed at once.
fn receive(stream: &mut WalStream<'_>, wal: &mut Vec<u8>, start: Lsn, upto: Lsn) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    while start.0 + (wal.len() as u64) < upto.0 {
        assert!(Instant::now() < deadline, "{} of {}", wal.len(), upto.0 - start.0);
        let received = match stream.next(Duration::from_secs(1))? {
            WalEvent::Data { start: at, bytes, .. } => {
                assert_eq!(at.0, start.0 + wal.len() as u64);
                wal.extend_from_slice(bytes);
                Lsn(start.0 + wal.len() as u64)
            }
            WalEvent::EndOfTimeline { .. } => panic!("the timeline ended"),
            WalEvent::KeepAlive { .. } | WalEvent::Idle => continue,
        };
        stream.report(received, received, Lsn(0))?;
    }
    Ok(())
}

fn segment_start(lsn: Lsn) -> Lsn {
    Lsn(lsn.0 / SEGMENT * SEGMENT)
}

/// Whether `wal` is what the server has in its files, for every segment that is complete in it.
fn assert_same_as_files(wal: &[u8], start: Lsn, timeline: TimelineId, data: &Path) {
    let mut at = start;
    for segment in wal.chunks_exact(SEGMENT as usize) {
        let name = SegmentName::from_lsn(timeline, at, SegmentSize::DEFAULT);
        let file = std::fs::read(data.join("pg_wal").join(name.to_string())).unwrap();
        assert!(file == segment, "{name}");
        at = Lsn(at.0 + SEGMENT);
    }
}

fn upto(cluster: &Cluster) -> Lsn {
    cluster.switch_wal().unwrap();
    segment_start(cluster.current_lsn().unwrap().parse().unwrap())
}

#[test]
fn every_major_streams_what_is_in_its_files() {
    for major in ALL_MAJORS {
        let cluster = Cluster::start_new(major).unwrap();
        let mut client = connect(&cluster);
        let system = client.identify_system().unwrap();
        let start = segment_start(system.xlogpos);
        client.check_position(&system, start, system.timeline).unwrap();
        client.create_temporary_slot("passing").unwrap();
        let mut stream = client
            .start_physical(Some("passing"), start, system.timeline)
            .unwrap();
        stream.set_status_interval(Duration::from_secs(1));
        let mut wal = Vec::new();
        for _ in 0..2 {
            fill(&cluster);
            let end = upto(&cluster);
            receive(&mut stream, &mut wal, start, end).unwrap();
        }
        assert!(wal.len() as u64 >= 2 * SEGMENT, "{major}");
        assert_same_as_files(&wal, start, system.timeline, cluster.data_dir());
        let flushed = stream.received();
        testkit::wait_until("the server knows what is flushed", PATIENCE, || {
            Ok(cluster.sql_value("SELECT flush_lsn FROM pg_stat_replication")? == flushed.to_string())
        })
        .unwrap();
        stream.stop(PATIENCE).unwrap();
        if major >= 15 {
            assert!(
                client
                    .read_slot("passing")
                    .unwrap()
                    .unwrap()
                    .restart_lsn
                    .is_some()
            );
        }
        drop(client);
        // A temporary slot goes with its session.
        testkit::wait_until("the slot is gone", PATIENCE, || {
            Ok(cluster.sql_value("SELECT count(*) FROM pg_replication_slots")? == "0")
        })
        .unwrap();
    }
}

#[test]
fn a_standby_streams_what_it_got() {
    for major in if testkit::is_long() {
        ALL_MAJORS.to_vec()
    } else {
        vec![11, 17]
    } {
        let primary = Cluster::start_new(major).unwrap();
        let standby = Cluster::builder(major).standby_of(&primary).unwrap();
        let mut client = connect(&standby);
        let system = client.identify_system().unwrap();
        let start = segment_start(system.xlogpos);
        let mut stream = client.start_physical(None, start, system.timeline).unwrap();
        fill(&primary);
        let end = upto(&primary);
        let mut wal = Vec::new();
        receive(&mut stream, &mut wal, start, end).unwrap();
        assert_same_as_files(&wal, start, system.timeline, primary.data_dir());
    }
}

#[test]
fn a_commit_returns_only_after_our_flush() {
    for major in if testkit::is_long() {
        ALL_MAJORS.to_vec()
    } else {
        vec![10, 18]
    } {
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
        let start = segment_start(system.xlogpos);
        // Synchronous from the first status message on.
        let mut stream = client.start_physical(None, start, system.timeline).unwrap();
        let committed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                cluster.sql("INSERT INTO s VALUES (1)").unwrap();
                committed.store(true, Ordering::SeqCst);
            });
            let waits = |_: &()| {
                cluster
                    .sql_value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                    .unwrap()
                    == "1"
            };
            // Written is not enough.
            let deadline = Instant::now() + PATIENCE;
            let mut seen = false;
            while !seen {
                assert!(Instant::now() < deadline, "{major}");
                let _ = stream.next(Duration::from_millis(100)).unwrap();
                let received = stream.received();
                stream.send_status(received, start, Lsn(0), false).unwrap();
                seen = waits(&());
            }
            for _ in 0..5 {
                let _ = stream.next(Duration::from_millis(50)).unwrap();
                let received = stream.received();
                stream.send_status(received, start, Lsn(0), true).unwrap();
            }
            assert!(
                !committed.load(Ordering::SeqCst),
                "{major}: committed before our flush"
            );
            let deadline = Instant::now() + PATIENCE;
            while !committed.load(Ordering::SeqCst) {
                assert!(
                    Instant::now() < deadline,
                    "{major}: not committed after our flush"
                );
                let _ = stream.next(Duration::from_millis(20)).unwrap();
                let received = stream.received();
                stream.report(received, received, Lsn(0)).unwrap();
            }
        });
    }
}

#[test]
fn a_server_that_dies_comes_back_and_the_stream_goes_on() {
    for major in if testkit::is_long() {
        ALL_MAJORS.to_vec()
    } else {
        vec![12, 16]
    } {
        for how in [Stop::Kill, Stop::Fast] {
            // The checkpoint of a shutdown removes no file that is still to be compared.
            let (keep, much) = match major {
                0..=12 => ("wal_keep_segments", "20"),
                _ => ("wal_keep_size", "320MB"),
            };
            let cluster = Cluster::builder(major)
                .durable()
                .conf(keep, much)
                .start()
                .unwrap();
            let mut client = connect(&cluster);
            let system = client.identify_system().unwrap();
            let start = segment_start(system.xlogpos);
            client.create_physical_slot("keeps", ReserveWal::Now).unwrap();
            let mut wal = Vec::new();
            let mut stream = client
                .start_physical(Some("keeps"), start, system.timeline)
                .unwrap();
            stream.set_status_interval(Duration::from_secs(1));
            fill(&cluster);
            let end = upto(&cluster);
            receive(&mut stream, &mut wal, start, end).unwrap();

            std::thread::scope(|scope| {
                // A server that is stopped in order waits for us to confirm everything.
                scope.spawn(|| cluster.stop(how).unwrap());
                let begin = Instant::now();
                let error = loop {
                    assert!(begin.elapsed() < PATIENCE, "{major} {how:?}");
                    match stream.next(Duration::from_millis(200)) {
                        Ok(WalEvent::Data { bytes, .. }) => wal.extend_from_slice(bytes),
                        Ok(_) => {}
                        Err(error) => break error,
                    }
                    let received = stream.received();
                    if let Err(error) = stream.report(received, received, Lsn(0)) {
                        break error;
                    }
                };
                assert!(
                    error.is_transient() && error.is_connection_lost(),
                    "{major} {how:?}: {error}"
                );
                if how == Stop::Fast {
                    assert!(matches!(error, Error::ShuttingDown { .. }), "{major}: {error}");
                }
            });
            let next = stream.received();
            drop(stream);

            let policy = ReconnectPolicy {
                first: Duration::from_millis(50),
                longest: Duration::from_millis(200),
                give_up_after: Some(PATIENCE),
            };
            let failures = std::sync::atomic::AtomicU32::new(0);
            let (mut client, again) = std::thread::scope(|scope| {
                scope.spawn(|| {
                    testkit::wait_until("some failures", PATIENCE, || {
                        Ok(failures.load(Ordering::SeqCst) >= 3)
                    })
                    .unwrap();
                    cluster.start().unwrap();
                });
                ReplicationClient::connect_again(
                    &info(&cluster),
                    &options(),
                    &system.systemid,
                    &mut policy.backoff(),
                    &mut |_, _| {
                        failures.fetch_add(1, Ordering::SeqCst);
                    },
                )
                .unwrap()
            });
            assert_eq!(again.timeline, system.timeline);
            // Another cluster is not taken for this one, and not waited for.
            let error = ReplicationClient::connect_again(
                &info(&cluster),
                &options(),
                "7",
                &mut policy.backoff(),
                &mut |_, _| {},
            )
            .unwrap_err();
            assert!(matches!(&error, Error::OtherSystem { found, .. } if *found == system.systemid));
            // As a receiver of files does: the segment from its beginning.
            let from = segment_start(next);
            wal.truncate(usize::try_from(from.0 - start.0).unwrap());
            fill(&cluster);
            let end = upto(&cluster);
            let mut stream = client
                .start_physical(Some("keeps"), from, again.timeline)
                .unwrap();
            receive(&mut stream, &mut wal, start, end).unwrap();
            assert_same_as_files(&wal, start, system.timeline, cluster.data_dir());
        }
    }
}

#[test]
fn wal_that_is_gone_ahead_or_of_another_history_has_an_error_of_its_own() {
    for major in if testkit::is_long() {
        ALL_MAJORS.to_vec()
    } else {
        vec![10, 13, 18]
    } {
        let primary = Cluster::start_new(major).unwrap();
        let standby = Cluster::builder(major).standby_of(&primary).unwrap();
        let mut client = connect(&primary);
        let system = client.identify_system().unwrap();
        let first = TimelineId::FIRST;

        let far = Lsn(system.xlogpos.0 + 100 * SEGMENT);
        assert!(matches!(
            client.check_position(&system, far, first),
            Err(Error::AheadOfServer { server_position, .. }) if server_position == system.xlogpos
        ));
        let outcome = client
            .start_physical(None, far, first)
            .and_then(|mut stream| stream.next(PATIENCE).map(|event| format!("{event:?}")));
        assert!(
            outcome
                .as_ref()
                .is_err_and(|error| error.to_string().contains("ahead")),
            "{major}: {outcome:?}"
        );

        // The first segment has been removed long ago.
        let mut client = connect(&primary);
        client.check_position(&system, Lsn(0), first).unwrap();
        let outcome = client.start_physical(None, Lsn(0), first).and_then(|mut stream| {
            loop {
                match stream.next(PATIENCE)? {
                    WalEvent::KeepAlive { .. } | WalEvent::Idle => {}
                    other => return Ok(format!("{other:?}")),
                }
            }
        });
        match outcome.unwrap_err() {
            error @ Error::WalRemoved { .. } => {
                assert!(error.to_string().contains("has already been removed"), "{error}");
                assert!(error.hint().is_some() && !error.is_transient());
            }
            other => panic!("{major}: {other}"),
        }

        // The standby is promoted while we stream from it; the primary goes on alone.
        let mut client = connect(&standby);
        let system = client.identify_system().unwrap();
        let start = segment_start(system.xlogpos);
        let mut stream = client.start_physical(None, start, first).unwrap();
        standby.promote().unwrap();
        standby.wait_primary(PATIENCE).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let (second, switch) = loop {
            assert!(Instant::now() < deadline);
            if let WalEvent::EndOfTimeline {
                next_timeline,
                switch_point,
            } = stream.next(Duration::from_secs(1)).unwrap()
            {
                break (next_timeline, switch_point);
            }
        };
        stream.stop(PATIENCE).unwrap();
        testkit::wait_until("the new timeline", PATIENCE, || {
            Ok(client.identify_system()?.timeline == second)
        })
        .unwrap();
        let system = client.identify_system().unwrap();
        client.check_position(&system, switch, first).unwrap();
        client.check_position(&system, switch, second).unwrap();
        let beyond = Lsn(switch.0 + 1);
        let error = client.check_position(&system, beyond, first).unwrap_err();
        assert!(
            matches!(error, Error::NotInHistory { forked: Some(at), .. } if at == switch),
            "{error}"
        );
        let refused = client
            .start_physical(None, Lsn(switch.0 + SEGMENT), first)
            .unwrap_err();
        assert!(
            refused.to_string().contains("not in this server's history"),
            "{refused}"
        );
        // Timeline 2 is not in the history of the old primary.
        let mut client = connect(&primary);
        let system = client.identify_system().unwrap();
        let error = client.check_position(&system, switch, second).unwrap_err();
        assert!(
            matches!(error, Error::NotInHistory { forked: None, .. }),
            "{error}"
        );
        assert!(!error.is_transient());
    }
}

#[test]
fn a_slow_consumer_keeps_its_session() {
    let cluster = Cluster::builder(15)
        .conf("wal_sender_timeout", "8s")
        .start()
        .unwrap();
    // Who was busy for longer than this has not listened, which is no silence of the server.
    let options = options().with_timeouts(Duration::from_secs(20), Duration::from_secs(3));
    let mut client = ReplicationClient::connect(&info(&cluster).streaming(), &options).unwrap();
    let system = client.identify_system().unwrap();
    let start = segment_start(system.xlogpos);
    let mut stream = client.start_physical(None, start, system.timeline).unwrap();
    stream.set_status_interval(Duration::from_millis(200));
    let begin = Instant::now();
    let pid = cluster.sql_value("SELECT pid FROM pg_stat_replication").unwrap();
    let outlasted = stream
        .busy(|| {
            testkit::wait_until("both time-outs have passed", PATIENCE, || {
                Ok(begin.elapsed() > Duration::from_secs(10))
            })
        })
        .unwrap();
    outlasted.unwrap();
    assert_eq!(
        cluster.sql_value("SELECT pid FROM pg_stat_replication").unwrap(),
        pid
    );
    fill(&cluster);
    let mut wal = Vec::new();
    receive(&mut stream, &mut wal, start, Lsn(start.0 + 1_000_000)).unwrap();
}

#[test]
fn waiting_for_a_server_that_is_away_can_be_interrupted() {
    let flag = Arc::new(AtomicBool::new(false));
    let nowhere: ConnInfo = "host=127.0.0.1 port=1 user=u".parse().unwrap();
    let options = options().with_interrupt(Arc::clone(&flag));
    let an_hour = ReconnectPolicy {
        first: Duration::from_secs(3600),
        longest: Duration::from_secs(3600),
        give_up_after: None,
    };
    let begin = Instant::now();
    let error = ReplicationClient::connect_again(
        &nowhere.streaming(),
        &options,
        "7",
        &mut an_hour.backoff(),
        &mut |error, _| {
            assert!(error.is_transient(), "{error}");
            flag.store(true, Ordering::Relaxed);
        },
    )
    .unwrap_err();
    assert!(error.is_interrupted() && begin.elapsed() < PATIENCE, "{error}");
}
