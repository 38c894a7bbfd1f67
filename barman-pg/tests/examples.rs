//! The example programs do what their first lines say, with a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use testkit::{Cluster, PgTree, Program, TestDir};

const PATIENCE: Duration = Duration::from_secs(60);

/// Cargo builds the examples of a package with its tests, beside them.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = directory.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is not there: cargo build -p barman-pg --examples",
        program.display()
    );
    program
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
        let done = Program::new(example("basebackup"))
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
        let receiver = Program::new(example("receive_wal"))
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
