//! The program as a function: arguments to exit code.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use crate::args::{self, Command, Global, Parsed};
use crate::client::{ApiError, ApiOptions, Attempts, PgBackupApi};
use crate::config_switch::{ConfigSwitchExit, ConfigSwitchOptions, Decision, decide, switch};
use crate::events::{Event, Host, Silent};
use crate::journal::Journal;
use crate::recover::{RecoverExit, RecoverOptions, recover};
use crate::tls::TlsOptions;
use crate::transport::Deadlines;

/// No sub-command was given (-1, as the process sees it).
pub const NO_COMMAND: u8 = 255;

/// The service answered that it is not OK (-2, as the process sees it).
pub const API_NOT_OK: u8 = 254;

/// The log file cannot be opened.
pub const NO_LOG: u8 = 1;

/// The command line cannot be read.
pub const USAGE: u8 = 2;

/// Runs the program with the words behind its name, and returns its exit code.
///
/// Help goes to `stdout`; usage errors, and the log without `--log-file`, to the journal's standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>, stdout: &mut dyn Write, journal: &Journal) -> u8 {
    // Patroni reads the exit code, not the text: a closed stream changes nothing.
    match args::parse(arguments) {
        Ok(Parsed::Help(text)) => {
            let _ = stdout.write_all(text.as_bytes());
            0
        }
        Ok(Parsed::NoCommand(global, help)) => {
            if !open_log(&global, journal) {
                return NO_LOG;
            }
            let _ = stdout.write_all(help.as_bytes());
            NO_COMMAND
        }
        Ok(Parsed::Run(global, command)) => {
            if !open_log(&global, journal) {
                return NO_LOG;
            }
            match command {
                Command::Recover(command) => run_recover(&global, command, journal),
                Command::ConfigSwitch(command) => run_config_switch(&global, command, journal),
            }
        }
        Err(usage) => {
            journal.complain(&usage);
            USAGE
        }
    }
}

fn open_log(global: &Global, journal: &Journal) -> bool {
    let Some(path) = &global.log_file else {
        return true;
    };
    match journal.open(path) {
        Ok(()) => true,
        Err(error) => {
            journal.complain(&format!(
                "patroni_barman: error: cannot open the log file {}: {error}\n",
                path.display()
            ));
            false
        }
    }
}

fn run_recover(global: &Global, command: args::Recover, journal: &Journal) -> u8 {
    let options = RecoverOptions {
        barman_server: command.barman_server,
        backup_id: command.backup_id,
        ssh_command: command.ssh_command,
        data_directory: command.data_directory,
        loop_wait: pause("--loop-wait", command.loop_wait, 10, journal),
        timeout: limit(command.timeout),
    };
    cancel_when_interrupted(global, &options.barman_server, journal);
    match connect(global, journal) {
        Ok(api) => recover(&api, &options, &mut &*journal).code(),
        Err(error) => refusal(&error, RecoverExit::HttpError.code(), journal),
    }
}

fn run_config_switch(global: &Global, command: args::ConfigSwitch, journal: &Journal) -> u8 {
    let options = ConfigSwitchOptions {
        barman_server: command.barman_server,
        barman_model: command.barman_model,
        reset: command.reset,
        role: command.role,
        switch_when: command.switch_when,
        timeout: limit(command.timeout),
    };
    // A node that has nothing to switch needs no service.
    let operation = match decide(&options, &mut &*journal) {
        Decision::Switch(operation) => operation,
        Decision::End(exit) => return exit.code(),
    };
    match connect(global, journal) {
        Ok(api) => switch(&api, &options, &operation, &mut &*journal).code(),
        Err(error) => refusal(&error, ConfigSwitchExit::HttpError.code(), journal),
    }
}

/// A restore that nobody waits for any more must not fill the directory on.
fn cancel_when_interrupted(global: &Global, server: &str, journal: &Journal) {
    // The whole has a limit of its own.
    let deadline = Duration::from_secs(4);
    let options = ApiOptions {
        tls: tls(global),
        deadlines: Deadlines {
            connect: deadline,
            answer: deadline,
        },
        attempts: Attempts::default(),
    };
    let (url, server) = (global.api_url.clone(), server.to_owned());
    journal.on_interruption(move |id| {
        let api = PgBackupApi::new(&url, options);
        api.is_ok_and(|api| api.cancel(&server, id, &mut Silent).unwrap_or(false))
    });
}

fn tls(global: &Global) -> TlsOptions {
    TlsOptions {
        cert_file: global.cert_file.clone(),
        key_file: global.key_file.clone(),
        ca_file: global.ca_file.clone(),
    }
}

/// A client of a service that says that it is well.
fn connect(global: &Global, journal: &Journal) -> Result<PgBackupApi, ApiError> {
    let options = ApiOptions {
        tls: tls(global),
        deadlines: Deadlines::default(),
        attempts: Attempts {
            max: global.max_retries,
            wait: pause("--retry-wait", global.retry_wait, 2, journal),
        },
    };
    let api = PgBackupApi::new(&global.api_url, options)?;
    api.check(&mut &*journal)?;
    Ok(api)
}

fn refusal(error: &ApiError, http_error: u8, mut journal: &Journal) -> u8 {
    journal.tell(&Event::ApiUnusable { error });
    match error {
        ApiError::NotOk { .. } => API_NOT_OK,
        _ => http_error,
    }
}

/// Nobody can wait for less than nothing.
fn pause(option: &str, seconds: i64, default: u64, mut journal: &Journal) -> Duration {
    let used = u64::try_from(seconds).unwrap_or_else(|_| {
        journal.tell(&Event::Adjusted {
            option,
            given: seconds,
            used: default,
        });
        default
    });
    Duration::from_secs(used)
}

/// A limit of nothing or less is none.
fn limit(seconds: Option<i64>) -> Option<Duration> {
    seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}
