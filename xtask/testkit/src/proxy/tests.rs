//! The proxy between two scripted peers.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use super::*;

const SOON: Duration = Duration::from_secs(60);

/// Long enough that a byte that could pass has passed.
const QUIET: Duration = Duration::from_millis(150);

struct Peers {
    client: TcpStream,
    server: TcpStream,
    proxy: Proxy,
    listener: TcpListener,
}

fn startup(replication: bool) -> Vec<u8> {
    let mut rest = b"\0\x03\0\0user\0u\0".to_vec();
    if replication {
        rest.extend(b"replication\0true\0");
    }
    rest.push(0);
    let mut packet = u32::try_from(rest.len() + 4).unwrap().to_be_bytes().to_vec();
    packet.extend(rest);
    packet
}

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u32::try_from(content.len() + 4).unwrap().to_be_bytes());
    bytes.extend(content);
    bytes
}

impl Peers {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::new(Upstream::Tcp(listener.local_addr().unwrap())).unwrap();
        let (client, server) = Self::pair(&proxy, &listener, true);
        Self {
            client,
            server,
            proxy,
            listener,
        }
    }

    fn pair(proxy: &Proxy, listener: &TcpListener, replication: bool) -> (TcpStream, TcpStream) {
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(SOON)).unwrap();
        }
        let packet = startup(replication);
        client.write_all(&packet).unwrap();
        assert_eq!(expect(&mut server, packet.len()), packet);
        (client, server)
    }
}

fn expect(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Open,
    Eof,
    Reset,
}

