//! Configuration files: where they are, their dialect, what is wrong with them. `list-servers` reads them all and connects to nothing.

use std::fs;

use anyhow::Result;

use super::ANY_HINT;
use crate::conformance::execute::Stage;
use crate::conformance::scenario::{Scenario, scenario};
use crate::conformance::state::{PLAIN, State};

/// The dialect, in descriptions.
const DIALECT: State = PLAIN.global("immediate_checkpoint = on").servers(
    "\
# a comment
; another one
[DEFAULT]
active = off

[Upper]
DESCRIPTION = Key in upper case
[colon]
description: with a colon
[inline]
description = 1 ; no comment
[quotes]
description = \"in 'quotes'\"
[single]
description = '\"twice\"'
[open]
description = \"open
[several]
description = one
  two
  # left out

  three
[ blanks ]
description =   stripped\t
[note] ; see here
[last] x ]
[twice]
description = first
description = second
[none]
description = None
[empty]
description =
[reference]
description = it is %(name_of_it)s
name_of_it = known here
[plain]
   indented = x
   description = indented
[twice]
cluster = merged
",
);

/// Values that are not valid, one of each kind.
const VALUES: State = PLAIN.servers(
    "\
[bad]
active = off
archiver = maybe
archiver_batch_size = 1.5
backup_method = tape
backup_options = concurrent_backup, exclusive_backup
compression = none
compression_level = highest
last_backup_maximum_age = 1day
last_backup_minimum_size = 1.5G
reuse_backup =
slot_name = bar-man
staging_path = relative
staging_location = Remote
wals_directory = ftp://host/path
snapshot_disks = a,,b
aws_encryption = aes256
recovery_options = get_wal
check_timeout =
",
);

fn write(stage: &Stage, name: &str, text: &str) -> Result<()> {
    let text = text.replace("{root}", &stage.root.display().to_string());
    Ok(fs::write(stage.root.join(name), text)?)
}

pub fn scenarios() -> Vec<Scenario> {
    let mut all = dialect();
    all.extend(mistakes());
    all.extend(files());
    all.extend(better());
    all
}

