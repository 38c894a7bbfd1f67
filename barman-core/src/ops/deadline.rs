//! A time limit for everything that is asked of a server, and the user's wish to stop, as one flag that every network
//! wait looks at.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::context::{Cancel, CancelCause, Context};
use crate::server::Server;

/// How often the watcher looks at the user's flag.
const LOOK: Duration = Duration::from_millis(25);

/// Why nothing further may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The time is over.
    TimedOut,
    /// The user asked to stop.
    Cancelled(CancelCause),
}

/// A running time limit.
#[derive(Debug)]
pub struct Deadline {
    at: Option<Instant>,
    user: Cancel,
    over: Cancel,
    stop: Option<mpsc::Sender<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl Deadline {
    /// Starts the clock; `None` = no limit.
    pub fn start(limit: Option<Duration>, user: Cancel) -> Self {
        let at = limit.and_then(|limit| Instant::now().checked_add(limit));
        let over = Cancel::new();
        if let Some(cause) = user.cause() {
            over.request(cause);
        }
        let (stop, stopped) = mpsc::channel();
        let watcher = {
            let (over, user) = (over.clone(), user.clone());
            std::thread::spawn(move || {
                while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    if let Some(cause) = user.cause() {
                        over.request(cause);
                    } else if at.is_some_and(|at| Instant::now() >= at) {
                        over.request(CancelCause::Interrupt);
                    }
                }
            })
        };
        Self {
            at,
            user,
            over,
            stop: Some(stop),
            watcher: Some(watcher),
        }
    }

    /// Raised when waits must end.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.over.flag()
    }

    /// The same for operations that are a part of the work: asked to stop when the time is over, or by the user.
    pub fn cancel(&self) -> &Cancel {
        &self.over
    }

    /// Why nothing further may be asked, if so.
    pub fn ended(&self) -> Option<Ended> {
        if let Some(cause) = self.user.cause() {
            return Some(Ended::Cancelled(cause));
        }
        self.at
            .is_some_and(|at| Instant::now() >= at)
            .then_some(Ended::TimedOut)
    }

    /// How much time is left; `None` = no limit.
    pub fn left(&self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// Works with a server whose connections end their waits when `limit` is over (`None`: each wait has its own limit only)
/// or the user asks to stop. They are closed afterwards: they look at a flag that nobody raises later.
pub fn within<T>(
    server: &mut Server,
    limit: Option<Duration>,
    ctx: &Context<'_>,
    work: impl FnOnce(&mut Server, &Deadline) -> T,
) -> T {
    let deadline = Deadline::start(limit, ctx.cancel.clone());
    let before = server.connect_options().clone();
    server.close();
    let waits = server.connect_options();
    waits.interrupt = Some(deadline.flag());
    if let Some(limit) = limit {
        waits.connect_timeout = waits.connect_timeout.min(limit);
        waits.io_timeout = waits.io_timeout.min(limit);
    }
    let outcome = work(server, &deadline);
    server.close();
    *server.connect_options() = before;
    outcome
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}
