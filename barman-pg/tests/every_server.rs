//! Every function of the connections against servers of every major: primaries and standbys, and roles from superuser
//! down to one without any privilege. The short run has each major once, as a primary or as a standby; the long run has
//! both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_macros,
    reason = "a test"
)]

use std::path::Path;
use std::time::Duration;

use barman_pg::basebackup::CheckpointMode;
use barman_pg::connection::{Heartbeat, SlotError, SwitchPlan};
use barman_pg::sql::{ClientType, WalSwitch};
use barman_pg::{ConnectOptions, Error, PostgresConnection, StandbyConnection, StreamingConnection};
use barman_wal::{Lsn, TimelineId};
use testkit::{ALL_MAJORS, Cluster, TestDir};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Primary,
    Standby,
}

/// A role, and what it is allowed.
#[derive(Debug, Clone, Copy)]
struct Role {
    name: &'static str,
    superuser: bool,
    monitoring: bool,
    backup: bool,
    /// `pg_checkpoint`, which exists from 15 on.
    checkpoint_from_15: bool,
}

const ROLES: [Role; 4] = [
    Role {
        name: "barman",
        superuser: true,
        monitoring: true,
        backup: true,
        checkpoint_from_15: true,
    },
    // What the manual asks for, and no more.
    Role {
        name: "least",
        superuser: false,
        monitoring: true,
        backup: true,
        checkpoint_from_15: false,
    },
    Role {
        name: "monitoring",
        superuser: false,
        monitoring: true,
        backup: false,
        checkpoint_from_15: true,
    },
    Role {
        name: "nothing",
        superuser: false,
        monitoring: false,
        backup: false,
        checkpoint_from_15: false,
    },
];

impl Role {
    fn checkpoint(self, major: u16) -> bool {
        self.superuser || (self.checkpoint_from_15 && major >= 15)
    }
}

fn options() -> ConnectOptions {
    ConnectOptions {
        environment: |_| None,
        ..ConnectOptions::default().with_timeouts(Duration::from_secs(10), Duration::from_secs(30))
    }
}

/// The roles; and for each a schema of look-alikes in front of everything, which must not be believed.
fn make_roles(cluster: &Cluster) {
    let functions = if cluster.major() >= 15 {
        "pg_backup_start(text, bool), pg_backup_stop(bool)"
    } else {
        "pg_start_backup(text, bool, bool), pg_stop_backup(bool, bool), pg_stop_backup()"
    };
    let mut sql = format!(
        "CREATE ROLE least LOGIN; CREATE ROLE monitoring LOGIN; CREATE ROLE nothing LOGIN;
         GRANT EXECUTE ON FUNCTION {functions}, pg_switch_wal(), pg_create_restore_point(text) TO least;
         GRANT pg_read_all_settings, pg_read_all_stats TO least;
         GRANT pg_monitor TO monitoring;
         CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;
         CREATE FUNCTION evil.version() RETURNS text LANGUAGE sql AS 'SELECT ''Evil 1.2''::text';
         CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT NULL::bool';
         CREATE FUNCTION evil.pg_current_wal_lsn() RETURNS pg_lsn LANGUAGE sql AS 'SELECT ''0/1''::pg_lsn';
         CREATE FUNCTION evil.same(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
         CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, PROCEDURE = evil.same);
         CREATE VIEW evil.pg_settings AS SELECT 'wal_segment_size' AS name, '77' AS setting;
         CREATE VIEW evil.pg_user AS SELECT current_user AS usename, true AS usesuper;
         GRANT SELECT ON ALL TABLES IN SCHEMA evil TO PUBLIC;"
    );
    if cluster.major() >= 15 {
        sql.push_str("GRANT pg_checkpoint TO monitoring;");
    }
    for role in ROLES {
        sql.push_str(&format!(
            "ALTER ROLE {0} SET search_path = evil, pg_catalog;",
            role.name
        ));
        if cluster.major() >= 14 {
            sql.push_str(&format!(
                "ALTER ROLE {0} SET idle_session_timeout = '1h';",
                role.name
            ));
        }
    }
    cluster.sql(&sql).unwrap();
}

