//! From the command line to a configuration: which file, which user, which log, which output (`cli.md` 2).

use crate::args::{Color, Command, Invocation, OutputFormat};
use crate::output::{Format, LogStreams, Output, Settings};
use crate::redact::redact;
use crate::{environment, logging, user};
use barman_core::Failure;
use barman_core::config::error::{MISSING_PARAMETERS, Shown};
use barman_core::config::{self, Config, ConfigError, MainFile, Search};
use std::io::{self, IsTerminal, Write};

/// What is there before the configuration is complete.
pub struct Started {
    /// The output layer, in the form that the user asked for.
    pub output: Output,
    main: MainFile,
}

/// Finds and reads the main configuration file as the calling user, becomes the configured user, opens log and output.
///
/// # Errors
///
/// The exit code, after the reason was printed: at this point always as plain text.
pub fn start(invocation: &Invocation) -> Result<Started, u8> {
    let (variable, home) = (environment::config_file(), environment::home());
    let search = Search {
        option: invocation.config.as_deref(),
        environment: variable.as_deref(),
        home: home.as_deref(),
    };
    let main = config::locate(&search)
        .and_then(|path| MainFile::read(&path))
        .map_err(|error| early_config_error(&error))?;
    user::switch_to(&main.globals.barman_user).map_err(|error| plain(&format!("ERROR: {error}")))?;
    let globals = &main.globals;
    let streams = logging::install(&logging::Settings {
        file: globals.log_file.as_deref(),
        level: globals.log_level.as_deref(),
        level_override: invocation.log_level,
        format: globals.log_format.as_deref(),
    });
    let output = Output::new(output_settings(invocation, streams));
    Ok(Started { output, main })
}

impl Started {
    /// Reads the included files as the configured user and resolves every section.
    ///
    /// # Errors
    ///
    /// The exit code, after the reason was reported.
    pub fn complete(self) -> Result<(Output, Config), u8> {
        let Self { output, main } = self;
        match main.complete(environment::home().as_deref()) {
            Ok(config) => Ok((output, config)),
            Err(error) => Err(late_config_error(&output, &error)),
        }
    }
}

fn output_settings(invocation: &Invocation, log: LogStreams) -> Settings {
    let nagios = matches!(&invocation.command, Some(Command::Check(check)) if check.nagios);
    let format = match invocation.format {
        _ if nagios => Format::Nagios,
        OutputFormat::Console => Format::Console,
        OutputFormat::Json => Format::Json,
    };
    let (stdout, stderr) = (io::stdout().is_terminal(), io::stderr().is_terminal());
    let color = match invocation.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => stdout && stderr && !environment::no_color(),
    };
    let progress = stderr && format == Format::Console && !invocation.quiet;
    Settings {
        format,
        quiet: invocation.quiet,
        debug: invocation.debug,
        color,
        progress,
        log,
    }
}

/// The log and the format are not known yet: the reason can only be printed.
fn early_config_error(error: &ConfigError) -> u8 {
    match error.shown() {
        Shown::Plain => plain(&error.to_string()),
        Shown::Exception | Shown::Required => {
            let output = Output::new(Settings::default());
            output.failure("barman.cli", error);
            output.finish()
        }
    }
}

fn late_config_error(output: &Output, error: &ConfigError) -> u8 {
    match error.shown() {
        Shown::Exception => {
            output.failure("barman.cli", error);
            output.finish()
        }
        Shown::Plain => {
            log::error!(target: "barman.config", "{error}");
            plain_with_hint(output, &error.to_string(), error)
        }
        Shown::Required => {
            log::error!(target: "barman.cli", "{error}");
            plain_with_hint(output, &format!("ERROR: {error}\n{MISSING_PARAMETERS}"), error)
        }
    }
}

fn plain_with_hint(output: &Output, text: &str, error: &ConfigError) -> u8 {
    let code = plain(text);
    if let Some(hint) = error.hint() {
        output.hint(&hint);
    }
    code
}

/// A plain line on standard error, and the exit code for it.
fn plain(text: &str) -> u8 {
    let _ = writeln!(io::stderr(), "{}", redact(text));
    1
}
