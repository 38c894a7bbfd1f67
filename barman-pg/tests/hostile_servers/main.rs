//! Servers that are none: whatever they send ends in an error within the time limit, never in a panic or in memory
//! without bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod backups;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use barman_pg::basebackup::{ExtractError, ExtractReport, ExtractTargets, ManifestMode, extract};
use barman_pg::{BaseBackupOptions, ConnInfo, ConnectOptions, Error, ReplicationClient, SqlClient, WalEvent};
use barman_wal::manifest::{Algorithm, Hasher, ManifestFile, ManifestWriter, WalRange};
use barman_wal::{Lsn, TimelineId};

/// One message.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
    out
}

fn row(columns: &[Option<&str>]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for column in columns {
        match column {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(text) => {
                body.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
                body.extend(text.as_bytes());
            }
        }
    }
    message(b'D', &body)
}

/// Everything up to the first command, for a server of this version.
fn greeting(version: &str) -> Vec<u8> {
    [
        message(b'R', &[0, 0, 0, 0]),
        message(b'S', format!("server_version\0{version}\0").as_bytes()),
        message(b'K', &[0; 8]),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// A server for one session: after the startup packet it sends the first answer, after each command the next one, and
/// at the end it holds the connection open (`stalls`) or closes it.
fn serve(answers: Vec<Vec<u8>>, stalls: bool) -> ConnInfo {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).unwrap_or(0) == 0 {
                return;
            }
            let _ = stream.write_all(&answer);
        }
        if stalls {
            hold(&mut stream);
        }
    });
    format!("host=127.0.0.1 port={port} user=u dbname=d sslmode=disable")
        .parse()
        .unwrap()
}

/// As [`serve`], but in the end the server repeats itself as long as anybody listens.
fn serve_without_end(answers: Vec<Vec<u8>>, again: Vec<u8>) -> ConnInfo {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        for answer in answers {
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(&answer);
        }
        while stream.write_all(&again).is_ok() {}
    });
    format!("host=127.0.0.1 port={port} user=u dbname=d sslmode=disable")
        .parse()
        .unwrap()
}

fn hold(stream: &mut TcpStream) {
    let mut sink = Vec::new();
    let _ = stream.read_to_end(&mut sink);
}

/// What is waited for where something comes, whatever the machine has to do besides.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long is waited where nothing comes.
const HASTE: Duration = Duration::from_millis(700);

/// For servers that do not let anybody wait.
fn options() -> ConnectOptions {
    ConnectOptions {
        environment: |_| None,
        ..ConnectOptions::default().with_timeouts(PATIENCE, PATIENCE)
    }
}

/// For servers that answer when a session begins, and not afterwards.
fn hasty() -> ConnectOptions {
    options().with_timeouts(PATIENCE, HASTE)
}

fn connect(answers: Vec<Vec<u8>>, stalls: bool) -> Result<ReplicationClient, Error> {
    connect_with(answers, stalls, &options())
}

fn connect_with(
    answers: Vec<Vec<u8>>,
    stalls: bool,
    options: &ConnectOptions,
) -> Result<ReplicationClient, Error> {
    ReplicationClient::connect(&serve(answers, stalls).streaming(), options)
}

#[test]
fn no_startup_conversation_hangs_or_panics() {
    let cases: Vec<(&str, Vec<u8>, bool)> = vec![
        ("nothing", vec![], false),
        ("silence", vec![], true),
        ("half a header", b"R\0\0".to_vec(), false),
        ("half a header, then silence", b"R\0\0".to_vec(), true),
        ("a huge length", b"R\xff\xff\xff\xff".to_vec(), true),
        ("a huge error", b"E\x7f\xff\xff\xff".to_vec(), true),
        ("a length below its own size", b"R\0\0\0\x01".to_vec(), true),
        ("an unknown type", message(b'!', b""), true),
        ("an empty authentication request", message(b'R', b""), true),
        ("MD5 without salt", message(b'R', &[0, 0, 0, 5]), true),
        (
            "SASL of an unknown kind",
            message(b'R', b"\0\0\0\x0aNOPE\0\0"),
            true,
        ),
        (
            "SASL without end",
            message(b'R', b"\0\0\0\x0aSCRAM-SHA-256"),
            true,
        ),
        ("Kerberos", message(b'R', &[0, 0, 0, 2]), true),
        ("an unknown method", message(b'R', &[0, 0, 0, 99]), true),
        ("a broken error", message(b'E', b"SFATAL"), true),
        (
            "no version",
            [message(b'R', &[0; 4]), message(b'Z', b"I")].concat(),
            true,
        ),
        ("a silly version", greeting("many.dots"), true),
        ("a row out of turn", message(b'D', &[0, 0]), true),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), false),
    ];
    for (what, answer, stalls) in cases {
        let begin = Instant::now();
        let options = options().with_timeouts(HASTE, HASTE);
        let error = connect_with(vec![answer.clone()], stalls, &options).expect_err(what);
        assert!(matches!(error, Error::Connect { .. }), "{what}: {error:?}");
        // The SQL session is as strict.
        let info = serve(vec![answer], stalls);
        let error = SqlClient::connect(&info, &options).expect_err(what);
        assert!(matches!(error, Error::Connect { .. }), "{what}: {error:?}");
        assert!(begin.elapsed() < PATIENCE, "{what}");
    }
}

