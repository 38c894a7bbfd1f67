//! `check` against real servers, servers that are down, and servers that never answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod check_support;

use std::io::Read;
use std::time::{Duration, Instant};

use barman_catalog::{BackupInfo, BackupStatus, Layout, backup_info};
use barman_core::config::Config;
use barman_core::context::{Silent, SystemClock};
use barman_core::ops::check::{self, CheckOptions};
use barman_core::{Cancel, CancelCause, Context};
use check_support::{Host, lines, run};
use testkit::Cluster;

#[test]
fn a_server_that_streams() {
    let cluster = Cluster::start_new(15).unwrap();
    cluster
        .sql("SELECT pg_create_physical_replication_slot('barman', true)")
        .unwrap();
    let host = Host::new();
    host.with_wal();
    let mut server = host.server(&format!(
        "conninfo = {}\nstreaming_conninfo = {}\nbackup_method = postgres\nstreaming_archiver = on\n\
         slot_name = barman\nlast_backup_maximum_age = 7 days\n",
        cluster.conninfo(),
        cluster.streaming_conninfo()
    ));
    let report = run(&mut server);
    assert_eq!(
        lines(&report),
        [
            "PostgreSQL: OK",
            "superuser or standard user with backup privileges: OK",
            "PostgreSQL streaming: OK",
            "wal_level: OK",
            "replication slot: FAILED (slot 'barman' not active: is 'receive-wal' running?)",
            "directories: OK",
            "retention policy settings: OK",
            "backup maximum age: FAILED (interval provided: 7 days, latest backup age: No available backups)",
            "backup minimum size: OK (0 B)",
            "wal maximum age: OK (no last_wal_maximum_age provided)",
            "wal size: OK (0 B)",
            "compression settings: OK",
            "failed backups: OK (there are 0 failed backups)",
            "minimum redundancy requirements: OK (have 0 non-incremental backups, expected at least 0)",
            "pg_basebackup: OK",
            "pg_basebackup compatible: OK",
            "pg_basebackup supports tablespaces mapping: OK",
            "systemid coherence: OK (no system Id stored on disk)",
            "pg_receivexlog: OK",
            "pg_receivexlog compatible: OK",
            "receive-wal running: FAILED (See the Barman log file for more details)",
            "archiver errors: OK",
        ]
    );
    assert!(report.has_failed());
    let critical: Vec<_> = report.critical().map(|result| result.name.as_str()).collect();
    assert_eq!(critical, ["replication slot", "receive-wal running"]);
    assert!(host.home().join("main/meta").is_dir());
}

