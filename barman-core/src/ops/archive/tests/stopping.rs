//! Locks, hooks and requests to stop.

use super::*;

#[test]
fn a_busy_lock_is_no_failure() {
    let bench = Bench::new("archiver = on");
    let held = Lock::try_acquire(&bench.server.layout().archive_wal_lock()).unwrap();
    let error = bench.run_as(Occasion::Implicit).result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Another archive-wal process is already running on server s. Skipping to the next server"
    );
    assert_eq!((error.class(), error.exit_code()), (Class::Info, 0));
    drop(held);
    assert!(bench.run().result.is_ok());
}

#[test]
fn a_request_to_stop_leaves_the_queue() {
    for count in [1, 20] {
        let bench = Bench::new("archiver = on\ncompression = gzip");
        for number in 0..count {
            bench.put(&format!("incoming/{}", name(number)), &segment(number, 1));
        }
        bench.cancel.request(CancelCause::Interrupt);
        let error = bench.run().result.unwrap_err();
        assert_eq!(error.class(), Class::Interrupted);
        assert_eq!(bench.names("incoming").len() as u64, count);
        bench.cancel.reset();
        assert_eq!(bench.run().report().archived, count);
    }
}

#[test]
fn an_archive_that_cannot_be_written_stops_the_run_and_loses_nothing() {
    let bench = Bench::new("archiver = on\ncompression = gzip");
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    fs::write(bench.at("wals/0000000100000000"), "a file in the way").unwrap();
    let error = bench.run().result.unwrap_err();
    assert!(matches!(error, ArchiveError::Store { .. }), "{error}");
    assert_eq!(bench.names("incoming"), [name(1), name(2)]);
    assert!(bench.listed().is_empty());
}

/// `barman` for the same server, which a script may call, waits for this lock.
#[test]
fn the_catalogue_is_not_locked_while_scripts_and_filters_run() {
    let note = |who: &str| {
        format!("flock -n DIR/home/.s-xlogdb.lock echo {who} free >> DIR/log || echo {who} held >> DIR/log")
    };
    let bench = Bench::new(&format!(
        "archiver = on\ncompression = custom\ncustom_compression_magic = 0x7879\n\
         custom_compression_filter = ({}); printf xy; cat\ncustom_decompression_filter = tail -c +3\n\
         pre_archive_script = {}\npost_archive_script = {}",
        note("filter"),
        note("pre"),
        note("post")
    ));
    // Made by the run before: a lock that nobody has ever taken would prove nothing.
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.run();
    assert!(bench.directory.path().join("home/.s-xlogdb.lock").exists());
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    bench.run();
    assert_eq!(bench.listed(), [name(1), name(2)]);
    let log = fs::read_to_string(bench.directory.path().join("log")).unwrap();
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        ["pre free", "filter free", "post free"].repeat(2)
    );
}

#[test]
fn hooks_see_each_file_and_can_stop() {
    let record = |what: &str| {
        format!(
            "{what} = echo {what} $BARMAN_SEGMENT ${{BARMAN_FILE##*/s/}} $BARMAN_SIZE $BARMAN_TIMESTAMP \
             [$BARMAN_COMPRESSION] [$BARMAN_ERROR] >> DIR/log"
        )
    };
    let hooks = [
        "pre_archive_script",
        "pre_archive_retry_script",
        "post_archive_retry_script",
        "post_archive_script",
    ]
    .map(record)
    .join("\n");
    let bench = Bench::new(&format!("archiver = on\ncompression = gzip\n{hooks}"));
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.run();
    let size = bench.stored(1).len();
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 2));
    bench.run();
    let one = name(1);
    let log = fs::read_to_string(bench.directory.path().join("log")).unwrap();
    let stored = format!("{one} wals/0000000100000000/{one}");
    let queued = format!("{one} incoming/{one} 1048576 1795233600.5 [] []");
    let info = format!(
        "[DuplicateWalFile:WalFileInfo(compression=None, encryption=None, name='{one}', size=1048576, time=1795233600.5)]"
    );
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        [
            format!("pre_archive_script {queued}"),
            format!("pre_archive_retry_script {queued}"),
            format!("post_archive_retry_script {stored} {size} 1795233600.5 [gzip] []"),
            format!("post_archive_script {stored} {size} 1795233600.5 [gzip] []"),
            format!("pre_archive_script {queued}"),
            format!("pre_archive_retry_script {queued}"),
            format!("post_archive_retry_script {stored} 1048576 1795233600.5 [] {info}"),
            format!("post_archive_script {stored} 1048576 1795233600.5 [] {info}"),
        ]
    );

    let bench = Bench::new(
        "archiver = on\npre_archive_retry_script = exit 63\npost_archive_script = touch DIR/after",
    );
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.put("incoming/unknown", b"");
    let outcome = bench.run();
    assert!(outcome.report().stopped_by_hook);
    assert_eq!(bench.names("incoming"), [name(1), "unknown".to_owned()]);
    assert!(bench.directory.path().join("after").exists());
}
