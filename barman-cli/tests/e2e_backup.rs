//! `barman backup` against real servers: what it writes is what the oracle writes, and no fault makes a backup look
//! whole that is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests; one gives a backup another id"
)]

mod e2e_support;

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Result, ensure};
use e2e_support::*;
use rustix::process::Signal;
use testkit::proxy::{Action, Fault, What, Which};
use testkit::{Background, Cluster, Finished, Mode, Proxy, Sandbox, wait_until};

/// Fields whose values depend on the moment of the backup.
const VARYING: [&str; 14] = [
    "backup_label",
    "begin_offset",
    "begin_time",
    "begin_wal",
    "begin_xlog",
    "cluster_size",
    "copy_stats",
    "deduplicated_size",
    "end_offset",
    "end_time",
    "end_wal",
    "end_xlog",
    "size",
    "backup_name",
];

/// The shape of a value: digits become `9`, runs of them one.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' | 'A'..='F' if shape.ends_with('9') => {}
            '0'..='9' | 'A'..='F' => shape.push('9'),
            other => shape.push(other),
        }
    }
    shape
}

fn compare_with_the_oracle(major: u16) -> Result<()> {
    // Between the two backups nobody but the test makes files.
    let cluster = Cluster::builder(major).conf("autovacuum", "off").start()?;
    let sandbox = sandbox(&cluster, Mode::Archiver).build()?;
    cluster.create_tablespace("my ts")?;
    cluster.sql("ALTER TABLESPACE \"my ts\" RENAME TO \"my ts'1\"")?;
    cluster.sql("CREATE TABLE t TABLESPACE \"my ts'1\" AS SELECT generate_series(1, 1000) i")?;
    cluster.alter_system("work_mem", "5MB")?;
    let arguments = ["backup", "--immediate-checkpoint", "--name", "one two", "main"];
    let oracle = sandbox.oracle()?.ok(arguments)?;
    let ours = sandbox.barman()?.ok(arguments)?;
    let (oracle_id, our_id) = (id_of(&oracle)?, id_of(&ours)?);
    ensure!(our_id > oracle_id);

    let theirs = info(&sandbox, &oracle_id)?;
    let mine = info(&sandbox, &our_id)?;
    assert_eq!(theirs.keys().collect::<Vec<_>>(), mine.keys().collect::<Vec<_>>());
    let fixed = |fields: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        fields
            .iter()
            .filter(|(name, _)| !VARYING.contains(&name.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    assert_eq!(fixed(&theirs), fixed(&mine));
    assert_eq!(mine["status"], "DONE");
    for name in [
        "backup_label",
        "begin_time",
        "end_time",
        "begin_xlog",
        "begin_wal",
        "copy_stats",
        "backup_name",
    ] {
        assert_eq!(
            shape(&theirs[name]),
            shape(&mine[name]),
            "{name}: {} and {}",
            theirs[name],
            mine[name]
        );
    }

    // The same files, under the same names and with the same modes, but for what the server itself made meanwhile.
    let base = sandbox.server_dir().join("base");
    let files = |id: &str| -> Result<Vec<String>> {
        Ok(tree(&base.join(id))?
            .into_iter()
            .map(|name| name.replace(id, "ID"))
            .filter(|name| !name.contains("/pg_internal.init") && !name.contains("pg_stat"))
            .collect())
    };
    assert_eq!(files(&oracle_id)?, files(&our_id)?);
    for name in [
        "",
        "data",
        "data/backup_label",
        "data/backup_manifest",
        "data/global/pg_control",
        "data/base",
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |id: &str| {
            std::fs::metadata(base.join(id).join(name))
                .map(|m| m.permissions().mode())
                .ok()
        };
        assert_eq!(mode(&oracle_id), mode(&our_id), "mode of {name:?}");
    }

    // The same lines on the console; the first backup of the server had one more.
    let lines = |done: &Finished| -> Vec<String> {
        done.stdout
            .lines()
            .filter(|line| {
                !line.starts_with('\t') && !line.contains("first backup") && !line.contains("preceding")
            })
            .map(shape)
            .map(|line| {
                line.replace("less than one second", "9 second")
                    .replace("seconds", "second")
            })
            .collect()
    };
    assert_eq!(lines(&oracle), lines(&ours));
    assert_eq!(ours.stderr, "");
    Ok(())
}

#[test]
fn what_it_writes_and_says_is_what_the_oracle_does_15() -> Result<()> {
    compare_with_the_oracle(15)
}

#[test]
fn what_it_writes_and_says_is_what_the_oracle_does_18() -> Result<()> {
    compare_with_the_oracle(18)
}

#[test]
fn json_has_every_field_and_the_messages() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    let keys = |done: &Finished| -> Result<Vec<String>> {
        let value: serde_json::Value = serde_json::from_str(&done.stdout)?;
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        Ok(keys)
    };
    let arguments = ["-f", "json", "backup", "--immediate-checkpoint", "main"];
    let oracle = sandbox.oracle()?.ok(arguments)?;
    let ours = sandbox.barman()?.ok(arguments)?;
    assert_eq!(keys(&oracle)?, keys(&ours)?);
    let value: serde_json::Value = serde_json::from_str(&ours.stdout)?;
    assert_eq!(
        value["status"], "WAITING_FOR_WALS",
        "the record shows the status before the final check"
    );
    assert_eq!(
        field(&sandbox, value["backup_id"].as_str().unwrap(), "status")?,
        "DONE"
    );
    Ok(())
}

#[test]
fn the_first_backup_removes_older_wal_and_later_ones_do_not() -> Result<()> {
    let (cluster, sandbox) = archiving(15)?;
    for _ in 0..2 {
        cluster.switch_wal()?;
    }
    let mut first = None;
    wait_until("two files have arrived", SOON, || {
        first = std::fs::read_dir(sandbox.server_dir().join("incoming"))?
            .filter_map(Result::ok)
            .map(|e| e.file_name())
            .min();
        Ok(std::fs::read_dir(sandbox.server_dir().join("incoming"))?.count() >= 2)
    })?;
    sandbox.barman()?.ok(["archive-wal", "main"])?;
    let done = sandbox
        .barman()?
        .ok(["backup", "--immediate-checkpoint", "main"])?;
    let first = first.unwrap().into_string().unwrap();
    ensure!(
        done.stdout
            .contains("\nThis is the first backup for server main\n"),
        "{done}"
    );
    ensure!(
        done.stdout
            .contains("\nWAL segments preceding the current backup have been found:\n"),
        "{done}"
    );
    ensure!(
        done.stdout
            .contains(&format!("\n\t{first} from server main has been removed\n")),
        "{done}"
    );
    let wals = sandbox.server_dir().join("wals");
    let id = id_of(&done)?;
    let begin = field(&sandbox, &id, "begin_wal")?;
    let archived = |wals: &std::path::Path| -> Result<Vec<String>> {
        Ok(tree(wals)?
            .into_iter()
            .filter_map(|n| n.split_once('/').map(|(_, n)| n.to_owned()))
            .filter(|n| n.len() == 24)
            .collect())
    };
    ensure!(
        archived(&wals)?.iter().all(|name| *name >= begin),
        "{:?}",
        archived(&wals)?
    );
    let kept = archived(&wals)?;
    backup(&sandbox, &[])?;
    ensure!(kept.iter().all(|name| archived(&wals).unwrap().contains(name)));
    Ok(())
}

#[test]
fn only_one_backup_of_a_server_runs() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    backup(&sandbox, &[])?;
    let before = ids(&sandbox);
    let file = std::fs::File::open(sandbox.home().join(".main-backup.lock"))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    let refused = sandbox.barman()?.run(["backup", "main"])?;
    assert_eq!(refused.code, Some(1));
    assert_eq!(
        refused.stderr.lines().next(),
        Some("ERROR: Another backup process is running"),
        "{refused}"
    );
    assert_eq!(ids(&sandbox), before);
    Ok(())
}