/// Small segments have many borders, and not the usual number in a log file.
fn segment_mb(major: u16) -> u32 {
    match major {
        12 | 14 | 15 | 17 | 18 => 1,
        _ => 16,
    }
}

/// What a row of the table runs on.
struct Scene {
    kind: Kind,
    /// Who is asked.
    server: Cluster,
    /// Its primary, if it is a standby.
    primary: Option<Cluster>,
    _archives: TestDir,
}

impl Scene {
    fn new(major: u16, kind: Kind) -> Self {
        let archives = TestDir::new().unwrap();
        let conf = |name: &str, mode: &str| {
            let archive = archives.server_dir(name).unwrap();
            let builder = Cluster::builder(major);
            let builder = match segment_mb(major) {
                16 => builder,
                mb => builder.wal_segment_mb(mb),
            };
            builder
                .conf("archive_mode", mode)
                .conf(
                    "archive_command",
                    &format!("cp %p {}/%f", archive.to_str().unwrap()),
                )
                .conf("archive_timeout", "1h")
                .conf("synchronous_commit", "local")
                .conf("max_replication_slots", "2")
        };
        let primary = conf("primary", "on").start().unwrap();
        make_roles(&primary);
        // Takes part in `included_files`; not a standby that exists.
        primary
            .alter_system("synchronous_standby_names", "FIRST 1 (one, \"the other\")")
            .unwrap();
        let (server, primary) = match kind {
            Kind::Primary => (primary, None),
            Kind::Standby => {
                let standby = conf("standby", "always").standby_of(&primary).unwrap();
                (standby, Some(primary))
            }
        };
        if kind == Kind::Primary {
            server.create_tablespace("a space").unwrap();
        }
        Self {
            kind,
            server,
            primary,
            _archives: archives,
        }
    }

    fn major(&self) -> u16 {
        self.server.major()
    }

    fn value(&self, sql: &str) -> String {
        self.server.sql_value(sql).unwrap()
    }

    /// Who writes.
    fn writer(&self) -> &Cluster {
        self.primary.as_ref().unwrap_or(&self.server)
    }

    fn connection(&self, role: Role) -> PostgresConnection {
        PostgresConnection::new(conninfo(&self.server, role).parse().unwrap())
            .with_options(options())
            .with_checkpoint(CheckpointMode::Fast)
            .with_slot_name(Some("a_slot".to_owned()))
    }
}

fn conninfo(cluster: &Cluster, role: Role) -> String {
    cluster
        .conninfo()
        .replace("user=barman", &format!("user={}", role.name))
}

#[test]
fn majors_10_to_12() {
    all_of(&ALL_MAJORS[..3]);
}

#[test]
fn majors_13_to_15() {
    all_of(&ALL_MAJORS[3..6]);
}

#[test]
fn majors_16_and_newer() {
    all_of(&ALL_MAJORS[6..]);
}

fn all_of(majors: &[u16]) {
    for &major in majors {
        for kind in [Kind::Primary, Kind::Standby] {
            let chosen = (kind == Kind::Primary) == major.is_multiple_of(2);
            if !chosen && !testkit::is_long() {
                continue;
            }
            let scene = Scene::new(major, kind);
            streaming(&scene);
            for role in ROLES {
                eprintln!("PostgreSQL {major}, {kind:?}, {}", role.name);
                let connection = scene.connection(role);
                identity(&scene, role, &connection);
                privileges(&scene, role, &connection);
                settings(&scene, role, &connection);
                sizes_and_files(&scene, role, &connection);
                positions(&scene, &connection);
                statistics(&scene, role, &connection);
                slots_and_status(&scene, role, &connection);
                checkpoint_and_restore_point(&scene, role, &connection);
                switch_wal(&scene, role, &connection);
                concurrent_backup(&scene, role, connection);
                exclusive_backup(&scene, role);
            }
        }
    }
}

