//! Which server a connection string leads to, with hosts that are dead, silent, starting or standbys; service and
//! password files; what is told when all fails. `psql` finds the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use barman_pg::basebackup::CheckpointMode;
use barman_pg::{BaseBackupOptions, ConnInfo, ConnectOptions, Error, ReplicationClient, SqlClient};
use testkit::{Cluster, PgTree, Program, TestDir};

thread_local! {
    static ENVIRONMENT: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

/// Names and values.
type Variables<'a> = Vec<(&'a str, &'a str)>;

fn environment(name: &str) -> Option<String> {
    ENVIRONMENT.with_borrow(|variables| {
        let found = variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    })
}

fn options() -> ConnectOptions {
    ConnectOptions {
        environment,
        ..ConnectOptions::default().with_timeouts(Duration::from_secs(20), Duration::from_secs(20))
    }
}

fn set_environment(variables: &[(&str, &str)]) {
    ENVIRONMENT.set(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    );
}

/// The port of the server that is found, or the first line of the complaint.
fn ours(text: &str) -> Result<String, String> {
    let info: ConnInfo = text.parse().map_err(|error| format!("{error}"))?;
    let first = |error: Error| error.to_string().lines().next().unwrap_or_default().to_owned();
    if info.get("replication").is_some() {
        let mut client = ReplicationClient::connect(&info, &options()).map_err(first)?;
        return client.show("port").map_err(first);
    }
    let mut client = SqlClient::connect(&info, &options()).map_err(first)?;
    Ok(client.setting("port").map_err(first)?.unwrap())
}

/// The same by `psql` 15.
fn theirs(text: &str) -> Result<String, String> {
    let psql = ENVIRONMENT.with_borrow(|variables| {
        let program = Program::new(PgTree::debian(15).unwrap().program("psql")).env("HOME", "/nonexistent");
        variables
            .iter()
            .fold(program, |program, (name, value)| program.env(name, value))
    });
    let done = psql
        .run(["-X", "-w", "-At", "-d", text, "-c", "SHOW port"])
        .unwrap();
    if done.code == Some(0) {
        return Ok(done.stdout.trim().to_owned());
    }
    let first = done.stderr.lines().next().unwrap_or_default();
    Err(first.trim_start_matches("psql: error: ").to_owned())
}

fn same(text: &str) -> Result<String, String> {
    let (ours, theirs) = (ours(text), theirs(text));
    assert_eq!(ours, theirs, "{text}");
    ours
}

const HOME: (&str, &str) = ("HOME", "/nonexistent");

#[test]
fn the_server_of_the_wanted_kind_is_found() {
    for major in [15, 13] {
        let primary = Cluster::start_new(major).unwrap();
        let standby = Cluster::builder(major).standby_of(&primary).unwrap();
        set_environment(&[HOME]);
        let (first, second) = (primary.port().to_string(), standby.port().to_string());
        let mut outcomes = BTreeSet::new();
        for target in [
            "any",
            "read-write",
            "read-only",
            "primary",
            "standby",
            "prefer-standby",
            "nonsense",
        ] {
            for ports in [
                format!("{first},{second}"),
                format!("{second},{first}"),
                format!("{first},{first}"),
                format!("{second},{second}"),
                format!("1,{second}"),
            ] {
                let text = format!(
                    "host=127.0.0.1,127.0.0.1 port={ports} user=postgres dbname=postgres target_session_attrs={target}"
                );
                let (mine, psql) = (ours(&text), theirs(&text));
                // Complaints about options are in our own words.
                assert_eq!(
                    mine.as_ref().ok(),
                    psql.as_ref().ok(),
                    "{major} {text}: {mine:?} {psql:?}"
                );
                // A WAL sender of a server before 14 cannot be asked libpq's question; it is found all the same.
                assert_eq!(
                    ours(&format!("{text} replication=1")).ok(),
                    mine.clone().ok(),
                    "{major} {text}"
                );
                outcomes.insert(mine.ok());
            }
        }
        assert_eq!(outcomes.len(), 3, "{outcomes:?}");
    }
}

/// libpq reads the port of a host when it comes to that host: a number that is none of a port costs the host, anything
/// else ends the search.
#[test]
fn a_wrong_port_counts_when_its_host_is_tried() {
    let cluster = Cluster::start_new(15).unwrap();
    set_environment(&[HOME]);
    let port = cluster.port().to_string();
    for (ports, found) in [
        (format!("{port},xx"), true),
        (format!("{port},99999"), true),
        (format!("0,{port}"), true),
        (format!("1,{port}"), true),
        (format!("xx,{port}"), false),
        (format!("1,xx,{port}"), false),
        (format!("1,99999,{port}"), true),
        ("1,99999".to_owned(), false),
        ("99999,0".to_owned(), false),
        ("xx".to_owned(), false),
        (String::from("5432password=s3cret"), false),
    ] {
        let hosts = vec!["127.0.0.1"; ports.split(',').count()].join(",");
        let text = format!("host={hosts} port={ports} user=postgres dbname=postgres");
        let mine = ours(&text);
        assert_eq!(mine.is_ok(), found, "{text}: {mine:?}");
        assert_eq!(mine.as_ref().ok(), theirs(&text).as_ref().ok(), "{text}");
        assert!(!format!("{mine:?}").contains("s3cret"), "{mine:?}");
    }
    let error = ours("host=127.0.0.1,127.0.0.1 port=99999,1 user=u").unwrap_err();
    assert!(error.contains("port 1 failed"), "{error}");
}

/// A role whose sessions are read-only is none the less on a primary, also on servers that do not say what they are.
#[test]
fn a_primary_is_found_by_a_read_only_role() {
    let cluster = Cluster::start_new(13).unwrap();
    cluster
        .sql("CREATE ROLE reader LOGIN; ALTER ROLE reader SET default_transaction_read_only = on")
        .unwrap();
    set_environment(&[HOME]);
    for target in ["primary", "read-write", "read-only", "standby"] {
        let text = format!(
            "host={} port={} user=reader dbname=postgres target_session_attrs={target}",
            cluster.socket_dir().display(),
            cluster.port()
        );
        assert_eq!(ours(&text).ok(), theirs(&text).ok(), "{target}");
        assert_eq!(
            ours(&text).is_ok(),
            ["primary", "read-only"].contains(&target),
            "{target}"
        );
    }
}

/// Places that are written in unusual ways.
#[test]
fn places_are_found_however_they_are_written() {
    let cluster = Cluster::start_new(15).unwrap();
    let (port, directory) = (cluster.port(), cluster.socket_dir());
    set_environment(&[HOME]);
    for place in [
        "host=127.1".to_owned(),
        "hostaddr=127.1".to_owned(),
        "hostaddr=2130706433".to_owned(),
        "host=nowhere.invalid hostaddr=127.0.0.1".to_owned(),
        format!("host={}/", directory.display()),
        format!("host={}/.", directory.display()),
    ] {
        let text = format!("{place} port={port} user=postgres dbname=postgres");
        assert_eq!(same(&text), Ok(port.to_string()), "{place}");
    }
    // An address with a zone is one; there need not be anybody.
    let far = "hostaddr=fe80::1%lo port=1 connect_timeout=2 user=u";
    assert!(!ours(far).unwrap_err().contains("could not parse network address"));
    for name in ["localhost", "a.b", "::zz", "::1%", "1.2.3.x"] {
        let told = ours(&format!("hostaddr={name} port={port} connect_timeout=2 user=u")).unwrap_err();
        assert!(told.contains(&format!("\"{name}\"")), "{told}");
    }
    let long = format!("/{}", "x".repeat(200));
    let told = ours(&format!("host={long} user=u")).unwrap_err();
    assert!(told.contains("is too long (maximum 107 bytes)"), "{told}");

    // A socket that is not in the file system.
    let name = format!("barman-pg-test-{}", std::process::id());
    let address =
        std::os::unix::net::SocketAddr::from_abstract_name(format!("{name}/.s.PGSQL.5433")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 1000];
        let _ = stream.read(&mut hello).unwrap();
        stream
            .write_all(b"E\0\0\0\x1cSFATAL\0C28000\0Mfound\0\0\0\0")
            .unwrap();
    });
    let told = ours(&format!("host=@{name} port=5433 user=u")).unwrap_err();
    assert_eq!(
        told,
        format!("connection to server on socket \"@{name}/.s.PGSQL.5433\" failed: FATAL:  found")
    );
    server.join().unwrap();
}

