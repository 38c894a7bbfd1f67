//! Tables of what each form makes of the same messages.

use super::*;
use barman_core::ops::check::CheckResult;
use expect_test::expect;
use serde_json::json;
use std::sync::Arc;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that fails as a closed pipe or a full disk does.
struct Failing(i32);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(self.0))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(settings: Settings, act: impl Fn(&Output)) -> String {
    let (stdout, stderr) = (Buffer::default(), Buffer::default());
    let output = Output::with_streams(settings, Box::new(stdout.clone()), Box::new(stderr.clone()));
    act(&output);
    let code = output.finish();
    format!(
        "stdout: {:?}\nstderr: {:?}\nexit: {code}",
        stdout.text(),
        stderr.text()
    )
}

fn everything(output: &Output) {
    let message = |level, text| Message {
        level,
        text,
        target: "barman.cli",
        logged: true,
    };
    output.message(message(Level::Debug, "d"));
    output.message(message(Level::Info, "conninfo password=x end"));
    output.message(message(Level::Warning, "w\nsecond"));
    output.message(message(Level::Error, "e password=x"));
    output.hint("h");
    output.line("result");
    output.member("main", json!({"b": 1, "a": null}));
    output.exception("barman.cli", "boom");
}

#[test]
fn messages_on_the_console() {
    expect![[r#"
        stdout: "conninfo password=*REDACTED* end\nresult\n"
        stderr: "WARNING: w\nsecond\nERROR: e password=*REDACTED*\nHINT: h\nEXCEPTION: boom\nSee log file for more details.\n"
        exit: 1"#]]
    .assert_eq(&run(Settings::default(), everything));
}

#[test]
fn messages_on_the_console_with_debug_and_colour() {
    expect![[r#"
        stdout: "conninfo password=*REDACTED* end\nresult\n"
        stderr: "DEBUG: d\n\u{1b}[33mWARNING: w\nsecond\u{1b}[0m\n\u{1b}[31mERROR: e password=*REDACTED*\u{1b}[0m\nHINT: h\n\u{1b}[31mEXCEPTION: boom\nSee log file for more details.\u{1b}[0m\n"
        exit: 1"#]]
    .assert_eq(&run(Settings { debug: true, color: true, ..Settings::default() }, everything));
}

#[test]
fn messages_on_a_quiet_console() {
    expect![[r#"
        stdout: ""
        stderr: "WARNING: w\nsecond\nERROR: e password=*REDACTED*\nHINT: h\nEXCEPTION: boom\nSee log file for more details.\n"
        exit: 1"#]]
    .assert_eq(&run(Settings { quiet: true, ..Settings::default() }, everything));
}

#[test]
fn messages_in_json() {
    let json = Settings {
        format: Format::Json,
        debug: true,
        ..Settings::default()
    };
    expect![[r#"
        stdout: "{\"_DEBUG\": [\"d\"], \"_ERROR\": [\"e password=*REDACTED*\"], \"_EXCEPTION\": [\"boom\\nSee log file for more details.\"], \"_INFO\": [\"conninfo password=*REDACTED* end\"], \"_WARNING\": [\"w\\nsecond\"], \"main\": {\"a\": null, \"b\": 1}}"
        stderr: ""
        exit: 1"#]]
    .assert_eq(&run(json, everything));
    expect![[r#"
        stdout: ""
        stderr: ""
        exit: 1"#]]
    .assert_eq(&run(Settings { quiet: true, ..json }, everything));
    expect![[r#"
        stdout: "{}"
        stderr: ""
        exit: 0"#]]
    .assert_eq(&run(json, |_| {}));
}

fn one_check(output: &Output) {
    for (check, ok, active) in [
        ("has monitoring privileges (WAL streaming)", true, true),
        ("a.b-c", false, false),
    ] {
        let hint = if ok { String::new() } else { "why".to_owned() };
        let result = CheckResult {
            name: check.into(),
            ok,
            hint,
            perfdata: None,
            reason: None,
        };
        output.check(CheckLine {
            server: "main".into(),
            active,
            result,
        });
    }
}

#[test]
fn checks_in_every_form() {
    expect![[r#"
        stdout: "\thas monitoring privileges (WAL streaming): \u{1b}[32mOK\u{1b}[0m\n\ta.b-c: \u{1b}[31mFAILED\u{1b}[0m (why)\n"
        stderr: ""
        exit: 0"#]]
    .assert_eq(&run(Settings { color: true, ..Settings::default() }, one_check));
    expect![[r#"
        stdout: "{\"main\": {\"ab_c\": {\"hint\": \"why\", \"status\": \"FAILED\"}, \"has_monitoring_privileges_(wal_streaming)\": {\"hint\": \"\", \"status\": \"OK\"}}}"
        stderr: ""
        exit: 0"#]]
    .assert_eq(&run(Settings { format: Format::Json, ..Settings::default() }, one_check));
    expect![[r#"
        stdout: "BARMAN OK - No server configured * IGNORING: main\n"
        stderr: ""
        exit: 0"#]]
    .assert_eq(&run(
        Settings {
            format: Format::Nagios,
            ..Settings::default()
        },
        one_check,
    ));
}

#[test]
fn raw_bytes_have_no_document_behind_them() {
    let json = Settings {
        format: Format::Json,
        ..Settings::default()
    };
    expect![[r#"
        stdout: "wal"
        stderr: "ERROR: e\n"
        exit: 3"#]]
    .assert_eq(&run(json, |output| {
        output.raw(b"wal").unwrap();
        output.error("barman.cli", "e");
        output.exit_with(3);
    }));
}

#[test]
fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one() {
    for (errno, code) in [(32, 0), (28, 1)] {
        let stderr = Buffer::default();
        let output = Output::with_streams(
            Settings::default(),
            Box::new(Failing(errno)),
            Box::new(stderr.clone()),
        );
        output.info("barman.cli", "one");
        output.info("barman.cli", "two");
        assert_eq!(output.finish(), code, "{errno}");
        assert_eq!(stderr.text().is_empty(), code == 0, "{errno}: {}", stderr.text());
    }
}

#[test]
fn secrets_in_the_document() {
    let settings = Settings {
        format: Format::Json,
        ..Settings::default()
    };
    expect![[r#"
        stdout: "{\"error\": \"a password=*REDACTED*\", \"main\": {\"list\": [\"postgres://u:*REDACTED*@h\", {\"k\": \"password=*REDACTED*\"}]}}"
        stderr: ""
        exit: 0"#]]
    .assert_eq(&run(settings, |output| {
        output.member("error", json!("a password=x"));
        output.nested_member("main", "list", json!(["postgres://u:x@h", {"k": "password=x"}]));
    }));
}

/// Whatever fails afterwards: scripts know what the first code means.
#[test]
fn the_first_exit_code_stays() {
    let text = run(Settings::default(), |output| {
        output.exit_with(3);
        output.exit_with(143);
        output.error("barman.cli", "e");
    });
    assert!(text.ends_with("exit: 3"), "{text}");
}
