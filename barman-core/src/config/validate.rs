//! Rules between the options of one server. A violated rule is a message that disables the server; nothing here
//! connects or touches the disk.

use super::error::ConfigWarning;
use super::resolve::Values;
use super::server::ServerConfig;
use super::types::{BackupCompression, BackupMethod, CompressionFormat, CompressionLocation, ReuseBackup};
use super::value::Value;
use crate::context::Level;

/// Connection strings: present, and of a form that libpq or Barman takes.
pub(super) fn connections(server: &ServerConfig, messages: &mut Vec<String>) {
    if !server.active || server.is_passive() {
        return;
    }
    let mut require = |prefix: &str, option: &str, text: Option<&str>| {
        let problem = match text {
            None => Some(format!(
                "Missing '{option}' parameter for server '{}'",
                server.name
            )),
            Some(text) if !acceptable(text) => Some(invalid(option, text)),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            messages.push(format!("{prefix}: {problem}"));
        }
    };
    require("PostgreSQL connection", "conninfo", server.conninfo.as_deref());
    if let Some(primary) = server.primary_conninfo.as_deref() {
        require("PostgreSQL connection", "primary_conninfo", Some(primary));
    }
    if server.backup_method == BackupMethod::Postgres || server.streaming_archiver {
        require(
            "Streaming connection",
            "streaming_conninfo",
            server.streaming_conninfo.as_deref(),
        );
    }
}

/// Connection strings that Barman takes and nothing can connect with, for their form or for a value: told when the
/// server is used, with where they are. `place` tells that.
pub(super) fn unusable_connections(
    server: &ServerConfig,
    notices: &mut Vec<ConfigWarning>,
    place: &dyn Fn(&str) -> Option<String>,
) {
    if !server.active || server.is_passive() {
        return;
    }
    let conninfo = server.conninfo.as_deref();
    // Without a value of its own it is that of `conninfo`.
    let streaming = server
        .streaming_conninfo
        .as_deref()
        .filter(|text| Some(*text) != conninfo);
    for (option, text, refused) in [
        ("conninfo", conninfo, true),
        ("streaming_conninfo", streaming, true),
        ("primary_conninfo", server.primary_conninfo.as_deref(), true),
        ("wal_conninfo", server.wal_conninfo.as_deref(), false),
        (
            "wal_streaming_conninfo",
            server.wal_streaming_conninfo.as_deref(),
            false,
        ),
    ] {
        let Some(text) = text else { continue };
        let mut tell = |what: &dyn std::fmt::Display, right: String| {
            let hint: Vec<String> = place(option).into_iter().chain([right]).collect();
            let text = format!("Invalid {option} for server \"{}\": {what}", server.name);
            notices.push(ConfigWarning::new(text).with_hint(hint.join(": ")));
        };
        match barman_pg::ConnInfo::parse(text) {
            Ok(info) => {
                for error in barman_pg::wrong_values(&info, barman_pg::process_environment) {
                    tell(&error, format!("{option} needs another value there"));
                }
            }
            // One that has disabled the server is told by `connections`, one that is not used by nobody.
            Err(_) if refused && !is_taken_by_barman(text) => {}
            Err(error) => tell(
                &error,
                format!("{option} takes key=value words as libpq reads them, or a postgresql:// URI"),
            ),
        }
    }
}

/// libpq's grammar, or what Barman takes (the server then says what is wrong).
fn acceptable(conninfo: &str) -> bool {
    barman_pg::ConnInfo::parse(conninfo).is_ok() || is_taken_by_barman(conninfo)
}

/// Words with `=`: that is all that Barman asks for.
fn is_taken_by_barman(conninfo: &str) -> bool {
    conninfo.split_whitespace().all(|word| word.contains('='))
}

fn invalid(option: &str, text: &str) -> String {
    // A string that does not parse cannot be redacted word by word.
    if text.to_lowercase().contains("pass") || text.contains("://") {
        return format!(
            "Cannot connect to postgres: the value of '{option}' is not a valid connection string"
        );
    }
    format!("Cannot connect to postgres: \"{text}\" is not a valid connection string")
}

/// What each backup method needs and does not support.
pub(super) fn backup_method(server: &ServerConfig, values: &[Value], messages: &mut Vec<String>) {
    if !server.active {
        return;
    }
    if let Some(command) = &server.primary_ssh_command {
        if command_is_blank(command) {
            messages.push(format!(
                "Invalid primary_ssh_command in barman configuration for server {}",
                server.name
            ));
        }
        return;
    }
    let name = &server.name;
    let method = server.backup_method;
    let values = Values(values);
    let mut unsupported = |option: &str, set: bool| {
        if set {
            messages.push(format!(
                "{option} option is not supported by {} backup_method",
                text_of(method)
            ));
        }
    };
    let reuses = matches!(server.reuse_backup, Some(ReuseBackup::Copy | ReuseBackup::Link));
    match method {
        BackupMethod::Postgres => {
            unsupported(
                "tablespace_bandwidth_limit",
                !values.get("tablespace_bandwidth_limit").is_unset(),
            );
            unsupported("reuse_backup", reuses);
            unsupported("network_compression", server.network_compression);
            compression(server, messages);
        }
        BackupMethod::Rsync | BackupMethod::Snapshot => {
            if server.ssh_command.as_deref().is_none_or(command_is_blank) {
                messages.push(format!(
                    "Missing or invalid ssh_command in barman configuration for server {name}"
                ));
                return;
            }
            unsupported("backup_compression", server.backup_compression.is_some());
            if method == BackupMethod::Snapshot {
                unsupported("bandwidth_limit", !values.get("bandwidth_limit").is_unset());
                unsupported("network_compression", server.network_compression);
                unsupported(
                    "tablespace_bandwidth_limit",
                    !values.get("tablespace_bandwidth_limit").is_unset(),
                );
                unsupported("reuse_backup", reuses);
                for option in ["snapshot_disks", "snapshot_instance", "snapshot_provider"] {
                    if values.get(option).is_unset() {
                        messages.push(format!("{option} option is required by snapshot backup_method"));
                    }
                }
                super::cloud::snapshots(values.0, messages);
            }
        }
        BackupMethod::LocalRsync => {
            if server.ssh_command.is_some() {
                messages.push(format!(
                    "Local copy requires ssh_command in barman configuration to be empty for server {name}"
                ));
                return;
            }
            unsupported("backup_compression", server.backup_compression.is_some());
        }
        BackupMethod::LocalToCloud => {}
    }
}

