//! Asking several servers at the same time: one that hangs does not keep the others waiting.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// As many are asked at the same time, and twice as many whenever nobody has answered for a while.
const AT_ONCE: usize = 16;
/// The most that are asked at the same time: those that hang wait for the network, not for processors, and each has a
/// connection open.
const MOST: usize = 200;
/// When nobody has answered for so long, those that are asked hang.
const STALLED: Duration = Duration::from_millis(250);

/// Does `work` for every item, several at a time; the results are in the order of the items.
pub fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let mut all = Vec::with_capacity(items.len());
    each(items, work, |result| all.push(result));
    all
}

/// Does `work` for every item, several at a time, and hands the results over in the order of the items: each as soon as
/// it and those before it are there.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync, mut take: impl FnMut(R)) {
    if let [only] = items {
        return take(work(only));
    }
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    // Boxed: results are large, and each thread would have room for several copies on its stack while it waits.
    let worker = |sender: mpsc::Sender<(usize, thread::Result<Box<R>>)>| {
        while let Some((at, item)) = following(items, &next) {
            if sender
                .send((at, catch_unwind(AssertUnwindSafe(|| Box::new(work(item))))))
                .is_err()
            {
                return;
            }
        }
    };
    thread::scope(|scope| {
        let mut threads = 0_usize;
        let mut more = || {
            let left = items.len().saturating_sub(next.load(Ordering::Relaxed));
            let wanted = AT_ONCE.max(threads).min(MOST.saturating_sub(threads));
            for _ in 0..wanted.min(left) {
                let sender = sender.clone();
                let worker = &worker;
                match thread::Builder::new().spawn_scoped(scope, move || worker(sender)) {
                    Ok(_) => threads += 1,
                    // Those that are there do all of it, and if there are none then we.
                    Err(error) => {
                        log::warn!(target: "barman.server", "cannot start a thread: {error}");
                        break;
                    }
                }
            }
            if threads == 0 {
                worker(sender.clone());
            }
        };
        more();
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        while due < items.len() {
            match results.recv_timeout(STALLED) {
                Ok((at, Ok(result))) => {
                    waiting.insert(at, result);
                }
                Ok((_, Err(panic))) => {
                    next.store(items.len(), Ordering::Relaxed);
                    resume_unwind(panic);
                }
                Err(RecvTimeoutError::Timeout) => more(),
                // We hold a sender ourselves.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some(result) = waiting.remove(&due) {
                take(*result);
                due += 1;
            }
        }
    });
}

/// The next item that nobody works on.
fn following<'t, T>(items: &'t [T], next: &AtomicUsize) -> Option<(usize, &'t T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    items.get(at).map(|item| (at, item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(
            map(&items, |n| n * 2),
            items.iter().map(|n| n * 2).collect::<Vec<_>>()
        );
        assert!(map(&[] as &[usize], |n| *n).is_empty());
    }

    #[test]
    fn results_come_as_soon_as_those_before_them_are_there() {
        let (told, heard) = mpsc::channel();
        let heard = std::sync::Mutex::new(heard);
        let mut seen = Vec::new();
        // The third ends only after the first two were handed over.
        each(
            &[0, 1, 2],
            |n| {
                if *n == 2 {
                    let heard = heard.lock().unwrap();
                    assert_eq!((heard.recv(), heard.recv()), (Ok(0), Ok(1)));
                }
                *n
            },
            |n| {
                seen.push(n);
                told.send(n).unwrap();
            },
        );
        assert_eq!(seen, [0, 1, 2]);
    }

    #[test]
    fn many_that_hang_keep_nobody_waiting() {
        let barrier = Barrier::new(MOST);
        let items: Vec<usize> = (0..MOST).collect();
        // Would wait for ever with fewer at the same time.
        let leaders = map(&items, |_| barrier.wait().is_leader());
        assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
    }

    #[test]
    fn a_panic_is_handed_on() {
        let caught = catch_unwind(|| map(&[1, 2, 3], |n| assert_ne!(*n, 2, "the second")));
        let text = caught.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("the second"), "{text}");
    }

    #[test]
    fn items_are_worked_on_at_the_same_time() {
        let barrier = Barrier::new(3);
        // Would wait for ever one after the other.
        let leaders = map(&[(), (), ()], |()| barrier.wait().is_leader());
        assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
    }
}
