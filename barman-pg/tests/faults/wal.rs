//! Faults in the middle of WAL streaming. Every byte that the stream hands out is compared with the server's files, and
//! a receiver that begins its segment again after an error ends up with what the server has.

use std::path::Path;
use std::time::Instant;

use barman_pg::{ConnInfo, Error, ReconnectPolicy, ReplicationClient, SystemIdentification, WalEvent};
use barman_wal::history::TimelineHistory;
use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId};
use testkit::proxy::{Action, Direction, Fault, Proxy, WAL_DATA_OFFSET, What, Which};
use testkit::{Cluster, Stop};

use super::*;

const POLICY: ReconnectPolicy = ReconnectPolicy {
    first: Duration::from_millis(20),
    longest: Duration::from_millis(200),
    give_up_after: Some(PATIENCE),
};

/// A server that is written to, and its network.
struct Source {
    cluster: Cluster,
    proxy: Proxy,
    info: ConnInfo,
    segment: u64,
}

/// A receiver as it should be: it keeps what is complete, and after an error begins its segment again.
struct Receiver {
    system: SystemIdentification,
    timeline: TimelineId,
    start: Lsn,
    wal: Vec<u8>,
    /// The stream may not have handed out what it did: the fault changed contents, and nothing protects them.
    damaged: bool,
    options: ConnectOptions,
}

impl Source {
    fn start(major: u16, encryption: Encryption) -> Self {
        let mut builder = Cluster::builder(major)
            .tree(tree(major, encryption))
            .conf("autovacuum", "off")
            .conf("checkpoint_timeout", "1h");
        // No file that is still to be compared is removed.
        builder = match major {
            0..=12 => builder.conf("wal_keep_segments", "100"),
            _ => builder.conf("wal_keep_size", "1500MB"),
        };
        let mib = if major >= 11 { 1 } else { 16 };
        if mib == 1 {
            builder = builder.wal_segment_mb(1);
        }
        let cluster = builder.start().unwrap();
        cluster.sql("CREATE TABLE t (f text)").unwrap();
        if encryption == Encryption::Tls {
            encrypt(&cluster);
        }
        Self::of(cluster, encryption, mib)
    }

    fn of(cluster: Cluster, encryption: Encryption, segment_mib: u64) -> Self {
        let proxy = Proxy::to(&cluster).unwrap();
        let info = info(&cluster, &proxy, encryption);
        Self {
            cluster,
            proxy,
            info,
            segment: segment_mib << 20,
        }
    }

    fn segment_start(&self, lsn: Lsn) -> Lsn {
        Lsn(lsn.0 / self.segment * self.segment)
    }

    /// Writes about 2 MiB of WAL, closes the segment, and says where the next begins.
    fn write(&self) -> Lsn {
        write(&self.cluster);
        self.segment_start(self.cluster.current_lsn().unwrap().parse().unwrap())
    }

    /// A receiver that begins with the current segment.
    fn receiver(&self) -> Receiver {
        let system = connect(&self.info).identify_system().unwrap();
        Receiver {
            timeline: system.timeline,
            start: self.segment_start(system.xlogpos),
            system,
            wal: Vec::new(),
            damaged: false,
            options: options(),
        }
    }

    /// Whether all that was received is in the server's files of this timeline.
    fn assert_same(&self, receiver: &Receiver, data: &Path, what: &str) {
        let size = SegmentSize::new(self.segment).unwrap();
        let mut at = receiver.start;
        for part in receiver.wal.chunks(self.segment as usize) {
            let name = SegmentName::from_lsn(receiver.timeline, at, size).to_string();
            let file = std::fs::read(data.join("pg_wal").join(&name)).unwrap();
            let equal = file.get(..part.len()) == Some(part);
            assert!(equal, "{what}: {name} up to {}", receiver.position());
            at = Lsn(at.0 + self.segment);
        }
    }
}

fn write(cluster: &Cluster) {
    cluster
        .sql("INSERT INTO t SELECT repeat(md5(g::text), 30) FROM generate_series(1, 1500) g")
        .unwrap();
    cluster.switch_wal().unwrap();
}

impl Receiver {
    fn position(&self) -> Lsn {
        Lsn(self.start.0 + self.wal.len() as u64)
    }

