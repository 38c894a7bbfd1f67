//! Connections that are lost, and servers that cannot be reached: what is asked again, what is not, and that everything
//! which runs beside the main work ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use barman_pg::basebackup::CheckpointMode;
use barman_pg::connection::{BackgroundSwitches, Heartbeat, SwitchPlan};
use barman_pg::sql::WalSwitch;
use barman_pg::{ConnInfo, ConnectOptions, Error, KeepAlive, PostgresConnection, StandbyConnection};
use rustix::process::{Pid, Signal, kill_process};
use testkit::proxy::{Action, Admission, Direction, Fault, Proxy, Upstream, What};
use testkit::{Cluster, Stop, TestDir, wait_until};

const PATIENCE: Duration = Duration::from_secs(90);
/// No wait of any test is as long: who waits for it has not been told to end.
const LONG: Duration = Duration::from_secs(3600);

fn options() -> ConnectOptions {
    ConnectOptions {
        environment: |_| None,
        ..ConnectOptions::default().with_timeouts(LONG, PATIENCE)
    }
}

fn to(conninfo: &str) -> PostgresConnection {
    PostgresConnection::parse(conninfo)
        .unwrap()
        .with_options(options())
        .with_checkpoint(CheckpointMode::Fast)
}

/// Ends the sessions of the connection under test.
fn terminate(cluster: &Cluster) {
    cluster
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'barman'")
        .unwrap();
    no_session(cluster);
}

/// `kill -9` of the backend: the server ends all others and recovers.
fn kill(cluster: &Cluster) {
    let pid = "SELECT pid FROM pg_stat_activity WHERE application_name = 'barman'";
    let pid: i32 = cluster.sql_value(pid).unwrap().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// A server needs a moment to notice that a client has gone.
fn no_session(cluster: &Cluster) {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'barman'";
    wait_until("no session is left", PATIENCE, || {
        Ok(cluster.sql_value(count)? == "0")
    })
    .unwrap();
}

fn flag() -> Arc<AtomicBool> {
    Arc::default()
}

fn raised(flag: &AtomicBool) {
    wait_until(
        "the flag is raised",
        PATIENCE,
        || Ok(flag.load(Ordering::Relaxed)),
    )
    .unwrap();
}

#[test]
fn what_was_lost_is_asked_again_and_nothing_is_probed_before_questions() {
    let cluster = Cluster::start_new(16).unwrap();
    let proxy = Proxy::to(&cluster).unwrap();
    let connection = to(&proxy.conninfo(&cluster.tcp_conninfo()));
    connection.connect().unwrap();
    let queries = || proxy.passed(Direction::ToServer, What::Type(b'Q'));
    let before = queries();
    assert_eq!(connection.is_in_recovery().unwrap(), Some(false));
    assert_eq!(queries() - before, 1, "a question is one round trip");
    let before = queries();
    assert_eq!(connection.fetch_remote_status().failure, None);
    assert!(queries() - before <= 13, "{}", queries() - before);

    // Each loses its session, in one way or another, and does not notice.
    type Loss<'a> = Box<dyn Fn() + 'a>;
    let losses: [(&str, Loss<'_>); 4] = [
        ("terminated", Box::new(|| terminate(&cluster))),
        ("reset", Box::new(|| proxy.reset_all())),
        ("restarted", Box::new(|| cluster.restart().unwrap())),
        (
            "cut in the answer",
            Box::new(|| proxy.set([Fault::to_client(What::Type(b'D'), 1, Action::Truncate)])),
        ),
    ];
    for (what, lose) in &losses {
        lose();
        assert_eq!(connection.is_in_recovery().unwrap(), Some(false), "{what}");
        cluster.sql("SELECT txid_current()").unwrap();
        lose();
        if *what == "cut in the answer" {
            // Even the probe is lost here.
            assert!(connection.switch_wal().is_ok(), "{what}");
        } else {
            assert!(
                matches!(connection.switch_wal().unwrap(), Some(WalSwitch::Closed(_))),
                "{what}"
            );
        }
        proxy.clear();
    }
    // What changes the server is not repeated when it may have been done.
    connection.connect().unwrap();
    proxy.set([Fault::to_client(What::Type(b'C'), 2, Action::Reset)]);
    let outcome = connection.with_session(|client| client.rows("SELECT txid_current()", "writing"));
    assert!(outcome.unwrap_err().is_connection_lost());
    proxy.clear();

    // Nobody there: Barman's answers.
    proxy.admit(Admission::Refuse).unwrap();
    proxy.reset_all();
    assert_eq!(connection.is_in_recovery().unwrap(), None);
    assert_eq!(connection.get_setting("port").unwrap(), None);
    assert_eq!(connection.current_xlog_info().unwrap(), None);
    assert_eq!(connection.create_restore_point("x").unwrap(), None);
    assert_eq!(
        connection.server_version().unwrap().major(),
        16,
        "known once and for all"
    );
    for outcome in [
        connection.has_backup_privileges().map(drop),
        connection.has_checkpoint_privileges().map(drop),
        connection.switch_wal().map(drop),
        connection.checkpoint().map(drop),
        connection.xlog_segment_size().map(drop),
        connection.archive_timeout().map(drop),
        connection.get_replication_slot("x").map(drop),
        connection.start_concurrent_backup("x").map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::Connect { .. })), "{outcome:?}");
    }
    let status = connection.fetch_remote_status();
    assert!(status.failure.is_some() && status.is_in_recovery.is_none());
}

