//! Servers that refuse connections, or take them and never say a word: what the user learns, and when; signals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod support;

use std::io::Read;
use std::process::Stdio;
use support::Home;

const COMMON: &str = "backup_method = postgres\narchiver = on\n";
const CLOSED: &str = "conninfo = host=127.0.0.1 port=1 user=u\n";

/// A server that nobody answers for: its user learns why from every command.
#[test]
fn an_unreachable_server_says_why() {
    let home = Home::new(
        "",
        "[main]\nconninfo = host=127.0.0.1 port=1 user=u password=s3cret\n\
         streaming_conninfo = host=127.0.0.1 port=1 user=u password=s3cret\nslot_name = barman\n\
         streaming_archiver = on\nbackup_method = postgres\n",
    );
    let refused = "connection to server at \"127.0.0.1\", port 1 failed: Connection refused";
    for (arguments, stderr) in [
        (
            &["receive-wal", "--create-slot", "main"][..],
            format!("ERROR: Cannot connect to server 'main'\nHINT: {refused}\n"),
        ),
        (
            &["receive-wal", "main"],
            format!(
                "ERROR: Impossible to start WAL streaming. Check the log for more details, or run 'barman check \
                 main'\nHINT: what failed: no access to monitoring functions ({refused}), PostgreSQL streaming \
                 (WAL streaming) ({refused})\n"
            ),
        ),
        (
            &["check", "main"],
            format!(
                "HINT: PostgreSQL: {refused}\nHINT: replication slot: PostgreSQL was not reached, so nothing is \
                 known about slot 'barman'\n"
            ),
        ),
        (&["-q", "check", "main"], String::new()),
        (&["-q", "status", "main"], String::new()),
        (&["-f", "json", "check", "main"], String::new()),
        (&["check", "--nagios", "main"], String::new()),
    ] {
        let run = home.run(arguments);
        assert_eq!(run.stderr, stderr, "{arguments:?}");
        let fails = !arguments.contains(&"status");
        assert!(matches!(run.code, Some(1 | 2)) == fails, "{arguments:?}");
    }
    let backup = home.run(&["backup", "main"]);
    assert!(
        backup.stderr.contains(&format!("PostgreSQL ({refused})")),
        "{}",
        backup.stderr
    );
    assert!(!home.log().contains("s3cret"));
}

/// `check` tells where a disabled server's mistakes are, and which of several servers its hints are about.
#[test]
fn hints_of_check() {
    let home = Home::new(
        "",
        &format!("[dis]\nconninfo =\n{COMMON}[main]\n{CLOSED}{COMMON}"),
    );
    let refused =
        "PostgreSQL: connection to server at \"127.0.0.1\", port 1 failed: Connection refused".to_owned();
    let place = format!(
        "conninfo is empty in '{}', line 7, section [dis]; streaming_conninfo is not set in section [dis]",
        home.config().display()
    );
    let missing = "PostgreSQL: Missing 'conninfo' parameter for server 'dis'".to_owned();
    let named = [
        format!("dis: {missing}"),
        format!("dis: {place}"),
        format!("main: {refused}"),
    ];
    let alone = [missing, place];
    for (line, hints) in [
        (&["check", "dis"][..], &alone[..]),
        (&["check", "main"], &[refused][..]),
        (&["check", "main", "dis"], &named),
        (&["check", "all"], &named),
        (&["-q", "check", "all"], &[]),
        (&["-f", "json", "check", "all"], &[]),
        (&["check", "--nagios", "all"], &[]),
    ] {
        let run = home.run(line);
        let wanted: String = hints.iter().map(|hint| format!("HINT: {hint}\n")).collect();
        assert_eq!(run.stderr, wanted, "{line:?}");
    }
}

/// A server that takes connections and never says a word.
fn silent_server() -> (std::net::TcpListener, Home) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let servers = format!(
        "[main]\nconninfo = host=127.0.0.1 port={port} user=u sslmode=disable\nbackup_method = postgres\narchiver = on\n[next]\narchiver = on\nbackup_method = postgres\nconninfo = host=127.0.0.1 port={port}\n"
    );
    (listener, Home::new("", &servers))
}

