//! The program `patroni_barman`; everything is in the library.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use patroni_barman::Journal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// How long a signal may take to end the program: the service is asked to end a restore, and the log gets a line. Less
/// than the ten seconds of Patroni.
const LAST_WORDS: Duration = Duration::from_secs(6);

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

/// Ends the program on the first signal, as the signal would have ended it, after one line that says so. A second signal
/// ends it at once.
fn watch(mut signals: Signals, journal: Arc<Journal>) {
    thread::spawn(move || {
        let mut last_words = None;
        for signal in signals.forever() {
            if last_words.is_some() {
                let _ = emulate_default_handler(signal);
            }
            let journal = journal.clone();
            last_words = Some(thread::spawn(move || {
                // Whoever does not read our log does not keep us alive either.
                thread::spawn(move || {
                    thread::sleep(LAST_WORDS);
                    let _ = emulate_default_handler(signal);
                });
                journal.interrupted(match signal {
                    SIGTERM => "SIGTERM",
                    SIGINT => "SIGINT",
                    _ => "SIGHUP",
                });
                let _ = emulate_default_handler(signal);
            }));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use patroni_barman::CANCELLATION;

    /// patroni-15: what `docs/differences.md` promises. The service gets less of it, so that the log has its line, and
    /// Patroni would kill after ten seconds.
    #[test]
    fn a_signal_ends_the_program_within_six_seconds() {
        assert_eq!(LAST_WORDS, Duration::from_secs(6));
        assert!(LAST_WORDS > CANCELLATION);
        assert!(LAST_WORDS < Duration::from_secs(10));
    }
}
