//! The program as its users meet it: streams, exit codes, start-up failures.
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
use support::{Home, Run, finish};

const SERVERS: &str = "
[main]
description = Main database
conninfo = host=pg user=barman dbname=postgres password=s3cret
archiver = on
backup_method = postgres
[inact]
description = An inactive one
active = false
archiver = on
backup_method = postgres
[plain]
conninfo = host=pg
archiver = on
backup_method = postgres
[pas]
description = passive
primary_ssh_command = ssh barman@other
archiver = on
backup_method = postgres
";

#[test]
fn version_and_help_need_no_configuration() {
    let home = Home::new("", "");
    let run = finish(home.command().args(["-c", "/nosuch", "--version"]));
    assert!(
        run.stdout
            .starts_with("3.20.1 Barman by EnterpriseDB (www.enterprisedb.com)"),
        "{}",
        run.stdout
    );
    assert_eq!(
        (run.stdout.lines().count(), run.stderr.as_str(), run.code),
        (1, "", Some(0))
    );
    let run = finish(home.command().args(["restore", "--help"]));
    assert!(run.stdout.contains("--target-time"), "{}", run.stdout);
    assert_eq!((run.stderr.as_str(), run.code), ("", Some(0)));
}

#[test]
fn no_command_and_help_print_the_help_after_start_up() {
    let home = Home::new("", "");
    let (none, help) = (home.run(&[]), home.run(&["-q", "help"]));
    assert!(none.stdout.contains("Usage: barman"));
    assert_eq!((none.stdout, none.code), (help.stdout, Some(0)));
    let json = home.run(&["-f", "json", "help"]);
    assert!(json.stdout.ends_with("\n{}"), "{}", json.stdout);
    let missing = finish(home.command().args(["-c", "/nosuch", "help"]));
    assert_eq!((missing.stdout.as_str(), missing.code), ("", Some(1)));
}

#[test]
fn usage_errors_are_on_stderr() {
    let home = Home::new("", "");
    for (arguments, last) in [
        (
            &["backup"][..],
            "barman backup: error: the following arguments are required: <SERVER>...",
        ),
        (
            &["-f", "json", "backup", "--jobs", "0", "main"],
            "barman backup: error: argument --jobs <N>: '0' is not a valid positive integer",
        ),
        (
            &["list-servers", "-q"],
            "barman list-servers: error: unrecognized arguments: -q",
        ),
    ] {
        let run = home.run(arguments);
        assert!(run.stderr.starts_with("Usage: barman"), "{}", run.stderr);
        assert!(run.stderr.lines().any(|line| line == last), "{}", run.stderr);
        assert_eq!((run.stdout.as_str(), run.code), ("", Some(2)));
    }
}

#[test]
fn start_up_failures_are_plain_text_even_in_json() {
    let home = Home::new("", "");
    let plain = |run: Run, text: &str| {
        assert!(run.stderr.contains(text), "{text}: {}", run.stderr);
        assert_eq!((run.stdout.as_str(), run.code), ("", Some(1)));
    };
    let missing = finish(
        home.command()
            .args(["-f", "json", "-c", "~/x.conf", "list-servers"]),
    );
    plain(missing, "Configuration file '~/x.conf' does not exist\n");
    let variable = finish(
        home.command()
            .env("BARMAN_CONFIG_FILE", "/nosuch")
            .arg("list-servers"),
    );
    plain(variable, "Configuration file '/nosuch' does not exist\n");
    let stranger = Home::new("barman_user = no-such-user-here", "");
    plain(
        stranger.run(&["-f", "json", "list-servers"]),
        "ERROR: the configured user 'no-such-user-here' does not exists\n",
    );
    let reserved = Home::new("", "[all]\n");
    plain(reserved.run(&["-f", "json", "list-servers"]), "FATAL: ");
    let broken = Home::new("no key and no value", "");
    plain(broken.run(&["-f", "json", "list-servers"]), "EXCEPTION: ");
}

#[test]
fn the_configuration_file_is_found_as_documented() {
    let home = Home::new("", "");
    fs::copy(home.config(), home.path().join(".barman.conf")).unwrap();
    let found = finish(home.command().arg("list-servers"));
    assert_eq!((found.stderr.as_str(), found.code), ("", Some(0)));
    // `-c ''` hides the variable.
    let hidden = finish(
        home.command()
            .env("BARMAN_CONFIG_FILE", "/nosuch")
            .args(["-c", "", "list-servers"]),
    );
    assert_eq!(hidden.code, Some(0), "{}", hidden.stderr);
    let empty = finish(home.command().env("BARMAN_CONFIG_FILE", "").arg("list-servers"));
    assert_eq!(empty.code, Some(0), "{}", empty.stderr);
}

