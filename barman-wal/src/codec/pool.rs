//! Threads that work on pieces of something while its reader or writer goes on. They end with the pool.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Threads that make answers of jobs. How many jobs wait is bounded by whoever submits them.
pub(super) struct Pool<J, A> {
    shared: Arc<Shared<J, A>>,
    threads: Vec<JoinHandle<()>>,
}

/// An answer on its way.
pub(super) struct Pending<A>(Receiver<A>);

struct Shared<J, A> {
    queue: Mutex<Queue<J, A>>,
    more: Condvar,
}

struct Queue<J, A> {
    waiting: VecDeque<(J, SyncSender<A>)>,
    closed: bool,
}

impl<J: Send + 'static, A: Send + 'static> Pool<J, A> {
    /// Begins up to `count` threads, each with a worker of its own; `None` if the system gives not even one.
    pub(super) fn new<W>(count: usize, name: &str, worker: impl Fn() -> W) -> Option<Self>
    where
        W: FnMut(J) -> A + Send + 'static,
    {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                closed: false,
            }),
            more: Condvar::new(),
        });
        let threads: Vec<_> = (0..count)
            .map_while(|number| {
                let shared = Arc::clone(&shared);
                let work = worker();
                thread::Builder::new()
                    .name(format!("{name}-{number}"))
                    .spawn(move || shared.serve(work))
                    .ok()
            })
            .collect();
        (!threads.is_empty()).then_some(Self { shared, threads })
    }

    pub(super) fn submit(&self, job: J) -> Pending<A> {
        let (reply, answer) = sync_channel(1);
        let mut queue = self.shared.queue();
        if !queue.closed {
            queue.waiting.push_back((job, reply));
        }
        drop(queue);
        self.shared.more.notify_one();
        Pending(answer)
    }

    /// The answer. Until it is there the caller works along, on whatever waits.
    ///
    /// # Errors
    /// A thread panicked.
    pub(super) fn answer(
        &self,
        pending: &Pending<A>,
        mut along: Option<&mut dyn FnMut(J) -> A>,
    ) -> io::Result<A> {
        loop {
            match pending.0.try_recv() {
                Ok(answer) => return Ok(answer),
                Err(TryRecvError::Disconnected) => return Err(gone()),
                Err(TryRecvError::Empty) => {}
            }
            let next = along
                .as_ref()
                .and_then(|_| self.shared.queue().waiting.pop_front());
            match (next, &mut along) {
                (Some((job, reply)), Some(work)) => drop(reply.send(work(job))),
                _ => return pending.0.recv().map_err(|_| gone()),
            }
        }
    }
}

impl<J, A> Shared<J, A> {
    fn queue(&self) -> MutexGuard<'_, Queue<J, A>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn serve(&self, mut work: impl FnMut(J) -> A) {
        let leaving = Leaving(self);
        loop {
            let mut queue = self.queue();
            let (job, reply) = loop {
                if queue.closed {
                    drop(queue);
                    drop(leaving);
                    return;
                }
                match queue.waiting.pop_front() {
                    Some(next) => break next,
                    None => queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            // Nobody waits for it any more when the reader or writer has failed.
            let _ = reply.send(work(job));
        }
    }

    fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        // Whoever awaits one of them learns that it does not come.
        queue.waiting.clear();
        drop(queue);
        self.more.notify_all();
    }
}

/// Closes the pool when its thread ends by a panic: what waits would do so for ever.
struct Leaving<'a, J, A>(&'a Shared<J, A>);

impl<J, A> Drop for Leaving<'_, J, A> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}

impl<J, A> Drop for Pool<J, A> {
    fn drop(&mut self) {
        self.shared.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("a thread of the codec ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_for_each_job_until_a_thread_panics() {
        let pool = Pool::new(2, "test", || |number: u32| number.checked_mul(2).unwrap()).unwrap();
        let pending: Vec<_> = (0..100).map(|number| pool.submit(number)).collect();
        let mut own = |number: u32| number * 2;
        for (number, pending) in (0..).zip(&pending) {
            assert_eq!(pool.answer(pending, Some(&mut own)).unwrap(), number * 2);
        }
        let pending = pool.submit(u32::MAX);
        assert!(pool.answer(&pending, None).is_err());
        // Whatever becomes of these, nobody waits for ever; soon there are no answers any more.
        let pending: Vec<_> = (0..10).map(|number| pool.submit(number)).collect();
        for pending in &pending {
            let _ = pool.answer(pending, None);
        }
        while pool.answer(&pool.submit(1), None).is_ok() {}
    }

    #[test]
    fn a_pool_that_is_dropped_ends_its_threads() {
        let alive = Arc::new(());
        let pool = Pool::new(3, "test", || {
            let alive = Arc::clone(&alive);
            move |number: u32| {
                let _ = &alive;
                number
            }
        })
        .unwrap();
        for number in 0..50 {
            drop(pool.submit(number));
        }
        drop(pool);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
