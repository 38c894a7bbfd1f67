//! The example programs as somebody uses them who has found the crate: on segments, on what is none, at the head of a pipe.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use barman_wal::codec::{self, Algorithm, CodecError, Level};
use testkit::Program;

fn fixture(major: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/wal/{major}-start"))
}

fn waldump() -> Program {
    Program::example("barman-wal", "waldump").unwrap()
}

#[test]
fn waldump_reads_what_an_archive_holds() {
    let directory = tempfile::tempdir().unwrap();
    for major in [10, 15, 18] {
        let plain = waldump().ok([fixture(major)]).unwrap().stdout;
        assert!(plain.lines().count() > 10, "{plain}");
        assert!(plain.contains(" XLOG 0 "), "{plain}");
        use Algorithm::{Bzip2, Gzip, Lz4, Pigz, Snappy, Xz, Zstd};
        for algorithm in [Gzip, Pigz, Bzip2, Xz, Zstd, Lz4, Snappy] {
            let stored = directory.path().join(format!("{major}.{algorithm:?}"));
            match codec::encoder(algorithm, Level::Low, Vec::new()) {
                Ok(mut encoder) => {
                    encoder.write_all(&fs::read(fixture(major)).unwrap()).unwrap();
                    fs::write(&stored, encoder.finish().unwrap()).unwrap();
                    assert_eq!(waldump().ok([&stored]).unwrap().stdout, plain, "{algorithm:?}");
                }
                Err(CodecError::NotAvailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    let foreign = directory.path().join("gzip");
    fs::write(&foreign, [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]).unwrap();
    let refused = waldump().run([&foreign]).unwrap();
    assert!(
        refused.code == Some(1) && refused.stderr.contains("gzip"),
        "{refused}"
    );
}

#[test]
fn waldump_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let garbage = directory.path().join("garbage");
    fs::write(&garbage, [0x55; 20_000]).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    for (file, why) in [
        (text(directory.path()), "Is a directory"),
        (text(&directory.path().join("none")), "No such file"),
        (text(&garbage), "unknown format"),
    ] {
        let refused = waldump().run([&file]).unwrap();
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(
            refused.stderr.starts_with(&format!("waldump: {file}: ")) && refused.stderr.contains(why),
            "{refused}"
        );
    }
    for (argument, code) in [("--help", 0), ("-h", 0), ("--nonsense", 2)] {
        let done = waldump().run([argument]).unwrap();
        assert_eq!(done.code, Some(code), "{done}");
        let told = if code == 0 { &done.stdout } else { &done.stderr };
        assert!(told.starts_with("usage: waldump"), "{done}");
    }
}

#[test]
fn whoever_has_seen_enough_is_no_error() {
    let run = |stdout: Stdio| {
        let done = Command::new(waldump().path())
            .arg(fixture(18))
            .stdout(stdout)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()), (Some(0), String::new()));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, told) = run(full.into());
    assert_eq!(code, Some(1));
    assert!(told.starts_with("waldump: standard output: "), "{told}");
}