/// Faults that the check before the backup finds: exit code 1, nothing registered.
#[test]
fn a_backup_that_cannot_start_registers_nothing() -> Result<()> {
    let (cluster, mut sandbox) = archiving(15)?;
    cluster.switch_wal()?;
    let refused = |sandbox: &Sandbox, what: &str| -> Result<()> {
        let done = sandbox.barman()?.run(["backup", "main"])?;
        ensure!(done.code == Some(1), "{what}: {done}");
        ensure!(
            done.stderr.contains("ERROR: ") && done.stderr.contains("barman check main"),
            "{what}: {done}"
        );
        ensure!(!done.stderr.contains("secret"), "{what} shows a password: {done}");
        ensure!(ids(sandbox).is_empty(), "{what} registered a backup");
        Ok(())
    };
    let (good, good_streaming) = (cluster.conninfo(), cluster.streaming_conninfo());

    let wrong = format!(
        "host=127.0.0.1 port={} user=barman dbname=postgres password=secret",
        cluster.port()
    );
    sandbox.set_option("conninfo", &wrong)?;
    refused(&sandbox, "wrong password")?;
    sandbox.set_option("conninfo", &good)?;

    let wrong = format!(
        "host=127.0.0.1 port={} user=streaming_barman password=secret",
        cluster.port()
    );
    sandbox.set_option("streaming_conninfo", &wrong)?;
    refused(&sandbox, "wrong streaming password")?;
    sandbox.set_option("streaming_conninfo", &good_streaming)?;

    sandbox.set_option("streaming_archiver", "on")?;
    sandbox.set_option("slot_name", "missing")?;
    sandbox.set_option("create_slot", "manual")?;
    refused(&sandbox, "missing slot")?;
    sandbox.set_option("streaming_archiver", "")?;
    sandbox.set_option("slot_name", "")?;
    sandbox.set_option("create_slot", "")?;

    cluster.alter_system("max_wal_senders", "0")?;
    cluster.restart()?;
    refused(&sandbox, "no free WAL sender")?;

    cluster.alter_system("wal_level", "minimal")?;
    cluster.alter_system("archive_mode", "off")?;
    cluster.restart()?;
    refused(&sandbox, "wal_level = minimal")?;

    cluster.stop(testkit::Stop::Fast)?;
    refused(&sandbox, "server down")?;
    Ok(())
}