#[test]
fn connecting_can_be_interrupted() {
    let flag = Arc::new(AtomicBool::new(false));
    let info = serve(vec![], true).streaming();
    let waits = ConnectOptions {
        connect_timeout: Duration::from_secs(3600),
        ..options()
    };
    let raised = Arc::clone(&flag);
    let raiser = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        raised.store(true, Ordering::Relaxed);
    });
    let begin = Instant::now();
    let error = ReplicationClient::connect(&info, &waits.with_interrupt(flag)).unwrap_err();
    assert!(error.is_interrupted() && begin.elapsed() < PATIENCE, "{error}");
    raiser.join().unwrap();
}

#[test]
fn commands_survive_any_answer() {
    let ready = message(b'Z', b"I");
    for answer in [
        ready.clone(),
        [row(&[]), ready.clone()].concat(),
        [row(&[Some("x"), Some("1"), Some("0/1")]), ready.clone()].concat(),
        [row(&[Some("1"), Some("0"), Some("0/1")]), ready.clone()].concat(),
        [row(&[Some("1"), Some("1"), Some("zz")]), ready.clone()].concat(),
        [row(&[Some("1"), None, None]), ready.clone()].concat(),
        message(b'D', b"\xff\xff"),
        message(b'W', b""),
        message(b'd', b"x"),
        b"D\0\xff".to_vec(),
    ] {
        let mut client = connect_with(vec![greeting("15.1"), answer.clone()], true, &hasty()).unwrap();
        assert!(client.identify_system().is_err(), "{answer:?}");
    }
    // An error leaves the session usable, a broken one says so at once.
    let refusal = [message(b'E', b"SERROR\0C42704\0Mno\0\0"), message(b'Z', b"I")].concat();
    let answers = vec![greeting("15.1"), refusal, b"!!!!!!".to_vec()];
    let mut client = connect(answers, true).unwrap();
    assert_eq!(client.drop_slot("s").unwrap_err().sqlstate(), Some("42704"));
    assert!(matches!(client.drop_slot("s"), Err(Error::Protocol { .. })));
    assert!(matches!(client.drop_slot("s"), Err(Error::Closed { .. })));
}

fn wal(start: u64, bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![b'w'];
    for number in [start, start + 100, 0] {
        body.extend(number.to_be_bytes());
    }
    body.extend(bytes);
    message(b'd', &body)
}

