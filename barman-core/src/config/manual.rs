//! What the reference page says of each option beyond its one sentence in the registry: by subject, in the order in
//! which somebody who sets a server up meets them.

/// Options of one subject.
#[derive(Debug, Clone, Copy)]
pub struct Chapter {
    /// Its heading.
    pub title: &'static str,
    /// What they have in common; empty if nothing needs to be said.
    pub about: &'static str,
    /// Each with further sentences, which may be none.
    pub options: &'static [(&'static str, &'static str)],
}

const HOOKS: &str = "The command is run by a shell with `BARMAN_*` variables that tell what it is about. A script that is not a `retry` script is run once, and its failure is only told. A `retry` script is run again until it ends with 0, with 62 (stop asking, go on) or with 63 (stop asking, abort; only before something happens). An empty value in a server section switches a script of `[barman]` off.";

/// Everything, `[barman]` first.
#[rustfmt::skip]
pub static CHAPTERS: &[Chapter] = &[
    Chapter { title: "The installation", about: "These can be set in `[barman]` of the main file only.", options: &[
        ("barman_home", "Required. Everything that is not given a directory of its own lies below it: a directory for each server, the lock files, the files that `config-update` writes. It must belong to the user that runs `barman`."),
        ("barman_user", "Whoever starts `barman` as another user must be allowed to become this one, which root is."),
        ("barman_lock_directory", "It must be on a local file system, and the same for every `barman` that works on these servers. A missing one is made."),
        ("lock_directory_cleanup", "Lock files that nobody holds mean nothing; `barman lock-directory-cleanup` removes them at any time."),
        ("log_file", "The directory is made if it is missing. The file is opened again after it was rotated."),
        ("log_level", "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`; `--log-level` overrides it for one command."),
        ("configuration_files_directory", "Files whose names end in `.conf` are read in the order of their names, later ones over earlier ones, option by option. They must not set anything in `[barman]`. A leading `~` stands for the home directory."),
        ("config_changes_queue", "Changes that `config-update` has accepted wait here for a moment; nobody edits this file by hand."),
    ]},
    Chapter { title: "Servers and models", about: "", options: &[
        ("description", ""),
        ("active", "Nothing is asked of an inactive server, and no backups are taken of it; what is in its catalogue can be listed and restored."),
        ("cluster", "Models and servers with the same value belong together. Required in a model."),
        ("disabled", "In a model, `true` disables the servers that use it and `false` forgives them conflicts between their own directories."),
        ("primary_ssh_command", "Backups and WAL files are then copied from the Barman behind this command, and this host connects to no PostgreSQL server. Such nodes are not available yet: they copy nothing, and `check` says so."),
        ("forward_config_path", "For a Barman over there whose configuration is not at a default place but at the same path as here."),
        ("path_prefix", "PostgreSQL's client programs are not needed; hook scripts, `ssh` and `rsync` are looked for there first."),
        ("check_timeout", "`--check-timeout` overrides it. Whatever is still open then counts as failed."),
    ]},
    Chapter { title: "Connections", about: "A connection string is what libpq takes: words `keyword=value`, or a URI. Passwords in it work and are shown nowhere, but belong into `~/.pgpass` of the Barman user.", options: &[
        ("conninfo", "Required for every active server that is not a passive node. The role needs the rights to take backups: membership in `pg_read_all_settings`, `pg_read_all_stats` and, from PostgreSQL 15 on, `pg_checkpoint`, and EXECUTE on the backup functions."),
        ("streaming_conninfo", "Used by the `postgres` method and by `receive-wal`. The role needs the attribute REPLICATION and a line in `pg_hba.conf`."),
        ("primary_conninfo", "Set it when backups are taken from a standby: WAL is then switched on the primary, and a backup of an idle cluster ends."),
        ("primary_checkpoint_timeout", "An idle primary may not switch to a new WAL file without a checkpoint."),
        ("wal_conninfo", "Used in the place of `conninfo` by whatever is about WAL."),
        ("wal_streaming_conninfo", "WAL is received from there instead of from the server of the backups, and `wal_conninfo` defaults to it."),
        ("ssh_command", "Required by the methods `rsync` and `snapshot`, forbidden for `local-rsync`. It is split at blanks, quotes keep words together, and variables are not replaced. Keys must work without a password."),
        ("keepalive_interval", "Firewalls forget connections on which nothing is said for long. Without effect with the method `postgres`: the connection is closed during the copy and opened again."),
    ]},
    Chapter { title: "Directories", about: "None may be used twice: not by two servers, not for two purposes of one.", options: &[
        ("backup_directory", "The metadata of the backups (`meta`), the identity of the server and the name of its active model are always there."),
        ("basebackups_directory", "A URL of object storage is understood and shown, but not available yet."),
        ("wals_directory", "A URL of object storage is understood and shown, but not available yet."),
        ("incoming_wals_directory", "It must be the target of `archive_command`."),
        ("streaming_wals_directory", ""),
        ("errors_directory", "Duplicates with another content, files that are no WAL, and segments that are damaged. `check` tells when there are any."),
        ("xlogdb_directory", "The list of archived WAL files, `NAME-xlog.db`, is there."),
    ]},
    Chapter { title: "Backups", about: "", options: &[
        ("backup_method", "`postgres` copies over a replication connection, needs nothing on the server's host and is the one to begin with. It is the only one that is available yet: with the others, `rsync` (which copies over SSH and can reuse files of the backup before), `local-rsync` (the same on one host), `snapshot` and `local-to-cloud`, `backup` is refused, and `check` says so; WAL is archived as always."),
        ("backup_options", "`concurrent_backup` is always meant where nothing else is said. `exclusive_backup` is deprecated and for PostgreSQL up to 14 only. `external_configuration` ends the warning about configuration files outside of the data directory."),
        ("immediate_checkpoint", "The backup begins at once, at the price of a burst of writes on the server. `--immediate-checkpoint` and `--no-immediate-checkpoint` override it."),
        ("reuse_backup", "`link` saves room and time, `copy` only time. With `--reuse-backup` for one backup."),
        ("autogenerate_manifest", "Verification needs a manifest; backups of the method `postgres` have one by nature."),
        ("streaming_backup_name", "It is what `pg_stat_replication` shows during a backup."),
        ("parallel_jobs", "For restores and the `rsync` methods; `--jobs` overrides it."),
        ("parallel_jobs_start_batch_size", "For the `rsync` methods. Many SSH connections at the same moment are more than some servers accept."),
        ("parallel_jobs_start_batch_period", "For the `rsync` methods."),
        ("bandwidth_limit", "`--bwlimit` overrides it."),
        ("tablespace_bandwidth_limit", "For the `rsync` methods. A tablespace without a rule has `bandwidth_limit`."),
        ("network_compression", "For the `rsync` methods and restores to other hosts. Worth it on slow lines only."),
        ("basebackup_retry_times", "For backup and restore; `--retry-times` overrides it."),
        ("basebackup_retry_sleep", "`--retry-sleep` overrides it."),
        ("warehousepg_dbid", "For WarehousePG, which wants to know which of its segments is copied."),
    ]},
    Chapter { title: "Compressed backups", about: "For the method `postgres`. These are read, checked and shown; compressed backups are not available yet: `backup` refuses them, and `check` says so.", options: &[
        ("backup_compression", "`none` gives a tar file that is not compressed; without the option the files are stored as they are on the server."),
        ("backup_compression_format", "`tar` unless it is set. `plain` needs compression on the server and stores files as they are there."),
        ("backup_compression_level", "gzip: 1 to 9, or -1; lz4: 0 to 12; zstd: -131072 to 22. Unset is the algorithm's own choice."),
        ("backup_compression_location", "`server` needs PostgreSQL 15."),
        ("backup_compression_workers", ""),
    ]},
    Chapter { title: "Encryption", about: "These are read, checked and shown; encryption is not available yet: `backup` and `archive-wal` refuse it, and `check` says so.", options: &[
        ("encryption", "`none` in a server section cancels `gpg` of `[barman]`."),
        ("encryption_key_id", "Required with `encryption = gpg`; the key must be in the keyring of the Barman user."),
        ("encryption_passphrase_command", "Needed to restore only. It is run by a shell, once for each process, and what it prints is written nowhere."),
    ]},
    Chapter { title: "WAL", about: "At least one of the archivers must be on; `archiver` is forced on otherwise. Both together are fine: what comes first is archived, what comes second is compared.", options: &[
        ("archiver", ""),
        ("streaming_archiver", "A `receive-wal` process is kept running by `cron`. Alone, without `archiver`, it needs a slot."),
        ("slot_name", "Lower case letters, digits and `_`. The server keeps WAL that was not received yet, for ever: watch it with `check`."),
        ("create_slot", "`auto` makes `receive-wal` create it; `barman receive-wal --create-slot` does so by hand."),
        ("streaming_archiver_name", "Put it into `synchronous_standby_names` of the server, and every WAL record is on disk here before a commit returns."),
        ("archiver_batch_size", "The rest comes in the next run, a minute later."),
        ("streaming_archiver_batch_size", ""),
        ("compression", "An empty value cancels what `[barman]` says. Files are recognised by their content, so it can be changed at any time."),
        ("compression_level", "A number counts in the algorithm's own scale and is moved into its range."),
        ("custom_compression_filter", ""),
        ("custom_decompression_filter", ""),
        ("custom_compression_magic", "`0x` and an even number of hexadecimal digits."),
        ("max_incoming_wals_queue", ""),
        ("last_wal_maximum_age", ""),
    ]},
    Chapter { title: "Retention", about: "`cron` deletes what a policy makes obsolete, with the WAL that nothing needs any more. `barman retention --explain` tells what would go, and why.", options: &[
        ("retention_policy", "`REDUNDANCY` keeps so many newest backups, `RECOVERY WINDOW OF` everything that a restore to any moment of the window needs. A month has 31 days. An empty value cancels what `[barman]` says. A policy that cannot be understood is not enforced, and `check` fails."),
        ("retention_policy_mode", ""),
        ("wal_retention_policy", "WAL follows the policy of the backups."),
        ("minimum_redundancy", "Neither retention nor `delete` goes below it, and `check` fails below it."),
        ("last_backup_maximum_age", ""),
        ("last_backup_minimum_size", ""),
        ("worm_mode", "For storage on which nothing can be changed or deleted for a time: WAL from before the first backup is not removed."),
    ]},
    Chapter { title: "Restore", about: "", options: &[
        ("recovery_options", "With `get-wal` the restored server fetches WAL from here when it needs it, instead of getting all of it copied. `delta-restore` copies only what differs at the destination; it is not available yet."),
        ("combine_mode", "`link` and `clone` save room and time where the file system can do it."),
        ("staging_path", "Needed for backups that are compressed, encrypted or incremental, which cannot be restored yet: there must be room for the largest. `/tmp` unless it is set."),
        ("staging_location", ""),
        ("local_staging_path", ""),
        ("recovery_staging_path", ""),
    ]},
    Chapter { title: "Hook scripts", about: HOOKS, options: &[
        ("pre_backup_script", ""), ("pre_backup_retry_script", ""), ("post_backup_script", ""), ("post_backup_retry_script", ""),
        ("pre_archive_script", ""), ("pre_archive_retry_script", ""), ("post_archive_script", ""), ("post_archive_retry_script", ""),
        ("pre_delete_script", ""), ("pre_delete_retry_script", ""), ("post_delete_script", ""), ("post_delete_retry_script", ""),
        ("pre_wal_delete_script", ""), ("pre_wal_delete_retry_script", ""), ("post_wal_delete_script", ""), ("post_wal_delete_retry_script", ""),
        ("pre_recovery_script", ""), ("pre_recovery_retry_script", ""), ("post_recovery_script", ""), ("post_recovery_retry_script", ""),
    ]},
    Chapter { title: "Object storage", about: "These are read, checked and shown; object storage itself is not available yet, and a command that would need it says so.", options: &[
        ("cloud_staging_directory", ""),
        ("cloud_staging_max_size", ""),
        ("cloud_upload_max_archive_size", ""),
        ("cloud_upload_min_chunk_size", ""),
        ("cloud_delete_batch_size", "Unset, it is what the provider takes: 1000 for S3, 256 for Azure, 100 for Google."),
        ("cloud_wal_archive_parallel", "0 means none."),
        ("cloud_wal_restore_parallel", "0 means none."),
        ("aws_profile", ""), ("aws_region", ""), ("aws_read_timeout", ""), ("aws_encryption", ""),
        ("aws_sse_kms_key_id", "With `aws_encryption = aws:kms` only."),
        ("aws_sse_customer_key", "Not together with the other kinds of encryption."),
        ("aws_check_object_lock", ""),
        ("azure_credential", "`azure-cli`, `managed-identity` or `default`."),
        ("azure_resource_group", ""), ("azure_subscription_id", ""),
        ("gcp_project", ""), ("gcp_zone", ""),
    ]},
    Chapter { title: "Snapshots", about: "For the method `snapshot`, which is not available yet.", options: &[
        ("snapshot_provider", "`aws`, `azure` or `gcp`."), ("snapshot_instance", ""), ("snapshot_disks", "Blanks belong to the names."),
        ("aws_await_snapshots_timeout", ""),
        ("aws_snapshot_lock_mode", ""),
        ("aws_snapshot_lock_duration", "1 to 36500; or an expiration date."),
        ("aws_snapshot_lock_cool_off_period", "1 to 72; not with `governance`."),
        ("aws_snapshot_lock_expiration_date", "As `2030-01-01T00:00:00.000000Z`."),
        ("snapshot_gcp_project", ""), ("snapshot_zone", ""),
    ]},
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::registry::{GLOBAL_OPTIONS, SERVER_OPTIONS};

    #[test]
    fn every_option_is_in_one_chapter() {
        let mut told: Vec<&str> = CHAPTERS
            .iter()
            .flat_map(|chapter| chapter.options.iter().map(|(name, _)| *name))
            .collect();
        told.sort_unstable();
        let mut known: Vec<&str> = SERVER_OPTIONS
            .iter()
            .chain(GLOBAL_OPTIONS)
            .map(|option| option.name)
            .collect();
        known.sort_unstable();
        assert_eq!(told, known);
    }
}
