//! `check` of servers of every method and state, as far as `check.rs` does not show it.

use std::fs;

use anyhow::{Context, Result};

use super::check::WELL;
use crate::conformance::compare::Look;
use crate::conformance::execute::Stage;
use crate::conformance::normalise::Rule::{Duration, Pid};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, Live, PLAIN};

/// No file has ever been archived, and one has failed.
fn never_archived(stage: &Stage) -> Result<()> {
    let cluster = stage.cluster()?;
    fs::remove_dir_all(stage.root.join("staging")).context("remove the way into the queue")?;
    cluster.sql("SELECT pg_stat_reset_shared('archiver')")?;
    cluster.sql("INSERT INTO t VALUES (0)")?;
    cluster.switch_wal()?;
    testkit::wait_until("archiving has failed", std::time::Duration::from_secs(60), || {
        Ok(cluster.sql_value("SELECT failed_count > 0 AND archived_count = 0 FROM pg_stat_archiver")? == "t")
    })
}

/// `main` is a standby, and its primary is known.
fn of_a_standby(stage: &Stage) -> Result<()> {
    stage.start_standby()?;
    let (primary, standby) = (stage.cluster()?.conninfo(), stage.standby_conninfo()?);
    stage.edit_configuration(|line| match line == format!("conninfo = {primary}") {
        true => format!("conninfo = {standby}\nprimary_conninfo = {primary}"),
        false => line.to_owned(),
    })
}