fn identity(scene: &Scene, role: Role, connection: &PostgresConnection) {
    assert!(!connection.has_connection(), "made without a connection");
    assert_eq!(connection.send_heartbeat_query().unwrap(), Heartbeat::NoSession);
    assert!(!connection.has_connection());
    let number = scene.value("SHOW server_version_num");
    assert_eq!(connection.server_version().unwrap().0.to_string(), number);
    assert!(connection.has_connection());
    assert_eq!(connection.send_heartbeat_query().unwrap(), Heartbeat::Alive);
    let shown = scene.value("SHOW server_version");
    let text = shown.split(' ').next().unwrap();
    assert_eq!(connection.server_txt_version().unwrap().as_deref(), Some(text));
    assert_eq!(
        connection.server_major_version().unwrap(),
        Some(scene.major().to_string())
    );
    assert!(connection.is_minimal_postgres_version().unwrap());
    for (_, name) in connection.name_map().unwrap() {
        let known = scene.value(&format!(
            "SELECT (SELECT count(*) FROM pg_proc WHERE proname = '{name}') \
                  + (SELECT count(*) FROM pg_attribute WHERE attname = '{name}')"
        ));
        let found = known != "0" || scene.server.data_dir().join(name).is_dir();
        assert!(found, "{name}");
    }
    assert_eq!(
        connection.is_in_recovery().unwrap(),
        Some(scene.kind == Kind::Standby)
    );
    assert_eq!(
        connection.get_systemid().unwrap(),
        Some(scene.value("SELECT system_identifier FROM pg_control_system()"))
    );
    let named = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND application_name = 'barman'",
        role.name
    );
    assert_eq!(scene.value(&named), "1", "one session, with its name");
    connection.close();
    connection.close();
    assert!(!connection.has_connection());
    testkit::wait_until("the session has ended", Duration::from_secs(60), || {
        Ok(scene.value(&named) == "0")
    })
    .unwrap();
}

fn privileges(scene: &Scene, role: Role, connection: &PostgresConnection) {
    assert_eq!(connection.is_superuser().unwrap(), Some(role.superuser));
    assert_eq!(connection.has_backup_privileges().unwrap(), Some(role.backup));
    assert_eq!(
        connection.has_monitoring_privileges().unwrap(),
        Some(role.monitoring)
    );
    assert_eq!(
        connection.has_checkpoint_privileges().unwrap(),
        Some(role.checkpoint(scene.major()))
    );
}

fn settings(scene: &Scene, role: Role, connection: &PostgresConnection) {
    let setting = |name: &str| connection.get_setting(name).unwrap();
    assert_eq!(setting("work_mem").as_deref(), Some("4MB"));
    assert_eq!(setting("no_such_setting"), None);
    assert_eq!(setting("x\"; DROP ROLE least; --"), None);
    assert_eq!(setting("search_path").as_deref(), Some(""), "secured");
    let directory = scene.server.data_dir().to_str().map(str::to_owned);
    assert_eq!(
        setting("data_directory"),
        directory.filter(|_| role.monitoring),
        "for roles that may read all settings"
    );
    let size = u64::from(segment_mb(scene.major())) << 20;
    let segment_size = connection.xlog_segment_size().unwrap().unwrap();
    assert_eq!(u64::from(segment_size.bytes()), size);
    assert_eq!(connection.archive_timeout().unwrap(), Duration::from_secs(3600));
    assert_eq!(connection.checkpoint_timeout().unwrap(), Duration::from_secs(300));
    assert_eq!(
        connection.get_synchronous_standby_names().unwrap(),
        ["one", "the other"]
    );
}

