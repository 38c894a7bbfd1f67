//! What is taken from the queues, in which order.

use super::*;

#[test]
fn plain_files_of_every_kind() {
    let bench = Bench::new("archiver = on");
    let source = bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    fs::set_permissions(&source, fs::Permissions::from_mode(0o640)).unwrap();
    let inode = fs::metadata(&source).unwrap().ino();
    bench.put(
        &format!("incoming/{}.00000028.backup", name(1)),
        b"START WAL LOCATION",
    );
    bench.put(&format!("incoming/{}.partial", name(2)), b"part");
    bench.put("incoming/00000002.history", b"1\t0/300000\tno\n");
    bench.put("incoming/.9-hidden", b"");
    bench.put("incoming/x.tmp", b"");
    let outcome = bench.run();
    assert_eq!(
        outcome.lines,
        [
            "Processing xlog segments from file archival for s (batch size: 4)",
            "\t000000010000000000000001",
            "\t000000010000000000000001.00000028.backup",
            "\t000000010000000000000002.partial",
            "\t00000002.history",
        ]
    );
    assert_eq!(
        bench.catalogue(),
        "000000010000000000000001\t1048576\t1795233600.5\tNone\tNone\n\
         000000010000000000000001.00000028.backup\t18\t1795233600.5\tNone\tNone\n\
         000000010000000000000002.partial\t4\t1795233600.5\tNone\tNone\n\
         00000002.history\t14\t1795233600.5\tNone\tNone\n"
    );
    assert_eq!(bench.names("incoming"), [".9-hidden", "x.tmp"]);
    let stored = bench.at("wals/0000000100000000/000000010000000000000001");
    assert_eq!(
        (fs::metadata(&stored).unwrap().ino(), mode(&stored)),
        (inode, 0o640),
        "not a copy"
    );
    assert_eq!(
        bench.names("wals"),
        ["0000000100000000", "00000002.history", "s-xlog.db"]
    );
    assert_eq!(outcome.report().archived, 4);
    assert_eq!(
        outcome.report().last_archived,
        Some("00000002.history".parse().unwrap())
    );

    let again = bench.run();
    assert_eq!(
        again.lines,
        [
            "Processing xlog segments from file archival for s",
            "\tno file found"
        ]
    );
    assert!(again.report().is_idle());
    assert!(bench.run_as(Occasion::Implicit).lines.is_empty());
}

#[test]
fn many_segments_are_compressed_in_parallel_and_listed_in_order() {
    let bench = Bench::new("archiver = on\ncompression = pigz\ncompression_level = low");
    for number in 0..40 {
        let path = bench.put(&format!("incoming/{}", name(number)), &segment(number, 3));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let arrived = gzip(&segment(40, 9));
    bench.put(&format!("incoming/{}", name(40)), &arrived);
    let outcome = bench.run();
    assert_eq!(outcome.report().archived, 41);
    assert_eq!(bench.listed(), (0..=40).map(name).collect::<Vec<_>>());
    for number in 0..40 {
        assert_eq!(gunzip(&bench.stored(number)), segment(number, 3));
    }
    assert_eq!(
        bench.stored(40),
        arrived,
        "what came compressed is not compressed again"
    );
    let line = |number: u64| bench.catalogue().lines().nth(number as usize).unwrap().to_owned();
    let size = bench.stored(5).len();
    assert_eq!(line(5), format!("{}\t{size}\t1795233600.5\tpigz\tNone", name(5)));
    assert!(line(40).ends_with("\tgzip\tNone"));
    let stored = fs::metadata(bench.at("wals/0000000100000000").join(name(5))).unwrap();
    assert_eq!(
        (stored.mtime(), stored.mtime_nsec()),
        (1_795_233_600, 500_000_000)
    );
    assert_eq!(stored.mode() & 0o777, 0o600);
    assert!(bench.names("incoming").is_empty());
    assert_eq!(
        bench.names("wals/0000000100000000").len(),
        41,
        "no temporary file is left"
    );
}

#[test]
fn streaming_first_with_its_rules_and_limits() {
    let bench = Bench::new("archiver = on\nstreaming_archiver = on\nstreaming_archiver_batch_size = 1");
    for number in [1, 2] {
        bench.put(&format!("streaming/{}", name(number)), &segment(number, 1));
    }
    bench.put(&format!("streaming/{}.partial", name(3)), &[0; 1000]);
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    let outcome = bench.run();
    assert_eq!(
        outcome.lines,
        [
            "Processing xlog segments from streaming for s (batch size: 1)",
            "\t000000010000000000000001",
            "Processing xlog segments from file archival for s",
            "\t000000010000000000000001",
        ]
    );
    let report = outcome.report();
    assert_eq!(
        (report.archived, report.already_archived, report.left_by_limit),
        (1, 1, 1)
    );
    assert_eq!(bench.run().report().archived, 1);
    assert_eq!(bench.names("streaming"), [format!("{}.partial", name(3))]);
    assert_eq!(bench.listed(), [name(1), name(2)]);
}

#[test]
fn a_file_that_may_still_be_written_is_not_taken_from_its_writer() {
    let bench = Bench::new("archiver = on");
    let half = segment(1, 1)[..5000].to_vec();
    let path = format!("incoming/{}", name(1));
    bench.put_at(&path, &half, bench.now.as_second() - 240);
    assert_eq!(bench.run().report().unsettled, 1);
    bench.put_at(&path, &half, bench.now.as_second() + 86_400);
    assert_eq!(bench.run().report().unsettled, 1, "a clock that differs");
    bench.put(&path, &half);
    assert_eq!(bench.run().report().rejected, 1);
}

#[test]
fn links_are_followed_and_lower_case_is_stored_in_upper_case() {
    let bench = Bench::new("archiver = on");
    let outside = bench.put("outside", &segment(10, 1));
    std::os::unix::fs::symlink(&outside, bench.at("incoming").join(name(10).to_lowercase())).unwrap();
    assert_eq!(bench.run().report().archived, 1);
    let stored = bench.at("wals/0000000100000000").join(name(10));
    assert!(fs::symlink_metadata(&stored).unwrap().is_file());
    assert_eq!(fs::read(&stored).unwrap(), segment(10, 1));
    assert!(bench.names("incoming").is_empty());
    assert!(outside.exists());
    assert_eq!(bench.listed(), [name(10)]);
}

#[test]
fn passive_and_inactive_servers_have_no_archivers() {
    for option in ["primary_ssh_command = ssh x", "active = off"] {
        let bench = Bench::new(&format!("archiver = on\n{option}"));
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        let outcome = bench.run();
        assert_eq!(*outcome.report(), ArchiveReport::default());
        assert!(outcome.lines.is_empty());
        assert_eq!(bench.names("incoming"), [name(1)]);
    }
}