#[test]
fn a_request_to_stop_is_never_taken_for_an_answer() {
    let cluster = Cluster::start_new(17).unwrap();
    let stop = flag();
    let connection = PostgresConnection::parse(&cluster.conninfo())
        .unwrap()
        .with_options(options().with_interrupt(Arc::clone(&stop)));
    connection.connect().unwrap();
    let canceller = connection.canceller();
    assert!(canceller.is_some());
    stop.store(true, Ordering::Relaxed);
    for outcome in [
        connection
            .with_session(|client| client.rows("SELECT pg_sleep(3600)", "sleeping"))
            .map(drop),
        connection.is_in_recovery().map(drop),
        connection.get_setting("port").map(drop),
        connection.switch_wal().map(drop),
        connection.create_restore_point("x").map(drop),
        connection.server_txt_version().map(drop),
    ] {
        assert!(outcome.as_ref().is_err_and(Error::is_interrupted), "{outcome:?}");
    }
    stop.store(false, Ordering::Relaxed);
    assert_eq!(connection.is_in_recovery().unwrap(), Some(false));
}

#[test]
fn a_backup_does_not_outlive_its_session() {
    for major in [14, 15] {
        let cluster = Cluster::start_new(major).unwrap();
        let connection = to(&cluster.conninfo());
        for how in ["asked", "stopped", "closed"] {
            connection.start_concurrent_backup("x").unwrap();
            if how == "closed" {
                connection.close();
            } else {
                terminate(&cluster);
            }
            if how == "asked" {
                assert_eq!(connection.is_in_recovery().unwrap(), None);
            }
            for _ in 0..2 {
                let stop = connection.stop_concurrent_backup();
                assert!(
                    matches!(stop, Err(Error::LostDuringBackup { .. })),
                    "{how}: {stop:?}"
                );
            }
            assert!(matches!(
                connection.switch_wal(),
                Ok(None) | Err(Error::LostDuringBackup { .. })
            ));
            assert!(matches!(
                connection.send_heartbeat_query(),
                Err(Error::LostDuringBackup { .. })
            ));
            no_session(&cluster);
            connection.abandon_backup();
            assert_eq!(connection.is_in_recovery().unwrap(), Some(false));
        }
        // A start that fails leaves no backup behind.
        let failed = connection.start_concurrent_backup(&"x".repeat(5000)).unwrap_err();
        assert_eq!(failed.sqlstate(), Some("22023"), "{failed}");
        connection.start_concurrent_backup("x").unwrap();
        connection.stop_concurrent_backup().unwrap();
        terminate(&cluster);
        assert_eq!(connection.is_in_recovery().unwrap(), Some(false));
    }
}