fn sizes_and_files(scene: &Scene, role: Role, connection: &PostgresConnection) {
    let size = connection.current_size().unwrap();
    assert_eq!(size.is_some(), role.backup);
    assert!(size.is_none_or(|bytes| bytes > 1_000_000));
    let spaces = connection.get_tablespaces().unwrap().unwrap();
    let found: Vec<&str> = spaces.iter().map(|space| space.name.as_str()).collect();
    match scene.kind {
        Kind::Primary => {
            assert_eq!(found, ["a space"]);
            assert_eq!(
                spaces[0].oid.to_string(),
                scene.value("SELECT oid FROM pg_tablespace WHERE spcname = 'a space'")
            );
            assert!(spaces[0].location.ends_with("tablespace-a space"));
        }
        Kind::Standby => assert!(found.is_empty()),
    }
    let files = connection.get_configuration_files().unwrap();
    let data = scene.server.data_dir();
    let inside = |name: &str| {
        let path = data.join(name).to_str().unwrap().to_owned();
        role.monitoring.then_some(path)
    };
    assert_eq!(files.config_file, inside("postgresql.conf"));
    assert_eq!(files.hba_file, inside("pg_hba.conf"));
    assert_eq!(files.ident_file, inside("pg_ident.conf"));
    let included: Vec<String> = inside("postgresql.auto.conf").into_iter().collect();
    assert_eq!(files.included_files, included);
    connection.close();
    assert_eq!(connection.get_configuration_files().unwrap(), files);
    assert_eq!(connection.has_connection(), !role.monitoring, "kept once found");
}

fn positions(scene: &Scene, connection: &PostgresConnection) {
    let lsn = |text: String| text.parse::<Lsn>().unwrap();
    assert_eq!(connection.current_timeline().unwrap(), TimelineId::new(1));
    match scene.kind {
        Kind::Primary => {
            let before = lsn(scene.value("SELECT pg_current_wal_lsn()"));
            let info = connection.current_xlog_info().unwrap().unwrap();
            let location = info.location.unwrap();
            assert!(location >= before && !info.in_recovery);
            let size = connection.xlog_segment_size().unwrap().unwrap();
            assert_eq!(info.file_offset, Some(location.offset(size)));
            let name = connection.current_xlog_file_name().unwrap().unwrap();
            assert!(
                scene
                    .server
                    .data_dir()
                    .join("pg_wal")
                    .join(name.to_string())
                    .exists()
            );
        }
        Kind::Standby => {
            let before = lsn(scene.value("SELECT pg_last_wal_replay_lsn()"));
            let info = connection.current_xlog_info().unwrap().unwrap();
            assert!(info.location.unwrap() >= before && info.in_recovery);
            assert_eq!((info.file_name, info.file_offset), (None, None));
            assert_eq!(connection.current_xlog_file_name().unwrap(), None);
        }
    }
    assert!(connection.current_xlog_location().unwrap().is_some());
}

fn statistics(scene: &Scene, role: Role, connection: &PostgresConnection) {
    let stats = connection.get_archiver_stats().unwrap().unwrap();
    assert_eq!((stats.is_archiving, stats.failed_count), (Some(true), 0));
    assert!(stats.stats_reset.is_some() && stats.current_archived_wals_per_second.is_some());

    // The standby of a primary replays; a session that only identifies itself does not.
    let watched = match scene.kind {
        Kind::Primary => &scene.server,
        Kind::Standby => scene.primary.as_ref().unwrap(),
    };
    let watching = PostgresConnection::new(conninfo(watched, role).parse().unwrap()).with_options(options());
    let mut idle =
        StreamingConnection::new(watched.streaming_conninfo().parse().unwrap()).with_options(options());
    idle.identify_system().unwrap();
    let standbys = usize::from(scene.kind == Kind::Standby);
    // The session of the role before ends in its own time.
    let senders = format!("SELECT count(*) = {} FROM pg_stat_replication", standbys + 1);
    testkit::wait_until("nobody else streams", Duration::from_secs(60), || {
        Ok(watched.sql_value(&senders)? == "t")
    })
    .unwrap();
    for (clients, count) in [
        (ClientType::Standby, standbys),
        (ClientType::WalStreamer, 1),
        (ClientType::Any, standbys + 1),
    ] {
        let stats = watching.get_replication_stats(clients);
        if role.monitoring {
            let stats = stats.unwrap().unwrap();
            assert_eq!(stats.len(), count, "{clients:?}: {stats:?}");
            for stat in stats {
                assert_eq!(stat.get("is_in_recovery"), Some("f"));
                assert!(stat.lsn("current_lsn").is_some() && stat.get("slot_name").is_none());
            }
        } else {
            assert!(matches!(stats, Err(Error::MonitoringPrivileges { user }) if user == role.name));
        }
    }
}

