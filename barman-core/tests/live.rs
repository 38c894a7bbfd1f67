//! `status`, `replication-status` and `diagnose` with real servers: of several majors, standbys, roles without
//! privileges, servers that are down and servers that stop answering in the middle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::time::{Duration, Instant};

use barman_core::config::Config;
use barman_core::context::{Silent, SystemClock};
use barman_core::ops::diagnose::{self, DiagnoseReport};
use barman_core::ops::replication_status::{
    self, ClientType, ReplicationStatusError, ReplicationStatusOptions, ReplicationStatusReport, Source,
};
use barman_core::ops::status::{self, Postgres, StatusReport};
use barman_core::{Cancel, CancelCause, Context, Failure};
use testkit::proxy::{Action, Fault, Proxy, What};
use testkit::{Cluster, wait_until};

/// The majors that the tests run on.
const MAJORS: [u16; 3] = [10, 15, 18];

struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn config(&self, sections: &str) -> Config {
        let path = self.directory.path().join("barman.conf");
        let home = self.directory.path().join("home");
        std::fs::write(
            &path,
            format!("[barman]\nbarman_home = {}\n{sections}", home.display()),
        )
        .unwrap();
        Config::load(&path, None).unwrap()
    }
}

fn with_context<T>(cancel: &Cancel, act: impl FnOnce(&Context<'_>) -> T) -> T {
    act(&Context {
        progress: &Silent,
        cancel,
        clock: &SystemClock,
    })
}

fn status_of(config: &Config) -> Vec<StatusReport> {
    let servers: Vec<_> = config.servers.iter().collect();
    with_context(&Cancel::new(), |ctx| status::run(&servers, ctx))
}

fn clients_of(
    config: &Config,
    target: ClientType,
) -> Vec<Result<ReplicationStatusReport, ReplicationStatusError>> {
    let servers: Vec<_> = config.servers.iter().collect();
    let options = ReplicationStatusOptions {
        target,
        source: Source::BackupHost,
    };
    with_context(&Cancel::new(), |ctx| {
        replication_status::run(&servers, &options, ctx)
    })
}

fn diagnosed(config: &Config) -> DiagnoseReport {
    with_context(&Cancel::new(), |ctx| diagnose::run(config, ctx))
}

fn section(name: &str, cluster: &Cluster) -> String {
    format!(
        "[{name}]\nconninfo = {}\nstreaming_conninfo = {}\nbackup_method = postgres\narchiver = on\n",
        cluster.conninfo(),
        cluster.streaming_conninfo()
    )
}

#[test]
fn a_primary_and_its_standby_of_every_major() {
    for major in MAJORS {
        let primary = Cluster::builder(major)
            .conf("archive_mode", "on")
            .conf("archive_command", "true")
            .start()
            .unwrap();
        primary
            .sql("SELECT pg_create_physical_replication_slot('barman', true)")
            .unwrap();
        let standby = Cluster::builder(major).standby_of(&primary).unwrap();
        let closed = primary.switch_wal().unwrap();
        wait_until("the segment is archived", Duration::from_secs(60), || {
            Ok(primary.sql_value("SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver")? == "t")
        })
        .unwrap();
        wait_until("the standby has caught up", Duration::from_secs(60), || {
            let level = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()";
            Ok(primary.sql_value(level)? == "1")
        })
        .unwrap();
        let host = Host::new();
        let config = host.config(&format!(
            "{}slot_name = barman\n{}streaming_archiver = on\nslot_name = none\n",
            section("a", &primary),
            section("b", &standby)
        ));

        let reports = status_of(&config);
        let [first, second] = reports.as_slice() else {
            panic!("{reports:?}")
        };
        let Some(Postgres::Answered {
            version,
            in_recovery: Some(false),
            size: Some(size),
            data_directory: Some(directory),
            current_wal: Some(_),
            incomplete: None,
        }) = &first.postgres
        else {
            panic!("{major}: {first:?}")
        };
        assert!(version.starts_with(&format!("{major}.")), "{version}");
        assert!(*size > 1 << 20, "{size}");
        assert_eq!(std::path::Path::new(directory), primary.data_dir());
        let archiving = first.archiving.as_ref().unwrap();
        assert_eq!(archiving.command.as_deref(), Some("true"));
        let counters = archiving.counters.as_ref().unwrap();
        let (last, time) = counters.last_archived.as_ref().unwrap();
        assert!(last.starts_with(&closed[..8]) && time.is_some(), "{counters:?}");
        assert!(counters.hourly_rate.unwrap() > 0.0);
        let Some(Postgres::Answered {
            in_recovery: Some(true),
            current_wal: None,
            ..
        }) = &second.postgres
        else {
            panic!("{major}: {second:?}")
        };

        let mut clients = clients_of(&config, ClientType::Any);
        let of_standby = clients.pop().unwrap().unwrap();
        assert!(
            of_standby.server_lsn.is_some() && of_standby.clients.is_empty(),
            "{of_standby:?}"
        );
        let of_primary = clients.pop().unwrap().unwrap();
        let [client] = of_primary.clients.as_slice() else {
            panic!("{of_primary:?}")
        };
        assert!(client.is_standby() && client.started_at.is_some() && client.pid.is_some());
        // The server writes WAL of its own accord, and its standby needs a moment to follow.
        wait_until("the standby is level with it", Duration::from_secs(60), || {
            let found = clients_of(&config, ClientType::Any).swap_remove(0)?;
            let [client] = found.clients.as_slice() else {
                panic!("{found:?}")
            };
            let level = client.sent.and_then(|sent| client.difference(sent)) == Some(0);
            Ok(level && client.sync_stage() == "5/5 Hot standby (max)")
        })
        .unwrap();
        let streamers = clients_of(&config, ClientType::WalStreamer);
        assert!(
            streamers
                .iter()
                .all(|one| one.as_ref().unwrap().clients.is_empty())
        );

        let report = diagnosed(&config);
        assert!(!report.system.kernel_ver.is_empty());
        let statuses: Vec<_> = report
            .servers
            .iter()
            .map(|one| one.status.as_ref().unwrap())
            .collect();
        let sql = statuses[0].sql.as_ref().unwrap();
        assert_eq!(sql.replication_slot.as_ref().unwrap().slot_name, "barman");
        assert_eq!(sql.wal_keep_size.is_some(), major >= 13);
        assert_eq!(sql.wal_keep_segments.is_some(), major < 13);
        assert!(statuses[0].receives_wal.is_none());
        assert_eq!(statuses[1].receives_wal, Some(Some(false)));
        assert_eq!(
            statuses[1].streaming.as_ref().unwrap().streaming_systemid,
            sql.postgres_systemid
        );
        assert!(
            report.servers.iter().all(|one| one.problems.is_empty()),
            "{report:?}"
        );
    }
}

/// A library archives without a command.
#[test]
fn a_library_in_place_of_a_command() {
    let cluster = Cluster::builder(17)
        .conf("archive_mode", "on")
        .conf("archive_library", "somebody")
        .start()
        .unwrap();
    let host = Host::new();
    let reports = status_of(&host.config(&section("a", &cluster)));
    let archiving = reports[0].archiving.as_ref().unwrap();
    assert_eq!(
        (archiving.command.as_deref(), archiving.library.as_deref()),
        (None, Some("somebody")),
        "{archiving:?}"
    );
}

#[test]
fn a_role_without_privileges() {
    for major in MAJORS {
        let cluster = Cluster::builder(major)
            .conf("archive_mode", "on")
            .conf("archive_command", "")
            .start()
            .unwrap();
        cluster.sql("CREATE ROLE plain LOGIN").unwrap();
        let host = Host::new();
        let plain = section("a", &cluster).replacen("user=barman", "user=plain", 1);
        let config = host.config(&format!("{plain}{}", section("b", &cluster)));
        let reports = status_of(&config);
        let Some(Postgres::Answered {
            size: None,
            data_directory: None,
            current_wal: Some(_),
            incomplete: None,
            ..
        }) = &reports[0].postgres
        else {
            panic!("{:?}", reports[0])
        };
        let archiving = reports[0].archiving.as_ref().unwrap();
        assert_eq!((&archiving.command, &archiving.library), (&None, &None));

        let clients = clients_of(&config, ClientType::Any);
        let error = clients[0].as_ref().unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("Cannot read the replication status of server a: "),
            "{text}"
        );
        assert!(text.contains("pg_monitor"), "{text}");
        assert!(clients[1].is_ok(), "one server's trouble is not the other's");
    }
}