/// Where Barman refuses or misreads what it should take.
fn better() -> Vec<Scenario> {
    vec![
        scenario("configuration-stray-percent", "config.md 17", PLAIN.servers("[x]\nactive = off\ndescription = 100%\n")).prose().exit_code(0, "config-2", 0, 1).stdout(0, "config-2", "main - Main database", "").stdout(0, "config-2", "x -  (inactive)", "").stderr(0, "config-2", "", "EXCEPTION: <words>").stderr(1, "config-2", "ERROR: <words>", "EXCEPTION: <words>")
            .run("list-servers")
            .run("delete x latest"),
        scenario("configuration-percent", "config.md 17", PLAIN.servers("[x]\nactive = off\ndescription = 100%%\n[y]\nactive = off\ndescription = 100%%%%\n")).prose().exit_code(0, "config-3", 0, 1).stdout(0, "config-3", "main - Main database", "").stdout(0, "config-3", "x - 100% (inactive)", "").stdout(0, "config-3", "y - 100% (inactive)", "").stderr(0, "config-3", "", "EXCEPTION: <words>")
            .run("list-servers"),
        scenario("configuration-references", "config.md 17", PLAIN.servers("[x]\nactive = off\ndescription = %(barman_home)s\n")).prose().exit_code(0, "config-3", 0, 1).stdout(0, "config-3", "main - Main database", "").stdout(0, "config-3", "x - */run/home (inactive)", "").stderr(0, "config-3", "", "EXCEPTION: <words>")
            .run("list-servers"),
        scenario("configuration-cancelled", "config.md 17", PLAIN.global("encryption = gpg\nencryption_key_id = 0xABCD\nlast_wal_maximum_age = 1 day\nlast_backup_minimum_size = 1k").servers("[x]\nactive = off\nencryption = none\nlast_wal_maximum_age =\nlast_backup_minimum_size =\n")).json(0, "config-4", "x.encryption", "null", "\"gpg\"").json(0, "config-4", "x.last_backup_minimum_size", "null", "1000").json(0, "config-4", "x.last_wal_maximum_age", "null", "\"1 day, 0:00:00\"")
            .run("-f json show-servers x"),
        scenario("configuration-small-numbers", "config.md 17", PLAIN.servers("[x]\nactive = off\ncheck_timeout = -1\nparallel_jobs = 0\nminimum_redundancy = -2\narchiver_batch_size = -3\n"))
            .hint(0, "HINT: in '*/run/barman.conf', line 17")
            .hint(0, "HINT: in '*/run/barman.conf', line 18")
            .hint(0, "HINT: in '*/run/barman.conf', line 20")
            .stderr(0, "config-5", "WARNING: Ignoring invalid configuration value '-3' for key archiver_batch_size in [x] section: must not be less than 0", "").stderr(0, "config-5", "WARNING: Ignoring invalid configuration value '-1' for key check_timeout in [x] section: must not be less than 0", "").stderr(0, "config-5", "WARNING: Ignoring invalid configuration value '0' for key parallel_jobs in [x] section: must not be less than 1", "")
            .json(1, "config-5", "_WARNING", "*'-3' for key archiver_batch_size*'-1' for key check_timeout*'0' for key parallel_jobs*", "")
            .json(1, "config-5", "x.parallel_jobs", "1", "0")
            .json(1, "config-5", "x.archiver_batch_size", "0", "-3")
            .json(1, "config-5", "x.check_timeout", "30", "-1")
            .run("list-servers")
            .run("-f json show-servers x"),
        scenario("configuration-global-numbers", "config.md 17", PLAIN.global("keepalive_interval = 5\ncloud_upload_max_archive_size = 5G\ncloud_upload_min_chunk_size = 6M").servers("[x]\nactive = off\n")).json(0, "config-6", "x.cloud_upload_max_archive_size", "5000000000", "107374182400").json(0, "config-6", "x.cloud_upload_min_chunk_size", "6000000", "null").json(0, "config-6", "x.keepalive_interval", "5", "60")
            .run("-f json show-servers x"),
        scenario("configuration-connection-strings", "config.md 17, postgres.md 17.11", PLAIN.servers("[x]\nconninfo = host = 127.0.0.1 port = 1 user = 'a b'\nbackup_method = postgres\nstreaming_conninfo = postgresql://b@127.0.0.1:1/x\narchiver = on\n")).stdout(0, "config-7", "x", "x -  (WARNING: disabled)")
            .run("list-servers"),
        scenario("configuration-passwords", "config.md 17, cli.md 20.5", PLAIN.servers("[x]\nactive = off\nconninfo = host=127.0.0.1 port=1 password=secret user=b\nstreaming_conninfo = host=127.0.0.1 port=1 user=b password=secret\nwal_conninfo = postgres://b:secret@127.0.0.1:1/x\n")).stdout(0, "all-7", "\tstreaming_conninfo: host=127.0.0.1 port=1 user=b password=*REDACTED*", "").stdout(0, "all-7", "\tstreaming_wals_directory: */run/home/x/streaming", "").stdout(0, "all-7", "", "\tstreaming_conninfo: host=127.0.0.1 port=1 user=b password=*REDACTED*\tstreaming_wals_directory: */run/home/x/streaming").stdout(0, "all-7", "\twal_conninfo: user=b password=*REDACTED* host=127.0.0.1 port=1 dbname=x", "\twal_conninfo: postgres://b:secret@127.0.0.1:1/x").json(1, "all-7", "x.conninfo", "\"host=127.0.0.1 port=1 password=*REDACTED* user=b\"", "\"host=127.0.0.1 port=1 password=secret user=b\"").json(1, "all-7", "x.streaming_conninfo", "\"host=127.0.0.1 port=1 user=b password=*REDACTED*\"", "\"host=127.0.0.1 port=1 user=b password=secret\"").json(1, "all-7", "x.wal_conninfo", "\"user=b password=*REDACTED* host=127.0.0.1 port=1 dbname=x\"", "\"postgres://b:secret@127.0.0.1:1/x\"")
            .run("show-servers x")
            .run("-f json show-servers x"),
        scenario("log-on-standard-error", "cli.md 2.3, 20.20", PLAIN.global("log_file =")).hint(0, "HINT: 'barman list-servers' shows the configured servers").stderr(0, "all-10", "", "* barman.cli ERROR: Unknown server 'nosuch'")
            .run("list-backups nosuch")
    ]
}

