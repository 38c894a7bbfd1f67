//! The example programs do what their first lines say, with a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testkit::{Cluster, PgTree, Program, TestDir};

const PATIENCE: Duration = Duration::from_secs(60);

fn example(name: &str) -> Program {
    Program::example("barman-pg", name).unwrap()
}

#[test]
fn a_base_backup_is_taken_into_a_directory() {
    for major in [12, 15] {
        let cluster = Cluster::start_new(major).unwrap();
        cluster.create_tablespace("aside").unwrap();
        cluster
            .sql("CREATE TABLE u TABLESPACE aside AS SELECT generate_series(1, 100)")
            .unwrap();
        let dir = TestDir::new().unwrap();
        let target = dir.join("taken");
        let done = example("basebackup")
            .timeout(PATIENCE)
            .ok([cluster.streaming_conninfo().as_str(), target.to_str().unwrap()])
            .unwrap();
        assert!(
            done.stdout.contains(" files, ") && done.stdout.contains(" to "),
            "{done}"
        );
        let data = target.join("data");
        Program::new(PgTree::debian(15).unwrap().program("pg_verifybackup"))
            .ok(["-n", data.to_str().unwrap()])
            .unwrap();
        let links = fs::read_dir(data.join("pg_tblspc")).unwrap();
        let links: Vec<PathBuf> = links
            .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
            .collect();
        assert!(
            matches!(links.as_slice(), [one] if one.starts_with(&target)),
            "{links:?}"
        );
    }
}

#[test]
fn wal_is_streamed_into_segments() {
    for major in [10, 18] {
        let cluster = Cluster::start_new(major).unwrap();
        let dir = TestDir::new().unwrap();
        let target = dir.join("wal");
        fs::create_dir(&target).unwrap();
        let receiver = example("receive_wal")
            .timeout(PATIENCE)
            .spawn([
                cluster.streaming_conninfo().as_str(),
                target.to_str().unwrap(),
                "3",
            ])
            .unwrap();
        testkit::wait_until("it streams", PATIENCE, || {
            Ok(cluster.sql_value("SELECT count(*) FROM pg_stat_replication")? == "1")
        })
        .unwrap();
        let closed: Vec<String> = (0..3).map(|_| cluster.switch_wal().unwrap()).collect();
        let done = receiver.wait(PATIENCE).unwrap();
        assert_eq!(done.code, Some(0), "{done}");
        assert_eq!(done.stdout.lines().collect::<Vec<_>>(), closed, "{done}");
        let mut names: Vec<String> = fs::read_dir(&target)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, closed);
        for name in names {
            let sent = fs::read(cluster.data_dir().join("pg_wal").join(&name)).unwrap();
            assert!(sent == fs::read(target.join(&name)).unwrap(), "{major}: {name}");
        }
    }
}

#[test]
fn a_server_is_asked() {
    for major in [10, 18] {
        let cluster = Cluster::start_new(major).unwrap();
        let done = example("ask")
            .timeout(PATIENCE)
            .ok([cluster.conninfo().as_str()])
            .unwrap();
        let system = cluster
            .sql_value("SELECT system_identifier FROM pg_control_system()")
            .unwrap();
        for line in [
            format!("version {major}."),
            format!("system identifier Some(\"{system}\")"),
            "standby: Some(false)".to_owned(),
            "may back up: Some(true)".to_owned(),
            "bytes: Some(".to_owned(),
            "WAL position Some(".to_owned(),
        ] {
            assert!(done.stdout.contains(&line), "{line}: {done}");
        }
        let refused = example("ask").run(["host"]).unwrap();
        assert_eq!(refused.code, Some(1), "{refused}");
    }
}

#[test]
fn wal_is_told_as_it_comes_until_the_timeline_ends() {
    let primary = Cluster::start_new(15).unwrap();
    let standby = Cluster::builder(15)
        .conf("wal_sender_timeout", "8s")
        .standby_of(&primary)
        .unwrap();
    let streaming = example("stream")
        .timeout(PATIENCE)
        .spawn([standby.streaming_conninfo().as_str()])
        .unwrap();
    let pid = || standby.sql_value("SELECT coalesce(max(pid), 0) FROM pg_stat_replication");
    testkit::wait_until("it streams", PATIENCE, || Ok(pid()? != "0")).unwrap();
    // It answers a server that hears nothing of it.
    let (first, begin) = (pid().unwrap(), Instant::now());
    testkit::wait_until("the time-out has passed", PATIENCE, || {
        Ok(begin.elapsed() > Duration::from_secs(10))
    })
    .unwrap();
    assert_eq!(pid().unwrap(), first);
    primary
        .sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
        .unwrap();
    testkit::wait_until("WAL is told", PATIENCE, || {
        Ok(streaming.stdout_so_far()?.contains(" bytes\n"))
    })
    .unwrap();
    standby.promote().unwrap();
    let done = streaming.wait(PATIENCE).unwrap();
    assert_eq!(done.code, Some(0), "{done}");
}