#[test]
fn a_server_whose_wal_is_shipped_by_a_role_without_privileges() {
    let cluster = Cluster::builder(18)
        .conf("archive_mode", "on")
        .conf("archive_command", "")
        .start()
        .unwrap();
    cluster.sql("CREATE ROLE plain LOGIN").unwrap();
    let host = Host::new();
    let layout = host.with_wal();
    std::fs::create_dir_all(&layout.incoming_wals_directory).unwrap();
    std::fs::create_dir_all(&layout.streaming_wals_directory).unwrap();
    std::fs::create_dir_all(&layout.errors_directory).unwrap();
    for name in ["a", "b", ".hidden", "c.tmp"] {
        std::fs::write(layout.incoming_wals_directory.join(name), "").unwrap();
    }
    std::fs::write(layout.streaming_wals_directory.join("x"), "").unwrap();
    std::fs::write(layout.errors_directory.join("a.1.duplicate"), "").unwrap();
    let now = barman_catalog::Timestamp::from_zoned(&jiff::Zoned::now());
    for (id, status, size) in [
        ("20261121T010000", BackupStatus::Failed, 0),
        ("20261121T020000", BackupStatus::Done, 23_269_206),
    ] {
        let mut info = BackupInfo::new(id.parse().unwrap(), "main", Some("postgres".into()));
        info.status = status;
        info.size = Some(size);
        info.timeline = "00000001".parse().ok();
        info.begin_wal = "000000010000000000000003".parse().ok();
        info.end_wal = "000000010000000000000003".parse().ok();
        info.end_time = Some(now);
        std::fs::create_dir_all(layout.meta_directory()).unwrap();
        backup_info::save(&layout, &info).unwrap();
    }
    std::fs::write(layout.identity(), "{\"systemid\": \"1\", \"version\": \"18\"}").unwrap();
    let conninfo = format!("{} user=plain", cluster.conninfo());
    let mut server = host.server(&format!(
        "conninfo = {conninfo}\nstreaming_conninfo = {}\nbackup_method = postgres\narchiver = on\n\
         max_incoming_wals_queue = 1\nlast_backup_minimum_size = 1Gi\nminimum_redundancy = 2\n\
         retention_policy = rubbish\ncompression = zstd\nlast_wal_maximum_age = 1 hour\n",
        cluster.streaming_conninfo()
    ));
    let report = run(&mut server);
    let shown = lines(&report);
    for line in [
        "empty streaming directory: FAILED ('HOME/main/streaming' must be empty when streaming_archiver=off)",
        "incoming WALs directory: FAILED (there are too many WALs in queue: 2, max 1)",
        "PostgreSQL: OK",
        "no access to backup functions: FAILED (privileges for PostgreSQL backup functions are required (see \
         documentation))",
        "retention policy settings: FAILED (see log)",
        "backup maximum age: OK (no last_backup_maximum_age provided)",
        "backup minimum size: FAILED (last backup size 22.2 MiB < 1.0 GiB minimum)",
        "wal size: OK (16.0 MiB)",
        "failed backups: FAILED (there are 1 failed backups)",
        "minimum redundancy requirements: FAILED (have 1 non-incremental backups, expected at least 2)",
        "systemid coherence: FAILED (the system Id of the connected PostgreSQL server changed, stored in \
         \"HOME/main/identity.json\")",
        "archive_mode: OK",
        "archive_command: FAILED (please set it accordingly to documentation)",
        "archiver errors: FAILED (duplicates: 1)",
    ] {
        let line = line.replace("HOME", &host.home().display().to_string());
        assert!(shown.contains(&line), "{line}\n{shown:#?}");
    }
    let perfdata: Vec<_> = report
        .results
        .iter()
        .filter_map(|result| result.perfdata)
        .collect();
    assert_eq!(perfdata, [23_269_206, 16_777_216]);
}

#[test]
fn a_standby() {
    let primary = Cluster::start_new(17).unwrap();
    let standby = Cluster::builder(17).standby_of(&primary).unwrap();
    let host = Host::new();
    host.with_wal();
    let mut server = host.server(&format!(
        "conninfo = {}\nprimary_conninfo = {}\nstreaming_conninfo = {}\nbackup_method = postgres\narchiver = on\n",
        standby.conninfo(),
        primary.conninfo(),
        standby.streaming_conninfo()
    ));
    let shown = lines(&run(&mut server));
    for line in [
        "PostgreSQL server is standby: OK",
        "Primary server is not a standby: OK",
        "Primary and standby have same system ID: OK",
    ] {
        assert!(shown.contains(&line.to_owned()), "{shown:#?}");
    }
    drop(primary);
    let shown = lines(&run(&mut server));
    assert!(
        shown
            .iter()
            .any(|line| line.starts_with("Primary server is not a standby: FAILED")),
        "{shown:#?}"
    );
}

/// A library archives without a command; a command that has only failed archives nothing.
#[test]
fn archiving_by_a_library_and_archiving_that_only_fails() {
    for (setting, value, expected) in [
        // Nothing has failed yet.
        (
            "archive_library",
            "somebody",
            &["archive_command: OK", "continuous archiving: OK"][..],
        ),
        (
            "archive_command",
            "false",
            &["archive_command: OK", "continuous archiving: FAILED"],
        ),
    ] {
        let cluster = Cluster::builder(17)
            .conf("archive_mode", "on")
            .conf(setting, value)
            .start()
            .unwrap();
        if setting == "archive_command" {
            cluster.switch_wal().unwrap();
            testkit::wait_until("archiving has failed", Duration::from_secs(60), || {
                Ok(cluster.sql_value("SELECT failed_count > 0 FROM pg_stat_archiver")? == "t")
            })
            .unwrap();
        }
        let host = Host::new();
        host.with_wal();
        let mut server = host.server(&format!(
            "conninfo = {}\nstreaming_conninfo = {}\nbackup_method = postgres\narchiver = on\n",
            cluster.conninfo(),
            cluster.streaming_conninfo()
        ));
        let shown = lines(&run(&mut server));
        let about: Vec<&str> = shown
            .iter()
            .map(String::as_str)
            .filter(|line| line.starts_with("archive_command") || line.starts_with("continuous"))
            .collect();
        assert_eq!(about, expected, "{shown:#?}");
    }
}