fn dialect() -> Vec<Scenario> {
    vec![
        scenario("configuration-dialect", "config.md 2", DIALECT)
            .run("-f json list-servers")
            .prose()
            .short(),
        scenario("configuration-dialect-console", "config.md 2.1, 2.2", DIALECT).run("list-servers").prose()
                .stderr(0, "config-17", ANY_HINT, "")
                .each(),
        scenario("configuration-precedence", "config.md 4", PLAIN.global("compression = gzip\nretention_policy = REDUNDANCY 3\ncheck_timeout = 7\nbackup_options = external_configuration\nconninfo = host=unused\nbandwidth_limit = 5").servers(
            "[off]\nactive = off\ncompression =\nretention_policy = None\ncheck_timeout = 8\nbackup_options =\nbandwidth_limit = x\n[on]\nactive = off\n",
        ))
        .run("-f json show-servers on")
        .run("-f json show-servers off"),
        scenario("configuration-names", "config.md 3.2", PLAIN.servers("[a b]\nactive = off\n[ALL]\nactive = off\n[a.b-c]\nactive = off\n[BARMAN]\nactive = off\n"))
            .run("list-servers")
            .run("list-backups 'a b'"),
    ]
}

fn mistakes() -> Vec<Scenario> {
    let broken = |name: &'static str, servers: &'static str| {
        scenario(name, "config.md 1.5, 3", PLAIN.servers(servers))
            .run("list-servers")
            .prose()
            .stderr(0, "config-18", "HINT: <words>", "")
    };
    vec![
        scenario("configuration-values", "config.md 4, 5", VALUES)
            .run("list-servers")
            .run("-f json show-servers bad")
            .prose()
            .stderr(0, "config-17", ANY_HINT, "")
            .each()
            .json(1, "all-16", "_WARNING[*]", "\"Ignoring invalid configuration value *\"", "\"Ignoring invalid configuration value *\"")
            .each(),
        scenario("configuration-unknown-options", "config.md 3", PLAIN.global("archivr = on").servers("[x]\nactive = off\nbarman_home = /x\nactiv = on\n"))
            .run("list-servers")
        .stderr(0, "config-17", "HINT: in '*/barman.conf', line 7: did you mean 'archiver'?", "")
        .stderr(0, "config-17", "HINT: in '*/barman.conf', line 18: 'barman_home' can be set in [barman] only", "")
        .stderr(0, "config-17", "HINT: in '*/barman.conf', line 19: did you mean 'active'?", ""),
        broken("configuration-bad-lines", "[x]\nactive = off\nfoo\n= bar\n"),
        broken("configuration-empty-header", "[]\n"),
        broken("configuration-reserved-name", "[all]\nactive = off\n"),
        broken("configuration-model-without-cluster", "[m]\nmodel = on\n")
            .stdout(0, "config-1", "main - Main database", ""),
        scenario("configuration-no-home", "config.md 3.1", PLAIN.global("barman_home =")).run("list-servers").run("-f json list-servers").prose()
        .stderr(0, "config-18", "HINT: <words>", "")
        .stderr(1, "all-17", "ERROR: <words>", "<words>"),
        scenario("configuration-bad-cleanup", "config.md 6", PLAIN.global("lock_directory_cleanup = maybe")).run("list-servers").prose()
        .stderr(0, "config-18", "HINT: <words>", ""),
        scenario("configuration-bad-log-level", "config.md 6", PLAIN.global("log_level = LOUD")).run("list-servers"),
        scenario("configuration-same-directory", "config.md 9.3", PLAIN.servers("[x]\nactive = off\nwals_directory = /w\nerrors_directory = /w\n"))
            .run("list-servers")
            .run("delete x latest")
            .stderr(1, "config-18", "HINT: wals_directory is set in '*/barman.conf', line *, section [x]; errors_directory is set in '*/barman.conf', line *, section [x]", ""),
        scenario("configuration-shared-directory", "config.md 9.3", PLAIN.servers("[x]\nactive = off\nwals_directory = /w\n[y]\nactive = off\nwals_directory = /w\n"))
            .run("list-servers")
            .run("check main")
            .run("-f json show-servers x")
            .short(),
        scenario("configuration-methods", "config.md 8.2", PLAIN.servers(
            "[a]\nconninfo = host=h port=1\narchiver = on\n[b]\nconninfo = host=h port=1\narchiver = on\nbackup_method = local-rsync\nssh_command = ssh x\n[c]\nconninfo = foo\nbackup_method = postgres\narchiver = on\n[d]\nconninfo = host=h port=1\nbackup_method = postgres\nstreaming_archiver = on\n[e]\nconninfo = host=h port=1\nbackup_method = postgres\narchiver = on\nreuse_backup = link\nnetwork_compression = on\ntablespace_bandwidth_limit = a:1\n",
        ))
        .run("list-servers")
        .run("delete a latest")
        .run("delete b latest")
        .run("delete c latest")
        .run("delete d latest")
        .stderr(3, "config-9", "ERROR: Streaming connection: *", "")
        .stderr(1, "config-18", "HINT: ssh_command is not set in section [a]", "")
        .stderr(2, "config-18", "HINT: ssh_command is set in '*/barman.conf', line *, section [b]", "")
        .stderr(3, "config-18", "HINT: conninfo is set in '*/barman.conf', line *, section [c]", "")
        .stderr(4, "config-18", "HINT: slot_name is not set in section [d]", ""),
    ]
}

