//! Whatever a connection string says about encryption and authentication, the outcome is that of `psql` of the server's
//! version: refused, connected in clear, or encrypted; for SQL and for replication sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod certificates;
mod combinations;
mod generated;
mod server;
mod streams;

use std::cell::RefCell;
use std::time::Duration;

use barman_pg::{ConnInfo, ConnectOptions, ReplicationClient, SqlClient};
use server::{ROLES, Server};
use testkit::PgTree;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Clear,
    Encrypted,
    Refused,
}

impl Outcome {
    fn connected(encrypted: bool) -> Self {
        if encrypted { Self::Encrypted } else { Self::Clear }
    }
}

thread_local! {
    /// The environment of the user who connects in this thread.
    static ENVIRONMENT: RefCell<Vec<(&'static str, String)>> = const { RefCell::new(Vec::new()) };
}

fn environment(name: &str) -> Option<String> {
    ENVIRONMENT.with_borrow(|variables| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    })
}

fn options() -> ConnectOptions {
    ConnectOptions {
        environment,
        ..ConnectOptions::default().with_timeouts(Duration::from_secs(20), Duration::from_secs(20))
    }
}

const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// The servers of a run: each complete tree in the long one, in the short one the oldest or the newest of them.
fn trees(short: impl Fn(&[PgTree]) -> Option<&PgTree>) -> Vec<PgTree> {
    let all = PgTree::complete();
    if testkit::is_long() {
        return all;
    }
    short(&all).cloned().into_iter().collect()
}

