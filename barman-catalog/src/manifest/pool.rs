//! Work of several threads whose results come in the order in which the work was handed out.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::BUFFER;

/// So many results may wait for an earlier one.
const WINDOW: usize = 4096;

/// Hands out pieces of work. [`Feeder::push`] says `false` when nobody wants more.
pub(super) struct Feeder<T, R> {
    work: SyncSender<(T, SyncSender<R>)>,
    order: SyncSender<Receiver<R>>,
}

impl<T, R> Feeder<T, R> {
    /// Hands out one piece; waits while too many are under way.
    #[must_use]
    pub(super) fn push(&self, piece: T) -> bool {
        let (sender, receiver) = sync_channel(1);
        self.order.send(receiver).is_ok() && self.work.send((piece, sender)).is_ok()
    }
}

/// Does with up to `threads` threads (1 to 64) what `produce`, in a thread of its own, hands out: `work` gets each
/// piece and a buffer that is used again and again, `consume` gets the results in the order in which the pieces were
/// handed out. An error of `consume` ends everything and comes first; else that of `produce` is returned.
///
/// # Errors
/// Those of `produce` and `consume`; the system gives no thread.
pub(super) fn in_order<T, R, E>(
    threads: usize,
    produce: impl FnOnce(&Feeder<T, R>) -> Result<(), E> + Send,
    work: impl Fn(T, &mut [u8]) -> R + Sync,
    mut consume: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E>
where
    T: Send,
    R: Send,
    E: Send + From<io::Error>,
{
    let threads = threads.clamp(1, 64);
    let (work_in, work_out) = sync_channel::<(T, SyncSender<R>)>(threads * 4);
    let (order_in, order_out) = sync_channel(WINDOW);
    let feeder = Feeder {
        work: work_in,
        order: order_in,
    };
    let work_out = Mutex::new(Some(work_out));
    let stopped = AtomicBool::new(false);
    let worker = || {
        let mut buffer = vec![0; BUFFER];
        loop {
            let next = match work_out.lock() {
                Ok(queue) => queue.as_ref().and_then(|queue| queue.recv().ok()),
                Err(_) => return,
            };
            let Some((piece, result)) = next else { return };
            if !stopped.load(Ordering::Relaxed) {
                // Nobody waits for it once everything is over.
                let _ = result.send(work(piece, &mut buffer));
            }
        }
    };
    thread::scope(|scope| {
        let spawn = |number| {
            thread::Builder::new()
                .name(format!("verify-{number}"))
                .spawn_scoped(scope, worker)
        };
        // With fewer threads than wished it takes longer.
        spawn(0)?;
        for number in 1..threads {
            let _ = spawn(number);
        }
        let producer = thread::Builder::new()
            .name("walk".to_owned())
            .spawn_scoped(scope, move || produce(&feeder))?;
        let consumed = order_out.iter().try_for_each(|result: Receiver<R>| {
            // A worker sends unless everything is over, or it has panicked.
            let result = result
                .recv()
                .map_err(|_| io::Error::other("a thread ended without a result"))?;
            consume(result)
        });
        if consumed.is_err() {
            stopped.store(true, Ordering::Relaxed);
        }
        drop(order_out);
        if stopped.load(Ordering::Relaxed) {
            // Should no worker be left, the producer must not wait for one.
            work_out.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        let produced = producer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a thread has panicked").into()));
        consumed.and(produced)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in [0, 1, 7] {
            let mut seen = Vec::new();
            in_order::<_, _, io::Error>(
                threads,
                |feeder| {
                    (0..20_000_u32).for_each(|n| assert!(feeder.push(n)));
                    Ok(())
                },
                |n, buffer| {
                    assert_eq!(buffer.len(), BUFFER);
                    if n % 1000 == 0 {
                        thread::yield_now();
                    }
                    n * 2
                },
                |n| {
                    seen.push(n);
                    Ok(())
                },
            )
            .unwrap();
            assert!(seen.iter().copied().eq((0..20_000).map(|n| n * 2)), "{threads}");
        }
    }

    #[test]
    fn errors_of_either_side_end_it() {
        let endless = |feeder: &Feeder<u32, u32>| {
            while feeder.push(1) {}
            Ok(())
        };
        let error = in_order(
            3,
            endless,
            |n, _| n,
            |_| Err::<(), _>(io::Error::other("consumer")),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "consumer");
        let failing = |feeder: &Feeder<u32, u32>| {
            assert!(feeder.push(1));
            Err(io::Error::other("producer"))
        };
        let error = in_order(3, failing, |n, _| n, |_| Ok::<(), io::Error>(())).unwrap_err();
        assert_eq!(error.to_string(), "producer");
    }
}
