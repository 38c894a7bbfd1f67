//! Hook scripts: the commands of the `{pre,post}_*_script` options, their environment, their retries.
//!
//! A standard script runs once and never stops anything. A retry script runs until it exits with 0, 62
//! (`ABORT_CONTINUE`) or 63 (`ABORT_STOP`); only 63 of a *pre* script stops the operation.

use barman_catalog::{BackupInfo, Catalog, Layout};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::command::{self, CommandError, CommandLine, Finished, Stream};
use super::environment;
use crate::config::ServerConfig;
use crate::context::{Cancel, Context};
use crate::failure::{Class, Failure};

/// Name under which the log records hook scripts.
const TARGET: &str = "barman.hooks";
/// Exit code of a retry script: do not repeat, go on.
const ABORT_CONTINUE: i32 = 62;
/// Exit code of a retry script: do not repeat, stop the operation.
const ABORT_STOP: i32 = 63;
/// Failures with a short wait before the long one.
const ATTEMPTS_BEFORE_BREAK: u32 = 5;
/// Wait after each of the first failures.
const RETRY_TIME: Duration = Duration::from_secs(3);
/// Wait after the failure that follows them.
const BREAK_TIME: Duration = Duration::from_secs(60);

/// What the scripts are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookEvent {
    /// `backup`.
    Backup,
    /// One WAL file is archived.
    Archive,
    /// A backup is deleted.
    Delete,
    /// One WAL file is deleted.
    WalDelete,
    /// `restore`.
    Recovery,
}

impl HookEvent {
    fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Archive => "archive",
            Self::Delete => "delete",
            Self::WalDelete => "wal_delete",
            Self::Recovery => "recovery",
        }
    }
}

/// Before or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPhase {
    /// Before the action.
    Pre,
    /// After the action.
    Post,
}

impl HookPhase {
    fn word(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// Why an operation must not go on after its hook scripts.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A retry script of the `pre` phase exited with 63.
    #[error("Abort '{option}' retry hook script ({command}, exit code: {ABORT_STOP})")]
    AbortStop {
        /// The option, for example `pre_backup_retry_script`.
        option: String,
        /// The shell command.
        command: String,
    },
    /// The operation was asked to stop while a script ran, or between two attempts.
    #[error("interrupted while hook script '{option}' was running")]
    Interrupted {
        /// The option.
        option: String,
    },
}

impl Failure for HookError {
    fn class(&self) -> Class {
        match self {
            Self::AbortStop { .. } => Class::Error,
            Self::Interrupted { .. } => Class::Interrupted,
        }
    }
}

/// Whether any script of this event and phase is configured: callers that must compute the variables at some cost
/// ask first.
#[must_use]
pub fn configured(config: &ServerConfig, event: HookEvent, phase: HookPhase) -> bool {
    [false, true]
        .iter()
        .any(|retry| config.hook(&option_name(event, phase, *retry)).is_some())
}

/// Runs the scripts of one event and phase: `pre` the standard one, then the retry one; `post` the other way round.
///
/// `variables` are the variables of the event (`BARMAN_BACKUP_ID` ...); those common to all hooks are added here, and
/// `BARMAN_ERROR` is empty unless it is given.
///
/// # Errors
/// [`HookError::AbortStop`] for a `pre` retry script that exits with 63; [`HookError::Interrupted`].
pub fn run(
    config: &ServerConfig,
    event: HookEvent,
    phase: HookPhase,
    variables: &[(&str, String)],
    ctx: &Context<'_>,
) -> Result<(), HookError> {
    let order = match phase {
        HookPhase::Pre => [false, true],
        HookPhase::Post => [true, false],
    };
    for retry in order {
        let option = option_name(event, phase, retry);
        let Some(script) = config.hook(&option) else {
            continue;
        };
        let hook = Hook {
            option: &option,
            script,
            env: environment_of(config, event, phase, retry, variables),
        };
        if retry {
            hook.run_until_done(phase, ctx)?;
        } else {
            hook.run_once(ctx)?;
        }
    }
    Ok(())
}

fn option_name(event: HookEvent, phase: HookPhase, retry: bool) -> String {
    format!("{}_{}", phase.word(), hook_name(event, retry))
}

fn hook_name(event: HookEvent, retry: bool) -> String {
    format!("{}{}_script", event.word(), if retry { "_retry" } else { "" })
}

fn environment_of(
    config: &ServerConfig,
    event: HookEvent,
    phase: HookPhase,
    retry: bool,
    variables: &[(&str, String)],
) -> Vec<(String, OsString)> {
    let mut env: Vec<(String, OsString)> = vec![
        ("BARMAN_VERSION".into(), "3.20.1".into()),
        ("BARMAN_SERVER".into(), config.name.clone().into()),
        ("BARMAN_CONFIGURATION".into(), path_text(&config.config_path)),
        ("BARMAN_HOOK".into(), hook_name(event, retry).into()),
        ("BARMAN_PHASE".into(), phase.word().into()),
        ("BARMAN_RETRY".into(), if retry { "1" } else { "0" }.into()),
        ("BARMAN_ERROR".into(), OsString::new()),
    ];
    if let Some(path) = environment::search_path(config.path_prefix.as_deref()) {
        env.push(("PATH".into(), path));
    }
    // A later pair of the same name replaces an earlier one. A NUL cannot be passed on and never belongs there.
    env.extend(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.replace('\0', "").into())),
    );
    env
}

