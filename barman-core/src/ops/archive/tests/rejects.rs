//! Duplicates, strangers and useless segments: what does not become the archived file of its name.

use super::*;

#[test]
fn duplicates() {
    let bench = Bench::new("archiver = on\ncompression = gzip");
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    bench.run();
    let before = bench.catalogue();
    bench.put(&format!("incoming/{}", name(1)), &gzip(&segment(1, 1)));
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 2));
    let outcome = bench.run();
    assert_eq!(
        outcome.lines[1..],
        [
            "\t000000010000000000000001",
            "\t000000010000000000000002",
            "\tError: 000000010000000000000002 is already present in server s. File moved to errors directory.",
        ]
    );
    assert_eq!(
        (outcome.report().already_archived, outcome.report().duplicates),
        (1, 1)
    );
    assert_eq!(outcome.report().exit_code(), 0);
    assert_eq!(bench.catalogue(), before);
    assert_eq!(
        bench.names("errors"),
        ["000000010000000000000002.20261121T050000Z.duplicate"]
    );
    assert_eq!(gunzip(&bench.stored(2)), segment(2, 1));
    assert!(bench.names("incoming").is_empty());
}

#[test]
fn strangers_are_put_aside() {
    let bench = Bench::new("archiver = on");
    bench.put("incoming/foo", b"");
    fs::create_dir(bench.at("incoming/dir")).unwrap();
    let outcome = bench.run();
    assert_eq!(
        outcome.lines,
        [
            "Processing xlog segments from file archival for s",
            "\tno file found",
            "Found unknown objects while processing xlog segments for s. Objects moved to errors directory:",
            "\tdir",
            "\tfoo",
        ]
    );
    assert_eq!(
        bench.names("errors"),
        ["dir.20261121T050000Z.unknown", "foo.20261121T050000Z.unknown"]
    );
    assert_eq!((outcome.report().unknown, outcome.report().exit_code()), (2, 0));
}

#[test]
fn useless_segments_never_reach_the_archive_and_stop_nobody() {
    let bench = Bench::new("archiver = on\ncompression = gzip");
    bench.put(&format!("incoming/{}", name(1)), b"");
    bench.put(&format!("incoming/{}", name(2)), &vec![0; SIZE as usize]);
    bench.put(&format!("incoming/{}", name(3)), &segment(4, 1));
    bench.put(&format!("incoming/{}", name(4)), &segment(4, 1)[..5000]);
    // Perhaps encrypted by the user: not ours to judge.
    bench.put(&format!("incoming/{}", name(5)), &[0xAB; 5000]);
    bench.put(&format!("incoming/{}", name(6)), &segment(6, 1));
    // Still being copied, as far as anybody can tell.
    bench.put_at(
        &format!("incoming/{}", name(7)),
        &segment(7, 1)[..5000],
        bench.now.as_second() - 5,
    );
    let outcome = bench.run();
    let report = outcome.report();
    assert_eq!((report.archived, report.rejected, report.unsettled), (2, 4, 1));
    assert_eq!(report.exit_code(), 1);
    assert_eq!(bench.listed(), [name(5), name(6)]);
    assert_eq!(bench.names("incoming"), [name(7)]);
    let rejected: Vec<_> = (1..5)
        .map(|number| format!("{}.20261121T050000Z.error", name(number)))
        .collect();
    assert_eq!(bench.names("errors"), rejected);
    let errors: Vec<_> = outcome
        .lines
        .iter()
        .filter(|line| line.starts_with("E "))
        .collect();
    assert_eq!(errors.len(), 4);
    assert!(
        errors[2].contains("content is that of WAL segment 000000010000000000000004"),
        "{}",
        errors[2]
    );
}

#[test]
fn a_file_that_cannot_be_compared_waits_and_the_others_go_on() {
    let bench = Bench::new("archiver = on");
    let torn = torn_gzip(&segment(1, 1));
    bench.put(&format!("wals/0000000100000000/{}", name(1)), &torn);
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    // A damaged copy of what is archived well.
    bench.put(&format!("wals/0000000100000000/{}", name(2)), &segment(2, 1));
    bench.put(&format!("incoming/{}", name(2)), &torn_gzip(&segment(2, 1)));
    bench.put(&format!("incoming/{}", name(3)), &segment(3, 1));
    let outcome = bench.run();
    let report = outcome.report();
    assert_eq!(
        (
            report.archived,
            report.failed,
            report.rejected,
            report.exit_code()
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(bench.names("incoming"), [name(1)]);
    assert_eq!(bench.stored(1), torn);
    assert_eq!(
        bench.names("errors"),
        [format!("{}.20261121T050000Z.error", name(2))]
    );
    let errors = |outcome: &Outcome| outcome.lines.iter().filter(|line| line.starts_with("E ")).count();
    assert_eq!(errors(&outcome), 2, "{:?}", outcome.lines);

    // Where it cannot be put aside it stays, and that is no success either.
    let bench = Bench::new("archiver = on");
    fs::write(bench.at("errors"), "no directory").unwrap();
    bench.put(&format!("incoming/{}", name(1)), b"");
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    let outcome = bench.run();
    let report = outcome.report();
    assert_eq!((report.archived, report.rejected, report.exit_code()), (1, 0, 1));
    assert_eq!(bench.names("incoming"), [name(1)]);
    assert_eq!(bench.listed(), [name(2)]);
    assert!(errors(&outcome) > 0, "{:?}", outcome.lines);
}

#[test]
fn a_good_segment_replaces_a_useless_one() {
    let bench = Bench::new("archiver = on");
    for (number, stored) in [(1, &segment(1, 1)[..70_000]), (2, b""), (3, b"unknown to us")] {
        bench.put(&format!("wals/0000000100000000/{}", name(number)), stored);
        bench.put(&format!("incoming/{}", name(number)), &segment(number, 1));
    }
    let outcome = bench.run();
    assert_eq!((outcome.report().archived, outcome.report().duplicates), (2, 1));
    assert_eq!((bench.stored(1), bench.stored(2)), (segment(1, 1), segment(2, 1)));
    let moved = [(1, "error"), (2, "error"), (3, "duplicate")];
    assert_eq!(
        bench.names("errors"),
        moved.map(|(number, suffix)| format!("{}.20261121T050000Z.{suffix}", name(number)))
    );
}
