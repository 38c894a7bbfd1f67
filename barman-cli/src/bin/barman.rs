//! The program `barman`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(barman_cli::run(std::env::args_os()))
}
