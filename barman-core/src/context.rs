//! What every operation gets from its caller: where to tell progress, whether to stop, what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// The weight of a [`Message`], as Barman's output layer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Shown with `--debug` only.
    Debug,
    /// What the user is told on standard output.
    Info,
    /// Something to look at; the operation goes on.
    Warning,
    /// Something failed; the exit code becomes 1.
    Error,
}

/// One message of an operation to its user, in the words that scripts read.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its weight.
    pub level: Level,
    /// The text, possibly of several lines, without a final newline.
    pub text: &'a str,
    /// The name under which the log records it (`barman.backup`, `barman.server` ...).
    pub target: &'a str,
    /// Whether the log gets a copy. Barman keeps some lines (WAL names of `archive-wal`) off the log.
    pub logged: bool,
}

/// Where an operation tells what it is doing. Implementations must be cheap and must not fail: a closed pipe on
/// the other side never stops an operation.
pub trait Progress: Send + Sync {
    /// Tells the user something.
    fn message(&self, message: Message<'_>);
    /// A countable piece of work begins: `what` in a few words, `total` bytes if known.
    fn begin(&self, what: &str, total: Option<u64>) {
        let _ = (what, total);
    }
    /// `done` bytes of the current piece are done in total; may be called thousands of times a second.
    fn position(&self, done: u64) {
        let _ = done;
    }
    /// The current piece has ended.
    fn end(&self) {}
}

/// A [`Progress`] that says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn message(&self, _message: Message<'_>) {}
}

/// Why an operation was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelCause {
    /// SIGINT, or a library caller.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Hangup,
}

/// A request to stop, shared between the one who asks (a signal handler thread, a caller) and the operations that look.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    cause: Arc<AtomicU8>,
}

impl Cancel {
    /// A request that nobody has made yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. The first cause is kept.
    pub fn request(&self, cause: CancelCause) {
        let code = match cause {
            CancelCause::Interrupt => 1,
            CancelCause::Terminate => 2,
            CancelCause::Hangup => 3,
        };
        let _ = self
            .cause
            .compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Why to stop, if anyone has asked.
    #[must_use]
    pub fn cause(&self) -> Option<CancelCause> {
        if !self.flag.load(Ordering::SeqCst) {
            return None;
        }
        match self.cause.load(Ordering::SeqCst) {
            2 => Some(CancelCause::Terminate),
            3 => Some(CancelCause::Hangup),
            _ => Some(CancelCause::Interrupt),
        }
    }

    /// Whether anyone has asked to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// The bare flag, for crates below this one (`barman_pg` connections look at it while they wait).
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Takes the request back, for callers who treated it as "stop waiting" and go on.
    pub fn reset(&self) {
        self.flag.store(false, Ordering::SeqCst);
        self.cause.store(0, Ordering::SeqCst);
    }
}

/// The time, replaceable in tests.
pub trait Clock: Send + Sync {
    /// Now, with the time zone of this host (`TZ` is honoured); [`jiff::Zoned::timestamp`] is the UTC instant.
    fn now(&self) -> jiff::Zoned;
    /// Sleeps, in a way that a test clock can shorten.
    fn sleep(&self, duration: std::time::Duration);
}

/// The clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Zoned {
        jiff::Zoned::now()
    }

    fn sleep(&self, duration: std::time::Duration) {
        std::thread::sleep(duration);
    }
}

/// What every operation gets: progress, cancellation, clock.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where to tell what is happening.
    pub progress: &'a dyn Progress,
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// What time it is.
    pub clock: &'a dyn Clock,
}

impl Context<'_> {
    /// Does a piece of work whose threads say how many bytes each of their steps has done; it is shown as `what`, of
    /// `total` bytes if that is known.
    pub fn counted<T>(
        &self,
        what: &str,
        total: Option<u64>,
        work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T,
    ) -> T {
        let done = AtomicU64::new(0);
        self.progress.begin(what, total);
        let result = work(&|bytes| {
            let before = done.fetch_add(bytes, Ordering::Relaxed);
            self.progress.position(before.saturating_add(bytes));
        });
        self.progress.end();
        result
    }

    /// Tells the user something that is also logged, under `target`.
    pub fn say(&self, level: Level, target: &str, text: &str) {
        self.progress.message(Message {
            level,
            text,
            target,
            logged: true,
        });
    }

    /// Tells the user something that the log does not repeat.
    pub fn say_console(&self, level: Level, target: &str, text: &str) {
        self.progress.message(Message {
            level,
            text,
            target,
            logged: false,
        });
    }
}