    /// Streams up to this position with this session.
    fn stream(&mut self, client: &mut ReplicationClient, upto: Lsn) -> Result<Option<TimelineId>, Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut stream = client.start_physical(None, self.position(), self.timeline)?;
        stream.set_status_interval(Duration::from_millis(200));
        while self.position() < upto {
            assert!(Instant::now() < deadline, "{} of {upto}", self.position());
            match stream.next(Duration::from_secs(1))? {
                WalEvent::Data { start, bytes, .. } => {
                    assert_eq!(start, self.position());
                    self.wal.extend_from_slice(bytes);
                }
                WalEvent::EndOfTimeline {
                    next_timeline,
                    switch_point,
                } => {
                    assert_eq!(switch_point, self.position());
                    stream.stop(PATIENCE)?;
                    return Ok(Some(next_timeline));
                }
                WalEvent::KeepAlive { .. } | WalEvent::Idle => {}
            }
            let position = self.position();
            stream.report(position, position, Lsn(0))?;
        }
        stream.stop(PATIENCE)?;
        Ok(None)
    }

    /// Forgets what has been compared, apart from the segment that is not complete.
    fn forget(&mut self, source: &Source) {
        let current = source.segment_start(self.position());
        let past = usize::try_from(current.0 - self.start.0).unwrap();
        self.wal.drain(..past);
        self.start = current;
    }

    /// Forgets the segment that is not complete.
    fn begin_segment_again(&mut self, source: &Source) {
        let kept = source.segment_start(self.position()).0 - self.start.0;
        self.wal.truncate(usize::try_from(kept).unwrap());
    }

    /// Streams up to the position, with a new connection after each error, and gives the errors. The faults are over
    /// with the first.
    fn arrive(&mut self, source: &Source, upto: Lsn, what: &str) -> Vec<Error> {
        let mut errors = Vec::new();
        loop {
            let attempt = ReplicationClient::connect_again(
                &source.info,
                &self.options,
                &self.system.systemid,
                &mut POLICY.backoff(),
                &mut |_, _| source.proxy.clear(),
            )
            .and_then(|(mut client, system)| {
                client.check_position(&system, self.position(), self.timeline)?;
                self.stream(&mut client, upto)
            });
            match attempt {
                Ok(None) => return errors,
                Ok(Some(next)) => panic!("{what}: the timeline ended before {next}"),
                Err(error) => {
                    assert!(
                        error.is_transient() && error.to_string().len() > 20,
                        "{what}: {error}"
                    );
                    if !self.damaged {
                        source.assert_same(self, source.cluster.data_dir(), what);
                    }
                    self.begin_segment_again(source);
                    source.proxy.clear();
                    errors.push(error);
                    assert!(errors.len() < 5, "{what}: {errors:?}");
                }
            }
        }
    }
}

/// What must become of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// It goes on as if nothing were.
    Nothing,
    /// The connection ends.
    Lost,
    /// A server that is silent too long.
    Silence,
    /// What came is not what the protocol says.
    Protocol,
    /// An error of whatever kind.
    Error,
}

fn check(errors: &[Error], expected: Expect, what: &str) {
    let right = match errors {
        [] => expected == Expect::Nothing,
        [error] => match expected {
            Expect::Nothing => false,
            Expect::Lost => matches!(error, Error::Io { .. } | Error::Closed { .. }),
            Expect::Silence => matches!(error, Error::Timeout { .. }),
            Expect::Protocol => matches!(error, Error::Protocol { .. }),
            Expect::Error => true,
        },
        _ => false,
    };
    assert!(right, "{what}: {expected:?} became {errors:?}");
}