#[test]
fn dead_and_silent_hosts_are_passed_over_and_refusals_are_not() {
    let cluster = Cluster::start_new(15).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging_up = TcpListener::bind("127.0.0.1:0").unwrap();
    let (silent_port, hanging_port) = (
        silent.local_addr().unwrap().port(),
        hanging_up.local_addr().unwrap().port(),
    );
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = hanging_up.accept() {
            // Not before it was asked something: what is not read becomes a reset.
            let _ = std::io::Read::read(&mut stream, &mut [0; 1000]);
        }
    });
    set_environment(&[HOME]);
    let port = cluster.port();
    let begin = Instant::now();
    for mode in ["disable", "prefer"] {
        let list = format!(
            "host=127.0.0.1,127.0.0.1,nowhere.invalid,/nowhere,127.0.0.1 port=1,{silent_port},1,1,{port} connect_timeout=5 user=postgres dbname=postgres sslmode={mode}"
        );
        assert_eq!(ours(&list), Ok(port.to_string()));
        assert_eq!(theirs(&list), Ok(port.to_string()));
        assert_eq!(ours(&format!("{list} replication=1")), Ok(port.to_string()));
    }
    // Five seconds for each search, not what anybody else would wait.
    assert!(begin.elapsed() < Duration::from_secs(100));
    // Whoever answers and refuses ends the search.
    for (text, told) in [
        (
            format!("host=127.0.0.1,127.0.0.1 port={port},{port} user=barman password=wrong dbname=postgres"),
            "password authentication failed",
        ),
        (
            format!("host=127.0.0.1,127.0.0.1 port={port},{port} user=postgres dbname=nowhere"),
            "does not exist",
        ),
        (
            format!("host=127.0.0.1,127.0.0.1 port={hanging_port},{port} user=postgres dbname=postgres"),
            "",
        ),
        (
            format!("host=127.0.0.1 port={port} user=barman dbname=postgres"),
            "no password supplied",
        ),
        (
            format!("host=127.0.0.1,127.0.0.1 port=1,{port} user=nobody dbname=postgres"),
            "port 1 failed: Connection refused",
        ),
        (
            "host=/nowhere port=1 user=u".to_owned(),
            "No such file or directory",
        ),
        (
            format!("host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=require"),
            "server does not support SSL, but SSL was required",
        ),
        (
            format!("host=127.0.0.1 port={port} user=postgres dbname=postgres channel_binding=require"),
            "",
        ),
        (
            format!(
                "host=127.0.0.1 port={port} user=barman password=barman-password dbname=postgres channel_binding=require"
            ),
            "channel binding required, but SSL not in use",
        ),
    ] {
        let line = same(&text).unwrap_err();
        assert!(line.contains(told), "{line}");
    }
}

