//! What lies at the destination afterwards, and what is told of it.

use super::*;

#[test]
fn a_plain_restore_is_complete() {
    let node = Node::new();
    let listener = Listener::default();
    let report = node
        .run_listening(&node.options(), &listener, &Cancel::new())
        .unwrap();
    let to = node.to();
    assert_eq!(
        names(&to),
        [
            ".barman-recover.info",
            "PG_VERSION",
            "backup_label",
            "backup_manifest.20261121T044724",
            "base",
            "global",
            "log",
            "pg_tblspc",
            "pg_wal",
            "postgresql.auto.conf",
            "postgresql.auto.conf.origin",
            "postgresql.conf",
            "postgresql.conf.origin",
        ]
    );
    assert_eq!(fs::read(to.join("global/pg_control")).unwrap(), b"control");
    assert_eq!(fs::read(to.join("pg_tblspc/16384/1")).unwrap(), b"ts");
    assert_eq!(
        fs::read_link(to.join("pg_tblspc/16384")).unwrap(),
        node.home.path().join("ts")
    );
    assert!(names(&to.join("log")).is_empty());
    assert_eq!(names(&to.join("pg_wal")).len(), 7);
    assert_eq!(
        names(&to.join("pg_wal/archive_status"))[0],
        "000000010000000000000003.done"
    );
    for path in [&to, &node.home.path().join("ts")] {
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o7777,
            0o700,
            "{}",
            path.display()
        );
    }
    let info = fs::read(node.layout().backup_info(ID.parse().unwrap())).unwrap();
    assert_eq!(fs::read(to.join(".barman-recover.info")).unwrap(), info);
    assert_eq!(report.missing_files, ["pg_hba.conf", "pg_ident.conf"]);
    assert_eq!((report.changes.len(), report.wal_files), (1, 6));
    let ts = node.home.path().join("ts").display().to_string();
    assert_eq!(
        listener.lines.into_inner().unwrap(),
        [
            "Info Starting local restore for server main using backup 20261121T044724".to_owned(),
            format!("Info Destination directory: {}", to.display()),
            "Info Copying the base backup.".to_owned(),
            format!("Info \t16384, t1, {ts}"),
            "Info Copying required WAL segments.".to_owned(),
            "Info Generating archive status files".to_owned(),
            "Info Identify dangerous settings in destination directory.".to_owned(),
        ]
    );
}

#[test]
fn an_interrupted_restore_cannot_be_started() {
    for line in [
        "Doing PITR",
        "Copying the base",
        "Copying required",
        "Generating",
        "Identify",
    ] {
        let node = Node::new();
        let cancel = Cancel::new();
        let listener = Listener {
            stop_at: Some((line, cancel.clone())),
            ..Listener::default()
        };
        let mut options = node.options();
        options.target = Target::Immediate;
        let error = node.run_listening(&options, &listener, &cancel).unwrap_err();
        assert_eq!(error.class(), Class::Interrupted, "{line}: {error}");
        assert!(!node.to().join("global/pg_control").exists(), "{line}");
        // Before the first directory there is nothing to clean up, and nothing is said of it.
        assert_eq!(
            matches!(error, RestoreError::Partial { .. }),
            node.to().exists(),
            "{line}"
        );
        assert_eq!(
            error.to_string().contains("is incomplete"),
            node.to().exists(),
            "{line}"
        );
    }
}

#[test]
fn a_waiting_backup_is_restored_with_warnings() {
    let node = Node::new();
    node.info(|info| info.status = BackupStatus::WaitingForWals);
    for number in 4..=8 {
        fs::remove_file(node.wal_path(number)).unwrap();
    }
    let listener = Listener::default();
    node.run_listening(&node.options(), &listener, &Cancel::new())
        .unwrap();
    let lines = listener.lines.into_inner().unwrap();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("Warning IMPORTANT"))
            .count(),
        2,
        "{lines:?}"
    );
}

#[test]
fn a_tablespace_may_be_inside_of_the_destination() {
    let node = Node::new();
    let mut options = node.options();
    options.tablespaces = vec![format!("t1:{}", node.to().join("spaces/t1").display())];
    node.run(&options).unwrap();
    assert_eq!(fs::read(node.to().join("pg_tblspc/16384/1")).unwrap(), b"ts");
}

#[test]
fn an_existing_empty_destination_becomes_private() {
    let node = Node::new();
    fs::create_dir(node.to()).unwrap();
    fs::set_permissions(node.to(), fs::Permissions::from_mode(0o755)).unwrap();
    node.run(&node.options()).unwrap();
    assert_eq!(
        fs::metadata(node.to()).unwrap().permissions().mode() & 0o7777,
        0o700
    );
}

