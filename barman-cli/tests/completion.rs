//! Completion: as bash runs the script, and in Python's argcomplete beside the oracle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::Home;
use testkit::cache;

const SERVER: &str = "archiver = on\nbackup_method = postgres\nconninfo = host=pg\n";

fn ours() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_barman"))
}

/// Runs `script` in bash with `line` being typed, and gives the lines of its output. `barman` is `program`.
fn bash(home: &Home, program: &Path, script: &str, line: &str) -> Vec<String> {
    let path = format!(
        "{}:{}",
        program.parent().unwrap().display(),
        cache::oracle_dir().join("bin").display()
    );
    let script = format!(
        "set -o pipefail\nPATH={path}:$PATH\nCOMP_LINE=$1 COMP_POINT=${{#1}} COMP_TYPE=9\nIFS=' '\n{script}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash")
        .args(["--norc", "-c", &script, "bash", line])
        .current_dir(home.path())
        .env("LC_ALL", "C")
        .env("HOME", home.path())
        .env("BARMAN_CONFIG_FILE", home.config())
        .output()
        .expect("run bash");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What the script of this program offers.
fn offered(home: &Home, line: &str) -> Vec<String> {
    let script = "source <(barman completion bash) || exit 9\n_barman barman 2>/dev/null";
    bash(home, &ours(), script, line)
}

/// What argcomplete's function offers with a program, sorted. (`compopt` works only while somebody is typing.)
fn registered(home: &Home, program: &Path, line: &str) -> Vec<String> {
    let script =
        "eval \"$(register-python-argcomplete barman)\" || exit 9\n_python_argcomplete barman 2>/dev/null";
    let mut found: Vec<String> = bash(home, program, script, line)
        .iter()
        .map(|word| word.trim_end().to_owned())
        .collect();
    found.sort();
    found
}

#[test]
fn commands_options_choices_and_servers() {
    let home = Home::new("", &format!("[main]\n{SERVER}[other]\n{SERVER}"));
    let config = home.config();
    let config = config.to_str().unwrap();
    for (line, expected) in [
        ("barman list-s", &["list-servers", "list-server"][..]),
        ("barman recov", &["recover"]),
        ("barman --fo", &["--format"]),
        ("barman -f ", &["console", "json"]),
        ("barman -f json verify-", &["verify-backup"]),
        ("barman -qfjson verify-", &["verify-backup"]),
        ("barman backup --wait", &["--wait", "--wait-timeout"]),
        ("barman keep --target f", &["full"]),
        ("barman cron ", &["--keep-descriptors", "-h", "--help"]),
        (
            "barman check ",
            &[
                "main",
                "other",
                "all",
                "--nagios",
                "--check-timeout",
                "-h",
                "--help",
            ],
        ),
        ("barman check -- ", &["main", "other", "all"]),
        (&format!("barman -c {config} check main o"), &["other"]),
        ("barman check main m", &[]),
        ("barman check main a", &[]),
        ("barman backup --jobs 2 m", &["main"]),
        ("barman backup --reuse-backup l", &["link"]),
        ("barman backup --reuse-backup link m", &["main"]),
        ("barman show-backup m", &["main"]),
        ("barman show-backup a", &[]),
        ("barman show-backup main ", &["-h", "--help"]),
        ("barman sync-info main ", &["--primary", "-h", "--help"]),
        ("barman", &[]),
        ("barman nosuch x", &[]),
    ] {
        assert_eq!(offered(&home, line), expected, "{line:?}");
    }
}

/// Names that begin alike, that have blanks, and that bash would expand.
#[test]
fn names_are_whole_words() {
    let servers: String = ["pg", "pg-standby", "my server", "$(touch /nosuch/x)", "pg:1"]
        .map(|name| format!("[{name}]\n{SERVER}"))
        .concat();
    let home = Home::new("", &servers);
    for (line, expected) in [
        ("barman check pg p", &["pg-standby", "pg:1"][..]),
        ("barman check pg-standby p", &["pg", "pg:1"]),
        ("barman check m", &["my\\ server"]),
        ("barman check 'm", &["my server"]),
        ("barman check my\\ s", &["my\\ server"]),
        ("barman check my\\ server m", &[]),
        ("barman check $", &["\\$\\(touch\\ /nosuch/x\\)"]),
        ("barman check '$", &["$(touch /nosuch/x)"]),
        ("barman check pg:", &["1"]),
        ("barman check \"pg:", &["pg:1"]),
    ] {
        assert_eq!(offered(&home, line), expected, "{line:?}");
    }
}

/// `=` ends a word for bash, and the configuration file can be named in several ways.
#[test]
fn options_in_all_their_forms() {
    let home = Home::new("", "");
    let other = Home::new("", &format!("[there]\n{SERVER}"));
    let config = other.config();
    let config = config.to_str().unwrap();
    fs::copy(other.config(), home.path().join("in home")).unwrap();
    for (line, expected) in [
        ("barman --format=js".to_owned(), &["json"][..]),
        ("barman --format=\"js".to_owned(), &["json"]),
        ("barman --format=".to_owned(), &["console", "json"]),
        ("barman --form js".to_owned(), &["json"]),
        ("barman --format=json verify-".to_owned(), &["verify-backup"]),
        (format!("barman --config={config} check t"), &["there"]),
        (format!("barman -c {config} check t"), &["there"]),
        (format!("barman -c{config} check t"), &["there"]),
        (format!("barman -c /nosuch -c '{config}' check t"), &["there"]),
        ("barman -c ~/in\\ home check t".to_owned(), &["there"]),
        ("barman backup --jobs=2 a".to_owned(), &["all"]),
        ("barman -c in".to_owned(), &["in\\ home"]),
        ("barman -c ~/in".to_owned(), &["~/in\\ home"]),
    ] {
        assert_eq!(offered(&home, &line), expected, "{line:?}");
    }
}

/// A home with servers in every state, backups in every status, and files of odd names.
fn crowded() -> Home {
    let servers: String = ["main", "my server", "pg:1", "$x"]
        .map(|name| format!("[{name}]\n{SERVER}"))
        .concat();
    let odd = format!(
        "[passive]\nprimary_ssh_command = ssh x\n{SERVER}[off]\nactive = off\n{SERVER}[dis]\narchiver = on\nbackup_method = postgres\n"
    );
    let home = Home::new("", &format!("{servers}{odd}"));
    for (id, status) in [
        ("20250101T000000", "WAITING_FOR_WALS"),
        ("20250102T000000", "EMPTY"),
        ("20250103T000000", "STARTED"),
        ("20250104T000000", "SYNCING"),
        ("20260101T000000", "DONE"),
        ("20260102T000000", "DONE"),
        ("20260103T000000", "FAILED"),
    ] {
        let directory = home.path().join("main/base").join(id);
        fs::create_dir_all(&directory).unwrap();
        let info = format!(
            "backup_label=None\nbegin_offset=40\nbegin_time=2026-01-01 00:00:00+00:00\nbegin_wal=000000010000000000000002\nbegin_xlog=0/2000028\nend_time=2026-01-01 00:10:00+00:00\nend_wal=000000010000000000000002\nend_xlog=0/2000130\nend_offset=304\nmode=postgres\npgdata=/x\nserver_name=main\nsize=100\nstatus={status}\nsystemid=7000000000000000000\ntimeline=1\nversion=160000\nxlog_segment_size=16777216\n"
        );
        fs::write(directory.join("backup.info"), info).unwrap();
    }
    for name in [
        "k b", "k\"b", "k'b", "k\\b", "k$b", "k;b", "k:b", "k=b", "ké", "k*b",
    ] {
        fs::write(home.path().join(name), "").unwrap();
    }
    fs::create_dir(home.path().join("kd")).unwrap();
    home
}

const LINES: &[&str] = &[
    "barman list-s",
    "barman recov",
    "barman --",
    "barman -",
    "barman --col",
    "barman -f ",
    "barman --format js",
    "barman --format=js",
    "barman --form=",
    "barman -qf ",
    "barman -q --q",
    "barman --log-level D",
    "barman --color a",
    "barman -fjson ver",
    "barman 'check' m",
    "barman  check   m",
    "barman checkk m",
    "barman check ",
    "barman check main ",
    "barman check all ",
    "barman check a",
    "barman check p",
    "barman check pg:",
    "barman check 'm",
    "barman check \"my s",
    "barman check my\\ s",
    "barman check $",
    "barman check -- ",
    "barman check --nosuch m",
    "barman check --check-timeout 5 m",
    "barman status a",
    "barman list-backup ",
    "barman list-backups main a",
    "barman show-backup ",
    "barman show-backup main ",
    "barman show-backups main 2026",
    "barman show-backup main last-",
    "barman show-backup passive ",
    "barman show-backup nosuch ",
    "barman delete main 2",
    "barman delete \"main\" l",
    "barman verify main ",
    "barman keep --target ",
    "barman keep --target full ",
    "barman keep main 2",
    "barman keep main 20260101T000000 --",
    "barman list-files main latest --target ",
    "barman replication-status --target ",
    "barman replication-status --source ",
    "barman backup --",
    "barman backup -j 2 m",
    "barman backup --jobs=2 m",
    "barman backup -j2 m",
    "barman backup --reuse-backup ",
    "barman backup --reuse-backup l",
    "barman backup --reuse-backup link ",
    "barman backup --wait ",
    "barman get-wal --",
    "barman receive-wal main --",
    "barman switch-wal --",
    "barman config-switch ",
    "barman cron ",
    "barman diagnose ",
    "barman restore --",
    "barman restore main last",
    "barman restore main latest k",
    "barman restore main latest \"k",
    "barman restore main latest 'k",
    "barman restore main latest k:",
    "barman restore main latest k\\ ",
    "barman restore main latest kd/",
    "barman restore main latest d e ",
    "barman help ",
    "barman -c /nonexistent check ",
    "barman -c /nonexistent che",
    "barman -c k check ",
];

/// In argcomplete's own function, swapping the programs changes nothing but our own commands. A run of the oracle takes
/// half a second, so each test has a third of the lines.
fn beside_the_oracle(third: usize) {
    let home = crowded();
    for line in LINES.iter().skip(third).step_by(3) {
        let mut found = registered(&home, &ours(), line);
        found.retain(|word| !matches!(word.as_str(), "completion" | "retention"));
        let expected = registered(&home, &cache::oracle_program(), line);
        assert_eq!(found, expected, "{line:?}");
    }
}

#[test]
fn argcomplete_beside_the_oracle() {
    beside_the_oracle(0);
}

#[test]
fn argcomplete_beside_the_oracle_in_another_third() {
    beside_the_oracle(1);
}

#[test]
fn argcomplete_beside_the_oracle_in_the_last_third() {
    beside_the_oracle(2);
}

#[test]
fn argcomplete_where_the_oracle_breaks_off() {
    let home = crowded();
    // Or offers all files for what is none.
    for (line, expected) in [
        (
            "barman backup main --incremental 2026",
            &["20260101T000000", "20260102T000000"][..],
        ),
        (
            "barman restore main latest k --target-action p",
            &["pause", "promote"],
        ),
        ("barman backup --jobs ", &[]),
    ] {
        assert_eq!(registered(&home, &ours(), line), expected, "{line:?}");
    }
}

/// One call as a shell makes it: the exit code and what came on descriptor 8. Nothing else may be written.
fn asked(home: &Home, program: &Path, script: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let answer = home.path().join("answer");
    fs::write(&answer, "").unwrap();
    let mut command = Command::new("bash");
    let script = format!("exec 8>&-\nexec \"$0\" {}", script.replace("ANSWER", "\"$1\""));
    command.args(["--norc", "-c", &script]).arg(program).arg(&answer);
    command
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", home.path())
        .env("BARMAN_CONFIG_FILE", home.config());
    command.envs([("_ARGCOMPLETE", "1"), ("_ARGCOMPLETE_IFS", "\n")]);
    for (name, value) in variables {
        command.env(name, value);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{variables:?}");
    if program == ours() {
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{variables:?}");
    }
    (output.status.code(), fs::read_to_string(&answer).unwrap())
}

/// The protocol beside the oracle: what the shell says about itself, and requests that are damaged.
#[test]
fn requests_of_all_kinds_beside_the_oracle() {
    let home = crowded();
    let line = ("COMP_LINE", "barman check m");
    let end = ("COMP_POINT", "14");
    let requests: &[&[(&str, &str)]] = &[
        &[line, end],
        &[("COMP_LINE", "barman check ma"), ("COMP_POINT", "15")],
        &[("COMP_LINE", "barman check 'ma"), ("COMP_POINT", "16")],
        &[
            ("COMP_LINE", "barman check ma"),
            ("COMP_POINT", "15"),
            ("_ARGCOMPLETE_SUPPRESS_SPACE", "1"),
        ],
        // The text behind the cursor counts for nothing.
        &[("COMP_LINE", "barman che m"), ("COMP_POINT", "10")],
        &[
            ("COMP_LINE", "x barman check ma"),
            ("COMP_POINT", "17"),
            ("_ARGCOMPLETE", "2"),
        ],
        &[line, end, ("_ARGCOMPLETE", "x")],
        &[line, end, ("_ARGCOMPLETE", "")],
        &[line],
        &[end],
        &[line, ("COMP_POINT", "x")],
        &[line, ("COMP_POINT", "")],
        &[line, ("COMP_POINT", "-1")],
        &[line, ("COMP_POINT", "3")],
        // The cursor counts characters.
        &[("COMP_LINE", "bärmän check mx"), ("COMP_POINT", "14")],
        &[("COMP_LINE", "barman check é"), ("COMP_POINT", "14")],
        &[("COMP_LINE", "barman check m€x"), ("COMP_POINT", "14")],
        &[line, end, ("_ARGCOMPLETE_IFS", "ab")],
        &[line, end, ("_ARGCOMPLETE_IFS", "")],
        &[line, end, ("_ARGCOMPLETE_DFS", "ab")],
        &[line, end, ("_ARGCOMPLETE_DFS", "\t")],
        &[line, end, ("_ARGCOMPLETE_SHELL", "zsh")],
        &[line, end, ("_ARGCOMPLETE_SHELL", "fish")],
        &[line, end, ("_ARGCOMPLETE_SHELL", "nosuch")],
        &[
            ("COMP_LINE", "barman check pg"),
            ("COMP_POINT", "15"),
            ("_ARGCOMPLETE_SUPPRESS_SPACE", "1"),
            ("_ARGCOMPLETE_SHELL", "zsh"),
        ],
        &[("COMP_LINE", "barman check \"m"), ("COMP_POINT", "15")],
        &[
            ("COMP_LINE", "barman check $"),
            ("COMP_POINT", "14"),
            ("_ARGCOMPLETE_SHELL", "powershell"),
        ],
        &[line, end, ("BARMAN_CONFIG_FILE", "/nonexistent")],
        &[line, end, ("_ARGCOMPLETE_STDOUT_FILENAME", "/nonexistent/x")],
    ];
    for request in requests {
        let found = asked(&home, &ours(), "8>ANSWER", request);
        let expected = asked(&home, &cache::oracle_program(), "8>ANSWER", request);
        assert_eq!(found, expected, "{request:?}");
    }
    // A cursor behind the end is at the end.
    let numbers = ["100", "9223372036854775807"];
    for point in numbers {
        let found = asked(&home, &ours(), "8>ANSWER", &[line, ("COMP_POINT", point)]);
        assert_eq!(found, (Some(0), "main\nmy\\ server".to_owned()), "{point}");
    }
    // Bash counts bytes in a locale without such characters.
    let in_bytes = [("COMP_LINE", "bärman check ma"), ("COMP_POINT", "16")];
    assert_eq!(asked(&home, &ours(), "8>ANSWER", &in_bytes).1, "main ");
    let too_large = [line, ("COMP_POINT", "99999999999999999999999")];
    assert_eq!(
        asked(&home, &ours(), "8>ANSWER", &too_large),
        (Some(1), String::new())
    );
    // Nobody listens.
    for closed in ["", "8>/dev/full"] {
        assert_eq!(asked(&home, &ours(), closed, &[line, end]).0, Some(1), "{closed}");
    }
    let file = home.path().join("file");
    let request = [
        line,
        end,
        ("_ARGCOMPLETE_STDOUT_FILENAME", file.to_str().unwrap()),
    ];
    assert_eq!(asked(&home, &ours(), "", &request), (Some(0), String::new()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "main\nmy\\ server");
}

/// Whoever types does not wait for what is no file, wherever it stands, and not for a pipe that nobody reads.
#[test]
fn pipes_in_the_place_of_files() {
    let home = crowded();
    let make_fifo = |path: &Path| {
        let _ = fs::remove_file(path);
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    };
    make_fifo(&home.path().join("main/base/20260101T000000/backup.info"));
    assert_eq!(
        offered(&home, "barman show-backup main 2026"),
        ["20260102T000000"]
    );
    make_fifo(&home.path().join("main/.active-model.auto"));
    assert_eq!(offered(&home, "barman check ma"), ["main"]);
    let fifo = home.path().join("fifo");
    make_fifo(&fifo);
    for config in [fifo.to_str().unwrap(), "/dev/tty", "/dev/zero"] {
        let line = format!("barman -c {config} check m");
        assert_eq!(offered(&home, &line), Vec::<String>::new(), "{line}");
    }
    let request = [
        ("COMP_LINE", "barman check m"),
        ("COMP_POINT", "14"),
        ("_ARGCOMPLETE_STDOUT_FILENAME", fifo.to_str().unwrap()),
    ];
    assert_eq!(asked(&home, &ours(), "", &request), (Some(1), String::new()));
    make_fifo(&home.config());
    assert_eq!(offered(&home, "barman check m"), Vec::<String>::new());
}

/// A shell that reads no answer: the pipe is closed before there is one.
#[test]
fn a_reader_that_goes_away() {
    let home = crowded();
    let script =
        "_ARGCOMPLETE=1 COMP_LINE='barman check m' COMP_POINT=14 barman 8> >(exec 0<&-) | cat; COMPREPLY=()";
    assert_eq!(bash(&home, &ours(), script, ""), Vec::<String>::new());
}

/// What is broken is told when a command runs, not to whoever types; nothing is written to the log either.
#[test]
fn quiet_about_what_is_broken() {
    let home = crowded();
    let mut text = fs::read_to_string(home.config()).unwrap();
    text.push_str("[broken]\nnosuch_option = 1\nbackup_method = nosuch\nconninfo = host='\n");
    fs::write(home.config(), &text).unwrap();
    let unreadable = home.path().join("main/base/20260101T000000/backup.info");
    fs::write(&unreadable, "\u{0}garbage").unwrap();
    assert_eq!(offered(&home, "barman check b"), ["broken"]);
    assert_eq!(
        offered(&home, "barman show-backup main 2026"),
        ["20260102T000000"]
    );
    assert_eq!(home.log(), "");
    fs::write(home.config(), "garbage").unwrap();
    assert_eq!(offered(&home, "barman check b"), Vec::<String>::new());
    assert_eq!(
        offered(&home, "barman che"),
        [
            "check",
            "check-archived-wal-range",
            "check-backup",
            "check-wal-archive"
        ]
    );
    let mut mode = fs::metadata(home.config()).unwrap().permissions();
    mode.set_mode(0o000);
    fs::set_permissions(home.config(), mode).unwrap();
    assert_eq!(offered(&home, "barman check b"), Vec::<String>::new());
}