fn slots_and_status(scene: &Scene, role: Role, connection: &PostgresConnection) {
    let before = connection.get_remote_status();
    assert_eq!((&before.failure, &before.replication_slot), (&None, &None));
    assert_eq!(before.has_backup_privileges, Some(role.backup));
    assert_eq!(before.data_directory.is_some(), role.backup);
    assert_eq!(before.is_in_recovery, Some(scene.kind == Kind::Standby));
    assert_eq!(before.current_xlog.is_some(), scene.kind == Kind::Primary);
    assert_eq!(before.postgres_systemid, connection.get_systemid().unwrap());
    assert_eq!(before.wal_keep_size.is_some(), scene.major() >= 13);
    assert_eq!(before.wal_keep_segments.is_some(), scene.major() < 13);
    assert_eq!(before.version_supported, Some(true));
    assert_eq!(before.wal_level.as_deref(), Some("replica"));
    assert_eq!(before.max_replication_slots.as_deref(), Some("2"));
    assert_eq!(before.data_checksums, Some(scene.value("SHOW data_checksums")));
    assert_eq!(
        (before.archive_timeout, before.checkpoint_timeout),
        (Some(3600), Some(300))
    );
    assert_eq!(
        before.synchronous_standby_names,
        Some(connection.get_synchronous_standby_names().unwrap())
    );

    scene
        .server
        .sql("SELECT pg_create_physical_replication_slot('a_slot', true)")
        .unwrap();
    let slot = connection.get_replication_slot("a_slot").unwrap().unwrap();
    assert!(slot.slot_name == "a_slot" && !slot.active && slot.restart_lsn.is_some());
    assert_eq!(connection.get_replication_slot("it's not").unwrap(), None);
    assert_eq!(connection.get_remote_status().replication_slot, None, "kept");
    connection.refresh_replication_slot().unwrap();
    assert_eq!(connection.get_remote_status().replication_slot, Some(slot));
    connection.reset_remote_status();
    assert!(connection.get_remote_status().replication_slot.is_some());
    scene
        .server
        .sql("SELECT pg_drop_replication_slot('a_slot')")
        .unwrap();
    connection.refresh_replication_slot().unwrap();
    assert_eq!(connection.get_remote_status().replication_slot, None);
}

fn checkpoint_and_restore_point(scene: &Scene, role: Role, connection: &PostgresConnection) {
    let done = connection.checkpoint();
    if role.checkpoint(scene.major()) {
        assert_eq!(done.unwrap(), Some(()));
    } else {
        assert!(matches!(done, Err(Error::CheckpointPrivileges { user }) if user == role.name));
    }
    let point = connection.create_restore_point("it's here").unwrap();
    assert_eq!(point.is_some(), role.backup && scene.kind == Kind::Primary);
}