#[test]
fn a_stream_that_is_disturbed_anywhere_goes_on_or_begins_its_segment_again() {
    each_major(&[10, 13, 17], |major| {
        let source = Source::start(major, Encryption::Clear);
        let mut receiver = source.receiver();
        let mut chance = Chance(u64::from(major));
        let pieces = if testkit::is_long() { 12 } else { 2 };
        for round in 0..pieces {
            // A message carries 128 KiB at most; a round writes 2 MiB at least.
            let nth = if round == 0 { 1 } else { 2 + chance.below(14) };
            let wal = |action| Fault::to_client(What::CopyData(b'w'), nth, action);
            let mut cases = vec![
                ("reset", wal(Action::Reset), Expect::Lost),
                ("closed", wal(Action::CloseGracefully), Expect::Lost),
                ("closed inside a message", wal(Action::Truncate), Expect::Lost),
                ("one direction ends", wal(Action::HalfClose), Expect::Lost),
                ("a piece comes twice", wal(Action::Duplicate), Expect::Protocol),
                ("a type that there is not", wal(flip(0, 1)), Expect::Protocol),
                ("a length below zero", wal(flip(1, 7)), Expect::Protocol),
                ("a length too large", wal(flip(1, 6)), Expect::Protocol),
                ("another kind of content", wal(flip(5, 3)), Expect::Protocol),
                ("a start position far away", wal(flip(6 + 2, 1)), Expect::Protocol),
                ("a start position nearby", wal(flip(6 + 6, 0)), Expect::Protocol),
                (
                    "delays",
                    wal(Action::Delay(Duration::from_micros(300))),
                    Expect::Nothing,
                ),
                (
                    "the command is cut",
                    Fault::to_server(What::Type(b'Q'), 2, Action::Truncate),
                    Expect::Lost,
                ),
                (
                    "a status message that is none",
                    Fault::to_server(What::CopyData(b'r'), 2, flip(5, 0)),
                    Expect::Error,
                ),
            ];
            if round == 1 {
                cases.extend([
                    ("a stall", wal(Action::Stall), Expect::Silence),
                    (
                        "the server's messages vanish",
                        wal(Action::StallForAcks),
                        Expect::Silence,
                    ),
                    ("a narrow line", wal(Action::Throttle(4 << 20)), Expect::Nothing),
                ]);
            }
            for (what, fault, expected) in cases {
                let what = format!("{major}: {what}, piece {nth}");
                let upto = source.write();
                source.proxy.set([fault.on(Which::Replication)]);
                let errors = receiver.arrive(&source, upto, &what);
                check(&errors, expected, &what);
                // Clearing the faults forgets that they have struck, but then there was an error.
                assert!(
                    !errors.is_empty() || source.proxy.fired() == 1,
                    "{what} did not strike"
                );
                source.proxy.clear();
                source.assert_same(&receiver, source.cluster.data_dir(), &what);
                receiver.forget(&source);
            }
        }
    });
}

/// The stream promises form and order, not contents: see `WalStream`.
#[test]
fn a_byte_of_wal_that_is_changed_shows_under_encryption_only() {
    for (major, encryption) in [
        (11, Encryption::Clear),
        (11, Encryption::Tls),
        (18, Encryption::Tls),
    ] {
        let source = Source::start(major, encryption);
        let mut receiver = source.receiver();
        let mut chance = Chance(u64::from(major) + 100);
        for _ in 0..if testkit::is_long() { 20 } else { 4 } {
            let upto = source.write();
            let before = receiver.position();
            let what = format!("{major} {encryption:?}: a changed bit after {before}");
            let fault = match encryption {
                Encryption::Clear => Fault::to_client(
                    What::CopyData(b'w'),
                    2 + chance.below(10),
                    flip(WAL_DATA_OFFSET + chance.below(8192), chance.below(8)),
                ),
                // What comes before is authentication and is a test of its own.
                Encryption::Tls => Fault::at_byte(
                    Direction::ToClient,
                    20_000 + chance.below(1 << 20),
                    flip(0, chance.below(8)),
                ),
            };
            source.proxy.set([fault]);
            receiver.damaged = encryption == Encryption::Clear;
            let errors = receiver.arrive(&source, upto, &what);
            match encryption {
                Encryption::Tls => {
                    check(&errors, Expect::Lost, &what);
                    source.assert_same(&receiver, source.cluster.data_dir(), &what);
                }
                Encryption::Clear => {
                    check(&errors, Expect::Nothing, &what);
                    // An idle server still writes something now and then, perhaps behind the switch.
                    assert!(receiver.position() >= upto, "{what}");
                    assert_eq!(source.proxy.fired(), 1, "{what}");
                }
            }
            source.proxy.clear();
            receiver = source.receiver();
        }
    }
}