/// Reads until so many bytes have come or it ends, and then until it ends if it is to. Only that nothing more comes is
/// believed after a moment of quiet.
fn drain(stream: &mut TcpStream, length: usize, end: End) -> (Vec<u8>, End) {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    let seen = loop {
        let quiet = end == End::Open && all.len() >= length;
        let limit = if quiet { QUIET } else { SOON };
        stream.set_read_timeout(Some(limit)).unwrap();
        match stream.read(&mut chunk) {
            Ok(0) => break End::Eof,
            Ok(read) => all.extend(&chunk[..read]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break End::Open,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => break End::Reset,
            Err(e) => panic!("{e}"),
        }
    };
    stream.set_read_timeout(Some(SOON)).unwrap();
    (all, seen)
}

/// Insists on just these bytes and this end.
fn assert_comes(stream: &mut TcpStream, bytes: &[u8], end: End, what: &str) {
    assert_eq!(drain(stream, bytes.len(), end), (bytes.to_vec(), end), "{what}");
}

/// Insists on an end, whatever comes before it.
fn assert_over(stream: &mut TcpStream) {
    assert_ne!(drain(stream, 0, End::Eof).1, End::Open);
}

#[test]
fn each_action_strikes_at_its_place() {
    let first = message(b'd', b"wAAAA");
    let second = message(b'd', b"wBBBB");
    let third = message(b'd', b"kCC");
    let all = [first.clone(), second.clone(), third.clone()].concat();
    let at_second = When::AtMessage {
        what: What::CopyData(b'w'),
        nth: 2,
    };
    let in_second = When::AtByte(12);
    let corrupt = |at: usize| {
        let mut bytes = all.clone();
        bytes[at] ^= 4;
        bytes
    };
    let twice = |from: usize| [&all[..20], &all[from..20], &all[20..]].concat();
    let cases = [
        (at_second, Action::Stall, all[..10].to_vec(), End::Open),
        (in_second, Action::Stall, all[..12].to_vec(), End::Open),
        (at_second, Action::StallForAcks, all[..10].to_vec(), End::Open),
        (at_second, Action::CloseGracefully, all[..10].to_vec(), End::Eof),
        (in_second, Action::CloseGracefully, all[..12].to_vec(), End::Eof),
        (at_second, Action::Truncate, all[..15].to_vec(), End::Eof),
        (at_second, Action::HalfClose, all[..10].to_vec(), End::Eof),
        (at_second, Action::Flip(8 * 7 + 2), corrupt(17), End::Open),
        (in_second, Action::Flip(2), corrupt(12), End::Open),
        (at_second, Action::Duplicate, twice(10), End::Open),
        (in_second, Action::Duplicate, twice(12), End::Open),
        (
            at_second,
            Action::Delay(Duration::from_secs(3600)),
            all[..10].to_vec(),
            End::Open,
        ),
        (in_second, Action::Throttle(1), all[..13].to_vec(), End::Open),
    ];
    for (when, action, expected, end) in cases {
        let mut peers = Peers::new();
        peers.proxy.set([Fault {
            direction: Direction::ToClient,
            on: Which::Replication,
            when,
            action,
        }]);
        peers.server.write_all(&all).unwrap();
        let what = format!("{when:?} {action:?}");
        let mut expected = expected;
        if matches!(action, Action::Throttle(_)) {
            // A byte at once, and another one each second: how many come depends on how fast we are.
            assert_eq!(expect(&mut peers.client, expected.len()), expected, "{what}");
            let (more, seen) = drain(&mut peers.client, 0, end);
            expected.extend(more);
            assert!(all.starts_with(&expected) && expected.len() < all.len(), "{what}");
            assert_eq!(seen, end, "{what}");
        } else {
            assert_comes(&mut peers.client, &expected, end, &what);
        }
        peers.proxy.wait_fired(1, SOON).unwrap();
        let holds = matches!(
            action,
            Action::Stall | Action::StallForAcks | Action::Delay(_) | Action::Throttle(_)
        );
        if holds {
            // The other direction is not touched, and what was held back comes when the faults end.
            peers.client.write_all(&message(b'd', b"r")).unwrap();
            assert_eq!(expect(&mut peers.server, 6), message(b'd', b"r"));
            peers.proxy.clear();
            assert_eq!(
                expect(&mut peers.client, all.len() - expected.len()),
                all[expected.len()..]
            );
        }
        if action == Action::HalfClose {
            peers.client.write_all(&message(b'd', b"r")).unwrap();
            assert_eq!(expect(&mut peers.server, 6), message(b'd', b"r"));
        }
    }
}

#[test]
fn a_reset_reaches_both_sides() {
    let mut peers = Peers::new();
    let fault = Fault::to_server(What::Type(b'Q'), 1, Action::Reset);
    peers.proxy.set([fault]);
    peers.client.write_all(&message(b'Q', b"SELECT 1\0")).unwrap();
    assert_comes(&mut peers.client, b"", End::Reset, "client");
    assert_comes(&mut peers.server, b"", End::Reset, "server");

    let (mut client, mut server) = Peers::pair(&peers.proxy, &peers.listener, false);
    peers.proxy.reset_all();
    assert_comes(&mut client, b"", End::Reset, "client");
    assert_comes(&mut server, b"", End::Reset, "server");
    wait_until("both connections are over", SOON, || {
        Ok(peers.proxy.connections().iter().all(|info| !info.open))
    })
    .unwrap();
}

#[test]
fn a_stall_fills_the_senders_window_unless_it_acknowledges() {
    for (action, blocks) in [(Action::Stall, true), (Action::StallForAcks, false)] {
        let mut peers = Peers::new();
        peers.proxy.set([Fault::to_client(What::Any, 1, action)]);
        let large = message(b'd', &vec![7; 32 << 20]);
        let limit = if blocks { Duration::from_secs(1) } else { SOON };
        peers.server.set_write_timeout(Some(limit)).unwrap();
        // A message is passed whole: the first is what stalls, so that the second meets the stall.
        peers.server.write_all(&message(b'd', b"x")).unwrap();
        peers.proxy.wait_fired(1, SOON).unwrap();
        assert_eq!(peers.server.write_all(&large).is_err(), blocks, "{action:?}");
    }
}

#[test]
fn faults_strike_in_sequence_and_only_where_they_count() {
    let mut peers = Peers::new();
    let (mut plain, mut plain_server) = Peers::pair(&peers.proxy, &peers.listener, false);
    let flip = |on| Fault::to_client(What::Any, 2, Action::Flip(0)).on(on);
    peers.proxy.set([
        flip(Which::Ordinary),
        flip(Which::Replication),
        flip(Which::Id(2)),
    ]);
    let sent = message(b'D', b"");
    let mut marked = sent.clone();
    marked[0] ^= 1;
    let mut pass = |ordinary: bool| {
        let (from, to) = if ordinary {
            (&mut plain_server, &mut plain)
        } else {
            (&mut peers.server, &mut peers.client)
        };
        from.write_all(&sent).unwrap();
        expect(to, 5) == marked
    };
    // The replication connection's messages do not count while the ordinary one's are waited for, and so on.
    let struck: Vec<bool> = [false, false, true, true, true, false, false, true, true]
        .map(&mut pass)
        .to_vec();
    assert_eq!(
        struck,
        [false, false, false, true, false, false, true, false, true]
    );
    assert_eq!(peers.proxy.fired(), 3);
    // What has been received is counted.
    assert_eq!(peers.proxy.passed(Direction::ToClient, What::Any), 9);
    assert_eq!(peers.proxy.passed(Direction::ToClient, What::Type(b'D')), 9);
    assert_eq!(peers.proxy.bytes(Direction::ToClient), 45);
    let greeted = peers.proxy.passed(Direction::ToServer, What::Kind(Kind::Startup));
    assert_eq!(greeted, 2);
    let connections = peers.proxy.connections();
    let told: Vec<(u64, bool, u64)> = connections
        .iter()
        .map(|info| {
            (
                info.id,
                info.parameters.contains_key("replication"),
                info.to_client,
            )
        })
        .collect();
    assert_eq!(told, [(1, true, 20), (2, false, 25)]);
}

#[test]
fn new_connections_are_refused_or_never_answered() {
    let peers = Peers::new();
    let connect = || TcpStream::connect(("127.0.0.1", peers.proxy.port()));
    peers.proxy.admit(Admission::Refuse).unwrap();
    assert_eq!(connect().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    peers.proxy.admit(Admission::Silent).unwrap();
    let mut silent = connect().unwrap();
    silent.write_all(&startup(false)).unwrap();
    assert_comes(&mut silent, b"", End::Open, "silent");
    peers.proxy.admit(Admission::Forward).unwrap();
    Peers::pair(&peers.proxy, &peers.listener, false);
    // What was there before was not touched.
    let Peers {
        mut client,
        mut server,
        proxy,
        ..
    } = peers;
    server.write_all(&message(b'Z', b"I")).unwrap();
    assert_eq!(expect(&mut client, 6), message(b'Z', b"I"));
    proxy.reset_all();
    assert_over(&mut silent);
}

#[test]
fn ends_pass_on_and_a_dropped_proxy_ends_everything() {
    let mut peers = Peers::new();
    peers.client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_comes(&mut peers.server, b"", End::Eof, "server");
    peers.server.write_all(&message(b'Z', b"I")).unwrap();
    assert_eq!(expect(&mut peers.client, 6), message(b'Z', b"I"));

    let (mut client, mut server) = Peers::pair(&peers.proxy, &peers.listener, false);
    peers.proxy.set([Fault::to_client(What::Any, 1, Action::Stall)]);
    server.write_all(&message(b'Z', b"I")).unwrap();
    peers.proxy.wait_fired(1, SOON).unwrap();
    let port = peers.proxy.port();
    drop(peers.proxy);
    assert_over(&mut client);
    assert_over(&mut server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn the_server_may_be_a_unix_socket() {
    let dir = crate::TestDir::new().unwrap();
    let path = dir.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let proxy = Proxy::new(Upstream::Unix(path)).unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(&startup(true)).unwrap();
    let mut packet = vec![0; startup(true).len()];
    server.read_exact(&mut packet).unwrap();
    proxy.set([Fault::to_client(What::Any, 1, Action::Reset)]);
    server.write_all(&message(b'Z', b"I")).unwrap();
    assert_comes(&mut client, b"", End::Reset, "client");
    assert_eq!(
        proxy.conninfo("host=/s port=1 user=u password=p"),
        format!("host=127.0.0.1 port={} user=u password=p", proxy.port())
    );
}
