//! `show-servers`.

use anyhow::Result;

use super::programs::Program::{BaseBackup, ReceiveWal};
use super::programs::Server::{Answers, Unreachable};
use super::programs::{lines, members};
use super::{ALL, UNKNOWN_SERVER};
use crate::conformance::catalogue::Home;
use crate::conformance::normalise::Rule::{Duration, Position, Rate, Size};
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{Catalogue, Live, PLAIN, State};

/// The server of the oracle's manuals: rsync and WAL by `archive_command`.
const RSYNC: State = PLAIN.main(
    "backup_method = rsync\nssh_command = ssh -q postgres@127.0.0.1\nstreaming_conninfo =\nreuse_backup = link\nbackup_options = concurrent_backup\nparallel_jobs = 4\ntablespace_bandwidth_limit = one:100 two:200",
);

const STREAMING: State =
    PLAIN.main("archiver = off\nstreaming_archiver = on\nslot_name = Barman\ncreate_slot = auto");

/// Every option that a server can have and that changes nothing else.
const EVERYTHING: &str = "\
[every]
active = yes
archiver = on
archiver_batch_size = 1_0
autogenerate_manifest = t
aws_await_snapshots_timeout = 60
aws_check_object_lock = on
aws_encryption = aws:kms
aws_profile = p
aws_read_timeout = 5
aws_region = eu-west-3
aws_snapshot_lock_cool_off_period = 3
aws_snapshot_lock_duration = 4
aws_snapshot_lock_expiration_date = 2030-01-01T00:00:00.000000Z
aws_snapshot_lock_mode = compliance
aws_sse_kms_key_id = k
azure_credential = default
azure_resource_group = rg
azure_subscription_id = sub
backup_directory = {root}/home/elsewhere
backup_method = local-rsync
backup_options = concurrent_backup
bandwidth_limit = 4000
basebackup_retry_sleep = 1
basebackup_retry_times = 2
basebackups_directory = {root}/home/elsewhere/b
check_timeout = 10
cloud_delete_batch_size = 7
cloud_staging_directory = {root}/out/staging
cloud_staging_max_size = 2Gi
cloud_upload_max_archive_size = 5G
cloud_upload_min_chunk_size = 1 Mi
cloud_wal_archive_parallel = 2
cloud_wal_restore_parallel = 3
cluster = everywhere
combine_mode = Clone
compression = PyGzip
compression_level = -3
conninfo = \"host=127.0.0.1 port=1\"
create_slot = AUTO
custom_compression_filter = gzip -c
custom_compression_magic = 0x1f8b08
custom_decompression_filter = gzip -c -d
description = 'One \"of\" everything'
disabled = true
encryption = gpg
encryption_key_id = 0xABCD
encryption_passphrase_command = cat /nowhere
errors_directory = {root}/home/elsewhere/e
forward_config_path = on
gcp_project = g
gcp_zone = z
immediate_checkpoint = 1
incoming_wals_directory = {root}/home/elsewhere/i
keepalive_interval = 30
last_backup_minimum_size = 1Mi
last_wal_maximum_age = 1 week
local_staging_path = {root}/out/l
max_incoming_wals_queue = 100
minimum_redundancy = 2
network_compression = on
parallel_jobs = 3
parallel_jobs_start_batch_period = 2
parallel_jobs_start_batch_size = 5
path_prefix = /opt/one:/opt/two
post_archive_retry_script = true
post_archive_script = true
post_backup_retry_script = true
post_backup_script = true
post_delete_retry_script = true
post_delete_script = true
post_recovery_retry_script = true
post_recovery_script = true
post_wal_delete_retry_script = true
post_wal_delete_script = true
pre_archive_retry_script = true
pre_archive_script = true
pre_backup_retry_script = true
pre_backup_script = true
pre_delete_retry_script = true
pre_delete_script = true
pre_recovery_retry_script = true
pre_recovery_script = true
pre_wal_delete_retry_script = true
pre_wal_delete_script = true
primary_checkpoint_timeout = 9
recovery_options = get-wal
recovery_staging_path = {root}/out/r
retention_policy = recovery  WINDOW of 1 month
retention_policy_mode = auto
reuse_backup = copy
slot_name = a_1
snapshot_disks = d1,d2
snapshot_gcp_project = old
snapshot_instance = inst
snapshot_provider = gcp
snapshot_zone = oldzone
staging_location = local
staging_path = {root}/out/s
streaming_archiver = off
streaming_archiver_batch_size = 12
streaming_archiver_name = wal_name
streaming_backup_name = base_name
streaming_conninfo = host=127.0.0.1 port=1 user=s
streaming_wals_directory = {root}/home/elsewhere/s
tablespace_bandwidth_limit = t:5
wal_conninfo = host=127.0.0.1 port=1 user=w
wal_retention_policy = main
wal_streaming_conninfo = host=127.0.0.1 port=1 user=ws
wals_directory = {root}/home/elsewhere/w
warehousepg_dbid = 4
worm_mode = on
xlogdb_directory = {root}/home/elsewhere/x
";