/// Starts `check` on a silent server, waits until it has connected, and sends these signals.
fn interrupted(arguments: &[&str], signals: &[i32]) -> (String, String, std::process::ExitStatus) {
    let (listener, home) = silent_server();
    let config = home.config();
    let mut all = vec!["-c", config.to_str().unwrap()];
    all.extend(arguments);
    let child = home
        .command()
        .args(all)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let connection = listener.accept().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    for signal in signals {
        let signal = rustix::process::Signal::from_named_raw(*signal).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    drop(connection);
    (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
        output.status,
    )
}

#[test]
fn signals_end_the_wait_for_a_silent_server() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    for (signal, text, code) in [
        (SIGINT, "Process interrupted by user (KeyboardInterrupt)", 1),
        (SIGTERM, "Process interrupted by SIGTERM", 143),
        (SIGHUP, "Process interrupted by SIGHUP", 129),
    ] {
        let (_, stderr, status) = interrupted(&["check", "main", "next"], &[signal]);
        assert_eq!(stderr.lines().next(), Some(format!("ERROR: {text}").as_str()));
        assert_eq!(status.code(), Some(code), "{stderr}");
    }
    let (stdout, stderr, status) = interrupted(&["-f", "json", "check", "main"], &[SIGINT]);
    assert!(
        stdout.starts_with(r#"{"_ERROR": ["Process interrupted by user (KeyboardInterrupt)""#),
        "{stdout}"
    );
    assert_eq!((stderr.as_str(), status.code()), ("", Some(1)));
    let (stdout, _, status) = interrupted(&["check", "--nagios", "main"], &[SIGINT]);
    assert_eq!(stdout, "BARMAN CRITICAL - Global configuration errors\n");
    assert_eq!(status.code(), Some(2));
}

/// A server that hangs does not hide what is known of those before it, not even when the user gives up.
#[test]
fn servers_are_shown_while_others_hang() {
    let (listener, _) = silent_server();
    let port = listener.local_addr().unwrap().port();
    let silent = format!("conninfo = host=127.0.0.1 port={port} user=u sslmode=disable\n");
    let home = Home::new(
        "check_timeout = 0",
        &format!("[a]\n{CLOSED}{COMMON}[b]\n{silent}{COMMON}[c]\n{CLOSED}{COMMON}"),
    );
    let config = home.config();
    for command in ["check", "status", "replication-status", "show-servers"] {
        let mut child = home
            .command()
            .args(["-c", config.to_str().unwrap(), command, "nosuch", "c", "b", "a"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _connection = listener.accept().unwrap();
        // The first server is told on this stream, of which the other commands have something to read.
        let mut start = [0u8; 1];
        match command {
            "replication-status" => child.stderr.as_mut().unwrap().read_exact(&mut start).unwrap(),
            _ => child.stdout.as_mut().unwrap().read_exact(&mut start).unwrap(),
        }
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::INT,
        )
        .unwrap();
        let output = child.wait_with_output().unwrap();
        let (stdout, stderr) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(output.status.code(), Some(1), "{command}: {stderr}");
        assert!(
            stderr.contains("Process interrupted by user"),
            "{command}: {stderr}"
        );
        // In the order of names: neither the one that hangs nor what stands behind it.
        for text in ["erver b", "erver c", "nosuch"] {
            assert!(
                !stdout.contains(text) && !stderr.contains(text),
                "{command}: {stdout}{stderr}"
            );
        }
    }
}

/// Two hundred servers that take a connection and never say a word: all are asked at the same time.
#[test]
fn two_hundred_dead_servers_cost_the_time_of_one() {
    let (listener, _) = silent_server();
    let port = listener.local_addr().unwrap().port();
    let servers: String = (0..200)
        .map(|n| format!("[s{n:03}]\nconninfo = host=127.0.0.1 port={port} user=u sslmode=disable\n{COMMON}"))
        .collect();
    let home = Home::new("check_timeout = 0", &servers);
    let config = home.config();
    let child = home
        .command()
        .args(["-c", config.to_str().unwrap(), "check", "--nagios", "all"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let held: Vec<_> = (0..200).map(|_| listener.accept().unwrap().0).collect();
    // None of them was given up meanwhile.
    for connection in &held {
        connection.set_nonblocking(true).unwrap();
        let mut byte = [0u8; 1];
        let open = loop {
            match connection.peek(&mut byte) {
                Ok(0) => break false,
                Ok(_) => break true,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => break false,
            }
        };
        assert!(open);
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"BARMAN CRITICAL - Global configuration errors\n");
    assert_eq!(output.status.code(), Some(2));
}

/// Whoever needs nothing of PostgreSQL does not connect to it, be it a standby with a primary or a bandwidth limit.
#[test]
fn commands_that_need_no_connection_make_none() {
    let (listener, _) = silent_server();
    let port = listener.local_addr().unwrap().port();
    let conninfo = format!("host=127.0.0.1 port={port} user=u");
    let home = Home::new(
        "",
        &format!(
            "[main]\nconninfo = {conninfo}\nstreaming_conninfo = {conninfo}\nprimary_conninfo = {conninfo}\n\
             bandwidth_limit = 0\nbackup_compression = gzip\n{COMMON}"
        ),
    );
    for line in [
        &["list-servers"][..],
        &["list-backups", "main"],
        &["show-backup", "main", "latest"],
        &["archive-wal", "main"],
        &["list-processes", "main"],
        &["get-wal", "main", "000000010000000000000001"],
        &["delete", "main", "latest"],
        &["config-switch", "main", "nosuch"],
        &["lock-directory-cleanup"],
    ] {
        let run = home.run(line);
        assert!(matches!(run.code, Some(0 | 1)), "{line:?}: {}", run.stderr);
    }
    listener.set_nonblocking(true).unwrap();
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}
