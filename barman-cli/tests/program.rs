//! The program as its users meet it: arguments, start-up failures, texts, exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod support;

use std::fs;
use support::{Home, Run, SERVERS, finish};

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

#[test]
fn commands_end_also_where_the_caller_ignores_the_end_of_children() {
    let server = "[pas]\nprimary_ssh_command = true\narchiver = on\nbackup_method = postgres\n";
    let home = Home::new("", server);
    let mut ignoring = std::process::Command::new("/bin/bash");
    ignoring
        .args(["-c", "trap '' CHLD; exec \"$0\" \"$@\""])
        .arg(home.command().get_program())
        .arg("-c")
        .arg(home.config())
        .args(["check", "pas"])
        .env("HOME", home.path());
    let run = finish(&mut ignoring);
    assert!(
        run.stdout.contains("\tssh: OK (Barman primary node)\n"),
        "{}",
        run.stdout
    );
}
