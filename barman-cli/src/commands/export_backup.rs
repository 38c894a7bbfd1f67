//! `barman export-backup`. The operation tells what it does; nothing is left to render.

use crate::app::App;
use crate::args::commands::{ExportBackupArgs, ExportCompression};
use barman_catalog::tarball::Compression;
use barman_core::ops::export_backup::{self, ExportBackupOptions};

pub(super) fn run(app: &App<'_>, args: &ExportBackupArgs) {
    let Some((server, backup)) = app.backup("export-backup", &args.server, &args.backup_id) else {
        return;
    };
    let options = ExportBackupOptions {
        directory: args.output_directory.clone(),
        compression: args.compression.map(|compression| match compression {
            ExportCompression::Gzip => Compression::Gzip,
            ExportCompression::Bzip2 => Compression::Bzip2,
            ExportCompression::Xz => Compression::Xz,
        }),
        level: args.compression_level,
    };
    if let Err(error) = export_backup::run(&server, &backup, &args.backup_id, &options, &app.context()) {
        let _ = app.failure(&error);
    }
}
