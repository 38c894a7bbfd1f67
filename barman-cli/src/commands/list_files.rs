//! `barman list-files`: one path a line, written as it is found.

use crate::app::{App, CLI};
use crate::args::commands::{ListFilesArgs, ListFilesTarget};
use barman_catalog::listing::EmptyDirectories;
use barman_core::Server;
use barman_core::ops::list_files::{self, ListFilesError, Target};

pub(super) fn run(app: &App<'_>, args: &ListFilesArgs) {
    let Some(config) = app.single("list-files", &args.server) else {
        return;
    };
    let server = Server::new(config.clone());
    let target = match args.target {
        ListFilesTarget::Standalone => Target::Standalone,
        ListFilesTarget::Data => Target::Data,
        ListFilesTarget::Wal => Target::Wal,
        ListFilesTarget::Full => Target::Full,
    };
    let empty = if args.list_empty_directories {
        EmptyDirectories::Show
    } else {
        EmptyDirectories::Skip
    };
    let mut paths = app.output.paths();
    let result = list_files::run(
        &server,
        &args.backup_id,
        target,
        empty,
        &mut |path| paths.push(path),
        &app.context(),
    );
    // What is told below comes after the list.
    drop(paths);
    match result {
        Ok(report) => {
            for warning in &report.warnings {
                app.output.warning(CLI, warning);
            }
            for problem in &report.problems {
                app.output.error(CLI, problem);
            }
        }
        Err(error) => {
            let _ = app.failure(&error);
            if let ListFilesError::Resolve(reason) = &error {
                app.backup_hint(&server, reason);
            }
        }
    }
}
