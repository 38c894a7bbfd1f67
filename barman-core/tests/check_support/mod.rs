//! What tests of `check` share.

use std::path::PathBuf;

use barman_catalog::Layout;
use barman_core::config::Config;
use barman_core::context::{Silent, SystemClock};
use barman_core::ops::check::{self, CheckOptions, CheckReport};
use barman_core::{Cancel, Context, Server};

/// A Barman host with one server, `main`.
pub struct Host {
    pub directory: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub fn server(&self, settings: &str) -> Server {
        let path = self.directory.path().join("barman.conf");
        std::fs::create_dir_all(self.home()).unwrap();
        std::fs::write(
            &path,
            format!(
                "[barman]\nbarman_home = {}\n[main]\n{settings}",
                self.home().display()
            ),
        )
        .unwrap();
        Server::new(Config::load(&path, None).unwrap().server("main").unwrap().clone())
    }

    /// A catalogue with WAL, so that nothing has to be archived.
    pub fn with_wal(&self) -> Layout {
        let layout = Layout::new("main", self.home());
        std::fs::create_dir_all(&layout.wals_directory).unwrap();
        std::fs::write(
            layout.xlogdb(),
            "000000010000000000000003\t16777216\t1795236733.80\tNone\tNone\n\
             000000010000000000000004\t16777216\t1795236734.80\tNone\tNone\n",
        )
        .unwrap();
        layout
    }
}

/// Checks it.
pub fn run(server: &mut Server) -> CheckReport {
    let cancel = Cancel::new();
    let ctx = Context {
        progress: &Silent,
        cancel: &cancel,
        clock: &SystemClock,
    };
    check::run(server, &CheckOptions::default(), &ctx).unwrap()
}

/// The report as the console shows it.
pub fn lines(report: &CheckReport) -> Vec<String> {
    report
        .results
        .iter()
        .map(|result| {
            let hint = if result.hint.is_empty() {
                String::new()
            } else {
                format!(" ({})", result.hint)
            };
            format!("{}: {}{hint}", result.name, result.status())
        })
        .collect()
}
