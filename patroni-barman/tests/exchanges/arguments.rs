//! Command lines, as Patroni makes them and as people mistype them.

use crate::run::{Row, compare, outcome, owned};
use crate::service::{Script, ok};

fn script() -> Script {
    Script {
        health: vec![ok("\"OK\"")],
        create: vec![ok(r#"{"operation_id":"20261121T050225"}"#)],
        poll: vec![ok(r#"{"status":"DONE"}"#)],
        cancel: Vec::new(),
    }
}

const NEEDED: [&str; 5] = [
    "recover",
    "--barman-server=main",
    "--ssh-command",
    "ssh x",
    "--datadir=/d",
];

fn row(name: &'static str, words: &[&str], code: i32) -> Row {
    let expected = match code {
        0 => outcome(0, "S C P", "II"),
        code => outcome(code, "", ""),
    };
    Row::new(name, script(), expected).arguments(owned(words))
}

fn more(name: &'static str, words: &[&str], code: i32) -> Row {
    row(name, &[&NEEDED, words].concat(), code)
}

#[test]
fn of_recover() {
    let connstring =
        "--connstring=dbname=postgres user=replicator host=10.0.0.2 port=5432 application_name=node2";
    let mut negative = row(
        "a pause of less than nothing",
        &[&["--retry-wait=-1"][..], &NEEDED].concat(),
        0,
    )
    .ours_is(outcome(0, "S C P P", "WIWI"))
    .original("patroni-16", outcome(1, "S C P", "IW"));
    negative.script.poll.insert(0, ok("{}"));
    compare(vec![
        row("no command", &[], 255),
        row(
            "a number without measure",
            &[&["--max-retries=99999999999999999999"][..], &NEEDED].concat(),
            0,
        ),
        row("an empty log file", &[&["--log-file="][..], &NEEDED].concat(), 0),
        row(
            "empty certificates",
            &[&["--cert-file=", "--key-file="][..], &NEEDED].concat(),
            0,
        ),
        row("no URL", &[&["--api-url="][..], &NEEDED].concat(), 2)
            .ours_is(outcome(2, "", "E"))
            .original("patroni-1", outcome(1, "", "WWW")),
        row("unknown command", &["restore"], 2),
        row("two dashes", &["--", "recover"], 2),
        row("a word of an unknown option", &["--foo", "bar", "recover"], 2),
        row("missing options", &["recover", "--backup-id", "x"], 2),
        row("help", &["recover", "--help"], 0).ours_is(outcome(0, "", "")),
        row("unknown before", &[&["--foo=bar", "-q"][..], &NEEDED].concat(), 0),
        row(
            "abbreviated before",
            &[&["--retry", "1", "--max=3", "--c=/none"][..], &NEEDED].concat(),
            0,
        ),
        more("as a bootstrap", &["--scope=batman", "--loop-wait=30"], 0),
        more(
            "as a replica",
            &[
                "--no_leader=1",
                "--keep_data=True",
                "--scope=batman",
                "--role=replica",
                connstring,
            ],
            0,
        ),
        more(
            "as a replica without a leader",
            &["--scope=batman", "--role=replica", "--connstring="],
            0,
        ),
        more("unknown with words", &["--foo", "bar", "-x", "word"], 0),
        more("two dashes behind", &["--", "--loop-wait", "x"], 0),
        more("abbreviated", &["--backup", "20261121T000000", "--loop=1"], 0),
        more("abbreviation of two", &["--data=/e"], 2),
        more("both spellings", &["--data-directory", "/e"], 0),
        more("empty values", &["--backup-id=", "--datadir="], 0),
        more("a value with a dash", &["--ssh-command", "-x"], 2),
        more("a value with a dash and a blank", &["--ssh-command", "-x y"], 0),
        more("a value with a dash, attached", &["--ssh-command=-x"], 0),
        more("a negative number for a word", &["--backup-id", "-1"], 0),
        more("a number that is none", &["--loop-wait=1.5"], 2),
        more("a number with all that is allowed", &["--loop-wait= +1_0 "], 0),
        more("no value", &["--loop-wait"], 2),
        more("unknown option of a known kind", &["--loop-waits=x"], 0),
        more(
            "text that is not ASCII",
            &["--ssh-command", "ssh é😀 \"q\" \\ \t\u{7f}"],
            0,
        ),
        more("the API's URL behind", &["--api-url=http://127.0.0.1:1"], 0),
        more(
            "options of the program behind, useless",
            &["--max-retries=x", "--retry-wait"],
            0,
        ),
        more("options of the program behind", &["--max-retries=0"], 2)
            .ours_is(outcome(2, "S", "E"))
            .original("patroni-13", outcome(0, "S C P", "II")),
        negative,
    ]);
}

#[test]
fn of_config_switch() {
    let line = |text: &'static str| {
        let words: Vec<&str> = ["config-switch"].into_iter().chain(text.split(' ')).collect();
        let words = owned(&words);
        move |row: Row| row.arguments(words)
    };
    let row = |text: &'static str, code: i32| line(text)(row(text, &[], code));
    compare(vec![
        row(
            "--barman-server m on_role_change --reset primary --switch-when always c",
            0,
        )
        .ours_is(outcome(
            0,
            "S POST /servers/m/operations GET /servers/m/operations/20261121T050225",
            "II",
        )),
        row(
            "--barman-server main --barman-m x --switch-when promoted on_role_change primary c extra words",
            0,
        ),
        row(
            "--barman-server main --reset --switch-when always on_role_change standby_leader c",
            0,
        ),
        row(
            "--barman main --reset --switch-when always on_role_change primary c",
            2,
        ),
        row(
            "--barman-server main --reset --switch-when always on_role_change master c",
            2,
        ),
        row(
            "--barman-server main --reset --switch-when always on_role_change uninitialized c",
            2,
        ),
        row(
            "--barman-server main --reset --switch-when always on_start primary c",
            2,
        ),
        row(
            "--barman-server main --reset --switch-when never on_role_change primary c",
            2,
        ),
        row("--barman-server main --reset on_role_change primary c", 2),
        row(
            "--barman-server main --switch-when always on_role_change primary c",
            2,
        ),
        row(
            "--barman-server main --reset --barman-model x --switch-when always on_role_change primary c",
            2,
        ),
        row(
            "--barman-server main --reset=1 --switch-when always on_role_change primary c",
            2,
        ),
        row(
            "--barman-server main --reset --switch-when always on_role_change primary",
            2,
        ),
        row(
            "--barman-server main --reset --switch-when always --foo bar on_role_change primary c",
            2,
        ),
        row(
            "--barman-server main --reset --switch-when always --foo=bar on_role_change -x primary --y c",
            0,
        ),
        row(
            "--reset --reset --barman-server x --barman-server main --switch-when demoted --switch-when always on_role_change primary c",
            0,
        ),
    ]);
}