/// WAL comes over other connections than backups.
fn wal_connections(stage: &Stage) -> Result<()> {
    stage.edit_configuration(|line| match line.strip_prefix("conninfo = ") {
        Some(own) => format!(
            "{line}\nwal_conninfo = {own} application_name=wal\nwal_streaming_conninfo = {own} application_name=wal"
        ),
        None => line.to_owned(),
    })
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("check-compression-settings", "cli.md 10.4", WELL.main("compression = custom\ncustom_compression_filter = gzip -c")).stdout(0, "wal-25", "\tcompression settings: FAILED (compression `custom` needs custom_compression_filter and custom_decompression_filter)", "").stdout(0, "wal-25", "", "\tcompression settings: OK").stderr(0, "wal-25", "", "EXCEPTION: ").stderr(0, "wal-25", "", "See log file for more details.").stdout(0, "wal-25", "\t*: OK*", "").each()
            .run("check main")
            .rules(&[Pid]),
        scenario("check-staging-directory", "config.md 17", WELL.main("cloud_staging_directory = {root}/out/staging")).file("check-9", "out/staging", "", "directory, *")
            .run("check main")
            .rules(&[Pid]),
        scenario("check-without-client-programs", "cli.md 20.23, postgres.md 8.7", WELL.main("path_prefix = /nowhere")).exit_code(0, "all-1", 0, 1).stdout(0, "check-7", "\tpg_basebackup: OK", "\tpg_basebackup: FAILED").stdout(0, "check-7", "\tpg_basebackup compatible: OK", "\tpg_basebackup compatible: FAILED (PostgreSQL version: 15.18, pg_basebackup version: Unknown)").stdout(0, "check-7", "\tpg_basebackup supports tablespaces mapping: OK", "\tpg_basebackup supports tablespaces mapping: OK (pg_basebackup 9.4 or higher is required for tablespaces support)")
            .env("PATH", "/nowhere")
            .run("check main")
            .rules(&[Pid]),
        scenario("check-slot-unreachable", "cli.md 10.4", WELL.live(Live::None).main("archiver = off\nstreaming_archiver = on\nslot_name = barman")).stdout(0, "check-7", "\tpg_basebackup compatible: OK", "\tpg_basebackup compatible: FAILED (PostgreSQL version: None, pg_basebackup version: 15.18)").stdout(0, "check-7", "\tpg_receivexlog compatible: OK", "\tpg_receivexlog compatible: FAILED (PostgreSQL version: None, pg_receivexlog version: 15.18)").stderr(0, "check-11", "HINT: PostgreSQL: connection to server at \"127.0.0.1\", port 1 failed: Connection refused", "").stderr(0, "check-11", "HINT: replication slot: PostgreSQL was not reached, so nothing is known about slot 'barman'", "").stdout(1, "check-7", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL, replication slot, receive-wal running|main=23195571B main_wals=1048576B", "BARMAN CRITICAL - server main has issues * main FAILED: PostgreSQL, replication slot, pg_basebackup compatible*").stdout(1, "check-7", "", "main.pg_basebackup compatible: FAILED (PostgreSQL version: None, pg_basebackup version: 15.18)").stdout(1, "check-7", "", "main.pg_receivexlog compatible: FAILED (PostgreSQL version: None, pg_receivexlog version: 15.18)")
            .run("check main")
            .run("check --nagios main")
            .rules(&[Pid]),
        scenario("check-slot-of-nobody", "cli.md 10.4", WELL.live(Live::Own(15)).main("slot_name = barman"))
            .then(|stage| {
                let create = "SELECT pg_create_physical_replication_slot('barman', true)";
                stage.cluster()?.sql(create).map(drop)
            })
            .run("check main")
            .rules(&[Pid]),
        scenario("check-primary-unreachable", "postgres.md 8, 17.7", WELL.live(Live::Own(15))).stdout(0, "check-4", "\tPrimary server is not a standby: FAILED (connection to server at \"127.0.0.1\", port 1 failed: Connection refused)", "\tPrimary server is not a standby: OK").stdout(0, "check-4", "\tPrimary and standby have same system ID: FAILED (primary_conninfo and conninfo should point to servers of one cluster)", "\tPrimary and standby have same system ID: FAILED (primary_conninfo and conninfo should point to primary and st*")
            .then(of_a_standby)
            .then(|stage| {
                stage.edit_configuration(|line| match line.starts_with("primary_conninfo") {
                    true => "primary_conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres".to_owned(),
                    false => line.to_owned(),
                })
            })
            .run("check main")
            .files("home/main/incoming/*", Look::Nothing)
            .rules(&[Pid]),
        scenario("check-of-a-standby", "cli.md 10.4, postgres.md 8", WELL.live(Live::Own(15)))
            .then(of_a_standby)
            .run("check main")
            .run("-f json check main")
            .files("home/main/incoming/*", Look::Nothing)
            .rules(&[Pid]),
        scenario("check-wal-connections", "cli.md 10.4, postgres.md 1.6", WELL.live(Live::Own(17)))
            .then(wal_connections)
            .run("check main")
            .rules(&[Pid]),
        scenario("check-never-archived", "postgres.md 17.9", WELL.live(Live::Own(15))).exit_code(0, "check-6", 1, 0).stdout(0, "check-6", "\tcontinuous archiving: FAILED", "")
            .then(never_archived)
            .run("check main")
            .files("home/main/incoming/*", Look::Nothing)
            .rules(&[Pid]),
        scenario("check-asks-for-one-segment", "postgres.md 17.6", PLAIN.live(Live::Own(15)).catalogue(Catalogue::Made(|home| home.server("main").map(drop))).main("streaming_archiver = on\narchiver = off\nslot_name = barman")).file("check-13", "home/main/meta/.check-switched-wal", "file, *", "")
            .run("check --check-timeout 6 main")
            .run("check --check-timeout 6 main")
            .files("home/main/incoming/*", Look::Nothing)
            .rules(&[Pid]),
        scenario("check-ages-not-met-json", "cli.md 10.4", WELL.main("last_backup_maximum_age = 1 WEEK\nlast_wal_maximum_age = 2 MONTHS\nlast_backup_minimum_size = 1Ti\nminimum_redundancy = 4"))
            .run("-f json check main")
                        .rules(&[Pid, Duration]),
    ]
}