#[test]
fn a_server_that_starts_is_passed_over() {
    use std::io::{Read as _, Write as _};
    let cluster = Cluster::start_new(15).unwrap();
    let starting = TcpListener::bind("127.0.0.1:0").unwrap();
    let starting_port = starting.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = starting.accept() {
            let _ = stream.read(&mut [0; 1000]);
            let body = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
            let mut message = vec![b'E'];
            message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
            message.extend(body);
            let _ = stream.write_all(&message);
        }
    });
    set_environment(&[HOME]);
    let port = cluster.port();
    let text = format!(
        "host=127.0.0.1,127.0.0.1 port={starting_port},{port} user=postgres dbname=postgres sslmode=disable"
    );
    assert_eq!(same(&text), Ok(port.to_string()));
}

#[test]
fn hosts_are_taken_in_any_order_if_that_is_wanted() {
    let clusters = [Cluster::start_new(15).unwrap(), Cluster::start_new(15).unwrap()];
    set_environment(&[HOME]);
    let ports: Vec<String> = clusters
        .iter()
        .map(|cluster| cluster.port().to_string())
        .collect();
    let text = format!(
        "host=127.0.0.1,127.0.0.1 port={} user=postgres dbname=postgres",
        ports.join(",")
    );
    let seen = |text: &str| -> BTreeSet<String> { (0..40).map(|_| ours(text).unwrap()).collect() };
    assert_eq!(seen(&text), BTreeSet::from([ports[0].clone()]));
    assert_eq!(
        seen(&format!("{text} load_balance_hosts=random")),
        ports.into_iter().collect()
    );
}

