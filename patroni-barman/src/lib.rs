//! The library behind `patroni_barman`, the program by which Patroni restores from Barman and switches a server's
//! configuration model on role changes.
//!
//! The grammar is complete: what Patroni calls today parses or is refused as before. The work itself is not yet
//! there, and [`run`] says so by name.
//!
//! ```
//! let mut stderr = Vec::new();
//! let arguments = ["--api-url", "http://localhost:7480", "recover"].map(Into::into);
//! let code = patroni_barman::run(arguments, &mut std::io::sink(), &mut stderr);
//! assert_eq!(code, 2);
//! assert!(String::from_utf8(stderr).unwrap().contains("--barman-server, --ssh-command, --data-directory/--datadir"));
//! ```

pub mod args;
mod parser;

use args::{Command, Parsed};
use std::ffi::OsString;
use std::io::Write;

/// No sub-command was given (-1, as the process sees it).
pub const NO_COMMAND: u8 = 255;

/// Runs the program with the words behind its name, and returns its exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    // Patroni reads the exit code, not the text: a closed stream changes nothing.
    match args::parse(arguments) {
        Ok(Parsed::Help(text)) => {
            let _ = stdout.write_all(text.as_bytes());
            0
        }
        Ok(Parsed::NoCommand(help)) => {
            let _ = stdout.write_all(help.as_bytes());
            NO_COMMAND
        }
        Ok(Parsed::Run(_, command)) => {
            let name = match command {
                Command::Recover(_) => "recover",
                Command::ConfigSwitch(_) => "config-switch",
            };
            let _ = writeln!(
                stderr,
                "ERROR: {name} is not yet available in this version of patroni_barman"
            );
            1
        }
        Err(usage) => {
            let _ = stderr.write_all(usage.as_bytes());
            2
        }
    }
}