#[test]
fn what_will_surprise_is_told() {
    let standby = "Warning The backup was taken from a standby";
    let future = "Warning The target time 2199-01-01 00:00:00+00:00 is in the future";
    for (signal, standby_mode, time, expected) in [
        (false, false, None, vec![]),
        (true, false, None, vec![standby]),
        (true, true, None, vec![]),
        (false, false, Some("2199-01-01 00:00:00+00:00"), vec![future]),
        (false, false, Some("2026-11-21 05:00:00+00:00"), vec![]),
    ] {
        let node = Node::new();
        if signal {
            let data = node.layout().data_directory(ID.parse().unwrap());
            fs::write(data.join("standby.signal"), "").unwrap();
        }
        let mut options = node.options();
        options.standby_mode = standby_mode;
        options.target = time.map_or(Target::None, |time| Target::Time(time.into()));
        let listener = Listener::default();
        node.run_listening(&options, &listener, &Cancel::new()).unwrap();
        let lines = listener.lines.lock().unwrap().clone();
        let warnings: Vec<&String> = lines.iter().filter(|line| line.starts_with("Warning")).collect();
        assert_eq!(warnings.len(), expected.len(), "{lines:#?}");
        for (got, wanted) in warnings.iter().zip(expected) {
            assert!(got.starts_with(wanted), "{got}");
        }
    }
}

/// The data directory of a server that was restored by Barman keeps traces of that, and they come with its backups.
#[test]
fn a_backup_of_a_restored_server_can_be_restored() {
    for (target, standby_mode, signal) in [
        (Target::None, false, None),
        (Target::Immediate, false, Some("recovery.signal")),
        (Target::None, true, Some("standby.signal")),
    ] {
        let node = Node::new();
        let data = node.layout().data_directory(ID.parse().unwrap());
        fs::create_dir(data.join("barman_wal")).unwrap();
        for file in [
            ".barman-recover.info",
            "barman_wal/000000010000000000000003",
            "barman_wal/0000000F.history",
            "recovery.signal",
            "standby.signal",
            "postgresql.auto.conf.origin",
            "backup_manifest.20260101T000000",
        ] {
            fs::write(data.join(file), "old").unwrap();
        }
        let mut options = node.options();
        options.standby_mode = standby_mode;
        options.target = target.clone();
        node.run(&options).unwrap();
        let new = |file: &str| fs::read_to_string(node.to().join(file)).unwrap();
        assert!(new(".barman-recover.info").contains("status=DONE"));
        assert_eq!(new("postgresql.auto.conf.origin"), "# auto\n");
        for name in ["recovery.signal", "standby.signal"] {
            let content = fs::read_to_string(node.to().join(name)).ok();
            let expected = (signal == Some(name)).then(String::new);
            assert_eq!(content, expected, "{target:?} {name}");
        }
        if target == Target::Immediate {
            assert_eq!(
                names(&node.to().join("barman_wal")),
                [
                    "000000010000000000000003",
                    "000000010000000000000004",
                    "archive_status"
                ]
            );
        }
    }
}

#[test]
fn hooks_run_around_the_restore_and_can_stop_it() {
    let node = Node::with("pre_recovery_retry_script = exit 63");
    assert!(matches!(node.refused(|_| {}), RestoreError::Hook(_)));

    let log = tempfile::NamedTempFile::new().unwrap();
    let script = format!(
        "echo $BARMAN_PHASE $BARMAN_DESTINATION_DIRECTORY >> {}",
        log.path().display()
    );
    let node = Node::with(&format!(
        "pre_recovery_script = {script}\npost_recovery_script = {script}"
    ));
    node.run(&node.options()).unwrap();
    let to = node.to().display().to_string();
    assert_eq!(
        fs::read_to_string(log.path()).unwrap(),
        format!("pre {to}\npost {to}\n")
    );
}

#[test]
fn before_postgresql_12_settings_go_to_recovery_conf() {
    let node = Node::new();
    node.info(|info| info.version = Some(110_022));
    let mut options = node.options();
    options.target = Target::Immediate;
    node.run(&options).unwrap();
    let to = node.to();
    let conf = fs::read_to_string(to.join("recovery.conf")).unwrap();
    let wal = to.join("barman_wal");
    assert_eq!(
        conf,
        format!(
            "restore_command = 'cp {0}/%f %p'\nrecovery_end_command = 'rm -fr {0}'\nrecovery_target = 'immediate'\n",
            wal.display()
        )
    );
    assert!(!to.join("recovery.signal").exists());
    assert_eq!(
        fs::read_to_string(to.join("postgresql.auto.conf")).unwrap(),
        "# auto\n"
    );
}