#[test]
fn wal_by_other_connections() {
    let one = Cluster::start_new(16).unwrap();
    let other = Cluster::start_new(16).unwrap();
    let host = Host::new();
    host.with_wal();
    let mut server = host.server(&format!(
        "conninfo = {}\nstreaming_conninfo = {}\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = barman\n\
         wal_conninfo = {}\nwal_streaming_conninfo = {}\n",
        one.conninfo(),
        one.streaming_conninfo(),
        other.conninfo(),
        other.streaming_conninfo()
    ));
    let shown = lines(&run(&mut server));
    let group: Vec<_> = shown
        .iter()
        .filter(|line| line.contains("(WAL streaming)"))
        .collect();
    assert_eq!(
        group,
        [
            "has monitoring privileges (WAL streaming): OK",
            "PostgreSQL streaming (WAL streaming): OK",
            "wal_level (WAL streaming): OK",
            "systemid coherence (WAL streaming): OK (no system Id stored on disk)",
            "replication slot (WAL streaming): FAILED (replication slot 'barman' doesn't exist. Please execute \
             'barman receive-wal --create-slot main')",
        ]
    );
    let cancel = Cancel::new();
    let ctx = Context {
        progress: &Silent,
        cancel: &cancel,
        clock: &SystemClock,
    };
    server.use_wal_connections();
    let report = check::streaming_preflight(&mut server, &CheckOptions::default(), &ctx).unwrap();
    assert_eq!(report.results.len(), 4);
    assert_eq!(report.critical().count(), 0);
}

#[test]
fn a_server_that_is_down() {
    let lease = testkit::ports::PortLease::take().unwrap();
    let host = Host::new();
    host.with_wal();
    let mut server = host.server(&format!(
        "conninfo = host=127.0.0.1 port={} user=x\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = s\n",
        lease.port()
    ));
    let report = run(&mut server);
    let failed: Vec<_> = report
        .results
        .iter()
        .filter(|result| !result.ok)
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(failed, ["PostgreSQL", "replication slot", "receive-wal running"]);
    let shown = lines(&report);
    assert_eq!(shown.first().unwrap(), "PostgreSQL: FAILED");
    assert!(shown.contains(&"systemid coherence: OK (no system Id available)".to_owned()));
}

/// Accepts connections and never says a word.
fn black_hole() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for stream in accepting.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut bytes = [0; 1024];
                while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
            });
        }
    });
    (listener, port)
}

#[test]
fn the_time_limit_holds_for_a_server_that_never_answers() {
    let (_listener, port) = black_hole();
    let host = Host::new();
    host.with_wal();
    let mut server = host.server(&format!(
        "conninfo = host=127.0.0.1 port={port} user=x sslmode=disable\nbackup_method = postgres\narchiver = on\n\
         check_timeout = 600\n"
    ));
    let cancel = Cancel::new();
    let ctx = Context {
        progress: &Silent,
        cancel: &cancel,
        clock: &SystemClock,
    };
    let options = CheckOptions {
        timeout: Some(Duration::from_secs(1)),
    };
    let start = Instant::now();
    let report = check::run(&mut server, &options, &ctx).unwrap();
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(
        lines(&report),
        ["check timeout: FAILED (barman check command timed out)"]
    );

    let other = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        other.request(CancelCause::Terminate);
    });
    let stopped = check::run(&mut server, &CheckOptions::default(), &ctx).unwrap_err();
    assert_eq!(stopped.cause, CancelCause::Terminate);
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[test]
fn what_no_backup_can_be_taken_with_is_a_failed_line() {
    let host = Host::new();
    host.with_wal();
    let base = "conninfo = host=127.0.0.1 port=1\nstreaming_conninfo = host=127.0.0.1 port=1\nbackup_method = postgres\n\
                streaming_archiver = on\nslot_name = s\n";
    let mut server = host.server(&format!("{base}backup_compression = gzip\n"));
    let line = "backup compression: FAILED (backup_compression 'gzip' is not available yet)".to_owned();
    assert!(lines(&run(&mut server)).contains(&line));
    let mut server = host.server(base);
    assert!(
        !lines(&run(&mut server))
            .iter()
            .any(|line| line.starts_with("backup compression"))
    );
}