fn switch_wal(scene: &Scene, role: Role, connection: &PostgresConnection) {
    // An idle server still writes something now and then: once in the middle, not each time.
    let switched = |connection: &PostgresConnection, writer: &Cluster| {
        let quiet = (0..5).any(|_| {
            writer.sql("SELECT txid_current()").unwrap();
            let before = writer
                .sql_value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
                .unwrap();
            let closed = before.parse().unwrap();
            assert_eq!(connection.switch_wal().unwrap(), Some(WalSwitch::Closed(closed)));
            let again = connection.switch_wal().unwrap();
            // On the border the finished segment is named, by every version.
            let info = connection.current_xlog_info().unwrap().unwrap();
            again == Some(WalSwitch::NotNeeded)
                && (info.file_name, info.file_offset) == (Some(closed), Some(0))
        });
        assert!(quiet);
    };
    match (scene.kind, role.backup) {
        (_, false) => {
            let refused = connection.switch_wal();
            assert!(matches!(refused, Err(Error::BackupPrivileges { user }) if user == role.name));
        }
        (Kind::Primary, true) => switched(connection, &scene.server),
        (Kind::Standby, true) => {
            assert!(matches!(connection.switch_wal(), Err(Error::InRecovery { .. })));
            let primary = PostgresConnection::new(conninfo(scene.writer(), role).parse().unwrap())
                .with_options(options());
            switched(&primary, scene.writer());
        }
    }
}

fn concurrent_backup(scene: &Scene, role: Role, connection: PostgresConnection) {
    let label = "it's a \"label\"";
    let timeout = |connection: &PostgresConnection| connection.get_setting("idle_session_timeout").unwrap();
    if !role.backup {
        let refused = connection.start_concurrent_backup(label).unwrap_err();
        assert_eq!(refused.sqlstate(), Some("42501"), "{refused}");
        assert_eq!(
            connection.is_in_recovery().unwrap(),
            Some(scene.kind == Kind::Standby)
        );
        return;
    }
    let start = connection.start_concurrent_backup(label).unwrap();
    assert_eq!(start.timeline.get(), 1);
    if scene.major() >= 14 {
        assert_eq!(timeout(&connection).as_deref(), Some("0"));
    }
    scene.writer().sql("SELECT txid_current()").unwrap();
    let stop = match scene.kind {
        Kind::Primary => {
            let stop = connection.stop_concurrent_backup().unwrap();
            if scene.major() >= 14 {
                assert_eq!(timeout(&connection).as_deref(), Some("1h"));
            }
            stop
        }
        Kind::Standby => {
            let plan = SwitchPlan {
                first: Duration::from_millis(100),
                times: 1000,
                wait: Duration::from_secs(1),
                checkpoint_timeout: Duration::ZERO,
            };
            let primary = conninfo(scene.writer(), role).parse().unwrap();
            let standby = StandbyConnection::new(connection, primary, Duration::ZERO).with_switch_plan(plan);
            let ended = standby.stop_concurrent_backup().unwrap();
            assert!(ended.switches.failures.is_empty(), "{:?}", ended.switches);
            assert!(!ended.switches.checkpoint);
            // WAL is switched on the primary, everything else is asked of the standby.
            scene.writer().sql("SELECT txid_current()").unwrap();
            assert!(matches!(
                standby.switch_wal().unwrap(),
                Some(WalSwitch::Closed(_))
            ));
            assert_eq!(standby.standby().is_in_recovery().unwrap(), Some(true));
            assert_eq!(standby.primary().is_in_recovery().unwrap(), Some(false));
            standby.close();
            assert!(!standby.standby().has_connection() && !standby.primary().has_connection());
            ended.stop
        }
    };
    assert!(stop.location > start.location || scene.kind == Kind::Standby && stop.location >= start.location);
    assert_eq!(stop.timeline, TimelineId::new(1));
    let parsed = stop.label().unwrap();
    assert_eq!(parsed.start_lsn, start.location);
    assert_eq!(parsed.label.as_deref(), Some(label));
    assert_eq!(parsed.start_wal.timeline.get(), 1);
    assert!(stop.timestamp >= start.timestamp);
}