/// Connects both sides; complains if ours and `psql`'s outcome differ. Sessions are of both kinds, in the short run in
/// turn.
fn compare(
    server: &Server,
    conninfo: &str,
    variables: &[(&'static str, String)],
    complaints: &mut Vec<String>,
    seen: &mut Vec<Outcome>,
) {
    ENVIRONMENT.set(
        [("HOME", server.home.display().to_string())]
            .into_iter()
            .chain(variables.iter().cloned())
            .collect(),
    );
    let psql = server.psql(variables);
    let turn = seen.len() % 2 == 1;
    let kinds = if testkit::is_long() {
        vec![false, true]
    } else {
        vec![turn]
    };
    for replication in kinds {
        let text = if replication {
            format!("{conninfo} replication=1")
        } else {
            conninfo.to_owned()
        };
        let theirs = psql
            .run(["-X", "-w", "-At", "-d", &text, "-c", "\\conninfo"])
            .unwrap();
        let expected = if theirs.code == Some(0) {
            let encrypted = ["SSL connection (", "SSL Connection|true"];
            Outcome::connected(encrypted.iter().any(|sign| theirs.stdout.contains(sign)))
        } else {
            Outcome::Refused
        };
        let info: Result<ConnInfo, _> = text.parse();
        // What is said without connecting is never said of a string with which libpq connects, but for a port that it
        // did not come to.
        let said = info
            .as_ref()
            .map_or_else(|_| Vec::new(), |info| barman_pg::wrong_values(info, environment));
        for error in said.iter().map(ToString::to_string) {
            if expected != Outcome::Refused && !error.contains("is not a port number") {
                complaints.push(format!(
                    "{text} {variables:?}\n  psql: {expected:?}\n  said: {error}"
                ));
            }
        }
        let ours = info.map_err(|error| error.to_string()).and_then(|info| {
            if replication {
                ReplicationClient::connect(&info, &options()).map(|client| client.is_encrypted())
            } else {
                SqlClient::connect(&info, &options()).map(|client| client.is_encrypted())
            }
            .map_err(|error| error.to_string())
        });
        let actual = ours
            .as_ref()
            .map_or(Outcome::Refused, |encrypted| Outcome::connected(*encrypted));
        if actual != expected {
            complaints.push(format!(
                "{text} {variables:?}\n  psql: {expected:?} {}\n  ours: {actual:?} {}",
                theirs.stderr.trim(),
                ours.err().unwrap_or_default()
            ));
        }
        seen.push(actual);
    }
}

fn verdict(server: &Server, complaints: &[String], seen: &[Outcome]) {
    let count = |outcome| seen.iter().filter(|one| **one == outcome).count();
    let counts = [Outcome::Refused, Outcome::Clear, Outcome::Encrypted].map(count);
    assert!(
        complaints.is_empty(),
        "PostgreSQL {}: {} of {} differ\n{}\n{}",
        server.cluster.major(),
        complaints.len(),
        seen.len(),
        complaints.join("\n"),
        server.cluster.log_tail()
    );
    assert!(
        counts.iter().all(|count| *count > 0),
        "one-sided: {counts:?} {}",
        seen.len()
    );
}

/// Every pair of choices in the short run, all combinations of the first `full` factors in the long one (the others
/// rotate).
fn cases(sizes: &[usize], full: usize) -> Vec<Vec<usize>> {
    let mut cases = combinations::pairs(sizes);
    if testkit::is_long() {
        let (product, rotating) = sizes.split_at(full);
        for (at, case) in combinations::all(product).into_iter().enumerate() {
            let rest = rotating.iter().map(|size| at % size);
            cases.push(case.into_iter().chain(rest).collect());
        }
    }
    cases
}

/// The server's certificate, the name that it is asked under, `sslmode`, and whom the client believes.
#[test]
fn encryption_ends_as_with_psql() {
    for tree in trees(<[_]>::first) {
        let server = Server::start(&tree);
        let (major, port) = (tree.major(), server.cluster.port());
        let socket = server.cluster.socket_dir();
        let hosts = [
            format!("host=localhost hostaddr=127.0.0.1 port={port}"),
            format!("host=127.0.0.1 port={port}"),
            format!("host=db.pg.test hostaddr=127.0.0.1 port={port}"),
            format!("host=a.db.pg.test hostaddr=127.0.0.1 port={port}"),
            format!("hostaddr=127.0.0.1 port={port}"),
            format!("host={} port={port}", socket.display()),
        ];
        let file = |name: &str| server.certificates.certificate(name).display().to_string();
        let crl = server.certificates.revocations().display().to_string();
        let mut roots = vec![
            String::new(),
            format!("sslrootcert={}", file("root")),
            // The server's own.
            "sslrootcert={server}".to_owned(),
            format!("sslrootcert={}", file("other")),
            format!("sslrootcert={}", file("absent")),
            format!("sslrootcert={}", file("garbage")),
            format!("sslrootcert={}", file("between")),
            format!("sslrootcert={} sslcrl={crl}", file("root")),
            format!("sslrootcert={} sslcrl=/nowhere", file("root")),
        ];
        let mut extras = vec![
            "",
            "ssl_max_protocol_version=TLSv1.2",
            "ssl_min_protocol_version=TLSv1.3",
            "sslsni=0",
            "sslcompression=1",
            "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
        ];
        if major >= 16 {
            roots.push("sslrootcert=system".to_owned());
        }
        if major >= 17 {
            extras.push("sslnegotiation=direct");
        }
        let roles = ["trust", "trust_tls"];
        let mut plan = cases(
            &[
                certificates::SERVERS.len(),
                MODES.len(),
                roots.len(),
                hosts.len(),
                roles.len(),
                extras.len(),
            ],
            3,
        );
        plan.sort();
        let (mut complaints, mut seen, mut presented) = (Vec::new(), Vec::new(), None);
        for case in plan {
            let name = certificates::SERVERS[case[0]];
            if presented != Some(name) {
                server.present(name);
                presented = Some(name);
            }
            let root = roots[case[2]].replace("{server}", &file(name));
            let conninfo = format!(
                "{} dbname=postgres user={} sslmode={} {root} {}",
                hosts[case[3]], roles[case[4]], MODES[case[1]], extras[case[5]]
            );
            let system = [("SSL_CERT_FILE", file("root"))];
            let variables = if root.ends_with("=system") {
                &system[..]
            } else {
                &[]
            };
            compare(&server, &conninfo, variables, &mut complaints, &mut seen);
        }
        verdict(&server, &complaints, &seen);
    }
}

/// How the server lets the role in, with what the client has and demands.
#[test]
fn authentication_ends_as_with_psql() {
    for tree in trees(<[_]>::first) {
        let server = Server::start(&tree);
        let port = server.cluster.port();
        let root = server.certificates.certificate("root").display().to_string();
        let certificate = |name: &str, key: &str| {
            format!(
                "sslcert={} sslkey={}",
                server.certificates.certificate(name).display(),
                server.certificates.key(key).display()
            )
        };
        let clients = [
            String::new(),
            certificate("client", "client"),
            certificate("stranger", "stranger"),
            // Keys: readable by all, by a group, of another certificate, in DER form, encrypted, absent.
            certificate("client", "open"),
            certificate("client", "group"),
            certificate("client", "stranger"),
            certificate("client", "der"),
            certificate("client", "encrypted") + " sslpassword=secret",
            certificate("client", "encrypted") + " sslpassword=wrong",
            certificate("client", "absent"),
            certificate("absent", "client"),
        ];
        let passwords = ["password=pw", "password=wrong", ""];
        let bindings = ["disable", "prefer", "require"];
        let servers = ["signed-version-1", "ecdsa", "ed25519", "pss"];
        let mut plan = cases(
            &[
                servers.len(),
                ROLES.len(),
                MODES.len(),
                passwords.len(),
                bindings.len(),
                clients.len(),
            ],
            0,
        );
        if testkit::is_long() {
            for (at, case) in combinations::all(&[ROLES.len(), MODES.len(), passwords.len(), bindings.len()])
                .into_iter()
                .enumerate()
            {
                plan.push([&[at % servers.len()], case.as_slice(), &[at % clients.len()]].concat());
            }
        }
        plan.sort();
        let (mut complaints, mut seen, mut presented) = (Vec::new(), Vec::new(), None);
        for case in plan {
            let name = servers[case[0]];
            if presented != Some(name) {
                server.present(name);
                presented = Some(name);
            }
            let roots = if MODES[case[2]].starts_with("verify") && !["ed25519", "pss"].contains(&name) {
                root.clone()
            } else {
                server.certificates.certificate(name).display().to_string()
            };
            let conninfo = format!(
                "host=localhost hostaddr=127.0.0.1 port={port} dbname=postgres user={} sslmode={} sslrootcert={roots} {} channel_binding={} {}",
                ROLES[case[1]].0, MODES[case[2]], passwords[case[3]], bindings[case[4]], clients[case[5]]
            );
            compare(&server, &conninfo, &[], &mut complaints, &mut seen);
        }
        verdict(&server, &complaints, &seen);
    }
}

/// What the client demands of the method and of its own certificate (libpq 16).
#[test]
fn demands_end_as_with_psql() {
    let mut trees = trees(<[_]>::last);
    trees.retain(|tree| tree.major() >= 16);
    if trees.is_empty() {
        testkit::executed::unproved("there is no complete PostgreSQL 16 or newer");
    }
    for tree in trees {
        let server = Server::start(&tree);
        let port = server.cluster.port();
        let certificate = format!(
            "sslcert={} sslkey={}",
            server.certificates.certificate("client").display(),
            server.certificates.key("client").display()
        );
        let demands = [
            "",
            "require_auth=none",
            "require_auth=password",
            "require_auth=md5",
            "require_auth=scram-sha-256",
            "require_auth=!none",
            "require_auth=!scram-sha-256",
            "require_auth=!password,!md5,!none",
            "require_auth=scram-sha-256,none",
            "require_auth=gss",
            "require_auth=md5,md5",
            "require_auth=md5,!none",
            "require_auth=nonsense",
            "require_auth=''",
        ];
        let modes = ["disable", "prefer", "require", "sslmode"];
        let uses = [
            "",
            "sslcertmode=disable",
            "sslcertmode=allow",
            "sslcertmode=require",
            "sslcertmode=x",
        ];
        let clients = ["", &certificate];
        let bindings = ["channel_binding=prefer", "channel_binding=require"];
        let sizes = [
            ROLES.len(),
            demands.len(),
            modes.len(),
            uses.len(),
            clients.len(),
            bindings.len(),
        ];
        let (mut complaints, mut seen) = (Vec::new(), Vec::new());
        for case in cases(&sizes, 2) {
            let conninfo = format!(
                "host=127.0.0.1 port={port} dbname=postgres user={} password=pw {} sslmode={} {} {} {}",
                ROLES[case[0]].0,
                demands[case[1]],
                modes[case[2]],
                uses[case[3]],
                clients[case[4]],
                bindings[case[5]],
            );
            compare(&server, &conninfo, &[], &mut complaints, &mut seen);
        }
        verdict(&server, &complaints, &seen);
    }
}