#[test]
fn heartbeats_keep_a_session_alive_and_usable() {
    let cluster = Cluster::start_new(16).unwrap();
    let connection = to(&cluster.conninfo());
    // Off.
    let off = KeepAlive::start(&connection, Duration::ZERO, flag()).unwrap();
    off.end().unwrap();
    assert!(!connection.has_connection());

    // The server ends idle sessions; ours never idles so long.
    cluster
        .sql("ALTER ROLE barman SET idle_session_timeout = '5s'")
        .unwrap();
    let lost = flag();
    let keepalive = KeepAlive::start(&connection, Duration::from_millis(20), Arc::clone(&lost)).unwrap();
    assert!(!connection.has_connection(), "nothing is opened for a heartbeat");
    connection.connect().unwrap();
    let pid = |connection: &PostgresConnection| {
        connection
            .with_session(|client| client.rows("SELECT pg_backend_pid()", "asking"))
            .unwrap()
    };
    let first = pid(&connection);
    // Threads share the session.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(
                        connection.get_setting("port").unwrap(),
                        Some(cluster.port().to_string())
                    );
                }
            });
        }
    });
    let query =
        "SELECT now() - backend_start > '11 s' FROM pg_stat_activity WHERE application_name = 'barman'";
    wait_until("the session is older than idle ones get", PATIENCE, || {
        Ok(cluster.sql_value(query)? == "t")
    })
    .unwrap();
    assert_eq!(pid(&connection), first, "the same session");
    // Another failure of a heartbeat than a loss is none.
    assert!(!lost.load(Ordering::Relaxed) && !keepalive.is_lost());
    keepalive.end().unwrap();

    // The end does not wait for the interval, and while a statement runs no heartbeat waits for it.
    let keepalive = KeepAlive::start(&connection, LONG, flag()).unwrap();
    let canceller = connection.canceller().unwrap();
    std::thread::scope(|scope| {
        let sleeping = scope
            .spawn(|| connection.with_session(|client| client.rows("SELECT pg_sleep(3600)", "sleeping")));
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(%' AND application_name = 'barman'";
        wait_until("it sleeps", PATIENCE, || Ok(cluster.sql_value(asleep)? == "1")).unwrap();
        assert_eq!(connection.send_heartbeat_query().unwrap(), Heartbeat::Busy);
        let begin = Instant::now();
        keepalive.end().unwrap();
        assert!(begin.elapsed() < PATIENCE);
        canceller.cancel(PATIENCE).unwrap();
        assert_eq!(sleeping.join().unwrap().unwrap_err().sqlstate(), Some("57014"));
    });
    assert_eq!(connection.send_heartbeat_query().unwrap(), Heartbeat::Alive);
}

#[test]
fn a_loss_is_noticed_in_the_middle_of_the_work() {
    for (major, how) in [
        (10, "terminated"),
        (18, "terminated"),
        (15, "killed"),
        (16, "reset"),
        (17, "silent"),
    ] {
        let cluster = Cluster::start_new(major).unwrap();
        let proxy = Proxy::to(&cluster).unwrap();
        let connection = PostgresConnection::parse(&proxy.conninfo(&cluster.tcp_conninfo()))
            .unwrap()
            .with_checkpoint(CheckpointMode::Fast)
            .with_options(ConnectOptions {
                io_timeout: if how == "silent" {
                    Duration::from_secs(10)
                } else {
                    PATIENCE
                },
                ..options()
            });
        let lost = flag();
        let keepalive = KeepAlive::start(&connection, Duration::from_millis(20), Arc::clone(&lost)).unwrap();
        connection.start_concurrent_backup("x").unwrap();
        assert!(!lost.load(Ordering::Relaxed));
        match how {
            "terminated" => terminate(&cluster),
            "killed" => kill(&cluster),
            "reset" => proxy.reset_all(),
            _ => proxy.set([Fault::to_client(What::Any, 1, Action::Stall)]),
        }
        // The main work looks at the flag.
        raised(&lost);
        assert!(keepalive.is_lost() && keepalive.flag().load(Ordering::Relaxed));
        let error = keepalive.end().unwrap_err();
        assert!(error.is_connection_lost(), "{how}: {error}");
        proxy.clear();
        if how == "killed" {
            wait_until("the server has recovered", PATIENCE, || {
                Ok(cluster.sql_value("SELECT 1").is_ok())
            })
            .unwrap();
        }
        let stop = connection.stop_concurrent_backup();
        assert!(
            matches!(stop, Err(Error::LostDuringBackup { .. })),
            "{how}: {stop:?}"
        );
        no_session(&cluster);
    }
}