#[test]
fn broken_files_are_failed_lines() {
    let host = Host::new();
    let layout = host.with_wal();
    std::fs::create_dir_all(layout.meta_directory()).unwrap();
    std::fs::write(layout.backup_info("20261121T010000".parse().unwrap()), "rubbish").unwrap();
    std::fs::write(host.home().join("main/base"), "not a directory").unwrap();
    let mut server = host.server("active = off\nencryption = gpg\nwals_directory = s3://bucket/x\n");
    let report = run(&mut server);
    assert!(!report.has_failed(), "an inactive server may fail");
    assert_eq!(report.state, " (inactive)");
    let shown = lines(&report);
    assert!(
        shown.iter().any(|line| line.starts_with("directories: FAILED (")),
        "{shown:#?}"
    );
    assert!(shown.contains(&"encryption: FAILED (encryption is not available yet)".to_owned()));
    assert!(
        shown
            .iter()
            .any(|line| line.starts_with("cloud storage configuration: FAILED"))
    );
    assert!(
        shown.last().unwrap().starts_with("archiver errors: "),
        "{shown:#?}"
    );
}

#[test]
fn an_empty_archive_is_given_what_waits() {
    let host = Host::new();
    let layout = Layout::new("main", host.home());
    std::fs::create_dir_all(&layout.incoming_wals_directory).unwrap();
    std::fs::write(
        layout.incoming_wals_directory.join("00000002.history"),
        "1\t0/3000000\tno recovery target\n",
    )
    .unwrap();
    let mut server =
        host.server("conninfo = host=127.0.0.1 port=1\narchiver = on\nbackup_method = postgres\n");
    let report = run(&mut server);
    assert!(
        !report.results.iter().any(|result| result.name == "WAL archive"),
        "{:#?}",
        lines(&report)
    );
    assert!(layout.wals_directory.join("00000002.history").exists());
}

/// What waits is archived by the check itself: neither a long queue nor a hook that hangs may take longer than the checks.
#[test]
fn the_time_limit_holds_for_what_the_check_archives() {
    let host = Host::new();
    let layout = Layout::new("main", host.home());
    std::fs::create_dir_all(&layout.incoming_wals_directory).unwrap();
    let waiting = layout.incoming_wals_directory.join("00000002.history");
    std::fs::write(&waiting, "1\t0/3000000\tno recovery target\n").unwrap();
    let mut server = host.server(
        "conninfo = host=127.0.0.1 port=1\narchiver = on\nbackup_method = postgres\ncheck_timeout = 1\n\
         pre_archive_script = sleep 120\n",
    );
    let start = Instant::now();
    let report = run(&mut server);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(
        lines(&report),
        ["check timeout: FAILED (barman check command timed out)"]
    );
    assert!(waiting.exists(), "it is archived another time");
}

#[test]
fn an_empty_archive_makes_the_server_switch() {
    let host = Host::new();
    let layout = Layout::new("main", host.home());
    std::fs::create_dir_all(&layout.incoming_wals_directory).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&layout.incoming_wals_directory, mode).unwrap();
    for directory in [host.directory.path(), &host.home(), &layout.backup_directory] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory, mode).unwrap();
    }
    let command = format!("cp %p {}/%f", layout.incoming_wals_directory.display());
    let cluster = Cluster::builder(15)
        .conf("archive_mode", "on")
        .conf("archive_command", &command)
        .start()
        .unwrap();
    cluster.sql("CREATE TABLE t (id int)").unwrap();
    let mut server = host.server(&format!(
        "conninfo = {}\narchiver = on\nbackup_method = postgres\n",
        cluster.conninfo()
    ));
    let report = run(&mut server);
    assert!(
        !report.results.iter().any(|result| result.name == "WAL archive"),
        "{:#?}",
        lines(&report)
    );
    assert!(std::fs::metadata(layout.xlogdb()).unwrap().len() > 0);
}

