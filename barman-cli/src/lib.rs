//! The command `barman` as a library: the thin binary hands its arguments to [`run`] and ends with the exit code.
//!
//! Everything that users see is made here: the grammar ([`args`]), messages, results and progress ([`output`]), the
//! log ([`logging`]), and [`redact`] keeps secrets out of all of it. What the commands do lives in `barman_core`.
//!
//! ```
//! let early = barman_cli::args::parse(["barman", "--version"].map(Into::into)).unwrap_err();
//! assert!(early.text.starts_with("3.20.1 Barman by EnterpriseDB"));
//! assert_eq!(early.exit_code, 0);
//! ```

pub mod app;
pub mod args;
pub mod commands;
pub mod completion;
mod environment;
pub use barman_core::format;
pub mod logging;
pub mod output;
pub mod redact;
pub mod select;
pub mod signals;
pub mod startup;
pub mod user;

use app::{App, CLI};
use args::{Command, Invocation};
use barman_core::Cancel;
use output::Output;
use signals::Ignored;
use std::ffi::OsString;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Runs the program with these words, the first one its own name, and returns the exit code.
///
/// Installs the log, signal handling and a panic hook: call it once, from `main`.
#[must_use]
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    if let Some(variables) = environment::completion() {
        return completion::answer(&variables);
    }
    let invocation = match args::parse(words) {
        Ok(invocation) => invocation,
        Err(early) => {
            if early.exit_code == 0 {
                return print(&early.text);
            }
            // A closed stream changes nothing about what was asked.
            let _ = io::stderr().write_all(redact::redact(&early.text).as_bytes());
            return early.exit_code;
        }
    };
    if let Some(Command::Completion(_)) = invocation.command {
        // Read by shells as they start: no configuration is looked for.
        return print(completion::BASH);
    }
    match startup::start(&invocation).and_then(startup::Started::complete) {
        Ok((output, config)) => run_command(&invocation, &config, &output),
        Err(code) => code,
    }
}

/// Writes what needs no configuration to standard output, and returns the exit code.
fn print(text: &str) -> u8 {
    let output = Output::new(output::Settings::default());
    output.text(text);
    output.finish()
}

fn run_command(invocation: &Invocation, config: &barman_core::config::Config, output: &Output) -> u8 {
    log::debug!(target: CLI, "Initialised {} (config: {}, args: {invocation:?})", args::VERSION, config.path.display());
    let command = invocation.command.clone().unwrap_or(Command::Help);
    let cancel = Cancel::new();
    let ignored = if matches!(command, Command::ReceiveWal(_)) {
        Ignored::ExceptInterrupt
    } else {
        Ignored::Keep
    };
    if let Err(error) = signals::listen(cancel.clone(), ignored) {
        output.warning(
            CLI,
            &format!("cannot listen for signals, they end the program at once: {error}"),
        );
    }
    let panic = remember_panics();
    let app = App {
        config,
        output,
        cancel: &cancel,
    };
    if catch_unwind(AssertUnwindSafe(|| commands::dispatch(&app, &command))).is_err() {
        let text = panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        output.exception(CLI, &text.unwrap_or_else(|| "internal error".to_owned()));
    }
    output.finish()
}

/// Keeps the text of a panic instead of printing it, so that the output layer can tell it in its own form.
fn remember_panics() -> Arc<Mutex<Option<String>>> {
    let memory = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&memory);
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let what = text.unwrap_or("unknown reason");
        let place = info
            .location()
            .map_or_else(String::new, |location| format!(" at {location}"));
        let text = format!("internal error: {what}{place}");
        log::error!(target: CLI, "{text}\n{}", std::backtrace::Backtrace::capture());
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }));
    memory
}
