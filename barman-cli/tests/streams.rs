//! Where the program writes: standard output and error, also closed and full ones, the log; colours, and no secrets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod support;

use std::fs;
use std::io::Read;
use std::process::Stdio;
use support::{Home, SERVERS, finish};

#[test]
fn a_log_on_stderr_does_not_repeat_what_was_printed_there() {
    let home = Home::new("nosuch = 1\nlog_file =", "");
    let run = home.run(&["list-servers"]);
    assert_eq!(
        run.stderr.matches("Invalid configuration option").count(),
        1,
        "{}",
        run.stderr
    );
    let json = home.run(&["-f", "json", "list-servers"]);
    assert!(
        json.stderr
            .contains("barman.config WARNING: Invalid configuration option"),
        "{}",
        json.stderr
    );
}

#[test]
fn a_closed_pipe_is_no_failure() {
    // Long names make many bytes of few servers.
    let tail = "-x".repeat(100);
    let many: String = (0..2000)
        .map(|n| {
            format!("[server{n:05}{tail}]\nconninfo = host=pg\narchiver = on\nbackup_method = postgres\n")
        })
        .collect();
    let home = Home::new("", &many);
    let config = home.config();
    let mut child = home
        .command()
        .args(["-c", config.to_str().unwrap(), "list-servers"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0u8; 11];
    child.stdout.as_mut().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(&start, b"server00000");
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stderr).unwrap()),
        (Some(0), String::new())
    );
}

/// What needs no configuration is printed as everything else: a reader that went away is no failure, a full disk is one.
#[test]
fn help_version_and_completion_on_closed_and_full_streams() {
    let home = Home::new("", "");
    for line in [
        &["--help"][..],
        &["--version"],
        &["restore", "--help"],
        &["completion", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = home.command().args(line).stdout(writer).output().unwrap();
        assert_eq!(
            (closed.status.code(), closed.stderr),
            (Some(0), vec![]),
            "{line:?}"
        );
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = home.command().args(line).stdout(full).output().unwrap();
        assert_eq!(full.status.code(), Some(1), "{line:?}");
        assert!(
            String::from_utf8_lossy(&full.stderr).starts_with("EXCEPTION: "),
            "{line:?}"
        );
    }
}

/// Usage errors repeat what was typed, and start-up errors what was configured: without the passwords in it.
#[test]
fn secrets_stay_out_of_usage_errors() {
    let home = Home::new("", SERVERS);
    for line in [
        &["config-update", "[]", "host=h password=s3cret"][..],
        &["backup", "--jobs", "postgres://u:s3cret@h/d", "main"],
        &["-c", "postgresql://u:s3cret@h/d", "list-servers"],
    ] {
        let run = home.run(line);
        assert!(matches!(run.code, Some(1 | 2)), "{line:?}");
        assert!(
            run.stderr.contains("*REDACTED*") && !run.stderr.contains("s3cret"),
            "{}",
            run.stderr
        );
    }
}

/// The directory of the log is made; a log that cannot be written goes to standard error, and the command works.
#[test]
fn the_log_file() {
    let home = Home::new("", SERVERS);
    let deep = home.path().join("made/for/it/barman.log");
    let made = Home::new(&format!("log_file = {}", deep.display()), SERVERS);
    let run = made.run(&["--log-level", "DEBUG", "list-servers"]);
    assert_eq!((run.stderr.as_str(), run.code), ("", Some(0)));
    assert!(fs::read_to_string(&deep).unwrap().contains(" DEBUG: "));
    fs::write(home.path().join("file"), "").unwrap();
    let under_a_file = home.path().join("file/barman.log");
    let broken = Home::new(&format!("log_file = {}", under_a_file.display()), SERVERS);
    let run = broken.run(&["list-servers", "--minimal"]);
    assert_eq!(
        (run.stdout.as_str(), run.code),
        ("inact\nmain\npas\nplain\n", Some(0))
    );
    assert!(
        run.stderr.contains(" WARNING: ") && run.stderr.contains("file/barman.log"),
        "{}",
        run.stderr
    );
}

/// A full disk under the log is told once, and stops nothing; a FIFO that nobody reads is not waited for.
#[test]
fn a_log_file_that_takes_nothing() {
    let full = Home::new("log_file = /dev/full", SERVERS);
    let run = full.run(&["--log-level", "DEBUG", "-f", "json", "check", "inact"]);
    assert_eq!(
        run.stderr,
        "WARNING: cannot write to the log file '/dev/full', records are lost: No space left on device (os error 28)\n"
    );
    assert!(
        run.stdout.starts_with("{\"inact\": ") && run.code == Some(0),
        "{}",
        run.stdout
    );
    let home = Home::new("", SERVERS);
    let fifo = home.path().join("fifo");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let stuck = Home::new(&format!("log_file = {}", fifo.display()), SERVERS);
    let run = stuck.run(&["list-servers", "--minimal"]);
    assert_eq!(
        (run.stdout.as_str(), run.code),
        ("inact\nmain\npas\nplain\n", Some(0))
    );
    assert!(
        run.stderr.contains("Failed opening the requested log file"),
        "{}",
        run.stderr
    );
}

/// Colours only when they are asked for or both streams are terminals; `NO_COLOR` is for the second case.
#[test]
fn colours() {
    let home = Home::new("", SERVERS);
    let config = home.config();
    let colored = |variable: &[(&str, &str)], option: &str| {
        let run = finish(home.command().envs(variable.iter().copied()).args([
            "-c",
            config.to_str().unwrap(),
            "--color",
            option,
            "delete",
            "main",
            "x",
        ]));
        assert_eq!(run.code, Some(1));
        run.stderr.contains("\u{1b}[31mERROR: ")
    };
    assert!(colored(&[], "always") && colored(&[("NO_COLOR", "1")], "always"));
    assert!(!colored(&[], "never") && !colored(&[], "auto"));
}

/// On a terminal, which `script` makes.
#[test]
fn colours_on_a_terminal() {
    let home = Home::new("", SERVERS);
    let config = home.config();
    let coloured = |variables: &[(&str, &str)], option: &str| {
        let line = format!(
            "{} -c {} {option} delete main x",
            env!("CARGO_BIN_EXE_barman"),
            config.display()
        );
        let output = std::process::Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("ERROR: Unknown backup 'x'"), "{text}");
        text.contains("\u{1b}[31mERROR: ")
    };
    assert!(coloured(&[], "") && coloured(&[("NO_COLOR", "")], "--color auto"));
    assert!(!coloured(&[("NO_COLOR", "1")], "") && !coloured(&[], "--color never"));
}

#[test]
fn a_full_disk_is_a_failure() {
    let home = Home::new("", SERVERS);
    let config = home.config();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = home
        .command()
        .args(["-c", config.to_str().unwrap(), "list-servers"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("EXCEPTION: "));
}

#[test]
fn secrets_stay_out_of_the_log() {
    let home = Home::new("", SERVERS);
    let run = home.run(&[
        "--log-level",
        "DEBUG",
        "config-update",
        r#"[{"conninfo": "host=h password=s3cret"}]"#,
    ]);
    assert_eq!(run.code, Some(1));
    let log = home.log();
    assert!(log.contains("ConfigUpdate") && !log.contains("s3cret"), "{log}");
}