#[test]
fn waiting_for_the_first_wal_ends() {
    let cluster = Cluster::start_new(15).unwrap();
    let host = Host::new();
    let mut server = host.server(&format!(
        "conninfo = {}\narchiver = on\nbackup_method = postgres\ncheck_timeout = 20\n",
        cluster.conninfo()
    ));
    let start = Instant::now();
    let report = run(&mut server);
    assert_eq!(
        lines(&report).first().map(String::as_str),
        Some("WAL archive: FAILED (please make sure WAL shipping is setup)")
    );
    assert!(report.results.len() > 10, "the rest goes on");
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// Its rest would be longer than the wait.
#[test]
fn what_could_not_be_archived_is_tried_once_more_before_the_wait_ends() {
    let cluster = Cluster::start_new(15).unwrap();
    let host = Host::new();
    // It works from the second time on.
    let tried = host.directory.path().join("tried");
    let mut server = host.server(&format!(
        "conninfo = {}\narchiver = on\nbackup_method = postgres\ncheck_timeout = 12\ncompression = custom\n\
         custom_decompression_filter = cat\n\
         custom_compression_filter = if test -e {1}; then cat; else touch {1}; exit 1; fi\n",
        cluster.conninfo(),
        tried.display()
    ));
    let incoming = host.home().join("main/incoming");
    std::fs::create_dir_all(&incoming).unwrap();
    std::fs::write(incoming.join("000000010000000000000001"), "x").unwrap();
    let report = run(&mut server);
    assert!(
        tried.exists() && !report.results.iter().any(|result| result.name == "WAL archive"),
        "{:#?}",
        lines(&report)
    );
}

#[test]
fn an_empty_archive_costs_no_segment_at_each_check() {
    let cluster = Cluster::start_new(18).unwrap();
    let host = Host::new();
    let mut server = host.server(&format!(
        "conninfo = {}\nstreaming_conninfo = {}\nbackup_method = postgres\narchiver = on\ncheck_timeout = 10\n",
        cluster.conninfo(),
        cluster.streaming_conninfo()
    ));
    std::fs::create_dir_all(server.layout().meta_directory()).unwrap();
    let segment = || {
        cluster
            .sql("SELECT pg_logical_emit_message(false, 'x', 'y')")
            .unwrap();
        cluster
            .sql_value("SELECT pg_walfile_name(pg_current_wal_lsn())")
            .unwrap()
    };
    let mut seen = vec![segment()];
    for _ in 0..3 {
        let report = run(&mut server);
        let first = report.results.first().unwrap();
        assert_eq!((first.name.as_str(), first.ok), ("WAL archive", false));
        seen.push(segment());
    }
    assert_ne!(seen[0], seen[1], "the first check asks for a segment");
    assert!(seen[1] == seen[2] && seen[2] == seen[3], "{seen:?}");
}

#[test]
fn servers_are_checked_at_the_same_time() {
    let (_listener, port) = black_hole();
    let host = Host::new();
    let text: String = ["a", "b", "c", "d"]
        .map(|name| {
            let wals = host.home().join(name).join("wals");
            std::fs::create_dir_all(&wals).unwrap();
            std::fs::write(
                wals.join(format!("{name}-xlog.db")),
                "000000010000000000000003\t16777216\t1795236733.80\tNone\tNone\n",
            )
            .unwrap();
            format!(
                "[{name}]\nconninfo = host=127.0.0.1 port={port} user=x sslmode=disable\nbackup_method = postgres\n\
                 archiver = on\ncheck_timeout = 6\n"
            )
        })
        .concat();
    let path = host.directory.path().join("several.conf");
    std::fs::write(
        &path,
        format!("[barman]\nbarman_home = {}\n{text}", host.home().display()),
    )
    .unwrap();
    let config = Config::load(&path, None).unwrap();
    let servers: Vec<_> = config.servers.iter().collect();
    let cancel = Cancel::new();
    let ctx = Context {
        progress: &Silent,
        cancel: &cancel,
        clock: &SystemClock,
    };
    let start = Instant::now();
    let reports = check::run_all(&servers, &CheckOptions::default(), &ctx);
    // One after the other they would take four times as long as each.
    assert!(start.elapsed() < Duration::from_secs(24), "{:?}", start.elapsed());
    let names: Vec<_> = reports
        .iter()
        .map(|report| report.as_ref().unwrap().server.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    for report in &reports {
        assert_eq!(
            report.as_ref().unwrap().results.last().unwrap().name,
            "check timeout"
        );
    }
}