/// `backup_options` without a strategy means `concurrent_backup`; the streaming method knows no other.
pub(super) fn backup_strategy(server: &mut ServerConfig, notices: &mut Vec<ConfigWarning>) {
    if !server.active || server.is_passive() {
        return;
    }
    let usable = match server.backup_method {
        BackupMethod::LocalToCloud => false,
        BackupMethod::Postgres => true,
        BackupMethod::Rsync | BackupMethod::Snapshot => {
            !server.ssh_command.as_deref().is_none_or(command_is_blank)
        }
        BackupMethod::LocalRsync => server.ssh_command.is_none(),
    };
    if !usable {
        return;
    }
    let text = match (server.backup_method, server.backup_options.exclusive_backup) {
        (BackupMethod::Postgres, true) => {
            server.backup_options.exclusive_backup = false;
            Some((
                Level::Warning,
                "'exclusive_backup' is not a valid backup_option using postgres backup_method. \
                 Overriding with 'concurrent_backup'."
                    .to_owned(),
            ))
        }
        (_, true) => return,
        (_, false) if server.backup_options.concurrent_backup => None,
        (BackupMethod::Postgres, false) => Some((
            Level::Debug,
            "The default backup strategy for postgres backup_method is: concurrent_backup".to_owned(),
        )),
        (_, false) => Some((
            Level::Warning,
            format!(
                "No backup strategy set for server '{}' (using default 'concurrent_backup').",
                server.name
            ),
        )),
    };
    server.backup_options.concurrent_backup = true;
    notices.extend(text.map(|(level, text)| ConfigWarning {
        level,
        target: "barman.backup_executor",
        ..ConfigWarning::new(text)
    }));
}

fn text_of(method: BackupMethod) -> &'static str {
    if method == BackupMethod::LocalRsync {
        "rsync"
    } else {
        method.as_str()
    }
}

/// `" "`: a command without a program.
fn command_is_blank(command: &str) -> bool {
    command.trim().is_empty()
}

/// Settings of `backup_compression` that no server and no client takes.
fn compression(server: &ServerConfig, messages: &mut Vec<String>) {
    let Some(algorithm) = server.backup_compression else {
        return;
    };
    let name = algorithm.as_str();
    let level = server.backup_compression_level;
    if server.backup_compression_format == Some(CompressionFormat::Plain)
        && server.backup_compression_location != Some(CompressionLocation::Server)
    {
        let location = server
            .backup_compression_location
            .map_or("None", CompressionLocation::as_str);
        messages.push(format!(
            "backup_compression_format plain is not compatible with backup_compression_location {location}"
        ));
    }
    let range = match algorithm {
        BackupCompression::Gzip => Some((1, 9)),
        BackupCompression::Lz4 => Some((0, 12)),
        BackupCompression::Zstd => Some((-131_072, 22)),
        BackupCompression::None => None,
    };
    match (range, level) {
        (Some((low, high)), Some(level)) => {
            let standard = algorithm == BackupCompression::Gzip && level == -1;
            if !standard && !(low..=high).contains(&level) {
                let advice = if algorithm == BackupCompression::Gzip && level == 0 {
                    ". If you need to create an archive not compressed, you should set `backup_compression = none`"
                } else {
                    ""
                };
                messages.push(format!(
                    "backup_compression_level {level} unsupported by compression algorithm {name}: \
                     it must be between {low} and {high}{advice}"
                ));
            }
        }
        (None, Some(level)) if level != 0 => {
            messages.push(format!(
                "backup_compression {name} only supports backup_compression_level 0, not {level}"
            ));
        }
        _ => {}
    }
    if server.backup_compression_workers.is_some() && algorithm != BackupCompression::Zstd {
        messages.push(format!(
            "backup_compression_workers is not compatible with compression {name}"
        ));
    }
}

/// Which archivers a server has.
pub(super) fn archivers(server: &ServerConfig, messages: &mut Vec<String>, notices: &mut Vec<ConfigWarning>) {
    if !server.active || server.is_passive() {
        return;
    }
    if server.streaming_archiver && !server.archiver && server.slot_name.is_none() {
        messages.push(
            "Streaming-only archiver requires 'streaming_conninfo' and 'slot_name' options to be properly configured"
                .to_owned(),
        );
    }
    if !server.streaming_archiver && !server.archiver {
        for text in [
            format!(
                "No archiver enabled for server '{}'. Please turn on 'archiver', 'streaming_archiver' or both",
                server.name
            ),
            "Forcing 'archiver = on'".to_owned(),
        ] {
            notices.push(ConfigWarning {
                target: "barman.server",
                ..ConfigWarning::new(text)
            });
        }
    }
}
