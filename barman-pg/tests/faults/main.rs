//! Base backups and WAL streams over a network that stalls, breaks, dawdles and lies, from servers that are killed,
//! restarted and promoted meanwhile, at chosen points: within the deadline there is a clear error or a right result,
//! and never a wrong file under its final name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod backups;
mod wal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use barman_pg::{ConnInfo, ConnectOptions, ReplicationClient};
use testkit::proxy::{Action, Direction, Fault, What};
use testkit::{ALL_MAJORS, Cluster, PgTree, Program, Proxy};

/// What a test waits for at most, whatever the machine has to do besides.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(6);

fn options() -> ConnectOptions {
    ConnectOptions {
        environment: |_| None,
        ..ConnectOptions::default().with_timeouts(PATIENCE, SILENCE)
    }
}

/// For tests in which silence is not what goes wrong: a server is stopped or promoted while nothing passes.
fn patient() -> ConnectOptions {
    options().with_timeouts(PATIENCE, PATIENCE)
}

/// Whether what passes through the proxy is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Clear,
    Tls,
}

fn info(cluster: &Cluster, proxy: &Proxy, encryption: Encryption) -> ConnInfo {
    let mode = match encryption {
        Encryption::Clear => "disable",
        Encryption::Tls => "require",
    };
    let text = proxy.conninfo(&cluster.tcp_streaming_conninfo()) + " sslmode=" + mode;
    let info: ConnInfo = text.parse().unwrap();
    info.streaming().or_application_name("barman_receive_wal")
}

fn connect(info: &ConnInfo) -> ReplicationClient {
    ReplicationClient::connect(info, &patient()).unwrap()
}

/// A tree of this major that can do what is asked for.
fn tree(major: u16, encryption: Encryption) -> PgTree {
    let needs = testkit::Needs {
        tls: encryption == Encryption::Tls,
        ..testkit::Needs::default()
    };
    PgTree::with(major, needs).unwrap()
}

/// A key and a certificate for the server, which is then told to use them.
fn encrypt(cluster: &Cluster) {
    let (key, certificate) = (
        cluster.data_dir().join("server.key"),
        cluster.data_dir().join("server.crt"),
    );
    let arguments = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ];
    let mut arguments: Vec<&Path> = arguments.iter().map(Path::new).collect();
    arguments.extend([Path::new("-keyout"), &key, Path::new("-out"), &certificate]);
    Program::new("/usr/bin/openssl").ok(arguments).unwrap();
    for path in [&key, &certificate] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        testkit::user::give(path).unwrap();
    }
    cluster.sql("ALTER SYSTEM SET ssl = 'on'").unwrap();
    cluster.restart().unwrap();
}

/// A test with each of these majors; with all of them, some at once, if there is time.
fn each_major(short: &[u16], test: impl Fn(u16) + Sync) {
    if !testkit::is_long() {
        return short.iter().for_each(|major| test(*major));
    }
    for some in ALL_MAJORS.chunks(3) {
        std::thread::scope(|scope| {
            for major in some {
                scope.spawn(|| test(*major));
            }
        });
    }
}

/// Inverts this bit of the byte at this offset of the message.
fn flip(offset: u64, bit: u64) -> Action {
    Action::Flip(8 * offset + bit)
}

/// At the `nth` message after the first one of this kind.
fn after(what: What, nth: u64, counted: What, action: Action) -> Vec<Fault> {
    // Does nothing but arm the one that follows.
    let mark = Fault::to_client(what, 1, Action::Delay(Duration::ZERO));
    vec![mark, Fault::to_client(counted, nth, action)]
}

/// Numbers that look like chance and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

/// How much has come from the server through the proxy since the last call.
struct Meter(u64);

impl Meter {
    fn new(proxy: &Proxy) -> Self {
        Self(proxy.bytes(Direction::ToClient))
    }

    fn read(&mut self, proxy: &Proxy) -> u64 {
        let now = proxy.bytes(Direction::ToClient);
        let passed = now - self.0;
        self.0 = now;
        passed
    }
}
