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
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert_eq!(server.join().unwrap(), b"");

    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let (info, server) = scram_server(move |nonce| {
        // When it counts, most likely; not before it has come to us.
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            raised.store(true, Ordering::Relaxed);
        });
        endless(nonce)
    });
    let begin = Instant::now();
    let patient = options(Duration::from_secs(3600)).with_interrupt(flag);
    let error = ReplicationClient::connect(&info.streaming(), &patient).unwrap_err();
    assert!(error.is_interrupted(), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert_eq!(server.join().unwrap(), b"");
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    type First = fn(&str) -> String;
    let cases: [(&str, First, &str); 5] = [
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
        let error = SqlClient::connect(&info, &options(Duration::from_secs(60))).unwrap_err();
        assert!(error.to_string().contains(told), "{what}: {error}");
        assert!(!error.to_string().contains("secret") && !format!("{error:?}").contains("secret"));
        drop(server.join());
    }
}

/// A server that has the same answer for whoever asks for encryption, and notes what it hears afterwards.
fn clear_server(answer: Vec<u8>) -> (ConnInfo, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        let _ = stream.read_exact(&mut request);
        let _ = stream.write_all(&answer);
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        heard
    });
    let info = format!("host=127.0.0.1 port={port} user=u dbname=d password=secret sslmode=require");
    (info.parse().unwrap(), server)
}

#[test]
fn before_the_session_is_encrypted_nothing_is_believed_and_nothing_is_told() {
    let all_is_well = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    let ask = message(b'R', &[0, 0, 0, 3]);
    let after = |first: &[u8], rest: &[u8]| [first, rest].concat();
    for (what, answer, told) in [
        ("stuffed", after(b"S", &all_is_well), "SSL"),
        ("stuffed with a question", after(b"S", &ask), "SSL"),
        ("several answers", b"SSSSSSSS".to_vec(), "SSL"),
        (
            "no, and all is well",
            after(b"N", &all_is_well),
            "server does not support SSL",
        ),
        (
            "no, and a question",
            after(b"N", &ask),
            "server does not support SSL",
        ),
        (
            "an error",
            message(b'E', b"SFATAL\0C28000\0Msend your password to example.org\0\0"),
            "server sent an error response during SSL exchange",
        ),
        (
            "another protocol's yes",
            b"G".to_vec(),
            "invalid response to SSL negotiation",
        ),
        (
            "all is well",
            all_is_well.clone(),
            "invalid response to SSL negotiation",
        ),
        ("nothing", vec![], "timeout expired"),
    ] {
        let limit = options(Duration::from_secs(if answer.is_empty() { 2 } else { 60 }));
        let (info, server) = clear_server(answer.clone());
        let error = ReplicationClient::connect(&info.clone().streaming(), &limit).unwrap_err();
        let shown = format!("{error} {:?} {error:?}", error.hint());
        assert!(
            shown.contains(told) && !shown.contains("example.org"),
            "{what}: {shown}"
        );
        let heard = server.join().unwrap();
        // A hello of TLS, or nothing: neither a start-up packet nor a password.
        assert!(heard.is_empty() || heard[0] == 0x16, "{what}: {heard:?}");
        let (info, server) = clear_server(answer);
        assert!(SqlClient::connect(&info, &limit).is_err(), "{what}");
        drop(server.join());
    }
}

/// Whoever sends a byte now and then has no more time than who sends nothing.
#[test]
fn slow_servers_get_no_extra_time() {
    let notice = message(b'N', b"SNOTICE\0C00000\0Mnot yet\0\0");
    let greeting = [
        message(b'R', &[0; 4]),
        message(b'S', b"server_version\x0018.4\0"),
        message(b'K', &[0; 8]),
        message(b'Z', b"I"),
    ]
    .concat();
    for (what, at_once) in [("from the start", Vec::new()), ("after the greeting", greeting)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let drops = notice.clone();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read(&mut stream);
            let _ = stream.write_all(&at_once);
            for byte in drops.iter().cycle() {
                std::thread::sleep(Duration::from_millis(10));
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
            }
        });
        let info: ConnInfo = format!("host=127.0.0.1 port={port} user=u dbname=d sslmode=disable")
            .parse()
            .unwrap();
        let begin = Instant::now();
        let error = SqlClient::connect(&info, &options(Duration::from_millis(500))).unwrap_err();
        assert!(error.to_string().contains("timeout expired"), "{what}: {error}");
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        server.join().unwrap();
    }
}
