//! The program `patroni_barman`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(patroni_barman::run(
        std::env::args_os().skip(1),
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    ))
}