/// Servers and models as somebody with Patroni has them.
const PATRONI: &str = "\
[node]
cluster = patroni
active = off
description = of a cluster
conninfo = host=127.0.0.1 port=1 user=barman dbname=postgres
backup_method = postgres
archiver = on

[node1]
model = true
cluster = patroni
conninfo = host=127.0.0.1 port=2 user=barman dbname=postgres

[node2]
model = true
cluster = patroni
active = on
archiver = off
streaming_archiver = on
slot_name = other
";

fn one(home: &Home) -> Result<()> {
    let main = home.server("main")?;
    main.backup(1, 2, &[])?;
    main.wal(2)
}

pub fn scenarios() -> Vec<Scenario> {
    let majors = [
        (10, "show-servers-10"),
        (13, "show-servers-13"),
        (15, "show-servers-15"),
        (18, "show-servers-18"),
    ]
    .map(|(major, name)| {
        let live = scenario(
            name,
            "config.md 14, postgres.md 4",
            PLAIN.live(Live::Shared(major)),
        )
        .run("show-servers main")
        .run("-f json show-servers main")
        .rules(&[Size, Position, Rate]);
        members(
            lines(live, 0, BaseBackup, Answers),
            1,
            "config-10",
            BaseBackup,
            Answers,
        )
    });
    let streaming = scenario(
        "show-servers-streaming-only",
        "config.md 14",
        STREAMING.live(Live::Shared(15)),
    )
    .run("show-servers main")
    .rules(&[Size, Position]);
    let unreachable = scenario("show-servers-unreachable", "config.md 14", STREAMING)
        .run("show-server main")
        .short();
    let mut all = vec![
        lines(lines(streaming, 0, BaseBackup, Answers), 0, ReceiveWal, Answers),
        lines(lines(unreachable, 0, BaseBackup, Unreachable), 0, ReceiveWal, Unreachable),
        scenario("show-servers-rsync", "config.md 14", RSYNC)
            .run("show-servers main")
            .run("-f json show-servers main")
            .short(),
        scenario(
            "show-servers-standby",
            "config.md 14, 7.1",
            RSYNC.main("backup_method = rsync\nssh_command = ssh x\nprimary_conninfo = host=127.0.0.1 port=1\nprimary_checkpoint_timeout = 5"),
        )
        .run("show-servers main"),
        scenario("show-servers-states", "config.md 14, cli.md 10.2", ALL)
            .run("show-servers inact pas")
            .run("-f json show-servers inact")
            .run("-f json show-servers pas")
            .short(),
        lines(
            scenario("show-servers-disabled", "config.md 14, 8.1", ALL).run("show-servers dis"),
            0,
            BaseBackup,
            Unreachable,
        ),
        scenario("show-servers-everything", "config.md 7, 14", PLAIN.servers(EVERYTHING))
            .run("show-servers every")
            .run("-f json show-servers every"),
        scenario("show-servers-age", "config.md 14", PLAIN.catalogue(Catalogue::Made(one)).servers(
            "[main]\nlast_backup_maximum_age = 1 day\n[none]\nactive = off\nlast_backup_maximum_age = 36 hours\n[fresh]\nactive = off\nlast_backup_maximum_age = 99999 days\nbackup_directory = {root}/home/main2\n",
        ))
            .run("show-servers none fresh")
            .rules(&[Duration]),
        scenario("show-servers-unknown", "config.md 14, cli.md 6.1", ALL)
            .run("show-servers nosuch")
            .run("show-servers nosuch inact")
            .run("-f json show-servers nosuch")
            .hints(0..2, UNKNOWN_SERVER),
        scenario("show-servers-all-and-names", "cli.md 6.1", PLAIN.servers(PATRONI))
            .run("-q show-servers all main"),
        scenario("show-servers-model", "config.md 11", PLAIN.servers(PATRONI))
            .then(|stage| Ok(std::fs::create_dir_all(stage.root.join("home/node"))?))
            .run("show-servers node")
            .run("config-switch node node1")
            .run("show-servers node")
            .run("-f json show-servers node")
            .stdout(1, "config-12", "Skipping inactive server 'node'", ""),
    ];
    all.extend(majors);
    all
}
