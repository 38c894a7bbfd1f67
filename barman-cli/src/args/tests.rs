//! Rows of command lines: what they mean, or with which exit code and reason they are refused.

use super::*;

/// `ok: <debug text of the command>`, or `<exit code>: <last line that is no hint>`.
fn outcome(line: &[&str]) -> String {
    match parse(
        std::iter::once("barman")
            .chain(line.iter().copied())
            .map(OsString::from),
    ) {
        Ok(invocation) => format!("ok: {:?}", invocation.command),
        Err(early) => {
            let line = early
                .text
                .lines()
                .rfind(|line| !line.starts_with("HINT:"))
                .unwrap_or_default();
            format!("{}: {line}", early.exit_code)
        }
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn parsed(line: &str) -> Invocation {
    match parse(
        std::iter::once("barman")
            .chain(line.split_whitespace())
            .map(OsString::from),
    ) {
        Ok(invocation) => invocation,
        Err(early) => panic!("{line}: {}", early.text),
    }
}

#[test]
fn the_grammar_is_consistent() {
    grammar().debug_assert();
}

#[test]
fn every_command_and_alias_is_there() {
    let commands = "archive-wal backup check check-archived-wal-range check-backup check-wal-archive cloud-wal-archive \
        cloud-wal-restore config-switch config-update cron delete diagnose export-backup generate-manifest get-wal help \
        import-backup keep list-backups list-files list-processes list-servers lock-directory-cleanup put-wal \
        rebuild-xlogdb receive-wal replication-status restore show-backup show-servers status switch-wal sync-backup \
        sync-info sync-wals terminate-process verify-backup list-server list-process list-backup show-server \
        show-backups recover switch-xlog verify";
    for command in commands.split_whitespace() {
        let got = outcome(&[command, "--help"]);
        assert!(got.starts_with("0: "), "{command}: {got}");
    }
    let listed: Vec<String> = grammar()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
}

#[test]
fn names_are_those_of_the_grammar() {
    let given = ["s", "b", "d"];
    for command in grammar().get_subcommands() {
        let name = command.get_name();
        if name == "completion" {
            continue;
        }
        let count = command
            .get_positionals()
            .filter(|positional| positional.is_required_set())
            .count();
        let line: Vec<&str> = std::iter::once(name)
            .chain(given.into_iter().take(count))
            .collect();
        let invocation = parse(std::iter::once("barman").chain(line).map(OsString::from)).unwrap();
        assert_eq!(invocation.command.unwrap().name(), name);
    }
}

#[test]
fn accepted() {
    let rows = [
        "check a b a",
        "-q -f json check main",
        "-qfjson check main",
        "--forma=json list-servers --min",
        "-c /x -c /y list-backups --minimal a b",
        "list-backups a --minimal",
        "backup -wj2 main",
        "backup --wait-time 5 --name n main",
        "backup main --reuse-backup",
        "backup --reuse-backup=link main",
        "backup --bwlimit 0 --jobs +1_0 --retry-times 0 main",
        "backup --no-man main",
        "backup -- main",
        "check -1",
        "keep -sr main latest",
        "get-wal -zj main w -P -o /tmp",
        "get-wal main w -p 5 -t",
        "cloud-wal-archive -p -1 main path",
        "switch-wal --archive --archive-timeout 0 all",
        "restore --target-tli latest --target-imm main auto /d",
        "restore --combine-mode COPY-file-RANGE main latest /d",
        "restore main latest /d --tablespace a:1 --tablespace b:2",
        "sync-info s WAL 0",
        "config-switch s m --reset",
        "receive-wal --create-slot --if-not-exists main",
        "export-backup --compression xz --compression-level -1 m b /d",
    ];
    for row in rows {
        let got = outcome(&words(row));
        assert!(got.starts_with("ok: Some"), "{row}: {got}");
    }
    assert_eq!(outcome(&[]), "ok: None");
    assert!(outcome(&["check", ""]).starts_with("ok: "));
    assert!(outcome(&["backup", "--retry-times", " 3 ", "m"]).contains("retry_times: Some(3)"));
    assert!(outcome(&["-c", "", "help"]).starts_with("ok: "));
    assert!(outcome(&["restore", "--target-time", "", "m", "b", "d"]).contains("target_time: Some(\"\")"));
}

#[test]
fn refused() {
    let rows = [
        (
            "check",
            "barman check: error: the following arguments are required: <SERVER>...",
        ),
        ("chec main", "barman: error: invalid command: 'chec'"),
        ("list main", "barman: error: invalid command: 'list'"),
        ("nosuch", "barman: error: invalid command: 'nosuch'"),
        (
            "check main -f json",
            "barman check: error: unrecognized arguments: -f",
        ),
        (
            "list-servers -v",
            "barman list-servers: error: unrecognized arguments: -v",
        ),
        (
            "backup --no main",
            "barman backup: error: ambiguous option: --no could match --no-immediate-checkpoint, --no-retry, \
             --no-manifest",
        ),
        (
            "--col never list-servers",
            "barman: error: ambiguous option: --col could match --color, --colour",
        ),
        (
            "--color sometimes list-servers",
            "barman: error: argument --color <COLOR>: invalid choice: 'sometimes' (choose from never, always, auto)",
        ),
        (
            "--log-level info list-servers",
            "barman: error: argument --log-level <LEVEL>: invalid choice: 'info' (choose from NOTSET, DEBUG, INFO, WARNING, ERROR, CRITICAL)",
        ),
        (
            "-f xml list-servers",
            "barman: error: argument --format <FORMAT>: invalid choice: 'xml' (choose from console, json)",
        ),
        (
            "backup --reuse-backup main",
            "barman backup: error: argument --reuse-backup [<MODE>]: invalid choice: 'main' (choose from copy, link, off)",
        ),
        (
            "backup --jobs 0 main",
            "barman backup: error: argument --jobs <N>: '0' is not a valid positive integer",
        ),
        (
            "backup --jobs 2.0 main",
            "barman backup: error: argument --jobs <N>: '2.0' is not a valid positive integer",
        ),
        (
            "backup --bwlimit -1 main",
            "barman backup: error: argument --bwlimit <KBPS>: '-1' is not a valid non negative integer",
        ),
        (
            "backup --name latest main",
            "barman backup: error: argument --name <NAME>: 'latest' is a reserved word",
        ),
        (
            "backup --name 20261121T045851 main",
            "barman backup: error: argument --name <NAME>: '20261121T045851' looks like a backup ID",
        ),
        (
            "backup --cloud-staging-directory rel main",
            "barman backup: error: argument --cloud-staging-directory <PATH>: 'rel' is not an absolute path",
        ),
        (
            "backup --cloud-staging-max-size 1X main",
            "barman backup: error: argument --cloud-staging-max-size <SIZE>: '1X' is not a valid size (digits and one of k, Ki, M, Mi, G, Gi, T, Ti)",
        ),
        (
            "backup main --wait-timeout",
            "barman backup: error: argument --wait-timeout <SECONDS>: expected one argument",
        ),
        (
            "restore main latest",
            "barman restore: error: the following arguments are required: <DESTINATION_DIRECTORY>",
        ),
        (
            "recover main latest",
            "barman restore: error: the following arguments are required: <DESTINATION_DIRECTORY>",
        ),
        (
            "restore --target-tli 0 m b d",
            "barman restore: error: argument --target-tli <TLI>: '0' is not 'current', 'latest' or a valid positive integer",
        ),
        (
            "restore --target-action stop m b d",
            "barman restore: error: argument --target-action <TARGET_ACTION>: invalid choice: 'stop' (choose from pause, shutdown, promote)",
        ),
        (
            "get-wal main",
            "barman get-wal: error: the following arguments are required: <WAL_NAME>",
        ),
        (
            "get-wal --peek 0 main w",
            "barman get-wal: error: argument --peek <N>: '0' is not a valid positive integer",
        ),
        (
            "archive-wal a b",
            "barman archive-wal: error: unrecognized arguments: b",
        ),
        ("help check", "barman help: error: unrecognized arguments: check"),
        (
            "list-servers x",
            "barman list-servers: error: unrecognized arguments: x",
        ),
        (
            "sync-info s w x",
            "barman sync-info: error: argument [LAST_POSITION]: 'x' is not a valid non negative integer",
        ),
    ];
    for (row, reason) in rows {
        assert_eq!(outcome(&words(row)), format!("2: {reason}"), "{row}");
    }
}

#[test]
fn the_last_one_wins() {
    let Some(Command::Backup(backup)) =
        parsed("backup --no-immediate-checkpoint --immediate-checkpoint --retry-times 3 --no-retry --jobs 1 -j 4 --no-manifest m").command
    else {
        panic!("not a backup")
    };
    assert_eq!(
        commands::choice(backup.immediate_checkpoint, backup.no_immediate_checkpoint),
        Some(true)
    );
    assert_eq!(commands::choice(backup.manifest, backup.no_manifest), Some(false));
    assert_eq!((backup.copy.retries(), backup.copy.jobs), (Some(0), Some(4)));
    let Some(Command::Restore(restore)) = parsed(
        "restore --get-wal --no-get-wal --no-retry --retry-times 3 --tablespace a:1 --tablespace b:2 m b d",
    )
    .command
    else {
        panic!("not a restore")
    };
    assert_eq!(commands::choice(restore.get_wal, restore.no_get_wal), Some(false));
    assert_eq!(restore.copy.retries(), Some(3));
    assert_eq!(restore.tablespace, ["a:1", "b:2"]);
    let Some(Command::GetWal(get_wal)) = parsed("get-wal -z -j -x m w").command else {
        panic!("not a get-wal")
    };
    assert!(get_wal.gzip && !get_wal.bzip2);
    assert_eq!(parsed("--color never --colour always help").color, Color::Always);
    assert_eq!(parsed("--colour always --color never help").color, Color::Never);
    assert_eq!(parsed("--colour always help").color, Color::Always);
}

#[test]
fn typing_errors_get_a_hint() {
    for (line, hint) in [
        ("chekc main", "HINT: did you mean check, check-backup?"),
        (
            "backup --immediate-chekpoint main",
            "HINT: did you mean --immediate-checkpoint?",
        ),
        ("-f jsn list-servers", "HINT: did you mean json?"),
        ("help check", "HINT: 'barman check --help' explains the command"),
        ("-f JSON list-servers", "HINT: did you mean json?"),
        ("--log-level info list-servers", "HINT: did you mean INFO?"),
        (
            "replication-status --target WAL-streamer m",
            "HINT: did you mean wal-streamer?",
        ),
    ] {
        let early = parse(
            std::iter::once("barman")
                .chain(line.split_whitespace())
                .map(OsString::from),
        )
        .unwrap_err();
        let got = early.text.lines().last().unwrap_or_default();
        assert!(got.starts_with(hint.trim_end_matches('?')), "{line}: {got}");
    }
}

#[test]
fn options_that_exist_but_were_misread() {
    for (line, text) in [
        (
            "backup --no main",
            "Usage: barman backup [OPTIONS] <SERVER>...\n\
             barman backup: error: ambiguous option: --no could match --no-immediate-checkpoint, --no-retry, \
             --no-manifest\n",
        ),
        (
            "--col never check main",
            "Usage: barman [OPTIONS] [COMMAND]\n\
             barman: error: ambiguous option: --col could match --color, --colour\n",
        ),
        (
            "check -f json main",
            "Usage: barman check [OPTIONS] <SERVER>...\n\
             barman check: error: unrecognized arguments: -f\n\
             HINT: '-f' is an option of barman itself: put it before the command\n",
        ),
        (
            "list-backups main --format json",
            "Usage: barman list-backups [OPTIONS] <SERVER>...\n\
             barman list-backups: error: unrecognized arguments: --format\n\
             HINT: '--format' is an option of barman itself: put it before the command\n",
        ),
        (
            "check main --formt json",
            "Usage: barman check [OPTIONS] <SERVER>...\n\
             barman check: error: unrecognized arguments: --formt\n\
             HINT: did you mean --format? It is an option of barman itself: put it before the command\n",
        ),
        (
            "check --nonsense main",
            "Usage: barman check [OPTIONS] <SERVER>...\n\
             barman check: error: unrecognized arguments: --nonsense\n",
        ),
    ] {
        let words = std::iter::once("barman")
            .chain(line.split_whitespace())
            .map(OsString::from);
        let early = parse(words).unwrap_err();
        assert_eq!((early.text.as_str(), early.exit_code), (text, 2), "{line}");
    }
}

#[test]
fn version_and_help() {
    for line in [
        &["-v"][..],
        &["--version"],
        &["-c", "/nosuch", "--vers"],
        &["-v", "nosuch"],
    ] {
        assert!(
            outcome(line).starts_with("0: 3.20.1 Barman by EnterpriseDB (www.enterprisedb.com)"),
            "{line:?}"
        );
    }
    let help = help();
    for piece in [
        "Usage: barman [OPTIONS] [COMMAND]",
        "\n  restore ",
        "recover",
        "Where to start:",
        "--log-level",
    ] {
        assert!(help.contains(piece), "{piece}\n{help}");
    }
    assert!(!help.contains("colour"));
}

#[test]
fn every_help_shows_how_the_command_is_called() {
    for command in grammar().get_subcommands() {
        let name = command.get_name();
        if name == "help" {
            continue;
        }
        let help = parse(["barman", name, "--help"].map(OsString::from))
            .unwrap_err()
            .text;
        let examples = help.split_once("\nExample").map(|(_, rest)| rest.to_owned());
        let Some(examples) = examples else {
            panic!("{name}: no example")
        };
        // What stands there has to be understood.
        for line in examples.lines().filter_map(|line| line.strip_prefix("  barman ")) {
            let call = line
                .split_once("  ")
                .map_or(line, |(call, _)| call)
                .split(" > ")
                .next()
                .unwrap_or_default();
            if call.contains('\'') || call.starts_with("source") {
                continue;
            }
            let got = outcome(&words(call));
            assert!(got.starts_with("ok: Some"), "{name}: {call}: {got}");
        }
    }
}

/// A paragraph is one line of the text, which is wrapped where it is shown: one with a line end of its own in the middle
/// is torn there. What is not to be wrapped is short.
/// What is not there yet is marked in the list of commands and in the help of its command, and nothing else is.
#[test]
fn help_tells_what_is_not_there_yet() {
    let mut grammar = super::grammar();
    let mark = "(not yet available)";
    let overview = grammar.render_help().to_string();
    let marked: Vec<&str> = overview
        .lines()
        .filter(|line| line.ends_with(mark))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(marked.len(), super::NOT_YET_AVAILABLE.len(), "{overview}");
    for name in super::NOT_YET_AVAILABLE {
        assert!(marked.contains(&name), "{name}: {overview}");
    }
    let mut options = Vec::new();
    for command in grammar.get_subcommands_mut() {
        let name = command.get_name().to_owned();
        for arg in command.get_arguments() {
            if arg
                .get_help()
                .is_some_and(|help| help.to_string().ends_with(mark))
            {
                options.push((name.clone(), arg.get_long().unwrap_or_default().to_owned()));
            }
        }
        let help = command.render_help().to_string();
        let words: Vec<&str> = help.split_whitespace().collect();
        let own = usize::from(super::NOT_YET_AVAILABLE.contains(&name.as_str()));
        let shown = words.join(" ").matches(mark).count();
        let expected = options.iter().filter(|(of, _)| *of == name).count() + own;
        assert_eq!(shown, expected, "{help}");
    }
    let mut expected: Vec<_> = super::OPTIONS_NOT_YET_AVAILABLE
        .iter()
        .map(|(command, option)| ((*command).to_owned(), (*option).to_owned()))
        .collect();
    expected.sort();
    options.sort();
    assert_eq!(options, expected);
}

#[test]
fn help_is_not_torn() {
    for command in grammar().get_subcommands() {
        let text = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        for (line, next) in text.lines().zip(text.lines().skip(1).chain([""])) {
            let is_long = line.len() > 100;
            let goes_on = !next.is_empty() && !next.starts_with(' ');
            assert!(
                !is_long || (!line.starts_with(' ') && !goes_on),
                "{}: {line}",
                command.get_name()
            );
        }
    }
}

#[test]
fn no_help_speaks_of_what_a_command_does_not_do() {
    let mut grammar = super::grammar();
    grammar.build();
    let mut help = |command: &str| {
        let help = grammar.find_subcommand_mut(command).unwrap().render_help();
        help.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // Streaming backups copy one after the other, and keep no connection alive.
    for (command, words) in [
        (
            "backup",
            "-j, --jobs <N> Number of files that are copied at the same time (restore, rsync methods)",
        ),
        ("backup", "--keepalive-interval <SECONDS> Taken and not needed"),
        (
            "backup",
            "--jobs-start-batch-size <N> Number of jobs started in a batch (rsync methods)",
        ),
        (
            "get-wal",
            "-j, --bzip2 Compress the output with bzip2 --keep-compression",
        ),
    ] {
        assert!(help(command).contains(words), "{}", help(command));
    }
}