/// A primary and a standby that archives what it receives: the end of a backup on it waits until its last segment is
/// closed by the primary.
struct Pair {
    primary: Cluster,
    standby: Cluster,
    _archive: TestDir,
}

impl Pair {
    fn new(major: u16) -> Self {
        let archive = TestDir::new().unwrap();
        let directory = archive.server_dir("standby").unwrap();
        let primary = Cluster::start_new(major).unwrap();
        let standby = Cluster::builder(major)
            .conf("archive_mode", "always")
            .conf("archive_command", &format!("cp %p {}/%f", directory.display()))
            .standby_of(&primary)
            .unwrap();
        Self {
            primary,
            standby,
            _archive: archive,
        }
    }

    fn connection(&self, primary: &str, plan: SwitchPlan) -> StandbyConnection {
        let info: ConnInfo = primary.parse().unwrap();
        StandbyConnection::new(to(&self.standby.conninfo()), info, Duration::ZERO).with_switch_plan(plan)
    }

    /// Begins a backup that waits at its end.
    fn begin(&self, connection: &StandbyConnection) {
        connection.standby().start_concurrent_backup("x").unwrap();
        // A restartpoint of a checkpoint in the open segment puts the minimum recovery point there.
        self.primary.sql("SELECT txid_current()").unwrap();
        self.primary.sql("CHECKPOINT").unwrap();
        let written = self.primary.current_lsn().unwrap();
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        wait_until("the standby has caught up", PATIENCE, || {
            Ok(self.standby.sql_value(&replayed)? == "t")
        })
        .unwrap();
        self.standby.sql("CHECKPOINT").unwrap();
    }

    fn waits(&self) {
        let stopping = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'barman' AND state = 'active' AND query LIKE '%stop%'";
        wait_until("the end of the backup waits", PATIENCE, || {
            Ok(self.standby.sql_value(stopping)? == "1")
        })
        .unwrap();
    }
}

fn often() -> SwitchPlan {
    SwitchPlan {
        first: Duration::from_millis(300),
        times: 1000,
        wait: Duration::from_millis(300),
        checkpoint_timeout: Duration::ZERO,
    }
}

#[test]
fn the_end_of_a_backup_on_a_standby_waits_for_switches_on_the_primary() {
    for major in [10, 18] {
        let pair = Pair::new(major);
        let connection = pair.connection(&pair.primary.conninfo(), often());
        pair.begin(&connection);
        let ended = connection.stop_concurrent_backup().unwrap();
        assert!(
            ended.switches.switches >= 1 && ended.switches.failures.is_empty(),
            "{:?}",
            ended.switches
        );
        // The thread has closed its connection.
        no_session(&pair.primary);

        // The checkpoint comes when the switches are over; the switch after it is what helps here.
        let plan = SwitchPlan {
            times: 0,
            checkpoint_timeout: Duration::from_millis(300),
            ..often()
        };
        let connection = pair.connection(&pair.primary.conninfo(), plan);
        pair.begin(&connection);
        let ended = connection.stop_concurrent_backup().unwrap();
        assert!(ended.switches.checkpoint, "{:?}", ended.switches);
    }
}

