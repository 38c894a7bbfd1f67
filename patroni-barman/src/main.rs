//! The program `patroni_barman`; everything is in the library.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use patroni_barman::Journal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

fn main() -> ExitCode {
    let journal = Arc::new(Journal::new(Box::new(io::stderr())));
    // Without the thread signals end the program too, but say nothing.
    if let Ok(signals) = Signals::new([SIGTERM, SIGINT, SIGHUP]) {
        watch(signals, journal.clone());
    }
    ExitCode::from(patroni_barman::run(
        std::env::args_os().skip(1),
        &mut io::stdout(),
        &journal,
    ))
}

/// Ends the program on the first signal, as the signal would have ended it, after one line that says so.
fn watch(mut signals: Signals, journal: Arc<Journal>) {
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // Whoever does not read our log does not keep us alive either.
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(1));
                let _ = emulate_default_handler(signal);
            });
            journal.interrupted(match signal {
                SIGTERM => "SIGTERM",
                SIGINT => "SIGINT",
                _ => "SIGHUP",
            });
            let _ = emulate_default_handler(signal);
        }
    });
}
