//! SCRAM as servers may want it, honest ones and others; what goes out in clear.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use barman_pg::{ConnInfo, ConnectOptions, Error, ReplicationClient, SqlClient};
use testkit::{ALL_MAJORS, Cluster};

fn options(limit: Duration) -> ConnectOptions {
    ConnectOptions {
        environment: |_| None,
        ..ConnectOptions::default().with_timeouts(limit, limit)
    }
}

/// PostgreSQL 16 lets administrators choose the number of rounds; recommendations for it grow.
#[test]
fn servers_may_want_many_rounds() {
    let major = *ALL_MAJORS.last().unwrap();
    let cluster = Cluster::start_new(major).unwrap();
    let hba = cluster.data_dir().join("pg_hba.conf");
    std::fs::write(
        hba,
        "local all postgres trust\nlocal all,replication all scram-sha-256\n",
    )
    .unwrap();
    cluster
        .sql(
            "SET password_encryption = 'scram-sha-256'; SET scram_iterations = 150000; \
             CREATE ROLE careful LOGIN REPLICATION PASSWORD 'pw'; CREATE ROLE plain LOGIN PASSWORD 'pw'; SELECT pg_reload_conf()",
        )
        .unwrap();
    let missing: ConnInfo = format!(
        "host={} port={} user=careful dbname=postgres",
        cluster.socket_dir().display(),
        cluster.port()
    )
    .parse()
    .unwrap();
    let error = SqlClient::connect(&missing, &options(Duration::from_secs(60))).unwrap_err();
    assert!(error.to_string().ends_with("no password supplied"), "{error}");
    assert!(error.hint().unwrap().contains("password file"));
    // The server's reason is told in full.
    let plain = missing
        .clone()
        .with("user", "plain")
        .unwrap()
        .with("password", "pw")
        .unwrap();
    let error =
        ReplicationClient::connect(&plain.streaming(), &options(Duration::from_secs(60))).unwrap_err();
    assert!(!error.to_string().contains('\n'), "{error}");
    assert!(
        error.hint().unwrap().contains("REPLICATION attribute"),
        "{:?}",
        error.hint()
    );
    for (password, good) in [("pw", true), ("wrong", false)] {
        let info: ConnInfo = format!(
            "host={} port={} user=careful dbname=postgres password={password}",
            cluster.socket_dir().display(),
            cluster.port()
        )
        .parse()
        .unwrap();
        let outcome = SqlClient::connect(&info, &options(Duration::from_secs(60)));
        assert_eq!(outcome.is_ok(), good, "{:?}", outcome.err());
        let outcome = ReplicationClient::connect(&info.streaming(), &options(Duration::from_secs(60)));
        assert_eq!(outcome.is_ok(), good, "{:?}", outcome.err());
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
    out
}

fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).unwrap_or(0);
    buffer[..count].to_vec()
}

/// A server that asks for SCRAM and answers the client's first message with what `first` makes of the client's nonce, then
/// says that all is well.
fn scram_server(first: impl FnOnce(&str) -> String + Send + 'static) -> (ConnInfo, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read(&mut stream);
        let _ = stream.write_all(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"));
        let said = String::from_utf8_lossy(&read(&mut stream)).into_owned();
        let nonce = said
            .rsplit_once("r=")
            .map(|(_, nonce)| nonce.to_owned())
            .unwrap_or_default();
        let answer = [b"\0\0\0\x0b", first(&nonce).as_bytes()].concat();
        let _ = stream.write_all(&message(b'R', &answer));
        let proof = read(&mut stream);
        let _ = stream.write_all(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
        read(&mut stream);
        proof
    });
    let info = format!("host=127.0.0.1 port={port} user=u dbname=d password=secret sslmode=disable");
    (info.parse().unwrap(), server)
}

#[test]
fn no_number_of_rounds_outlasts_the_deadline_or_the_user() {
    let endless = |nonce: &str| format!("r={nonce}x,s=c2FsdA==,i=2147483647");
    let (info, server) = scram_server(endless);
    let begin = Instant::now();
    let error = SqlClient::connect(&info, &options(Duration::from_millis(700))).unwrap_err();
    assert!(
        matches!(&error, Error::Connect { reason, .. } if reason == "timeout expired"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(server.join().unwrap(), b"");

    let (info, server) = scram_server(endless);
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let raiser = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        raised.store(true, Ordering::Relaxed);
    });
    let begin = Instant::now();
    let patient = options(Duration::from_secs(100)).with_interrupt(flag);
    let error = ReplicationClient::connect(&info.streaming(), &patient).unwrap_err();
    assert!(error.is_interrupted(), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(10));
    raiser.join().unwrap();
    assert_eq!(server.join().unwrap(), b"");
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    let cases: [(&str, fn(&str) -> String, &str); 5] = [
        (
            "no proof",
            |nonce| format!("r={nonce}x,s=c2FsdA==,i=1"),
            "did not complete authentication",
        ),
        (
            "another nonce",
            |_| "r=x,s=c2FsdA==,i=1".to_owned(),
            "nonce mismatch",
        ),
        (
            "no rounds",
            |nonce| format!("r={nonce}x,s=c2FsdA==,i=0"),
            "iteration count",
        ),
        ("no salt", |nonce| format!("r={nonce}x,s=!,i=1"), "salt"),
        (
            "more than there should be",
            |nonce| format!("r={nonce}x,s=c2FsdA==,i=1,m=1"),
            "garbage",
        ),
    ];
    for (what, first, told) in cases {
        let (info, server) = scram_server(first);
        let error = SqlClient::connect(&info, &options(Duration::from_secs(5))).unwrap_err();
        assert!(error.to_string().contains(told), "{what}: {error}");
        assert!(!error.to_string().contains("secret") && !format!("{error:?}").contains("secret"));
        drop(server.join());
    }
}
