//! The log: where lines go, how they look, what operation runs.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use jiff::Zoned;

use crate::events::{Event, Host, Level};

/// The log of one run of the program. It can be shared with a thread that waits for signals.
pub struct Journal {
    state: Mutex<State>,
}

struct State {
    /// Usage errors go there, and the log until it has a file.
    stderr: Box<dyn Write + Send>,
    file: Option<Box<dyn Write + Send>>,
    /// What runs on the Barman host.
    running: Option<String>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    /// A log that goes to `stderr` until [`Journal::open`].
    pub fn new(stderr: Box<dyn Write + Send>) -> Self {
        Self {
            state: Mutex::new(State {
                stderr,
                file: None,
                running: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the log to a file from now on. It is created if it is not there.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        self.state().file = Some(Box::new(file));
        Ok(())
    }

    /// Writes to standard error, whether the log is there or not.
    pub(crate) fn complain(&self, text: &str) {
        // Nobody reads it: nothing to be done about that.
        let _ = self.state().stderr.write_all(text.as_bytes());
    }

    fn line(&self, level: Level, message: &dyn fmt::Display) {
        self.state().line(level, message);
    }

    /// Tells that a signal ends the program, and what goes on without it. Does not wait for anybody: if a line is just
    /// being written, nothing is told.
    pub fn interrupted(&self, signal: &str) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let message = match state.running.take() {
            Some(running) => format!("Ended by {signal}; {running} goes on on the Barman host"),
            None => format!("Ended by {signal}"),
        };
        state.line(Level::Error, &message);
    }
}

impl State {
    fn line(&mut self, level: Level, message: &dyn fmt::Display) {
        // One write for a line: several programs may append to one file.
        let line = format_line(&Zoned::now(), level, message);
        let target = self.file.as_mut().unwrap_or(&mut self.stderr);
        // A full disk must not keep a restore from being watched.
        let _ = target.write_all(line.as_bytes());
        let _ = target.flush();
    }
}

fn format_line(now: &Zoned, level: Level, message: &dyn fmt::Display) -> String {
    format!(
        "{},{:03} {level}: {message}\n",
        now.strftime("%Y-%m-%d %H:%M:%S"),
        now.millisecond()
    )
}

impl Host for &Journal {
    fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::Created { what, id } => self.state().running = Some(format!("the {what} operation {id}")),
            Event::Done { .. } | Event::Failed { .. } => self.state().running = None,
            _ => {}
        }
        self.line(event.level(), event);
    }

    fn pause(&mut self, time: Duration) -> ControlFlow<()> {
        std::thread::sleep(time);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let now: Zoned = "2026-11-21T05:02:25.299+01:00[Europe/Berlin]".parse().unwrap();
        let event = Event::Skipped {
            role: "replica",
            switch_when: "promoted",
        };
        assert_eq!(
            format_line(&now, event.level(), &event),
            "2026-11-21 05:02:25,299 INFO: Nothing to switch on this node (role=replica, switch_when=promoted)\n"
        );
        let early: Zoned = "2026-11-21T05:02:25.0070009+01:00[Europe/Berlin]"
            .parse()
            .unwrap();
        assert!(format_line(&early, Level::Error, &"x").starts_with("2026-11-21 05:02:25,007 ERROR: x"));
    }
}
