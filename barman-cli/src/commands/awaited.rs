//! Commands whose work is not there yet. Each looks at its arguments and its server as Barman does, so that a mistake
//! gets the answer that it will always get; what nothing is wrong with is refused by name.

use super::unavailable;
use crate::app::{App, CLI};
use crate::args::Command;
use crate::args::commands::{CloudWalArchiveArgs, CloudWalRestoreArgs, SyncInfoArgs};
use barman_core::config::ServerConfig;
use barman_core::config::types::BackupMethod;
use barman_wal::WalFileName;
use std::path::Path;

pub(super) fn run(app: &App<'_>, command: &Command) {
    let name = command.name();
    let nothing_wrong = match command {
        Command::CloudWalArchive(args) => cloud_wal_archive(app, args),
        Command::CloudWalRestore(args) => cloud_wal_restore(app, args),
        Command::PutWal(args) => app.single(name, &args.server).is_some(),
        Command::SyncInfo(args) => sync_info(app, args),
        Command::SyncBackup(args) => passive(app, name, &args.server),
        Command::SyncWals(args) => passive(app, name, &args.server),
        _ => true,
    };
    if nothing_wrong {
        unavailable(app, name);
    }
}

fn cloud_wal_archive(app: &App<'_>, args: &CloudWalArchiveArgs) -> bool {
    let path = &args.wal_path;
    let shown = path.display();
    let wrong = if path.is_dir() {
        Some(format!("wal_path cannot be a directory: {shown}"))
    } else if !path.exists() {
        Some(format!("WAL file does not exist: {shown}"))
    } else {
        not_a_wal_file(path.file_name().map_or(path.as_path(), Path::new), path)
    };
    if let Some(wrong) = wrong {
        app.output.error(CLI, &wrong);
        return false;
    }
    let Some(server) = app.single("cloud-wal-archive", &args.server) else {
        return false;
    };
    if server.backup_method != BackupMethod::LocalToCloud {
        let text = format!(
            "cloud-wal-archive is only supported for servers with 'backup_method' set to 'local-to-cloud'. \
             Please check the configuration of server {}.",
            server.name
        );
        app.output.error(CLI, &text);
        return false;
    }
    wals_in_cloud(app, "cloud-wal-archive", server, "server configuration")
}

fn cloud_wal_restore(app: &App<'_>, args: &CloudWalRestoreArgs) -> bool {
    let name = Path::new(&args.wal_name);
    if let Some(wrong) = not_a_wal_file(name, name) {
        app.output.error(CLI, &wrong);
        return false;
    }
    let Some(server) = app.single("cloud-wal-restore", &args.server) else {
        return false;
    };
    wals_in_cloud(app, "cloud-wal-restore", server, "configuration of the server")
}

fn not_a_wal_file(name: &Path, given: &Path) -> Option<String> {
    let known = name
        .to_str()
        .is_some_and(|name| name.parse::<WalFileName>().is_ok());
    (!known).then(|| format!("File is not a valid WAL file: {}", given.display()))
}

fn wals_in_cloud(app: &App<'_>, command: &str, server: &ServerConfig, what: &str) -> bool {
    if !server.wals_in_cloud() {
        let text = format!(
            "{command} is not supported for server {} because no cloud storage configuration is set in \
             'wals_directory'. Please check the {what}.",
            server.name
        );
        app.output.error(CLI, &text);
    }
    server.wals_in_cloud()
}

fn sync_info(app: &App<'_>, args: &SyncInfoArgs) -> bool {
    if args.primary {
        passive(app, "sync-info", &args.server)
    } else {
        app.single("sync-info", &args.server).is_some()
    }
}

/// Whether the server exists, may be used, and gets its backups from another node.
fn passive(app: &App<'_>, command: &str, server: &str) -> bool {
    let Some(server) = app.single(command, server) else {
        return false;
    };
    if !server.is_passive() {
        app.output
            .error(CLI, &format!("server {} is not passive", server.name));
    }
    server.is_passive()
}