#[test]
fn a_stream_that_does_not_continue_is_an_error() {
    let copy = message(b'W', &[0, 0, 0]);
    let cases: Vec<(&str, Vec<u8>, usize)> = vec![
        (
            "a gap",
            [wal(0x100_0000, b"ab"), wal(0x100_0003, b"c")].concat(),
            1,
        ),
        (
            "a step back",
            [wal(0x100_0000, b"ab"), wal(0x100_0000, b"c")].concat(),
            1,
        ),
        ("another start", wal(0x200_0000, b"ab"), 0),
        ("no data", wal(0x100_0000, b""), 0),
        ("short data", message(b'd', b"w\0\0\0"), 0),
        ("a short keep-alive", message(b'd', b"k\0"), 0),
        ("an empty message", message(b'd', b""), 0),
        ("an unknown message", message(b'd', b"?"), 0),
        ("a row", row(&[]), 0),
        ("a shutdown", message(b'C', b"COPY 0\0"), 0),
        ("an error", message(b'E', b"SFATAL\0C57P01\0Mterminating\0\0"), 0),
    ];
    for (what, stream, good) in cases {
        let answer = [copy.clone(), stream].concat();
        let mut client = connect(vec![greeting("15.1"), answer], true).unwrap();
        let mut stream = client
            .start_physical(None, Lsn(0x100_0000), TimelineId::FIRST)
            .unwrap();
        for _ in 0..good {
            assert!(
                matches!(stream.next(PATIENCE), Ok(WalEvent::Data { .. })),
                "{what}"
            );
        }
        let outcome = stream.next(PATIENCE);
        assert!(outcome.is_err(), "{what}: {outcome:?}");
    }
    // The timeline that follows begins where this one ends, or within what came of it.
    for (next, switch, good, at_once) in [
        ("2", "0/1000002", true, true),
        ("9", "0/1000002", true, true),
        ("1", "0/1000002", false, false),
        ("2", "0/1000001", true, false),
        ("2", "0/1000000", true, false),
        ("2", "0/FFFFFF", false, false),
        ("2", "0/1000003", false, false),
        ("2", "0/2000000", false, false),
    ] {
        let end = [
            message(b'T', &[0, 0]),
            row(&[Some(next), Some(switch)]),
            message(b'C', b"SELECT\0"),
            message(b'C', b"START_STREAMING\0"),
            message(b'Z', b"I"),
        ]
        .concat();
        let sent = [copy.clone(), wal(0x100_0000, b"ab"), message(b'c', b"")].concat();
        let mut client = connect(vec![greeting("15.1"), sent, end.clone()], true).unwrap();
        let mut stream = client
            .start_physical(None, Lsn(0x100_0000), TimelineId::FIRST)
            .unwrap();
        stream.next(PATIENCE).unwrap();
        let outcome = stream.next(PATIENCE);
        assert_eq!(
            matches!(outcome, Ok(WalEvent::EndOfTimeline { .. })),
            good,
            "{next} {switch}: {outcome:?}"
        );
        // It is no other if nothing is left to stream.
        let mut client = connect(vec![greeting("15.1"), end], true).unwrap();
        let outcome = client.start_physical(None, Lsn(0x100_0002), TimelineId::FIRST);
        assert_eq!(outcome.is_ok(), at_once, "{next} {switch}: {outcome:?}");
    }
    // A server that falls silent is asked, and given up.
    let mut client = connect_with(vec![greeting("15.1"), copy], true, &hasty()).unwrap();
    let mut stream = client
        .start_physical(None, Lsn(0x100_0000), TimelineId::FIRST)
        .unwrap();
    let begin = Instant::now();
    let error = loop {
        match stream.next(Duration::from_millis(100)) {
            Ok(WalEvent::Idle) => {}
            other => break other.map(|event| format!("{event:?}")).unwrap_err(),
        }
    };
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn a_server_that_never_stops_talking_is_left_in_time() {
    let notices = message(b'N', b"SNOTICE\0C00000\0Mstill here\0\0").repeat(1000);
    let connect = |answers: Vec<Vec<u8>>, options: &ConnectOptions| {
        ReplicationClient::connect(&serve_without_end(answers, notices.clone()).streaming(), options)
    };
    let begin = Instant::now();
    let error = connect(vec![], &options().with_timeouts(HASTE, HASTE)).unwrap_err();
    assert!(
        matches!(&error, Error::Connect { reason, .. } if reason == "timeout expired"),
        "{error}"
    );
    let mut client = connect(vec![greeting("15.1")], &hasty()).unwrap();
    let error = client.identify_system().unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    // Nor does an error message that is followed by them help.
    let refusal = message(b'E', b"SERROR\0C42704\0Mno\0\0");
    let mut client = ReplicationClient::connect(
        &serve_without_end(
            vec![greeting("15.1"), [refusal, notices.clone()].concat()],
            notices.clone(),
        )
        .streaming(),
        &hasty(),
    )
    .unwrap();
    assert!(client.drop_slot("s").is_err());
    // Rows of nothing cost memory too.
    let nothing = row(&vec![None; 60_000]);
    let rows = [greeting("15.1"), message(b'T', &[0, 0])].concat();
    let info = serve_without_end(vec![rows], nothing).streaming();
    let error = ReplicationClient::connect(&info, &options())
        .unwrap()
        .identify_system()
        .unwrap_err();
    assert!(
        matches!(&error, Error::Protocol { what, .. } if what == "too many rows"),
        "{error}"
    );
    // The end of a stream is not waited for without end.
    let mut client = connect(vec![greeting("15.1"), message(b'W', &[0, 0, 0])], &options()).unwrap();
    let stream = client
        .start_physical(None, Lsn(0x100_0000), TimelineId::FIRST)
        .unwrap();
    let error = stream.stop(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begin.elapsed() < PATIENCE);
}
