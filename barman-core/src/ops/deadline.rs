//! A time limit for everything that is asked of a server, and the user's wish to stop, as one flag that every network
//! wait looks at.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::context::{Cancel, CancelCause, Context};
use crate::server::Server;

/// How often the watcher looks at the users' flags.
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
    limit: Limit,
    number: u64,
}

/// What the watcher looks at, and the flag that it raises.
#[derive(Debug, Clone)]
struct Limit {
    at: Option<Instant>,
    user: Cancel,
    over: Cancel,
}

impl Limit {
    /// Raises the flag if the user has asked to stop or the time is over.
    fn look(&self, now: Instant) {
        if let Some(cause) = self.user.cause() {
            self.over.request(cause);
        } else if self.at.is_some_and(|at| now >= at) {
            self.over.request(CancelCause::Interrupt);
        }
    }
}

/// All that run in this process, looked at by one thread: there may be hundreds, one for each server that is asked. The
/// thread ends with the last of them.
struct Watched {
    running: BTreeMap<u64, Limit>,
    next: u64,
    has_thread: bool,
}

static WATCHED: Mutex<Watched> = Mutex::new(Watched {
    running: BTreeMap::new(),
    next: 0,
    has_thread: false,
});
/// Told when the last one has ended.
static IDLE: Condvar = Condvar::new();

fn watched() -> MutexGuard<'static, Watched> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch() {
    let mut watched = watched();
    while !watched.running.is_empty() {
        let now = Instant::now();
        watched.running.values().for_each(|limit| limit.look(now));
        (watched, _) = IDLE
            .wait_timeout(watched, LOOK)
            .unwrap_or_else(PoisonError::into_inner);
    }
    watched.has_thread = false;
}

impl Deadline {
    /// Starts the clock; `None` = no limit.
    pub fn start(limit: Option<Duration>, user: Cancel) -> Self {
        let limit = Limit {
            at: limit.and_then(|limit| Instant::now().checked_add(limit)),
            user,
            over: Cancel::new(),
        };
        if let Some(cause) = limit.user.cause() {
            limit.over.request(cause);
        }
        let mut watched = watched();
        let number = watched.next;
        watched.next = number.wrapping_add(1);
        watched.running.insert(number, limit.clone());
        if !watched.has_thread {
            let started = thread::Builder::new().name("deadlines".to_owned()).spawn(watch);
            watched.has_thread = started.is_ok();
            if let Err(error) = started {
                // Each wait has its own limit; the next deadline tries again.
                log::warn!(target: "barman.server", "cannot start a thread: {error}");
            }
        }
        Self { limit, number }
    }

    /// Raised when waits must end.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.limit.over.flag()
    }

    /// The same for operations that are a part of the work: asked to stop when the time is over, or by the user.
    pub fn cancel(&self) -> &Cancel {
        &self.limit.over
    }

    /// Why nothing further may be asked, if so.
    pub fn ended(&self) -> Option<Ended> {
        if let Some(cause) = self.limit.user.cause() {
            return Some(Ended::Cancelled(cause));
        }
        self.limit
            .at
            .is_some_and(|at| Instant::now() >= at)
            .then_some(Ended::TimedOut)
    }

    /// How much time is left; `None` = no limit.
    pub fn left(&self) -> Option<Duration> {
        self.limit
            .at
            .map(|at| at.saturating_duration_since(Instant::now()))
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
        let mut watched = watched();
        watched.running.remove(&self.number);
        if watched.running.is_empty() {
            IDLE.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many threads of this process watch. Each test is a process of its own.
    fn watchers() -> usize {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter(|task| {
                let name = task.as_ref().unwrap().path().join("comm");
                std::fs::read_to_string(name).is_ok_and(|name| name.trim() == "deadlines")
            })
            .count()
    }

    fn until(what: impl Fn() -> bool) {
        while !what() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_limit_ends_when_its_time_is_over_or_its_user_asks() {
        let now = Instant::now();
        let limit = |seconds: Option<u64>| Limit {
            at: seconds.map(|seconds| now + Duration::from_secs(seconds)),
            user: Cancel::new(),
            over: Cancel::new(),
        };
        let after = |limit: &Limit, seconds| {
            limit.look(now + Duration::from_secs(seconds));
            limit.over.cause()
        };
        let (ten, none) = (limit(Some(10)), limit(None));
        assert_eq!((after(&ten, 9), after(&none, 9)), (None, None));
        assert_eq!(after(&ten, 10), Some(CancelCause::Interrupt));
        assert_eq!(after(&none, 1_000_000), None);
        none.user.request(CancelCause::Hangup);
        assert_eq!(after(&none, 0), Some(CancelCause::Hangup));
        // The first cause stays.
        ten.user.request(CancelCause::Terminate);
        assert_eq!(after(&ten, 11), Some(CancelCause::Interrupt));
    }

    #[test]
    fn one_thread_watches_all_and_ends_with_the_last() {
        let (one, other) = (Cancel::new(), Cancel::new());
        let short: Vec<_> = (0..200)
            .map(|_| Deadline::start(Some(Duration::ZERO), Cancel::new()))
            .collect();
        let long: Vec<_> = [&one, &other]
            .map(|user| Deadline::start(None, user.clone()))
            .into();
        until(|| short.iter().all(|deadline| deadline.cancel().is_requested()));
        assert_eq!(watchers(), 1);
        assert!(
            short
                .iter()
                .all(|deadline| deadline.ended() == Some(Ended::TimedOut)
                    && deadline.left() == Some(Duration::ZERO))
        );
        drop(short);
        one.request(CancelCause::Terminate);
        until(|| long[0].cancel().is_requested());
        assert_eq!(long[0].cancel().cause(), Some(CancelCause::Terminate));
        assert_eq!(long[0].ended(), Some(Ended::Cancelled(CancelCause::Terminate)));
        assert!(!long[1].cancel().is_requested());
        let flag = long[1].flag();
        drop(long);
        until(|| watchers() == 0);
        // Nobody raises it later.
        other.request(CancelCause::Interrupt);
        let next = Deadline::start(Some(Duration::ZERO), Cancel::new());
        until(|| next.cancel().is_requested());
        assert!(!flag.load(std::sync::atomic::Ordering::SeqCst));
        assert_eq!(watchers(), 1);
        drop(next);
        let late = Deadline::start(None, other);
        assert!(late.cancel().is_requested());
    }
}