/// Starts a backup that takes minutes, and waits until its copy runs.
fn slow_backup(sandbox: &Sandbox) -> Result<(Background, String)> {
    let last = ids(sandbox).pop();
    let mut running =
        sandbox
            .barman()?
            .spawn(["backup", "--immediate-checkpoint", "--bwlimit", "64", "main"])?;
    let id = wait_status(sandbox, last.as_deref(), "STARTED")?;
    let data = sandbox.server_dir().join("base").join(&id).join("data");
    wait_until("the copy runs", SOON, || {
        Ok(data.join("backup_label").exists() || data.join("base").exists())
    })?;
    ensure!(running.is_running()?);
    Ok((running, id))
}

#[test]
fn a_signal_in_the_copy_fails_the_backup_with_a_reason() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    backup(&sandbox, &[])?;
    for (signal, reason) in [
        (Signal::INT, "interrupted by the user, KeyboardInterrupt"),
        (Signal::TERM, "ended by SIGTERM, 143"),
    ] {
        let (mut running, id) = slow_backup(&sandbox)?;
        running.signal(signal)?;
        let done = running.wait(SOON)?;
        ensure!(done.code == Some(1), "{signal:?}: {done}");
        ensure!(
            done.stderr.contains(&format!(
                "ERROR: Backup failed copying files.\nDETAILS: {reason}\n"
            )),
            "{done}"
        );
        assert_eq!(field(&sandbox, &id, "status")?, "FAILED");
        assert_eq!(
            field(&sandbox, &id, "error")?,
            format!("failure copying files ({reason})")
        );
        for unset in ["end_xlog", "end_wal", "size"] {
            assert_eq!(field(&sandbox, &id, unset)?, "None", "{unset}");
        }
        ensure!(
            !sandbox
                .server_dir()
                .join("base")
                .join(&id)
                .join("data/global/pg_control")
                .exists(),
            "looks whole"
        );
    }
    backup(&sandbox, &[])?;
    Ok(())
}

/// A server whose archiver says yes and keeps nothing: its WAL never arrives.
fn losing_wal() -> Result<(Cluster, Sandbox)> {
    let (cluster, sandbox) = archiving(15)?;
    backup(&sandbox, &[])?;
    cluster.alter_system("archive_command", "/bin/true")?;
    Ok((cluster, sandbox))
}

#[test]
fn a_backup_is_not_done_before_its_wal_is_there() -> Result<()> {
    let (_cluster, sandbox) = losing_wal()?;
    let done = sandbox.barman()?.run([
        "backup",
        "--immediate-checkpoint",
        "--wait",
        "--wait-timeout",
        "1",
        "main",
    ])?;
    assert_eq!(done.code, Some(1), "{done}");
    let id = id_of(&done)?;
    let end = field(&sandbox, &id, "end_wal")?;
    ensure!(
        done.stdout.contains(&format!(
            "Waiting for the WAL file {end} from server 'main' (max: 1 seconds)\n"
        )),
        "{done}"
    );
    ensure!(
        done.stderr.contains(&format!(
            "ERROR: The WAL file {end} has not been received in 1 seconds\n"
        )),
        "{done}"
    );
    ensure!(done.stderr.contains("WAITING_FOR_WALS"), "{done}");
    assert_eq!(field(&sandbox, &id, "status")?, "WAITING_FOR_WALS");
    Ok(())
}