#[test]
fn services_passwords_and_variables_are_found_where_psql_finds_them() {
    let cluster = Cluster::start_new(15).unwrap();
    let dir = TestDir::new().unwrap();
    let write = |name: &str, text: &str, mode: u32| -> String {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let port = cluster.port();
    let secret = cluster
        .tcp_conninfo()
        .parse::<ConnInfo>()
        .unwrap()
        .get("password")
        .unwrap()
        .to_owned();
    let socket = cluster.socket_dir().display().to_string();
    let services = format!(
        "[main]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname=postgres\n[bad]\nnonsense\n[far]\nhost=127.0.0.1\nport=1\nuser=u\n"
    );
    let global =
        format!("[main]\nport=2\n[system]\nhost={socket}\nport={port}\nuser=postgres\ndbname=postgres\n");
    write("home/.pg_service.conf", &services, 0o644);
    write("system/pg_service.conf", &global, 0o644);
    let named = write("named.conf", &services.replace("[main]", "[named]"), 0o644);
    write(
        "home/.pgpass",
        &format!("127.0.0.1:{port}:postgres:barman:{secret}\n"),
        0o600,
    );
    let lines = format!("# x\nother:*:*:*:no\n127.0.0.1:*:*:barman:{secret}\n");
    let good = write("pass", &lines, 0o600);
    let open = write("pass.open", &lines, 0o644);
    let empty = write("pass.empty", &format!("*:*:*:*:\n{lines}"), 0o600);
    let odd = write(
        "pass.odd",
        &format!("\u{fc}\n\\1\\27.0.0.1:*:*:barman:\\{secret}\n"),
        0o600,
    );
    let home = dir.join("home").display().to_string();
    let system = dir.join("system").display().to_string();
    let plain = format!("host=127.0.0.1 port={port} user=barman dbname=postgres");
    let port_text = port.to_string();

    let cases: Vec<(Variables<'_>, String, bool)> = vec![
        (vec![], "service=main".into(), true),
        (vec![("PGSERVICE", "main")], String::new(), true),
        (vec![("PGSERVICE", "far")], "service=main".into(), true),
        (vec![("PGSERVICE", "main"), ("PGPORT", "1")], String::new(), true),
        (
            vec![("PGPORT", "1")],
            "service=main port=".to_owned() + &port_text,
            true,
        ),
        (vec![], "service=far".into(), false),
        (vec![], "service=bad".into(), false),
        (vec![], "service=none".into(), false),
        (vec![], "service=system".into(), false),
        (vec![("PGSYSCONFDIR", &system)], "service=system".into(), true),
        (vec![("PGSYSCONFDIR", &system)], "service=main".into(), true),
        (vec![("PGSERVICEFILE", &named)], "service=named".into(), true),
        (vec![("PGSERVICEFILE", &named)], "service=main".into(), false),
        (vec![("PGSERVICEFILE", "/nowhere")], "service=main".into(), false),
        (
            vec![
                ("PGHOST", "127.0.0.1"),
                ("PGPORT", &port_text),
                ("PGUSER", "postgres"),
            ],
            String::new(),
            true,
        ),
        (
            vec![
                ("PGHOST", &socket),
                ("PGPORT", &port_text),
                ("PGUSER", "barman"),
                ("PGDATABASE", "postgres"),
            ],
            String::new(),
            true,
        ),
        (vec![], plain.clone(), true),
        (vec![("HOME", "/nonexistent")], plain.clone(), false),
        (
            vec![("HOME", "/nonexistent"), ("PGPASSFILE", &good)],
            plain.clone(),
            true,
        ),
        (
            vec![("HOME", "/nonexistent"), ("PGPASSWORD", &secret)],
            plain.clone(),
            true,
        ),
        (
            vec![("HOME", "/nonexistent"), ("PGPASSWORD", &secret)],
            format!("{plain} password=''"),
            false,
        ),
        (vec![("PGPASSFILE", &open)], plain.clone(), false),
        (
            vec![("PGPASSFILE", &open)],
            format!("{plain} passfile={good}"),
            true,
        ),
        (vec![], format!("{plain} passfile={empty}"), false),
        (vec![], format!("{plain} passfile={odd}"), true),
        (
            vec![],
            format!("postgresql://barman:{secret}@127.0.0.1:{port}/postgres"),
            true,
        ),
        (
            vec![],
            format!(
                "postgresql://barman:{}@127.0.0.1:{port}/postgres",
                secret.replace('e', "%65")
            ),
            true,
        ),
        (
            vec![],
            format!("postgresql:///postgres?host={socket}&port={port}&user=barman"),
            true,
        ),
        (
            vec![],
            format!(
                "postgresql://barman@{}:{port}/postgres",
                socket.replace('/', "%2F")
            ),
            true,
        ),
        (vec![("PGREQUIRESSL", "1")], plain.clone(), false),
        (vec![("PGSSLMODE", "require")], plain.clone(), false),
        (
            vec![("PGSSLMODE", "require")],
            format!("{plain} sslmode=prefer"),
            true,
        ),
        (vec![("PGTARGETSESSIONATTRS", "standby")], plain.clone(), false),
        (vec![("PGOPTIONS", "-c nonsense=1")], plain.clone(), false),
        (vec![("PGOPTIONS", "-c work_mem=1MB")], plain.clone(), true),
        (vec![("PGTZ", "Nowhere/Else")], plain.clone(), false),
        (vec![("PGCONNECT_TIMEOUT", "x")], plain.clone(), false),
        (vec![("PGGSSENCMODE", "disable")], plain.clone(), true),
        (
            vec![],
            format!("host={socket} port={port} user=barman dbname=postgres requirepeer=root"),
            !testkit_is_postgres(),
        ),
        (
            vec![],
            format!("host={socket} port={port} user=barman dbname=postgres requirepeer=nobody"),
            false,
        ),
        (
            vec![],
            format!("host={socket} port={port} user=barman dbname=postgres sslmode=verify-full"),
            true,
        ),
    ];
    for (variables, text, expected) in cases {
        let mut all = vec![("HOME", home.as_str())];
        all.retain(|(name, _)| !variables.iter().any(|(other, _)| other == name));
        all.extend(variables);
        set_environment(&all);
        let (mine, psql) = (ours(&text), theirs(&text));
        assert_eq!(mine.is_ok(), psql.is_ok(), "{all:?} {text}: {mine:?} {psql:?}");
        // requirepeer depends on who runs the servers; psql has said what is right.
        if !text.contains("requirepeer=root") {
            assert_eq!(mine.is_ok(), expected, "{all:?} {text}: {mine:?}");
        }
    }
    assert!(Path::new(&home).exists());
}

fn testkit_is_postgres() -> bool {
    testkit::user::server_user().unwrap().is_some()
}

/// `CHECKPOINT 'spread'` takes minutes; nobody waits for it whom an interrupt has sent home.
#[test]
fn a_server_is_told_when_nobody_waits_any_more() {
    let cluster = Cluster::builder(15)
        .conf("checkpoint_timeout", "30min")
        .conf("checkpoint_completion_target", "0.9")
        .start()
        .unwrap();
    set_environment(&[HOME]);
    cluster
        .sql("CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 60000) g")
        .unwrap();
    let senders =
        || cluster.sql_value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'");
    let streaming: ConnInfo = cluster
        .streaming_conninfo()
        .parse::<ConnInfo>()
        .unwrap()
        .streaming();
    let flag = Arc::new(AtomicBool::new(false));
    let mut client =
        ReplicationClient::connect(&streaming, &options().with_interrupt(Arc::clone(&flag))).unwrap();
    let spread = BaseBackupOptions {
        checkpoint: CheckpointMode::Spread,
        ..BaseBackupOptions::default()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cluster.wait_running("BASE_BACKUP%").unwrap();
            flag.store(true, Ordering::Relaxed);
        });
        let error = client.base_backup(&spread).map(drop).unwrap_err();
        assert!(error.is_interrupted(), "{error}");
    });
    drop(client);
    testkit::wait_until("the WAL sender ends", Duration::from_secs(60), || {
        Ok(senders()? == "0")
    })
    .unwrap();

    // A statement is cancelled from another thread, and the session goes on.
    let mut sql = SqlClient::connect(&cluster.conninfo().parse().unwrap(), &options()).unwrap();
    let canceller = sql.canceller().unwrap();
    assert!(!format!("{canceller:?}").contains("secret"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cluster.wait_running("SELECT pg_sleep(%").unwrap();
            canceller.cancel(Duration::from_secs(60)).unwrap();
        });
        let error = sql.rows("SELECT pg_sleep(3600)", "sleeping").unwrap_err();
        assert_eq!(error.sqlstate(), Some("57014"), "{error}");
    });
    sql.heartbeat().unwrap();

    // One that takes too long is not left running.
    let mut hasty = options();
    hasty.io_timeout = Duration::from_secs(5);
    let mut sql = SqlClient::connect(&cluster.conninfo().parse().unwrap(), &hasty).unwrap();
    assert!(matches!(
        sql.rows("SELECT pg_sleep(3600)", "sleeping"),
        Err(Error::Timeout { .. })
    ));
    testkit::wait_until("the statement ends", Duration::from_secs(60), || {
        Ok(cluster.sql_value(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'",
        )? == "0")
    })
    .unwrap();
}
