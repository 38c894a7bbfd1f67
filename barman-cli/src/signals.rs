//! Turns SIGINT, SIGTERM and SIGHUP into a [`Cancel`] that operations look at. The second signal ends the process.

use barman_core::{Cancel, CancelCause};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::io;

/// Whether signals that the caller made us ignore stay ignored (`nohup`, background jobs of scripts).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// They stay ignored.
    Keep,
    /// SIGINT counts all the same: `receive-wal` is stopped by it.
    ExceptInterrupt,
}

/// Starts listening.
///
/// # Errors
///
/// The handlers cannot be set up, or the thread cannot be started.
pub fn listen(cancel: Cancel, ignored: Ignored) -> io::Result<()> {
    let mask = std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_mask(&status));
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| {
        let is_ignored = mask & (1 << (signal - 1)) != 0;
        !is_ignored || (*signal == SIGINT && ignored == Ignored::ExceptInterrupt)
    });
    let mut signals = Signals::new(wanted)?;
    // Where a caller left it ignored the kernel reaps our children, and how they ended is lost. Who waits for a child
    // does that itself: what counts is that somebody listens.
    if mask & (1 << (SIGCHLD - 1)) != 0 {
        signals.add_signal(SIGCHLD)?;
    }
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever().filter(|signal| *signal != SIGCHLD) {
                if cancel.is_requested() {
                    // Somebody insists: end as if nobody had ever listened.
                    let _ = emulate_default_handler(signal);
                }
                cancel.request(match signal {
                    SIGTERM => CancelCause::Terminate,
                    SIGHUP => CancelCause::Hangup,
                    _ => CancelCause::Interrupt,
                });
            }
        })?;
    Ok(())
}

/// What the user is told of a run that a signal has ended.
#[must_use]
pub fn text(cause: CancelCause) -> &'static str {
    match cause {
        CancelCause::Interrupt => "Process interrupted by user (KeyboardInterrupt)",
        CancelCause::Terminate => "Process interrupted by SIGTERM",
        CancelCause::Hangup => "Process interrupted by SIGHUP",
    }
}

/// The exit code of a run that a signal has ended.
#[must_use]
pub fn exit_code(cause: CancelCause) -> u8 {
    match cause {
        CancelCause::Interrupt => 1,
        CancelCause::Terminate => 143,
        CancelCause::Hangup => 129,
    }
}

/// The signals that are ignored, from the text of `/proc/self/status`: bit 0 is signal 1.
fn ignored_mask(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        assert_eq!(ignored_mask("Name:\tx\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored_mask("nothing"), 0);
    }

    #[test]
    fn codes() {
        let codes = [
            CancelCause::Interrupt,
            CancelCause::Terminate,
            CancelCause::Hangup,
        ]
        .map(exit_code);
        assert_eq!(codes, [1, 143, 129]);
    }
}