#[test]
fn an_archiver_that_needs_a_moment_is_given_it_with_the_copy_on_record() -> Result<()> {
    let (cluster, sandbox) = archiving(15)?;
    let first = backup(&sandbox, &["--wait"])?;
    let command = cluster.sql_value("SHOW archive_command")?;
    // The moment ends when the test has seen what it is for.
    let (directory, open) = (sandbox.dir().display(), sandbox.dir().join("open"));
    let gate = format!(
        "while test -d {directory} && ! test -e {}; do sleep 0.1; done",
        open.display()
    );
    cluster.alter_system("archive_command", &format!("{gate}; {command}"))?;
    let running = sandbox
        .barman()?
        .spawn(["backup", "--immediate-checkpoint", "main"])?;
    let id = wait_status(&sandbox, Some(&first), "WAITING_FOR_WALS")?;
    std::fs::write(&open, "")?;
    let done = running.wait(SOON)?;
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done}");
    assert_eq!(field(&sandbox, &id, "status")?, "DONE");
    // One that says that it has done its work is believed, though nothing has come.
    cluster.alter_system("archive_command", "/bin/true")?;
    let done = sandbox
        .barman()?
        .ok(["backup", "--immediate-checkpoint", "main"])?;
    ensure!(done.stderr.contains("WAITING_FOR_WALS"), "{done}");
    ensure!(!done.stderr.contains("has not archived"), "{done}");
    assert_eq!(field(&sandbox, &id_of(&done)?, "status")?, "WAITING_FOR_WALS");
    Ok(())
}

#[test]
fn ctrl_c_while_waiting_goes_on_and_the_copy_counts_from_its_end() -> Result<()> {
    let (_cluster, sandbox) = losing_wal()?;
    let last = ids(&sandbox).pop();
    let mut running = sandbox
        .barman()?
        .spawn(["backup", "--immediate-checkpoint", "--wait", "main"])?;
    wait_until("it waits", SOON, || {
        Ok(running.stdout_so_far()?.contains("Waiting for the WAL file"))
    })?;
    let id = wait_status(&sandbox, last.as_deref(), "WAITING_FOR_WALS")?;
    assert_ne!(field(&sandbox, &id, "size")?, "None");
    running.signal(Signal::INT)?;
    let done = running.wait(SOON)?;
    assert_eq!(done.code, Some(0), "{done}");
    let end = field(&sandbox, &id, "end_wal")?;
    ensure!(done.stdout.contains(&format!("'{end}'")), "{done}");
    assert_eq!(field(&sandbox, &id, "status")?, "WAITING_FOR_WALS");
    Ok(())
}

#[test]
fn killed_while_waiting_the_backup_is_still_good() -> Result<()> {
    let (_cluster, sandbox) = losing_wal()?;
    let last = ids(&sandbox).pop();
    let mut running = sandbox
        .barman()?
        .spawn(["backup", "--immediate-checkpoint", "--wait", "main"])?;
    wait_until("it waits", SOON, || {
        Ok(running.stdout_so_far()?.contains("Waiting for the WAL file"))
    })?;
    let id = wait_status(&sandbox, last.as_deref(), "WAITING_FOR_WALS")?;
    running.signal(Signal::KILL)?;
    running.wait(SOON)?;
    sandbox.barman()?.ok(["cron"])?;
    assert_eq!(field(&sandbox, &id, "status")?, "WAITING_FOR_WALS");
    Ok(())
}

#[test]
fn a_killed_backup_is_marked_failed_by_the_next_one() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    let (mut running, dead) = slow_backup(&sandbox)?;
    running.signal(Signal::KILL)?;
    running.wait(SOON)?;
    assert_eq!(field(&sandbox, &dead, "status")?, "STARTED");
    let next = backup(&sandbox, &[])?;
    ensure!(next > dead);
    assert_eq!(field(&sandbox, &dead, "status")?, "FAILED");
    assert_ne!(field(&sandbox, &dead, "error")?, "None");
    assert_eq!(field(&sandbox, &next, "status")?, "DONE");
    Ok(())
}