#[test]
fn list_servers() {
    let home = Home::new("", SERVERS);
    let run = home.run(&["list-servers"]);
    assert_eq!(
        run.stdout,
        "inact - An inactive one (inactive)\nmain - Main database\npas - passive (Passive)\nplain\n"
    );
    assert_eq!(
        home.run(&["list-server", "--minimal"]).stdout,
        "inact\nmain\npas\nplain\n"
    );
    assert_eq!(home.run(&["-q", "list-servers"]).stdout, "");
    let json = home.run(&["-f", "json", "list-servers"]);
    assert_eq!(
        json.stdout,
        r#"{"inact": {"description": "An inactive one (inactive)"}, "main": {"description": "Main database"}, "pas": {"description": "passive (Passive)"}, "plain": {"description": ""}}"#
    );
    assert_eq!((json.stderr.as_str(), json.code), ("", Some(0)));
    assert_eq!(home.run(&["-q", "-f", "json", "list-servers"]).stdout, "");
}

#[test]
fn unknown_options_are_reported_and_logged() {
    let home = Home::new("nosuch = 1", "");
    let run = home.run(&["list-servers"]);
    let text = "Invalid configuration option \"nosuch\" in [barman] section.";
    assert_eq!(run.code, Some(0));
    let hint = run.stderr.strip_prefix(&format!("WARNING: {text}\n"));
    assert!(
        hint.is_some_and(|hint| hint.starts_with("HINT: in '") && hint.ends_with("barman.conf', line 5\n")),
        "{}",
        run.stderr
    );
    let log = home.log();
    let line = log
        .lines()
        .find(|line| line.ends_with(text))
        .expect("the warning is in the log");
    let (stamp, rest) = line.split_at(23);
    assert!(stamp.as_bytes().get(19) == Some(&b','), "{line}");
    assert!(
        rest.starts_with(" [") && rest.contains("] barman.config WARNING: "),
        "{line}"
    );
}

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
fn commands_that_are_not_there_are_refused_by_name() {
    let home = Home::new("", SERVERS);
    // The cloud commands look at their arguments first: see the conformance scenarios.
    let names = barman_cli::args::NOT_YET_AVAILABLE
        .into_iter()
        .filter(|name| !name.starts_with("cloud-"));
    for name in names {
        let server = if name.starts_with("sync-") { "pas" } else { "main" };
        let grammar = barman_cli::args::grammar();
        let command = grammar.find_subcommand(name).unwrap();
        let count = command
            .get_positionals()
            .filter(|positional| positional.is_required_set())
            .count();
        let mut arguments = vec![name];
        arguments.extend(std::iter::repeat_n(server, count));
        let run = home.run(&arguments);
        assert!(
            run.stderr
                .starts_with(&format!("ERROR: {name} is not yet available")),
            "{name}: {}",
            run.stderr
        );
        assert_eq!((run.stdout.as_str(), run.code), ("", Some(1)), "{name}");
    }
    let json = home.run(&["-f", "json", "put-wal", "main"]);
    assert!(
        json.stdout
            .starts_with(r#"{"_ERROR": ["put-wal is not yet available"#),
        "{}",
        json.stdout
    );
    assert_eq!(json.stderr, "");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let many: String = (0..20_000)
        .map(|n| format!("[server{n:05}]\nconninfo = host=pg\narchiver = on\nbackup_method = postgres\n"))
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

/// Words that are no UTF-8, as a name of a file may be.
#[test]
fn words_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let home = Home::new("", SERVERS);
    let config = home.config();
    let strange = OsStr::from_bytes(b"x\xff");
    let run = |words: &[&OsStr]| finish(home.command().arg("-c").arg(&config).args(words));
    let usage = run(&[OsStr::new("check"), strange]);
    assert_eq!((usage.stdout.as_str(), usage.code), ("", Some(2)));
    assert!(
        usage.stderr.starts_with("Usage: barman check "),
        "{}",
        usage.stderr
    );
    assert!(
        usage.stderr.contains("\nbarman check: error: "),
        "{}",
        usage.stderr
    );
    let command = run(&[strange]);
    assert_eq!((command.stdout.as_str(), command.code), ("", Some(2)));
    let path = run(&[
        OsStr::new("restore"),
        OsStr::new("main"),
        OsStr::new("latest"),
        strange,
    ]);
    assert_eq!(path.code, Some(1), "a path is one all the same: {}", path.stderr);
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

/// An archive that nobody can look at is not an empty one: `check-wal-archive` must not call it fit for a new server.
#[test]
fn an_archive_that_cannot_be_looked_at_is_not_empty() {
    let home = Home::new("", "");
    fs::write(home.path().join("file"), "").unwrap();
    let wals = home.path().join("file/wals");
    let home = Home::new(
        "",
        &format!(
            "{SERVERS}[bad]\nconninfo = host=pg\narchiver = on\nbackup_method = postgres\nwals_directory = {}\n",
            wals.display()
        ),
    );
    for line in [
        &["check-wal-archive", "bad"][..],
        &["check-wal-archive", "--timeline", "2", "bad"],
    ] {
        let run = home.run(line);
        assert!(
            run.stderr.starts_with("ERROR: ") && run.stderr.contains("Not a directory"),
            "{}",
            run.stderr
        );
        assert!(
            !run.stdout.contains("passed") && run.code == Some(1),
            "{}",
            run.stdout
        );
    }
    let missing = home.run(&["check-wal-archive", "main"]);
    assert_eq!(missing.code, Some(0), "{}", missing.stderr);
}

/// Whoever mistypes a task is told which one was meant; whoever does not, what runs.
#[test]
fn tasks_that_are_none() {
    let home = Home::new("", SERVERS);
    for (task, hint) in [
        (
            "receive-wall",
            "there is no task of this name; did you mean 'receive-wal'?",
        ),
        (
            "x",
            "there is no task of this name; the tasks are: receive-wal, sync-backup, backup, cron, archive-wal, \
             sync-wal",
        ),
        ("receive-wal", "no process of server 'main' is running"),
    ] {
        let run = home.run(&["terminate-process", "main", task]);
        let error =
            format!("ERROR: Termination of {task} failed: no such process for server main\nHINT: {hint}\n");
        assert_eq!((run.stderr, run.stdout.as_str(), run.code), (error, "", Some(1)));
    }
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

/// A directory that the checks cannot use is found by them, the one for locks too.
#[test]
fn check_tells_which_directory_cannot_be_used() {
    let home = Home::new("", SERVERS);
    fs::write(home.path().join("file"), "").unwrap();
    let locks = home.path().join("file/locks");
    let home = Home::new(&format!("barman_lock_directory = {}", locks.display()), SERVERS);
    let run = home.run(&["check", "inact"]);
    assert!(
        run.stdout.contains(&format!(
            "\tdirectories: FAILED ({}: Not a directory)\n",
            locks.display()
        )),
        "{}",
        run.stdout
    );
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

#[test]
fn root_becomes_the_configured_user() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let home = Home::new(
        "barman_user = nobody\nlog_format = %%%%(process)s %%%%(message)s",
        SERVERS,
    );
    std::os::unix::fs::chown(home.path(), Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
    // Read by root, before the switch: the user itself may not.
    fs::set_permissions(home.config(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let run = home.run(&["--log-level", "DEBUG", "list-servers"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let log = fs::metadata(home.path().join("barman.log")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&log), nobody.uid.as_raw());
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

const COMMON: &str = "backup_method = postgres\narchiver = on\n";
const CLOSED: &str = "conninfo = host=127.0.0.1 port=1 user=u\n";

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

#[test]
fn nagios_says_one_thing() {
    let home = Home::new("nosuch = 1", "[main]\nbackup_method = postgres\narchiver = on\n");
    let run = home.run(&["-f", "json", "-d", "check", "--nagios", "main"]);
    assert!(
        run.stdout
            .starts_with("BARMAN CRITICAL - server main has issues * main FAILED: "),
        "{}",
        run.stdout
    );
    assert_eq!(
        run.stderr,
        "WARNING: Invalid configuration option \"nosuch\" in [barman] section.\n"
    );
    assert_eq!(run.code, Some(2));
    let unknown = home.run(&["check", "--nagios", "nosuch"]);
    assert_eq!(
        (unknown.stdout.as_str(), unknown.code),
        ("BARMAN CRITICAL - Global configuration errors\n", Some(2))
    );
}

#[test]
fn servers_that_share_a_directory_stop_every_command() {
    let shared = "[one]\nbackup_directory = /tmp/shared\narchiver = on\nbackup_method = postgres\nconninfo = host=pg\n[two]\nbackup_directory = /tmp/shared\narchiver = on\nbackup_method = postgres\nconninfo = host=pg\n";
    let home = Home::new("", shared);
    for arguments in [
        &["list-servers"][..],
        &["list-backups", "nosuch"],
        &["show-backup", "one", "latest"],
    ] {
        let run = home.run(arguments);
        assert!(run.stderr.starts_with("ERROR: "), "{}", run.stderr);
        assert!(!run.stderr.contains("Unknown"), "{}", run.stderr);
        assert_eq!((run.stdout.as_str(), run.code), ("", Some(1)), "{arguments:?}");
    }
    assert_eq!(home.run(&["check", "--nagios", "one"]).code, Some(2));
}