/// A proxy that stops passing what the server says before its `nth` row of an answer.
fn stalled(cluster: &Cluster, nth: u64) -> Proxy {
    let proxy = Proxy::to_socket(cluster).unwrap();
    proxy.set([Fault::to_client(What::Type(b'D'), nth, Action::Stall)]);
    proxy
}

#[test]
fn servers_that_stop_answering_keep_nobody_waiting() {
    let cluster = Cluster::start_new(15).unwrap();
    // At the privileges, in the middle of the status, and not at all.
    let proxies: Vec<Proxy> = [1, 15, 16]
        .into_iter()
        .map(|nth| stalled(&cluster, nth))
        .collect();
    let host = Host::new();
    let mut text = String::from("check_timeout = 5\n");
    for (name, proxy) in ["a", "b", "c"].into_iter().zip(&proxies) {
        text.push_str(&section(name, &cluster).replacen(
            &cluster.conninfo(),
            &proxy.conninfo(&cluster.conninfo()),
            1,
        ));
    }
    // The one that answers is given all the time that it needs.
    text.push_str(&section("z", &cluster));
    text.push_str("check_timeout = 120\n");
    let config = host.config(&text);
    let start = Instant::now();
    let reports = status_of(&config);
    let took = start.elapsed();
    // One after the other they would take three times as long as each.
    assert!(took < Duration::from_secs(15), "{took:?}");
    let Some(Postgres::Unreachable { reason: Some(reason) }) = &reports[0].postgres else {
        panic!("{:?}", reports[0])
    };
    assert_eq!(reason, "it did not answer within check_timeout");
    for report in &reports[1..3] {
        assert!(
            matches!(
                &report.postgres,
                Some(
                    Postgres::Answered {
                        incomplete: Some(_),
                        ..
                    } | Postgres::Unreachable { reason: Some(_) }
                )
            ),
            "{report:?}"
        );
    }
    let Some(Postgres::Answered { incomplete: None, .. }) = &reports[3].postgres else {
        panic!("{:?}", reports[3])
    };
    assert!(
        reports
            .iter()
            .all(|report| report.backups.is_some() && report.problems.is_empty())
    );

    // A fault strikes once; now before the server asks for a password, which connections from before have behind them.
    let stall_again = || {
        for proxy in &proxies {
            proxy.set([Fault::to_client(What::Type(b'R'), 1, Action::Stall)]);
        }
    };
    stall_again();
    let clients = clients_of(&config, ClientType::Any);
    for answer in &clients[..3] {
        let error = answer.as_ref().unwrap_err();
        assert!(
            error.to_string().starts_with("Unable to connect to server "),
            "{error}"
        );
        assert_eq!(
            error.hint().as_deref(),
            Some("it did not answer within check_timeout")
        );
    }
    assert!(clients[3].is_ok());
    stall_again();
    let report = diagnosed(&config);
    assert_eq!(
        report.servers[0].problems,
        ["PostgreSQL did not answer within check_timeout"]
    );
    assert!(report.servers[3].problems.is_empty());
}