#[test]
fn cron_marks_a_killed_backup_failed_but_leaves_a_running_one_alone() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    backup(&sandbox, &[])?;
    let (mut running, id) = slow_backup(&sandbox)?;
    sandbox.barman()?.ok(["cron"])?;
    assert_eq!(field(&sandbox, &id, "status")?, "STARTED");
    running.signal(Signal::KILL)?;
    running.wait(SOON)?;
    sandbox.barman()?.ok(["cron"])?;
    wait_until("the dead backup is FAILED", SOON, || {
        Ok(field(&sandbox, &id, "status")? == "FAILED")
    })?;
    Ok(())
}

#[test]
fn ids_increase_when_the_clock_goes_back() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    let first = backup(&sandbox, &[])?;
    let future = "20991231T235959";
    std::fs::rename(
        meta(&sandbox).join(format!("{first}-backup.info")),
        meta(&sandbox).join(format!("{future}-backup.info")),
    )?;
    std::fs::rename(
        sandbox.server_dir().join("base").join(&first),
        sandbox.server_dir().join("base").join(future),
    )?;
    let done = sandbox
        .barman()?
        .ok(["backup", "--immediate-checkpoint", "main"])?;
    assert_eq!(id_of(&done)?, "21000101T000000");
    ensure!(
        !done.stdout.contains("first backup"),
        "an older id must not make it the first backup: {done}"
    );
    Ok(())
}

#[test]
fn a_full_disk_fails_the_backup_with_a_reason() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    backup(&sandbox, &[])?;
    let last = ids(&sandbox).pop();
    // A file system of 8 MiB over `base/`, in a mount namespace of its own.
    let program = sandbox.barman()?;
    let base = sandbox.server_dir().join("base");
    let script = format!(
        "mount -t tmpfs -o size=8m tmpfs '{}' && exec '{}' -c '{}' backup --immediate-checkpoint main",
        base.display(),
        program.path().display(),
        sandbox.config_path().display()
    );
    let mut command = Command::new("unshare");
    if rustix::process::geteuid().is_root() {
        command.arg("-m");
    } else {
        command.arg("-rm");
    }
    command.args(["sh", "-c", &script]);
    let done = Background::spawn(command, None)?.wait(SOON)?;
    assert_eq!(done.code, Some(1), "{done}");
    let id = wait_status(&sandbox, last.as_deref(), "FAILED")?;
    let error = field(&sandbox, &id, "error")?;
    ensure!(
        error.starts_with("failure copying files (data transfer failure on directory '"),
        "{error}"
    );
    ensure!(error.to_lowercase().contains("no space left"), "{error}");
    Ok(())
}

#[test]
fn a_connection_lost_at_the_end_fails_the_backup() -> Result<()> {
    let (cluster, mut sandbox) = archiving(15)?;
    let proxy = Proxy::to_socket(&cluster)?;
    let through = proxy.conninfo(&cluster.streaming_conninfo());
    sandbox.set_option("streaming_conninfo", &through)?;
    backup(&sandbox, &[])?;
    let last = ids(&sandbox).pop();
    // The copy does not end before the role's login is taken away.
    let stall = Fault::to_client(What::CopyData(b'd'), 100, Action::Stall);
    proxy.set([stall.on(Which::Replication)]);
    let running = sandbox
        .barman()?
        .spawn(["backup", "--immediate-checkpoint", "main"])?;
    proxy.wait_fired(1, SOON)?;
    let id = wait_status(&sandbox, last.as_deref(), "STARTED")?;
    cluster.sql("ALTER ROLE barman NOLOGIN")?;
    proxy.clear();
    let done = running.wait(SOON)?;
    assert_eq!(done.code, Some(1), "{done}");
    assert_eq!(field(&sandbox, &id, "status")?, "FAILED");
    let error = field(&sandbox, &id, "error")?;
    ensure!(error.contains("not permitted to log in"), "{error}");
    cluster.sql("ALTER ROLE barman LOGIN")?;
    Ok(())
}