#[test]
fn a_stop_on_a_standby_that_fails_ends_its_helper() {
    let pair = Pair::new(15);
    let proxy = Proxy::to(&pair.primary).unwrap();
    let conninfo = proxy.conninfo(&pair.primary.tcp_conninfo());
    for (how, admission) in [
        ("waiting for its turn", Admission::Forward),
        ("connecting to nobody", Admission::Refuse),
        ("connecting to a server that is silent", Admission::Silent),
        ("killed", Admission::Forward),
    ] {
        proxy.admit(admission).unwrap();
        let plan = match admission {
            Admission::Forward => SwitchPlan {
                first: LONG,
                ..often()
            },
            _ => often(),
        };
        let connection = pair.connection(&conninfo, plan);
        pair.begin(&connection);
        let before = proxy.connections().len();
        let failed = std::thread::scope(|scope| {
            let stopping = scope.spawn(|| connection.stop_concurrent_backup());
            pair.waits();
            if admission == Admission::Silent {
                wait_until("the helper connects", PATIENCE, || {
                    Ok(proxy.connections().len() > before)
                })
                .unwrap();
            }
            let begin = Instant::now();
            if how == "killed" {
                kill(&pair.standby);
            } else {
                terminate(&pair.standby);
            }
            let outcome = stopping.join().unwrap();
            // The helper's limits are far longer.
            assert!(begin.elapsed() < PATIENCE, "{how}: {:?}", begin.elapsed());
            outcome.unwrap_err()
        });
        assert!(
            matches!(failed, Error::LostDuringBackup { .. }),
            "{how}: {failed}"
        );
        no_session(&pair.primary);
    }
}

#[test]
fn a_panic_leaves_nothing_running() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let cluster = Cluster::start_new(16).unwrap();
    let connection = to(&cluster.conninfo());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let plan = SwitchPlan {
            first: Duration::ZERO,
            wait: LONG,
            ..SwitchPlan::default()
        };
        let _switches = BackgroundSwitches::start(&connection, plan);
        let _keepalive = KeepAlive::start(&connection, LONG, flag()).unwrap();
        let one = "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'barman'";
        wait_until("the thread has connected", PATIENCE, || {
            Ok(cluster.sql_value(one)? == "t")
        })
        .unwrap();
        panic!("in the middle of the work");
    }));
    assert!(panicked.is_err());
    no_session(&cluster);

    // In the middle of a statement: the session is not used any more.
    for backup_open in [false, true] {
        if backup_open {
            connection.start_concurrent_backup("x").unwrap();
        } else {
            connection.connect().unwrap();
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            connection.with_session(|_| -> Result<(), Error> { panic!("with the session in hand") })
        }));
        assert!(panicked.is_err());
        if backup_open {
            let stop = connection.stop_concurrent_backup();
            assert!(matches!(stop, Err(Error::LostDuringBackup { .. })), "{stop:?}");
        } else {
            assert_eq!(connection.is_in_recovery().unwrap(), Some(false));
        }
    }
}