fn path_text(path: &Path) -> OsString {
    path.as_os_str().to_owned()
}

struct Hook<'a> {
    option: &'a str,
    script: &'a str,
    env: Vec<(String, OsString)>,
}

impl Hook<'_> {
    fn attempt(&self, ctx: &Context<'_>) -> Result<Option<i32>, HookError> {
        let command = CommandLine {
            env: self.env.clone(),
            ..CommandLine::shell(self.script)
        };
        log::debug!(target: TARGET, "Attempt to run {}: {}", self.option, self.script);
        // Scripts after an interrupted operation still run.
        let unasked = Cancel::new();
        let cancel = if ctx.cancel.is_requested() {
            &unasked
        } else {
            ctx.cancel
        };
        let result = command::run(&command, cancel, &mut |stream, line| match stream {
            Stream::Stdout => log::debug!(target: TARGET, "{line}"),
            Stream::Stderr => log::warn!(target: TARGET, "{line}"),
        });
        match result {
            Ok(finished) => {
                if finished.success() {
                    log::debug!(target: TARGET, "{} returned 0", self.option);
                } else {
                    self.warn_failed(&finished);
                }
                Ok(finished.code)
            }
            Err(CommandError::Cancelled { .. }) => Err(HookError::Interrupted {
                option: self.option.to_owned(),
            }),
            Err(error) => {
                log::error!(target: TARGET, "Error running {}: {error}", self.option);
                Ok(None)
            }
        }
    }

    fn warn_failed(&self, finished: &Finished) {
        let status = match (finished.code, finished.signal) {
            (Some(code), _) => code.to_string(),
            (None, Some(signal)) => format!("-{signal}"),
            (None, None) => "unknown".to_owned(),
        };
        log::warn!(
            target: TARGET,
            "{} returned {status}\nOutput details:\n{}{}",
            self.option,
            String::from_utf8_lossy(&finished.stdout),
            String::from_utf8_lossy(&finished.stderr)
        );
    }

    /// A standard script: whatever it returns, the operation goes on.
    fn run_once(&self, ctx: &Context<'_>) -> Result<(), HookError> {
        self.attempt(ctx).map(|_| ())
    }

    /// A retry script: repeats until 0, 62 or 63.
    fn run_until_done(&self, phase: HookPhase, ctx: &Context<'_>) -> Result<(), HookError> {
        // Hooks that run because the operation was interrupted get one attempt, not an endless series.
        let interrupted_before = ctx.cancel.is_requested();
        let mut failures: u32 = 0;
        loop {
            match self.attempt(ctx)? {
                Some(0) => return Ok(()),
                Some(ABORT_CONTINUE) => {
                    log::warn!(
                        target: TARGET,
                        "hook script '{}' asked not to be repeated (exit code: {ABORT_CONTINUE})",
                        self.option
                    );
                    return Ok(());
                }
                Some(ABORT_STOP) => {
                    let abort = HookError::AbortStop {
                        option: self.option.to_owned(),
                        command: self.script.to_owned(),
                    };
                    return match phase {
                        HookPhase::Pre => Err(abort),
                        HookPhase::Post => {
                            log::warn!(target: TARGET, "Ignoring stop request after receiving abort: {abort}");
                            Ok(())
                        }
                    };
                }
                _ => {}
            }
            if interrupted_before {
                return Ok(());
            }
            let wait = if failures < ATTEMPTS_BEFORE_BREAK {
                RETRY_TIME
            } else {
                BREAK_TIME
            };
            failures = if failures < ATTEMPTS_BEFORE_BREAK {
                failures + 1
            } else {
                0
            };
            log::warn!(
                target: TARGET,
                "hook script '{}' failed: trying again in {} seconds",
                self.option,
                wait.as_secs()
            );
            self.sleep(wait, ctx)?;
        }
    }

    /// Sleeps in slices, so that a request to stop is seen at once.
    fn sleep(&self, total: Duration, ctx: &Context<'_>) -> Result<(), HookError> {
        const SLICE: Duration = Duration::from_millis(250);
        let mut left = total;
        while !left.is_zero() {
            if ctx.cancel.is_requested() {
                return Err(HookError::Interrupted {
                    option: self.option.to_owned(),
                });
            }
            let slice = left.min(SLICE);
            ctx.clock.sleep(slice);
            left = left.saturating_sub(slice);
        }
        Ok(())
    }
}

