//! The log file, and what no table can hold of arguments and requests.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use testkit::{Finished, Program, TestDir, cache};

use crate::run::level;
use crate::service::{Script, Service, ok};

const RECOVER: [&str; 4] = [
    "recover",
    "--barman-server=main",
    "--ssh-command=x",
    "--datadir=/x",
];

fn both(arguments: impl Fn(&'static str) -> Vec<OsString>) -> [Finished; 2] {
    let ours = Program::new(env!("CARGO_BIN_EXE_patroni_barman"));
    let original = Program::new(cache::patroni_program("patroni_barman"));
    [
        ours.run(arguments("ours")).unwrap(),
        original.run(arguments("original")).unwrap(),
    ]
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn levels(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| level(line).unwrap()).collect()
}

/// A service that restores at once.
fn done_at_once() -> Service {
    let script = Script {
        health: vec![ok("\"OK\"")],
        create: vec![ok(r#"{"operation_id":"20261121T050225"}"#)],
        poll: vec![ok(r#"{"status":"DONE"}"#)],
        cancel: Vec::new(),
    };
    Service::start(&script, None).unwrap()
}

#[test]
fn the_log_is_appended_to_its_file() {
    let service = done_at_once();
    let url = format!("--api-url=http://127.0.0.1:{}", service.port());
    let dir = TestDir::new().unwrap();
    let file = |name: &str| dir.join(format!("{name}.log"));
    for expected in ["II", "IIII"] {
        let runs = both(|name| {
            let log = format!("--log-file={}", file(name).display());
            words(&[&[log.as_str(), &url], &RECOVER[..]].concat())
        });
        for (name, run) in ["ours", "original"].into_iter().zip(runs) {
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run}");
            assert_eq!(levels(&file(name)), expected, "{name}");
        }
    }
    // It is opened before anything is done, and counts as opened without a command too.
    let runs = both(|name| words(&[&url, "--log-file", file(&format!("{name}2")).to_str().unwrap()]));
    for (name, run) in ["ours2", "original2"].into_iter().zip(runs) {
        assert_eq!((run.code, run.stderr.as_str()), (Some(255), ""), "{run}");
        assert!(run.stdout.starts_with("usage: patroni_barman"), "{run}");
        assert_eq!(levels(&file(name)), "");
    }
    // patroni-22: no traceback.
    let before = service.seen().len();
    let [ours, original] = both(|_| words(&[&["--log-file=/nonexistent/x", &url], &RECOVER[..]].concat()));
    assert_eq!((ours.code, original.code), (Some(1), Some(1)));
    assert_eq!(ours.stderr.lines().count(), 1, "{ours}");
    assert!(original.stderr.contains("Traceback"), "{original}");
    assert!(ours.stderr.contains("/nonexistent/x: No such file"), "{ours}");
    assert_eq!(service.seen().len(), before);
    // As a key of a method's section.
    let late = format!("--log-file={}", file("late").display());
    let run = Program::new(env!("CARGO_BIN_EXE_patroni_barman"))
        .run(words(&[&[url.as_str()], &RECOVER[..], &[&late]].concat()))
        .unwrap();
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run}");
    assert_eq!(levels(&file("late")), "II");
}

/// patroni-27: nothing ends for want of a log, and nothing is lost: what has no place in the file goes to standard error.
#[test]
fn a_log_on_a_full_disk() {
    let service = done_at_once();
    let url = format!("--api-url=http://127.0.0.1:{}", service.port());
    let [ours, original] = both(|_| words(&[&[url.as_str(), "--log-file=/dev/full"], &RECOVER[..]].concat()));
    assert_eq!((ours.code, original.code), (Some(0), Some(0)), "{ours}");
    let (complaint, lines) = ours.stderr.split_once('\n').unwrap();
    assert_eq!(
        complaint,
        "patroni_barman: cannot write to the log file /dev/full: No space left on device (os error 28)"
    );
    let levels: Vec<_> = lines.lines().map(level).collect();
    assert_eq!(levels, [Some('I'), Some('I')], "{ours}");
}

/// patroni-21.
#[test]
fn a_path_that_is_not_utf8_is_not_another_path() {
    let bytes = || OsString::from_vec(b"--datadir=/x\xff".to_vec());
    let run = |more: OsString| {
        Program::new(env!("CARGO_BIN_EXE_patroni_barman"))
            .run(
                words(&["--api-url=http://127.0.0.1:1"])
                    .into_iter()
                    .chain(words(&RECOVER))
                    .chain([more]),
            )
            .unwrap()
    };
    let used = run(bytes());
    assert_eq!(used.code, Some(2), "{used}");
    assert!(
        used.stderr
            .contains("argument --data-directory: the value is not UTF-8"),
        "{used}"
    );
    // What is passed over may be anything: it gets as far as the API, which is not there.
    let unused = run(OsString::from_vec(b"--connstring=\xff".to_vec()));
    assert!(unused.stderr.contains("refused"), "{unused}");
}

/// The head of the first request of a program.
fn head(program: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("--api-url=http://{}", listener.local_addr().unwrap());
    let mut running = Program::new(program)
        .spawn(words(&[&[url.as_str()], &RECOVER[..]].concat()))
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    running.signal(Signal::KILL).unwrap();
    String::from_utf8(head).unwrap()
}

/// patroni-20: how the names of headers are written, and who we say that we are. Everything else is compared in each
/// exchange.
#[test]
fn names_of_headers() {
    let ours = head(env!("CARGO_BIN_EXE_patroni_barman").into());
    let names = |head: &str| -> Vec<String> {
        let lines = head.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    assert!(!names(&ours).is_empty(), "{ours}");
    for name in names(&ours) {
        assert_eq!(name, name.to_ascii_lowercase(), "{ours}");
    }
    let agent = concat!(
        "\r\nuser-agent: patroni_barman/",
        env!("CARGO_PKG_VERSION"),
        "\r\n"
    );
    assert!(ours.contains(agent), "{ours}");
    let original = head(cache::patroni_program("patroni_barman"));
    assert!(
        names(&original).contains(&"Accept-Encoding".to_owned()),
        "{original}"
    );
    assert!(!original.contains("patroni_barman/"), "{original}");
}