#[test]
fn a_server_that_is_killed_or_stopped_anywhere_is_waited_for_and_the_stream_goes_on() {
    each_major(&[11, 16], |major| {
        let source = Source::start(major, Encryption::Clear);
        let mut receiver = source.receiver();
        receiver.options = patient();
        let mut chance = Chance(u64::from(major) + 200);
        for how in [Stop::Kill, Stop::Immediate, Stop::Fast] {
            for _ in 0..if testkit::is_long() { 8 } else { 2 } {
                let upto = source.write();
                let nth = 1 + chance.below(14);
                let what = format!("{major}: {how:?} at piece {nth}");
                source
                    .proxy
                    .set([Fault::to_client(What::CopyData(b'w'), nth, Action::Stall)]);
                let errors = std::thread::scope(|scope| {
                    scope.spawn(|| {
                        source.proxy.wait_fired(1, PATIENCE).unwrap();
                        std::thread::scope(|scope| {
                            scope.spawn(|| source.cluster.stop(how).unwrap());
                            if how == Stop::Fast {
                                // It waits until everything has been taken.
                                source.proxy.clear();
                            }
                        });
                        source.proxy.clear();
                        source.cluster.start().unwrap();
                    });
                    receiver.arrive(&source, upto, &what)
                });
                assert!(
                    errors.iter().all(|error| matches!(
                        error,
                        Error::Io { .. }
                            | Error::Closed { .. }
                            | Error::ShuttingDown { .. }
                            | Error::Server { .. }
                    )),
                    "{what}: {errors:?}"
                );
                assert!(!errors.is_empty() || how == Stop::Fast, "{what}");
                source.assert_same(&receiver, source.cluster.data_dir(), &what);
                receiver.forget(&source);
            }
        }
    });
}

/// The WAL of both timelines, over a connection that breaks where one ends.
#[test]
fn a_promotion_is_followed_whatever_happens_to_the_connection_meanwhile() {
    let end = What::Type(b'c');
    for (major, fault) in [
        (12, Fault::to_client(What::CopyData(b'w'), 6, Action::Stall)),
        (12, Fault::to_client(end, 1, Action::Reset)),
        (18, Fault::to_client(end, 1, Action::Truncate)),
        (18, Fault::to_client(What::Type(b'D'), 2, Action::CloseGracefully)),
    ] {
        let what = format!("{major}: {fault:?}");
        let primary = Source::start(major, Encryption::Clear);
        let standby = Cluster::builder(major)
            .conf("autovacuum", "off")
            .standby_of(&primary.cluster)
            .unwrap();
        let source = Source::of(standby, Encryption::Clear, 1);
        let mut receiver = source.receiver();
        let sent = primary.write();
        testkit::wait_until("the standby has everything", PATIENCE, || {
            let query = format!("SELECT pg_last_wal_replay_lsn() >= '{sent}'");
            Ok(source.cluster.sql_value(&query)? == "t")
        })
        .unwrap();
        source.proxy.set([fault]);

        let mut errors = Vec::new();
        let next = std::thread::scope(|scope| {
            scope.spawn(|| {
                if fault.action == Action::Stall {
                    source.proxy.wait_fired(1, PATIENCE).unwrap();
                } else {
                    testkit::wait_until("it streams", PATIENCE, || {
                        Ok(source
                            .cluster
                            .sql_value("SELECT count(*) FROM pg_stat_replication")?
                            == "1")
                    })
                    .unwrap();
                }
                source.cluster.promote().unwrap();
                source.cluster.wait_primary(PATIENCE).unwrap();
                if fault.action == Action::Stall {
                    source.proxy.clear();
                }
                write(&source.cluster);
            });
            loop {
                let mut client = connect(&source.info);
                client.identify_system().unwrap();
                match receiver.stream(&mut client, Lsn(u64::MAX)) {
                    Ok(Some(next)) => break next,
                    Ok(None) => panic!("{what}: no end"),
                    Err(error) => {
                        assert!(
                            error.is_transient() && error.is_connection_lost(),
                            "{what}: {error}"
                        );
                        errors.push(error);
                    }
                }
                assert!(errors.len() < 3, "{what}: {errors:?}");
            }
        });
        assert_eq!(
            errors.len(),
            usize::from(fault.action != Action::Stall),
            "{what}: {errors:?}"
        );
        let mut client = connect(&source.info);
        let (_, history) = client.timeline_history(next).unwrap();
        let history = TimelineHistory::parse(next, &history).unwrap();
        let switch = receiver.position();
        assert_eq!(history.switch_point(receiver.timeline), Some(switch), "{what}");
        // The old primary has the WAL of the first timeline.
        source.assert_same(&receiver, primary.cluster.data_dir(), &what);
        let mut second = source.receiver();
        second.timeline = next;
        second.start = source.segment_start(switch);
        let upto = source.write();
        assert!(second.arrive(&source, upto, &what).is_empty(), "{what}");
        source.assert_same(&second, source.cluster.data_dir(), &what);
    }
}