#[test]
fn a_primary_that_cannot_be_reached_or_refuses_is_told_and_does_not_fail_the_stop() {
    let pair = Pair::new(16);
    pair.primary.sql("CREATE ROLE nothing LOGIN").unwrap();
    // Through proxies, which see when an attempt is over.
    let nowhere = Proxy::new(Upstream::Tcp(([127, 0, 0, 1], 1).into())).unwrap();
    let to_primary = Proxy::to_socket(&pair.primary).unwrap();
    let to_standby = Proxy::to_socket(&pair.standby).unwrap();
    let nobody = nowhere.conninfo("user=barman");
    let nothing = to_primary
        .conninfo(&pair.primary.conninfo())
        .replace("user=barman", "user=nothing");
    let standby = to_standby.conninfo(&pair.standby.conninfo());
    // An attempt on a server that hangs up comes to two connections at most.
    for (primary, proxy, connections, attempts_go_on) in [
        (&nobody, &nowhere, 3, true),
        (&nothing, &to_primary, 1, false),
        (&standby, &to_standby, 1, false),
    ] {
        let plan = SwitchPlan {
            first: Duration::ZERO,
            ..often()
        };
        let connection = pair.connection(primary, plan);
        pair.begin(&connection);
        let ended = std::thread::scope(|scope| {
            let stopping = scope.spawn(|| connection.stop_concurrent_backup());
            pair.waits();
            wait_until("the helper has failed", PATIENCE, || {
                let over = proxy.connections().iter().filter(|one| !one.open).count();
                Ok(over >= connections)
            })
            .unwrap();
            // What the helper cannot do somebody else does.
            wait_until("the stop has ended", PATIENCE, || {
                pair.primary.switch_wal()?;
                Ok(stopping.is_finished())
            })
            .unwrap();
            stopping.join().unwrap().unwrap()
        });
        let failures = &ended.switches.failures;
        assert_eq!(ended.switches.switches, 0);
        assert!(!failures.is_empty(), "{primary}");
        for failure in failures {
            let expected = match failure {
                Error::Connect { .. } => attempts_go_on,
                Error::BackupPrivileges { user } => user == "nothing",
                Error::InRecovery { .. } => primary == &standby,
                _ => false,
            };
            assert!(expected, "{failure}");
        }
        assert!(attempts_go_on || failures.len() <= 1, "{failures:?}");
    }
    // What the helper says by itself.
    for (primary, count) in [(&nobody, 3), (&nothing, 1), (&standby, 1)] {
        let plan = SwitchPlan {
            first: Duration::ZERO,
            times: 3,
            wait: Duration::from_millis(1),
            checkpoint_timeout: Duration::ZERO,
        };
        let switches = BackgroundSwitches::start(&to(primary), plan);
        wait_until("it is done", PATIENCE, || Ok(switches.is_finished())).unwrap();
        assert_eq!(switches.finish().failures.len(), count, "{primary}");
    }
}

#[test]
fn a_standby_that_was_promoted_switches_its_own_wal() {
    let pair = Pair::new(15);
    let connection = pair.connection(&pair.primary.conninfo(), often());
    pair.begin(&connection);
    pair.primary.stop(Stop::Fast).unwrap();
    pair.standby.promote().unwrap();
    let failed = connection.stop_concurrent_backup().unwrap_err();
    assert!(failed.to_string().contains("promoted"), "{failed}");
    connection.standby().abandon_backup();
    pair.standby.sql("SELECT txid_current()").unwrap();
    let WalSwitch::Closed(name) = connection.switch_wal().unwrap().unwrap() else {
        panic!("not switched")
    };
    assert_eq!(name.timeline.get(), 2);
    assert_eq!(connection.checkpoint().unwrap(), Some(()));
    assert!(!connection.primary().has_connection());
    connection.standby().start_concurrent_backup("x").unwrap();
    let ended = connection.stop_concurrent_backup().unwrap();
    assert_eq!(ended.stop.timeline.unwrap().get(), 2);
    assert_eq!(ended.switches.switches, 0);
}

#[test]
fn nothing_shows_a_password() {
    let cluster = Cluster::start_new(15).unwrap();
    let info: ConnInfo = cluster.tcp_conninfo().parse().unwrap();
    let secret = testkit::template::BARMAN_PASSWORD;
    assert_eq!(info.get("password"), Some(secret));
    let standby = StandbyConnection::new(PostgresConnection::new(info.clone()), info, Duration::ZERO);
    standby.standby().start_concurrent_backup("x").unwrap();
    standby.standby().close();
    let keepalive = KeepAlive::start(standby.standby(), LONG, flag()).unwrap();
    raised(&keepalive.flag());
    for shown in [
        format!("{standby:?}"),
        format!("{keepalive:?}"),
        standby
            .standby()
            .stop_concurrent_backup()
            .unwrap_err()
            .to_string(),
        keepalive.end().unwrap_err().to_string(),
        format!("{:?}", standby.standby().get_connection_string(Some("x"))),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
