//! `barman backup`.

use super::backup_json;
use crate::app::App;
use crate::args::commands::{self, BackupArgs, ReuseBackup};
use crate::signals;
use barman_core::Server;
use barman_core::config::{self, ServerConfig};
use barman_core::ops::backup::{self, BackupOptions, BackupReport, Wait};
use serde_json::Value;
use std::ops::ControlFlow;
use std::time::Duration;

/// How many servers are backed up: with several, each gets a member of its own in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Servers {
    One,
    Several,
}

pub(super) fn run(app: &App<'_>, args: &BackupArgs) {
    let options = options(args);
    let several = app.config.select(&args.servers).entries.len() > 1;
    let servers = if several { Servers::Several } else { Servers::One };
    app.for_each("backup", &args.servers, |config| {
        one(app, config, &options, servers)
    });
}

fn options(args: &BackupArgs) -> BackupOptions {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    BackupOptions {
        name: args.name.clone(),
        wait: match (args.wait, args.wait_timeout) {
            (false, _) => Wait::No,
            (true, None | Some(0)) => Wait::Forever,
            (true, Some(seconds)) => Wait::AtMost(Duration::from_secs(seconds)),
        },
        immediate_checkpoint: commands::choice(args.immediate_checkpoint, args.no_immediate_checkpoint),
        incremental: args.incremental.clone(),
        reuse_backup: args.reuse_backup.map(|reuse| match reuse {
            ReuseBackup::Copy => config::ReuseBackup::Copy,
            ReuseBackup::Link => config::ReuseBackup::Link,
            ReuseBackup::Off => config::ReuseBackup::Off,
        }),
        retry_times: args.copy.retries().map(small),
        retry_sleep: args.copy.retry_sleep.map(Duration::from_secs),
        jobs: args.copy.jobs.map(small),
        bandwidth_limit: args.copy.bwlimit,
        keepalive_interval: args.keepalive_interval.map(Duration::from_secs),
        manifest: commands::choice(args.manifest, args.no_manifest),
        check_timeout: args.check_timeout.map(Duration::from_secs),
    }
}

fn one(app: &App<'_>, config: &ServerConfig, options: &BackupOptions, servers: Servers) -> ControlFlow<()> {
    let server = Server::new(config.clone()).with_interrupt(app.cancel.flag());
    // Whoever names a backup that is not there is told so at once, and no other server is worked on.
    if let Some(parent) = &options.incremental
        && app.backup_id(&server, parent).is_none()
    {
        return ControlFlow::Break(());
    }
    match backup::run(&server, options, &app.context()) {
        Ok(report) => {
            render(app, &report, servers);
            match report.interrupted {
                Some(cause) => {
                    // A backup that failed says so, and exits, as it would for any other reason.
                    if report.is_whole() {
                        app.output.exit_with(signals::exit_code(cause));
                    }
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            }
        }
        Err(error) => app.failure(&error),
    }
}

fn render(app: &App<'_>, report: &BackupReport, servers: Servers) {
    let fields = backup_json::fields(&report.info);
    if servers == Servers::Several {
        app.output
            .member(&report.info.server_name, Value::Object(fields.clone()));
    }
    for (key, value) in fields {
        app.output.member(&key, value);
    }
    if !report.is_whole() {
        app.output.fail();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Command};

    fn parsed(line: &str) -> BackupOptions {
        let words = ["barman", "backup"]
            .into_iter()
            .chain(line.split_whitespace())
            .map(Into::into);
        match args::parse(words).unwrap().command {
            Some(Command::Backup(args)) => options(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_of_the_command_line() {
        assert_eq!(parsed("main"), BackupOptions::default());
        assert_eq!(parsed("--wait-timeout 5 main").wait, Wait::No);
        assert_eq!(parsed("--wait main").wait, Wait::Forever);
        assert_eq!(parsed("-w --wait-timeout 0 main").wait, Wait::Forever);
        assert_eq!(
            parsed("-w --wait-timeout 5 main").wait,
            Wait::AtMost(Duration::from_secs(5))
        );
        let options = parsed(
            "--no-retry --bwlimit 0 --reuse-backup=off --no-manifest --check-timeout 0 -j 3 --name n main",
        );
        assert_eq!(
            (options.retry_times, options.bandwidth_limit, options.jobs),
            (Some(0), Some(0), Some(3))
        );
        assert_eq!(
            (options.reuse_backup, options.manifest),
            (Some(config::ReuseBackup::Off), Some(false))
        );
        assert_eq!(
            (options.check_timeout, options.name),
            (Some(Duration::ZERO), Some("n".to_owned()))
        );
    }
}
