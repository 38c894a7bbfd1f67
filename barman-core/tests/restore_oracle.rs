//! What a restore leaves, file by file, beside what Barman 3.20.1 leaves of the same backup.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use barman_core::Server;
use barman_core::config::Config;
use barman_core::context::{Cancel, Context, Silent, SystemClock};
use barman_core::ops::restore::{self, RestoreOptions, Target, TargetAction};
use testkit::{Cluster, Mode, Sandbox};

/// Every entry below `root` with its mode and content; `root` itself is called `@` in the contents.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    let place = root.display().to_string();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let shown = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display()).replace(&place, "@")
            } else if metadata.is_dir() {
                waiting.push(path.clone());
                format!("{:o}", metadata.mode())
            } else {
                let content = fs::read(&path).unwrap();
                // Files that restores write have their own times; those of the backup keep theirs.
                let time = if content.len() < 100_000 {
                    String::from("-")
                } else {
                    metadata.mtime().to_string()
                };
                let time = if path.to_string_lossy().contains("wal/") {
                    "-".to_owned()
                } else {
                    time
                };
                let content = match String::from_utf8(content) {
                    Ok(text) => text.replace(&place, "@"),
                    Err(bytes) => format!("{:?}", crc(bytes.as_bytes())),
                };
                format!("{:o} {time} {content}", metadata.mode())
            };
            entries.insert(path.strip_prefix(root).unwrap().display().to_string(), shown);
        }
    }
    entries
}

fn crc(bytes: &[u8]) -> (usize, u64) {
    let sum = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (bytes.len(), sum)
}

type Change = Box<dyn Fn(&mut RestoreOptions)>;

#[test]
fn our_restore_leaves_what_barmans_leaves() {
    let cluster = Cluster::builder(15).wal_segment_mb(1).start().unwrap();
    let sandbox = Sandbox::builder("main")
        .cluster(&cluster)
        .mode(Mode::Archiver)
        .option("compression", "gzip")
        .build()
        .unwrap();
    cluster.create_tablespace("t1").unwrap();
    cluster.sql("CREATE TABLE t (i int) TABLESPACE t1").unwrap();
    cluster
        .sql("INSERT INTO t SELECT generate_series(1, 1000)")
        .unwrap();
    cluster.alter_system("recovery_target_name", "old").unwrap();
    cluster.switch_wal().unwrap();
    let oracle = || sandbox.oracle().unwrap();
    oracle().ok(["backup", "--wait", "main"]).unwrap();
    cluster.sql("INSERT INTO t VALUES (0)").unwrap();
    let time = cluster.sql_value("SELECT clock_timestamp()").unwrap();
    let lsn = cluster.current_lsn().unwrap();
    let last = cluster.switch_wal().unwrap();
    testkit::wait_until("WAL is archived", std::time::Duration::from_secs(30), || {
        Ok(cluster.sql_value("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")? >= last)
    })
    .unwrap();
    oracle().ok(["archive-wal", "main"]).unwrap();

    let config = Config::load(&sandbox.config_path(), None).unwrap();
    let server = Server::new(config.server("main").unwrap().clone());
    let target = |target: Target| -> Change { Box::new(move |options| options.target = target.clone()) };
    let cases: Vec<(Vec<&str>, Change)> = vec![
        (vec![], Box::new(|_| {})),
        (
            vec![
                "--target-time",
                &time,
                "--target-action",
                "promote",
                "--exclusive",
            ],
            Box::new({
                let time = time.clone();
                move |options| {
                    options.target = Target::Time(time.clone());
                    options.target_action = Some(TargetAction::Promote);
                    options.exclusive = true;
                }
            }),
        ),
        (vec!["--target-immediate"], target(Target::Immediate)),
        (
            vec!["--target-lsn", &lsn],
            target(Target::Lsn(lsn.parse().unwrap())),
        ),
        (vec!["--target-xid", "777", "--target-tli", "current"], {
            Box::new(|options| {
                options.target = Target::Xid("777".to_owned());
                options.target_tli = Some(restore::TargetTimeline::Current);
            })
        }),
        (
            vec!["--get-wal"],
            Box::new(|options| options.get_wal = Some(true)),
        ),
        (
            vec!["--standby-mode", "--recovery-conf-filename", "extra.conf"],
            Box::new(|options| {
                options.standby_mode = true;
                options.recovery_conf_filename = Some("extra.conf".to_owned());
            }),
        ),
    ];
    for (index, (arguments, change)) in cases.into_iter().enumerate() {
        let places = ["theirs", "ours"].map(|who| sandbox.dir().join(format!("{who}-{index}")));
        let [theirs, ours] = &places;
        let rule = |to: &Path| format!("t1:{}.ts", to.display());
        let (their_rule, their_place) = (rule(theirs), theirs.display().to_string());
        let mut command = vec!["restore", "--tablespace", &their_rule];
        command.extend(&arguments);
        command.extend(["main", "latest", &their_place]);
        oracle().ok(command).unwrap();

        let mut options = RestoreOptions::new("latest", ours);
        options.tablespaces = vec![rule(ours)];
        options.barman_user.clone_from(&config.globals.barman_user);
        change(&mut options);
        let (cancel, clock) = (Cancel::new(), SystemClock);
        restore::run(
            &server,
            &options,
            &Context {
                progress: &Silent,
                cancel: &cancel,
                clock: &clock,
            },
        )
        .unwrap();

        for end in ["", ".ts"] {
            let [mut theirs, mut ours] = places.clone().map(|mut place| {
                place.as_mut_os_string().push(end);
                tree(&place)
            });
            for (name, content) in &theirs {
                assert_eq!(ours.get(name), Some(content), "{name} after {arguments:?}");
            }
            ours.retain(|name, _| theirs.remove(name).is_none());
            assert!(ours.is_empty(), "{ours:?} after {arguments:?}");
        }
    }
}