#[test]
fn a_request_to_stop_ends_the_waiting() {
    let cluster = Cluster::start_new(18).unwrap();
    let proxy = stalled(&cluster, 1);
    let host = Host::new();
    let text = section("a", &cluster).replace(&cluster.conninfo(), &proxy.conninfo(&cluster.conninfo()));
    let config = host.config(&format!("check_timeout = 0\n{text}"));
    let servers: Vec<_> = config.servers.iter().collect();
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            proxy.wait_fired(1, Duration::from_secs(30)).unwrap();
            cancel.request(CancelCause::Interrupt);
        });
        let reports = with_context(&cancel, |ctx| status::run(&servers, ctx));
        let Some(Postgres::Unreachable { reason: Some(reason) }) = &reports[0].postgres else {
            panic!("{:?}", reports[0])
        };
        assert_eq!(reason, "interrupted");
    });
    let options = ReplicationStatusOptions {
        target: ClientType::Any,
        source: Source::BackupHost,
    };
    let answers = with_context(&cancel, |ctx| replication_status::run(&servers, &options, ctx));
    assert!(matches!(
        answers[0],
        Err(ReplicationStatusError::Interrupted { .. })
    ));
}

#[test]
fn a_catalogue_that_cannot_be_read_is_told_beside_the_rest() {
    let host = Host::new();
    let config = host
        .config("[a]\nactive = false\nconninfo = host=x\narchiver = on\n[b]\nprimary_ssh_command = ssh x\n");
    let meta = host.directory.path().join("home/a/meta");
    std::fs::create_dir_all(&meta).unwrap();
    std::fs::write(meta.join("20261121T010000-backup.info"), "status=NONSENSE\n").unwrap();
    let reports = status_of(&config);
    assert!(reports[0].postgres.is_none() && reports[1].postgres.is_none());
    assert_eq!(reports[0].problems.len(), 1);
    assert!(reports[1].problems.is_empty() && reports[1].passive);
    assert_eq!(diagnosed(&config).servers[0].problems.len(), 1);
    std::fs::remove_dir_all(&meta).unwrap();
    std::fs::write(&meta, "").unwrap();
    let reports = status_of(&config);
    assert!(reports[0].backups.is_none(), "{:?}", reports[0]);
    assert_eq!(reports[0].problems.len(), 1);
}
