//! A command that archives again and again while it waits.

use super::*;

/// Several runs of one command, with what each says.
fn runs(bench: &Bench, patience: &mut Patience, count: usize) -> Vec<Vec<String>> {
    let once = |_| {
        let (heard, clock) = (Heard::default(), At(bench.now));
        let ctx = Context {
            progress: &heard,
            cancel: &bench.cancel,
            clock: &clock,
        };
        run_again(&bench.server, patience, &ctx).unwrap();
        heard.0.into_inner().unwrap()
    };
    (0..count).map(once).collect()
}

#[test]
fn what_fails_is_told_once_and_left_alone_for_a_while() {
    let filter = "compression = custom\ncustom_compression_filter = echo >> DIR/tried; exit 1\ncustom_decompression_filter = cat";
    let tried = |bench: &Bench| {
        let text = fs::read_to_string(bench.directory.path().join("tried")).unwrap_or_default();
        text.lines().count()
    };
    for (rest, attempts) in [(Duration::from_secs(3600), 1), (Duration::ZERO, 3)] {
        let bench = Bench::new(&format!("archiver = on\n{filter}"));
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        let mut patience = Patience::resting(rest);
        let said = runs(&bench, &mut patience, 3);
        let [first, later @ ..] = said.as_slice() else {
            panic!("no run");
        };
        // Neither its name, as if it were archived, nor a heading over nothing.
        assert!(
            matches!(first.as_slice(), [line] if line.starts_with("W ") && line.contains("It stays in the queue")),
            "{first:?}"
        );
        assert!(later.iter().all(Vec::is_empty), "{later:?}");
        assert_eq!(tried(&bench), attempts, "{rest:?}");
        assert_eq!(bench.names("incoming"), [name(1)]);
    }
}

#[test]
fn what_comes_later_is_archived_beside_what_failed() {
    let bench = Bench::new("archiver = on");
    bench.put(
        &format!("wals/0000000100000000/{}", name(1)),
        &torn_gzip(&segment(1, 1)),
    );
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    let mut patience = Patience::default();
    assert_eq!(runs(&bench, &mut patience, 1)[0].len(), 1);
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    let heading = "Processing xlog segments from file archival for s".to_owned();
    assert_eq!(
        runs(&bench, &mut patience, 2),
        [
            vec![format!("{heading} (batch size: 1)"), format!("\t{}", name(2))],
            vec![]
        ]
    );
    // The command itself names neither.
    let outcome = bench.run();
    assert!(
        matches!(outcome.lines.as_slice(), [first, error] if *first == heading && error.starts_with("E ")),
        "{:?}",
        outcome.lines
    );
}

#[test]
fn a_script_that_stops_the_archiver_is_not_asked_ten_times_a_second() {
    let bench = Bench::new("archiver = on\npre_archive_retry_script = echo >> DIR/tried; exit 63");
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    runs(&bench, &mut Patience::default(), 3);
    let tried = fs::read_to_string(bench.directory.path().join("tried")).unwrap();
    assert_eq!(tried.lines().count(), 1);
}

#[test]
fn what_rests_uses_up_nothing_of_the_batch_and_is_tried_at_the_end() {
    let bench = Bench::new("archiver = on\narchiver_batch_size = 1");
    bench.put(
        &format!("wals/0000000100000000/{}", name(1)),
        &torn_gzip(&segment(1, 1)),
    );
    for number in [1, 2] {
        bench.put(&format!("incoming/{}", name(number)), &segment(number, 1));
    }
    let mut patience = Patience::resting(Duration::from_secs(3600));
    runs(&bench, &mut patience, 2);
    assert_eq!(bench.names("incoming"), [name(1)]);
    fs::remove_file(bench.at("wals/0000000100000000").join(name(1))).unwrap();
    runs(&bench, &mut patience, 1);
    assert_eq!(bench.names("incoming"), [name(1)]);
    patience.try_all();
    runs(&bench, &mut patience, 1);
    assert!(bench.names("incoming").is_empty());
}

#[test]
fn what_cannot_be_moved_to_the_errors_directory_is_told_once_and_not_listed() {
    let bench = Bench::new("archiver = on");
    // Root, too, makes no directory where a file is.
    bench.put("errors", b"");
    bench.put(&format!("wals/0000000100000000/{}", name(1)), &segment(1, 1));
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 2));
    bench.put(&format!("incoming/{}", name(2)), b"");
    bench.put("incoming/stranger", b"");
    let said = runs(&bench, &mut Patience::resting(Duration::ZERO), 3);
    let (first, later) = said.split_first().unwrap();
    assert!(
        first.len() == 3 && first.iter().all(|line| line.starts_with("W ")),
        "{first:?}"
    );
    assert!(later.iter().all(Vec::is_empty), "{later:?}");
    assert_eq!(bench.names("incoming").len(), 3);
}
