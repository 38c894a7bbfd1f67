//! What travels on an encrypted connection arrives whole, and an encrypted session can be cancelled.

use std::collections::BTreeMap;
use std::time::Duration;

use barman_pg::basebackup::{CheckpointMode, ExtractTargets, extract};
use barman_pg::{BaseBackupOptions, ConnInfo, ReplicationClient, SqlClient, WalEvent};
use barman_wal::Lsn;
use testkit::{PgTree, TestDir};

use crate::options;
use crate::server::Server;

#[test]
fn streams_and_answers_come_whole_through_encryption() {
    let server = Server::start(&PgTree::debian(15).unwrap());
    let base = format!(
        "host=localhost hostaddr=127.0.0.1 port={} dbname=postgres sslmode=verify-full sslrootcert={}",
        server.cluster.port(),
        server.certificates.certificate("manual").display()
    );
    let info: ConnInfo = format!("{base} user=trust_tls").parse().unwrap();

    let mut sql = SqlClient::connect(&info, &options()).unwrap();
    assert!(sql.is_encrypted());
    // Far more than a record of TLS, in both directions.
    let long = "x".repeat(3_000_000);
    let rows = sql
        .rows(&format!("SELECT '{long}', generate_series(1, 3)"), "asking")
        .unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.text(0) == Some(long.as_str())));
    let canceller = sql.canceller().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            server.cluster.wait_running("SELECT pg_sleep(%").unwrap();
            canceller.cancel(Duration::from_secs(60)).unwrap();
        });
        let error = sql.rows("SELECT pg_sleep(3600)", "sleeping").unwrap_err();
        assert_eq!(error.sqlstate(), Some("57014"), "{error}");
    });

    server
        .cluster
        .sql("CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 100000) g")
        .unwrap();
    let dir = TestDir::new().unwrap();
    let mut client = ReplicationClient::connect(&info.streaming(), &options()).unwrap();
    assert!(client.is_encrypted());
    let fast = BaseBackupOptions {
        checkpoint: CheckpointMode::Fast,
        ..BaseBackupOptions::default()
    };
    let targets = ExtractTargets {
        data: dir.server_dir("data").unwrap(),
        tablespaces: BTreeMap::new(),
        ..ExtractTargets::default()
    };
    let backup = client.base_backup(&fast).unwrap();
    let start = backup.start();
    let report = extract(backup, &targets, &|_| {}).unwrap();
    assert!(report.verified && report.end.lsn > start.lsn);

    let system = client.identify_system().unwrap();
    let from = Lsn(start.lsn.0 / (16 << 20) * (16 << 20));
    let mut stream = client.start_physical(None, from, system.timeline).unwrap();
    server
        .cluster
        .sql("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 20000) g")
        .unwrap();
    server.cluster.switch_wal().unwrap();
    let mut wal = Vec::new();
    while wal.len() < 16 << 20 {
        match stream.next(Duration::from_secs(20)).unwrap() {
            WalEvent::Data { start: at, bytes, .. } => {
                assert_eq!(at.0, from.0 + wal.len() as u64);
                wal.extend_from_slice(bytes);
            }
            WalEvent::KeepAlive { .. } | WalEvent::Idle => {}
            other @ WalEvent::EndOfTimeline { .. } => panic!("{other:?}"),
        }
    }
    let name = format!("00000001{:08X}{:08X}", from.0 >> 32, (from.0 & 0xffff_ffff) >> 24);
    let file = std::fs::read(server.cluster.data_dir().join("pg_wal").join(name)).unwrap();
    assert!(wal[..16 << 20] == file[..]);
    stream.stop(Duration::from_secs(10)).unwrap();
    client.identify_system().unwrap();
}
