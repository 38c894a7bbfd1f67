//! The completion script, as bash runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

mod support;

use std::process::Command;
use support::Home;

/// What bash offers for a line whose last word is being typed.
fn offered(home: &Home, line: &[&str]) -> Vec<String> {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_barman"));
    let words: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "PATH={}:$PATH\nsource <(barman completion bash) || exit 9\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_barman\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        program.parent().unwrap().display(),
        words.join(" "),
        line.len() - 1
    );
    let output = Command::new("bash")
        .args(["--norc", "-c", &script])
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

#[test]
fn commands_options_choices_and_servers() {
    let home = Home::new(
        "",
        "[main]\narchiver = on\nbackup_method = postgres\nconninfo = host=pg\n[other]\narchiver = on\nbackup_method = postgres\nconninfo = host=pg\n",
    );
    let config = home.config();
    let config = config.to_str().unwrap();
    for (line, expected) in [
        (&["barman", "list-s"][..], &["list-servers", "list-server"][..]),
        (&["barman", "recov"], &["recover"]),
        (&["barman", "--fo"], &["--format"]),
        (&["barman", "-f", ""], &["console", "json"]),
        (&["barman", "-f", "json", "verify-"], &["verify-backup"]),
        (&["barman", "backup", "--wait"], &["--wait", "--wait-timeout"]),
        (&["barman", "keep", "--target", "f"], &["full"]),
        (&["barman", "check", ""], &["main", "other", "all"]),
        (&["barman", "-c", config, "check", "main", ""], &["other"]),
        (&["barman", "backup", "--jobs", "2", "m"], &["main"]),
        (&["barman", "show-backup", ""], &["main", "other"]),
        (&["barman", "show-backup", "main", ""], &[]),
        (&["barman", "sync-wals", "main", ""], &[]),
    ] {
        assert_eq!(offered(&home, line), expected, "{line:?}");
    }
}

/// Names that begin alike, that have blanks, and that bash would expand.
#[test]
fn names_are_whole_words() {
    let settings = "archiver = on\nbackup_method = postgres\nconninfo = host=pg\n";
    let servers: String = ["pg", "pg-standby", "my server", "$(touch /nosuch/x)"]
        .map(|name| format!("[{name}]\n{settings}"))
        .concat();
    let home = Home::new("", &servers);
    for (line, expected) in [
        (
            &["barman", "check", "pg", ""][..],
            &["\\$\\(touch\\ /nosuch/x\\)", "my\\ server", "pg-standby"][..],
        ),
        (&["barman", "check", "pg", "p"], &["pg-standby"]),
        (&["barman", "check", "pg-standby", "p"], &["pg"]),
        (&["barman", "check", "m"], &["my\\ server"]),
        (&["barman", "check", "$"], &["\\$\\(touch\\ /nosuch/x\\)"]),
    ] {
        assert_eq!(offered(&home, line), expected, "{line:?}");
    }
}

/// `=` comes as a word of its own, and the configuration file can be named in several ways.
#[test]
fn options_in_all_their_forms() {
    let home = Home::new("", "");
    let other = Home::new(
        "",
        "[there]\narchiver = on\nbackup_method = postgres\nconninfo = host=pg\n",
    );
    let config = other.config();
    let config = config.to_str().unwrap();
    let joined = format!("-c{config}");
    for (line, expected) in [
        (&["barman", "--format", "=", "js"][..], &["json"][..]),
        (&["barman", "--format", "="], &["console", "json"]),
        (
            &["barman", "--format", "=", "json", "verify-"],
            &["verify-backup"],
        ),
        (
            &["barman", "--config", "=", config, "check", ""],
            &["there", "all"],
        ),
        (&["barman", "-c", config, "check", ""], &["there", "all"]),
        (&["barman", &joined, "check", ""], &["there", "all"]),
        (&["barman", "backup", "--jobs", "=", "2", ""], &["all"]),
    ] {
        assert_eq!(offered(&home, line), expected, "{line:?}");
    }
    std::fs::write(home.path().join("my file"), "").unwrap();
    let beginning = home.path().join("my");
    let found = offered(&home, &["barman", "-c", beginning.to_str().unwrap()]);
    assert_eq!(found, [format!("{} file", beginning.display())]);
}
