//! WAL archives of every compression, by the real program and beside the oracle: what one stores the other gives back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use testkit::{Mode, Program, Sandbox};

const SEGMENT: usize = 1 << 20;

/// A segment of timeline 1 as PostgreSQL 15 writes it; `SEGMENT` bytes that compress well, but not to nothing.
fn segment(number: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEGMENT + 64);
    bytes.extend(0xD110u16.to_le_bytes());
    bytes.extend(2u16.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend((number * SEGMENT as u64).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(7u64.to_le_bytes());
    bytes.extend((1u32 << 20).to_le_bytes());
    bytes.extend(8192u32.to_le_bytes());
    let mut state = number + 1;
    while bytes.len() < SEGMENT {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend(b"rel 1663/5/16384 blk ");
        bytes.extend(&state.to_be_bytes()[..3]);
    }
    bytes.truncate(SEGMENT);
    bytes
}

fn name(number: u64) -> String {
    format!("0000000100000000{number:08X}")
}

fn sandbox() -> Result<Sandbox> {
    let sandbox = Sandbox::builder("main")
        .mode(Mode::Archiver)
        .program(env!("CARGO_BIN_EXE_barman"))
        .build()?;
    for part in ["incoming", "wals", "streaming"] {
        fs::create_dir_all(sandbox.server_dir().join(part))?;
    }
    Ok(sandbox)
}

fn deliver(sandbox: &Sandbox, number: u64) -> Result<()> {
    let path = sandbox.server_dir().join("incoming").join(name(number));
    Ok(fs::write(path, segment(number))?)
}

/// What `get-wal` writes to a directory.
fn get(sandbox: &Sandbox, program: &Program, number: u64) -> Result<Vec<u8>> {
    let out = sandbox.dir().join("out");
    fs::create_dir_all(&out)?;
    let file = out.join(name(number));
    program.ok(["get-wal", "-o", out.to_str().unwrap(), "main", &name(number)])?;
    let content = fs::read(&file)?;
    fs::remove_file(&file)?;
    Ok(content)
}

/// One archive whose compression changes for every pair of segments: each program stores one, both read both.
#[test]
fn both_programs_read_what_either_stored() -> Result<()> {
    let mut sandbox = sandbox()?;
    let filters = [
        ("custom_compression_filter", "gzip -c"),
        ("custom_decompression_filter", "gzip -dc"),
    ];
    for (option, value) in filters {
        sandbox.set_option(option, value)?;
    }
    sandbox.set_option("custom_compression_magic", "0x1f8b08")?;
    let compressions = [
        "gzip", "pygzip", "pigz", "bzip2", "pybzip2", "xz", "zstd", "lz4", "snappy", "custom", "",
    ];
    let mut expected = Vec::new();
    let mut number = 1;
    for compression in compressions {
        sandbox.set_option("compression", compression)?;
        let (ours, oracle) = (sandbox.barman()?, sandbox.oracle()?);
        for program in [&ours, &oracle] {
            deliver(&sandbox, number)?;
            program.ok(["archive-wal", "main"])?;
            let listed = if compression.is_empty() {
                "None"
            } else {
                compression
            };
            expected.push((name(number), listed));
            number += 1;
        }
    }
    let text = fs::read_to_string(sandbox.server_dir().join("wals/main-xlog.db"))?;
    let listed: Vec<(String, &str)> = text
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            (fields[0].to_owned(), fields[3])
        })
        .collect();
    assert_eq!(listed, expected);
    let (ours, oracle) = (sandbox.barman()?, sandbox.oracle()?);
    for at in 1..number {
        for (who, program) in [("ours", &ours), ("oracle", &oracle)] {
            ensure!(
                get(&sandbox, program, at)? == segment(at),
                "{who} reads {:?}",
                expected[usize::try_from(at - 1)?]
            );
        }
    }
    // Sent again, by turns, all is there already.
    for at in 1..number {
        deliver(&sandbox, at)?;
    }
    ours.ok(["archive-wal", "main"])?;
    let left = fs::read_dir(sandbox.server_dir().join("incoming"))?.count();
    assert_eq!(left, 0);
    assert_eq!(
        text,
        fs::read_to_string(sandbox.server_dir().join("wals/main-xlog.db"))?
    );
    Ok(())
}

/// A filter that hangs, and cares for no signal: a request to stop ends it, and nothing is lost.
#[test]
fn a_filter_that_hangs_ends_with_the_program() -> Result<()> {
    for (filter, signal) in [
        (
            "trap '' TERM INT PIPE; echo $$ > DIR/pid; sleep 600; cat",
            Signal::TERM,
        ),
        (
            "echo $$ > DIR/pid; while :; do echo more; sleep 0.01; done",
            Signal::INT,
        ),
    ] {
        let mut sandbox = sandbox()?;
        let filter = filter.replace("DIR", sandbox.dir().to_str().unwrap());
        sandbox.set_option("compression", "custom")?;
        sandbox.set_option("custom_compression_filter", &filter)?;
        sandbox.set_option("custom_decompression_filter", "cat")?;
        for number in [1, 2, 3] {
            deliver(&sandbox, number)?;
        }
        let mut running = sandbox.barman()?.spawn(["archive-wal", "main"])?;
        let pid_file = sandbox.dir().join("pid");
        let mut pid = String::new();
        testkit::wait_until("the filter runs", Duration::from_secs(60), || {
            pid = fs::read_to_string(&pid_file).unwrap_or_default();
            Ok(pid.ends_with('\n'))
        })?;
        let start = Instant::now();
        running.signal(signal)?;
        let finished = running.wait(Duration::from_secs(60))?;
        ensure!(finished.code != Some(0), "{finished}");
        ensure!(start.elapsed() < Duration::from_secs(30), "{finished}");
        testkit::wait_until("the filter has ended", Duration::from_secs(30), || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            Ok(stat.map_or(true, |stat| stat.contains(") Z ")))
        })?;
        let mut left: Vec<_> = fs::read_dir(sandbox.server_dir().join("incoming"))?
            .map(|entry| Ok(entry?.file_name().into_string().unwrap()))
            .collect::<Result<_>>()?;
        left.sort();
        assert_eq!(left, [name(1), name(2), name(3)]);
        let listed = fs::read_to_string(sandbox.server_dir().join("wals/main-xlog.db")).unwrap_or_default();
        assert_eq!(listed, "");
    }
    Ok(())
}

/// What `check` says of the settings.
#[test]
fn the_check_of_the_settings() -> Result<()> {
    let mut sandbox = sandbox()?;
    for (compression, words) in [
        ("lz4", "compression settings: OK"),
        ("", "compression settings: OK"),
        (
            "custom",
            "compression settings: FAILED (compression `custom` needs custom_compression_filter and custom_decompression_filter)",
        ),
    ] {
        sandbox.set_option("compression", compression)?;
        let checked = sandbox.barman()?.run(["check", "main"])?;
        ensure!(checked.stdout.contains(words), "{checked}");
    }
    Ok(())
}