fn exclusive_backup(scene: &Scene, role: Role) {
    let connection = scene.connection(role);
    if scene.major() >= 15 {
        for outcome in [
            connection.start_exclusive_backup("x"),
            connection.stop_exclusive_backup(),
        ] {
            assert!(
                matches!(outcome, Err(Error::Obsolete { removed_in: 15, .. })),
                "{outcome:?}"
            );
        }
        return;
    }
    if !role.backup || scene.kind == Kind::Standby {
        connection.start_exclusive_backup("x").unwrap_err();
        return;
    }
    let label = Path::new("backup_label");
    let start = connection.start_exclusive_backup("it's exclusive").unwrap();
    assert!(scene.server.data_dir().join(label).exists());
    let again = connection.start_exclusive_backup("x").unwrap_err();
    assert_eq!(again.sqlstate(), Some("55000"), "{again}");
    // It does not depend on the session.
    connection.close();
    scene.server.sql("SELECT txid_current()").unwrap();
    let stop = connection.stop_exclusive_backup().unwrap();
    assert!(stop.location > start.location && stop.file_name >= start.file_name);
    assert_eq!(start.file_name.timeline.get(), 1);
    assert!(!scene.server.data_dir().join(label).exists());
    let failed = connection.stop_exclusive_backup().unwrap_err().to_string();
    assert!(failed.contains("pg_stop_backup()"), "{failed}");
}

/// The streaming connection: once for a server, since its role needs nothing but REPLICATION.
fn streaming(scene: &Scene) {
    let text = scene.server.streaming_conninfo();
    let mut connection = StreamingConnection::parse(&text).unwrap().with_options(options());
    for (keyword, value) in [
        ("dbname", "replication"),
        ("replication", "true"),
        ("options", "-cdatestyle=iso"),
    ] {
        assert_eq!(connection.conninfo().get(keyword), Some(value));
    }
    assert!(!connection.has_connection());
    let status = connection.get_remote_status();
    assert_eq!(
        (
            status.streaming,
            status.streaming_supported,
            status.version_supported
        ),
        (Some(true), Some(true), Some(true))
    );
    assert_eq!(
        status.streaming_systemid,
        Some(scene.value("SELECT system_identifier FROM pg_control_system()"))
    );
    assert_eq!((status.timeline, status.connection_error), (Some(1), None));
    assert!(status.xlogpos.is_some());
    let number = scene.value("SHOW server_version_num");
    assert_eq!(connection.server_version().unwrap().0.to_string(), number);
    assert_eq!(
        connection.server_major_version().unwrap(),
        Some(scene.major().to_string())
    );

    connection.create_physical_repslot("one").unwrap();
    assert_eq!(
        scene.value("SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'one'"),
        "",
        "keeps nothing yet"
    );
    assert!(
        matches!(connection.create_physical_repslot("one"), Err(SlotError::Exists { slot }) if slot == "one")
    );
    connection.create_physical_repslot("two").unwrap();
    assert!(
        matches!(connection.create_physical_repslot("three"), Err(SlotError::Full { slot }) if slot == "three")
    );
    assert!(matches!(
        connection.create_physical_repslot("No \"slot\"; --"),
        Err(SlotError::Postgres(_))
    ));
    {
        let mut user = connection.session(Some("barman_receive_wal")).unwrap();
        let system = user.identify_system().unwrap();
        let _stream = user
            .start_physical(Some("one"), system.xlogpos, system.timeline)
            .unwrap();
        let named = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'barman_receive_wal'";
        testkit::wait_until("the slot is in use", Duration::from_secs(60), || {
            Ok(scene.value(named) == "1")
        })
        .unwrap();
        assert!(matches!(connection.drop_repslot("one"), Err(SlotError::InUse { slot }) if slot == "one"));
    }
    testkit::wait_until("the slots are dropped", Duration::from_secs(60), || {
        Ok(connection.drop_repslot("one").is_ok())
    })
    .unwrap();
    // A session that was lost is replaced.
    scene
        .server
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'streaming_barman' AND application_name <> 'walreceiver'")
        .unwrap();
    connection.drop_repslot("two").unwrap();
    assert!(matches!(connection.drop_repslot("two"), Err(SlotError::Absent { slot }) if slot == "two"));
    connection.close();
    assert!(!connection.has_connection());
}
