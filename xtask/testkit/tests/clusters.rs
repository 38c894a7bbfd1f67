//! The kit itself: clusters of every major, standbys, and a whole backup and restore by the oracle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::time::Duration;

use testkit::{ALL_MAJORS, Cluster, Mode, PgTree, Sandbox, Stop, wait_until};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn every_major_starts_answers_and_leaves_nothing() {
    for major in ALL_MAJORS {
        let cluster = Cluster::start_new(major).unwrap();
        let version: u32 = cluster
            .sql_value("SHOW server_version_num")
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(version / 10_000, u32::from(major));
        let data = cluster.data_dir().to_owned();
        drop(cluster);
        assert!(!data.exists());
    }
}

#[test]
fn passwords_are_asked_for_over_tcp() {
    let cluster = Cluster::start_new(18).unwrap();
    let connect = |conninfo: &str| postgres::Client::connect(conninfo, postgres::NoTls);
    connect(&cluster.tcp_conninfo()).unwrap();
    connect(&cluster.conninfo()).unwrap();
    assert!(connect(&cluster.tcp_conninfo().replace("password=", "password=not-")).is_err());
}

#[test]
fn what_was_committed_survives_a_kill() {
    let cluster = Cluster::builder(15).durable().start().unwrap();
    cluster
        .sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS i")
        .unwrap();
    cluster.stop(Stop::Kill).unwrap();
    assert!(cluster.sql("SELECT 1").is_err());
    cluster.start().unwrap();
    assert_eq!(cluster.sql_value("SELECT count(*) FROM t").unwrap(), "100");
}

#[test]
fn shape_and_settings_are_as_asked() {
    let cluster = Cluster::builder(18)
        .tree(PgTree::wheel(18).unwrap())
        .wal_segment_mb(1)
        .checksums(false)
        .conf("cluster_name", "it's")
        .start()
        .unwrap();
    let show = |name: &str| cluster.sql_value(&format!("SHOW {name}")).unwrap();
    assert_eq!(
        (
            show("wal_segment_size"),
            show("data_checksums"),
            show("cluster_name"),
            show("fsync")
        ),
        (
            "1MB".to_owned(),
            "off".to_owned(),
            "it's".to_owned(),
            "off".to_owned()
        )
    );
    assert_eq!(
        fs::metadata(
            cluster
                .data_dir()
                .join("pg_wal")
                .join(cluster.switch_wal().unwrap())
        )
        .unwrap()
        .len(),
        1 << 20
    );
}

#[test]
fn a_standby_follows_and_is_promoted() {
    for major in [10, 12, 15, 18] {
        let primary = Cluster::start_new(major).unwrap();
        primary.sql("CREATE TABLE t (i int)").unwrap();
        let standby = Cluster::builder(major).standby_of(&primary).unwrap();
        primary.sql("INSERT INTO t VALUES (1)").unwrap();
        wait_until("the standby has the row", SOON, || {
            Ok(standby.sql_value("SELECT count(*) FROM t")? == "1")
        })
        .unwrap();
        standby.promote().unwrap();
        standby.sql("INSERT INTO t VALUES (2)").unwrap();
    }
}

#[test]
fn the_oracle_backs_up_and_its_restore_opens() {
    let cluster = Cluster::start_new(18).unwrap();
    let sandbox = Sandbox::builder("main")
        .cluster(&cluster)
        .mode(Mode::Both)
        .build()
        .unwrap();
    let oracle = sandbox.oracle().unwrap();
    cluster
        .sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i")
        .unwrap();
    // Makes the slot and starts the receiver, which goes on in the background.
    oracle.ok(["cron"]).unwrap();
    wait_until("the receiver streams", SOON, || {
        Ok(cluster.sql_value("SELECT count(*) FROM pg_stat_replication")? == "1")
    })
    .unwrap();
    oracle.ok(["switch-wal", "--force", "--archive", "main"]).unwrap();
    oracle.ok(["check", "main"]).unwrap();
    oracle.ok(["backup", "--wait", "main"]).unwrap();
    let target = sandbox.dir().join("restored");
    oracle
        .ok(["restore", "main", "latest", target.to_str().unwrap()])
        .unwrap();
    let restored = Cluster::builder(18).open(&target).unwrap();
    restored.wait_primary(SOON).unwrap();
    assert_eq!(restored.sql_value("SELECT count(*) FROM t").unwrap(), "1000");
}