/// What every script around a backup learns about it: its paths, status, error, and the neighbours that can be restored
/// (empty if there are none).
#[must_use]
pub fn backup_variables(
    layout: &Layout,
    catalog: &Catalog,
    backup: &BackupInfo,
) -> Vec<(&'static str, String)> {
    let id = |backup: Option<&BackupInfo>| backup.map(|backup| backup.id.to_string()).unwrap_or_default();
    vec![
        (
            "BARMAN_BACKUP_DIR",
            layout.base_directory(backup.id).display().to_string(),
        ),
        (
            "BARMAN_BACKUP_INFO_PATH",
            layout.backup_info(backup.id).display().to_string(),
        ),
        ("BARMAN_BACKUP_ID", backup.id.to_string()),
        ("BARMAN_PREVIOUS_ID", id(catalog.previous(backup.id))),
        ("BARMAN_NEXT_ID", id(catalog.next(backup.id))),
        ("BARMAN_STATUS", backup.status.to_string()),
        ("BARMAN_ERROR", backup.error.clone().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::context::{Cancel, CancelCause, Clock, Silent};
    use std::sync::Mutex;

    /// A clock that does not sleep, but remembers how long it was told to.
    #[derive(Default)]
    struct Slept(Mutex<Duration>);

    impl Clock for Slept {
        fn now(&self) -> jiff::Zoned {
            jiff::Zoned::now()
        }

        fn sleep(&self, duration: Duration) {
            *self.0.lock().unwrap() += duration;
        }
    }

    struct Host {
        directory: tempfile::TempDir,
        config: ServerConfig,
    }

    /// A server with these options; `DIR` in them is a fresh directory.
    fn host(options: &str) -> Host {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c");
        let options = options.replace("DIR", &directory.path().display().to_string());
        std::fs::write(&path, format!("[barman]\nbarman_home = /nowhere\n[s]\n{options}")).unwrap();
        let config = Config::load(&path, None).unwrap().server("s").unwrap().clone();
        Host { directory, config }
    }

    impl Host {
        fn run(&self, event: HookEvent, phase: HookPhase) -> (Result<(), HookError>, u64) {
            let (cancel, clock) = (Cancel::new(), Slept::default());
            let ctx = Context {
                progress: &Silent,
                cancel: &cancel,
                clock: &clock,
            };
            let variables = [("BARMAN_BACKUP_ID", "20261121T044724".to_owned())];
            let result = run(&self.config, event, phase, &variables, &ctx);
            let slept = clock.0.lock().unwrap().as_secs();
            (result, slept)
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
        }
    }

    #[test]
    fn the_order_of_scripts() {
        let options: String = ["pre", "post"]
            .iter()
            .flat_map(|phase| {
                [("", "standard"), ("_retry", "retry")].map(|(infix, word)| (phase, infix, word))
            })
            .map(|(phase, infix, word)| {
                format!("{phase}_delete{infix}_script = echo {phase} {word} >> DIR/log\n")
            })
            .collect();
        let host = host(&options);
        host.run(HookEvent::Delete, HookPhase::Pre).0.unwrap();
        host.run(HookEvent::Delete, HookPhase::Post).0.unwrap();
        host.run(HookEvent::WalDelete, HookPhase::Pre).0.unwrap();
        assert_eq!(
            host.read("log"),
            "pre standard\npre retry\npost retry\npost standard\n"
        );
        assert!(configured(&host.config, HookEvent::Delete, HookPhase::Post));
        assert!(!configured(&host.config, HookEvent::WalDelete, HookPhase::Post));
    }

    #[test]
    fn the_environment_of_a_script() {
        let host = host("path_prefix = /prefix\npre_backup_retry_script = env > DIR/env; cat >> DIR/env\n");
        host.run(HookEvent::Backup, HookPhase::Pre).0.unwrap();
        let text = host.read("env");
        for line in [
            "BARMAN_VERSION=3.20.1",
            "BARMAN_SERVER=s",
            &format!(
                "BARMAN_CONFIGURATION={}",
                host.directory.path().join("c").display()
            ),
            "BARMAN_HOOK=backup_retry_script",
            "BARMAN_PHASE=pre",
            "BARMAN_RETRY=1",
            "BARMAN_ERROR=",
            "BARMAN_BACKUP_ID=20261121T044724",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(
            text.lines().any(|line| line.starts_with("PATH=/prefix:/")),
            "{text}"
        );
    }

    #[test]
    fn exit_codes_of_retry_scripts() {
        // Fails as often as the first word says, then exits with the second.
        let script = |failures: u32, code: u32| {
            format!("echo x >> DIR/n; [ $(wc -l < DIR/n) -gt {failures} ] || exit 126; exit {code}\n")
        };
        for (failures, code, slept) in [(0, 0, 0), (2, 0, 6), (6, 62, 75), (7, 0, 78), (1, 63, 3)] {
            let host = host(&format!("pre_archive_retry_script = {}", script(failures, code)));
            let (result, waited) = host.run(HookEvent::Archive, HookPhase::Pre);
            assert_eq!(waited, slept, "{failures} failures, then {code}");
            match result {
                Ok(()) => assert_ne!(code, 63),
                Err(error) => {
                    assert_eq!(code, 63);
                    let text = error.to_string();
                    assert!(
                        text.starts_with("Abort 'pre_archive_retry_script' retry hook script (echo x"),
                        "{text}"
                    );
                    assert!(text.ends_with(", exit code: 63)"), "{text}");
                }
            }
        }
    }

    #[test]
    fn only_a_pre_retry_script_can_stop() {
        for (option, event, phase) in [
            (
                "pre_recovery_script = exit 63",
                HookEvent::Recovery,
                HookPhase::Pre,
            ),
            (
                "post_recovery_script = exit 63",
                HookEvent::Recovery,
                HookPhase::Post,
            ),
            (
                "post_recovery_retry_script = exit 63",
                HookEvent::Recovery,
                HookPhase::Post,
            ),
            (
                "pre_backup_script = /nonexistent/program",
                HookEvent::Backup,
                HookPhase::Pre,
            ),
            (
                "pre_backup_script = kill -9 $$",
                HookEvent::Backup,
                HookPhase::Pre,
            ),
        ] {
            let (result, slept) = host(option).run(event, phase);
            assert!(result.is_ok() && slept == 0, "{option}");
        }
    }

    #[test]
    fn a_retrying_script_can_be_interrupted() {
        let host =
            host("pre_backup_retry_script = exit 1\npost_backup_retry_script = echo x >> DIR/n; exit 1\n");
        let cancel = Cancel::new();
        /// Asks to stop after the fifth sleep.
        struct Impatient<'a>(&'a Cancel, Mutex<u32>);
        impl Clock for Impatient<'_> {
            fn now(&self) -> jiff::Zoned {
                jiff::Zoned::now()
            }
            fn sleep(&self, _: Duration) {
                let mut count = self.1.lock().unwrap();
                *count += 1;
                if *count == 5 {
                    self.0.request(CancelCause::Terminate);
                }
            }
        }
        let clock = Impatient(&cancel, Mutex::new(0));
        let ctx = Context {
            progress: &Silent,
            cancel: &cancel,
            clock: &clock,
        };
        let result = run(&host.config, HookEvent::Backup, HookPhase::Pre, &[], &ctx);
        assert!(matches!(result, Err(HookError::Interrupted { .. })));
        // What runs after the interruption runs, once.
        run(&host.config, HookEvent::Backup, HookPhase::Post, &[], &ctx).unwrap();
        assert_eq!(host.read("n"), "x\n");
    }
}