fn files() -> Vec<Scenario> {
    vec![
        scenario("configuration-missing", "config.md 1.1", PLAIN)
            .run("-c {root}/nosuch list-servers")
            .run("-f json -c {root}/nosuch list-servers"),
        scenario("configuration-is-a-directory", "config.md 1.1", PLAIN)
            .run("-c {root}/home list-servers")
            .prose(),
        scenario("configuration-variable", "config.md 1.1", PLAIN)
            .then(|stage| write(stage, "other.conf", "[barman]\nbarman_home = {root}/home\n"))
            .run("-c {root}/other.conf list-servers"),
        scenario("configuration-included", "config.md 1.4", PLAIN)
            .then(|stage| {
                write(
                    stage,
                    "conf.d/b.conf",
                    "[x]\nactive = off\ndescription = b\ncluster = b\n",
                )?;
                write(
                    stage,
                    "conf.d/a.conf",
                    "[x]\nactive = off\ndescription = a\nslot_name = a\n[y]\nactive = off\n",
                )?;
                write(stage, "conf.d/10.conf", "[x]\ndescription = 10\n")?;
                write(stage, "conf.d/.hidden.conf", "[hidden]\nactive = off\n")?;
                write(stage, "conf.d/other.txt", "[other]\nactive = off\n")?;
                write(stage, "home/.barman.auto.conf", "[y]\ndescription = auto\n")?;
                fs::create_dir(stage.root.join("conf.d/dir.conf"))?;
                std::os::unix::fs::symlink("nowhere", stage.root.join("conf.d/link.conf"))?;
                Ok(())
            })
            .run("list-servers")
            .run("-f json show-servers x")
            .short(),
        scenario("configuration-included-barman", "config.md 1.4", PLAIN)
            .then(|stage| write(stage, "conf.d/a.conf", "[barman]\nlog_level = DEBUG\n"))
            .run("list-servers")
            .run("-f json list-servers")
            .stderr(
                0,
                "config-18",
                "HINT: '*/conf.d/a.conf': settings of [barman] belong into the main file",
                "",
            ),
        scenario("configuration-included-empty-barman", "config.md 1.4", PLAIN)
            .then(|stage| write(stage, "conf.d/a.conf", "[barman]\n[x]\nactive = off\n"))
            .run("list-servers"),
        scenario("configuration-included-bad", "config.md 1.5", PLAIN)
            .then(|stage| write(stage, "conf.d/a.conf", "no header\n"))
            .run("list-servers")
            .run("-f json list-servers")
            .prose()
            .stderr(0, "config-18", "HINT: <words>", "")
            .json(
                1,
                "all-16",
                "_EXCEPTION[0]",
                "\"File contains no section headers.*\"",
                "\"File contains no section headers.*\"",
            ),
        scenario(
            "configuration-no-directory",
            "config.md 1.4",
            PLAIN.global("configuration_files_directory = {root}/nosuch"),
        )
        .run("list-servers"),
    ]
}