#[test]
fn a_failed_copy_is_tried_again() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    backup(&sandbox, &[])?;
    // 10 kB/s is less than PostgreSQL takes.
    let arguments = [
        "backup",
        "--immediate-checkpoint",
        "--bwlimit",
        "10",
        "--retry-times",
        "1",
        "--retry-sleep",
        "0",
        "main",
    ];
    let done = sandbox.barman()?.run(arguments)?;
    assert_eq!(done.code, Some(1), "{done}");
    assert_eq!(
        done.stderr
            .lines()
            .filter(|line| line.starts_with("WARNING: "))
            .count(),
        2,
        "{done}"
    );
    let id = id_of(&done)?;
    let data = sandbox.server_dir().join("base").join(&id).join("data");
    let first = format!("data transfer failure on directory '{}'", data.display());
    ensure!(
        done.stderr.contains(&format!(
            "ERROR: Backup failed copying files.\nDETAILS: {first}\n"
        )),
        "{done}"
    );
    ensure!(field(&sandbox, &id, "error")?.starts_with(&format!("failure copying files ({first}")));
    Ok(())
}

#[test]
fn hooks_run_around_the_backup_and_can_stop_it() -> Result<()> {
    let (_cluster, mut sandbox) = archiving(15)?;
    let log = sandbox.dir().join("hooks");
    let script = format!(
        "echo $BARMAN_PHASE $BARMAN_HOOK $BARMAN_STATUS $(sed -n s/^status=//p $BARMAN_BACKUP_INFO_PATH) $BARMAN_ERROR >> {}",
        log.display()
    );
    for option in [
        "pre_backup_script",
        "pre_backup_retry_script",
        "post_backup_retry_script",
        "post_backup_script",
    ] {
        sandbox.set_option(option, &script)?;
    }
    backup(&sandbox, &[])?;
    assert_eq!(
        std::fs::read_to_string(&log)?,
        "pre backup_script EMPTY EMPTY\npre backup_retry_script EMPTY EMPTY\n\
         post backup_retry_script WAITING_FOR_WALS WAITING_FOR_WALS\npost backup_script WAITING_FOR_WALS WAITING_FOR_WALS\n"
    );
    std::fs::remove_file(&log)?;
    sandbox.set_option("pre_backup_retry_script", "exit 63")?;
    let done = sandbox
        .barman()?
        .run(["backup", "--immediate-checkpoint", "main"])?;
    assert_eq!(done.code, Some(1), "{done}");
    let id = ids(&sandbox).pop().unwrap();
    let reason = "failure starting backup (Abort 'pre_backup_retry_script' retry hook script (exit 63, exit code: 63))";
    assert_eq!(field(&sandbox, &id, "error")?, reason);
    ensure!(!sandbox.server_dir().join("base").join(&id).exists());
    ensure!(
        std::fs::read_to_string(&log)?.ends_with(&format!("post backup_script FAILED FAILED {reason}\n"))
    );
    Ok(())
}

/// Barman's `cron` takes no other lock than this one before it deletes a backup.
#[test]
fn a_running_backup_holds_its_own_lock_until_its_state_is_settled() -> Result<()> {
    let (_cluster, mut sandbox) = archiving(17)?;
    let log = sandbox.dir().join("hooks");
    let script = format!(
        "flock -n {}/.main-$BARMAN_BACKUP_ID.lock echo $BARMAN_PHASE free >> {log} || echo $BARMAN_PHASE held >> {log}",
        sandbox.home().display(),
        log = log.display()
    );
    for option in ["pre_backup_script", "post_backup_script"] {
        sandbox.set_option(option, &script)?;
    }
    backup(&sandbox, &["--wait"])?;
    assert_eq!(std::fs::read_to_string(&log)?, "pre held\npost free\n");
    Ok(())
}

#[test]
fn the_version_on_record_is_that_of_the_cluster_as_it_is_now() -> Result<()> {
    let (_cluster, sandbox) = archiving(16)?;
    let identity = sandbox.server_dir().join("identity.json");
    backup(&sandbox, &[])?;
    let recorded = std::fs::read_to_string(&identity)?;
    assert!(recorded.contains("\"version\": \"16\""), "{recorded}");
    std::fs::write(&identity, recorded.replace("\"16\"", "\"15\""))?;
    backup(&sandbox, &[])?;
    assert_eq!(std::fs::read_to_string(&identity)?, recorded);
    Ok(())
}

/// `barman backup main | head -0`: nobody reads, and the backup is whole all the same.
#[test]
fn a_reader_that_goes_away_does_not_fail_a_backup() -> Result<()> {
    let (_cluster, sandbox) = archiving(15)?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_barman"))
        .arg("-c")
        .arg(sandbox.config_path())
        .args(["backup", "--immediate-checkpoint", "main"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    assert_eq!(child.wait()?.code(), Some(0));
    wait_status(&sandbox, None, "DONE")?;
    Ok(())
}
